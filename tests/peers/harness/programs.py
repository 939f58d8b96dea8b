"""The programs the tests run: the binary under test, stock restic in two versions, rustic, and the fixture trees."""

import json
import os
import pathlib
import subprocess


def _named(variable):
    value = os.environ.get(variable)
    if not value:
        raise RuntimeError(f"{variable} is not set: run these tests by `cargo xtask peers`")
    return value


def binary():
    return _named("STRONGROOM_TEST_BINARY")


def run(command, status=0, env=None, cwd=None, timeout=240):
    """Runs a command; any other exit status than `status` fails with what it printed. Returns the finished process."""
    command = [str(word) for word in command]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        env=None if env is None else {**os.environ, **env},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )
    wanted = (status,) if isinstance(status, int) else status
    if done.returncode not in wanted:
        raise AssertionError(
            f"{' '.join(command)}\nended with {done.returncode}, expected {wanted}\n"
            f"--- stdout\n{done.stdout[-8000:]}\n--- stderr\n{done.stderr[-8000:]}"
        )
    return done


class Restic:
    """One stock restic."""

    def __init__(self, name, variable):
        self.name = name
        self.program = _named(variable)
        # restic before 0.17 replaces bytes of a link target that are not UTF-8.
        self.loses = [] if self._version() >= (0, 17) else ["links/not-utf8: link target"]

    def __repr__(self):
        return self.name

    def _version(self):
        text = run([self.program, "version"]).stdout.split()[1]
        return tuple(int(part) for part in text.split("-")[0].split("."))

    def run(self, repository, password, *arguments, status=0, cwd=None):
        env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password, "RESTIC_PROGRESS_FPS": "0.01"}
        return run([self.program, "--no-cache", *arguments], status=status, env=env, cwd=cwd)

    def json(self, repository, password, *arguments):
        return json.loads(self.run(repository, password, *arguments, "--json").stdout)

    def check(self, repository, password):
        """Everything in the repository is there, whole, and referred to correctly."""
        self.run(repository, password, "check", "--read-data")


class Rustic:
    """rustic, which takes no locks and marks packs before it removes them."""

    # It takes a mode of 0 for one that is not known.
    loses = ["modes/file-0000: mode"]

    def __init__(self, variable):
        self.program = _named(variable)

    def __repr__(self):
        return "rustic"

    def run(self, repository, password, *arguments, status=0, cwd=None):
        env = {
            "RUSTIC_REPOSITORY": str(repository),
            "RUSTIC_PASSWORD": password,
            "RUSTIC_NO_CACHE": "true",
            "RUSTIC_NO_PROGRESS": "true",
        }
        return run([self.program, *arguments], status=status, env=env, cwd=cwd)

    def snapshots(self, repository, password):
        groups = json.loads(self.run(repository, password, "snapshots", "--json").stdout)
        return [snapshot for group in groups for snapshot in group["snapshots"]]

    def check(self, repository, password):
        """Everything in the repository is there, whole, and referred to correctly."""
        said = self.run(repository, password, "check", "--read-data")
        assert "ERROR" not in said.stderr + said.stdout, said.stderr + said.stdout


STABLE = Restic("restic-stable", "STRONGROOM_TEST_RESTIC")
NEWER = Restic("restic-newer", "STRONGROOM_TEST_NEWER_RESTIC")
RESTICS = [STABLE, NEWER]
RUSTIC = Rustic("STRONGROOM_TEST_RUSTIC")


class Trees:
    """Fixture trees, made and compared by the project's testkit."""

    program = os.environ.get("STRONGROOM_TEST_TESTKIT", "")

    @classmethod
    def _run(cls, *arguments, status=0):
        return run([_named("STRONGROOM_TEST_TESTKIT"), *arguments], status=status)

    @classmethod
    def every_kind(cls, folder):
        cls._run("build", folder)
        return pathlib.Path(folder)

    @classmethod
    def deep(cls, folder, length_bytes):
        cls._run("deep", folder, length_bytes)
        return pathlib.Path(folder)

    @classmethod
    def random_file(cls, path, length_bytes, seed):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        cls._run("random", path, length_bytes, seed)
        return pathlib.Path(path)

    @classmethod
    def small(cls, folder, seed=1, files=5):
        """A few small files: enough where the content is not the subject."""
        folder = pathlib.Path(folder)
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (folder / ("sub" if number % 2 else ".") / f"file-{number}").write_text(f"{seed} {number}\n" * (number + 1))
        return folder

    @classmethod
    def random_files(cls, folder, megabytes, seed=1):
        """Incompressible files of 16 MB until `megabytes` is reached."""
        for number in range(0, megabytes, 16):
            size = min(16, megabytes - number) * 1_000_000
            cls.random_file(pathlib.Path(folder) / f"part-{number:05}", size, seed * 100_000 + number)
        return pathlib.Path(folder)

    @classmethod
    def assert_same(cls, expected, found, *flags, known=()):
        """Fails with what differs; differences that start with a text of `known` are another's fault."""
        done = cls._run("compare", *flags, expected, found, status=(0, 1))
        lines = [line for line in done.stdout.splitlines() if not line.startswith(tuple(known))]
        assert not lines, f"{found} differs from {expected}:\n" + "\n".join(lines[:50])

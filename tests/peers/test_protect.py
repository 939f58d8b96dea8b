"""`serve --protect`: the first command of the README, for folders, for `/`, and around its own data."""

import os
import pathlib
import pty
import shutil
import signal
import subprocess

import pytest

from harness import programs
from harness.programs import STABLE, Trees, run
from harness.signing import ApiError
from harness.waiting import wait_for


def protect(service, *arguments, status=0, prefix=()):
    """Runs `serve --protect … --once` to its end and returns what it printed."""
    command = [
        *prefix,
        programs.binary(),
        "--data-dir",
        service.data_dir,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--once",
        *arguments,
    ]
    return run(command, status=status, env=service.environment())


def files_in(service, vault="default"):
    """All paths of the newest snapshot."""
    repository, password = service.export(vault)
    lines = STABLE.run(repository, password, "ls", "latest").stdout.splitlines()
    return [line for line in lines if line.startswith("/")]


def test_one_command_protects_a_folder(fresh, folder):
    source = Trees.every_kind(folder / "Documents")
    done = protect(fresh, "--protect", source)
    text = done.stdout + done.stderr
    assert "job-" in text and "COMPLETE" in text.upper(), text
    assert "\x1b[" not in text and "\r" not in text, "no terminal, no bar"
    fresh.start()
    [plan] = fresh.call("DescribeBackupPlans", SourceType="ECS_FILE")["BackupPlans"]["BackupPlan"]
    assert plan["Paths"]["Path"] == [str(source)] and plan["Schedule"].endswith("|P1D")
    [job] = fresh.call("DescribeBackupJobs2")["BackupJobs"]["BackupJob"]
    assert job["Status"] == "COMPLETE" and job["JobId"] in text
    fresh.cli("restore", "latest", "--target", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), "--holes", "--skip-root")


def test_protecting_again_finds_the_same_plan(fresh, folder):
    one, two = Trees.small(folder / "one"), Trees.small(folder / "two")
    protect(fresh, "--protect", one, "--protect", two)
    client = None
    for _ in range(2):
        protect(fresh, "--protect", one, two)
        fresh.start()
        assert fresh.call("DescribeBackupPlans", SourceType="ECS_FILE")["TotalCount"] == 2
        assert client in (None, fresh.client()["InstanceId"])
        client = fresh.client()["InstanceId"]
        assert fresh.stop() in (0, 130)


def test_exit_statuses(fresh, folder):
    source = Trees.small(folder / "source")
    protect(fresh, "--protect", source)
    protect(fresh, "--protect", source, folder / "missing", status=(1, 3))
    process = fresh.spawn("--protect", source)
    wait_for("the service to answer", fresh._answers)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) in (0, 130)


def test_an_interrupted_run_says_so(fresh, folder):
    source = Trees.random_files(folder / "source", 400)
    command = [
        programs.binary(),
        "--data-dir",
        fresh.data_dir,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--once",
        "--protect",
        source,
    ]
    process = subprocess.Popen(
        [str(word) for word in command],
        env=fresh.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        wait_for("the vault to fill", lambda: list((fresh.data_dir / "vaults").glob("*/data/*/*")), 60)
        process.send_signal(signal.SIGUSR1)  # asks for the progress, ends nothing
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
    assert protect(fresh, "--protect", source).stdout is not None
    fresh.start()
    jobs = fresh.call("DescribeBackupJobs2")["BackupJobs"]["BackupJob"]
    assert [job["Status"] for job in jobs] == ["COMPLETE"] * len(jobs), jobs


def test_progress_on_a_terminal(fresh, folder):
    """A bar that is drawn in place, and the summary below it."""
    source = Trees.random_files(folder / "source", 64)
    command = [programs.binary(), "--data-dir", fresh.data_dir, "serve", "--listen", "127.0.0.1:0", "--once"]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*map(str, command), "--protect", str(source)],
        env={**fresh.environment(), "TERM": "xterm", "STRONGROOM_LOG": "warn"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    try:
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            written += piece
    finally:
        os.close(master)
    assert process.wait(timeout=60) == 0, written.decode(errors="replace")
    assert b"\x1b[" in written or b"\r" in written.replace(b"\r\n", b"")
    assert b"COMPLETE" in written and b"61.035 MiB of 61.035 MiB" in written, written.decode(errors="replace")


def test_the_data_directory_of_a_user(folder):
    """Without --data-dir: XDG_DATA_HOME, else the home."""
    source = Trees.small(folder / "source")
    command = [programs.binary(), "serve", "--listen", "127.0.0.1:0", "--once", "--protect", source]
    run(command, env={"XDG_DATA_HOME": str(folder / "xdg"), "HOME": str(folder)})
    assert (folder / "xdg/strongroom/credentials.json").is_file()
    run(command, env={"XDG_DATA_HOME": "", "HOME": str(folder / "home")})
    assert (folder / "home/.local/share/strongroom/credentials.json").is_file()


def test_its_own_data_is_left_out(fresh, folder, small_disk):
    """The data directory inside the folder, and again through bind mounts: by device and inode, not by name."""
    home = Trees.small(folder / "home-folder")
    fresh.data_dir = home / ".local/share/strongroom"
    (home / "mirror").mkdir()
    (home / "vaults-only").mkdir()
    protect(fresh, "--protect", home)
    mounts = [(fresh.data_dir, home / "mirror"), (fresh.data_dir / "vaults", home / "vaults-only")]
    mounted = []
    try:
        for what, where in mounts:
            subprocess.run(["mount", "--bind", str(what), str(where)], check=True)
            mounted.append(where)
        protect(fresh, "--protect", home)
    finally:
        for where in reversed(mounted):
            subprocess.run(["umount", str(where)], check=True)
    inside = files_in(fresh)
    assert str(home / "file-0") in inside
    own = [
        path
        for path in inside
        if any(word in path for word in ("master.key", "credentials.json", "/data/", "catalog", "/snapshots/"))
    ]
    assert own == [], own


@pytest.mark.parametrize("own", ["", "vaults"])
def test_protecting_its_own_data_is_refused(fresh, folder, own):
    Trees.small(folder / "source")
    protect(fresh, "--protect", folder / "source")
    done = protect(fresh, "--protect", fresh.data_dir / own, status=(1, 2))
    text = done.stdout + done.stderr
    assert "data directory" in text or "vault" in text, text
    fresh.start()
    vaults = fresh.call("DescribeVaults")["Vaults"]["Vault"]
    # By the API the path may be meant for another host: then the agent refuses, and the job says so.
    try:
        plan_id = fresh.plan(vaults[0]["VaultId"], [fresh.data_dir / own], name="own data")
    except ApiError as failure:
        assert failure.http_status == 400
    else:
        job = fresh.wait_job(fresh.execute(plan_id))
        assert job["Status"] == "FAILED" and job["ErrorMessage"], job


def test_the_whole_system(fresh, folder):
    """`--protect /` in a small system of its own: pseudo file systems are left out, the rest is there."""
    root = small_system(folder / "system")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    Trees.small(root / "srv/files")
    pseudo = [("proc", root / "proc"), ("sysfs", root / "sys"), ("tmpfs", root / "tmp")]
    mounted = []
    try:
        for kind, where in pseudo:
            where.mkdir()
            subprocess.run(["mount", "-t", kind, kind, str(where)], check=True)
            mounted.append(where)
        (root / "tmp/on-a-memory-disk").write_text("kept: a tmpfs holds real files\n")
        command = [
            "chroot",
            root,
            "/strongroom",
            "--data-dir",
            "/var/lib/strongroom",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--once",
            "--protect",
            "/",
        ]
        run(command, env={"HOME": "/"})
    finally:
        for where in reversed(mounted):
            subprocess.run(["umount", "-l", str(where)], check=True)
    fresh.data_dir = root / "var/lib/strongroom"
    [repository] = (fresh.data_dir / "vaults").iterdir()
    password = (
        run(
            ["chroot", root, "/strongroom", "--data-dir", "/var/lib/strongroom", "vault", "export", "default"],
            env={"HOME": "/"},
        )
        .stdout.split("RESTIC_PASSWORD=")[1]
        .splitlines()[0]
        .strip("'\"")
    )
    inside = [
        line for line in STABLE.run(repository, password, "ls", "latest").stdout.splitlines() if line.startswith("/")
    ]
    assert {"/etc/passwd", "/srv/files/file-0", "/strongroom", "/proc", "/sys"} <= set(inside)
    assert not [path for path in inside if path.startswith(("/proc/", "/sys/", "/var/lib/strongroom/"))]
    STABLE.check(repository, password)


def small_system(root):
    """A folder that the binary can be run in as its root: itself and the libraries it is linked with."""
    for name in ("etc", "dev", "var/lib", "srv"):
        (root / name).mkdir(parents=True)
    shutil.copy2(programs.binary(), root / "strongroom")
    for line in run(["ldd", programs.binary()], status=(0, 1)).stdout.splitlines():
        for word in line.split():
            if word.startswith("/") and os.path.exists(word):
                place = root / pathlib.Path(word).relative_to("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(word, place)
    subprocess.run(["mknod", "-m", "666", str(root / "dev/null"), "c", "1", "3"], check=True)
    subprocess.run(["mknod", "-m", "666", str(root / "dev/urandom"), "c", "1", "9"], check=True)
    return root

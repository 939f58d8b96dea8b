"""rustic beside stock restic and us on the same repositories: in turn, and both ways with packs marked for deletion."""

import json
import os
import random
import time

import pytest

from harness import programs
from harness.programs import NEWER, RESTICS, RUSTIC, STABLE, Trees

PASSWORD = "a password for tests"
# Chosen anew in each run, and said when a test fails; set the variable to repeat a run.
SEED = int(os.environ.get("STRONGROOM_TEST_SEED", time.time_ns() % 1_000_000))


def engine(*arguments, repository, status=0):
    env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": PASSWORD}
    return programs.run([programs.binary(), "repo", *arguments], status=status, env=env)


class Ours:
    """The engine, called like the others."""

    def __repr__(self):
        return "strongroom"

    def run(self, repository, _, *arguments):
        return engine(*arguments, repository=repository)

    def check(self, repository, _):
        engine("check", "--read-data", repository=repository)


OURS = Ours()
ALL = [OURS, STABLE, NEWER, RUSTIC]


def check_by_all(repository):
    for program in ALL:
        program.check(repository, PASSWORD)


def packs(repository):
    return {path.name for path in (repository / "data").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(module_folder):
    return Trees.every_kind(module_folder / "source")


def test_rustic_checks_and_restores_a_vault(service, source, folder):
    vault_id = service.vault("for rustic")
    job = service.backup(vault_id, [source], name="for rustic")
    repository, password = service.export(vault_id)
    RUSTIC.check(repository, password)
    [snapshot] = RUSTIC.snapshots(repository, password)
    assert snapshot["paths"] == [str(source)] and f"JobId={job['JobId']}" in ",".join(snapshot["tags"])
    RUSTIC.run(repository, password, "restore", "latest", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), known=RUSTIC.loses)


def test_we_restore_what_rustic_wrote(source, folder):
    repository = folder / "repository"
    RUSTIC.run(repository, PASSWORD, "init")
    RUSTIC.run(repository, PASSWORD, "backup", source)
    engine("check", "--read-data", repository=repository)
    engine("restore", "latest", "--target", folder / "restored", repository=repository)
    # It keeps nothing of the folder that it was asked for but its name.
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), "--skip-root")
    [theirs] = RUSTIC.snapshots(repository, PASSWORD)
    assert theirs["id"][:8] in engine("snapshots", repository=repository).stdout
    # What is there is not stored again.
    before = packs(repository)
    again = engine("backup", source, "--json", repository=repository).stdout.splitlines()[-1]
    assert json.loads(again)["data_blobs"] == 0, again
    assert len(packs(repository) - before) <= 1


class Versions:
    """A small tree that changes, and a copy of each state that was backed up."""

    def __init__(self, folder, dice):
        self.tree = folder / "tree"
        self.folder = folder
        self.dice = dice
        self.count = 0
        for number in range(12):
            self.write(number)

    def write(self, number):
        size = self.dice.choice([0, 10, 5_000, 300_000, 2_000_000])
        Trees.random_file(self.tree / f"folder-{number % 3}" / f"file-{number}", size, self.dice.randrange(1 << 30))

    def next(self):
        """Changes some files; gives the name of the new state."""
        for number in self.dice.sample(range(12), 3):
            (self.tree / f"folder-{number % 3}" / f"file-{number}").unlink()
            self.write(number)
        self.count += 1
        programs.run(["cp", "-a", self.tree, self.folder / f"version-{self.count}"])
        return f"version-{self.count}"

    def assert_all(self, repository, restores):
        """Each snapshot has the content of the version that its tag names, whoever restores it."""
        snapshots = NEWER.json(repository, PASSWORD, "snapshots")
        for number, snapshot in enumerate(snapshots):
            [tag] = [tag for tag in snapshot["tags"] if tag.startswith("version-")]
            target = self.folder / "restored"
            restores[number % len(restores)](repository, snapshot["id"], target)
            Trees.assert_same(self.folder / tag, target / self.tree.relative_to("/"), "--skip-root")
            programs.run(["rm", "-rf", target])
        return [snapshot["id"] for snapshot in snapshots]


def restore_ours(repository, snapshot, target):
    engine("restore", snapshot, "--target", target, repository=repository)


def restore_restic(repository, snapshot, target):
    NEWER.run(repository, PASSWORD, "restore", snapshot, "--target", target)


def restore_rustic(repository, snapshot, target):
    RUSTIC.run(repository, PASSWORD, "restore", snapshot, target)


RESTORES = [restore_ours, restore_restic, restore_rustic]
PRUNES = {
    OURS: [["prune"], ["prune", "--keep-delete", "0m"], ["prune", "--instant-delete"]],
    STABLE: [["prune"]],
    NEWER: [["prune", "--max-unused", "0"]],
    RUSTIC: [["prune"], ["prune", "--keep-delete", "0s"], ["prune", "--instant-delete", "--max-unused", "0b"]],
}
FORGETS = {
    OURS: ["forget", "--keep-last", "3", "--group-by", ""],
    STABLE: ["forget", "--keep-last", "3", "--group-by", ""],
    NEWER: ["forget", "--keep-last", "3", "--group-by", ""],
    RUSTIC: ["forget", "--keep-last", "3", "--group-by", ""],
}


@pytest.mark.parametrize("round_number", range(2))
def test_one_vault_for_four_programs_in_turn(folder, round_number):
    """Backups, forgets and prunes by whoever the dice say: after each, everything is whole and can be restored."""
    dice = random.Random(SEED + round_number)
    repository = folder / "repository"
    dice.choice([lambda: STABLE.run(repository, PASSWORD, "init"), lambda: RUSTIC.run(repository, PASSWORD, "init")])()
    versions = Versions(folder, dice)
    done = []
    for step in range(9):
        program = dice.choice(ALL)
        act = dice.choice(["backup", "backup", "prune", "forget"]) if step > 2 else "backup"
        if act == "backup":
            words = ["backup", versions.tree, "--tag", versions.next()]
        else:
            words = FORGETS[program] if act == "forget" else dice.choice(PRUNES[program])
        done.append(f"{program} {' '.join(map(str, words))}")
        try:
            program.run(repository, PASSWORD, *words)
            dice.choice(ALL).check(repository, PASSWORD)
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}, after {done}: {error}") from error
    check_by_all(repository)
    assert versions.assert_all(repository, RESTORES), done


def marked(repository):
    """The packs that index files mark, by stock restic's reading of them."""
    found = set()
    for name in os.listdir(repository / "index"):
        text = NEWER.run(repository, PASSWORD, "cat", "index", name).stdout
        found |= {pack["id"] for pack in json.loads(text).get("packs_to_delete") or []}
    return found


@pytest.mark.parametrize("marker,remover", [(RUSTIC, OURS), (OURS, RUSTIC)], ids=["rustic-marks", "we-mark"])
def test_marks_of_one_are_understood_by_the_other(folder, marker, remover):
    """What one marks, the other takes for not stored, keeps within the grace, and removes after it."""
    repository = folder / "repository"
    RUSTIC.run(repository, PASSWORD, "init")
    one = Trees.random_file(folder / "one/file", 3_000_000, 1).parent
    two = Trees.random_file(folder / "two/file", 3_000_000, 2).parent
    OURS.run(repository, PASSWORD, "backup", one)
    OURS.run(repository, PASSWORD, "backup", two)
    of_one = STABLE.json(repository, PASSWORD, "snapshots", "--path", one)[0]["id"]
    STABLE.run(repository, PASSWORD, "forget", of_one)
    before = packs(repository)
    marker.run(repository, PASSWORD, "prune")
    doomed = marked(repository)
    assert doomed and doomed <= packs(repository), "a prune of two phases removes nothing at first"
    assert before <= packs(repository)
    check_by_all(repository)
    # Within the grace they stay.
    remover.run(repository, PASSWORD, "prune")
    assert doomed <= packs(repository)
    check_by_all(repository)
    # They do not count as stored: a backup of the same files needs none of them.
    remover.run(repository, PASSWORD, "backup", one)
    remover.run(repository, PASSWORD, "prune", "--keep-delete", "0s")
    check_by_all(repository)
    for program, restore in ((OURS, restore_ours), (RUSTIC, restore_rustic)):
        restore(repository, "latest", folder / f"restored-{program}")
        Trees.assert_same(one, folder / f"restored-{program}" / one.relative_to("/"), "--skip-root")


@pytest.mark.parametrize("marker,saver", [(RUSTIC, OURS), (OURS, RUSTIC)], ids=["we-put-back", "rustic-puts-back"])
def test_marked_packs_that_are_needed_again_are_put_back(folder, marker, saver):
    """A snapshot appears that needs what was marked, as of a backup that began before the mark."""
    repository = folder / "repository"
    RUSTIC.run(repository, PASSWORD, "init")
    one = Trees.random_file(folder / "one/file", 3_000_000, 1).parent
    OURS.run(repository, PASSWORD, "backup", Trees.small(folder / "two"))
    OURS.run(repository, PASSWORD, "backup", one)
    [snapshot] = STABLE.json(repository, PASSWORD, "snapshots", "--path", one)
    kept = (repository / "snapshots" / snapshot["id"]).read_bytes()
    STABLE.run(repository, PASSWORD, "forget", snapshot["id"])
    marker.run(repository, PASSWORD, "prune")
    doomed = marked(repository)
    assert doomed
    (repository / "snapshots" / snapshot["id"]).write_bytes(kept)
    saver.run(repository, PASSWORD, "prune", "--keep-delete", "0s")
    # Those that hold what no other pack does; of the rest there are copies.
    assert doomed - marked(repository), "nothing was put back"
    check_by_all(repository)
    restore_restic(repository, snapshot["id"], folder / "restored")
    Trees.assert_same(one, folder / "restored" / one.relative_to("/"), "--skip-root")

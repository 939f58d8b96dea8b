"""Checks and prunes of vaults: by themselves and by hand, beside stock restic, with damage, with kill -9."""

import json
import os
import pathlib
import random
import time

import pytest
from harness.programs import RESTICS, STABLE, Trees, binary, run
from harness.signing import ApiError
from harness.waiting import wait_for

SEED = int(os.environ.get("STRONGROOM_TEST_SEED", time.time_ns() % 1_000_000))
# Nothing runs by itself: the test starts it.
BY_HAND = ("--check-every", "off", "--prune-every", "off")


def tasks(service, vault_id, kind=None):
    """The vault's tasks, the newest first."""
    lines = service.cli("vault", "tasks", vault_id, "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if kind in (None, row["Kind"])]


def health(service, vault_id):
    rows = [json.loads(line) for line in service.cli("vault", "list", "--json").stdout.splitlines()]
    [vault] = [row for row in rows if row["VaultId"] == vault_id]
    return vault["Upkeep"]


def check(service, vault_id, *arguments, status=0):
    """Checks by hand and gives the finished task."""
    return json.loads(service.cli("vault", "check", vault_id, "--json", *arguments, status=status).stdout)


def prune(service, vault_id):
    return json.loads(service.cli("vault", "prune", vault_id, "--json").stdout)


def packs(storage):
    return {path: path.stat().st_size for path in (pathlib.Path(storage) / "data").rglob("*") if path.is_file()}


def delete_snapshot(service, vault_id, snapshot):
    """Deletes a snapshot and waits until it has left the trash and its vault."""
    service.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"], VaultId=vault_id, SourceType="ECS_FILE")
    gone = lambda: tasks(service, vault_id, "DELETE_SNAPSHOT")[0]["Status"] == "COMPLETE"  # noqa: E731
    wait_for("the snapshot to leave its vault", gone, 60)


def test_a_scheduled_check_finds_a_damaged_pack(fresh, folder):
    """A byte of a pack is flipped: the check that comes by itself names the pack and the files that restic cannot read."""
    dice = random.Random(SEED)
    fresh.start(*BY_HAND)
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    source = Trees.random_files(folder / "source", 64, seed=SEED)
    fresh.backup(vault_id, [source])
    assert health(fresh, vault_id)["Health"] == "UNCHECKED"
    assert check(fresh, vault_id)["Result"]["Check"]["StructureErrors"] == 0
    assert health(fresh, vault_id)["Health"] == "OK"

    pack = max(packs(storage), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    place = dice.randrange(len(whole) // 4, len(whole) // 2)
    pack.chmod(0o600)
    pack.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    repository, password = fresh.export(vault_id)

    STABLE.run(repository, password, "restore", "latest", "--target", folder / "torn", status=1)

    def is_lost(path):
        restored = folder / "torn" / path.relative_to("/")
        return not restored.exists() or restored.read_bytes() != path.read_bytes()

    lost = {str(path) for path in source.iterdir() if is_lost(path)}
    assert lost, "the byte was in nobody's blob"
    assert check(fresh, vault_id)["Result"]["Check"]["StructureErrors"] == 0, "only reading data can show it"

    assert fresh.stop() == 0
    fresh.start("--check-every", "1s", "--read-all-within", "1s", "--prune-every", "off")
    wait_for("the check that is due", lambda: health(fresh, vault_id)["Health"] == "DAMAGED", 120)
    task = next(row for row in tasks(fresh, vault_id, "CHECK_VAULT") if row["Status"] == "FAILED")
    found = task["Result"]["Check"]
    assert pack.name in " ".join(found["Errors"]), found
    assert found["Touched"] == len(lost), (found, lost)
    assert {path.split(": ", 1)[1] for path in found["TouchedPaths"]} == lost, (found, lost)
    # It is loud: in the list, in the log, and by the status of a check by hand.
    assert "DAMAGED" in fresh.cli("vault", "list").stdout
    log = fresh.log_path.read_text()
    assert "the vault is damaged" in log and task["TaskId"] in log, fresh.log()
    done = fresh.cli("vault", "check", vault_id, "--read-data", status=1)
    assert all(path in done.stderr + done.stdout for path in lost), (done.stdout, done.stderr)
    told = json.loads(fresh.call("DescribeTask", TaskId=task["TaskId"])["Result"])
    assert told[0]["status"] == "FAILED" and told[0]["found"]["Check"]["DataErrors"] > 0, told
    # Backups go on as before and their list does not show it.
    jobs = fresh.call("DescribeBackupJobs2", SourceType="ECS_FILE")
    assert jobs["TotalCount"] == 1, jobs

    # A look at the structure alone does not call it mended; one that reads the data does.
    assert fresh.stop() == 0
    fresh.start(*BY_HAND)
    pack.write_bytes(whole)
    check(fresh, vault_id)
    assert health(fresh, vault_id)["Health"] == "DAMAGED"
    assert check(fresh, vault_id, "--read-data")["Status"] == "COMPLETE"
    assert health(fresh, vault_id)["Health"] == "OK"
    for restic in RESTICS:
        restic.check(repository, password)


def create_restore(service, vault_id, snapshot, target, **parameters):
    return service.call(
        "CreateRestoreJob",
        RestoreType="ECS_FILE",
        SourceType="ECS_FILE",
        VaultId=vault_id,
        SnapshotId=snapshot["SnapshotId"],
        SnapshotHash=snapshot["SnapshotHash"],
        TargetInstanceId=service.client()["InstanceId"],
        TargetPath=str(target),
        **parameters,
    )["RestoreId"]


@pytest.mark.parametrize("restic", RESTICS, ids=str)
def test_a_snapshot_that_restic_removed(fresh, folder, restic):
    """It is not offered any more, a restore of it says why, and it comes back with its file."""
    fresh.start(*BY_HAND)
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    source = Trees.small(folder / "source")
    plan_id = fresh.plan(vault_id, [source])
    first, second = (fresh.snapshot_of(vault_id, fresh.wait_job(fresh.execute(plan_id))["JobId"]) for _ in range(2))
    asked_before = create_restore(fresh, vault_id, first, folder / "before", ClientToken="asked-twice")
    # Until it has ended it may lock the repository at any moment.
    fresh.wait_restore(asked_before)

    repository, password = fresh.export(vault_id)
    kept = storage / "snapshots" / first["SnapshotHash"]
    copy = kept.read_bytes()
    wait_for("no lock of ours", lambda: not list((storage / "locks").iterdir()), 60)
    restic.run(repository, password, "forget", first["SnapshotHash"])
    assert not kept.exists()

    task = check(fresh, vault_id)
    assert task["Status"] == "COMPLETE" and task["Result"]["MissingSnapshots"] == 1, task
    assert [row["SnapshotId"] for row in fresh.snapshots(vault_id)] == [second["SnapshotId"]]
    assert health(fresh, vault_id)["MissingSnapshots"] == 1
    with pytest.raises(ApiError) as failure:
        create_restore(fresh, vault_id, first, folder / "after")
    assert failure.value.code == "SnapshotNotExist", failure.value
    assert "another program removed it" in failure.value.message, failure.value
    # A request that was sent before has its answer still.
    assert create_restore(fresh, vault_id, first, folder / "before", ClientToken="asked-twice") == asked_before
    with pytest.raises(ApiError) as failure:
        create_restore(fresh, vault_id, first, folder / "elsewhere", ClientToken="asked-twice")
    assert failure.value.code == "IdempotentParameterMismatch", failure.value

    kept.write_bytes(copy)
    task = check(fresh, vault_id)
    assert task["Result"]["ReappearedSnapshots"] == 1, task
    assert len(fresh.snapshots(vault_id)) == 2
    fresh.restore(vault_id, first, folder / "back")
    assert health(fresh, vault_id)["MissingSnapshots"] == 0


def test_a_snapshot_that_restic_made_is_listed(fresh, folder):
    """The next check of the vault finds it: it can be searched and restored, belongs to no job, and goes when restic removes it."""
    fresh.start(*BY_HAND)
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    fresh.backup(vault_id, [Trees.small(folder / "ours")])
    repository, password = fresh.export(vault_id)
    theirs = Trees.small(folder / "theirs")
    wait_for("no lock of ours", lambda: not list((storage / "locks").iterdir()), 60)
    STABLE.run(repository, password, "backup", "--tag", "by-hand", theirs)

    def listed():
        query = [{"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"}]
        found = fresh.call("SearchHistoricalSnapshots", SourceType="ECS_FILE", Query=query, Limit=100)
        return {row["Paths"]["Path"][0]: row for row in found["Snapshots"]["Snapshot"]}

    assert set(listed()) == {str(folder / "ours")}
    assert check(fresh, vault_id)["Result"]["OtherSnapshots"] == 1
    assert set(listed()) == {str(folder / "ours"), str(theirs)}
    other = listed()[str(theirs)]
    assert other["Status"] == "COMPLETE" and not other.get("JobId") and not other.get("PlanId"), other
    assert other["SnapshotHash"] in [row["id"] for row in STABLE.json(repository, password, "snapshots")]
    assert other["BytesTotal"] in (0, sum(path.stat().st_size for path in theirs.rglob("*") if path.is_file())), other
    fresh.restore(vault_id, other, folder / "restored")
    Trees.assert_same(theirs, folder / "restored" / theirs.relative_to("/"))
    assert check(fresh, vault_id)["Result"]["OtherSnapshots"] == 0, "it is known now"
    STABLE.run(repository, password, "forget", other["SnapshotHash"])
    assert check(fresh, vault_id)["Result"]["MissingSnapshots"] == 1
    assert set(listed()) == {str(folder / "ours")}


def test_a_repaired_snapshot_takes_the_place_of_the_damaged_one(fresh, folder):
    """As the documents say it: after `repo repair` the next check lists what is left, under the same plan and host."""
    fresh.start(*BY_HAND)
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    source = Trees.random_files(folder / "source", 64, seed=SEED)
    job = fresh.backup(vault_id, [source])
    before = fresh.snapshot_of(vault_id, job["JobId"])
    repository, password = fresh.export(vault_id)
    pack = max(packs(storage), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    assert check(fresh, vault_id, "--read-data", status=(1, 24))["Status"] == "FAILED"
    wait_for("no lock of ours", lambda: not list((storage / "locks").iterdir()), 60)
    env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password}
    for part in ("packs", "snapshots"):
        run([binary(), "repo", "repair", part, "--apply"], env=env)
    STABLE.check(repository, password)

    assert check(fresh, vault_id, "--read-data")["Status"] == "COMPLETE"
    [after] = fresh.snapshots(vault_id)
    assert after["SnapshotHash"] != before["SnapshotHash"], after
    for same in ("InstanceId", "ClientId", "PlanId", "Paths"):
        assert after.get(same) == before.get(same), (same, after, before)
    fresh.restore(vault_id, after, folder / "restored")
    left = {path.name for path in (folder / "restored" / source.relative_to("/")).iterdir()}
    assert 0 < len(left) < 4 and left < {path.name for path in source.iterdir()}, left


def test_a_vault_that_is_away_marks_nothing(fresh, folder):
    """Neither a folder that is gone nor an empty one in its place says that snapshots were removed."""
    fresh.start(*BY_HAND)
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    fresh.backup(vault_id, [Trees.small(folder / "source")])
    away = folder / "away"
    storage.rename(away)
    for _ in range(2):
        task = check(fresh, vault_id, status=24)
        assert task["Status"] == "FAILED" and task["Result"] is None and task["Message"], task
        assert health(fresh, vault_id)["Health"] == "CHECK_FAILED"
        assert len(fresh.snapshots(vault_id)) == 1
        storage.mkdir(exist_ok=True)
    storage.rmdir()
    away.rename(storage)
    assert check(fresh, vault_id)["Status"] == "COMPLETE"
    assert health(fresh, vault_id)["Health"] == "OK" and len(fresh.snapshots(vault_id)) == 1


def test_a_prune_frees_what_was_deleted_and_nothing_of_others(fresh, folder):
    """What a deleted snapshot alone needed goes; a snapshot that restic made in the same vault stays, whole."""
    fresh.start(*BY_HAND, "--trash", "1s", "--prune-grace", "0s")
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    ours, theirs = (Trees.random_files(folder / name, 32, seed=SEED + number) for number, name in enumerate(("ours", "theirs")))
    job = fresh.backup(vault_id, [ours])
    repository, password = fresh.export(vault_id)
    STABLE.run(repository, password, "backup", theirs)
    before = sum(packs(storage).values())
    assert before > 60_000_000
    delete_snapshot(fresh, vault_id, fresh.snapshot_of(vault_id, job["JobId"]))
    assert health(fresh, vault_id)["HasUnneededData"]
    assert sum(packs(storage).values()) == before, "deletion alone frees nothing"

    # By itself: marked by one prune, removed by the next.
    assert fresh.stop() == 0
    fresh.start("--check-every", "off", "--prune-every", "1s", "--prune-grace", "0s")

    def freed():
        done = [row["Result"]["Prune"] for row in tasks(fresh, vault_id, "PRUNE_VAULT") if row["Result"]]
        return sum(row["DeletedBytes"] for row in done)

    wait_for("the prunes that are due", lambda: freed() > 30_000_000, 240)
    after = sum(packs(storage).values())
    assert before - after > 30_000_000, (before, after)
    wait_for("nothing to be left to free", lambda: not health(fresh, vault_id)["HasUnneededData"], 240)
    assert [row["Status"] for row in tasks(fresh, vault_id, "PRUNE_VAULT")].count("FAILED") == 0
    for restic in RESTICS:
        restic.check(repository, password)
        [foreign] = restic.json(repository, password, "snapshots")
        assert foreign["paths"] == [str(theirs)]
    STABLE.run(repository, password, "restore", "latest", "--target", folder / "restored")
    Trees.assert_same(theirs, folder / "restored" / theirs.relative_to("/"))


@pytest.mark.parametrize("round_number", range(2))
def test_kill_during_a_prune(fresh, folder, round_number):
    """Killed while it writes packs anew: the same task ends well, and the vault is whole."""
    dice = random.Random(SEED + round_number)
    options = (*BY_HAND, "--trash", "1s", "--prune-grace", "0s")
    fresh.start(*options)
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    source = folder / "source"
    for number in range(300):
        Trees.random_file(source / f"file-{number:03}", 700_000, SEED * 1000 + number)
    plan_id = fresh.plan(vault_id, [source])
    job = fresh.wait_job(fresh.execute(plan_id))
    # Every second file goes, so that each pack is partly needed.
    for path in sorted(source.iterdir())[::2]:
        path.unlink()
    fresh.wait_job(fresh.execute(plan_id))
    delete_snapshot(fresh, vault_id, fresh.snapshot_of(vault_id, job["JobId"]))
    before = packs(storage)

    task_id = fresh.cli("vault", "prune", vault_id, "--detach").stdout.split()[0]
    status = lambda: next(row["Status"] for row in tasks(fresh, vault_id) if row["TaskId"] == task_id)  # noqa: E731
    wait_for("the prune to write", lambda: set(packs(storage)) - set(before) or status() == "COMPLETE", 60)
    time.sleep(dice.random() * 0.1)  # not to wait for something: to vary the moment
    fresh.kill()
    reported = [line for line in fresh.log_path.read_text().splitlines() if "was reported" in line and task_id in line]
    assert not reported, (SEED, "the prune was over before it was killed")
    repository, password = fresh.export(vault_id)
    STABLE.run(repository, password, "unlock")
    STABLE.check(repository, password)
    fresh.start(*options)
    wait_for("the prune to end", lambda: status() in ("COMPLETE", "FAILED"), 180)
    [task] = [row for row in tasks(fresh, vault_id, "PRUNE_VAULT")]
    assert (task["TaskId"], task["Status"]) == (task_id, "COMPLETE"), (SEED, task, fresh.log())
    prune(fresh, vault_id)
    prune(fresh, vault_id)
    for restic in RESTICS:
        restic.check(repository, password)
    assert sum(packs(storage).values()) < sum(before.values()) * 0.7, (SEED, tasks(fresh, vault_id, "PRUNE_VAULT"))
    STABLE.run(repository, password, "restore", "latest", "--target", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"))

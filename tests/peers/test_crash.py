"""Ends without a goodbye: kill -9 at random moments, SIGTERM, and what is left behind."""

import os
import pathlib
import random
import re
import time

import pytest

from harness.programs import RESTICS, Trees, binary, run
from harness.waiting import wait_for

# Chosen anew in each run, and said when a test fails; set the variable to repeat a run.
SEED = int(os.environ.get("STRONGROOM_TEST_SEED", time.time_ns() % 1_000_000))
MEGABYTES = 400


def stored(vault):
    """Bytes in the data packs of a vault, finished or not."""
    total = 0
    for path in pathlib.Path(vault).rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass  # a temporary file that was renamed meanwhile
    return total


def prepare(fresh, folder, megabytes=MEGABYTES, **plan):
    """A started service with a vault of its own folder and a plan for a large source."""
    source = Trees.random_files(folder / "source", megabytes, seed=SEED)
    fresh.start()
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    return source, storage, vault_id, fresh.plan(vault_id, [source], **plan)


def grown_to(fresh, job_id, storage, size):
    """Waits until the vault holds `size` bytes, or the job was faster."""
    wait_for("the vault to grow", lambda: stored(storage) >= size or fresh.job(job_id)["Status"] == "COMPLETE", 120)


def assert_whole(fresh, vault_id, source, job, folder):
    """The job ended well under its own id, and restic agrees with everything that is in the vault."""
    assert job["Status"] == "COMPLETE", (SEED, job)
    repository, password = fresh.export(vault_id)
    for restic in RESTICS:
        restic.run(repository, password, "unlock")
        restic.check(repository, password)
    [snapshot] = fresh.snapshots(vault_id)
    assert snapshot["JobId"] == job["JobId"], (SEED, snapshot)
    RESTICS[-1].run(repository, password, "restore", "latest", "--target", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"))


@pytest.mark.parametrize("round_number", range(3))
def test_kill_during_a_backup(fresh, folder, round_number):
    """Killed once to three times in the same job, each time further on."""
    dice = random.Random(SEED + round_number)
    source, storage, vault_id, plan_id = prepare(fresh, folder)
    job_id = fresh.execute(plan_id)
    kills = 0
    for _ in range(dice.randint(1, 3)):
        grown_to(fresh, job_id, storage, stored(storage) + dice.randint(0, 60) * 1_000_000)
        time.sleep(dice.random() * 0.2)  # not to wait for something: to vary the moment
        kills += fresh.job(job_id)["Status"] != "COMPLETE"
        fresh.kill()
        if dice.random() < 0.5:
            # As somebody would who lost the service here: what is in the vault is whole.
            RESTICS[0].run(storage, password_of(fresh, vault_id), "unlock")
            RESTICS[0].run(storage, password_of(fresh, vault_id), "check")
        fresh.start()
    assert kills, (SEED, "the job was over before it was killed")
    assert_whole(fresh, vault_id, source, fresh.wait_job(job_id), folder)


def password_of(fresh, vault_id):
    """The vault's password, without the service."""
    return fresh.export(vault_id)[1]


def test_what_was_uploaded_is_used_again(fresh, folder):
    """Packs whose index was never written are adopted: the vault does not hold the data twice."""
    source, storage, vault_id, plan_id = prepare(fresh, folder, SpeedLimit="0:24:102400")
    job_id = fresh.execute(plan_id)
    wait_for("most of the data to be uploaded", lambda: stored(storage) > MEGABYTES * 600_000, 120)
    fresh.kill()
    fresh.start()
    job = fresh.wait_job(job_id)
    assert_whole(fresh, vault_id, source, job, folder)
    assert stored(storage) < MEGABYTES * 1_150_000, f"{stored(storage)} bytes for {MEGABYTES} MB"


def test_a_stop_keeps_the_job(fresh, folder):
    """SIGTERM ends the service cleanly in the middle of a job; the next start goes on with it."""
    source, storage, vault_id, plan_id = prepare(fresh, folder, SpeedLimit="0:24:51200")
    job_id = fresh.execute(plan_id)
    wait_for("the vault to grow", lambda: stored(storage) > 50_000_000, 120)
    assert fresh.stop() in (0, 130), fresh.log()
    assert not list((storage / "locks").iterdir()), "a stopped service leaves no lock"
    before = stored(storage)
    fresh.start()
    job = fresh.wait_job(job_id)
    assert_whole(fresh, vault_id, source, job, folder)
    assert abs(job["ActualBytes"] - stored(storage)) < MEGABYTES * 100_000, (job["ActualBytes"], stored(storage))
    # What the first run had stored is not stored again: the packs that it left open are all that may be.
    assert stored(storage) < MEGABYTES * 1_150_000, f"{before} bytes before, {stored(storage)} after"


def test_kill_while_idle_and_while_creating(fresh, folder):
    """Killed right after each answer: what was answered is kept."""
    fresh.start()
    vault_id = fresh.call("CreateVault", VaultName="v", VaultRegionId="cn-hangzhou")["VaultId"]
    fresh.kill()
    fresh.start()
    fresh.wait_vault(vault_id)
    plan_id = fresh.plan(vault_id, [Trees.small(folder / "source")])
    fresh.kill()
    fresh.start()
    job_id = fresh.execute(plan_id)
    fresh.kill()
    fresh.start()
    assert fresh.wait_job(job_id)["Status"] == "COMPLETE"
    client = fresh.client()
    fresh.kill()
    fresh.start()
    assert fresh.client()["InstanceId"] == client["InstanceId"] and fresh.client()["ClientId"] == client["ClientId"]


def test_kill_during_a_restore(fresh, folder):
    source, _, vault_id, plan_id = prepare(fresh, folder, megabytes=200)
    job = fresh.wait_job(fresh.execute(plan_id))
    snapshot = fresh.snapshot_of(vault_id, job["JobId"])
    target = folder / "target"
    restore_id = fresh.call(
        "CreateRestoreJob",
        RestoreType="ECS_FILE",
        SourceType="ECS_FILE",
        VaultId=vault_id,
        SnapshotId=snapshot["SnapshotId"],
        SnapshotHash=snapshot["SnapshotHash"],
        TargetInstanceId=job["InstanceId"],
        TargetPath=str(target),
    )["RestoreId"]
    wait_for("the restore to write", lambda: target.exists() and stored(target) > 20_000_000)
    fresh.kill()
    fresh.start()

    def ended():
        [found] = fresh.call("DescribeRestoreJobs2", RestoreType="ECS_FILE")["RestoreJobs"]["RestoreJob"]
        assert found["RestoreId"] == restore_id and found["Status"] != "FAILED", found
        return found["Status"] == "COMPLETE"

    wait_for("the restore to end", ended, 120)
    Trees.assert_same(source, target / source.relative_to("/"), "--skip-root")


TRACED = "fsync,fdatasync,rename,renameat,renameat2,link,linkat"
RENAME = re.compile(r'renameat2\(\d+<(.*?)>, "(.*?)", \d+<.*?>, "(.*?)", RENAME_NOREPLACE\)\s+= 0')
SYNC = re.compile(r"(fsync|fdatasync)\(\d+<(.*?)>\)\s+= 0")


def test_every_file_of_a_vault_is_synced_before_and_after_it_gets_its_name(folder):
    """What a power cut leaves follows from the order of system calls: content, name, names of the folder; and packs
    before their index, the index before the snapshot."""
    source = Trees.random_files(folder / "source", 20, seed=SEED)
    vault, trace = folder / "vault", folder / "trace"
    env = {"RESTIC_REPOSITORY": str(vault), "RESTIC_PASSWORD": "p"}
    run([binary(), "repo", "init"], env=env)
    run(["strace", "-f", "-y", "-qq", "-e", f"trace={TRACED}", "-o", trace, binary(), "repo", "backup", source], env=env)
    # A call that another thread interrupted is in two lines: put together by thread, at the place of its end.
    begun, calls = {}, []
    for line in trace.read_text(errors="replace").splitlines():
        thread, text = line.split(maxsplit=1)
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix(" <unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
            text = begun.pop(thread) + resumed[1]
        calls.append(text)
    placed = []
    for number, call in enumerate(calls):
        if not (rename := RENAME.match(call)):
            assert not (call.startswith(("rename", "link")) and call.endswith("= 0")), call
            continue
        root, temporary, name = rename.groups()
        synced = [(at, *sync.groups()) for at, text in enumerate(calls) if (sync := SYNC.match(text))]
        temporary, parent = f"{root}/{temporary}", os.path.dirname(f"{root}/{name}")
        assert any(at < number and path == temporary for at, _, path in synced), (name, calls)
        ends = [at for at, call, path in synced if at > number and path == parent and call == "fsync"]
        assert ends, (name, calls)
        placed.append((name.split("/")[0], number, min(ends)))
    kinds = {kind for kind, _, _ in placed}
    assert kinds == {"data", "index", "locks", "snapshots"}, kinds
    [snapshot] = [number for kind, number, _ in placed if kind == "snapshots"]
    assert all(end < snapshot for kind, _, end in placed if kind in ("data", "index")), placed
    first_index = min(number for kind, number, _ in placed if kind == "index")
    assert any(end < first_index for kind, _, end in placed if kind == "data"), placed

"""What is kept: promises, holds, the trash, and what a simulation says before anything goes."""

import json
import time

import pytest
from harness.programs import Trees
from harness.service import Service
from harness.signing import ApiError
from harness.waiting import wait_for

DAY = 86400


@pytest.fixture(scope="module")
def service(module_folder):
    """A service whose trash is short enough to wait for."""
    started = Service(module_folder / "service")
    try:
        yield started.start("--trash", "4s", "--timezone", "Europe/Berlin")
    finally:
        started.close()


@pytest.fixture(scope="module")
def kept(service, module_folder):
    """Three snapshots of one plan that keeps them for a week, the newest always."""
    source = Trees.small(module_folder / "kept")
    vault_id = service.vault("kept")
    plan_id = service.plan(vault_id, [source], name="kept", Retention=7, KeepLatestSnapshots=1)
    jobs = [service.wait_job(service.execute(plan_id)) for _ in range(3)]
    assert all(job["Status"] == "COMPLETE" for job in jobs), jobs
    return {"vault": vault_id, "plan": plan_id, "ids": [service.snapshot_of(vault_id, job["JobId"])["SnapshotId"] for job in jobs]}


def simulate(service, *arguments):
    lines = service.cli("policy", "simulate", "--json", *arguments).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["SnapshotId"]: (row["Keep"], row["Reason"]) for row in rows}


def test_a_simulation_says_what_would_go(service, kept):
    first, second, newest = kept["ids"]
    of_plan = ("--plan", kept["plan"])
    assert set(simulate(service, *of_plan).values()) == {(True, "DAYS")} | {(True, "LATEST")}
    then = int(time.time()) + 8 * DAY
    assert simulate(service, *of_plan, "--at", then) == {
        first: (False, "EXPIRED"),
        second: (False, "EXPIRED"),
        newest: (True, "LATEST"),
    }
    # By other rules: the first of its day and month stays longer, and nothing is kept for being the newest.
    other = ("--at", then, "--days", 7, "--monthly", 90)
    found = simulate(service, *of_plan, *other)
    assert found[first] == (True, "MONTHLY") and found[newest] == (False, "EXPIRED")
    text = service.cli("policy", "simulate", *of_plan, "--at", then).stdout
    assert "1 kept, 2 would go, at most" in text, text
    assert len(service.snapshots(kept["vault"])) == 3, "a simulation changed something"


def test_a_deleted_snapshot_can_be_taken_back(service, kept):
    first = kept["ids"][0]
    service.call("DeleteSnapshot", SnapshotId=first, VaultId=kept["vault"], SourceType="ECS_FILE")
    assert len(service.snapshots(kept["vault"])) == 2
    [trashed] = service.call("ListTrash")["Snapshots"]
    assert trashed["SnapshotId"] == first and trashed["Until"] <= time.time() + 5
    assert "s-" in service.cli("snapshot", "trash").stdout
    service.cli("snapshot", "recover", first)
    assert len(service.snapshots(kept["vault"])) == 3 and service.call("ListTrash")["Snapshots"] == []


def test_a_held_snapshot_stays(service, kept):
    first = kept["ids"][0]
    service.cli("snapshot", "hold", first, "--reason", "an audit")
    with pytest.raises(ApiError) as failure:
        service.call("DeleteSnapshot", SnapshotId=first, VaultId=kept["vault"], SourceType="ECS_FILE")
    assert failure.value.code == "SnapshotHeld" and "an audit" in failure.value.message, failure.value
    assert simulate(service, "--at", int(time.time()) + 900 * DAY)[first] == (True, "HELD")
    service.cli("snapshot", "release", first)


def test_after_the_trash_it_is_gone_from_the_vault(service, kept):
    first = kept["ids"][0]
    folder = service.data_dir / "vaults" / kept["vault"] / "snapshots"
    assert len(list(folder.iterdir())) == 3
    service.cli("snapshot", "delete", first, "--yes")
    assert len(list(folder.iterdir())) == 3, "it went without a rest in the trash"
    wait_for("the agent to remove it", lambda: len(list(folder.iterdir())) == 2, 60)
    with pytest.raises(ApiError) as failure:
        service.call("RecoverSnapshot", SnapshotId=first)
    assert failure.value.code in ("SnapshotNotExist", "SnapshotInUse"), failure.value

"""Full disks: the job fails and says so, the service answers on, nothing that was there is lost."""

import subprocess

import pytest
from harness import programs
from harness.programs import STABLE, Trees
from harness.service import FINAL
from harness.signing import ApiError
from harness.waiting import wait_for


def says_full(text):
    return "no space" in text.lower() or "full" in text.lower()


def test_a_full_vault(fresh, folder, small_disk):
    disk = small_disk("disk", 96)
    source = Trees.random_files(folder / "source", 16)
    fresh.start()
    vault_id = fresh.vault(StorageUrl=str(disk / "vault"))
    good = fresh.backup(vault_id, [source], name="fits")
    big = Trees.random_files(folder / "big", 160, seed=2)
    plan_id = fresh.plan(vault_id, [big], name="too big")
    failed = fresh.wait_job(fresh.execute(plan_id))
    assert failed["Status"] == "FAILED" and says_full(failed["ErrorMessage"]), failed
    assert "CompleteTime" in failed

    # The service answers, and what was backed up before is whole.
    assert fresh.job(good["JobId"])["Status"] == "COMPLETE"
    repository, password = fresh.export(vault_id)
    snapshots = STABLE.run(repository, password, "snapshots", "--json", "--no-lock").stdout
    assert good["JobId"] in snapshots and failed["JobId"] not in snapshots
    STABLE.run(repository, password, "restore", "latest", "--target", folder / "restored", "--no-lock")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"))

    # With room again the same plan succeeds, and uses what the failed job had uploaded.
    subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
    again = fresh.wait_job(fresh.execute(plan_id))
    assert again["Status"] == "COMPLETE", again
    STABLE.run(repository, password, "unlock")
    STABLE.check(repository, password)


def test_a_full_data_directory(fresh, folder, small_disk):
    """The catalog cannot grow: calls that write are refused, those that read are answered, and it recovers."""
    disk = small_disk("disk", 24)
    fresh.data_dir = disk / "data"
    source = Trees.small(folder / "source")
    fresh.start()
    vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
    plan_id = fresh.plan(vault_id, [source])
    good = fresh.wait_job(fresh.execute(plan_id))
    assert good["Status"] == "COMPLETE"

    ballast = disk / "ballast"
    # Without a buffer, which would fail once more when the file is closed.
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass
    outcomes = set()
    for number in range(40):
        try:
            fresh.call(
                "CreateVault",
                VaultName=f"more {number}",
                VaultRegionId="cn-hangzhou",
                Description="d" * 255,
                StorageUrl=str(folder / f"more-{number}"),
            )
            outcomes.add("accepted")
        except ApiError as failure:
            assert failure.http_status >= 400, failure
            outcomes.add(failure.code)
    assert outcomes - {"accepted"}, "the disk was never full"
    assert fresh.call("DescribeVaults", VaultId=vault_id)["Vaults"]["Vault"][0]["VaultId"] == vault_id
    assert fresh.job(good["JobId"])["Status"] == "COMPLETE"
    job_id = None
    try:
        job_id = fresh.execute(plan_id)
    except ApiError as failure:
        assert failure.http_status >= 400

    ballast.unlink()
    wait_for("the service to write again", lambda: _writes(fresh), 60)
    if job_id:
        assert wait_for("the job to end", lambda: fresh.job(job_id)["Status"] in FINAL, 120)
    again = fresh.wait_job(fresh.execute(plan_id))
    assert again["Status"] == "COMPLETE", again
    assert fresh.job(good["JobId"]) == good, "history is kept"


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_repository_that_nobody_can_write_to_is_read_without_a_lock(folder, small_disk, state):
    disk = small_disk("disk", 24)
    env = {"RESTIC_REPOSITORY": str(disk / "repository"), "RESTIC_PASSWORD": "correct horse"}

    def engine(*arguments, status=0):
        return programs.run([programs.binary(), "repo", *arguments], status=status, env=env)

    source = Trees.small(folder / "source")
    engine("init")
    engine("backup", source)
    if state == "full":
        with open(disk / "ballast", "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"\0" * 4096)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    target = folder / "restored"
    for command in (["check", "--read-data"], ["ls", "latest"], ["stats"]):
        assert "--no-lock" in engine(*command, status=1).stderr
        engine(*command, "--no-lock")
    engine("snapshots", "--no-lock")
    engine("restore", "latest", "--target", target, "--no-lock")
    Trees.assert_same(source, target / source.relative_to("/"))


def _writes(fresh):
    try:
        vaults = fresh.call("DescribeVaults")["Vaults"]["Vault"]
        fresh.call("UpdateVault", VaultId=vaults[-1]["VaultId"], Description="written again")
        return True
    except ApiError:
        return False

"""The catalog in a vault: after losing everything else, the vault and the recovery file bring the service back, into SQLite
or PostgreSQL, whichever it came from."""

import json
import os
import shutil
import subprocess
import uuid

import pytest
from harness.programs import STABLE, Trees, run
from harness.service import Service
from harness.signing import ApiError, SignedCaller
from harness.waiting import wait_for

TAG = "strongroom-catalog"
NEVER = ("--catalog-backup-every", "off")


def psql(sql):
    url = os.environ["STRONGROOM_TEST_POSTGRES"]
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", sql], check=True)


@pytest.fixture
def url():
    """An empty database of the test's own."""
    name = f"peers_{uuid.uuid4().hex}"
    psql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield os.environ["STRONGROOM_TEST_POSTGRES"].rsplit("/", 1)[0] + f"/{name}"
    psql(f"DROP DATABASE {name} WITH (FORCE)")


def tasks(service, vault_id):
    """The backups of the catalog, the newest first."""
    lines = service.cli("vault", "tasks", vault_id, "--json").stdout.splitlines()
    return [row for row in map(json.loads, lines) if row["Kind"] == "BACKUP_CATALOG"]


def health(service, vault_id):
    [vault] = [row for row in service.call("DescribeVaultHealth")["Vaults"] if row["VaultId"] == vault_id]
    return vault


def back_up(service, *arguments):
    return json.loads(service.cli("catalog", "backup", "--json", *arguments).stdout)


def everything(service):
    """What users see of a service: each list of it, with exact counts."""
    told = {}
    for action, parameters in [
        ("DescribeVaults", {}),
        ("DescribeBackupPlans", {"SourceType": "ECS_FILE"}),
        ("DescribePoliciesV2", {}),
        ("DescribeBackupJobs2", {"SourceType": "ECS_FILE", "PageSize": 99, "SortDirection": "ASCEND"}),
        ("ListUsers", {}),
        ("ListAccounts", {}),
    ]:
        reply = service.call(action, **parameters)
        told[action] = {key: value for key, value in reply.items() if key not in ("RequestId", "Cost")}
    told["snapshots"] = snapshot_hashes(service)
    told["jobs"] = sorted(listed(service, "jobs", "export"))
    told["audit"] = listed(service, "audit", "export")[:5]
    return told


def snapshot_hashes(service):
    return [row["SnapshotHash"] for row in map(json.loads, listed(service, "snapshots"))]


def listed(service, *words):
    json_flag = () if words[-1] == "export" else ("--json",)
    return service.cli(*words, *json_flag).stdout.splitlines()


def fill(service, folder):
    """A vault outside of the data directory, plans, policies, jobs, a user with a key. Gives the vault's storage and id and
    the user's key."""
    storage = folder / "vault"
    vault_id = service.vault("away", StorageUrl=str(storage))
    source = Trees.small(folder / "source")
    service.backup(vault_id, [source], name="first")
    plan_id = service.plan(vault_id, [source], name="second")
    for _ in range(3):
        service.wait_job(service.execute(plan_id))
    service.call(
        "CreatePolicyV2",
        PolicyName="nightly",
        Rules=[{"RuleType": "BACKUP", "BackupType": "COMPLETE", "Schedule": "I|1893456000|P1D", "Retention": 30}],
    )
    policy = folder / "policy.json"
    statement = {"Effect": "Allow", "Action": "hbr:Describe*", "Resource": "*"}
    policy.write_text(json.dumps({"Version": "1", "Statement": [statement]}))
    service.cli("user", "create", "ann", "--policy", policy)
    key = json.loads(service.cli("key", "create", "--user", "ann", "--json").stdout)
    service.cli("account", "create", "other")
    return storage, vault_id, key


def lost(service, folder):
    """Everything but the vault and the recovery file is gone. Gives the file."""
    [recovery] = service.data_dir.glob("recovery-*.txt")
    kept = folder / "kept.txt"
    shutil.copy(recovery, kept)
    assert service.stop() == 0
    shutil.rmtree(service.folder)
    return kept


def may(service, key, action, **parameters):
    """Whether a key may call an action."""
    credentials = {**service.credentials(), "AccessKeyId": key["AccessKeyId"], "AccessKeySecret": key["AccessKeySecret"]}
    try:
        return bool(SignedCaller(credentials).call(action, parameters))
    except ApiError:
        return False


def test_everything_is_back_from_the_vault_and_the_recovery_file(fresh, folder):
    fresh.start(*NEVER)
    storage, vault_id, key = fill(fresh, folder)
    before, root = everything(fresh), fresh.credentials()
    done = back_up(fresh)
    assert done["Status"] == "COMPLETE" and done["VaultId"] == vault_id, done
    fresh.backup(vault_id, [folder / "source"], name="later")
    [later] = set(snapshot_hashes(fresh)) - set(before["snapshots"])
    kept = lost(fresh, folder)

    after = Service(folder / "new-machine")
    try:
        told = after.cli("catalog", "restore", "--recovery-file", kept, "--storage", storage)
        assert "4 jobs" in told.stdout and "2 accounts" in told.stdout, told
        after.start(*NEVER)
        found = everything(after)
        assert found == before
        assert {name: after.credentials()[name] for name in ("AccessKeyId", "AccessKeySecret", "AccountId")} == {
            name: root[name] for name in ("AccessKeyId", "AccessKeySecret", "AccountId")
        }
        assert may(after, key, "DescribeVaults") and not may(after, key, "DeleteVault", VaultId=vault_id)
        # What came after the backup is in the vault still, and its check finds it.
        after.cli("vault", "check", vault_id)
        assert set(snapshot_hashes(after)) == {later, *before["snapshots"]}
        # It goes on: backups, restores, the audit log, backups of the catalog.
        source = folder / "source"
        after.backup(vault_id, [source], name="after")
        after.restore(vault_id, after.snapshots(vault_id)[0], folder / "restored")
        Trees.assert_same(source, folder / "restored" / source.relative_to("/"))
        after.cli("audit", "verify")
        assert back_up(after)["Status"] == "COMPLETE"
        assert [row["Status"] for row in tasks(after, vault_id)] == ["COMPLETE", "CANCELED"]
        STABLE.check(*after.export(vault_id))
        # A catalog that is there is never touched.
        assert after.stop() == 0
        refused = after.cli("catalog", "restore", "--recovery-file", kept, "--storage", storage, status=1)
        assert "there is a catalog" in refused.stderr, refused
        after.start(*NEVER)
        assert len(everything(after)["jobs"]) == 5
    finally:
        after.close()


def test_between_sqlite_and_postgresql_in_both_directions(fresh, folder, url):
    fresh.start(*NEVER)
    storage, vault_id, key = fill(fresh, folder)
    before = everything(fresh)
    back_up(fresh)
    kept = lost(fresh, folder)
    on_server, on_file = Service(folder / "postgres"), Service(folder / "sqlite")
    try:
        on_server.cli("catalog", "restore", "--recovery-file", kept, "--storage", storage, "--catalog", url)
        refused = on_file.cli(
            "catalog", "restore", "--recovery-file", kept, "--storage", storage, "--catalog", url, status=1
        )
        assert "there is a catalog already" in refused.stderr, refused
        shutil.rmtree(on_file.data_dir)
        on_server.start("--catalog", url, *NEVER)
        assert everything(on_server) == before and may(on_server, key, "DescribeVaults")
        on_server.backup(vault_id, [folder / "source"], name="on postgres")
        before = everything(on_server)
        assert back_up(on_server)["Status"] == "COMPLETE"
        master_key = folder / "master.key"
        shutil.copy(on_server.data_dir / "master.key", master_key)
        assert on_server.stop() == 0
        shutil.rmtree(on_server.folder)
        # The master key does as well as the recovery file.
        on_file.cli("catalog", "restore", "--from-master-key", master_key, "--storage", storage)
        on_file.start(*NEVER)
        assert everything(on_file) == before and may(on_file, key, "DescribeVaults")
        on_file.backup(vault_id, [folder / "source"], name="on sqlite")
    finally:
        on_server.close()
        on_file.close()


def test_stock_restic_dumps_it_and_only_the_recovery_file_opens_it(fresh, folder):
    fresh.start(*NEVER)
    storage, vault_id, _ = fill(fresh, folder)
    sizes = [back_up(fresh)["Result"]["Catalog"] for _ in range(2)]
    repository, password = fresh.export(vault_id)
    snapshots = STABLE.json(repository, password, "snapshots", "--tag", TAG)
    assert snapshots[-1]["paths"] == ["/catalog.strongroom"], snapshots
    # No snapshot of a host: the service shows it nowhere as one.
    assert len(listed(fresh, "snapshots")) == 4
    copy = folder / "copy"
    with open(copy, "wb") as out:
        command = [STABLE.program, "--no-cache", "-r", repository, "dump", "--tag", TAG, "latest", "/catalog.strongroom"]
        environment = {**os.environ, "RESTIC_PASSWORD": password}
        subprocess.run([str(word) for word in command], stdout=out, check=True, env=environment)
    assert copy.stat().st_size == sizes[-1]["Bytes"]
    bytes_ = copy.read_bytes()
    for secret in (b"ann", b"nightly", b"master.key", fresh.credentials()["AccountId"].encode(), password.encode()):
        assert secret not in bytes_, secret
    other = Service(folder / "other")
    try:
        other.start(*NEVER)
        [wrong] = other.data_dir.glob("recovery-*.txt")
        assert other.stop() == 0
        refused = Service(folder / "third").cli("catalog", "restore", "--recovery-file", wrong, "--copy", copy, status=1)
        assert "of another service" in refused.stderr, refused
    finally:
        other.close()
    kept = lost(fresh, folder)
    after = Service(folder / "after")
    try:
        torn = folder / "torn"
        torn.write_bytes(bytes_[: len(bytes_) * 2 // 3])
        refused = after.cli("catalog", "restore", "--recovery-file", kept, "--copy", torn, status=1)
        assert "ends too early" in refused.stderr, refused
        after.cli("catalog", "restore", "--recovery-file", kept, "--copy", copy)
        after.start(*NEVER)
        assert len(listed(after, "jobs", "export")) == 4
    finally:
        after.close()
    # Whoever takes the vault over gets the snapshots of hosts alone.
    told = Service(folder / "adopted").cli("vault", "adopt", "--recovery-file", kept, "--storage", storage)
    assert "4 snapshots" in told.stdout, told


def test_by_itself_every_so_often_and_a_failure_is_seen(fresh, folder):
    fresh.start("--catalog-backup-every", "2s")
    inside = fresh.vault("inside")
    storage = folder / "vault"
    vault_id = fresh.vault("away", StorageUrl=str(storage))
    ended = lambda: [row for row in tasks(fresh, vault_id) if row["Status"] == "COMPLETE"]  # noqa: E731
    done = wait_for("a backup by itself", ended, 120)
    assert not tasks(fresh, inside), "what lies outside of the data directory goes first"
    assert health(fresh, vault_id)["CatalogBackup"]["SnapshotHash"] == done[0]["Result"]["Catalog"]["SnapshotHash"]
    # The vault is away.
    storage.rename(folder / "moved")
    wait_for(
        "the failure in the vault's health",
        lambda: health(fresh, vault_id)["Health"] == "CATALOG_BACKUP_FAILED",
        120,
    )
    assert "CATALOG_BACKUP_FAILED" in fresh.cli("vault", "list").stdout
    assert tasks(fresh, vault_id)[0]["Status"] == "FAILED" and "BACKUP_CATALOG" in fresh.log_path.read_text()
    (folder / "moved").rename(storage)
    assert back_up(fresh)["Status"] == "COMPLETE"
    assert health(fresh, vault_id)["CatalogBackup"]["Trouble"] is None


def test_only_the_operators_root_key_may_ask_for_it(fresh, folder):
    fresh.start(*NEVER)
    storage, vault_id, key = fill(fresh, folder)
    everything_policy = folder / "all.json"
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    everything_policy.write_text(json.dumps({"Version": "1", "Statement": [statement]}))
    fresh.cli("user", "create", "bob", "--policy", everything_policy)
    bob = json.loads(fresh.cli("key", "create", "--user", "bob", "--json").stdout)
    assert may(fresh, bob, "CheckVault", VaultId=vault_id)
    assert not may(fresh, bob, "BackupCatalog") and not may(fresh, key, "BackupCatalog")
    other = json.loads(fresh.cli("account", "create", "third", "--json").stdout)
    assert may(fresh, other, "DescribeVaults") and not may(fresh, other, "BackupCatalog")
    assert not tasks(fresh, vault_id)


def test_a_vault_that_has_moved_and_one_of_another_data_directory(fresh, folder):
    """The default vault lies in the data directory: a copy of it elsewhere is enough."""
    fresh.start(*NEVER)
    vault_id = fresh.vault("default")
    fresh.backup(vault_id, [Trees.small(folder / "source")])
    back_up(fresh, "--vault", "default")
    copied = folder / "copied"
    shutil.copytree(fresh.data_dir / "vaults" / vault_id, copied)
    kept = lost(fresh, folder)
    after = Service(folder / "after")
    try:
        told = after.cli("catalog", "restore", "--recovery-file", kept, "--storage", copied)
        assert "the catalog says now where it is" in told.stderr, told
        after.start(*NEVER)
        [vault] = after.call("DescribeVaults")["Vaults"]["Vault"]
        assert vault["VaultId"] == vault_id and vault["Status"] == "CREATED"
        after.backup(vault_id, [folder / "source"], name="again")
        run(["ls", copied])
    finally:
        after.close()

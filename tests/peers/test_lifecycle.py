"""The whole life of a backup, through each real client: vault, plan, job, snapshot, restore, deletion."""

import json
import time

import pytest

from harness.contract import check_response
from harness.programs import Trees
from harness.service import DAILY, FINAL
from harness.signing import ApiError
from harness.waiting import wait_for


class Life:
    """One client's way through the API. Each response is checked against the contract on the way."""

    def __init__(self, caller, source):
        self.caller, self.source = caller, source

    def call(self, action, **parameters):
        return check_response(action, self.caller.call(action, parameters))

    def instance_id(self):
        clients = self.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
        assert [client["Status"] for client in clients] == ["ACTIVATED"], clients
        return clients[0]["InstanceId"]

    def make_vault(self, name):
        vault_id = self.call("CreateVault", VaultName=name, VaultRegionId="cn-hangzhou", Description="by a test")[
            "VaultId"
        ]

        def created():
            vaults = self.call("DescribeVaults", VaultId=vault_id, VaultRegionId="cn-hangzhou")["Vaults"]["Vault"]
            return vaults[0]["Status"] == "CREATED"

        wait_for("the vault to be CREATED", created)
        return vault_id

    def make_plan(self, vault_id, instance_id, name):
        return self.call(
            "CreateBackupPlan",
            SourceType="ECS_FILE",
            VaultId=vault_id,
            PlanName=name,
            BackupType="COMPLETE",
            Schedule=DAILY,
            Retention=7,
            InstanceId=instance_id,
            Path=[str(self.source)],
            Options='{"UseVSS":false}',
            Exclude='["*.skip"]',
            SpeedLimit="0:24:512000",
        )["PlanId"]

    def jobs(self, *filters, **parameters):
        rows = [{"Key": key, "Operator": operator, "Values": values} for key, operator, values in filters]
        filters = [{name: value for name, value in row.items() if value} for row in rows]
        page = self.call("DescribeBackupJobs2", SourceType="ECS_FILE", Filters=filters, **parameters)
        assert page["TotalCount"] >= len(page["BackupJobs"]["BackupJob"])
        return page["BackupJobs"]["BackupJob"]

    def wait_job(self, job_id):
        seen = []

        def ended():
            [job] = self.jobs(("JobId", "IN", [job_id]))
            seen.append(job)
            return job if job["Status"] in FINAL else None

        job = wait_for("the job to end", ended, 120)
        progress = [job["Progress"] for job in seen]
        assert progress == sorted(progress) and all(0 <= value <= 10000 for value in progress), progress
        assert all("CompleteTime" not in job for job in seen if job["Status"] not in FINAL), seen
        return job

    def snapshot(self, vault_id, instance_id, job_id):
        query = [
            {"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"},
            {"field": "InstanceId", "value": instance_id, "operation": "MATCH_TERM"},
        ]
        page = self.call(
            "SearchHistoricalSnapshots",
            SourceType="ECS_FILE",
            Query=query,
            Limit=10,
            Order="DESC",
            SortBy="CreatedTime",
        )
        [snapshot] = [item for item in page["Snapshots"]["Snapshot"] if item["JobId"] == job_id]
        return snapshot

    def browse(self, vault_id, snapshot_hash, path):
        page = self.call("BrowseFiles", VaultId=vault_id, SnapshotHash=snapshot_hash, AbsolutePath=path, MaxResults=100)
        return {node["Name"]: node for node in page["Nodes"]["Node"]}

    def restore(self, vault_id, snapshot, instance_id, target):
        options = {"includes": [], "excludes": [], "conflictPolicy": "OVERWRITE_EXISTING"}
        restore_id = self.call(
            "CreateRestoreJob",
            RestoreType="ECS_FILE",
            SourceType="ECS_FILE",
            VaultId=vault_id,
            SnapshotId=snapshot["SnapshotId"],
            SnapshotHash=snapshot["SnapshotHash"],
            TargetInstanceId=instance_id,
            TargetPath=str(target),
            Options=json.dumps(options),
        )["RestoreId"]

        def ended():
            page = self.call(
                "DescribeRestoreJobs2",
                RestoreType="ECS_FILE",
                Filters=[{"Key": "VaultId", "Operator": "EQUAL", "Values": [vault_id]}],
            )
            [job] = [job for job in page["RestoreJobs"]["RestoreJob"] if job["RestoreId"] == restore_id]
            return job if job["Status"] in FINAL else None

        return wait_for("the restore to end", ended, 120)


@pytest.fixture(scope="module")
def source(module_folder):
    """A tree with every kind of file, and one that is excluded."""
    tree = Trees.every_kind(module_folder / "source")
    (tree / "left-out.skip").write_text("excluded\n")
    return tree


def test_the_whole_life_of_a_backup(caller, request, source, folder):
    life = Life(caller, source)
    name = request.node.callspec.params["caller"]
    regions = life.call("DescribeRegions")["Regions"]["Region"]
    assert any(region["RegionId"] == "cn-hangzhou" for region in regions)
    instance_id = life.instance_id()
    vault_id = life.make_vault(f"life {name}")
    plan_id = life.make_plan(vault_id, instance_id, f"plan {name}")
    assert (
        life.call("DescribeBackupPlans", SourceType="ECS_FILE", Filters=[{"Key": "planId", "Values": [plan_id]}])[
            "BackupPlans"
        ]["BackupPlan"][0]["PlanName"]
        == f"plan {name}"
    )

    started = int(time.time())
    job_id = life.call("ExecuteBackupPlan", PlanId=plan_id, VaultId=vault_id, SourceType="ECS_FILE")["JobId"]
    job = life.wait_job(job_id)
    assert (job["Status"], job["Progress"]) == ("COMPLETE", 10000), job
    assert (job["VaultId"], job["PlanId"], job["InstanceId"]) == (vault_id, plan_id, instance_id)
    assert job["Paths"] == {"Path": [str(source)]}
    assert (job["Exclude"], job["SpeedLimit"]) == ('["*.skip"]', "0:24:512000")
    assert (
        started - 1
        <= job["CreatedTime"]
        <= job["StartTime"]
        <= job["CompleteTime"]
        <= job["UpdatedTime"]
        <= time.time() + 1
    )
    assert job["FilesTotal"] == job["FilesDone"] > 100 and job["BytesTotal"] > 100_000_000

    queries(life, vault_id, job)
    snapshot = life.snapshot(vault_id, instance_id, job_id)
    assert snapshot["Status"] == "COMPLETE" and len(snapshot["SnapshotHash"]) == 64
    assert "plain" in life.browse(vault_id, snapshot["SnapshotHash"], str(source))
    restored = life.restore(vault_id, snapshot, instance_id, folder / "restored")
    assert restored["Status"] == "COMPLETE", restored
    (source / "left-out.skip").rename(folder / "aside")
    try:
        Trees.assert_same(source, folder / "restored" / source.relative_to("/"), "--holes", "--skip-root")
    finally:
        (folder / "aside").rename(source / "left-out.skip")

    life.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"], VaultId=vault_id, SourceType="ECS_FILE")
    life.call("DeleteBackupPlan", PlanId=plan_id, VaultId=vault_id, SourceType="ECS_FILE")
    life.call("DeleteVault", VaultId=vault_id)
    wait_for("the vault to be gone", lambda: not life.call("DescribeVaults", VaultId=vault_id)["Vaults"]["Vault"])
    with pytest.raises(ApiError) as failure:
        life.call("ExecuteBackupPlan", PlanId=plan_id, VaultId=vault_id, SourceType="ECS_FILE")
    # The transport of Terraform and pop-core tell no status, and each has its own way to decorate a code.
    assert failure.value.http_status in (None, 404) and "PlanNotExist" in failure.value.code, failure.value


def queries(life, vault_id, job):
    """The filters a user of this client writes, with both encodings of BETWEEN and of IN."""
    created, completed, mine = job["CreatedTime"], job["CompleteTime"], ("VaultId", "EQUAL", [vault_id])
    matching = [
        ("VaultId", "IN", [vault_id]),
        ("VaultId", None, [vault_id, "v-other"]),
        ("VaultId", "IN", [f'["{vault_id}","v-other"]']),
        ("vaultid", "EQUAL", [vault_id]),
        ("CreatedTime", "BETWEEN", [str(created), str(created)]),
        ("CreatedTime", "BETWEEN", [f"[{created - 5},{created + 5}]"]),
        ("CompleteTime", "BETWEEN", [f'["{completed}", "{completed}"]']),
        ("CompleteTime", "GREATER_THAN_OR_EQUAL", [str(completed)]),
        ("CreatedTime", "LESS_THAN_OR_EQUAL", [str(created)]),
        ("Status", "NOT_EQUAL", ["FAILED"]),
        ("Bucket", "NOT_EQUAL", ["a-bucket"]),
        ("RegionId", "EQUAL", ["cn-hangzhou"]),
    ]
    for row in matching:
        assert [found["JobId"] for found in life.jobs(mine, row, PageSize=100)] == [job["JobId"]], row
    others = [
        ("Status", "EQUAL", ["FAILED"]),
        ("CompleteTime", "GREATER_THAN", [str(completed)]),
        ("CreatedTime", "LESS_THAN", [str(created)]),
        ("Bucket", "IN", ["a-bucket"]),
        ("JobId", "EQUAL", ["job-none"]),
    ]
    for row in others:
        assert life.jobs(mine, row) == [], row
    with pytest.raises(ApiError) as failure:
        life.jobs(("CompleteTime", "IN", [str(completed)]))
    assert "InvalidParameter" in failure.value.code, failure.value
    assert life.jobs(mine, PageNumber=2, PageSize=1, SortDirection="ASCEND") == []


def test_two_vaults_may_have_one_name(service):
    """HBR asks no more of a name than its length: ids tell vaults apart."""
    made = sorted(service.vault("twin") for _ in range(2))
    found = service.call("DescribeVaults", VaultName="twin")["Vaults"]["Vault"]
    assert sorted(vault["VaultId"] for vault in found) == made

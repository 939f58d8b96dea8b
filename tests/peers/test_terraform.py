"""The call sequences of the Terraform provider, in its own transport: a vault, a backup plan, a restore job."""

import pytest

from harness.callers import CALLERS
from harness.programs import Trees
from harness.service import DAILY
from harness.signing import ApiError
from harness.waiting import wait_for

REGION = "cn-hangzhou"


@pytest.fixture(scope="module")
def provider(service):
    made = CALLERS["tea-rpc"](service.credentials())
    yield made
    made.close()


def read_vault(provider, vault_id):
    """DescribeVaults by id; none means gone."""
    found = provider.call("DescribeVaults", {"VaultId": vault_id, "VaultRegionId": REGION, "RegionId": REGION})
    assert found["Success"] is True
    vaults = found["Vaults"]["Vault"]
    return vaults[0] if vaults else None


def read_plan(provider, plan_id, size=50):
    """Pages of 50 until one is short, as the provider reads."""
    number = 1
    while True:
        page = provider.call(
            "DescribeBackupPlans",
            {
                "Filters": [{"Key": "planId", "Values": [plan_id]}],
                "SourceType": "ECS_FILE",
                "PageSize": size,
                "PageNumber": number,
            },
        )
        assert page["Success"] is True
        plans = page["BackupPlans"]["BackupPlan"]
        for plan in plans:
            if plan["PlanId"] == plan_id:
                return plan
        if len(plans) < size:
            return None
        number += 1


def create_vault(provider, name, description):
    vault_id = provider.call(
        "CreateVault",
        {
            "VaultName": name,
            "VaultRegionId": REGION,
            "VaultType": "STANDARD",
            "VaultStorageClass": "STANDARD",
            "Description": description,
            "EncryptType": "HBR_PRIVATE",
        },
    )["VaultId"]
    wait_for("the vault", lambda: read_vault(provider, vault_id)["Status"] == "CREATED")
    return vault_id


def test_a_vault_resource(provider):
    vault_id = create_vault(provider, "tf-vault", "first")
    vault = read_vault(provider, vault_id)
    assert (vault["VaultName"], vault["Description"], vault["VaultType"]) == ("tf-vault", "first", "STANDARD")
    assert vault["VaultStorageClass"] == "STANDARD" and vault["VaultRegionId"] == REGION
    provider.call(
        "UpdateVault", {"VaultId": vault_id, "VaultName": "tf-vault-2", "Description": "second", "RegionId": REGION}
    )
    vault = read_vault(provider, vault_id)
    assert (vault["VaultName"], vault["Description"]) == ("tf-vault-2", "second")
    provider.call("DeleteVault", {"VaultId": vault_id, "RegionId": REGION})
    wait_for("the vault to be gone", lambda: read_vault(provider, vault_id) is None)


def test_an_ecs_backup_plan_resource(provider, service, module_folder):
    source = Trees.small(module_folder / "plan-source")
    instance_id = service.client()["InstanceId"]
    vault_id = create_vault(provider, "tf-plan-vault", "")
    plan_id = provider.call(
        "CreateBackupPlan",
        {
            "PlanName": "tf-plan",
            "InstanceId": instance_id,
            "VaultId": vault_id,
            "Retention": "1",
            "Schedule": DAILY,
            "BackupType": "COMPLETE",
            "SpeedLimit": "0:24:5120",
            "Path": [str(source)],
            "Exclude": '["/proc"]',
            "Include": '["/"]',
            "SourceType": "ECS_FILE",
            "CrossAccountType": "SELF_ACCOUNT",
        },
    )["PlanId"]
    plan = read_plan(provider, plan_id)
    assert (plan["PlanName"], plan["VaultId"], plan["InstanceId"]) == ("tf-plan", vault_id, instance_id)
    assert (plan["Schedule"], plan["SpeedLimit"], plan["BackupType"]) == (DAILY, "0:24:5120", "COMPLETE")
    assert plan["Paths"]["Path"] == [str(source)] and plan["Disabled"] is False
    assert (plan["Exclude"], plan["Include"]) == ('["/proc"]', '["/"]')
    assert str(plan["Retention"]) == "1"

    provider.call(
        "UpdateBackupPlan",
        {
            "PlanId": plan_id,
            "VaultId": vault_id,
            "SourceType": "ECS_FILE",
            "PlanName": "tf-plan-2",
            "Retention": "2",
            "Path": [str(source), str(source / "sub")],
            "Exclude": "",
            "Include": "",
            "SpeedLimit": "0:12:1024",
            "Schedule": "I|1893456000|PT2H",
        },
    )
    plan = read_plan(provider, plan_id)
    assert (plan["PlanName"], plan["Schedule"], plan["SpeedLimit"]) == ("tf-plan-2", "I|1893456000|PT2H", "0:12:1024")
    assert plan["Paths"]["Path"] == [str(source), str(source / "sub")]
    assert not plan.get("Exclude") and not plan.get("Include")
    provider.call("DisableBackupPlan", {"PlanId": plan_id, "VaultId": vault_id, "SourceType": "ECS_FILE"})
    assert read_plan(provider, plan_id)["Disabled"] is True
    provider.call("EnableBackupPlan", {"PlanId": plan_id, "VaultId": vault_id, "SourceType": "ECS_FILE"})
    assert read_plan(provider, plan_id)["Disabled"] is False

    provider.call(
        "DeleteBackupPlan",
        {"PlanId": plan_id, "VaultId": vault_id, "SourceType": "ECS_FILE", "RequireNoRunningJobs": "false"},
    )
    assert read_plan(provider, plan_id) is None
    provider.call("DeleteVault", {"VaultId": vault_id})


def test_a_restore_job_resource(provider, service, module_folder):
    """The provider sends a ClientToken here, and repeats the call with it after a lost answer."""
    source = Trees.small(module_folder / "restore-source")
    vault_id = create_vault(provider, "tf-restore-vault", "")
    job = service.backup(vault_id, [source], name="tf-restore")
    snapshot = service.snapshot_of(vault_id, job["JobId"])
    request = {
        "ClientToken": "tf-token-1",
        "RestoreType": "ECS_FILE",
        "SourceType": "ECS_FILE",
        "VaultId": vault_id,
        "SnapshotId": snapshot["SnapshotId"],
        "SnapshotHash": snapshot["SnapshotHash"],
        "TargetInstanceId": job["InstanceId"],
        "TargetPath": str(module_folder / "tf-restored"),
        "Options": '{"includes":[],"excludes":[],"conflictPolicy":"OVERWRITE_EXISTING"}',
    }
    restore_id = provider.call("CreateRestoreJob", request)["RestoreId"]
    assert provider.call("CreateRestoreJob", request)["RestoreId"] == restore_id
    with pytest.raises(ApiError) as failure:
        provider.call("CreateRestoreJob", {**request, "TargetPath": str(module_folder / "elsewhere")})
    assert "IdempotentParameterMismatch" in failure.value.code, failure.value

    def status():
        page = provider.call("DescribeRestoreJobs2", {"RestoreType": "ECS_FILE", "PageSize": 50, "PageNumber": 1})
        [found] = [item for item in page["RestoreJobs"]["RestoreJob"] if item["RestoreId"] == restore_id]
        assert found["Status"] != "FAILED", found
        return found["Status"] == "COMPLETE"

    wait_for("the restore", status)
    Trees.assert_same(source, module_folder / "tf-restored" / source.relative_to("/"), "--skip-root")


def test_the_jobs_data_source(provider, service, module_folder):
    """alicloud_hbr_backup_jobs: times as UNIX seconds in text, pages until one is short."""
    source = Trees.small(module_folder / "jobs-source")
    vault_id = create_vault(provider, "tf-jobs-vault", "")
    job = service.backup(vault_id, [source], name="tf-jobs")
    page = provider.call(
        "DescribeBackupJobs2",
        {
            "SourceType": "ECS_FILE",
            "SortDirection": "DESCEND",
            "PageSize": 50,
            "PageNumber": 1,
            "Filters": [
                {"Key": "VaultId", "Operator": "IN", "Values": [vault_id]},
                {
                    "Key": "CompleteTime",
                    "Operator": "BETWEEN",
                    "Values": [str(job["CompleteTime"] - 60), str(job["CompleteTime"] + 60)],
                },
            ],
        },
    )
    assert [found["JobId"] for found in page["BackupJobs"]["BackupJob"]] == [job["JobId"]]

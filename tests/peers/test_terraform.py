"""The call sequences of the Terraform provider, in its own transport: a vault, a backup plan, a restore job."""

import json

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


def test_a_tagged_vault_resource(provider):
    """Tags and the resource group are calls of their own, after the creation and on changes."""
    vault_id = create_vault(provider, "tf-tagged", "")
    provider.call(
        "ChangeResourceGroup",
        {"ResourceId": vault_id, "NewResourceGroupId": "rg-tf", "ResourceType": "vault", "RegionId": REGION},
    )
    tagged = {"RegionId": REGION, "ResourceType": "vault", "ResourceId": [vault_id]}
    provider.call(
        "TagResources", {**tagged, "Tag": [{"Key": "Created", "Value": "TF"}, {"Key": "For", "Value": "Test"}]}
    )
    vault = read_vault(provider, vault_id)
    assert vault["ResourceGroupId"] == "rg-tf"
    assert vault["Tags"]["Tag"] == [{"Key": "Created", "Value": "TF"}, {"Key": "For", "Value": "Test"}]
    provider.call("UntagResources", {**tagged, "TagKey": ["For"]})
    provider.call("TagResources", {**tagged, "Tag": [{"Key": "Created", "Value": "TF-update"}]})
    assert read_vault(provider, vault_id)["Tags"]["Tag"] == [{"Key": "Created", "Value": "TF-update"}]
    by_tag = provider.call("DescribeVaults", {"Tag": [{"Key": "Created", "Value": "TF-update"}]})
    assert [found["VaultId"] for found in by_tag["Vaults"]["Vault"]] == [vault_id]
    provider.call("DeleteVault", {"VaultId": vault_id, "RegionId": REGION})


def rule_as_sent(rule_type, **members):
    """The provider sends every member of a rule, those that nobody set as zero or empty."""
    unset = {"Retention": 0, "Schedule": "", "ReplicationRegionId": "", "ArchiveDays": 0, "RetentionRules": [],
             "VaultId": "", "KeepLatestSnapshots": 0}  # fmt: skip
    return {**unset, "RuleType": rule_type, **members}


def test_policy_and_policy_binding_resources(provider, service):
    vault_id = create_vault(provider, "tf-policy-vault", "")
    backup = rule_as_sent("BACKUP", BackupType="INCREMENTAL", Schedule="I|1631685600|P1D", Retention=7, VaultId=vault_id)
    transition = rule_as_sent("TRANSITION", Retention=30)
    transition["RetentionRules"] = [{"AdvancedRetentionType": "WEEKLY", "Retention": 60}]
    request = {"PolicyName": "tf", "PolicyDescription": "by Terraform", "Rules": json.dumps([backup, transition])}
    policy_id = provider.call("CreatePolicyV2", request)["PolicyId"]

    def read():
        found = provider.call("DescribePoliciesV2", {"PolicyId": policy_id})["Policies"]
        return found[0] if found else None

    policy = read()
    assert (policy["PolicyName"], policy["PolicyDescription"]) == ("tf", "by Terraform") and policy["CreatedTime"]
    for sent, found in zip([backup, transition], policy["Rules"], strict=True):
        for name in ("ArchiveDays", "KeepLatestSnapshots", "Retention", "Schedule", "VaultId", "BackupType"):
            assert (found.get(name) or None) == (sent.get(name) or None), (name, found)
        pairs = [(rule["AdvancedRetentionType"], rule["Retention"]) for rule in found.get("RetentionRules", [])]
        assert pairs == [(rule["AdvancedRetentionType"], rule["Retention"]) for rule in sent["RetentionRules"]]
    provider.call("UpdatePolicyV2", {"PolicyId": policy_id, "Rules": json.dumps([{**backup, "Retention": 8}])})
    changed = read()
    assert [rule["Retention"] for rule in changed["Rules"]] == [8]
    assert changed["Rules"][0]["RuleId"] == policy["Rules"][0]["RuleId"], "the rule lost its identity"

    instance_id = service.client()["InstanceId"]
    one = {"DataSourceId": instance_id, "SourceType": "ECS_FILE", "Disabled": False, "Source": '["/tmp/none"]',
           "PolicyBindingDescription": "first", "Exclude": '["*.tmp"]', "SpeedLimit": "0:24:1024"}  # fmt: skip
    provider.call("CreatePolicyBindings", {"PolicyId": policy_id, "PolicyBindingList": json.dumps([one])})

    def read_binding():
        page = provider.call("DescribePolicyBindings", {"PolicyId": policy_id, "SourceType": "ECS_FILE"})
        key = (policy_id, "ECS_FILE", instance_id)
        found = [item for item in page["PolicyBindings"]
                 if (item["PolicyId"], item["SourceType"], item["DataSourceId"]) == key]  # fmt: skip
        return found[0] if found else None

    binding = read_binding()
    assert {name: binding[name] for name in one} == one and binding["CrossAccountType"] == "SELF_ACCOUNT"
    key = {"PolicyId": policy_id, "DataSourceId": instance_id, "SourceType": "ECS_FILE"}
    provider.call("UpdatePolicyBinding", {**key, "Disabled": True, "PolicyBindingDescription": "second", "Exclude": ""})
    binding = read_binding()
    assert (binding["Disabled"], binding["PolicyBindingDescription"]) == (True, "second") and not binding.get("Exclude")
    assert binding["Source"] == '["/tmp/none"]'
    provider.call(
        "DeletePolicyBinding",
        {"PolicyId": policy_id, "SourceType": "ECS_FILE", "DataSourceIds": f'["{instance_id}"]'},
    )
    assert read_binding() is None
    provider.call("DeletePolicyV2", {"PolicyId": policy_id})
    assert read() is None
    provider.call("DeleteVault", {"VaultId": vault_id})


def test_a_cross_account_resource(provider):
    """Read without paging, by user id and role."""
    key = {"CrossAccountUserId": 1234567890123456, "CrossAccountRoleName": "tf-role", "CrossAccountType": "CROSS_ACCOUNT"}
    provider.call("AddCrossAccount", {**key, "Alias": "tf"})

    def read():
        found = provider.call("DescribeCrossAccounts", {})["CrossAccounts"]["CrossAccount"]
        return [item for item in found if str(item["CrossAccountUserId"]) == "1234567890123456"]

    [account] = read()
    assert (account["CrossAccountRoleName"], account["Alias"]) == ("tf-role", "tf") and account["CreatedTime"]
    with pytest.raises(ApiError) as failure:
        provider.call("AddCrossAccount", {**key, "Alias": "again"})
    assert "ResourceAlreadyExists" in failure.value.code, failure.value
    provider.call("DeleteCrossAccount", key)
    assert read() == []


def test_an_ecs_backup_client_resource(provider, service):
    """Installing where the agent is already is a task that is over; its settings are set and read."""
    instance_id = service.client()["InstanceId"]
    task_id = provider.call("InstallBackupClients", {"InstanceIds": f'["{instance_id}"]'})["TaskId"]
    task = provider.call("DescribeTask", {"TaskId": task_id})
    [result] = json.loads(task["Result"])
    assert (task["Description"], result["instanceId"], result["clientStatus"]) == ("completed", instance_id, "ACTIVATED")
    provider.call(
        "UpdateClientSettings",
        {"ClientId": result["clientId"], "MaxWorker": "4", "MaxCpuCore": "2", "UseHttps": "true",
         "DataNetworkType": "VPC", "DataProxySetting": "DISABLE"},
    )  # fmt: skip
    page = provider.call("DescribeBackupClients", {"ClientType": "ECS_CLIENT", "InstanceIds": f'["{instance_id}"]'})
    [settings] = [client["Settings"] for client in page["Clients"]]
    assert (settings["MaxWorker"], settings["MaxCpuCore"], settings["UseHttps"]) == ("4", "2", "true")
    assert settings["DataNetworkType"] == "VPC"
    with pytest.raises(ApiError) as failure:
        provider.call("InstallBackupClients", {"InstanceIds": '["i-0000000000000000none"]'})
    assert "OperationDenied.NotSupported" in failure.value.code, failure.value


def test_snapshots_data_source(provider, service, module_folder):
    """alicloud_hbr_snapshots: BETWEEN with value and value2, pages of 100 by token."""
    vault_id = create_vault(provider, "tf-snapshots-vault", "")
    job = service.backup(vault_id, [Trees.small(module_folder / "snapshots-source")], name="tf-snapshots")
    query = [
        {"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"},
        {"field": "InstanceId", "value": job["InstanceId"], "operation": "MATCH_TERM"},
        {"field": "CompleteTime", "value": job["CompleteTime"] - 60, "value2": job["CompleteTime"] + 60,
         "operation": "BETWEEN"},
    ]  # fmt: skip
    page = provider.call(
        "SearchHistoricalSnapshots", {"SourceType": "ECS_FILE", "Limit": 100, "Query": json.dumps(query)}
    )
    assert [found["JobId"] for found in page["Snapshots"]["Snapshot"]] == [job["JobId"]] and page["NextToken"] == ""

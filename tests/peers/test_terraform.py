"""The call sequences of the Terraform provider's resources and data sources, in its own transport.

`SEQUENCES` has every resource and data source of HBR that the provider has, each with the test that makes its calls: create,
read, update, read, delete, with the fields that it requires."""

import json

import pytest

from harness.callers import CALLERS
from harness.programs import Trees
from harness.service import DAILY
from harness.signing import ApiError
from harness.waiting import wait_for

REGION = "cn-hangzhou"
# The provider's own page size.
LARGE = 50

SEQUENCES = {
    "resource alicloud_hbr_vault": "test_a_vault_resource",
    "resource alicloud_hbr_ecs_backup_plan": "test_an_ecs_backup_plan_resource",
    "resource alicloud_hbr_ecs_backup_client": "test_an_ecs_backup_client_resource",
    "resource alicloud_hbr_restore_job": "test_a_restore_job_resource",
    "resource alicloud_hbr_policy": "test_policy_and_policy_binding_resources",
    "resource alicloud_hbr_policy_binding": "test_policy_and_policy_binding_resources",
    "resource alicloud_hbr_cross_account": "test_a_cross_account_resource",
    "resource alicloud_hbr_nas_backup_plan": "test_resources_that_are_refused",
    "resource alicloud_hbr_oss_backup_plan": "test_resources_that_are_refused",
    "resource alicloud_hbr_ots_backup_plan": "test_resources_that_are_refused",
    "resource alicloud_hbr_server_backup_plan": "test_resources_that_are_refused",
    "resource alicloud_hbr_replication_vault": "test_resources_that_are_refused",
    "resource alicloud_hbr_hana_instance": "test_resources_that_are_refused",
    "resource alicloud_hbr_hana_backup_plan": "test_resources_that_are_refused",
    "resource alicloud_hbr_hana_backup_client": "test_resources_that_are_refused",
    "data alicloud_hbr_service": "test_the_service_data_source",
    "data alicloud_hbr_vaults": "test_the_vaults_data_source",
    "data alicloud_hbr_ecs_backup_plans": "test_the_ecs_backup_plans_data_source",
    "data alicloud_hbr_ecs_backup_clients": "test_the_ecs_backup_clients_data_source",
    "data alicloud_hbr_backup_jobs": "test_the_jobs_data_source",
    "data alicloud_hbr_restore_jobs": "test_the_restore_jobs_data_source",
    "data alicloud_hbr_snapshots": "test_snapshots_data_source",
    "data alicloud_hbr_policy_bindings": "test_the_policy_bindings_data_source",
    "data alicloud_hbr_replication_vault_regions": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_ots_snapshots": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_udm_snapshots": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_nas_backup_plans": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_oss_backup_plans": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_ots_backup_plans": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_server_backup_plans": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_hana_instances": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_hana_backup_plans": "test_data_sources_of_what_is_not_there",
    "data alicloud_hbr_hana_backup_clients": "test_data_sources_of_what_is_not_there",
}


def test_every_resource_and_data_source_has_its_sequence():
    missing = {name: test for name, test in SEQUENCES.items() if not callable(globals().get(test))}
    assert not missing, missing
    print(f"Terraform: {len(SEQUENCES)} resources and data sources, without a sequence: {len(missing)}")


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
    # Destroying it uninstalls first. This one is a part of the service; `test_agents.py` uninstalls one that is not.
    ids = {"ClientIds": f'["{result["clientId"]}"]', "InstanceIds": f'["{instance_id}"]'}
    with pytest.raises(ApiError) as failure:
        provider.call("UninstallBackupClients", ids)
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


def test_the_service_data_source(provider):
    """Opening what is open is no error for the provider if it is told so."""
    for _ in range(2):
        try:
            assert provider.call("OpenHbrService", {})["OrderId"]
        except ApiError as failure:
            assert "ORDER.OPEND" in failure.code, failure


def pages(provider, action, request, wrapper):
    """Pages of 50 until one is short, as every data source reads."""
    found, number = [], 1
    while True:
        page = provider.call(action, {**request, "PageSize": LARGE, "PageNumber": number})
        assert page["Success"] is True
        rows = page
        for name in wrapper.split("."):
            rows = rows[name]
        found += rows
        if len(rows) < LARGE:
            return found
        number += 1


def test_the_vaults_data_source(provider):
    made = [create_vault(provider, f"tf-listed-{number}", "listed") for number in range(2)]
    request = {"RegionId": REGION, "Status": "CREATED", "VaultType": "STANDARD"}
    vaults = {vault["VaultId"]: vault for vault in pages(provider, "DescribeVaults", request, "Vaults.Vault")}
    assert set(made) <= set(vaults)
    vault = vaults[made[0]]
    assert isinstance(vault["SourceTypes"]["SourceType"], list) and vault["Dedup"] is True
    assert (vault["Replication"], vault["SearchEnabled"], vault["IndexLevel"]) == (False, False, "OFF")
    for vault_id in made:
        provider.call("DeleteVault", {"VaultId": vault_id, "RegionId": REGION})


def test_the_ecs_backup_plans_data_source(provider, service):
    vault_id = create_vault(provider, "tf-plans-vault", "")
    instance_id = service.client()["InstanceId"]
    made = [service.plan(vault_id, ["/tmp/none"], name=f"tf-listed-{number}") for number in range(3)]
    filters = [{"Key": "instanceId", "Values": [instance_id]}, {"Key": "vaultId", "Values": [vault_id]}]
    request = {"SourceType": "ECS_FILE", "Filters": filters}
    plans = pages(provider, "DescribeBackupPlans", request, "BackupPlans.BackupPlan")
    assert sorted(plan["PlanId"] for plan in plans) == sorted(made)
    for plan in plans:
        assert (plan["VaultId"], plan["InstanceId"], plan["Paths"]["Path"]) == (vault_id, instance_id, ["/tmp/none"])
    provider.call("DeleteVault", {"VaultId": vault_id})


def test_the_ecs_backup_clients_data_source(provider, service):
    mine = service.client()
    request = {"ClientType": "ECS_CLIENT", "InstanceIds": json.dumps([mine["InstanceId"]])}
    [client] = pages(provider, "DescribeBackupClients", request, "Clients")
    assert (client["ClientId"], client["Status"]) == (mine["ClientId"], "ACTIVATED")
    for name in ("ArchType", "BackupStatus", "ClientType", "ClientVersion", "Hostname", "LastHeartBeatTime", "OsType"):
        assert client[name], name
    assert isinstance(client["Settings"], dict), "the provider reads members of it without asking"


def test_the_restore_jobs_data_source(provider, service, module_folder):
    vault_id = create_vault(provider, "tf-restores-vault", "")
    job = service.backup(vault_id, [Trees.small(module_folder / "restores-source")], name="tf-restores")
    snapshot = service.snapshot_of(vault_id, job["JobId"])
    made = service.restore(vault_id, snapshot, module_folder / "tf-restores")
    filters = [
        {"Key": "vaultId", "Values": [vault_id]},
        {"Key": "restoreId", "Values": [made["RestoreId"], "r-0000000000000000none"]},
        {"Key": "sourceType", "Values": ["ECS_FILE"]},
        {"Key": "targetInstanceId", "Values": [job["InstanceId"]]},
    ]
    request = {"RestoreType": "ECS_FILE", "Filters": filters}
    [found] = pages(provider, "DescribeRestoreJobs2", request, "RestoreJobs.RestoreJob")
    assert (found["RestoreId"], found["Status"]) == (made["RestoreId"], "COMPLETE")
    for key in ("targetBucket", "targetFileSystemId"):
        request = {"RestoreType": "ECS_FILE", "Filters": [*filters, {"Key": key, "Values": ["none"]}]}
        assert pages(provider, "DescribeRestoreJobs2", request, "RestoreJobs.RestoreJob") == []


def test_the_policy_bindings_data_source(provider, service):
    """By token, 50 at a time; advanced options are sent as a text inside of the list."""
    vault_id = create_vault(provider, "tf-bindings-vault", "")
    rules = [rule_as_sent("BACKUP", BackupType="COMPLETE", Schedule="I|1893456000|P1D", Retention=7, VaultId=vault_id)]
    policy_id = provider.call("CreatePolicyV2", {"PolicyName": "tf-b", "Rules": json.dumps(rules)})["PolicyId"]
    instance_id = service.client()["InstanceId"]
    one = {"DataSourceId": instance_id, "SourceType": "ECS_FILE", "PolicyBindingDescription": "listed",
           "AdvancedOptions": json.dumps({"UdmDetail": {"DiskIdList": [], "DestinationKmsKeyId": ""}})}  # fmt: skip
    provider.call("CreatePolicyBindings", {"PolicyId": policy_id, "PolicyBindingList": json.dumps([one])})
    found, token = [], None
    while token != "":
        request = {"RegionId": REGION, "PolicyId": policy_id, "SourceType": "ECS_FILE", "MaxResults": LARGE}
        page = provider.call("DescribePolicyBindings", {**request, **({"NextToken": token} if token else {})})
        found += page["PolicyBindings"]
        token = page.get("NextToken") or ""
    [binding] = found
    assert (binding["DataSourceId"], binding["PolicyBindingDescription"]) == (instance_id, "listed")
    provider.call("DeletePolicyV2", {"PolicyId": policy_id})
    provider.call("DeleteVault", {"VaultId": vault_id})


def test_data_sources_of_what_is_not_there(provider):
    """Lists of what this server cannot protect are empty, not errors; SAP HANA's are refused."""
    for source in ("NAS", "OSS", "OTS", "UDM_ECS"):
        request = {"SourceType": source, "Filters": [{"Key": "planId", "Values": ["plan-0000000000000000none"]}]}
        assert pages(provider, "DescribeBackupPlans", request, "BackupPlans.BackupPlan") == []
        request = {"SourceType": source, "Filters": [], "PageSize": 100, "PageNumber": 1}
        assert provider.call("DescribeBackupPlans", request)["BackupPlans"] == {"BackupPlan": []}
    regions = provider.call("DescribeVaultReplicationRegions", {"RegionId": REGION})
    assert regions["Regions"] == {"RegionId": []}, regions
    times = {"StartTime": 1640995200, "EndTime": 1893456000}
    assert provider.call("DescribeOtsTableSnapshots", {**times, "Limit": LARGE})["Snapshots"] == []
    udm = {**times, "SourceType": "UDM_ECS", "UdmRegionId": REGION, "InstanceId": "i-0000000000000000none"}
    assert provider.call("DescribeUdmSnapshots", udm)["Snapshots"] == []
    for action in ("DescribeHanaInstances", "DescribeHanaBackupPlans"):
        with pytest.raises(ApiError) as failure:
            provider.call(action, {"PageSize": LARGE, "PageNumber": 1, "ClusterId": "cl-1"})
        assert "OperationDenied.NotSupported" in failure.value.code, failure.value
    clients = provider.call("DescribeClients", {"ClientType": "ECS_AGENT", "SourceType": "HANA", "PageSize": LARGE})
    assert clients["Clients"] == {"Client": []}


def test_resources_that_are_refused(provider):
    """At creation, with a code that the provider does not try again, and with the reason."""
    vault_id = create_vault(provider, "tf-refused-vault", "")
    plan = {"PlanName": "tf-refused", "VaultId": vault_id, "Schedule": "I|1602673264|PT2H", "BackupType": "COMPLETE",
            "Retention": "2"}  # fmt: skip
    udm = {"appConsistent": False, "snapshotGroup": True, "EnableFsFreeze": True, "timeoutInSeconds": 60, "doCopy": False,
           "destinationRetention": -1, "diskIdList": ["d-1"]}  # fmt: skip
    rule = {"RuleName": "r", "Schedule": "I|1602673264|PT2H", "Retention": "1", "BackupType": "COMPLETE", "Disabled": "false"}
    hana = {"VaultId": vault_id, "ClusterId": "cl-1"}
    for action, parameters in [
        ("CreateBackupPlan", {**plan, "SourceType": "NAS", "FileSystemId": "fs", "CreateTime": "1607271100", "Path": ["/"]}),
        ("CreateBackupPlan", {**plan, "SourceType": "OSS", "Bucket": "b", "Prefix": "/p"}),
        ("CreateBackupPlan", {**plan, "SourceType": "OTS", "InstanceName": "i", "Rule": [rule],
                              "OtsDetail": json.dumps({"TableNames": ["t"]})}),
        ("CreateBackupPlan", {**plan, "SourceType": "UDM_ECS", "InstanceId": "i-1", "UdmRegionId": REGION,
                              "Detail": json.dumps(udm)}),
        ("CreateReplicationVault", {"ReplicationSourceRegionId": REGION, "ReplicationSourceVaultId": vault_id,
                                    "VaultName": "mirror", "VaultRegionId": "cn-shanghai"}),
        ("CreateHanaInstance", {**hana, "HanaName": "h", "Host": "10.0.0.1", "InstanceNumber": "1", "UserName": "u",
                                "Password": "p", "Sid": "HXE"}),
        ("CreateHanaBackupPlan", {**hana, "PlanName": "h", "DatabaseName": "SYSTEMDB", "BackupType": "COMPLETE",
                                  "Schedule": "I|1602673264|P1D"}),
        ("CreateClients", {"VaultId": vault_id, "ClientInfo": json.dumps([{"instanceId": "i-1", "sourceTypes": ["HANA"]}])}),
    ]:  # fmt: skip
        with pytest.raises(ApiError) as failure:
            provider.call(action, parameters)
        assert "OperationDenied.NotSupported" in failure.value.code, (action, parameters, failure.value)
        assert failure.value.http_status in (None, 400) and "support" in failure.value.message
    provider.call("DeleteVault", {"VaultId": vault_id})

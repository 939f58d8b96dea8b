"""Every action of the API by every client: what it answers when it is asked well, and when it is not."""

import copy
import json

import pytest
from harness.callers import CALLERS
from harness.contract import CONTRACT, EXTRA, SERVED, check_response, members_of, response_members
from harness.programs import Trees
from harness.signing import ApiError, SignedCaller, flatten

ALL = {**CONTRACT, **EXTRA}
# Ids that look right and name nothing. Those of another account answer in the same way: see the tests of accounts.
NOBODY = "0000000000000000none"
FOREIGN = {
    "VaultId": f"v-{NOBODY}",
    "PlanId": f"plan-{NOBODY}",
    "JobId": f"job-{NOBODY}",
    "RestoreId": f"r-{NOBODY}",
    "SnapshotId": f"s-{NOBODY}",
    "TaskId": f"t-{NOBODY}",
    "ClientId": f"c-{NOBODY}",
    "ClientIds": [f"c-{NOBODY}"],
    "InstanceId": f"i-{NOBODY}",
    "InstanceIds": [f"i-{NOBODY}"],
    "PolicyId": f"po-{NOBODY}",
    "RuleId": f"rule-{NOBODY}",
    "DataSourceId": f"ds-{NOBODY}",
    "DataSourceIds": [f"i-{NOBODY}"],
    "ClusterId": f"cc-{NOBODY}",
    "ResourceId": f"v-{NOBODY}",
    "CrossAccountUserId": 1234567890123456,
    "CrossAccountRoleName": "nobody",
}
GONE = ("NotExist", "NotFound", "InvalidResourceId", "OperationDenied.NotSupported")
# Actions that answer an id they do not know with an empty list, as Terraform needs it.
LISTS = {name for name in ALL if name.startswith(("Describe", "List", "Search", "Get"))} - {"DescribeTask"}


@pytest.fixture(scope="module")
def world(service, module_folder):
    """One of everything, made by the tests' own client."""
    source = Trees.small(module_folder / "source")
    vault_id = service.vault("every action")
    job = service.backup(vault_id, [source], name="every action")
    policy = service.call("CreatePolicyV2", PolicyName="every", Rules=rules(vault_id))
    return {
        "source": source,
        "vault": vault_id,
        "job": job,
        "snapshot": service.snapshot_of(vault_id, job["JobId"]),
        "policy": policy["PolicyId"],
        "client": service.client(),
        "target": module_folder / "restored",
    }


def rules(vault_id):
    return [{"RuleType": "BACKUP", "Schedule": "I|1893456000|P1D", "Retention": 7, "VaultId": vault_id}]


def requests(world, name):
    """A good request of each served action, in an order in which each finds what it needs. `$X` is what one before gave."""
    vault, job, snapshot, client = world["vault"], world["job"], world["snapshot"], world["client"]
    instance, plan = client["InstanceId"], {"PlanId": job["PlanId"], "VaultId": vault, "SourceType": "ECS_FILE"}
    binding = {"PolicyId": "$PolicyId", "SourceType": "ECS_FILE"}
    query = [{"field": "VaultId", "value": vault, "operation": "MATCH_TERM"}]
    return [
        ("DescribeRegions", {}),
        ("CreateVault", {"VaultName": f"of {name}", "VaultRegionId": "cn-hangzhou"}),
        ("DescribeTask", {"TaskId": "$TaskId"}),
        ("DescribeVaults", {"VaultId": vault}),
        ("UpdateVault", {"VaultId": vault, "Description": f"by {name}"}),
        ("TagResources", {"ResourceType": "vault", "ResourceId": [vault], "Tag": [{"Key": "by", "Value": name}]}),
        ("UntagResources", {"ResourceType": "vault", "ResourceId": [vault], "TagKey": ["by"]}),
        ("ChangeResourceGroup", {"ResourceId": vault, "NewResourceGroupId": "rg-1", "ResourceType": "vault"}),
        ("DescribeVaultReplicationRegions", {"VaultId": vault}),
        ("DescribeBackupClients", {"ClientType": "ECS_CLIENT"}),
        ("UpdateClientSettings", {"ClientId": client["ClientId"], "MaxWorker": 3, "UseHttps": True}),
        ("InstallBackupClients", {"InstanceIds": [instance]}),
        ("UpgradeBackupClients", {"InstanceIds": [instance]}),
        ("DescribeClients", {"ClientType": "ECS_AGENT"}),
        ("CreateBackupPlan", {"SourceType": "ECS_FILE", "VaultId": vault, "PlanName": f"of {name}",
                              "InstanceId": instance, "Path": [str(world["source"])], "BackupType": "COMPLETE",
                              "Schedule": "I|1893456000|P1D", "Retention": 3}),
        ("DescribeBackupPlans", {"SourceType": "ECS_FILE"}),
        ("UpdateBackupPlan", {**plan, "Retention": 30}),
        ("DisableBackupPlan", plan),
        ("EnableBackupPlan", plan),
        ("ExecuteBackupPlan", plan),
        ("CancelBackupJob", {"JobId": "$JobId", "VaultId": vault}),
        ("CreateBackupJob", {"SourceType": "ECS_FILE", "VaultId": vault, "InstanceId": instance, "JobName": name,
                             "Exclude": '["/*"]'}),
        ("CancelBackupJob", {"JobId": "$JobId"}),
        ("DeleteBackupPlan", {"PlanId": "$PlanId", "VaultId": vault, "SourceType": "ECS_FILE"}),
        ("DescribeBackupJobs2", {"SourceType": "ECS_FILE"}),
        ("SearchHistoricalSnapshots", {"SourceType": "ECS_FILE", "Query": query}),
        ("BrowseFiles", {"VaultId": vault, "SnapshotHash": snapshot["SnapshotHash"], "AbsolutePath": "/"}),
        ("ListProtectedResources", {"SourceType": "ECS_FILE"}),
        ("ListSnapshots", {"ProtectedResourceId": instance.replace("i-", "pr-"), "SourceType": "ECS_FILE"}),
        ("GetBasicStatistics", {"SourceType": "ECS_FILE"}),
        ("CreateRestoreJob", {"RestoreType": "ECS_FILE", "SourceType": "ECS_FILE", "VaultId": vault,
                              "SnapshotId": snapshot["SnapshotId"], "SnapshotHash": snapshot["SnapshotHash"],
                              "TargetInstanceId": instance, "TargetPath": str(world["target"] / name)}),
        ("DescribeRestoreJobs2", {"RestoreType": "ECS_FILE"}),
        ("CreatePolicyV2", {"PolicyName": f"of {name}", "Rules": rules(vault)}),
        ("DescribePoliciesV2", {"PolicyId": "$PolicyId"}),
        ("UpdatePolicyV2", {"PolicyId": "$PolicyId", "PolicyName": "renamed", "Rules": rules(vault)}),
        ("CreatePolicyBindings", {"PolicyId": "$PolicyId", "PolicyBindingList": [
            {"DataSourceId": instance, "SourceType": "ECS_FILE", "Source": f'["{world["source"]}"]'}]}),
        ("DescribePolicyBindings", {"PolicyId": "$PolicyId", "SourceType": "ECS_FILE"}),
        ("UpdatePolicyBinding", {**binding, "DataSourceId": instance, "Exclude": '["*.tmp"]'}),
        ("DescribePoliciesV2", {"PolicyId": "$PolicyId"}),
        ("ExecutePolicyV2", {"PolicyId": "$PolicyId", "RuleId": "$RuleId"}),
        ("DeletePolicyBinding", {**binding, "DataSourceIds": [instance]}),
        ("DeletePolicyV2", {"PolicyId": "$PolicyId"}),
        ("AddDataSource", {"DataSourceName": f"of {name}", "DataSourceType": "COMMON_NAS"}),
        ("DescribeDataSources", {"DataSourceId": "$DataSourceId"}),
        ("UpdateDataSource", {"DataSourceId": "$DataSourceId", "DataSourceName": "renamed"}),
        ("RemoveDataSource", {"DataSourceId": "$DataSourceId"}),
        ("AddCrossAccount", {"CrossAccountUserId": 1111111111111111, "CrossAccountRoleName": f"of-{name}",
                             "CrossAccountType": "CROSS_ACCOUNT", "Alias": name}),
        ("DescribeCrossAccounts", {}),
        ("DeleteCrossAccount", {"CrossAccountUserId": 1111111111111111, "CrossAccountRoleName": f"of-{name}"}),
        ("AddContainerCluster", {"Identifier": f"of-{name}", "ClusterType": "ACK", "NetworkType": "VPC"}),
        ("DescribeContainerCluster", {"ClusterId": "$ClusterId"}),
        ("UpdateContainerCluster", {"ClusterId": "$ClusterId", "Name": "renamed", "RenewToken": True}),
        ("DescribeContainerResource", {"ClusterId": "$ClusterId"}),
        ("DeleteContainerCluster", {"ClusterId": "$ClusterId"}),
        ("CheckRole", {"CheckRoleType": "EcsRole"}),
        ("GenerateRamPolicy", {"ActionType": "BACKUP", "VaultId": vault}),
        ("GetTrialInfo", {"SourceType": "ECS_FILE"}),
        ("DescribeFeatureTrialInfo", {"FeatureType": "any"}),
        ("DescribeRecoverableOtsInstances", {}),
        ("DescribeOtsTableSnapshots", {"Limit": 10}),
        ("DescribeUdmSnapshots", {"SourceType": "UDM_ECS", "StartTime": 1, "EndTime": 2, "UdmRegionId": "cn-hangzhou"}),
    ]


# Asked elsewhere: they would take away what the other tests of this file need, or can be asked once only.
ELSEWHERE = {"OpenHbrService", "GetTempFileDownloadLink", "DeleteVault", "DeleteSnapshot", "CancelRestoreJob",
             "UninstallBackupClients", "DeleteBackupClient", "DeleteBackupClientResource"}


def fill(parameters, given):
    def one(value):
        if isinstance(value, str) and value.startswith("$"):
            return given[value[1:]]
        if isinstance(value, list):
            return [one(item) for item in value]
        return value

    return {name: one(value) for name, value in copy.deepcopy(parameters).items()}


@pytest.mark.parametrize("name", sorted(CALLERS))
def test_good_requests(service, world, name):
    caller = CALLERS[name](service.credentials())
    own = SignedCaller(service.credentials())
    given, asked, seen = {}, set(), set()
    try:
        for action, parameters in requests(world, name):
            # The SDKs have no method for the two actions that only Terraform sends.
            sender = caller if action in CONTRACT or name in ("tea-rpc", "pop-core-post", "pop-core-get") else own
            try:
                body = sender.call(action, fill(parameters, given))
            except ApiError as failure:
                # A job may have ended before it is cancelled.
                assert action == "CancelBackupJob" and "JobAlreadyFinished" in failure.code, (action, failure)
                body = None
            asked.add(action)
            if body is None:
                continue
            if action in CONTRACT:
                check_response(action, body)
                seen |= {(action, path) for path in members_of(body) & response_members(action)}
            given.update({key: value for key, value in body.items() if key.endswith("Id") and value})
            if action == "DescribePoliciesV2":
                given["RuleId"] = body["Policies"][0]["Rules"][0]["RuleId"]
        assert asked | ELSEWHERE >= set(SERVED), sorted(set(SERVED) - asked - ELSEWHERE)
        nested = [path for _, path in seen if "." in path]
        print(f"response members compared by {name}: {len(seen)}, of these nested: {len(nested)}")
        assert len(nested) > 150, len(nested)
    finally:
        caller.close()


def complete(action, world):
    """Every mandatory parameter of the contract, with an id of nobody where there is one."""
    found = {}
    for field in ALL[action]["request"]:
        if field["name"] in FOREIGN:
            value = FOREIGN[field["name"]]
            is_list = field["type"].startswith("array<")
            found[field["name"]] = [value] if is_list and not isinstance(value, list) else value
        elif field.get("required") or field.get("required_meta"):
            found[field["name"]] = "1" if field["type"].startswith("int") else "x"
    words = {
        "SourceType": "ECS_FILE", "RestoreType": "ECS_FILE", "ActionType": "BACKUP", "ResourceType": "vault",
        "VaultRegionId": "cn-hangzhou", "VaultName": "x", "ClientType": "ECS_CLIENT", "ClusterType": "ACK",
        "NetworkType": "VPC", "PlanName": "x", "UdmRegionId": "cn-hangzhou", "DataSourceType": "COMMON_NAS",
        "TargetInstanceId": world["client"]["InstanceId"], "NewResourceGroupId": "rg-1",
        "SnapshotHash": "0" * 64, "TagKey": ["x"], "Tag": [{"Key": "x", "Value": "x"}],
        "Query": [{"field": "VaultId", "value": FOREIGN["VaultId"], "operation": "MATCH_TERM"}],
    }
    for field in ALL[action]["request"]:
        if field["name"] in words:
            found[field["name"]] = words[field["name"]]
    return found


def test_what_is_missing_is_named(service, world):
    """Each mandatory parameter left out of an otherwise complete request, one after the other."""
    tried = 0
    for action in SERVED:
        for field in ALL[action]["request"]:
            if not (field.get("required") or field.get("required_meta")):
                continue
            parameters = complete(action, world)
            parameters.pop(field["name"], None)
            with pytest.raises(ApiError) as failure:
                service.call(action, **parameters)
            assert failure.value.http_status == 400, (action, field["name"], failure.value)
            assert failure.value.code.startswith("Missing"), (action, field["name"], failure.value)
            tried += 1
    print(f"negative cases, a mandatory parameter left out: {tried}, let in: 0")
    assert tried > 50


# What no member of its type can be.
WRONG = {"boolean": "maybe", "int32": "2147483648", "int64": "7.5", "integer": "seven"}


def wrong_members(field, value, path):
    """Every wrong form of a structure: a member that there is not, and one of the wrong type, at every depth. Yields what is
    sent and the place that must be named."""
    kind, fields = field["type"], field.get("fields", [])
    if kind.startswith("array<"):
        inner = {**field, "type": kind[6:-1]}
        yield value({"not": "a list"}), path
        for wrong, place in wrong_members(inner, lambda item: value([item]), f"{path}.1"):
            yield wrong, place
    elif kind == "object":
        yield value([]), path
        for name in ("NoSuchMember", fields[0]["name"].swapcase()):
            yield value({name: "1"}), f"{path}.{name}"
        for member in fields:
            name = member["name"]
            yield from wrong_members(member, lambda item, name=name: value({name: item}), f"{path}.{name}")
    elif kind in WRONG:
        yield value(WRONG[kind]), path
        yield value([1]), path
    elif kind == "string":
        yield value({"an": "object"}), path


def test_wrong_members_are_named(service, world):
    """Structures inside parameters, flat and as JSON: whatever is not a member, or not of its type, is refused by its name."""
    tried, let_in = 0, []
    for action in SERVED:
        for field in ALL[action]["request"]:
            if field["type"] != "object" and not field["type"].startswith("array<"):
                continue
            for wrong, place in wrong_members(field, lambda item: item, field["name"]):
                for sent in (wrong, json.dumps(wrong)):
                    # A flat structure cannot say of an empty one of what kind it is.
                    if sent is wrong and not flatten({"x": wrong}):
                        continue
                    tried += 1
                    try:
                        service.call(action, **{**complete(action, world), field["name"]: sent})
                    except ApiError as failure:
                        named = failure.http_status == 400 and failure.code == f"InvalidParameter.{field['name']}"
                        # What the flat form says of a list is said of its member.
                        assert named and place.rsplit(".", 1)[0] in failure.message, (action, sent, place, failure)
                        if isinstance(sent, str):
                            assert f" {place} " in failure.message, (action, sent, place, failure)
                    else:
                        let_in.append((action, sent))
    print(f"negative cases, wrong members of structures: {tried}, let in: {len(let_in)}")
    assert not let_in, let_in
    assert tried > 300


def test_ids_of_nobody(service, world):
    """No action tells more of an id than that it does not exist, and lists of it are empty."""
    tried, let_in = 0, []
    for action in SERVED:
        names = [field["name"] for field in ALL[action]["request"] if field["name"] in FOREIGN]
        if not names or action.startswith(("Create", "Add", "CheckRole")) and "Policy" not in action:
            continue
        tried += 1
        try:
            body = service.call(action, **complete(action, world))
        except ApiError as failure:
            assert failure.http_status in (400, 404), (action, failure)
            good = GONE + ("InvalidParameter", "Missing")
            assert any(part in failure.code for part in good), (action, failure)
            assert "another" not in failure.message.lower(), (action, failure)
        else:
            total = body.get("TotalCount", 0)
            if action not in LISTS or total:
                let_in.append((action, body))
    # These speak of what the caller has, whatever id is beside it.
    let_in = [case for case in let_in if case[0] not in ("OpenHbrService", "AddCrossAccount")]
    print(f"negative cases, ids of nobody: {tried}, let in: {len(let_in)}")
    assert not let_in, let_in


def test_sources_that_cannot_be_protected_are_refused_at_once(service, world):
    """At creation, never later; and nothing is stored."""
    before = service.call("DescribePoliciesV2")["TotalCount"]
    for source in ("OSS", "NAS", "OTS", "UDM_ECS", "COMMON_NAS", "File", "SYNC"):
        for action, parameters in [
            ("CreateBackupPlan", {"SourceType": source, "PlanName": "x", "VaultId": world["vault"]}),
            ("CreateBackupJob", {"SourceType": source, "VaultId": world["vault"]}),
            ("CreatePolicyBindings", {"PolicyId": world["policy"], "PolicyBindingList": [
                {"SourceType": source, "DataSourceId": "x"}]}),
            ("CreatePolicyV2", {"Rules": rules(world["vault"]) + [
                {"RuleType": "TAG", "TagFilters": [{"Key": "a"}], "DataSourceFilters": [{"SourceType": source}]}]}),
        ]:
            with pytest.raises(ApiError) as failure:
                service.call(action, **parameters)
            assert failure.value.code == "OperationDenied.NotSupported", (action, source, failure.value)
    with pytest.raises(ApiError) as failure:
        service.call("CreatePolicyV2", Rules=rules(world["vault"]) + [{"RuleType": "REPLICATION", "Retention": 7,
                                                                      "ReplicationRegionId": "cn-shanghai"}])
    assert failure.value.code == "OperationDenied.NotSupported", failure.value
    assert service.call("DescribePoliciesV2")["TotalCount"] == before
    assert service.call("DescribePolicyBindings", PolicyId=world["policy"])["TotalCount"] == 0

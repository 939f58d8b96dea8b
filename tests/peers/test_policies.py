"""Policies: what they run, for what is bound to them, by hand, by schedule and by tag."""

import json
import time

import pytest
from harness.contract import check_response
from harness.programs import Trees
from harness.signing import ApiError
from harness.waiting import wait_for

YEARLY = "I|1893456000|P1Y"


@pytest.fixture(scope="module")
def vault_id(service):
    return service.vault("of policies")


@pytest.fixture
def unbound(service):
    """The host is bound to no policy before and after."""

    def unbind():
        for binding in service.call("DescribePolicyBindings", MaxResults=100)["PolicyBindings"]:
            service.call("DeletePolicyV2", PolicyId=binding["PolicyId"])

    unbind()
    yield
    unbind()


def policy_of(service, vault_id, name="policy", **changes):
    rule = {"RuleType": "BACKUP", "BackupType": "INCREMENTAL", "Schedule": YEARLY, "Retention": 7, "VaultId": vault_id}
    made = service.call("CreatePolicyV2", PolicyName=name, Rules=[{**rule, **changes}])
    return read(service, made["PolicyId"])


def read(service, policy_id):
    page = check_response("DescribePoliciesV2", service.call("DescribePoliciesV2", PolicyId=policy_id))
    [policy] = page["Policies"]
    return policy


def bind(service, policy, source, **more):
    one = {"DataSourceId": service.client()["InstanceId"], "SourceType": "ECS_FILE", "Source": json.dumps([str(source)])}
    service.call("CreatePolicyBindings", PolicyId=policy["PolicyId"], PolicyBindingList=[{**one, **more}])


def bound(service, policy):
    page = service.call("DescribePolicyBindings", PolicyId=policy["PolicyId"], SourceType="ECS_FILE", MaxResults=50)
    return check_response("DescribePolicyBindings", page)["PolicyBindings"]


def jobs(service, vault_id):
    rows = [{"Key": "VaultId", "Operator": "EQUAL", "Values": [vault_id]}]
    return service.call("DescribeBackupJobs2", Filters=rows)["BackupJobs"]["BackupJob"]


def test_a_rule_runs_for_what_is_bound(service, vault_id, module_folder, unbound):
    source = Trees.small(module_folder / "bound")
    (source / "left-out").write_text("no")
    policy = policy_of(service, vault_id, Schedule="C|1631685600|0 0 2 ? * 3,5,7")
    rule_id = policy["Rules"][0]["RuleId"]
    with pytest.raises(ApiError) as failure:
        service.call("ExecutePolicyV2", PolicyId=policy["PolicyId"], RuleId=rule_id)
    assert failure.value.code == "PolicyBindingNotExist", failure.value
    bind(service, policy, source, Exclude='["left-out"]', SpeedLimit="0:24:51200", PolicyBindingDescription="mine")
    [binding] = bound(service, policy)
    assert (binding["Exclude"], binding["SpeedLimit"]) == ('["left-out"]', "0:24:51200")
    assert binding["PolicyBindingDescription"] == "mine" and binding["Disabled"] is False
    assert read(service, policy["PolicyId"])["PolicyBindingCount"] == 1
    job = service.wait_job(service.call("ExecutePolicyV2", PolicyId=policy["PolicyId"], RuleId=rule_id)["JobId"])
    assert job["Status"] == "COMPLETE" and job["Paths"]["Path"] == [str(source)], job
    snapshot = service.snapshot_of(vault_id, job["JobId"])
    assert snapshot["Retention"] == 7 and snapshot["ExpireTime"] == snapshot["CreatedTime"] + 7 * 86400
    plans = service.call("DescribeBackupPlans", SourceType="ECS_FILE")["BackupPlans"]["BackupPlan"]
    assert not [plan for plan in plans if plan["PlanId"] == job["PlanId"]], "what a policy runs is no plan of the caller's"
    assert service.client()["BackupStatus"] == "PROTECTED"


def test_schedules_follow_changes(service, vault_id, module_folder, unbound):
    """A binding that rests does not run; a new schedule counts from now on."""
    source = Trees.small(module_folder / "scheduled")
    policy = policy_of(service, vault_id)
    bind(service, policy, source, Disabled="true")
    before = len(jobs(service, vault_id))
    soon = int(time.time()) + 2
    rule = {**policy["Rules"][0], "Schedule": f"I|{soon}|P1D"}
    service.call("UpdatePolicyV2", PolicyId=policy["PolicyId"], Rules=[rule])
    assert read(service, policy["PolicyId"])["Rules"][0]["RuleId"] == policy["Rules"][0]["RuleId"]
    marker = service.plan(vault_id, [source], name="marker", Schedule=f"I|{soon + 1}|P1D")
    wait_for("the scheduler to have looked", lambda: [job for job in jobs(service, vault_id) if job["PlanId"] == marker], 30)
    assert len(jobs(service, vault_id)) == before + 1, "a binding that rests ran"
    soon = int(time.time()) + 2
    service.call(
        "UpdatePolicyBinding",
        PolicyId=policy["PolicyId"],
        SourceType="ECS_FILE",
        DataSourceId=service.client()["InstanceId"],
        Disabled=False,
    )
    service.call("UpdatePolicyV2", PolicyId=policy["PolicyId"], Rules=[{**rule, "Schedule": f"I|{soon}|P1D"}])
    [job] = wait_for(
        "the policy to run",
        lambda: [job for job in jobs(service, vault_id) if job["JobName"].startswith("policy/")
                 and job["CreatedTime"] >= soon and job["TriggerMode"] == "SCHEDULE"],
        30,
    )
    assert service.wait_job(job["JobId"])["Status"] == "COMPLETE"


def test_rules_come_back_as_they_were_sent(service, vault_id, unbound):
    sent = [
        {"RuleType": "BACKUP", "BackupType": "COMPLETE", "Schedule": YEARLY, "VaultId": vault_id,
         "KeepLatestSnapshots": 1, "ArchiveDays": 0},
        {"RuleType": "TRANSITION", "Retention": 30, "RetentionRules": [
            {"AdvancedRetentionType": "WEEKLY", "Retention": 60, "WhichSnapshot": 1},
            {"AdvancedRetentionType": "YEARLY", "Retention": 730, "WhichSnapshot": 1}]},
        {"RuleType": "TAG", "TagFilters": [{"Key": "never", "Operator": "EQUAL", "Value": ""}],
         "DataSourceFilters": [{"SourceType": "ECS_FILE"}]},
        {"RuleType": "SECURITY", "Immutable": True},
    ]  # fmt: skip
    made = service.call("CreatePolicyV2", PolicyName="all", PolicyDescription="of each kind", Rules=sent)
    policy = read(service, made["PolicyId"])
    assert [{name: value for name, value in rule.items() if name != "RuleId"} for rule in policy["Rules"]] == sent
    assert all(rule["RuleId"].startswith("rule-") for rule in policy["Rules"])
    assert (policy["PolicyType"], policy["PolicyDescription"]) == ("STANDARD", "of each kind")
    service.call("DeletePolicyV2", PolicyId=made["PolicyId"])
    assert service.call("DescribePoliciesV2", PolicyId=made["PolicyId"])["Policies"] == []
    with pytest.raises(ApiError) as failure:
        service.call("DeletePolicyV2", PolicyId=made["PolicyId"])
    assert (failure.value.http_status, failure.value.code) == (404, "PolicyNotExist")


def test_a_tag_binds_and_unbinds(service, vault_id, unbound):
    client = service.client()
    made = service.call(
        "CreatePolicyV2",
        PolicyName="by tag",
        Rules=[
            {"RuleType": "BACKUP", "Schedule": YEARLY, "VaultId": vault_id, "Retention": 1},
            {"RuleType": "TAG", "TagFilters": [{"Key": "backup", "Operator": "EQUAL", "Value": "gold"}]},
        ],
    )
    policy = read(service, made["PolicyId"])
    assert bound(service, policy) == []
    tagged = {"ResourceType": "client", "ResourceId": [client["ClientId"]]}
    service.call("TagResources", **tagged, Tag=[{"Key": "backup", "Value": "silver"}])
    assert bound(service, policy) == []
    service.call("TagResources", **tagged, Tag=[{"Key": "backup", "Value": "gold"}])
    [binding] = bound(service, policy)
    assert binding["CreatedByTag"] is True and binding["DataSourceId"] == client["InstanceId"]
    assert binding["HitTags"] == [{"Key": "backup", "Operator": "EQUAL", "Value": "gold"}]
    assert service.client()["Tags"] == [{"Key": "backup", "Value": "gold"}]
    service.call("UntagResources", **tagged, TagKey=["backup"])
    assert bound(service, policy) == []


def test_a_policy_without_a_name_is_called_as_its_id(service, vault_id, unbound):
    first = policy_of(service, vault_id, "told apart")
    with pytest.raises(ApiError) as failure:
        policy_of(service, vault_id, first["PolicyId"])
    assert failure.value.code == "InvalidParameter.PolicyName", failure.value
    made = service.call("CreatePolicyV2", Rules=[{"RuleType": "BACKUP", "Schedule": YEARLY, "VaultId": vault_id}])
    assert read(service, made["PolicyId"])["PolicyName"] == made["PolicyId"]
    # What was read can be sent back.
    service.call("UpdatePolicyV2", PolicyId=made["PolicyId"], PolicyName=made["PolicyId"], PolicyDescription="sent back")
    assert read(service, made["PolicyId"])["PolicyDescription"] == "sent back"
    for policy_id in (first["PolicyId"], made["PolicyId"]):
        service.call("DeletePolicyV2", PolicyId=policy_id)


def test_one_host_one_policy(service, vault_id, module_folder, unbound):
    first, second = policy_of(service, vault_id, "first"), policy_of(service, vault_id, "second")
    bind(service, first, module_folder)
    with pytest.raises(ApiError) as failure:
        bind(service, second, module_folder)
    assert (failure.value.http_status, failure.value.code) == (409, "PolicyBindingAlreadyExists"), failure.value
    with pytest.raises(ApiError) as failure:
        service.call("DeleteVault", VaultId=vault_id)
    assert failure.value.code == "VaultBoundPolicyCannotBeDeleted", failure.value
    service.call("DeletePolicyV2", PolicyId=first["PolicyId"])
    bind(service, second, module_folder)
    service.call("DeletePolicyV2", PolicyId=second["PolicyId"])


def test_pages_are_stable_while_policies_come_and_go(service, vault_id, unbound):
    made = [policy_of(service, vault_id, f"page {number:02}")["PolicyId"] for number in range(25)]
    seen, token = [], None
    while True:
        page = service.call("DescribePoliciesV2", MaxResults=10, **({"NextToken": token} if token else {}))
        seen += [policy["PolicyId"] for policy in page["Policies"]]
        token = page["NextToken"]
        if not token:
            break
        service.call("DeletePolicyV2", PolicyId=seen[-3])
        made_late = policy_of(service, vault_id, f"late {len(seen)}")["PolicyId"]
    assert [policy_id for policy_id in seen if policy_id in made] == made, "one was left out or came twice"
    assert made_late in seen
    for policy_id in set(seen):
        try:
            service.call("DeletePolicyV2", PolicyId=policy_id)
        except ApiError as failure:
            assert failure.code == "PolicyNotExist"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"RuleType": "BACKUP"}, "MissingRules1Schedule"),
        ({"RuleType": "BACKUP", "Schedule": "daily"}, "InvalidParameter.Rules"),
        ({"RuleType": "BACKUP", "Schedule": "C|0|0 0 2 1 * 2"}, "InvalidParameter.Rules"),
        ({"RuleType": "BACKUP", "Schedule": YEARLY, "Retention": -2}, "InvalidParameter.Rules"),
        ({"RuleType": "BACKUP", "Schedule": YEARLY, "Retention": 364636}, "InvalidParameter.Rules"),
        ({"RuleType": "BACKUP", "Schedule": YEARLY, "ArchiveDays": 30}, "OperationDenied.NotSupported"),
        ({"RuleType": "BACKUP", "Schedule": YEARLY, "VaultId": "v-0000000000000000none"}, "VaultNotExist"),
        ({"RuleType": "NOTHING"}, "InvalidParameter.Rules"),
        ({"RuleType": "TRANSITION", "Retention": 7}, "InvalidParameter.Rules"),
        ({}, "MissingRules1RuleType"),
    ],
)
def test_rules_that_are_refused(service, rule, code):
    before = service.call("DescribePoliciesV2")["TotalCount"]
    with pytest.raises(ApiError) as failure:
        service.call("CreatePolicyV2", Rules=[rule])
    assert failure.value.code == code, failure.value
    assert service.call("DescribePoliciesV2")["TotalCount"] == before


def test_a_plan_with_rules(service, vault_id, module_folder):
    source = Trees.small(module_folder / "ruled")
    rules = [
        {"RuleName": "daily", "Schedule": "I|1893456000|P1D", "Retention": 7, "BackupType": "COMPLETE"},
        {"RuleName": "monthly", "Schedule": "I|1893456000|P1M", "Retention": 365, "Disabled": True},
    ]
    plan_id = service.plan(vault_id, [source], name="ruled", Rule=rules)
    [plan] = service.call("DescribeBackupPlans", Filters=[{"Key": "planId", "Values": [plan_id]}])["BackupPlans"]["BackupPlan"]
    found = plan["Rules"]["Rule"]
    assert [(rule["RuleName"], rule["Retention"], rule["Disabled"]) for rule in found] == [
        ("daily", 7, False),
        ("monthly", 365, True),
    ]
    run = service.call("ExecuteBackupPlan", PlanId=plan_id, RuleId=found[1]["RuleId"], SourceType="ECS_FILE")["JobId"]
    job = service.wait_job(run)
    assert (job["Status"], job["PlanId"]) == ("COMPLETE", plan_id)
    assert service.snapshot_of(vault_id, run)["Retention"] == 365
    with pytest.raises(ApiError) as failure:
        service.call("ExecuteBackupPlan", PlanId=plan_id, RuleId="rule-none", SourceType="ECS_FILE")
    assert failure.value.code == "RuleNotExist"

"""Accounts that cannot see each other, users who may do what their policy says, roles for a while, and who gets in: nobody."""

import json
import os
import time

import pytest
from alibabacloud_sts20150401 import models as sts_models
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi import utils_models as openapi_models
from darabonba.exceptions import DaraException
from harness import programs
from harness.callers.sdk import SdkCaller
from harness.contract import SERVED
from harness.programs import Trees
from harness.signing import FORM, ApiError, SignedCaller, form, send, v1_parameters, v3_request
from test_every_action import FOREIGN, complete


def policy(*statements):
    rows = [{"Effect": effect, "Action": action, "Resource": resource} for effect, action, resource in statements]
    return json.dumps({"Version": "1", "Statement": rows})


def keys(service, reply):
    """Credentials of a key that was just made, as the callers take them."""
    return {**service.credentials(), "AccessKeyId": reply["AccessKeyId"], "AccessKeySecret": reply["AccessKeySecret"]}


@pytest.fixture(scope="module")
def world(service, module_folder):
    source = Trees.small(module_folder / "source")
    vault_id = service.vault("first")
    job = service.backup(vault_id, [source], name="first")
    return {
        "vault": vault_id,
        "job": job,
        "snapshot": service.snapshot_of(vault_id, job["JobId"]),
        "client": service.client(),
    }


@pytest.fixture(scope="module")
def stranger(service):
    """The root key of a second account."""
    reply = json.loads(service.cli("account", "create", "second", "--json").stdout)
    return {**keys(service, reply), "AccountId": reply["AccountId"]}


def user(service, name, document=None):
    service.call("CreateUser", UserName=name, **({"PolicyDocument": document} if document else {}))
    return keys(service, service.call("CreateKey", UserName=name))


def role(service, name, trusted, document, **more):
    trust = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": trusted}}]}
    reply = service.call(
        "CreateRole", RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), PolicyDocument=document, **more
    )
    return reply["Role"]["Arn"]


def sts(credentials, algorithm=None, **more):
    return StsClient(
        openapi_models.Config(
            access_key_id=credentials["AccessKeyId"],
            access_key_secret=credentials["AccessKeySecret"],
            endpoint=credentials["Endpoint"].split("//")[1].rstrip("/"),
            protocol="http",
            signature_algorithm=algorithm,
            **more,
        )
    )


def assume(credentials, arn, session="test-session", **more):
    request = sts_models.AssumeRoleRequest(role_arn=arn, role_session_name=session, **more)
    return sts(credentials).assume_role(request).body.to_map()


def refusal(call):
    with pytest.raises((ApiError, DaraException)) as failure:
        call()
    return failure.value.code


def test_accounts_see_only_their_own(service, world, stranger):
    other = SignedCaller(stranger)
    assert other.call("DescribeVaults")["TotalCount"] == 0
    assert other.call("DescribeBackupJobs2", {"SourceType": "ECS_FILE"})["TotalCount"] == 0
    assert other.call("DescribeBackupClients", {"ClientType": "ECS_CLIENT"})["TotalCount"] == 0
    made = other.call("CreateVault", {"VaultName": "first", "VaultRegionId": "cn-hangzhou"})["VaultId"]
    assert [vault["VaultId"] for vault in other.call("DescribeVaults")["Vaults"]["Vault"]] == [made]
    assert made not in json.dumps(service.call("DescribeVaults"))
    # Accounts themselves are the operator's.
    assert refusal(lambda: other.call("ListAccounts")) == "NoPermission"
    assert refusal(lambda: other.call("CreateAccount", {"AccountName": "third"})) == "NoPermission"
    names = [row["AccountName"] for row in service.call("ListAccounts")["Accounts"]]
    assert sorted(names) == ["root", "second"]


def test_ids_of_another_account_answer_like_ids_of_nobody(service, world, stranger):
    """Each action, once with ids that exist in the first account and once with ids that exist nowhere: no difference."""
    real = {
        "VaultId": world["vault"],
        "PlanId": world["job"]["PlanId"],
        "JobId": world["job"]["JobId"],
        "SnapshotId": world["snapshot"]["SnapshotId"],
        "SnapshotHash": world["snapshot"]["SnapshotHash"],
        "ClientId": world["client"]["ClientId"],
        "ClientIds": [world["client"]["ClientId"]],
        "InstanceId": world["client"]["InstanceId"],
        "InstanceIds": [world["client"]["InstanceId"]],
        "ResourceId": [world["vault"]],
    }
    other, tried = SignedCaller(stranger), 0
    before = service.call("DescribeVaults"), service.call("DescribeBackupPlans"), service.snapshots(world["vault"])

    def answer(action, parameters):
        try:
            body = other.call(action, parameters)
        except ApiError as failure:
            text = f"{failure.http_status} {failure.code} {failure.message}"
        else:
            text = json.dumps({key: value for key, value in body.items() if key != "RequestId"}, sort_keys=True)
        for value in parameters.values():
            for one in value if isinstance(value, list) else [value]:
                text = text.replace(str(one), "ID")
        return text

    for action in SERVED:
        nobody = complete(action, world)
        if not set(nobody) & set(real) or action.startswith(("Create", "Add", "OpenHbr")):
            continue
        foreign = {name: real.get(name, value) if name in FOREIGN or name == "SnapshotHash" else value
                   for name, value in nobody.items()}
        if action == "ChangeResourceGroup":  # the one that takes one resource
            [foreign["ResourceId"]] = foreign["ResourceId"]
        assert answer(action, foreign) == answer(action, nobody), action
        tried += 1
    after = service.call("DescribeVaults"), service.call("DescribeBackupPlans"), service.snapshots(world["vault"])
    for one, two in zip(before[:2], after[:2]):
        assert {**one, "RequestId": ""} == {**two, "RequestId": ""}
    assert before[2] == after[2]
    print(f"negative cases, ids of another account: {tried}, told apart: 0")
    assert tried > 25


def test_a_user_may_what_its_policy_says(service, world):
    reader = user(service, "reader", policy(
        ("Allow", ["hbr:Describe*", "hbr:CreateBackupPlan"], "*"), ("Deny", "*", "acs:hbr:*:*:vault/v-barred")))
    for algorithm in (None, "v2"):
        sdk = SdkCaller(reader, signature_algorithm=algorithm)
        assert sdk.call("DescribeVaults")["TotalCount"] >= 1
        with pytest.raises(ApiError) as failure:
            sdk.call("DeleteVault", {"VaultId": world["vault"]})
        assert (failure.value.code, failure.value.http_status) == ("NoPermission", 403)
    caller = SignedCaller(reader)
    assert refusal(lambda: caller.call("DescribeVaults", {"VaultId": "v-barred"})) == "NoPermission"
    # The detail that consoles and SDKs show.
    url, headers = v3_request(reader["AccessKeyId"], reader["AccessKeySecret"], caller.host, "DeleteVault", {"VaultId": "v-1"})
    status, _, body = send(caller.host, "POST", url, headers)
    assert status == 403 and body["AccessDeniedDetail"] == {
        "AuthAction": "hbr:DeleteVault",
        "AuthPrincipalType": "SubUser",
        "AuthPrincipalOwnerId": service.credentials()["AccountId"],
        "AuthPrincipalDisplayName": "reader",
        "NoPermissionType": "ImplicitDeny",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
    }
    # Whoever may do everything in HBR still cannot give himself more.
    hbr = SignedCaller(user(service, "hbr", policy(("Allow", "hbr:*", "*"))))
    assert hbr.call("DescribeVaults")["TotalCount"] >= 1
    for action, parameters in [
        ("CreateUser", {"UserName": "x"}), ("SetUserPolicy", {"UserName": "hbr"}), ("CreateKey", {"Kind": "ROOT"}),
        ("CreateKey", {"UserName": "reader"}), ("ListKeys", {}), ("CreateAccount", {"AccountName": "x"}),
    ]:
        assert refusal(lambda: hbr.call(action, parameters)) == "NoPermission", action
    admin = SignedCaller(user(service, "admin", policy(("Allow", "*", "*"))))
    assert admin.call("ListUsers")["Users"] and refusal(lambda: admin.call("CreateKey", {"Kind": "ROOT"})) == "NoPermission"
    # A change holds at once.
    service.call("SetUserPolicy", UserName="hbr", PolicyDocument=policy(("Allow", "hbr:DescribeRegions", "*")))
    assert refusal(lambda: hbr.call("DescribeVaults")) == "NoPermission" and hbr.call("DescribeRegions")


def test_a_vault_is_judged_whichever_id_reaches_it(service, world, module_folder):
    """A policy about one vault binds calls that name a plan, a job, a snapshot, a task, a policy or a file of a report."""
    own = world["vault"]
    source = Trees.small(module_folder / "other source")
    other = service.vault("other")
    job = service.backup(other, [source], name="other")
    snapshot = service.snapshot_of(other, job["JobId"])
    confined = SignedCaller(user(service, "confined", policy(("Allow", "*", f"acs:hbr:*:*:vault/{own}"))))
    barred = SignedCaller(user(service, "barred", policy(
        ("Allow", "*", "*"), ("Deny", "*", f"acs:hbr:*:*:vault/{other}"))))
    planner = SignedCaller(user(service, "planner", policy(
        ("Allow", "hbr:*BackupPlan", f"acs:hbr:*:*:plan/{world['job']['PlanId']}"))))

    def rule(vault_id):
        return [{"RuleType": "BACKUP", "Schedule": "I|1893456000|P1Y", "VaultId": vault_id}]

    def file(one):
        return f"temp/{service.credentials()['AccountId']}/report/{one['JobId']}/{one['JobId']}-total.csv"

    made = {vault: service.call("CreatePolicyV2", PolicyName=vault, Rules=rule(vault))["PolicyId"] for vault in (own, other)}
    tasks = {vault: service.call("CheckVault", VaultId=vault)["TaskId"] for vault in (own, other)}
    equal = {"Key": "VaultId", "Operator": "EQUAL"}
    searched = {"field": "VaultId", "operation": "MATCH_TERM"}
    # Each call with what lies in the user's vault, in the other one, and nowhere.
    cases = [
        ("ListJobEvents", lambda job, _: {"JobId": job["JobId"]}),
        ("ListSnapshots", lambda job, _: {"ProtectedResourceId": world["client"]["InstanceId"], "SourceType": "ECS_FILE",
                                          "PlanId": job["PlanId"]}),
        ("EnableBackupPlan", lambda job, _: {"PlanId": job["PlanId"], "SourceType": "ECS_FILE"}),
        ("HoldSnapshot", lambda _, snapshot: {"SnapshotId": snapshot["SnapshotId"]}),
        ("ReleaseSnapshot", lambda _, snapshot: {"SnapshotId": snapshot["SnapshotId"]}),
        ("DescribeTask", lambda _, snapshot: {"TaskId": tasks[snapshot["VaultId"]]}),
        ("DescribePoliciesV2", lambda _, snapshot: {"PolicyId": made[snapshot["VaultId"]]}),
        ("UpdatePolicyV2", lambda _, snapshot: {"PolicyId": made[own], "Rules": rule(snapshot["VaultId"])}),
        ("TagResources", lambda _, snapshot: {"ResourceType": "vault", "ResourceId": [snapshot["VaultId"]],
                                              "Tag": [{"Key": "a", "Value": "b"}]}),
        ("GetTempFileDownloadLink", lambda job, _: {"TempFileKey": file(job)}),
        ("DescribeBackupJobs2", lambda _, snapshot: {"Filters": [{**equal, "Values": [snapshot["VaultId"]]}]}),
        ("DescribeRestoreJobs2", lambda _, snapshot: {"Filters": [{**equal, "Values": [snapshot["VaultId"]]}]}),
        ("DescribeBackupJobs2", lambda job, _: {"Filters": [{"Key": "JobId", "Operator": "IN", "Values": [job["JobId"]]}]}),
        ("DescribeBackupPlans", lambda job, _: {"Filters": [{"Key": "planId", "Values": [job["PlanId"]]}]}),
        ("DescribeBackupPlans", lambda _, snapshot: {"Filters": [{"Key": "vaultId", "Values": [snapshot["VaultId"]]}]}),
        ("SearchHistoricalSnapshots", lambda _, snapshot: {
            "SourceType": "ECS_FILE", "Query": json.dumps([{**searched, "value": snapshot["VaultId"]}])}),
    ]
    tried = 0
    for action, parameters in cases:
        mine, foreign = parameters(world["job"], world["snapshot"]), parameters(job, snapshot)
        for caller in (confined, barred):
            assert caller.call(action, mine), action
            assert refusal(lambda: caller.call(action, foreign)) == "NoPermission", action
            tried += 1
    # What the action does not take names nothing, and two vaults are judged both.
    reads = {"SourceType": "ECS_FILE"}
    for caller, action, parameters in [
        (confined, "DescribeBackupJobs2", {**reads, "VaultId": own}),
        (confined, "DescribeBackupJobs2", reads),
        (confined, "HoldSnapshot", {"SnapshotId": "s-0000000000000000none", "VaultId": own}),
        (confined, "DeleteSnapshot", {"SnapshotId": snapshot["SnapshotId"], "VaultId": own}),
        (confined, "CreatePolicyV2", {"PolicyName": "both", "Rules": rule(own) + rule(other)}),
        (confined, "DescribeBackupJobs2", {"Filters": [{"Key": "VaultId", "Values": [own, other]}]}),
        (confined, "DescribeBackupJobs2", {"Filters": [{"Key": "VaultId", "Operator": "NOT_EQUAL", "Values": [other]}]}),
        (confined, "DescribeBackupJobs2", {"Filters": [{"Key": "JobId", "Values": [world["job"]["JobId"], job["JobId"]]}]}),
        (confined, "DescribeBackupJobs2", {"Filters": [{"Key": "JobId", "Values": [world["job"]["JobId"], "job-none"]}]}),
        (confined, "DescribeRestoreJobs2", {"Filters": [{"Key": "RestoreId", "Operator": "EQUAL", "Values": ["r-none"]}]}),
        (confined, "DescribeBackupPlans", {"Filters": [{"Key": "planId", "Values": [world["job"]["PlanId"], job["PlanId"]]}]}),
        (barred, "DeleteBackupClientResource", {"ClientIds": [world["client"]["ClientId"]]}),
        (planner, "EnableBackupPlan", {"PlanId": job["PlanId"], "SourceType": "ECS_FILE"}),
        (planner, "EnableBackupPlan", {"PlanId": world["job"]["PlanId"], "VaultId": other}),
    ]:
        assert refusal(lambda: caller.call(action, parameters)) == "NoPermission", (action, parameters)
        tried += 1
    print(f"negative cases, resources that policies leave out: {tried}, let in: 0")
    assert barred.call("DescribeBackupJobs2", reads)["TotalCount"] >= 2
    for more in ({}, {"VaultId": own}):
        assert planner.call("EnableBackupPlan", {"PlanId": world["job"]["PlanId"], **more})
    for policy_id in made.values():
        service.call("DeletePolicyV2", PolicyId=policy_id)


def test_actions_that_there_are_not_are_refused(service):
    """A denial of a misspelt action would deny nothing. What other services have is theirs."""
    everything = ("Allow", "*", "*")
    trust = {"Version": "1", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{service.credentials()['AccountId']}:root"}}]}
    for action, told in [
        ("hbr:DescribeBackupJob2", "did you mean hbr:DescribeBackupJobs2?"),
        ("hbr:DeleteVualt", "did you mean hbr:DeleteVault?"),
        ("hbr:*Foo", "fits no action"),
        ("sts:AssumeRoles", "did you mean sts:AssumeRole?"),
        ("DeleteVault", "did you mean hbr:DeleteVault?"),
    ]:
        document = policy(everything, ("Deny", ["hbr:DeleteSnapshot", action], "*"))
        for call, parameters in [
            ("CreateUser", {"UserName": "misspelt", "PolicyDocument": document}),
            ("SetUserPolicy", {"UserName": "reader", "PolicyDocument": document}),
            ("CreateRole", {"RoleName": "misspelt", "AssumeRolePolicyDocument": json.dumps(trust), "PolicyDocument": document}),
        ]:
            with pytest.raises(ApiError) as failure:
                service.call(call, **parameters)
            assert failure.value.code == "InvalidParameter.PolicyDocument"
            assert action in failure.value.message and told in failure.value.message, failure.value.message
    foreign = ["ecs:DescribeInstances", "ram:PassRole", "hbr:Describe*", "hbr:CreateHanaInstance", "hbr:RegisterAgent", "*"]
    service.call("CreateUser", UserName="foreign", PolicyDocument=policy(("Allow", foreign, "*")))
    [document] = [row["PolicyDocument"] for row in service.call("ListUsers")["Users"] if row["UserName"] == "foreign"]
    assert json.loads(document)["Statement"][0]["Action"] == foreign


def test_resources_that_fit_nothing_are_refused(service, world):
    """A denial of them would deny nothing. What the service writes, and what other services have, is stored."""
    listed = "there may be vault/v-…, plan/plan-…, policy/po-…, client/c-…, *"
    for resource, told in [
        ("acs:hbr:*:*:vualt/v-1", "did you mean acs:hbr:*:*:vault/v-1?"),
        ("acs:hrb:*:*:*", "did you mean acs:hbr:*:*:*?"),
        ("vault/v-1", "did you mean acs:hbr:*:*:vault/v-1?"),
        ("acs:hbr:vault/x", listed),
        ("acs:hbr:*:*:instance/*", listed),
    ]:
        with pytest.raises(ApiError) as failure:
            service.call("CreateUser", UserName="fitting", PolicyDocument=policy(("Deny", "*", resource)))
        assert failure.value.code == "InvalidParameter.PolicyDocument"
        assert resource in failure.value.message and told in failure.value.message, failure.value.message
    service.call("CreateUser", UserName="fitting", PolicyDocument=policy(("Allow", "*", "acs:oss:*:*:bucket/*")))
    written = service.call("GenerateRamPolicy", ActionType="RESTORE", VaultId=world["vault"])["PolicyDocument"]
    service.call("SetUserPolicy", UserName="fitting", PolicyDocument=written)


def test_bad_documents_are_refused(service):
    for document in ("{", "[]", '{"Version":"1","Statement":[]}', policy(("Perhaps", "*", "*"))):
        assert refusal(lambda: service.call("CreateUser", UserName="bad", PolicyDocument=document)).startswith("InvalidParameter")
    everybody = policy(("Allow", "sts:AssumeRole", "*"))
    assert refusal(lambda: service.call("CreateRole", RoleName="bad", AssumeRolePolicyDocument=everybody)).startswith("InvalidParameter")
    assert refusal(lambda: service.call("CreateUser", UserName="a/b")) == "InvalidParameter.UserName"
    assert "bad" not in json.dumps(service.call("ListUsers"))


def test_roles_are_taken_on_for_a_while(service, world):
    account = service.credentials()["AccountId"]
    ops = user(service, "ops", policy(("Allow", "sts:AssumeRole", f"acs:ram::{account}:role/see*")))
    arn = role(service, "see", [f"acs:ram::{account}:user/ops"], policy(("Allow", "hbr:Describe*", "*")))
    for algorithm in (None, "v2"):
        identity = sts(ops, algorithm).get_caller_identity().body.to_map()
        assert identity["IdentityType"] == "RAMUser" and identity["Arn"] == f"acs:ram::{account}:user/ops"
    reply = assume(ops, arn, duration_seconds=900)
    assert reply["AssumedRoleUser"]["Arn"] == f"acs:ram::{account}:assumed-role/see/test-session"
    given = reply["Credentials"]
    taken = keys(service, given)
    token = {"security_token": given["SecurityToken"]}
    assert refusal(lambda: SdkCaller(ops).call("DescribeVaults")) == "NoPermission", "the user itself may not"
    for algorithm in (None, "v2"):
        sdk = SdkCaller(taken, signature_algorithm=algorithm, **token)
        assert sdk.call("DescribeVaults")["TotalCount"] >= 1
        assert refusal(lambda: sdk.call("DeleteVault", {"VaultId": world["vault"]})) == "NoPermission"
        identity = sts(taken, algorithm, **token).get_caller_identity().body.to_map()
        assert identity["IdentityType"] == "AssumedRoleUser" and identity["Arn"].endswith("assumed-role/see/test-session")
    # Our own commands take the token where the SDKs do.
    environment = {
        "STRONGROOM_ENDPOINT": taken["Endpoint"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": taken["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": taken["AccessKeySecret"],
    }
    with_token = {**environment, "ALIBABA_CLOUD_SECURITY_TOKEN": given["SecurityToken"]}
    assert world["vault"] in service.cli("vault", "list", "--json", env=with_token).stdout
    assert "MissingSecurityToken" in service.cli("vault", "list", status=20, env=environment).stderr
    # A session policy cuts down, and never adds.
    cut = assume(ops, arn, policy=policy(("Allow", ["hbr:DescribeRegions", "hbr:DeleteVault"], "*")))["Credentials"]
    sdk = SdkCaller(keys(service, cut), security_token=cut["SecurityToken"])
    assert sdk.call("DescribeRegions")
    assert refusal(lambda: sdk.call("DescribeVaults")) == "NoPermission"
    assert refusal(lambda: sdk.call("DeleteVault", {"VaultId": world["vault"]})) == "NoPermission"
    # Who is not trusted, or may not, gets the same answer as for a role that does not exist.
    root, other = service.credentials(), user(service, "other", policy(("Allow", "sts:*", "*")))
    assert refusal(lambda: assume(root, arn)) == "NoPermission"
    codes = {refusal(lambda: assume(other, one)) for one in (arn, f"acs:ram::{account}:role/none", "acs:ram::1:role/see")}
    assert codes == {"NoPermission"}
    assert refusal(lambda: assume(ops, f"acs:ram::{account}:role/restore")) == "NoPermission"
    misspelt = policy(("Deny", "hbr:DeleteVualt", "*"))
    for wrong in ({"session": "x"}, {"duration_seconds": 1}, {"duration_seconds": 9999999}, {"policy": "{"}, {"policy": misspelt}):
        assert refusal(lambda: assume(ops, arn, **wrong)).startswith("InvalidParameter"), wrong
    # When the role goes, so do its sessions.
    service.call("DeleteRole", RoleName="see")
    assert refusal(lambda: SdkCaller(taken, **token).call("DescribeVaults")) == "InvalidSecurityToken.Expired"


def test_the_command_line_takes_roles_on(service, world, folder):
    """`role assume`, shown, as JSON and for a shell, whose variables every command uses; `api` speaks STS."""
    account = service.credentials()["AccountId"]
    ops = user(service, "typist", policy(("Allow", "sts:AssumeRole", "*")))
    arn = role(service, "typed", [f"acs:ram::{account}:user/typist"], policy(("Allow", "hbr:Describe*", "*")))
    names = {"AccessKeyId": "ALIBABA_CLOUD_ACCESS_KEY_ID", "AccessKeySecret": "ALIBABA_CLOUD_ACCESS_KEY_SECRET"}
    # The key of the environment counts before that of the data directory, and no endpoint is needed beside it.
    typist = {variable: ops[name] for name, variable in names.items()}
    shown = service.cli("role", "assume", "typed", "--duration", "900", env=typist).stdout
    for title in ("role", "key", "secret", "token", "ends"):
        assert f"\n{title} " in "\n" + shown, shown
    cut = folder / "cut.json"
    cut.write_text(policy(("Allow", "hbr:DescribeRegions", "*")))
    given = json.loads(service.cli("role", "assume", arn, "--json", "--policy", cut, env=typist).stdout)["Credentials"]
    taken = {variable: given[name] for name, variable in names.items()}
    taken["ALIBABA_CLOUD_SECURITY_TOKEN"] = given["SecurityToken"]
    assert service.cli("api", "DescribeRegions", env=taken).stdout
    refused = service.cli("vault", "list", env=taken, status=20).stderr
    assert "NoPermission" in refused and "the policy of the role typed" in refused, refused
    assert "allows hbr:DescribeVaults on acs:hbr:cn-hangzhou:" in refused and "has no Allow for" in refused, refused
    # In a shell that has nothing but these lines, and a stale secret that they must take away.
    strongroom = f"{programs.binary()} --data-dir {service.data_dir}"
    script = f"""
        export {names["AccessKeyId"]}={ops["AccessKeyId"]} ALIBABA_CLOUD_ACCESS_KEY_SECRET_COMMAND='echo {ops["AccessKeySecret"]}'
        lines=$({strongroom} role assume typed --export) && eval "$lines" && unset lines
        {programs.binary()} --data-dir {folder}/none api GetCallerIdentity
        {programs.binary()} --data-dir {folder}/none vault list --json
        {programs.binary()} --data-dir {folder}/none vault delete {world["vault"]} --yes; echo status $?"""
    done = programs.run(["env", "-i", f"HOME={folder}", f"PATH={os.environ['PATH']}", "bash", "-c", script])
    assert '"assumed-role/typed/strongroom"' in done.stdout.replace(f"acs:ram::{account}:", ""), done.stdout
    assert world["vault"] in done.stdout and "status 20" in done.stdout, done.stdout
    words = ("RoleArn=" + arn, "RoleSessionName=by-api")
    by_api = json.loads(service.cli("api", "AssumeRole", *words, env=typist).stdout)
    assert by_api["AssumedRoleUser"]["Arn"].endswith("/typed/by-api")
    # Classes of refusals: what is missing is wrong usage, what is not allowed is access.
    assert "MissingRoleSessionName" in service.cli("api", "AssumeRole", words[0], env=typist, status=2).stderr
    assert "signed with" in service.cli("role", "assume", "typed", status=20).stderr.replace("sign with", "signed with")
    wrong = {**taken, "ALIBABA_CLOUD_SECURITY_TOKEN": given["SecurityToken"][:-4]}
    assert "InvalidSecurityToken" in service.cli("vault", "list", env=wrong, status=20).stderr
    service.call("DeleteRole", RoleName="typed")
    ended = service.cli("vault", "list", env=taken, status=20).stderr
    assert "InvalidSecurityToken.Expired" in ended and "take the role on again" in ended, ended


def test_tokens_that_are_none(service):
    account = service.credentials()["AccountId"]
    ops = user(service, "tokens", policy(("Allow", "sts:AssumeRole", "*")))
    arn = role(service, "tokens", [f"acs:ram::{account}:root"], policy(("Allow", "*", "*")))
    one, two = (assume(ops, arn)["Credentials"] for _ in range(2))
    token = one["SecurityToken"]
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    middle = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    tried = 0
    for credentials, given, code in [
        (keys(service, one), two["SecurityToken"], "InvalidSecurityToken.Malformed"),
        (keys(service, one), flipped, "InvalidSecurityToken.Malformed"),
        (keys(service, one), middle, "InvalidSecurityToken.Malformed"),
        (keys(service, one), "rubbish", "InvalidSecurityToken.Malformed"),
        (keys(service, one), None, "MissingSecurityToken"),
        (service.credentials(), token, "InvalidSecurityToken.MismatchWithAccessKey"),
        ({**keys(service, one), "AccessKeySecret": "wrong"}, token, "SignatureDoesNotMatch"),
    ]:
        for algorithm in (None, "v2"):
            more = {"security_token": given} if given else {}
            caller = SdkCaller(credentials, signature_algorithm=algorithm, **more)
            assert refusal(lambda: caller.call("DescribeRegions")) == code, (given, algorithm)
            tried += 1
    # A token that is not under the signature is not looked at.
    host = service.credentials()["Endpoint"].split("//")[1].rstrip("/")
    url, headers = v3_request(one["AccessKeyId"], one["AccessKeySecret"], host, "DescribeRegions", {})
    status, _, body = send(host, "POST", url, {**headers, "x-acs-security-token": token})
    assert (status, body["Code"]) == (400, "IncompleteSignature")
    print(f"negative cases, tokens: {tried + 1}, let in: 0")


def test_who_gets_in(service, world):
    """Each action without a key, with one that nobody has, a disabled one, one of a disabled or powerless user."""
    disabled = user(service, "off-key", policy(("Allow", "*", "*")))
    service.cli("key", "disable", disabled["AccessKeyId"])
    gone = user(service, "off-user", policy(("Allow", "*", "*")))
    service.cli("user", "disable", "off-user")
    deleted = user(service, "deleted", policy(("Allow", "*", "*")))
    service.cli("user", "delete", "deleted", "--yes")
    powerless = user(service, "powerless")
    registrar = keys(service, json.loads(service.cli("key", "create", "--register", "--json").stdout))
    host = service.credentials()["Endpoint"].split("//")[1].rstrip("/")
    unknown = {**service.credentials(), "AccessKeyId": "SR000000000000000000000000"}
    cases = [
        (unknown, "InvalidAccessKeyId.NotFound"),
        (deleted, "InvalidAccessKeyId.NotFound"),
        (disabled, "InvalidAccessKeyId.Inactive"),
        (gone, "InvalidAccessKeyId.Inactive"),
        (powerless, "NoPermission"),
        (registrar, "NoPermission"),
    ]
    tried = 0
    for action in SERVED:
        parameters = complete(action, world)
        for credentials, code in cases:
            key, secret = credentials["AccessKeyId"], credentials["AccessKeySecret"]
            pairs = v1_parameters(key, secret, action, parameters)
            status, _, body = send(host, "POST", "/", {"content-type": FORM}, form(pairs).encode())
            assert status >= 400 and body["Code"] == code, (action, code, body)
            url, headers = v3_request(key, secret, host, action, parameters)
            status, _, body = send(host, "POST", url, headers)
            assert status >= 400 and body["Code"] == code, (action, code, body)
            tried += 2
        unsigned = {"Action": action, "Version": "2017-09-08"}
        status, _, body = send(host, "POST", "/", {"content-type": FORM}, form(unsigned).encode())
        assert status == 400 and body["Code"].startswith("Missing"), (action, body)
        tried += 1
    print(f"negative cases, keys: {tried}, let in: 0")
    assert tried > 800


def test_keys_are_rotated_without_a_gap(service):
    first = user(service, "rotating", policy(("Allow", "hbr:*", "*")))
    second = keys(service, json.loads(service.cli("key", "rotate", first["AccessKeyId"], "--json").stdout))
    assert SignedCaller(first).call("DescribeRegions") and SignedCaller(second).call("DescribeRegions")
    assert refusal(lambda: service.call("CreateKey", UserName="rotating")) == "QuotaExceeded"
    service.cli("key", "disable", first["AccessKeyId"])
    assert refusal(lambda: SignedCaller(first).call("DescribeRegions")) == "InvalidAccessKeyId.Inactive"
    assert SignedCaller(second).call("DescribeRegions")
    service.cli("key", "delete", first["AccessKeyId"], "--yes")
    text = service.cli("key", "list").stdout
    assert second["AccessKeyId"] in text and first["AccessKeyId"] not in text and second["AccessKeySecret"] not in text
    # The last root key stays.
    own = service.credentials()["AccessKeyId"]
    assert "last active root key" in service.cli("key", "disable", own, status=2).stderr
    # Secrets are nowhere but in the hands of those who made them.
    assert second["AccessKeySecret"] not in service.log()
    for path in service.data_dir.glob("catalog.db*"):
        assert second["AccessKeySecret"].encode() not in path.read_bytes(), path


def test_a_disabled_account_is_out_and_back(service, stranger):
    other = SignedCaller(stranger)
    service.cli("account", "disable", stranger["AccountId"])
    assert refusal(lambda: other.call("DescribeRegions")) == "InvalidAccessKeyId.Inactive"
    assert "DISABLED" in service.cli("account", "list").stdout
    service.cli("account", "enable", stranger["AccountId"])
    assert other.call("DescribeRegions")
    own = service.credentials()["AccountId"]
    assert "stays active" in service.cli("account", "disable", own, status=2).stderr


def test_sessions_survive_a_restart_and_end_in_time(service):
    account = service.credentials()["AccountId"]
    ops = user(service, "lasting", policy(("Allow", "sts:AssumeRole", "*")))
    arn = role(service, "lasting", [f"acs:ram::{account}:user/lasting"], policy(("Allow", "hbr:*", "*")), MaxSessionDuration=900)
    given = assume(ops, arn)["Credentials"]
    expires = time.strptime(given["Expiration"], "%Y-%m-%dT%H:%M:%SZ")
    assert 880 <= time.mktime(expires) - time.mktime(time.gmtime()) <= 901
    service.stop()
    service.start()
    taken = {**keys(service, given)}
    assert SdkCaller(taken, security_token=given["SecurityToken"]).call("DescribeRegions")

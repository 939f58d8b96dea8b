"""What every real client makes of refusals: the code, the status and the text arrive, and no client breaks."""

import pytest
from harness.callers import CALLERS
from harness.callers.sdk import SdkCaller
from harness.contract import CONTRACT, SERVED
from harness.signing import ApiError


def test_every_action_is_answered(caller):
    """All 97 actions with nothing in them: served, refused for what is missing, or named as not supported."""
    for action in sorted(CONTRACT):
        try:
            caller.call(action, {})
        except ApiError as failure:
            assert failure.http_status is None or 400 <= failure.http_status < 500, (action, failure)
            expected = (
                ("Missing", "ORDER.OPEND", "InvalidParameter") if action in SERVED else "OperationDenied.NotSupported"
            )
            assert failure.code.startswith(expected), (action, failure)
        else:
            assert action in SERVED, action


@pytest.mark.parametrize("name", sorted(CALLERS))
def test_a_wrong_secret(service, name):
    """Some SDKs compare the string to sign in the message with their own and then blame the secret, rightly."""
    caller = CALLERS[name]({**service.credentials(), "AccessKeySecret": "wrong"})
    try:
        with pytest.raises(ApiError) as failure:
            caller.call("DescribeRegions")
        assert failure.value.code in ("SignatureDoesNotMatch", "InvalidAccessKeySecret"), failure.value
    finally:
        caller.close()


@pytest.mark.parametrize("name", sorted(CALLERS))
def test_an_unknown_key(service, name):
    caller = CALLERS[name]({**service.credentials(), "AccessKeyId": "NoSuchKey"})
    try:
        with pytest.raises(ApiError) as failure:
            caller.call("DescribeRegions")
        assert failure.value.code == "InvalidAccessKeyId.NotFound", failure.value
    finally:
        caller.close()


@pytest.mark.parametrize("algorithm", [None, "v2"])
@pytest.mark.parametrize("token", [{"security_token": "token"}, {"bearer_token": "token"}])
def test_tokens_are_refused_cleanly(service, algorithm, token):
    caller = SdkCaller(service.credentials(), signature_algorithm=algorithm, **token)
    with pytest.raises(ApiError) as failure:
        caller.call("DescribeRegions")
    assert 400 <= failure.value.http_status < 500 and failure.value.code, failure.value


def test_names_in_every_script(caller):
    """Text of any kind comes back as it was sent, through every client's own encoding."""
    for text in ("plain", "with space + plus", "a&b=c%20d", "日本語 🦀", "tilde~star*bang!", "quote\"'back\\slash"):
        page = caller.call(
            "DescribeBackupJobs2",
            {"SourceType": "ECS_FILE", "Filters": [{"Key": "PlanId", "Operator": "EQUAL", "Values": [text]}]},
        )
        assert page["TotalCount"] == 0
    plan = {"Key": "planName", "Values": ["no such plan ~ 日本"]}
    assert caller.call("DescribeBackupPlans", {"Filters": [plan]})["BackupPlans"] == {"BackupPlan": []}


def test_descriptions_come_back(caller, request):
    text = f"Ünï ~ *!'()+% {request.node.name} 日本語"
    name = f"text {request.node.callspec.params['caller']}"
    vault_id = caller.call("CreateVault", {"VaultName": name, "VaultRegionId": "cn-hangzhou", "Description": text})[
        "VaultId"
    ]
    [vault] = caller.call("DescribeVaults", {"VaultId": vault_id})["Vaults"]["Vault"]
    assert (vault["VaultName"], vault["Description"]) == (name, text)

"""Requests that must be refused, and how: as JSON with an HTTP status that every client understands."""

import http.client
import json
import random
import time

import pytest

from harness.programs import Trees
from harness.service import Service
from harness.signing import FORM, ApiError, SignedCaller, checked, form, send, utc_now, v1_parameters, v3_request

ACTION = "DescribeRegions"


class Signer:
    """Sends one call with either signature, wrong in the way asked for."""

    def __init__(self, service):
        credentials = service.credentials()
        self.key, self.secret = credentials["AccessKeyId"], credentials["AccessKeySecret"]
        self.host = credentials["Endpoint"].split("//")[1].rstrip("/")

    def v1(self, action=ACTION, parameters=None, method="POST", key=None, secret=None, **overrides):
        pairs = v1_parameters(key or self.key, secret or self.secret, action, parameters or {}, method, **overrides)
        if method == "GET":
            return send(self.host, "GET", f"/?{form(pairs)}", {})
        return send(self.host, method, "/", {"content-type": FORM}, form(pairs).encode())

    def v3(self, action=ACTION, parameters=None, key=None, secret=None, send_body=None, add=None, **options):
        url, headers = v3_request(
            key or self.key, secret or self.secret, self.host, action, parameters or {}, **options
        )
        body = send_body if send_body is not None else options.get("body", b"")
        return send(self.host, options.get("method", "POST"), url, {**headers, **(add or {})}, body)


@pytest.fixture(scope="module")
def signer(service):
    return Signer(service)


def refused(answer, http_status, code):
    status, _, body = answer
    statuses = http_status if isinstance(http_status, tuple) else (http_status,)
    codes = code if isinstance(code, tuple) else (code,)
    assert status in statuses and body["Code"] in codes, (status, body)
    assert {"RequestId", "HostId", "Code", "Message"} <= set(body), body
    assert body["RequestId"] == body["RequestId"].upper() and len(body["RequestId"]) == 36
    return body


def test_right_requests_pass(signer):
    for answer in (signer.v1(), signer.v1(method="GET"), signer.v3(), signer.v3(method="GET")):
        checked(answer[0], answer[2])


def test_wrong_secret(signer):
    body = refused(signer.v1(secret="wrong"), 400, "SignatureDoesNotMatch")
    # Two SDKs split the message at the colon and compare the rest with their own string to sign.
    assert "server string to sign is:POST&%2F&" in body["Message"]
    body = refused(signer.v3(secret="wrong"), 400, "SignatureDoesNotMatch")
    assert "server string to sign is:ACS3-HMAC-SHA256" in body["Message"]


def test_unknown_key(signer):
    refused(signer.v1(key="NoSuchKey"), 404, "InvalidAccessKeyId.NotFound")
    refused(signer.v3(key="NoSuchKey"), 404, "InvalidAccessKeyId.NotFound")


def test_a_changed_request(signer):
    """The signature covers every parameter and the body."""
    pairs = v1_parameters(signer.key, signer.secret, "DescribeVaults", {"PageSize": 10})
    changed = form({**pairs, "PageSize": "11"}).encode()
    refused(send(signer.host, "POST", "/", {"content-type": FORM}, changed), 400, "SignatureDoesNotMatch")
    url, headers = v3_request(signer.key, signer.secret, signer.host, "DescribeVaults", {"PageSize": 10})
    refused(send(signer.host, "POST", url.replace("10", "11"), headers), 400, "SignatureDoesNotMatch")
    headers["x-acs-action"] = "DescribeBackupPlans"
    refused(send(signer.host, "POST", url, headers), 400, "SignatureDoesNotMatch")
    swapped = signer.v3("DescribeVaults", body=b"PageSize=10", send_body=b"PageSize=11")
    status, _, body = swapped
    assert 400 <= status < 500, body


@pytest.mark.parametrize("offset", [-16 * 60, 16 * 60, -86400])
def test_time_outside_the_window(signer, offset):
    refused(signer.v1(timestamp=utc_now(offset)), 400, "InvalidTimeStamp.Expired")
    refused(signer.v3(timestamp=utc_now(offset)), 400, "InvalidTimeStamp.Expired")


@pytest.mark.parametrize("offset", [-13 * 60, 13 * 60])
def test_time_inside_the_window(signer, offset):
    for answer in (signer.v1(timestamp=utc_now(offset)), signer.v3(timestamp=utc_now(offset))):
        checked(answer[0], answer[2])


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "1700000000"])
def test_time_that_is_none(signer, text):
    for answer in (signer.v1(Timestamp=text), signer.v3(x_acs_date=text)):
        refused(
            answer,
            400,
            ("InvalidTimeStamp.Format", "MissingTimestamp", "InvalidTimeStamp.Expired", "IncompleteSignature"),
        )


def test_a_replayed_nonce(signer):
    for call, nonce in ((signer.v1, f"n1-{time.time()}"), (signer.v3, f"n3-{time.time()}")):
        checked(call(nonce=nonce)[0], {})
        refused(call(nonce=nonce), 400, "SignatureNonceUsed")


def test_a_nonce_replayed_after_a_restart(fresh):
    fresh.start()
    nonces = [f"restart-{number}-{time.time()}" for number in range(2)]
    checked(Signer(fresh).v1(nonce=nonces[0])[0], {})
    checked(Signer(fresh).v3(nonce=nonces[1])[0], {})
    fresh.kill()
    fresh.start()
    refused(Signer(fresh).v1(nonce=nonces[0]), 400, "SignatureNonceUsed")
    refused(Signer(fresh).v3(nonce=nonces[1]), 400, "SignatureNonceUsed")


def test_a_wrong_signature_does_not_use_up_a_nonce(signer):
    nonce = f"wrong-first-{time.time()}"
    refused(signer.v3(secret="wrong", nonce=nonce), 400, "SignatureDoesNotMatch")
    checked(signer.v3(nonce=nonce)[0], {})


def test_unknown_action(signer):
    refused(signer.v1("NoSuchAction"), 404, "InvalidAction.NotFound")
    refused(signer.v3("NoSuchAction"), 404, "InvalidAction.NotFound")


def test_wrong_version(signer):
    refused(signer.v1(Version="2017-09-09"), 400, "InvalidVersion")
    refused(signer.v3(x_acs_version="2020-01-01"), 400, "InvalidVersion")


def test_missing_parameters(signer):
    for action, parameters, code in [
        ("CreateVault", {"VaultRegionId": "cn-hangzhou"}, "MissingVaultName"),
        ("CreateVault", {"VaultName": "x"}, "MissingVaultRegionId"),
        ("ExecuteBackupPlan", {}, "MissingPlanId"),
        ("CreateBackupPlan", {}, "MissingSourceType"),
        ("DescribeBackupClients", {}, "MissingClientType"),
        ("CancelBackupJob", {}, "MissingJobId"),
        ("CreateRestoreJob", {"SourceType": "ECS_FILE"}, "MissingRestoreType"),
    ]:
        refused(signer.v1(action, parameters), 400, code)
        refused(signer.v3(action, parameters), 400, code)


def test_missing_parts_of_a_request(signer):
    for name, code in [("Action", "MissingAction"), ("Version", "MissingVersion")]:
        refused(signer.v1(**{name: None}), 400, code)
    for name in ("AccessKeyId", "Signature", "SignatureNonce", "Timestamp"):
        pairs = v1_parameters(signer.key, signer.secret, ACTION, {})
        pairs.pop(name)
        answer = send(signer.host, "POST", "/", {"content-type": FORM}, form(pairs).encode())
        refused(answer, 400, (f"Missing{name}", "IncompleteSignature"))
    for name in ("x-acs-date", "x-acs-signature-nonce", "x-acs-action", "x-acs-version"):
        status, _, body = signer.v3(drop=[name])
        assert 400 <= status < 405, (name, body)


def test_headers_that_must_be_signed(signer):
    """A header that decides something is refused when it is added after signing."""
    url, headers = v3_request(signer.key, signer.secret, signer.host, ACTION, {}, drop=["x-acs-signature-nonce"])
    headers["x-acs-signature-nonce"] = "added-later"
    refused(
        send(signer.host, "POST", url, headers),
        400,
        ("IncompleteSignature", "SignatureDoesNotMatch", "MissingSignatureNonce"),
    )


def test_security_tokens_are_refused_cleanly(signer):
    status, _, body = signer.v1(SecurityToken="token")
    assert 400 <= status < 404 and "oken" in body["Message"], body
    status, _, body = signer.v3(x_acs_security_token="token")
    assert 400 <= status < 404 and "oken" in body["Message"], body


def test_bearer_tokens_are_refused_cleanly(signer):
    """The official SDK sends no signature at all with a bearer token."""
    headers = {
        "x-acs-action": ACTION,
        "x-acs-version": "2017-09-08",
        "x-acs-bearer-token": "token",
        "x-acs-date": utc_now(),
    }
    for url, extra in (("/?SignatureType=BEARERTOKEN", headers), ("/", headers)):
        status, _, body = send(signer.host, "POST", url, extra)
        assert 400 <= status < 405 and body["Code"], body
    status, _, body = signer.v1(SignatureType="BEARERTOKEN", BearerToken="token")
    assert 400 <= status < 405, body


def test_other_algorithms_are_refused_cleanly(signer):
    refused(signer.v1(SignatureMethod="HMAC-SHA256"), 400, ("InvalidSignatureMethod", "InvalidParameter"))
    url, headers = v3_request(signer.key, signer.secret, signer.host, ACTION, {})
    headers["Authorization"] = headers["Authorization"].replace("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3")
    status, _, body = send(signer.host, "POST", url, headers)
    assert status == 400, body


def test_other_methods_and_paths(signer):
    for method in ("PUT", "DELETE", "PATCH"):
        status, _, body = signer.v3(method=method)
        assert status in (403, 405), (method, body)
    status, _, body = signer.v3(path="/elsewhere")
    assert status == 404 and body["Code"], body


def test_no_call_without_a_signature(signer):
    for url in ("/", "/?Action=DescribeVaults&Version=2017-09-08", "/agent/v1/Sync", "/agent/v1/Register"):
        for method in ("GET", "POST"):
            status, _, body = send(signer.host, method, url, {})
            assert 400 <= status < 500, (url, method, body)


def test_bodies_are_bounded(signer):
    body = b"Path.1=" + b"a" * (64 << 20)
    connection = http.client.HTTPConnection(signer.host, timeout=60)
    url, headers = v3_request(signer.key, signer.secret, signer.host, "CreateBackupPlan", {}, body=body)
    try:
        connection.request("POST", url, body, {name: value for name, value in headers.items() if name != "host"})
        answer = connection.getresponse()
        assert answer.status == 413, answer.status
        assert json.loads(answer.read())["Code"]
    except (BrokenPipeError, ConnectionResetError):
        pass  # the service closed the connection before it had read everything: bounded as well
    finally:
        connection.close()
    checked(*signer.v3()[::2])


WRONG_QUERIES = [
    {"PageSize": 0},
    {"PageSize": 101},
    {"PageSize": -1},
    {"PageSize": "ten"},
    {"PageNumber": 0},
    {"PageNumber": "x"},
    {"PageSize": "99999999999999999999"},
    {"SortDirection": "UP"},
    {"SourceType": "FLOPPY"},
    {"Filters": [{"Key": "Colour", "Operator": "EQUAL", "Values": ["red"]}]},
    {"Filters": [{"Key": "VaultId", "Operator": "LIKE", "Values": ["v"]}]},
    {"Filters": [{"Operator": "EQUAL", "Values": ["v"]}]},
    {"Filters": [{"Key": "VaultId", "Operator": "EQUAL", "Values": ["a", "b"]}]},
    {"Filters": [{"Key": "VaultId", "Operator": "EQUAL"}]},
    {"Filters": [{"Key": "CompleteTime", "Operator": "IN", "Values": ["1"]}]},
    {"Filters": [{"Key": "CompleteTime", "Values": ["1"]}]},
    {"Filters": [{"Key": "CreatedTime", "Operator": "BETWEEN", "Values": ["1"]}]},
    {"Filters": [{"Key": "CreatedTime", "Operator": "BETWEEN", "Values": ["1", "2", "3"]}]},
    {"Filters": [{"Key": "CreatedTime", "Operator": "BETWEEN", "Values": ["[1]"]}]},
    {"Filters": [{"Key": "CreatedTime", "Operator": "GREATER_THAN", "Values": ["soon"]}]},
]


@pytest.mark.parametrize("parameters", WRONG_QUERIES, ids=lambda value: json.dumps(value)[:60])
def test_wrong_job_queries(service, parameters):
    with pytest.raises(ApiError) as failure:
        service.call("DescribeBackupJobs2", **parameters)
    assert failure.value.http_status == 400 and failure.value.code.startswith(("InvalidParameter", "Missing")), (
        failure.value
    )


def test_wrong_plans_and_vaults(service):
    instance_id = service.client()["InstanceId"]
    vault_id = service.vault("for wrong plans")
    plan = {
        "SourceType": "ECS_FILE",
        "VaultId": vault_id,
        "InstanceId": instance_id,
        "PlanName": "p",
        "Path": ["/tmp"],
        "Schedule": "I|1893456000|P1D",
        "BackupType": "COMPLETE",
    }
    for change in (
        {"PlanName": "x" * 65},
        {"Schedule": "every day"},
        {"Schedule": "I|1|-P1D"},
        {"Exclude": "not json"},
        {"Exclude": json.dumps(["x" * 256])},
        {"SpeedLimit": "0:24"},
        {"SpeedLimit": "0:12:1|11:13:1"},
        {"Path": ["relative"]},
        {"Options": '{"UseVSS":true}'},
        {"Options": '{"UseVSS":false,"excludes":["/tmp/secret"]}'},
        {"Options": '{"Paths":["/tmp"]}'},
        {"Rule.1.Schedule": "I|1893456000|P1D", "Rule.1.Retentoin": 7},
        {"VaultId": "v-0000000000000000none"},
        {"InstanceId": "i-0000000000000000none"},
        {"SourceType": "FLOPPY"},
    ):
        with pytest.raises(ApiError) as failure:
            service.call("CreateBackupPlan", **{**plan, **change})
        assert 400 <= failure.value.http_status < 500, (change, failure.value)
    for change in ({"VaultName": ""}, {"VaultName": "x" * 65}, {"VaultName": "n", "Description": "x" * 256}):
        with pytest.raises(ApiError) as failure:
            service.call("CreateVault", VaultRegionId="cn-hangzhou", **change)
        assert 400 <= failure.value.http_status < 500, (change, failure.value)


def test_things_that_are_not_there(service):
    for action, parameters, code in [
        ("ExecuteBackupPlan", {"PlanId": "plan-0000000000000000none"}, "PlanNotExist"),
        ("CancelBackupJob", {"JobId": "job-0000000000000000none"}, "JobNotExist"),
        ("DeleteVault", {"VaultId": "v-0000000000000000none"}, "VaultNotExist"),
        ("UpdateVault", {"VaultId": "v-0000000000000000none", "VaultName": "x"}, "VaultNotExist"),
        ("DeleteSnapshot", {"SnapshotId": "s-0000000000000000none", "SourceType": "ECS_FILE"}, "SnapshotNotExist"),
        ("CancelRestoreJob", {"RestoreId": "r-0000000000000000none"}, "RestoreJobNotExist"),
    ]:
        with pytest.raises(ApiError) as failure:
            service.call(action, **parameters)
        assert (failure.value.http_status, failure.value.code) == (404, code), failure.value


def test_malformed_requests_are_answered(service, signer):
    """Random bytes where text, numbers and JSON are expected: a clean refusal, and the service lives on."""
    dice = random.Random(20170908)
    pieces = [
        "\x00",
        "%",
        "é",
        "🦀",
        "[",
        "]",
        "{",
        "}",
        '"',
        "\\",
        ",",
        "1",
        "-1",
        "9" * 30,
        "null",
        "a" * 300,
        "'",
        ";--",
        " ",
    ]
    names = [
        "SourceType",
        "PageSize",
        "PageNumber",
        "Filters.1.Key",
        "Filters.1.Operator",
        "Filters.1.Values.1",
        "Filters.0.Key",
        "Filters.x.Key",
        "Filters.999999999999.Key",
        "Filters",
        "Filters.1",
        "SortDirection",
        "Query",
        "Limit",
        "NextToken",
        "Path.1",
        "Options",
        "Include",
        "SpeedLimit",
        "Schedule",
        "VaultId",
        "SnapshotHash",
    ]
    actions = [
        "DescribeBackupJobs2",
        "SearchHistoricalSnapshots",
        "CreateBackupPlan",
        "BrowseFiles",
        "CreateVault",
        "DescribeBackupClients",
        "DescribeRestoreJobs2",
        "UpdateBackupPlan",
    ]
    for _ in range(300):
        parameters = {
            dice.choice(names): "".join(dice.choices(pieces, k=dice.randint(0, 6))) for _ in range(dice.randint(1, 5))
        }
        status, _, body = dice.choice([signer.v1, signer.v3])(dice.choice(actions), parameters)
        assert status == 200 or 400 <= status < 500, (status, body, parameters)
    for raw in (b"\x00\xff\xfe", b"%zz=%", b"=&=&", b"a=b&a=c", b"&&&", "ключ=значение".encode()):
        status, _, body = send(signer.host, "POST", "/", {"content-type": FORM}, raw)
        assert 400 <= status < 500, body
    assert SignedCaller(service.credentials()).call(ACTION)


def test_keys_are_not_told(fresh, folder, monkeypatch):
    """Secrets are in files of their owner only, and never in the log, not even in the longest."""
    monkeypatch.setenv("STRONGROOM_LOG", "trace")
    fresh.start()
    secret = fresh.credentials()["AccessKeySecret"]
    vault_id = fresh.vault("quiet")
    fresh.backup(vault_id, [Trees.small(folder / "source")])
    password = fresh.export(vault_id)[1]
    Signer(fresh).v3(secret="wrong")
    text = fresh.log_path.read_text(errors="replace")
    assert secret not in text and password not in text
    modes = {path.name: path.stat().st_mode & 0o777 for path in fresh.data_dir.iterdir() if path.is_file()}
    for name in ("credentials.json", "master.key"):
        assert modes[name] == 0o600, modes
    assert fresh.data_dir.stat().st_mode & 0o077 == 0, oct(fresh.data_dir.stat().st_mode)


def test_one_server_for_one_data_directory(fresh):
    fresh.start()
    second = Service(fresh.folder)
    second.log_path = fresh.folder / "second.txt"
    assert second.spawn().wait(timeout=30) != 0
    text = second.log_path.read_text()
    assert "lock" in text.lower() or "another" in text.lower() or "already" in text.lower(), text
    assert "panicked" not in text
    assert fresh.call(ACTION)

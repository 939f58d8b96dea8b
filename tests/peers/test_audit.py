"""The audit log: what it says of each change, that it shows every forgery, and who may read it; limits of rate."""

import json
import re
import sqlite3
import time

import pytest
from alibabacloud_hbr20170908 import models
from alibabacloud_hbr20170908.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.exceptions import DaraException

from harness.programs import Trees
from harness.signing import ApiError, SignedCaller, send, v3_request
from harness.waiting import wait_for


def exported(service, *flags):
    return [json.loads(line) for line in service.cli("audit", "export", "--json", *flags).stdout.splitlines()]


def calls(service, action):
    return [row["Entry"] for row in exported(service) if row["Entry"]["Action"] == action]


def head_of(service):
    return service.cli("audit", "verify").stdout.strip()


def user(service, name, *statements):
    document = {"Version": "1", "Statement": [dict(zip(("Effect", "Action", "Resource"), row)) for row in statements]}
    service.call("CreateUser", UserName=name, PolicyDocument=json.dumps(document))
    made = service.call("CreateKey", UserName=name)
    return {**service.credentials(), "AccessKeyId": made["AccessKeyId"], "AccessKeySecret": made["AccessKeySecret"]}


def test_every_change_has_its_beginning_and_its_end(service, module_folder):
    vault = service.vault("kept")
    begin, end = calls(service, "hbr:CreateVault")[-2:]
    assert (begin["Phase"], end["Phase"]) == ("BEGIN", "END")
    assert begin["RequestId"] == end["RequestId"] and re.fullmatch(r"[0-9A-F-]{36}", end["RequestId"])
    credentials = service.credentials()
    for entry in (begin, end):
        assert entry["AccountId"] == credentials["AccountId"]
        assert entry["Principal"] == f"acs:ram::{credentials['AccountId']}:root"
        assert entry["AccessKeyId"] == credentials["AccessKeyId"] and entry["SourceIp"] == "127.0.0.1"
        assert abs(entry["Time"] - time.time()) < 120
    assert begin["Target"] == {"VaultName": "kept", "VaultRegionId": "cn-hangzhou"}
    assert end["Code"] == "200" and end["Target"]["VaultId"] == vault and "Code" not in begin
    # The agent of this host registered, and that is a change too.
    assert calls(service, "hbr:RegisterAgent")[-1]["Code"] == "200"
    # What only looks is not kept.
    before = exported(service)
    for action in ("DescribeVaults", "DescribeBackupPlans", "DescribeRegions", "ListUsers"):
        service.call(action)
    assert exported(service) == before


def test_failures_and_denials_are_kept_with_their_code(service):
    with pytest.raises(ApiError):
        service.call("DeleteVault", VaultId="v-nobody")
    assert calls(service, "hbr:DeleteVault")[-1]["Code"] == "VaultNotExist"
    reader = user(service, "reader", ("Allow", "hbr:Describe*", "*"))
    with pytest.raises(ApiError):
        SignedCaller(reader).call("DeleteVault", {"VaultId": "v-1"})
    last = calls(service, "hbr:DeleteVault")[-1]
    assert (last["Code"], last["Phase"], last["Target"]) == ("NoPermission", "END", {"VaultId": "v-1"})
    assert last["Principal"].endswith(":user/reader") and last["AccessKeyId"] == reader["AccessKeyId"]


def test_no_secret_is_in_it(service):
    made = user(service, "secretive", ("Allow", "hbr:*", "*"))
    service.cli("vault", "export", "kept")
    text = json.dumps(exported(service))
    assert made["AccessKeyId"] in text
    for secret in (made["AccessKeySecret"], service.credentials()["AccessKeySecret"]):
        assert secret not in text
    # The password of a vault was given out: by whom is known, the password is not.
    if calls(service, "hbr:ExportVaultKey"):
        password = service.export("kept")[1]
        assert password not in json.dumps(exported(service))


def test_others_see_their_own_account_alone(service):
    reply = json.loads(service.cli("account", "create", "second", "--json").stdout)
    other = SignedCaller({**service.credentials(), **{name: reply[name] for name in ("AccessKeyId", "AccessKeySecret")}})
    other.call("CreateVault", {"VaultName": "theirs", "VaultRegionId": "cn-hangzhou"})
    page = other.call("ListAuditEntries")
    assert page["IsWhole"] is False and page["Entries"]
    assert {row["Entry"]["AccountId"] for row in page["Entries"]} == {reply["AccountId"]}
    foreign = other.call("ListAuditEntries", {"AccountId": service.credentials()["AccountId"]})
    assert {row["Entry"]["AccountId"] for row in foreign["Entries"]} == {reply["AccountId"]}
    whole = {row["Entry"]["AccountId"] for row in exported(service)}
    assert whole == {reply["AccountId"], service.credentials()["AccountId"]}
    barred = SignedCaller(user(service, "barred", ("Allow", "hbr:CreateVault", "*")))
    with pytest.raises(ApiError) as failure:
        barred.call("ListAuditEntries")
    assert failure.value.code == "NoPermission"


def test_a_whole_log_is_verified_and_every_forgery_shows(fresh, folder):
    fresh.start()
    for name in ("a", "b", "c"):
        fresh.vault(name)
    noted = head_of(fresh)
    fresh.vault("d")
    rows = exported(fresh)
    assert head_of(fresh).startswith(f"{len(rows)}:")
    assert fresh.cli("audit", "verify", "--head", noted).stdout.strip() == head_of(fresh)
    copy = folder / "log.json"
    copy.write_text("".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows))
    fresh.cli("audit", "verify", copy, "--head", noted)
    assert exported(fresh, "--after", "3") == rows[3:]
    assert "CreateVault" in fresh.cli("audit", "export").stdout
    assert fresh.cli("audit", "verify", "--head", "x", status=2)

    fresh.stop()
    path = fresh.data_dir / "catalog.sqlite"
    seq = rows[4]["Seq"]
    forgeries = [
        ("UPDATE audit SET entry = replace(entry, '127.0.0.1', '127.0.0.2') WHERE seq = ?", (seq,)),
        ("DELETE FROM audit WHERE seq = ?", (seq,)),
        ("DELETE FROM audit WHERE seq = ?", (1,)),
        ("UPDATE audit SET hash = ? WHERE seq = ?", ("0" * 64, seq)),
    ]
    for sql, values in forgeries:
        database = sqlite3.connect(path)
        kept = database.execute("SELECT seq, account_id, entry, hash FROM audit").fetchall()
        database.execute(sql, values)
        database.commit()
        database.close()
        fresh.start()
        assert "broken" in fresh.cli("audit", "verify", status=1).stderr, sql
        fresh.stop()
        database = sqlite3.connect(path)
        database.execute("DELETE FROM audit")
        database.executemany("INSERT INTO audit VALUES (?, ?, ?, ?)", kept)
        database.commit()
        database.close()
    # A cut end is whole in itself: a head that was kept elsewhere shows it.
    database = sqlite3.connect(path)
    end = database.execute("SELECT max(seq) FROM audit").fetchone()[0]
    noted = "{}:{}".format(*database.execute("SELECT seq, hash FROM audit WHERE seq = ?", (end,)).fetchone())
    database.execute("DELETE FROM audit WHERE seq > ?", (end - 6,))
    database.commit()
    database.close()
    fresh.start()
    assert "audit log is broken" in fresh.cli("audit", "verify", "--head", noted, status=1).stderr


def test_a_kill_loses_no_entry_of_a_change(fresh):
    fresh.start()
    for round_number in range(3):
        made = [
            fresh.call("CreateVault", VaultName=f"v{round_number}-{number}", VaultRegionId="cn-hangzhou")["VaultId"]
            for number in range(5)
        ]
        fresh.kill()
        fresh.start()
        known = {entry["Target"].get("VaultId") for entry in calls(fresh, "hbr:CreateVault")}
        assert set(made) <= known
        head_of(fresh)


def test_too_many_calls_are_told_when_to_come_again(fresh):
    fresh.start("--rate-limit", "5")
    time.sleep(2)
    host = fresh.credentials()["Endpoint"].split("//")[1]
    busy = user(fresh, "busy", ("Allow", "hbr:*", "*"))
    answers = []
    for _ in range(30):
        url, headers = v3_request(busy["AccessKeyId"], busy["AccessKeySecret"], host, "DescribeRegions", {})
        answers.append(send(host, "POST", url, headers))
    throttled = [answer for answer in answers if answer[0] == 429]
    assert 10 <= sum(answer[0] == 200 for answer in answers) < 30 and throttled
    for _, headers, body in throttled:
        wait = {name.lower(): value for name, value in headers.items()}["x-acs-retry-after"]
        assert body["Code"] == "Throttling.User" and 1 <= int(wait) <= 1_000, (body, wait)
    # Another key is not touched, and the official SDK knows what it is told.
    fresh.call("DescribeRegions")
    config = Config(
        access_key_id=busy["AccessKeyId"], access_key_secret=busy["AccessKeySecret"], endpoint=host, protocol="http",
        region_id="cn-hangzhou",
    )  # fmt: skip
    with pytest.raises(DaraException) as failure:
        for _ in range(30):
            Client(config).describe_vaults(models.DescribeVaultsRequest())
    assert failure.value.code == "Throttling.User" and 1 <= failure.value.retry_after <= 1_000
    url, headers = v3_request(busy["AccessKeyId"], "wrong", host, "DescribeRegions", {})
    assert send(host, "POST", url, headers)[2]["Code"] == "SignatureDoesNotMatch", "wrong signatures are not counted"

    def again():
        url, headers = v3_request(busy["AccessKeyId"], busy["AccessKeySecret"], host, "DescribeRegions", {})
        return send(host, "POST", url, headers)[0] == 200

    wait_for("the key to be served again", again, 10, 0.3)


def test_the_agent_is_never_throttled(fresh, folder):
    fresh.start("--rate-limit", "20")
    job = fresh.backup(fresh.vault("v"), [Trees.small(folder / "tree", files=300)])
    assert job["Status"] == "COMPLETE"

"""What is told of one job, and how long: the files of its report, its events, its errors, the retention of the history.

The official SDK asks; actions that only this server has go through the same SDK's general call."""

import csv
import io
import json
import os
import time
import urllib.error
import urllib.request

import pytest
from alibabacloud_tea_openapi import utils_models as openapi_models
from darabonba.exceptions import DaraException
from darabonba.runtime import RuntimeOptions

from harness.callers.sdk import SdkCaller
from harness.programs import Trees
from harness.signing import ApiError
from harness.waiting import wait_for

LISTS = ("FailedFiles", "SuccessFiles", "TotalFiles")
# A name that spreadsheets and parsers of CSV trip over, and one that is not UTF-8.
ODD = 'say "x", y\r\n=1+1'
NOT_UTF8 = b"caf\xe9"


class Asker:
    """The official SDK of one key."""

    def __init__(self, credentials):
        self.sdk = SdkCaller(credentials)

    def job(self, job_id):
        reply = self.sdk.call(
            "DescribeBackupJobs2",
            {"SourceType": "ECS_FILE", "Filters": [{"Key": "JobId", "Operator": "EQUAL", "Values": [job_id]}]},
        )
        return reply["BackupJobs"]["BackupJob"][0] if reply["TotalCount"] else None

    def link(self, key):
        return self.sdk.call("GetTempFileDownloadLink", {"TempFileKey": key})["Url"]

    def rows(self, key):
        return rows_of(self.link(key))

    def extension(self, action, **query):
        """An action that the SDK does not know."""
        params = openapi_models.Params(
            action=action, version="2017-09-08", protocol="HTTP", pathname="/", method="POST", auth_type="AK",
            style="RPC", req_body_type="formData", body_type="json",
        )
        request = openapi_models.OpenApiRequest(query={name: str(value) for name, value in query.items()})
        try:
            return self.sdk.client.call_api(params, request, RuntimeOptions())["body"]
        except DaraException as error:
            raise ApiError(error.code, getattr(error, "status_code", None), error.message) from error


def rows_of(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        return list(csv.DictReader(io.StringIO(answer.read().decode("utf-8"), newline="")))


def gone(call):
    with pytest.raises(ApiError) as failure:
        call()
    return failure.value.code


@pytest.fixture(scope="module")
def asker(service):
    return Asker(service.credentials())


@pytest.fixture(scope="module")
def partly(service, module_folder):
    """A job that missed one path, of a folder with odd names. Gives the folder, what is missing, and the job's id."""
    source = Trees.small(module_folder / "source", files=7)
    (source / ODD).write_text("odd")
    with open(os.path.join(os.fsencode(source), NOT_UTF8), "wb") as file:
        file.write(b"latin")
    missing = module_folder / 'not "there", at all'
    vault_id = service.vault("partly")
    job = service.backup(vault_id, [source, missing], name="partly", status="PARTIAL_COMPLETE")
    return source, missing, vault_id, job["JobId"]


def test_the_three_lists_of_a_partial_job(asker, partly):
    source, missing, _, job_id = partly
    report = asker.job(job_id)["Report"]
    assert sorted(report) == ["FailedFiles", "ReportTaskStatus", "SuccessFiles", "TotalFiles"], report
    assert report["ReportTaskStatus"] == "COMPLETE"
    failed, success, total = (asker.rows(report[name]) for name in LISTS)
    [row] = failed
    assert row["path"] == str(missing) and row["errno"] == "2" and row["operation"] and row["message"]
    assert abs(int(row["time"]) - time.time()) < 3_600
    files = {row["path"]: row for row in success if row["type"] == "file"}
    there = {path.decode("utf-8", "replace"): os.lstat(path) for path in walk(source)}
    assert set(files) == set(there), set(files) ^ set(there)
    assert str(source / ODD) in files and f"{source}/caf\ufffd" in files
    for path, stat in there.items():
        assert (int(files[path]["size"]), int(files[path]["mtime"])) == (stat.st_size, int(stat.st_mtime)), path
    folders = {row["path"] for row in success if row["type"] == "dir"}
    assert {str(source), str(source / "sub"), "/"[1:] + str(source.parent)} <= folders
    assert [row["path"] for row in total if row["status"] == "FAILED"] == [str(missing)]
    assert [row["path"] for row in total if row["status"] == "SUCCESS"] == [row["path"] for row in success]
    assert asker.job(job_id)["FilesTotal"] == len(files)


def walk(folder):
    for place, _, names in os.walk(os.fsencode(folder)):
        yield from (os.path.join(place, name) for name in names)


def test_the_bytes_are_csv_as_the_standard_has_it(asker, partly):
    _, _, _, job_id = partly
    with urllib.request.urlopen(asker.link(asker.job(job_id)["Report"]["SuccessFiles"]), timeout=60) as answer:
        text = answer.read()
    assert text.startswith(b'"path","type","size","mtime"\r\n') and text.endswith(b'"\r\n')
    assert b'say ""x"", y\r\n=1+1","file","3","' in text


def test_a_job_without_failures_has_no_list_of_them(service, asker, module_folder):
    source = Trees.small(module_folder / "whole")
    job = service.backup(service.vault("whole"), [source], name="whole")
    report = asker.job(job["JobId"])["Report"]
    assert sorted(report) == ["ReportTaskStatus", "SuccessFiles", "TotalFiles"]
    assert {row["status"] for row in asker.rows(report["TotalFiles"])} == {"SUCCESS"}
    key = report["TotalFiles"].replace("-total", "-failed")
    assert gone(lambda: asker.link(key)) == "TempFileNotExist"
    done = service.cli("jobs", "report", job["JobId"], status=21)
    assert "has no FailedFiles" in done.stderr


def test_links_are_signed(service, asker, partly):
    _, _, _, job_id = partly
    key = asker.job(job_id)["Report"]["TotalFiles"]
    url = asker.link(key)
    assert rows_of(url) == rows_of(url), "a link is good more than once"
    head, account, until, signature, name = url.rsplit("/", 4)
    assert int(until) - time.time() <= 900
    for wrong in (
        f"{head}/{account}/{int(until) + 60}/{signature}/{name}",
        f"{head}/{int(account) + 1}/{until}/{signature}/{name}",
        f"{head}/{account}/{until}/{'0' * len(signature)}/{name}",
        f"{head}/{account}/{until}/{signature}/{name.replace('-total', '-failed')}",
        f"{head}/{account}/{until}//{name}",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(wrong, timeout=30)
        assert refused.value.code == 404
        assert json.loads(refused.value.read())["Code"] == "TempFileNotExist"


def test_another_account_is_told_nothing(service, asker, partly):
    _, _, _, job_id = partly
    made = json.loads(service.cli("account", "create", "stranger", "--json").stdout)
    stranger = Asker({**service.credentials(), **{name: made[name] for name in ("AccessKeyId", "AccessKeySecret")}})
    report = asker.job(job_id)["Report"]
    nobody = "job-000" + "z" * 17
    for name in LISTS:
        assert gone(lambda: stranger.link(report[name])) == "TempFileNotExist"
        assert gone(lambda: stranger.link(report[name].replace(job_id, nobody))) == "TempFileNotExist"
    for action in ("ListJobEvents", "ListJobErrors"):
        assert asker.extension(action, JobId=job_id)["TotalCount"] > 0
        answers = []
        for name in (job_id, nobody):
            with pytest.raises(ApiError) as failure:
                stranger.extension(action, JobId=name)
            answers.append((failure.value.code, failure.value.message.replace(name, "").split(" request id")[0]))
        assert answers[0] == answers[1] and answers[0][0] == "JobNotExist", answers
    # A user of the account needs the action's name in his policy.
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "hbr:ListJobEvents", "Resource": "*"}]}
    service.call("CreateUser", UserName="looker", PolicyDocument=json.dumps(policy))
    reply = service.call("CreateKey", UserName="looker")
    looker = Asker({**service.credentials(), **{name: reply[name] for name in ("AccessKeyId", "AccessKeySecret")}})
    assert looker.extension("ListJobEvents", JobId=job_id)["TotalCount"] == 3
    assert gone(lambda: looker.extension("ListJobErrors", JobId=job_id)) == "NoPermission"


def test_what_became_of_a_job(service, asker, partly):
    _, missing, _, job_id = partly
    reply = asker.extension("ListJobEvents", JobId=job_id)
    events = reply["Events"]
    assert [(row["Number"], row["Status"], row["Attempt"], row["Epoch"]) for row in events] == [
        (1, "CREATED", 0, 0), (2, "RUNNING", 1, 1), (3, "PARTIAL_COMPLETE", 1, 1),
    ]
    client = service.client()["ClientId"]
    assert [row["ClientId"] for row in events] == [None, client, client]
    assert events[2]["Message"] == asker.job(job_id)["ErrorMessage"]
    assert sorted(row["Time"] for row in events) == [row["Time"] for row in events]
    page = asker.extension("ListJobEvents", JobId=job_id, PageNumber=2, PageSize=2)
    assert (page["Events"], page["TotalCount"]) == (events[2:], 3)
    errors = asker.extension("ListJobErrors", JobId=job_id)["Errors"]
    assert [(row["Path"], row["Errno"]) for row in errors] == [(str(missing), 2)]
    printed = [json.loads(line) for line in service.cli("jobs", "events", job_id, "--json").stdout.splitlines()]
    assert printed == events
    table = service.cli("jobs", "events", job_id).stdout.splitlines()
    assert table[0].split()[:2] == ["TIME", "STATUS"] and len(table) == 4 and "PARTIAL_COMPLETE" in table[3]
    assert str(missing) in service.cli("jobs", "errors", job_id).stdout
    assert service.cli("jobs", "report", job_id).stdout.count(str(missing).replace('"', '""')) == 1
    assert "SUCCESS" in service.cli("jobs", "report", job_id, "--list", "total").stdout
    service.cli("jobs", "events", "job-000" + "z" * 17, status=21)


def test_restore_jobs_have_events_and_a_list_of_what_failed(service, asker, partly, folder):
    source, _, vault_id, job_id = partly
    snapshot = service.snapshot_of(vault_id, job_id)
    whole = service.restore(vault_id, snapshot, folder / "whole")
    assert "Report" not in whole
    # A full folder where a file has to be: that item fails, the others come.
    target = folder / "partly"
    place = target / str(source).lstrip("/") / "file-0"
    place.mkdir(parents=True)
    (place / "full").touch()
    job = service.restore(vault_id, snapshot, target, status="PARTIAL_COMPLETE")
    assert sorted(job["Report"]) == ["FailedFiles", "ReportTaskStatus"], job
    failed = asker.rows(job["Report"]["FailedFiles"])
    assert [row["path"] for row in failed] == [str(place)] and failed[0]["message"], failed
    states = [row["Status"] for row in asker.extension("ListJobEvents", JobId=job["RestoreId"])["Events"]]
    assert states == ["CREATED", "RUNNING", "PARTIAL_COMPLETE"]
    assert asker.extension("ListJobErrors", JobId=job["RestoreId"])["TotalCount"] == len(failed)
    for word in ("success", "total"):
        key = job["Report"]["FailedFiles"].replace("-failed", f"-{word}")
        assert gone(lambda: asker.link(key)) == "TempFileNotExist"


def test_lists_of_success_live_as_long_as_their_snapshot(service, asker, module_folder):
    source = Trees.small(module_folder / "short-lived")
    vault_id = service.vault("short-lived")
    job = service.backup(vault_id, [source], name="short-lived")
    key = asker.job(job["JobId"])["Report"]["SuccessFiles"]
    url = asker.link(key)
    snapshot = service.snapshot_of(vault_id, job["JobId"])
    service.call("DeleteSnapshot", VaultId=vault_id, SnapshotId=snapshot["SnapshotId"])
    with pytest.raises(ApiError) as failure:
        asker.link(key)
    assert failure.value.code == "TempFileNotExist" and "snapshot" in failure.value.message
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url, timeout=30)
    service.cli("snapshot", "recover", snapshot["SnapshotId"])
    assert asker.rows(key)


def test_a_large_list_streams_in_bounded_memory(fresh, folder):
    """Twenty thousand files whose names alone are megabytes: what the server holds does not grow with them."""
    source = folder / "many"
    for number in range(20):
        place = source / f"{number:03}"
        place.mkdir(parents=True)
        for name in range(1_000):
            (place / f"{name:04}-{'n' * 200}").touch()
    service = fresh.start()
    job = service.backup(service.vault(), [source])
    asker = Asker(service.credentials())
    key = asker.job(job["JobId"])["Report"]["TotalFiles"]
    assert len(asker.rows(key)) >= 20_000
    before = resident_kib(service)
    # Readers that stop in the middle cost little each, and others are served.
    stuck = [urllib.request.urlopen(asker.link(key), timeout=60) for _ in range(6)]
    for answer in stuck:
        assert len(answer.read(1_000)) == 1_000
    assert sum(row["type"] == "file" for row in asker.rows(key)) == 20_000
    assert resident_kib(service) - before < 30_000
    for answer in stuck:
        answer.close()
    wait_for("places of readers that went away", lambda: len(asker.rows(key)) >= 20_000)


def resident_kib(service):
    status = open(f"/proc/{service.process.pid}/status").read()
    return int(status.split("VmRSS:")[1].split()[0])


def test_old_jobs_go_exactly(fresh, folder):
    """`--job-retention`: what ended longer ago goes with all that hangs on it; snapshots stay, and so does the rest."""
    source = Trees.small(folder / "source")
    service = fresh.start()
    vault_id = service.vault()
    job = service.backup(vault_id, [source])
    now = int(time.time())
    rows = []
    for number in range(2_500):
        ended = now - 86_400 + (number - 2_400) * 600
        row = {"JobId": f"job-000old{number:06}", "SourceType": ["ECS_FILE", "OSS"][number % 2], "Status": "COMPLETE"}
        rows.append({**row, "CreatedTime": ended - 30, "CompleteTime": ended})
    # Long ago, as far as is known: it never said when it ended.
    untold = {"JobId": "job-000olduntold", "SourceType": "OSS", "Status": "FAILED", "CreatedTime": now - 200_000}
    (folder / "history").write_text("".join(json.dumps({"Job": row}) + "\n" for row in [*rows, untold]))
    service.cli("jobs", "import", folder / "history")
    asker = Asker(service.credentials())
    key = asker.job(job["JobId"])["Report"]["TotalFiles"]
    assert total(asker) == 2_502
    assert service.stop() == 0
    # Five minutes less than a day, so that no further job comes of age while the test looks.
    asker = Asker(service.start("--job-retention", f"{86_400 - 300}s").credentials())
    wait_for("old jobs to go", lambda: total(asker) <= 100, 120)
    assert ids(asker) == {f"job-000old{number:06}" for number in range(2_401, 2_500)} | {job["JobId"]}
    assert len(service.cli("jobs", "export").stdout.splitlines()) == 100
    assert asker.rows(key)
    assert service.stop() == 0
    # It is old as well, a moment after its end; what it left is not.
    asker = Asker(service.start("--job-retention", "1s").credentials())
    wait_for("the history to be empty", lambda: total(asker) == 0, 120)
    assert gone(lambda: asker.extension("ListJobEvents", JobId=job["JobId"])) == "JobNotExist"
    assert gone(lambda: asker.link(key)) == "TempFileNotExist"
    assert service.stop() == 0
    service.start()
    service.restore(vault_id, service.snapshot_of(vault_id, job["JobId"]), folder / "back")
    Trees.assert_same(source, folder / "back" / source.relative_to("/"), "--skip-root")


def total(asker):
    return asker.sdk.call("DescribeBackupJobs2", {"PageSize": 1})["TotalCount"]


def ids(asker):
    found, page = set(), 1
    while True:
        reply = asker.sdk.call("DescribeBackupJobs2", {"PageSize": 99, "PageNumber": page})
        rows = reply["BackupJobs"]["BackupJob"]
        found |= {row["JobId"] for row in rows}
        if len(rows) < 99:
            assert reply["TotalCount"] == len(found)
            return found
        page += 1


def test_a_deleted_plan_takes_its_history_along_and_leaves_snapshots(service, asker, module_folder):
    source = Trees.small(module_folder / "planned")
    vault_id = service.vault("planned")
    plan_id = service.plan(vault_id, [source], name="planned")
    job = service.wait_job(service.execute(plan_id))
    key = asker.job(job["JobId"])["Report"]["TotalFiles"]
    url = asker.link(key)
    asker.sdk.call("DeleteBackupPlan", {"PlanId": plan_id, "RequireNoRunningJobs": True})
    assert asker.job(job["JobId"]) is None
    for action in ("ListJobEvents", "ListJobErrors"):
        assert gone(lambda: asker.extension(action, JobId=job["JobId"])) == "JobNotExist"
    assert gone(lambda: asker.link(key)) == "TempFileNotExist"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url, timeout=30)
    assert service.snapshot_of(vault_id, job["JobId"])

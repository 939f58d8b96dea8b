"""`jobs import` and `jobs export`: the history of the cloud service comes along, as it was, and leaves again."""

import json
import random

import pytest

from harness.signing import ApiError

FIRST = 1_700_000_000


def job(number, **fields):
    """A job as DescribeBackupJobs2 of the cloud service returns it, with a field that this server does not know."""
    return {
        "JobId": f"job-000cloud{number:06}",
        "JobName": f"job {number}",
        "Status": ["COMPLETE", "FAILED", "PARTIAL_COMPLETE"][number % 3],
        "SourceType": ["ECS_FILE", "OSS"][number % 2],
        "VaultId": f"v-000cloud{number % 4}",
        "PlanId": "",
        "BackupType": "COMPLETE",
        "CreatedTime": FIRST + number // 2,
        "StartTime": FIRST + number,
        "CompleteTime": FIRST + 60 + number,
        "UpdatedTime": FIRST + 60 + number,
        "BytesTotal": number * 1_000_003,
        "NewInTheCloud": {"Answer": number},
        **fields,
    }


def lines(jobs, **fields):
    return "".join(json.dumps({"RegionId": "cn-beijing", "Job": job, **fields}) + "\n" for job in jobs)


def pages(service, size=100, **parameters):
    """All jobs, page after page."""
    found = []
    for number in range(1, 1_000):
        reply = service.call("DescribeBackupJobs2", PageNumber=number, PageSize=size, **parameters)
        rows = reply["BackupJobs"]["BackupJob"]
        found += rows
        if len(rows) < size:
            assert reply["TotalCount"] == len(found)
            return found
    raise AssertionError("there is no end of pages")


def order(job):
    return job["CreatedTime"], job["JobId"]


def test_a_history_moves_in_and_out(fresh, folder):
    service = fresh.start()
    jobs = [job(number) for number in range(3_000)]
    shuffled = random.Random(7).sample(jobs, len(jobs))
    path = folder / "history.ndjson"
    path.write_text(lines(shuffled))
    assert "3,000 jobs imported, 0 were there already" in service.cli("jobs", "import", path).stdout
    # As they were, unknown fields included, in the order of creation.
    assert pages(service, SortDirection="ASCEND") == sorted(jobs, key=order)
    service.stop()
    service.start()
    failed = {"Filters.1.Key": "Status", "Filters.1.Operator": "EQUAL", "Filters.1.Values.1": "FAILED"}
    expected = [job for job in sorted(jobs, key=order, reverse=True) if job["Status"] == "FAILED" and job["SourceType"] == "OSS"]
    assert pages(service, SourceType="OSS", **failed) == expected
    region = {"Filters.1.Key": "RegionId", "Filters.1.Values.1": "cn-beijing"}
    assert len(pages(service, **region)) == 3_000
    # Again, from standard input: nothing changes.
    assert "0 jobs imported, 3,000 were there already" in service.cli("jobs", "import", path).stdout
    exported = service.cli("jobs", "export").stdout
    account = service.credentials()["AccountId"]
    assert [json.loads(line) for line in exported.splitlines()] == [
        {"AccountId": account, "RegionId": "cn-beijing", "Job": job} for job in sorted(jobs, key=order)
    ]
    # Jobs that are created now come after all of them.
    (folder / "source").mkdir()
    newest = service.backup(service.vault(), [folder / "source"])
    assert service.call("DescribeBackupJobs2", PageSize=1)["BackupJobs"]["BackupJob"][0]["JobId"] == newest["JobId"]


@pytest.mark.parametrize(
    "line, why",
    [
        ("not json\n", "line 2"),
        (lines([job(7, Status="RUNNING")]), "has not ended"),
        (lines([job(7, CreatedTime=9_999_999_999)]), "future"),
        (lines([job(7, JobId="vault-1")]), "job id"),
        (lines([job(7, SourceType="TAPE")]), "TAPE"),
        (lines([job(7)], AccountId="1234567890123456"), "another"),
    ],
)
def test_a_bad_line_is_named_and_nothing_of_its_batch_stays(service, folder, line, why):
    before = service.call("DescribeBackupJobs2")["TotalCount"]
    path = folder / "bad.ndjson"
    path.write_text(lines([job(1)]) + line)
    failed = service.cli("jobs", "import", path, status=2)
    assert why in failed.stderr and "InvalidParameter" in failed.stderr, failed.stderr
    assert service.call("DescribeBackupJobs2")["TotalCount"] == before
    with pytest.raises(ApiError):
        service.call("ImportBackupJobs", Jobs=lines([job(1)]) + line)

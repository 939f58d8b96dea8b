"""DescribeBackupJobs2 against a naive reading of its documentation: every key, every operator, paging and order."""

import itertools
import json
import shutil
import time

import pytest

from harness.contract import check_response
from harness.programs import Trees
from harness.waiting import wait_for

KEYS = [
    "RegionId",
    "PlanId",
    "JobId",
    "VaultId",
    "InstanceId",
    "Bucket",
    "FileSystemId",
    "Status",
    "CreatedTime",
    "CompleteTime",
    "InstanceName",
    "BackupType",
    "ParentId",
]
TIMES = {"CreatedTime", "CompleteTime"}
COMPARISONS = {
    "EQUAL": lambda value, wanted: value == wanted,
    "NOT_EQUAL": lambda value, wanted: value != wanted,
    "GREATER_THAN": lambda value, wanted: value > wanted,
    "GREATER_THAN_OR_EQUAL": lambda value, wanted: value >= wanted,
    "LESS_THAN": lambda value, wanted: value < wanted,
    "LESS_THAN_OR_EQUAL": lambda value, wanted: value <= wanted,
}


@pytest.fixture(scope="module")
def history(service, module_folder):
    """Jobs of every outcome in two vaults, some in the same second; all that the oracle knows of them."""
    sources = [Trees.small(module_folder / f"source-{number}", seed=number) for number in range(3)]
    vaults = [service.vault("first"), service.vault("second")]
    plans = [service.plan(vaults[number % 2], [source], name=f"plan {number}") for number, source in enumerate(sources)]
    for _ in range(2):
        for job_id in [service.execute(plan) for plan in plans]:
            assert service.wait_job(job_id)["Status"] == "COMPLETE"
    # One that found nothing where a path should be.
    partial = service.backup(
        vaults[0], [sources[0], module_folder / "missing"], name="partial", status="PARTIAL_COMPLETE"
    )
    # One that was cancelled while it ran, slowly.
    slow = Trees.random_files(module_folder / "slow", 64)
    cancelled = service.execute(service.plan(vaults[1], [slow], name="slow", SpeedLimit="0:24:512"))
    wait_for("the slow job to run", lambda: service.job(cancelled)["Status"] == "RUNNING")
    service.call("CancelBackupJob", JobId=cancelled, VaultId=vaults[1])
    assert service.wait_job(cancelled)["Status"] == "CANCELED"
    # One whose vault is gone.
    broken = service.vault("broken", StorageUrl=str(module_folder / "broken"))
    broken_plan = service.plan(broken, [sources[0]], name="broken")
    shutil.rmtree(module_folder / "broken")
    failed = service.wait_job(service.execute(broken_plan))
    assert failed["Status"] == "FAILED" and failed["ErrorMessage"], failed
    # One that is running while the questions are asked.
    running = service.execute(service.plan(vaults[1], [slow], name="running", SpeedLimit="0:24:64"))
    wait_for("a job to run", lambda: service.job(running)["Status"] == "RUNNING")
    yield all_jobs(service)
    service.call("CancelBackupJob", JobId=running, VaultId=vaults[1])
    assert partial["ErrorMessage"]


def all_jobs(service):
    page = service.call("DescribeBackupJobs2", SourceType="ECS_FILE", PageSize=100)
    assert page["TotalCount"] == len(page["BackupJobs"]["BackupJob"])
    return page["BackupJobs"]["BackupJob"]


def ask(service, *filters, **parameters):
    rows = []
    for key, operator, values in filters:
        row = {"Key": key, "Values": values}
        if operator:
            row["Operator"] = operator
        rows.append(row)
    page = check_response(
        "DescribeBackupJobs2", service.call("DescribeBackupJobs2", Filters=rows, **{"PageSize": 100, **parameters})
    )
    return page, [job["JobId"] for job in page["BackupJobs"]["BackupJob"]]


def field(job, key):
    return "cn-hangzhou" if key == "RegionId" else job.get(key)


def matches(job, key, operator, values):
    """The documentation, read literally. Times compare as numbers, everything else by its bytes."""
    value = field(job, key)
    if value is None or value == "":
        return operator == "NOT_EQUAL"
    if key in TIMES:
        value, values = int(value), [int(wanted) for wanted in values]
    else:
        value, values = value.encode(), [wanted.encode() for wanted in values]
    if operator == "IN":
        return value in values
    if operator == "BETWEEN":
        return values[0] <= value <= values[1]
    return COMPARISONS[operator](value, values[0])


def expected(jobs, *filters):
    found = [
        job for job in jobs if all(matches(job, key, operator or "IN", values) for key, operator, values in filters)
    ]
    return [job["JobId"] for job in sorted(found, key=lambda job: (job["CreatedTime"], job["JobId"]), reverse=True)]


def candidates(jobs, key):
    """Values worth asking for: those that are there, between them, beyond them, and foreign ones."""
    present = sorted({field(job, key) for job in jobs if field(job, key) not in (None, "")}, key=str)
    if key in TIMES:
        return (
            [str(value) for value in (*present[:3], present[0] - 1, present[-1] + 1)]
            if present
            else ["0", "1700000000"]
        )
    return [*present[:3], "", "~", "cn-hangzhou", "COMPLETE", "no such value"] if present else ["bucket", "~"]


@pytest.mark.parametrize("key", KEYS)
def test_every_operator(service, history, key):
    asked = 0
    for value in [value for value in candidates(history, key) if value]:
        for operator in COMPARISONS:
            _, found = ask(service, (key, operator, [value]))
            assert found == expected(history, (key, operator, [value])), (key, operator, value)
            asked += 1
    values = [value for value in candidates(history, key) if value]
    for low, high in itertools.product(values[:4], repeat=2):
        wanted = expected(history, (key, "BETWEEN", [low, high]))
        quoted = f'["{low}", "{high}"]'
        encodings = [[low, high], [quoted]] + ([[f"[{low},{high}]"]] if key in TIMES else [])
        for encoding in encodings:
            _, found = ask(service, (key, "BETWEEN", encoding))
            assert found == wanted, (key, encoding)
    if key != "CompleteTime":
        wanted = expected(history, (key, "IN", values[:2]))
        quoted = "[" + ",".join(f'"{value}"' for value in values[:2]) + "]"
        for operator, encoding in [("IN", values[:2]), (None, values[:2]), ("IN", [quoted]), (None, [quoted])]:
            _, found = ask(service, (key, operator, encoding))
            assert found == wanted, (key, operator, encoding)
    assert asked


def test_the_history_has_every_outcome(history):
    outcomes = {job["Status"] for job in history}
    assert {"COMPLETE", "PARTIAL_COMPLETE", "FAILED", "CANCELED", "RUNNING"} <= outcomes, outcomes


def test_several_filters_are_joined_by_and(service, history):
    vaults = sorted({job["VaultId"] for job in history})
    times = sorted(job["CreatedTime"] for job in history)
    for vault, status, (low, high) in itertools.product(
        vaults, ["COMPLETE", "FAILED", "RUNNING"], [(times[0], times[-1]), (times[2], times[4])]
    ):
        filters = [
            ("VaultId", "EQUAL", [vault]),
            ("Status", None, [status]),
            ("CreatedTime", "BETWEEN", [str(low), str(high)]),
            ("Bucket", "NOT_EQUAL", ["x"]),
        ]
        assert ask(service, *filters)[1] == expected(history, *filters)


def test_keys_are_case_insensitive(service, history):
    vault = history[0]["VaultId"]
    wanted = expected(history, ("VaultId", "EQUAL", [vault]))
    for key in ("vaultId", "VAULTID", "vaultid", "VaultId"):
        assert ask(service, (key, "EQUAL", [vault]))[1] == wanted


def test_a_running_job_has_no_end(service, history):
    running = [job for job in history if job["Status"] == "RUNNING"]
    assert running and all("CompleteTime" not in job for job in running)
    wanted = expected(history, ("CompleteTime", "GREATER_THAN", ["0"]))
    assert running[0]["JobId"] not in wanted and ask(service, ("CompleteTime", "GREATER_THAN", ["0"]))[1] == wanted


@pytest.mark.parametrize("size", [1, 2, 3, 7, 99, 100])
@pytest.mark.parametrize("direction", ["ASCEND", "DESCEND", None])
def test_pages(service, history, size, direction):
    wanted = expected(history)
    if direction == "ASCEND":
        wanted.reverse()
    parameters = {"PageSize": size, **({"SortDirection": direction} if direction else {})}
    seen = []
    for number in itertools.count(1):
        page, ids = ask(service, PageNumber=number, **parameters)
        assert (page["TotalCount"], page["PageNumber"], page["PageSize"]) == (len(wanted), number, size)
        seen += ids
        if len(ids) < size:
            break
    assert seen == wanted


def test_the_page_is_ten_when_nothing_is_asked(service, history):
    page = service.call("DescribeBackupJobs2")
    assert (page["PageNumber"], page["PageSize"]) == (1, 10)
    assert [job["JobId"] for job in page["BackupJobs"]["BackupJob"]] == expected(history)[:10]


def test_source_types(service, history):
    assert ask(service, SourceType="ECS_FILE")[1] == expected(history)
    for other in ("OSS", "NAS", "OTS", "UDM_ECS", "UDM_ECS_DISK", "COMMON_NAS", "File", "SYNC"):
        page, ids = ask(service, SourceType=other)
        assert (page["TotalCount"], ids) == (0, []), other


def test_the_command_line_asks_the_same(service, history):
    vault = history[0]["VaultId"]
    lines = service.cli(
        "jobs",
        "--json",
        "--page-size",
        "100",
        "--filter",
        "VaultId",
        "EQUAL",
        vault,
        "--filter",
        "Status",
        "IN",
        "COMPLETE",
        "FAILED",
        "--sort",
        "ascend",
    ).stdout.splitlines()
    filters = [("VaultId", "EQUAL", [vault]), ("Status", "IN", ["COMPLETE", "FAILED"])]
    assert [json.loads(line)["JobId"] for line in lines] == list(reversed(expected(history, *filters)))


def test_a_partial_job_says_what_it_missed(history):
    [partial] = [job for job in history if job["Status"] == "PARTIAL_COMPLETE"]
    assert "1 item could not be read" in partial["ErrorMessage"] and "/missing" in partial["ErrorMessage"], partial
    assert partial["Progress"] == 10000 and partial["CompleteTime"] <= time.time() + 1

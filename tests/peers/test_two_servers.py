"""Two servers on one PostgreSQL: one service, whoever is asked; and it goes on when one of them is killed."""

import os
import subprocess
import threading
import time
import uuid

import pytest
from harness.callers import CALLERS
from harness.programs import Trees
from harness.service import Service
from harness.waiting import wait_for


def psql(sql):
    url = os.environ["STRONGROOM_TEST_POSTGRES"]
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", sql], check=True)


@pytest.fixture
def url():
    """A database of the test's own."""
    name = f"peers_{uuid.uuid4().hex}"
    psql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield os.environ["STRONGROOM_TEST_POSTGRES"].rsplit("/", 1)[0] + f"/{name}"
    psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def pair(folder, url):
    """Two servers with data directories of their own and one master key, the second as on another host."""
    first, second = Service(folder / "first"), Service(folder / "second")
    try:
        first.start("--catalog", url)
        machine_id = folder / "machine-id"
        machine_id.write_text("5" * 32 + "\n")
        script = 'mount --bind "$1" /etc/machine-id && hostname second && shift && exec "$@"'
        elsewhere = ["unshare", "--mount", "--uts", "sh", "-c", script, "sh", machine_id]
        second.start("--catalog", url, "--master-key-file", first.data_dir / "master.key", prefix=elsewhere)
        yield first, second
    finally:
        first.close()
        second.close()


def ids(service, plan_id):
    """The jobs of a plan as (time, id), every page of them."""
    rows, number = [], 1
    filters = [{"Key": "PlanId", "Operator": "EQUAL", "Values": [plan_id]}]
    while True:
        page = service.call(
            "DescribeBackupJobs2", Filters=filters, SortDirection="ASCEND", PageSize=99, PageNumber=number
        )
        rows += [(job["CreatedTime"], job["JobId"]) for job in page["BackupJobs"]["BackupJob"]]
        if len(rows) >= page["TotalCount"]:
            return rows
        number += 1


def test_what_one_does_the_other_knows_at_once(pair, folder):
    first, second = pair
    assert first.credentials()["AccountId"] == second.credentials()["AccountId"]
    vault_id = first.vault()
    source = Trees.small(folder / "source")
    plans = [server.plan(vault_id, [source], name=f"plan {number}") for number, server in enumerate(pair)]
    for number in range(20):
        job_id = pair[number % 2].execute(plans[number % 2])
        assert job_id in [row[1] for row in ids(pair[1 - number % 2], plans[number % 2])]
        pair[1 - number % 2].wait_job(job_id)
        assert pair[number % 2].job(job_id)["Status"] == "COMPLETE"


def test_the_sdk_pages_through_everything_while_the_other_server_creates_jobs(pair, folder):
    first, second = pair
    vault_id = first.vault()
    plan_id = first.plan(vault_id, [Trees.small(folder / "source")])
    created, stop = [], threading.Event()

    def create():
        while not stop.is_set() and len(created) < 400:
            created.append(second.execute(plan_id))

    before = [first.execute(plan_id) for _ in range(25)]
    thread = threading.Thread(target=create)
    thread.start()
    try:
        sdk = CALLERS["sdk-v3"](first.credentials())
        for _ in range(5):
            seen, number = [], 1
            while True:
                known = len(created)
                page = sdk.call(
                    "DescribeBackupJobs2",
                    {"SortDirection": "ASCEND", "PageSize": 50, "PageNumber": number, "SourceType": "ECS_FILE"},
                )
                jobs = page["BackupJobs"].get("BackupJob", [])
                seen += [job["JobId"] for job in jobs]
                assert page["TotalCount"] >= 25 + known, "what was acknowledged is counted"
                if len(jobs) < 50:
                    break
                number += 1
            assert len(seen) == len(set(seen))
            assert seen[:25] == before
            assert seen == sorted(seen)
    finally:
        stop.set()
        thread.join()
    everything = ids(first, plan_id)
    assert sorted(row[1] for row in everything) == sorted(before + created)


def test_plans_run_once_each_time_although_a_server_is_killed(pair, folder):
    first, second = pair
    vault_id = second.vault()
    source = Trees.small(folder / "source")
    # Of the host that stays: the runs of one that is gone would wait for it.
    clients = second.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
    [stays] = [client["InstanceId"] for client in clients if client["Hostname"] == "second"]
    start, period = int(time.time()) + 4, 3
    schedule = {"Schedule": f"I|{start}|PT{period}S", "InstanceId": stays}
    plans = [second.plan(vault_id, [source], name=f"plan {number}", **schedule) for number in range(6)]
    wait_for("some runs", lambda: all(len(ids(second, plan)) >= 4 for plan in plans), 120)
    first.kill()
    killed = int(time.time())
    wait_for("runs after the kill", lambda: all(ids(second, plan)[-1][0] > killed + 4 * period for plan in plans), 120)
    for plan in plans:
        rows = ids(second, plan)
        slots = [(created - start) // period for created, _ in rows]
        assert len(slots) == len(set(slots)), f"two runs of one time: {rows}"
        second.call("DisableBackupPlan", PlanId=plan, SourceType="ECS_FILE", VaultId=vault_id)
    wait_for(
        "all jobs to end",
        lambda: second.call(
            "DescribeBackupJobs2", Filters=[{"Key": "Status", "Operator": "IN", "Values": ["CREATED", "QUEUED", "RUNNING"]}]
        )["TotalCount"]
        == 0,
        120,
    )
    for plan in plans:
        rows = ids(second, plan)
        assert all(second.job(job_id)["Status"] == "COMPLETE" for _, job_id in rows)

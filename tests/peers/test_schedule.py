"""Plans that run by themselves: first at their start, then by interval, never for what was missed."""

import time

import pytest
from harness.programs import Trees
from harness.waiting import wait_for


@pytest.fixture(scope="module")
def vault_id(service):
    return service.vault("scheduled")


def jobs_of(service, plan_id):
    rows = [{"Key": "PlanId", "Operator": "EQUAL", "Values": [plan_id]}]
    return service.call("DescribeBackupJobs2", Filters=rows)["BackupJobs"]["BackupJob"]


def test_the_first_run_is_at_the_start(service, vault_id, module_folder):
    start = int(time.time()) + 3
    plan_id = service.plan(vault_id, [Trees.small(module_folder / "soon")], name="soon", Schedule=f"I|{start}|PT1H")
    disabled = service.plan(vault_id, [module_folder / "soon"], name="off", Schedule=f"I|{start}|PT1H", Disabled=True)
    assert jobs_of(service, plan_id) == []
    [job] = wait_for("the scheduler to start the job", lambda: jobs_of(service, plan_id), 30)
    assert start <= job["CreatedTime"] <= start + 15
    assert service.wait_job(job["JobId"])["Status"] == "COMPLETE"
    assert jobs_of(service, disabled) == []


def test_missed_runs_are_not_made_up(service, vault_id, module_folder):
    """A start in the past with an hour's interval: the next run is on the hour's grid, not now."""
    source = Trees.small(module_folder / "past")
    past = int(time.time()) - 1800
    missed = service.plan(vault_id, [source], name="missed", Schedule=f"I|{past}|PT1H")
    soon = int(time.time()) + 3
    due = service.plan(vault_id, [source], name="due", Schedule=f"I|{soon - 3600}|PT1H")
    [job] = wait_for("the run that is due", lambda: jobs_of(service, due), 30)
    assert job["CreatedTime"] >= soon
    assert jobs_of(service, missed) == []


def test_a_run_that_came_due_during_a_restart(fresh, folder):
    """A restart does not cost the night's backup: a run is started up to ten minutes late, once."""
    fresh.start()
    vault_id = fresh.vault()
    start = int(time.time()) + 2
    plan_id = fresh.plan(vault_id, [Trees.small(folder / "source")], Schedule=f"I|{start}|PT1H")
    fresh.kill()
    wait_for("the start to pass", lambda: time.time() > start + 1)
    fresh.start()
    [job] = wait_for("the run that came due", lambda: jobs_of(fresh, plan_id), 30)
    assert job["CreatedTime"] > start
    fresh.stop()
    fresh.start()
    marker = fresh.plan(vault_id, [folder / "source"], name="marker", Schedule=f"I|{int(time.time()) + 3}|PT1H")
    wait_for("the scheduler to have looked", lambda: jobs_of(fresh, marker), 30)
    assert [late["JobId"] for late in jobs_of(fresh, plan_id)] == [job["JobId"]]


def test_no_two_runs_of_a_plan_at_once(service, vault_id, module_folder):
    slow = Trees.random_files(module_folder / "slow", 16, seed=3)
    plan_id = service.plan(vault_id, [slow], name="slow", SpeedLimit="0:24:1024")
    first = service.execute(plan_id)
    wait_for("the job to run", lambda: service.job(first)["Status"] == "RUNNING")
    started = int(time.time()) + 1
    service.call(
        "UpdateBackupPlan", PlanId=plan_id, SourceType="ECS_FILE", VaultId=vault_id, Schedule=f"I|{started}|PT1H"
    )
    marker = service.plan(vault_id, [module_folder / "soon"], name="marker", Schedule=f"I|{started + 1}|PT1H")
    wait_for("the scheduler to have looked", lambda: jobs_of(service, marker), 30)
    assert [job["JobId"] for job in jobs_of(service, plan_id)] == [first]
    service.call("CancelBackupJob", JobId=first, VaultId=vault_id)

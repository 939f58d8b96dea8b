"""Agents on other hosts: one that joins, one that falls silent, one that is stopped."""

import contextlib
import json
import re
import signal
import subprocess
import time

import pytest

from harness import programs
from harness.programs import STABLE, Trees
from harness.signing import ApiError, SignedCaller
from harness.waiting import wait_for


@contextlib.contextmanager
def agent(service, folder, name, hidden=None, twin=False, credentials=None):
    """`strongroom agent` as on another host: with a machine id and a host name of its own, and an empty folder `hidden`;
    a twin has the machine id of this host."""
    state = folder / name
    state.mkdir(exist_ok=True)
    machine_id = state / "machine-id"
    machine_id.write_text((name.encode().hex() * 32)[:32] + "\n")
    script = 'mount --bind "$1" /etc/machine-id && hostname "$2" && shift 2 && exec "$@"'
    if twin:
        machine_id = "/etc/machine-id"
    if hidden:
        script = f'mount -t tmpfs none "{hidden}" && {script}'
    credentials = credentials or service.credentials()
    environment = {
        **service.environment(),
        "STRONGROOM_ENDPOINT": credentials["Endpoint"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials["AccessKeySecret"],
    }
    log = open(state / "log.txt", "ab")
    process = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--uts",
            "sh",
            "-c",
            script,
            "sh",
            str(machine_id),
            name,
            programs.binary(),
            "agent",
            "--data-dir",
            str(state / "data"),
            "--state-dir",
            str(state / "state"),
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    log.close()
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


def instance_of(service, hostname):
    def found():
        clients = service.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
        return next((client for client in clients if client.get("Hostname") == hostname), None)

    return wait_for(f"the agent on {hostname} to register", found)["InstanceId"]


def test_an_agent_joins_and_works(fresh, folder):
    source = Trees.small(folder / "source")
    fresh.start()
    with agent(fresh, folder, "other-host"):
        instance_id = instance_of(fresh, "other-host")
        clients = fresh.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
        assert len({client["InstanceId"] for client in clients}) == len(clients) == 2
        vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
        plan_id = fresh.plan(vault_id, [source], InstanceId=instance_id)
        job = fresh.wait_job(fresh.execute(plan_id))
        assert job["Status"] == "COMPLETE" and job["InstanceId"] == instance_id
    repository, password = fresh.export(vault_id)
    [snapshot] = STABLE.json(repository, password, "snapshots")
    assert snapshot["hostname"] == "other-host"


def test_tasks_on_vaults_are_for_the_agent_beside_the_server(fresh, folder):
    """Another host's folder of the same path is another folder: a vault made there would be nowhere."""
    fresh.start()
    vaults_dir = fresh.data_dir / "vaults"
    vaults_dir.mkdir(exist_ok=True)
    with agent(fresh, folder, "elsewhere", hidden=vaults_dir):
        instance_of(fresh, "elsewhere")
        for number in range(5):
            vault_id = fresh.vault(f"here {number}")
            assert (vaults_dir / vault_id / "config").is_file()
        fresh.call("DeleteVault", VaultId=vault_id)
        wait_for("the data to be gone", lambda: not (vaults_dir / vault_id / "config").exists())


def test_a_copied_machine_is_told_apart(fresh, folder):
    """A second agent with the identity of a running one is refused, and the first one goes on undisturbed."""
    fresh.start()
    vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
    with agent(fresh, folder, "twin", twin=True) as process:
        assert process.wait(timeout=30) == 22
        assert "ClientIsRunning" in (folder / "twin/log.txt").read_text()
    fresh.backup(vault_id, [Trees.small(folder / "source")])
    assert "registering again" not in fresh.log()


def test_an_agent_that_falls_silent(fresh, folder):
    """Its job goes back to QUEUED by the watchdog; when it wakes up, its stale work changes nothing."""
    source = Trees.random_files(folder / "source", 120)
    fresh.start()
    with agent(fresh, folder, "sleepy") as process:
        instance_id = instance_of(fresh, "sleepy")
        vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
        plan_id = fresh.plan(vault_id, [source], InstanceId=instance_id, SpeedLimit="0:24:10240")
        job_id = fresh.execute(plan_id)
        wait_for("the job to be under way", lambda: fresh.job(job_id)["Progress"] > 500)
        process.send_signal(signal.SIGSTOP)
        fresh.wait_job(job_id, status="QUEUED", seconds=90)
        process.send_signal(signal.SIGCONT)
        job = fresh.wait_job(job_id)
        assert job["Status"] == "COMPLETE", job
    [snapshot] = snapshots_of(fresh, vault_id, instance_id)
    assert snapshot["JobId"] == job_id
    repository, password = fresh.export(vault_id)
    STABLE.run(repository, password, "unlock")
    STABLE.check(repository, password)


def snapshots_of(service, vault_id, instance_id):
    query = [
        {"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"},
        {"field": "InstanceId", "value": instance_id, "operation": "MATCH_TERM"},
    ]
    return service.call("SearchHistoricalSnapshots", SourceType="ECS_FILE", Query=query, Limit=100)["Snapshots"][
        "Snapshot"
    ]


def test_an_agent_that_is_killed_and_started_again(fresh, folder):
    """The new process takes the work of the dead one over at once, without waiting for the lease to run out."""
    source = Trees.random_files(folder / "source", 120)
    fresh.start()
    with agent(fresh, folder, "crashing") as process:
        instance_id = instance_of(fresh, "crashing")
        vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
        plan_id = fresh.plan(vault_id, [source], InstanceId=instance_id, SpeedLimit="0:24:20480")
        job_id = fresh.execute(plan_id)
        wait_for("the job to be under way", lambda: fresh.job(job_id)["Progress"] > 500)
        process.kill()
        process.wait()
    began = time.monotonic()
    with agent(fresh, folder, "crashing"):
        wait_for(
            "the job to run again",
            lambda: fresh.job(job_id)["Status"] == "RUNNING" and not fresh.job(job_id).get("CompleteTime"),
        )
        assert instance_of(fresh, "crashing") == instance_id
        job = fresh.wait_job(job_id)
        assert job["Status"] == "COMPLETE", job
        assert time.monotonic() - began < 60
    assert [snapshot["JobId"] for snapshot in snapshots_of(fresh, vault_id, instance_id)] == [job_id]


def test_an_agent_that_is_stopped(fresh, folder):
    """SIGTERM gives the work back; the next start goes on with it."""
    source = Trees.random_files(folder / "source", 120)
    fresh.start()
    with agent(fresh, folder, "leaving") as process:
        instance_id = instance_of(fresh, "leaving")
        vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
        job_id = fresh.execute(fresh.plan(vault_id, [source], InstanceId=instance_id, SpeedLimit="0:24:20480"))
        wait_for("the job to be under way", lambda: fresh.job(job_id)["Progress"] > 500)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, 130)
    assert fresh.job(job_id)["Status"] == "QUEUED"
    assert not list((folder / "vault/locks").iterdir())
    with agent(fresh, folder, "leaving"):
        assert fresh.wait_job(job_id)["Status"] == "COMPLETE"


def test_the_server_restarts_under_an_agent(fresh, folder):
    """The agent keeps working and finds the server again on the same address."""
    source = Trees.random_files(folder / "source", 120)
    fresh.start()
    fresh.listen = fresh.credentials()["Endpoint"].rstrip("/").split("//")[1]
    with agent(fresh, folder, "patient"):
        instance_id = instance_of(fresh, "patient")
        vault_id = fresh.vault(StorageUrl=str(folder / "vault"))
        job_id = fresh.execute(fresh.plan(vault_id, [source], InstanceId=instance_id, SpeedLimit="0:24:20480"))
        wait_for("the job to be under way", lambda: fresh.job(job_id)["Progress"] > 500)
        fresh.kill()
        fresh.start()
        assert fresh.wait_job(job_id)["Status"] == "COMPLETE"


def test_an_agent_is_uninstalled_and_comes_back(fresh, folder):
    """It puts down its work, removes what it kept and ends; started again, the host is the same client."""
    fresh.start()
    own = fresh.client()
    vault_id = fresh.vault("of both", StorageUrl=str(folder / "vault"))

    def task(task_id):
        found = fresh.call("DescribeTask", TaskId=task_id)
        [result] = json.loads(found["Result"])
        return found["Description"], result["clientStatus"]

    def client_of(client_id):
        found = fresh.call("DescribeBackupClients", ClientType="ECS_CLIENT", ClientIds=[client_id])["Clients"]
        return found[0] if found else None

    first = fresh.backup(vault_id, [Trees.small(folder / "own source")], name="own")
    restore = {"RestoreType": "ECS_FILE", "SourceType": "ECS_FILE", "TargetPath": str(folder / "to"),
               "SnapshotId": fresh.snapshot_of(vault_id, first["JobId"])["SnapshotId"]}  # fmt: skip
    with agent(fresh, folder, "guest") as process:
        instance_id = instance_of(fresh, "guest")
        [guest] = fresh.call("DescribeBackupClients", ClientType="ECS_CLIENT", InstanceIds=[instance_id])["Clients"]
        plan_id = fresh.plan(vault_id, [Trees.random_files(folder / "source", 24, seed=3)], InstanceId=guest["InstanceId"],
                             SpeedLimit="0:24:2048")  # fmt: skip
        job_id = fresh.execute(plan_id)
        fresh.wait_job(job_id, status="RUNNING")
        waiting_id = fresh.execute(plan_id)
        for wrong, code in [
            ({"InstanceIds": [own["InstanceId"]]}, "OperationDenied.NotSupported"),
            ({"ClientIds": [guest["ClientId"], own["ClientId"]]}, "OperationDenied.NotSupported"),
            ({"InstanceIds": [guest["InstanceId"], "i-0000000000000000none"]}, "InstanceNotExists"),
            ({"ClientIds": ["c-0000000000000000none"]}, "ClientNotExist"),
        ]:
            with pytest.raises(ApiError) as failure:
                fresh.call("UninstallBackupClients", **wrong)
            assert failure.value.code == code, failure.value
        assert client_of(guest["ClientId"])["Status"] == "ACTIVATED"
        ids = {"ClientIds": [guest["ClientId"]], "InstanceIds": [guest["InstanceId"]]}
        asked = fresh.call("UninstallBackupClients", **ids)
        assert asked["InstanceStatuses"] == [{"InstanceId": guest["InstanceId"], "ValidInstance": True, "ErrorCode": ""}]
        assert wait_for("the agent to end", lambda: process.poll() is not None) and process.returncode == 0
        wait_for("the task", lambda: task(asked["TaskId"]) == ("completed", "NOT_INSTALLED"))
    assert not (folder / "guest" / "state").exists()
    assert client_of(guest["ClientId"])["Status"] == "NOT_INSTALLED"
    # Nothing waits for it any more, and nothing new is taken on.
    for one in (job_id, waiting_id):
        ended = fresh.job(one)
        assert ended["Status"] == "FAILED" and guest["ClientId"] in ended["ErrorMessage"], ended
        assert "uninstalled" in ended["ErrorMessage"], ended
    adhoc = {"SourceType": "ECS_FILE", "VaultId": vault_id, "InstanceId": guest["InstanceId"]}
    rules = [{"RuleType": "BACKUP", "Schedule": "I|1893456000|P1Y", "VaultId": vault_id}]
    policy_id = fresh.call("CreatePolicyV2", PolicyName="of guests", Rules=rules)["PolicyId"]
    binding = {"SourceType": "ECS_FILE", "DataSourceId": guest["InstanceId"]}
    for action, parameters in [
        ("CreateBackupPlan", {**adhoc, "PlanName": "another"}),
        ("CreatePolicyBindings", {"PolicyId": policy_id, "PolicyBindingList": [binding]}),
        ("ExecuteBackupPlan", {"PlanId": plan_id}),
        ("CreateBackupJob", adhoc),
        ("CreateRestoreJob", {**restore, "TargetInstanceId": guest["InstanceId"]}),
    ]:
        with pytest.raises(ApiError) as failure:
            fresh.call(action, **parameters)
        assert (failure.value.code, failure.value.http_status) == ("ClientNotInstalled", 409), failure.value
        assert guest["ClientId"] in failure.value.message and "strongroom agent" in failure.value.message, failure.value
    fresh.call("DeletePolicyV2", PolicyId=policy_id)
    # The schedule goes on: each of its runs says why it fails.
    soon = f"I|{int(time.time()) + 2}|P1D"
    fresh.call("UpdateBackupPlan", PlanId=plan_id, Schedule=soon)

    def last():
        [plan] = fresh.call("DescribeBackupPlans", Filters=[{"Key": "planId", "Values": [plan_id]}])["BackupPlans"]["BackupPlan"]
        return plan["LatestFinishJobId"]

    scheduled = wait_for("the scheduled run", lambda: last() if last() not in (job_id, waiting_id) else None)
    assert fresh.job(scheduled)["Status"] == "FAILED" and "is uninstalled" in fresh.job(scheduled)["ErrorMessage"]
    with agent(fresh, folder, "guest"):
        wait_for("the agent", lambda: client_of(guest["ClientId"])["Status"] == "ACTIVATED")
        assert fresh.wait_job(fresh.execute(plan_id))["Status"] == "COMPLETE"
        asked = fresh.call("UninstallBackupClients", ClientIds=[guest["ClientId"]])
        wait_for("the task", lambda: task(asked["TaskId"]) == ("completed", "NOT_INSTALLED"))
        fresh.call("DeleteBackupClient", ClientId=guest["ClientId"])
    assert client_of(guest["ClientId"]) is None and task(asked["TaskId"]) == ("completed", "NOT_INSTALLED")


def test_the_settings_of_a_client_limit_its_workers(fresh, folder, monkeypatch):
    """MaxWorker and MaxCpuCore, whichever is smaller, from the next job on; 0 takes the limit away."""
    monkeypatch.setenv("STRONGROOM_LOG", "info,agent=debug")
    fresh.start()
    vault_id, client_id = fresh.vault("limited"), fresh.client()["ClientId"]
    plan_id = fresh.plan(vault_id, [Trees.small(folder / "source")])
    snapshot = None
    for settings, seen in [
        ({}, "workers=None"),
        ({"MaxWorker": 1}, "workers=Some(1)"),
        ({"MaxWorker": 0, "MaxCpuCore": 1}, "workers=Some(1)"),
        ({"MaxCpuCore": 0}, "workers=None"),
    ]:
        if settings:
            fresh.call("UpdateClientSettings", ClientId=client_id, **settings)
        before = fresh.log_path.read_text(errors="replace").count("a backup starts")
        job = fresh.wait_job(fresh.execute(plan_id))
        assert job["Status"] == "COMPLETE", job
        snapshot = fresh.snapshot_of(vault_id, job["JobId"])
        lines = [line for line in fresh.log_path.read_text(errors="replace").splitlines() if "a backup starts" in line]
        assert len(lines) == before + 1 and seen in strip_colours(lines[-1]), (settings, lines)
    fresh.call("UpdateClientSettings", ClientId=client_id, MaxWorker=1)
    fresh.restore(vault_id, snapshot, folder / "restored")
    with pytest.raises(ApiError) as failure:
        fresh.call("UpdateClientSettings", ClientId=client_id, MaxMemory=1 << 30)
    assert failure.value.code == "OperationDenied.NotSupported", failure.value


def strip_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def second(fresh):
    """A further account, as a caller and as the credentials of an agent."""
    service = fresh.start("--trash", "1s", "--prune-grace", "0s", "--check-every", "off", "--prune-every", "off")
    made = json.loads(service.cli("account", "create", "second", "--json").stdout)
    names = ("AccessKeyId", "AccessKeySecret")
    credentials = {**service.credentials(), **{name: made[name] for name in names}}
    return SignedCaller(credentials), credentials


def vault_status(caller, vault_id):
    return caller.call("DescribeVaults", {"VaultId": vault_id})["Vaults"]["Vault"][0]["Status"]


def test_the_vaults_of_a_further_account_are_looked_after_by_the_agent_of_the_service(fresh, second, folder):
    """It makes, checks, prunes and removes them, takes snapshots out of them, and never runs a backup of theirs."""
    caller, credentials = second
    vault_id = caller.call("CreateVault", {"VaultName": "second", "VaultRegionId": "cn-hangzhou"})["VaultId"]
    place = fresh.data_dir / "vaults" / vault_id
    wait_for("the vault to be made", lambda: vault_status(caller, vault_id) == "CREATED")
    assert (place / "config").exists()

    def ended(task_id):
        found = caller.call("ListVaultTasks", {"VaultId": vault_id})["Tasks"]
        [task] = [item for item in found if item["TaskId"] == task_id]
        return task["Status"] if task["Status"] in ("COMPLETE", "FAILED") else None

    for action, more in (("CheckVault", {"ReadData": "all"}), ("PruneVault", {})):
        task_id = caller.call(action, {"VaultId": vault_id, **more})["TaskId"]
        assert wait_for(action, lambda task_id=task_id: ended(task_id)) == "COMPLETE"
    for number in range(3):
        fresh.vault(f"of the first account {number}")
    assert not caller.call("DescribeBackupClients", {"ClientType": "ECS_CLIENT"})["Clients"]
    own = fresh.call("DescribeVaults", PageSize=50)["Vaults"]["Vault"]
    assert vault_id not in [vault["VaultId"] for vault in own]
    tasks = fresh.call("ListVaultTasks", PageSize=50)["Tasks"]
    assert vault_id not in [task["VaultId"] for task in tasks]

    with agent(fresh, folder, "second", credentials=credentials):
        client = wait_for("the agent", lambda: caller.call("DescribeBackupClients", {"ClientType": "ECS_CLIENT"})["Clients"])
        plan = {"SourceType": "ECS_FILE", "VaultId": vault_id, "InstanceId": client[0]["InstanceId"], "PlanName": "p",
                "Path": [str(Trees.small(folder / "source"))], "Schedule": "I|1893456000|P1D",
                "BackupType": "COMPLETE"}  # fmt: skip
        plan_id = caller.call("CreateBackupPlan", plan)["PlanId"]
        job_id = caller.call("ExecuteBackupPlan", {"PlanId": plan_id})["JobId"]
        only = {"Filters": [{"Key": "JobId", "Operator": "EQUAL", "Values": [job_id]}]}

        def job():
            [found] = caller.call("DescribeBackupJobs2", only)["BackupJobs"]["BackupJob"]
            assert found["Status"] != "FAILED", found
            return found if found["Status"] == "COMPLETE" else None

        assert wait_for("the backup", job)["ClientId"] == client[0]["ClientId"]
    query = [{"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"}]
    found = caller.call("SearchHistoricalSnapshots", {"SourceType": "ECS_FILE", "Query": json.dumps(query)})
    [snapshot] = found["Snapshots"]["Snapshot"]
    caller.call("DeleteSnapshot", {"SnapshotId": snapshot["SnapshotId"]})
    wait_for("the snapshot to be gone", lambda: not list((place / "snapshots").iterdir()))
    caller.call("DeleteVault", {"VaultId": vault_id})
    wait_for("its data to be gone", lambda: not (place / "config").exists())


def test_two_accounts_on_one_host(fresh, second, folder):
    """The agent of the service and one of a further account on the same machine, each for its own; one folder for both is
    refused, and the identity in it stays."""
    caller, credentials = second
    source = Trees.small(folder / "source")
    own = fresh.client()
    with agent(fresh, folder, "here", twin=True, credentials=credentials):
        clients = wait_for("the agent", lambda: caller.call("DescribeBackupClients", {"ClientType": "ECS_CLIENT"})["Clients"])
        assert len(clients) == 1 and clients[0]["InstanceId"] != own["InstanceId"]
        named = {"VaultName": "of both", "VaultRegionId": "cn-hangzhou", "StorageUrl": str(folder / "theirs")}
        vault_id = caller.call("CreateVault", named)["VaultId"]
        wait_for("the vault to be made", lambda: vault_status(caller, vault_id) == "CREATED")
        environment = {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials["AccessKeySecret"],
        }
        instance = ("--instance", clients[0]["InstanceId"])
        fresh.cli("plan", "create", "--vault", "of both", "--path", source, "--name", "p", *instance, env=environment)
        fresh.cli("plan", "run", "p", "--wait", env=environment)
        assert fresh.backup(fresh.vault("of the first"), [source])["InstanceId"] == own["InstanceId"]
        # The same machine for the same account is a copy, and is told apart.
        assert fresh.call("DescribeBackupClients", ClientType="ECS_CLIENT")["TotalCount"] == 1
    state = folder / "here" / "state"
    identity = (state / "agent.json").read_text()
    first = fresh.credentials()
    command = [programs.binary(), "agent", "--data-dir", folder / "none", "--state-dir", state]
    environment = {
        **fresh.environment(),
        "STRONGROOM_ENDPOINT": first["Endpoint"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": first["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": first["AccessKeySecret"],
    }
    refused = programs.run(command, env=environment, status=22).stderr
    assert "is that of an agent of account" in refused and "--state-dir of its own" in refused, refused
    assert (state / "agent.json").read_text() == identity
    # The folder of the service's own agent is in use.
    command[-1] = fresh.data_dir / "agent"
    assert "--state-dir of its own" in programs.run(command, env=environment, status=1).stderr


def test_what_a_further_account_puts_elsewhere_waits_for_its_own_agent(fresh, second, folder):
    """The agent of the service has rights on this host that a further account has not."""
    caller, credentials = second
    named = {"VaultName": "elsewhere", "VaultRegionId": "cn-hangzhou", "StorageUrl": str(folder / "elsewhere")}
    vault_id = caller.call("CreateVault", named)["VaultId"]
    fresh.vault("of the first account, made after it")
    assert vault_status(caller, vault_id) == "INITIALIZING" and not (folder / "elsewhere").exists()
    with agent(fresh, folder, "second", credentials=credentials):
        wait_for("the vault to be made", lambda: vault_status(caller, vault_id) == "CREATED")
        assert (folder / "elsewhere" / "config").exists()


def test_a_vault_that_is_asked_for_while_the_service_starts(fresh, second):
    """It waits for the agent of the service, which has not come yet, and for no other."""
    _, credentials = second
    fresh.kill()
    fresh.start()
    caller = SignedCaller({**credentials, "Endpoint": fresh.credentials()["Endpoint"]})
    made = [caller.call("CreateVault", {"VaultName": f"v{number}", "VaultRegionId": "cn-hangzhou"})["VaultId"]
            for number in range(5)]  # fmt: skip
    for vault_id in made:
        wait_for("the vault to be made", lambda vault_id=vault_id: vault_status(caller, vault_id) == "CREATED")

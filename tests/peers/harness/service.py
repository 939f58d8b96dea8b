"""The service under test: started on a free port with folders of its own, stopped, killed, started again."""

import json
import os
import pathlib
import signal
import subprocess

from . import programs
from .signing import ApiError, SignedCaller
from .waiting import wait_for

FINAL = {"COMPLETE", "PARTIAL_COMPLETE", "FAILED", "CANCELED", "EXPIRED"}
DAILY = "I|1893456000|P1D"  # first run in 2030: the tests start every job themselves


class Service:
    """One data directory and the process that serves it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.data_dir = self.folder / "data"
        self.home = self.folder / "home"
        self.log_path = self.folder / "log.txt"
        self.listen = "127.0.0.1:0"
        self.process = None
        self.home.mkdir(parents=True, exist_ok=True)

    # --- its life

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALIBABA_", "STRONGROOM_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "STRONGROOM_LOG": os.environ.get("STRONGROOM_LOG", "info"),
        }

    def spawn(self, *arguments, prefix=()):
        """Starts `strongroom serve` without waiting for it."""
        command = [
            *prefix,
            programs.binary(),
            "--data-dir",
            self.data_dir,
            "serve",
            "--listen",
            self.listen,
            *arguments,
        ]
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment()
        )
        log.close()
        return self.process

    def start(self, *arguments, prefix=()):
        """Starts the service and waits until it answers."""
        self.spawn(*arguments, prefix=prefix)
        wait_for("the service to answer", self._answers, 60)
        return self

    def _answers(self):
        assert self.process.poll() is None, f"the service ended with {self.process.returncode}:\n{self.log()}"
        try:
            return self.call("DescribeRegions")
        except (OSError, ValueError, KeyError, ApiError):
            return None  # not yet: no credentials, or those of the last start

    def kill(self):
        """Ends the process as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=30):
        """Ends the process as a service manager does, and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()

    def log(self):
        return self.log_path.read_text(errors="replace")[-6000:] if self.log_path.exists() else ""

    # --- calls

    def credentials(self):
        return json.loads((self.data_dir / "credentials.json").read_text())

    def call(self, action, **parameters):
        return SignedCaller(self.credentials()).call(action, parameters)

    def cli(self, *arguments, status=0, env=None):
        return programs.run(
            [programs.binary(), "--data-dir", self.data_dir, *arguments],
            status=status,
            env={**self.environment(), **(env or {})},
        )

    # --- what most tests do first

    def client(self):
        """The client record of this host, whose agent registers a moment after the service answers."""
        found = lambda: self.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]  # noqa: E731
        return wait_for("the agent of the service", found)[0]

    def vault(self, name="vault", **parameters):
        """Creates a vault and waits until it can be used. Returns its id."""
        vault_id = self.call("CreateVault", VaultName=name, VaultRegionId="cn-hangzhou", **parameters)["VaultId"]
        self.wait_vault(vault_id)
        return vault_id

    def wait_vault(self, vault_id):
        def ready():
            vault = self.call("DescribeVaults", VaultId=vault_id)["Vaults"]["Vault"][0]
            assert vault["Status"] != "ERROR", vault
            return vault["Status"] == "CREATED"

        wait_for(f"vault {vault_id} to be CREATED", ready)

    def plan(self, vault_id, paths, name="plan", **parameters):
        """Creates a plan for this host. Returns its id."""
        parameters = {
            "InstanceId": self.client()["InstanceId"],
            "Schedule": DAILY,
            "BackupType": "COMPLETE",
            **parameters,
        }
        return self.call(
            "CreateBackupPlan",
            SourceType="ECS_FILE",
            VaultId=vault_id,
            PlanName=name,
            Path=[str(path) for path in paths],
            **parameters,
        )["PlanId"]

    def execute(self, plan_id):
        return self.call("ExecuteBackupPlan", PlanId=plan_id, SourceType="ECS_FILE")["JobId"]

    def job(self, job_id):
        page = self.call(
            "DescribeBackupJobs2",
            SourceType="ECS_FILE",
            Filters=[{"Key": "JobId", "Operator": "EQUAL", "Values": [job_id]}],
        )
        assert page["TotalCount"] == 1, page
        return page["BackupJobs"]["BackupJob"][0]

    def wait_job(self, job_id, status=None, seconds=180):
        """Waits until the job has ended (or has `status`) and returns it."""

        def ended():
            job = self.job(job_id)
            return job if (job["Status"] == status if status else job["Status"] in FINAL) else None

        try:
            return wait_for(f"job {job_id} to end", ended, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nnow {self.job(job_id)}\n{self.log()}") from error

    def backup(self, vault_id, paths, name="plan", status="COMPLETE", **parameters):
        """Runs one backup to its end. Returns the finished job."""
        job = self.wait_job(self.execute(self.plan(vault_id, paths, name, **parameters)))
        assert job["Status"] == status, (job, self.log())
        return job

    def snapshots(self, vault_id, **more):
        query = [
            {"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"},
            {"field": "InstanceId", "value": self.client()["InstanceId"], "operation": "MATCH_TERM"},
        ]
        return self.call("SearchHistoricalSnapshots", SourceType="ECS_FILE", Query=query, Limit=100, **more)[
            "Snapshots"
        ]["Snapshot"]

    def snapshot_of(self, vault_id, job_id):
        found = [snapshot for snapshot in self.snapshots(vault_id) if snapshot["JobId"] == job_id]
        assert len(found) == 1, found
        return found[0]

    def restore(self, vault_id, snapshot, target, status="COMPLETE", **parameters):
        """Restores a snapshot below `target` and waits for the end. Returns the restore job."""
        parameters = {"TargetInstanceId": self.client()["InstanceId"], **parameters}
        restore_id = self.call(
            "CreateRestoreJob",
            RestoreType="ECS_FILE",
            SourceType="ECS_FILE",
            VaultId=vault_id,
            SnapshotId=snapshot["SnapshotId"],
            SnapshotHash=snapshot["SnapshotHash"],
            TargetPath=str(target),
            **parameters,
        )["RestoreId"]
        return self.wait_restore(restore_id, status)

    def wait_restore(self, restore_id, status="COMPLETE"):
        """Waits until the restore job has ended, which must be with `status`, and returns it."""

        def ended():
            page = self.call(
                "DescribeRestoreJobs2",
                RestoreType="ECS_FILE",
                Filters=[{"Key": "RestoreId", "Operator": "IN", "Values": [restore_id]}],
            )
            job = page["RestoreJobs"]["RestoreJob"][0]
            return job if job["Status"] in FINAL else None

        job = wait_for(f"restore {restore_id} to end", ended, 180)
        assert job["Status"] == status, (job, self.log())
        return job

    def export(self, vault):
        """Repository and password for stock restic, as `vault export` prints them."""
        lines = dict(
            line.split("=", 1) for line in self.cli("vault", "export", vault).stdout.splitlines() if "=" in line
        )
        return lines["RESTIC_REPOSITORY"].strip("'\""), lines["RESTIC_PASSWORD"].strip("'\"")

"""The command line of the service: what a person types, what a script reads."""

import json
import subprocess

import pytest

from harness import programs
from harness.programs import Trees, run
from harness.waiting import wait_for


@pytest.fixture(scope="module")
def done(service, module_folder):
    """A vault, a plan and a finished job, all made by commands."""
    source = Trees.small(module_folder / "source")
    service.cli("vault", "create", "by hand", "--description", "typed")
    service.cli("plan", "create", "--vault", "by hand", "--path", source, "--name", "typed plan", "--exclude", "*.tmp")
    service.cli("plan", "run", "typed plan", "--wait")
    return source


def lines(service, *arguments):
    """The JSON lines of a command."""
    return [json.loads(line) for line in service.cli(*arguments, "--json").stdout.splitlines()]


def test_lists_as_json_lines(service, done):
    assert "by hand" in [vault["VaultName"] for vault in lines(service, "vault", "list")]
    assert [plan["PlanName"] for plan in lines(service, "plan", "list")] == ["typed plan"]
    [job] = lines(service, "jobs")
    assert job["Status"] == "COMPLETE" and job["Exclude"] == '["*.tmp"]'
    [snapshot] = lines(service, "snapshots")
    assert snapshot["JobId"] == job["JobId"]
    names = [node["Name"] for node in lines(service, "ls", "latest", str(done))]
    assert "sub" in names
    shown = json.loads(service.cli("job", "show", job["JobId"], "--json").stdout)
    assert shown["JobId"] == job["JobId"]


def test_lists_for_people(service, done):
    for command in (["vault", "list"], ["plan", "list"], ["jobs"], ["snapshots"], ["ls", "latest", done]):
        text = service.cli(*command).stdout
        assert text.strip() and "\x1b[" not in text, command
    assert "typed plan" in service.cli("plan", "list").stdout


def test_restore_with_patterns_and_conflicts(service, done, folder):
    service.cli("restore", "latest", "--target", folder / "all")
    Trees.assert_same(done, folder / "all" / done.relative_to("/"), "--skip-root")
    service.cli("restore", "latest", "--target", folder / "some", "--include", "file-1")
    assert [path.name for path in (folder / "some").rglob("*") if path.is_file()] == ["file-1"]
    changed = folder / "all" / done.relative_to("/") / "file-0"
    changed.write_text("changed meanwhile\n")
    service.cli("restore", "latest", "--target", folder / "all", "--conflict", "skip")
    assert changed.read_text() == "changed meanwhile\n"
    service.cli("restore", "latest", "--target", folder / "all", "--conflict", "keep-newer")
    assert changed.read_text() == "changed meanwhile\n"
    service.cli("restore", "latest", "--target", folder / "all")
    assert changed.read_bytes() == (done / "file-0").read_bytes()


def test_restore_to_the_original_place(service, done):
    """`--target /`: a file that was lost comes back where it was, the others stay."""
    lost = done / "file-2"
    before, kept = lost.read_bytes(), (done / "file-0").stat().st_ino
    lost.unlink()
    service.cli("restore", "latest", "--target", "/", "--include", str(lost), "--conflict", "skip")
    assert lost.read_bytes() == before and (done / "file-0").stat().st_ino == kept


def test_any_action(service):
    body = json.loads(service.cli("api", "DescribeRegions").stdout)
    assert body["Regions"]["Region"]
    body = json.loads(
        service.cli(
            "api", "DescribeBackupJobs2", "PageSize=1", "Filters.1.Key=Status", "Filters.1.Values.1=COMPLETE"
        ).stdout
    )
    assert body["PageSize"] == 1
    # What the service would ignore is told before anything is sent.
    plan = ["CreateBackupPlan", "PlanName=misspelt", "SourceType=ECS_FILE", "Paths=[\"/\"]"]
    failed = service.cli("api", *plan, status=2)
    assert "CreateBackupPlan has no parameter Paths; did you mean Path?" in failed.stderr and "--force" in failed.stderr
    assert not [row for row in service.call("DescribeBackupPlans", PageSize=99)["BackupPlans"]["BackupPlan"]
                if row["PlanName"] == "misspelt"]  # fmt: skip
    assert json.loads(service.cli("api", "--force", "DescribeRegions", "Colour=red").stdout)["Regions"]["Region"]
    failed = service.cli("api", "NoSuchAction", "Colour=red", status=range(1, 30))
    assert "InvalidAction.NotFound" in failed.stderr + failed.stdout


def test_exit_statuses(service, folder):
    assert service.cli("job", "show", "job-0000000000000000none", status=21).stderr
    service.cli("vault", "delete", "no such vault", "--yes", status=21)
    service.cli(
        "jobs",
        env={
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "nobody",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong",
            "STRONGROOM_ENDPOINT": service.credentials()["Endpoint"],
        },
        status=20,
    )
    service.cli("jobs", "--page-size", "101", status=2)
    run([programs.binary(), "--data-dir", folder / "nothing", "jobs"], status=(1, 20, 21))


def test_secrets_from_files_and_commands(service, folder):
    credentials = service.credentials()
    secret = folder / "secret"
    secret.write_text(credentials["AccessKeySecret"] + "\n")
    base = {"ALIBABA_CLOUD_ACCESS_KEY_ID": credentials["AccessKeyId"], "STRONGROOM_ENDPOINT": credentials["Endpoint"]}
    for variable, value in (
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", credentials["AccessKeySecret"]),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", secret),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_COMMAND", f"cat {secret}"),
    ):
        run([programs.binary(), "--data-dir", folder / "none", "vault", "list"], env={**base, variable: str(value)})


def test_a_job_is_cancelled(service, module_folder):
    slow = Trees.random_files(module_folder / "slow", 32)
    service.cli("plan", "create", "--vault", "by hand", "--path", slow, "--name", "slow", "--speed-limit", "0:24:128")
    service.cli("plan", "run", "slow")
    job_id = lines(service, "jobs", "--page-size", "1")[0]["JobId"]
    wait_for("the job to run", lambda: service.job(job_id)["Status"] == "RUNNING")
    service.cli("job", "cancel", job_id)
    assert service.wait_job(job_id)["Status"] == "CANCELED"
    service.cli("plan", "delete", "slow", "--yes")


def test_a_list_cut_short_is_no_failure(service, done):
    """`strongroom jobs | head -1`"""
    script = f"{programs.binary()} --data-dir {service.data_dir} jobs | head -1"
    finished = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=60, env=service.environment()
    )
    assert "panicked" not in finished.stderr, finished.stderr


def test_completion_and_manual_pages(folder):
    for shell in ("bash", "zsh", "fish"):
        assert "strongroom" in run([programs.binary(), "completion", shell]).stdout
    run([programs.binary(), "man", folder / "man"])
    pages = sorted(path.name for path in (folder / "man").iterdir())
    assert "strongroom.1" in pages and len(pages) > 10, pages


def test_help_names_every_command():
    text = run([programs.binary(), "--help"]).stdout
    for command in ("serve", "agent", "jobs", "job", "vault", "plan", "snapshots", "ls", "restore", "api", "repo"):
        assert f"\n  {command} " in text, command
    assert json.loads(run([programs.binary(), "version", "--json"]).stdout)

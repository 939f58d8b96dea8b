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


def test_a_call_that_comes_too_soon_is_made_again(fresh):
    """The service says how long to wait; the command says that it waits, and does."""
    fresh.start("--rate-limit", "1")
    said = ""
    for _ in range(4):
        said += fresh.cli("api", "DescribeRegions").stderr
    assert "trying again (1 of 5)" in said and "Throttling" not in said, said


def test_a_vault_is_made_where_it_is_meant(service, folder):
    elsewhere = {
        "STRONGROOM_ENDPOINT": service.credentials()["Endpoint"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": service.credentials()["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": service.credentials()["AccessKeySecret"],
    }
    refused = service.cli("vault", "create", "relative", "--storage", "vaults/here", env=elsewhere, status=2).stderr
    assert "relative path" in refused and "whole path" in refused, refused
    command = [programs.binary(), "--data-dir", service.data_dir, "vault", "create", "relative", "--storage", "here"]
    made = run(command, env=service.environment(), cwd=folder)
    assert (folder / "here" / "config").is_file() and str(folder / "here") in made.stderr, made.stderr
    taken = service.cli("vault", "create", "relative", status=22).stderr
    assert made.stdout.strip() in taken and "--allow-duplicate-name" in taken, taken
    service.cli("vault", "create", "relative", "--allow-duplicate-name")
    assert "more than one vault" in service.cli("plan", "create", "--vault", "relative", "--path", "/x", status=22).stderr


def test_a_vault_without_an_agent_is_waited_for_with_words(service, folder):
    """Of a further account, which has no agent that could make it."""
    made = json.loads(service.cli("account", "create", "lonely", "--json").stdout)
    lonely = {"ALIBABA_CLOUD_ACCESS_KEY_ID": made["AccessKeyId"], "ALIBABA_CLOUD_ACCESS_KEY_SECRET": made["AccessKeySecret"]}
    command = [programs.binary(), "--data-dir", service.data_dir, "vault", "create", "far", "--storage", folder / "far"]
    environment = {**service.environment(), **lonely}
    with open(folder / "said", "wb") as said:
        waiting = subprocess.Popen([str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=said)
    try:
        wait_for("a word", lambda: "no agent of this account" in (folder / "said").read_text(), 30)
    finally:
        waiting.terminate()
    assert waiting.wait(timeout=30) == 130
    text = (folder / "said").read_text()
    assert "INITIALIZING" in text and "strongroom agent" in text and "still being made" in text, text
    detached = service.cli("vault", "create", "far too", "--storage", folder / "too", "--detach", env=lonely)
    assert detached.stdout.startswith("v-")


def test_policies_are_made_bound_and_run(service, done, folder):
    vault = lines(service, "vault", "list")[-1]["VaultName"]
    service.cli("policy", "create", "typed", "--vault", "by hand", "--every", "P7D", "--keep-days", "30", "--keep-latest",
                "--monthly", "365")  # fmt: skip
    [policy] = lines(service, "policy", "list")
    [rule] = policy["Rules"]
    assert (rule["Retention"], rule["KeepLatestSnapshots"]) == (30, 1), rule
    assert rule["RetentionRules"][0]["AdvancedRetentionType"] == "MONTHLY" and rule["Schedule"].endswith("|P7D")
    assert "30 d, newest always" in service.cli("policy", "list").stdout and vault
    service.cli("policy", "bind", "typed", "--path", done, "--exclude", "*.tmp")
    [bound] = lines(service, "policy", "bindings", "typed")
    assert json.loads(bound["Source"]) == [str(done)] and json.loads(bound["Exclude"]) == ["*.tmp"]
    assert str(done) in service.cli("policy", "bindings").stdout
    job_id = service.cli("policy", "run", "typed").stdout.strip()
    assert service.wait_job(job_id)["Status"] == "COMPLETE"
    assert "rule-none" in service.cli("policy", "run", "typed", "--rule", "rule-none", status=21).stderr
    service.cli("policy", "run", "po-none", status=21)
    service.cli("policy", "bind", "typed", "--path", done, status=22)
    service.cli("policy", "unbind", "typed")
    service.cli("policy", "unbind", "typed", status=21)
    service.cli("policy", "delete", "typed", "--yes")
    document = folder / "policy.json"
    document.write_text(json.dumps({"PolicyName": "by file", "Rules": policy["Rules"]}))
    service.cli("policy", "create", "--file", document)
    assert lines(service, "policy", "list")[0]["PolicyName"] == "by file"
    service.cli("policy", "delete", "by file", "--yes")
    document.write_text('{"Rule": []}')
    assert "no member of a policy" in service.cli("policy", "create", "--file", document, status=2).stderr
    # The service says what is valid, by name.
    for days in ("364636", "-2"):
        refused = service.cli("policy", "create", "x", "--vault", "by hand", "--keep-days", days, status=2).stderr
        assert "Retention" in refused and "364635" in refused, refused


def test_a_plan_says_how_long_its_snapshots_are_kept(service, done):
    service.cli("plan", "create", "--vault", "by hand", "--path", done, "--name", "kept", "--keep-days", "9", "--keep-latest")
    [plan] = [plan for plan in lines(service, "plan", "list") if plan["PlanName"] == "kept"]
    assert (plan["Retention"], plan["KeepLatestSnapshots"]) == (9, 1)
    assert "9 d, newest always" in service.cli("plan", "list").stdout
    words = ("plan", "create", "--vault", "by hand", "--path", done, "--name", "wrong", "--keep-days")
    for days in ("0", "364636"):
        assert "InvalidParameter.Retention" in service.cli(*words, days, status=2).stderr
    service.cli("plan", "delete", "kept", "--yes")


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

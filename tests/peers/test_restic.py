"""Stock restic, both ways: it checks and restores what we wrote, and we restore what it wrote."""

import json
import mmap
import os
import signal
import subprocess
import time

import pytest

from harness import programs
from harness.programs import NEWER, RESTICS, STABLE, Trees
from harness.waiting import wait_for

PASSWORD = "a password for tests"


@pytest.fixture(scope="module")
def source(module_folder):
    return Trees.every_kind(module_folder / "source")


@pytest.fixture(scope="module")
def vault(service, source):
    """A vault with two snapshots of the tree, and how stock restic opens it."""
    vault_id = service.vault("for restic")
    job = service.backup(vault_id, [source])
    service.wait_job(service.execute(job["PlanId"]))
    return (vault_id, *service.export(vault_id))


def engine(*arguments, repository, status=0, password=PASSWORD, **env):
    env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password, **env}
    return programs.run([programs.binary(), "repo", *arguments], status=status, env=env)


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_restic_checks_a_vault(vault, restic):
    _, repository, password = vault
    restic.check(repository, password)
    assert len(restic.json(repository, password, "snapshots")) == 2


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_restic_restores_a_vault(vault, source, folder, restic):
    _, repository, password = vault
    restic.run(repository, password, "restore", "latest", "--target", folder / "restored", "--verify")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), known=restic.loses)


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_restic_knows_what_the_snapshot_is_of(vault, source, restic):
    _, repository, password = vault
    for snapshot in restic.json(repository, password, "snapshots"):
        assert snapshot["paths"] == [str(source)] and snapshot["hostname"]
        assert any(tag.startswith("JobId=job-") for tag in snapshot["tags"]), snapshot["tags"]
    keys = restic.json(repository, password, "key", "list")
    assert len(keys) == 2 and any(key["userName"] == "strongroom-recovery" for key in keys), keys


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_restic_goes_on_in_a_vault(service, source, folder, restic):
    """restic backs up into our vault on top of our snapshots, prunes it, and we go on after that."""
    small = Trees.small(folder / "small")
    Trees.random_file(small / "bin", 5_000_000, 9)
    vault_id = service.vault(f"shared {restic}")
    first = service.backup(vault_id, [small], name=f"shared {restic}")
    repository, password = service.export(vault_id)
    restic.run(repository, password, "backup", small, source / "plain")
    restic.run(repository, password, "forget", "--keep-last", "1", "--group-by", "paths", "--prune")
    restic.check(repository, password)
    again = service.wait_job(service.execute(first["PlanId"]))
    assert again["Status"] == "COMPLETE", again
    snapshot = service.snapshot_of(vault_id, again["JobId"])
    service.restore(vault_id, snapshot, folder / "restored")
    Trees.assert_same(small, folder / "restored" / small.relative_to("/"), "--skip-root")
    restic.check(repository, password)


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_we_restore_what_restic_wrote(source, folder, restic):
    repository = folder / "repository"
    restic.run(repository, PASSWORD, "init")
    restic.run(repository, PASSWORD, "backup", source)
    engine("check", "--read-data", repository=repository)
    engine("restore", "latest", "--target", folder / "restored", repository=repository)
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), "--holes", known=restic.loses)
    listed = engine("snapshots", "--json", repository=repository).stdout
    [theirs] = restic.json(repository, PASSWORD, "snapshots")
    assert theirs["id"][:8] in listed
    assert "bytes-4096" in engine("ls", "latest", source / "plain", repository=repository).stdout


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_restic_restores_what_the_engine_wrote(source, folder, restic):
    repository = folder / "repository"
    engine("init", repository=repository)
    engine("backup", source, repository=repository)
    (folder / "later").write_text("later\n")
    engine("backup", source, folder / "later", "--tag", "second", repository=repository)
    restic.check(repository, PASSWORD)
    restic.run(repository, PASSWORD, "restore", "latest", "--target", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), known=restic.loses)
    assert (folder / "restored" / (folder / "later").relative_to("/")).read_text() == "later\n"


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_we_add_to_what_restic_wrote(source, folder, restic):
    """Both write the same repository in turn, each on top of the other's snapshot, whose files are not stored again."""
    repository = folder / "repository"
    restic.run(repository, PASSWORD, "init")
    restic.run(repository, PASSWORD, "backup", source)
    first = stored(repository)
    engine("backup", source, repository=repository)
    restic.run(repository, PASSWORD, "backup", source)
    assert stored(repository) < first + 1_000_000, "unchanged files were stored again"
    restic.check(repository, PASSWORD)
    engine("check", "--read-data", repository=repository)
    snapshots = restic.json(repository, PASSWORD, "snapshots")
    assert len(snapshots) == 3
    for snapshot in snapshots:
        target = folder / snapshot["short_id"]
        restic.run(repository, PASSWORD, "restore", snapshot["id"], "--target", target)
        Trees.assert_same(source, target / source.relative_to("/"), known=restic.loses)


def stored(repository):
    return sum(path.stat().st_size for path in repository.rglob("*") if path.is_file())


def test_compressed_and_uncompressed_repositories(source, folder):
    for mode in ("off", "max"):
        repository = folder / mode
        programs.run(
            [NEWER.program, "--no-cache", "init"],
            env={"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": PASSWORD},
        )
        NEWER.run(repository, PASSWORD, "--compression", mode, "backup", source / "plain")
        engine("restore", "latest", "--target", folder / f"restored-{mode}", repository=repository)
        Trees.assert_same(source / "plain", folder / f"restored-{mode}" / (source / "plain").relative_to("/"))


def test_exit_statuses_of_the_engine(source, folder):
    repository = folder / "repository"
    engine("snapshots", repository=repository, status=10)
    engine("init", repository=repository)
    engine("init", repository=repository, status=1)
    engine("snapshots", repository=repository, password="wrong", status=12)
    engine("backup", source / "plain", folder / "missing", repository=repository, status=3)
    engine("backup", folder / "missing", repository=repository, status=(1, 3))
    engine("restore", "latest", "--target", folder / "restored", "--include", "bytes-1", repository=repository)
    restored = {path.name for path in (folder / "restored").rglob("*") if path.is_file()}
    assert restored == {"bytes-1"}, restored
    engine("backup", source / "plain", repository=repository, status=(1, 2), RESTIC_COMPRESSION="sideways")


def test_json_lines_of_a_backup(source, folder):
    repository = folder / "repository"
    engine("init", repository=repository)
    lines = [json.loads(line) for line in engine("backup", source, "--json", repository=repository).stdout.splitlines()]
    summary = lines[-1]
    assert summary["message_type"] == "summary" and summary["snapshot_id"], summary
    assert summary["total_files_processed"] > 100 and summary["total_bytes_processed"] > 100_000_000, summary
    lines = engine("backup", source, folder / "missing", "--json", repository=repository, status=3).stdout.splitlines()
    assert json.loads(lines[-1])["message_type"] == "summary"


def locks(repository):
    """The finished lock files: restic writes under another name first."""
    return [name for name in os.listdir(repository / "locks") if len(name) == 64]


def test_a_lock_of_restic_is_honoured(source, folder):
    """A live exclusive lock stops us with status 11; that of a dead process on this host does not."""
    repository = folder / "repository"
    STABLE.run(repository, PASSWORD, "init")
    STABLE.run(repository, PASSWORD, "backup", source / "plain")
    environment = {**os.environ, "RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": PASSWORD}
    checking = subprocess.Popen(
        [STABLE.program, "--no-cache", "check", "--read-data"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("restic to lock the repository", lambda: locks(repository), interval=0.005)
        checking.send_signal(signal.SIGSTOP)
        refused = engine("backup", source / "links", repository=repository, status=11)
        assert str(checking.pid) in refused.stderr, refused.stderr
    finally:
        checking.kill()
        checking.wait()
    engine("backup", source / "links", repository=repository)
    engine("unlock", repository=repository)
    assert locks(repository) == []
    STABLE.check(repository, PASSWORD)


def test_our_lock_keeps_restic_from_pruning(service, folder):
    """While a job runs, restic may read but not prune; when it has ended there is no lock."""
    slow = Trees.random_files(folder / "slow", 32)
    storage = folder / "vault"
    vault_id = service.vault("locked", StorageUrl=str(storage))
    job_id = service.execute(service.plan(vault_id, [slow], name="locked", SpeedLimit="0:24:8192"))
    wait_for("the job to lock the vault", lambda: locks(storage))
    repository, password = service.export(vault_id)
    for restic in RESTICS:
        restic.run(repository, password, "snapshots")
        refused = restic.run(repository, password, "prune", status=(1, 11))
        assert "already locked" in refused.stderr and f"PID {service.process.pid}" in refused.stderr, refused.stderr
    assert service.wait_job(job_id)["Status"] == "COMPLETE"
    assert locks(storage) == []
    STABLE.check(repository, password)


def test_paths_longer_than_the_kernel_takes(service, folder):
    """Stock restic cannot restore them; we can, through the service."""
    deep = Trees.deep(folder / "deep", 6000)
    vault_id = service.vault("deep")
    job = service.backup(vault_id, [deep], name="deep")
    assert job["FilesTotal"] == 1, job
    STABLE.check(*service.export(vault_id))
    service.restore(vault_id, service.snapshot_of(vault_id, job["JobId"]), folder / "restored")
    Trees.assert_same(deep, folder / "restored" / deep.relative_to("/"), "--skip-root")


def test_a_write_to_mapped_memory_is_seen(folder):
    """The first write to a mapped page gives the file a new time, the next ones do not until the page is on the disk."""
    source, repository = folder / "source", folder / "repository"
    source.mkdir()
    (source / "file").write_bytes(bytes(8192))
    engine("init", repository=repository)
    with open(source / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = 1
        time.sleep(3)  # longer than the coarsest clock of a file system
        engine("backup", source, repository=repository)
        memory[0] = 2
        engine("backup", source, repository=repository)
    engine("restore", "latest", "--target", folder / "restored", repository=repository)
    assert (folder / "restored" / (source / "file").relative_to("/")).read_bytes()[:2] == b"\x02\x00"

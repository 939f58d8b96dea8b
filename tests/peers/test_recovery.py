"""The way back when everything else is gone: a vault and the recovery file."""

import shutil

import pytest
from harness.programs import RESTICS, STABLE, Trees, run
from harness.service import Service
from harness.waiting import wait_for


def test_adopting_a_vault_with_the_recovery_file_alone(fresh, folder):
    source = Trees.every_kind(folder / "source")
    fresh.start()
    storage = folder / "elsewhere/vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    fresh.backup(vault_id, [source])
    [recovery] = fresh.data_dir.glob("recovery-*.txt")
    assert recovery.stat().st_mode & 0o077 == 0
    kept = folder / "kept.txt"
    shutil.copy(recovery, kept)
    fresh.stop()
    shutil.rmtree(fresh.folder)

    after = Service(folder / "new-machine")
    try:
        after.cli("vault", "adopt", "--recovery-file", kept, "--storage", storage)
        after.start()
        vaults = after.call("DescribeVaults")["Vaults"]["Vault"]
        [adopted] = [
            vault for vault in vaults if vault["VaultId"] == vault_id or vault["VaultName"].startswith("adopted")
        ]
        assert adopted["Status"] == "CREATED", vaults
        after.cli("snapshots", "--json")
        after.cli("restore", "latest", "--target", folder / "restored")
        Trees.assert_same(source, folder / "restored" / source.relative_to("/"), "--holes", "--skip-root")
        # The vault lives on under its new owner.
        job = after.backup(adopted["VaultId"], [source], name="after")
        assert job["Status"] == "COMPLETE"
        STABLE.check(*after.export(adopted["VaultId"]))
    finally:
        after.close()


def test_a_recovery_file_of_another_account_is_refused(fresh, folder):
    fresh.start()
    storage = folder / "vault"
    fresh.vault(StorageUrl=str(storage))
    fresh.stop()
    other = Service(folder / "other")
    try:
        other.start()
        [recovery] = other.data_dir.glob("recovery-*.txt")
        other.stop()
        done = other.cli("vault", "adopt", "--recovery-file", recovery, "--storage", storage, status=(1, 12))
        assert "panicked" not in done.stderr and done.stderr.strip(), done
    finally:
        other.close()


@pytest.mark.parametrize("restic", RESTICS, ids=repr)
def test_a_repository_of_restic_becomes_a_vault(fresh, folder, restic):
    """With its password alone: its snapshots are listed and restored, new ones join them, and the old password stays good."""
    source = Trees.every_kind(folder / "source")
    repository, password = folder / "repository", "chosen by a person"
    restic.run(repository, password, "init", "--repository-version", "2")
    restic.run(repository, password, "backup", source)
    (folder / "password").write_text(password + "\n")
    (folder / "wrong").write_text("not this\n")
    done = fresh.cli("vault", "adopt", "--password-file", folder / "wrong", "--storage", repository, status=(1, 12))
    assert "password" in done.stderr, done
    for new in (1, 0):
        done = fresh.cli("vault", "adopt", "--password-file", folder / "password", "--storage", repository)
        assert f"1 snapshot, {new} of them new" in done.stdout, done
    fresh.start()
    [vault] = [row for row in fresh.call("DescribeVaults")["Vaults"]["Vault"] if row["VaultName"].startswith("adopted")]
    assert vault["Status"] == "CREATED", vault
    agents = lambda: fresh.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]  # noqa: E731
    wait_for("the agent of this host", agents, 60)
    fresh.cli("restore", "latest", "--target", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"), "--skip-root", known=restic.loses)
    before = len(restic.json(repository, password, "snapshots"))
    assert fresh.backup(vault["VaultId"], [source], name="after")["Status"] == "COMPLETE"
    assert len(restic.json(repository, password, "snapshots")) == before + 1
    restic.check(repository, password)
    restic.check(*fresh.export(vault["VaultId"]))


def test_the_way_out_needs_nothing_of_ours(fresh, folder):
    """`vault export` prints what a shell can use, and works without a running service."""
    source = Trees.small(folder / "source")
    fresh.start()
    vault_id = fresh.vault("way out")
    fresh.backup(vault_id, [source])
    fresh.stop()
    lines = fresh.cli("vault", "export", "way out").stdout
    (folder / "env.sh").write_text(lines)
    script = 'set -a; . "$1"; set +a; exec "$2" --no-cache restore latest --target "$3"'
    run(["sh", "-c", script, "sh", folder / "env.sh", STABLE.program, folder / "restored"])
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"))


def test_losing_the_data_directory_never_makes_a_vault_unreadable(fresh, folder):
    """Without the recovery file too, if the vault's password was exported before."""
    source = Trees.small(folder / "source")
    fresh.start()
    storage = folder / "vault"
    vault_id = fresh.vault(StorageUrl=str(storage))
    fresh.backup(vault_id, [source])
    _, password = fresh.export(vault_id)
    fresh.kill()
    shutil.rmtree(fresh.data_dir)
    STABLE.run(storage, password, "restore", "latest", "--target", folder / "restored")
    Trees.assert_same(source, folder / "restored" / source.relative_to("/"))

//! Vaults as tasks: making one, deleting one, deleting a snapshot of one. Each may be repeated after a crash.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::agent_protocol::{DeleteSnapshotSpec, VaultSpec};
use runner::StopToken;
use storage::{ErrorKind, Storage, StorageError};
use vault::{
    FileKind, Id, KdfCost, KeyOptions, LockGuard, LockKind, Repository, Secret, UnlockScope,
    VaultError, key_labels,
};

/// Name of the second key of each vault, which opens it when the data directory is lost; its host is the vault id.
const RECOVERY_KEY_NAME: &str = "strongroom-recovery";
/// Name of the first key.
const OWN_KEY_NAME: &str = "strongroom";
/// How long the deletion of a vault waits for its users.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const LOCK_INTERVAL: Duration = Duration::from_millis(500);

/// Why a task on a vault failed, for a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The storage of the vault cannot be used from this host.
    #[error(
        "the storage of vault {vault_id} at {location} cannot be reached from this host ({hostname}); mount it at the \
         same path here, or run this on a host that has it"
    )]
    Unreachable {
        vault_id: String,
        location: String,
        hostname: String,
        #[source]
        source: Box<VaultError>,
    },
    /// The storage holds a repository of somebody else.
    #[error(
        "there is another repository at {location}, with another password; choose an empty folder"
    )]
    Foreign { location: String },
    /// The storage holds other things.
    #[error("{location} holds other files ({example}); choose an empty folder")]
    NotEmpty { location: String, example: String },
    /// The engine failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<StorageError> for TaskError {
    fn from(error: StorageError) -> Self {
        Self::Vault(error.into())
    }
}

/// The password as the engine takes it.
fn secret(text: &api::secret::SecretText) -> Secret {
    Secret::new(text.expose().as_bytes().to_vec())
}

/// Opens the repository of a vault; one that cannot be reached is told apart.
pub(crate) fn open(spec: &VaultSpec, hostname: &str) -> Result<Repository, TaskError> {
    open_through(spec, hostname, |storage| storage)
}

/// As [`open`], with `wrapped` around the storage.
pub(crate) fn open_through(
    spec: &VaultSpec,
    hostname: &str,
    wrapped: impl FnOnce(Arc<dyn Storage>) -> Arc<dyn Storage>,
) -> Result<Repository, TaskError> {
    let storage = wrapped(storage::open(&spec.storage_url)?);
    let location = storage.location();
    Repository::open(storage, &secret(&spec.password)).map_err(|error| match error {
        VaultError::NotARepository { .. } => unreachable(spec, location, hostname, error),
        error if is_away(&error) => unreachable(spec, location, hostname, error),
        error => error.into(),
    })
}

/// True if a folder of this host looks like a repository: another host's vault may have the path of a folder here.
pub(crate) fn is_repository(folder: &Path) -> bool {
    folder.join("config").is_file() && folder.join("keys").is_dir()
}

fn is_away(error: &VaultError) -> bool {
    matches!(
        error.storage_kind(),
        Some(ErrorKind::NotFound | ErrorKind::Denied)
    )
}

fn unreachable(
    spec: &VaultSpec,
    location: String,
    hostname: &str,
    source: VaultError,
) -> TaskError {
    TaskError::Unreachable {
        vault_id: spec.vault_id.clone(),
        location,
        hostname: hostname.to_owned(),
        source: Box::new(source),
    }
}

/// Makes the repository with both keys. One that is there with this password is finished and fine.
pub(crate) fn create(spec: &VaultSpec, hostname: &str) -> Result<(), TaskError> {
    let storage = storage::open(&spec.storage_url)?;
    let location = storage.location();
    let password = secret(&spec.password);
    let options = |username: &str, hostname: &str| KeyOptions {
        // Both passwords are random and long: stretching them would only cost time.
        cost: KdfCost::Cheapest,
        username: username.to_owned(),
        hostname: hostname.to_owned(),
    };
    let repository = match Repository::open(Arc::clone(&storage), &password) {
        Ok(repository) => repository,
        Err(VaultError::WrongPassword) => return Err(TaskError::Foreign { location }),
        Err(error) if matches!(error, VaultError::NotARepository { .. }) || is_absent(&error) => {
            clear_own_leftovers(&*storage)?;
            Repository::create(
                Arc::clone(&storage),
                &password,
                &options(OWN_KEY_NAME, hostname),
            )
            .map_err(|error| {
                if is_away(&error) {
                    unreachable(spec, location, hostname, error)
                } else {
                    error.into()
                }
            })?
        }
        Err(error) => return Err(error.into()),
    };
    let Some(recovery_password) = &spec.recovery_password else {
        return Ok(());
    };
    let has_recovery_key = key_labels(&*storage)?
        .iter()
        .any(|(_, label)| label.username == RECOVERY_KEY_NAME);
    if !has_recovery_key {
        repository.add_key(
            &secret(recovery_password),
            &options(RECOVERY_KEY_NAME, &spec.vault_id),
        )?;
    }
    Ok(())
}

fn is_absent(error: &VaultError) -> bool {
    error.storage_kind() == Some(ErrorKind::NotFound)
}

/// A new vault never goes where other things are. Keys without a config and without data are of a creation that was
/// interrupted: they hold another master key under the same password, so they must go before the next try.
fn clear_own_leftovers(storage: &dyn Storage) -> Result<(), TaskError> {
    let listed = match storage.list("") {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    let ours = |name: &str| name.starts_with("keys/") || name.starts_with("tmp/");
    match listed.iter().find(|entry| !ours(&entry.name)) {
        Some(entry) => Err(TaskError::NotEmpty {
            location: storage.location(),
            example: entry.name.clone(),
        }),
        None if listed.iter().any(|entry| entry.name.starts_with("keys/")) => {
            delete_all(storage, FileKind::Key)
        }
        None => Ok(()),
    }
}

/// Deletes all data of a vault. What opens it goes last, so that an interrupted deletion can be repeated.
pub(crate) fn delete(spec: &VaultSpec, stop: &StopToken) -> Result<(), TaskError> {
    let storage = storage::open(&spec.storage_url)?;
    match Repository::open(Arc::clone(&storage), &secret(&spec.password)) {
        Ok(repository) => {
            let lock = lock_alone(&repository, stop)?;
            for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
                delete_all(&*storage, kind)?;
            }
            drop(lock);
        }
        // Nothing there (any more): gone is what was asked for.
        Err(VaultError::NotARepository { .. }) => {}
        Err(error) if is_absent(&error) => return Ok(()),
        Err(VaultError::WrongPassword) => {
            return Err(TaskError::Foreign {
                location: storage.location(),
            });
        }
        Err(error) => return Err(error.into()),
    }
    for kind in [FileKind::Lock, FileKind::Config, FileKind::Key] {
        delete_all(&*storage, kind)?;
    }
    remove_empty_folders(&*storage);
    Ok(())
}

/// Whoever works on the vault must end first; a job that was cancelled a moment ago gets the time to do so.
fn lock_alone(repository: &Repository, stop: &StopToken) -> Result<LockGuard, TaskError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        repository.unlock(UnlockScope::Dead)?;
        match repository.lock(LockKind::Exclusive) {
            Err(VaultError::Locked { .. })
                if Instant::now() < deadline && stop.requested().is_none() =>
            {
                stop.sleep(LOCK_INTERVAL);
            }
            locked => return Ok(locked?),
        }
    }
}

fn delete_all(storage: &dyn Storage, kind: FileKind) -> Result<(), TaskError> {
    let names = match kind {
        FileKind::Config => vec![kind.folder().to_owned()],
        _ => storage
            .list(kind.folder())?
            .into_iter()
            .map(|entry| entry.name)
            .collect(),
    };
    for name in names {
        match storage.delete(&name) {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// On a local folder the empty folders go too; whatever else somebody put there stays.
fn remove_empty_folders(storage: &dyn Storage) {
    let Some(root) = storage.local_root() else {
        return;
    };
    if let Ok(shards) = std::fs::read_dir(root.join("data")) {
        for shard in shards.flatten() {
            let _ = std::fs::remove_dir(shard.path());
        }
    }
    for folder in ["data", "keys", "locks", "snapshots", "index", "tmp"] {
        let _ = std::fs::remove_dir(root.join(folder));
    }
    let _ = std::fs::remove_dir(root);
}

/// Deletes a snapshot; its blobs stay until the vault is pruned. One that is gone is fine.
pub(crate) fn delete_snapshot(spec: &DeleteSnapshotSpec, hostname: &str) -> Result<(), TaskError> {
    let repository = open(&spec.vault, hostname)?;
    let id: Id = spec
        .snapshot_hash
        .parse()
        .map_err(|_| VaultError::SnapshotNotFound {
            pattern: spec.snapshot_hash.clone(),
        })?;
    // A shared lock is enough: no blob goes, so backups beside it that took the snapshot as their parent are safe.
    let lock = repository.lock(LockKind::Shared)?;
    let deleted = repository.delete_snapshot(&id);
    drop(lock);
    match deleted {
        Err(VaultError::SnapshotNotFound { .. }) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{TaskError, create, delete, open};
    use api::agent_protocol::VaultSpec;
    use runner::StopToken;
    use std::path::Path;
    use vault::{Repository, Secret, key_labels};

    fn spec(path: &Path, password: &str) -> VaultSpec {
        VaultSpec {
            vault_id: "v-000000000000000000ab".into(),
            storage_url: path.to_string_lossy().into_owned(),
            password: password.into(),
            recovery_password: Some("recovery".into()),
        }
    }

    #[test]
    fn creation_may_be_repeated_and_makes_two_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let spec = spec(&path, "first");
        create(&spec, "host").unwrap();
        create(&spec, "host").unwrap();
        let storage = storage::open(&spec.storage_url).unwrap();
        let mut labels: Vec<_> = key_labels(&*storage)
            .unwrap()
            .into_iter()
            .map(|(_, label)| (label.username, label.hostname))
            .collect();
        labels.sort();
        let expected = [
            ("strongroom", "host"),
            ("strongroom-recovery", "v-000000000000000000ab"),
        ];
        assert_eq!(
            labels,
            expected.map(|(user, host)| (user.to_owned(), host.to_owned()))
        );
        Repository::open(storage, &Secret::from("recovery")).unwrap();
    }

    #[test]
    fn creation_never_touches_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        create(&spec(&path, "first"), "host").unwrap();
        assert!(matches!(
            create(&spec(&path, "second"), "host"),
            Err(TaskError::Foreign { .. })
        ));
        let other = folder.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("letter.txt"), "dear").unwrap();
        assert!(matches!(
            create(&spec(&other, "first"), "host"),
            Err(TaskError::NotEmpty { .. })
        ));
    }

    #[test]
    fn an_interrupted_creation_is_started_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        create(&spec(&path, "first"), "host").unwrap();
        std::fs::remove_file(path.join("config")).unwrap();
        create(&spec(&path, "first"), "host").unwrap();
        open(&spec(&path, "first"), "host").unwrap();
        assert_eq!(std::fs::read_dir(path.join("keys")).unwrap().count(), 2);
    }

    #[test]
    fn deletion_may_be_repeated_and_needs_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        create(&spec(&path, "first"), "host").unwrap();
        assert!(matches!(
            delete(&spec(&path, "second"), &StopToken::new()),
            Err(TaskError::Foreign { .. })
        ));
        std::fs::write(path.join("letter.txt"), "dear").unwrap();
        delete(&spec(&path, "first"), &StopToken::new()).unwrap();
        delete(&spec(&path, "first"), &StopToken::new()).unwrap();
        let left: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["letter.txt"]);
    }

    #[test]
    fn a_storage_that_is_away_says_so() {
        let error = open(&spec(Path::new("/nonexistent/vault"), "p"), "thishost").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("cannot be reached from this host (thishost)")
                && text.contains("/nonexistent/vault"),
            "{text}"
        );
    }
}

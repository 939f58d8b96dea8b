//! An open repository: its storage, its master key, and the files that are not packs.

mod index;

use std::collections::HashSet;
use std::sync::Arc;

use storage::{ErrorKind, Storage};

use crate::chunker::{Chunker, ChunkerKind, Chunkers};
use crate::config::Config;
use crate::crypto::{Cipher, KeyBytes};
use crate::error::VaultError;
use crate::id::Id;
use crate::key::{self, KeyLabel, KeyOptions};
use crate::layout::FileKind;
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::unpacked;

pub use index::{IndexForBackup, ListedPack};

/// What asks for the newest snapshot.
pub const LATEST: &str = "latest";

/// An open repository. Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    cipher: Cipher,
    config: Config,
    chunkers: Chunkers,
    /// The key that was opened or made.
    key: Id,
}

/// What the key files say about themselves; no password is needed. Unreadable ones are left out.
pub fn key_labels(storage: &dyn Storage) -> Result<Vec<(Id, KeyLabel)>, VaultError> {
    key::labels(storage)
}

impl Repository {
    /// Makes a new repository in an empty storage, with the chunkers of our own vaults.
    pub fn create(
        storage: Arc<dyn Storage>,
        password: &Secret,
        options: &KeyOptions,
    ) -> Result<Self, VaultError> {
        Self::create_with(storage, password, options, ChunkerKind::default())
    }

    /// Makes a new repository in an empty storage.
    ///
    /// The config is written last: before it is there, nothing is a repository. A storage with keys, snapshots or index files
    /// and without a config is one that lost it, or whose making was cut short: that is refused.
    pub fn create_with(
        storage: Arc<dyn Storage>,
        password: &Secret,
        options: &KeyOptions,
        chunker: ChunkerKind,
    ) -> Result<Self, VaultError> {
        if Self::exists(&*storage)? {
            return Err(VaultError::RepositoryExists {
                location: storage.location(),
            });
        }
        for kind in [FileKind::Key, FileKind::Snapshot, FileKind::Index] {
            if let Some(found) = listed_or_none(&*storage, kind)?.first() {
                return Err(VaultError::Refused {
                    reason: format!(
                        "{} has {} and no config: bring the config file of that repository back, or take another folder",
                        storage.location(),
                        found.name
                    ),
                });
            }
        }
        let mut folders: Vec<String> = (0..=255).map(|byte| format!("data/{byte:02x}")).collect();
        for kind in [
            FileKind::Key,
            FileKind::Snapshot,
            FileKind::Index,
            FileKind::Lock,
        ] {
            folders.push(kind.folder().to_owned());
        }
        storage.create_folders(&folders)?;
        let cipher = Cipher::new(KeyBytes::generate());
        let key = key::save(&*storage, cipher.key_bytes(), password, options)?;
        let config = Config::generate(chunker);
        config.save(&*storage, &cipher)?;
        Ok(Self::assemble(storage, cipher, config, key))
    }

    /// Opens a repository with one of its passwords.
    pub fn open(storage: Arc<dyn Storage>, password: &Secret) -> Result<Self, VaultError> {
        if !Self::exists(&*storage)? {
            return Err(VaultError::NotARepository {
                location: storage.location(),
            });
        }
        let (key, master) = key::unlock(&*storage, password)?;
        let cipher = Cipher::new(master);
        let config = Config::load(&*storage, &cipher)?;
        Ok(Self::assemble(storage, cipher, config, key))
    }

    fn exists(storage: &dyn Storage) -> Result<bool, VaultError> {
        match storage.size(FileKind::Config.folder()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn assemble(storage: Arc<dyn Storage>, cipher: Cipher, config: Config, key: Id) -> Self {
        let chunkers = Chunkers::new(config.chunker, &cipher, config.chunker_polynomial);
        Self {
            inner: Arc::new(Inner {
                storage,
                cipher,
                config,
                chunkers,
                key,
            }),
        }
    }

    /// What the repository is.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Where its files are.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// The same repository through another storage, a wrapper around its own for example.
    #[must_use]
    pub fn with_storage(&self, storage: Arc<dyn Storage>) -> Self {
        let master = self.inner.cipher.key_bytes().clone();
        let config = self.inner.config.clone();
        Self::assemble(storage, Cipher::new(master), config, self.inner.key)
    }

    /// Cuts files into chunks, but for those that [`Repository::chunker_of`] has another one for. A file that is shorter
    /// than its shortest chunk is one chunk.
    #[must_use]
    pub fn chunker(&self) -> &Chunker {
        self.inner.chunkers.files()
    }

    /// The chunker for a file of this size that begins with `head`; 512 bytes of it are enough to tell.
    #[must_use]
    pub fn chunker_of(&self, size_bytes: u64, head: &[u8]) -> &Chunker {
        self.inner.chunkers.of_file(size_bytes, head)
    }

    pub(crate) fn cipher(&self) -> &Cipher {
        &self.inner.cipher
    }

    /// Whether this repository cuts files into the same chunks as another one, so that they share blobs.
    #[must_use]
    pub fn cuts_like(&self, other: &Self) -> bool {
        // Ours are keyed by the master key, those of restic by the polynomial.
        self.cipher()
            .key_bytes()
            .is_same(other.cipher().key_bytes())
            && self.config().chunker_polynomial == other.config().chunker_polynomial
            && self.config().chunker == other.config().chunker
    }

    /// The key that opened this repository.
    #[must_use]
    pub fn current_key(&self) -> Id {
        self.inner.key
    }

    /// Adds a password. The new key is read back and opened before this returns.
    pub fn add_key(&self, password: &Secret, options: &KeyOptions) -> Result<Id, VaultError> {
        let storage = &**self.storage();
        let master = self.cipher().key_bytes();
        let id = key::save(storage, master, password, options)?;
        if key::opens(storage, &id, password, master)? {
            Ok(id)
        } else {
            Err(VaultError::damaged(
                FileKind::Key,
                id,
                "it does not open with the password it was made with",
            ))
        }
    }

    /// Takes a password away. The key that opened this repository stays, so there is always one that is known.
    ///
    /// Whoever copied the key file before can still open it with its password: removing it protects nothing that they
    /// have seen.
    pub fn remove_key(&self, id: &Id) -> Result<(), VaultError> {
        if *id == self.inner.key {
            return Err(VaultError::Refused {
                reason: format!("key {id} is the one that opened the repository"),
            });
        }
        Ok(self.storage().delete(&FileKind::Key.name(id))?)
    }

    /// Replaces the key that opened this repository by one with another password. When this is killed in between, both
    /// open it. The repository given back has the new one as its own.
    pub fn rotate_key(&self, password: &Secret, options: &KeyOptions) -> Result<Self, VaultError> {
        let id = self.add_key(password, options)?;
        let master = self.inner.cipher.key_bytes().clone();
        let config = self.inner.config.clone();
        let rotated = Self::assemble(Arc::clone(self.storage()), Cipher::new(master), config, id);
        match rotated.remove_key(&self.inner.key) {
            Err(error) if error.storage_kind() != Some(ErrorKind::NotFound) => Err(error),
            _ => Ok(rotated),
        }
    }

    /// The keys whose name begins like this; one, or an error.
    pub fn find_key(&self, pattern: &str) -> Result<Id, VaultError> {
        let wanted = pattern.to_ascii_lowercase();
        let mut found = self.list(FileKind::Key)?;
        found.retain(|id| !wanted.is_empty() && id.to_hex().starts_with(&wanted));
        match found.as_slice() {
            [id] => Ok(*id),
            [] => Err(VaultError::Refused {
                reason: format!("no key begins with {pattern:?}"),
            }),
            _ => Err(VaultError::Refused {
                reason: format!("more than one key begins with {pattern:?}"),
            }),
        }
    }

    /// The ids of the files of one kind.
    pub(crate) fn list(&self, kind: FileKind) -> Result<Vec<Id>, VaultError> {
        let listed = self.storage().list(kind.folder())?;
        Ok(listed
            .iter()
            .filter_map(|entry| kind.id_of(&entry.name))
            .collect())
    }

    pub(crate) fn load_json(&self, kind: FileKind, id: &Id) -> Result<Vec<u8>, VaultError> {
        unpacked::load(&**self.storage(), self.cipher(), kind, id)
    }

    /// Stores `json` and reads it back; fails when the storage kept something else than it was given.
    pub(crate) fn save_json(&self, kind: FileKind, json: &[u8]) -> Result<Id, VaultError> {
        unpacked::save(&**self.storage(), self.cipher(), kind, json)
    }

    /// One snapshot.
    pub fn snapshot(&self, id: &Id) -> Result<Snapshot, VaultError> {
        Snapshot::decode(id, &self.snapshot_json(id)?)
    }

    /// The text of a snapshot: JSON as restic writes it, with all that other programs put there.
    pub fn snapshot_text(&self, id: &Id) -> Result<String, VaultError> {
        String::from_utf8(self.snapshot_json(id)?)
            .map_err(|error| VaultError::damaged(FileKind::Snapshot, id, error))
    }

    /// The ids of all snapshots that the storage lists.
    pub fn snapshot_ids(&self) -> Result<Vec<Id>, VaultError> {
        self.list(FileKind::Snapshot)
    }

    fn snapshot_json(&self, id: &Id) -> Result<Vec<u8>, VaultError> {
        match self.load_json(FileKind::Snapshot, id) {
            Err(error) if error.storage_kind() == Some(ErrorKind::NotFound) => {
                Err(VaultError::SnapshotNotFound {
                    pattern: id.to_hex(),
                })
            }
            other => other,
        }
    }

    /// All snapshots, oldest first. One that cannot be read is an error of the whole.
    pub fn snapshots(&self) -> Result<Vec<(Id, Snapshot)>, VaultError> {
        let (snapshots, mut damaged) = self.snapshots_and_damage()?;
        match damaged.pop() {
            Some((_, error)) => Err(error),
            None => Ok(snapshots),
        }
    }

    /// All snapshots that can be read, oldest first, and those that cannot.
    #[expect(
        clippy::type_complexity,
        reason = "two lists of pairs, named by the text above"
    )]
    pub fn snapshots_and_damage(
        &self,
    ) -> Result<(Vec<(Id, Snapshot)>, Vec<(Id, VaultError)>), VaultError> {
        let (mut snapshots, mut damaged) = (Vec::new(), Vec::new());
        for id in self.list(FileKind::Snapshot)? {
            match self.snapshot(&id) {
                Ok(snapshot) => snapshots.push((id, snapshot)),
                // Removed by another program since it was listed.
                Err(VaultError::SnapshotNotFound { .. }) => {}
                Err(error) => damaged.push((id, error)),
            }
        }
        snapshots.sort_by(|(id_a, a), (id_b, b)| (a.time, id_a).cmp(&(b.time, id_b)));
        Ok((snapshots, damaged))
    }

    /// The snapshot that `pattern` names: `latest`, a whole id, or the beginning of one. While one of them cannot be read it is
    /// not known which is the latest: an older one must not be taken for it.
    pub fn find_snapshot(&self, pattern: &str) -> Result<(Id, Snapshot), VaultError> {
        let not_found = || VaultError::SnapshotNotFound {
            pattern: pattern.to_owned(),
        };
        if pattern == LATEST {
            return self.latest_snapshot(|_| true)?.ok_or_else(not_found);
        }
        if pattern.is_empty() {
            return Err(not_found());
        }
        let wanted = pattern.to_ascii_lowercase();
        let mut found = self.list(FileKind::Snapshot)?;
        found.retain(|id| id.to_hex().starts_with(&wanted));
        match found.as_slice() {
            [] => Err(not_found()),
            [id] => Ok((*id, self.snapshot(id)?)),
            _ => Err(VaultError::SnapshotAmbiguous {
                pattern: pattern.to_owned(),
            }),
        }
    }

    /// The newest of the snapshots that `is_meant` lets pass. While one cannot be read it is not known which that is.
    pub fn latest_snapshot(
        &self,
        is_meant: impl Fn(&Snapshot) -> bool,
    ) -> Result<Option<(Id, Snapshot)>, VaultError> {
        let (snapshots, mut damaged) = self.snapshots_and_damage()?;
        match damaged.pop() {
            None => Ok(snapshots
                .into_iter()
                .rfind(|(_, snapshot)| is_meant(snapshot))),
            Some((_, error)) if error.storage_kind().is_some() => Err(error),
            Some((id, error)) => Err(VaultError::Refused {
                reason: format!(
                    "which snapshot is the latest is not known, since {} cannot be read ({error}): name one by its id",
                    id.short()
                ),
            }),
        }
    }

    /// Removes a snapshot. Its blobs stay until a prune.
    pub fn delete_snapshot(&self, id: &Id) -> Result<(), VaultError> {
        match self.storage().delete(&FileKind::Snapshot.name(id)) {
            Err(error) if error.kind == ErrorKind::NotFound => Err(VaultError::SnapshotNotFound {
                pattern: id.to_hex(),
            }),
            other => Ok(other?),
        }
    }

    /// Which of `expected` are no snapshots of the repository any more. A listing may be short, and a lost mount looks like
    /// an empty folder: each that the listing lacks is asked for by its name, and the config must still be there.
    pub fn absent_snapshots(&self, expected: &[Id]) -> Result<Vec<Id>, VaultError> {
        let listed: HashSet<Id> = self.list(FileKind::Snapshot)?.into_iter().collect();
        let mut absent = Vec::new();
        for id in expected.iter().filter(|id| !listed.contains(id)) {
            match self.storage().size(&FileKind::Snapshot.name(id)) {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::NotFound => absent.push(*id),
                Err(error) => return Err(error.into()),
            }
        }
        if !absent.is_empty() {
            self.require_there()?;
        }
        Ok(absent)
    }

    /// Fails when the storage does not hold the repository any more: a mount that was lost looks like an empty folder.
    pub fn require_there(&self) -> Result<(), VaultError> {
        self.storage().size(FileKind::Config.folder())?;
        Ok(())
    }

    /// Makes the index files and snapshots durable that are there now. Called before a run relies on them: a process that
    /// was killed may have left them without.
    pub fn sync_what_is_there(&self) -> Result<(), VaultError> {
        let folders = [FileKind::Index, FileKind::Snapshot].map(|kind| kind.folder().to_owned());
        Ok(self.storage().sync_folders(&folders)?)
    }
}

fn listed_or_none(
    storage: &dyn Storage,
    kind: FileKind,
) -> Result<Vec<storage::Listed>, VaultError> {
    match storage.list(kind.folder()) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        listed => Ok(listed?),
    }
}

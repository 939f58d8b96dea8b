//! Vaults that were opened for browsing, kept open for a while.
//!
//! Opening costs a password derivation and the reading of all index files, browsing a folder one blob. At most
//! [`MAX_OPEN`] are kept, the one that was used longest ago goes first. Nothing is written to a vault and no lock is
//! taken: what a snapshot names stays as long as the snapshot.

use std::sync::Arc;

use model::VaultId;
use parking_lot::Mutex;
use vault::{Id, Reader, Repository, Secret, Tree, VaultError};

/// An index holds some 50 bytes per blob: a few tens of megabytes for a vault of a terabyte.
const MAX_OPEN: usize = 4;

/// The open ones, last used last.
#[derive(Default)]
pub(crate) struct Repositories {
    // A mutex over a short list: held to look up and to move an entry, never while a vault is read.
    open: Mutex<Vec<(VaultId, Arc<OpenVault>)>>,
}

impl std::fmt::Debug for Repositories {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Repositories({} open)", self.open.lock().len())
    }
}

/// One vault.
pub(crate) struct OpenVault {
    repository: Repository,
    // Replaced when an index has grown; readers keep the one that they took.
    reader: Mutex<Arc<Reader>>,
}

impl Repositories {
    /// The vault if it is open, else opens it.
    pub(crate) fn open(
        &self,
        vault_id: &VaultId,
        storage_url: &str,
        password: &str,
    ) -> Result<Arc<OpenVault>, VaultError> {
        if let Some(found) = self.take_out(vault_id) {
            self.keep(vault_id, &found);
            return Ok(found);
        }
        let storage = storage::open(storage_url)?;
        let repository = Repository::open(storage, &Secret::new(password.as_bytes()))?;
        let reader = Arc::new(Reader::new(
            repository.clone(),
            Arc::new(repository.load_tree_index()?),
        ));
        let opened = Arc::new(OpenVault {
            repository,
            reader: Mutex::new(reader),
        });
        self.keep(vault_id, &opened);
        Ok(opened)
    }

    /// Closes a vault that was deleted.
    pub(crate) fn forget(&self, vault_id: &VaultId) {
        drop(self.take_out(vault_id));
    }

    fn take_out(&self, vault_id: &VaultId) -> Option<Arc<OpenVault>> {
        let mut open = self.open.lock();
        let position = open.iter().position(|(id, _)| id == vault_id)?;
        Some(open.remove(position).1)
    }

    fn keep(&self, vault_id: &VaultId, vault: &Arc<OpenVault>) {
        let mut open = self.open.lock();
        open.retain(|(id, _)| id != vault_id);
        if open.len() >= MAX_OPEN {
            open.remove(0);
        }
        open.push((vault_id.clone(), vault.clone()));
    }
}

impl OpenVault {
    /// The root tree of a snapshot.
    pub(crate) fn root(&self, snapshot_hash: &str) -> Result<Id, VaultError> {
        Ok(self.repository.find_snapshot(snapshot_hash)?.1.tree)
    }

    /// A tree; one that the index does not have is looked for once more after the index was read again.
    pub(crate) fn tree(&self, id: &Id) -> Result<Tree, VaultError> {
        let reader = self.reader.lock().clone();
        match reader.read_tree(id) {
            Err(VaultError::BlobMissing { .. }) => {}
            other => return other,
        }
        let fresh = Arc::new(Reader::new(
            self.repository.clone(),
            Arc::new(self.repository.load_tree_index()?),
        ));
        *self.reader.lock() = fresh.clone();
        fresh.read_tree(id)
    }
}

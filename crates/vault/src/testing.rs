//! What the unit tests of this crate share: a repository in memory that opens at once, and blobs to put in it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use storage::Storage;

use crate::error::VaultError;
use crate::id::Id;
use crate::key::{KdfCost, KeyOptions};
use crate::repository::Repository;
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::time::Time;

pub(crate) const PASSWORD: &str = "a password of the tests";

/// A new repository on `storage`.
pub(crate) fn create(storage: Arc<dyn Storage>) -> Repository {
    let options = KeyOptions {
        cost: KdfCost::Cheapest,
        username: String::new(),
        hostname: String::new(),
    };
    Repository::create(storage, &Secret::from(PASSWORD), &options).unwrap()
}

/// The repository on `storage`.
pub(crate) fn open(storage: Arc<dyn Storage>) -> Result<Repository, VaultError> {
    Repository::open(storage, &Secret::from(PASSWORD))
}

/// A blob that zstd cannot make smaller, the same for the same number.
pub(crate) fn blob(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + Id::LENGTH_BYTES);
    let mut part = 0_u64;
    while bytes.len() < length {
        let seed = [number.to_le_bytes(), part.to_le_bytes()].concat();
        bytes.extend_from_slice(Id::hash(&seed).as_bytes());
        part += 1;
    }
    bytes.truncate(length);
    bytes
}

/// A snapshot of `tree` and nothing else.
pub(crate) fn snapshot_of(tree: Id) -> Snapshot {
    Snapshot {
        time: Time::now(),
        tree,
        ..Snapshot::default()
    }
}

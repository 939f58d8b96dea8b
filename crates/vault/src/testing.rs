//! What the unit tests of this crate share: a repository in memory that opens at once, and blobs to put in it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use storage::{Listed, Memory, Operation, Storage, StorageError};

use crate::blob::BlobScratch;
use crate::error::VaultError;
use crate::id::Id;
use crate::key::{KdfCost, KeyOptions};
use crate::node::{Node, NodeKind};
use crate::repository::Repository;
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

pub(crate) const PASSWORD: &str = "a password of the tests";

type Before = dyn Fn(Operation, &str) + Send + Sync;
type OfListing = dyn Fn(&str, &mut Vec<Listed>) + Send + Sync;

/// A storage in memory whose calls a test may watch, and whose listings it may change.
pub(crate) struct Watched {
    inner: Memory,
    /// Called before each call that takes a name.
    pub(crate) before: Box<Before>,
    /// Called with the folder of each listing, and what is in it.
    pub(crate) listed: Box<OfListing>,
}

impl Watched {
    pub(crate) fn new(inner: Memory) -> Self {
        Self {
            inner,
            before: Box::new(|_, _| {}),
            listed: Box::new(|_, _| {}),
        }
    }

    fn on(&self, operation: Operation, name: &str) -> &Memory {
        (self.before)(operation, name);
        &self.inner
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Watched")
    }
}

impl Storage for Watched {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.on(Operation::Put, name).put(name, bytes)
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let inner = self.on(Operation::Get, name);
        inner.get_at_most(name, limit_bytes)
    }

    fn get_range(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        let inner = self.on(Operation::GetRange, name);
        inner.get_range(name, offset, length)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.on(Operation::Size, name).size(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        let mut listed = self.on(Operation::List, folder).list(folder)?;
        (self.listed)(folder, &mut listed);
        Ok(listed)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.on(Operation::Delete, name).delete(name)
    }
}

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

/// A tree of so many levels of folders, each of which holds the next one twice, as `a` and `b`: there are two to the power
/// of that many paths to the one file `lost` at the bottom, whose content is not there.
pub(crate) fn doubled(repository: &Repository, level_count: usize) -> Id {
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    let mut save = |nodes: Vec<Node>| {
        let saved = writer.save_tree(&Tree::from_nodes(nodes), &mut scratch);
        saved.unwrap().id
    };
    let mut tree = save(vec![Node {
        name: b"lost".to_vec(),
        kind: NodeKind::File,
        size: 1,
        content: vec![Id::hash(b"no such blob")],
        ..Node::default()
    }]);
    for _ in 0..level_count {
        let folder = |name: &str| Node {
            name: name.as_bytes().to_vec(),
            kind: NodeKind::Dir,
            subtree: Some(tree),
            ..Node::default()
        };
        tree = save(vec![folder("a"), folder("b")]);
    }
    writer.flush().unwrap();
    tree
}

/// A snapshot of `tree` and nothing else.
pub(crate) fn snapshot_of(tree: Id) -> Snapshot {
    Snapshot {
        time: Time::now(),
        tree,
        ..Snapshot::default()
    }
}

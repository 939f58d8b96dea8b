//! What snapshots and the repository take: restore size, stored bytes, and what would be free if a snapshot were gone.
//!
//! Each tree is read at most twice, however many snapshots share it: once for the first snapshot that reaches it, and once
//! more when a second one does, which takes all below it from the first.

use std::collections::HashMap;
use std::sync::Arc;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::Index;
use crate::layout::FileKind;
use crate::node::NodeKind;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::snapshot::Snapshot;

/// Folders in folders deeper than this are a damaged or hostile tree.
const MAX_DEPTH: usize = 10_000;
/// Room for so many calls of a function that calls itself.
const STACK_BYTES: usize = 256 << 20;

/// What one snapshot takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotStats {
    /// Bytes of its files, as a restore writes them.
    pub restore_bytes: u64,
    /// Its files.
    pub file_count: u64,
    /// Blobs that no other snapshot needs.
    pub unique_blob_count: u64,
    /// Their stored bytes: what a prune frees when this snapshot alone is removed, headers and padding left out.
    pub unique_bytes: u64,
}

/// What all takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RepositoryStats {
    /// Each snapshot, oldest first.
    pub snapshots: Vec<(Id, Snapshot, SnapshotStats)>,
    /// Different blobs that snapshots need.
    pub blob_count: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
    /// Their bytes before compression.
    pub uncompressed_bytes: u64,
    /// Stored bytes of blobs that no snapshot needs or that are there twice.
    pub unneeded_bytes: u64,
    /// Packs on the storage.
    pub pack_count: u64,
    /// Their bytes.
    pub pack_bytes: u64,
}

/// Who needs a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    One(u32),
    Many,
}

/// Bytes and files below a tree.
type Below = (u64, u64);

struct Census<'a> {
    reader: &'a Reader,
    index: &'a Index,
    owners: HashMap<(BlobKind, Id), Owner>,
    below: HashMap<Id, Below>,
    unique: Vec<(u64, u64)>,
    blob_count: u64,
    stored_bytes: u64,
    uncompressed_bytes: u64,
}

/// Counts. About 120 bytes of memory for each needed blob, beside the index. The caller holds a lock, or knows that
/// nothing is removed meanwhile.
pub fn stats(repository: &Repository) -> Result<RepositoryStats, VaultError> {
    let snapshots = repository.snapshots()?;
    let index = Arc::new(repository.load_index()?);
    let reader = Reader::new(repository.clone(), Arc::clone(&index));
    let mut census = Census {
        reader: &reader,
        index: &index,
        owners: HashMap::new(),
        below: HashMap::new(),
        unique: vec![(0, 0); snapshots.len()],
        blob_count: 0,
        stored_bytes: 0,
        uncompressed_bytes: 0,
    };
    let sums = std::thread::scope(|scope| {
        let count = || -> Result<Vec<Below>, VaultError> {
            let numbered = snapshots.iter().enumerate();
            numbered
                .map(|(number, (_, snapshot))| census.visit(number as u32, snapshot.tree, 0))
                .collect()
        };
        let failed = |reason: String| VaultError::Thread { reason };
        std::thread::Builder::new()
            .name("stats".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, count)
            .map_err(|error| failed(error.to_string()))?
            .join()
            .unwrap_or_else(|_| Err(failed("the count ended early".to_owned())))
    })?;
    let listed = repository.storage().list(FileKind::Pack.folder())?;
    let indexed_bytes: u64 = index
        .iter()
        .map(|(_, _, place)| u64::from(place.length))
        .sum();
    Ok(RepositoryStats {
        blob_count: census.blob_count,
        stored_bytes: census.stored_bytes,
        uncompressed_bytes: census.uncompressed_bytes,
        unneeded_bytes: indexed_bytes.saturating_sub(census.stored_bytes),
        pack_count: listed.len() as u64,
        pack_bytes: listed.iter().map(|listed| listed.size_bytes).sum(),
        snapshots: snapshots
            .into_iter()
            .zip(sums)
            .zip(&census.unique)
            .map(|(((id, snapshot), (restore_bytes, file_count)), unique)| {
                let stats = SnapshotStats {
                    restore_bytes,
                    file_count,
                    unique_blob_count: unique.0,
                    unique_bytes: unique.1,
                };
                (id, snapshot, stats)
            })
            .collect(),
    })
}

impl Census<'_> {
    /// Everything below the tree belongs to the snapshot with this number, or to many.
    fn visit(&mut self, snapshot: u32, id: Id, depth: usize) -> Result<Below, VaultError> {
        if depth > MAX_DEPTH {
            return Err(VaultError::DamagedTree {
                reason: "folders in it are too deep".to_owned(),
            });
        }
        let has_changed = self.own(snapshot, BlobKind::Tree, &id)?;
        if !has_changed && let Some(below) = self.below.get(&id) {
            return Ok(*below);
        }
        let tree = self.reader.read_tree(&id)?;
        let mut below = (0_u64, 0_u64);
        for node in &tree.nodes {
            for blob in &node.content {
                self.own(snapshot, BlobKind::Data, blob)?;
            }
            if node.kind == NodeKind::File {
                below.0 = below.0.saturating_add(node.size);
                below.1 += 1;
            }
            if let Some(subtree) = node.subtree {
                let (bytes, files) = self.visit(snapshot, subtree, depth + 1)?;
                // Folders may share a tree: there may be more paths than anything can count.
                below = (below.0.saturating_add(bytes), below.1.saturating_add(files));
            }
        }
        self.below.insert(id, below);
        Ok(below)
    }

    /// Notes that the snapshot needs the blob; says whether that changed who needs it.
    fn own(&mut self, snapshot: u32, kind: BlobKind, id: &Id) -> Result<bool, VaultError> {
        let owner = self.owners.get(&(kind, *id)).copied();
        if owner == Some(Owner::Many) || owner == Some(Owner::One(snapshot)) {
            return Ok(false);
        }
        let place = self
            .index
            .get(kind, id)
            .ok_or(VaultError::BlobMissing { kind, id: *id })?;
        let length = u64::from(place.length);
        let next = match owner {
            Some(Owner::One(other)) => {
                let unique = &mut self.unique[other as usize];
                *unique = (unique.0 - 1, unique.1 - length);
                Owner::Many
            }
            _ => {
                self.blob_count += 1;
                self.stored_bytes += length;
                self.uncompressed_bytes += place.plaintext_length();
                let unique = &mut self.unique[snapshot as usize];
                *unique = (unique.0 + 1, unique.1 + length);
                Owner::One(snapshot)
            }
        };
        self.owners.insert((kind, *id), next);
        Ok(true)
    }
}

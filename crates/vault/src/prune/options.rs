//! What a prune is told, and what it tells.

use std::time::Duration;

use crate::error::VaultError;
use crate::id::Id;

/// What rustic waits between mark and removal, too.
const KEEP_DELETE: Duration = Duration::from_secs(23 * 3600);
/// An amount of bytes that is tolerated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// So many per cent of what is there afterwards, from 0 to 100.
    Percent(f64),
    /// Any amount.
    Unlimited,
}

/// When unneeded packs are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Marked first, removed by a later run. Others may work meanwhile.
    TwoPhase,
    /// At once. Takes the repository for itself alone by an exclusive lock, and is only right when no program works on it
    /// that takes no locks.
    Instant,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Yes.
    Real,
    /// No: the report says what would be done.
    Dry,
}

/// How to prune.
#[derive(Debug, Clone, PartialEq)]
pub struct PruneOptions {
    /// The grace between the mark of a pack and the removal of its file.
    pub keep_delete: Duration,
    /// How much unneeded data may stay in packs that are partly needed.
    pub max_unused: Limit,
    /// Repack no more than this in one run.
    pub max_repack_bytes: Option<u64>,
    /// Join packs smaller than this, when there are at least two. 0 joins none.
    pub repack_smaller_than_bytes: u64,
    /// When unneeded packs are removed.
    pub deletion: Deletion,
    /// Whether anything is changed.
    pub run: Run,
    /// Snapshots that count as gone already: what a dry run of forget would remove. A real prune refuses to have any.
    pub ignored_snapshots: Vec<Id>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            keep_delete: KEEP_DELETE,
            max_unused: Limit::Percent(5.0),
            max_repack_bytes: None,
            repack_smaller_than_bytes: 0,
            deletion: Deletion::TwoPhase,
            run: Run::Real,
            ignored_snapshots: Vec::new(),
        }
    }
}

/// What a prune is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrunePhase {
    /// Reading trees; the total is not known before.
    Trees,
    /// Writing needed data anew; counted in stored bytes.
    Repack,
    /// Removing files; counted in packs.
    Delete,
}

/// How far a prune is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneProgress {
    /// What is being done.
    pub phase: PrunePhase,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 when that is not known.
    pub total: u64,
}

/// Listens to a prune, from any of its threads.
pub type OnPruneProgress<'a> = &'a (dyn Fn(PruneProgress) + Sync);

/// A number of packs and their bytes on the storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackTotal {
    /// How many.
    pub count: u64,
    /// Their size.
    pub bytes: u64,
}

/// What a prune did, or would do.
#[derive(Debug, Default)]
pub struct PruneReport {
    /// Snapshots looked at.
    pub snapshot_count: usize,
    /// Needed blobs.
    pub used_blob_count: usize,
    /// Stored bytes of needed blobs.
    pub used_bytes: u64,
    /// Stored bytes of unneeded blobs that stay in packs that are partly needed, padding left out.
    pub unused_left_bytes: u64,
    /// Packs that stay.
    pub kept: PackTotal,
    /// Packs whose needed content was written anew.
    pub repacked: PackTotal,
    /// Packs marked in this run.
    pub marked: PackTotal,
    /// Packs marked before, whose time has not come.
    pub waiting: PackTotal,
    /// Packs marked before and needed again.
    pub put_back: PackTotal,
    /// Pack files removed.
    pub deleted: PackTotal,
    /// Unneeded packs that stay for now, because others held locks.
    pub deferred: PackTotal,
    /// Packs that no index names and that are not marked yet.
    pub unindexed: PackTotal,
    /// Others who held locks.
    pub foreign_lock_count: usize,
    /// Index files written and removed.
    pub index_files_written: usize,
    /// Index files removed.
    pub index_files_removed: usize,
    /// Packs whose file could not be removed; they stay marked.
    pub failed: Vec<(Id, VaultError)>,
}

impl PackTotal {
    pub(super) fn add(&mut self, bytes: Option<u64>) {
        self.count += 1;
        self.bytes += bytes.unwrap_or(0);
    }
}

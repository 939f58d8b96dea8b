//! A vault: a restic repository of format version 2, read and written natively.
//!
//! This crate owns the format and all that keeps it whole: keys, blobs, packs, indexes, trees, snapshots, locks, the
//! writer that adds to it, the reader that takes from it, and the check. It never opens a source and never knows a
//! plan or a job.
//!
//! Three rules keep a vault whole whatever fails:
//! 1. Packs become durable, then the index that names them, then the snapshot that needs them. Nothing ever refers to
//!    what is not durable ([`Writer`]).
//! 2. A blob is read back from its stored form before it is put in a pack.
//! 3. After a failure of unknown outcome the writer is poisoned: every later call gives the first error, and no
//!    snapshot is written.
//!
//! Modules in reading order, each using only those before it: `id`, `lanes`, `secret`, `time`, `layout`; `crypto`; `blob`;
//! `error`; `polynomial`, `chunker`; `unpacked`, `key`, `config`; `quote`, `node`, `tree`, `snapshot`; `pack`, `index`;
//! `repository`, `lock`, `index_files`; `reader`, `frontier`; `writer`; `check`; `forget`, `prune`; `snapshot_json`, `copy`, `repair`, `stats`, `diff`, `tags`.

mod blob;
mod check;
mod chunker;
mod config;
mod copy;
mod crypto;
mod diff;
mod error;
pub mod forget;
mod frontier;
mod id;
mod index;
mod index_files;
mod key;
mod lanes;
mod layout;
mod lock;
mod node;
mod pack;
mod plain_json;
mod polynomial;
mod prune;
mod quote;
mod reader;
mod repair;
mod repository;
mod secret;
mod snapshot;
mod snapshot_json;
mod stats;
mod tags;
#[cfg(test)]
mod testing;
mod time;
mod tree;
mod unpacked;
#[cfg(test)]
mod untrusted;
mod writer;

pub use blob::{BlobKind, BlobScratch};
pub use check::{
    CheckError, CheckHint, CheckOptions, CheckPhase, CheckProgress, CheckReport, Extent,
    OnProgress, ReadData, Touched, check,
};
pub use chunker::{ChunkSizes, Chunker, ChunkerKind, Scan};
pub use config::Config;
pub use copy::{CopyProgress, CopyReport, copy};
pub use diff::{DiffCounts, DiffOptions, DiffReport, diff};
pub use error::VaultError;
pub use id::{Id, IdError};
pub use index::{BlobLocation, ByPack, Index, IndexBuilder};
pub use key::{KdfCost, KeyLabel, KeyOptions};
pub use layout::FileKind;
pub use lock::{LockGuard, LockKind, UnlockScope, hostname};
pub use node::{Node, NodeKind, Xattr};
pub use pack::PackedBlob;
pub use prune::{
    Deletion, Limit, OnPruneProgress, PackTotal, PruneOptions, PrunePhase, PruneProgress,
    PruneReport, Run, prune,
};
pub use reader::{Comparison, Reader};
pub use repair::{
    IndexRepair, PackRepair, SnapshotRepair, SnapshotsRepair, repair_index, repair_packs,
    repair_snapshots,
};
pub use repository::{IndexForBackup, LATEST, ListedPack, Repository, key_labels};
pub use secret::Secret;
pub use snapshot::{Snapshot, SnapshotSummary};
pub use stats::{RepositoryStats, SnapshotStats, stats};
pub use tags::{TagChange, change_tags};
pub use time::{Time, TimeError};
pub use tree::Tree;
pub use writer::{SavedBlob, Writer, WriterOptions, WriterStats};

//! Vaults, and the tasks that make and remove what lies in them.

use model::{
    AccountId, JobStatus, SnapshotId, SourceType, TaskId, Timestamp, VaultId, VaultStatus,
};

use super::Sealed;
use crate::words::TaskKind;

/// What a vault holds, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VaultCounts {
    /// Snapshots that are shown.
    pub snapshot_count: i64,
    /// Plans by source type; types without plans are left out.
    pub plans: Vec<(SourceType, i64)>,
    /// Source types of its snapshots.
    pub source_types: Vec<SourceType>,
}

/// Where backups are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Its id.
    pub vault_id: VaultId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Its name.
    pub vault_name: String,
    /// Its description, maybe empty.
    pub description: String,
    /// The region it was asked for.
    pub vault_region_id: String,
    /// `STANDARD` or `OTS_BACKUP`.
    pub vault_type: String,
    /// `STANDARD`.
    pub vault_storage_class: String,
    /// `HBR_PRIVATE` or `KMS`.
    pub encrypt_type: String,
    /// The key of a KMS vault.
    pub kms_key_id: Option<String>,
    /// Whether it is immutable.
    pub worm_enabled: bool,
    /// The resource group it was moved to.
    pub resource_group_id: Option<String>,
    /// Its state.
    pub status: VaultStatus,
    /// Why it is in that state.
    pub status_message: Option<String>,
    /// Where the repository lies.
    pub storage_url: String,
    /// The repository's password, sealed.
    pub sealed_password: Sealed,
    /// Source bytes that jobs have read into it.
    pub bytes_done: i64,
    /// Bytes that jobs have added to its storage.
    pub storage_size: i64,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// What it holds.
    pub counts: VaultCounts,
}

/// Work of the service itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub task_id: TaskId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it does.
    pub kind: TaskKind,
    /// Its state.
    pub status: JobStatus,
    /// The vault that it works on.
    pub vault_id: VaultId,
    /// The snapshot that it deletes.
    pub snapshot_id: Option<SnapshotId>,
    /// The engine's id of that snapshot.
    pub snapshot_hash: Option<String>,
    /// 0 to 100.
    pub progress: i64,
    /// Why it failed.
    pub message: Option<String>,
    /// What it is to do, where its kind does not say all: the part of the data that a check reads, `n/t`.
    pub spec: Option<String>,
    /// What came of it, as JSON.
    pub result: Option<String>,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// When it ended.
    pub completed_time: Option<Timestamp>,
}

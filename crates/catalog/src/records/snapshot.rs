//! Snapshots: what complete and partial jobs leave.

use model::{
    AccountId, ClientId, InstanceId, JobId, PlanId, SnapshotId, SnapshotStatus, SourceType,
    Timestamp, VaultId,
};

/// What a complete or partial job leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The vault it is in.
    pub vault_id: VaultId,
    /// What kind of source.
    pub source_type: SourceType,
    /// The engine's snapshot id, 64 hex digits.
    pub snapshot_hash: String,
    /// The snapshot it was compared with.
    pub parent_snapshot_hash: Option<String>,
    /// The job that made it.
    pub job_id: Option<JobId>,
    /// The plan that made it.
    pub plan_id: Option<PlanId>,
    /// The client that made it.
    pub client_id: Option<ClientId>,
    /// The instance that was backed up.
    pub instance_id: Option<InstanceId>,
    /// The bucket that was backed up.
    pub bucket: Option<String>,
    /// The file system that was backed up.
    pub file_system_id: Option<String>,
    /// The Tablestore instance that was backed up.
    pub instance_name: Option<String>,
    /// The table that was backed up.
    pub table_name: Option<String>,
    /// The prefix of objects that were backed up.
    pub prefix: Option<String>,
    /// When the NAS file system was created.
    pub create_time: Option<Timestamp>,
    /// `COMPLETE`.
    pub backup_type: String,
    /// Its state.
    pub status: SnapshotStatus,
    /// Source paths.
    pub paths: Vec<String>,
    /// JSON array text.
    pub include: Option<String>,
    /// JSON array text.
    pub exclude: Option<String>,
    /// Days that it is kept; absent means for ever.
    pub retention: Option<i64>,
    /// When it may be deleted; absent means never.
    pub expire_time: Option<Timestamp>,
    /// When the catalog got to know it.
    pub created_time: Timestamp,
    /// When its job started.
    pub start_time: Option<Timestamp>,
    /// When its job ended.
    pub complete_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// Bytes of the source.
    pub bytes_total: i64,
    /// Bytes that the job read.
    pub bytes_done: i64,
    /// Bytes added to the vault, after deduplication.
    pub actual_bytes: i64,
    /// Items of the source.
    pub items_total: i64,
    /// Items that the job looked at.
    pub items_done: i64,
    /// Items in the snapshot.
    pub actual_items: i64,
    /// The key of the file of errors, when there is one.
    pub error_file: Option<String>,
}

//! The agent protocol: JSON bodies of HTTP POST requests under `/agent/v1/`.
//!
//! Every request is signed like any other call with ACS3-HMAC-SHA256 (`x-acs-action` names the method, `x-acs-version`
//! is [`crate::VERSION`]). `Register` is signed by a key of the account; all others by the agent key that `Register`
//! returned, which is good for nothing but these paths and its own client.
//!
//! An agent registers once, then calls `Sync` in a loop: it names the work it runs with its progress, and gets new
//! assignments, cancellations and losses. A work item is held by a lease with an epoch; whatever is reported under an
//! old epoch changes nothing. Rows of the error list are sent (`ReportErrors`) before the snapshot is committed,
//! `Finish` comes last. All of it is idempotent, so an agent repeats what got no answer.

use serde::{Deserialize, Serialize};

use crate::secret::SecretText;

/// The folder of all paths of the protocol.
pub const PREFIX: &str = "/agent/v1/";
/// Most rows that one `ReportErrors` may carry.
pub const MAX_ERROR_ROWS: usize = 500;
/// Longest time in milliseconds that the server holds a `Sync` without news.
pub const MAX_WAIT_MS: u64 = 60_000;

/// A message of the agent, with the name that is its path and its `x-acs-action`.
pub trait AgentRequest: Serialize {
    /// Last part of the path, and the value of `x-acs-action`.
    const METHOD: &'static str;
    /// What the server answers.
    type Reply: for<'de> Deserialize<'de>;
}

/// Makes a host known, or known again. Signed by a key of the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// Name of the host.
    pub hostname: String,
    /// Operating system, as `linux`.
    pub os: String,
    /// Processor, as `x86_64`.
    pub arch: String,
    /// Version of the agent.
    pub agent_version: String,
    /// What stays the same on this machine across reinstalls of the agent (`/etc/machine-id`).
    pub machine_id: String,
    /// The client id of an earlier registration, if the agent still knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// The identity of the agent. The agent keeps it in a file that only its user can read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegisterReply {
    /// `c-…`
    pub client_id: String,
    /// `i-…`, the same for the same machine for ever.
    pub instance_id: String,
    /// The owner, 16 digits.
    pub account_id: String,
    /// Access key id for all other messages.
    pub agent_key_id: String,
    /// Its secret.
    pub agent_key_secret: SecretText,
}

impl AgentRequest for RegisterRequest {
    const METHOD: &'static str = "Register";
    type Reply = RegisterReply;
}

/// Heartbeat, progress, and the question for work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Own id.
    pub client_id: String,
    /// Random per process of the agent. The first sync of a new run frees all leases of earlier runs at once.
    pub run_id: String,
    /// How long the server may wait for news before it answers, at most [`MAX_WAIT_MS`].
    pub wait_ms: u64,
    /// All work that this run holds; each lease named here is extended.
    pub running: Vec<RunningWork>,
    /// How many more assignments the agent can take now.
    pub can_take: u32,
    /// How many of those may be backups; all of them if it is not given. Backups have slots of their own, so that a
    /// restore never waits behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_take_backups: Option<u32>,
}

/// One work item that the agent runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunningWork {
    /// Id of the job, restore job or task.
    pub work_id: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// How far it is.
    pub progress: Progress,
}

/// A work under one lease; the same work under another epoch is another lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Id of the job, restore job or task.
    pub work_id: String,
    /// Epoch of the lease.
    pub epoch: u64,
}

/// News for the agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SyncReply {
    /// New work, leased from now on.
    pub assignments: Vec<Assignment>,
    /// Leases whose work the agent shall stop and finish as `CANCELED`. Repeated until it is finished.
    pub cancel: Vec<Lease>,
    /// Leases that the server does not know (any more): the agent drops them without a report.
    pub lost: Vec<Lease>,
    /// Clock of the server, UNIX seconds.
    pub server_time: i64,
    /// The agent shall put down its work, say [`DeregisterRequest`], remove its state and end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uninstall: bool,
}

impl AgentRequest for SyncRequest {
    const METHOD: &'static str = "Sync";
    type Reply = SyncReply;
}

/// The last message of an agent that was asked to uninstall itself: its key is good for nothing from then on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeregisterRequest {
    /// Own id.
    pub client_id: String,
}

impl AgentRequest for DeregisterRequest {
    const METHOD: &'static str = "Deregister";
    type Reply = Accepted;
}

/// One piece of work under a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    /// Id of the job, restore job or task.
    pub work_id: String,
    /// Epoch of the lease; every report carries it.
    pub epoch: u64,
    /// What to do.
    pub kind: WorkKind,
}

/// What an assignment asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum WorkKind {
    /// Back up paths of this host into a vault.
    Backup(BackupSpec),
    /// Write files of a snapshot to this host.
    Restore(RestoreSpec),
    /// Make the repository of a new vault, with both keys.
    CreateVault(VaultSpec),
    /// Delete all data of a vault.
    DeleteVault(VaultSpec),
    /// Delete one snapshot file from a vault.
    DeleteSnapshot(DeleteSnapshotSpec),
    /// Look for damage in a vault.
    CheckVault(UpkeepSpec),
    /// Remove from a vault what no snapshot needs.
    PruneVault(UpkeepSpec),
    /// Store a copy of the server's catalog, which [`CopyCatalogRequest`] gives, in a vault.
    BackupCatalog(CatalogBackupSpec),
}

/// Where a vault is and what opens it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultSpec {
    /// `v-…`
    pub vault_id: String,
    /// Path or URL, as the storage crate opens it.
    pub storage_url: String,
    /// Password of the vault's own key.
    pub password: SecretText,
    /// Password of the recovery key. Only present where it is needed: in `CreateVault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_password: Option<SecretText>,
}

/// A backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupSpec {
    /// Destination.
    pub vault: VaultSpec,
    /// Absolute source paths; empty means the whole host.
    pub paths: Vec<String>,
    /// Patterns of what alone is backed up; empty means everything.
    pub include: Vec<String>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Throttling rules as HBR writes them, `0:24:5120|…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_limit: Option<String>,
    /// Options as JSON text, as the plan has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// The job; also the `work_id`.
    pub job_id: String,
    /// The plan, empty if the job has none.
    pub plan_id: String,
    /// The client that runs it.
    pub client_id: String,
    /// Its instance.
    pub instance_id: String,
    /// True if an earlier lease of this job may have left data or even a snapshot in the vault.
    pub resumed: bool,
    /// Bytes that earlier leases of this job added to the vault; counters go on from there.
    #[serde(default)]
    pub carried_bytes: u64,
    /// Absolute folders of the account's other vaults. Where one is a repository on this host, it is left out.
    #[serde(default)]
    pub vault_folders: Vec<String>,
    /// Most workers that read, compress and encrypt at a time; 0: as many as the host has cores.
    #[serde(default)]
    pub max_workers: u32,
}

/// A restore.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreSpec {
    /// Source.
    pub vault: VaultSpec,
    /// 64 hex digits.
    pub snapshot_hash: String,
    /// Absolute folder; empty means the original place.
    pub target_path: String,
    /// Patterns of what alone is restored; empty means everything.
    pub includes: Vec<String>,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// `OVERWRITE_EXISTING`, `SKIP_EXISTING` or `OVERWRITE_OLDER`.
    pub conflict_policy: String,
    /// As of a backup.
    #[serde(default)]
    pub max_workers: u32,
}

/// Deletion of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteSnapshotSpec {
    /// Where it is.
    pub vault: VaultSpec,
    /// 64 hex digits.
    pub snapshot_hash: String,
}

/// A check or a prune.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpkeepSpec {
    /// Where it is.
    pub vault: VaultSpec,
    /// The part of the data that a check reads, from 1; 0: none. A prune has no use for it.
    #[serde(default)]
    pub part: u32,
    /// In how many parts the data is divided.
    #[serde(default)]
    pub parts: u32,
    /// A prune removes packs so long after one marked them; absent: as the engine does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_delete_seconds: Option<u64>,
    /// Snapshots that should be in the vault: those that are not are told in [`UpkeepReport::missing`]. 64 hex digits each.
    #[serde(default)]
    pub expected: Vec<String>,
    /// Snapshots that were missing before: those that are there are told in [`UpkeepReport::present`].
    #[serde(default)]
    pub missing: Vec<String>,
}

/// A backup of the catalog.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatalogBackupSpec {
    /// Where it goes.
    pub vault: VaultSpec,
    /// The operator's account: older backups of this account are thinned, and no others.
    pub account_id: String,
    /// Days of which the newest backup is kept.
    pub keep_daily: u32,
    /// Weeks of which the newest backup is kept.
    pub keep_weekly: u32,
}

/// The tag of snapshots of the catalog.
pub const CATALOG_TAG: &str = "strongroom-catalog";
/// The name of the only file of such a snapshot.
pub const CATALOG_FILE: &str = "catalog.strongroom";

/// The tag that says whose catalog it is.
#[must_use]
pub fn catalog_account_tag(account_id: &str) -> String {
    format!("AccountId={account_id}")
}

/// The catalog, sealed. The reply is no JSON but its bytes; one that breaks off is not whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyCatalogRequest {
    /// Id of the task.
    pub work_id: String,
    /// Epoch of the lease.
    pub epoch: u64,
}

impl AgentRequest for CopyCatalogRequest {
    const METHOD: &'static str = "CopyCatalog";
    /// See [`crate::client::Client::agent_stream`].
    type Reply = serde::de::IgnoredAny;
}

/// What a check or a prune found. Lists are cut to [`MAX_FINDINGS`] and [`MAX_FINDINGS_BYTES`]; the counts are exact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpkeepReport {
    /// Of a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckFindings>,
    /// Of a prune.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneFindings>,
    /// Of a backup of the catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogFindings>,
    /// Snapshots that were expected and are not there, each asked for by its name a second time.
    pub missing: Vec<String>,
    /// Snapshots that were missing and are there again.
    pub present: Vec<String>,
    /// Snapshots that are there and were not expected: at most [`MAX_OTHER_SNAPSHOTS`] and [`MAX_OTHER_SNAPSHOTS_BYTES`];
    /// the next report tells more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherSnapshot>,
}

/// A snapshot that another program made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSnapshot {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its text, as the repository has it: restic's JSON of a snapshot.
    pub text: String,
}

/// Most entries of each list of an [`UpkeepReport`] but those of snapshots.
pub const MAX_FINDINGS: usize = 100;
/// Most bytes of each of these lists: paths may be long, and a report that is too large is never taken.
pub const MAX_FINDINGS_BYTES: usize = 64 * 1024;
/// Most entries of the list of snapshots that others made.
pub const MAX_OTHER_SNAPSHOTS: usize = 1_000;
/// Most bytes of their texts. One that is longer alone is never told: its list of paths is beyond any use.
pub const MAX_OTHER_SNAPSHOTS_BYTES: usize = 512 * 1024;
/// Most snapshots of each list of ids of an [`UpkeepReport`]; what goes beyond is told by the next one.
pub const MAX_TOLD_SNAPSHOTS: usize = 20_000;

/// What a check looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CheckFindings {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Packs that indexes name.
    pub packs: u64,
    /// Blobs in them.
    pub blobs: u64,
    /// Trees read.
    pub trees: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Bytes of those.
    pub bytes_read: u64,
    /// Damage of the structure: keys, snapshots, indexes, trees, missing packs.
    pub structure_errors: u64,
    /// Damage that only reading data shows.
    pub data_errors: u64,
    /// The first of both, in words.
    pub errors: Vec<String>,
    /// Files and folders, over all snapshots, that can no longer be restored whole.
    pub touched: u64,
    /// The first of them: snapshot and path.
    pub touched_paths: Vec<String>,
    /// What is worth knowing but loses nothing.
    pub hints: Vec<String>,
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneFindings {
    /// Snapshots whose data stays.
    pub snapshots: u64,
    /// Stored bytes that they need.
    pub used_bytes: u64,
    /// Stored bytes that nobody needs, in packs that are partly needed.
    pub unused_bytes: u64,
    /// Packs removed, and their bytes: what this run freed.
    pub deleted_packs: u64,
    /// See `deleted_packs`.
    pub deleted_bytes: u64,
    /// Packs that this run or an earlier one marked and a later one removes, and their bytes.
    pub marked_packs: u64,
    /// See `marked_packs`.
    pub marked_bytes: u64,
    /// Packs that nobody needs and that stay unmarked for now, since others hold locks.
    pub deferred_packs: u64,
    /// Packs that no index names, which are marked when they are old enough.
    pub unindexed_packs: u64,
    /// Bytes that were written anew.
    pub repacked_bytes: u64,
    /// Others who hold locks: what they may need stays.
    pub foreign_locks: u64,
    /// Packs that could not be removed, and why.
    pub failed: Vec<String>,
}

/// What a backup of the catalog did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CatalogFindings {
    /// The snapshot, 64 hex digits.
    pub snapshot_hash: String,
    /// Bytes of the copy.
    pub bytes: u64,
    /// Bytes that it added to the vault.
    pub added_bytes: u64,
    /// Older backups of the catalog that were removed.
    pub removed_snapshots: u64,
}

/// Counters of a running or ended work item. All totals are 0 until known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// `scan`, `backup`, `restore`, `verify`, `commit`, … in the words of the agent.
    pub phase: String,
    /// Regular files in the source.
    pub files_total: u64,
    /// Regular files dealt with.
    pub files_done: u64,
    /// Entries of any kind in the source.
    pub items_total: u64,
    /// Entries dealt with.
    pub items_done: u64,
    /// Bytes in the source.
    pub bytes_total: u64,
    /// Bytes dealt with, unchanged ones included.
    pub bytes_done: u64,
    /// Bytes of files that had to be read because they are new or changed.
    pub bytes_changed: u64,
    /// Bytes added to the vault (backup) or written (restore).
    pub actual_bytes: u64,
    /// Entries that were new or changed.
    pub actual_items: u64,
    /// Regular files that were new or changed.
    pub actual_files: u64,
    /// Entries that could not be dealt with.
    pub errors: u64,
    /// Time since the start of this attempt.
    pub elapsed_ms: u64,
}

/// A page of the error list of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportErrorsRequest {
    /// Id of the job, restore job or task.
    pub work_id: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Number of the first row; rows count from 0 within (work, epoch).
    pub first_seq: u64,
    /// At most [`MAX_ERROR_ROWS`].
    pub rows: Vec<ErrorRow>,
}

/// One entry that could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRow {
    /// Path, with what is not UTF-8 replaced.
    pub path: String,
    /// `open`, `read`, `list`, …
    pub operation: String,
    /// Error number of the operating system, 0 if none.
    pub errno: i32,
    /// Text for a person.
    pub message: String,
    /// UNIX seconds.
    pub time: i64,
}

/// Answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// False if the epoch is old or the work is over: nothing changed.
    pub accepted: bool,
}

impl AgentRequest for ReportErrorsRequest {
    const METHOD: &'static str = "ReportErrors";
    type Reply = Accepted;
}

/// How a work item ended on the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// All done.
    Complete,
    /// Done, with rows in the error list.
    PartialComplete,
    /// Not done; `message` says why.
    Failed,
    /// Stopped on request.
    Canceled,
    /// The agent stops; the work goes back to the queue and is resumed.
    Released,
}

/// End of a work item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishRequest {
    /// Id of the job, restore job or task.
    pub work_id: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Reason for a person; empty if all is well.
    #[serde(default)]
    pub message: String,
    /// Last counters.
    pub progress: Progress,
    /// The snapshot, for a backup that made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotReport>,
    /// Epoch under which the rows of the error list were sent, if it is not `epoch`: a resumed job that found the
    /// snapshot of an earlier attempt reports that attempt's errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_epoch: Option<u64>,
    /// What a check, a prune or a backup of the catalog found, if it got through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upkeep: Option<UpkeepReport>,
}

/// A snapshot that is in the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotReport {
    /// 64 hex digits.
    pub snapshot_hash: String,
    /// Its parent, if any.
    pub parent_snapshot_hash: Option<String>,
    /// Start of the backup, UNIX seconds.
    pub start_time: i64,
    /// When the snapshot was written, UNIX seconds.
    pub complete_time: i64,
    /// Bytes that a whole restore would write.
    pub bytes_total: u64,
    /// Bytes of new and changed files.
    pub bytes_done: u64,
    /// Bytes added to the vault.
    pub actual_bytes: u64,
    /// Entries in the snapshot.
    pub items_total: u64,
    /// Regular files in the snapshot.
    pub files_total: u64,
    /// Entries that were new or changed.
    pub actual_items: u64,
}

impl AgentRequest for FinishRequest {
    const METHOD: &'static str = "Finish";
    type Reply = Accepted;
}

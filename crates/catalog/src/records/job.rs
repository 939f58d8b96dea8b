//! Backup jobs, how far they are, what they could not read, and the dispatch side of all that is run.

use model::{
    AccountId, ClientId, InstanceId, JobId, JobStatus, PlanId, SourceType, Timestamp, VaultId,
};

use super::SourceFields;
use crate::words::{TriggerMode, WorkKind, WorkState};

/// How far a job or restore job is, or how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Progress {
    /// 0 to 10000.
    pub progress: i64,
    /// Average in KB/s.
    pub speed: i64,
    pub bytes_total: i64,
    pub bytes_done: i64,
    /// Bytes added to the vault, after deduplication.
    pub actual_bytes: i64,
    pub items_total: i64,
    pub items_done: i64,
    pub actual_items: i64,
    pub files_total: i64,
    pub files_done: i64,
    pub actual_files: i64,
    /// Items that could not be read or written.
    pub error_count: i64,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose it is.
    pub account_id: AccountId,
    /// Its id.
    pub job_id: JobId,
    /// Its name.
    pub job_name: String,
    /// The region.
    pub region_id: String,
    /// What kind of source.
    pub source_type: SourceType,
    /// `COMPLETE`.
    pub backup_type: String,
    /// Its state.
    pub status: JobStatus,
    /// The vault.
    pub vault_id: Option<VaultId>,
    /// The plan that made it.
    pub plan_id: Option<PlanId>,
    /// The client that runs it.
    pub client_id: Option<ClientId>,
    /// The instance that is backed up.
    pub instance_id: Option<InstanceId>,
    /// The bucket that is backed up.
    pub bucket: Option<String>,
    /// The file system that is backed up.
    pub file_system_id: Option<String>,
    /// The Tablestore instance that is backed up.
    pub instance_name: Option<String>,
    /// The parent of a child job.
    pub parent_id: Option<JobId>,
    /// What made it start.
    pub trigger_mode: Option<TriggerMode>,
    /// Source paths; empty means everything.
    pub paths: Vec<String>,
    /// JSON array text.
    pub include: Option<String>,
    /// JSON array text.
    pub exclude: Option<String>,
    /// Throttle windows.
    pub speed_limit: Option<String>,
    /// JSON text.
    pub options: Option<String>,
    /// Days that its snapshot is kept; absent means for ever.
    pub retention: Option<i64>,
    /// The rest.
    pub source_fields: SourceFields,
    /// When it was created; never goes backwards in an account.
    pub created_time: Timestamp,
    /// When an agent first took it.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub complete_time: Option<Timestamp>,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// How far it is.
    pub progress: Progress,
    /// Why it failed, or what is wrong with its result.
    pub error_message: Option<String>,
}

impl Job {
    /// What the filters of a query see of it.
    #[must_use]
    pub fn fields(&self) -> model::JobFields<'_> {
        model::JobFields {
            region_id: Some(&self.region_id),
            plan_id: self.plan_id.as_ref().map(PlanId::as_str),
            job_id: Some(self.job_id.as_str()),
            vault_id: self.vault_id.as_ref().map(VaultId::as_str),
            instance_id: self.instance_id.as_ref().map(InstanceId::as_str),
            bucket: self.bucket.as_deref(),
            file_system_id: self.file_system_id.as_deref(),
            status: Some(self.status.as_str()),
            created_time: Some(self.created_time.0),
            complete_time: self.complete_time.map(|time| time.0),
            instance_name: self.instance_name.as_deref(),
            backup_type: Some(&self.backup_type),
            parent_id: self.parent_id.as_ref().map(JobId::as_str),
            restore_id: None,
            source_type: Some(self.source_type.as_str()),
        }
    }
}

/// An item that a job or restore job could not read or write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// Its path; bytes that are not UTF-8 are already replaced.
    pub path: String,
    /// What was being done ("open", "read", …).
    pub operation: String,
    /// The system's error number.
    pub errno: Option<i64>,
    /// What went wrong.
    pub message: String,
    /// When.
    pub time: Timestamp,
}

/// A change of the state of a backup job or restore job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// Its place among the job's events, from 1.
    pub number: i64,
    /// The state from then on.
    pub status: JobStatus,
    /// Which attempt it was under, each lease being one; 0 before the first.
    pub attempt: i64,
    /// The client that held the lease.
    pub client_id: Option<ClientId>,
    /// The epoch of the lease; 0 before the first.
    pub epoch: i64,
    /// When.
    pub time: Timestamp,
    /// Why, where there is more to say than the state.
    pub message: Option<String>,
}

/// The dispatch side of a job, restore job or task. Its id is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The id of the job, restore job or task.
    pub work_id: String,
    /// Which of them.
    pub kind: WorkKind,
    /// Whose it is.
    pub account_id: AccountId,
    /// The client that must run it; absent means any client of the account.
    pub client_id: Option<ClientId>,
    /// The client of another account that does it in the account's stead: the service's own.
    pub lent_to: Option<ClientId>,
    /// The vault that it works on.
    pub vault_id: VaultId,
    /// Where it is in its life.
    pub state: WorkState,
    /// How many leases there were. A report under another epoch changes nothing.
    pub epoch: i64,
    /// The client that holds it.
    pub holder_client_id: Option<ClientId>,
    /// The agent's process that holds it.
    pub run_id: Option<String>,
    /// Until when it is held.
    pub lease_until: Option<Timestamp>,
    /// Whether its holder is to stop.
    pub cancel_requested: bool,
}

impl Work {
    /// Whether an agent may report on it: it is of the agent's account or lent to the agent, and no other client holds it.
    #[must_use]
    pub fn may_be_of(&self, account_id: &AccountId, client_id: &ClientId) -> bool {
        let is_theirs = self.account_id == *account_id || self.lent_to.as_ref() == Some(client_id);
        let holder = self.holder_client_id.as_ref();
        is_theirs && holder.is_none_or(|holder| holder == client_id)
    }
}

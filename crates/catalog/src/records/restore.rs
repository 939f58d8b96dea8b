//! Restore jobs.

use model::source_type::RestoreType;
use model::{
    AccountId, ClientId, InstanceId, JobId, JobStatus, PlanId, RestoreId, SnapshotId, SourceType,
    Timestamp, VaultId,
};
use serde::{Deserialize, Serialize};

use super::Progress;

/// Fields of restore jobs that only some types have; not filterable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct TargetFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_create_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_data_source_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_instance_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_table_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udm_detail: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ots_detail: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_account_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_account_user_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_account_role_name: Option<String>,
}

/// One restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreJob {
    /// Whose it is.
    pub account_id: AccountId,
    /// Its id.
    pub restore_id: RestoreId,
    /// What kind of restore.
    pub restore_type: RestoreType,
    /// What kind of source the snapshot is of.
    pub source_type: SourceType,
    /// The region.
    pub region_id: String,
    /// Its state.
    pub status: JobStatus,
    /// The vault it reads.
    pub vault_id: VaultId,
    /// The snapshot it reads.
    pub snapshot_id: SnapshotId,
    /// The engine's id of that snapshot.
    pub snapshot_hash: String,
    /// The plan that made the snapshot.
    pub plan_id: Option<PlanId>,
    /// The backup job that made the snapshot.
    pub job_id: Option<JobId>,
    /// The instance that was backed up.
    pub source_instance_id: Option<InstanceId>,
    /// The client that runs it.
    pub target_client_id: Option<ClientId>,
    /// The instance that is written to.
    pub target_instance_id: Option<InstanceId>,
    /// The folder that is written to; absent means the original places.
    pub target_path: Option<String>,
    /// The bucket that is written to.
    pub target_bucket: Option<String>,
    /// The file system that is written to.
    pub target_file_system_id: Option<String>,
    /// JSON array text.
    pub include: Option<String>,
    /// JSON array text.
    pub exclude: Option<String>,
    /// JSON text.
    pub options: Option<String>,
    /// The rest.
    pub target_fields: TargetFields,
    /// When it was created.
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

impl RestoreJob {
    /// What the filters of a query see of it.
    #[must_use]
    pub fn fields(&self) -> model::JobFields<'_> {
        model::JobFields {
            region_id: Some(&self.region_id),
            plan_id: self.plan_id.as_ref().map(PlanId::as_str),
            job_id: self.job_id.as_ref().map(JobId::as_str),
            vault_id: Some(self.vault_id.as_str()),
            instance_id: self.target_instance_id.as_ref().map(InstanceId::as_str),
            bucket: self.target_bucket.as_deref(),
            file_system_id: self.target_file_system_id.as_deref(),
            status: Some(self.status.as_str()),
            created_time: Some(self.created_time.0),
            complete_time: self.complete_time.map(|time| time.0),
            instance_name: None,
            backup_type: None,
            parent_id: None,
            restore_id: Some(self.restore_id.as_str()),
            source_type: Some(self.source_type.as_str()),
        }
    }
}

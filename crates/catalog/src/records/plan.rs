//! Plans, and the fields that plans and jobs of rare source types share.

use model::{AccountId, ClientId, InstanceId, JobId, PlanId, SourceType, Timestamp, VaultId};
use serde::{Deserialize, Serialize};

/// Fields of plans and jobs that only some source types have; not filterable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct SourceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// When the NAS file system was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_name: Option<String>,
    /// `OtsDetail.TableNames`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub table_names: Vec<String>,
    /// `Detail`, as it came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_account_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_account_user_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_account_role_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_source_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_data_source_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_data_source_detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_list_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udm_region_id: Option<String>,
}

/// What is backed up, into which vault, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub plan_id: PlanId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What was asked for.
    pub spec: PlanSpec,
    /// Whether its schedule rests.
    pub disabled: bool,
    /// The next run of the schedule; absent while the plan is disabled or has no schedule.
    pub next_run_time: Option<Timestamp>,
    /// The job that was created last.
    pub latest_execute_job_id: Option<JobId>,
    /// The job that ended last.
    pub latest_finish_job_id: Option<JobId>,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// The policy binding or the plan one of whose rules it runs; such a plan is not shown.
    pub owner_id: Option<String>,
    /// That rule.
    pub rule_id: Option<String>,
    /// JSON of a [`model::retention::RetentionRule`], when it says more than the specification.
    pub retention_rule: Option<String>,
}

impl Plan {
    /// The plan that its jobs are booked on: the owner, when that is a plan.
    #[must_use]
    pub fn booked_on(&self) -> PlanId {
        self.owner_id
            .as_deref()
            .and_then(|owner| PlanId::parse(owner).ok())
            .unwrap_or_else(|| self.plan_id.clone())
    }
}

/// What CreateBackupPlan asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSpec {
    /// The region.
    pub region_id: String,
    /// Its name.
    pub plan_name: String,
    /// What kind of source.
    pub source_type: SourceType,
    /// `COMPLETE`.
    pub backup_type: String,
    /// `STANDARD` or `BASIC`.
    pub edition: String,
    /// The vault; only plans of whole instances have none.
    pub vault_id: Option<VaultId>,
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
    /// Source paths; empty means everything.
    pub paths: Vec<String>,
    /// JSON array text, as it came in.
    pub include: Option<String>,
    /// JSON array text, as it came in.
    pub exclude: Option<String>,
    /// Throttle windows, as they came in.
    pub speed_limit: Option<String>,
    /// JSON text, as it came in.
    pub options: Option<String>,
    /// `I|start|duration`; must parse as a [`model::Schedule`].
    pub schedule: Option<String>,
    /// Days that snapshots are kept; absent means for ever.
    pub retention: Option<i64>,
    /// Whether the newest snapshots are kept whatever the retention says.
    pub keep_latest_snapshots: Option<i64>,
    /// The rest.
    pub source_fields: SourceFields,
    /// `Rule[]` as JSON, as it came in.
    pub rules: Option<serde_json::Value>,
}

impl PlanSpec {
    /// A plan of files on a host, everything else left at its default.
    #[must_use]
    pub fn files(region_id: &str, plan_name: &str, vault_id: VaultId, paths: Vec<String>) -> Self {
        Self {
            region_id: region_id.to_owned(),
            plan_name: plan_name.to_owned(),
            source_type: SourceType::EcsFile,
            backup_type: "COMPLETE".to_owned(),
            edition: "STANDARD".to_owned(),
            vault_id: Some(vault_id),
            client_id: None,
            instance_id: None,
            bucket: None,
            file_system_id: None,
            instance_name: None,
            paths,
            include: None,
            exclude: None,
            speed_limit: None,
            options: None,
            schedule: None,
            retention: None,
            keep_latest_snapshots: None,
            source_fields: SourceFields::default(),
            rules: None,
        }
    }
}

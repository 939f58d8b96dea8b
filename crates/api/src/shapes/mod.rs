//! What the actions answer: one struct per reply, named and typed as in the contract.
//!
//! Every field is optional and left out when it is not set, because HBR returns many of them only for one source type.
//! The names, types and meanings are those of the golden file; a test compares each struct with it. The structs are
//! readable too, for the CLI.

// The fields are the public API of HBR and documented there; a text per field would repeat its name.
#![allow(missing_docs)]

pub mod backup_jobs;
pub mod backup_plans;
pub mod client_tasks;
pub mod clients;
pub mod policies;
pub mod records;
pub mod resources;
pub mod restore_jobs;
pub mod snapshots;
pub mod vaults;

use serde::{Deserialize, Serialize};

/// Declares a struct whose fields are all optional, `PascalCase` on the wire and left out when `None`.
macro_rules! shape {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $($(#[$field_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$kind>,)*
        }
    )+};
}
pub(crate) use shape;

/// The part that (nearly) all replies have, and the reply of actions that have nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Reply<T> {
    pub request_id: String,
    pub success: bool,
    /// `"200"`, a text.
    pub code: String,
    pub message: String,
    #[serde(flatten)]
    pub body: T,
}

impl<T> Reply<T> {
    /// A reply of success.
    pub fn successful(request_id: &str, body: T) -> Self {
        Self {
            request_id: request_id.to_owned(),
            success: true,
            code: "200".to_owned(),
            message: "successful".to_owned(),
            body,
        }
    }
}

/// No fields of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Empty {}

shape! {
    /// OpenHbrService answers only this and the request id.
    OrderReply { request_id: String, order_id: String, }
    /// DescribeRegions.
    RegionsReply { regions: Regions, }
    Regions { region: Vec<Region>, }
    Region { region_id: String, local_name: String, }
    /// DescribeTask.
    TaskReply {
        name: String, description: String, progress: i32, result: String, created_time: i64, updated_time: i64,
        completed_time: i64,
    }
    Tag { key: String, value: String, }
    Paths { path: Vec<String>, }
    TableNames { table_name: Vec<String>, }
    OtsDetail { table_names: TableNames, }
    Report {
        failed_files: String, skipped_files: String, success_files: String, total_files: String,
        report_task_status: String,
    }
    TrialInfo {
        keep_after_trial_expiration: bool, trial_expire_time: i64, trial_start_time: i64,
        trial_vault_release_time: i64,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Map, Value, json};

    use super::{
        Empty, OrderReply, RegionsReply, Reply, TaskReply, backup_jobs, backup_plans, client_tasks,
        clients, policies, records, resources, restore_jobs, snapshots, vaults,
    };
    use crate::contract::{Field, contract};

    /// A reply that has every field of the contract.
    fn complete(fields: &[Field]) -> Value {
        let mut object = Map::new();
        for (number, field) in (1..).zip(fields) {
            object.insert(
                field.name.clone(),
                value(&field.kind, &field.fields, number),
            );
        }
        Value::Object(object)
    }

    fn value(kind: &str, fields: &[Field], number: i64) -> Value {
        if let Some(inner) = kind
            .strip_prefix("array<")
            .and_then(|rest| rest.strip_suffix('>'))
        {
            return json!([value(inner, fields, number)]);
        }
        match kind {
            "string" => json!(format!("text {number}")),
            "boolean" => json!(true),
            "int32" | "int64" | "integer" => json!(number),
            "object" => complete(fields),
            _ => json!({"free": 1}),
        }
    }

    /// Reads a complete reply into the struct and writes it again: no field may be lost, renamed or of another type.
    fn check<T: DeserializeOwned + Serialize>(action: &str) {
        let expected = complete(&contract().action(action).unwrap().response);
        let shape: T = serde_json::from_value(expected.clone())
            .unwrap_or_else(|error| panic!("{action}: {error}"));
        assert_eq!(serde_json::to_value(&shape).unwrap(), expected, "{action}");
    }

    #[test]
    fn every_shape_has_every_field_of_the_contract() {
        check::<OrderReply>("OpenHbrService");
        check::<Reply<RegionsReply>>("DescribeRegions");
        check::<Reply<TaskReply>>("DescribeTask");
        check::<Reply<vaults::VaultReply>>("CreateVault");
        check::<Reply<vaults::VaultsReply>>("DescribeVaults");
        check::<Reply<clients::ClientsReply>>("DescribeBackupClients");
        check::<Reply<backup_plans::PlanReply>>("CreateBackupPlan");
        check::<Reply<backup_plans::BackupPlansReply>>("DescribeBackupPlans");
        check::<Reply<backup_jobs::JobReply>>("ExecuteBackupPlan");
        check::<Reply<backup_jobs::BackupJobsReply>>("DescribeBackupJobs2");
        check::<Reply<snapshots::SnapshotsReply>>("SearchHistoricalSnapshots");
        check::<Reply<snapshots::NodesReply>>("BrowseFiles");
        check::<Reply<restore_jobs::RestoreReply>>("CreateRestoreJob");
        check::<Reply<restore_jobs::RestoreJobsReply>>("DescribeRestoreJobs2");
        check::<Reply<policies::PolicyReply>>("CreatePolicyV2");
        check::<Reply<policies::PoliciesReply>>("DescribePoliciesV2");
        check::<Reply<policies::PolicyBindingsReply>>("DescribePolicyBindings");
        check::<Reply<backup_jobs::JobReply>>("ExecutePolicyV2");
        check::<Reply<backup_jobs::JobReply>>("CreateBackupJob");
        check::<Reply<resources::ProtectedResourcesReply>>("ListProtectedResources");
        check::<Reply<resources::ListSnapshotsReply>>("ListSnapshots");
        check::<Reply<resources::BasicStatisticsReply>>("GetBasicStatistics");
        check::<Reply<resources::TrialInfoReply>>("GetTrialInfo");
        check::<Reply<resources::FeatureTrialReply>>("DescribeFeatureTrialInfo");
        check::<Reply<resources::OtsInstancesReply>>("DescribeRecoverableOtsInstances");
        check::<Reply<resources::OtsSnapshotsReply>>("DescribeOtsTableSnapshots");
        check::<Reply<resources::UdmSnapshotsReply>>("DescribeUdmSnapshots");
        check::<Reply<resources::ReplicationRegionsReply>>("DescribeVaultReplicationRegions");
        check::<Reply<records::DataSourceReply>>("AddDataSource");
        check::<Reply<records::DataSourcesReply>>("DescribeDataSources");
        check::<Reply<records::CrossAccountsReply>>("DescribeCrossAccounts");
        check::<Reply<records::ContainerClusterReply>>("AddContainerCluster");
        check::<Reply<records::ContainerTokenReply>>("UpdateContainerCluster");
        check::<Reply<records::ContainerClustersReply>>("DescribeContainerCluster");
        check::<Reply<records::ContainerResourcesReply>>("DescribeContainerResource");
        check::<Reply<records::TempFileReply>>("CreateTempFileUploadUrl");
        check::<Reply<records::LinkReply>>("GetTempFileDownloadLink");
        check::<Reply<records::RamPolicyReply>>("GenerateRamPolicy");
        check::<Reply<client_tasks::InstanceTaskReply>>("InstallBackupClients");
        check::<Reply<client_tasks::InstanceTaskReply>>("UpgradeBackupClients");
        check::<Reply<client_tasks::OldClientsReply>>("DescribeClients");
        for action in [
            "UpdatePolicyV2",
            "DeletePolicyV2",
            "CreatePolicyBindings",
            "UpdatePolicyBinding",
            "DeletePolicyBinding",
            "ChangeResourceGroup",
            "CheckRole",
            "AddCrossAccount",
            "DeleteCrossAccount",
            "UpdateDataSource",
            "RemoveDataSource",
            "DeleteContainerCluster",
            "DeleteBackupClient",
            "DeleteBackupClientResource",
            "UpdateClientSettings",
            "UpdateVault",
            "DeleteVault",
            "UpdateBackupPlan",
            "EnableBackupPlan",
            "DisableBackupPlan",
            "DeleteBackupPlan",
            "CancelBackupJob",
            "DeleteSnapshot",
            "CancelRestoreJob",
        ] {
            check::<Reply<Empty>>(action);
        }
    }

    #[test]
    fn what_is_not_set_is_left_out() {
        let job = backup_jobs::BackupJob {
            progress: Some(0),
            ..Default::default()
        };
        assert_eq!(serde_json::to_string(&job).unwrap(), "{\"Progress\":0}");
    }
}

//! Every action by name: those that are served, and those that are refused with the reason. The coverage page is made from
//! this file, and a test compares it with the contract.

use api::contract::contract;
use api::error::{ApiError, Code};
use model::nearest;

use super::{Handler, QuickHandler};
use super::{
    account_info, audit, backup_jobs, backup_plans, browse, client_settings, client_tasks, clients,
    container_clusters, cross_accounts, data_sources, identities, job_history, job_records,
    policies, policy_bindings, protected, regions, restore_jobs, retention, snapshots, tags, tasks,
    temp_files, upkeep, vault_keys, vaults,
};
use crate::agents::REGISTER_AGENT;

/// Actions of the contract that are served.
pub(crate) const SERVED: &[(&str, Handler)] = &[
    (
        "AddContainerCluster",
        container_clusters::add_container_cluster,
    ),
    ("AddCrossAccount", cross_accounts::add_cross_account),
    ("AddDataSource", data_sources::add_data_source),
    ("BrowseFiles", browse::browse_files),
    ("CancelBackupJob", backup_jobs::cancel_backup_job),
    ("CancelRestoreJob", restore_jobs::cancel_restore_job),
    ("ChangeResourceGroup", tags::change_resource_group),
    ("CheckRole", account_info::check_role),
    ("CreateBackupJob", backup_jobs::create_backup_job),
    ("CreateBackupPlan", backup_plans::create_backup_plan),
    (
        "CreatePolicyBindings",
        policy_bindings::create_policy_bindings,
    ),
    ("CreatePolicyV2", policies::create_policy_v2),
    ("CreateRestoreJob", restore_jobs::create_restore_job),
    ("CreateVault", vaults::create_vault),
    ("DeleteBackupClient", client_tasks::delete_backup_client),
    (
        "DeleteBackupClientResource",
        client_tasks::delete_backup_client_resource,
    ),
    ("DeleteBackupPlan", backup_plans::delete_backup_plan),
    (
        "DeleteContainerCluster",
        container_clusters::delete_container_cluster,
    ),
    ("DeleteCrossAccount", cross_accounts::delete_cross_account),
    (
        "DeletePolicyBinding",
        policy_bindings::delete_policy_binding,
    ),
    ("DeletePolicyV2", policies::delete_policy_v2),
    ("DeleteSnapshot", snapshots::delete_snapshot),
    ("DeleteVault", vaults::delete_vault),
    ("DescribeBackupClients", clients::describe_backup_clients),
    ("DescribeBackupJobs2", backup_jobs::describe_backup_jobs2),
    ("DescribeBackupPlans", backup_plans::describe_backup_plans),
    ("DescribeClients", client_tasks::describe_clients),
    (
        "DescribeContainerCluster",
        container_clusters::describe_container_cluster,
    ),
    (
        "DescribeContainerResource",
        container_clusters::describe_container_resource,
    ),
    (
        "DescribeCrossAccounts",
        cross_accounts::describe_cross_accounts,
    ),
    ("DescribeDataSources", data_sources::describe_data_sources),
    (
        "DescribeFeatureTrialInfo",
        account_info::describe_feature_trial_info,
    ),
    (
        "DescribeOtsTableSnapshots",
        account_info::describe_ots_table_snapshots,
    ),
    ("DescribePoliciesV2", policies::describe_policies_v2),
    (
        "DescribePolicyBindings",
        policy_bindings::describe_policy_bindings,
    ),
    (
        "DescribeRecoverableOtsInstances",
        account_info::describe_recoverable_ots_instances,
    ),
    ("DescribeRegions", regions::describe_regions),
    ("DescribeRestoreJobs2", restore_jobs::describe_restore_jobs2),
    ("DescribeTask", tasks::describe_task),
    ("DescribeUdmSnapshots", account_info::describe_udm_snapshots),
    (
        "DescribeVaultReplicationRegions",
        account_info::describe_vault_replication_regions,
    ),
    ("DescribeVaults", vaults::describe_vaults),
    ("DisableBackupPlan", backup_plans::disable_backup_plan),
    ("EnableBackupPlan", backup_plans::enable_backup_plan),
    ("ExecuteBackupPlan", backup_plans::execute_backup_plan),
    ("ExecutePolicyV2", policies::execute_policy_v2),
    ("GenerateRamPolicy", account_info::generate_ram_policy),
    ("GetBasicStatistics", protected::get_basic_statistics),
    (
        "GetTempFileDownloadLink",
        temp_files::get_temp_file_download_link,
    ),
    ("GetTrialInfo", account_info::get_trial_info),
    ("InstallBackupClients", client_tasks::install_backup_clients),
    (
        "ListProtectedResources",
        protected::list_protected_resources,
    ),
    ("ListSnapshots", protected::list_snapshots),
    ("OpenHbrService", regions::open_hbr_service),
    ("RemoveDataSource", data_sources::remove_data_source),
    (
        "SearchHistoricalSnapshots",
        snapshots::search_historical_snapshots,
    ),
    ("TagResources", tags::tag_resources),
    (
        "UninstallBackupClients",
        client_tasks::uninstall_backup_clients,
    ),
    ("UntagResources", tags::untag_resources),
    ("UpdateBackupPlan", backup_plans::update_backup_plan),
    (
        "UpdateClientSettings",
        client_settings::update_client_settings,
    ),
    (
        "UpdateContainerCluster",
        container_clusters::update_container_cluster,
    ),
    ("UpdateDataSource", data_sources::update_data_source),
    (
        "UpdatePolicyBinding",
        policy_bindings::update_policy_binding,
    ),
    ("UpdatePolicyV2", policies::update_policy_v2),
    ("UpdateVault", vaults::update_vault),
    ("UpgradeBackupClients", client_tasks::upgrade_backup_clients),
];

/// Actions of this server that the contract does not have.
pub(crate) const EXTENSIONS: &[(&str, Handler)] = &[
    ("BackupCatalog", upkeep::backup_catalog),
    ("CancelVaultTask", upkeep::cancel_vault_task),
    ("CheckVault", upkeep::check_vault),
    ("DescribeVaultHealth", upkeep::describe_vault_health),
    ("ExportBackupJobs", job_history::export_backup_jobs),
    ("ExportVaultKey", vault_keys::export_vault_key),
    ("HoldSnapshot", retention::hold_snapshot),
    ("ImportBackupJobs", job_history::import_backup_jobs),
    ("ListAuditEntries", audit::list_audit_entries),
    ("ListJobErrors", job_records::list_job_errors),
    ("ListJobEvents", job_records::list_job_events),
    ("ListTrash", retention::list_trash),
    ("ListVaultTasks", upkeep::list_vault_tasks),
    ("PruneVault", upkeep::prune_vault),
    ("RecoverSnapshot", retention::recover_snapshot),
    ("ReleaseSnapshot", retention::release_snapshot),
    ("SimulateRetention", retention::simulate_retention),
];

const HANA: &str = "SAP HANA is not supported by this server.";
const HANA_CLIENT: &str = "It manages clients of SAP HANA, which is not supported by this server.";
const REPLICATION: &str = "Replication of vaults is not supported by this server yet.";
const INSTANCES: &str = "Backup of whole instances and disks is not supported by this server yet.";
const NAS: &str = "Backup of NAS file systems is not supported by this server yet.";
const FILES: &str = "Uploaded files are lists for synchronization between data sources (SourceType SYNC, ChangeListPath), which this server does not support yet.";

/// Actions of the contract that are refused, with what the caller is told.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("CreateClients", HANA_CLIENT),
    ("CreateHanaBackupPlan", HANA),
    ("CreateHanaInstance", HANA),
    ("CreateHanaRestore", HANA),
    ("CreateReplicationVault", REPLICATION),
    ("CreateTempFileUploadUrl", FILES),
    ("CreateVaultReplication", REPLICATION),
    ("DeleteAirEcsInstance", INSTANCES),
    ("DeleteClient", HANA_CLIENT),
    ("DeleteHanaBackupPlan", HANA),
    ("DeleteHanaInstance", HANA),
    ("DeleteUdmDisk", INSTANCES),
    ("DeleteUdmEcsInstance", INSTANCES),
    ("DeleteVaultReplication", REPLICATION),
    ("DescribeHanaBackupPlans", HANA),
    ("DescribeHanaBackupSetting", HANA),
    ("DescribeHanaBackupsAsync", HANA),
    ("DescribeHanaDatabases", HANA),
    ("DescribeHanaInstances", HANA),
    ("DescribeHanaRestores", HANA),
    ("DescribeHanaRetentionSetting", HANA),
    ("DetachNasFileSystem", NAS),
    ("DisableHanaBackupPlan", HANA),
    ("EnableHanaBackupPlan", HANA),
    ("StartHanaDatabaseAsync", HANA),
    ("StopHanaDatabaseAsync", HANA),
    ("UninstallClient", HANA_CLIENT),
    ("UpdateHanaBackupPlan", HANA),
    ("UpdateHanaBackupSetting", HANA),
    ("UpdateHanaInstance", HANA),
    ("UpdateHanaRetentionSetting", HANA),
    ("UpgradeClient", HANA_CLIENT),
];

/// The product whose actions policies count it to.
pub(crate) fn product(action: &str) -> &'static str {
    match identities::ACTIONS.iter().any(|(name, _)| *name == action) {
        true => "ram",
        false => "hbr",
    }
}

/// All actions of HBR and STS as policies name them, with those of this server alone. RAM's are not among them: the cloud has
/// many more than this server, and policies that were written there name them.
pub(crate) fn policy_actions() -> Vec<String> {
    let extensions = EXTENSIONS.iter().map(|(name, _)| *name);
    contract()
        .names()
        .chain(extensions)
        .map(|name| format!("hbr:{name}"))
        .chain([
            REGISTER_AGENT.to_owned(),
            "sts:AssumeRole".to_owned(),
            "sts:GetCallerIdentity".to_owned(),
        ])
        .collect()
}

/// As policies name the actions of users, keys, roles and accounts: those of RAM that are served here.
pub(crate) fn ram_actions() -> Vec<String> {
    let names = identities::ACTIONS.iter().map(|(name, _)| *name);
    names.map(|name| format!("ram:{name}")).collect()
}

/// Actions that are tried without being handed over to another thread. They only look, so that nothing of them goes to the
/// audit log.
const QUICK: &[(&str, QuickHandler)] = &[(
    "DescribeBackupJobs2",
    backup_jobs::try_describe_backup_jobs2,
)];

/// What tries an action on a thread that must not be held up.
pub(super) fn quick(action: &str) -> Option<QuickHandler> {
    let found = QUICK.iter().find(|(name, _)| *name == action);
    found.map(|(_, handler)| *handler)
}

/// What is to be done for an action.
pub(crate) enum Entry {
    Serve(Handler),
    Refuse(&'static str),
}

/// Refuses an action that there is not, and names the nearest of those that the caller may have meant.
pub(super) fn unknown<'a>(action: &str, known: impl IntoIterator<Item = &'a str>) -> ApiError {
    let usual = Code::InvalidActionNotFound.message();
    let message = match nearest(action, known) {
        Some(name) => format!("{usual} Did you mean {name}?"),
        None => usual.to_owned(),
    };
    ApiError::new(Code::InvalidActionNotFound, message)
}

/// The names of all actions of HBR and of this server.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let served = SERVED.iter().chain(EXTENSIONS).chain(identities::ACTIONS);
    let refused = REFUSED.iter().map(|(name, _)| *name);
    served.map(|(name, _)| *name).chain(refused)
}

/// The entry of an action, if there is such an action.
pub(crate) fn find(action: &str) -> Option<Entry> {
    let served = SERVED
        .iter()
        .chain(EXTENSIONS)
        .chain(identities::ACTIONS)
        .find(|(name, _)| *name == action);
    let refused = || REFUSED.iter().find(|(name, _)| *name == action);
    served
        .map(|(_, handler)| Entry::Serve(*handler))
        .or_else(|| refused().map(|(_, why)| Entry::Refuse(why)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{EXTENSIONS, QUICK, REFUSED, SERVED, identities, names, policy_actions, unknown};
    use api::contract::{contract, first_unknown};

    #[test]
    fn every_action_of_the_contract_is_served_or_refused_once() {
        let named: Vec<&str> = SERVED
            .iter()
            .map(|(name, _)| *name)
            .chain(REFUSED.iter().map(|(name, _)| *name))
            .collect();
        let distinct: BTreeSet<&str> = named.iter().copied().collect();
        assert_eq!(named.len(), distinct.len(), "an action is named twice");
        assert_eq!(distinct, contract().names().collect());
    }

    #[test]
    fn an_action_that_there_is_not_is_answered_with_the_nearest() {
        for (action, expected) in [
            ("DescribeBackupJob2", Some("DescribeBackupJobs2")),
            ("describevaults", Some("DescribeVaults")),
            ("DeleteVualt", Some("DeleteVault")),
            ("CreateHanaRestores", Some("CreateHanaRestore")),
            ("PruneVaults", Some("PruneVault")),
            ("CreateUsers", Some("CreateUser")),
            ("Nothing", None),
            ("", None),
        ] {
            let error = unknown(action, names());
            assert_eq!(
                (&*error.code, error.http_status),
                ("InvalidAction.NotFound", 404)
            );
            let proposed = error
                .message
                .split_once(" Did you mean ")
                .map(|(_, name)| name);
            assert_eq!(proposed, expected.map(|name| format!("{name}?")).as_deref());
        }
    }

    #[test]
    fn quick_actions_are_served_and_only_look() {
        for (name, _) in QUICK {
            assert!(SERVED.iter().any(|(served, _)| served == name), "{name}");
            assert!(!crate::audited::is_kept(name), "{name}");
        }
    }

    #[test]
    fn extensions_are_not_actions_of_the_contract() {
        for (name, _) in EXTENSIONS {
            assert!(contract().action(name).is_none(), "{name}");
        }
    }

    #[test]
    fn parameters_of_every_action_are_known() {
        let extensions = EXTENSIONS.iter().chain(identities::ACTIONS);
        for (name, _) in SERVED.iter().chain(extensions) {
            assert!(first_unknown(name, ["Nonsense"]).is_some(), "{name}");
        }
    }

    #[test]
    fn what_policies_may_name() {
        let known = policy_actions();
        for name in [
            "hbr:DescribeBackupJobs2",
            "hbr:CreateHanaInstance",
            "hbr:ExportVaultKey",
            "hbr:RegisterAgent",
            "sts:AssumeRole",
        ] {
            assert!(known.iter().any(|known| known == name), "{name}");
        }
        assert!(!known.iter().any(|name| name.starts_with("ram:")));
    }
}

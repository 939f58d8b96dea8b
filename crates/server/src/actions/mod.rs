//! The actions of the API: one function per action, named like it, one file per resource.
//!
//! A handler reads the parameters, checks that the caller may, makes one call to the catalog (or the dispatcher) and
//! shapes the reply. It runs on the blocking pool and knows nothing of HTTP.

pub(crate) mod backup_jobs;
pub(crate) mod backup_plans;
pub(crate) mod browse;
pub(crate) mod clients;
pub(crate) mod job_history;
pub(crate) mod lists;
pub(crate) mod plan_fields;
pub(crate) mod regions;
pub(crate) mod repositories;
pub(crate) mod restore_jobs;
pub(crate) mod snapshots;
pub(crate) mod tasks;
pub(crate) mod vault_keys;
pub(crate) mod vaults;

use api::contract::contract;
use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::{Empty, Reply};
use model::{AccountId, Timestamp};
use serde::Serialize;

use crate::auth::{Caller, authenticate};
use crate::failure;
use crate::service::Service;
use crate::wire::Wire;

/// A call whose caller is known and whose parameters have the types of the contract.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) service: &'a Service,
    pub(crate) account: AccountId,
    pub(crate) params: Params,
    pub(crate) request_id: &'a str,
    pub(crate) now: Timestamp,
}

/// The JSON of a reply, or a failure.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;

type Handler = fn(&Call<'_>) -> Answer;

impl Call<'_> {
    /// A reply of success with fields of its own.
    pub(crate) fn reply<T: Serialize>(&self, body: T) -> Answer {
        self.bare_reply(&Reply::successful(self.request_id, body))
    }

    /// A reply of success without fields of its own.
    pub(crate) fn done(&self) -> Answer {
        self.reply(Empty {})
    }

    /// A reply that does not have the usual fields.
    pub(crate) fn bare_reply<T: Serialize>(&self, body: &T) -> Answer {
        serde_json::to_vec(body).map_err(|error| failure::internal(&error))
    }
}

/// The actions that are served. The last ones are extensions of this server: they are not in the contract.
pub(crate) const SERVED: &[(&str, Handler)] = &[
    ("BrowseFiles", browse::browse_files),
    ("CancelBackupJob", backup_jobs::cancel_backup_job),
    ("CancelRestoreJob", restore_jobs::cancel_restore_job),
    ("CreateBackupPlan", backup_plans::create_backup_plan),
    ("CreateRestoreJob", restore_jobs::create_restore_job),
    ("CreateVault", vaults::create_vault),
    ("DeleteBackupPlan", backup_plans::delete_backup_plan),
    ("DeleteSnapshot", snapshots::delete_snapshot),
    ("DeleteVault", vaults::delete_vault),
    ("DescribeBackupClients", clients::describe_backup_clients),
    ("DescribeBackupJobs2", backup_jobs::describe_backup_jobs2),
    ("DescribeBackupPlans", backup_plans::describe_backup_plans),
    ("DescribeRegions", regions::describe_regions),
    ("DescribeRestoreJobs2", restore_jobs::describe_restore_jobs2),
    ("DescribeTask", tasks::describe_task),
    ("DescribeVaults", vaults::describe_vaults),
    ("DisableBackupPlan", backup_plans::disable_backup_plan),
    ("EnableBackupPlan", backup_plans::enable_backup_plan),
    ("ExecuteBackupPlan", backup_plans::execute_backup_plan),
    ("OpenHbrService", regions::open_hbr_service),
    (
        "SearchHistoricalSnapshots",
        snapshots::search_historical_snapshots,
    ),
    ("UpdateBackupPlan", backup_plans::update_backup_plan),
    ("UpdateVault", vaults::update_vault),
    ("ExportBackupJobs", job_history::export_backup_jobs),
    ("ExportVaultKey", vault_keys::export_vault_key),
    ("ImportBackupJobs", job_history::import_backup_jobs),
];

/// Answers a request to `/`.
pub(crate) fn serve(service: &Service, wire: &Wire) -> Answer {
    let (caller, claimed) = authenticate(service, wire)?;
    let Caller::Account(account) = caller else {
        return Err(ApiError::new(
            Code::NoPermission,
            "The key of an agent is good for the agent protocol only.",
        ));
    };
    let action = claimed
        .claim
        .action
        .as_deref()
        .ok_or_else(|| ApiError::of(Code::MissingAction))?;
    let version = claimed
        .claim
        .version
        .as_deref()
        .ok_or_else(|| ApiError::of(Code::MissingVersion))?;
    if version != api::VERSION {
        return Err(ApiError::of(Code::InvalidVersion));
    }
    let known = contract().action(action);
    let handler = SERVED
        .iter()
        .find(|(name, _)| *name == action)
        .map(|(_, handler)| *handler);
    let Some(handler) = handler else {
        return Err(match known {
            Some(_) => ApiError::new(
                Code::OperationNotSupported,
                format!("The action {action} is not supported by this server yet."),
            ),
            None => ApiError::of(Code::InvalidActionNotFound),
        });
    };
    if known.is_some_and(api::contract::Action::is_post_only) && wire.method != "POST" {
        return Err(ApiError::new(
            Code::UnsupportedHttpMethod,
            format!("The action {action} is served for POST only."),
        ));
    }
    let params = Params::new(claimed.pairs);
    if let Some(action) = known {
        action.check_request(&params)?;
    }
    tracing::debug!(action, request_id = %wire.request_id, "call");
    let call = Call {
        service,
        account,
        params,
        request_id: &wire.request_id,
        now: service.now(),
    };
    handler(&call)
}

#[cfg(test)]
mod tests {
    use super::SERVED;
    use api::contract::contract;

    #[test]
    fn all_but_the_extensions_are_actions_of_the_contract() {
        let foreign: Vec<&str> = SERVED
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| contract().action(name).is_none())
            .collect();
        assert_eq!(
            foreign,
            ["ExportBackupJobs", "ExportVaultKey", "ImportBackupJobs"]
        );
    }
}

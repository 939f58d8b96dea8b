//! Backups of the catalog: which vault they go to, and when one is begun. The work is an agent's; what it stores is made by
//! `agents::copy`.

use std::time::Duration;

use api::error::{ApiError, Code};
use catalog::vaults::VaultFilter;
use catalog::{CatalogError, PageRequest, Vault, catalog_backups, vaults};
use model::{TaskId, Timestamp, VaultStatus};

use crate::places::Place;
use crate::service::Service;
use crate::{agents, failure};

/// Days of which the newest backup is kept.
pub(crate) const KEEP_DAILY: u32 = 7;
/// Weeks of which the newest backup is kept.
pub(crate) const KEEP_WEEKLY: u32 = 4;

/// When the catalog is backed up, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogBackupRule {
    /// Between two backups; `None`: never by itself.
    pub every: Option<Duration>,
    /// A vault of the operator's account, by id or name; `None`: the oldest one outside of the data directory, or the
    /// oldest of all where there is none.
    pub vault: Option<String>,
}

impl Default for CatalogBackupRule {
    /// Once a day.
    fn default() -> Self {
        Self {
            every: Some(Duration::from_secs(86_400)),
            vault: None,
        }
    }
}

/// The vault that the backups go to.
pub(crate) fn usual_vault(service: &Service) -> Result<Option<Vault>, CatalogError> {
    let page = PageRequest::first(vaults::MAX_VAULTS);
    let filter = VaultFilter::default();
    let all = vaults::list(&service.catalog, &service.operator, &filter, page)?;
    let wanted = service.catalog_backup.vault.as_deref();
    let mut found: Vec<Vault> = all
        .rows
        .into_iter()
        .filter(|vault| vault.status == VaultStatus::Created)
        .filter(|vault| wanted.is_none_or(|wanted| is_meant(vault, wanted)))
        .collect();
    found.sort_by_key(|vault| {
        // With the data directory goes what lies in it.
        let place = Place::parse(&vault.storage_url);
        let is_inside = place.is_ok_and(|place| place.lies_in(&service.data_dir));
        (is_inside, vault.created_time, vault.vault_id.to_string())
    });
    Ok(found.into_iter().next())
}

fn is_meant(vault: &Vault, wanted: &str) -> bool {
    vault.vault_id.as_str() == wanted || vault.vault_name == wanted
}

/// Creates the task, for the agent of this server.
pub(crate) fn start(service: &Service, vault: &Vault, now: Timestamp) -> Result<TaskId, ApiError> {
    let client = agents::client_for_tasks(service, &service.operator).ok_or_else(|| {
        ApiError::new(
            Code::ServiceUnavailable,
            "The agent of this service is not there yet, which backs the catalog up.",
        )
    })?;
    let place = (&service.operator, &vault.vault_id);
    catalog_backups::start(&service.catalog, place, &client, now).map_err(failure::of_catalog)
}

/// Begins a backup if it is time; whether it did.
pub(crate) fn start_if_due(service: &Service, now: Timestamp) -> Result<bool, CatalogError> {
    let Some(every) = service.catalog_backup.every else {
        return Ok(false);
    };
    if agents::client_for_tasks(service, &service.operator).is_none() {
        // It starts right after the server.
        return Ok(false);
    }
    let Some(vault) = usual_vault(service)? else {
        if let Some(wanted) = &service.catalog_backup.vault {
            tracing::error!(
                wanted,
                "the catalog is not backed up: there is no such vault, or it is not ready"
            );
        }
        return Ok(false);
    };
    let state = catalog_backups::state(&service.catalog)?;
    if !state.history.is_due(every, vault.created_time, now) {
        return Ok(false);
    }
    match start(service, &vault, now) {
        Ok(task_id) => {
            let vault_id = &vault.vault_id;
            tracing::info!(%vault_id, %task_id, "the catalog is due for a backup");
            Ok(true)
        }
        Err(error) => {
            tracing::error!(code = %error.code, message = %error.message, "the catalog cannot be backed up now");
            Ok(false)
        }
    }
}

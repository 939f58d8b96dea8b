//! Extensions of this server about the upkeep of vaults and of the catalog: CheckVault, PruneVault, BackupCatalog,
//! CancelVaultTask, ListVaultTasks, DescribeVaultHealth. The cloud does this unseen; here it is the user's own storage that has to be looked after.
//!
//! Checks and prunes are tasks, as the making of a vault is: DescribeTask tells how far one is. They are no backup jobs,
//! so DescribeBackupJobs2 does not list them.

use api::error::{ApiError, Code};
use catalog::catalog_backups::{self, CatalogBackups};
use catalog::upkeep::{self, Extent, NewUpkeep, VaultHealth};
use catalog::{Task, TaskKind, vaults};
use model::upkeep::Due;
use model::{TaskId, Timestamp, VaultId};
use serde_json::{Value, json};

use super::{Answer, Call, lists};
use crate::agents;
use crate::catalog_backup;
use crate::failure;
use crate::principal::Kind;

/// Most parts that data is read in; packs are divided by the first byte of their id.
const MAX_PARTS: u32 = 256;

/// Starts a check now. `ReadData`: `none` (the structure alone), `all`, or `n/t`.
pub(crate) fn check_vault(call: &Call<'_>) -> Answer {
    let extent = match call.params.text("ReadData").unwrap_or("none") {
        "none" => Extent::STRUCTURE,
        "all" => Extent::ALL,
        text => Extent::of(text)
            .filter(|extent| extent.has_data() && extent.parts <= MAX_PARTS)
            .ok_or_else(|| {
                let why = format!("write none, all, or n/t with 1 <= n <= t <= {MAX_PARTS}");
                ApiError::invalid("ReadData", why)
            })?,
    };
    start(
        call,
        &NewUpkeep {
            kind: TaskKind::CheckVault,
            extent,
            is_of_round: false,
        },
    )
}

/// Starts a prune now.
pub(crate) fn prune_vault(call: &Call<'_>) -> Answer {
    start(call, &NewUpkeep::prune())
}

fn start(call: &Call<'_>, new: &NewUpkeep) -> Answer {
    let vault_id: VaultId = lists::id(&call.params, "VaultId", Code::VaultNotExist)?;
    let client = agents::client_for_tasks(call.service, &call.account);
    let task_id = upkeep::start(
        &call.service.catalog,
        (&call.account, &vault_id),
        new,
        client.as_ref(),
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.service.ring();
    call.reply(json!({ "TaskId": task_id.as_str() }))
}

/// Backs the catalog up now, into the vault that is named or that of the nightly backups. For the operator's root key:
/// the catalog is of all accounts.
pub(crate) fn backup_catalog(call: &Call<'_>) -> Answer {
    if call.account != call.service.operator || call.principal.kind != Kind::Root {
        return Err(ApiError::new(
            Code::NoPermission,
            "Only the root key of the operator's account may back the catalog up.",
        ));
    }
    let named = lists::vault_if_named(call)?;
    let vault = match named {
        Some(vault_id) => vaults::get(&call.service.catalog, &call.account, &vault_id).map(Some),
        None => catalog_backup::usual_vault(call.service),
    };
    let vault = vault.map_err(failure::of_catalog)?.ok_or_else(|| {
        ApiError::new(
            Code::VaultNotExist,
            "There is no vault for the backups of the catalog; name one.",
        )
    })?;
    let task_id = catalog_backup::start(call.service, &vault, call.now)?;
    call.service.ring();
    call.reply(json!({ "TaskId": task_id.as_str(), "VaultId": vault.vault_id.as_str() }))
}

/// Ends a check or a prune early.
pub(crate) fn cancel_vault_task(call: &Call<'_>) -> Answer {
    let task_id: TaskId = lists::id(&call.params, "TaskId", Code::TaskNotExist)?;
    let status = upkeep::cancel(&call.service.catalog, &call.account, &task_id, call.now)
        .map_err(failure::of_catalog)?;
    call.service.ring();
    call.reply(json!({ "Status": status.as_str() }))
}

/// One task, or the tasks of one vault or of all, the newest first.
pub(crate) fn list_vault_tasks(call: &Call<'_>) -> Answer {
    let params = &call.params;
    if params.has("TaskId") {
        let task_id: TaskId = lists::id(params, "TaskId", Code::TaskNotExist)?;
        let task = catalog::tasks::get(&call.service.catalog, &call.account, &task_id)
            .map_err(failure::of_catalog)?;
        return call.reply(json!({ "TotalCount": 1, "Tasks": [task_row(&task)] }));
    }
    let vault_id = lists::vault_if_named(call)?;
    let page = lists::page(params)?;
    let found = upkeep::tasks(
        &call.service.catalog,
        &call.account,
        vault_id.as_ref(),
        page,
    )
    .map_err(failure::of_catalog)?;
    call.reply(json!({
        "TotalCount": found.total,
        "Tasks": found.rows.iter().map(task_row).collect::<Vec<Value>>(),
    }))
}

fn task_row(task: &Task) -> Value {
    let result = task
        .result
        .as_deref()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "TaskId": task.task_id.as_str(),
        "VaultId": task.vault_id.as_str(),
        "Kind": task.kind.as_str(),
        "Status": task.status.as_str(),
        "Progress": task.progress,
        "ReadData": task.spec,
        "Message": task.message,
        "Result": result,
        "CreatedTime": task.created_time.0,
        "UpdatedTime": task.updated_time.0,
        "CompletedTime": task.completed_time.map(|time| time.0),
    })
}

/// How the account's vaults are: what is damaged, when they were looked at, what is due next.
pub(crate) fn describe_vault_health(call: &Call<'_>) -> Answer {
    let found =
        upkeep::health(&call.service.catalog, &call.account).map_err(failure::of_catalog)?;
    let backups = match call.account == call.service.operator {
        true => {
            let state = catalog_backups::state(&call.service.catalog);
            Some(state.map_err(failure::of_catalog)?)
        }
        false => None,
    };
    let rows = found
        .iter()
        .map(|vault| health_row(call, vault, backups.as_ref()));
    call.reply(json!({ "Vaults": rows.collect::<Vec<Value>>() }))
}

/// What the health of the vault says of the backups of the catalog that it holds or should.
fn catalog_backup_row(state: &CatalogBackups) -> Value {
    json!({
        "BegunTime": state.history.begun.map(|time| time.0),
        "EndedTime": state.history.ended.map(|time| time.0),
        "SnapshotHash": state.snapshot_hash,
        "Trouble": state.trouble,
    })
}

fn health_row(call: &Call<'_>, vault: &VaultHealth, backups: Option<&CatalogBackups>) -> Value {
    let backups = backups.filter(|backups| backups.last_vault_id.as_ref() == Some(&vault.vault_id));
    let seconds = |time: Option<Timestamp>| time.map(|time| time.0);
    let damage = vault.damage.iter().map(|damage| {
        json!({
            "ReadData": damage.extent.to_string(),
            "FoundTime": damage.found.0,
            "TaskId": damage.task_id.as_str(),
            "Message": damage.message,
        })
    });
    let due = match call.service.upkeep.due(&vault.history, call.now) {
        None => Value::Null,
        Some(Due::Prune) => json!("PRUNE_VAULT"),
        Some(Due::Check { .. }) => json!("CHECK_VAULT"),
    };
    let health = if !vault.damage.is_empty() {
        "DAMAGED"
    } else if vault.check_trouble.is_some() {
        "CHECK_FAILED"
    } else if vault.prune_trouble.is_some() {
        "PRUNE_FAILED"
    } else if backups.is_some_and(|backups| backups.trouble.is_some()) {
        "CATALOG_BACKUP_FAILED"
    } else if vault.check_ended.is_none() {
        "UNCHECKED"
    } else {
        "OK"
    };
    json!({
        "VaultId": vault.vault_id.as_str(),
        "Health": health,
        "Damage": damage.collect::<Vec<Value>>(),
        "CheckedTime": seconds(vault.check_ended),
        "PrunedTime": seconds(vault.prune_ended),
        "CheckTrouble": vault.check_trouble,
        "PruneTrouble": vault.prune_trouble,
        "HasUnneededData": vault.history.wants_prune,
        "MissingSnapshots": vault.missing_count,
        "Due": due,
        "Busy": vault.history.is_busy,
        "CatalogBackup": backups.map(catalog_backup_row),
    })
}

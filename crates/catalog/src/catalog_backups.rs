//! Backups of the catalog itself: when they were, and the tasks that make them. One at a time; what is in them is
//! [`crate::copy`]'s.

use model::upkeep::CatalogBackupHistory;
use model::{AccountId, ClientId, JobStatus, TaskId, Timestamp, VaultId};

use crate::conditions::{change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::records::Task;
use crate::row::RowReader;
use crate::sql::params;
use crate::tasks::{self, FinishTask, Target};
use crate::words::{TaskKind, WorkState};
use crate::{clients, upkeep, vaults};

/// Works with this key run one after the other.
const SERIAL_KEY: &str = "catalog-backup";

/// How the backups of the catalog are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogBackups {
    /// What decides about the next one.
    pub history: CatalogBackupHistory,
    /// The vault of the last one that was begun.
    pub last_vault_id: Option<VaultId>,
    /// The vault of the last one that got through.
    pub vault_id: Option<VaultId>,
    /// Its snapshot, by the engine's id.
    pub snapshot_hash: Option<String>,
    /// Why the last one did not get through.
    pub trouble: Option<String>,
}

/// How they are.
pub fn state(catalog: &Catalog) -> Result<CatalogBackups, CatalogError> {
    let operation = "read the backups of the catalog";
    catalog.read(operation, |tx| {
        let sql = "SELECT * FROM catalog_backups WHERE place = 0";
        let found = first(tx, operation, sql, [], |row| {
            let trouble: Option<String> = row.get("trouble")?;
            Ok(CatalogBackups {
                history: CatalogBackupHistory {
                    begun: row.time_opt("begun")?,
                    ended: row.time_opt("ended")?,
                    has_failed: trouble.is_some(),
                    is_busy: false,
                },
                last_vault_id: row.parsed_opt("begun_vault")?,
                vault_id: row.parsed_opt("vault_id")?,
                snapshot_hash: row.get("snapshot_hash")?,
                trouble,
            })
        })?;
        let mut state = found.unwrap_or_default();
        state.history.is_busy = open_work(tx)?.is_some_and(|(_, state)| state == WorkState::Leased);
        Ok(state)
    })
}

/// The backup that waits or runs.
fn open_work(tx: &Tx<'_>) -> Result<Option<(TaskId, WorkState)>, CatalogError> {
    let sql = "SELECT work_id, state FROM work WHERE kind = 'BACKUP_CATALOG' AND state <> 'DONE' \
               ORDER BY queue_order LIMIT 1";
    first(tx, "find a backup of the catalog", sql, [], |row| {
        Ok((row.parsed("work_id")?, row.parsed("state")?))
    })
}

/// Creates the task of a backup into a vault, for this client. One that runs is given instead; so is one that nobody has
/// begun yet, which becomes this client's: the one that it was meant for may never come again.
pub fn start(
    catalog: &Catalog,
    (account_id, vault_id): (&AccountId, &VaultId),
    client_id: &ClientId,
    now: Timestamp,
) -> Result<TaskId, CatalogError> {
    let operation = "start a backup of the catalog";
    catalog.write(operation, |tx| {
        vaults::require(tx, account_id, vault_id)?;
        let sql = "INSERT INTO catalog_backups (place, begun, begun_vault) VALUES (0, ?, ?) \
                   ON CONFLICT (place) DO UPDATE SET begun = excluded.begun, begun_vault = excluded.begun_vault";
        change(tx, operation, sql, params![now.0, vault_id.as_str()])?;
        if let Some((task_id, state)) = open_work(tx)? {
            let sql = "UPDATE work SET client_id = ?, vault_id = ? WHERE work_id = ? AND state = 'QUEUED'";
            let values = [client_id.as_str(), vault_id.as_str(), task_id.as_str()];
            if state == WorkState::Leased || change(tx, operation, sql, values)? == 0 {
                return Ok(task_id);
            }
            let sql = "UPDATE tasks SET vault_id = ?, updated_time = ? WHERE task_id = ?";
            let values = params![vault_id.as_str(), now.0, task_id.as_str()];
            change(tx, operation, sql, values)?;
            return Ok(task_id);
        }
        let target = Target {
            serial_key: Some(SERIAL_KEY),
            ..Target::of(vault_id, now)
        };
        let kind = TaskKind::BackupCatalog;
        tasks::insert(catalog, tx, account_id, kind, &target, Some(client_id), now)
    })
}

/// Books the end of a backup.
pub(crate) fn settle(
    tx: &Tx<'_>,
    task: &Task,
    report: &FinishTask,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "book a backup of the catalog";
    if let Some(found) = &report.upkeep {
        upkeep::keep_result(tx, task, found)?;
        if found.wants_prune {
            upkeep::want_prune(tx, &task.vault_id)?;
        }
    }
    let snapshot_hash = report
        .upkeep
        .as_ref()
        .and_then(|found| found.snapshot_hash.as_deref());
    match (report.outcome, snapshot_hash) {
        (JobStatus::Complete, Some(hash)) => {
            let sql = "UPDATE catalog_backups SET ended = ?, vault_id = ?, snapshot_hash = ?, trouble = NULL WHERE place = 0";
            change(
                tx,
                operation,
                sql,
                params![now.0, task.vault_id.as_str(), hash],
            )?;
        }
        (JobStatus::Canceled, _) => {}
        _ => {
            let message = report.message.as_deref().unwrap_or("it failed");
            let sql = "UPDATE catalog_backups SET trouble = ? WHERE place = 0";
            change(tx, operation, sql, [message])?;
        }
    }
    Ok(())
}

/// What a restored catalog must not go on with: the very backup that it was copied by; tasks that wait for the agent of a
/// service that may be gone, which any agent of the account may take now; and the belief that agents are running, which would
/// refuse the agent of this host on its new machine.
pub(crate) fn after_restore(tx: &Tx<'_>) -> Result<(), CatalogError> {
    let operation = "settle a restored catalog";
    for sql in [
        "/* whole */ UPDATE tasks SET status = 'CANCELED', message = 'the catalog was restored from this backup', \
         completed_time = updated_time WHERE kind = 'BACKUP_CATALOG' AND completed_time IS NULL",
        "/* whole */ UPDATE work SET state = 'DONE' WHERE kind = 'BACKUP_CATALOG' AND state <> 'DONE'",
        "/* whole */ UPDATE work SET client_id = NULL WHERE state <> 'DONE' AND kind IN \
         ('CREATE_VAULT', 'DELETE_VAULT', 'DELETE_SNAPSHOT', 'CHECK_VAULT', 'PRUNE_VAULT')",
    ] {
        change(tx, operation, sql, [])?;
    }
    let sql = "/* whole */ UPDATE clients SET last_heart_beat_time = last_heart_beat_time - ?";
    let seconds = i64::try_from(clients::LIVE_TIME.as_secs()).unwrap_or(i64::MAX);
    change(tx, operation, sql, [seconds])?;
    Ok(())
}

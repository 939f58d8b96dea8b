//! Tasks: work of the service itself that an agent runs. Making a vault's repository, removing it, deleting a snapshot,
//! checking and pruning a vault, backing up the catalog. What the end of a task means for the catalog is decided here, in the transaction that
//! ends it.

use std::time::Duration;

use model::{AccountId, ClientId, JobStatus, SnapshotId, TaskId, Timestamp, VaultId, VaultStatus};

use crate::conditions::{change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::Task;
use crate::row::RowReader;
use crate::sql::{Row, params};
use crate::words::{TaskKind, WorkKind};
use crate::work::{self, Claim, FinishAnswer, NewWork};
use crate::{catalog_backups, snapshots, upkeep, vaults};

/// Before a vault's data is tried to be deleted again: a lock that stands in the way may be half an hour old.
const RETRY_DELETE_VAULT: Duration = Duration::from_secs(300);

/// What a task works on.
pub(crate) struct Target<'a> {
    pub(crate) vault_id: &'a VaultId,
    pub(crate) snapshot: Option<(&'a SnapshotId, &'a str)>,
    /// No agent gets it earlier.
    pub(crate) not_before: Timestamp,
    /// What it is to do, where its kind does not say all.
    pub(crate) spec: Option<&'a str>,
    /// Works with the same key run one after the other.
    pub(crate) serial_key: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// A vault, now.
    pub(crate) const fn of(vault_id: &'a VaultId, now: Timestamp) -> Self {
        Self {
            vault_id,
            snapshot: None,
            not_before: now,
            spec: None,
            serial_key: None,
        }
    }
}

/// The end of a task as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishTask {
    /// The task's id.
    pub work_id: String,
    /// The epoch of the lease.
    pub epoch: i64,
    /// COMPLETE, FAILED or CANCELED.
    pub outcome: JobStatus,
    /// Why it failed.
    pub message: Option<String>,
    /// What a check, a prune or a backup of the catalog found.
    pub upkeep: Option<upkeep::Found>,
}

pub(crate) fn read(row: &Row<'_>) -> crate::sql::Result<Task> {
    Ok(Task {
        task_id: row.parsed("task_id")?,
        account_id: row.parsed("account_id")?,
        kind: row.parsed("kind")?,
        status: row.parsed("status")?,
        vault_id: row.parsed("vault_id")?,
        snapshot_id: row.parsed_opt("snapshot_id")?,
        snapshot_hash: row.get("snapshot_hash")?,
        progress: row.get("progress")?,
        message: row.get("message")?,
        spec: row.get("spec")?,
        result: row.get("result")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
        completed_time: row.time_opt("completed_time")?,
    })
}

pub(crate) fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    task_id: &TaskId,
) -> Result<Task, CatalogError> {
    let sql = "SELECT * FROM tasks WHERE account_id = ? AND task_id = ?";
    first(
        tx,
        "read a task",
        sql,
        [account_id.as_str(), task_id.as_str()],
        read,
    )?
    .ok_or_else(|| CatalogError::not_found(Entity::Task, task_id))
}

/// Writes a task and its work, for `client_id`, or for whoever keeps the vault, or for any client of the account.
pub(crate) fn insert(
    catalog: &Catalog,
    tx: &Tx<'_>,
    account_id: &AccountId,
    kind: TaskKind,
    target: &Target<'_>,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<TaskId, CatalogError> {
    let (micros, entropy) = catalog.new_id(now);
    let task_id = TaskId::new(micros, entropy);
    let sql = "INSERT INTO tasks (task_id, account_id, kind, status, vault_id, snapshot_id, snapshot_hash, progress, spec, \
               created_time, updated_time) VALUES (?, ?, ?, 'CREATED', ?, ?, ?, 0, ?, ?, ?)";
    let values = params![
        task_id.as_str(),
        account_id.as_str(),
        kind.as_str(),
        target.vault_id.as_str(),
        target.snapshot.map(|(id, _)| id.as_str()),
        target.snapshot.map(|(_, hash)| hash),
        target.spec,
        now.0,
        now.0
    ];
    change(tx, "create a task", sql, values)?;
    let lent_to = match client_id {
        Some(_) => None,
        None => vaults::kept_by(tx, target.vault_id)?,
    };
    let new = NewWork {
        work_id: task_id.as_str(),
        kind: kind.into(),
        account_id,
        client_id,
        lent_to: lent_to.as_ref(),
        vault_id: target.vault_id,
        serial_key: target.serial_key,
        not_before: target.not_before,
    };
    work::insert(catalog, tx, &new, now)?;
    Ok(task_id)
}

/// The task. `NotFound` when it is another account's.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    task_id: &TaskId,
) -> Result<Task, CatalogError> {
    catalog.read("read a task", |tx| require(tx, account_id, task_id))
}

pub(crate) fn write_progress(
    tx: &Tx<'_>,
    task_id: &TaskId,
    percent: i64,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "UPDATE tasks SET progress = ?, updated_time = ? WHERE task_id = ?";
    change(
        tx,
        "note progress",
        sql,
        params![percent, now.0, task_id.as_str()],
    )?;
    Ok(())
}

/// Ends a task, and does in the same transaction what that means: a made vault is CREATED (or ERROR, and the jobs that
/// wait for it FAIL), a removed vault or snapshot is forgotten, damage is noted. A snapshot that could not be deleted is
/// shown again; a vault's data is tried to be deleted until that succeeds.
pub fn finish(
    catalog: &Catalog,
    report: &FinishTask,
    now: Timestamp,
) -> Result<FinishAnswer, CatalogError> {
    let kinds = [
        WorkKind::CreateVault,
        WorkKind::DeleteVault,
        WorkKind::DeleteSnapshot,
        WorkKind::CheckVault,
        WorkKind::PruneVault,
        WorkKind::BackupCatalog,
    ];
    catalog.write("finish a task", |tx| {
        let work = match work::claim(tx, &kinds, &report.work_id, report.epoch)? {
            Claim::Mine(work) => work,
            Claim::Answer(answer) => return Ok(answer),
        };
        if !matches!(
            report.outcome,
            JobStatus::Complete | JobStatus::Failed | JobStatus::Canceled
        ) {
            return Err(CatalogError::BadReport {
                work_id: report.work_id.clone(),
                outcome: report.outcome,
                detail: "a task",
            });
        }
        let task_id = TaskId::parse(&work.work_id)
            .map_err(|_| CatalogError::not_found(Entity::Task, &work.work_id))?;
        let task = require(tx, &work.account_id, &task_id)?;
        if task.kind == TaskKind::DeleteVault && report.outcome != JobStatus::Complete {
            // The vault is gone for its users; its data must follow, whatever stands in the way today.
            work::retry_later(tx, &work, RETRY_DELETE_VAULT, now)?;
            return Ok(FinishAnswer::Accepted);
        }
        work::close(tx, &work, report.outcome, report.message.as_deref(), now)?;
        if report.outcome == JobStatus::Complete {
            write_progress(tx, &task_id, 100, now)?;
        }
        settle(tx, &task, report, now)?;
        Ok(FinishAnswer::Accepted)
    })
}

fn settle(
    tx: &Tx<'_>,
    task: &Task,
    report: &FinishTask,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let is_done = report.outcome == JobStatus::Complete;
    match task.kind {
        TaskKind::CreateVault => {
            let vault = vaults::require(tx, &task.account_id, &task.vault_id)?;
            if is_done {
                return vaults::set_status(tx, &vault, VaultStatus::Created, None, now);
            }
            let message = report
                .message
                .as_deref()
                .unwrap_or("the repository could not be made");
            vaults::set_status(tx, &vault, VaultStatus::Error, Some(message), now)?;
            work::fail_waiting(
                tx,
                &task.vault_id,
                &format!("the vault could not be made: {message}"),
                now,
            )
        }
        TaskKind::DeleteVault => vaults::forget(tx, &task.vault_id),
        TaskKind::DeleteSnapshot if is_done => {
            upkeep::want_prune(tx, &task.vault_id)?;
            snapshots::forget(tx, &task.task_id)
        }
        TaskKind::DeleteSnapshot => snapshots::show_again(tx, &task.task_id, now),
        TaskKind::CheckVault | TaskKind::PruneVault => upkeep::settle(tx, task, report, now),
        TaskKind::BackupCatalog => catalog_backups::settle(tx, task, report, now),
    }
}

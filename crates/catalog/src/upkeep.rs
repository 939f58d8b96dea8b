//! Upkeep of vaults: checks and prunes as tasks, what they found, and snapshots that somebody else removed.
//!
//! When something is due is decided by [`model::upkeep`]; this module gives it the facts, writes the task with its work in
//! one transaction, and books what the agent found in the transaction that ends the task. One check or prune of a vault
//! runs at a time.

use model::upkeep::UpkeepHistory;
use model::{AccountId, ClientId, JobStatus, TaskId, Timestamp, VaultId};

use crate::conditions::{Conditions, all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::records::{Page, PageRequest, Task};
use crate::row::RowReader;
use crate::snapshots::FoundSnapshot;
use crate::sql::{Row, params};
use crate::tasks::{self, FinishTask, Target};
use crate::words::TaskKind;
use crate::{snapshots, vaults};

/// Longest JSON of what a check or a prune found, in bytes; a longer one is not kept.
const MAX_RESULT_BYTES: usize = 256 * 1024;
/// Rows of missing snapshots are removed after so many seconds.
const KEEP_MISSING_SECONDS: i64 = 90 * 86_400;

/// A part of what a vault holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// From 1; 0 is the structure, without data.
    pub part: u32,
    /// How many parts; 0 for the structure, 1 for all data.
    pub parts: u32,
}

impl Extent {
    /// Keys, snapshots, indexes, trees, and that packs are there.
    pub const STRUCTURE: Self = Self { part: 0, parts: 0 };
    /// All data.
    pub const ALL: Self = Self { part: 1, parts: 1 };

    /// Reads `n/t`, as a task's spec has it. `None` when it is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (part, parts) = text.split_once('/')?;
        let extent = Self {
            part: part.parse().ok()?,
            parts: parts.parse().ok()?,
        };
        let is_valid = extent.part <= extent.parts && (extent.part > 0 || extent.parts == 0);
        is_valid.then_some(extent)
    }

    /// Whether data is read.
    #[must_use]
    pub const fn has_data(self) -> bool {
        self.part > 0
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.part, self.parts)
    }
}

/// Damage that a check found and no later one has found mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it is.
    pub extent: Extent,
    /// The task that found it.
    pub task_id: TaskId,
    /// When.
    pub found: Timestamp,
    /// What is damaged, for a person.
    pub message: String,
}

/// What a check or a prune that got through found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// All of it, as JSON.
    pub result: String,
    /// Damage of the structure, for a person.
    pub structure_damage: Option<String>,
    /// Damage of the data that was read.
    pub data_damage: Option<String>,
    /// Whether another prune will free something.
    pub wants_prune: bool,
    /// Snapshots, by the engine's ids, that were asked for and are not in the vault.
    pub missing: Vec<String>,
    /// Snapshots that were missing before and are there again.
    pub present: Vec<String>,
    /// Snapshots that are in the vault and were not asked for, with the tags that they have.
    pub others: Vec<FoundSnapshot>,
    /// The snapshot of a backup of the catalog, by the engine's id.
    pub snapshot_hash: Option<String>,
}

/// How a vault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultHealth {
    /// The vault.
    pub vault_id: VaultId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What decides about the next check and prune.
    pub history: UpkeepHistory,
    /// When the last check that got through ended.
    pub check_ended: Option<Timestamp>,
    /// When the last prune that got through ended.
    pub prune_ended: Option<Timestamp>,
    /// Why the last check did not get through.
    pub check_trouble: Option<String>,
    /// Why the last prune did not get through.
    pub prune_trouble: Option<String>,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// Snapshots that somebody else removed from it.
    pub missing_count: u64,
}

fn read(row: &Row<'_>) -> crate::sql::Result<VaultHealth> {
    Ok(VaultHealth {
        vault_id: row.parsed("vault_id")?,
        account_id: row.parsed("account_id")?,
        history: UpkeepHistory {
            created: row.time("created_time")?,
            checked: row.time_opt("checked")?,
            part: row.get::<_, Option<u32>>("check_part")?.unwrap_or(0),
            pruned: row.time_opt("pruned")?,
            wants_prune: row.get::<_, Option<i64>>("wants_prune")? == Some(1),
            is_busy: row.flag("is_busy")?,
            has_unfinished_backup: row.flag("has_unfinished_backup")?,
        },
        check_ended: row.time_opt("check_ended")?,
        prune_ended: row.time_opt("prune_ended")?,
        check_trouble: row.get("check_trouble")?,
        prune_trouble: row.get("prune_trouble")?,
        damage: Vec::new(),
        missing_count: 0,
    })
}

const HEALTH: &str = "SELECT vaults.vault_id, vaults.account_id, vaults.created_time, upkeep.checked, \
     upkeep.check_part, upkeep.check_ended, upkeep.check_trouble, upkeep.pruned, upkeep.prune_ended, \
     upkeep.prune_trouble, upkeep.wants_prune, \
     EXISTS (SELECT 1 FROM work WHERE work.vault_id = vaults.vault_id AND work.state <> 'DONE' \
     AND work.kind IN ('CHECK_VAULT', 'PRUNE_VAULT')) AS is_busy, \
     EXISTS (SELECT 1 FROM work WHERE work.vault_id = vaults.vault_id AND work.state <> 'DONE' \
     AND work.kind = 'BACKUP') AS has_unfinished_backup \
     FROM vaults LEFT JOIN vault_upkeep upkeep ON upkeep.vault_id = vaults.vault_id \
     WHERE vaults.deleted_time IS NULL AND vaults.status = 'CREATED'";

/// How all vaults are that can be looked after, of all accounts: what the scheduler decides on. Without their damage.
pub fn histories(catalog: &Catalog) -> Result<Vec<VaultHealth>, CatalogError> {
    let sql = format!("{HEALTH} ORDER BY vaults.vault_id");
    catalog.read("read the upkeep of vaults", |tx| {
        all(tx, "read the upkeep of vaults", &sql, [], read)
    })
}

/// How the account's vaults are.
pub fn health(catalog: &Catalog, account_id: &AccountId) -> Result<Vec<VaultHealth>, CatalogError> {
    let operation = "read the health of vaults";
    let sql = format!(
        "{HEALTH} AND vaults.account_id = ? \
         ORDER BY vaults.created_time, vaults.vault_id"
    );
    catalog.read(operation, |tx| {
        let mut found = all(tx, operation, &sql, [account_id.as_str()], read)?;
        for vault in &mut found {
            let id = [vault.vault_id.as_str()];
            vault.damage = all(
                tx,
                operation,
                "SELECT * FROM vault_damage WHERE vault_id = ? ORDER BY parts, part",
                id,
                |row| {
                    Ok(Damage {
                        extent: Extent {
                            part: row.get("part")?,
                            parts: row.get("parts")?,
                        },
                        task_id: row.parsed("task_id")?,
                        found: row.time("found_time")?,
                        message: row.get("message")?,
                    })
                },
            )?;
            let sql = "SELECT COUNT(*) AS n FROM snapshots WHERE vault_id = ? AND missing_since IS NOT NULL";
            let count = first(tx, operation, sql, id, |row| row.get::<_, i64>("n"))?;
            vault.missing_count = count.unwrap_or(0).unsigned_abs();
        }
        Ok(found)
    })
}

/// What is to be started. A prune reads no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewUpkeep {
    /// `CheckVault` or `PruneVault`.
    pub kind: TaskKind,
    /// What a check reads besides the structure.
    pub extent: Extent,
    /// Whether the check is one of the round that reads all data part by part.
    pub is_of_round: bool,
}

impl NewUpkeep {
    /// A prune.
    #[must_use]
    pub const fn prune() -> Self {
        Self {
            kind: TaskKind::PruneVault,
            extent: Extent::STRUCTURE,
            is_of_round: false,
        }
    }
}

/// Creates the task of a check or a prune. One of the same kind and with the same spec that nobody has begun yet is
/// given instead.
pub fn start(
    catalog: &Catalog,
    (account_id, vault_id): (&AccountId, &VaultId),
    new: &NewUpkeep,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<TaskId, CatalogError> {
    let operation = "start the upkeep of a vault";
    catalog.write(operation, |tx| {
        vaults::require(tx, account_id, vault_id)?;
        let sql = "SELECT t.task_id FROM work w JOIN tasks t ON t.task_id = w.work_id \
                   WHERE w.vault_id = ? AND w.state = 'QUEUED' AND w.kind = ? AND t.spec = ?";
        let spec = new.extent.to_string();
        let values = params![vault_id.as_str(), new.kind.as_str(), spec];
        if let Some(task_id) = first(tx, operation, sql, values, |row| row.parsed("task_id"))? {
            return Ok(task_id);
        }
        let serial_key = format!("upkeep-{vault_id}");
        let target = Target {
            spec: Some(&spec),
            serial_key: Some(&serial_key),
            ..Target::of(vault_id, now)
        };
        let task_id = tasks::insert(catalog, tx, account_id, new.kind, &target, client_id, now)?;
        ensure_row(tx, vault_id)?;
        if new.kind == TaskKind::PruneVault {
            // What is deleted from now on is for the next one.
            let sql = "UPDATE vault_upkeep SET pruned = ?, wants_prune = 0 WHERE vault_id = ?";
            change(tx, operation, sql, params![now.0, vault_id.as_str()])?;
        } else {
            let sql = "UPDATE vault_upkeep SET checked = ?, check_part = COALESCE(?, check_part) WHERE vault_id = ?";
            let part = new.is_of_round.then_some(new.extent.part);
            change(tx, operation, sql, params![now.0, part, vault_id.as_str()])?;
        }
        Ok(task_id)
    })
}

fn ensure_row(tx: &Tx<'_>, vault_id: &VaultId) -> Result<(), CatalogError> {
    let sql = "INSERT INTO vault_upkeep (vault_id, check_part, wants_prune) VALUES (?, 0, 0) \
               ON CONFLICT (vault_id) DO NOTHING";
    change(tx, "note an upkeep", sql, [vault_id.as_str()])?;
    Ok(())
}

/// Notes that a vault holds something to free.
pub(crate) fn want_prune(tx: &Tx<'_>, vault_id: &VaultId) -> Result<(), CatalogError> {
    ensure_row(tx, vault_id)?;
    let sql = "UPDATE vault_upkeep SET wants_prune = 1 WHERE vault_id = ?";
    change(tx, "note an upkeep", sql, [vault_id.as_str()])?;
    Ok(())
}

/// Forgets what is known of a vault that is deleted.
pub(crate) fn forget(tx: &Tx<'_>, vault_id: &VaultId) -> Result<(), CatalogError> {
    for sql in [
        "DELETE FROM vault_upkeep WHERE vault_id = ?",
        "DELETE FROM vault_damage WHERE vault_id = ?",
    ] {
        change(tx, "forget an upkeep", sql, [vault_id.as_str()])?;
    }
    Ok(())
}

/// Books the end of a check or a prune.
pub(crate) fn settle(
    tx: &Tx<'_>,
    task: &Task,
    report: &FinishTask,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "book an upkeep";
    ensure_row(tx, &task.vault_id)?;
    let (ended, trouble) = match task.kind {
        TaskKind::PruneVault => ("prune_ended", "prune_trouble"),
        _ => ("check_ended", "check_trouble"),
    };
    let Some(found) = &report.upkeep else {
        if report.outcome == JobStatus::Failed {
            let sql = format!("UPDATE vault_upkeep SET {trouble} = ? WHERE vault_id = ?");
            let message = report.message.as_deref().unwrap_or("it failed");
            change(
                tx,
                operation,
                &sql,
                params![message, task.vault_id.as_str()],
            )?;
        }
        if task.kind == TaskKind::PruneVault {
            // What it was started for is still there.
            want_prune(tx, &task.vault_id)?;
        } else {
            step_back(tx, task)?;
        }
        return Ok(());
    };
    let sql = format!("UPDATE vault_upkeep SET {ended} = ?, {trouble} = NULL WHERE vault_id = ?");
    change(tx, operation, &sql, params![now.0, task.vault_id.as_str()])?;
    keep_result(tx, task, found)?;
    if found.wants_prune {
        want_prune(tx, &task.vault_id)?;
    }
    if task.kind == TaskKind::CheckVault {
        note_damage(
            tx,
            task,
            Extent::STRUCTURE,
            found.structure_damage.as_deref(),
            now,
        )?;
        let extent = task.spec.as_deref().and_then(Extent::of);
        if let Some(extent) = extent.filter(|extent| extent.has_data()) {
            note_damage(tx, task, extent, found.data_damage.as_deref(), now)?;
        }
    }
    note_missing(tx, &task.vault_id, found, now)?;
    snapshots::list_others(tx, task, &found.others)
}

/// Writes what was found into the row of the task.
pub(crate) fn keep_result(tx: &Tx<'_>, task: &Task, found: &Found) -> Result<(), CatalogError> {
    if found.result.len() <= MAX_RESULT_BYTES {
        let sql = "UPDATE tasks SET result = ? WHERE task_id = ?";
        let values = params![found.result, task.task_id.as_str()];
        change(tx, "note what a task found", sql, values)?;
    }
    Ok(())
}

/// A part of the data that was not read is the next check's again: else the round would leave it out.
fn step_back(tx: &Tx<'_>, task: &Task) -> Result<(), CatalogError> {
    let Some(extent) = task.spec.as_deref().and_then(Extent::of) else {
        return Ok(());
    };
    let sql = "UPDATE vault_upkeep SET check_part = ? WHERE vault_id = ? AND check_part = ? AND check_part > 0";
    let values = params![
        i64::from(extent.part) - 1,
        task.vault_id.as_str(),
        extent.part
    ];
    change(tx, "note an upkeep", sql, values)?;
    Ok(())
}

/// Replaces what is known of `extent`, and of the parts of former divisions that lie in it.
fn note_damage(
    tx: &Tx<'_>,
    task: &Task,
    extent: Extent,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "note damage";
    let vault = task.vault_id.as_str();
    if extent.has_data() {
        // A part is what leaves the same rest when divided by their number, so a part of 28 lies in one of 14.
        let sql = "DELETE FROM vault_damage WHERE vault_id = ? AND parts > 0 AND parts % ? = 0 AND (part - 1) % ? = ?";
        let values = params![vault, extent.parts, extent.parts, extent.part - 1];
        change(tx, operation, sql, values)?;
        forget_former_divisions(tx, vault, extent.parts)?;
    } else {
        let sql = "DELETE FROM vault_damage WHERE vault_id = ? AND parts = 0";
        change(tx, operation, sql, [vault])?;
    }
    if let Some(message) = message {
        let sql = "INSERT INTO vault_damage (vault_id, part, parts, task_id, found_time, message) \
                   VALUES (?, ?, ?, ?, ?, ?)";
        let values = params![
            vault,
            extent.part,
            extent.parts,
            task.task_id.as_str(),
            now.0,
            message
        ];
        change(tx, operation, sql, values)?;
    }
    Ok(())
}

/// Forgets damage of other divisions when every part of this one was read since it was found: what is damaged still is noted
/// under this division then.
fn forget_former_divisions(tx: &Tx<'_>, vault: &str, parts: u32) -> Result<(), CatalogError> {
    let sql = "DELETE FROM vault_damage WHERE vault_id = ? AND parts > 0 AND parts <> ? AND ? = \
               (SELECT COUNT(DISTINCT tasks.spec) FROM tasks WHERE tasks.vault_id = ? AND tasks.kind = 'CHECK_VAULT' \
               AND tasks.result IS NOT NULL AND tasks.spec LIKE ? AND tasks.created_time >= vault_damage.found_time)";
    let values = params![vault, parts, parts, vault, format!("%/{parts}")];
    change(tx, "note damage", sql, values)?;
    Ok(())
}

fn note_missing(
    tx: &Tx<'_>,
    vault_id: &VaultId,
    found: &Found,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "mark missing snapshots";
    let gone = "UPDATE snapshots SET missing_since = ?, updated_time = ? WHERE vault_id = ? AND snapshot_hash = ? \
                AND missing_since IS NULL AND delete_task_id IS NULL";
    for hash in &found.missing {
        change(
            tx,
            operation,
            gone,
            params![now.0, now.0, vault_id.as_str(), hash],
        )?;
    }
    let back = "UPDATE snapshots SET missing_since = NULL, updated_time = ? WHERE vault_id = ? AND snapshot_hash = ?";
    for hash in &found.present {
        change(tx, operation, back, params![now.0, vault_id.as_str(), hash])?;
    }
    Ok(())
}

/// The engine's ids of the snapshots that the catalog believes in a vault, and of those that it knows as missing.
pub fn expected(
    catalog: &Catalog,
    vault_id: &VaultId,
) -> Result<(Vec<String>, Vec<String>), CatalogError> {
    let operation = "read a vault's snapshots";
    let sql = "SELECT snapshot_hash, missing_since IS NOT NULL AS is_missing FROM snapshots \
               WHERE vault_id = ? AND delete_task_id IS NULL ORDER BY snapshot_hash";
    let rows = catalog.read(operation, |tx| {
        all(tx, operation, sql, [vault_id.as_str()], |row| {
            Ok((
                row.get::<_, String>("snapshot_hash")?,
                row.flag("is_missing")?,
            ))
        })
    })?;
    let (missing, present): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, gone)| *gone);
    let hashes = |rows: Vec<(String, bool)>| rows.into_iter().map(|(hash, _)| hash).collect();
    Ok((hashes(present), hashes(missing)))
}

/// Removes the rows of snapshots that have been missing for long. Says how many.
pub fn forget_missing(catalog: &Catalog, now: Timestamp) -> Result<usize, CatalogError> {
    let operation = "forget missing snapshots";
    let before = now.plus_seconds(-KEEP_MISSING_SECONDS).0;
    let sql = "SELECT snapshot_id FROM snapshots WHERE missing_since IS NOT NULL AND missing_since < ? LIMIT 1";
    let found = catalog.read(operation, |tx| {
        first(tx, operation, sql, [before], |row| {
            row.get::<_, String>("snapshot_id")
        })
    })?;
    if found.is_none() {
        return Ok(0);
    }
    catalog.write(operation, |tx| {
        let sql = "DELETE FROM snapshots WHERE missing_since IS NOT NULL AND missing_since < ?";
        change(tx, operation, sql, [before])
    })
}

/// A page of the account's tasks, the newest first, of one vault or of all.
pub fn tasks(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: Option<&VaultId>,
    page: PageRequest,
) -> Result<Page<Task>, CatalogError> {
    let operation = "list tasks";
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and_equal("vault_id", vault_id.map(VaultId::as_str));
    catalog.read(operation, |tx| {
        let order = "created_time DESC, task_id DESC";
        conditions.page(tx, operation, ("tasks", order), page, tasks::read)
    })
}

/// Asks for the end of a check, a prune or a backup of the catalog.
pub fn cancel(
    catalog: &Catalog,
    account_id: &AccountId,
    task_id: &TaskId,
    now: Timestamp,
) -> Result<JobStatus, CatalogError> {
    let operation = "cancel the upkeep of a vault";
    catalog.write(operation, |tx| {
        let task = tasks::require(tx, account_id, task_id)?;
        let may_end = [
            TaskKind::CheckVault,
            TaskKind::PruneVault,
            TaskKind::BackupCatalog,
        ];
        if !may_end.contains(&task.kind) {
            return Err(CatalogError::not_found(crate::Entity::Task, task_id));
        }
        crate::work::request_cancel(tx, task.kind.into(), account_id, task_id.as_str(), now)
    })
}

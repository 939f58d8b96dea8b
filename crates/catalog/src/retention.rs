//! What becomes of snapshots by time: promises, holds, the trash, and what the rules let go.
//!
//! The decision is [`model::retention::decide`]; this module gives it the facts of one plan in one vault and does, in the
//! same transaction, what it says. Deleting means what DeleteSnapshot means: hidden at once, removed after the trash.

use model::retention::{RetentionRule, SnapshotFacts, Verdict, decide};
use model::{AccountId, ClientId, PlanId, SnapshotId, SnapshotStatus, TaskId, Timestamp, VaultId};

use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::Snapshot;
use crate::row::{RowReader, json, text};
use crate::snapshots;
use crate::sql::{Row, params};

/// The snapshots that are judged together: those of one plan in one vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Whose they are.
    pub account_id: AccountId,
    /// Where they are.
    pub vault_id: VaultId,
    /// What made them; adopted ones have none.
    pub plan_id: Option<PlanId>,
}

/// One snapshot with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// When the server received it.
    pub received: Timestamp,
    /// Bytes that it added to the vault.
    pub actual_bytes: i64,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// A snapshot in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// Where it is.
    pub vault_id: VaultId,
    /// The task that removes it.
    pub task_id: TaskId,
    /// Until when it can be taken back.
    pub until: Timestamp,
}

struct Row1 {
    snapshot_id: SnapshotId,
    actual_bytes: i64,
    facts: SnapshotFacts,
}

fn read(row: &Row<'_>) -> crate::sql::Result<Row1> {
    let retention: Option<i64> = row.get("retention")?;
    let rule = match row.get::<_, Option<String>>("retention_rule")? {
        Some(text) => RetentionRule::read(&text),
        None => Some(RetentionRule::days(retention, false)),
    };
    Ok(Row1 {
        snapshot_id: row.parsed("snapshot_id")?,
        actual_bytes: row.get("actual_bytes")?,
        facts: SnapshotFacts {
            received: row.time("created_time")?,
            is_complete: row.parsed::<SnapshotStatus>("status")? == SnapshotStatus::Complete,
            rule,
            told_end: row.time_opt("expire_time")?,
            is_held: row.get::<_, Option<String>>("hold_reason")?.is_some(),
        },
    })
}

/// The snapshots of a group, the oldest first.
fn rows(tx: &Tx<'_>, group: &Group) -> Result<Vec<Row1>, CatalogError> {
    let operation = "read a plan's snapshots";
    let ids = [group.account_id.as_str(), group.vault_id.as_str()];
    let start = "SELECT * FROM snapshots WHERE delete_task_id IS NULL AND missing_since IS NULL AND account_id = ? AND vault_id = ?";
    match &group.plan_id {
        Some(plan_id) => {
            let sql = format!("{start} AND plan_id = ? ORDER BY created_time, snapshot_id");
            all(
                tx,
                operation,
                &sql,
                [ids[0], ids[1], plan_id.as_str()],
                read,
            )
        }
        None => {
            let sql = format!("{start} AND plan_id IS NULL ORDER BY created_time, snapshot_id");
            all(tx, operation, &sql, ids, read)
        }
    }
}

/// Whether the plan says today that its newest good snapshot stays.
fn keeps_latest(tx: &Tx<'_>, group: &Group) -> Result<bool, CatalogError> {
    let sql = "SELECT keep_latest_snapshots FROM plans WHERE plan_id = ?";
    let found = first(tx, "read a plan", sql, [text(&group.plan_id)], |row| {
        row.get::<_, Option<i64>>("keep_latest_snapshots")
    })?;
    Ok(found.flatten() == Some(1))
}

/// Notes what a snapshot that was just written is promised: the rule of its plan as it is now.
pub(crate) fn promise(
    catalog: &Catalog,
    tx: &Tx<'_>,
    snapshot: &Snapshot,
) -> Result<(), CatalogError> {
    let operation = "promise a retention";
    let rule = promised_rule(tx, snapshot)?;
    let sql = "UPDATE snapshots SET retention_rule = ? WHERE snapshot_id = ?";
    change(
        tx,
        operation,
        sql,
        params![json(&rule), snapshot.snapshot_id.as_str()],
    )?;
    if rule.advanced.is_empty() {
        return Ok(());
    }
    // One of its period is told its later end at once: an immutable vault keeps to what was told.
    let group = Group {
        account_id: snapshot.account_id.clone(),
        vault_id: snapshot.vault_id.clone(),
        plan_id: snapshot.plan_id.clone(),
    };
    let judged = judge(catalog, tx, &group, None, snapshot.created_time)?;
    judged
        .iter()
        .filter(|judged| judged.snapshot_id == snapshot.snapshot_id)
        .try_for_each(|judged| tell_end(tx, judged))
}

/// The rule of the owned plan that made the job, else that of the plan, else the days that the job says.
fn promised_rule(tx: &Tx<'_>, snapshot: &Snapshot) -> Result<RetentionRule, CatalogError> {
    let sql = "SELECT keep_latest_snapshots, retention_rule FROM plans WHERE plan_id = ?";
    let plan = first(tx, "read a plan", sql, [text(&snapshot.plan_id)], |row| {
        Ok((
            row.get::<_, Option<i64>>("keep_latest_snapshots")?,
            row.get::<_, Option<String>>("retention_rule")?,
        ))
    })?;
    let (keep_latest, rule) = plan.unwrap_or_default();
    let days = RetentionRule::days(snapshot.retention, keep_latest == Some(1));
    Ok(match rule.as_deref().map(RetentionRule::read) {
        // The job may be older than the plan's present rule: it keeps its own days.
        Some(Some(rule)) => RetentionRule {
            days: snapshot.retention,
            ..rule
        },
        // A rule that cannot be read keeps everything.
        Some(None) => RetentionRule::default(),
        None => days,
    })
}

fn judge(
    catalog: &Catalog,
    tx: &Tx<'_>,
    group: &Group,
    other_rule: Option<&RetentionRule>,
    now: Timestamp,
) -> Result<Vec<Judged>, CatalogError> {
    let rows = rows(tx, group)?;
    let facts: Vec<SnapshotFacts> = rows
        .iter()
        .map(|row| match other_rule {
            Some(rule) => SnapshotFacts {
                rule: Some(rule.clone()),
                told_end: None,
                ..row.facts.clone()
            },
            None => row.facts.clone(),
        })
        .collect();
    let keeps = other_rule.is_none() && keeps_latest(tx, group)?;
    let verdicts = decide(&facts, keeps, catalog.zone(), now);
    Ok(rows
        .into_iter()
        .zip(verdicts)
        .map(|(row, verdict)| Judged {
            snapshot_id: row.snapshot_id,
            received: row.facts.received,
            actual_bytes: row.actual_bytes,
            verdict,
        })
        .collect())
}

fn tell_end(tx: &Tx<'_>, judged: &Judged) -> Result<(), CatalogError> {
    let Verdict::Keep { end: Some(end), .. } = judged.verdict else {
        return Ok(());
    };
    let sql = "UPDATE snapshots SET expire_time = ? WHERE snapshot_id = ? AND expire_time < ?";
    let values = params![end.0, judged.snapshot_id.as_str(), end.0];
    change(tx, "tell a snapshot's end", sql, values)?;
    Ok(())
}

/// Groups behind `after` that have a snapshot whose told end has come, of all accounts, at most `limit`.
pub fn groups_with_ended(
    catalog: &Catalog,
    now: Timestamp,
    after: Option<&Group>,
    limit: u32,
) -> Result<Vec<Group>, CatalogError> {
    let operation = "find snapshots whose time is over";
    let sql = "SELECT account_id, vault_id, plan_id FROM snapshots \
               WHERE expire_time IS NOT NULL AND expire_time <= ? AND delete_task_id IS NULL AND missing_since IS NULL \
               AND hold_reason IS NULL \
               AND (account_id, vault_id, COALESCE(plan_id, '')) > (?, ?, ?) \
               GROUP BY account_id, vault_id, plan_id \
               ORDER BY account_id, vault_id, COALESCE(plan_id, '') LIMIT ?";
    let values = params![
        now.0,
        after.map_or("", |group| group.account_id.as_str()),
        after.map_or("", |group| group.vault_id.as_str()),
        after
            .and_then(|group| text(&group.plan_id))
            .unwrap_or_default(),
        limit
    ];
    catalog.read(operation, |tx| {
        all(tx, operation, sql, values, |row| {
            Ok(Group {
                account_id: row.parsed("account_id")?,
                vault_id: row.parsed("vault_id")?,
                plan_id: row.parsed_opt("plan_id")?,
            })
        })
    })
}

/// Lets go what the rules of a group let go, by tasks for `client_id`. Snapshots that a restore needs wait for the next
/// time. Says which went.
pub fn apply(
    catalog: &Catalog,
    group: &Group,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<Vec<SnapshotId>, CatalogError> {
    catalog.write("apply retention", |tx| {
        let mut gone = Vec::new();
        for judged in judge(catalog, tx, group, None, now)? {
            if judged.verdict != Verdict::Expire {
                tell_end(tx, &judged)?;
                continue;
            }
            match snapshots::delete_in(
                catalog,
                tx,
                &group.account_id,
                &judged.snapshot_id,
                client_id,
                now,
            ) {
                Ok(_) => gone.push(judged.snapshot_id),
                Err(
                    CatalogError::SnapshotInUse { .. }
                    | CatalogError::SnapshotHeld { .. }
                    | CatalogError::Worm { .. }
                    | CatalogError::NotFound { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    })
}

/// What would become of the account's snapshots of some plans (all, without any) at `now`: by what they were promised, or
/// by `other_rule` alone. Changes nothing.
pub fn preview(
    catalog: &Catalog,
    account_id: &AccountId,
    (vault_id, plan_ids): (Option<&VaultId>, Option<&[String]>),
    other_rule: Option<&RetentionRule>,
    now: Timestamp,
) -> Result<Vec<(Group, Vec<Judged>)>, CatalogError> {
    let operation = "preview retention";
    let sql = "SELECT vault_id, plan_id FROM snapshots WHERE account_id = ? AND delete_task_id IS NULL AND missing_since IS NULL \
               GROUP BY vault_id, plan_id ORDER BY vault_id, COALESCE(plan_id, '')";
    catalog.read(operation, |tx| {
        let groups = all(tx, operation, sql, [account_id.as_str()], |row| {
            Ok((
                row.parsed::<VaultId>("vault_id")?,
                row.parsed_opt::<PlanId>("plan_id")?,
            ))
        })?;
        groups
            .into_iter()
            .filter(|(vault, _)| vault_id.is_none_or(|wanted| wanted == vault))
            .filter(|(_, plan)| {
                plan_ids.is_none_or(|ids| {
                    plan.as_ref()
                        .is_some_and(|plan| ids.iter().any(|id| id == plan.as_str()))
                })
            })
            .map(|(vault_id, plan_id)| {
                let group = Group {
                    account_id: account_id.clone(),
                    vault_id,
                    plan_id,
                };
                let judged = judge(catalog, tx, &group, other_rule, now)?;
                Ok((group, judged))
            })
            .collect()
    })
}

/// Holds a snapshot (`Some`: why) or lets it go again. A held snapshot is not deleted, by nobody.
pub fn hold(
    catalog: &Catalog,
    account_id: &AccountId,
    snapshot_id: &SnapshotId,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "hold a snapshot";
    catalog.write(operation, |tx| {
        let snapshot = snapshots::require(tx, account_id, snapshot_id)?;
        let sql = "UPDATE snapshots SET hold_reason = ?, updated_time = ? WHERE snapshot_id = ?";
        let values = params![reason, now.0, snapshot.snapshot_id.as_str()];
        change(tx, operation, sql, values)?;
        Ok(())
    })
}

pub(crate) fn refuse_held(tx: &Tx<'_>, snapshot_id: &SnapshotId) -> Result<(), CatalogError> {
    let sql = "SELECT hold_reason FROM snapshots WHERE snapshot_id = ?";
    let reason = first(tx, "read a hold", sql, [snapshot_id.as_str()], |row| {
        row.get::<_, Option<String>>("hold_reason")
    })?;
    match reason.flatten() {
        Some(reason) => Err(CatalogError::SnapshotHeld {
            snapshot_id: snapshot_id.to_string(),
            reason,
        }),
        None => Ok(()),
    }
}

/// Takes a snapshot out of the trash. One whose time is over is held from then on: it would go again at once.
/// `SnapshotGoing` once an agent removes it.
pub fn take_back(
    catalog: &Catalog,
    account_id: &AccountId,
    snapshot_id: &SnapshotId,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "take a snapshot back";
    let sql = "SELECT delete_task_id FROM snapshots WHERE account_id = ? AND snapshot_id = ? \
               AND delete_task_id IS NOT NULL";
    let ids = [account_id.as_str(), snapshot_id.as_str()];
    catalog.write(operation, |tx| {
        let task_id: TaskId = first(tx, operation, sql, ids, |row| row.parsed("delete_task_id"))?
            .ok_or_else(|| CatalogError::not_found(Entity::Snapshot, snapshot_id))?;
        let stop = "DELETE FROM work WHERE work_id = ? AND state = 'QUEUED'";
        if change(tx, operation, stop, [task_id.as_str()])? == 0 {
            return Err(CatalogError::SnapshotGoing { snapshot_id: snapshot_id.to_string() });
        }
        let end = "UPDATE tasks SET status = 'CANCELED', completed_time = ?, updated_time = ? WHERE task_id = ?";
        change(tx, operation, end, params![now.0, now.0, task_id.as_str()])?;
        // Its rules would let it go again at once.
        let hold = "UPDATE snapshots SET hold_reason = 'taken out of the trash' \
                    WHERE snapshot_id = ? AND hold_reason IS NULL AND expire_time <= ?";
        change(tx, operation, hold, params![snapshot_id.as_str(), now.0])?;
        snapshots::show_again(tx, &task_id, now)
    })
}

/// The account's snapshots in the trash, those that go first in front.
pub fn trash(catalog: &Catalog, account_id: &AccountId) -> Result<Vec<Trashed>, CatalogError> {
    let operation = "list the trash";
    let sql = "SELECT s.snapshot_id, s.vault_id, s.delete_task_id, w.not_before FROM work w \
               JOIN snapshots s ON s.delete_task_id = w.work_id \
               WHERE w.account_id = ? AND w.state = 'QUEUED' ORDER BY w.not_before, w.work_id";
    catalog.read(operation, |tx| {
        all(tx, operation, sql, [account_id.as_str()], |row| {
            Ok(Trashed {
                snapshot_id: row.parsed("snapshot_id")?,
                vault_id: row.parsed("vault_id")?,
                task_id: row.parsed("delete_task_id")?,
                until: row.time("not_before")?,
            })
        })
    })
}

//! Snapshots: what complete and partial jobs leave in a vault.
//!
//! A search goes on from a token that names the last row that was given out (its sort value and id), not a number of
//! rows: rows that come and go between two pages neither repeat nor hide others.

mod others;

use model::snapshot_query::{
    SnapshotField, SnapshotOrder, SnapshotQuery, SnapshotSort, SnapshotTest,
};
use model::{
    AccountId, ClientId, JobId, JobStatus, Predicate, SnapshotId, SnapshotStatus, TaskId,
    Timestamp, VaultId,
};

use crate::conditions::{Conditions, all, change, first, marks};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::jobs::add_test;
use crate::records::{Job, Snapshot};
use crate::row::{RowReader, json, seconds, text};
use crate::sql::{Row, Value, params};
use crate::words::TaskKind;
use crate::{retention, tasks, vaults};

pub(crate) use others::list_others;
pub use others::{FoundSnapshot, adopt};

const SECONDS_PER_DAY: i64 = 86_400;

/// A snapshot as the agent that made it reports it; the rest comes from the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The engine's snapshot id, 64 hex digits.
    pub snapshot_hash: String,
    /// The snapshot it was compared with.
    pub parent_snapshot_hash: Option<String>,
    /// Source paths as they were backed up; `None` means as the job says.
    pub paths: Option<Vec<String>>,
}

/// One page of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The rows, in order.
    pub rows: Vec<Snapshot>,
    /// How many match in all.
    pub total: u64,
    /// Where to go on; absent on the last page.
    pub next_token: Option<String>,
}

pub(crate) fn read(row: &Row<'_>) -> crate::sql::Result<Snapshot> {
    Ok(Snapshot {
        snapshot_id: row.parsed("snapshot_id")?,
        account_id: row.parsed("account_id")?,
        vault_id: row.parsed("vault_id")?,
        source_type: row.parsed("source_type")?,
        snapshot_hash: row.get("snapshot_hash")?,
        parent_snapshot_hash: row.get("parent_snapshot_hash")?,
        job_id: row.parsed_opt("job_id")?,
        plan_id: row.parsed_opt("plan_id")?,
        client_id: row.parsed_opt("client_id")?,
        instance_id: row.parsed_opt("instance_id")?,
        bucket: row.get("bucket")?,
        file_system_id: row.get("file_system_id")?,
        instance_name: row.get("instance_name")?,
        table_name: row.get("table_name")?,
        prefix: row.get("prefix")?,
        create_time: row.time_opt("create_time")?,
        backup_type: row.get("backup_type")?,
        status: row.parsed("status")?,
        paths: row.json("paths")?,
        include: row.get("include")?,
        exclude: row.get("exclude")?,
        retention: row.get("retention")?,
        expire_time: row.time_opt("expire_time")?,
        created_time: row.time("created_time")?,
        start_time: row.time_opt("start_time")?,
        complete_time: row.time("complete_time")?,
        updated_time: row.time("updated_time")?,
        bytes_total: row.get("bytes_total")?,
        bytes_done: row.get("bytes_done")?,
        actual_bytes: row.get("actual_bytes")?,
        items_total: row.get("items_total")?,
        items_done: row.get("items_done")?,
        actual_items: row.get("actual_items")?,
        error_file: row.get("error_file")?,
    })
}

fn insert(tx: &Tx<'_>, snapshot: &Snapshot) -> Result<(), CatalogError> {
    let operation = "create a snapshot";
    let taken = "SELECT 1 FROM snapshots WHERE vault_id = ? AND snapshot_hash = ?";
    if first(
        tx,
        operation,
        taken,
        [snapshot.vault_id.as_str(), &snapshot.snapshot_hash],
        |_| Ok(()),
    )?
    .is_some()
    {
        return Err(CatalogError::AlreadyExists {
            entity: Entity::Snapshot,
            id: snapshot.snapshot_hash.clone(),
        });
    }
    let sql = format!(
        "INSERT INTO snapshots (snapshot_id, account_id, vault_id, source_type, snapshot_hash, parent_snapshot_hash, \
         job_id, plan_id, client_id, instance_id, bucket, file_system_id, instance_name, table_name, prefix, \
         create_time, backup_type, status, paths, include, exclude, retention, expire_time, created_time, start_time, \
         complete_time, updated_time, bytes_total, bytes_done, actual_bytes, items_total, items_done, actual_items, \
         error_file) VALUES ({})",
        marks(34)
    );
    let values = params![
        snapshot.snapshot_id.as_str(),
        snapshot.account_id.as_str(),
        snapshot.vault_id.as_str(),
        snapshot.source_type.as_str(),
        snapshot.snapshot_hash,
        snapshot.parent_snapshot_hash,
        text(&snapshot.job_id),
        text(&snapshot.plan_id),
        text(&snapshot.client_id),
        text(&snapshot.instance_id),
        snapshot.bucket,
        snapshot.file_system_id,
        snapshot.instance_name,
        snapshot.table_name,
        snapshot.prefix,
        seconds(snapshot.create_time),
        snapshot.backup_type,
        snapshot.status.as_str(),
        json(&snapshot.paths),
        snapshot.include,
        snapshot.exclude,
        snapshot.retention,
        seconds(snapshot.expire_time),
        snapshot.created_time.0,
        seconds(snapshot.start_time),
        snapshot.complete_time.0,
        snapshot.updated_time.0,
        snapshot.bytes_total,
        snapshot.bytes_done,
        snapshot.actual_bytes,
        snapshot.items_total,
        snapshot.items_done,
        snapshot.actual_items,
        snapshot.error_file
    ];
    change(tx, operation, &sql, values)?;
    Ok(())
}

/// Writes the snapshot of a job that ends now.
pub(crate) fn insert_for_job(
    catalog: &Catalog,
    tx: &Tx<'_>,
    job: &Job,
    report: &SnapshotReport,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let Some(vault_id) = job.vault_id.clone() else {
        return Err(CatalogError::not_found(Entity::Vault, ""));
    };
    // The vault may have been adopted between the snapshot and this report of it.
    let known = of_job(tx, &job.account_id, &job.job_id)?;
    if known.is_some_and(|(vault, hash)| vault == vault_id.as_str() && hash == report.snapshot_hash)
    {
        return Ok(());
    }
    let (micros, entropy) = catalog.new_id(now);
    let status = match job.status {
        JobStatus::Complete => SnapshotStatus::Complete,
        _ => SnapshotStatus::PartialComplete,
    };
    let days = job.retention.filter(|days| *days > 0);
    let snapshot = Snapshot {
        snapshot_id: SnapshotId::new(micros, entropy),
        account_id: job.account_id.clone(),
        vault_id,
        source_type: job.source_type,
        snapshot_hash: report.snapshot_hash.clone(),
        parent_snapshot_hash: report.parent_snapshot_hash.clone(),
        job_id: Some(job.job_id.clone()),
        plan_id: job.plan_id.clone(),
        client_id: job.client_id.clone(),
        instance_id: job.instance_id.clone(),
        bucket: job.bucket.clone(),
        file_system_id: job.file_system_id.clone(),
        instance_name: job.instance_name.clone(),
        table_name: job.source_fields.table_name.clone(),
        prefix: job.source_fields.prefix.clone(),
        create_time: job.source_fields.create_time.map(Timestamp),
        backup_type: job.backup_type.clone(),
        status,
        paths: report.paths.clone().unwrap_or_else(|| job.paths.clone()),
        include: job.include.clone(),
        exclude: job.exclude.clone(),
        retention: job.retention,
        expire_time: days.map(|days| now.plus_seconds(days.saturating_mul(SECONDS_PER_DAY))),
        created_time: now,
        start_time: job.start_time,
        complete_time: now,
        updated_time: now,
        bytes_total: job.progress.bytes_total,
        bytes_done: job.progress.bytes_done,
        actual_bytes: job.progress.actual_bytes,
        items_total: job.progress.items_total,
        items_done: job.progress.items_done,
        actual_items: job.progress.actual_items,
        error_file: None,
    };
    insert(tx, &snapshot)?;
    retention::promise(catalog, tx, &snapshot)
}

/// Vault and hash of the snapshot that a job made.
fn of_job(
    tx: &Tx<'_>,
    account_id: &AccountId,
    job_id: &JobId,
) -> Result<Option<(String, String)>, CatalogError> {
    let sql = "SELECT vault_id, snapshot_hash FROM snapshots WHERE account_id = ? AND job_id = ?";
    let ids = [account_id.as_str(), job_id.as_str()];
    first(tx, "read a snapshot", sql, ids, |row| {
        Ok((row.get("vault_id")?, row.get("snapshot_hash")?))
    })
}

/// An id for a snapshot to be adopted.
#[must_use]
pub fn new_id(catalog: &Catalog, now: Timestamp) -> SnapshotId {
    let (micros, entropy) = catalog.new_id(now);
    SnapshotId::new(micros, entropy)
}

/// The snapshot. `NotFound` when it is another account's or being deleted, `SnapshotMissing` when somebody else removed
/// it from its vault.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    snapshot_id: &SnapshotId,
) -> Result<Snapshot, CatalogError> {
    catalog.read("read a snapshot", |tx| require(tx, account_id, snapshot_id))
}

pub(crate) fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    snapshot_id: &SnapshotId,
) -> Result<Snapshot, CatalogError> {
    let sql = "SELECT * FROM snapshots WHERE account_id = ? AND snapshot_id = ? AND delete_task_id IS NULL";
    let ids = [account_id.as_str(), snapshot_id.as_str()];
    first(tx, "read a snapshot", sql, ids, present)?
        .ok_or_else(|| CatalogError::not_found(Entity::Snapshot, snapshot_id))?
}

/// The snapshot, unless it is missing from its vault.
fn present(row: &Row<'_>) -> crate::sql::Result<Result<Snapshot, CatalogError>> {
    Ok(match row.time_opt("missing_since")? {
        None => Ok(read(row)?),
        Some(since) => Err(CatalogError::SnapshotMissing {
            snapshot_id: row.get("snapshot_id")?,
            since,
        }),
    })
}

/// The snapshot of a vault by the engine's id. `NotFound` as for [`get`].
pub fn get_by_hash(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    snapshot_hash: &str,
) -> Result<Snapshot, CatalogError> {
    let sql = "SELECT * FROM snapshots WHERE account_id = ? AND vault_id = ? AND snapshot_hash = ? \
               AND delete_task_id IS NULL";
    catalog.read("read a snapshot", |tx| {
        let ids = [account_id.as_str(), vault_id.as_str(), snapshot_hash];
        first(tx, "read a snapshot", sql, ids, present)?
            .ok_or_else(|| CatalogError::not_found(Entity::Snapshot, snapshot_hash))?
    })
}

/// The snapshot that a job has left. `NotFound` when it left none, or it was deleted.
pub fn left_by(
    catalog: &Catalog,
    account_id: &AccountId,
    job_id: &JobId,
) -> Result<Snapshot, CatalogError> {
    let sql =
        "SELECT * FROM snapshots WHERE account_id = ? AND job_id = ? AND delete_task_id IS NULL";
    catalog.read("read a snapshot", |tx| {
        let ids = [account_id.as_str(), job_id.as_str()];
        first(tx, "read a snapshot", sql, ids, present)?
            .ok_or_else(|| CatalogError::not_found(Entity::Snapshot, job_id))?
    })
}

/// A page of the account's snapshots that match (SearchHistoricalSnapshots), from `next_token` on, with the exact count
/// of all that match. Limit 0 gives the count alone.
pub fn search(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &SnapshotQuery,
    next_token: Option<&str>,
) -> Result<SnapshotPage, CatalogError> {
    let operation = "search snapshots";
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and("delete_task_id IS NULL AND missing_since IS NULL", []);
    conditions.and_equal(
        "source_type",
        query.source_type.map(|source_type| source_type.as_str()),
    );
    for (field, test) in &query.conditions {
        add_condition(&mut conditions, column(*field), test);
    }
    let sort = match query.sort {
        SnapshotSort::CreatedTime => "created_time",
        SnapshotSort::CompleteTime => "complete_time",
    };
    let mut rest = conditions.clone();
    if let Some(token) = next_token.filter(|token| !token.is_empty()) {
        let (time, snapshot_id) = Token::parse(token, query)?;
        let operator = match query.order {
            SnapshotOrder::Ascending => ">",
            SnapshotOrder::Descending => "<",
        };
        let clause = format!("({sort}, snapshot_id) {operator} (?, ?)");
        rest.and(
            &clause,
            [Value::Integer(time), Value::Text(snapshot_id.to_owned())],
        );
    }
    let order = match query.order {
        SnapshotOrder::Ascending => format!("{sort}, snapshot_id"),
        SnapshotOrder::Descending => format!("{sort} DESC, snapshot_id DESC"),
    };
    catalog.read(operation, |tx| {
        let total = conditions.count(tx, operation, "snapshots")?;
        if query.limit == 0 {
            return Ok(SnapshotPage {
                rows: Vec::new(),
                total,
                next_token: None,
            });
        }
        // One row more tells whether there is another page.
        let limit = i64::from(query.limit);
        let mut rows = rest.rows(tx, operation, ("snapshots", &order), (limit + 1, 0), read)?;
        let has_more = rows.len() > query.limit as usize;
        rows.truncate(query.limit as usize);
        let next_token = rows
            .last()
            .filter(|_| has_more)
            .map(|last| Token::of(last, query));
        Ok(SnapshotPage {
            rows,
            total,
            next_token,
        })
    })
}

/// The token to go on from: the way of sorting, the last row's sort value and its id.
struct Token;

impl Token {
    fn of(last: &Snapshot, query: &SnapshotQuery) -> String {
        let time = match query.sort {
            SnapshotSort::CreatedTime => last.created_time,
            SnapshotSort::CompleteTime => last.complete_time,
        };
        format!("{}.{time}.{}", Self::prefix(query), last.snapshot_id)
    }

    fn parse<'a>(token: &'a str, query: &SnapshotQuery) -> Result<(i64, &'a str), CatalogError> {
        let mut parts = token.splitn(3, '.');
        let (Some(prefix), Some(time), Some(snapshot_id)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(CatalogError::BadNextToken);
        };
        let time = time.parse().map_err(|_| CatalogError::BadNextToken)?;
        if prefix != Self::prefix(query) || SnapshotId::parse(snapshot_id).is_err() {
            return Err(CatalogError::BadNextToken);
        }
        Ok((time, snapshot_id))
    }

    /// A token is good only for the order that it was made in.
    const fn prefix(query: &SnapshotQuery) -> &'static str {
        match (query.sort, query.order) {
            (SnapshotSort::CreatedTime, SnapshotOrder::Ascending) => "1ca",
            (SnapshotSort::CreatedTime, SnapshotOrder::Descending) => "1cd",
            (SnapshotSort::CompleteTime, SnapshotOrder::Ascending) => "1ea",
            (SnapshotSort::CompleteTime, SnapshotOrder::Descending) => "1ed",
        }
    }
}

fn add_condition(conditions: &mut Conditions, column: &str, test: &SnapshotTest) {
    let mut none_of = |values: Vec<Value>| {
        conditions.and(
            &format!(
                "({column} IS NULL OR {column} NOT IN ({}))",
                marks(values.len())
            ),
            values,
        );
    };
    match test {
        SnapshotTest::NoneOfTexts(texts) => {
            none_of(texts.iter().cloned().map(Value::Text).collect())
        }
        SnapshotTest::NoneOfTimes(times) => {
            none_of(times.iter().copied().map(Value::Integer).collect())
        }
        SnapshotTest::Holds(Predicate::Text(test)) => {
            add_test(conditions, column, test, |text| Value::Text(text.clone()));
        }
        SnapshotTest::Holds(Predicate::Time(test)) => {
            add_test(conditions, column, test, |time| Value::Integer(*time));
        }
    }
}

const fn column(field: SnapshotField) -> &'static str {
    match field {
        SnapshotField::VaultId => "vault_id",
        SnapshotField::InstanceId => "instance_id",
        SnapshotField::ClientId => "client_id",
        SnapshotField::Bucket => "bucket",
        SnapshotField::FileSystemId => "file_system_id",
        SnapshotField::CreateTime => "create_time",
        SnapshotField::CompleteTime => "complete_time",
        SnapshotField::CreatedTime => "created_time",
        SnapshotField::PlanId => "plan_id",
        SnapshotField::JobId => "job_id",
        SnapshotField::SnapshotId => "snapshot_id",
        SnapshotField::SnapshotHash => "snapshot_hash",
        SnapshotField::Status => "status",
        SnapshotField::InstanceName => "instance_name",
        SnapshotField::TableName => "table_name",
    }
}

/// Hides a snapshot and creates the task that removes it from its vault once it has rested in the trash
/// (DeleteSnapshot). Refused while somebody holds it. Refused while a restore needs
/// it, and in an immutable vault while its retention lasts. Asked again before the task has ended, gives the same task.
pub fn request_delete(
    catalog: &Catalog,
    account_id: &AccountId,
    snapshot_id: &SnapshotId,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<TaskId, CatalogError> {
    catalog.write("delete a snapshot", |tx| {
        delete_in(catalog, tx, account_id, snapshot_id, client_id, now)
    })
}

/// [`request_delete`] as a part of a transaction.
pub(crate) fn delete_in(
    catalog: &Catalog,
    tx: &Tx<'_>,
    account_id: &AccountId,
    snapshot_id: &SnapshotId,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<TaskId, CatalogError> {
    let operation = "delete a snapshot";
    let sql = "SELECT delete_task_id FROM snapshots WHERE account_id = ? AND snapshot_id = ? \
                   AND delete_task_id IS NOT NULL";
    let ids = [account_id.as_str(), snapshot_id.as_str()];
    if let Some(task_id) = first(tx, operation, sql, ids, |row| row.parsed("delete_task_id"))? {
        return Ok(task_id);
    }
    let snapshot = require(tx, account_id, snapshot_id)?;
    let vault = vaults::require(tx, account_id, &snapshot.vault_id)?;
    retention::refuse_held(tx, snapshot_id)?;
    if vault.worm_enabled && snapshot.expire_time.is_none_or(|expire| expire > now) {
        return Err(CatalogError::Worm {
            vault_id: vault.vault_id.to_string(),
            reason: "the snapshot's retention has not ended",
        });
    }
    let sql = "SELECT restore_id FROM restore_jobs WHERE account_id = ? AND snapshot_id = ? \
                   AND complete_time IS NULL LIMIT 1";
    if let Some(restore_id) = first(tx, operation, sql, ids, |row| row.get("restore_id"))? {
        return Err(CatalogError::SnapshotInUse {
            snapshot_id: snapshot_id.to_string(),
            restore_id,
        });
    }
    let target = tasks::Target {
        snapshot: Some((&snapshot.snapshot_id, &snapshot.snapshot_hash)),
        not_before: now.plus(catalog.trash()),
        ..tasks::Target::of(&snapshot.vault_id, now)
    };
    let task_id = tasks::insert(
        catalog,
        tx,
        account_id,
        TaskKind::DeleteSnapshot,
        &target,
        client_id,
        now,
    )?;
    let sql = "UPDATE snapshots SET delete_task_id = ?, updated_time = ? WHERE snapshot_id = ?";
    change(
        tx,
        operation,
        sql,
        params![task_id.as_str(), now.0, snapshot_id.as_str()],
    )?;
    Ok(task_id)
}

/// Vaults and ids of the snapshots that a client made and that are not deleted.
pub fn of_client(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
) -> Result<Vec<(VaultId, SnapshotId)>, CatalogError> {
    let operation = "list a client's snapshots";
    let sql = "SELECT vault_id, snapshot_id FROM snapshots WHERE account_id = ? AND client_id = ? \
               AND delete_task_id IS NULL AND missing_since IS NULL ORDER BY vault_id, snapshot_id";
    let ids = [account_id.as_str(), client_id.as_str()];
    catalog.read(operation, |tx| {
        all(tx, operation, sql, ids, |row| {
            Ok((row.parsed("vault_id")?, row.parsed("snapshot_id")?))
        })
    })
}

/// Removes the row of the snapshot that a task has deleted.
pub(crate) fn forget(tx: &Tx<'_>, task_id: &TaskId) -> Result<(), CatalogError> {
    change(
        tx,
        "forget a snapshot",
        "DELETE FROM snapshots WHERE delete_task_id = ?",
        [task_id.as_str()],
    )?;
    Ok(())
}

/// Shows the snapshot again that a task could not delete.
pub(crate) fn show_again(
    tx: &Tx<'_>,
    task_id: &TaskId,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql =
        "UPDATE snapshots SET delete_task_id = NULL, updated_time = ? WHERE delete_task_id = ?";
    change(
        tx,
        "show a snapshot again",
        sql,
        params![now.0, task_id.as_str()],
    )?;
    Ok(())
}

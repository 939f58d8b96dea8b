//! The error lists of jobs and restore jobs: one row for each item that could not be read or written.
//!
//! Rows belong to a lease: an agent that takes a job over starts a list of its own. While the job runs the list of the
//! present lease is shown; once it has ended, the list of the lease that made the result.

use model::{AccountId, Timestamp};

use crate::conditions::{Conditions, change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::jobs;
use crate::records::{ItemError, Page, PageRequest, Work};
use crate::row::RowReader;
use crate::sql::{Row, Value, params};
use crate::words::WorkKind;
use crate::work;

fn read(row: &Row<'_>) -> crate::sql::Result<ItemError> {
    Ok(ItemError {
        path: row.get("path")?,
        operation: row.get("operation")?,
        errno: row.get("errno")?,
        message: row.get("message")?,
        time: row.time("time")?,
    })
}

/// Adds rows `first_seq..` of the present lease's list; rows that are there already stay as they are, so a page may be
/// sent again. `false` means that the lease is gone and nothing was written.
pub fn append(
    catalog: &Catalog,
    work_id: &str,
    epoch: i64,
    first_seq: i64,
    rows: &[ItemError],
) -> Result<bool, CatalogError> {
    let operation = "add item errors";
    catalog.write(operation, |tx| {
        if work::held(tx, work_id, epoch)?.is_none() {
            return Ok(false);
        }
        let sql = "INSERT INTO item_errors (work_id, epoch, seq, path, operation, errno, message, time) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        for (seq, row) in (first_seq..).zip(rows) {
            let values =
                params![work_id, epoch, seq, row.path, row.operation, row.errno, row.message, row.time.0];
            change(tx, operation, sql, values)?;
        }
        Ok(true)
    })
}

/// A page of the list of a job or restore job, in the order of the agent's report.
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: WorkKind,
    id: &str,
    page: PageRequest,
) -> Result<Page<ItemError>, CatalogError> {
    let operation = "list item errors";
    catalog.read(operation, |tx| {
        shown(tx, account_id, kind, id)?.page(tx, operation, ("item_errors", "seq"), page, read)
    })
}

/// How long the list of a job or restore job is.
pub fn count(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: WorkKind,
    id: &str,
) -> Result<u64, CatalogError> {
    let operation = "count item errors";
    catalog.read(operation, |tx| {
        shown(tx, account_id, kind, id)?.count(tx, operation, "item_errors")
    })
}

/// The next rows of the list after number `after` (any number below 0 for the first), at most `limit`, each with its
/// number: a list of any length is read piece by piece at the same cost.
pub fn next(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: WorkKind,
    id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, ItemError)>, CatalogError> {
    let operation = "read item errors";
    catalog.read(operation, |tx| {
        let mut rest = shown(tx, account_id, kind, id)?;
        rest.and("seq > ?", [Value::Integer(after)]);
        rest.rows(
            tx,
            operation,
            ("item_errors", "seq"),
            (i64::from(limit), 0),
            |row| Ok((row.get("seq")?, read(row)?)),
        )
    })
}

/// Which rows are the list that is shown.
fn shown(
    tx: &Tx<'_>,
    account_id: &AccountId,
    kind: WorkKind,
    id: &str,
) -> Result<Conditions, CatalogError> {
    if kind == WorkKind::Backup && jobs::hides(tx, account_id, id)? {
        return Err(kind.not_found(id));
    }
    let sql = format!(
        "SELECT COALESCE(j.error_epoch, w.epoch) AS epoch FROM {} j \
         LEFT JOIN work w ON w.work_id = j.{} AND w.account_id = j.account_id WHERE j.account_id = ? AND j.{} = ?",
        kind.table(),
        kind.id_column(),
        kind.id_column()
    );
    let ids = [account_id.as_str(), id];
    let epoch: Option<i64> = first(tx, "find item errors", &sql, ids, |row| row.get("epoch"))?
        .ok_or_else(|| kind.not_found(id))?;
    // A job that was imported has no list, though another account may have a job of this id.
    let mut mine = Conditions::equal("work_id", id);
    mine.and("epoch = ?", [Value::Integer(epoch.unwrap_or(-1))]);
    Ok(mine)
}

/// The work of an account. Ids are unique in an account alone: an imported job may have the id of another account's job.
const OWN_WORK: &str = "(SELECT work_id FROM work WHERE work_id = ? AND account_id = ?)";

/// Removes the lists of a work of the account.
pub(crate) fn remove(
    tx: &Tx<'_>,
    account_id: &AccountId,
    work_id: &str,
) -> Result<(), CatalogError> {
    let sql = format!("DELETE FROM item_errors WHERE work_id = {OWN_WORK}");
    let ids = [work_id, account_id.as_str()];
    change(tx, "remove item errors", &sql, ids)?;
    Ok(())
}

/// Removes at most `limit` rows of the lists of a work of the account; says how many, and whether that were all.
pub(crate) fn remove_some(
    tx: &Tx<'_>,
    account_id: &AccountId,
    work_id: &str,
    limit: usize,
) -> Result<(usize, bool), CatalogError> {
    let operation = "remove item errors";
    let sql = format!(
        "SELECT epoch, seq FROM item_errors WHERE work_id = {OWN_WORK} ORDER BY epoch, seq LIMIT 1 OFFSET ?"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![work_id, account_id.as_str(), limit];
    let end: Option<(i64, i64)> = first(tx, operation, &sql, values, |row| {
        Ok((row.get("epoch")?, row.get("seq")?))
    })?;
    let sql = format!("DELETE FROM item_errors WHERE work_id = {OWN_WORK}");
    let Some((epoch, seq)) = end else {
        let ids = [work_id, account_id.as_str()];
        return Ok((change(tx, operation, &sql, ids)?, true));
    };
    let sql = format!("{sql} AND (epoch < ? OR epoch = ? AND seq < ?)");
    let values = params![work_id, account_id.as_str(), epoch, epoch, seq];
    Ok((change(tx, operation, &sql, values)?, false))
}

/// Fixes the list of a work that has ended: the one of `epoch`. The others go.
pub(crate) fn settle(
    tx: &Tx<'_>,
    work: &Work,
    epoch: i64,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "settle item errors";
    let sql = format!(
        "UPDATE {} SET error_epoch = ?, updated_time = ? WHERE account_id = ? AND {} = ?",
        work.kind.table(),
        work.kind.id_column()
    );
    change(
        tx,
        operation,
        &sql,
        params![epoch, now.0, work.account_id.as_str(), work.work_id],
    )?;
    let sql = "DELETE FROM item_errors WHERE work_id = ? AND epoch <> ?";
    change(tx, operation, sql, params![work.work_id, epoch])?;
    Ok(())
}

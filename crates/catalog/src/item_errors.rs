//! The error lists of jobs and restore jobs: one row for each item that could not be read or written.
//!
//! Rows belong to a lease: an agent that takes a job over starts a list of its own. While the job runs the list of the
//! present lease is shown; once it has ended, the list of the lease that made the result.

use model::{AccountId, Timestamp};

use crate::conditions::{change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::records::{ItemError, Page, PageRequest, Work};
use crate::row::RowReader;
use crate::sql::{Row, params};
use crate::words::WorkKind;
use crate::{conditions, work};

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
        let sql = format!(
            "SELECT COALESCE(j.error_epoch, w.epoch, 0) AS epoch FROM {} j LEFT JOIN work w ON w.work_id = j.{} \
             WHERE j.account_id = ? AND j.{} = ?",
            kind.table(),
            kind.id_column(),
            kind.id_column()
        );
        let epoch: i64 = first(tx, operation, &sql, [account_id.as_str(), id], |row| row.get("epoch"))?
            .ok_or_else(|| kind.not_found(id))?;
        let mut mine = conditions::Conditions::equal("work_id", id);
        mine.and("epoch = ?", [crate::sql::Value::Integer(epoch)]);
        mine.page(tx, operation, ("item_errors", "seq"), page, read)
    })
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

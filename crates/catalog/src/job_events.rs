//! Events: what became of a backup job or restore job, one row for each change of its state.
//!
//! A row is written in the transaction of the change, so the events of a job are its history exactly: they begin with
//! CREATED, each state may follow the one before, and the last one is the job's state. Jobs that were imported have none,
//! and those that were there before events were kept have the later ones alone.

use model::{AccountId, JobStatus, Timestamp};

use crate::conditions::{Conditions, change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::records::{JobEvent, Page, PageRequest, Work};
use crate::row::{RowReader, text};
use crate::sql::{Row, params};
use crate::words::WorkKind;

fn read(row: &Row<'_>) -> crate::sql::Result<JobEvent> {
    Ok(JobEvent {
        number: row.get("seq")?,
        status: row.parsed("state")?,
        attempt: row.get("attempt")?,
        client_id: row.parsed_opt("client_id")?,
        epoch: row.get("epoch")?,
        time: row.time("time")?,
        message: row.get("message")?,
    })
}

/// A page of the events of a job or restore job, the first one first.
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: WorkKind,
    id: &str,
    page: PageRequest,
) -> Result<Page<JobEvent>, CatalogError> {
    let operation = "list a job's events";
    catalog.read(operation, |tx| {
        crate::work::status_of(tx, kind, account_id, id)?;
        let mut mine = Conditions::equal("account_id", account_id.as_str());
        mine.and_equal("work_id", Some(id));
        mine.page(tx, operation, ("job_events", "seq"), page, read)
    })
}

/// Notes that a job or restore job was created.
pub(crate) fn note_created(
    tx: &Tx<'_>,
    account_id: &AccountId,
    id: &str,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let event = JobEvent {
        number: 1,
        status: JobStatus::Created,
        attempt: 0,
        client_id: None,
        epoch: 0,
        time: now,
        message: None,
    };
    insert(tx, account_id, id, &event)
}

/// Notes that the job or restore job behind a work has another state, under the work's present or last lease.
pub(crate) fn note_changed(
    tx: &Tx<'_>,
    work: &Work,
    status: JobStatus,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql =
        "SELECT * FROM job_events WHERE account_id = ? AND work_id = ? ORDER BY seq DESC LIMIT 1";
    let ids = [work.account_id.as_str(), work.work_id.as_str()];
    let last = first(tx, "read a job's last event", sql, ids, read)?;
    let is_lease = i64::from(status == JobStatus::Running);
    let event = JobEvent {
        number: last.as_ref().map_or(1, |last| last.number + 1),
        status,
        // A job that was there before events were kept: each of its leases had an epoch.
        attempt: last.map_or(work.epoch, |last| last.attempt + is_lease),
        client_id: work.holder_client_id.clone(),
        epoch: work.epoch,
        time: now,
        message: message.map(str::to_owned),
    };
    insert(tx, &work.account_id, &work.work_id, &event)
}

fn insert(
    tx: &Tx<'_>,
    account_id: &AccountId,
    id: &str,
    event: &JobEvent,
) -> Result<(), CatalogError> {
    let sql = "INSERT INTO job_events (account_id, work_id, seq, state, attempt, client_id, epoch, time, message) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        account_id.as_str(),
        id,
        event.number,
        event.status.as_str(),
        event.attempt,
        text(&event.client_id),
        event.epoch,
        event.time.0,
        event.message
    ];
    change(tx, "note a job's event", sql, values)?;
    Ok(())
}

/// Removes the events of a job or restore job.
pub(crate) fn remove(tx: &Tx<'_>, account_id: &AccountId, id: &str) -> Result<(), CatalogError> {
    let sql = "DELETE FROM job_events WHERE account_id = ? AND work_id = ?";
    change(tx, "remove a job's events", sql, [account_id.as_str(), id])?;
    Ok(())
}

//! Dispatch: which agent runs what, by leases with an epoch.
//!
//! Every job, restore job and task has one work row, written in the same transaction. A work is QUEUED, LEASED or DONE.
//! Each lease raises the epoch; every report names the epoch it was made under, and a report under any other than the
//! present one changes nothing: an agent that was believed dead cannot disturb its successor. The state of the job
//! behind the work moves along in the same transaction, and only as [`JobStatus::can_become`] allows.

use std::collections::HashSet;
use std::time::Duration;

use model::{AccountId, ClientId, JobStatus, Timestamp, VaultId};

use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::jobs;
pub(crate) use crate::progress::{read_progress, write_progress};
use crate::records::{Client, Progress, Work};
use crate::row::{RowReader, seconds};
use crate::sql::{Row, ToParam, params};
pub use crate::takeable::LeaseLimit;
use crate::takeable::{Takeable, takeable};
use crate::words::{WorkKind, WorkState};
use crate::{clients, item_errors, job_events};

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishAnswer {
    /// It was taken.
    Accepted,
    /// It was taken before, by an earlier report of the same lease; nothing changed.
    Repeated,
    /// It came under an epoch that is not the present one, or the work is gone; nothing changed.
    Stale,
}

impl FinishAnswer {
    /// Whether the reporter may consider its work done.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted | Self::Repeated)
    }
}

/// A work row to be written with the row that it is for.
pub(crate) struct NewWork<'a> {
    pub(crate) work_id: &'a str,
    pub(crate) kind: WorkKind,
    pub(crate) account_id: &'a AccountId,
    pub(crate) client_id: Option<&'a ClientId>,
    /// A client of another account that does it in the account's stead.
    pub(crate) lent_to: Option<&'a ClientId>,
    pub(crate) vault_id: &'a VaultId,
    pub(crate) serial_key: Option<&'a str>,
    /// It is not given out earlier.
    pub(crate) not_before: Timestamp,
}

fn read(row: &Row<'_>) -> crate::sql::Result<Work> {
    Ok(Work {
        work_id: row.get("work_id")?,
        kind: row.parsed("kind")?,
        account_id: row.parsed("account_id")?,
        client_id: row.parsed_opt("client_id")?,
        lent_to: row.parsed_opt("lent_to")?,
        vault_id: row.parsed("vault_id")?,
        state: row.parsed("state")?,
        epoch: row.get("epoch")?,
        holder_client_id: row.parsed_opt("holder_client_id")?,
        run_id: row.get("run_id")?,
        lease_until: row.time_opt("lease_until")?,
        cancel_requested: row.flag("cancel_requested")?,
    })
}

pub(crate) fn insert(
    catalog: &Catalog,
    tx: &Tx<'_>,
    work: &NewWork<'_>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let (queue_order, _) = catalog.new_id(now);
    let sql = "INSERT INTO work (work_id, kind, account_id, client_id, lent_to, vault_id, serial_key, state, epoch, \
               cancel_requested, not_before, queue_order) VALUES (?, ?, ?, ?, ?, ?, ?, 'QUEUED', 0, 0, ?, ?)";
    let values = params![
        work.work_id,
        work.kind.as_str(),
        work.account_id.as_str(),
        work.client_id.map(ClientId::as_str),
        work.lent_to.map(ClientId::as_str),
        work.vault_id.as_str(),
        work.serial_key,
        work.not_before.0,
        i64::try_from(queue_order).unwrap_or(i64::MAX)
    ];
    change(tx, "queue a work", sql, values)?;
    tx.session().wake_others();
    if work.kind.is_task() {
        return Ok(());
    }
    job_events::note_created(tx, work.account_id, work.work_id, now)
}

pub(crate) fn find(tx: &Tx<'_>, work_id: &str) -> Result<Option<Work>, CatalogError> {
    first(
        tx,
        "read a work",
        "SELECT * FROM work WHERE work_id = ?",
        [work_id],
        read,
    )
}

/// The work behind a job, restore job or task, whatever its account: reports of agents name nothing else. Ask
/// [`Work::may_be_of`] before more is done.
pub fn get(catalog: &Catalog, work_id: &str) -> Result<Option<Work>, CatalogError> {
    catalog.read("read a work", |tx| find(tx, work_id))
}

/// Gives the client the works that it can take now, the longest waiting first, at most `limit`: each becomes LEASED
/// under a new epoch until `now + ttl`, its job RUNNING. Those are works of its account, and of any account what was lent
/// to it. Left out are works of other clients, works of a vault that is
/// not CREATED (making the vault excepted), and works whose plan has a job under way.
pub fn lease_next(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
    run_id: &str,
    now: Timestamp,
    ttl: Duration,
    limit: impl Into<LeaseLimit>,
) -> Result<Vec<Work>, CatalogError> {
    let operation = "lease works";
    let limit = limit.into();
    // Most polls find nothing: look before taking the writer.
    if limit.works == 0
        || catalog
            .read(operation, |tx| {
                takeable(
                    tx,
                    account_id,
                    client_id,
                    now,
                    LeaseLimit { works: 1, ..limit },
                )
            })?
            .is_empty()
    {
        return Ok(Vec::new());
    }
    catalog.write(operation, |tx| {
        let mut leased = Vec::new();
        let mut serial_keys = HashSet::new();
        let mut backups_left = limit.backups;
        let mut has_upkeep = false;
        for Takeable { work_id, kind, serial_key, .. } in takeable(tx, account_id, client_id, now, limit)? {
            if kind == WorkKind::Backup && backups_left == 0 {
                continue;
            }
            if kind.is_upkeep() && has_upkeep {
                continue;
            }
            if serial_key.is_some_and(|key| !serial_keys.insert(key)) {
                continue;
            }
            let sql = "UPDATE work SET state = 'LEASED', epoch = epoch + 1, holder_client_id = ?, run_id = ?, \
                       lease_until = ? WHERE work_id = ? AND state = 'QUEUED'";
            let values = params![client_id.as_str(), run_id, now.plus(ttl).0, work_id];
            if change(tx, operation, sql, values)? == 0 {
                continue;
            }
            let work = find(tx, &work_id)?.ok_or_else(|| CatalogError::not_found(Entity::Work, &work_id))?;
            change_status(tx, &work, JobStatus::Running, Told::Nothing, now)?;
            if kind == WorkKind::Backup {
                backups_left -= 1;
            }
            has_upkeep |= kind.is_upkeep();
            leased.push(work);
        }
        Ok(leased)
    })
}

/// Ends the leases of every process of the client but `run_id`: an agent that starts frees what its former self held,
/// at once. Says which works changed.
pub fn release_run(
    catalog: &Catalog,
    client_id: &ClientId,
    run_id: &str,
    now: Timestamp,
) -> Result<Vec<Work>, CatalogError> {
    let operation = "release works";
    let sql = "SELECT * FROM work WHERE state = 'LEASED' AND holder_client_id = ? AND run_id <> ? ORDER BY work_id";
    let ids = [client_id.as_str(), run_id];
    if catalog
        .read(operation, |tx| all(tx, operation, sql, ids, read))?
        .is_empty()
    {
        return Ok(Vec::new());
    }
    catalog.write(operation, |tx| {
        let lost = all(tx, operation, sql, ids, read)?;
        let why = "the agent was started anew";
        lost.iter()
            .map(|work| give_back(tx, work, why, now))
            .collect()
    })
}

/// Lets every lease last at least until `now + ttl`: for a server that starts, since agents could not extend them while
/// there was none. An agent that is gone loses its lease one `ttl` later.
pub fn renew_leases(catalog: &Catalog, now: Timestamp, ttl: Duration) -> Result<(), CatalogError> {
    let operation = "renew leases";
    catalog.write_relaxed(operation, |tx| {
        let sql = "UPDATE work SET lease_until = ? WHERE state = 'LEASED' AND lease_until < ?";
        let until = now.plus(ttl).0;
        change(tx, operation, sql, params![until, until])?;
        Ok(())
    })
}

/// Ends the leases that nobody extended in time, of all accounts. Says which works changed.
pub fn expire_leases(catalog: &Catalog, now: Timestamp) -> Result<Vec<Work>, CatalogError> {
    let operation = "expire leases";
    let sql = "SELECT * FROM work WHERE state = 'LEASED' AND lease_until < ? ORDER BY lease_until, work_id";
    if catalog
        .read(operation, |tx| all(tx, operation, sql, [now.0], read))?
        .is_empty()
    {
        return Ok(Vec::new());
    }
    catalog.write(operation, |tx| {
        let lost = all(tx, operation, sql, [now.0], read)?;
        let why = "the agent was silent for too long";
        lost.iter()
            .map(|work| give_back(tx, work, why, now))
            .collect()
    })
}

/// Gives a work back (RELEASED: its agent is stopping).
pub fn release(
    catalog: &Catalog,
    work_id: &str,
    epoch: i64,
    progress: Option<&Progress>,
    now: Timestamp,
) -> Result<FinishAnswer, CatalogError> {
    catalog.write("release a work", |tx| {
        let Some(work) = held(tx, work_id, epoch)? else {
            return Ok(FinishAnswer::Stale);
        };
        if let Some(progress) = progress {
            write_progress(tx, &work, progress, now)?;
        }
        give_back(tx, &work, "the agent gave it back", now)?;
        Ok(FinishAnswer::Accepted)
    })
}

/// A work that failed and has to be done all the same waits for its next turn, `delay` from now.
pub(crate) fn retry_later(
    tx: &Tx<'_>,
    work: &Work,
    delay: Duration,
    now: Timestamp,
) -> Result<(), CatalogError> {
    give_back(tx, work, "it is tried again later", now)?;
    let sql = "UPDATE work SET not_before = ? WHERE work_id = ?";
    change(
        tx,
        "delay a work",
        sql,
        params![now.plus(delay).0, work.work_id],
    )?;
    Ok(())
}

/// Ends a lease without a result: the work waits again, is CANCELED when that was asked for, or FAILED when its client was
/// uninstalled.
fn give_back(tx: &Tx<'_>, work: &Work, why: &str, now: Timestamp) -> Result<Work, CatalogError> {
    // A work that ends here ends under an epoch of its own: a late report of the lease counts no more.
    let (state, status, raise) = if work.cancel_requested {
        (WorkState::Done, JobStatus::Canceled, 1)
    } else {
        (WorkState::Queued, JobStatus::Queued, 0)
    };
    let sql = "UPDATE work SET state = ?, epoch = epoch + ?, holder_client_id = NULL, run_id = NULL, \
               lease_until = NULL WHERE work_id = ?";
    change(
        tx,
        "release a work",
        sql,
        params![state.as_str(), raise, work.work_id],
    )?;
    tx.session().wake_others();
    change_status(tx, work, status, Told::Why(why), now)?;
    if status.is_final() {
        ended_unreported(tx, work, now)?;
    } else if !work.kind.is_task()
        && let Some(why) =
            clients::why_waits_in_vain(tx, &work.account_id, work.client_id.as_ref())?
    {
        fail(tx, work, &why, now)?;
    }
    find(tx, &work.work_id)?.ok_or_else(|| CatalogError::not_found(Entity::Work, &work.work_id))
}

/// Asks for the end of a job or restore job: at once when nobody holds it, else its holder is told. Says the new state.
pub(crate) fn request_cancel(
    tx: &Tx<'_>,
    kind: WorkKind,
    account_id: &AccountId,
    id: &str,
    now: Timestamp,
) -> Result<JobStatus, CatalogError> {
    let status = status_of(tx, kind, account_id, id)?;
    if status == JobStatus::Canceling {
        return Ok(status);
    }
    let to = if status == JobStatus::Running {
        JobStatus::Canceling
    } else {
        JobStatus::Canceled
    };
    let Some(work) =
        find(tx, id)?.filter(|work| work.account_id == *account_id && work.kind == kind)
    else {
        // Only ended rows have no work, and nothing follows an end.
        return Err(CatalogError::Transition {
            entity: kind.entity(),
            id: id.to_owned(),
            from: status,
            to,
        });
    };
    change_status(tx, &work, to, Told::Why("it was cancelled"), now)?;
    // A work that ends here ends under an epoch of its own: a late report of a former lease counts no more.
    let sql =
        "UPDATE work SET cancel_requested = 1, state = ?, epoch = epoch + ? WHERE work_id = ?";
    let (state, raise) = if to.is_final() {
        (WorkState::Done, 1)
    } else {
        (work.state, 0)
    };
    change(tx, "cancel a work", sql, params![state.as_str(), raise, id])?;
    tx.session().wake_others();
    if to.is_final() {
        ended_unreported(tx, &work, now)?;
    }
    Ok(to)
}

/// The work, when it is leased under this epoch.
pub(crate) fn held(tx: &Tx<'_>, work_id: &str, epoch: i64) -> Result<Option<Work>, CatalogError> {
    Ok(find(tx, work_id)?.filter(|work| work.epoch == epoch && work.state == WorkState::Leased))
}

/// What a report may do to a work.
pub(crate) enum Claim {
    /// It is the present lease's: go on.
    Mine(Work),
    /// Answer this and change nothing.
    Answer(FinishAnswer),
}

/// Checks a final report against the present lease.
pub(crate) fn claim(
    tx: &Tx<'_>,
    kinds: &[WorkKind],
    work_id: &str,
    epoch: i64,
) -> Result<Claim, CatalogError> {
    Ok(match find(tx, work_id)? {
        Some(work) if work.epoch == epoch && kinds.contains(&work.kind) => match work.state {
            WorkState::Leased => Claim::Mine(work),
            WorkState::Done => Claim::Answer(FinishAnswer::Repeated),
            WorkState::Queued => Claim::Answer(FinishAnswer::Stale),
        },
        _ => Claim::Answer(FinishAnswer::Stale),
    })
}

/// Closes a work for good.
pub(crate) fn close(
    tx: &Tx<'_>,
    work: &Work,
    outcome: JobStatus,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "UPDATE work SET state = 'DONE', lease_until = NULL WHERE work_id = ? AND epoch = ?";
    change(tx, "finish a work", sql, params![work.work_id, work.epoch])?;
    tx.session().wake_others();
    change_status(tx, work, outcome, Told::Result(message), now)?;
    ended(tx, work)
}

/// Removes a work of the account with what its leases told, where there is one. The row behind it is the caller's.
pub(crate) fn remove(
    tx: &Tx<'_>,
    account_id: &AccountId,
    work_id: &str,
) -> Result<(), CatalogError> {
    item_errors::remove(tx, account_id, work_id)?;
    job_events::remove(tx, account_id, work_id)?;
    let sql = "DELETE FROM work WHERE work_id = ? AND account_id = ?";
    change(tx, "remove a work", sql, [work_id, account_id.as_str()])?;
    Ok(())
}

/// What follows when a work has ended, however it did.
fn ended(tx: &Tx<'_>, work: &Work) -> Result<(), CatalogError> {
    match work.kind {
        WorkKind::Backup => jobs::ended(tx, work),
        _ => Ok(()),
    }
}

/// As [`ended`], for a work whose end no agent reports: what its last lease could not read or write stays told.
fn ended_unreported(tx: &Tx<'_>, work: &Work, now: Timestamp) -> Result<(), CatalogError> {
    if !work.kind.is_task() {
        item_errors::settle(tx, work, work.epoch, now)?;
    }
    ended(tx, work)
}

/// Ends the jobs and restore jobs of a vault that nobody holds yet: the vault will not come.
pub(crate) fn fail_waiting(
    tx: &Tx<'_>,
    vault_id: &VaultId,
    message: &str,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "fail waiting works";
    let sql = "SELECT * FROM work WHERE vault_id = ? AND state = 'QUEUED' AND kind IN ('BACKUP', 'RESTORE')";
    for work in all(tx, operation, sql, [vault_id.as_str()], read)? {
        fail(tx, &work, message, now)?;
    }
    Ok(())
}

/// Ends the jobs and restore jobs of a client that nobody holds: it will not take them.
pub(crate) fn fail_waiting_for(
    tx: &Tx<'_>,
    client: &Client,
    message: &str,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "fail waiting works";
    let sql = "SELECT * FROM work WHERE account_id = ? AND client_id = ? AND state = 'QUEUED' \
               AND kind IN ('BACKUP', 'RESTORE')";
    let ids = [client.account_id.as_str(), client.client_id.as_str()];
    for work in all(tx, operation, sql, ids, read)? {
        fail(tx, &work, message, now)?;
    }
    Ok(())
}

/// Ends a job or restore job that was just created: it would wait in vain.
pub(crate) fn fail_new(
    tx: &Tx<'_>,
    work_id: &str,
    message: &str,
    now: Timestamp,
) -> Result<(), CatalogError> {
    match find(tx, work_id)? {
        Some(work) => fail(tx, &work, message, now),
        None => Err(CatalogError::not_found(Entity::Work, work_id)),
    }
}

/// Ends a work that nobody holds, under an epoch of its own: a late report of a former lease counts no more.
fn fail(tx: &Tx<'_>, work: &Work, message: &str, now: Timestamp) -> Result<(), CatalogError> {
    let sql = "UPDATE work SET state = 'DONE', epoch = epoch + 1 WHERE work_id = ?";
    change(tx, "fail a work", sql, [work.work_id.as_str()])?;
    tx.session().wake_others();
    change_status(
        tx,
        work,
        JobStatus::Failed,
        Told::Result(Some(message)),
        now,
    )?;
    ended_unreported(tx, work, now)
}

pub(crate) fn status_of(
    tx: &Tx<'_>,
    kind: WorkKind,
    account_id: &AccountId,
    id: &str,
) -> Result<JobStatus, CatalogError> {
    if kind == WorkKind::Backup && jobs::hides(tx, account_id, id)? {
        return Err(kind.not_found(id));
    }
    let sql = format!(
        "SELECT status FROM {} WHERE account_id = ? AND {} = ?",
        kind.table(),
        kind.id_column()
    );
    first(tx, "read a state", &sql, [account_id.as_str(), id], |row| {
        row.parsed("status")
    })?
    .ok_or_else(|| kind.not_found(id))
}

/// What is said of a change of state.
#[derive(Debug, Clone, Copy)]
enum Told<'a> {
    Nothing,
    /// Why it came about, in the job's events.
    Why(&'a str),
    /// What is wrong with the result, in the job itself and its events.
    Result(Option<&'a str>),
}

/// Moves the row behind a work to `to`, with the times that go with it. Refuses what the model does not allow.
fn change_status(
    tx: &Tx<'_>,
    work: &Work,
    to: JobStatus,
    told: Told<'_>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let kind = work.kind;
    let from = status_of(tx, kind, &work.account_id, &work.work_id)?;
    if !from.can_become(to) {
        return Err(CatalogError::Transition {
            entity: kind.entity(),
            id: work.work_id.clone(),
            from,
            to,
        });
    }
    let (message, event) = match told {
        Told::Nothing => (None, None),
        Told::Why(why) => (None, Some(why)),
        Told::Result(message) => (message, message),
    };
    let mut sql = format!("UPDATE {} SET status = ?, updated_time = ?", kind.table());
    let (status, end) = (to.as_str(), seconds(to.is_final().then_some(now)));
    let mut values: Vec<&dyn ToParam> = vec![&status, &now.0];
    if to == JobStatus::Running && !kind.is_task() {
        sql.push_str(", start_time = COALESCE(start_time, ?)");
        values.push(&now.0);
    }
    let (ended, told) = (kind.end_column(), kind.message_column());
    sql.push_str(&format!(
        ", {ended} = ?, {told} = COALESCE(?, {told}) WHERE account_id = ? AND {} = ?",
        kind.id_column()
    ));
    let account_id = work.account_id.as_str();
    values.extend([&end as &dyn ToParam, &message, &account_id, &work.work_id]);
    change(tx, "change a state", &sql, &values[..])?;
    if !kind.is_task() {
        job_events::note_changed(tx, work, to, event, now)?;
    }
    match kind {
        WorkKind::Backup => jobs::note_changed(tx, &work.account_id, &work.work_id),
        _ => Ok(()),
    }
}

//! Jobs whose time is over: what `--job-retention` removes of the history.
//!
//! A backup job or restore job goes once it has ended longer ago than the history is kept; one without a completed time,
//! as imports may be, counts from its creation. One that has not ended stays. Its snapshot is no matter of the history: it
//! stays, as it does when its plan is deleted, until its own retention lets it go.
//!
//! Whatever the length of what is to go, a transaction is short: it removes a few hundred jobs at most, and of a job with a
//! long list of errors a part of that list first. Each transaction asks anew what is to go, under the lock of all who
//! write: several servers remove each job once, and a crash leaves nothing half removed but such a list.

use model::{AccountId, RestoreId, Timestamp};

use super::{parts, store};
use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::records::Job;
use crate::row::RowReader;
use crate::sql::params;
use crate::{item_errors, ledger, plans, work};

/// Jobs and restore jobs of one transaction.
const MAX_JOBS: usize = 500;
/// Rows of error lists of one transaction.
const MAX_ERROR_ROWS: usize = 20_000;

/// What one step has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Backup jobs.
    pub jobs: usize,
    /// Restore jobs.
    pub restores: usize,
    /// Whether more is to go: call again.
    pub has_more: bool,
}

/// Removes jobs and restore jobs of the account that ended before a time, the oldest first, with their events, their
/// lists of errors and what the index has of them: as many as one short transaction may.
pub fn remove_ended(
    catalog: &Catalog,
    account_id: &AccountId,
    before: Timestamp,
) -> Result<Expired, CatalogError> {
    // Most of the time there is nothing: look before taking the writer.
    let has_jobs = catalog
        .ledger
        .read(catalog, "look for old jobs", account_id, |_, index| {
            let mut parts = index.parts.iter();
            Ok(parts.any(|part| !ledger::ended_before(&part.index, before.0, 1).is_empty()))
        })?;
    let has_restores = || {
        catalog.read("look for old restore jobs", |tx| {
            Ok(!old_restores(tx, account_id, before, 1)?.is_empty())
        })
    };
    if !has_jobs && !has_restores()? {
        return Ok(Expired::default());
    }
    catalog.write("remove old jobs", |tx| {
        let mut step = Step::new(tx, account_id, before);
        step.jobs(catalog)?;
        step.restores()?;
        Ok(step.done)
    })
}

/// One transaction.
struct Step<'a, 'c> {
    tx: &'a Tx<'c>,
    account_id: &'a AccountId,
    before: Timestamp,
    jobs_left: usize,
    error_rows_left: usize,
    done: Expired,
}

impl<'a, 'c> Step<'a, 'c> {
    fn new(tx: &'a Tx<'c>, account_id: &'a AccountId, before: Timestamp) -> Self {
        Self {
            tx,
            account_id,
            before,
            jobs_left: MAX_JOBS,
            error_rows_left: MAX_ERROR_ROWS,
            done: Expired::default(),
        }
    }

    fn jobs(&mut self, catalog: &Catalog) -> Result<(), CatalogError> {
        let (account_id, before) = (self.account_id, self.before);
        let found = catalog
            .ledger
            .ended_before(self.tx, account_id, before.0, MAX_JOBS)?;
        for (part_id, seqs) in found {
            let mut removed = Vec::with_capacity(seqs.len());
            for seq in seqs {
                let row_id = parts::row_id(part_id, seq);
                let sql = "SELECT * FROM jobs WHERE row_id = ?";
                // The database is the truth: what the index names and has not ended is left alone.
                let job = first(self.tx, "read a job", sql, [row_id], store::read)?
                    .filter(|job| is_over(job, before));
                let Some(job) = job else {
                    continue;
                };
                if !self.takes(job.job_id.as_str())? {
                    break;
                }
                store::remove(self.tx, account_id, job.job_id.as_str(), row_id)?;
                if let Some(plan_id) = &job.plan_id {
                    plans::forget_job(self.tx, account_id, plan_id, &job.job_id)?;
                }
                removed.push(seq);
            }
            parts::note_deleted(self.tx, account_id, part_id, &removed)?;
            self.done.jobs += removed.len();
        }
        Ok(())
    }

    fn restores(&mut self) -> Result<(), CatalogError> {
        let limit = self.jobs_left;
        for restore_id in old_restores(self.tx, self.account_id, self.before, limit)? {
            if !self.takes(restore_id.as_str())? {
                break;
            }
            work::remove(self.tx, self.account_id, restore_id.as_str())?;
            let sql = "DELETE FROM restore_jobs WHERE account_id = ? AND restore_id = ?";
            let ids = [self.account_id.as_str(), restore_id.as_str()];
            change(self.tx, "remove a restore job", sql, ids)?;
            self.done.restores += 1;
        }
        Ok(())
    }

    /// Whether a job may still go in this transaction. Its list of errors goes first, as far as there is room.
    fn takes(&mut self, id: &str) -> Result<bool, CatalogError> {
        let may_go = self.jobs_left > 0 && self.error_rows_left > 0 && {
            let limit = self.error_rows_left;
            let (removed, is_all) = item_errors::remove_some(self.tx, self.account_id, id, limit)?;
            self.error_rows_left = limit.saturating_sub(removed);
            is_all
        };
        self.jobs_left = self.jobs_left.saturating_sub(1);
        self.done.has_more |= !may_go || self.jobs_left == 0;
        Ok(may_go)
    }
}

fn is_over(job: &Job, before: Timestamp) -> bool {
    job.status.is_final() && job.complete_time.unwrap_or(job.created_time) < before
}

/// Restore jobs always have a completed time once they have ended.
fn old_restores(
    tx: &Tx<'_>,
    account_id: &AccountId,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<RestoreId>, CatalogError> {
    let sql = "SELECT restore_id FROM restore_jobs WHERE account_id = ? AND created_time < ? AND complete_time < ? \
               ORDER BY created_time, restore_id LIMIT ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![account_id.as_str(), before.0, before.0, limit];
    all(tx, "find old restore jobs", sql, values, |row| {
        row.parsed("restore_id")
    })
}

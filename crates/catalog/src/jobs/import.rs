//! History that comes from elsewhere: jobs that have ended, with the ids, times and JSON that they had there.

use std::collections::{BTreeMap, HashSet};

use model::{AccountId, SourceType, Timestamp};

use super::{body, parts, removals, store};
use crate::conditions::{change, first};
use crate::db::{Catalog, Tx, micros};
use crate::error::{CatalogError, Entity};
use crate::records::Job;
use crate::sql::params;

/// A job to be imported.
#[derive(Debug, Clone)]
pub struct ImportedJob {
    /// Its fields.
    pub job: Job,
    /// Its JSON, which is given out as it is; `None` has it made of the fields.
    pub body: Option<Vec<u8>>,
}

/// What became of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Jobs that are new.
    pub imported: u64,
    /// Jobs whose ids the account has already; they were left as they are.
    pub known: u64,
}

/// Writes jobs of one account that have ended, as they are and without work, in one transaction. Their vaults, plans and
/// clients need not exist. A job whose id is there already is left out: importing twice changes nothing. Jobs that are
/// created later come after all of them in the order of creation.
///
/// # Errors
/// `Transition` when a job has not ended, `NotFound` when there is no such account: nothing is imported then.
pub fn import_all(
    catalog: &Catalog,
    account_id: &AccountId,
    jobs: &[ImportedJob],
) -> Result<ImportReport, CatalogError> {
    catalog.write("import jobs", |tx| {
        let mut new: BTreeMap<&str, Vec<&ImportedJob>> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut report = ImportReport::default();
        for imported in jobs {
            let job = &imported.job;
            if !job.status.is_final() {
                return Err(CatalogError::Transition {
                    entity: Entity::Job,
                    id: job.job_id.to_string(),
                    from: job.status,
                    to: model::JobStatus::Complete,
                });
            }
            if !seen.insert(job.job_id.as_str()) || is_there(tx, account_id, job.job_id.as_str())? {
                report.known += 1;
            } else {
                report.imported += 1;
                new.entry(job.source_type.as_str())
                    .or_default()
                    .push(imported);
            }
        }
        for jobs in new.values_mut() {
            jobs.sort_by(|a, b| {
                (a.job.created_time, &a.job.job_id).cmp(&(b.job.created_time, &b.job.job_id))
            });
            insert(tx, account_id, jobs)?;
        }
        let latest = new
            .values()
            .flatten()
            .map(|imported| imported.job.created_time)
            .max();
        latest.map_or(Ok(()), |latest| pass_by(tx, account_id, latest))?;
        Ok(report)
    })
}

/// Whether the account has a job with this id. The row of one that is deleted makes room.
fn is_there(tx: &Tx<'_>, account_id: &AccountId, job_id: &str) -> Result<bool, CatalogError> {
    let Some(row_id) = store::row_id(tx, account_id, job_id)? else {
        return Ok(false);
    };
    let is_hidden = removals::hides(tx, account_id, job_id)?;
    if is_hidden {
        store::remove(tx, account_id, job_id, row_id)?;
    }
    Ok(!is_hidden)
}

fn insert(tx: &Tx<'_>, account_id: &AccountId, jobs: &[&ImportedJob]) -> Result<(), CatalogError> {
    let (Some(first), Ok(count)) = (jobs.first(), u32::try_from(jobs.len())) else {
        return Ok(());
    };
    let source_type: SourceType = first.job.source_type;
    let (part_id, first_seq) = parts::add(tx, account_id, source_type, count)?;
    for (seq, imported) in (first_seq..).zip(jobs) {
        let packed = match &imported.body {
            Some(json) => body::pack(body::IMPORTED, json),
            None => store::packed_body(tx.renderer(), &imported.job),
        };
        store::insert_as(
            tx,
            &imported.job,
            parts::row_id(part_id, seq),
            packed.as_deref(),
        )?;
    }
    Ok(())
}

/// Sees to it that the account's next job is created after `time`.
fn pass_by(tx: &Tx<'_>, account_id: &AccountId, time: Timestamp) -> Result<(), CatalogError> {
    let operation = "import jobs";
    let sql = "SELECT last_job_micros FROM accounts WHERE account_id = ?";
    let last: i64 = first(tx, operation, sql, [account_id.as_str()], |row| row.get(0))?
        .ok_or_else(|| CatalogError::not_found(Entity::Account, account_id))?;
    // The end of that second: a new job of the same second might have a lower id.
    let passed = i64::try_from(micros(time.plus_seconds(1))).unwrap_or(i64::MAX);
    if passed > last {
        let sql = "UPDATE accounts SET last_job_micros = ? WHERE account_id = ?";
        change(tx, operation, sql, params![passed, account_id.as_str()])?;
    }
    Ok(())
}

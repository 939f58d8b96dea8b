//! Backup jobs: created with their work, ended with their snapshot, each in one transaction. Questions over the whole
//! history are in [`query`](self::query()).
//!
//! Modules in reading order: `store` (rows), `body` (their JSON), `kept_bodies` (of them those in memory), `import` (history from elsewhere), `parts` (numbering and change log), `ledger` (the index beside the
//! database), `index_rows` (how it is fed), `saved_index` (how it survives a restart), `query`, `expiry` (what goes by age), `removals` (what
//! goes with its plan or vault).

mod body;
mod expiry;
#[cfg(test)]
mod expiry_tests;
#[cfg(test)]
mod history_tests;
mod import;
mod index_rows;
mod kept_bodies;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod parts;
mod query;
#[cfg(test)]
mod removal_tests;
mod removals;
mod saved_index;
mod store;
#[cfg(test)]
mod tests;

pub use body::Renderer;
pub use expiry::{Expired, remove_ended};
pub use import::{ImportReport, ImportedJob, import_all};
pub use kept_bodies::Body;
pub use ledger::Difference;
pub(crate) use ledger::Ledger;
pub use query::{BodyFigures, ExportedJob, bodies, body_figures, export, query, try_bodies};
pub(crate) use query::{add_filter, add_test};
pub(crate) use removals::{Owner, delete_of, hides};
pub use removals::{Removed, remove_hidden};
pub use saved_index::{check_index, load_index, save_index};
pub(crate) use store::note_changed;

use model::schedule::{Due, SkipReason, due, jitter_seconds};
use model::{AccountId, JobId, JobStatus, PlanId, Schedule, Timestamp, VaultStatus};

use crate::conditions::first;
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::plans;
use crate::records::{Job, Plan, Progress, Work};
use crate::row::RowReader;
use crate::snapshots::{self, SnapshotReport};
use crate::vaults;
use crate::words::{TriggerMode, WorkKind};
use crate::work::{self, Claim, FinishAnswer, NewWork};
use crate::{clients, item_errors};

/// What became of a scheduled run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheduled {
    /// The job was created.
    Started(Box<Job>),
    /// The run came due, and was skipped.
    Skipped(SkipReason),
    /// The run is not this plan's next one any more (another scheduler was faster, the plan changed or went), or its
    /// time has not come.
    NotDue,
}

/// The end of a job as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishJob {
    /// The job's id.
    pub work_id: String,
    /// The epoch of the lease.
    pub epoch: i64,
    /// COMPLETE, PARTIAL_COMPLETE, FAILED or CANCELED.
    pub outcome: JobStatus,
    /// Why it failed, or what is wrong with its result.
    pub message: Option<String>,
    /// How far it came.
    pub progress: Progress,
    /// The snapshot, with COMPLETE and PARTIAL_COMPLETE and only then.
    pub snapshot: Option<SnapshotReport>,
    /// The epoch under which the snapshot was made, when it was an earlier one: its error list counts.
    pub error_epoch: Option<i64>,
}

/// Creates a job of a plan at a caller's wish (ExecuteBackupPlan), with its work. It is CREATED and
/// dispatch does the rest; in a vault that could not be made, or for a client that is uninstalled, it is FAILED at once.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    plan_id: &PlanId,
    now: Timestamp,
) -> Result<Job, CatalogError> {
    catalog.write("create a job", |tx| {
        let plan = plans::require(tx, account_id, plan_id)?;
        insert_for_plan(catalog, tx, &plan, (TriggerMode::Manual, now), now)
    })
}

/// Decides about the run `planned` of a plan ([`plans::due`] found it) and moves the plan on to its next run, in one
/// transaction: a run starts at most once and never while the plan's former job goes on.
pub fn create_scheduled(
    catalog: &Catalog,
    account_id: &AccountId,
    plan_id: &PlanId,
    planned: Timestamp,
    now: Timestamp,
) -> Result<Scheduled, CatalogError> {
    catalog.write("create a scheduled job", |tx| {
        let plan = match plans::require(tx, account_id, plan_id) {
            Ok(plan) => plan,
            Err(CatalogError::NotFound { .. }) => return Ok(Scheduled::NotDue),
            Err(error) => return Err(error),
        };
        let schedule = plan
            .spec
            .schedule
            .as_deref()
            .map(Schedule::parse)
            .transpose()?;
        let (false, Some(schedule), Some(next)) = (plan.disabled, schedule, plan.next_run_time)
        else {
            return Ok(Scheduled::NotDue);
        };
        if next != planned {
            return Ok(Scheduled::NotDue);
        }
        let is_running = active(tx, account_id, &plan.booked_on())?.is_some();
        match due(&schedule, planned, is_running, now, catalog.zone()) {
            Due::Wait => Ok(Scheduled::NotDue),
            Due::Skip { reason, next } => {
                plans::set_next_run(tx, plan_id, next)?;
                Ok(Scheduled::Skipped(reason))
            }
            Due::Run { next } => {
                plans::set_next_run(tx, plan_id, next)?;
                let late = jitter_seconds(plan_id.as_str(), planned, catalog.jitter_seconds());
                let start = (TriggerMode::Schedule, now.max(planned.plus_seconds(late)));
                let job = insert_for_plan(catalog, tx, &plan, start, now)?;
                Ok(Scheduled::Started(Box::new(job)))
            }
        }
    })
}

fn insert_for_plan(
    catalog: &Catalog,
    tx: &Tx<'_>,
    plan: &Plan,
    (trigger, not_before): (TriggerMode, Timestamp),
    now: Timestamp,
) -> Result<Job, CatalogError> {
    let account_id = &plan.account_id;
    let spec = &plan.spec;
    let booked_on = plan.booked_on();
    let Some(vault_id) = &spec.vault_id else {
        return Err(CatalogError::PlanIncomplete {
            plan_id: plan.plan_id.to_string(),
            missing: "vault",
        });
    };
    let vault = vaults::require(tx, account_id, vault_id)?;
    let (job_id, created_time) = store::next_id(tx, account_id, now)?;
    let job = Job {
        account_id: account_id.clone(),
        job_id,
        job_name: spec.plan_name.clone(),
        region_id: spec.region_id.clone(),
        source_type: spec.source_type,
        backup_type: spec.backup_type.clone(),
        status: JobStatus::Created,
        vault_id: Some(vault_id.clone()),
        plan_id: Some(booked_on.clone()),
        client_id: spec.client_id.clone(),
        instance_id: spec.instance_id.clone(),
        bucket: spec.bucket.clone(),
        file_system_id: spec.file_system_id.clone(),
        instance_name: spec.instance_name.clone(),
        parent_id: None,
        trigger_mode: Some(trigger),
        paths: spec.paths.clone(),
        include: spec.include.clone(),
        exclude: spec.exclude.clone(),
        speed_limit: spec.speed_limit.clone(),
        options: spec.options.clone(),
        retention: spec.retention,
        source_fields: spec.source_fields.clone(),
        created_time,
        start_time: None,
        complete_time: None,
        updated_time: created_time,
        progress: Progress::default(),
        error_message: None,
    };
    store::insert(tx, &job)?;
    let new = NewWork {
        work_id: job.job_id.as_str(),
        kind: WorkKind::Backup,
        account_id,
        client_id: spec.client_id.as_ref(),
        lent_to: None,
        vault_id,
        serial_key: Some(booked_on.as_str()),
        not_before,
    };
    work::insert(catalog, tx, &new, now)?;
    plans::set_latest_execute(tx, &booked_on, &job.job_id)?;
    // It would wait for ever, and keep the plan's later runs from starting.
    let why = match vault.status {
        VaultStatus::Error => {
            let reason = vault.status_message.as_deref().unwrap_or("unknown reason");
            Some(format!("the vault could not be made: {reason}"))
        }
        _ => clients::why_waits_in_vain(tx, account_id, spec.client_id.as_ref())?,
    };
    let Some(why) = why else { return Ok(job) };
    work::fail_new(tx, job.job_id.as_str(), &why, now)?;
    require(tx, account_id, &job.job_id)
}

/// Writes one job that has ended; see [`import_all`]. `AlreadyExists` when the account has a job with this id.
pub fn import(catalog: &Catalog, job: &Job) -> Result<(), CatalogError> {
    let imported = ImportedJob {
        job: job.clone(),
        body: None,
    };
    match import_all(catalog, &job.account_id, &[imported])?.known {
        0 => Ok(()),
        _ => Err(CatalogError::AlreadyExists {
            entity: Entity::Job,
            id: job.job_id.to_string(),
        }),
    }
}

/// The job. `NotFound` when it is another account's.
pub fn get(catalog: &Catalog, account_id: &AccountId, job_id: &JobId) -> Result<Job, CatalogError> {
    catalog.read("read a job", |tx| require(tx, account_id, job_id))
}

fn require(tx: &Tx<'_>, account_id: &AccountId, job_id: &JobId) -> Result<Job, CatalogError> {
    store::find(tx, account_id, job_id)?.ok_or_else(|| CatalogError::not_found(Entity::Job, job_id))
}

/// The oldest job of a plan that has not ended, if any.
pub(crate) fn active(
    tx: &Tx<'_>,
    account_id: &AccountId,
    plan_id: &PlanId,
) -> Result<Option<JobId>, CatalogError> {
    // A job goes on exactly as long as its work does.
    let sql = "SELECT work_id FROM work WHERE account_id = ? AND serial_key = ? AND state <> 'DONE' \
               ORDER BY work_id LIMIT 1";
    first(
        tx,
        "read a job",
        sql,
        [account_id.as_str(), plan_id.as_str()],
        |row| row.parsed("work_id"),
    )
}

/// Asks for the end of a job (CancelBackupJob): CANCELED at once when no agent holds it, else CANCELING. A job that has
/// ended is a `Transition` error.
pub fn cancel(
    catalog: &Catalog,
    account_id: &AccountId,
    job_id: &JobId,
    now: Timestamp,
) -> Result<JobStatus, CatalogError> {
    catalog.write("cancel a job", |tx| {
        work::request_cancel(tx, WorkKind::Backup, account_id, job_id.as_str(), now)
    })
}

/// Ends a job: its state and numbers, its snapshot, its vault's usage, its plan's latest job and its work, all or none.
pub fn finish(
    catalog: &Catalog,
    report: &FinishJob,
    now: Timestamp,
) -> Result<FinishAnswer, CatalogError> {
    catalog.write("finish a job", |tx| {
        let work = match work::claim(tx, &[WorkKind::Backup], &report.work_id, report.epoch)? {
            Claim::Mine(work) => work,
            Claim::Answer(answer) => return Ok(answer),
        };
        check_report(report)?;
        let mut progress = report.progress;
        if report.outcome.has_result() {
            progress.progress = 10_000;
        }
        work::write_progress(tx, &work, &progress, now)?;
        item_errors::settle(tx, &work, report.error_epoch.unwrap_or(report.epoch), now)?;
        work::close(tx, &work, report.outcome, report.message.as_deref(), now)?;
        if let Some(snapshot) = &report.snapshot {
            let job = of_work(tx, &work)?;
            snapshots::insert_for_job(catalog, tx, &job, snapshot, now)?;
        }
        vaults::add_usage(
            tx,
            &work.vault_id,
            progress.bytes_done,
            progress.actual_bytes,
            now,
        )?;
        Ok(FinishAnswer::Accepted)
    })
}

fn check_report(report: &FinishJob) -> Result<(), CatalogError> {
    let bad = |detail| {
        let (work_id, outcome) = (report.work_id.clone(), report.outcome);
        Err(CatalogError::BadReport {
            work_id,
            outcome,
            detail,
        })
    };
    match report.outcome {
        JobStatus::Complete | JobStatus::PartialComplete if report.snapshot.is_none() => {
            bad("no snapshot")
        }
        JobStatus::Failed | JobStatus::Canceled if report.snapshot.is_some() => bad("a snapshot"),
        JobStatus::Complete
        | JobStatus::PartialComplete
        | JobStatus::Failed
        | JobStatus::Canceled => Ok(()),
        _ => bad("a backup job"),
    }
}

fn of_work(tx: &Tx<'_>, work: &Work) -> Result<Job, CatalogError> {
    let job_id = JobId::parse(&work.work_id)
        .map_err(|_| CatalogError::not_found(Entity::Job, &work.work_id))?;
    require(tx, &work.account_id, &job_id)
}

/// What follows when a job has ended, however it did.
pub(crate) fn ended(tx: &Tx<'_>, work: &Work) -> Result<(), CatalogError> {
    let job = of_work(tx, work)?;
    store::keep_body(tx, &job)?;
    match &job.plan_id {
        Some(plan_id) => plans::set_latest_finish(tx, plan_id, &job.job_id),
        None => Ok(()),
    }
}

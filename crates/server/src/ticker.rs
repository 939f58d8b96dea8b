//! What happens by time alone: lost leases, due plans, silent clients, snapshots whose time is over, hosts that fit a tag,
//! vaults that are due for a check or a prune, the catalog that is due for a backup. One step is one call of `Ticker::tick`, so that a test with its own clock
//! sees exactly what a day of running would do.

use catalog::jobs::Scheduled;
use catalog::retention::{self, Group};
use catalog::upkeep::{Extent, NewUpkeep};
use catalog::{
    CatalogError, TaskKind, accounts, clients, jobs, plans, policy_bindings, upkeep, work,
};
use model::Timestamp;
use model::upkeep::Due;
use parking_lot::Mutex;

use crate::actions::policies::bind_by_tags;
use crate::agents;
use crate::catalog_backup;
use crate::service::Service;

/// Plans that are looked at in one step; the rest comes in the next.
const MAX_DUE: u32 = 200;
/// A client that was not heard of for this long is DEACTIVATED.
const SILENCE_SECONDS: i64 = 3_600;
/// How often what is not urgent is looked for: silent clients, ended snapshots, tags.
const SLOW_CHECK_SECONDS: i64 = 60;
/// Plans whose snapshots are judged in one step; the rest comes in the next.
const MAX_GROUPS: u32 = 100;
/// Transactions in which one step removes old jobs, and those of deleted plans and vaults; the rest comes in the next.
const MAX_REMOVALS: usize = 10;
/// How often the job ledger's index is saved, if it changed.
const LEDGER_SAVE_SECONDS: i64 = 600;
/// How often the job ledger's index is compared with the database.
const LEDGER_CHECK_SECONDS: i64 = 86_400;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TickReport {
    /// Leases that had run out.
    pub expired_leases: usize,
    /// Jobs that were started because their plan was due.
    pub started_jobs: usize,
    /// Runs that were skipped: missed, or the former one still runs.
    pub skipped_runs: usize,
    /// Clients that were marked as silent.
    pub silent_clients: usize,
    /// Snapshots whose time was over and that were deleted.
    pub expired_snapshots: usize,
    /// Jobs and restore jobs that the history keeps no longer, and the last of those that went with a plan or vault.
    pub removed_jobs: usize,
    /// Hosts that were bound to or unbound from a policy by their tags.
    pub bound_by_tags: usize,
    /// Checks and prunes of vaults, and backups of the catalog, that were started.
    pub started_upkeep: usize,
}

/// What a step remembers of the former ones: when each of these was last done.
#[derive(Debug, Default)]
struct Done {
    slow_check: Option<Timestamp>,
    ledger_save: Option<Timestamp>,
    ledger_check: Option<Timestamp>,
}

/// Whether something that is done every `seconds` is due, and if so, that it is done now. The first time is
/// at once, or as long after the start.
fn is_due(last: &mut Option<Timestamp>, now: Timestamp, seconds: i64, first: FirstTime) -> bool {
    let is_due = match last {
        Some(last) => now.0 >= last.0 + seconds || now < *last,
        None => first == FirstTime::AtOnce,
    };
    if is_due || last.is_none() {
        *last = Some(now);
    }
    is_due
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstTime {
    AtOnce,
    AfterAWhile,
}

/// The steps.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    // Steps may be asked for by the timer and by a test at once; they run one after the other.
    state: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    done: Done,
    /// The plan that was judged last; `None` when the round is over.
    judged: Option<Group>,
    /// Whether the last step left jobs that are to go.
    has_old_jobs: bool,
}

impl Ticker {
    /// One step at the clock's present time.
    pub(crate) fn tick(&self, service: &Service) -> Result<TickReport, CatalogError> {
        let mut memory = self.state.lock();
        let now = service.now();
        let mut report = TickReport::default();
        // Before any lease is said to be over: its agent may have been heard a moment ago.
        service.note_pulses()?;
        for item in work::expire_leases(&service.catalog, now)? {
            tracing::warn!(work_id = item.work_id, kind = %item.kind, state = %item.state, "the lease of a work ran out");
            report.expired_leases += 1;
        }
        start_due_plans(service, now, &mut report)?;
        let is_slow_step = is_due(
            &mut memory.done.slow_check,
            now,
            SLOW_CHECK_SECONDS,
            FirstTime::AtOnce,
        );
        if is_slow_step {
            let heard_before = now.plus_seconds(-SILENCE_SECONDS);
            report.silent_clients =
                clients::deactivate_silent(&service.catalog, heard_before, now)?;
            start_due_upkeep(service, now, &mut report)?;
            report.started_upkeep += usize::from(catalog_backup::start_if_due(service, now)?);
            upkeep::forget_missing(&service.catalog, now)?;
            for account in policy_bindings::accounts_with_policies(&service.catalog)? {
                report.bound_by_tags += bind_by_tags(service, &account, now)?;
            }
        }
        if is_due(
            &mut memory.done.ledger_save,
            now,
            LEDGER_SAVE_SECONDS,
            FirstTime::AfterAWhile,
        ) {
            jobs::save_index(&service.catalog)?;
        }
        if is_due(
            &mut memory.done.ledger_check,
            now,
            LEDGER_CHECK_SECONDS,
            FirstTime::AfterAWhile,
        ) {
            for wrong in jobs::check_index(&service.catalog)? {
                tracing::error!(?wrong, "the job ledger's index was wrong and is built anew");
            }
        }
        if is_slow_step || memory.judged.is_some() {
            memory.judged = let_go(service, memory.judged.take(), now, &mut report)?;
        }
        remove_deleted_jobs(service, &mut report)?;
        if is_slow_step || memory.has_old_jobs {
            memory.has_old_jobs = remove_old_jobs(service, now, &mut report)?;
        }
        let has_work = [
            report.expired_leases,
            report.started_jobs,
            report.expired_snapshots,
            report.started_upkeep,
        ];
        if has_work.iter().any(|count| *count > 0) {
            service.ring();
        }
        Ok(report)
    }
}

fn start_due_plans(
    service: &Service,
    now: Timestamp,
    report: &mut TickReport,
) -> Result<(), CatalogError> {
    for due in plans::due(&service.catalog, now, MAX_DUE)? {
        match jobs::create_scheduled(
            &service.catalog,
            &due.account_id,
            &due.plan_id,
            due.planned,
            now,
        ) {
            Ok(Scheduled::Started(job)) => {
                match &job.error_message {
                    None => {
                        tracing::info!(plan_id = %due.plan_id, job_id = %job.job_id, "a plan was due");
                    }
                    Some(why) => {
                        tracing::warn!(plan_id = %due.plan_id, job_id = %job.job_id, why, "a plan was due and cannot run");
                    }
                }
                report.started_jobs += 1;
            }
            Ok(Scheduled::Skipped(reason)) => {
                tracing::warn!(plan_id = %due.plan_id, ?reason, "a run of a plan was skipped");
                report.skipped_runs += 1;
            }
            Ok(Scheduled::NotDue) => {}
            // One plan that cannot start must not stop the others; the disk being full stops all.
            Err(CatalogError::Full) => return Err(CatalogError::Full),
            Err(error) => {
                tracing::error!(plan_id = %due.plan_id, %error, "a due plan could not be started")
            }
        }
    }
    Ok(())
}

/// Starts the checks and prunes that are due.
fn start_due_upkeep(
    service: &Service,
    now: Timestamp,
    report: &mut TickReport,
) -> Result<(), CatalogError> {
    for vault in upkeep::histories(&service.catalog)? {
        let new = match service.upkeep.due(&vault.history, now) {
            None => continue,
            Some(Due::Prune) => NewUpkeep::prune(),
            Some(Due::Check { part, parts }) => NewUpkeep {
                kind: TaskKind::CheckVault,
                extent: Extent { part, parts },
                is_of_round: true,
            },
        };
        let (account_id, vault_id) = (&vault.account_id, &vault.vault_id);
        let client = agents::client_for_tasks(service, account_id);
        match upkeep::start(
            &service.catalog,
            (account_id, vault_id),
            &new,
            client.as_ref(),
            now,
        ) {
            Ok(task_id) => {
                tracing::info!(%vault_id, %task_id, kind = %new.kind, "a vault is due");
                report.started_upkeep += 1;
            }
            Err(CatalogError::Full) => return Err(CatalogError::Full),
            Err(error) => {
                tracing::error!(%vault_id, %error, "a vault that is due could not be looked after")
            }
        }
    }
    Ok(())
}

/// Removes what is left in the catalog of the jobs of deleted plans and vaults.
fn remove_deleted_jobs(service: &Service, report: &mut TickReport) -> Result<(), CatalogError> {
    for _ in 0..MAX_REMOVALS {
        let done = jobs::remove_hidden(&service.catalog)?;
        report.removed_jobs += done.jobs;
        if !done.has_more {
            break;
        }
    }
    Ok(())
}

/// Removes jobs that the history keeps no longer; says whether there are more.
fn remove_old_jobs(
    service: &Service,
    now: Timestamp,
    report: &mut TickReport,
) -> Result<bool, CatalogError> {
    let Some(kept) = service.job_retention else {
        return Ok(false);
    };
    let seconds = i64::try_from(kept.as_secs()).unwrap_or(i64::MAX);
    let before = now.plus_seconds(-seconds);
    let mut removals_left = MAX_REMOVALS;
    for account in accounts::list(&service.catalog)? {
        loop {
            let done = jobs::remove_ended(&service.catalog, &account.account_id, before)?;
            let removed = done.jobs + done.restores;
            if removed > 0 {
                tracing::info!(account_id = %account.account_id, removed, "jobs are older than the history");
            }
            report.removed_jobs += removed;
            if !done.has_more {
                break;
            }
            removals_left -= 1;
            if removals_left == 0 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Judges the next plans behind `after`; says where the next step goes on.
fn let_go(
    service: &Service,
    after: Option<Group>,
    now: Timestamp,
    report: &mut TickReport,
) -> Result<Option<Group>, CatalogError> {
    let groups = retention::groups_with_ended(&service.catalog, now, after.as_ref(), MAX_GROUPS)?;
    let has_more = groups.len() as u64 == u64::from(MAX_GROUPS);
    let mut last = None;
    for group in groups {
        let client = agents::client_for_tasks(service, &group.account_id);
        match retention::apply(&service.catalog, &group, client.as_ref(), now) {
            Ok(gone) => {
                for snapshot_id in &gone {
                    tracing::info!(%snapshot_id, vault_id = %group.vault_id, "a snapshot's time is over");
                }
                report.expired_snapshots += gone.len();
            }
            Err(CatalogError::Full) => return Err(CatalogError::Full),
            Err(error) => {
                tracing::error!(vault_id = %group.vault_id, %error, "retention could not be applied")
            }
        }
        last = Some(group);
    }
    Ok(last.filter(|_| has_more))
}

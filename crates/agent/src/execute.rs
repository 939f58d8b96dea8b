//! Running one work on a thread of its own, from assignment to report. A panic is a failure of that work, never of the
//! agent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::agent_protocol::{Assignment, FinishRequest, Outcome, WorkKind};

use crate::catalog_backup::CatalogSource;
use crate::report::End;
use crate::work::{Stall, StopReason, Work};
use crate::{Shared, backup, catalog_backup, outbox, restore, upkeep, vaults};

/// What runs a work; the engine, or something else in tests.
pub(crate) trait Execute: Send + Sync + std::fmt::Debug {
    /// Runs to the end. Obeys the work's stop token.
    fn run(&self, kind: WorkKind, work: &Arc<Work>) -> End;

    /// How long work of this kind may stand still before it counts as hanging; `None` when it tells no progress.
    fn patience(&self, kind: &WorkKind) -> Option<Duration> {
        match kind {
            WorkKind::Backup(spec) if spec.speed_limit.is_some() => Some(LONG_PATIENCE),
            WorkKind::Backup(_)
            | WorkKind::Restore(_)
            | WorkKind::CheckVault(_)
            | WorkKind::PruneVault(_)
            | WorkKind::BackupCatalog(_)
            | WorkKind::CreateVault(_)
            | WorkKind::DeleteSnapshot(_) => Some(PATIENCE),
            WorkKind::DeleteVault(_) => None,
        }
    }
}

/// No file server that comes back takes so long, and no step between two signs of progress does.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A backup that may read so little in an hour that not one piece of a file comes together.
const LONG_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Takes an assignment on. The thread ends with the report in the table of works.
pub(crate) fn spawn(shared: &Arc<Shared>, assignment: Assignment) {
    let work = Arc::new(Work::new(
        assignment.work_id,
        assignment.epoch,
        &assignment.kind,
        shared.executor.patience(&assignment.kind),
    ));
    if !shared.works.add(&work) {
        return;
    }
    // A stop that came between the last look and now must not be missed by this work.
    if shared.is_stopping() {
        work.stop(StopReason::Suspended);
    }
    let kind = assignment.kind;
    let (running, held) = (Arc::clone(shared), Arc::clone(&work));
    let body = move || {
        let end = match held.stop_reason() {
            Some(_) => End::stopped(),
            None => run_caught(&running, kind, &held),
        };
        finish(&running, &held, end);
    };
    let started = std::thread::Builder::new()
        .name(format!("work-{}", work.work_id))
        .spawn(body);
    if let Err(error) = started {
        finish(
            shared,
            &work,
            End::failed(format!("cannot start a thread: {error}")),
        );
    }
}

fn run_caught(shared: &Shared, kind: WorkKind, work: &Arc<Work>) -> End {
    let run = AssertUnwindSafe(|| shared.executor.run(kind, work));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        tracing::error!("{} ended by a panic: {text}", work.work_id);
        End::failed(format!("internal error of the agent: {text}"))
    })
}

/// Ends work that stands still: it is asked to stop, and given up when it does not. A thread that a storage never answers
/// cannot be ended from outside; when the call returns after all, the run ends at its next look at the stop token, and
/// what it says then is passed over.
pub(crate) fn watch(shared: &Shared) {
    for work in shared.works.all() {
        match work.stall() {
            Stall::None => {}
            Stall::Stop => {
                tracing::error!("{} stands still and is stopped", work.work_id);
                work.stop(StopReason::Stalled);
            }
            Stall::GiveUp => finish(shared, &work, End::stopped()),
        }
    }
}

/// Books the end: in memory and on disk until the server has it.
fn finish(shared: &Shared, work: &Work, mut end: End) {
    if !work.begin_end() {
        return;
    }
    let reason = work.stop_reason();
    let outcome = match (end.outcome, reason) {
        // Done is done, even if a stop came late.
        (Some(outcome), _) => outcome,
        (None, Some(StopReason::Suspended)) => Outcome::Released,
        (None, Some(StopReason::Canceled | StopReason::Lost)) => Outcome::Canceled,
        (None, None | Some(StopReason::Stalled)) => Outcome::Failed,
    };
    if outcome == Outcome::Failed && reason == Some(StopReason::Stalled) {
        end.message = format!(
            "nothing moved for {} minutes: the storage of the vault or what is backed up does not answer; what is stored \
             already is used by the next run",
            work.patience().as_secs() / 60
        );
    }
    let mut progress = work.progress();
    if let Some(last) = end.progress {
        work.set_progress(last);
        progress = work.progress();
    }
    let report = FinishRequest {
        work_id: work.work_id.clone(),
        epoch: work.epoch,
        outcome,
        message: end.message,
        progress,
        snapshot: end.snapshot,
        error_epoch: end.error_epoch,
        upkeep: end.upkeep,
    };
    if reason != Some(StopReason::Lost) {
        outbox::keep(&shared.state, &report);
    }
    work.set_end(report);
    shared.works.notify();
    shared.wake();
}

/// The engine: the runner and the vault.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Folders that no backup touches.
    pub(crate) skip: Vec<PathBuf>,
    pub(crate) hostname: String,
    /// Where restores keep what their next attempt has to know.
    pub(crate) state_dir: PathBuf,
    /// Where the copy of the catalog comes from.
    pub(crate) catalog: CatalogSource,
}

impl Engine {
    pub(crate) fn new(
        skip: Vec<PathBuf>,
        hostname: String,
        state_dir: PathBuf,
        catalog: CatalogSource,
    ) -> Self {
        Self {
            skip,
            hostname,
            state_dir,
            catalog,
        }
    }
}

impl Execute for Engine {
    fn run(&self, kind: WorkKind, work: &Arc<Work>) -> End {
        let task = |done: Result<(), vaults::TaskError>| match done {
            Ok(()) => End::done(Outcome::Complete),
            Err(error) => End::failed(crate::report::chain(&error)),
        };
        match kind {
            WorkKind::Backup(spec) => backup::run(self, &spec, work),
            WorkKind::Restore(spec) => restore::run(self, &spec, work),
            WorkKind::CreateVault(spec) => task(vaults::create(&spec, &self.hostname)),
            WorkKind::DeleteVault(spec) => task(vaults::delete(&spec, &work.stop_token)),
            WorkKind::DeleteSnapshot(spec) => task(vaults::delete_snapshot(&spec, &self.hostname)),
            WorkKind::CheckVault(spec) => upkeep::check(self, &spec, work),
            WorkKind::PruneVault(spec) => upkeep::prune(self, &spec, work),
            WorkKind::BackupCatalog(spec) => catalog_backup::run(self, &spec, work),
        }
    }
}

//! A backup: from the assignment to the runner's request, and from its report to the server's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::agent_protocol::{BackupSpec, Outcome, SnapshotReport};
use model::SpeedLimit;
use runner::{BackupReport, BackupRequest, JobTag, RunError};

use crate::execute::Engine;
use crate::report::{End, Listener, chain, wire};
use crate::vaults;
use crate::work::Work;

/// Runs it to the end.
pub(crate) fn run(engine: &Engine, spec: &BackupSpec, work: &Arc<Work>) -> End {
    let request = match request(engine, spec, work) {
        Ok(request) => request,
        Err(message) => return End::failed(message),
    };
    tracing::debug!(work_id = work.work_id, workers = ?request.worker_count, "a backup starts");
    let listener = Listener {
        work: Arc::clone(work),
        wire,
        carried_bytes: spec.carried_bytes,
    };
    match runner::backup(&request, &listener, &work.stop_token) {
        Ok(report) => done(work, &report, spec.carried_bytes),
        Err(error) => failed(work, &error),
    }
}

pub(crate) fn request(
    engine: &Engine,
    spec: &BackupSpec,
    work: &Work,
) -> Result<BackupRequest, String> {
    let repository = vaults::open(&spec.vault, &engine.hostname).map_err(|error| chain(&error))?;
    let paths = match spec.paths.as_slice() {
        [] => vec![PathBuf::from("/")],
        paths => paths.iter().map(PathBuf::from).collect(),
    };
    let mut request = BackupRequest::new(repository, paths);
    request.include.clone_from(&spec.include);
    request.exclude.clone_from(&spec.exclude);
    request.speed_limit = match spec.speed_limit.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(text) => Some(SpeedLimit::parse(text).map_err(|error| chain(&error))?),
    };
    let vault_folders = spec.vault_folders.iter().map(Path::new);
    request.skip = engine
        .skip
        .iter()
        .map(PathBuf::as_path)
        .chain(vault_folders.filter(|folder| vaults::is_repository(folder)))
        .filter_map(runner::folder_identity)
        .collect();
    request.worker_count = runner::workers_within(spec.max_workers);
    request.hostname = Some(engine.hostname.clone());
    request.job = Some(JobTag {
        job_id: spec.job_id.clone(),
        epoch: work.epoch,
        plan_id: spec.plan_id.clone(),
        client_id: spec.client_id.clone(),
        instance_id: spec.instance_id.clone(),
    });
    Ok(request)
}

fn done(work: &Work, report: &BackupReport, carried_bytes: u64) -> End {
    if report.missing_packs > 0 {
        tracing::error!(
            work_id = work.work_id,
            "{} packs are missing from the vault; what this backup needs of them was stored again, older snapshots may have \
             lost files: run `strongroom vault check`",
            report.missing_packs
        );
    }
    if report.unreadable_trees > 0 {
        tracing::error!(
            work_id = work.work_id,
            "{} trees of the parent snapshot cannot be read; what this backup needs of them was stored again, older \
             snapshots may have lost files: run `strongroom vault check`",
            report.unreadable_trees
        );
    }
    let mut progress = wire(&report.progress);
    progress.actual_bytes = match report.found_epoch {
        // The snapshot is an earlier lease's, and so are the bytes.
        Some(_) => progress.actual_bytes.max(carried_bytes),
        None => progress.actual_bytes.saturating_add(carried_bytes),
    };
    let (outcome, message) = match report.outcome {
        runner::Outcome::Complete => (Outcome::Complete, String::new()),
        runner::Outcome::Partial => (
            Outcome::PartialComplete,
            partial_message(work, report.progress.errors, "read"),
        ),
    };
    End {
        outcome: Some(outcome),
        message,
        progress: Some(progress),
        snapshot: Some(snapshot(report)),
        error_epoch: report.found_epoch.filter(|epoch| *epoch != work.epoch),
        upkeep: None,
    }
}

/// `2 items could not be read; the first: /a/b (open: Permission denied)`
pub(crate) fn partial_message(work: &Work, errors: u64, verb: &str) -> String {
    let noun = if errors == 1 { "item" } else { "items" };
    let first = work.first_row().map_or_else(String::new, |row| {
        format!(
            "; the first: {} ({}: {})",
            row.path, row.operation, row.message
        )
    });
    format!("{errors} {noun} could not be {verb}{first}")
}

fn snapshot(report: &BackupReport) -> SnapshotReport {
    let (summary, progress) = (&report.summary, &report.progress);
    SnapshotReport {
        snapshot_hash: report.snapshot_id.to_hex(),
        parent_snapshot_hash: report.snapshot.parent.map(|parent| parent.to_hex()),
        start_time: summary.backup_start.seconds,
        complete_time: summary.backup_end.seconds,
        bytes_total: progress.bytes_total,
        bytes_done: wire(progress).bytes_changed,
        actual_bytes: progress.actual_bytes,
        items_total: progress.items_total,
        files_total: progress.files_total,
        actual_items: progress.actual_items,
    }
}

/// A stop that was asked for is no failure, in whatever form the run reports it.
pub(crate) fn failed(work: &Work, error: &RunError) -> End {
    let was_stopped = matches!(error, RunError::Stopped(_) | RunError::Refused { .. });
    if was_stopped && work.stop_reason().is_some() {
        return End::stopped();
    }
    if error.is_lock_lost() {
        // Nothing is wrong with the job: it goes on under its id, with a new lock.
        return End {
            message: chain(error),
            ..End::done(Outcome::Released)
        };
    }
    if error.is_vault_full() {
        return End::failed(format!("the vault has no space left: {}", chain(error)));
    }
    End::failed(chain(error))
}

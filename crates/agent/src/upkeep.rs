//! Checks and prunes of a vault, and which snapshots others removed from it.
//!
//! Both may be stopped between any two calls of the storage, and may be repeated: a check changes nothing, and a prune
//! that was cut short leaves a vault that is whole for every reader.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::agent_protocol::{
    CATALOG_TAG, CheckFindings, MAX_FINDINGS, MAX_FINDINGS_BYTES, MAX_OTHER_SNAPSHOTS,
    MAX_OTHER_SNAPSHOTS_BYTES, MAX_TOLD_SNAPSHOTS, OtherSnapshot, Outcome, Progress, PruneFindings,
    UpkeepReport, UpkeepSpec, VaultSpec,
};
use runner::{CheckRequest, RunError};
use storage::Stoppable;
use vault::{
    CheckOptions, CheckPhase, CheckProgress, CheckReport, Id, PruneOptions, PrunePhase,
    PruneProgress, PruneReport, ReadData, Repository, Snapshot, Time, UnlockScope, VaultError,
};

use crate::backup::failed;
use crate::execute::Engine;
use crate::report::{End, chain};
use crate::vaults::{self, TaskError};
use crate::work::Work;

/// Looks for damage. Damage ends it as failed, with what was found.
pub(crate) fn check(engine: &Engine, spec: &UpkeepSpec, work: &Arc<Work>) -> End {
    let repository = match open(engine, &spec.vault, work) {
        Ok(repository) => repository,
        Err(error) => return stopped_or_failed(work, &error),
    };
    let request = CheckRequest {
        repository: repository.clone(),
        options: CheckOptions {
            read_data: match (spec.part, spec.parts) {
                (0, _) => ReadData::None,
                (_, 1) => ReadData::All,
                (part, parts) => ReadData::Part { part, parts },
            },
            ..CheckOptions::default()
        },
    };
    let progress = |progress: CheckProgress| work.set_progress(told_of_check(progress));
    let report = runner::check(&request, &progress);
    if work.stop_token.requested().is_some() {
        // What a stopped check found is that it was stopped.
        return End::stopped();
    }
    let findings = match report {
        Ok(report) => check_findings(&report),
        Err(error) => return failed(work, &error),
    };
    let errors = findings.structure_errors + findings.data_errors;
    let end = match errors {
        0 => End::done(Outcome::Complete),
        // A storage that went away looks like a vault without packs.
        _ => match repository.require_there() {
            Ok(()) => End::failed(damage_message(&findings)),
            Err(error) => {
                return End::failed(format!(
                    "the vault was lost during the check, which says nothing of its data: {}",
                    chain(&error)
                ));
            }
        },
    };
    let found = UpkeepReport {
        check: Some(findings),
        ..UpkeepReport::default()
    };
    with_snapshots(&repository, spec, found, work, end)
}

/// Removes what no snapshot needs, as the prune of the engine does: marked first, removed by a later run.
pub(crate) fn prune(engine: &Engine, spec: &UpkeepSpec, work: &Arc<Work>) -> End {
    let repository = match open(engine, &spec.vault, work) {
        Ok(repository) => repository,
        Err(error) => return stopped_or_failed(work, &error),
    };
    let progress = |progress: PruneProgress| work.set_progress(told_of_prune(progress));
    let mut options = PruneOptions::default();
    if let Some(seconds) = spec.keep_delete_seconds {
        options.keep_delete = Duration::from_secs(seconds);
    }
    let report = vault::prune(&repository, &options, Time::now(), &progress);
    let report = match report {
        Ok(report) => report,
        Err(_) if work.stop_token.requested().is_some() => return End::stopped(),
        Err(error) => return failed(work, &RunError::from(error)),
    };
    let end = match report.failed.as_slice() {
        [] => End::done(Outcome::Complete),
        [(pack, error), ..] => End {
            message: format!(
                "{} packs could not be removed and stay for the next prune; the first: {}: {}",
                report.failed.len(),
                pack.short(),
                chain(error)
            ),
            ..End::done(Outcome::Complete)
        },
    };
    let found = UpkeepReport {
        prune: Some(prune_findings(&report)),
        ..UpkeepReport::default()
    };
    with_snapshots(&repository, spec, found, work, end)
}

/// The repository behind a storage that ends with the work.
pub(crate) fn open(
    engine: &Engine,
    vault: &VaultSpec,
    work: &Arc<Work>,
) -> Result<Repository, TaskError> {
    let token = work.stop_token.clone();
    let stoppable = |storage| -> Arc<dyn storage::Storage> {
        let is_stopped = Arc::new(move || token.requested().is_some());
        Arc::new(Stoppable::new(storage, is_stopped))
    };
    let repository = vaults::open_through(vault, &engine.hostname, stoppable)?;
    // Of an attempt before that was killed: it would keep stock restic out.
    repository.unlock(UnlockScope::Dead)?;
    Ok(repository)
}

pub(crate) fn stopped_or_failed(work: &Work, error: &TaskError) -> End {
    match work.stop_token.requested() {
        Some(_) => End::stopped(),
        None => End::failed(chain(error)),
    }
}

/// Adds what is known of the snapshots. Nothing is said of them when they cannot be listed.
fn with_snapshots(
    repository: &Repository,
    spec: &UpkeepSpec,
    mut found: UpkeepReport,
    work: &Work,
    end: End,
) -> End {
    let ids = |texts: &[String]| -> Vec<Id> {
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    };
    let (expected, gone) = (ids(&spec.expected), ids(&spec.missing));
    let asked: Vec<Id> = expected.iter().chain(&gone).copied().collect();
    let looked = repository.absent_snapshots(&asked).and_then(|absent| {
        let known = asked.iter().copied().collect();
        let absent: HashSet<Id> = absent.into_iter().collect();
        Ok((absent, others(repository, &known)?))
    });
    match looked {
        Ok((absent, others)) => {
            let told = |id: &Id| id.to_hex();
            let missing = expected.iter().filter(|id| absent.contains(id));
            let present = gone.iter().filter(|id| !absent.contains(id));
            found.missing = missing.take(MAX_TOLD_SNAPSHOTS).map(told).collect();
            found.present = present.take(MAX_TOLD_SNAPSHOTS).map(told).collect();
            found.others = others;
        }
        Err(_) if work.stop_token.requested().is_some() => return End::stopped(),
        Err(error) => tracing::warn!(
            "cannot see which snapshots vault {} holds: {}",
            spec.vault.vault_id,
            chain(&error)
        ),
    }
    End {
        upkeep: Some(found),
        ..end
    }
}

/// What other programs made, as far as a report may hold it, without backups of the catalog. One that cannot be read is a finding
/// of the check.
fn others(repository: &Repository, known: &HashSet<Id>) -> Result<Vec<OtherSnapshot>, VaultError> {
    let (mut others, mut bytes) = (Vec::new(), 0);
    for id in repository.snapshot_ids()? {
        if known.contains(&id) {
            continue;
        }
        let text = match repository.snapshot_text(&id) {
            Ok(text) => text,
            // It cannot be read, or was removed since it was listed.
            Err(error) if error.storage_kind().is_none() => continue,
            Err(error) => return Err(error),
        };
        let is_listed = Snapshot::decode(&id, text.as_bytes())
            .is_ok_and(|snapshot| !snapshot.tags.iter().any(|tag| tag == CATALOG_TAG));
        if is_listed && bytes + text.len() <= MAX_OTHER_SNAPSHOTS_BYTES {
            bytes += text.len();
            let id = id.to_hex();
            others.push(OtherSnapshot { id, text });
        }
        if others.len() == MAX_OTHER_SNAPSHOTS {
            break;
        }
    }
    Ok(others)
}

fn damage_message(findings: &CheckFindings) -> String {
    let errors = findings.structure_errors + findings.data_errors;
    let first = findings.errors.first().map_or("", String::as_str);
    let touched = match findings.touched_paths.first() {
        Some(path) => format!(
            "; {} files or folders can no longer be restored whole, the first: {path}",
            findings.touched
        ),
        None => "; no file of any snapshot is touched".to_owned(),
    };
    format!("the vault is damaged: {errors} findings, the first: {first}{touched}")
}

fn check_findings(report: &CheckReport) -> CheckFindings {
    CheckFindings {
        snapshots: report.snapshot_count as u64,
        packs: report.pack_count as u64,
        blobs: report.blob_count as u64,
        trees: report.tree_count,
        packs_read: report.packs_read,
        bytes_read: report.bytes_read,
        structure_errors: report.error_count - report.data_error_count,
        data_errors: report.data_error_count,
        errors: first_of(report.errors.iter().map(|error| chain(error))),
        touched: report.touched_count,
        touched_paths: first_of(report.touched.iter().map(ToString::to_string)),
        hints: first_of(report.hints.iter().map(ToString::to_string)),
    }
}

fn prune_findings(report: &PruneReport) -> PruneFindings {
    PruneFindings {
        snapshots: report.snapshot_count as u64,
        used_bytes: report.used_bytes,
        unused_bytes: report.unused_left_bytes,
        deleted_packs: report.deleted.count,
        deleted_bytes: report.deleted.bytes,
        marked_packs: report.marked.count + report.waiting.count,
        marked_bytes: report.marked.bytes + report.waiting.bytes,
        deferred_packs: report.deferred.count,
        unindexed_packs: report.unindexed.count,
        repacked_bytes: report.repacked.bytes,
        foreign_locks: report.foreign_lock_count as u64,
        failed: first_of(
            report
                .failed
                .iter()
                .map(|(pack, error)| format!("{}: {}", pack.to_hex(), chain(error))),
        ),
    }
}

/// As much of a list as a report may hold.
fn first_of(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut bytes = 0;
    texts
        .take(MAX_FINDINGS)
        .take_while(|text| {
            bytes += text.len();
            bytes <= MAX_FINDINGS_BYTES
        })
        .collect()
}

fn told_of_check(progress: CheckProgress) -> Progress {
    let mut told = Progress::default();
    match progress.phase {
        CheckPhase::Packs => {
            "packs".clone_into(&mut told.phase);
            // Data is what takes long: packs and trees are the beginning.
            told.items_done = progress.done;
        }
        CheckPhase::Trees => {
            "trees".clone_into(&mut told.phase);
            told.items_done = progress.done;
        }
        CheckPhase::Data => {
            "data".clone_into(&mut told.phase);
            (told.bytes_done, told.bytes_total) = (progress.done, progress.total);
        }
    }
    told
}

fn told_of_prune(progress: PruneProgress) -> Progress {
    let mut told = Progress::default();
    match progress.phase {
        PrunePhase::Trees => {
            "trees".clone_into(&mut told.phase);
            told.items_done = progress.done;
        }
        PrunePhase::Repack => {
            "repack".clone_into(&mut told.phase);
            (told.bytes_done, told.bytes_total) = (progress.done, progress.total);
        }
        PrunePhase::Delete => {
            "delete".clone_into(&mut told.phase);
            (told.items_done, told.items_total) = (progress.done, progress.total);
        }
    }
    told
}

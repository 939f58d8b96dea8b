//! A restore: from the assignment to the runner's request, and from its report to the server's.

use std::path::PathBuf;
use std::sync::Arc;

use api::agent_protocol::{Outcome, RestoreSpec};
use model::ConflictPolicy;
use runner::{RestoreJob, RestoreRequest, Target};
use vault::Id;

use crate::backup::{failed, partial_message};
use crate::execute::Engine;
use crate::report::{End, Listener, chain, wire_of_restore};
use crate::vaults;
use crate::work::{StopReason, Work};

const PREFIX: &str = "restored-";
const SUFFIX: &str = ".folders";

/// Runs it to the end.
pub(crate) fn run(engine: &Engine, spec: &RestoreSpec, work: &Arc<Work>) -> End {
    let mut request = match request(engine, spec) {
        Ok(request) => request,
        Err(message) => return End::failed(message),
    };
    let journal = engine.state_dir.join(journal_name(&work.work_id));
    request.job = Some(RestoreJob {
        id: work.work_id.clone(),
        journal: journal.clone(),
    });
    let end = restore(&request, work);
    let goes_on = match end.outcome {
        Some(outcome) => outcome == Outcome::Released,
        None => work.stop_reason() == Some(StopReason::Suspended),
    };
    if !goes_on {
        // It is the job's alone, and costs but its few bytes if it stays.
        let _ = std::fs::remove_file(&journal);
    }
    end
}

/// The file in which the attempts of a job remember the folders that they made.
fn journal_name(work_id: &str) -> String {
    let id: String = work_id
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .collect();
    format!("{PREFIX}{id}{SUFFIX}")
}

/// Whether a file of that name is such a journal.
pub(crate) fn is_journal(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

fn restore(request: &RestoreRequest, work: &Arc<Work>) -> End {
    let listener = Listener {
        work: Arc::clone(work),
        wire: wire_of_restore,
        carried_bytes: 0,
    };
    match runner::restore(request, &listener, &work.stop_token) {
        Ok(report) => {
            let (outcome, message) = match report.outcome {
                runner::Outcome::Complete => (Outcome::Complete, String::new()),
                runner::Outcome::Partial => (
                    Outcome::PartialComplete,
                    partial_message(work, report.progress.errors, "restored"),
                ),
            };
            End {
                outcome: Some(outcome),
                message,
                progress: Some(wire_of_restore(&report.progress)),
                ..End::default()
            }
        }
        Err(error) => failed(work, &error),
    }
}

pub(crate) fn request(engine: &Engine, spec: &RestoreSpec) -> Result<RestoreRequest, String> {
    let repository = vaults::open(&spec.vault, &engine.hostname).map_err(|error| chain(&error))?;
    // A whole hash: the beginning of one, or a word like `latest`, could be another snapshot by now.
    let snapshot: Id = spec
        .snapshot_hash
        .parse()
        .map_err(|_| format!("{:?} is not a snapshot hash", spec.snapshot_hash))?;
    let target = match spec.target_path.as_str() {
        "" | "/" => Target::Original,
        path => Target::Folder(PathBuf::from(path)),
    };
    let conflict = match spec.conflict_policy.as_str() {
        "" => ConflictPolicy::OverwriteExisting,
        word => word.parse().map_err(|error| chain(&error))?,
    };
    let mut request = RestoreRequest::new(repository, &snapshot.to_hex(), target);
    request.includes.clone_from(&spec.includes);
    request.excludes.clone_from(&spec.excludes);
    request.conflict = conflict;
    request.worker_count = runner::workers_within(spec.max_workers);
    Ok(request)
}

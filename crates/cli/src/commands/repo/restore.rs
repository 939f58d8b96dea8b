//! `repo restore`: a snapshot below a folder, as restic does it.

use std::num::NonZeroUsize;
use std::path::Path;

use runner::{Durability, Outcome, Progress, RestoreReport, RestoreRequest, Target, Verification};
use serde_json::{Value, json};

use super::Repo;
use super::tell::{During, Teller, is_before_start, run_failure, stop_on_signal};
use crate::args::RepoRestoreArgs;
use crate::commands::restore::policy;
use crate::exit::{Exit, Failure};
use crate::output::{bytes, count, duration, printable, rate};
use crate::paths;

/// Restores.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoRestoreArgs) -> Result<Exit, Failure> {
    let target = paths::absolute(&args.target)?;
    let place = if target == Path::new("/") {
        Target::Original
    } else {
        Target::Folder(target.clone())
    };
    let mut request = RestoreRequest::new(repo.open()?, &args.snapshot, place);
    request.includes.clone_from(&args.include);
    request.excludes.clone_from(&args.exclude);
    request.conflict = policy(args.conflict);
    // As restic does it; a job of the service waits until all is durable.
    request.durability = Durability::LeftToTheSystem;
    request.worker_count = repo.settings.read_concurrency.and_then(NonZeroUsize::new);
    if args.no_verify {
        request.verification = Verification::None;
    }
    let teller = Teller::new(repo, During::Restore);
    let done = runner::restore(&request, &teller, &stop_on_signal(repo));
    let last = teller.finish();
    match done {
        Ok(report) => {
            if repo.options.json {
                repo.screen
                    .json(&summary_json(&report.progress, Some(&report)));
            } else {
                print(repo, &report, &target);
            }
            Ok(if report.outcome == Outcome::Partial {
                Exit::Partial
            } else {
                Exit::Done
            })
        }
        Err(error) => {
            if repo.options.json && !is_before_start(&error) {
                repo.screen.json(&summary_json(&last, None));
            }
            Err(run_failure(&error, "the restore"))
        }
    }
}

fn print(repo: &Repo<'_>, report: &RestoreReport, target: &Path) {
    let others = match report.others_restored {
        0 => String::new(),
        number => format!(", {} links and others", count(number)),
    };
    repo.say(&format!(
        "restored {} files, {} folders{others}, {} from snapshot {} into {}",
        count(report.files_restored),
        count(report.dirs_restored),
        bytes(report.bytes_restored),
        report.snapshot_id.short(),
        printable(&target.to_string_lossy())
    ));
    if report.skipped > 0 {
        repo.say(&format!(
            "left {} entries as they were (--conflict)",
            count(report.skipped)
        ));
    }
    repo.say(&format!(
        "took {} ({})",
        duration(report.duration),
        rate(report.bytes_restored, report.duration)
    ));
    if report.outcome == Outcome::Partial {
        repo.screen.note(&format!(
            "warning: {} items could not be restored; they are listed above",
            report.progress.errors
        ));
    }
}

/// restic's summary, with ours beside it.
fn summary_json(progress: &Progress, report: Option<&RestoreReport>) -> Value {
    let elapsed = report.map_or(progress.elapsed, |report| report.duration);
    let mut line = json!({
        "message_type": "summary",
        "seconds_elapsed": elapsed.as_secs(),
        "total_files": progress.items_total,
        "files_restored": progress.items_done,
        "total_bytes": progress.bytes_total,
        "bytes_restored": progress.bytes_done,
        "error_count": progress.errors,
    });
    if let Some(report) = report {
        line["files_skipped"] = json!(report.skipped);
        line["snapshot_id"] = json!(report.snapshot_id.to_hex());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::summary_json;
    use runner::Progress;

    #[test]
    fn summaries_have_the_fields_of_restic() {
        let progress = Progress {
            items_total: 4,
            items_done: 3,
            errors: 1,
            ..Progress::default()
        };
        let line = summary_json(&progress, None);
        assert_eq!(
            (
                line["total_files"].as_u64(),
                line["files_restored"].as_u64()
            ),
            (Some(4), Some(3))
        );
        assert_eq!(line["message_type"], "summary");
    }
}

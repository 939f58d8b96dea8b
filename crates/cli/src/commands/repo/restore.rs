//! `repo restore`: a snapshot below a folder, as restic does it.

use std::num::NonZeroUsize;
use std::path::Path;

use runner::{Durability, Locking, Outcome, RestoreReport, RestoreRequest, Target, Verification};
use serde_json::{Value, json};

use super::Repo;
use super::tell::{During, Teller, run_failure, stop_on_signal};
use crate::args::RepoRestoreArgs;
use crate::commands::restore::policy;
use crate::exit::{Exit, Failure};
use crate::output::{bytes, count, counted, duration, printable, rate};
use crate::paths;

/// Restores.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoRestoreArgs) -> Result<Exit, Failure> {
    let target = paths::absolute(&args.target)?;
    let place = if target == Path::new("/") {
        Target::Original
    } else {
        Target::Folder(target.clone())
    };
    let opened = repo.open()?;
    let filter = args.latest.filter(repo.settings.host.as_deref());
    let (snapshot_id, _) = repo.find_snapshot(&opened, &args.snapshot, &filter)?;
    let mut request = RestoreRequest::new(opened, &snapshot_id.to_hex(), place);
    request.includes.clone_from(&args.include);
    request.excludes.clone_from(&args.exclude);
    request.conflict = policy(args.conflict);
    // As restic does it; a job of the service waits until all is durable.
    request.durability = Durability::LeftToTheSystem;
    request.worker_count = repo.settings.read_concurrency.and_then(NonZeroUsize::new);
    if repo.options.no_lock {
        request.locking = Locking::None;
    }
    if args.no_verify {
        request.verification = Verification::None;
    }
    let teller = Teller::new(repo, During::Restore);
    let done = runner::restore(&request, &teller, &stop_on_signal(repo));
    teller.finish();
    let report = done.map_err(|error| run_failure(&error, "the restore"))?;
    if repo.options.json {
        repo.screen.json(&summary_json(&report));
    } else {
        print(repo, &report, &target);
    }
    if report.outcome == Outcome::Partial {
        return Ok(Exit::Partial);
    }
    if !args.include.is_empty() && report.progress.items_total == 0 {
        return Err(Failure::new(
            format!(
                "nothing in snapshot {} matches --include: nothing was restored",
                report.snapshot_id.short()
            ),
            format!(
                "look at its names: strongroom repo find PATTERN -s {}",
                report.snapshot_id.short()
            ),
        ));
    }
    Ok(Exit::Done)
}

fn print(repo: &Repo<'_>, report: &RestoreReport, target: &Path) {
    let others = match report.others_restored {
        0 => String::new(),
        number => format!(", {} links and others", count(number)),
    };
    repo.say(&format!(
        "restored {}, {}{others}, {} from snapshot {} into {}",
        counted(report.files_restored, "file"),
        counted(report.dirs_restored, "folder"),
        bytes(report.bytes_restored),
        report.snapshot_id.short(),
        printable(&target.to_string_lossy())
    ));
    if report.skipped > 0 {
        repo.say(&format!(
            "left as they were (--conflict): {}",
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
            "warning: {} could not be restored, as said above",
            counted(report.progress.errors, "item")
        ));
    }
}

/// restic's summary, with ours beside it. A restore that failed has none.
fn summary_json(report: &RestoreReport) -> Value {
    let progress = &report.progress;
    json!({
        "message_type": "summary",
        "seconds_elapsed": report.duration.as_secs(),
        "total_files": progress.items_total,
        "files_restored": progress.items_done,
        "total_bytes": progress.bytes_total,
        "bytes_restored": progress.bytes_done,
        "error_count": progress.errors,
        "files_skipped": report.skipped,
        "snapshot_id": report.snapshot_id.to_hex(),
    })
}

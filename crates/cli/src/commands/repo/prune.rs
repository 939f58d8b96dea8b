//! `repo prune`: removes what no snapshot needs.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};
use vault::{
    Deletion, Id, PackTotal, PruneOptions, PrunePhase, PruneProgress, PruneReport, Repository, Run,
    Time,
};

use super::{Repo, vault_failure};
use crate::args::{PruneArgs, RepoPruneArgs};
use crate::exit::{Exit, Failure, chain};
use crate::output::{Meter, Sample, bytes, counted};

/// Prunes; exit status 3 if some pack could not be removed.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoPruneArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    with(repo, &opened, &args.options, args.dry_run, Vec::new())
}

/// Prunes as if `ignored_snapshots` were gone already.
pub(crate) fn with(
    repo: &Repo<'_>,
    opened: &Repository,
    args: &PruneArgs,
    is_dry: bool,
    ignored_snapshots: Vec<Id>,
) -> Result<Exit, Failure> {
    let options = PruneOptions {
        keep_delete: args.keep_delete,
        max_unused: args.max_unused,
        max_repack_bytes: args.max_repack_size,
        repack_smaller_than_bytes: args.repack_smaller_than.unwrap_or(0),
        deletion: if args.instant_delete {
            Deletion::Instant
        } else {
            Deletion::TwoPhase
        },
        run: if is_dry { Run::Dry } else { Run::Real },
        ignored_snapshots,
    };
    let start = Instant::now();
    let meter = Mutex::new(Meter::new(repo.screen, repo.meter_style(), "prune", start));
    let report = vault::prune(opened, &options, Time::now(), &|progress| {
        show(repo, &meter, start, progress);
    });
    if let Ok(mut meter) = meter.lock() {
        meter.finish();
    }
    let report = report.map_err(|error| vault_failure(&error))?;
    for (pack, error) in &report.failed {
        repo.error(&format!("pack {}: {}", pack.short(), chain(error)));
    }
    if repo.options.json {
        repo.screen.json(&report_json(&report, is_dry));
    } else {
        print(repo, &report, is_dry);
    }
    Ok(if report.failed.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

fn show(repo: &Repo<'_>, meter: &Mutex<Meter>, start: Instant, progress: PruneProgress) {
    let mut sample = Sample {
        elapsed: start.elapsed(),
        ..Sample::default()
    };
    match progress.phase {
        PrunePhase::Trees => {
            sample.phase = "trees".to_owned();
            sample.files_done = progress.done;
        }
        PrunePhase::Repack => {
            sample.phase = "repack".to_owned();
            (sample.bytes_done, sample.bytes_total) = (progress.done, progress.total);
        }
        PrunePhase::Delete => {
            sample.phase = "remove packs".to_owned();
            (sample.files_done, sample.files_total) = (progress.done, progress.total);
        }
    }
    if let Ok(mut meter) = meter.lock() {
        let now = Instant::now();
        if repo.interrupts.take_report_wish() {
            meter.print(&sample, now);
        } else {
            meter.show(&sample, now);
        }
    }
}

fn rows(report: &PruneReport) -> [(&'static str, &'static str, PackTotal); 8] {
    [
        ("kept", "kept", report.kept),
        ("repacked", "written anew", report.repacked),
        ("marked", "marked for removal", report.marked),
        ("waiting", "marked before, not yet due", report.waiting),
        ("put_back", "marked before, needed again", report.put_back),
        ("deleted", "removed", report.deleted),
        (
            "deferred",
            "unneeded, kept for others at work",
            report.deferred,
        ),
        ("unindexed", "in no index, kept for now", report.unindexed),
    ]
}

fn print(repo: &Repo<'_>, report: &PruneReport, is_dry: bool) {
    if is_dry {
        repo.say("nothing is changed; this would be done:");
    }
    repo.say(&format!(
        "needed: {}, {}, {}",
        counted(report.snapshot_count as u64, "snapshot"),
        counted(report.used_blob_count as u64, "blob"),
        bytes(report.used_bytes)
    ));
    for (_, words, total) in rows(report) {
        if total.count > 0 {
            repo.say(&format!(
                "{} {words}, {}",
                counted(total.count, "pack"),
                bytes(total.bytes)
            ));
        }
    }
    repo.say(&format!(
        "{} of unneeded data stay in packs that are partly needed",
        bytes(report.unused_left_bytes)
    ));
    if report.foreign_lock_count > 0 && (report.deferred.count > 0 || report.waiting.count > 0) {
        repo.say(&format!(
            "{} others hold locks; what they may need stays until they are gone",
            report.foreign_lock_count
        ));
    }
}

fn report_json(report: &PruneReport, is_dry: bool) -> Value {
    let mut line = json!({
        "message_type": "summary",
        "dry_run": is_dry,
        "snapshots": report.snapshot_count,
        "used_blobs": report.used_blob_count,
        "used_bytes": report.used_bytes,
        "unused_bytes": report.unused_left_bytes,
        "foreign_locks": report.foreign_lock_count,
        "index_files_written": report.index_files_written,
        "index_files_removed": report.index_files_removed,
        "packs_failed": report.failed.len(),
    });
    for (name, _, total) in rows(report) {
        line[format!("packs_{name}")] = json!(total.count);
        line[format!("bytes_{name}")] = json!(total.bytes);
    }
    line
}

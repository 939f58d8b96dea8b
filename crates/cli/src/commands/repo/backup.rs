//! `repo backup`: files and folders into a repository.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use runner::{BackupReport, BackupRequest, Outcome, ParentChoice, Progress};
use serde_json::{Value, json};

use super::tell::{During, Teller, is_before_start, run_failure, stop_on_signal};
use super::{Repo, vault_failure};
use crate::args::RepoBackupArgs;
use crate::environment::Compression;
use crate::exit::{Exit, Failure};
use crate::output::{bytes, count, duration, rate};
use crate::paths;

/// Backs up.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<Exit, Failure> {
    let exclude = patterns(args)?;
    let mut request = BackupRequest::new(repo.open()?, Vec::new());
    let (present, missing) = sources(repo, args)?;
    request.paths = present;
    request.exclude = exclude;
    request.exclude_caches = args.exclude_caches;
    request.one_file_system = args.one_file_system;
    request.tags.clone_from(&args.tag);
    request.hostname = args.host.clone().or_else(|| repo.settings.host.clone());
    request.parent = parent(repo, args, &request)?;
    request.worker_count = repo.settings.read_concurrency.and_then(NonZeroUsize::new);
    if let Some(size) = repo.settings.pack_size_bytes {
        request.writer.pack_size_bytes =
            usize::try_from(size).unwrap_or(request.writer.pack_size_bytes);
    }
    if repo.settings.compression != Compression::Auto {
        repo.warn("RESTIC_COMPRESSION is accepted, but new data is always compressed as with auto");
    }
    let teller = Teller::new(repo, During::Archival);
    let done = runner::backup(&request, &teller, &stop_on_signal(repo));
    let last = teller.finish();
    match done {
        Ok(report) => {
            if repo.options.json {
                repo.screen
                    .json(&summary_json(&report.progress, Some(&report)));
            } else {
                print(repo, &report);
            }
            let is_partial = report.outcome == Outcome::Partial || missing;
            Ok(if is_partial {
                Exit::Partial
            } else {
                Exit::Done
            })
        }
        Err(error) => {
            if repo.options.json && !is_before_start(&error) {
                repo.screen.json(&summary_json(&last, None));
            }
            Err(run_failure(&error, "the backup"))
        }
    }
}

/// The paths that exist, absolute, and whether some do not. None at all is a failure, as restic has it.
fn sources(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<(Vec<PathBuf>, bool), Failure> {
    let (mut present, mut missing) = (Vec::new(), false);
    for path in &args.paths {
        let path = paths::absolute(path)?;
        match std::fs::symlink_metadata(&path) {
            Ok(_) => present.push(path),
            Err(error) => {
                missing = true;
                repo.warn(&format!("{}: {error}; it is left out", path.display()));
            }
        }
    }
    if present.is_empty() {
        return Err(Failure::new(
            "all source paths are missing",
            "name files or folders that exist",
        ));
    }
    Ok((present, missing))
}

/// All patterns: of the flags, then of the files.
fn patterns(args: &RepoBackupArgs) -> Result<Vec<String>, Failure> {
    let mut all = args.exclude.clone();
    for file in &args.exclude_file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(
                format!("cannot read the exclude file {}: {error}", file.display()),
                "name a file that you can read",
            )
        })?;
        all.extend(pattern_lines(&text));
    }
    Ok(all)
}

/// One pattern a line; empty lines and lines that begin with `#` are left out; a UTF-8 byte order mark is ignored.
fn pattern_lines(text: &str) -> Vec<String> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn parent(
    repo: &Repo<'_>,
    args: &RepoBackupArgs,
    request: &BackupRequest,
) -> Result<ParentChoice, Failure> {
    match &args.parent {
        _ if args.force => Ok(ParentChoice::None),
        None => Ok(ParentChoice::Latest),
        Some(pattern) => {
            let (id, _) = request
                .repository
                .find_snapshot(pattern)
                .map_err(|error| vault_failure(&error))?;
            repo.say(&format!("using parent snapshot {}", id.short()));
            Ok(ParentChoice::Snapshot(id))
        }
    }
}

fn print(repo: &Repo<'_>, report: &BackupReport) {
    let summary = &report.summary;
    if report.adopted_packs > 0 {
        repo.say(&format!(
            "used {} packs that an interrupted backup had left",
            report.adopted_packs
        ));
    }
    if report.missing_packs > 0 {
        repo.say(&format!(
            "{} packs are missing from the repository; what this backup needs of them was stored again. Older snapshots \
             may have lost files: run `strongroom repo check`",
            report.missing_packs
        ));
    }
    let change = |new: u64, changed: u64, same: u64| {
        format!(
            "{} new, {} changed, {} unmodified",
            count(new),
            count(changed),
            count(same)
        )
    };
    repo.say(&format!(
        "files    {}",
        change(
            summary.files_new,
            summary.files_changed,
            summary.files_unmodified
        )
    ));
    repo.say(&format!(
        "folders  {}",
        change(
            summary.dirs_new,
            summary.dirs_changed,
            summary.dirs_unmodified
        )
    ));
    repo.say(&format!(
        "added    {} ({} stored)",
        bytes(summary.data_added),
        bytes(summary.data_added_packed)
    ));
    if repo.options.verbose > 0 {
        repo.say(&format!(
            "blobs    {} of data, {} of folders",
            summary.data_blobs, summary.tree_blobs
        ));
        if let Some(parent) = report.snapshot.parent {
            repo.say(&format!("parent   {}", parent.short()));
        }
    }
    repo.say(&format!(
        "read     {} files, {} in {} ({})",
        count(summary.total_files_processed),
        bytes(summary.total_bytes_processed),
        duration(report.duration),
        rate(summary.total_bytes_processed, report.duration)
    ));
    if report.outcome == Outcome::Partial {
        repo.screen.note(&format!(
            "warning: {} items could not be read; the snapshot is without them",
            report.progress.errors
        ));
    }
    repo.say(&format!("snapshot {} saved", report.snapshot_id.short()));
}

/// restic's summary. Without a report: what was done until the failure, and no snapshot.
fn summary_json(progress: &Progress, report: Option<&BackupReport>) -> Value {
    let mut line = match report {
        Some(report) => {
            let summary = &report.summary;
            json!({
                "message_type": "summary",
                "files_new": summary.files_new,
                "files_changed": summary.files_changed,
                "files_unmodified": summary.files_unmodified,
                "dirs_new": summary.dirs_new,
                "dirs_changed": summary.dirs_changed,
                "dirs_unmodified": summary.dirs_unmodified,
                "data_blobs": summary.data_blobs,
                "tree_blobs": summary.tree_blobs,
                "data_added": summary.data_added,
                "data_added_packed": summary.data_added_packed,
                "total_files_processed": summary.total_files_processed,
                "total_bytes_processed": summary.total_bytes_processed,
                "backup_start": summary.backup_start.to_string(),
                "backup_end": summary.backup_end.to_string(),
                "snapshot_id": report.snapshot_id.to_hex(),
            })
        }
        None => json!({
            "message_type": "summary",
            "data_added_packed": progress.actual_bytes,
            "total_files_processed": progress.files_done,
            "total_bytes_processed": progress.bytes_done,
        }),
    };
    line["error_count"] = json!(progress.errors);
    line["total_duration"] = json!(
        report
            .map_or(progress.elapsed, |report| report.duration)
            .as_secs_f64()
    );
    line
}

#[cfg(test)]
mod tests {
    use super::{pattern_lines, summary_json};
    use runner::Progress;

    #[test]
    fn pattern_files_have_comments() {
        let text = "\u{feff}*.tmp\r\n\n# a comment\n  /var/cache  \n";
        assert_eq!(pattern_lines(text), ["*.tmp", "/var/cache"]);
    }

    #[test]
    fn a_summary_without_a_snapshot_says_what_was_done() {
        let progress = Progress {
            files_done: 3,
            errors: 1,
            ..Progress::default()
        };
        let line = summary_json(&progress, None);
        assert_eq!(
            (
                line["total_files_processed"].as_u64(),
                line["error_count"].as_u64()
            ),
            (Some(3), Some(1))
        );
        assert!(line.get("snapshot_id").is_none());
    }
}

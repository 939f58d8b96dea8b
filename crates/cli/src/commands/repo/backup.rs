//! `repo backup`: files and folders into a repository.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use runner::{BackupReport, BackupRequest, Outcome, ParentChoice, Progress};
use serde_json::{Value, json};

use super::tell::{During, Teller, run_failure, stop_on_signal};
use super::{Repo, files_from, vault_failure};
use crate::args::RepoBackupArgs;
use crate::environment::Compression;
use crate::exit::{Exit, Failure};
use crate::output::{bytes, count, counted, duration, rate};
use crate::paths;

/// Backs up.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<Exit, Failure> {
    let exclude = patterns(args)?;
    let mut request = BackupRequest::new(repo.open()?, Vec::new());
    let (present, missing) = sources(repo, args)?;
    request.paths = present;
    request.exclude = exclude;
    request.exclude_caches = args.exclude_caches;
    request.exclude_larger_than_bytes = args.exclude_larger_than;
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
    teller.finish();
    let report = done.map_err(|error| run_failure(&error, "the backup"))?;
    if repo.options.json {
        repo.screen.json(&summary_json(&report));
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

/// The paths that exist, absolute, and whether some do not. None at all is a failure, as restic has it.
fn sources(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<(Vec<PathBuf>, bool), Failure> {
    let (mut present, mut missing) = (Vec::new(), false);
    for path in args.paths.iter().chain(&files_from::paths(args)?) {
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
            "used {} that an interrupted backup had left",
            counted(report.adopted_packs as u64, "pack")
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
        "read     {}, {} in {} ({})",
        counted(summary.total_files_processed, "file"),
        bytes(summary.total_bytes_processed),
        duration(report.duration),
        rate(summary.total_bytes_processed, report.duration)
    ));
    for warning in warnings(&report.progress) {
        repo.warn(&warning);
    }
    repo.say(&format!("snapshot {} saved", report.snapshot_id.short()));
}

/// What the snapshot lacks, and what in it is not as it should be.
fn warnings(progress: &Progress) -> Vec<String> {
    let stored = progress.changed + progress.incomplete;
    let missing = progress.errors.saturating_sub(stored);
    let lines = [
        (
            missing,
            "could not be read; the snapshot is without",
            ["it", "them"],
        ),
        (
            progress.changed,
            "changed while being read; the snapshot has",
            ["it as it was read", "them as they were read"],
        ),
        (
            progress.incomplete,
            "could not be read whole; the snapshot has",
            ["it without some metadata", "them without some metadata"],
        ),
    ];
    lines
        .into_iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, what, [one, many])| {
            let which = if number == 1 { one } else { many };
            format!("{} {what} {which}", counted(number, "item"))
        })
        .collect()
}

/// restic's summary. A backup that failed has none.
fn summary_json(report: &BackupReport) -> Value {
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
        "error_count": report.progress.errors,
        "total_duration": report.duration.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::{pattern_lines, warnings};
    use runner::Progress;

    #[test]
    fn pattern_files_have_comments() {
        let text = "\u{feff}*.tmp\r\n\n# a comment\n  /var/cache  \n";
        assert_eq!(pattern_lines(text), ["*.tmp", "/var/cache"]);
    }

    #[test]
    fn what_is_missing_and_what_is_stored_are_told_apart() {
        let progress = |errors, changed, incomplete| Progress {
            errors,
            changed,
            incomplete,
            ..Progress::default()
        };
        assert_eq!(warnings(&progress(0, 0, 0)), Vec::<String>::new());
        assert_eq!(
            warnings(&progress(1, 1, 0)),
            ["1 item changed while being read; the snapshot has it as it was read"]
        );
        assert_eq!(
            warnings(&progress(6, 2, 1)),
            [
                "3 items could not be read; the snapshot is without them",
                "2 items changed while being read; the snapshot has them as they were read",
                "1 item could not be read whole; the snapshot has it without some metadata",
            ]
        );
    }
}

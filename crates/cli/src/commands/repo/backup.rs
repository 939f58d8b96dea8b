//! `repo backup`: files and folders into a repository.

use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runner::{BackupReport, BackupRequest, Choice, Filter, Outcome, ParentChoice, Progress};
use serde_json::{Value, json};
use storage::DryRun;
use vault::{FileKind, Id, Repository, SnapshotSummary, WriterOptions};

use super::shapes::summary_json;
use super::tell::{During, Teller, error_json, run_failure, stop_on_signal};
use super::{Repo, files_from, stdin, vault_failure};
use crate::args::RepoBackupArgs;
use crate::environment::Compression;
use crate::exit::{Exit, Failure, chain};
use crate::output::{bytes, count, counted, duration, rate};
use crate::paths;

/// Backs up.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<Exit, Failure> {
    if args.stdin || args.stdin_from_command {
        return stdin::run(repo, args);
    }
    let exclude = patterns(args)?;
    let mut request = BackupRequest::new(opened(repo, args.dry_run)?, Vec::new());
    let sources = Sources::find(repo, args)?;
    sources.tell_left_out(repo, &exclude)?;
    request.paths = sources.present;
    request.exclude = exclude;
    request.exclude_caches = args.exclude_caches;
    request.exclude_larger_than_bytes = args.exclude_larger_than;
    request.one_file_system = args.one_file_system;
    request.tags.clone_from(&args.tag);
    request.hostname = args.host.clone().or_else(|| repo.settings.host.clone());
    request.parent = parent(repo, args, &request)?;
    request.worker_count = repo.settings.read_concurrency.and_then(NonZeroUsize::new);
    request.writer = writer_options(repo);
    let teller = Teller::new(repo, During::Archival);
    let done = runner::backup(&request, &teller, &stop_on_signal(repo));
    teller.finish();
    let report = done.map_err(|error| run_failure(&error, "the backup"))?;
    let end = End {
        snapshot_id: (!args.dry_run).then_some(report.snapshot_id),
        errors: report.progress.errors + sources.missing,
        duration: report.duration,
    };
    tell_damage(repo, &report);
    if repo.options.json {
        repo.screen.json(&end.json(&report.summary));
    } else {
        print(repo, &report);
        end.say(repo);
    }
    let is_partial = report.outcome == Outcome::Partial || sources.missing > 0;
    Ok(if is_partial {
        Exit::Partial
    } else {
        Exit::Done
    })
}

/// The repository; in a dry run one that keeps no more than the lock.
pub(crate) fn opened(repo: &Repo<'_>, is_dry_run: bool) -> Result<Repository, Failure> {
    let opened = repo.open()?;
    if !is_dry_run {
        return Ok(opened);
    }
    let storage = DryRun::new(Arc::clone(opened.storage()), FileKind::Lock.folder());
    Ok(opened.with_storage(Arc::new(storage)))
}

/// How packs are made, as the environment says.
pub(crate) fn writer_options(repo: &Repo<'_>) -> WriterOptions {
    if repo.settings.compression != Compression::Auto {
        repo.warn("RESTIC_COMPRESSION is accepted, but new data is always compressed as with auto");
    }
    let mut options = WriterOptions::default();
    let wanted = repo.settings.pack_size_bytes;
    if let Some(size) = wanted.and_then(|size| usize::try_from(size).ok()) {
        options.pack_size_bytes = size;
    }
    options
}

/// What is to be backed up.
struct Sources {
    /// The paths that exist, absolute.
    present: Vec<PathBuf>,
    /// How many do not.
    missing: u64,
}

impl Sources {
    /// Tells of each that is missing. None at all is a failure, as restic has it.
    fn find(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<Self, Failure> {
        let mut found = Self {
            present: Vec::new(),
            missing: 0,
        };
        for path in args.paths.iter().chain(&files_from::paths(args)?) {
            let path = paths::absolute(path)?;
            match std::fs::symlink_metadata(&path) {
                Ok(_) => found.present.push(path),
                Err(error) => {
                    found.missing += 1;
                    tell_source(repo, &path, &format!("{error}; it is left out"));
                }
            }
        }
        if found.present.is_empty() {
            return Err(Failure::new(
                "all source paths are missing",
                "name files or folders that exist",
            ));
        }
        Ok(found)
    }

    /// Tells of each source that an exclude pattern leaves out with all that it holds. That is what was asked for, as of
    /// `~/*` with a pattern; but all of them are a failure, as when all are missing: an empty snapshot would be the latest.
    fn tell_left_out(&self, repo: &Repo<'_>, exclude: &[String]) -> Result<(), Failure> {
        let filter = Filter::new(&[], exclude)
            .map_err(|error| Failure::usage(chain(&error), "correct the pattern"))?;
        let mut left_out = 0;
        for path in &self.present {
            // A pattern decides by the path alone.
            if filter.choose_path(path.as_os_str().as_bytes(), true) == Choice::Leave {
                left_out += 1;
                let why = "an exclude pattern matches this source, or a folder above it; nothing of it is stored";
                if repo.options.json {
                    let item = path.to_string_lossy();
                    let line = json!({"message_type": "warning", "item": item, "message": why});
                    repo.screen.note(&line.to_string());
                } else {
                    tell_source(repo, path, why);
                }
            }
        }
        if left_out == self.present.len() {
            return Err(Failure::new(
                "exclude patterns leave out every source: there is nothing to store",
                "take one back with --exclude '!PATH', or name other sources",
            ));
        }
        Ok(())
    }
}

/// Says that a source is not stored.
fn tell_source(repo: &Repo<'_>, path: &Path, why: &str) {
    let name = path.to_string_lossy();
    if repo.options.json {
        let line = error_json(why, &name, During::Archival);
        repo.screen.note(&line.to_string());
    } else {
        repo.warn(&format!("{name}: {why}"));
    }
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

/// What the backup met of damage in the repository, whatever else is printed.
fn tell_damage(repo: &Repo<'_>, report: &BackupReport) {
    if report.missing_packs > 0 {
        repo.error(&format!(
            "the repository has lost {}; what this backup needs of it was stored again. Older snapshots may have lost \
             files: run `strongroom repo check`",
            counted(report.missing_packs as u64, "pack")
        ));
    }
    if report.unreadable_trees > 0 {
        repo.error(&format!(
            "{} of the parent snapshot could not be read, and was stored again. Older snapshots may have lost files: run \
             `strongroom repo check`",
            counted(report.unreadable_trees, "tree")
        ));
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

/// What is told last of a backup that has not failed.
pub(crate) struct End {
    /// None of a dry run.
    pub(crate) snapshot_id: Option<Id>,
    /// Items that failed.
    pub(crate) errors: u64,
    pub(crate) duration: Duration,
}

impl End {
    /// restic's summary.
    pub(crate) fn json(&self, summary: &SnapshotSummary) -> Value {
        let mut line = json!({"message_type": "summary"});
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, summary_json(summary)) {
            line.extend(fields);
        }
        match &self.snapshot_id {
            Some(id) => line["snapshot_id"] = json!(id.to_hex()),
            None => line["dry_run"] = json!(true),
        }
        line["error_count"] = json!(self.errors);
        line["total_duration"] = json!(self.duration.as_secs_f64());
        line
    }

    /// The last line.
    pub(crate) fn say(&self, repo: &Repo<'_>) {
        match &self.snapshot_id {
            Some(id) => repo.say(&format!("snapshot {} saved", id.short())),
            None => repo.say("dry run: nothing was stored, and there is no snapshot"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{End, pattern_lines, warnings};
    use runner::Progress;
    use std::time::Duration;
    use vault::{Id, SnapshotSummary};

    #[test]
    fn the_summary_of_a_dry_run_has_no_snapshot() {
        let end = |snapshot_id| {
            let end = End {
                snapshot_id,
                errors: 2,
                duration: Duration::from_millis(1500),
            };
            end.json(&SnapshotSummary {
                files_new: 3,
                ..SnapshotSummary::default()
            })
        };
        let done = end(Some(Id::default()));
        assert_eq!(
            (&done["message_type"], &done["files_new"]),
            (&"summary".into(), &3.into())
        );
        assert_eq!(
            (&done["error_count"], &done["total_duration"]),
            (&2.into(), &1.5.into())
        );
        assert!(done["snapshot_id"].is_string() && done.get("dry_run").is_none());
        let dry = end(None);
        assert!(dry["dry_run"] == true && dry.get("snapshot_id").is_none());
    }

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

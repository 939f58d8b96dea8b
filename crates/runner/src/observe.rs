//! What a run tells while it runs: progress, and each item that failed.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Timestamp;
use source::SourceError;

/// Gets the news of a run. Called from several threads.
pub trait Observer: Send + Sync {
    /// Where the run is; a few times a second, and once at the end.
    fn progress(&self, progress: &Progress) {
        let _ = progress;
    }

    /// An item failed; the run goes on and will end as partial.
    fn item_error(&self, error: &ItemError) {
        let _ = error;
    }

    /// Everything of a backup is durable but the snapshot. `Err` keeps the snapshot from being written and ends the
    /// run as refused.
    fn before_commit(&self) -> Result<(), String> {
        Ok(())
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Opening, locking, reading the index.
    #[default]
    Preparing,
    /// Reading the source or writing the target.
    Running,
    /// Making the rest durable, setting the metadata of folders.
    Finishing,
}

impl Phase {
    /// The word for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Preparing => "preparing",
            Phase::Running => "running",
            Phase::Finishing => "finishing",
        }
    }
}

/// Where a run is. Totals are estimates until the end, and never below what is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Regular files to process.
    pub files_total: u64,
    /// Regular files processed.
    pub files_done: u64,
    /// Files, folders and other entries to process.
    pub items_total: u64,
    /// Files, folders and other entries processed.
    pub items_done: u64,
    /// Bytes of the files to process.
    pub bytes_total: u64,
    /// Bytes of the files processed.
    pub bytes_done: u64,
    /// Backup: bytes of the files that are new or changed.
    pub bytes_changed: u64,
    /// Backup: bytes added to the vault. Restore: bytes written to the target.
    pub actual_bytes: u64,
    /// Entries that are new or changed, or were written.
    pub actual_items: u64,
    /// Regular files that are new or changed, or were written.
    pub actual_files: u64,
    /// Items that failed.
    pub errors: u64,
    /// Backup: of these, files that are in the snapshot, but changed while they were read.
    pub changed: u64,
    /// Backup: of these, entries that are in the snapshot without some of their metadata.
    pub incomplete: u64,
    /// Time since the start.
    pub elapsed: Duration,
    /// Paths that are being worked on, at most one for each worker.
    pub current: Vec<PathBuf>,
}

/// One item that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// Its path.
    pub path: PathBuf,
    /// What was being done: `open`, `read`, `list`, ...
    pub operation: &'static str,
    /// The operating system's error number, if it was one.
    pub errno: Option<i32>,
    /// What happened, in words.
    pub message: String,
    /// When.
    pub time: Timestamp,
}

impl ItemError {
    /// An error in words.
    pub(crate) fn new(path: PathBuf, operation: &'static str, message: String) -> ItemError {
        ItemError {
            path,
            operation,
            errno: None,
            message,
            time: timestamp_now(),
        }
    }
}

impl From<&SourceError> for ItemError {
    fn from(error: &SourceError) -> ItemError {
        ItemError {
            path: error.path.clone(),
            operation: error.operation.as_str(),
            errno: error.errno(),
            message: error.source.to_string(),
            time: timestamp_now(),
        }
    }
}

fn timestamp_now() -> Timestamp {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Whether a run got everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything.
    Complete,
    /// Some items failed; they were told to the observer.
    Partial,
}

impl Outcome {
    pub(crate) fn of(error_count: u64) -> Outcome {
        if error_count == 0 {
            Outcome::Complete
        } else {
            Outcome::Partial
        }
    }

    /// The exit status that restic uses: 0 or 3.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Outcome::Complete => 0,
            Outcome::Partial => 3,
        }
    }
}

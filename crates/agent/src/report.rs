//! From what the runner tells to what the server is told.

use std::error::Error;
use std::sync::Arc;

use api::agent_protocol::{ErrorRow, Outcome, Progress, SnapshotReport, UpkeepReport};
use runner::{ItemError, Observer};

use crate::work::{StopReason, Work};

/// How a run ended.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// None: it was stopped, or failed if nobody asked it to stop.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) message: String,
    /// Last counters, if they are better than the last ones that were told.
    pub(crate) progress: Option<Progress>,
    pub(crate) snapshot: Option<SnapshotReport>,
    pub(crate) error_epoch: Option<u64>,
    pub(crate) upkeep: Option<UpkeepReport>,
}

impl End {
    /// An end without more to say.
    pub(crate) fn done(outcome: Outcome) -> Self {
        Self {
            outcome: Some(outcome),
            ..Self::default()
        }
    }

    /// Failed, and why.
    pub(crate) fn failed(message: String) -> Self {
        Self {
            outcome: Some(Outcome::Failed),
            message,
            ..Self::default()
        }
    }

    /// Stopped on request.
    pub(crate) fn stopped() -> Self {
        Self::default()
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Listens to a run and keeps what the next sync and the next report need.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) work: Arc<Work>,
    /// How the counters of this kind of run are told.
    pub(crate) wire: fn(&runner::Progress) -> Progress,
    /// Bytes that earlier leases of the work added.
    pub(crate) carried_bytes: u64,
}

impl Observer for Listener {
    fn progress(&self, progress: &runner::Progress) {
        let mut told = (self.wire)(progress);
        told.actual_bytes = told.actual_bytes.saturating_add(self.carried_bytes);
        self.work.set_progress(told);
    }

    fn item_error(&self, error: &ItemError) {
        self.work.add_row(ErrorRow {
            path: error.path.to_string_lossy().into_owned(),
            operation: error.operation.to_owned(),
            errno: error.errno.unwrap_or(0),
            message: error.message.clone(),
            time: error.time.seconds(),
        });
    }

    /// The server must have every row of the error list before the snapshot exists.
    fn before_commit(&self) -> Result<(), String> {
        self.work.wait_for_rows().map_err(|reason| match reason {
            StopReason::Canceled => "the job was cancelled".to_owned(),
            StopReason::Suspended => "the agent stops".to_owned(),
            StopReason::Lost => "the job is another agent's by now".to_owned(),
            StopReason::Stalled => "nothing moved for too long".to_owned(),
        })
    }
}

/// Counters as the protocol has them.
pub(crate) fn wire(progress: &runner::Progress) -> Progress {
    Progress {
        phase: progress.phase.as_str().to_owned(),
        files_total: progress.files_total,
        files_done: progress.files_done,
        items_total: progress.items_total,
        items_done: progress.items_done,
        bytes_total: progress.bytes_total,
        bytes_done: progress.bytes_done,
        bytes_changed: progress.bytes_changed,
        actual_bytes: progress.actual_bytes,
        actual_items: progress.actual_items,
        actual_files: progress.actual_files,
        errors: progress.errors,
        elapsed_ms: u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The same for a restore, where all that is done counts as read.
pub(crate) fn wire_of_restore(progress: &runner::Progress) -> Progress {
    Progress {
        bytes_changed: progress.bytes_done,
        ..wire(progress)
    }
}

//! Reports that the server must get: error rows in pages, then the end of each work.
//!
//! One thread sends them in order and repeats until the server has them. An end is on disk before it is sent first, so a
//! restart of the agent still reports it; `RELEASED` is not kept, because the next run of the agent frees those leases
//! anyway. Whatever the server refuses for good is dropped: the lease is over then.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::agent_protocol::{FinishRequest, MAX_ERROR_ROWS, Outcome, ReportErrorsRequest};
use api::client::ClientError;

use crate::AgentError;
use crate::backoff::{Backoff, jitter};
use crate::link::{Link, is_clock_refused, is_key_refused};
use crate::state::{StateFolder, read_json};
use crate::work::{LeaseId, StopReason, Work, Works};

const PREFIX: &str = "finish-";
const SUFFIX: &str = ".json";
/// Between two looks for rows, so that they travel in pages and not one by one.
const GATHER: Duration = Duration::from_millis(200);

/// What became of one message.
enum Sent {
    Yes,
    /// Refused for good.
    Refused,
    /// To be repeated.
    Later,
}

/// File name of an end that waits.
fn file_name(lease: &LeaseId) -> String {
    let id: String = lease
        .0
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .collect();
    format!("{PREFIX}{id}-{}{SUFFIX}", lease.1)
}

/// Whether a file of that name is an end that waits.
pub(crate) fn is_report(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Keeps an end on disk until it is reported.
pub(crate) fn keep(state: &StateFolder, end: &FinishRequest) {
    if end.outcome == Outcome::Released {
        return;
    }
    if let Err(error) = state.store(&file_name(&(end.work_id.clone(), end.epoch)), end) {
        tracing::warn!("{error}; the end of {} is only in memory", end.work_id);
    }
}

fn forget(state: &StateFolder, lease: &LeaseId) {
    if let Err(error) = state.remove(&file_name(lease)) {
        tracing::warn!("{error}");
    }
}

/// The ends that an earlier run of the agent could not report.
pub(crate) fn kept(folder: &Path) -> Result<Vec<FinishRequest>, AgentError> {
    let fail = |source| AgentError::State {
        operation: "list",
        path: folder.to_owned(),
        source,
    };
    let mut ends = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_report(&name) {
            match read_json(&entry.path()) {
                Ok(end) => ends.extend(end),
                Err(error) => tracing::warn!("{error}; this report is left out"),
            }
        }
    }
    Ok(ends)
}

/// Sends what an earlier run left. Must come before the first sync, which frees the leases of that run. False if the
/// server could not be reached: then it must be tried again.
pub(crate) fn report_kept(link: &Link, state: &StateFolder) -> Result<bool, AgentError> {
    for end in kept(state.path())? {
        match sent(
            link.call(&end, Duration::ZERO).map(|reply| reply.accepted),
            &end.work_id,
            link,
        ) {
            Sent::Later => return Ok(false),
            Sent::Yes | Sent::Refused => forget(state, &(end.work_id, end.epoch)),
        }
    }
    Ok(true)
}

/// The reporting thread: runs until nothing is left to wait for.
pub(crate) fn run(link: &Link, works: &Works, state: &StateFolder, is_over: &dyn Fn() -> bool) {
    let mut backoff = Backoff::default();
    let mut not_before = Instant::now();
    while !is_over() {
        works.wait(GATHER);
        if Instant::now() < not_before {
            continue;
        }
        let delivered = works
            .all()
            .iter()
            .all(|work| report(link, works, state, work));
        if delivered {
            backoff.reset();
        } else {
            not_before = Instant::now() + backoff.next(jitter());
        }
    }
}

/// Sends what there is of one work. False if it has to be repeated.
fn report(link: &Link, works: &Works, state: &StateFolder, work: &Arc<Work>) -> bool {
    let end = work.end();
    if work.stop_reason() != Some(StopReason::Lost) {
        while let Some((first_seq, rows)) = work.page(MAX_ERROR_ROWS) {
            let count = rows.len();
            let message = ReportErrorsRequest {
                work_id: work.work_id.clone(),
                epoch: work.epoch,
                first_seq,
                rows,
            };
            match sent(
                link.call(&message, Duration::ZERO)
                    .map(|reply| reply.accepted),
                &work.work_id,
                link,
            ) {
                Sent::Yes => work.page_sent(count),
                Sent::Later => return false,
                Sent::Refused => {
                    work.stop(StopReason::Lost);
                    break;
                }
            }
        }
    }
    let Some(end) = end else { return true };
    if work.stop_reason() != Some(StopReason::Lost) {
        let reply = link.call(&end, Duration::ZERO).map(|reply| reply.accepted);
        if matches!(sent(reply, &work.work_id, link), Sent::Later) {
            return false;
        }
    }
    forget(state, &work.lease());
    works.remove(&work.lease());
    true
}

fn sent(reply: Result<bool, ClientError>, work_id: &str, link: &Link) -> Sent {
    match reply {
        Ok(true) => Sent::Yes,
        Ok(false) => {
            tracing::info!(
                "the server has given {work_id} to somebody else; this report counts no more"
            );
            Sent::Refused
        }
        Err(error) if error.is_transient() || is_clock_refused(&error) => {
            tracing::debug!("a report on {work_id} has to wait: {error}");
            Sent::Later
        }
        Err(error) if is_key_refused(&error) => {
            if let Err(error) = link.register_again() {
                tracing::warn!("cannot register again: {error}");
            }
            Sent::Later
        }
        Err(error) => {
            tracing::warn!("the server refused a report on {work_id}: {error}");
            Sent::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{file_name, forget, keep, kept};
    use crate::state::StateFolder;
    use api::agent_protocol::{FinishRequest, Outcome, Progress};

    fn end(outcome: Outcome) -> FinishRequest {
        FinishRequest {
            work_id: "job-1".into(),
            epoch: 2,
            outcome,
            message: String::new(),
            progress: Progress::default(),
            snapshot: None,
            error_epoch: None,
            upkeep: None,
        }
    }

    #[test]
    fn ends_are_kept_until_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        keep(&state, &end(Outcome::Released));
        assert!(kept(folder.path()).unwrap().is_empty());
        keep(&state, &end(Outcome::Complete));
        let found = kept(folder.path()).unwrap();
        assert_eq!(
            (found.len(), found[0].work_id.as_str(), found[0].epoch),
            (1, "job-1", 2)
        );
        forget(&state, &("job-1".into(), 2));
        assert!(kept(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        assert_eq!(
            file_name(&("../../x/job-1".into(), 7)),
            "finish-xjob-1-7.json"
        );
    }
}

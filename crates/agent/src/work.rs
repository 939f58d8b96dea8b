//! The work that this agent holds: each item with its lease, its progress, its unsent error rows and its end.
//!
//! A [`Work`] is shared by three threads: the one that runs it, the one that syncs, the one that reports. The table of
//! all works counts what runs, so that the agent takes no more than it can run. Never talks to the server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::agent_protocol::{ErrorRow, FinishRequest, Lease, Progress, RunningWork, WorkKind};
use parking_lot::{Condvar, Mutex, MutexGuard};
use runner::{Stop, StopToken};

/// Rows that wait to be sent, of one work. A run that finds more errors than the server takes waits for the server.
const MAX_UNSENT_ROWS: usize = 20_000;

/// Text of one page of rows. JSON can write a byte as six, and the server takes bodies of 4 MiB.
const MAX_PAGE_TEXT_BYTES: usize = 512 * 1024;

/// Why a work item is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// A person cancelled it: ends `CANCELED`.
    Canceled,
    /// The agent stops: ends `RELEASED` and goes on later.
    Suspended,
    /// The lease is gone: ends without a report.
    Lost,
    /// Nothing moved for too long: ends `FAILED`.
    Stalled,
}

/// What is to be done about a work that does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Nothing.
    None,
    /// It moved last longer ago than it may: it is to stop.
    Stop,
    /// It was to stop, and does not even do that: a call of its storage never returns. Its thread is given up.
    GiveUp,
}

/// Names of a lease.
pub(crate) type LeaseId = (String, u64);

#[derive(Debug, Default)]
struct Rows {
    unsent: VecDeque<ErrorRow>,
    first_seq: u64,
    /// The very first one, for the message of a partial end.
    first: Option<ErrorRow>,
}

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    stop: Option<StopReason>,
    end: Option<FinishRequest>,
}

/// One work item under a lease.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) work_id: String,
    pub(crate) epoch: u64,
    /// A backup, which has slots of its own.
    pub(crate) is_backup: bool,
    pub(crate) stop_token: StopToken,
    progress: Mutex<Progress>,
    /// How long it may stand still; for ever when `None`.
    patience: Option<Duration>,
    // A plain mutex: held to read or to set it.
    moved: Mutex<Instant>,
    /// Set by whoever books the end: the thread that runs the work, or the one that gave it up.
    is_ending: AtomicBool,
    // A plain mutex with a condition: the runner waits here for room and for the last row to be sent.
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
}

impl Work {
    /// A new item that runs from now on.
    pub(crate) fn new(
        work_id: String,
        epoch: u64,
        kind: &WorkKind,
        patience: Option<Duration>,
    ) -> Self {
        Self {
            work_id,
            epoch,
            is_backup: matches!(kind, WorkKind::Backup(_)),
            stop_token: StopToken::default(),
            progress: Mutex::default(),
            patience,
            moved: Mutex::new(Instant::now()),
            is_ending: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            started: Instant::now(),
        }
    }

    pub(crate) fn lease(&self) -> LeaseId {
        (self.work_id.clone(), self.epoch)
    }

    /// Counters for the next sync.
    pub(crate) fn set_progress(&self, mut progress: Progress) {
        let mut known = self.progress.lock();
        progress.elapsed_ms = known.elapsed_ms;
        if *known != progress {
            *self.moved.lock() = Instant::now();
        }
        progress.elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        *known = progress;
    }

    /// Whether it stands still for too long. One that waits for the server to take its rows does not.
    pub(crate) fn stall(&self) -> Stall {
        let Some(patience) = self.patience else {
            return Stall::None;
        };
        let state = self.state.lock();
        let stands_for = self.moved.lock().elapsed();
        if state.end.is_some() || stands_for < patience {
            return Stall::None;
        }
        match state.stop {
            None if state.rows.unsent.is_empty() => Stall::Stop,
            // It gets a tenth of its patience to end by itself.
            Some(_) if stands_for >= patience + patience / 10 => Stall::GiveUp,
            _ => Stall::None,
        }
    }

    /// How long it may stand still, for messages.
    pub(crate) fn patience(&self) -> Duration {
        self.patience.unwrap_or_default()
    }

    /// Whether the caller is the first to end it.
    pub(crate) fn begin_end(&self) -> bool {
        !self.is_ending.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().clone()
    }

    /// Asks the run to stop. The first reason stays, but `Lost` wins: nothing may be reported any more.
    pub(crate) fn stop(&self, reason: StopReason) {
        let mut state = self.state.lock();
        if state.stop.is_none() || reason == StopReason::Lost {
            state.stop = Some(reason);
        }
        drop(state);
        self.stop_token.stop(match reason {
            StopReason::Suspended => Stop::Suspend,
            StopReason::Canceled | StopReason::Lost | StopReason::Stalled => Stop::Cancel,
        });
        self.changed.notify_all();
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.state.lock().stop
    }

    /// Adds a row of the error list; waits while too many are unsent, unless the run is to stop.
    pub(crate) fn add_row(&self, row: ErrorRow) {
        let mut state = self.state.lock();
        while state.rows.unsent.len() >= MAX_UNSENT_ROWS && state.stop.is_none() {
            self.changed.wait(&mut state);
        }
        if state.stop != Some(StopReason::Lost) {
            state.rows.first.get_or_insert_with(|| row.clone());
            state.rows.unsent.push_back(row);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The first row of the error list.
    pub(crate) fn first_row(&self) -> Option<ErrorRow> {
        self.state.lock().rows.first.clone()
    }

    /// Waits until every row is sent. Fails if the run is to stop meanwhile.
    pub(crate) fn wait_for_rows(&self) -> Result<(), StopReason> {
        let mut state = self.state.lock();
        loop {
            match state.stop {
                Some(reason) => return Err(reason),
                None if state.rows.unsent.is_empty() => return Ok(()),
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// The next rows to send, with the number of the first: at most `longest`, and no more text than a message holds.
    pub(crate) fn page(&self, longest: usize) -> Option<(u64, Vec<ErrorRow>)> {
        let state = self.state.lock();
        let mut text_bytes = 0;
        let rows: Vec<ErrorRow> = state
            .rows
            .unsent
            .iter()
            .take(longest)
            .take_while(|row| {
                let is_first = text_bytes == 0;
                text_bytes += row.path.len() + row.operation.len() + row.message.len();
                is_first || text_bytes <= MAX_PAGE_TEXT_BYTES
            })
            .cloned()
            .collect();
        (!rows.is_empty()).then_some((state.rows.first_seq, rows))
    }

    /// The server has these rows.
    pub(crate) fn page_sent(&self, count: usize) {
        let mut state = self.state.lock();
        let count = count.min(state.rows.unsent.len());
        state.rows.unsent.drain(..count);
        state.rows.first_seq += count as u64;
        *self.moved.lock() = Instant::now();
        drop(state);
        self.changed.notify_all();
    }

    /// The run is over and this is its report.
    pub(crate) fn set_end(&self, end: FinishRequest) {
        self.state.lock().end = Some(end);
    }

    /// The report, once the run is over.
    pub(crate) fn end(&self) -> Option<FinishRequest> {
        self.state.lock().end.clone()
    }
}

/// All works of the agent by lease.
#[derive(Debug, Default)]
pub(crate) struct Works {
    // One condition for everything that loops wait for: a new row, an end, a stop. Held for a moment only.
    table: Mutex<BTreeMap<LeaseId, Arc<Work>>>,
    changed: Condvar,
}

impl Works {
    /// Adds a work that is about to run. False if it is here already.
    pub(crate) fn add(&self, work: &Arc<Work>) -> bool {
        let mut table = self.table.lock();
        let is_new = !table.contains_key(&work.lease());
        if is_new {
            table.insert(work.lease(), Arc::clone(work));
        }
        is_new
    }

    pub(crate) fn remove(&self, lease: &LeaseId) {
        self.table.lock().remove(lease);
        self.changed.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<Arc<Work>> {
        self.table.lock().values().cloned().collect()
    }

    /// The work under a lease.
    pub(crate) fn get(&self, lease: &Lease) -> Option<Arc<Work>> {
        let id = (lease.work_id.clone(), lease.epoch);
        self.table.lock().get(&id).cloned()
    }

    /// What a sync names: everything whose end the server does not know yet.
    pub(crate) fn running(&self) -> Vec<RunningWork> {
        let works = self
            .all()
            .into_iter()
            .filter(|work| work.stop_reason() != Some(StopReason::Lost));
        works
            .map(|work| RunningWork {
                work_id: work.work_id.clone(),
                epoch: work.epoch,
                progress: work.progress(),
            })
            .collect()
    }

    /// How many backups and how many other items run.
    pub(crate) fn busy(&self) -> (u32, u32) {
        let table = self.table.lock();
        let mut busy = (0, 0);
        for work in table.values().filter(|work| work.end().is_none()) {
            if work.is_backup {
                busy.0 += 1
            } else {
                busy.1 += 1
            }
        }
        busy
    }

    /// Wakes whoever waits.
    pub(crate) fn notify(&self) {
        let _table: MutexGuard<'_, _> = self.table.lock();
        self.changed.notify_all();
    }

    /// Waits for a change, at most this long.
    pub(crate) fn wait(&self, longest: Duration) {
        let mut table = self.table.lock();
        self.changed.wait_for(&mut table, longest);
    }

    /// Waits until `done` says so or the deadline is over; true if it is done.
    pub(crate) fn wait_until(
        &self,
        deadline: Instant,
        done: impl Fn(&BTreeMap<LeaseId, Arc<Work>>) -> bool,
    ) -> bool {
        let mut table = self.table.lock();
        while !done(&table) {
            if self.changed.wait_until(&mut table, deadline).timed_out() {
                return done(&table);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{MAX_UNSENT_ROWS, StopReason, Work, Works};
    use api::agent_protocol::{
        DeleteSnapshotSpec, ErrorRow, FinishRequest, Outcome, Progress, VaultSpec, WorkKind,
    };
    use std::sync::Arc;

    fn kind() -> WorkKind {
        let vault = VaultSpec {
            vault_id: "v".into(),
            storage_url: "/v".into(),
            password: "p".into(),
            recovery_password: None,
        };
        WorkKind::DeleteSnapshot(DeleteSnapshotSpec {
            vault,
            snapshot_hash: "0".repeat(64),
        })
    }

    fn work() -> Arc<Work> {
        Arc::new(Work::new("job-1".into(), 3, &kind(), None))
    }

    fn row(path: &str) -> ErrorRow {
        ErrorRow {
            path: path.into(),
            operation: "open".into(),
            errno: 13,
            message: "denied".into(),
            time: 1,
        }
    }

    #[test]
    fn rows_are_numbered_across_pages() {
        let work = work();
        for at in 0..5 {
            work.add_row(row(&at.to_string()));
        }
        let (first, rows) = work.page(3).unwrap();
        assert_eq!((first, rows.len()), (0, 3));
        work.page_sent(3);
        let (first, rows) = work.page(3).unwrap();
        assert_eq!((first, rows[0].path.as_str(), rows.len()), (3, "3", 2));
        work.page_sent(2);
        assert!(work.page(3).is_none());
        assert_eq!(work.wait_for_rows(), Ok(()));
    }

    #[test]
    fn a_full_buffer_waits_for_the_server() {
        let work = work();
        for _ in 0..MAX_UNSENT_ROWS {
            work.add_row(row("a"));
        }
        let adder = {
            let work = Arc::clone(&work);
            std::thread::spawn(move || work.add_row(row("last")))
        };
        work.page_sent(500);
        adder.join().unwrap();
        assert_eq!(work.state.lock().rows.unsent.len(), MAX_UNSENT_ROWS - 499);
    }

    #[test]
    fn lost_wins_over_other_reasons() {
        let work = work();
        work.stop(StopReason::Canceled);
        work.stop(StopReason::Suspended);
        assert_eq!(work.stop_reason(), Some(StopReason::Canceled));
        assert_eq!(work.wait_for_rows(), Err(StopReason::Canceled));
        work.stop(StopReason::Lost);
        assert_eq!(work.stop_reason(), Some(StopReason::Lost));
    }

    #[test]
    fn ended_works_hold_their_lease_but_no_slot() {
        let works = Works::default();
        let work = work();
        assert!(works.add(&work) && !works.add(&work));
        assert_eq!(works.busy(), (0, 1));
        work.set_end(FinishRequest {
            work_id: "job-1".into(),
            epoch: 3,
            outcome: Outcome::Complete,
            message: String::new(),
            progress: Progress::default(),
            snapshot: None,
            error_epoch: None,
            upkeep: None,
        });
        assert_eq!((works.busy(), works.running().len()), ((0, 0), 1));
        works.remove(&work.lease());
        assert!(works.running().is_empty());
    }
}

//! The counters of a run, and the thread that shows them to the observer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::observe::{ItemError, Observer, Phase, Progress};

/// How often the observer hears of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// One number that many threads add to. Nothing is ordered by it, so relaxed access does.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn take_back(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) files_total: Counter,
    pub(crate) files_done: Counter,
    pub(crate) items_total: Counter,
    pub(crate) items_done: Counter,
    pub(crate) bytes_total: Counter,
    pub(crate) bytes_done: Counter,
    /// Stored bytes of large files that are not done yet, so that progress moves while one is read.
    pub(crate) bytes_under_way: Counter,
    pub(crate) bytes_changed: Counter,
    pub(crate) actual_bytes: Counter,
    pub(crate) actual_items: Counter,
    pub(crate) actual_files: Counter,
    pub(crate) errors: Counter,
    /// Of the errors, files that changed while they were read.
    pub(crate) changed: Counter,
    /// Of the errors, entries that are stored without some of their metadata.
    pub(crate) incomplete: Counter,
    /// The most bytes ever shown: a file that changes from under way to done must not make progress go back.
    shown_bytes: AtomicU64,
    phase: AtomicU8,
    start: Instant,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            files_total: Counter::default(),
            files_done: Counter::default(),
            items_total: Counter::default(),
            items_done: Counter::default(),
            bytes_total: Counter::default(),
            bytes_done: Counter::default(),
            bytes_under_way: Counter::default(),
            bytes_changed: Counter::default(),
            actual_bytes: Counter::default(),
            actual_items: Counter::default(),
            actual_files: Counter::default(),
            errors: Counter::default(),
            changed: Counter::default(),
            incomplete: Counter::default(),
            shown_bytes: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Preparing as u8),
            start: Instant::now(),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Books a failed item.
    pub(crate) fn fail(&self, observer: &dyn Observer, error: &ItemError) {
        self.errors.add(1);
        observer.item_error(error);
    }

    pub(crate) fn snapshot(&self, current: Vec<PathBuf>) -> Progress {
        let phase = match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Preparing,
            1 => Phase::Running,
            _ => Phase::Finishing,
        };
        let (files_done, items_done, bytes_done) = (
            self.files_done.get(),
            self.items_done.get(),
            self.bytes_done.get() + self.bytes_under_way.get(),
        );
        let shown_before = self.shown_bytes.fetch_max(bytes_done, Ordering::Relaxed);
        let bytes_done = bytes_done.max(shown_before);
        Progress {
            phase,
            files_total: self.files_total.get().max(files_done),
            files_done,
            items_total: self.items_total.get().max(items_done),
            items_done,
            bytes_total: self.bytes_total.get().max(bytes_done),
            bytes_done,
            bytes_changed: self.bytes_changed.get(),
            actual_bytes: self.actual_bytes.get(),
            actual_items: self.actual_items.get(),
            actual_files: self.actual_files.get(),
            errors: self.errors.get(),
            changed: self.changed.get(),
            incomplete: self.incomplete.get(),
            elapsed: self.elapsed(),
            current,
        }
    }

    /// The last word: everything that was going to be done is done.
    pub(crate) fn settled(&self) -> Progress {
        let mut progress = self.snapshot(Vec::new());
        progress.files_total = progress.files_done;
        progress.items_total = progress.items_done;
        progress.bytes_done = self.bytes_done.get();
        progress.bytes_total = progress.bytes_done;
        progress
    }
}

/// Tells the observer about progress until it is finished.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    finished: Mutex<bool>,
    changed: Condvar,
}

impl Reporter {
    /// The loop of the reporting thread.
    pub(crate) fn run(
        &self,
        tally: &Tally,
        observer: &dyn Observer,
        current: impl Fn() -> Vec<PathBuf>,
    ) {
        let mut finished = self.finished.lock();
        while !*finished {
            self.changed.wait_for(&mut finished, REPORT_EVERY);
            if !*finished {
                observer.progress(&tally.snapshot(current()));
            }
        }
    }

    /// Ends the loop when what is returned is dropped, by a panic too: a scope waits for all of its threads.
    #[must_use]
    pub(crate) fn finish_on_drop(&self) -> FinishOnDrop<'_> {
        FinishOnDrop(self)
    }
}

/// Ends the loop of a [`Reporter`].
pub(crate) struct FinishOnDrop<'r>(&'r Reporter);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        *self.0.finished.lock() = true;
        self.0.changed.notify_all();
    }
}

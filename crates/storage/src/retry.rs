//! Tries again what is worth another try, within a bounded time.
//!
//! - Throttling and temporary failures: with growing pauses, any call.
//! - Answers that were too short, and I/O errors of the disk: once, and only calls that read. A flaky cable shows itself
//!   so, and a second look costs little; but a write whose sync failed may never say so again, so that is believed at
//!   once.
//!
//! Safe because a put of the same bytes under the same name may be repeated, and all else only reads or removes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, StorageError};
use crate::{Listed, Storage, Upload};

/// How often and how long to try.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Calls in all, the first one counted.
    pub attempt_count: u32,
    /// The pause after the first failure; it doubles after each further one.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// No call begins again later than this after the first one began. What the calls themselves take is not bounded:
    /// on a mount that hangs a call waits, and whoever runs the job gives it up.
    pub longest_total: Duration,
}

impl Default for RetryPolicy {
    /// Long enough for a file server that restarts, short enough that a job which was cancelled ends soon.
    fn default() -> Self {
        Self {
            attempt_count: 12,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            longest_total: Duration::from_secs(60),
        }
    }
}

/// A storage that repeats failed calls of another one.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Storage>,
    policy: RetryPolicy,
}

/// Whether a call changes what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Writes,
}

impl Retry {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    fn run<T>(
        &self,
        effect: Effect,
        call: impl Fn() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let begin = Instant::now();
        let mut pause = self.policy.first_pause;
        let mut has_looked_again = false;
        for _ in 1..self.policy.attempt_count {
            match call() {
                Err(error) if passes(error.kind) => {}
                Err(error)
                    if effect == Effect::Reads && is_doubtful(&error) && !has_looked_again =>
                {
                    has_looked_again = true;
                }
                other => return other,
            }
            if begin.elapsed() + pause > self.policy.longest_total {
                break;
            }
            std::thread::sleep(jittered(pause));
            pause = (pause * 2).min(self.policy.longest_pause);
        }
        call()
    }
}

/// Whether the failure says of itself that it may be over soon.
fn passes(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Throttled | ErrorKind::Transient => true,
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Denied
        | ErrorKind::Full
        | ErrorKind::Corrupt
        | ErrorKind::Other => false,
    }
}

/// Whether the answer may be another one at a second look.
fn is_doubtful(error: &StorageError) -> bool {
    error.kind == ErrorKind::Corrupt || error.is_disk_error()
}

/// Between half and the whole of `pause`, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

impl Storage for Retry {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.run(Effect::Writes, || self.inner.put(name, bytes))
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.run(Effect::Reads, || self.inner.get_at_most(name, limit_bytes))
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.run(Effect::Reads, || {
            self.inner.get_range(name, offset, length_bytes)
        })
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.run(Effect::Reads, || self.inner.size(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.run(Effect::Reads, || self.inner.list(folder))
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let is_repeated = std::cell::Cell::new(false);
        self.run(Effect::Writes, || match self.inner.delete(name) {
            // The first try may have removed it and lost the answer.
            Err(error) if error.kind == ErrorKind::NotFound && is_repeated.get() => Ok(()),
            other => {
                is_repeated.set(true);
                other
            }
        })
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.run(Effect::Writes, || self.inner.create_folders(folders))
    }

    fn sync_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.run(Effect::Writes, || self.inner.sync_folders(folders))
    }

    /// Beginning is tried again; the file itself is the caller's, who knows what was written to it.
    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        self.run(Effect::Writes, || self.inner.begin())
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

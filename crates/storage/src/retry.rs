//! Tries again what is worth another try: throttling, temporary failures, and answers that were too short.
//!
//! Safe because a put of the same bytes under the same name may be repeated, and all else only reads or removes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ErrorKind, StorageError};
use crate::{Listed, Storage};

/// How often and how long to try.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Calls in all, the first one counted.
    pub attempt_count: u32,
    /// The pause after the first failure; it doubles after each further one.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempt_count: 8,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// A storage that repeats failed calls of another one.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Storage>,
    policy: RetryPolicy,
}

impl Retry {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    fn run<T>(&self, call: impl Fn() -> Result<T, StorageError>) -> Result<T, StorageError> {
        let mut pause = self.policy.first_pause;
        for _ in 1..self.policy.attempt_count {
            match call() {
                Err(error) if is_worth_a_retry(error.kind) => std::thread::sleep(jittered(pause)),
                other => return other,
            }
            pause = (pause * 2).min(self.policy.longest_pause);
        }
        call()
    }
}

/// Corrupt is among them: stores have answered short or wrong bytes once and the right ones later.
fn is_worth_a_retry(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Throttled | ErrorKind::Transient | ErrorKind::Corrupt => true,
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Denied
        | ErrorKind::Full
        | ErrorKind::Other => false,
    }
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
        self.run(|| self.inner.put(name, bytes))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        self.run(|| self.inner.get(name))
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.run(|| self.inner.get_range(name, offset, length_bytes))
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.run(|| self.inner.size(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.run(|| self.inner.list(folder))
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let is_repeated = std::cell::Cell::new(false);
        self.run(|| match self.inner.delete(name) {
            // The first try may have removed it and lost the answer.
            Err(error) if error.kind == ErrorKind::NotFound && is_repeated.get() => Ok(()),
            other => {
                is_repeated.set(true);
                other
            }
        })
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.inner.create_folders(folders)
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

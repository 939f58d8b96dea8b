//! Holds a storage to a rate that may change with the time of day. It never reorders or drops anything.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::StorageError;
use crate::{Listed, Storage};

/// Asked before each transfer: bytes per second right now, or `None` for as fast as it goes.
pub type Rate = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// No single pause is longer, so that a change of the rate is seen soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A storage that lets at most so many bytes per second through, reads and writes counted together.
pub struct Throttle {
    inner: Arc<dyn Storage>,
    rate: Rate,
    // A plain mutex: held to book the bytes, never while waiting.
    free_at: Mutex<Instant>,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Throttle({:?})", self.inner)
    }
}

impl Throttle {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, rate: Rate) -> Self {
        Self {
            inner,
            rate,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until the line is free, then books `length_bytes` on it.
    fn book(&self, length_bytes: usize) {
        loop {
            let Some(bytes_per_second) = (self.rate)() else {
                return;
            };
            let now = Instant::now();
            let wait = {
                let mut free_at = self.free_at.lock();
                let wait = free_at.saturating_duration_since(now);
                if wait.is_zero() {
                    let seconds = length_bytes as f64 / bytes_per_second.max(1) as f64;
                    *free_at = now + Duration::from_secs_f64(seconds.min(1e9));
                }
                wait
            };
            if wait.is_zero() {
                return;
            }
            std::thread::sleep(wait.min(LONGEST_PAUSE));
        }
    }
}

impl Storage for Throttle {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.book(bytes.len());
        self.inner.put(name, bytes)
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        let bytes = self.inner.get(name)?;
        self.book(bytes.len());
        Ok(bytes)
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let bytes = self.inner.get_range(name, offset, length_bytes)?;
        self.book(bytes.len());
        Ok(bytes)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.inner.size(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.inner.list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.inner.delete(name)
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.inner.create_folders(folders)
    }

    fn sync_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.inner.sync_folders(folders)
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

//! Refuses calls once the work that makes them is asked to stop.
//!
//! A check or a prune of a large repository takes hours in calls that know of no stop. Behind this wrapper each further
//! call fails, so the work ends within one call of the storage below. That is as safe as a lost storage is: whatever
//! goes through here has to stand a failure at any call. Deletions go on: who ends takes his locks away.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{ErrorKind, Operation, StorageError};
use crate::{Listed, Storage, Upload};

/// Whether the work is asked to stop.
pub type IsStopped = Arc<dyn Fn() -> bool + Send + Sync>;

/// A storage that fails, with [`ErrorKind::Other`], once `is_stopped` says so.
pub struct Stoppable {
    inner: Arc<dyn Storage>,
    is_stopped: IsStopped,
}

impl Stoppable {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, is_stopped: IsStopped) -> Self {
        Self { inner, is_stopped }
    }

    fn go_on(&self, operation: Operation, name: &str) -> Result<(), StorageError> {
        if (self.is_stopped)() {
            return Err(StorageError::message(
                ErrorKind::Other,
                operation,
                name,
                "the work was asked to stop",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Stoppable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stoppable")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Storage for Stoppable {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.go_on(Operation::Put, name)?;
        self.inner.put(name, bytes)
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.go_on(Operation::Get, name)?;
        self.inner.get_at_most(name, limit_bytes)
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.go_on(Operation::GetRange, name)?;
        self.inner.get_range(name, offset, length_bytes)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.go_on(Operation::Size, name)?;
        self.inner.size(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.go_on(Operation::List, folder)?;
        self.inner.list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.inner.delete(name)
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.go_on(Operation::Put, "")?;
        self.inner.create_folders(folders)
    }

    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        self.go_on(Operation::Put, "")?;
        self.inner.begin()
    }

    fn sync_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.go_on(Operation::Sync, "")?;
        self.inner.sync_folders(folders)
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Stoppable;
    use crate::{ErrorKind, Memory, Storage};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn nothing_but_deletions_gets_through_after_the_stop() {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_stopped);
        let storage = Stoppable::new(
            Arc::new(Memory::new()),
            Arc::new(move || asked.load(Ordering::Relaxed)),
        );
        storage.put("locks/a", b"1").unwrap();
        storage.put("data/b", b"2").unwrap();
        is_stopped.store(true, Ordering::Relaxed);
        let refused = [
            storage.put("data/c", b"3").unwrap_err(),
            storage.get("data/b").unwrap_err(),
            storage.get_range("data/b", 0, 1).unwrap_err(),
            storage.size("data/b").unwrap_err(),
            storage.list("data").unwrap_err(),
            storage.sync_folders(&[]).unwrap_err(),
            storage.begin().unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind == ErrorKind::Other));
        storage.delete("locks/a").unwrap();
        is_stopped.store(false, Ordering::Relaxed);
        assert_eq!(storage.list("").unwrap().len(), 1);
        assert_eq!(storage.get("data/b").unwrap(), b"2");
    }
}

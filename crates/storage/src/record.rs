//! Writes down every call, so that tests can assert what something costs.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Operation, StorageError};
use crate::{Listed, Storage};

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub operation: Operation,
    /// On which name.
    pub name: String,
    /// Bytes sent or received.
    pub transferred_bytes: u64,
    /// Whether it succeeded.
    pub is_ok: bool,
}

/// A storage that remembers the calls made to another one.
#[derive(Debug)]
pub struct Record {
    inner: Arc<dyn Storage>,
    // A plain mutex: held for a push only.
    calls: Mutex<Vec<Call>>,
}

impl Record {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            calls: Mutex::new(Vec::new()),
        }
    }

    /// The calls so far, and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock())
    }

    fn note<T>(
        &self,
        operation: Operation,
        name: &str,
        result: Result<T, StorageError>,
        size: impl Fn(&T) -> usize,
    ) -> Result<T, StorageError> {
        self.calls.lock().push(Call {
            operation,
            name: name.to_owned(),
            transferred_bytes: result.as_ref().map_or(0, |value| size(value) as u64),
            is_ok: result.is_ok(),
        });
        result
    }
}

impl Storage for Record {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let result = self.inner.put(name, bytes);
        self.note(Operation::Put, name, result, |()| bytes.len())
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let result = self.inner.get_at_most(name, limit_bytes);
        self.note(Operation::Get, name, result, Vec::len)
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let result = self.inner.get_range(name, offset, length_bytes);
        self.note(Operation::GetRange, name, result, Vec::len)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        let result = self.inner.size(name);
        self.note(Operation::Size, name, result, |_| 0)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        let result = self.inner.list(folder);
        self.note(Operation::List, folder, result, |_| 0)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let result = self.inner.delete(name);
        self.note(Operation::Delete, name, result, |()| 0)
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.inner.create_folders(folders)
    }

    fn sync_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        for folder in folders {
            let result = self.inner.sync_folders(std::slice::from_ref(folder));
            self.note(Operation::Sync, folder, result, |()| 0)?;
        }
        Ok(())
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

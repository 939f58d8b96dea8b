//! A storage that is a map in memory, for tests and trials. It never touches a disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{ErrorKind, Operation, StorageError};
use crate::name::{check_folder, check_name};
use crate::{Listed, Storage};

/// Bytes in a map. Clones share the map.
#[derive(Clone, Default)]
pub struct Memory {
    // A read-write lock because tests read from many threads at once; it is held for a copy only.
    files: Arc<RwLock<BTreeMap<String, Arc<Vec<u8>>>>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Memory({} files)", self.files.read().len())
    }
}

impl Memory {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts any bytes in place, over what was there: damage for tests.
    pub fn overwrite(&self, name: &str, bytes: Vec<u8>) {
        self.files.write().insert(name.to_owned(), Arc::new(bytes));
    }

    /// A copy that shares nothing with this one: the state of a crash, to look at while the original goes on.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            files: Arc::new(RwLock::new(self.files.read().clone())),
        }
    }

    fn find(&self, operation: Operation, name: &str) -> Result<Arc<Vec<u8>>, StorageError> {
        check_name(operation, name)?;
        self.files
            .read()
            .get(name)
            .cloned()
            .ok_or_else(|| StorageError::new(ErrorKind::NotFound, operation, name))
    }
}

impl Storage for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        check_name(Operation::Put, name)?;
        let mut files = self.files.write();
        match files.get(name) {
            Some(old) if old.as_slice() == bytes => Ok(()),
            Some(_) => Err(StorageError::new(
                ErrorKind::AlreadyExists,
                Operation::Put,
                name,
            )),
            None => {
                files.insert(name.to_owned(), Arc::new(bytes.to_vec()));
                Ok(())
            }
        }
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.find(Operation::Get, name)?;
        let size_bytes = bytes.len() as u64;
        if size_bytes > limit_bytes {
            return Err(StorageError::too_large(name, size_bytes, limit_bytes));
        }
        Ok(bytes.to_vec())
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let bytes = self.find(Operation::GetRange, name)?;
        usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(length_bytes)?))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| StorageError::new(ErrorKind::Corrupt, Operation::GetRange, name))
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        Ok(self.find(Operation::Size, name)?.len() as u64)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        check_folder(folder)?;
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let files = self.files.read();
        Ok(files
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .map(|(name, bytes)| Listed {
                name: name.clone(),
                size_bytes: bytes.len() as u64,
            })
            .collect())
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        check_name(Operation::Delete, name)?;
        match self.files.write().remove(name) {
            Some(_) => Ok(()),
            None => Err(StorageError::new(
                ErrorKind::NotFound,
                Operation::Delete,
                name,
            )),
        }
    }
}

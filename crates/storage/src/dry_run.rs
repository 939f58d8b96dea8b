//! Takes what is written and keeps nothing of it.
//!
//! For work that is to be tried: what it would write is counted by who writes it, and gone. One folder goes through, for
//! the lock that even such work must hold. Nothing else is deleted, either. Sizes are remembered, since who puts a file may
//! ask what became of it. Whoever compares what was kept with what he put gets a small file back once; what was written in
//! pieces cannot be had back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{ErrorKind, Operation, StorageError};
use crate::{Listed, Storage, Upload};

/// A plain mutex: held for a look or an entry.
type Taken = Arc<Mutex<HashMap<String, File>>>;

/// What was put and not kept.
#[derive(Debug)]
struct File {
    size_bytes: u64,
    /// Until it is read.
    content: Option<Vec<u8>>,
}

/// A storage that another one is read through, and that keeps only what is put into one folder.
#[derive(Debug)]
pub struct DryRun {
    inner: Arc<dyn Storage>,
    /// With a slash at its end.
    kept: String,
    taken: Taken,
}

impl DryRun {
    /// Wraps `inner`; what is put below the folder `kept` is really put there, and can be deleted.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, kept: &str) -> Self {
        Self {
            inner,
            kept: format!("{kept}/"),
            taken: Taken::default(),
        }
    }

    fn is_kept(&self, name: &str) -> bool {
        name.starts_with(&self.kept)
    }
}

impl Storage for DryRun {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        if self.is_kept(name) {
            return self.inner.put(name, bytes);
        }
        let file = File {
            size_bytes: bytes.len() as u64,
            content: Some(bytes.to_vec()),
        };
        self.taken.lock().insert(name.to_owned(), file);
        Ok(())
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        if let Some(file) = self.taken.lock().get_mut(name)
            && file.size_bytes <= limit_bytes
            && let Some(content) = file.content.take()
        {
            return Ok(content);
        }
        self.inner.get_at_most(name, limit_bytes)
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.inner.get_range(name, offset, length_bytes)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        let taken = self.taken.lock().get(name).map(|file| file.size_bytes);
        match taken {
            Some(size_bytes) => Ok(size_bytes),
            None => self.inner.size(name),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.inner.list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        if self.is_kept(name) {
            return self.inner.delete(name);
        }
        Err(StorageError::message(
            ErrorKind::Denied,
            Operation::Delete,
            name,
            "nothing is deleted in a dry run",
        ))
    }

    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        Ok(Some(Box::new(Discarded {
            size_bytes: 0,
            taken: Arc::clone(&self.taken),
        })))
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

/// A file of which the size is kept.
#[derive(Debug)]
struct Discarded {
    size_bytes: u64,
    taken: Taken,
}

impl Upload for Discarded {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>, name: &str) -> Result<(), StorageError> {
        let file = File {
            size_bytes: self.size_bytes,
            content: None,
        };
        self.taken.lock().insert(name.to_owned(), file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::DryRun;
    use crate::{ErrorKind, Memory, Storage};
    use std::sync::Arc;

    #[test]
    fn only_the_one_folder_is_written_to() {
        let inner = Arc::new(Memory::new());
        inner.put("data/old", b"old").unwrap();
        let storage = DryRun::new(inner.clone(), "locks");
        storage.put("data/new", b"1234").unwrap();
        let mut upload = storage.begin().unwrap().unwrap();
        upload.write(b"12").unwrap();
        upload.write(b"345").unwrap();
        upload.finish("data/piecewise").unwrap();
        storage.put("locks/own", b"lock").unwrap();
        storage.put("locksmith", b"no lock").unwrap();
        for (name, size_bytes) in [("data/new", 4), ("data/piecewise", 5), ("data/old", 3)] {
            assert_eq!(storage.size(name).unwrap(), size_bytes, "{name}");
        }
        let names = || -> Vec<String> {
            let listed = inner.list("").unwrap();
            listed.into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(), ["data/old", "locks/own"]);
        assert_eq!(storage.get("data/old").unwrap(), b"old");
        assert_eq!(storage.get("data/new").unwrap(), b"1234");
        assert!(storage.get("data/new").is_err());
        assert!(storage.get("data/piecewise").is_err());
        let refused = storage.delete("data/old").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Denied);
        storage.delete("locks/own").unwrap();
        assert_eq!(names(), ["data/old"]);
    }
}

//! A storage that misbehaves by a script, so that tests can walk through every failure.
//!
//! Calls are counted from 0 over all operations. A fault is set for one call, for every call from one on, or for the
//! n-th call of one operation.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{ErrorKind, Operation, StorageError};
use crate::{Listed, Storage};

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the call says so.
    Fail(ErrorKind),
    /// The call takes effect, and says that it failed: the result is unknown to the caller.
    FailAfter(ErrorKind),
    /// A put stores the first bytes only and says that it failed; a get answers them as if they were all.
    Tear(usize),
    /// As `Tear`, but a put says that all is well.
    TearSilently(usize),
    /// One bit of what is stored or answered is wrong, and the call says that all is well.
    Flip,
    /// The call is late.
    Delay(Duration),
    /// A listing is cut after so many entries; a delete does nothing; both say that all is well.
    Lie(usize),
}

#[derive(Debug, Clone)]
enum When {
    At(u64),
    From(u64),
    Nth(Operation, u64),
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<(When, Fault)>,
    call_count: u64,
    operation_counts: Vec<(Operation, u64)>,
}

/// A storage around another one that fails where its script says.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    // A plain mutex: held to count, never during a call.
    script: Mutex<Script>,
}

impl Faulty {
    /// Wraps `inner`; without rules it behaves like it.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            script: Mutex::default(),
        }
    }

    /// The call with this number (counted from 0 over all operations) goes wrong.
    pub fn at(&self, call: u64, fault: Fault) {
        self.script.lock().rules.push((When::At(call), fault));
    }

    /// This call and all later ones go wrong: a full disk, a dead process, a lost network.
    pub fn from(&self, call: u64, fault: Fault) {
        self.script.lock().rules.push((When::From(call), fault));
    }

    /// The n-th call (from 0) of this operation goes wrong.
    pub fn at_nth(&self, operation: Operation, nth: u64, fault: Fault) {
        self.script
            .lock()
            .rules
            .push((When::Nth(operation, nth), fault));
    }

    /// Forgets the rules; counting goes on.
    pub fn heal(&self) {
        self.script.lock().rules.clear();
    }

    /// How many calls there were so far.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        self.script.lock().call_count
    }

    /// Counts the call and finds its fault.
    fn next(&self, operation: Operation) -> Option<Fault> {
        let mut script = self.script.lock();
        let call = script.call_count;
        script.call_count += 1;
        let nth = match script
            .operation_counts
            .iter_mut()
            .find(|(known, _)| *known == operation)
        {
            Some((_, count)) => {
                *count += 1;
                *count - 1
            }
            None => {
                script.operation_counts.push((operation, 1));
                0
            }
        };
        script
            .rules
            .iter()
            .find(|(when, _)| match when {
                When::At(at) => *at == call,
                When::From(from) => *from <= call,
                When::Nth(which, at) => *which == operation && *at == nth,
            })
            .map(|(_, fault)| fault.clone())
    }

    /// Runs a call with no content of its own under its fault.
    fn plain<T>(
        &self,
        operation: Operation,
        name: &str,
        call: impl FnOnce() -> Result<T, StorageError>,
        spoil: impl FnOnce(T, &Fault) -> T,
    ) -> Result<T, StorageError> {
        let Some(fault) = self.next(operation) else {
            return call();
        };
        match fault {
            Fault::Fail(kind) => Err(injected(kind, operation, name)),
            Fault::FailAfter(kind) => {
                call()?;
                Err(injected(kind, operation, name))
            }
            Fault::Delay(pause) => {
                std::thread::sleep(pause);
                call()
            }
            Fault::Tear(_) | Fault::TearSilently(_) | Fault::Flip | Fault::Lie(_) => {
                Ok(spoil(call()?, &fault))
            }
        }
    }
}

fn injected(kind: ErrorKind, operation: Operation, name: &str) -> StorageError {
    StorageError::message(kind, operation, name, "injected fault")
}

/// What a reader gets under a fault that falsifies bytes.
fn spoil_bytes(mut bytes: Vec<u8>, fault: &Fault) -> Vec<u8> {
    match fault {
        Fault::Tear(keep) | Fault::TearSilently(keep) => bytes.truncate(*keep),
        Fault::Flip => {
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 0x10;
            }
        }
        Fault::Fail(_) | Fault::FailAfter(_) | Fault::Delay(_) | Fault::Lie(_) => {}
    }
    bytes
}

impl Storage for Faulty {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let operation = Operation::Put;
        let Some(fault) = self.next(operation) else {
            return self.inner.put(name, bytes);
        };
        match fault {
            Fault::Fail(kind) => Err(injected(kind, operation, name)),
            Fault::FailAfter(kind) => {
                self.inner.put(name, bytes)?;
                Err(injected(kind, operation, name))
            }
            Fault::Tear(_) => {
                self.inner.put(name, &spoil_bytes(bytes.to_vec(), &fault))?;
                Err(injected(ErrorKind::Other, operation, name))
            }
            Fault::TearSilently(_) | Fault::Flip => {
                self.inner.put(name, &spoil_bytes(bytes.to_vec(), &fault))
            }
            Fault::Delay(pause) => {
                std::thread::sleep(pause);
                self.inner.put(name, bytes)
            }
            Fault::Lie(_) => Ok(()),
        }
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let read = || self.inner.get_at_most(name, limit_bytes);
        self.plain(Operation::Get, name, read, spoil_bytes)
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let read = || self.inner.get_range(name, offset, length_bytes);
        let bytes = self.plain(Operation::GetRange, name, read, spoil_bytes)?;
        // The trait promises exactly so many bytes, so a torn answer shows up as an error even here.
        if bytes.len() == length_bytes {
            Ok(bytes)
        } else {
            Err(injected(ErrorKind::Corrupt, Operation::GetRange, name))
        }
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        let spoil = |size: u64, fault: &Fault| match fault {
            Fault::Tear(keep) | Fault::TearSilently(keep) => size.min(*keep as u64),
            _ => size,
        };
        self.plain(Operation::Size, name, || self.inner.size(name), spoil)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        let spoil = |mut listed: Vec<Listed>, fault: &Fault| {
            if let Fault::Lie(keep) | Fault::Tear(keep) | Fault::TearSilently(keep) = fault {
                listed.truncate(*keep);
            }
            listed
        };
        self.plain(Operation::List, folder, || self.inner.list(folder), spoil)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        match self.next(Operation::Delete) {
            None => self.inner.delete(name),
            Some(Fault::Fail(kind)) => Err(injected(kind, Operation::Delete, name)),
            Some(Fault::FailAfter(kind)) => {
                self.inner.delete(name)?;
                Err(injected(kind, Operation::Delete, name))
            }
            Some(Fault::Delay(pause)) => {
                std::thread::sleep(pause);
                self.inner.delete(name)
            }
            Some(Fault::Lie(_) | Fault::Tear(_) | Fault::TearSilently(_) | Fault::Flip) => Ok(()),
        }
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        self.inner.create_folders(folders)
    }

    fn sync_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        let name = folders.join(" ");
        self.plain(
            Operation::Sync,
            &name,
            || self.inner.sync_folders(folders),
            |(), _| (),
        )
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

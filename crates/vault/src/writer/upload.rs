//! The threads that put full packs and, once those are durable, index files.

use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use parking_lot::{Condvar, Mutex};

use super::packer::FullPack;
use super::{Core, Poison};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::{self, IndexedPack};
use crate::layout::FileKind;

/// How many packs were handed over and are not done.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    // A mutex with a condition, since a flush waits for the number to become 0.
    count: Mutex<usize>,
    changed: Condvar,
}

impl InFlight {
    pub(super) fn begin(&self) {
        *self.count.lock() += 1;
    }

    pub(super) fn end(&self) {
        *self.count.lock() -= 1;
        self.changed.notify_all();
    }

    /// Returns when nothing is in flight, or when something failed.
    pub(super) fn wait_for_none(&self, poison: &Poison) {
        let mut count = self.count.lock();
        while *count > 0 && poison.check().is_ok() {
            self.changed.wait(&mut count);
        }
    }
}

/// Ends one pack in flight however its upload ends, and poisons the writer when that is by a panic.
struct Landing<'a> {
    core: &'a Core,
    is_done: bool,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.core.poison.set(VaultError::Thread {
                reason: "an uploader ended early".to_owned(),
            });
        }
        self.core.in_flight.end();
    }
}

impl Core {
    /// The life of an uploader: until nobody can send any more. After a failure it only empties the queue.
    pub(super) fn upload_all(&self, queue: &Receiver<FullPack>) {
        for pack in queue {
            let mut landing = Landing {
                core: self,
                is_done: false,
            };
            if self.poison.check().is_ok() {
                let storage = &**self.repository.storage();
                let (buffer, stored) = pack.store(storage, self.repository.cipher());
                let indexed = stored.and_then(|pack| {
                    self.read_back(&pack.id)?;
                    self.counters.packs.fetch_add(1, Ordering::Relaxed);
                    self.write_index(self.pending.add(pack))
                });
                if let Err(error) = indexed {
                    self.poison.set(error);
                }
                self.packer.give_back(buffer);
            }
            landing.is_done = true;
        }
    }

    /// Compares what the storage keeps with what it was given, when that is asked for.
    fn read_back(&self, id: &Id) -> Result<(), VaultError> {
        if !self.read_back {
            return Ok(());
        }
        let kept = FileKind::Pack.read(&**self.repository.storage(), id)?;
        if Id::hash(&kept) == *id {
            return Ok(());
        }
        let reason = "the storage kept other bytes than it was given";
        Err(VaultError::damaged(FileKind::Pack, id, reason))
    }

    /// Puts an index file of these packs, which are all durable. Nothing to do without packs.
    pub(super) fn write_index(&self, packs: Vec<IndexedPack>) -> Result<(), VaultError> {
        if packs.is_empty() {
            return Ok(());
        }
        self.repository
            .save_json(FileKind::Index, &file::encode(&packs))
            .map_err(|error| self.poison.set(error))?;
        self.counters.index_files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

//! Packs that are durable and wait for an index file.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::index::file::IndexedPack;

/// A pack waits no longer than this for its index file while others come in, so that a killed backup leaves few packs
/// whose headers have to be read.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
pub(super) struct PendingIndex {
    // A plain mutex: held to push, or to take all.
    waiting: Mutex<Waiting>,
    blob_limit: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    packs: Vec<IndexedPack>,
    blob_count: usize,
    since: Option<Instant>,
}

impl PendingIndex {
    pub(super) fn new(blob_limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            blob_limit,
        }
    }

    /// Adds a durable pack. When it is time for an index file, gives all packs that wait.
    pub(super) fn add(&self, pack: IndexedPack) -> Vec<IndexedPack> {
        let mut waiting = self.waiting.lock();
        waiting.blob_count += pack.blobs.len();
        waiting.packs.push(pack);
        let since = *waiting.since.get_or_insert_with(Instant::now);
        if waiting.blob_count >= self.blob_limit || since.elapsed() >= LONGEST_WAIT {
            std::mem::take(&mut *waiting).packs
        } else {
            Vec::new()
        }
    }

    pub(super) fn take_all(&self) -> Vec<IndexedPack> {
        std::mem::take(&mut *self.waiting.lock()).packs
    }

    /// The ids of the packs that wait.
    pub(super) fn pack_ids(&self) -> Vec<crate::id::Id> {
        self.waiting
            .lock()
            .packs
            .iter()
            .map(|pack| pack.id)
            .collect()
    }
}

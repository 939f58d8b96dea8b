//! The ids that this writer stores, so that each is stored once whoever comes first.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::blob::BlobKind;
use crate::id::Id;

/// Shards for each kind: enough that threads seldom meet.
const SHARD_COUNT: usize = 64;

/// Ids are hashes already: their first bytes are the hash.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

type Shard = Mutex<HashSet<Id, BuildHasherDefault<IdHasher>>>;

/// A set of ids for each kind. Plain mutexes: each is held for one insertion.
#[derive(Debug)]
pub(super) struct Claims {
    data: Vec<Shard>,
    trees: Vec<Shard>,
}

impl Default for Claims {
    fn default() -> Self {
        let shards = || (0..SHARD_COUNT).map(|_| Shard::default()).collect();
        Self {
            data: shards(),
            trees: shards(),
        }
    }
}

impl Claims {
    /// Whether the caller is the first to claim this id and so has to store it.
    pub(super) fn claim(&self, kind: BlobKind, id: Id) -> bool {
        self.shard(kind, &id).lock().insert(id)
    }

    pub(super) fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        self.shard(kind, id).lock().contains(id)
    }

    fn shard(&self, kind: BlobKind, id: &Id) -> &Shard {
        let shards = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        };
        // The last byte, since the hasher uses the first ones.
        &shards[usize::from(id.as_bytes()[31]) % SHARD_COUNT]
    }
}

//! The blobs that this writer stores, so that each is stored once whoever comes first.
//!
//! A million new blobs is an ordinary first backup, so a blob is kept as its tag ([`crate::index::tags`]): 16 bytes.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::blob::BlobKind;
use crate::id::Id;
use crate::index::tags::Tagger;

/// Shards for each kind: enough that threads seldom meet.
const SHARD_COUNT: usize = 64;

/// Tags are random already: a part of them is the hash.
#[derive(Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_u128(&mut self, tag: u128) {
        self.0 = (tag >> 64) as u64;
    }
}

type Shard = Mutex<HashSet<u128, BuildHasherDefault<TagHasher>>>;

/// A set of ids for each kind. Plain mutexes: each is held for one insertion.
#[derive(Debug)]
pub(super) struct Claims {
    tagger: Tagger,
    data: Vec<Shard>,
    trees: Vec<Shard>,
}

impl Default for Claims {
    fn default() -> Self {
        let shards = || (0..SHARD_COUNT).map(|_| Shard::default()).collect();
        Self {
            tagger: Tagger::default(),
            data: shards(),
            trees: shards(),
        }
    }
}

impl Claims {
    /// Whether the caller is the first to claim this id and so has to store it.
    pub(super) fn claim(&self, kind: BlobKind, id: Id) -> bool {
        let tag = self.tagger.tag(&id);
        self.shard(kind, tag).lock().insert(tag)
    }

    pub(super) fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        let tag = self.tagger.tag(id);
        self.shard(kind, tag).lock().contains(&tag)
    }

    fn shard(&self, kind: BlobKind, tag: u128) -> &Shard {
        let shards = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        };
        // The lowest bits, since the hasher uses the upper half.
        &shards[tag as usize % SHARD_COUNT]
    }
}

//! Which stored copies of blobs cannot be used, as the parts of a check find them.
//!
//! Nothing is kept for what is whole: 40 bytes for each lost pack, 72 for each damaged copy in a pack that is otherwise
//! there.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::blob::BlobKind;
use crate::id::Id;
use crate::index::{BlobLocation, Index};

/// Copies that cannot be used. Filled by several threads.
#[derive(Debug, Default)]
pub(super) struct Lost {
    // A plain mutex: damage is rare, and held to add one row.
    sets: Mutex<Sets>,
}

#[derive(Debug, Default)]
struct Sets {
    /// Packs that are not there or cannot be read.
    packs: HashSet<Id>,
    /// Packs that end too early, and where.
    short: HashMap<Id, u64>,
    /// Damaged blobs, after the pack that holds this copy.
    copies: HashSet<(Id, Id)>,
}

impl Lost {
    pub(super) fn add_pack(&self, pack: Id) {
        self.sets.lock().packs.insert(pack);
    }

    pub(super) fn add_short_pack(&self, pack: Id, size_bytes: u64) {
        self.sets.lock().short.insert(pack, size_bytes);
    }

    pub(super) fn add_copy(&self, pack: Id, blob: Id) {
        self.sets.lock().copies.insert((pack, blob));
    }

    pub(super) fn is_empty(&self) -> bool {
        let sets = self.sets.lock();
        sets.packs.is_empty() && sets.short.is_empty() && sets.copies.is_empty()
    }

    /// A copy of the blob that nothing bad is known of.
    pub(super) fn good_copy(&self, index: &Index, kind: BlobKind, id: &Id) -> Option<BlobLocation> {
        let sets = self.sets.lock();
        index.all(kind, id).find(|place| {
            let end = u64::from(place.offset) + u64::from(place.length);
            !sets.packs.contains(&place.pack)
                && !sets.copies.contains(&(place.pack, *id))
                && sets.short.get(&place.pack).is_none_or(|size| end <= *size)
        })
    }
}

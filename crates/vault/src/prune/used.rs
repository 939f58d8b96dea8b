//! Which blobs the snapshots need: a walk through every tree that they reach.
//!
//! A blob is remembered by the first eight bytes of its id. Of two blobs that share those, one may be taken for needed
//! though it is not: an error on the safe side, once in many lifetimes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{OnPruneProgress, PrunePhase, PruneProgress};
use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::frontier::Frontier;
use crate::id::Id;
use crate::index::Index;
use crate::reader::Reader;
use crate::repository::Repository;

/// Threads that read trees.
const THREAD_COUNT: usize = 4;
/// Keys that a thread gathers before it hands them over.
const BATCH_LENGTH: usize = 1 << 16;
/// Keys for each starting point of a search, on average.
const KEYS_PER_START: usize = 8;
/// Keeps the keys of tree blobs apart from those of data blobs.
const TREE_MARK: u64 = 0x9e37_79b9_7f4a_7c15;

/// The needed blobs: about 9 bytes each.
#[derive(Debug, Default)]
pub(super) struct UsedBlobs {
    keys: Vec<u64>,
    starts: Vec<u32>,
    shift: u32,
}

fn key(kind: BlobKind, id: &Id) -> u64 {
    match kind {
        BlobKind::Data => id.prefix(),
        BlobKind::Tree => id.prefix() ^ TREE_MARK,
    }
}

impl UsedBlobs {
    fn build(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let bucket_count = (keys.len() / KEYS_PER_START).next_power_of_two().max(2);
        let shift = u64::BITS - bucket_count.trailing_zeros();
        let mut starts = vec![0_u32; bucket_count + 1];
        for key in &keys {
            starts[(key >> shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self {
            keys,
            starts,
            shift,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The number of this blob among the needed ones.
    pub(super) fn find(&self, kind: BlobKind, id: &Id) -> Option<usize> {
        if self.keys.is_empty() {
            return None;
        }
        let key = key(kind, id);
        let bucket = (key >> self.shift) as usize;
        let start = self.starts[bucket] as usize;
        let candidates = &self.keys[start..self.starts[bucket + 1] as usize];
        candidates.binary_search(&key).ok().map(|at| start + at)
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    keys: Vec<u64>,
    /// Keys up to here are sorted and there once.
    compacted_length: usize,
    failure: Option<VaultError>,
}

impl Found {
    /// The same blob is named by many trees: doubles are thrown away whenever the list has doubled.
    fn gather(&mut self, batch: &mut Vec<u64>) {
        self.keys.append(batch);
        if self.keys.len() > 2 * self.compacted_length.max(BATCH_LENGTH) {
            self.keys.sort_unstable();
            self.keys.dedup();
            self.compacted_length = self.keys.len();
        }
    }
}

struct Walk<'a> {
    frontier: Frontier,
    // A plain mutex: held to hand over a batch.
    found: Mutex<Found>,
    reader: Reader,
    on_progress: OnPruneProgress<'a>,
}

/// Everything that the trees `roots` reach. `trees` says where tree blobs are. A tree that cannot be read is an error: what
/// it names is not known.
pub(super) fn used_blobs(
    repository: &Repository,
    trees: Index,
    roots: &[Id],
    on_progress: OnPruneProgress<'_>,
) -> Result<UsedBlobs, VaultError> {
    let walk = Walk {
        frontier: Frontier::new(roots.iter().copied()),
        found: Mutex::default(),
        reader: Reader::new(repository.clone(), Arc::new(trees)),
        on_progress,
    };
    walk.frontier.run(THREAD_COUNT, || walk.run())?;
    let found = walk.found.into_inner();
    match found.failure {
        Some(failure) => Err(failure),
        None => Ok(UsedBlobs::build(found.keys)),
    }
}

impl Walk<'_> {
    fn run(&self) {
        let mut batch = Vec::new();
        while let Some(visit) = self.frontier.next() {
            batch.push(key(BlobKind::Tree, &visit.id));
            let mut subtrees = Vec::new();
            match self.reader.read_tree(&visit.id) {
                Ok(tree) => {
                    for node in &tree.nodes {
                        batch.extend(node.content.iter().map(|id| key(BlobKind::Data, id)));
                        subtrees.extend(node.subtree);
                    }
                }
                Err(error) => {
                    self.found.lock().failure.get_or_insert(error);
                    self.frontier.end();
                }
            }
            if batch.len() >= BATCH_LENGTH {
                self.found.lock().gather(&mut batch);
            }
            let done = visit.finish(subtrees);
            if done.is_multiple_of(256) {
                (self.on_progress)(PruneProgress {
                    phase: PrunePhase::Trees,
                    done,
                    total: 0,
                });
            }
        }
        self.found.lock().gather(&mut batch);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{UsedBlobs, key};
    use crate::blob::BlobKind;
    use crate::id::Id;

    proptest! {
        #[test]
        fn finds_what_was_put_in_and_nothing_else(
            numbers in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..300),
        ) {
            let kind = |is_tree| if is_tree { BlobKind::Tree } else { BlobKind::Data };
            let id = |number: u16| Id::hash(&number.to_le_bytes());
            let used = UsedBlobs::build(
                numbers.iter().map(|&(number, is_tree)| key(kind(is_tree), &id(number))).collect(),
            );
            let model: BTreeSet<(u16, bool)> = numbers.iter().copied().collect();
            prop_assert_eq!(used.len(), model.len());
            for number in (0..1000).chain(numbers.iter().map(|pair| pair.0)) {
                for is_tree in [false, true] {
                    let found = used.find(kind(is_tree), &id(number));
                    prop_assert_eq!(found.is_some(), model.contains(&(number, is_tree)));
                }
            }
        }
    }
}

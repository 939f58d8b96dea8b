//! Which blobs the snapshots need: a walk through every tree that they reach.
//!
//! A blob is remembered by a tag of 16 bytes under a key of this prune ([`Tagger`]). Two needed blobs that were taken for
//! one would lose one of them, so neither chance nor anybody who makes files may make tags equal: the chance is 2^-128 for
//! each pair, below 2^-74 for a hundred million blobs.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{OnPruneProgress, PrunePhase, PruneProgress};
use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::frontier::Frontier;
use crate::id::Id;
use crate::index::Index;
use crate::index::tags::Tagger;
use crate::reader::Reader;
use crate::repository::Repository;

/// Threads that read trees.
const THREAD_COUNT: usize = 4;
/// Keys that a thread gathers before it hands them over.
const BATCH_LENGTH: usize = 1 << 16;
/// Keys for each starting point of a search, on average.
const KEYS_PER_START: usize = 8;
/// Keeps the keys of tree blobs apart from those of data blobs.
const TREE_MARK: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834;

/// The needed blobs: about 17 bytes each.
#[derive(Debug, Default)]
pub(super) struct UsedBlobs {
    tagger: Tagger,
    keys: Vec<u128>,
    starts: Vec<u32>,
    shift: u32,
}

fn key(tagger: &Tagger, kind: BlobKind, id: &Id) -> u128 {
    match kind {
        BlobKind::Data => tagger.tag(id),
        BlobKind::Tree => tagger.tag(id) ^ TREE_MARK,
    }
}

impl UsedBlobs {
    fn build(tagger: Tagger, mut keys: Vec<u128>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        keys.shrink_to_fit();
        let bucket_count = (keys.len() / KEYS_PER_START).next_power_of_two().max(2);
        let shift = u128::BITS - bucket_count.trailing_zeros();
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
            tagger,
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
        let key = key(&self.tagger, kind, id);
        let bucket = (key >> self.shift) as usize;
        let start = self.starts[bucket] as usize;
        let candidates = &self.keys[start..self.starts[bucket + 1] as usize];
        candidates.binary_search(&key).ok().map(|at| start + at)
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    keys: Vec<u128>,
    /// Keys up to here are sorted and there once.
    compacted_length: usize,
    failure: Option<VaultError>,
}

impl Found {
    /// The same blob is named by many trees: doubles are thrown away whenever the list has doubled.
    fn gather(&mut self, batch: &mut Vec<u128>) {
        self.keys.append(batch);
        if self.keys.len() > 2 * self.compacted_length.max(BATCH_LENGTH) {
            self.keys.sort_unstable();
            self.keys.dedup();
            self.compacted_length = self.keys.len();
        }
    }
}

struct Walk<'a> {
    tagger: Tagger,
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
        tagger: Tagger::default(),
        frontier: Frontier::new(roots.iter().copied()),
        found: Mutex::default(),
        reader: Reader::new(repository.clone(), Arc::new(trees)),
        on_progress,
    };
    walk.frontier.run(THREAD_COUNT, || walk.run())?;
    let found = walk.found.into_inner();
    match found.failure {
        Some(failure) => Err(failure),
        None => Ok(UsedBlobs::build(walk.tagger, found.keys)),
    }
}

impl Walk<'_> {
    fn key(&self, kind: BlobKind, id: &Id) -> u128 {
        key(&self.tagger, kind, id)
    }

    fn run(&self) {
        let mut batch = Vec::new();
        while let Some(visit) = self.frontier.next() {
            batch.push(self.key(BlobKind::Tree, &visit.id));
            let mut subtrees = Vec::new();
            match self.reader.read_tree(&visit.id) {
                Ok(tree) => {
                    for node in &tree.nodes {
                        batch.extend(node.content.iter().map(|id| self.key(BlobKind::Data, id)));
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
    use crate::index::tags::Tagger;

    fn used(blobs: &[(BlobKind, Id)]) -> UsedBlobs {
        let tagger = Tagger::default();
        let keys = blobs.iter().map(|(kind, id)| key(&tagger, *kind, id));
        UsedBlobs::build(tagger.clone(), keys.collect())
    }

    /// T14 of the history of failures: blobs whose ids differ in any one bit, or in their kind, are two.
    #[test]
    fn t14_every_bit_of_an_id_counts() {
        let first = Id::hash(b"x");
        let mut blobs = vec![(BlobKind::Data, first), (BlobKind::Tree, first)];
        for bit in 0..256 {
            let mut bytes = *first.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let other = (BlobKind::Data, Id::new(bytes));
            let needed = used(&blobs[..1]);
            assert_eq!(needed.find(other.0, &other.1), None, "{bit}");
            blobs.push(other);
        }
        let needed = used(&blobs);
        let numbers: BTreeSet<usize> = blobs
            .iter()
            .map(|(kind, id)| needed.find(*kind, id).unwrap())
            .collect();
        assert_eq!(numbers.len(), blobs.len());
    }

    /// Who makes files cannot know which tags a prune gives to them.
    #[test]
    fn each_prune_has_tags_of_its_own() {
        let blob = (BlobKind::Data, Id::hash(b"x"));
        assert_ne!(used(&[blob]).keys, used(&[blob]).keys);
    }

    proptest! {
        #[test]
        fn finds_what_was_put_in_and_nothing_else(
            numbers in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..300),
        ) {
            let kind = |is_tree| if is_tree { BlobKind::Tree } else { BlobKind::Data };
            let id = |number: u16| Id::hash(&number.to_le_bytes());
            let blobs: Vec<_> =
                numbers.iter().map(|&(number, is_tree)| (kind(is_tree), id(number))).collect();
            let used = used(&blobs);
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

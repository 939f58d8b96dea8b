//! Which index file says where a data blob is: what a restore keeps of a large index.
//!
//! A restore needs the places of the blobs that it restores, and most of a vault is history. So of each data blob only the
//! first 40 bits of its id and the number of its index file are kept, 8 bytes, and an index file is read again when a blob
//! of it is wanted. Two blobs that share those bits cost a look into an index file too much, no more. What was read stays:
//! whoever restores everything ends with the whole index in memory, and whoever restores one file with one index file.

use std::sync::OnceLock;

use parking_lot::Mutex;

use super::Index;
use crate::id::Id;

/// The low bits of a key: the number of an index file.
const FILE_BITS: u32 = 24;
const FILE_MASK: u64 = (1 << FILE_BITS) - 1;

/// Keys in any order.
#[derive(Debug, Default)]
pub(super) struct HomesBuilder {
    keys: Vec<u64>,
    files: Vec<Id>,
}

impl HomesBuilder {
    /// What is inserted from here on is of this index file.
    pub(super) fn begin_file(&mut self, file: Id) {
        self.files.push(file);
    }

    /// Whether there was room for it; there is none without a file, or after sixteen million of them.
    pub(super) fn insert(&mut self, id: &Id) -> bool {
        let Some(number) = self.files.len().checked_sub(1).map(|last| last as u64) else {
            return false;
        };
        if number > FILE_MASK {
            return false;
        }
        if self.keys.len() == self.keys.capacity() {
            // Doubling would leave half of the memory unused just after it.
            self.keys.reserve_exact(self.keys.len() / 4 + 1024);
        }
        self.keys.push(id.prefix() & !FILE_MASK | number);
        true
    }

    pub(super) fn build(mut self) -> Homes {
        self.keys.sort_unstable();
        self.keys.dedup();
        Homes {
            parts: self.files.iter().map(|_| OnceLock::new()).collect(),
            keys: self.keys,
            files: self.files,
            whole: OnceLock::new(),
            loading: Mutex::new(()),
        }
    }
}

/// Keys that are sorted, and the index files that were read again.
#[derive(Debug)]
pub(crate) struct Homes {
    keys: Vec<u64>,
    files: Vec<Id>,
    parts: Vec<OnceLock<Index>>,
    /// Everything, read when an index file was no longer there.
    whole: OnceLock<Box<Index>>,
    // A mutex around reading, so that no two threads read the same file at once.
    loading: Mutex<()>,
}

impl Homes {
    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The numbers of the index files that may name the blob.
    pub(crate) fn files_of(&self, id: &Id) -> impl Iterator<Item = usize> {
        let wanted = id.prefix() >> FILE_BITS;
        let first = self.keys.partition_point(|&key| key >> FILE_BITS < wanted);
        self.keys[first..]
            .iter()
            .take_while(move |&&key| key >> FILE_BITS == wanted)
            .map(|&key| (key & FILE_MASK) as usize)
    }

    /// The index file of this number; `load` reads it the first time.
    pub(crate) fn part<E>(
        &self,
        number: usize,
        load: impl FnOnce(&Id) -> Result<Index, E>,
    ) -> Result<&Index, E> {
        read_once(&self.parts[number], &self.loading, || {
            load(&self.files[number])
        })
    }

    /// Everything, if it had to be read.
    pub(crate) fn whole(&self) -> Option<&Index> {
        self.whole.get().map(|index| &**index)
    }

    /// Everything; `load` reads it the first time.
    pub(crate) fn read_whole<E>(
        &self,
        load: impl FnOnce() -> Result<Index, E>,
    ) -> Result<&Index, E> {
        let whole = read_once(&self.whole, &self.loading, || load().map(Box::new))?;
        Ok(whole)
    }
}

fn read_once<'a, T, E>(
    place: &'a OnceLock<T>,
    loading: &Mutex<()>,
    load: impl FnOnce() -> Result<T, E>,
) -> Result<&'a T, E> {
    if let Some(index) = place.get() {
        return Ok(index);
    }
    let _alone = loading.lock();
    if let Some(index) = place.get() {
        return Ok(index);
    }
    let index = load()?;
    Ok(place.get_or_init(|| index))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::HomesBuilder;
    use crate::id::Id;

    proptest! {
        #[test]
        fn agrees_with_a_naive_map(
            files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut builder = HomesBuilder::default();
            let id = |number: u8| Id::hash(&[number]);
            prop_assert!(!builder.insert(&id(0)));
            let mut model: BTreeMap<u8, BTreeSet<usize>> = BTreeMap::new();
            for (number, blobs) in files.iter().enumerate() {
                builder.begin_file(Id::default());
                for &blob in blobs {
                    prop_assert!(builder.insert(&id(blob)));
                    model.entry(blob).or_default().insert(number);
                }
            }
            let homes = builder.build();
            for number in 0..=255 {
                let found: BTreeSet<usize> = homes.files_of(&id(number)).collect();
                prop_assert_eq!(found, model.remove(&number).unwrap_or_default());
            }
        }
    }
}

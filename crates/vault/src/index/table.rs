//! A sorted vector of entries with a table of starting points.

use std::num::NonZeroU32;

use crate::id::Id;

/// One blob in one pack: 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) uncompressed_length: Option<NonZeroU32>,
}

/// Entries for each starting point, on average: a binary search over so few stays within two cache lines or three.
const ENTRIES_PER_START: usize = 8;

/// Entries sorted by id; ids are hashes, so their first bits say where to look.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// `starts[b]..starts[b + 1]` are the entries whose id begins with the bits `b`.
    starts: Vec<u32>,
    shift: u32,
}

impl Table {
    pub(super) fn build(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        entries.shrink_to_fit();
        let bucket_count = (entries.len() / ENTRIES_PER_START)
            .next_power_of_two()
            .max(2);
        let shift = u64::BITS - bucket_count.trailing_zeros();
        let mut starts = vec![0_u32; bucket_count + 1];
        for entry in &entries {
            starts[(entry.id.prefix() >> shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self {
            entries,
            starts,
            shift,
        }
    }

    /// All entries of this id.
    pub(super) fn find(&self, id: &Id) -> &[Entry] {
        if self.entries.is_empty() {
            return &[];
        }
        let bucket = (id.prefix() >> self.shift) as usize;
        let candidates =
            &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let first = candidates.partition_point(|entry| entry.id < *id);
        let count = candidates[first..]
            .iter()
            .take_while(|entry| entry.id == *id)
            .count();
        &candidates[first..first + count]
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn an_entry_is_as_small_as_the_documents_say() {
        assert_eq!(size_of::<Entry>(), 48);
    }
}

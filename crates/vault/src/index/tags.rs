//! Which data blobs are stored, and nothing else: what a backup asks, in a quarter of the memory of the whole index.
//!
//! A blob is known by a tag of 128 bits instead of its id and its place. The tag is a keyed function of the id
//! (AES-CBC-MAC of its two blocks) under a key that is drawn for each index, so that nobody can make files whose tags
//! are equal, and for any files the chance is that of 128 random bits. Of each tag the first bits say where to look,
//! some are left out, and 96 are stored: with ten million blobs 20 bits lead the way, and two blobs of two ids are taken
//! for one with a chance of 2^-116; for ten million new blobs against ten million old ones that is below 2^-69.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use crate::id::Id;

/// What is stored of a tag.
const STORED_BYTES: usize = 12;
/// Tags for each starting point, on average.
const TAGS_PER_START: usize = 8;
/// Parts that are sorted one after the other, so that only one part is there in both forms.
const PART_BITS: u32 = 8;

/// The secret function from ids to tags.
#[derive(Clone)]
pub(crate) struct Tagger(Aes128);

impl std::fmt::Debug for Tagger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tagger(…)")
    }
}

impl Default for Tagger {
    /// A function like no other.
    fn default() -> Self {
        Self(Aes128::new(&rand::random::<[u8; 16]>().into()))
    }
}

impl Tagger {
    pub(crate) fn tag(&self, id: &Id) -> u128 {
        let (first, second) = id.as_bytes().split_at(16);
        let mut block = [0; 16];
        block.copy_from_slice(first);
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        for (byte, other) in block.iter_mut().zip(second) {
            *byte ^= other;
        }
        self.0.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

/// A set of ids that only grows until it is built.
#[derive(Debug)]
pub(super) struct TagsBuilder {
    tagger: Tagger,
    parts: Vec<Vec<u128>>,
}

impl Default for TagsBuilder {
    fn default() -> Self {
        Self {
            tagger: Tagger::default(),
            parts: vec![Vec::new(); 1 << PART_BITS],
        }
    }
}

impl TagsBuilder {
    pub(super) fn insert(&mut self, id: &Id) {
        let tag = self.tagger.tag(id);
        self.parts[(tag >> (u128::BITS - PART_BITS)) as usize].push(tag);
    }

    pub(super) fn build(self) -> Tags {
        let count: usize = self.parts.iter().map(Vec::len).sum();
        let start_bits = (count / TAGS_PER_START).max(2).ilog2();
        let mut starts = vec![0_u32; (1 << start_bits) + 1];
        let mut stored = Vec::with_capacity(count);
        for mut part in self.parts {
            part.sort_unstable();
            part.dedup();
            for tag in part {
                starts[start_of(tag, start_bits) + 1] += 1;
                stored.push(stored_of(tag, start_bits));
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Tags {
            tagger: self.tagger,
            start_bits,
            starts,
            stored,
        }
    }
}

/// A set of ids: 12 bytes each, and half a byte for the starting points.
#[derive(Debug)]
pub(super) struct Tags {
    tagger: Tagger,
    start_bits: u32,
    /// `starts[b]..starts[b + 1]` are the tags that begin with the bits `b`.
    starts: Vec<u32>,
    /// The bits after those, sorted within each start.
    stored: Vec<[u8; STORED_BYTES]>,
}

impl Tags {
    pub(super) fn contains(&self, id: &Id) -> bool {
        let tag = self.tagger.tag(id);
        let start = start_of(tag, self.start_bits);
        let range = self.starts[start] as usize..self.starts[start + 1] as usize;
        self.stored[range]
            .binary_search(&stored_of(tag, self.start_bits))
            .is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }
}

fn start_of(tag: u128, start_bits: u32) -> usize {
    (tag >> (u128::BITS - start_bits)) as usize
}

/// The first 96 bits after those of the start.
fn stored_of(tag: u128, start_bits: u32) -> [u8; STORED_BYTES] {
    let mut stored = [0; STORED_BYTES];
    stored.copy_from_slice(&(tag << start_bits).to_be_bytes()[..STORED_BYTES]);
    stored
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{Tagger, TagsBuilder};
    use crate::id::Id;

    proptest! {
        #[test]
        fn agrees_with_a_naive_set(
            stored in proptest::collection::vec(any::<u16>(), 0..3000),
            asked in proptest::collection::vec(any::<u16>(), 0..300),
        ) {
            let mut builder = TagsBuilder::default();
            let id = |number: u16| Id::hash(&number.to_le_bytes());
            stored.iter().for_each(|&number| builder.insert(&id(number)));
            let tags = builder.build();
            let model: HashSet<u16> = stored.iter().copied().collect();
            prop_assert_eq!(tags.len(), model.len());
            for number in stored.into_iter().chain(asked) {
                prop_assert_eq!(tags.contains(&id(number)), model.contains(&number));
            }
        }
    }

    /// Ids that differ in one bit only, and in few bytes, as those of no hash would.
    #[test]
    fn every_bit_of_an_id_counts() {
        let mut builder = TagsBuilder::default();
        builder.insert(&Id::default());
        let tags = builder.build();
        assert!(tags.contains(&Id::default()));
        for bit in 0..256 {
            let mut bytes = [0; Id::LENGTH_BYTES];
            bytes[bit / 8] |= 1 << (bit % 8);
            assert!(!tags.contains(&Id::new(bytes)), "{bit}");
        }
    }

    #[test]
    fn each_tagger_has_a_key_of_its_own() {
        let id = Id::hash(b"x");
        assert_ne!(Tagger::default().tag(&id), Tagger::default().tag(&id));
        let one = Tagger::default();
        assert_eq!(one.tag(&id), one.clone().tag(&id));
    }
}

//! Which data blobs are stored, and nothing else: what a backup asks, in a quarter of the memory of the whole index.
//!
//! A blob is known by a tag instead of its id and its place. The tag is a keyed function of the id (AES-CBC-MAC of its
//! two blocks) under a key that is drawn for each index, so that nobody can make files whose tags are equal, and for any
//! files the chance is that of random bits. The first 12 bits of a tag say in which part it is, 96 more are stored: two
//! ids are taken for one with a chance of 2^-108, and for ten million new blobs against ten million old ones that is
//! below 2^-61.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use crate::id::Id;

/// What is stored of a tag.
const STORED_BYTES: usize = 12;
/// Parts are sorted where they are, so that nothing is ever there twice; a part of ten million tags is 30 KB.
const PART_BITS: u32 = 12;

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

type Stored = [u8; STORED_BYTES];

/// A set of ids that only grows until it is built.
#[derive(Debug)]
pub(super) struct TagsBuilder(Tags);

impl Default for TagsBuilder {
    fn default() -> Self {
        Self(Tags {
            tagger: Tagger::default(),
            parts: vec![Vec::new(); 1 << PART_BITS],
        })
    }
}

impl TagsBuilder {
    pub(super) fn insert(&mut self, id: &Id) {
        let (part, stored) = split(self.0.tagger.tag(id));
        let part = &mut self.0.parts[part];
        if part.len() == part.capacity() {
            // All parts grow alike, so doubling would leave half of the memory unused just after it.
            part.reserve_exact(part.len() / 4 + 4);
        }
        part.push(stored);
    }

    pub(super) fn build(mut self) -> Tags {
        for part in &mut self.0.parts {
            part.sort_unstable();
            part.dedup();
        }
        self.0
    }
}

/// A set of ids: 12 to 15 bytes each.
#[derive(Debug)]
pub(super) struct Tags {
    tagger: Tagger,
    /// By the first bits of a tag, sorted; those bits are left out.
    parts: Vec<Vec<Stored>>,
}

impl Tags {
    pub(super) fn contains(&self, id: &Id) -> bool {
        let (part, stored) = split(self.tagger.tag(id));
        self.parts[part].binary_search(&stored).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }
}

/// The number of the part, and the bits that follow.
fn split(tag: u128) -> (usize, Stored) {
    let mut stored = [0; STORED_BYTES];
    stored.copy_from_slice(&(tag << PART_BITS).to_be_bytes()[..STORED_BYTES]);
    ((tag >> (u128::BITS - PART_BITS)) as usize, stored)
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

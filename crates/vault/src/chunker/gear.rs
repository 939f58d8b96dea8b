//! A gear hash (Xia et al., "FastCDC", USENIX ATC 2016) over the last 64 bytes; where its upper bits are zero is a cut.
//!
//! Two thresholds draw the lengths together: a harder one before the wanted length, an easier one after it. The mean of
//! random data is within 10 % of the wanted length when the shortest one is half of it.

use super::{ChunkSizes, Scan};
use crate::crypto::Cipher;

/// What vaults are written with.
pub(super) const SIZES: ChunkSizes = ChunkSizes {
    shortest_bytes: 512 << 10,
    wanted_bytes: 1 << 20,
    longest_bytes: 4 << 20,
};

/// What the master key is asked for.
const PURPOSE: &str = "strongroom chunker gear v1";
/// The hash forgets a byte after so many further ones: one bit each.
const WINDOW_BYTES: usize = 64;

/// The keyed table and the thresholds.
pub(super) struct Gear {
    table: [u64; 256],
    hard_mask: u64,
    easy_mask: u64,
}

impl Gear {
    pub(super) fn keyed(cipher: &Cipher, sizes: ChunkSizes) -> Self {
        let mut table = [0; 256];
        // One derivation gives at most 255 hashes, so the table is made in four parts.
        for (number, part) in table.chunks_exact_mut(64).enumerate() {
            let mut bytes = [0; 64 * 8];
            cipher.derive(&format!("{PURPOSE} {number}"), &mut bytes);
            for (entry, bytes) in part.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *entry = u64::from_le_bytes(*bytes);
            }
        }
        let bits = sizes.wanted_bytes.ilog2();
        Self {
            table,
            hard_mask: upper_bits(bits),
            easy_mask: upper_bits(bits - 2),
        }
    }

    /// The first cut of `data`, which is longer than the shortest chunk and not longer than the longest.
    pub(super) fn find(&self, data: &[u8], scan: &mut Scan, sizes: &ChunkSizes) -> Option<usize> {
        // The bytes before the shortest length only fill the window.
        scan.position = scan.position.max(sizes.shortest_bytes - WINDOW_BYTES);
        if scan.position < sizes.shortest_bytes {
            for &byte in &data[scan.position..sizes.shortest_bytes] {
                scan.hash = (scan.hash << 1).wrapping_add(self.table[usize::from(byte)]);
            }
            scan.position = sizes.shortest_bytes;
        }
        let wanted = sizes.wanted_bytes.min(data.len());
        self.search(data, scan, wanted, self.hard_mask)
            .or_else(|| self.search(data, scan, data.len(), self.easy_mask))
    }

    /// The first cut before `end`.
    fn search(&self, data: &[u8], scan: &mut Scan, end: usize, mask: u64) -> Option<usize> {
        if scan.position >= end {
            return None;
        }
        let mut hash = scan.hash;
        for (index, &byte) in data[scan.position..end].iter().enumerate() {
            hash = (hash << 1).wrapping_add(self.table[usize::from(byte)]);
            if hash & mask == 0 {
                return Some(scan.position + index + 1);
            }
        }
        *scan = Scan {
            position: end,
            hash,
        };
        None
    }
}

fn upper_bits(count: u32) -> u64 {
    !(u64::MAX >> count)
}

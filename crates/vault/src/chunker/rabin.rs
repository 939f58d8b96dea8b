//! Rabin fingerprints as restic cuts by them, so that chunks of both programs are the same.
//!
//! The fingerprint is that of the last 64 bytes modulo the polynomial of the config (degree 53). A cut is where its
//! lowest 20 bits are zero, at least 512 KiB after the last cut and at most 8 MiB. (Rabin, "Fingerprinting by random
//! polynomials", 1981; the parameters are part of restic's design document.)

use super::{ChunkSizes, Scan};
use crate::polynomial;

/// restic's.
pub(super) const SIZES: ChunkSizes = ChunkSizes {
    shortest_bytes: 512 << 10,
    wanted_bytes: 1 << 20,
    longest_bytes: 8 << 20,
};

const WINDOW_BYTES: usize = 64;
/// A cut is where these bits are zero.
const CUT_MASK: u64 = (1 << 20) - 1;
/// The upper 8 bits of a fingerprint begin here.
const TOP_SHIFT: u32 = polynomial::DEGREE - 8;

/// Tables for one polynomial.
pub(super) struct Rabin {
    /// By the bits that a shift by one byte pushes out: what takes them off and reduces.
    reduce: [u64; 256],
    /// By byte: what it still counts for when it leaves the window.
    leave: [u64; 256],
}

impl Rabin {
    pub(super) fn new(polynomial: u64) -> Self {
        let reduced = |value: u64| polynomial::remainder(value, polynomial);
        Self {
            reduce: std::array::from_fn(|top| {
                let shifted = (top as u64) << polynomial::DEGREE;
                shifted | reduced(shifted)
            }),
            leave: std::array::from_fn(|byte| {
                (1..WINDOW_BYTES).fold(reduced(byte as u64), |value, _| reduced(value << 8))
            }),
        }
    }

    /// The first cut of `data`, which is longer than the shortest chunk and not longer than the longest.
    pub(super) fn find(&self, data: &[u8], scan: &mut Scan, sizes: &ChunkSizes) -> Option<usize> {
        let Scan { position, hash } = scan;
        if *position < sizes.shortest_bytes {
            let window = &data[sizes.shortest_bytes - WINDOW_BYTES..sizes.shortest_bytes];
            *hash = window.iter().fold(0, |hash, &byte| self.push(hash, byte));
            *position = sizes.shortest_bytes;
            if *hash & CUT_MASK == 0 {
                return Some(*position);
            }
        }
        let entering = &data[*position..];
        let leaving = &data[*position - WINDOW_BYTES..];
        let mut value = *hash;
        for (index, (&new, &old)) in entering.iter().zip(leaving).enumerate() {
            value = self.push(value ^ self.leave[usize::from(old)], new);
            if value & CUT_MASK == 0 {
                return Some(*position + index + 1);
            }
        }
        *scan = Scan {
            position: data.len(),
            hash: value,
        };
        None
    }

    fn push(&self, hash: u64, byte: u8) -> u64 {
        let top = (hash >> TOP_SHIFT) & 0xff;
        (hash << 8 | u64::from(byte)) ^ self.reduce[top as usize]
    }
}

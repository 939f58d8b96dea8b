//! Bytes of fixture files: made from a seed, so that a test that fails can be repeated.
//!
//! Owns the generator. Its bytes do not compress, so sizes in a vault can be reasoned about.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A small deterministic generator (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[0, bound)`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.next_number() % bound
        }
    }

    /// Fills the buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next_number().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// `length_bytes` incompressible bytes that depend on the seed alone.
#[must_use]
pub fn random_bytes(length_bytes: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length_bytes];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// Writes a new file of incompressible bytes, never holding more than a block of it in memory.
///
/// # Errors
/// When the file cannot be created or written.
pub fn write_random_file(path: &Path, length_bytes: u64, seed: u64) -> io::Result<()> {
    const BLOCK_BYTES: usize = 1 << 16;
    let mut file = BufWriter::with_capacity(BLOCK_BYTES, File::create(path)?);
    let mut random = Random::new(seed);
    let mut block = [0; BLOCK_BYTES];
    let mut left = length_bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        random.fill(&mut block[..now]);
        file.write_all(&block[..now])?;
        left -= now as u64;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn bytes_depend_on_the_seed_alone() {
        assert_eq!(random_bytes(100, 7), random_bytes(100, 7));
        assert_ne!(random_bytes(100, 7), random_bytes(100, 8));
        assert_eq!(random_bytes(13, 7), random_bytes(100, 7)[..13]);
    }

    #[test]
    fn a_file_has_the_bytes_of_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for length in [0, 1, 65_536, 200_001] {
            write_random_file(&path, length, 3).unwrap();
            assert_eq!(
                std::fs::read(&path).unwrap(),
                random_bytes(length as usize, 3)
            );
        }
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut random = Random::new(1);
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| random.below(10) < 10));
    }
}

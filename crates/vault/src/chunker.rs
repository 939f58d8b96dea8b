//! Cuts data into chunks by its content, so that an insertion moves no cut but those beside it.
//!
//! A gear hash (Xia et al., "FastCDC", USENIX ATC 2016) rolls over the last 64 bytes; where its upper bits are zero is a
//! cut. Two thresholds draw the lengths together: a harder one before the wanted length, an easier one after it. The
//! gear table comes from the master key, because a public table would let the lengths of chunks tell which known files
//! a vault holds.
//!
//! | bound | bytes |
//! |---|---|
//! | shortest chunk (but for the last of a file) | 512 KiB |
//! | wanted length; the mean of random data is within 10 % of it | 1 MiB |
//! | longest chunk | 8 MiB |
//!
//! The cut after a byte depends on the bytes since the last cut only, never on how they were handed in.

use std::sync::Arc;

use crate::crypto::Cipher;

/// What the master key is asked for.
const PURPOSE: &str = "strongroom chunker gear v1";
/// The hash forgets a byte after so many further ones: one bit each.
const WINDOW_BYTES: usize = 64;

/// The bounds of a chunk's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    /// No chunk but the last is shorter. At least 64.
    pub shortest_bytes: usize,
    /// The wanted length, a power of two; best twice the shortest.
    pub wanted_bytes: usize,
    /// No chunk is longer.
    pub longest_bytes: usize,
}

impl ChunkSizes {
    /// What vaults are written with.
    pub const DEFAULT: Self = Self {
        shortest_bytes: 512 << 10,
        wanted_bytes: 1 << 20,
        longest_bytes: 8 << 20,
    };
}

/// Finds cuts. Cheap to clone; holds no state of any one stream.
#[derive(Clone)]
pub struct Chunker {
    gear: Arc<[u64; 256]>,
    sizes: ChunkSizes,
    hard_mask: u64,
    easy_mask: u64,
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Chunker({:?})", self.sizes)
    }
}

/// How far a chunk was looked at, so that more data does not mean looking again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scan {
    position: usize,
    hash: u64,
}

impl Chunker {
    /// The chunker of a repository.
    pub(crate) fn keyed(cipher: &Cipher, sizes: ChunkSizes) -> Self {
        let mut gear = [0; 256];
        // One derivation gives at most 255 hashes, so the table is made in four parts.
        for (number, part) in gear.chunks_exact_mut(64).enumerate() {
            let mut bytes = [0; 64 * 8];
            cipher.derive(&format!("{PURPOSE} {number}"), &mut bytes);
            for (entry, bytes) in part.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *entry = u64::from_le_bytes(*bytes);
            }
        }
        Self::with_gear(gear, sizes)
    }

    fn with_gear(gear: [u64; 256], sizes: ChunkSizes) -> Self {
        let bits = sizes.wanted_bytes.max(16).ilog2();
        Self {
            gear: Arc::new(gear),
            sizes: ChunkSizes {
                shortest_bytes: sizes.shortest_bytes.max(WINDOW_BYTES),
                ..sizes
            },
            // With the shortest length at half the wanted one, these two bring the mean to the wanted length.
            hard_mask: upper_bits(bits),
            easy_mask: upper_bits(bits - 2),
        }
    }

    /// The bounds of this chunker.
    #[must_use]
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// The length of the first chunk of `data`, or `None` when more data is needed to tell. With `at_eof` there is no
    /// more, and only empty data has no chunk.
    #[must_use]
    pub fn next_cut(&self, data: &[u8], at_eof: bool) -> Option<usize> {
        self.resume(data, &mut Scan::default(), at_eof)
    }

    /// As [`Chunker::next_cut`], going on where `scan` ended: `data` is the same with more at its end. After a cut a
    /// new `Scan` begins.
    #[must_use]
    pub fn resume(&self, data: &[u8], scan: &mut Scan, at_eof: bool) -> Option<usize> {
        let ChunkSizes {
            shortest_bytes,
            wanted_bytes,
            longest_bytes,
        } = self.sizes;
        let limit = data.len().min(longest_bytes);
        if limit > shortest_bytes {
            // The bytes before the shortest length only fill the window.
            scan.position = scan.position.max(shortest_bytes - WINDOW_BYTES);
            self.warm_up(data, scan, shortest_bytes.min(limit));
            let found = self
                .search(data, scan, wanted_bytes.min(limit), self.hard_mask)
                .or_else(|| self.search(data, scan, limit, self.easy_mask));
            if found.is_some() {
                return found;
            }
        }
        if limit == longest_bytes {
            return Some(longest_bytes);
        }
        (at_eof && limit > 0).then_some(limit)
    }

    fn warm_up(&self, data: &[u8], scan: &mut Scan, end: usize) {
        if scan.position < end {
            for &byte in &data[scan.position..end] {
                scan.hash = (scan.hash << 1).wrapping_add(self.gear[usize::from(byte)]);
            }
            scan.position = end;
        }
    }

    /// The first cut before `end`.
    fn search(&self, data: &[u8], scan: &mut Scan, end: usize, mask: u64) -> Option<usize> {
        if scan.position >= end {
            return None;
        }
        let mut hash = scan.hash;
        for (index, &byte) in data[scan.position..end].iter().enumerate() {
            hash = (hash << 1).wrapping_add(self.gear[usize::from(byte)]);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
    use rand::{Rng, SeedableRng};

    use super::{ChunkSizes, Chunker, Scan};
    use crate::crypto::{Cipher, KeyBytes};

    const SMALL: ChunkSizes = ChunkSizes {
        shortest_bytes: 512,
        wanted_bytes: 1024,
        longest_bytes: 8192,
    };

    fn chunker(sizes: ChunkSizes) -> Chunker {
        let key = KeyBytes::from_derived(&[9; 64]);
        Chunker::keyed(&Cipher::new(key), sizes)
    }

    fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        bytes
    }

    fn cuts(chunker: &Chunker, data: &[u8]) -> Vec<usize> {
        let (mut cuts, mut start) = (Vec::new(), 0);
        while let Some(length) = chunker.next_cut(&data[start..], true) {
            start += length;
            cuts.push(start);
        }
        cuts
    }

    /// Cuts found when the data comes in pieces.
    fn cuts_in_pieces(chunker: &Chunker, data: &[u8], pieces: &[usize]) -> Vec<usize> {
        let (mut cuts, mut start, mut end, mut scan) = (Vec::new(), 0, 0, Scan::default());
        let mut pieces = pieces.iter().cycle();
        loop {
            let at_eof = end == data.len();
            match chunker.resume(&data[start..end], &mut scan, at_eof) {
                Some(length) => {
                    start += length;
                    cuts.push(start);
                    scan = Scan::default();
                }
                None if at_eof => return cuts,
                None => end = (end + pieces.next().unwrap()).min(data.len()),
            }
        }
    }

    #[test]
    fn lengths_keep_their_bounds_and_their_mean() {
        let data = random_bytes(1, 4 << 20);
        let cuts = cuts(&chunker(SMALL), &data);
        let lengths: Vec<usize> = std::iter::once(&0)
            .chain(&cuts)
            .zip(&cuts)
            .map(|(start, end)| end - start)
            .collect();
        let (last, others) = lengths.split_last().unwrap();
        assert!(*last <= SMALL.longest_bytes);
        assert!(
            others
                .iter()
                .all(|&length| (SMALL.shortest_bytes..=SMALL.longest_bytes).contains(&length))
        );
        let mean = data.len() / lengths.len();
        assert!((922..=1126).contains(&mean), "{mean}");
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_beside_it() {
        let chunker = chunker(SMALL);
        let data = random_bytes(2, 256 << 10);
        let mut edited = data.clone();
        edited.splice(100_000..100_000, b"inserted".iter().copied());
        let old_cuts = cuts(&chunker, &data);
        let old: std::collections::HashSet<&[u8]> = pieces(&data, &old_cuts).collect();
        let new_cuts = cuts(&chunker, &edited);
        let new = pieces(&edited, &new_cuts)
            .filter(|piece| !old.contains(piece))
            .count();
        assert!(new <= 4, "{new} of {}", new_cuts.len());
    }

    fn pieces<'a>(data: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
        let starts: Vec<usize> = std::iter::once(0).chain(cuts.iter().copied()).collect();
        cuts.iter()
            .copied()
            .zip(starts)
            .map(|(end, start)| &data[start..end])
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let data = random_bytes(3, 256 << 10);
        let other = Chunker::keyed(&Cipher::new(KeyBytes::from_derived(&[8; 64])), SMALL);
        assert_ne!(cuts(&chunker(SMALL), &data), cuts(&other, &data));
        assert_eq!(cuts(&chunker(SMALL), &data), cuts(&chunker(SMALL), &data));
    }

    #[test]
    fn edges() {
        let chunker = chunker(ChunkSizes::DEFAULT);
        assert_eq!(chunker.next_cut(b"", true), None);
        assert_eq!(chunker.next_cut(b"", false), None);
        assert_eq!(chunker.next_cut(b"a", false), None);
        assert_eq!(chunker.next_cut(b"a", true), Some(1));
        let zeros = vec![0; 9 << 20];
        assert_eq!(chunker.next_cut(&zeros, false), Some(8 << 20));
        assert_eq!(chunker.next_cut(&zeros[..8 << 20], false), Some(8 << 20));
        assert_eq!(chunker.next_cut(&zeros[..(8 << 20) - 1], false), None);
        assert_eq!(chunker.next_cut(&zeros[..512 << 10], true), Some(512 << 10));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cuts_do_not_depend_on_how_data_comes(
            seed in any::<u64>(),
            length in 0_usize..40_000,
            pieces in proptest::collection::vec(1_usize..3000, 1..6),
            repeats in any::<bool>(),
        ) {
            let mut data = random_bytes(seed, length);
            if repeats {
                data = data.iter().map(|byte| byte & 1).collect();
            }
            let chunker = chunker(SMALL);
            let whole = cuts(&chunker, &data);
            prop_assert_eq!(whole.last().copied().unwrap_or(0), length);
            prop_assert!(whole.windows(2).all(|pair| pair[1] - pair[0] <= SMALL.longest_bytes));
            prop_assert_eq!(cuts_in_pieces(&chunker, &data, &pieces), whole);
        }
    }
}

//! The same promises for every method, and what is special to each.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashSet;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use rand::{Rng, SeedableRng};

use super::{ChunkSizes, Chunker, ChunkerKind, Chunkers, Scan, blocks, gear, rabin};
use crate::crypto::{Cipher, KeyBytes};

const SMALL: ChunkSizes = ChunkSizes {
    shortest_bytes: 512,
    wanted_bytes: 1024,
    longest_bytes: 8192,
};
const SMALL_BLOCKS: ChunkSizes = ChunkSizes {
    shortest_bytes: 2 * blocks::BLOCK_BYTES,
    wanted_bytes: 4 * blocks::BLOCK_BYTES,
    longest_bytes: 16 * blocks::BLOCK_BYTES,
};
/// The one of restic's own tests.
const POLYNOMIAL: u64 = 0x3d_a335_8b4d_c173;

fn cipher(number: u8) -> Cipher {
    Cipher::new(KeyBytes::from_derived(&[number; 64]))
}

fn small_gear(key: u8) -> Chunker {
    Chunker::gear(&cipher(key), SMALL)
}

fn small_blocks(key: u8) -> Chunker {
    Chunker::blocks(&cipher(key), SMALL_BLOCKS)
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

fn lengths(cuts: &[usize]) -> Vec<usize> {
    let starts = std::iter::once(&0).chain(cuts);
    starts.zip(cuts).map(|(start, end)| end - start).collect()
}

fn chunks<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let starts: Vec<usize> = std::iter::once(0).chain(cuts.iter().copied()).collect();
    let ranges = starts.iter().zip(cuts);
    ranges.map(|(&start, &end)| &data[start..end]).collect()
}

/// How many chunks of `edited` are not among those of `data`.
fn new_chunks(chunker: &Chunker, data: &[u8], edited: &[u8]) -> usize {
    let old_cuts = cuts(chunker, data);
    let old: HashSet<&[u8]> = chunks(data, &old_cuts).into_iter().collect();
    let new_cuts = cuts(chunker, edited);
    let new = chunks(edited, &new_cuts);
    new.iter().filter(|chunk| !old.contains(*chunk)).count()
}

#[test]
fn lengths_keep_their_bounds_and_their_mean() {
    let check =
        |chunker: &Chunker, data_bytes: usize, mean_range: std::ops::RangeInclusive<usize>| {
            let data = random_bytes(1, data_bytes);
            let lengths = lengths(&cuts(chunker, &data));
            let sizes = chunker.sizes();
            let (last, others) = lengths.split_last().unwrap();
            assert!(*last <= sizes.longest_bytes);
            let bounds = sizes.shortest_bytes..=sizes.longest_bytes;
            assert!(others.iter().all(|length| bounds.contains(length)));
            let mean = data.len() / lengths.len();
            assert!(mean_range.contains(&mean), "{chunker:?}: {mean}");
        };
    check(&small_gear(9), 4 << 20, 922..=1126);
    check(&small_blocks(9), 16 << 20, 14_700..=18_100);
    let chunkers = Chunkers::new(ChunkerKind::Gear, &cipher(9), POLYNOMIAL);
    for images in chunkers.images.as_ref().unwrap() {
        let wanted = images.sizes().wanted_bytes;
        check(images, wanted * 300, wanted * 9 / 10..=wanted * 11 / 10);
    }
    check(&Chunker::rabin(POLYNOMIAL), 60 << 20, 1 << 20..=2 << 20);
}

#[test]
fn an_insertion_moves_only_the_cuts_beside_it() {
    let check = |chunker: &Chunker, data_bytes: usize, inserted: &[u8]| {
        let data = random_bytes(2, data_bytes);
        let mut edited = data.clone();
        let middle = data.len() / 2;
        edited.splice(middle..middle, inserted.iter().copied());
        let new = new_chunks(chunker, &data, &edited);
        assert!((1..=4).contains(&new), "{chunker:?}: {new}");
    };
    check(&small_gear(9), 256 << 10, b"inserted");
    check(&Chunker::rabin(POLYNOMIAL), 40 << 20, b"inserted");
    check(&small_blocks(9), 4 << 20, &[7; blocks::BLOCK_BYTES]);
}

#[test]
fn a_block_that_is_written_changes_the_chunks_beside_it_only() {
    let chunker = small_blocks(9);
    let data = random_bytes(4, 4 << 20);
    for block in [0, 100, 511, 1023] {
        let mut edited = data.clone();
        edited[block * blocks::BLOCK_BYTES + 5] ^= 1;
        let new = new_chunks(&chunker, &data, &edited);
        assert!((1..=4).contains(&new), "{new}");
        assert!(
            cuts(&chunker, &edited)
                .iter()
                .all(|cut| cut % blocks::BLOCK_BYTES == 0)
        );
    }
}

#[test]
fn another_key_cuts_elsewhere() {
    let data = random_bytes(3, 1 << 20);
    for small in [small_gear, small_blocks] {
        assert_ne!(cuts(&small(9), &data), cuts(&small(8), &data));
        assert_eq!(cuts(&small(9), &data), cuts(&small(9), &data));
    }
}

#[test]
fn zeros_are_cut_into_the_longest_chunks() {
    for key in 0..=255 {
        let chunker = small_blocks(key);
        let zeros = vec![0; SMALL_BLOCKS.longest_bytes + 1];
        assert_eq!(
            chunker.next_cut(&zeros, false),
            Some(SMALL_BLOCKS.longest_bytes),
            "{key}"
        );
    }
}

#[test]
fn edges() {
    let chunkers = Chunkers::new(ChunkerKind::Gear, &cipher(9), POLYNOMIAL);
    let check = |chunker: &Chunker| {
        let ChunkSizes {
            shortest_bytes,
            longest_bytes,
            ..
        } = chunker.sizes();
        assert_eq!(chunker.next_cut(b"", true), None);
        assert_eq!(chunker.next_cut(b"", false), None);
        assert_eq!(chunker.next_cut(b"a", false), None);
        assert_eq!(chunker.next_cut(b"a", true), Some(1));
        let same = vec![0x55; longest_bytes + 1];
        let length = chunker.next_cut(&same, false).unwrap();
        assert!((shortest_bytes..=longest_bytes).contains(&length));
        assert_eq!(chunker.next_cut(&same[..length], true), Some(length));
        assert_eq!(chunker.next_cut(&same[..shortest_bytes - 1], false), None);
        assert_eq!(
            chunker.next_cut(&same[..shortest_bytes], true),
            Some(shortest_bytes)
        );
    };
    check(chunkers.files());
    chunkers.images.iter().flatten().for_each(check);
    check(&Chunker::rabin(POLYNOMIAL));
}

/// Cuts of restic's chunker, by its definition: the fingerprint of the last 64 bytes, bit by bit.
#[test]
fn rabin_is_the_remainder_of_the_window() {
    let data = random_bytes(5, 6 << 20);
    let chunker = Chunker::rabin(POLYNOMIAL);
    let found = cuts(&chunker, &data);
    let fingerprint = |end: usize| {
        data[end - 64..end].iter().fold(0, |value, &byte| {
            crate::polynomial::remainder(value << 8 | u64::from(byte), POLYNOMIAL)
        })
    };
    let mut start = 0;
    let mut expected = Vec::new();
    while start < data.len() {
        let first = start + rabin::SIZES.shortest_bytes;
        let last = (start + rabin::SIZES.longest_bytes).min(data.len());
        let cut = (first..last).find(|&end| fingerprint(end) & 0xf_ffff == 0);
        start = cut.unwrap_or(last);
        expected.push(start);
    }
    assert_eq!(found, expected);
    assert!(found.len() > 3);
}

#[test]
fn files_get_the_chunker_of_their_kind() {
    let chunkers = Chunkers::new(ChunkerKind::Gear, &cipher(9), POLYNOMIAL);
    let shared = Chunkers::new(ChunkerKind::Rabin, &cipher(9), POLYNOMIAL);
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let check = |size_bytes: u64, head: &[u8], wanted_bytes: usize| {
        let sizes = chunkers.of_file(size_bytes, head).sizes();
        assert_eq!(sizes.wanted_bytes, wanted_bytes, "{size_bytes}");
        assert_eq!(shared.of_file(size_bytes, head).sizes(), rabin::SIZES);
    };
    let files = gear::SIZES.wanted_bytes;
    check(0, b"", files);
    check((16 << 20) - 4096, &[0; 512], files);
    check(16 << 20, &[0; 512], blocks::SIZES[0].wanted_bytes);
    check(16 << 20, &[0; 100], blocks::SIZES[0].wanted_bytes);
    check((16 << 20) + 512, &[0; 512], files);
    check(16 << 20, &tar, files);
    check((64 << 30) - 4096, &[0; 512], blocks::SIZES[0].wanted_bytes);
    check(64 << 30, &[0; 512], blocks::SIZES[1].wanted_bytes);
    check(64 << 30, &tar, files);
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
        for chunker in [small_gear(9), small_blocks(9)] {
            let whole = cuts(&chunker, &data);
            prop_assert_eq!(whole.last().copied().unwrap_or(0), length);
            let longest = chunker.sizes().longest_bytes;
            prop_assert!(whole.windows(2).all(|pair| pair[1] - pair[0] <= longest));
            prop_assert_eq!(cuts_in_pieces(&chunker, &data, &pieces), whole);
        }
    }
}

#[test]
fn rabin_cuts_do_not_depend_on_how_data_comes() {
    let data = random_bytes(6, 5 << 20);
    let chunker = Chunker::rabin(POLYNOMIAL);
    let whole = cuts(&chunker, &data);
    for pieces in [
        &[1 << 20][..],
        &[100_000, 1, 63, 64, 65],
        &[524_288, 1],
        &[524_287, 2],
    ] {
        assert_eq!(cuts_in_pieces(&chunker, &data, pieces), whole);
    }
}

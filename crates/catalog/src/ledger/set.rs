//! Sets of rows of one chunk: a sorted list while they are few, a bitmap when they are many.
//!
//! A chunk has at most [`CHUNK_ROWS`] rows, so that a row is a `u16` and the bitmap 8 KiB; a list of [`LIST_MAX`] rows
//! takes as much. The same break-even as in Roaring bitmaps (Chambi, Lemire and others, 2016).

/// Rows of a full chunk. Few in this crate's own tests, so that a history of a thousand jobs has many chunks of all
/// kinds; the benchmark's oracle checks the real size.
pub(super) const CHUNK_ROWS: usize = if cfg!(test) { 256 } else { 65_536 };
/// Words of a chunk's bitmap.
pub(super) const WORDS: usize = CHUNK_ROWS / 64;
/// Longest list.
pub(super) const LIST_MAX: usize = CHUNK_ROWS / 16;

/// One bit for each row of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits(pub(super) Box<[u64]>);

impl Bits {
    pub(super) fn empty() -> Self {
        Self(vec![0; WORDS].into_boxed_slice())
    }

    /// Rows `from..to`.
    pub(super) fn range(from: usize, to: usize) -> Self {
        let mut bits = Self::empty();
        bits.fill(from, to);
        bits
    }

    /// Adds rows `from..to`.
    pub(super) fn fill(&mut self, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let (first, last) = (from / 64, (to - 1) / 64);
        let (head, tail) = (u64::MAX << (from % 64), u64::MAX >> (63 - (to - 1) % 64));
        if first == last {
            self.0[first] |= head & tail;
            return;
        }
        self.0[first] |= head;
        self.0[first + 1..last].fill(u64::MAX);
        self.0[last] |= tail;
    }

    pub(super) fn from_list(rows: &[u16]) -> Self {
        let mut bits = Self::empty();
        bits.add_list(rows);
        bits
    }

    pub(super) fn contains(&self, row: u16) -> bool {
        self.0[usize::from(row) / 64] >> (row % 64) & 1 == 1
    }

    pub(super) fn insert(&mut self, row: u16) {
        self.0[usize::from(row) / 64] |= 1 << (row % 64);
    }

    pub(super) fn remove(&mut self, row: u16) {
        self.0[usize::from(row) / 64] &= !(1 << (row % 64));
    }

    pub(super) fn add_list(&mut self, rows: &[u16]) {
        for row in rows {
            self.insert(*row);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    pub(super) fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Rows below `end`.
    pub(super) fn count_below(&self, end: usize) -> usize {
        let whole = end / 64;
        let count: usize = self.0[..whole]
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum();
        match end % 64 {
            0 => count,
            rest => count + (self.0[whole] & ((1 << rest) - 1)).count_ones() as usize,
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Calls `each` with the rows in order.
    #[cfg(test)]
    pub(super) fn for_each(&self, mut each: impl FnMut(u16)) {
        for (index, word) in self.0.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                each((index * 64) as u16 + rest.trailing_zeros() as u16);
                rest &= rest - 1;
            }
        }
    }

    /// Row number `rank` of the rows in order.
    fn select(&self, mut rank: usize) -> Option<u16> {
        for (index, word) in self.0.iter().enumerate() {
            let ones = word.count_ones() as usize;
            if rank >= ones {
                rank -= ones;
                continue;
            }
            let mut rest = *word;
            for _ in 0..rank {
                rest &= rest - 1;
            }
            return Some((index * 64) as u16 + rest.trailing_zeros() as u16);
        }
        None
    }

    /// The same, counted from the last row.
    fn select_back(&self, mut rank: usize) -> Option<u16> {
        for (index, word) in self.0.iter().enumerate().rev() {
            let ones = word.count_ones() as usize;
            if rank >= ones {
                rank -= ones;
                continue;
            }
            let mut rest = *word;
            for _ in 0..rank {
                rest &= !(1 << rest.ilog2());
            }
            return Some((index * 64) as u16 + rest.ilog2() as u16);
        }
        None
    }

    /// The next row after `row`.
    fn after(&self, row: u16) -> Option<u16> {
        let first = usize::from(row) / 64;
        let above = (u64::MAX << (row % 64)) & !(1 << (row % 64));
        let masks = std::iter::once(above).chain(std::iter::repeat(u64::MAX));
        let mut words = self.0.iter().enumerate().skip(first).zip(masks);
        let (index, word) = words.find_map(|((index, word), mask)| {
            Some((index, word & mask)).filter(|(_, word)| *word != 0)
        })?;
        Some((index * 64) as u16 + word.trailing_zeros() as u16)
    }

    /// The last row before `row`.
    fn before(&self, row: u16) -> Option<u16> {
        let first = usize::from(row) / 64;
        let below = !(u64::MAX << (row % 64));
        let masks = std::iter::once(below).chain(std::iter::repeat(u64::MAX));
        let mut words = self.0[..=first].iter().enumerate().rev().zip(masks);
        let (index, word) = words.find_map(|((index, word), mask)| {
            Some((index, word & mask)).filter(|(_, word)| *word != 0)
        })?;
        Some((index * 64) as u16 + word.ilog2() as u16)
    }
}

/// Rows of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Set {
    /// Sorted, each once, at most [`LIST_MAX`].
    List(Vec<u16>),
    /// More than [`LIST_MAX`], or what is left of them.
    Bits(Bits),
}

impl Default for Set {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Set {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::List(rows) => rows.len(),
            Self::Bits(bits) => bits.count(),
        }
    }

    pub(super) fn contains(&self, row: u16) -> bool {
        match self {
            Self::List(rows) => rows.binary_search(&row).is_ok(),
            Self::Bits(bits) => bits.contains(row),
        }
    }

    pub(super) fn count_below(&self, end: usize) -> usize {
        match self {
            Self::List(rows) => rows.partition_point(|row| usize::from(*row) < end),
            Self::Bits(bits) => bits.count_below(end),
        }
    }

    /// Row number `rank` of the rows in order.
    pub(super) fn select(&self, rank: usize) -> Option<u16> {
        match self {
            Self::List(rows) => rows.get(rank).copied(),
            Self::Bits(bits) => bits.select(rank),
        }
    }

    /// The same, counted from the last row.
    pub(super) fn select_back(&self, rank: usize) -> Option<u16> {
        match self {
            Self::List(rows) => rows.get(rows.len().checked_sub(rank + 1)?).copied(),
            Self::Bits(bits) => bits.select_back(rank),
        }
    }

    /// The next row after `row`, when that is quicker to find by the row than by its rank.
    pub(super) fn after(&self, row: u16) -> Option<u16> {
        match self {
            Self::List(_) => None,
            Self::Bits(bits) => bits.after(row),
        }
    }

    /// The last row before `row`, likewise.
    pub(super) fn before(&self, row: u16) -> Option<u16> {
        match self {
            Self::List(_) => None,
            Self::Bits(bits) => bits.before(row),
        }
    }

    pub(super) fn insert(&mut self, row: u16) {
        match self {
            Self::Bits(bits) => bits.insert(row),
            Self::List(rows) => {
                let Err(place) = rows.binary_search(&row) else {
                    return;
                };
                if rows.len() == LIST_MAX {
                    let mut bits = Bits::from_list(rows);
                    bits.insert(row);
                    *self = Self::Bits(bits);
                } else {
                    rows.insert(place, row);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, row: u16) {
        match self {
            Self::Bits(bits) => bits.remove(row),
            Self::List(rows) => {
                if let Ok(place) = rows.binary_search(&row) {
                    rows.remove(place);
                }
            }
        }
    }

    pub(super) fn as_part(&self) -> Rows<'_> {
        match self {
            Self::List(rows) => Rows::List(rows),
            Self::Bits(bits) => Rows::Bits(bits),
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::List(rows) => rows.capacity() * 2,
            Self::Bits(_) => WORDS * 8,
        }
    }
}

/// Rows that a column shows of one chunk: kept ones, or made for this question.
#[derive(Debug, Clone)]
pub(super) enum Rows<'a> {
    /// Every row.
    All,
    /// Sorted, each once.
    List(&'a [u16]),
    /// A bitmap.
    Bits(&'a Bits),
    /// A bitmap that was made for the question.
    Made(Bits),
}

/// The rows of `list` that are also in `other` (`wanted`), or that are not.
pub(super) fn filter_list(list: &mut Vec<u16>, other: &Rows<'_>, wanted: bool) {
    let Rows::List(other) = other else {
        match other {
            Rows::Bits(bits) => retain(list, |row| bits.contains(row) == wanted),
            Rows::Made(bits) => retain(list, |row| bits.contains(row) == wanted),
            Rows::All if wanted => {}
            _ => list.clear(),
        }
        return;
    };
    // A search costs about as much as this many steps of walking along.
    const SEARCH_STEPS: usize = 16;
    if other.len() / SEARCH_STEPS > list.len() {
        list.retain(|row| other.binary_search(row).is_ok() == wanted);
        return;
    }
    let mut rest = *other;
    list.retain(|row| {
        while let [first, tail @ ..] = rest
            && first < row
        {
            rest = tail;
        }
        (rest.first() == Some(row)) == wanted
    });
}

/// As [`Vec::retain`], without a branch for each row: half of the time a processor would guess wrong.
fn retain(list: &mut Vec<u16>, is_kept: impl Fn(u16) -> bool) {
    let mut kept = 0;
    for place in 0..list.len() {
        let row = list[place];
        list[kept] = row;
        kept += usize::from(is_kept(row));
    }
    list.truncate(kept);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn check(set: &Set, expected: &BTreeSet<u16>) {
        assert_eq!(set.count(), expected.len());
        for probe in [0, 1, 63, 64, 65, (CHUNK_ROWS - 1) as u16] {
            assert_eq!(set.contains(probe), expected.contains(&probe));
            let below = expected.iter().filter(|row| **row < probe).count();
            assert_eq!(set.count_below(usize::from(probe)), below);
        }
        assert_eq!(set.count_below(CHUNK_ROWS), expected.len());
        for rank in [
            0,
            1,
            expected.len() / 2,
            expected.len().saturating_sub(1),
            expected.len(),
        ] {
            assert_eq!(
                set.select(rank),
                expected.iter().nth(rank).copied(),
                "{rank}"
            );
            assert_eq!(
                set.select_back(rank),
                expected.iter().nth_back(rank).copied(),
                "{rank}"
            );
        }
        if matches!(set, Set::Bits(_)) {
            for probe in 0..CHUNK_ROWS as u16 {
                let after = expected.range(probe + 1..).next();
                assert_eq!(set.after(probe), after.copied(), "{probe}");
                let before = expected.range(..probe).next_back();
                assert_eq!(set.before(probe), before.copied(), "{probe}");
            }
        }
    }

    #[test]
    fn a_set_grows_into_a_bitmap_and_shrinks_in_it() {
        let (mut set, mut expected) = (Set::default(), BTreeSet::new());
        let row = |number: usize| (number * 83 % CHUNK_ROWS) as u16;
        for number in 0..LIST_MAX + 50 {
            set.insert(row(number));
            set.insert(row(number));
            expected.insert(row(number));
            check(&set, &expected);
        }
        assert!(matches!(set, Set::Bits(_)));
        for number in 0..LIST_MAX + 50 {
            set.remove(row(number));
            set.remove(row(number));
            expected.remove(&row(number));
        }
        check(&set, &expected);
        assert_eq!(set.count(), 0);
    }

    #[test]
    fn ranges_have_exactly_their_rows() {
        for (from, to) in [
            (0, 0),
            (0, 1),
            (5, 3),
            (63, 65),
            (64, 128),
            (1, CHUNK_ROWS),
            (CHUNK_ROWS - 1, CHUNK_ROWS),
        ] {
            let mut rows = Vec::new();
            Bits::range(from, to).for_each(|row| rows.push(usize::from(row)));
            assert_eq!(rows, (from..to).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn filtering_a_list(mut list in proptest::collection::vec(0u16..256, 0..80),
                            mut other in proptest::collection::vec(0u16..200, 0..300), wanted in any::<bool>()) {
            list.extend(other.iter().step_by(7));
            list.sort_unstable();
            list.dedup();
            other.sort_unstable();
            other.dedup();
            let expected: Vec<u16> = list.iter().copied().filter(|row| other.contains(row) == wanted).collect();
            let bits = Bits::from_list(&other);
            for rows in [Rows::List(&other), Rows::Bits(&bits), Rows::Made(bits.clone())] {
                let mut found = list.clone();
                filter_list(&mut found, &rows, wanted);
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}

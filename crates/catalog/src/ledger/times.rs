//! The two times of a job: created (rising with the row) and completed (near the created time, or absent).

use std::collections::BTreeMap;
use std::ops::Range;

use super::set::{Bits, CHUNK_ROWS};

/// Rows that share a base in [`Offsets::Near`].
const BLOCK_ROWS: usize = 64;

/// Created times of one chunk, in the narrowest form that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offsets {
    /// Seconds after the first row of the block of 64.
    Near { bases: Vec<i64>, offsets: Vec<u16> },
    /// Seconds after the chunk's first row.
    Far { base: i64, offsets: Vec<u32> },
    /// The times.
    Plain(Vec<i64>),
}

impl Default for Offsets {
    fn default() -> Self {
        Self::Near {
            bases: Vec::new(),
            offsets: Vec::new(),
        }
    }
}

impl Offsets {
    fn get(&self, row: usize) -> i64 {
        match self {
            Self::Near { bases, offsets } => bases[row / BLOCK_ROWS] + i64::from(offsets[row]),
            Self::Far { base, offsets } => base + i64::from(offsets[row]),
            Self::Plain(times) => times[row],
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Near { offsets, .. } => offsets.len(),
            Self::Far { offsets, .. } => offsets.len(),
            Self::Plain(times) => times.len(),
        }
    }

    /// Of the block of rows from `first` on: a bit for each that ends within `low..=high`, `after` seconds after its
    /// time. Rows that are [`ABSENT`] or [`FAR`] do not.
    fn ends_within(&self, first: usize, after: &[u16], low: i64, high: i64) -> u64 {
        let Self::Near { bases, offsets } = self else {
            return word(after, |row, after| {
                let end = self.get(first + row).saturating_add(i64::from(after));
                after < FAR && low <= end && end <= high
            });
        };
        // Sums of two offsets fit: they are compared, not times.
        let base = bases[first / BLOCK_ROWS];
        let Ok(high) = u32::try_from(high.saturating_sub(base).min(i64::from(u32::MAX))) else {
            return 0;
        };
        let low = low.saturating_sub(base).clamp(0, i64::from(u32::MAX)) as u32;
        let offsets = &offsets[first..first + after.len()];
        word(after, |row, after| {
            let end = u32::from(offsets[row]) + u32::from(after);
            (after < FAR) & (low <= end) & (end <= high)
        })
    }

    fn push(&mut self, time: i64) {
        let row = self.len();
        match self {
            Self::Near { bases, offsets } => {
                if row.is_multiple_of(BLOCK_ROWS) {
                    bases.push(time);
                }
                if let Ok(offset) = u16::try_from(time.wrapping_sub(bases[row / BLOCK_ROWS])) {
                    offsets.push(offset);
                    return;
                }
            }
            Self::Far { base, offsets } => {
                if let Ok(offset) = u32::try_from(time.wrapping_sub(*base)) {
                    offsets.push(offset);
                    return;
                }
            }
            Self::Plain(times) => {
                times.push(time);
                return;
            }
        }
        self.widen();
        self.push(time);
    }

    fn widen(&mut self) {
        let times: Vec<i64> = (0..self.len()).map(|row| self.get(row)).collect();
        let base = times.first().copied().unwrap_or_default();
        let offsets: Result<Vec<u32>, _> = times
            .iter()
            .map(|time| u32::try_from(time.wrapping_sub(base)))
            .collect();
        *self = match (&self, offsets) {
            (Self::Near { .. }, Ok(offsets)) => Self::Far { base, offsets },
            _ => Self::Plain(times),
        };
    }

    fn shrink(&mut self) {
        match self {
            Self::Near { bases, offsets } => (bases.shrink_to_fit(), offsets.shrink_to_fit()),
            Self::Far { offsets, .. } => ((), offsets.shrink_to_fit()),
            Self::Plain(times) => ((), times.shrink_to_fit()),
        };
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Near { bases, offsets } => bases.capacity() * 8 + offsets.capacity() * 2,
            Self::Far { offsets, .. } => offsets.capacity() * 4,
            Self::Plain(times) => times.capacity() * 8,
        }
    }
}

/// Created times by row: never falling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CreatedTimes {
    pub(super) chunks: Vec<Offsets>,
}

impl CreatedTimes {
    pub(super) fn len(&self) -> usize {
        match self.chunks.last() {
            Some(last) => (self.chunks.len() - 1) * CHUNK_ROWS + last.len(),
            None => 0,
        }
    }

    pub(super) fn get(&self, row: usize) -> i64 {
        self.chunks[row / CHUNK_ROWS].get(row % CHUNK_ROWS)
    }

    pub(super) fn last(&self) -> Option<i64> {
        self.len().checked_sub(1).map(|row| self.get(row))
    }

    /// Adds a time that is not less than the last.
    pub(super) fn push(&mut self, time: i64) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_ROWS => last.push(time),
            full => {
                if let Some(full) = full {
                    full.shrink();
                }
                let mut chunk = Offsets::default();
                chunk.push(time);
                self.chunks.push(chunk);
            }
        }
    }

    /// The first row whose time is not less than `time`.
    pub(super) fn lower_bound(&self, time: i64) -> usize {
        let chunk = self.chunks.partition_point(|chunk| chunk.get(0) < time);
        let Some(chunk) = chunk.checked_sub(1) else {
            return 0;
        };
        let times = &self.chunks[chunk];
        let (mut low, mut high) = (0, times.len());
        while low < high {
            let middle = (low + high) / 2;
            if times.get(middle) < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        chunk * CHUNK_ROWS + low
    }

    /// The rows whose time is in `low..=high`.
    pub(super) fn rows(&self, low: i64, high: i64) -> Range<usize> {
        if low > high {
            return 0..0;
        }
        let end = match high.checked_add(1) {
            Some(after) => self.lower_bound(after),
            None => self.len(),
        };
        self.lower_bound(low)..end
    }

    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(Offsets::bytes).sum()
    }
}

/// Rows that share a zone: its least and greatest time say whether they need to be looked at.
pub(super) const ZONE_ROWS: usize = if CHUNK_ROWS / 64 < BLOCK_ROWS {
    BLOCK_ROWS
} else {
    CHUNK_ROWS / 64
};
/// Words of bits are made of whole blocks.
const _: () = assert!(ZONE_ROWS.is_multiple_of(BLOCK_ROWS) && CHUNK_ROWS.is_multiple_of(ZONE_ROWS));
/// No completed time.
const ABSENT: u16 = u16::MAX;
/// The completed time is in [`CompletedTimes::far`].
const FAR: u16 = u16::MAX - 1;

/// A bit for each of up to 64 values that `test` holds for. Without branches, so that compilers make vectors of it; eight bytes
/// that are 0 or 1 become eight bits by a multiplication which has no carries.
fn word(values: &[u16], test: impl Fn(usize, u16) -> bool) -> u64 {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut flags = [0; BLOCK_ROWS];
    for (row, (flag, value)) in flags.iter_mut().zip(values).enumerate() {
        *flag = u8::from(test(row, *value));
    }
    let (eights, _) = flags.as_chunks::<8>();
    let bits = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56;
    eights
        .iter()
        .rev()
        .fold(0, |word, eight| word << 8 | bits(eight))
}

/// What a group of rows has of completed times. Bounds may be wider than the times, never narrower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) least: i64,
    pub(super) greatest: i64,
    /// Rows that have a completed time.
    pub(super) present: u32,
}

impl Zone {
    const EMPTY: Self = Self {
        least: i64::MAX,
        greatest: i64::MIN,
        present: 0,
    };

    fn add(&mut self, time: i64) {
        self.least = self.least.min(time);
        self.greatest = self.greatest.max(time);
        self.present += 1;
    }

    /// `Some(true)`: all present times are within; `Some(false)`: none is.
    fn within(&self, low: i64, high: i64) -> Option<bool> {
        if self.present == 0 || self.greatest < low || self.least > high {
            Some(false)
        } else if low <= self.least && self.greatest <= high {
            Some(true)
        } else {
            None
        }
    }
}

/// Completed times by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CompletedTimes {
    /// Seconds after the created time, [`ABSENT`] or [`FAR`].
    pub(super) after: Vec<Vec<u16>>,
    /// Times that are too far from the created time, or before it.
    pub(super) far: BTreeMap<u32, i64>,
    chunks: Vec<Zone>,
    zones: Vec<Zone>,
}

impl CompletedTimes {
    fn short(created: i64, completed: Option<i64>) -> u16 {
        match completed {
            None => ABSENT,
            Some(time) => match time.checked_sub(created).map(u16::try_from) {
                Some(Ok(after)) if after < FAR => after,
                _ => FAR,
            },
        }
    }

    /// The next row.
    pub(super) fn push(&mut self, row: usize, created: i64, completed: Option<i64>) {
        if row.is_multiple_of(CHUNK_ROWS) {
            if let Some(full) = self.after.last_mut() {
                full.shrink_to_fit();
            }
            self.after.push(Vec::new());
            self.chunks.push(Zone::EMPTY);
        }
        if row.is_multiple_of(ZONE_ROWS) {
            self.zones.push(Zone::EMPTY);
        }
        self.after[row / CHUNK_ROWS].push(ABSENT);
        self.set(row, created, completed);
    }

    /// Changes a row's completed time.
    pub(super) fn set(&mut self, row: usize, created: i64, completed: Option<i64>) {
        let (chunk, zone) = (row / CHUNK_ROWS, row / ZONE_ROWS);
        let place = &mut self.after[chunk][row % CHUNK_ROWS];
        if *place == FAR {
            self.far.remove(&(row as u32));
        }
        if *place != ABSENT {
            self.chunks[chunk].present -= 1;
            self.zones[zone].present -= 1;
        }
        *place = Self::short(created, completed);
        if let Some(time) = completed {
            if *place == FAR {
                self.far.insert(row as u32, time);
            }
            self.chunks[chunk].add(time);
            self.zones[zone].add(time);
        }
    }

    pub(super) fn get(&self, row: usize, created: i64) -> Option<i64> {
        match self.after[row / CHUNK_ROWS][row % CHUNK_ROWS] {
            ABSENT => None,
            FAR => self.far.get(&(row as u32)).copied(),
            after => Some(created + i64::from(after)),
        }
    }

    /// How many rows of a chunk have a time in `low..=high`, if that can be said without looking at rows.
    pub(super) fn quick_count(&self, chunk: usize, low: i64, high: i64) -> Option<usize> {
        let zone = self.chunks[chunk];
        let is_within = zone.within(low, high)?;
        Some(if is_within { zone.present as usize } else { 0 })
    }

    /// The rows of a chunk whose time is in `low..=high`.
    pub(super) fn rows(&self, created: &CreatedTimes, chunk: usize, low: i64, high: i64) -> Bits {
        let mut bits = Bits::empty();
        let after = &self.after[chunk];
        let zones = &self.zones[chunk * CHUNK_ROWS / ZONE_ROWS..];
        for (number, (rows, zone)) in after.chunks(ZONE_ROWS).zip(zones).enumerate() {
            let first = number * ZONE_ROWS;
            let is_within = match zone.within(low, high) {
                Some(false) => continue,
                Some(true) if zone.present as usize == rows.len() => {
                    bits.fill(first, first + rows.len());
                    continue;
                }
                within => within.is_some(),
            };
            for (block, after) in rows.chunks(BLOCK_ROWS).enumerate() {
                let start = first + block * BLOCK_ROWS;
                bits.0[start / BLOCK_ROWS] = if is_within {
                    word(after, |_, after| after != ABSENT)
                } else {
                    created.chunks[chunk].ends_within(start, after, low, high)
                };
            }
            if !is_within {
                let start = chunk * CHUNK_ROWS;
                let rows = (start + first) as u32..(start + first + rows.len()) as u32;
                for (row, time) in self.far.range(rows) {
                    if low <= *time && *time <= high {
                        bits.insert((*row as usize - start) as u16);
                    }
                }
            }
        }
        bits
    }

    /// Times as a snapshot keeps them.
    pub(super) fn from_parts(
        after: Vec<Vec<u16>>,
        far: BTreeMap<u32, i64>,
        created: &CreatedTimes,
    ) -> Self {
        let mut times = Self {
            after,
            far,
            ..Self::default()
        };
        let (mut chunks, mut zones) = (Vec::new(), Vec::new());
        for (chunk, rows) in times.after.iter().enumerate() {
            let mut all = Zone::EMPTY;
            for (zone, rows) in rows.chunks(ZONE_ROWS).enumerate() {
                let mut part = Zone::EMPTY;
                let first = chunk * CHUNK_ROWS + zone * ZONE_ROWS;
                for row in first..first + rows.len() {
                    if let Some(time) = times.get(row, created.get(row)) {
                        part.add(time);
                        all.add(time);
                    }
                }
                zones.push(part);
            }
            chunks.push(all);
        }
        (times.chunks, times.zones) = (chunks, zones);
        times
    }

    pub(super) fn bytes(&self) -> usize {
        let rows: usize = self.after.iter().map(|rows| rows.capacity() * 2).sum();
        let zone = size_of::<Zone>();
        // A B-tree's node is about two thirds full.
        rows + self.far.len() * 18 + (self.chunks.capacity() + self.zones.capacity()) * zone
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn gaps() -> impl Strategy<Value = i64> {
        prop_oneof![
            Just(0i64),
            0i64..3,
            0i64..100_000,
            Just(5_000_000_000i64),
            Just(i64::MAX / 4)
        ]
    }

    proptest! {
        #[test]
        fn created_times_come_back(first in -10i64..2_000_000_000, gaps in proptest::collection::vec(gaps(), 0..300)) {
            let mut times = vec![];
            let mut created = CreatedTimes::default();
            let mut time = first;
            for gap in gaps {
                created.push(time);
                times.push(time);
                time = time.saturating_add(gap);
            }
            prop_assert_eq!(created.len(), times.len());
            for (row, time) in times.iter().enumerate() {
                prop_assert_eq!(created.get(row), *time);
                for probe in [time.saturating_sub(1), *time, time.saturating_add(1)] {
                    prop_assert_eq!(created.lower_bound(probe), times.partition_point(|other| *other < probe));
                    let rows = created.rows(probe, time.saturating_add(50));
                    let expected = (0..times.len()).filter(|row| probe <= times[*row] && times[*row] <= time.saturating_add(50));
                    prop_assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(created.rows(i64::MIN, i64::MAX), 0..times.len());
        }

        #[test]
        fn completed_times_come_back(after in proptest::collection::vec(
            (any::<bool>(), prop_oneof![0i64..10, Just(-5), Just(65_533), Just(65_534), Just(65_535), Just(1 << 40)]), 1..2600),
            changes in proptest::collection::vec((any::<u16>(), any::<bool>(), -10i64..100_000), 0..40),
            low in -20i64..5_000, span in -1i64..200_000,
        ) {
            let (mut created, mut completed, mut model) = (CreatedTimes::default(), CompletedTimes::default(), vec![]);
            for (row, (has, after)) in after.iter().enumerate() {
                let time = row as i64;
                let end = has.then_some(time + after);
                created.push(time);
                completed.push(row, time, end);
                model.push(end);
            }
            for (row, has, after) in changes {
                let row = usize::from(row) % model.len();
                model[row] = has.then_some(row as i64 + after);
                completed.set(row, row as i64, model[row]);
            }
            for (row, end) in model.iter().enumerate() {
                prop_assert_eq!(completed.get(row, row as i64), *end);
            }
            let high = low + span;
            for chunk in 0..model.len().div_ceil(CHUNK_ROWS) {
                let rows = chunk * CHUNK_ROWS..((chunk + 1) * CHUNK_ROWS).min(model.len());
                let expected: Vec<usize> =
                    rows.clone().filter(|row| model[*row].is_some_and(|end| low <= end && end <= high)).collect();
                let mut found = vec![];
                completed.rows(&created, chunk, low, high).for_each(|row| found.push(rows.start + usize::from(row)));
                prop_assert_eq!(&found, &expected);
                if let Some(count) = completed.quick_count(chunk, low, high) {
                    prop_assert_eq!(count, expected.len());
                }
            }
            let again = CompletedTimes::from_parts(completed.after.clone(), completed.far.clone(), &created);
            prop_assert_eq!((again.after, again.far), (completed.after, completed.far));
        }
    }
}

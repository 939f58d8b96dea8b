//! Of each row of a sealed chunk, in which part of the chunk's values its value lies, bit by bit: the rows below a bound
//! are a few operations on bitmaps, whatever their number.
//!
//! The values are parted in their order, so that each part begins in another stretch of as many rows. One bitmap for each
//! bit of the part's number (O'Neil and Quass, 1997), kept inverted: a comparison takes one operation for each.

use super::set::Bits;

/// Bits of a part's number: with one more, a chunk takes 8 KiB more and a bound half as many single rows.
const PLANES: usize = 7;
/// How many parts there are. The number after the last one is that of rows without a value.
pub(super) const PARTS: usize = (1 << PLANES) - 1;

/// The bits of all rows; a plane has the rows whose bit is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RankPlanes([Bits; PLANES]);

impl RankPlanes {
    /// All rows are without a value.
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Bits::empty()))
    }

    /// Hands `add` each bitmap to which the rows of a part belong.
    pub(super) fn place(&mut self, part: usize, mut add: impl FnMut(&mut Bits)) {
        for (bit, plane) in self.0.iter_mut().enumerate() {
            if part >> bit & 1 == 0 {
                add(plane);
            }
        }
    }

    /// The rows of all parts before `part`, which may be [`PARTS`].
    pub(super) fn before(&self, part: usize) -> Bits {
        let lowest = part.trailing_zeros() as usize;
        let Some(plane) = self.0.get(lowest) else {
            return Bits::empty();
        };
        // From the lowest bit up: a row is below when a higher bit says so, or is the same and the lower ones say so.
        let mut below = plane.clone();
        for (bit, plane) in self.0.iter().enumerate().skip(lowest + 1) {
            if part >> bit & 1 == 1 {
                below.add(plane);
            } else {
                below.keep(plane);
            }
        }
        below
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Bits::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::CHUNK_ROWS;
    use super::*;

    #[test]
    fn the_rows_before_a_part_are_those_of_lower_parts() {
        // Parts in no order, and a row without a value here and there.
        let part_of = |row: usize| (!row.is_multiple_of(5)).then_some(row * 37 % PARTS);
        let mut planes = RankPlanes::new();
        for row in 0..CHUNK_ROWS {
            if let Some(part) = part_of(row) {
                planes.place(part, |plane| plane.insert(row as u16));
            }
        }
        for part in 0..=PARTS {
            let mut rows = Vec::new();
            planes
                .before(part)
                .for_each(|row| rows.push(usize::from(row)));
            let is_before = |row: &usize| part_of(*row).is_some_and(|other| other < part);
            let expected: Vec<usize> = (0..CHUNK_ROWS).filter(is_before).collect();
            assert_eq!(rows, expected, "before {part}");
        }
    }
}

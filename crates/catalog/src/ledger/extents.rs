//! Which row of the database is behind which place of a run.
//!
//! The database numbers the jobs of a part in the order of their arrival (`seq`); a run has them in the order of creation.
//! Where both go along together, one extent stands for all of them, so that a history that was never imported takes a few
//! bytes in all.

/// Places that follow each other and whose numbers do so, too; it ends where the next one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// First place in the run.
    pub(super) row: u32,
    /// Its number in the database.
    pub(super) seq: u32,
}

/// The numbers of a run's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extents {
    /// By rising place.
    pub(super) by_row: Vec<Extent>,
    /// Indexes into `by_row`, by rising number; empty while that is the same order.
    by_seq: Vec<u32>,
    /// Rows came in another order than their numbers: `by_seq` is to be made anew.
    is_unsettled: bool,
    pub(super) len: u32,
}

impl Extents {
    /// The next row.
    pub(super) fn push(&mut self, seq: u32) {
        let row = self.len;
        self.len += 1;
        let next = self.by_row.last().map(|last| last.seq + (row - last.row));
        if next == Some(seq) {
            return;
        }
        let place = self.by_row.len() as u32;
        self.by_row.push(Extent { row, seq });
        if next.is_none_or(|next| seq > next) && self.last_by_seq() <= Some(seq) {
            if !self.by_seq.is_empty() {
                self.by_seq.push(place);
            }
        } else {
            self.is_unsettled = true;
        }
    }

    /// The greatest first number of an extent, as far as it is known.
    fn last_by_seq(&self) -> Option<u32> {
        let last = self.by_seq.last()?;
        Some(self.by_row[*last as usize].seq)
    }

    /// To be called after rows were pushed, before [`Extents::row`].
    pub(super) fn settle(&mut self) {
        if self.is_unsettled {
            let by_row = std::mem::take(&mut self.by_row);
            *self = Self::from_parts(by_row, self.len);
        }
    }

    /// Extents as a snapshot keeps them, by rising place.
    pub(super) fn from_parts(by_row: Vec<Extent>, len: u32) -> Self {
        let mut by_seq: Vec<u32> = (0..by_row.len() as u32).collect();
        by_seq.sort_unstable_by_key(|index| by_row[*index as usize].seq);
        if by_seq.is_sorted() {
            by_seq = Vec::new();
        }
        Self {
            by_row,
            by_seq,
            len,
            is_unsettled: false,
        }
    }

    /// The number of a row.
    pub(super) fn seq(&self, row: usize) -> u32 {
        let row = row as u32;
        let index = self.by_row.partition_point(|extent| extent.row <= row) - 1;
        let extent = self.by_row[index];
        extent.seq + (row - extent.row)
    }

    /// The row with a number, if this run has it.
    pub(super) fn row(&self, seq: u32) -> Option<usize> {
        let starts_before = |extent: &Extent| extent.seq <= seq;
        let index = if self.by_seq.is_empty() {
            self.by_row.partition_point(starts_before).checked_sub(1)?
        } else {
            let place = self
                .by_seq
                .partition_point(|index| starts_before(&self.by_row[*index as usize]));
            self.by_seq[place.checked_sub(1)?] as usize
        };
        let extent = self.by_row[index];
        let end = self.by_row.get(index + 1).map_or(self.len, |next| next.row);
        let row = extent.row as usize + (seq - extent.seq) as usize;
        (row < end as usize).then_some(row)
    }

    pub(super) fn bytes(&self) -> usize {
        self.by_row.capacity() * size_of::<Extent>() + self.by_seq.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::{Just, Strategy, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn rows_and_numbers_find_each_other(
            order in proptest::collection::vec(0u32..6, 0..60).prop_map(|gaps| {
                let mut seq = 0;
                gaps.into_iter().map(|gap| { seq += 1 + gap / 4 * 3; seq }).collect::<Vec<u32>>()
            }).prop_flat_map(|order| (Just(order.clone()), Just(order).prop_shuffle()))
        ) {
            for order in [order.0, order.1] {
                let mut extents = Extents::default();
                order.iter().for_each(|seq| extents.push(*seq));
                extents.settle();
                let again = Extents::from_parts(extents.by_row.clone(), extents.len);
                for (row, seq) in order.iter().enumerate() {
                    prop_assert_eq!(extents.seq(row), *seq);
                    prop_assert_eq!(again.row(*seq), Some(row));
                }
                for seq in 0..300 {
                    prop_assert_eq!(extents.row(seq), order.iter().position(|other| *other == seq));
                }
            }
        }
    }

    #[test]
    fn a_history_in_order_is_one_extent() {
        let mut extents = Extents::default();
        (7..5_000).for_each(|seq| extents.push(seq));
        assert_eq!(extents.by_row, [Extent { row: 0, seq: 7 }]);
        assert!(extents.by_seq.is_empty());
    }
}

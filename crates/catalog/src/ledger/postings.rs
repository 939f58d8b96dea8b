//! A sealed chunk of a text field: its values in the order of their bytes, each with its sorted rows.

use super::rank_planes::{PARTS, RankPlanes};
use super::set::{Bits, CHUNK_ROWS, Rows};

/// One value in a sealed chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) code: u32,
    /// Rows of the slots before it.
    pub(super) before: u32,
}

/// A sealed chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Postings {
    /// In the order of the values' bytes.
    pub(super) slots: Box<[Slot]>,
    /// The rows of all slots that are kept as lists, one after the other.
    pub(super) rows: Box<[u16]>,
    /// The slots with more than `LIST_MAX` rows.
    pub(super) dense: Vec<(u32, Bits)>,
    /// Where ranges of values are found, if there are many. Derived, see [`Postings::rank`].
    pub(super) planes: Option<Box<RankPlanes>>,
}

/// With fewer slots a range is quickly put together.
const RANKED_SLOTS: usize = if cfg!(test) { 6 } else { 64 };
/// So many rows are quickly put together, however many slots they are of.
const SINGLE_ROWS: usize = CHUNK_ROWS / 32;

impl Postings {
    pub(super) fn new(slots: Box<[Slot]>, rows: Box<[u16]>, dense: Vec<(u32, Bits)>) -> Self {
        Self {
            slots,
            rows,
            dense,
            planes: None,
        }
    }

    /// Makes the planes, once the parts are known to fit together.
    pub(super) fn rank(&mut self) {
        self.planes = None;
        if self.slots.len() < RANKED_SLOTS {
            return;
        }
        let mut planes = Box::new(RankPlanes::new());
        let mut from = 0;
        for part in 0..PARTS {
            let end = self.first_slot(part + 1);
            if from < end {
                planes.place(part, |plane| self.add_slots(from, end, plane));
            }
            from = end;
        }
        self.planes = Some(planes);
    }

    /// In which part of the values a slot lies.
    fn part(&self, slot: usize) -> usize {
        self.before(slot) * PARTS / self.before(self.slots.len())
    }

    /// The first slot of a part or, if it has none, of the next one that has.
    fn first_slot(&self, part: usize) -> usize {
        let total = self.before(self.slots.len());
        self.slots
            .partition_point(|slot| slot.before as usize * PARTS / total < part)
    }

    /// Adds the rows of the slots `from..to`.
    fn add_slots(&self, from: usize, to: usize, bits: &mut Bits) {
        let number = |slot: usize| slot as u32;
        for (slot, dense) in &self.dense {
            if (number(from)..number(to)).contains(slot) {
                bits.add(dense);
            }
        }
        let listed = |slot: usize| self.before(slot) - self.dense_rows(number(slot));
        bits.add_list(&self.rows[listed(from)..listed(to)]);
    }

    /// The rows of all slots before `slot`.
    fn rows_before(&self, planes: &RankPlanes, slot: usize) -> Bits {
        let part = self.part(slot);
        let mut bits = planes.before(part);
        self.add_slots(self.first_slot(part), slot, &mut bits);
        bits
    }

    /// The rows of the slots `from..to`.
    pub(super) fn rows_of_slots(&self, from: usize, to: usize) -> Bits {
        let is_many = self.before(to) - self.before(from) > SINGLE_ROWS;
        let Some(planes) = self.planes.as_ref().filter(|_| is_many) else {
            let mut bits = Bits::empty();
            self.add_slots(from, to, &mut bits);
            return bits;
        };
        let mut bits = self.rows_before(planes, to);
        if from > 0 {
            // No row is in two slots.
            bits.subtract(&self.rows_before(planes, from));
        }
        bits
    }

    /// Whether the parts fit together, for postings that were read.
    pub(super) fn is_consistent(&self) -> bool {
        let listed_before =
            |slot: usize| self.before(slot).checked_sub(self.dense_rows(slot as u32));
        self.slots.first().is_none_or(|slot| slot.before == 0)
            && self.slots.is_sorted_by(|a, b| a.before < b.before)
            && self.dense.is_sorted_by(|a, b| a.0 < b.0)
            && self.dense.iter().all(|(slot, bits)| {
                let slot = *slot as usize;
                slot < self.slots.len()
                    && self.before(slot + 1).checked_sub(self.before(slot)) == Some(bits.count())
            })
            && listed_before(self.slots.len()) == Some(self.rows.len())
    }

    pub(super) fn count(&self, slot: usize) -> usize {
        self.before(slot + 1) - self.before(slot)
    }

    /// Rows of the slots before `slot`.
    pub(super) fn before(&self, slot: usize) -> usize {
        match self.slots.get(slot) {
            Some(slot) => slot.before as usize,
            None => self.rows.len() + self.dense_rows(u32::MAX),
        }
    }

    /// Rows of the dense slots before `slot`.
    fn dense_rows(&self, slot: u32) -> usize {
        let before = self.dense.iter().take_while(|(dense, _)| *dense < slot);
        before
            .map(|(dense, bits)| match self.slots.get(*dense as usize + 1) {
                Some(next) => (next.before - self.slots[*dense as usize].before) as usize,
                None => bits.count(),
            })
            .sum()
    }

    pub(super) fn rows_of(&self, slot: usize) -> Rows<'_> {
        let number = slot as u32;
        if let Some((_, bits)) = self.dense.iter().find(|(dense, _)| *dense == number) {
            return Rows::Bits(bits);
        }
        let start = self.before(slot) - self.dense_rows(number);
        Rows::List(&self.rows[start..start + self.count(slot)])
    }

    pub(super) fn add_to(&self, slot: usize, bits: &mut Bits) {
        match self.rows_of(slot) {
            Rows::List(rows) => bits.add_list(rows),
            Rows::Bits(dense) => bits.add(dense),
            Rows::All | Rows::Made(_) => {}
        }
    }
}

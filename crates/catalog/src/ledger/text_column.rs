//! A text field that never changes: which rows have which value.
//!
//! Values get codes in the order of their arrival. The open chunk keeps the code of each row; a full chunk is sealed into
//! postings: the chunk's values in the order of their bytes, each with its sorted rows, so that a value and a range of
//! values are both found by a search. Each value knows the chunks that hold it: a rare value is found without looking at
//! the others.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::set::{Bits, CHUNK_ROWS, LIST_MAX, Rows};

/// The code of a row that does not have the field.
pub(super) const NONE: u32 = u32::MAX;

/// A value's place in a sealed chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chunk: u32,
    slot: u32,
}

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    text: Arc<str>,
    /// Rows that have it.
    total: u32,
    /// Its places, by rising chunk.
    places: Vec<Place>,
}

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
    /// The slots with more than [`LIST_MAX`] rows.
    pub(super) dense: Vec<(u32, Bits)>,
    /// Up to a few slots, the rows of all slots before: a range of values is the difference of two of them and a few rows
    /// more. Derived, see [`Postings::mark`].
    marks: Vec<(u32, Bits)>,
}

/// How many parts of a chunk's rows the marks part it into.
const MARKED_PARTS: usize = 8;
/// With fewer slots a range is quickly put together.
const MARKED_SLOTS: usize = if cfg!(test) { 6 } else { 64 };

impl Postings {
    pub(super) fn new(slots: Box<[Slot]>, rows: Box<[u16]>, dense: Vec<(u32, Bits)>) -> Self {
        Self {
            slots,
            rows,
            dense,
            marks: Vec::new(),
        }
    }

    /// Makes the marks, once the parts are known to fit together.
    fn mark(&mut self) {
        self.marks = Vec::new();
        if self.slots.len() < MARKED_SLOTS {
            return;
        }
        let total = self.before(self.slots.len());
        let (mut bits, mut from) = (Bits::empty(), 0);
        for part in 1..MARKED_PARTS {
            let slot = self
                .slots
                .partition_point(|slot| (slot.before as usize) < total * part / MARKED_PARTS);
            if slot > from {
                self.add_slots(from, slot, &mut bits);
                self.marks.push((slot as u32, bits.clone()));
                from = slot;
            }
        }
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
    fn rows_before(&self, slot: usize) -> Bits {
        let marks = self
            .marks
            .partition_point(|(mark, _)| *mark as usize <= slot);
        let (from, mut bits) = match marks.checked_sub(1).map(|mark| &self.marks[mark]) {
            Some((mark, bits)) => (*mark as usize, bits.clone()),
            None => (0, Bits::empty()),
        };
        self.add_slots(from, slot, &mut bits);
        bits
    }

    /// The rows of the slots `from..to`.
    fn rows_of_slots(&self, from: usize, to: usize) -> Bits {
        let few = (self.slots.len() / MARKED_PARTS).max(MARKED_SLOTS);
        if to - from <= few || self.marks.is_empty() {
            let mut bits = Bits::empty();
            self.add_slots(from, to, &mut bits);
            return bits;
        }
        let mut bits = self.rows_before(to);
        if from > 0 {
            // No row is in two slots.
            bits.subtract(&self.rows_before(from));
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

    fn count(&self, slot: usize) -> usize {
        self.before(slot + 1) - self.before(slot)
    }

    /// Rows of the slots before `slot`.
    fn before(&self, slot: usize) -> usize {
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

    fn rows_of(&self, slot: usize) -> Rows<'_> {
        let number = slot as u32;
        if let Some((_, bits)) = self.dense.iter().find(|(dense, _)| *dense == number) {
            return Rows::Bits(bits);
        }
        let start = self.before(slot) - self.dense_rows(number);
        Rows::List(&self.rows[start..start + self.count(slot)])
    }

    fn add_to(&self, slot: usize, bits: &mut Bits) {
        match self.rows_of(slot) {
            Rows::List(rows) => bits.add_list(rows),
            Rows::Bits(dense) => bits.add(dense),
            Rows::All | Rows::Made(_) => {}
        }
    }
}

/// A bound of a range of texts.
pub(super) type TextBound = Bound<String>;

/// The codes of the open chunk, in the narrowest form that holds them: small parts have no other rows.
#[derive(Debug, Clone)]
enum Open {
    /// So many rows, none of which has the field.
    Absent(usize),
    /// [`NONE`] is the greatest number here, too.
    Narrow(Vec<u16>),
    /// Codes of many values.
    Wide(Vec<u32>),
}

impl Default for Open {
    fn default() -> Self {
        Self::Absent(0)
    }
}

impl Open {
    fn len(&self) -> usize {
        match self {
            Self::Absent(rows) => *rows,
            Self::Narrow(codes) => codes.len(),
            Self::Wide(codes) => codes.len(),
        }
    }

    fn push(&mut self, code: u32) {
        let narrow = if code == NONE {
            Some(u16::MAX)
        } else {
            u16::try_from(code).ok().filter(|code| *code < u16::MAX)
        };
        match (&mut *self, narrow) {
            (Self::Absent(rows), Some(u16::MAX)) => *rows += 1,
            (Self::Narrow(codes), Some(code)) => codes.push(code),
            (Self::Wide(codes), _) => codes.push(code),
            (Self::Absent(rows), Some(code)) => {
                let mut codes = vec![u16::MAX; *rows];
                codes.push(code);
                *self = Self::Narrow(codes);
            }
            (Self::Absent(_) | Self::Narrow(_), _) => {
                let mut codes = self.to_vec();
                codes.push(code);
                *self = Self::Wide(codes);
            }
        }
    }

    fn to_vec(&self) -> Vec<u32> {
        match self {
            Self::Absent(rows) => vec![NONE; *rows],
            Self::Narrow(codes) => codes.iter().map(|code| widen(*code)).collect(),
            Self::Wide(codes) => codes.clone(),
        }
    }

    /// The rows whose codes are wanted.
    fn rows(&self, is_wanted: impl Fn(u32) -> bool) -> Bits {
        fn mark<T: Copy>(bits: &mut Bits, codes: &[T], is_wanted: impl Fn(T) -> bool) {
            for (word, codes) in bits.0.iter_mut().zip(codes.chunks(64)) {
                for (bit, code) in codes.iter().enumerate() {
                    *word |= u64::from(is_wanted(*code)) << bit;
                }
            }
        }
        let mut bits = Bits::empty();
        match self {
            Self::Absent(_) => {}
            Self::Narrow(codes) => mark(&mut bits, codes, |code: u16| {
                code != u16::MAX && is_wanted(u32::from(code))
            }),
            Self::Wide(codes) => mark(&mut bits, codes, |code: u32| {
                code != NONE && is_wanted(code)
            }),
        }
        bits
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Absent(_) => 0,
            Self::Narrow(codes) => codes.capacity() * 2,
            Self::Wide(codes) => codes.capacity() * 4,
        }
    }
}

fn widen(code: u16) -> u32 {
    if code == u16::MAX {
        NONE
    } else {
        u32::from(code)
    }
}

/// One text field of all rows.
#[derive(Debug, Clone, Default)]
pub(super) struct TextColumn {
    codes: HashMap<Arc<str>, u32>,
    order: BTreeMap<Arc<str>, u32>,
    values: Vec<Value>,
    chunks: Vec<Postings>,
    open: Open,
    /// The code of the value that was added last.
    recent: u32,
}

impl TextColumn {
    /// The next row.
    pub(super) fn push(&mut self, text: Option<&str>) {
        let code = match text {
            None => NONE,
            Some(text) => {
                let code = self.code_of(text);
                self.values[code as usize].total += 1;
                code
            }
        };
        self.open.push(code);
        if self.open.len() == CHUNK_ROWS {
            self.seal();
        }
    }

    fn code_of(&mut self, text: &str) -> u32 {
        // Neighbours often have the same value; some fields have but one.
        if self
            .values
            .get(self.recent as usize)
            .is_some_and(|value| &*value.text == text)
        {
            return self.recent;
        }
        self.recent = match self.codes.get(text) {
            Some(code) => *code,
            None => self.add_value(text),
        };
        self.recent
    }

    fn add_value(&mut self, text: &str) -> u32 {
        let (code, text) = (self.values.len() as u32, Arc::<str>::from(text));
        self.codes.insert(text.clone(), code);
        self.order.insert(text.clone(), code);
        self.values.push(Value {
            text,
            total: 0,
            places: Vec::new(),
        });
        code
    }

    fn seal(&mut self) {
        let open = std::mem::take(&mut self.open).to_vec();
        let mut counts = vec![0u32; self.values.len()];
        for code in open.iter().filter(|code| **code != NONE) {
            counts[*code as usize] += 1;
        }
        let mut codes = open.clone();
        codes.sort_unstable();
        codes.dedup();
        if codes.last() == Some(&NONE) {
            codes.pop();
        }
        self.sort_by_text(&mut codes);
        // Where the next row of a code goes, by code: a place in the list, or a bitmap.
        const BITMAP: u32 = 1 << 31;
        let mut next = vec![0u32; self.values.len()];
        let mut slots = Vec::with_capacity(codes.len());
        let mut dense = Vec::new();
        let (mut before, mut listed) = (0, 0);
        for (slot, code) in codes.iter().enumerate() {
            let count = counts[*code as usize];
            slots.push(Slot {
                code: *code,
                before,
            });
            before += count;
            if count as usize > LIST_MAX {
                next[*code as usize] = BITMAP | dense.len() as u32;
                dense.push((slot as u32, Bits::empty()));
            } else {
                next[*code as usize] = listed;
                listed += count;
            }
        }
        let mut rows = vec![0u16; listed as usize].into_boxed_slice();
        for (row, code) in open.iter().enumerate() {
            let Some(next) = next.get_mut(*code as usize) else {
                continue;
            };
            if *next & BITMAP == 0 {
                rows[*next as usize] = row as u16;
                *next += 1;
            } else {
                dense[(*next & !BITMAP) as usize].1.insert(row as u16);
            }
        }
        let mut postings = Postings::new(slots.into_boxed_slice(), rows, dense);
        postings.mark();
        self.add_places(&postings);
        self.chunks.push(postings);
    }

    fn sort_by_text(&self, codes: &mut [u32]) {
        // Ranking all values is cheaper than comparing texts unless the chunk holds a small part of them.
        if self.values.len() / 8 > codes.len() {
            codes.sort_unstable_by(|a, b| self.text(*a).cmp(self.text(*b)));
            return;
        }
        let mut ranks = vec![0u32; self.values.len()];
        for (rank, code) in self.order.values().enumerate() {
            ranks[*code as usize] = rank as u32;
        }
        codes.sort_unstable_by_key(|code| ranks[*code as usize]);
    }

    fn text(&self, code: u32) -> &str {
        &self.values[code as usize].text
    }

    /// Notes the places of the chunk that comes next.
    fn add_places(&mut self, postings: &Postings) {
        let chunk = self.chunks.len() as u32;
        for (slot, value) in postings.slots.iter().enumerate() {
            let places = &mut self.values[value.code as usize].places;
            if places.len() == places.capacity() {
                // Rather by a quarter than twofold: there are many of them.
                places.reserve_exact(places.len() / 4 + 1);
            }
            places.push(Place {
                chunk,
                slot: slot as u32,
            });
        }
    }

    /// The code of a value that a row has.
    pub(super) fn code(&self, text: &str) -> Option<u32> {
        self.codes.get(text).copied()
    }

    /// How many rows have one of the values, each named once.
    pub(super) fn total(&self, codes: &[u32]) -> usize {
        codes
            .iter()
            .map(|code| self.values[*code as usize].total as usize)
            .sum()
    }

    /// The codes of the values between two bounds.
    fn codes_between(&self, low: &TextBound, high: &TextBound) -> impl Iterator<Item = u32> {
        let text = |bound: &TextBound| bound.as_ref().map(|text| Arc::<str>::from(text.as_str()));
        self.order
            .range((text(low), text(high)))
            .map(|(_, code)| *code)
    }

    /// How many rows have a value between two bounds.
    pub(super) fn total_between(&self, low: &TextBound, high: &TextBound) -> usize {
        self.codes_between(low, high)
            .map(|code| self.values[code as usize].total as usize)
            .sum()
    }

    /// In how many sealed chunks the values are, counted once for each value.
    pub(super) fn place_count(&self, codes: &[u32]) -> usize {
        let places = codes.iter().map(|code| &self.values[*code as usize].places);
        places.map(Vec::len).sum()
    }

    /// The sealed chunks that have a row with one of the values, rising.
    pub(super) fn chunks_of(&self, codes: &[u32]) -> Vec<usize> {
        let values = codes.iter().map(|code| &self.values[*code as usize]);
        let places = values.flat_map(|value| &value.places);
        let mut chunks: Vec<usize> = places.map(|place| place.chunk as usize).collect();
        if codes.len() > 1 {
            chunks.sort_unstable();
            chunks.dedup();
        }
        chunks
    }

    fn slot(&self, chunk: usize, code: u32) -> Option<usize> {
        let places = &self.values[code as usize].places;
        let found = places.binary_search_by_key(&(chunk as u32), |place| place.chunk);
        found.ok().map(|index| places[index].slot as usize)
    }

    fn slots_between(
        &self,
        postings: &Postings,
        low: &TextBound,
        high: &TextBound,
    ) -> (usize, usize) {
        let below = |slot: &Slot| match low {
            Bound::Included(low) => self.text(slot.code) < low.as_str(),
            Bound::Excluded(low) => self.text(slot.code) <= low.as_str(),
            Bound::Unbounded => false,
        };
        let not_above = |slot: &Slot| match high {
            Bound::Included(high) => self.text(slot.code) <= high.as_str(),
            Bound::Excluded(high) => self.text(slot.code) < high.as_str(),
            Bound::Unbounded => true,
        };
        (
            postings.slots.partition_point(below),
            postings.slots.partition_point(not_above),
        )
    }

    /// How many rows of a chunk have one of the values; `None` when that takes a look at the rows.
    pub(super) fn quick_count(&self, chunk: usize, codes: &[u32]) -> Option<usize> {
        let postings = self.chunks.get(chunk)?;
        let slots = codes.iter().filter_map(|code| self.slot(chunk, *code));
        Some(slots.map(|slot| postings.count(slot)).sum())
    }

    /// The rows of a chunk that have one of the values.
    pub(super) fn rows(&self, chunk: usize, codes: &[u32]) -> Rows<'_> {
        let Some(postings) = self.chunks.get(chunk) else {
            return Rows::Made(match codes {
                [code] => self.open.rows(|found| found == *code),
                codes => {
                    let is_wanted = self.marks(codes.iter().copied());
                    self.open.rows(|found| is_wanted[found as usize])
                }
            });
        };
        let mut slots = codes.iter().filter_map(|code| self.slot(chunk, *code));
        let Some(first) = slots.next() else {
            return Rows::List(&[]);
        };
        let Some(second) = slots.next() else {
            return postings.rows_of(first);
        };
        let mut bits = Bits::empty();
        for slot in [first, second].into_iter().chain(slots) {
            postings.add_to(slot, &mut bits);
        }
        Rows::Made(bits)
    }

    /// How many rows of a chunk have a value between two bounds; `None` when that takes a look at the rows.
    pub(super) fn quick_count_between(
        &self,
        chunk: usize,
        low: &TextBound,
        high: &TextBound,
    ) -> Option<usize> {
        let postings = self.chunks.get(chunk)?;
        let (first, end) = self.slots_between(postings, low, high);
        Some(if first < end {
            postings.before(end) - postings.before(first)
        } else {
            0
        })
    }

    /// The rows of a chunk that have a value between two bounds.
    pub(super) fn rows_between(&self, chunk: usize, low: &TextBound, high: &TextBound) -> Rows<'_> {
        let Some(postings) = self.chunks.get(chunk) else {
            let is_wanted = self.marks(self.codes_between(low, high));
            return Rows::Made(self.open.rows(|found| is_wanted[found as usize]));
        };
        let (first, end) = self.slots_between(postings, low, high);
        match end.saturating_sub(first) {
            0 => Rows::List(&[]),
            1 => postings.rows_of(first),
            _ => Rows::Made(postings.rows_of_slots(first, end)),
        }
    }

    /// A mark for each code.
    fn marks(&self, codes: impl Iterator<Item = u32>) -> Vec<bool> {
        let mut marks = vec![false; self.values.len()];
        for code in codes {
            marks[code as usize] = true;
        }
        marks
    }

    /// Bytes on the heap, about.
    pub(super) fn bytes(&self) -> usize {
        let chunk = |postings: &Postings| {
            postings.slots.len() * size_of::<Slot>()
                + postings.rows.len() * 2
                + (postings.dense.len() + postings.marks.len())
                    * (size_of::<(u32, Bits)>() + CHUNK_ROWS / 8)
        };
        // The text itself with its counts, an entry of the hash map and one of the tree, with their usual slack.
        let value = |value: &Value| {
            value.text.len() + 16 + 45 + 35 + value.places.capacity() * size_of::<Place>()
        };
        self.chunks.iter().map(chunk).sum::<usize>()
            + self.values.iter().map(value).sum::<usize>()
            + self.values.capacity() * size_of::<Value>()
            + self.open.bytes()
    }

    /// The parts that a snapshot keeps: the values' texts by code, the sealed chunks, the codes of the open one.
    pub(super) fn parts(&self) -> (impl Iterator<Item = &str>, &[Postings], Vec<u32>) {
        let texts = self.values.iter().map(|value| &*value.text);
        (texts, &self.chunks, self.open.to_vec())
    }

    /// A column of the parts that [`TextColumn::parts`] gave; `None` when they do not fit together.
    pub(super) fn from_parts(
        texts: Vec<String>,
        chunks: Vec<Postings>,
        open: Vec<u32>,
    ) -> Option<Self> {
        let mut column = Self::default();
        for text in &texts {
            column.add_value(text);
        }
        for mut postings in chunks {
            postings.mark();
            if postings
                .slots
                .iter()
                .any(|slot| slot.code as usize >= texts.len())
            {
                return None;
            }
            for (slot, value) in postings.slots.iter().enumerate() {
                column.values[value.code as usize].total += postings.count(slot) as u32;
            }
            column.add_places(&postings);
            column.chunks.push(postings);
        }
        for code in &open {
            if *code != NONE {
                column.values.get_mut(*code as usize)?.total += 1;
            }
        }
        open.into_iter().for_each(|code| column.open.push(code));
        Some(column)
    }
}

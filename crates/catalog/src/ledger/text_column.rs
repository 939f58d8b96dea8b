//! A text field that never changes: which rows have which value.
//!
//! Values get codes in the order of their arrival. The open chunk keeps the code of each row; a full chunk is sealed into
//! postings: the chunk's values in the order of their bytes, each with its sorted rows, so that a value and a range of
//! values are both found by a search. Each value knows the chunks that hold it: a rare value is found without looking at
//! the others.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::open_chunk::{NONE, OpenChunk};
use super::postings::{Postings, Slot};
use super::set::{Bits, CHUNK_ROWS, LIST_MAX, Rows};

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

/// A bound of a range of texts.
pub(super) type TextBound = Bound<String>;

/// One text field of all rows.
#[derive(Debug, Clone, Default)]
pub(super) struct TextColumn {
    codes: HashMap<Arc<str>, u32>,
    order: BTreeMap<Arc<str>, u32>,
    values: Vec<Value>,
    chunks: Vec<Postings>,
    open: OpenChunk,
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
        postings.rank();
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
                [code] => self.open.rows_of(*code),
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
                + postings.dense.len() * (size_of::<(u32, Bits)>() + CHUNK_ROWS / 8)
                + postings.planes.as_ref().map_or(0, |planes| planes.bytes())
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
            postings.rank();
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

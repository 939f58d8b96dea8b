//! The state of each row: few values, and the only text that changes.

use model::JobStatus;

use super::set::{Bits, CHUNK_ROWS, Rows, Set};

/// How many states there are.
pub(super) const STATES: usize = JobStatus::ALL.len();

/// A set of states, one bit each, in the order of [`JobStatus::ALL`].
pub(super) type StateMask = u16;

/// The place of a state in [`JobStatus::ALL`], which lists the states as they are declared.
pub(super) const fn number(status: JobStatus) -> usize {
    status as usize
}

/// States by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StateColumn {
    pub(super) chunks: Vec<[Set; STATES]>,
    totals: [u32; STATES],
}

impl StateColumn {
    /// The next row.
    pub(super) fn push(&mut self, row: usize, status: JobStatus) {
        if row.is_multiple_of(CHUNK_ROWS) {
            self.chunks.push(Default::default());
        }
        self.chunks[row / CHUNK_ROWS][number(status)].insert((row % CHUNK_ROWS) as u16);
        self.totals[number(status)] += 1;
    }

    /// Changes a row's state.
    pub(super) fn set(&mut self, row: usize, status: JobStatus) {
        let (old, new) = (self.get(row), number(status));
        let (sets, place) = (
            &mut self.chunks[row / CHUNK_ROWS],
            (row % CHUNK_ROWS) as u16,
        );
        sets[old].remove(place);
        sets[new].insert(place);
        self.totals[old] -= 1;
        self.totals[new] += 1;
    }

    /// The place of the row's state in [`JobStatus::ALL`].
    pub(super) fn get(&self, row: usize) -> usize {
        let (sets, place) = (&self.chunks[row / CHUNK_ROWS], (row % CHUNK_ROWS) as u16);
        let found = sets.iter().position(|set| set.contains(place));
        found.expect("each row has one state")
    }

    fn wanted(mask: StateMask) -> impl Iterator<Item = usize> {
        (0..STATES).filter(move |state| mask >> state & 1 == 1)
    }

    /// How many rows have one of the states.
    pub(super) fn total(&self, mask: StateMask) -> usize {
        Self::wanted(mask)
            .map(|state| self.totals[state] as usize)
            .sum()
    }

    /// How many rows of a chunk have one of the states.
    pub(super) fn count(&self, chunk: usize, mask: StateMask) -> usize {
        Self::wanted(mask)
            .map(|state| self.chunks[chunk][state].count())
            .sum()
    }

    /// The rows of a chunk that have one of the states.
    pub(super) fn rows(&self, chunk: usize, mask: StateMask) -> Rows<'_> {
        let sets = &self.chunks[chunk];
        let mut wanted = Self::wanted(mask).filter(|state| sets[*state].count() > 0);
        let (first, second) = (wanted.next(), wanted.next());
        let (first, second) = match (first, second) {
            (None, _) => return Rows::List(&[]),
            (Some(first), None) => return sets[first].as_part(),
            (Some(first), Some(second)) => (first, second),
        };
        let mut bits = Bits::empty();
        for state in [first, second].into_iter().chain(wanted) {
            match &sets[state] {
                Set::List(rows) => bits.add_list(rows),
                Set::Bits(other) => bits.add(other),
            }
        }
        Rows::Made(bits)
    }

    pub(super) fn bytes(&self) -> usize {
        let sets = self.chunks.iter().flatten();
        sets.map(Set::bytes).sum::<usize>() + self.chunks.capacity() * size_of::<[Set; STATES]>()
    }

    /// A column of its chunks, as a snapshot keeps them.
    pub(super) fn from_chunks(chunks: Vec<[Set; STATES]>) -> Self {
        let mut totals = [0; STATES];
        for (state, total) in totals.iter_mut().enumerate() {
            *total = chunks.iter().map(|sets| sets[state].count() as u32).sum();
        }
        Self { chunks, totals }
    }
}

//! The rows of one run that meet all clauses: how many there are, and any of them by its rank.
//!
//! The run is looked at chunk by chunk, and only at chunks that can have matches. Where a count can be had without looking
//! at rows (one clause, nothing deleted), it is.

use std::cell::OnceCell;

use super::clauses::{Clause, Clauses, Term};
use super::run::Run;
use super::set::{Bits, CHUNK_ROWS, Rows, Set, filter_list};

/// The matching rows of one run.
#[derive(Debug)]
pub(super) struct Matches<'a> {
    pub(super) run: &'a Run,
    clauses: Clauses,
    /// The chunks that may have matches, rising.
    chunks: Vec<usize>,
    /// Matches by position in `chunks`.
    counts: OnceCell<Vec<usize>>,
    pub(super) total: usize,
}

impl<'a> Matches<'a> {
    pub(super) fn new(run: &'a Run, clauses: Clauses) -> Self {
        let chunks = candidates(run, &clauses);
        let mut matches = Self {
            run,
            clauses,
            chunks,
            counts: OnceCell::new(),
            total: 0,
        };
        matches.total = match matches.quick_total() {
            Some(total) => total,
            None => matches.counts().iter().sum(),
        };
        matches
    }

    /// The number of matches, when no chunk needs to be asked for it.
    fn quick_total(&self) -> Option<usize> {
        if self.clauses.window.is_empty() {
            return Some(0);
        }
        let (run, window) = (self.run, &self.clauses.window);
        if run.dead.total > 0 {
            return None;
        }
        if self.clauses.clauses.is_empty() {
            return Some(window.len());
        }
        let ([clause], true) = (self.clauses.clauses.as_slice(), window.len() == run.len()) else {
            return None;
        };
        let total = match &clause.term {
            Term::Places(places) => places.iter().map(ExactSizeIterator::len).sum(),
            Term::Codes { column, codes } => run.texts[*column].total(codes),
            Term::Between { column, low, high } => run.texts[*column].total_between(low, high),
            Term::States(mask) => run.states.total(*mask),
            Term::Completed { .. } => return None,
        };
        Some(if clause.is_wanted {
            total
        } else {
            run.len() - total
        })
    }

    fn counts(&self) -> &[usize] {
        self.counts.get_or_init(|| {
            let counts = self.chunks.iter().map(|chunk| self.count_chunk(*chunk));
            counts.collect()
        })
    }

    /// Matches in the chunk at a position of `chunks`.
    fn count_at(&self, position: usize) -> usize {
        match self.counts.get() {
            Some(counts) => counts[position],
            None => self.count_chunk(self.chunks[position]),
        }
    }

    /// The places of a chunk within the window, as rows of the chunk.
    fn clip(&self, chunk: usize) -> (usize, usize) {
        let (rows, window) = (self.run.chunk_rows(chunk), &self.clauses.window);
        let (from, to) = (rows.start.max(window.start), rows.end.min(window.end));
        (from - rows.start, to.max(from) - rows.start)
    }

    fn count_chunk(&self, chunk: usize) -> usize {
        self.quick_chunk_count(chunk)
            .unwrap_or_else(|| self.rows(chunk).count())
    }

    /// Matches in a chunk, when they are known without looking at its rows.
    fn quick_chunk_count(&self, chunk: usize) -> Option<usize> {
        let (from, to) = self.clip(chunk);
        let is_clean = self.run.dead.chunks[chunk].is_none();
        let rows = self.run.chunk_rows(chunk).len();
        match self.clauses.clauses.as_slice() {
            [] if is_clean => Some(to - from),
            [clause] if is_clean && to - from == rows => {
                self.quick_count(chunk, clause).map(|count| {
                    if clause.is_wanted {
                        count
                    } else {
                        rows - count
                    }
                })
            }
            _ => None,
        }
    }

    fn quick_count(&self, chunk: usize, clause: &Clause) -> Option<usize> {
        match &clause.term {
            Term::Places(_) => None,
            Term::Codes { column, codes } => self.run.texts[*column].quick_count(chunk, codes),
            Term::Between { column, low, high } => {
                self.run.texts[*column].quick_count_between(chunk, low, high)
            }
            Term::States(mask) => Some(self.run.states.count(chunk, *mask)),
            Term::Completed { low, high } => self.run.completed.quick_count(chunk, *low, *high),
        }
    }

    fn rows_of(&self, chunk: usize, term: &Term) -> Rows<'a> {
        let run = self.run;
        match term {
            Term::Places(places) => {
                let rows = run.chunk_rows(chunk);
                let mut bits = Bits::empty();
                let first = places.partition_point(|range| range.end <= rows.start);
                for range in places[first..]
                    .iter()
                    .take_while(|range| range.start < rows.end)
                {
                    let (from, to) = (range.start.max(rows.start), range.end.min(rows.end));
                    bits.fill(from - rows.start, to - rows.start);
                }
                Rows::Made(bits)
            }
            Term::Codes { column, codes } => run.texts[*column].rows(chunk, codes),
            Term::Between { column, low, high } => {
                run.texts[*column].rows_between(chunk, low, high)
            }
            Term::States(mask) => run.states.rows(chunk, *mask),
            Term::Completed { low, high } => match run.completed.quick_count(chunk, *low, *high) {
                Some(0) => Rows::List(&[]),
                Some(count) if count == run.chunk_rows(chunk).len() => Rows::All,
                _ => Rows::Made(run.completed.rows(&run.created, chunk, *low, *high)),
            },
        }
    }

    /// The matching rows of a chunk.
    fn rows(&self, chunk: usize) -> Set {
        let (from, to) = self.clip(chunk);
        let mut parts: Vec<(Rows<'a>, bool)> = Vec::with_capacity(self.clauses.clauses.len() + 1);
        for clause in &self.clauses.clauses {
            let rows = self.rows_of(chunk, &clause.term);
            match (&rows, clause.is_wanted) {
                (Rows::All, false) => return Set::default(),
                (Rows::List([]), true) => return Set::default(),
                (Rows::All, true) | (Rows::List([]), false) => {}
                (_, is_wanted) => parts.push((rows, is_wanted)),
            }
        }
        if let Some(dead) = &self.run.dead.chunks[chunk] {
            parts.push((Rows::Bits(dead), false));
        }
        let lists = parts
            .iter()
            .enumerate()
            .filter_map(|(index, part)| match part {
                (Rows::List(rows), true) => Some((rows.len(), index)),
                _ => None,
            });
        match lists.min() {
            Some((_, shortest)) => {
                let Rows::List(rows) = parts.swap_remove(shortest).0 else {
                    return Set::default();
                };
                let (first, end) = (
                    rows.partition_point(|row| usize::from(*row) < from),
                    rows.partition_point(|row| usize::from(*row) < to),
                );
                let mut list = rows[first..end].to_vec();
                for (rows, is_wanted) in &parts {
                    filter_list(&mut list, rows, *is_wanted);
                }
                Set::List(list)
            }
            None => Set::Bits(intersect(parts, from, to)),
        }
    }

    /// A walk over the matches.
    pub(super) fn walk(&self, direction: Direction) -> Walk<'_, 'a> {
        Walk {
            matches: self,
            direction,
            step: 0,
            rank: 0,
            open: None,
        }
    }

    /// How many matches lie before `place`.
    pub(super) fn rank(&self, place: usize, cache: &mut Option<(usize, Set)>) -> usize {
        let chunk = place / CHUNK_ROWS;
        let position = self.chunks.partition_point(|other| *other < chunk);
        let before: usize = self.counts()[..position].iter().sum();
        if self.chunks.get(position) != Some(&chunk) {
            return before;
        }
        if cache.as_ref().is_none_or(|(cached, _)| *cached != chunk) {
            *cache = Some((chunk, self.rows(chunk)));
        }
        let within = cache
            .as_ref()
            .map_or(0, |(_, rows)| rows.count_below(place % CHUNK_ROWS));
        before + within
    }
}

fn intersect(mut parts: Vec<(Rows<'_>, bool)>, from: usize, to: usize) -> Bits {
    let mut found = match parts
        .iter()
        .position(|(rows, is_wanted)| *is_wanted && matches!(rows, Rows::Made(_)))
    {
        Some(made) => match parts.swap_remove(made).0 {
            Rows::Made(bits) => bits,
            _ => Bits::empty(),
        },
        None => Bits::range(from, to),
    };
    for (rows, is_wanted) in &parts {
        match (rows, is_wanted) {
            (Rows::Bits(bits), true) => found.keep(bits),
            (Rows::Made(bits), true) => found.keep(bits),
            (Rows::Bits(bits), false) => found.subtract(bits),
            (Rows::Made(bits), false) => found.subtract(bits),
            (Rows::List(rows), false) => rows.iter().for_each(|row| found.remove(*row)),
            (Rows::List(rows), true) => found.keep(&Bits::from_list(rows)),
            (Rows::All, _) => {}
        }
    }
    if from > 0 || to < CHUNK_ROWS {
        found.keep(&Bits::range(from, to));
    }
    found
}

/// The chunks that may have matches.
fn candidates(run: &Run, clauses: &Clauses) -> Vec<usize> {
    let window = &clauses.window;
    if window.is_empty() {
        return Vec::new();
    }
    let within = window.start / CHUNK_ROWS..(window.end - 1) / CHUNK_ROWS + 1;
    let mut rarest: Option<(usize, usize, &[u32])> = None;
    for clause in clauses.clauses.iter().filter(|clause| clause.is_wanted) {
        if let Term::Codes { column, codes } = &clause.term {
            let places = run.texts[*column].place_count(codes);
            if rarest.is_none_or(|(least, _, _)| places < least) {
                rarest = Some((places, *column, codes));
            }
        }
    }
    match rarest {
        Some((places, column, codes)) if places < within.len() * 4 => {
            let mut chunks = run.texts[column].chunks_of(codes);
            let open = run.len() / CHUNK_ROWS;
            if open < run.chunk_count() && !codes.is_empty() {
                chunks.push(open);
            }
            chunks.retain(|chunk| within.contains(chunk));
            chunks
        }
        _ => within.collect(),
    }
}

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Rising,
    Falling,
}

/// A walk over matches, place by place.
#[derive(Debug)]
pub(super) struct Walk<'m, 'a> {
    matches: &'m Matches<'a>,
    direction: Direction,
    /// Chunks that are behind.
    step: usize,
    /// Matches of the present chunk that are behind.
    rank: usize,
    /// The present chunk, once its rows are needed.
    open: Option<OpenChunk>,
}

/// The matches of a chunk.
#[derive(Debug)]
enum Found {
    /// All rows of a range.
    Range(usize, usize),
    Set(Set),
}

/// A chunk that a walk is in.
#[derive(Debug)]
struct OpenChunk {
    rows: Found,
    count: usize,
    /// The row that the walk stands at.
    last: Option<u16>,
}

impl<'a> Walk<'_, 'a> {
    pub(super) fn run(&self) -> &'a Run {
        self.matches.run
    }

    fn position(&self) -> Option<usize> {
        let chunks = self.matches.chunks.len();
        (self.step < chunks).then(|| match self.direction {
            Direction::Rising => self.step,
            Direction::Falling => chunks - 1 - self.step,
        })
    }

    /// Passes over `count` matches, without looking at the rows of chunks that are passed whole.
    pub(super) fn skip(&mut self, mut count: usize) {
        while count > 0
            && let Some(position) = self.position()
        {
            let left = self.matches.count_at(position) - self.rank;
            if count < left {
                self.rank += count;
                if let Some(open) = &mut self.open {
                    open.last = None;
                }
                return;
            }
            count -= left;
            self.next_chunk();
        }
    }

    fn next_chunk(&mut self) {
        self.step += 1;
        self.rank = 0;
        self.open = None;
    }

    /// The next match.
    pub(super) fn next(&mut self) -> Option<usize> {
        loop {
            let chunk = self.matches.chunks[self.position()?];
            let open = self
                .open
                .get_or_insert_with(|| OpenChunk::new(self.matches, chunk));
            if self.rank < open.count {
                let rank = self.rank;
                self.rank += 1;
                let row = open.next(self.direction, rank)?;
                return Some(chunk * CHUNK_ROWS + usize::from(row));
            }
            self.next_chunk();
        }
    }
}

impl OpenChunk {
    fn new(matches: &Matches<'_>, chunk: usize) -> Self {
        let is_whole =
            matches.clauses.clauses.is_empty() && matches.run.dead.chunks[chunk].is_none();
        let (rows, count) = if is_whole {
            let (from, to) = matches.clip(chunk);
            (Found::Range(from, to), to - from)
        } else {
            let rows = matches.rows(chunk);
            let known = matches.quick_chunk_count(chunk);
            let count = known.unwrap_or_else(|| rows.count());
            (Found::Set(rows), count)
        };
        Self {
            rows,
            count,
            last: None,
        }
    }

    /// Goes on to the row number `rank` in the direction: the one after the last one, unless some were passed over.
    fn next(&mut self, direction: Direction, rank: usize) -> Option<u16> {
        let rows = match (&self.rows, direction) {
            (Found::Range(from, _), Direction::Rising) => return u16::try_from(from + rank).ok(),
            (Found::Range(_, to), Direction::Falling) => return u16::try_from(to - 1 - rank).ok(),
            (Found::Set(rows), _) => rows,
        };
        let last = self.last;
        self.last = match direction {
            Direction::Rising => last
                .and_then(|last| rows.after(last))
                .or_else(|| rows.select(rank)),
            Direction::Falling => last
                .and_then(|last| rows.before(last))
                .or_else(|| rows.select_back(rank)),
        };
        self.last
    }
}

//! The index of the job ledger: exact counts and any page of any query, without asking the database for more than the
//! rows of the page.
//!
//! Owns the jobs' filterable fields in memory, one [`PartIndex`] for each account and source type. Never reads the
//! database, never is the truth: `jobs` feeds it from the change log and can build it anew at any time.
//!
//! A part is one `Run` of rows in the order of (CreatedTime, JobId), or several after imports out of order. Rows
//! are grouped in chunks of 65,536. A field is a column that answers, for a chunk, which rows meet a clause: as a sorted
//! list or a bitmap. Clauses are intersected chunk by chunk, only where there can be matches; counts that are known
//! without looking at rows are not computed. A page is found by rank: in one run by the counts of its chunks, in several
//! by a search over time. So CreatedTime ranges are ranges of places, and a rare value costs what its rows cost.
//!
//! Sealed chunks of the texts never change. States and completed times do, in place; deleted rows are masked.
//!
//! Modules in reading order: `set`, `times`, `open_chunk`, `rank_planes`, `postings`, `text_column`, `state_column`, `extents`, `run`, `clauses`, `matches`,
//! `page`, `snapshot`.

mod clauses;
mod extents;
mod matches;
mod open_chunk;
mod page;
mod postings;
mod rank_planes;
mod run;
mod set;
mod snapshot;
mod state_column;
#[cfg(test)]
mod tests;
mod text_column;
mod times;

use model::{Filter, FilterKey, JobQuery, JobStatus, Predicate, SortDirection, SourceType, Test};

pub use self::clauses::JobIds;
use self::clauses::{Clause, Clauses, Term};
use self::matches::{Direction, Matches};
use self::page::Source;
pub use self::run::IndexRow;
use self::run::{Run, TEXT_KEYS};
use self::set::CHUNK_ROWS;
use crate::error::CatalogError;

/// A part with more runs than this is slow to ask and should be built anew.
pub const MAX_RUNS: usize = 8;

/// The index of one account's jobs of one source type.
#[derive(Debug, Clone)]
pub struct PartIndex {
    source_type: SourceType,
    runs: Vec<Run>,
}

/// Of each state, in the order of [`JobStatus::ALL`]: the jobs, and those of them that have a completed time.
pub type StateCounts = [(u64, u64); JobStatus::ALL.len()];

/// One page: which rows, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexAnswer {
    /// All matches.
    pub total: u64,
    /// The rows of the page in order: the part's position in the question, and the job's number in it.
    pub rows: Vec<(usize, u32)>,
}

impl PartIndex {
    /// An index without rows.
    #[must_use]
    pub const fn new(source_type: SourceType) -> Self {
        Self {
            source_type,
            runs: Vec::new(),
        }
    }

    /// Which jobs it holds.
    #[must_use]
    pub const fn source_type(&self) -> SourceType {
        self.source_type
    }

    /// Adds a job that was not there before. Cheapest in the order of (CreatedTime, JobId).
    pub fn push(&mut self, row: &IndexRow<'_>) {
        let run = self
            .runs
            .iter()
            .position(|run| run.takes(row.created_time, row.job_id));
        let run = run.unwrap_or_else(|| {
            self.runs.push(Run::new());
            self.runs.len() - 1
        });
        self.runs[run].push(row);
    }

    /// To be called after [`PartIndex::push`], before anything else.
    pub fn settle(&mut self) {
        for run in &mut self.runs {
            run.seqs.settle();
        }
    }

    fn place(&self, seq: u32) -> Option<(usize, usize)> {
        let mut runs = self.runs.iter().enumerate();
        runs.find_map(|(index, run)| run.seqs.row(seq).map(|place| (index, place)))
    }

    /// Takes over what can change of a job; `false` when the job is not here.
    pub fn change(&mut self, seq: u32, status: JobStatus, complete_time: Option<i64>) -> bool {
        let found = self.place(seq);
        if let Some((run, place)) = found {
            self.runs[run].change(place, status, complete_time);
        }
        found.is_some()
    }

    /// Whether the job was added, be it deleted since.
    #[must_use]
    pub fn has(&self, seq: u32) -> bool {
        self.place(seq).is_some()
    }

    /// Takes a job out; a job that is not here is none.
    pub fn delete(&mut self, seq: u32) {
        if let Some((run, place)) = self.place(seq) {
            self.runs[run].delete(place);
        }
    }

    /// Takes all jobs out that have this value in a text field and numbers up to `last_seq`.
    pub fn delete_all(&mut self, key: FilterKey, text: &str, last_seq: u32) {
        let Some(column) = TEXT_KEYS.iter().position(|other| *other == key) else {
            return;
        };
        for run in &mut self.runs {
            let Some(code) = run.texts[column].code(text) else {
                continue;
            };
            let clauses = Clauses {
                window: 0..run.len(),
                clauses: vec![Clause::wanted(Term::Codes {
                    column,
                    codes: vec![code],
                })],
            };
            let matches = Matches::new(run, clauses);
            let mut walk = matches.walk(Direction::Rising);
            let places: Vec<usize> = std::iter::from_fn(|| walk.next())
                .filter(|place| run.seqs.seq(*place) <= last_seq)
                .collect();
            places.into_iter().for_each(|place| run.delete(place));
        }
    }

    /// Whether imports have left so many runs, or removals so many dead rows, that the part should be built anew.
    #[must_use]
    pub fn is_scattered(&self) -> bool {
        let (dead, all) = (
            self.dead_count(),
            self.runs.iter().map(Run::len).sum::<usize>(),
        );
        self.runs.len() > MAX_RUNS || dead > CHUNK_ROWS && dead > all / 2
    }

    /// Jobs, without the deleted ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len() - run.dead.total).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The jobs by state.
    #[must_use]
    pub fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for run in &self.runs {
            let count = |clauses: Vec<Clause>| {
                let window = 0..run.len();
                Matches::new(run, Clauses { window, clauses }).total as u64
            };
            for (state, (all, completed)) in counts.iter_mut().enumerate() {
                let is_state = Clause::wanted(Term::States(1 << state));
                let is_completed = Clause::wanted(Term::Completed {
                    low: i64::MIN,
                    high: i64::MAX,
                });
                *all += count(vec![is_state.clone()]);
                *completed += count(vec![is_state, is_completed]);
            }
        }
        counts
    }

    /// How many rows are kept that were deleted.
    #[must_use]
    pub fn dead_count(&self) -> usize {
        self.runs.iter().map(|run| run.dead.total).sum()
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(Run::bytes).sum()
    }
}

/// The page and the exact count of the jobs in `parts` that match. The parts are those of one account; each comes with
/// its jobs' ids.
///
/// # Errors
/// Those of the ids.
pub fn query(
    parts: &[(&PartIndex, &dyn JobIds)],
    query: &JobQuery,
) -> Result<IndexAnswer, CatalogError> {
    let mut sources = Vec::new();
    for (number, (part, ids)) in parts.iter().enumerate() {
        if query
            .source_type
            .is_some_and(|wanted| wanted != part.source_type)
        {
            continue;
        }
        for run in &part.runs {
            let clauses = Clauses::new(run, &query.filters, part.source_type.as_str(), *ids)?;
            sources.push(Source {
                matches: Matches::new(run, clauses),
                ids: *ids,
                part: number,
            });
        }
    }
    let total: usize = sources.iter().map(|source| source.matches.total).sum();
    let direction = match query.sort {
        SortDirection::Ascend => Direction::Rising,
        SortDirection::Descend => Direction::Falling,
    };
    let size = query.page_size as usize;
    let offset = (query.page_number as usize - 1).saturating_mul(size);
    let found = page::page(&sources, direction, offset, size)?;
    Ok(IndexAnswer {
        total: total as u64,
        rows: found
            .into_iter()
            .map(|found| (found.part, found.seq))
            .collect(),
    })
}

/// At most `limit` jobs of a part that ended before a time; what has no completed time counts from its creation.
#[must_use]
pub fn ended_before(part: &PartIndex, before: i64, limit: usize) -> Vec<u32> {
    let states = JobStatus::ALL.iter().enumerate();
    let ended = states
        .filter(|(_, status)| status.is_final())
        .fold(0, |mask, (number, _)| mask | 1 << number);
    let last = before.saturating_sub(1);
    let completed = |low, high| Term::Completed { low, high };
    let mut seqs = Vec::new();
    for run in &part.runs {
        let told = (0..run.len(), Clause::wanted(completed(i64::MIN, last)));
        let untold = (
            run.created.rows(i64::MIN, last),
            Clause {
                term: completed(i64::MIN, i64::MAX),
                is_wanted: false,
            },
        );
        for (window, clause) in [told, untold] {
            let clauses = vec![Clause::wanted(Term::States(ended)), clause];
            let matches = Matches::new(run, Clauses { window, clauses });
            let mut walk = matches.walk(Direction::Rising);
            let left = limit - seqs.len();
            let places = std::iter::from_fn(|| walk.next()).take(left);
            seqs.extend(places.map(|place| run.seqs.seq(place)));
        }
    }
    seqs
}

/// An upper bound of the microseconds that a question takes on a slow processor, about.
pub fn effort<'a>(parts: impl IntoIterator<Item = &'a PartIndex>, query: &JobQuery) -> u64 {
    let asked = parts.into_iter().filter(|part| {
        query
            .source_type
            .is_none_or(|wanted| wanted == part.source_type)
    });
    let runs = asked.flat_map(|part| &part.runs);
    runs.map(|run| {
        let chunks = run.chunk_count() as u64;
        let filters = query.filters.iter();
        filters
            .map(|filter| effort_of(filter, chunks))
            .fold(0, u64::saturating_add)
    })
    .fold(0, u64::saturating_add)
}

/// A filter's part of [`effort`] in a run of so many chunks.
fn effort_of(filter: &Filter, chunks: u64) -> u64 {
    /// A list or bitmap of a chunk, put beside another one.
    const CHUNK: u64 = 3;
    /// A bound of values is found among those of a chunk, and the rows below it.
    const ORDERED_CHUNK: u64 = 8;
    /// A job's id is looked up in the database.
    const LOOK_UP: u64 = 10;
    match (&filter.predicate, filter.key) {
        (Predicate::Text(Test::Equal(_) | Test::NotEqual(_)), FilterKey::JobId) => LOOK_UP,
        (Predicate::Text(Test::In(ids)), FilterKey::JobId) => LOOK_UP * ids.len() as u64,
        // May read all ids.
        (_, FilterKey::JobId) => u64::MAX,
        (Predicate::Text(Test::In(values)), _) => CHUNK * chunks + values.len() as u64,
        (_, FilterKey::Status | FilterKey::SourceType)
        | (Predicate::Text(Test::Equal(_) | Test::NotEqual(_)), _)
        | (Predicate::Time(_), _) => CHUNK * chunks,
        (Predicate::Text(_), _) => ORDERED_CHUNK * chunks,
    }
}

/// The jobs of a part that meet all filters, in no order.
///
/// # Errors
/// Those of the ids.
pub fn matching(
    part: &PartIndex,
    filters: &[Filter],
    ids: &dyn JobIds,
) -> Result<Vec<u32>, CatalogError> {
    let mut seqs = Vec::new();
    for run in &part.runs {
        let matches = Matches::new(
            run,
            Clauses::new(run, filters, part.source_type.as_str(), ids)?,
        );
        let mut walk = matches.walk(Direction::Rising);
        seqs.extend(std::iter::from_fn(|| walk.next()).map(|place| run.seqs.seq(place)));
    }
    Ok(seqs)
}

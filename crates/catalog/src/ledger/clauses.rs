//! From the filters of a query to clauses on the columns of one run.

use std::cmp::Ordering;
use std::ops::{Bound, Range};

use model::{Filter, FilterKey, JobStatus, Predicate, Test};

use super::run::{Run, TEXT_KEYS};
use super::state_column::StateMask;
use super::text_column::TextBound;
use crate::error::CatalogError;

/// The ids of a part's jobs: the one field that is not in memory.
pub trait JobIds {
    /// The id of a row; `None` when it was deleted.
    fn job_id(&self, seq: u32) -> Result<Option<String>, CatalogError>;
    /// The row with an id.
    fn seq(&self, job_id: &str) -> Result<Option<u32>, CatalogError>;
    /// The rows whose ids meet a test. May take long; asked only of histories whose ids do not rise with time.
    fn seqs(&self, test: &Test<String>) -> Result<Vec<u32>, CatalogError>;
}

/// What a column is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// Rows by their places: disjoint ranges that rise.
    Places(Vec<Range<usize>>),
    /// One of the values, each named once.
    Codes { column: usize, codes: Vec<u32> },
    /// A value between bounds.
    Between {
        column: usize,
        low: TextBound,
        high: TextBound,
    },
    /// One of the states.
    States(StateMask),
    /// A completed time within both bounds, which are included.
    Completed { low: i64, high: i64 },
}

/// A term that must hold, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) term: Term,
    pub(super) is_wanted: bool,
}

impl Clause {
    pub(super) const fn wanted(term: Term) -> Self {
        Self {
            term,
            is_wanted: true,
        }
    }
}

/// The clauses of a query on one run: all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clauses {
    /// Only these places.
    pub(super) window: Range<usize>,
    pub(super) clauses: Vec<Clause>,
}

impl Clauses {
    /// The clauses of `filters` on `run`.
    pub(super) fn new(
        run: &Run,
        filters: &[Filter],
        source_type: &str,
        ids: &dyn JobIds,
    ) -> Result<Self, CatalogError> {
        let mut all = Self {
            window: 0..run.len(),
            clauses: Vec::new(),
        };
        for filter in filters {
            all.add(run, filter, source_type, ids)?;
        }
        Ok(all)
    }

    fn add(
        &mut self,
        run: &Run,
        filter: &Filter,
        source_type: &str,
        ids: &dyn JobIds,
    ) -> Result<(), CatalogError> {
        match (filter.key, &filter.predicate) {
            (FilterKey::CreatedTime, Predicate::Time(test)) => self.add_created(run, test),
            (FilterKey::CompleteTime, Predicate::Time(test)) => self.add_completed(test),
            (FilterKey::JobId, Predicate::Text(test)) => self.add_job_id(run, test, ids)?,
            (FilterKey::Status, Predicate::Text(test)) => {
                let states = JobStatus::ALL.iter().enumerate();
                let mask = states
                    .filter(|(_, status)| holds(test, status.as_str()))
                    .fold(0, |mask, (number, _)| mask | 1 << number);
                self.push(Term::States(mask), true);
            }
            (FilterKey::SourceType, Predicate::Text(test)) => {
                self.add_constant(holds(test, source_type))
            }
            (FilterKey::RestoreId, predicate) => self.add_constant(predicate.matches_missing()),
            (key, Predicate::Text(test)) => {
                match TEXT_KEYS.iter().position(|other| *other == key) {
                    Some(column) => self.add_text(run, column, test),
                    None => self.add_constant(false),
                }
            }
            // A hand-made mismatch of key and test matches nothing, as in the model.
            (_, Predicate::Time(_)) => self.add_constant(false),
        }
        Ok(())
    }

    fn push(&mut self, term: Term, is_wanted: bool) {
        self.clauses.push(Clause { term, is_wanted });
    }

    fn add_constant(&mut self, is_true: bool) {
        if !is_true {
            self.window = 0..0;
        }
    }

    fn narrow(&mut self, places: Range<usize>) {
        let start = self.window.start.max(places.start);
        self.window = start..self.window.end.min(places.end).max(start);
    }

    fn add_created(&mut self, run: &Run, test: &Test<i64>) {
        let above = |time: i64| match time.checked_add(1) {
            Some(next) => run.created.lower_bound(next),
            None => run.len(),
        };
        match test {
            Test::Equal(time) => self.narrow(run.created.rows(*time, *time)),
            Test::NotEqual(time) => {
                self.push(Term::Places(vec![run.created.rows(*time, *time)]), false)
            }
            Test::Greater(time) => self.narrow(above(*time)..run.len()),
            Test::GreaterOrEqual(time) => self.narrow(run.created.lower_bound(*time)..run.len()),
            Test::Less(time) => self.narrow(0..run.created.lower_bound(*time)),
            Test::LessOrEqual(time) => self.narrow(0..above(*time)),
            Test::Between(low, high) => self.narrow(run.created.rows(*low, *high)),
            Test::In(times) => {
                let mut places: Vec<Range<usize>> = times
                    .iter()
                    .map(|time| run.created.rows(*time, *time))
                    .collect();
                places.retain(|range| !range.is_empty());
                places.sort_unstable_by_key(|range| range.start);
                places.dedup();
                self.push(Term::Places(places), true);
            }
        }
    }

    fn add_completed(&mut self, test: &Test<i64>) {
        let range = |low: i64, high: i64| Term::Completed { low, high };
        match test {
            Test::Equal(time) => self.push(range(*time, *time), true),
            Test::NotEqual(time) => self.push(range(*time, *time), false),
            Test::Greater(time) => match time.checked_add(1) {
                Some(low) => self.push(range(low, i64::MAX), true),
                None => self.add_constant(false),
            },
            Test::GreaterOrEqual(time) => self.push(range(*time, i64::MAX), true),
            Test::Less(time) => match time.checked_sub(1) {
                Some(high) => self.push(range(i64::MIN, high), true),
                None => self.add_constant(false),
            },
            Test::LessOrEqual(time) => self.push(range(i64::MIN, *time), true),
            Test::Between(low, high) => self.push(range(*low, *high), true),
            // The API refuses this one, the model has it.
            Test::In(times) => {
                let (Some(low), Some(high)) = (times.iter().min(), times.iter().max()) else {
                    return self.add_constant(false);
                };
                self.push(range(*low, *high), true);
                let mut known = times.clone();
                known.sort_unstable();
                known.dedup();
                for pair in known.windows(2) {
                    if pair[0] + 1 < pair[1] {
                        self.push(range(pair[0] + 1, pair[1] - 1), false);
                    }
                }
            }
        }
    }

    fn add_text(&mut self, run: &Run, column: usize, test: &Test<String>) {
        let codes = |texts: &[String]| {
            let mut codes: Vec<u32> = texts
                .iter()
                .filter_map(|text| run.texts[column].code(text))
                .collect();
            codes.sort_unstable();
            codes.dedup();
            Term::Codes { column, codes }
        };
        let (low, high) = match test {
            Test::Equal(text) => return self.push(codes(std::slice::from_ref(text)), true),
            Test::NotEqual(text) => return self.push(codes(std::slice::from_ref(text)), false),
            Test::In(texts) => return self.push(codes(texts), true),
            Test::Between(low, high) if low > high => return self.add_constant(false),
            Test::Between(low, high) => (Bound::Included(low), Bound::Included(high)),
            Test::Greater(text) => (Bound::Excluded(text), Bound::Unbounded),
            Test::GreaterOrEqual(text) => (Bound::Included(text), Bound::Unbounded),
            Test::Less(text) => (Bound::Unbounded, Bound::Excluded(text)),
            Test::LessOrEqual(text) => (Bound::Unbounded, Bound::Included(text)),
        };
        let (low, high) = (low.cloned(), high.cloned());
        self.push(Term::Between { column, low, high }, true);
    }

    fn add_job_id(
        &mut self,
        run: &Run,
        test: &Test<String>,
        ids: &dyn JobIds,
    ) -> Result<(), CatalogError> {
        let place = |id: &String| -> Result<Option<usize>, CatalogError> {
            Ok(ids.seq(id)?.and_then(|seq| run.seqs.row(seq)))
        };
        let single = |place: usize| place..place + 1;
        match test {
            Test::Equal(id) => match place(id)? {
                Some(place) => self.narrow(single(place)),
                None => self.add_constant(false),
            },
            Test::NotEqual(id) => {
                if let Some(place) = place(id)? {
                    self.push(Term::Places(vec![single(place)]), false);
                }
            }
            Test::In(wanted) => {
                let mut places = Vec::with_capacity(wanted.len());
                for id in wanted {
                    places.extend(place(id)?);
                }
                self.push(Term::Places(ranges(places)), true);
            }
            test if !run.ids_rise => {
                let seqs = ids.seqs(test)?;
                let places = seqs
                    .into_iter()
                    .filter_map(|seq| run.seqs.row(seq))
                    .collect();
                self.push(Term::Places(ranges(places)), true);
            }
            Test::Greater(id) => self.narrow(first_place(run, ids, |other| other > id)?..run.len()),
            Test::GreaterOrEqual(id) => {
                self.narrow(first_place(run, ids, |other| other >= id)?..run.len())
            }
            Test::Less(id) => self.narrow(0..first_place(run, ids, |other| other >= id)?),
            Test::LessOrEqual(id) => self.narrow(0..first_place(run, ids, |other| other > id)?),
            Test::Between(low, high) => {
                let start = first_place(run, ids, |other| other >= low)?;
                self.narrow(start..first_place(run, ids, |other| other > high)?);
            }
        }
        Ok(())
    }
}

fn holds(test: &Test<String>, value: &str) -> bool {
    test.holds(|bound| -> Ordering { value.as_bytes().cmp(bound.as_bytes()) })
}

/// Places in any order as ranges.
fn ranges(mut places: Vec<usize>) -> Vec<Range<usize>> {
    places.sort_unstable();
    places.dedup();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for place in places {
        match ranges.last_mut() {
            Some(last) if last.end == place => last.end += 1,
            _ => ranges.push(place..place + 1),
        }
    }
    ranges
}

/// The first place from which on the ids are past a bound, in a run whose ids rise. Deleted rows have no id any more:
/// the next one that has is asked in their stead.
fn first_place(
    run: &Run,
    ids: &dyn JobIds,
    is_past: impl Fn(&String) -> bool,
) -> Result<usize, CatalogError> {
    let (mut low, mut high) = (0, run.len());
    while low < high {
        let middle = (low + high) / 2;
        let mut probe = middle;
        let id = loop {
            if probe == high {
                break None;
            }
            if !run.is_dead(probe)
                && let Some(id) = ids.job_id(run.seqs.seq(probe))?
            {
                break Some(id);
            }
            probe += 1;
        };
        match id {
            Some(id) if !is_past(&id) => low = probe + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

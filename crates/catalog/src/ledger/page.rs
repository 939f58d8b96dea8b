//! One page of the matches of several runs, merged in the order of (CreatedTime, JobId).

use std::cmp::Ordering;

use super::clauses::JobIds;
use super::matches::{Direction, Matches, Walk};
use crate::error::CatalogError;

/// Up to this distance from either end, a page is reached by merging; beyond, by a search over time.
const MERGE_MAX: usize = 256;

/// The matches of a run, and how to find the ids of its jobs.
pub(super) struct Source<'a> {
    pub(super) matches: Matches<'a>,
    pub(super) ids: &'a dyn JobIds,
    /// The part that the run belongs to.
    pub(super) part: usize,
}

/// A row of an answer: the part, and the job's number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) part: usize,
    pub(super) seq: u32,
}

/// Matches number `offset..offset + limit` of all sources, counted from the oldest (`Rising`) or from the newest.
pub(super) fn page(
    sources: &[Source<'_>],
    direction: Direction,
    offset: usize,
    limit: usize,
) -> Result<Vec<Found>, CatalogError> {
    let total: usize = sources.iter().map(|source| source.matches.total).sum();
    let limit = limit.min(total.saturating_sub(offset));
    if limit == 0 {
        return Ok(Vec::new());
    }
    // From the nearer end.
    let from_other_end = total - offset - limit;
    let (way, skipped) = if from_other_end < offset {
        (opposite(direction), from_other_end)
    } else {
        (direction, offset)
    };
    let matching: Vec<&Source<'_>> = sources
        .iter()
        .filter(|source| source.matches.total > 0)
        .collect();
    let mut found = match matching.as_slice() {
        [single] => {
            let mut walk = single.matches.walk(way);
            walk.skip(skipped);
            let rows = std::iter::from_fn(|| walk.next()).take(limit);
            rows.map(|place| found(single, place)).collect()
        }
        several if skipped <= MERGE_MAX => {
            merge(several, way, &vec![0; several.len()], skipped, limit)?
        }
        several => {
            let rank = if way == Direction::Rising {
                skipped
            } else {
                total - skipped - limit
            };
            let (before, starts) = search(several, rank);
            let mut rows = merge(several, Direction::Rising, &starts, rank - before, limit)?;
            if way == Direction::Falling {
                rows.reverse();
            }
            rows
        }
    };
    if way != direction {
        found.reverse();
    }
    Ok(found)
}

const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Rising => Direction::Falling,
        Direction::Falling => Direction::Rising,
    }
}

fn found(source: &Source<'_>, place: usize) -> Found {
    Found {
        part: source.part,
        seq: source.matches.run.seqs.seq(place),
    }
}

/// The greatest second that has at most `rank` matches before it: their number, and how many of each source.
fn search(sources: &[&Source<'_>], rank: usize) -> (usize, Vec<usize>) {
    let ends = sources.iter().flat_map(|source| {
        let run = source.matches.run;
        [run.created.get(0), run.created.get(run.len() - 1)]
    });
    let (mut low, mut high) = ends.fold((i64::MAX, i64::MIN), |(low, high), time| {
        (low.min(time), high.max(time))
    });
    let mut caches = vec![None; sources.len()];
    let mut ranks = |time: i64| -> Vec<usize> {
        let sources = sources.iter().zip(&mut caches);
        sources
            .map(|(source, cache)| {
                source
                    .matches
                    .rank(source.matches.run.created.lower_bound(time), cache)
            })
            .collect()
    };
    // Holds: at most `rank` matches lie before `low`; more lie before every time after `high`.
    while low < high {
        let middle = ((i128::from(low) + i128::from(high) + 1) / 2) as i64;
        if ranks(middle).iter().sum::<usize>() <= rank {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let starts = ranks(low);
    (starts.iter().sum(), starts)
}

/// The next match of a source.
struct Head<'m, 'a> {
    source: &'m Source<'a>,
    walk: Walk<'m, 'a>,
    place: usize,
    time: i64,
    /// Looked up when two sources have a job of the same second.
    id: Option<String>,
}

impl Head<'_, '_> {
    /// Goes on to the next match; `false` when there is none.
    fn advance(&mut self) -> bool {
        let Some(place) = self.walk.next() else {
            return false;
        };
        (self.place, self.time, self.id) = (place, self.walk.run().created.get(place), None);
        true
    }

    fn find_id(&mut self) -> Result<(), CatalogError> {
        if self.id.is_none() {
            let seq = self.source.matches.run.seqs.seq(self.place);
            self.id = Some(self.source.ids.job_id(seq)?.unwrap_or_default());
        }
        Ok(())
    }
}

/// Merges the sources' matches after the first `starts[source]`, passes over `skipped` and takes `limit`.
fn merge(
    sources: &[&Source<'_>],
    way: Direction,
    starts: &[usize],
    mut skipped: usize,
    limit: usize,
) -> Result<Vec<Found>, CatalogError> {
    let mut heads = Vec::with_capacity(sources.len());
    for (source, start) in sources.iter().zip(starts) {
        let mut walk = source.matches.walk(way);
        walk.skip(*start);
        let mut head = Head {
            source,
            walk,
            place: 0,
            time: 0,
            id: None,
        };
        if head.advance() {
            heads.push(head);
        }
    }
    let mut rows = Vec::with_capacity(limit);
    while rows.len() < limit && !heads.is_empty() {
        let first = first_of(&mut heads, way)?;
        let head = &mut heads[first];
        if skipped > 0 {
            skipped -= 1;
        } else {
            rows.push(found(head.source, head.place));
        }
        if !head.advance() {
            heads.swap_remove(first);
        }
    }
    Ok(rows)
}

/// The head that comes first in the order of the walk.
fn first_of(heads: &mut [Head<'_, '_>], way: Direction) -> Result<usize, CatalogError> {
    let mut first = 0;
    for other in 1..heads.len() {
        let mut order = heads[other].time.cmp(&heads[first].time);
        if order == Ordering::Equal {
            heads[other].find_id()?;
            heads[first].find_id()?;
            order = heads[other].id.cmp(&heads[first].id);
        }
        let is_before = match way {
            Direction::Rising => order == Ordering::Less,
            Direction::Falling => order == Ordering::Greater,
        };
        if is_before {
            first = other;
        }
    }
    Ok(first)
}

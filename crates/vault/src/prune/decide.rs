//! What happens to each pack: a pure function of what was seen, the options and the time.

use std::time::Duration;

use super::scan::PackState;
use super::usage::PackUsage;
use super::{Deletion, Limit, PruneOptions};
use crate::index::journal::{LockHolder, LockRecord};
use crate::time::Time;

/// What happens to a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Stays as it is.
    Keep,
    /// What is needed of it is written anew.
    Repack,
    /// Nothing needs it: marked now.
    Mark,
    /// Nothing needs it, but others hold locks: it stays, and when that was seen first is noted.
    Defer,
    /// Marked, and stays so.
    Wait,
    /// Marked with a time that is missing or of the future: marked anew.
    MarkAgain,
    /// Marked, and needed again: back into the index.
    PutBack,
    /// Removed.
    Delete,
    /// Only an index file knows it: the entry goes.
    Drop,
    /// No index names it: when that was seen first is noted.
    Note,
    /// No index has named it for long: marked now.
    MarkUnindexed,
}

/// What is asked beside the packs themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) now: Time,
    pub(super) holders: &'a [LockHolder],
    pub(super) records: &'a [LockRecord],
}

/// One fate for each pack.
pub(super) fn decide(
    packs: &[PackState],
    usage: &[PackUsage],
    facts: Facts<'_>,
    options: &PruneOptions,
) -> Vec<Fate> {
    let mut fates: Vec<Fate> = packs
        .iter()
        .zip(usage)
        .map(|(pack, usage)| fate(pack, usage, facts, options))
        .collect();
    choose_repacks(packs, usage, options, &mut fates);
    fates
}

fn fate(pack: &PackState, usage: &PackUsage, facts: Facts<'_>, options: &PruneOptions) -> Fate {
    let is_instant = options.deletion == Deletion::Instant;
    let is_old = |since: Time, grace: Duration| {
        facts.now.seconds.saturating_sub(since.seconds) >= grace.as_secs() as i64
    };
    let seen_for = |grace| pack.seen.is_some_and(|since| is_old(since, grace));
    let is_there = pack.stored_bytes.is_some();
    if pack.is_live {
        return match (usage.used_bytes > 0, is_there) {
            (true, _) => Fate::Keep,
            (false, false) => Fate::Drop,
            _ if is_instant => Fate::Delete,
            _ if facts.holders.is_empty() || seen_for(options.keep_delete) => Fate::Mark,
            _ => Fate::Defer,
        };
    }
    let Some(mark) = pack.mark else {
        return match is_instant {
            true => Fate::Delete,
            false if unindexed_long_enough(facts, seen_for, options) => Fate::MarkUnindexed,
            false => Fate::Note,
        };
    };
    if usage.is_needed_again {
        return Fate::PutBack;
    }
    match mark {
        _ if !is_there => Fate::Drop,
        _ if is_instant => Fate::Delete,
        Some(time) if time <= facts.now => {
            if is_old(time, options.keep_delete) && nobody_is_left(time, facts) {
                Fate::Delete
            } else {
                Fate::Wait
            }
        }
        _ => Fate::MarkAgain,
    }
}

/// A backup that was killed left it, and the next one may take it over: time for that is given, and somebody who works now
/// may be doing just that.
fn unindexed_long_enough(
    facts: Facts<'_>,
    seen_for: impl Fn(Duration) -> bool,
    options: &PruneOptions,
) -> bool {
    seen_for(options.keep_delete)
        && (facts.holders.is_empty() || seen_for(options.keep_delete.saturating_mul(2)))
}

/// Whether everybody is gone who may have read an index from before this mark. The record of the run that made the mark has
/// them, or the first later one when that run was killed before it wrote its own; without one it is not known.
fn nobody_is_left(mark: Time, facts: Facts<'_>) -> bool {
    let of_its_run = facts.records.iter().find(|record| record.time == mark);
    of_its_run
        .or_else(|| facts.records.iter().find(|record| record.time > mark))
        .is_some_and(|record| {
            record
                .holders
                .iter()
                .all(|holder| !facts.holders.contains(holder))
        })
}

/// Turns `Keep` into `Repack` for the packs with the largest share of unneeded bytes, until few enough of those remain.
fn choose_repacks(
    packs: &[PackState],
    usage: &[PackUsage],
    options: &PruneOptions,
    fates: &mut [Fate],
) {
    let unneeded = |number: usize| {
        packs[number]
            .blobs_end
            .saturating_sub(usage[number].used_bytes + usage[number].padding_bytes)
    };
    let mut kept: Vec<usize> = (0..packs.len())
        .filter(|&number| fates[number] == Fate::Keep && packs[number].is_whole)
        .collect();
    let used_bytes: u64 = kept.iter().map(|&number| usage[number].used_bytes).sum();
    let mut unneeded_bytes: u64 = kept.iter().map(|&number| unneeded(number)).sum();
    let tolerated_bytes = match options.max_unused {
        Limit::Unlimited => u64::MAX,
        Limit::Bytes(bytes) => bytes,
        // Of what is there afterwards, as restic counts it.
        Limit::Percent(percent) => {
            let part = percent.clamp(0.0, 100.0) / 100.0;
            (used_bytes as f64 * part / (1.0 - part)).min(u64::MAX as f64) as u64
        }
    };
    let mut room_bytes = options.max_repack_bytes.unwrap_or(u64::MAX);
    kept.sort_by(|&a, &b| {
        // unneeded(a) / end(a) against unneeded(b) / end(b), larger first.
        let left = u128::from(unneeded(b)) * u128::from(packs[a].blobs_end);
        let right = u128::from(unneeded(a)) * u128::from(packs[b].blobs_end);
        left.cmp(&right).then(packs[a].id.cmp(&packs[b].id))
    });
    for &number in &kept {
        if unneeded_bytes <= tolerated_bytes || unneeded(number) == 0 {
            break;
        }
        if usage[number].used_bytes <= room_bytes {
            room_bytes -= usage[number].used_bytes;
            unneeded_bytes -= unneeded(number);
            fates[number] = Fate::Repack;
        }
    }
    join_small_packs(packs, usage, options, &kept, room_bytes, fates);
}

/// Small packs are joined when there are at least two, whatever they hold.
fn join_small_packs(
    packs: &[PackState],
    usage: &[PackUsage],
    options: &PruneOptions,
    kept: &[usize],
    mut room_bytes: u64,
    fates: &mut [Fate],
) {
    let small: Vec<usize> = kept
        .iter()
        .copied()
        .filter(|&number| fates[number] == Fate::Keep)
        .filter(|&number| packs[number].blobs_end < options.repack_smaller_than_bytes)
        .take_while(|&number| {
            let fits = usage[number].used_bytes <= room_bytes;
            room_bytes = room_bytes.saturating_sub(usage[number].used_bytes);
            fits
        })
        .collect();
    if small.len() >= 2 {
        for number in small {
            fates[number] = Fate::Repack;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Facts, Fate, decide};
    use crate::id::Id;
    use crate::index::journal::{LockHolder, LockRecord};
    use crate::prune::scan::PackState;
    use crate::prune::usage::PackUsage;
    use crate::prune::{Deletion, Limit, PruneOptions};
    use crate::time::Time;

    const HOUR: i64 = 3600;
    const NOW: i64 = 1_000_000;

    fn ago(hours: i64) -> Time {
        Time::new(NOW - hours * HOUR, 0)
    }

    fn holder(name: &str) -> LockHolder {
        LockHolder {
            hostname: name.to_owned(),
            username: String::new(),
            pid: 1,
            uid: 0,
            gid: 0,
        }
    }

    fn pack(number: u8) -> PackState {
        PackState {
            id: Id::new([number; 32]),
            stored_bytes: Some(1100),
            is_live: true,
            mark: None,
            seen: None,
            is_whole: true,
            blobs_end: 1000,
        }
    }

    fn used(used_bytes: u64) -> PackUsage {
        PackUsage {
            used_bytes,
            padding_bytes: 0,
            is_needed_again: false,
        }
    }

    fn options() -> PruneOptions {
        PruneOptions {
            max_unused: Limit::Bytes(0),
            ..PruneOptions::default()
        }
    }

    struct Case {
        pack: PackState,
        usage: PackUsage,
        holders: Vec<LockHolder>,
        records: Vec<LockRecord>,
    }

    impl Case {
        fn new(pack: PackState, usage: PackUsage) -> Self {
            Self {
                pack,
                usage,
                holders: Vec::new(),
                records: Vec::new(),
            }
        }

        fn held(mut self, names: &[&str]) -> Self {
            self.holders = names.iter().map(|name| holder(name)).collect();
            self
        }

        fn record(mut self, hours_ago: i64, names: &[&str]) -> Self {
            self.records.push(LockRecord {
                time: ago(hours_ago),
                holders: names.iter().map(|name| holder(name)).collect(),
            });
            self
        }

        #[track_caller]
        fn is(&self, expected: Fate) {
            self.is_with(&options(), expected);
        }

        #[track_caller]
        fn is_with(&self, options: &PruneOptions, expected: Fate) {
            let facts = Facts {
                now: Time::new(NOW, 0),
                holders: &self.holders,
                records: &self.records,
            };
            let fates = decide(
                std::slice::from_ref(&self.pack),
                &[self.usage],
                facts,
                options,
            );
            assert_eq!(fates, [expected]);
        }
    }

    fn instant() -> PruneOptions {
        PruneOptions {
            deletion: Deletion::Instant,
            ..options()
        }
    }

    #[test]
    fn live_packs() {
        Case::new(pack(1), used(1000)).is(Fate::Keep);
        Case::new(pack(1), used(999)).is(Fate::Repack);
        Case::new(pack(1), used(0)).is(Fate::Mark);
        Case::new(pack(1), used(0)).is_with(&instant(), Fate::Delete);
        Case::new(pack(1), used(0)).held(&["a"]).is(Fate::Defer);
        let gone = PackState {
            stored_bytes: None,
            is_whole: false,
            ..pack(1)
        };
        Case::new(gone, used(0)).is(Fate::Drop);
        let seen = |hours| PackState {
            seen: Some(ago(hours)),
            ..pack(1)
        };
        Case::new(seen(22), used(0)).held(&["a"]).is(Fate::Defer);
        Case::new(seen(23), used(0)).held(&["a"]).is(Fate::Mark);
        Case::new(seen(230), used(5)).held(&["a"]).is(Fate::Repack);
    }

    fn marked(hours: i64) -> PackState {
        PackState {
            is_live: false,
            mark: Some(Some(ago(hours))),
            ..pack(1)
        }
    }

    /// T7, T18 and T31 of the history of failures: neither the grace alone nor the locks alone are enough.
    #[test]
    fn t31_marked_packs_go_when_the_grace_is_over_and_everybody_is_gone() {
        Case::new(marked(24), used(0))
            .record(24, &[])
            .is(Fate::Delete);
        Case::new(marked(22), used(0))
            .record(22, &[])
            .is(Fate::Wait);
        Case::new(marked(24), used(0)).is(Fate::Wait);
        Case::new(marked(24), used(0))
            .record(25, &[])
            .is(Fate::Wait);
        Case::new(marked(99), used(0))
            .record(24, &["a"])
            .held(&["a"])
            .is(Fate::Wait);
        Case::new(marked(99), used(0))
            .record(24, &["a"])
            .held(&["b"])
            .is(Fate::Delete);
        // A host whose clock is slow marks "before" what others recorded: its own record counts, wherever it stands.
        Case::new(marked(24), used(0))
            .record(2, &[])
            .record(24, &["a"])
            .held(&["a"])
            .is(Fate::Wait);
        // A later record does not stand for an earlier one.
        Case::new(marked(99), used(0))
            .record(99, &["a"])
            .record(24, &[])
            .held(&["a"])
            .is(Fate::Wait);
        Case::new(marked(1), used(0)).is_with(&instant(), Fate::Delete);
        let needed = PackUsage {
            used_bytes: 5,
            padding_bytes: 0,
            is_needed_again: true,
        };
        Case::new(marked(99), needed)
            .record(99, &[])
            .is(Fate::PutBack);
        Case::new(marked(99), needed).is_with(&instant(), Fate::PutBack);
    }

    /// T19 of the history of failures: a clock that was wrong at the mark costs time and nothing else.
    #[test]
    fn t19_marks_without_a_time_or_of_the_future_start_anew() {
        Case::new(marked(-1), used(0))
            .record(-1, &[])
            .is(Fate::MarkAgain);
        let without = PackState {
            mark: Some(None),
            ..marked(99)
        };
        Case::new(without, used(0))
            .record(0, &[])
            .is(Fate::MarkAgain);
    }

    #[test]
    fn unindexed_packs_age_from_when_they_were_seen() {
        let unindexed = |seen: Option<i64>| PackState {
            is_live: false,
            is_whole: false,
            seen: seen.map(ago),
            ..pack(1)
        };
        Case::new(unindexed(None), used(0)).is(Fate::Note);
        Case::new(unindexed(Some(22)), used(0)).is(Fate::Note);
        Case::new(unindexed(Some(23)), used(0)).is(Fate::MarkUnindexed);
        Case::new(unindexed(Some(23)), used(0))
            .held(&["a"])
            .is(Fate::Note);
        Case::new(unindexed(Some(46)), used(0))
            .held(&["a"])
            .is(Fate::MarkUnindexed);
        Case::new(unindexed(None), used(0)).is_with(&instant(), Fate::Delete);
    }

    /// The packs that are repacked, by the used bytes of packs of 1000 bytes.
    fn repacked(used_bytes: &[u64], options: &PruneOptions) -> Vec<usize> {
        let packs: Vec<PackState> = (0..used_bytes.len() as u8).map(pack).collect();
        let usage: Vec<PackUsage> = used_bytes.iter().map(|bytes| used(*bytes)).collect();
        let facts = Facts {
            now: Time::new(NOW, 0),
            holders: &[],
            records: &[],
        };
        let fates = decide(&packs, &usage, facts, options);
        (0..packs.len())
            .filter(|&number| fates[number] == Fate::Repack)
            .collect()
    }

    #[test]
    fn repacking_has_limits() {
        let all = [1000, 900, 500, 100, 990];
        #[track_caller]
        fn check(found: Vec<usize>, expected: &[usize]) {
            assert_eq!(found, expected);
        }
        let with = |max_unused, max_repack_bytes| PruneOptions {
            max_unused,
            max_repack_bytes,
            ..options()
        };
        check(repacked(&all, &with(Limit::Bytes(0), None)), &[1, 2, 3, 4]);
        check(repacked(&all, &with(Limit::Unlimited, None)), &[]);
        check(repacked(&all, &with(Limit::Bytes(610), None)), &[3]);
        check(repacked(&all, &with(Limit::Bytes(609), None)), &[2, 3]);
        // 3490 bytes are used: 5 % of what remains are 183.
        check(repacked(&all, &with(Limit::Percent(5.0), None)), &[2, 3]);
        check(repacked(&all, &with(Limit::Percent(100.0), None)), &[]);
        check(repacked(&all, &with(Limit::Bytes(0), Some(600))), &[2, 3]);
        check(repacked(&all, &with(Limit::Bytes(0), Some(50))), &[]);
        let small = PruneOptions {
            repack_smaller_than_bytes: 2000,
            ..with(Limit::Unlimited, None)
        };
        check(repacked(&[1000, 1000], &small), &[0, 1]);
        check(repacked(&[1000], &small), &[]);
    }
}

//! Tables of histories and policies, and what must hold for any of them.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use storage::{Fault, Faulty, Memory, Operation, Storage};

use std::sync::Arc;

use super::{GroupBy, Keep, RetentionPolicy, SnapshotFilter, plan, remove_snapshots};
use crate::id::Id;
use crate::layout::FileKind;
use crate::snapshot::Snapshot;
use crate::testing::{create, snapshot_of};
use crate::time::Time;

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn now() -> Time {
    time("2024-06-01T00:00:00Z")
}

/// Snapshots of these times, with ids in the order given.
fn history(times: &[&str]) -> Vec<(Id, Snapshot)> {
    times
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let (time, utc_offset_seconds) = Time::parse_with_offset(text.as_bytes()).unwrap();
            let snapshot = Snapshot {
                time,
                utc_offset_seconds,
                hostname: "host".to_owned(),
                paths: vec!["/a".to_owned()],
                ..Snapshot::default()
            };
            (Id::hash(&[number as u8]), snapshot)
        })
        .collect()
}

/// The places of the kept snapshots in `times`, sorted.
fn kept(times: &[&str], policy: &RetentionPolicy) -> Vec<usize> {
    let plans = plan(&history(times), policy, GroupBy::default(), now());
    let mut kept: Vec<usize> = plans
        .iter()
        .flat_map(|group| group.keep.iter().map(|kept| kept.index))
        .collect();
    kept.sort_unstable();
    kept
}

const WEEK: [&str; 8] = [
    "2024-05-06T08:00:00Z",
    "2024-05-06T20:00:00Z",
    "2024-05-07T08:00:00Z",
    "2024-05-08T08:00:00Z",
    "2024-05-08T08:30:00Z",
    "2024-05-12T23:59:59Z",
    "2024-05-13T00:00:00Z",
    "2024-05-31T12:00:00Z",
];

#[test]
fn each_rule_by_itself() {
    let check = |policy: RetentionPolicy, expected: &[usize]| {
        assert_eq!(kept(&WEEK, &policy), expected, "{policy:?}");
    };
    let policy = RetentionPolicy::default;
    check(policy(), &[0, 1, 2, 3, 4, 5, 6, 7]);
    let last = |count| RetentionPolicy {
        last: Keep::Newest(count),
        ..policy()
    };
    check(last(1), &[7]);
    check(last(3), &[5, 6, 7]);
    check(last(100), &[0, 1, 2, 3, 4, 5, 6, 7]);
    check(
        RetentionPolicy {
            hourly: Keep::Newest(4),
            ..policy()
        },
        &[4, 5, 6, 7],
    );
    // Days: 31, 13, 12, 8, 7, 6; the oldest is kept while the rule has some left.
    check(
        RetentionPolicy {
            daily: Keep::Newest(4),
            ..policy()
        },
        &[4, 5, 6, 7],
    );
    check(
        RetentionPolicy {
            daily: Keep::Newest(6),
            ..policy()
        },
        &[1, 2, 4, 5, 6, 7],
    );
    check(
        RetentionPolicy {
            daily: Keep::Newest(7),
            ..policy()
        },
        &[0, 1, 2, 4, 5, 6, 7],
    );
    check(
        RetentionPolicy {
            weekly: Keep::Newest(3),
            ..policy()
        },
        &[5, 6, 7],
    );
    check(
        RetentionPolicy {
            monthly: Keep::All,
            ..policy()
        },
        &[0, 7],
    );
    check(
        RetentionPolicy {
            within: "19d".parse().unwrap(),
            ..policy()
        },
        &[5, 6, 7],
    );
    check(
        RetentionPolicy {
            within_weekly: "1m".parse().unwrap(),
            ..policy()
        },
        &[0, 5, 6, 7],
    );
}

#[test]
fn rules_add_up_and_say_why() {
    let policy = RetentionPolicy {
        last: Keep::Newest(1),
        daily: Keep::Newest(2),
        within: "1d".parse().unwrap(),
        ..RetentionPolicy::default()
    };
    let plans = plan(&history(&WEEK), &policy, GroupBy::default(), now());
    assert_eq!(plans.len(), 1);
    assert_eq!(
        plans[0].keep[0].reasons,
        ["within 1d", "last snapshot", "daily snapshot"]
    );
    assert_eq!(plans[0].keep[1].reasons, ["daily snapshot"]);
    assert_eq!(plans[0].remove, [5, 4, 3, 2, 1, 0]);
}

#[test]
fn days_are_those_of_the_host() {
    let daily = RetentionPolicy {
        daily: Keep::Newest(2),
        ..RetentionPolicy::default()
    };
    // One day in UTC, two in Tokyo.
    let utc = [
        "2024-05-05T01:00:00Z",
        "2024-05-05T14:00:00Z",
        "2024-05-05T16:00:00Z",
    ];
    assert_eq!(kept(&utc, &daily), [0, 2]);
    let tokyo = [
        "2024-05-05T10:00:00+09:00",
        "2024-05-05T23:00:00+09:00",
        "2024-05-06T01:00:00+09:00",
    ];
    assert_eq!(kept(&tokyo, &daily), [1, 2]);
}

#[test]
fn groups_and_tags() {
    let mut snapshots = history(&WEEK);
    for (number, (_, snapshot)) in snapshots.iter_mut().enumerate() {
        snapshot.hostname = ["a", "b"][number % 2].to_owned();
        if number == 0 {
            snapshot.tags = vec!["y".to_owned(), "x".to_owned()];
        }
        if number == 2 {
            snapshot.paths = vec!["/b".to_owned(), "/a".to_owned()];
        }
    }
    let policy = RetentionPolicy {
        last: Keep::Newest(1),
        tags: vec![vec!["x".to_owned(), "y".to_owned()]],
        ..RetentionPolicy::default()
    };
    let kept = |by: &str| {
        let plans = plan(&snapshots, &policy, by.parse().unwrap(), now());
        let mut kept: Vec<usize> = plans
            .iter()
            .flat_map(|group| group.keep.iter().map(|kept| kept.index))
            .collect();
        kept.sort_unstable();
        (plans.len(), kept)
    };
    assert_eq!(kept(""), (1, vec![0, 7]));
    assert_eq!(kept("host"), (2, vec![0, 6, 7]));
    assert_eq!(kept("host,paths"), (3, vec![0, 2, 6, 7]));
    assert_eq!(kept("tags"), (2, vec![0, 7]));
    assert!("host,color".parse::<GroupBy>().is_err());
}

#[test]
fn filters_are_those_of_restic() {
    let snapshot = Snapshot {
        hostname: "a".to_owned(),
        paths: vec!["/a".to_owned(), "/b".to_owned()],
        tags: vec!["x".to_owned(), "y".to_owned()],
        ..Snapshot::default()
    };
    let list = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let check = |hosts: &[&str], tags: &[&[&str]], paths: &[&str], expected: bool| {
        let filter = SnapshotFilter {
            hosts: list(hosts),
            tags: tags.iter().map(|tags| list(tags)).collect(),
            paths: list(paths),
        };
        assert_eq!(filter.matches(&snapshot), expected, "{filter:?}");
    };
    check(&[], &[], &[], true);
    check(&["b", "a"], &[], &[], true);
    check(&["b"], &[], &[], false);
    check(&[], &[&["x", "y"]], &[], true);
    check(&[], &[&["x", "z"], &["y"]], &[], true);
    check(&[], &[&["x", "z"]], &[], false);
    check(&[], &[&[""]], &[], false);
    check(&[], &[], &["/a"], true);
    check(&[], &[], &["/a", "/c"], false);
    let untagged = SnapshotFilter {
        tags: vec![list(&[""])],
        ..SnapshotFilter::default()
    };
    assert!(untagged.matches(&Snapshot::default()));
}

/// T11 of the history of failures: a time of the future keeps its own snapshot and pushes no other one out.
#[test]
fn t11_forged_times_push_nothing_out() {
    let mut times = WEEK.to_vec();
    times.extend([
        "2031-01-01T00:00:00Z",
        "2032-01-01T00:00:00Z",
        "2033-01-01T00:00:00Z",
    ]);
    for (policy, expected) in [
        (
            RetentionPolicy {
                last: Keep::Newest(2),
                ..RetentionPolicy::default()
            },
            vec![6, 7, 8, 9, 10],
        ),
        (
            RetentionPolicy {
                yearly: Keep::Newest(1),
                ..RetentionPolicy::default()
            },
            vec![7, 8, 9, 10],
        ),
        (
            RetentionPolicy {
                within: "1d".parse().unwrap(),
                ..RetentionPolicy::default()
            },
            vec![7, 8, 9, 10],
        ),
    ] {
        assert_eq!(kept(&times, &policy), expected, "{policy:?}");
    }
}

/// T9 of the history of failures: an empty policy keeps all; one whose tag nobody has keeps nothing, which `plan` shows as
/// an empty list so that the caller can refuse.
#[test]
fn t09_an_empty_policy_keeps_all_and_an_unknown_tag_is_visible() {
    let snapshots = history(&WEEK);
    let empty = plan(
        &snapshots,
        &RetentionPolicy::default(),
        GroupBy::default(),
        now(),
    );
    assert!(empty.iter().all(|group| group.remove.is_empty()));
    let unknown = RetentionPolicy {
        tags: vec![vec!["nobody has it".to_owned()]],
        ..RetentionPolicy::default()
    };
    let plans = plan(&snapshots, &unknown, GroupBy::default(), now());
    assert!(plans[0].keep.is_empty() && plans[0].remove.len() == WEEK.len());
}

fn any_keep() -> impl Strategy<Value = Keep> {
    (0_u32..5).prop_map(|number| {
        if number == 4 {
            Keep::All
        } else {
            Keep::Newest(number)
        }
    })
}

proptest! {
    /// T9 again: whatever counts keeps at least the newest of each group, nothing is lost or invented, more is never
    /// less, and doing it twice removes nothing more when only `last` counts.
    #[test]
    fn t09_counting_rules_never_remove_the_newest(
        times in proptest::collection::vec((1_600_000_000_i64..1_717_000_000, 0_u8..3), 1..40),
        keep in (any_keep(), any_keep(), any_keep(), any_keep(), any_keep(), any_keep()),
        more in any::<bool>(),
    ) {
        let snapshots: Vec<(Id, Snapshot)> = times.iter().enumerate().map(|(number, (seconds, host))| {
            let snapshot = Snapshot { time: Time::new(*seconds, 0), hostname: host.to_string(), ..Snapshot::default() };
            (Id::hash(&number.to_le_bytes()), snapshot)
        }).collect();
        let (last, hourly, daily, weekly, monthly, yearly) = keep;
        let policy = RetentionPolicy { last, hourly, daily, weekly, monthly, yearly, ..RetentionPolicy::default() };
        let plans = plan(&snapshots, &policy, GroupBy::default(), now());
        let mut all: Vec<usize> = Vec::new();
        for group in &plans {
            let newest = group.keep.iter().map(|kept| kept.index).chain(group.remove.iter().copied())
                .map(|index| snapshots[index].1.time).max();
            prop_assert!(!group.keep.is_empty());
            prop_assert_eq!(newest, Some(snapshots[group.keep[0].index].1.time));
            all.extend(group.keep.iter().map(|kept| kept.index));
            all.extend(&group.remove);
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..snapshots.len()).collect::<Vec<_>>());
        if more && policy.is_empty() {
            return Ok(());
        }
        let larger = RetentionPolicy { daily: Keep::All, ..policy.clone() };
        let with_more = plan(&snapshots, &larger, GroupBy::default(), now());
        for (small, large) in plans.iter().zip(&with_more) {
            if !policy.is_empty() {
                prop_assert!(small.keep.iter().all(|kept| large.keep.iter().any(|other| other.index == kept.index)));
            }
        }
    }
}

#[test]
fn removal_goes_on_after_a_failure_and_finds_lost_deletes_out() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let ids: Vec<Id> = (0..4_u8)
        .map(|number| {
            let json = snapshot_of(Id::hash(&[number])).encode().unwrap();
            repository.save_json(FileKind::Snapshot, &json).unwrap()
        })
        .collect();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    faulty.at_nth(
        Operation::Delete,
        0,
        Fault::Fail(storage::ErrorKind::Denied),
    );
    faulty.at_nth(Operation::Delete, 1, Fault::Lie(0));
    let through = repository.with_storage(Arc::clone(&faulty) as Arc<dyn Storage>);
    let report = remove_snapshots(&through, &ids[..3]).unwrap();
    assert_eq!(report.removed, [ids[2]]);
    let failed: Vec<Id> = report.failed.iter().map(|(id, _)| *id).collect();
    assert_eq!(failed, [ids[0], ids[1]]);
    // Once more, one of them gone meanwhile: all are gone in the end, and the fourth is untouched.
    let report = remove_snapshots(&repository, &ids[..3]).unwrap();
    assert_eq!((report.removed.len(), report.failed.len()), (3, 0));
    assert_eq!(repository.snapshots().unwrap().len(), 1);
}

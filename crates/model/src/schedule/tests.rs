//! Intervals, decisions, and what is refused. Calendars of years are in the peers' tests.

#![allow(clippy::unwrap_used, clippy::panic)]
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;

fn utc() -> Zone {
    Zone::utc()
}

/// Run number `k` of an interval in UTC.
fn nth(schedule: &Schedule, k: i64) -> Timestamp {
    let Rule::Every(interval) = &schedule.rule else {
        panic!("not an interval: {schedule}");
    };
    interval.run(schedule.start, k, &utc()).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_second())
}

/// The first `count` runs of the schedule that starts at `start`.
fn runs(start: &str, duration: &str, count: usize) -> Vec<String> {
    let start = at(start);
    let schedule = Schedule::parse(&format!("I|{}|{duration}", start.0)).unwrap();
    let mut found = Vec::new();
    let mut after = start.plus_seconds(-1);
    for _ in 0..count {
        after = schedule.next_run(after, &utc()).unwrap();
        found.push(jiff::Timestamp::from_second(after.0).unwrap().to_string());
    }
    found
}

#[test]
fn intervals_count_from_the_start() {
    assert_eq!(
        runs("2024-01-31T02:00:00Z", "P1M", 5),
        [
            "2024-01-31T02:00:00Z",
            "2024-02-29T02:00:00Z",
            "2024-03-31T02:00:00Z",
            "2024-04-30T02:00:00Z",
            "2024-05-31T02:00:00Z"
        ],
        "clamped to short months, back on the 31st after them"
    );
    assert_eq!(
        runs("2024-02-29T00:00:00Z", "P1Y", 5),
        [
            "2024-02-29T00:00:00Z",
            "2025-02-28T00:00:00Z",
            "2026-02-28T00:00:00Z",
            "2027-02-28T00:00:00Z",
            "2028-02-29T00:00:00Z"
        ]
    );
    assert_eq!(
        runs("2024-02-28T23:30:00Z", "PT1H", 3),
        [
            "2024-02-28T23:30:00Z",
            "2024-02-29T00:30:00Z",
            "2024-02-29T01:30:00Z"
        ]
    );
    assert_eq!(
        runs("2024-12-31T01:00:00Z", "P1D", 2)[1],
        "2025-01-01T01:00:00Z"
    );
    assert_eq!(
        runs("2024-01-01T00:00:00Z", "P2W", 2)[1],
        "2024-01-15T00:00:00Z"
    );
    assert_eq!(
        runs("2024-01-31T00:00:00Z", "P1M1DT1H", 3)[2],
        "2024-04-02T02:00:00Z"
    );
    assert_eq!(
        runs("2024-01-01T00:00:00Z", "P1Y2M3DT4H5M6S", 2)[1],
        "2025-03-04T04:05:06Z"
    );
}

#[test]
fn the_next_run_is_after_never_at() {
    let schedule = Schedule::parse("I|1000|PT1M").unwrap();
    for (after, expected) in [
        (0, 1000),
        (999, 1000),
        (1000, 1060),
        (1059, 1060),
        (1060, 1120),
        (i64::MIN, 1000),
    ] {
        assert_eq!(
            schedule.next_run(Timestamp(after), &utc()),
            Some(Timestamp(expected)),
            "after {after}"
        );
    }
    assert_eq!(schedule.next_run(Timestamp(i64::MAX), &utc()), None);
    assert_eq!(
        Schedule::parse("I|0|P100Y")
            .unwrap()
            .next_run(Timestamp(LAST_SECOND), &utc()),
        None
    );
}

#[test]
fn refused() {
    let check = |text: &str, part: &str| {
        let error = Schedule::parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    };
    for form in ["", "I", "I|0", "I|0|P1D|", "i|0|P1D", "X|0|P1D", "0|P1D"] {
        check(form, "is not a schedule");
    }
    for start in [
        "",
        "-1",
        "+1",
        "1.5",
        "x",
        "253370764801",
        "99999999999999999999",
    ] {
        check(&format!("I|{start}|P1D"), "is not a UNIX time");
    }
    for duration in [
        "",
        "P",
        "PT",
        "P1",
        "1D",
        "P1DT",
        "P1H",
        "PT1D",
        "P1D1D",
        "P1D1M",
        "P1.5D",
        "P-1D",
        "P1d",
        "PÄ",
        "P99999999999999999999D",
    ] {
        check(&format!("I|0|{duration}"), "is not an ISO 8601 duration");
    }
    for duration in [
        "P0D",
        "PT0S",
        "P0Y0M",
        "P101Y",
        "P1201M",
        "PT9223372036854775807H",
    ] {
        check(&format!("I|0|{duration}"), "longer than zero");
    }
}

#[test]
fn a_run_is_due_from_its_time_for_a_while() {
    // Daily at 1000: a run that starts within ten minutes of its time is not missed.
    let schedule = Schedule::parse("I|1000|P1D").unwrap();
    let next = Some(Timestamp(1000 + 86_400));
    let first = Timestamp(1000);
    let cases = [
        (999, false, Due::Wait),
        (1000, false, Due::Run { next }),
        (1600, false, Due::Run { next }),
        (
            1601,
            false,
            Due::Skip {
                reason: SkipReason::Missed,
                next,
            },
        ),
        (
            1000,
            true,
            Due::Skip {
                reason: SkipReason::StillRunning,
                next,
            },
        ),
        (
            80_000,
            true,
            Due::Skip {
                reason: SkipReason::StillRunning,
                next,
            },
        ),
    ];
    for (now, is_running, expected) in cases {
        assert_eq!(
            due(&schedule, first, is_running, Timestamp(now), &utc()),
            expected,
            "now {now}"
        );
    }
    // Ten days down, back five minutes after a run: that one runs, the others do not.
    let now = Timestamp(1000 + 10 * 86_400 + 300);
    let next = Some(Timestamp(1000 + 11 * 86_400));
    assert_eq!(due(&schedule, first, false, now, &utc()), Due::Run { next });
    let now = Timestamp(1000 + 10 * 86_400 + 601);
    assert_eq!(
        due(&schedule, first, false, now, &utc()),
        Due::Skip {
            reason: SkipReason::Missed,
            next
        }
    );
}

#[test]
fn short_intervals_have_a_short_grace() {
    let schedule = Schedule::parse("I|0|PT1M").unwrap();
    let next = Some(Timestamp(120));
    assert_eq!(
        due(&schedule, Timestamp(60), false, Timestamp(90), &utc()),
        Due::Run { next }
    );
    assert_eq!(
        due(&schedule, Timestamp(60), false, Timestamp(91), &utc()),
        Due::Skip {
            reason: SkipReason::Missed,
            next
        }
    );
}

const DURATIONS: [&str; 9] = [
    "PT1S", "PT7M", "PT1H", "P1D", "P1W", "P1M", "P3M", "P1Y", "P1M1DT1H",
];

proptest! {
    /// Against the slow way: count up from the start.
    #[test]
    fn next_run_agrees_with_counting(
        start in 0i64..4_000_000_000, which in 0..DURATIONS.len(), runs in 0i64..300, offset in -1i64..2,
    ) {
        let schedule = Schedule::parse(&format!("I|{start}|{}", DURATIONS[which])).unwrap();
        let after = nth(&schedule, runs).plus_seconds(offset);
        let counted = (0..).map(|k| nth(&schedule, k)).find(|run| *run > after).unwrap();
        prop_assert_eq!(schedule.next_run(after, &utc()), Some(counted));
    }

    /// Whatever the clock does, each decision moves the plan forward and starts at most one run.
    #[test]
    fn deciding_moves_forward(
        start in 0i64..2_000_000_000, which in 0..DURATIONS.len(), late in 0i64..40_000_000, is_running in any::<bool>(),
    ) {
        let schedule = Schedule::parse(&format!("I|{start}|{}", DURATIONS[which])).unwrap();
        let now = Timestamp(start + late);
        match due(&schedule, Timestamp(start), is_running, now, &utc()) {
            Due::Wait => prop_assert!(false, "the start has passed"),
            Due::Run { next } => {
                prop_assert!(!is_running);
                prop_assert!(next.unwrap() > now);
            }
            Due::Skip { next, .. } => prop_assert!(next.unwrap() > now),
        }
    }

    #[test]
    fn parsing_never_panics(text in any::<String>(), tail in "P[0-9YMWDTHS]{0,12}") {
        let _ = Schedule::parse(&text);
        let _ = Schedule::parse(&format!("I|0|{tail}")).map(|schedule| schedule.next_run(Timestamp(1 << 40), &utc()));
    }
}

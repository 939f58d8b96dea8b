//! Schedules of plans: `I|{first run, UNIX seconds}|{ISO 8601 duration}`, and the decision whether a run is due.
//!
//! Runs are counted from the first one, never from the last: run `k` is the start plus `k` times the duration, months
//! and years added by the calendar (UTC) and clamped to the end of a short month. So `P1M` from 31 January runs on
//! 28 February and again on 31 March.

use std::fmt;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Span};
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// The last second that a schedule may name: 9999-01-01 00:00:00 UTC.
const LAST_SECOND: i64 = 253_370_764_800;
/// Longest interval accepted, in years.
const MAX_YEARS: i64 = 100;
const SECONDS_PER_DAY: i64 = 86_400;
/// A run that starts later than this after its time counts as missed (or half the interval, where that is shorter).
/// Long enough for a server's restart, short enough that a nightly run never starts at noon.
pub const GRACE_SECONDS: i64 = 600;

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Not `I|start|duration`.
    #[error(
        "\"{text}\" is not a schedule; write I|START|DURATION, such as I|1631685600|P1D (UNIX seconds, ISO 8601)"
    )]
    Form {
        /// The text as it came in.
        text: String,
    },
    /// A cron schedule, which only policies take.
    #[error(
        "cron schedules (C|…) are not supported for backup plans; use I|START|DURATION, such as I|1631685600|P1D"
    )]
    Cron,
    /// The first run is not a number of seconds in 0..=9999-01-01.
    #[error("schedule start \"{start}\" is not a UNIX time in seconds")]
    Start {
        /// The start as it came in.
        start: String,
    },
    /// The interval is not an ISO 8601 duration of whole units.
    #[error(
        "schedule interval \"{duration}\" is not an ISO 8601 duration such as P1D, PT1H or P1M"
    )]
    Duration {
        /// The duration as it came in.
        duration: String,
    },
    /// The interval is zero or longer than a century.
    #[error(
        "schedule interval \"{duration}\" must be longer than zero and at most {MAX_YEARS} years"
    )]
    Range {
        /// The duration as it came in.
        duration: String,
    },
}

/// An interval: calendar months and exact seconds (a day is 86,400 s, a week seven days).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    months: i64,
    seconds: i64,
}

/// A parsed schedule, with the text it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    start: Timestamp,
    interval: Interval,
}

impl Schedule {
    /// Parses `I|start|duration`.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let form = || ScheduleError::Form {
            text: text.to_owned(),
        };
        let mut parts = text.split('|');
        let kind = parts.next().unwrap_or_default().trim();
        if kind == "C" {
            return Err(ScheduleError::Cron);
        }
        let (Some(start), Some(duration), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form());
        };
        if kind != "I" {
            return Err(form());
        }
        let start = parse_start(start.trim())?;
        let interval = parse_duration(duration.trim())?;
        Ok(Self {
            text: text.to_owned(),
            start,
            interval,
        })
    }

    /// The text as it came in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first run.
    #[must_use]
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// The first run after `after` (never at it); the start itself while `after` is before it. `None` past the year
    /// 9999.
    #[must_use]
    pub fn next_run(&self, after: Timestamp) -> Option<Timestamp> {
        if after < self.start {
            return Some(self.start);
        }
        // Run k grows with k: find the smallest k whose run is after `after`. A month has at least 28 days, so this
        // many runs reach past it.
        let shortest_seconds =
            (self.interval.months * 28 * SECONDS_PER_DAY + self.interval.seconds).max(1);
        let mut high = after.seconds_since(self.start) / shortest_seconds + 1;
        let mut low = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.run(middle) {
                Some(run) if run <= after => low = middle + 1,
                _ => high = middle,
            }
        }
        self.run(low)
    }

    /// Run number `k`, counted from zero; `None` past the year 9999.
    fn run(&self, k: i64) -> Option<Timestamp> {
        let months = self.interval.months.checked_mul(k)?;
        let seconds = self.interval.seconds.checked_mul(k)?;
        let start = civil(self.start)?;
        let moved = if months == 0 {
            start
        } else {
            start
                .checked_add(Span::new().try_months(months).ok()?)
                .ok()?
        };
        let run = from_civil(moved).plus_seconds(seconds);
        (run.0 <= LAST_SECOND).then_some(run)
    }

    /// How late a run may start before it counts as missed.
    #[must_use]
    pub fn grace_seconds(&self) -> i64 {
        let shortest_seconds = self.interval.months * 28 * SECONDS_PER_DAY + self.interval.seconds;
        GRACE_SECONDS.min(shortest_seconds / 2)
    }
}

/// What to do now about a plan whose next run is `planned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The run is not due yet.
    Wait,
    /// Start the run; the one after it is `next`.
    Run {
        /// The run after this one; `None` past the year 9999.
        next: Option<Timestamp>,
    },
    /// Do not start it; the next one to look at is `next`.
    Skip {
        /// Why not.
        reason: SkipReason,
        /// The run to wait for; `None` past the year 9999.
        next: Option<Timestamp>,
    },
}

/// Why a run that came due is not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The plan's former job has not ended: runs never overlap.
    StillRunning,
    /// Its time is too long past: missed runs are not made up.
    Missed,
}

/// Decides about the run `planned` of `schedule` at `now`; `is_running` says whether the plan's former job goes on.
/// When several runs have passed unseen only the latest one counts.
#[must_use]
pub fn due(schedule: &Schedule, planned: Timestamp, is_running: bool, now: Timestamp) -> Due {
    if now < planned {
        return Due::Wait;
    }
    let next = schedule.next_run(now);
    if is_running {
        return Due::Skip {
            reason: SkipReason::StillRunning,
            next,
        };
    }
    let grace = schedule.grace_seconds();
    let oldest = now.plus_seconds(-grace);
    let is_fresh = planned >= oldest
        || schedule
            .next_run(oldest.plus_seconds(-1))
            .is_some_and(|run| run <= now);
    if is_fresh {
        Due::Run { next }
    } else {
        Due::Skip {
            reason: SkipReason::Missed,
            next,
        }
    }
}

fn parse_start(start: &str) -> Result<Timestamp, ScheduleError> {
    let is_plain = !start.is_empty() && start.bytes().all(|c| c.is_ascii_digit());
    let seconds = if is_plain {
        start.parse::<i64>().ok()
    } else {
        None
    };
    match seconds {
        Some(seconds) if seconds <= LAST_SECOND => Ok(Timestamp(seconds)),
        _ => Err(ScheduleError::Start {
            start: start.to_owned(),
        }),
    }
}

/// Parses `P[nY][nM][nW][nD][T[nH][nM][nS]]`, whole numbers, units at most once and in this order, at least one.
fn parse_duration(text: &str) -> Result<Interval, ScheduleError> {
    let bad = || ScheduleError::Duration {
        duration: text.to_owned(),
    };
    let range = || ScheduleError::Range {
        duration: text.to_owned(),
    };
    let body = text.strip_prefix('P').ok_or_else(bad)?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err(bad()),
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(bad());
    }
    let [years, months, weeks, days] = read_units(date, ['Y', 'M', 'W', 'D']).ok_or_else(bad)?;
    let [hours, minutes, seconds, _] = read_units(time, ['H', 'M', 'S', '\0']).ok_or_else(bad)?;
    let total_months = years.checked_mul(12).and_then(|y| y.checked_add(months));
    let total_seconds = [
        (weeks, 7 * SECONDS_PER_DAY),
        (days, SECONDS_PER_DAY),
        (hours, 3600),
        (minutes, 60),
        (seconds, 1),
    ]
    .into_iter()
    .try_fold(0i64, |sum, (count, unit)| {
        count.checked_mul(unit)?.checked_add(sum)
    });
    let (Some(months), Some(seconds)) = (total_months, total_seconds) else {
        return Err(range());
    };
    if months > MAX_YEARS * 12
        || seconds > MAX_YEARS * 366 * SECONDS_PER_DAY
        || (months == 0 && seconds == 0)
    {
        return Err(range());
    }
    Ok(Interval { months, seconds })
}

/// Reads numbers that are followed by the given units, in their order, each at most once.
fn read_units(mut text: &str, units: [char; 4]) -> Option<[i64; 4]> {
    let mut counts = [0; 4];
    let mut next_unit = 0;
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        let unit = rest.chars().next()?;
        let position = (next_unit..units.len()).find(|&i| units[i] == unit)?;
        counts[position] = number.parse().ok()?;
        next_unit = position + 1;
        text = &rest[unit.len_utf8()..];
    }
    Some(counts)
}

fn civil(time: Timestamp) -> Option<DateTime> {
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0)
        .checked_add(SignedDuration::from_secs(time.0))
        .ok()
}

fn from_civil(time: DateTime) -> Timestamp {
    Timestamp(
        time.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0))
            .as_secs(),
    )
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, ScheduleError> {
        Self::parse(&text)
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

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
            after = schedule.next_run(after).unwrap();
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
                schedule.next_run(Timestamp(after)),
                Some(Timestamp(expected)),
                "after {after}"
            );
        }
        assert_eq!(schedule.next_run(Timestamp(i64::MAX)), None);
        assert_eq!(
            Schedule::parse("I|0|P100Y")
                .unwrap()
                .next_run(Timestamp(LAST_SECOND)),
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
        check("C|0|0 0 2 * * ?", "not supported for backup plans");
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
                due(&schedule, first, is_running, Timestamp(now)),
                expected,
                "now {now}"
            );
        }
        // Ten days down, back five minutes after a run: that one runs, the others do not.
        let now = Timestamp(1000 + 10 * 86_400 + 300);
        let next = Some(Timestamp(1000 + 11 * 86_400));
        assert_eq!(due(&schedule, first, false, now), Due::Run { next });
        let now = Timestamp(1000 + 10 * 86_400 + 601);
        assert_eq!(
            due(&schedule, first, false, now),
            Due::Skip {
                reason: SkipReason::Missed,
                next
            }
        );
    }

    #[test]
    fn short_intervals_have_a_short_grace() {
        let schedule = Schedule::parse("I|0|PT1M").unwrap();
        assert_eq!(schedule.grace_seconds(), 30);
        let next = Some(Timestamp(120));
        assert_eq!(
            due(&schedule, Timestamp(60), false, Timestamp(90)),
            Due::Run { next }
        );
        assert_eq!(
            due(&schedule, Timestamp(60), false, Timestamp(91)),
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
            let after = schedule.run(runs).unwrap().plus_seconds(offset);
            let counted = (0..).map(|k| schedule.run(k).unwrap()).find(|run| *run > after).unwrap();
            prop_assert_eq!(schedule.next_run(after), Some(counted));
        }

        /// Whatever the clock does, each decision moves the plan forward and starts at most one run.
        #[test]
        fn deciding_moves_forward(
            start in 0i64..2_000_000_000, which in 0..DURATIONS.len(), late in 0i64..40_000_000, is_running in any::<bool>(),
        ) {
            let schedule = Schedule::parse(&format!("I|{start}|{}", DURATIONS[which])).unwrap();
            let now = Timestamp(start + late);
            match due(&schedule, Timestamp(start), is_running, now) {
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
            let _ = Schedule::parse(&format!("I|0|{tail}")).map(|schedule| schedule.next_run(Timestamp(1 << 40)));
        }
    }
}

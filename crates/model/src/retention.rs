//! Which snapshots may go: a pure function of what is known about them, the calendar of a zone, and `now`.
//!
//! It errs on one side only. A snapshot goes when a rule that can be read says that its time is over; an empty rule, one
//! that cannot be read, a hold, and doubt keep it. Ages count from when the server received a snapshot, never from what
//! a client says. A promise is never shortened: a snapshot whose end was told stays until then, whatever rules say later.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::text::word_enum;
use crate::timestamp::Timestamp;
use crate::zone::Zone;

const SECONDS_PER_DAY: i64 = 86_400;
/// Most days of a retention, as policies have it: some 998 years.
pub const MAX_RETENTION_DAYS: i64 = 364_635;

word_enum! {
    /// The stretch of the calendar of which one snapshot is kept longer (`AdvancedRetentionType`).
    pub enum Period, "advanced retention type" {
        /// A day of the zone.
        Daily = "DAILY",
        /// A week from Monday.
        Weekly = "WEEKLY",
        /// A month.
        Monthly = "MONTHLY",
        /// A year.
        Yearly = "YEARLY",
    }
}

/// One snapshot of each period is kept for longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvancedRule {
    /// Of which period.
    pub period: String,
    /// Which snapshot of the period, counted from 1 (`WhichSnapshot`).
    pub which: i64,
    /// For how many days.
    pub days: i64,
}

/// What a snapshot was promised when it was made; its JSON form is kept with the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Days; absent, zero and negative mean for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
    /// The newest good snapshot of the plan never goes (`KeepLatestSnapshots`).
    #[serde(default)]
    pub keep_latest: bool,
    /// Some are kept for longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advanced: Vec<AdvancedRule>,
}

/// What the decision has to know about one snapshot of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// When the server received it.
    pub received: Timestamp,
    /// It holds all that was asked for.
    pub is_complete: bool,
    /// What it was promised; `None` when there is no rule or it cannot be read.
    pub rule: Option<RetentionRule>,
    /// The end that callers were told; it is never moved closer.
    pub told_end: Option<Timestamp>,
    /// Somebody holds it.
    pub is_held: bool,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// It has no rule, or one that cannot be read, or one without an end.
    ForEver,
    /// Somebody holds it.
    Held,
    /// It is the newest good one.
    Latest,
    /// Its days are not over.
    Days,
    /// It is kept for longer, as one of its period.
    Advanced(Period),
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, until `end` by its rules (`None`: for ever).
    Keep {
        /// The first of the reasons, the strongest first.
        reason: KeepReason,
        /// When its rules let it go.
        end: Option<Timestamp>,
    },
    /// Its time is over.
    Expire,
}

impl RetentionRule {
    /// A rule of days alone, as plans have it.
    #[must_use]
    pub fn days(days: Option<i64>, keep_latest: bool) -> Self {
        Self {
            days,
            keep_latest,
            advanced: Vec::new(),
        }
    }

    /// Reads the JSON form; `None` for what no version of this program writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        // serde would read a list as the members in their order, too.
        if !text.starts_with('{') {
            return None;
        }
        let rule: Self = serde_json::from_str(text).ok()?;
        let known = rule.advanced.iter().all(|advanced| {
            advanced.period.parse::<Period>().is_ok()
                && advanced.which >= 1
                && (1..=MAX_RETENTION_DAYS).contains(&advanced.days)
        });
        (known && rule.days.is_none_or(|days| days <= MAX_RETENTION_DAYS)).then_some(rule)
    }

    /// Whether its snapshots stay until somebody deletes them.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        self.days.is_none_or(|days| days <= 0)
    }
}

/// Decides about all snapshots of one plan in one vault. They may come in any order; the verdicts come in the same.
/// `plan_keeps_latest` is what the plan says today; what the snapshots were promised counts besides.
#[must_use]
pub fn decide(
    snapshots: &[SnapshotFacts],
    plan_keeps_latest: bool,
    zone: &Zone,
    now: Timestamp,
) -> Vec<Verdict> {
    let ranks = ranks(snapshots, zone);
    let latest = latest_good(snapshots);
    (0..snapshots.len())
        .map(|index| {
            let snapshot = &snapshots[index];
            let is_latest = latest == Some(index)
                && (plan_keeps_latest
                    || snapshots
                        .iter()
                        .any(|other| other.rule.as_ref().is_some_and(|rule| rule.keep_latest)));
            verdict(snapshot, &ranks[index], is_latest, now)
        })
        .collect()
}

/// For each period: the period that a snapshot is in has this many snapshots up to it.
type Ranks = [i64; 4];
const PERIODS: [Period; 4] = [
    Period::Daily,
    Period::Weekly,
    Period::Monthly,
    Period::Yearly,
];

fn verdict(snapshot: &SnapshotFacts, ranks: &Ranks, is_latest: bool, now: Timestamp) -> Verdict {
    let for_ever = Verdict::Keep {
        reason: KeepReason::ForEver,
        end: None,
    };
    let Some(rule) = &snapshot.rule else {
        return for_ever;
    };
    let after = |days: i64| {
        snapshot
            .received
            .plus_seconds(days.saturating_mul(SECONDS_PER_DAY))
    };
    let Some(days) = rule.days.filter(|days| *days > 0) else {
        return for_ever;
    };
    let mut end = after(days).max(snapshot.told_end.unwrap_or(Timestamp(i64::MIN)));
    let mut reason = KeepReason::Days;
    for advanced in &rule.advanced {
        let Ok(period) = advanced.period.parse::<Period>() else {
            return for_ever;
        };
        let place = PERIODS.iter().position(|known| *known == period);
        let is_chosen = place.is_some_and(|place| ranks[place] == advanced.which);
        if is_chosen && after(advanced.days) > end {
            end = after(advanced.days);
            reason = KeepReason::Advanced(period);
        }
    }
    let keep = |reason| Verdict::Keep {
        reason,
        end: Some(end),
    };
    if snapshot.is_held {
        keep(KeepReason::Held)
    } else if is_latest {
        keep(KeepReason::Latest)
    } else if end > now {
        keep(reason)
    } else {
        Verdict::Expire
    }
}

/// The newest complete one; when none is complete, the newest.
fn latest_good(snapshots: &[SnapshotFacts]) -> Option<usize> {
    (0..snapshots.len()).max_by_key(|index| {
        (
            snapshots[*index].is_complete,
            snapshots[*index].received,
            *index,
        )
    })
}

fn ranks(snapshots: &[SnapshotFacts], zone: &Zone) -> Vec<Ranks> {
    let mut order: Vec<usize> = (0..snapshots.len()).collect();
    order.sort_by_key(|index| (snapshots[*index].received, *index));
    let mut ranks = vec![[0; 4]; snapshots.len()];
    let mut open: [Option<(Date, i64)>; 4] = [None; 4];
    for index in order {
        let Some(wall) = zone.wall_clock(snapshots[index].received) else {
            continue;
        };
        for (place, period) in PERIODS.iter().enumerate() {
            let first = first_day(*period, wall.date());
            let count = match open[place] {
                Some((known, count)) if known == first => count + 1,
                _ => 1,
            };
            open[place] = Some((first, count));
            ranks[index][place] = count;
        }
    }
    ranks
}

/// The first day of the period that a day is in.
fn first_day(period: Period, day: Date) -> Date {
    match period {
        Period::Daily => day,
        Period::Weekly => {
            let back = i64::from(day.weekday().to_monday_zero_offset());
            day.checked_sub(jiff::Span::new().days(back)).unwrap_or(day)
        }
        Period::Monthly => day.first_of_month(),
        Period::Yearly => day.first_of_year(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// 2024-03-04, a Monday, 12:00 UTC.
    const MONDAY: i64 = 1_709_553_600;

    fn at(day: i64) -> Timestamp {
        Timestamp(MONDAY + day * SECONDS_PER_DAY)
    }

    fn taken(day: i64, rule: Option<RetentionRule>) -> SnapshotFacts {
        SnapshotFacts {
            received: at(day),
            is_complete: true,
            rule,
            told_end: None,
            is_held: false,
        }
    }

    fn week(keep_latest: bool) -> Option<RetentionRule> {
        Some(RetentionRule::days(Some(7), keep_latest))
    }

    fn advanced(rules: &[(&str, i64)]) -> Option<RetentionRule> {
        let advanced = rules.iter().map(|(period, days)| AdvancedRule {
            period: (*period).to_owned(),
            which: 1,
            days: *days,
        });
        Some(RetentionRule {
            advanced: advanced.collect(),
            ..week(false).unwrap()
        })
    }

    /// `x` for each snapshot that goes, else the first letter of the reason.
    fn letters(snapshots: &[SnapshotFacts], now: Timestamp) -> String {
        decide(snapshots, false, &Zone::utc(), now)
            .iter()
            .map(|verdict| match verdict {
                Verdict::Expire => 'x',
                Verdict::Keep { reason, .. } => match reason {
                    KeepReason::ForEver => 'f',
                    KeepReason::Held => 'h',
                    KeepReason::Latest => 'l',
                    KeepReason::Days => 'd',
                    KeepReason::Advanced(Period::Daily) => 'D',
                    KeepReason::Advanced(Period::Weekly) => 'W',
                    KeepReason::Advanced(Period::Monthly) => 'M',
                    KeepReason::Advanced(Period::Yearly) => 'Y',
                },
            })
            .collect()
    }

    fn check(snapshots: &[SnapshotFacts], day: i64, expected: &str) {
        assert_eq!(letters(snapshots, at(day)), expected, "on day {day}");
    }

    #[test]
    fn days_end_to_the_second() {
        let one = [taken(0, week(false))];
        assert_eq!(letters(&one, Timestamp(at(7).0 - 1)), "d");
        assert_eq!(letters(&one, at(7)), "x");
        // A clock that was set back expires nothing.
        check(&one, -400, "d");
    }

    #[test]
    fn without_a_readable_rule_everything_stays() {
        for rule in [
            None,
            Some(RetentionRule::default()),
            Some(RetentionRule::days(Some(-1), false)),
            Some(RetentionRule::days(Some(0), false)),
        ] {
            check(&[taken(0, rule)], 400_000, "f");
        }
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{\"days\":\"7\"}",
            "{\"days\":7,\"other\":1}",
            "{\"days\":7,\"advanced\":[{\"period\":\"HOURLY\",\"which\":1,\"days\":9}]}",
            "{\"days\":7,\"advanced\":[{\"period\":\"DAILY\",\"which\":0,\"days\":9}]}",
        ] {
            assert_eq!(RetentionRule::read(text), None, "{text}");
        }
        let known = advanced(&[("YEARLY", 900)]).unwrap();
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(RetentionRule::read(&text), Some(known));
    }

    #[test]
    fn the_latest_good_one_stays_where_that_was_promised() {
        let mut three = [
            taken(0, week(true)),
            taken(1, week(true)),
            taken(2, week(true)),
        ];
        check(&three, 100, "xxl");
        three[2].is_complete = false;
        check(&three, 100, "xlx");
        three[0].is_complete = false;
        three[1].is_complete = false;
        check(&three, 100, "xxl");
        // One that was promised it protects the newest, even if that one was not.
        check(&[taken(0, week(true)), taken(1, week(false))], 100, "xl");
        let none = [taken(0, week(false)), taken(1, week(false))];
        check(&none, 100, "xx");
        assert_eq!(
            decide(&none, true, &Zone::utc(), at(100))[1],
            Verdict::Keep {
                reason: KeepReason::Latest,
                end: Some(at(8)),
            }
        );
    }

    #[test]
    fn holds_and_told_ends() {
        let mut one = [taken(0, week(false))];
        one[0].is_held = true;
        check(&one, 100, "h");
        one[0].is_held = false;
        one[0].told_end = Some(at(50));
        check(&one, 49, "d");
        check(&one, 50, "x");
        // An end that was told never comes before the rule's.
        one[0].told_end = Some(at(1));
        check(&one, 6, "d");
    }

    #[test]
    fn the_first_of_each_period_stays_longer() {
        // Two a day for nine days from Monday: at noon, and one second before midnight UTC.
        let rule = advanced(&[
            ("DAILY", 30),
            ("WEEKLY", 60),
            ("MONTHLY", 90),
            ("YEARLY", 400),
        ]);
        let mut all = Vec::new();
        for day in 0..9 {
            all.push(taken(day, rule.clone()));
            let mut second = taken(day, rule.clone());
            second.received = second.received.plus_seconds(43_199);
            all.push(second);
        }
        check(&all, 7, "YxDdDdDdDdDdDdWdDd".replace('x', "d").as_str());
        check(&all, 20, "YxDxDxDxDxDxDxWxDx");
        check(&all, 38, "YxxxxxxxxxxxxxWxxx");
        check(&all, 67, "Yxxxxxxxxxxxxxxxxx");
        check(&all, 400, "xxxxxxxxxxxxxxxxxx");
        // The order in which they come does not matter.
        let mut turned = all.clone();
        turned.reverse();
        let expected: String = letters(&all, at(20)).chars().rev().collect();
        assert_eq!(letters(&turned, at(20)), expected);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        // 23:30 and 00:30 UTC are one day in New York and two in UTC.
        let rule = advanced(&[("DAILY", 30)]);
        let mut late = taken(0, rule.clone());
        late.received = Timestamp(MONDAY + 41_400);
        let mut early = taken(0, rule);
        early.received = Timestamp(MONDAY + 45_000);
        let both = [late, early];
        check(&both, 20, "DD");
        let zone = Zone::parse("America/New_York").unwrap();
        assert_eq!(decide(&both, false, &zone, at(20))[1], Verdict::Expire);
    }

    fn rule_of(code: u8) -> Option<RetentionRule> {
        match code % 5 {
            0 => None,
            1 => Some(RetentionRule::days(Some(-1), code > 100)),
            2 => Some(RetentionRule::days(Some(i64::from(code)), code > 100)),
            3 => advanced(&[("WEEKLY", 40), ("MONTHLY", 200)]),
            _ => week(true),
        }
    }

    proptest! {
        /// Time only ever lets more go; what is promised is kept; the last good one survives.
        #[test]
        fn never_too_much(
            codes in prop::collection::vec((0i64..400, any::<u8>(), any::<bool>(), any::<bool>()), 0..40),
            now in 0i64..900, later in 0i64..900, keeps in any::<bool>(),
        ) {
            let facts: Vec<SnapshotFacts> = codes.iter().map(|(day, code, is_complete, is_held)| SnapshotFacts {
                is_complete: *is_complete,
                is_held: *is_held && code % 3 == 0,
                told_end: (code % 7 == 0).then(|| at(day + 3)),
                ..taken(*day, rule_of(*code))
            }).collect();
            let zone = Zone::parse("Europe/Berlin").unwrap();
            let verdicts = decide(&facts, keeps, &zone, at(now));
            let after = decide(&facts, keeps, &zone, at(now + later));
            prop_assert_eq!(verdicts.len(), facts.len());
            for ((fact, verdict), then) in facts.iter().zip(&verdicts).zip(&after) {
                let is_gone = *verdict == Verdict::Expire;
                prop_assert!(!is_gone || *then == Verdict::Expire);
                if is_gone {
                    let days = fact.rule.as_ref().unwrap().days.unwrap();
                    prop_assert!(!fact.is_held && days > 0);
                    prop_assert!(fact.received.0 + days * SECONDS_PER_DAY <= at(now).0);
                    prop_assert!(fact.told_end.is_none_or(|end| end <= at(now)));
                }
            }
            if keeps && !facts.is_empty() {
                prop_assert!(verdicts.iter().any(|verdict| *verdict != Verdict::Expire));
                let has_complete = facts.iter().any(|fact| fact.is_complete);
                let kept_complete = facts.iter().zip(&verdicts)
                    .any(|(fact, verdict)| fact.is_complete && *verdict != Verdict::Expire);
                prop_assert!(!has_complete || kept_complete);
            }
        }
    }
}

//! Cron expressions: each kind of field, the days when clocks change, what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::{any, prop_assert, proptest};

use super::{Schedule, jitter_seconds};
use crate::timestamp::Timestamp;
use crate::zone::Zone;

fn seconds(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_second())
}

/// The first runs from `from` on, as the wall clock of the zone shows them with its offset, seconds left out.
fn runs(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(&format!("C|0|{cron}")).unwrap();
    let zone = Zone::parse(zone).unwrap();
    let mut after = seconds(from).plus_seconds(-1);
    (0..count)
        .map(|_| {
            after = schedule.next_run(after, &zone).unwrap();
            let zoned = jiff::Timestamp::from_second(after.0)
                .unwrap()
                .in_tz(zone.name())
                .unwrap();
            zoned.strftime("%Y-%m-%d %H:%M %z").to_string()
        })
        .collect()
}

fn days(cron: &str, from: &str, count: usize) -> Vec<String> {
    runs(cron, "UTC", &format!("{from}T00:00:00Z"), count)
        .iter()
        .map(|run| run[..10].to_owned())
        .collect()
}

#[test]
fn days_of_every_kind() {
    for (cron, expected) in [
        (
            "0 0 2 ? * 3,5,7",
            ["2024-02-01", "2024-02-03", "2024-02-06"],
        ),
        (
            "0 0 2 ? * TUE-THU",
            ["2024-02-01", "2024-02-06", "2024-02-07"],
        ),
        (
            "0 0 2 ? * fri-mon",
            ["2024-02-02", "2024-02-03", "2024-02-04"],
        ),
        ("0 0 2 L * ?", ["2024-02-29", "2024-03-31", "2024-04-30"]),
        ("0 0 2 L-3 * ?", ["2024-02-26", "2024-03-28", "2024-04-27"]),
        ("0 0 2 LW * ?", ["2024-02-29", "2024-03-29", "2024-04-30"]),
        ("0 0 2 15W * ?", ["2024-02-15", "2024-03-15", "2024-04-15"]),
        ("0 0 2 1W 6-9 ?", ["2024-06-03", "2024-07-01", "2024-08-01"]),
        ("0 0 2 31W * ?", ["2024-03-29", "2024-05-31", "2024-07-31"]),
        ("0 0 2 ? * L", ["2024-02-03", "2024-02-10", "2024-02-17"]),
        ("0 0 2 ? * 6L", ["2024-02-23", "2024-03-29", "2024-04-26"]),
        ("0 0 2 ? * FRIL", ["2024-02-23", "2024-03-29", "2024-04-26"]),
        ("0 0 2 ? * 6#3", ["2024-02-16", "2024-03-15", "2024-04-19"]),
        (
            "0 0 2 ? * SUN#5",
            ["2024-03-31", "2024-06-30", "2024-09-29"],
        ),
        ("0 0 2 1,L * ?", ["2024-02-01", "2024-02-29", "2024-03-01"]),
        ("0 0 2 29 2 ?", ["2024-02-29", "2028-02-29", "2032-02-29"]),
        (
            "0 0 2 1 JAN-DEC/4 *",
            ["2024-05-01", "2024-09-01", "2025-01-01"],
        ),
        ("0 0 2 1/10 * ?", ["2024-02-01", "2024-02-11", "2024-02-21"]),
    ] {
        assert_eq!(days(cron, "2024-02-01", 3), expected, "{cron}");
    }
}

#[test]
fn times_of_every_kind() {
    let check = |cron: &str, expected: [&str; 3]| {
        let found = runs(cron, "UTC", "2024-02-28T23:50:30Z", 3);
        let times: Vec<&str> = found.iter().map(|run| &run[5..16]).collect();
        assert_eq!(times, expected, "{cron}");
    };
    check(
        "0 0/20 * * * ?",
        ["02-29 00:00", "02-29 00:20", "02-29 00:40"],
    );
    check(
        "0 55 23 * * ?",
        ["02-28 23:55", "02-29 23:55", "03-01 23:55"],
    );
    check(
        "30 50 22-1 * * ?",
        ["02-28 23:50", "02-29 00:50", "02-29 01:50"],
    );
    check(
        "0 0 */8 * * ?",
        ["02-29 00:00", "02-29 08:00", "02-29 16:00"],
    );
    check(
        "0 5/30 9-10 * * ?",
        ["02-29 09:05", "02-29 09:35", "02-29 10:05"],
    );
}

#[test]
fn a_fixed_hour_comes_once_when_the_clocks_change() {
    assert_eq!(
        runs("0 30 2 * * ?", "Europe/Berlin", "2024-03-30T00:00:00Z", 3),
        [
            "2024-03-30 02:30 +0100",
            "2024-03-31 03:00 +0200",
            "2024-04-01 02:30 +0200"
        ]
    );
    assert_eq!(
        runs("0 30 2 * * ?", "Europe/Berlin", "2024-10-26T12:00:00Z", 2),
        ["2024-10-27 02:30 +0200", "2024-10-28 02:30 +0100"]
    );
    // Those that are left out come together, once.
    assert_eq!(
        runs("0 30 2,3 * * ?", "Europe/Berlin", "2024-03-30T23:00:00Z", 2),
        ["2024-03-31 03:00 +0200", "2024-03-31 03:30 +0200",]
    );
    // Apia had no 30 December 2011.
    assert_eq!(
        runs("0 0 9 * * ?", "Pacific/Apia", "2011-12-29T00:00:00Z", 3),
        [
            "2011-12-29 09:00 -1000",
            "2011-12-31 00:00 +1400",
            "2011-12-31 09:00 +1400"
        ]
    );
}

#[test]
fn every_hour_follows_elapsed_time() {
    assert_eq!(
        runs("0 30 * * * ?", "Europe/Berlin", "2024-03-31T00:00:00Z", 3),
        [
            "2024-03-31 01:30 +0100",
            "2024-03-31 03:30 +0200",
            "2024-03-31 04:30 +0200"
        ]
    );
    assert_eq!(
        runs("0 30 * * * ?", "Europe/Berlin", "2024-10-27T00:00:00Z", 3),
        [
            "2024-10-27 02:30 +0200",
            "2024-10-27 02:30 +0100",
            "2024-10-27 03:30 +0100"
        ]
    );
}

#[test]
fn intervals_of_days_stay_at_their_hour() {
    let schedule =
        Schedule::parse(&format!("I|{}|P1D", seconds("2024-03-29T01:30:00Z").0)).unwrap();
    let exact = Schedule::parse(&format!("I|{}|PT24H", seconds("2024-03-29T01:30:00Z").0)).unwrap();
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let next = |schedule: &Schedule, after: &str| schedule.next_run(seconds(after), &zone).unwrap();
    // 02:30 is left out on the 31st, and is 00:30 UTC from then on.
    assert_eq!(
        next(&schedule, "2024-03-30T12:00:00Z"),
        seconds("2024-03-31T01:30:00Z")
    );
    assert_eq!(
        next(&schedule, "2024-03-31T12:00:00Z"),
        seconds("2024-04-01T00:30:00Z")
    );
    assert_eq!(
        next(&exact, "2024-03-31T12:00:00Z"),
        seconds("2024-04-01T01:30:00Z")
    );
}

#[test]
fn a_start_is_not_a_run() {
    let start = seconds("2024-05-01T12:00:00Z");
    let schedule = Schedule::parse(&format!("C|{}|0 0 2 * * ?", start.0)).unwrap();
    let expected = Some(seconds("2024-05-02T02:00:00Z"));
    assert_eq!(schedule.next_run(Timestamp(0), &Zone::utc()), expected);
    let exact = Schedule::parse(&format!("C|{}|0 0 12 * * ?", start.0)).unwrap();
    assert_eq!(exact.next_run(Timestamp(0), &Zone::utc()), Some(start));
}

#[test]
fn refused() {
    for (cron, field) in [
        ("", "whole"),
        ("0 0 2 * *", "whole"),
        ("0 0 2 * * ? 2024", "whole"),
        ("60 0 2 * * ?", "second"),
        ("0 60 2 * * ?", "minute"),
        ("0 0 24 * * ?", "hour"),
        ("0 0 2 0 * ?", "day-of-month"),
        ("0 0 2 32 * ?", "day-of-month"),
        ("0 0 2 L-31 * ?", "day-of-month"),
        ("0 0 2 31 2,4 ?", "day-of-month"),
        ("0 0 2 ? 13 1", "month"),
        ("0 0 2 ? FOO 1", "month"),
        ("0 0 2 ? * 0", "day-of-week"),
        ("0 0 2 ? * 8", "day-of-week"),
        ("0 0 2 ? * 6#6", "day-of-week"),
        ("0 0 2 1 * 2", "day-of-week"),
        ("0 0 2 ? * MON-", "day-of-week"),
        ("0 */0 2 * * ?", "minute"),
        ("0 /x 2 * * ?", "minute"),
        ("0 1--2 2 * * ?", "minute"),
        ("0 , 2 * * ?", "minute"),
        ("0 ? 2 * * ?", "minute"),
        ("0 0 +2 * * ?", "hour"),
    ] {
        let error = Schedule::parse(&format!("C|0|{cron}"))
            .expect_err(cron)
            .to_string();
        assert!(
            error.contains(&format!("the {field} field")),
            "{cron}: {error}"
        );
    }
}

#[test]
fn jitter_is_spread_and_stable() {
    let mut counts = [0u32; 10];
    for plan in 0..1_000 {
        let late = jitter_seconds(&format!("plan-{plan:020}"), Timestamp(1_700_000_000), 599);
        assert!((0..600).contains(&late));
        counts[usize::try_from(late / 60).unwrap()] += 1;
    }
    assert!(
        counts.iter().all(|count| (60..=140).contains(count)),
        "{counts:?}"
    );
    assert_eq!(jitter_seconds("plan-1", Timestamp(5), 0), 0);
    assert_eq!(
        jitter_seconds("plan-1", Timestamp(5), 60),
        jitter_seconds("plan-1", Timestamp(5), 60)
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>(), tail in "[0-9*?LW#,/A-Z -]{0,24}") {
        for text in [format!("C|0|{text}"), format!("C|0|{tail}"), format!("C|0|0 0 0 {tail}")] {
            if let Ok(schedule) = Schedule::parse(&text) {
                let zone = Zone::parse("America/New_York").unwrap();
                let mut after = Timestamp(1_709_900_000);
                for _ in 0..20 {
                    let Some(next) = schedule.next_run(after, &zone) else { break };
                    prop_assert!(next > after);
                    after = next;
                }
            }
        }
    }
}

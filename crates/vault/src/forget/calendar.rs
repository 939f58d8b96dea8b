//! The clock of the host that made a snapshot: which hour, day, ISO week, month and year a time lies in.

use super::span::Span;
use crate::time::{DAY_SECONDS, Time, civil_of_days, days_of_civil};

/// A period whose newest snapshot a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// A number that is the same for times of the same period, and for no others.
pub(super) fn number(period: Period, time: Time, offset_seconds: i32) -> i64 {
    let local = time.seconds.saturating_add(i64::from(offset_seconds));
    let days = local.div_euclid(DAY_SECONDS);
    let (year, month, _) = civil_of_days(days);
    match period {
        Period::Hour => local.div_euclid(3600),
        Period::Day => days,
        // 1970-01-01 was a Thursday and ISO weeks begin on Mondays.
        Period::Week => (days + 3).div_euclid(7),
        Period::Month => year * 12 + month as i64,
        Period::Year => year,
    }
}

/// The time one span earlier by a clock with this offset. Years, months and days are those of the calendar; a day that a
/// month does not have runs over into the next month, as Go's `AddDate` does it.
pub(super) fn before(time: Time, offset_seconds: i32, span: Span) -> Time {
    let offset = i64::from(offset_seconds);
    let local = time.seconds.saturating_add(offset);
    let (year, month, day) = civil_of_days(local.div_euclid(DAY_SECONDS));
    let months = (year - i64::from(span.years)) * 12 + month as i64 - 1 - i64::from(span.months);
    let first = days_of_civil(months.div_euclid(12), months.rem_euclid(12) + 1, 1);
    let days = first + day as i64 - 1 - i64::from(span.days);
    let seconds =
        days * DAY_SECONDS + local.rem_euclid(DAY_SECONDS) - offset - i64::from(span.hours) * 3600;
    Time::new(seconds, time.nanoseconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Period, before, number};
    use crate::time::Time;

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn periods_begin_where_the_calendar_says() {
        let check = |period, a: &str, b: &str, is_same: bool| {
            let same = number(period, time(a), 0) == number(period, time(b), 0);
            assert_eq!(same, is_same, "{period:?} {a} {b}");
        };
        check(
            Period::Hour,
            "2024-01-01T10:00:00Z",
            "2024-01-01T10:59:59Z",
            true,
        );
        check(
            Period::Hour,
            "2024-01-01T10:59:59Z",
            "2024-01-01T11:00:00Z",
            false,
        );
        check(
            Period::Day,
            "2024-02-29T00:00:00Z",
            "2024-02-29T23:59:59Z",
            true,
        );
        // Monday 2024-12-30 belongs to week 1 of 2025, Sunday 2024-12-29 does not.
        check(
            Period::Week,
            "2024-12-30T00:00:00Z",
            "2025-01-05T23:59:59Z",
            true,
        );
        check(
            Period::Week,
            "2024-12-29T23:59:59Z",
            "2024-12-30T00:00:00Z",
            false,
        );
        check(
            Period::Month,
            "2023-01-31T00:00:00Z",
            "2024-01-31T00:00:00Z",
            false,
        );
        check(
            Period::Year,
            "2024-12-31T23:00:00Z",
            "2025-01-01T00:00:00Z",
            false,
        );
        // The same moment is another day elsewhere.
        let moment = time("2024-12-31T23:00:00Z");
        assert_eq!(number(Period::Year, moment, 0), 2024);
        assert_eq!(number(Period::Year, moment, 3600), 2025);
    }

    #[test]
    fn spans_go_back_by_the_calendar() {
        let check = |from: &str, offset, span: &str, expected: &str| {
            let result = before(time(from), offset, span.parse().unwrap());
            assert_eq!(result, time(expected), "{from} - {span}");
        };
        check(
            "2024-05-15T12:00:00Z",
            0,
            "1y1m1d1h",
            "2023-04-14T11:00:00Z",
        );
        check("2024-01-15T00:00:00Z", 0, "1m", "2023-12-15T00:00:00Z");
        // February has no 31st: it runs over into March.
        check("2024-03-31T00:00:00Z", 0, "1m", "2024-03-02T00:00:00Z");
        check("2024-03-01T00:00:00Z", 0, "24h", "2024-02-29T00:00:00Z");
        check("2024-02-29T00:00:00Z", 0, "1y", "2023-03-01T00:00:00Z");
        // 00:30 on 1 March at +01:00, a month earlier.
        check("2024-02-29T23:30:00Z", 3600, "1m", "2024-01-31T23:30:00Z");
    }
}

//! ISO 8601 durations as intervals: `P1D`, `PT2H`, `P1M`.
//!
//! Years, months, weeks and days follow the calendar of the zone, hours, minutes and seconds are exact. So `P1D` stays at
//! two o'clock when the clocks change, and `PT24H` does not. Runs are counted from the first one, never from the last:
//! `P1M` from 31 January runs on 28 February and again on 31 March.

use jiff::Span;

use super::{LAST_SECOND, ScheduleError};
use crate::timestamp::Timestamp;
use crate::zone::Zone;

/// Longest interval accepted, in years.
pub(super) const MAX_YEARS: i64 = 100;
pub(super) const SECONDS_PER_DAY: i64 = 86_400;

/// An interval: calendar months, calendar days and exact seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    months: i64,
    days: i64,
    seconds: i64,
}

impl Interval {
    /// The first run after `after` (never at it) of those that start at `start`.
    pub(super) fn next_run(
        self,
        start: Timestamp,
        after: Timestamp,
        zone: &Zone,
    ) -> Option<Timestamp> {
        if after < start {
            return Some(start);
        }
        // Run k never falls with k: find the smallest k whose run is after `after`. A month has at least 28 days, so this
        // many runs reach past it; two days more make up for changes of the clock.
        let shortest =
            self.months * 28 * SECONDS_PER_DAY + self.days * SECONDS_PER_DAY + self.seconds;
        let elapsed = after
            .seconds_since(start)
            .saturating_add(2 * SECONDS_PER_DAY);
        let mut high = elapsed / shortest.max(1) + 1;
        let mut low = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.run(start, middle, zone) {
                Some(run) if run <= after => low = middle + 1,
                _ => high = middle,
            }
        }
        self.run(start, low, zone)
    }

    /// Run number `k`, counted from zero; `None` past the year 9999.
    pub(super) fn run(self, start: Timestamp, k: i64, zone: &Zone) -> Option<Timestamp> {
        let months = self.months.checked_mul(k)?;
        let days = self.days.checked_mul(k)?;
        let seconds = self.seconds.checked_mul(k)?;
        let moved = if months == 0 && days == 0 {
            start
        } else {
            let span = Span::new().try_months(months).ok()?.try_days(days).ok()?;
            zone.instant(zone.wall_clock(start)?.checked_add(span).ok()?)?
        };
        let run = moved.plus_seconds(seconds);
        (run.0 <= LAST_SECOND).then_some(run)
    }

    /// Parses `P[nY][nM][nW][nD][T[nH][nM][nS]]`, whole numbers, units at most once and in this order, at least one.
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
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
        let [years, months, weeks, days] =
            read_units(date, ['Y', 'M', 'W', 'D']).ok_or_else(bad)?;
        let [hours, minutes, seconds, _] =
            read_units(time, ['H', 'M', 'S', '\0']).ok_or_else(bad)?;
        let months = sum([(years, 12), (months, 1)]).ok_or_else(range)?;
        let days = sum([(weeks, 7), (days, 1)]).ok_or_else(range)?;
        let seconds = sum([(hours, 3600), (minutes, 60), (seconds, 1)]).ok_or_else(range)?;
        let whole_seconds = sum([(days, SECONDS_PER_DAY), (seconds, 1)]).ok_or_else(range)?;
        if months > MAX_YEARS * 12
            || whole_seconds > MAX_YEARS * 366 * SECONDS_PER_DAY
            || (months == 0 && whole_seconds == 0)
        {
            return Err(range());
        }
        Ok(Self {
            months,
            days,
            seconds,
        })
    }
}

/// The sum of counts times their unit; `None` if it is too large for the type.
fn sum<const N: usize>(parts: [(i64, i64); N]) -> Option<i64> {
    parts.into_iter().try_fold(0i64, |sum, (count, unit)| {
        count.checked_mul(unit)?.checked_add(sum)
    })
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

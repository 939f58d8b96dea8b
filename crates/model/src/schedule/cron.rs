//! Cron expressions of six fields, as Quartz reads them: `second minute hour day-of-month month day-of-week`.
//!
//! | field | values | besides `*`, lists `,`, ranges `-` and steps `/` |
//! |---|---|---|
//! | second, minute | 0–59 | |
//! | hour | 0–23 | |
//! | day of month | 1–31 | `?`, `L` (the last), `L-3`, `LW` (the last working day), `15W` (the working day nearest to the 15th) |
//! | month | 1–12, JAN–DEC | |
//! | day of week | 1–7 from Sunday, SUN–SAT | `?`, `L` (Saturday), `6L` (the last Friday), `6#3` (the third Friday) |
//!
//! Source: the documentation of Quartz 2.3, `CronExpression`. One of the two days must be `?` or `*`: with both, a month
//! has days that nobody meant. A range may run over the end (`FRI-MON`, `22-2`).
//!
//! When the clocks change, as Debian's cron does it: a run at a fixed time comes exactly once that day, at the moment of
//! the change if its time is left out, at the first of two equal times otherwise. Runs whose hour or minute field starts
//! with `*` follow elapsed time: none in the gap, in both of two equal hours.

use jiff::civil::{Date, DateTime, Weekday, date};
use jiff::{SignedDuration, ToSpan};

use super::ScheduleError;
use crate::timestamp::Timestamp;
use crate::zone::{Instants, Zone};

/// How far ahead a match is looked for: 29 February is at most eight years away.
const SEARCH_YEARS: i16 = 40;
/// Two readings of one wall clock time are never further apart than this (a day that a zone left out, and a bit).
const MARGIN_SECONDS: i64 = 26 * 3600;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A set of numbers below 64.
type Set = u64;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: Set,
    minutes: Set,
    hours: Set,
    months: Set,
    days: Vec<DayRule>,
    /// The hour or the minute field starts with `*`.
    is_elapsed: bool,
}

/// Which days of a month match; several are ORed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayRule {
    /// These days of the month.
    OfMonth(Set),
    /// So many days before the last one.
    BeforeLast(i8),
    /// The last working day.
    LastWorking,
    /// The working day of the month that is nearest to this day.
    NearestWorking(i8),
    /// These days of the week, 0 is Sunday.
    OfWeek(Set),
    /// The last such day of the week.
    LastOfWeek(i8),
    /// The n-th such day of the week.
    NthOfWeek(i8, i8),
}

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let bad = |field: &'static str, why: String| ScheduleError::CronField {
            expression: text.chars().take(128).collect(),
            field,
            why,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [seconds, minutes, hours, of_month, months, of_week] = fields[..] else {
            return Err(bad(
                "whole",
                format!("it has {} fields, not six", fields.len()),
            ));
        };
        let is_any = |field: &str| matches!(field, "*" | "?");
        let days = match (is_any(of_month), is_any(of_week)) {
            (_, true) if of_month != "?" => {
                days_of_month(of_month).map_err(|why| bad("day-of-month", why))?
            }
            (true, false) => days_of_week(of_week).map_err(|why| bad("day-of-week", why))?,
            (true, true) => vec![DayRule::OfMonth(Set::MAX)],
            _ => {
                let why = "one of day-of-month and day-of-week must be ?".to_owned();
                return Err(bad("day-of-week", why));
            }
        };
        let cron = Self {
            seconds: set(seconds, 0, 59, &[]).map_err(|why| bad("second", why))?,
            minutes: set(minutes, 0, 59, &[]).map_err(|why| bad("minute", why))?,
            hours: set(hours, 0, 23, &[]).map_err(|why| bad("hour", why))?,
            months: set(months, 1, 12, &MONTHS).map_err(|why| bad("month", why))?,
            days,
            is_elapsed: hours.starts_with('*') || minutes.starts_with('*'),
        };
        if cron.next_wall(date(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            return Err(bad("day-of-month", "no such day ever comes".to_owned()));
        }
        Ok(cron)
    }

    /// The first run after `after`; `None` when none comes within forty years.
    pub(super) fn next_run(&self, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let wall = zone.wall_clock(after)?;
        // The usual case: no change of the clock near. Then instants are in the order of the wall clock.
        let first = self.next_wall(wall.checked_add(1.second()).ok()?)?;
        if let Some(Instants::Once(run)) = zone.instants(first) {
            let near = after.plus_seconds(-MARGIN_SECONDS);
            let change = zone.next_change(near);
            if change.is_none_or(|change| change.0 > run.0 + MARGIN_SECONDS) {
                return Some(run);
            }
        }
        self.next_near_change(wall, after, zone)
    }

    /// The slow way: all wall clock times around, each with its instants.
    fn next_near_change(&self, wall: DateTime, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let margin = SignedDuration::from_secs(MARGIN_SECONDS);
        let mut from = wall.checked_sub(margin).ok()?;
        let mut best: Option<(Timestamp, DateTime)> = None;
        loop {
            let Some(next) = self.next_wall(from) else {
                return best.map(|(run, _)| run);
            };
            if let Some((run, found)) = best
                && next.duration_since(found) > margin
            {
                return Some(run);
            }
            let earliest = self
                .runs_at(next, zone)
                .into_iter()
                .flatten()
                .filter(|run| *run > after)
                .min();
            if let Some(run) = earliest
                && best.is_none_or(|(known, _)| run < known)
            {
                best = Some((run, next));
            }
            from = next.checked_add(1.second()).ok()?;
        }
    }

    fn runs_at(&self, wall: DateTime, zone: &Zone) -> [Option<Timestamp>; 2] {
        match zone.instants(wall) {
            None => [None, None],
            Some(Instants::Once(run)) => [Some(run), None],
            Some(Instants::Never { jump, .. }) => [(!self.is_elapsed).then_some(jump), None],
            Some(Instants::Twice(one, two)) => [Some(one), self.is_elapsed.then_some(two)],
        }
    }

    /// The first matching wall clock time at `from` or later.
    fn next_wall(&self, from: DateTime) -> Option<DateTime> {
        let last_year = from.year().saturating_add(SEARCH_YEARS).min(9998);
        let mut day = from.date();
        let mut time = (from.hour(), from.minute(), from.second());
        if from.subsec_nanosecond() > 0 {
            let up = from.checked_add(1.second()).ok()?;
            return self.next_wall(up.date().at(up.hour(), up.minute(), up.second(), 0));
        }
        while day.year() <= last_year {
            if !has(self.months, day.month()) {
                day = day.last_of_month().tomorrow().ok()?;
                time = (0, 0, 0);
                continue;
            }
            if self.days.iter().any(|rule| rule.matches(day))
                && let Some((hour, minute, second)) = self.next_time(time)
            {
                return Some(day.at(hour, minute, second, 0));
            }
            day = day.tomorrow().ok()?;
            time = (0, 0, 0);
        }
        None
    }

    /// The first matching time of a day at `(hour, minute, second)` or later.
    fn next_time(&self, (hour, minute, second): (i8, i8, i8)) -> Option<(i8, i8, i8)> {
        let (first_minute, first_second) = (at_least(self.minutes, 0)?, at_least(self.seconds, 0)?);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_least(self.seconds, second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = at_least(self.minutes, minute + 1) {
                return Some((hour, minute, first_second));
            }
        }
        Some((at_least(self.hours, hour + 1)?, first_minute, first_second))
    }
}

impl DayRule {
    fn matches(self, day: Date) -> bool {
        let last = day.days_in_month();
        let of_week = day.weekday().to_sunday_zero_offset();
        match self {
            Self::OfMonth(days) => has(days, day.day()),
            Self::BeforeLast(count) => day.day() == last - count,
            Self::LastWorking => Some(day.day()) == nearest_working(day, last),
            Self::NearestWorking(wanted) => Some(day.day()) == nearest_working(day, wanted),
            Self::OfWeek(days) => has(days, of_week),
            Self::LastOfWeek(wanted) => of_week == wanted && day.day() > last - 7,
            Self::NthOfWeek(wanted, n) => of_week == wanted && (day.day() - 1) / 7 + 1 == n,
        }
    }
}

/// The working day of the month of `day` that is nearest to its day number `wanted`; none if the month has no such day.
fn nearest_working(day: Date, wanted: i8) -> Option<i8> {
    let last = day.days_in_month();
    let target = Date::new(day.year(), day.month(), wanted).ok()?;
    Some(match target.weekday() {
        Weekday::Saturday if wanted == 1 => 3,
        Weekday::Saturday => wanted - 1,
        Weekday::Sunday if wanted == last => wanted - 2,
        Weekday::Sunday => wanted + 1,
        _ => wanted,
    })
}

fn has(set: Set, value: i8) -> bool {
    (0..64).contains(&value) && set >> value & 1 == 1
}

/// The smallest member that is not below `value`.
fn at_least(set: Set, value: i8) -> Option<i8> {
    if !(0..64).contains(&value) {
        return None;
    }
    let rest = set >> value << value;
    (rest != 0).then(|| i8::try_from(rest.trailing_zeros()).unwrap_or(0))
}

fn days_of_month(field: &str) -> Result<Vec<DayRule>, String> {
    let mut rules = Vec::new();
    let mut plain = Vec::new();
    for item in field.split(',') {
        let upper = item.to_ascii_uppercase();
        match upper.as_str() {
            "L" => rules.push(DayRule::BeforeLast(0)),
            "LW" | "WL" => rules.push(DayRule::LastWorking),
            text if text.starts_with("L-") => {
                rules.push(DayRule::BeforeLast(number(&text[2..], 1, 30, &[])?));
            }
            text if text.ends_with('W') => {
                let day = number(&text[..text.len() - 1], 1, 31, &[])?;
                rules.push(DayRule::NearestWorking(day));
            }
            _ => plain.push(item),
        }
    }
    if !plain.is_empty() {
        rules.push(DayRule::OfMonth(set(&plain.join(","), 1, 31, &[])?));
    }
    Ok(rules)
}

fn days_of_week(field: &str) -> Result<Vec<DayRule>, String> {
    let mut rules = Vec::new();
    let mut plain = Vec::new();
    for item in field.split(',') {
        let upper = item.to_ascii_uppercase();
        if upper == "L" {
            plain.push("7");
        } else if let Some(day) = upper.strip_suffix('L') {
            rules.push(DayRule::LastOfWeek(number(day, 1, 7, &DAYS)? - 1));
        } else if let Some((day, n)) = upper.split_once('#') {
            let n = number(n, 1, 5, &[])?;
            rules.push(DayRule::NthOfWeek(number(day, 1, 7, &DAYS)? - 1, n));
        } else {
            plain.push(item);
        }
    }
    if !plain.is_empty() {
        // Sunday is 1 in the text and 0 here.
        rules.push(DayRule::OfWeek(set(&plain.join(","), 1, 7, &DAYS)? >> 1));
    }
    Ok(rules)
}

/// A list of `*`, `a`, `a-b`, each with an optional `/step`. `names[0]` is `min`.
fn set(field: &str, min: i8, max: i8, names: &[&str]) -> Result<Set, String> {
    let mut found: Set = 0;
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(number(step, 1, max, &[])?)),
            None => (item, None),
        };
        let (from, to) = match range {
            "*" => (min, max),
            "" if step.is_some() => (min, max),
            _ => match range.split_once('-') {
                Some((from, to)) => (number(from, min, max, names)?, number(to, min, max, names)?),
                None => {
                    let from = number(range, min, max, names)?;
                    (from, if step.is_some() { max } else { from })
                }
            },
        };
        let count = max - min + 1;
        let length = if from <= to {
            to - from
        } else {
            to + count - from
        };
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
        for offset in (0..=length).step_by(step) {
            found |= 1 << ((from - min + offset) % count + min);
        }
    }
    Ok(found)
}

fn number(text: &str, min: i8, max: i8, names: &[&str]) -> Result<i8, String> {
    if let Some(position) = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))
    {
        return Ok(min + i8::try_from(position).unwrap_or(0));
    }
    let shown: String = text.chars().take(16).collect();
    let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|value| (min..=max).contains(value))
        .ok_or_else(|| format!("{shown:?} is not from {min} to {max}"))
}

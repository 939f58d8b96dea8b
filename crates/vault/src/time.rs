//! Points in time with nanoseconds, and their RFC 3339 text as Go writes it.
//!
//! Trees hold three of them per file, so both directions are written out by hand and allocate nothing.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z, negative before it.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct TimeError;

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the text form has four digits for the year, so times outside are
/// moved to the border, as restic does.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;
pub(crate) const DAY_SECONDS: i64 = 86_400;

impl Time {
    /// The time of this host's clock.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// A time from seconds and nanoseconds as `stat` gives them; wrong nanoseconds become 0.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds: if nanoseconds < 1_000_000_000 {
                nanoseconds
            } else {
                0
            },
        }
    }

    /// Appends the text form to `out`.
    pub(crate) fn push_text(self, out: &mut Vec<u8>) {
        let seconds = self.seconds.clamp(FIRST_SECOND, LAST_SECOND);
        let (year, month, day) = civil_of_days(seconds.div_euclid(DAY_SECONDS));
        let second_of_day = seconds.rem_euclid(DAY_SECONDS);
        push_digits(out, year as u64, 4);
        out.push(b'-');
        push_digits(out, month, 2);
        out.push(b'-');
        push_digits(out, day, 2);
        out.push(b'T');
        push_digits(out, (second_of_day / 3600) as u64, 2);
        out.push(b':');
        push_digits(out, (second_of_day / 60 % 60) as u64, 2);
        out.push(b':');
        push_digits(out, (second_of_day % 60) as u64, 2);
        if self.nanoseconds != 0 {
            out.push(b'.');
            let start = out.len();
            push_digits(out, u64::from(self.nanoseconds), 9);
            while out.len() > start && out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.push(b'Z');
    }

    /// Reads the text form, with any offset.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, TimeError> {
        Self::parse_with_offset(text).map(|(time, _)| time)
    }

    /// The text form as a clock shows it that is so many seconds east of UTC. Offsets that are no whole minutes, or a
    /// day or more, have no text form and are written as UTC.
    pub(crate) fn to_text_at(self, offset_seconds: i32) -> String {
        let offset = i64::from(offset_seconds);
        if offset == 0 || offset % 60 != 0 || offset.abs() >= DAY_SECONDS {
            return self.to_string();
        }
        let mut text = Self::new(self.seconds + offset, self.nanoseconds).to_string();
        text.pop();
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.abs() / 60;
        text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        text
    }

    /// Reads the text form, and how many seconds east of UTC the clock was that it was read from.
    pub(crate) fn parse_with_offset(text: &[u8]) -> Result<(Self, i32), TimeError> {
        let (date, rest) = text.split_at_checked(19).ok_or(TimeError)?;
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators
            .iter()
            .any(|&(index, expected)| date[index] != expected)
        {
            return Err(TimeError);
        }
        let number = |range: std::ops::Range<usize>| digits(&date[range]);
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let is_legal = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        if !is_legal {
            return Err(TimeError);
        }
        let (nanoseconds, zone) = parse_fraction(rest)?;
        let local =
            days_of_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        let offset = parse_offset(zone)?;
        let time = Self {
            seconds: local - offset,
            nanoseconds,
        };
        Ok((time, offset as i32))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::new(after.as_secs() as i64, after.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                let (seconds, nanoseconds) = (before.as_secs() as i64, before.subsec_nanos());
                match nanoseconds {
                    0 => Self::new(-seconds, 0),
                    _ => Self::new(-seconds - 1, 1_000_000_000 - nanoseconds),
                }
            }
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(32);
        self.push_text(&mut text);
        formatter.write_str(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text.as_bytes())
    }
}

fn push_digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn digits(text: &[u8]) -> Result<i64, TimeError> {
    text.iter().try_fold(0, |value, byte| match byte {
        b'0'..=b'9' => Ok(value * 10 + i64::from(byte - b'0')),
        _ => Err(TimeError),
    })
}

/// Nanoseconds and what follows them. Digits beyond the ninth are left out.
fn parse_fraction(text: &[u8]) -> Result<(u32, &[u8]), TimeError> {
    let Some((b'.' | b',', rest)) = text.split_first() else {
        return Ok((0, text));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return Err(TimeError);
    }
    let padded = rest[..length].iter().chain(std::iter::repeat(&b'0'));
    let nanoseconds = padded
        .take(9)
        .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    Ok((nanoseconds, &rest[length..]))
}

/// Seconds east of UTC.
fn parse_offset(text: &[u8]) -> Result<i64, TimeError> {
    match text {
        b"Z" | b"z" => Ok(0),
        [sign @ (b'+' | b'-'), hour @ .., b':', minute_1, minute_2] if hour.len() == 2 => {
            let seconds = digits(hour)? * 3600 + digits(&[*minute_1, *minute_2])? * 60;
            Ok(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => Err(TimeError),
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_of_civil`].
pub(crate) fn civil_of_days(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Time;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    #[test]
    fn known_texts() {
        let check = |seconds: i64, nanoseconds: u32, text: &str| {
            let time = Time {
                seconds,
                nanoseconds,
            };
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse::<Time>().unwrap(), time, "{text}");
        };
        check(0, 0, "1970-01-01T00:00:00Z");
        check(0, 1, "1970-01-01T00:00:00.000000001Z");
        check(-1, 500_000_000, "1969-12-31T23:59:59.5Z");
        check(951_782_400, 0, "2000-02-29T00:00:00Z");
        check(1_709_164_800, 0, "2024-02-29T00:00:00Z");
        check(1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z");
        check(super::FIRST_SECOND, 0, "0000-01-01T00:00:00Z");
        check(super::LAST_SECOND, 0, "9999-12-31T23:59:59Z");
    }

    #[test]
    fn offsets_and_wrong_texts() {
        let time: Time = "2023-11-14T23:13:20.12+01:00".parse().unwrap();
        assert_eq!(time, Time::new(1_700_000_000, 120_000_000));
        let time: Time = "2023-11-14T16:43:20-05:30".parse().unwrap();
        assert_eq!(time, Time::new(1_700_000_000, 0));
        for wrong in [
            "",
            "2023",
            "2023-11-14T23:13:20",
            "2023-11-14 23:13:20Z",
            "2023-13-14T23:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T23:13:20.Z",
            "2023-11-14T23:13:20+0100",
            "2023-11-1aT23:13:20Z",
            "2023-11-14T23:13:20ZZ",
            "é023-11-14T23:13:20Z",
        ] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
        for text in ["2023-11-14T23:13:20.12+01:00", "2023-11-14T16:43:20-05:30"] {
            let (time, offset) = Time::parse_with_offset(text.as_bytes()).unwrap();
            assert_eq!(time.to_text_at(offset), text);
        }
        assert_eq!(Time::new(0, 0).to_text_at(30), "1970-01-01T00:00:00Z");
        let far = Time::new(i64::MAX, 5);
        assert_eq!(far.to_string(), "9999-12-31T23:59:59.000000005Z");
        assert_eq!(Time::new(i64::MIN, 0).to_string(), "0000-01-01T00:00:00Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn any_time_round_trips(
            seconds in super::FIRST_SECOND..=super::LAST_SECOND,
            nanoseconds in 0_u32..1_000_000_000,
        ) {
            let time = Time { seconds, nanoseconds };
            prop_assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        }
    }
}

//! Spans of calendar time, written as restic does: `1y5m7d2h`.

use std::fmt;
use std::str::FromStr;

/// Years, months, days and hours. The default is no span at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Calendar years.
    pub years: u32,
    /// Calendar months.
    pub months: u32,
    /// Calendar days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no span of time: {reason}")]
pub struct SpanError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Nobody keeps longer, and the calendar still has room for it.
const LARGEST_NUMBER: u32 = 100_000;

impl Span {
    /// Whether it is no span at all.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for Span {
    type Err = SpanError;

    /// Numbers with the units `y`, `m` (months), `d` and `h`, each at most once; anything else is refused, an unknown
    /// unit above all: a rule that was not understood must not become one that keeps less.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = |reason| SpanError {
            text: text.to_owned(),
            reason,
        };
        let mut span = Self::default();
        let mut seen = String::new();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong("it is empty"));
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number = &rest[..digits];
            let unit = rest[digits..].chars().next();
            let unit = unit.ok_or_else(|| wrong("a unit is missing: use y, m, d or h"))?;
            let number: u32 = number
                .parse()
                .ok()
                .filter(|number| *number <= LARGEST_NUMBER)
                .ok_or_else(|| wrong("a unit wants a number from 0 to 100000 before it"))?;
            let field = match unit {
                'y' => &mut span.years,
                'm' => &mut span.months,
                'd' => &mut span.days,
                'h' => &mut span.hours,
                _ => return Err(wrong("the units are y, m (months), d and h")),
            };
            if seen.contains(unit) {
                return Err(wrong("a unit is there twice"));
            }
            *field = number;
            seen.push(unit);
            rest = &rest[digits + unit.len_utf8()..];
        }
        Ok(span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ] {
            if number != 0 {
                write!(formatter, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Span;

    /// T10 of the history of failures: an unknown unit is refused, never passed over.
    #[test]
    fn t10_what_is_not_understood_is_refused() {
        for text in [
            "",
            " ",
            "2w",
            "7",
            "d",
            "1y2",
            "1d1d",
            "-1d",
            "1.5d",
            "1D",
            "1 d 2",
            "99999999999d",
            "1µ",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_round_trip() {
        for text in ["1y5m7d2h", "1y", "2h", "7d", "100000d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert!("0d".parse::<Span>().unwrap().is_zero());
        assert_eq!("2h1y".parse::<Span>().unwrap().to_string(), "1y2h");
    }
}

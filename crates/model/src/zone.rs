//! The time zone in which calendars are read: what "every day at two" and "the first snapshot of a week" mean.
//!
//! Zones come from the database that is compiled into the program, so a decision is the same on every host and nothing
//! is read from a disk. Two kinds of wall clock times need a rule, and both have one here: a time that a change of the
//! clock leaves out is moved forward by the length of the gap, a time that comes twice means its first coming.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::timestamp::Timestamp;

/// A text that names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a time zone; write a name of the IANA database, such as UTC or Europe/Berlin"
)]
pub struct ZoneError(String);

/// A time zone by its IANA name.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// The instants that a wall clock time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instants {
    /// It comes once.
    Once(Timestamp),
    /// The clock jumps over it.
    Never {
        /// It, moved forward by the length of the jump.
        moved: Timestamp,
        /// When the clock jumps.
        jump: Timestamp,
    },
    /// The clock is set back over it.
    Twice(Timestamp, Timestamp),
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            rules: TimeZone::UTC,
        }
    }

    /// A zone by its IANA name, letters in any case.
    ///
    /// # Errors
    /// [`ZoneError`] when the database does not know the name.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let bad = || ZoneError(name.chars().take(64).collect());
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self::utc());
        }
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| bad())?;
        let canonical = rules.iana_name().ok_or_else(bad)?.to_owned();
        Ok(Self {
            name: canonical,
            rules,
        })
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the clock on the wall shows; `None` outside the years -9999 to 9999.
    #[must_use]
    pub fn wall_clock(&self, time: Timestamp) -> Option<DateTime> {
        let instant = jiff::Timestamp::from_second(time.0).ok()?;
        Some(self.rules.to_datetime(instant))
    }

    /// The instant at which the clock shows `wall`, by the rules of this module.
    #[must_use]
    pub fn instant(&self, wall: DateTime) -> Option<Timestamp> {
        Some(match self.instants(wall)? {
            Instants::Once(time) | Instants::Twice(time, _) => time,
            Instants::Never { moved, .. } => moved,
        })
    }

    pub(crate) fn instants(&self, wall: DateTime) -> Option<Instants> {
        let at = |offset: jiff::tz::Offset| {
            offset
                .to_timestamp(wall)
                .ok()
                .map(|instant| Timestamp(instant.as_second()))
        };
        Some(match self.rules.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => Instants::Once(at(offset)?),
            AmbiguousOffset::Gap { before, after } => Instants::Never {
                moved: at(before)?,
                // With the later offset it lies before the jump, and no other change lies between.
                jump: self.next_change(at(after)?)?,
            },
            AmbiguousOffset::Fold { before, after } => Instants::Twice(at(before)?, at(after)?),
        })
    }

    /// The next change of the offset after `time`, if one is known.
    pub(crate) fn next_change(&self, time: Timestamp) -> Option<Timestamp> {
        let instant = jiff::Timestamp::from_second(time.0).ok()?;
        let change = self.rules.following(instant).next()?;
        Some(Timestamp(change.timestamp().as_second()))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl std::str::FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        Self::parse(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use jiff::civil::date;

    #[test]
    fn names() {
        assert_eq!(Zone::parse("utc").unwrap(), Zone::utc());
        assert_eq!(
            Zone::parse("europe/berlin").unwrap().name(),
            "Europe/Berlin"
        );
        for bad in ["", "Mars/Olympus", "+02:00", "../../etc/passwd", "Ünï"] {
            assert!(Zone::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_that_come_never_once_and_twice() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        // 2024-03-31: 02:00 becomes 03:00. 2024-10-27: 03:00 becomes 02:00.
        let check = |month, day, hour, expected: Instants| {
            let wall = date(2024, month, day).at(hour, 30, 0, 0);
            assert_eq!(zone.instants(wall).unwrap(), expected, "{wall}");
        };
        check(3, 30, 2, Instants::Once(Timestamp(1_711_762_200)));
        check(
            3,
            31,
            2,
            Instants::Never {
                moved: Timestamp(1_711_848_600),
                jump: Timestamp(1_711_846_800),
            },
        );
        check(
            10,
            27,
            2,
            Instants::Twice(Timestamp(1_729_989_000), Timestamp(1_729_992_600)),
        );
        assert_eq!(
            zone.next_change(Timestamp(1_711_762_200)),
            Some(Timestamp(1_711_846_800))
        );
        assert_eq!(Zone::utc().next_change(Timestamp(0)), None);
        assert_eq!(zone.wall_clock(Timestamp(i64::MAX)), None);
    }
}

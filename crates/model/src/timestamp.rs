//! Points in time as the API counts them: whole UNIX seconds, UTC.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 00:00:00 UTC, leap seconds not counted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The seconds themselves.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// This point moved by `seconds`, stopping at the ends of the range.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// This point moved forward by the whole seconds of `duration`, stopping at the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        self.plus_seconds(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
    }

    /// Seconds from `earlier` to this point; negative when `earlier` is later.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Schedules of plans and policies, and the decision whether a run is due.
//!
//! `I|{first run, UNIX seconds}|{ISO 8601 duration}` counts from its first run ([`interval`](self)),
//! `C|{not before, UNIX seconds}|{six-field cron expression}` follows the calendar. Calendars are read in a [`Zone`].

mod cron;
#[cfg(test)]
mod cron_tests;
mod decision;
mod interval;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;
use crate::zone::Zone;
use cron::Cron;
pub use decision::{Due, GRACE_SECONDS, SkipReason, due, jitter_seconds};
use interval::{Interval, MAX_YEARS};

/// The last second that a schedule may name: 9999-01-01 00:00:00 UTC.
const LAST_SECOND: i64 = 253_370_764_800;

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Neither `I|start|duration` nor `C|start|cron`.
    #[error(
        "\"{text}\" is not a schedule; write I|START|DURATION, such as I|1631685600|P1D (UNIX seconds, ISO 8601), \
         or C|START|CRON, such as C|1631685600|0 0 2 ? * 3,5,7"
    )]
    Form {
        /// The text as it came in.
        text: String,
    },
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
    /// A field of the cron expression.
    #[error("the {field} field of the cron expression \"{expression}\" is not valid: {why}")]
    CronField {
        /// The expression as it came in.
        expression: String,
        /// Which field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// What follows the start.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every(Interval),
    Cron(Cron),
}

/// A parsed schedule, with the text it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    start: Timestamp,
    rule: Rule,
}

impl Schedule {
    /// Parses `I|start|duration` or `C|start|cron`.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let form = || ScheduleError::Form {
            text: text.chars().take(128).collect(),
        };
        let mut parts = text.split('|');
        let (Some(kind), Some(start), Some(rule), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        let parse_rule: fn(&str) -> Result<Rule, ScheduleError> = match kind.trim() {
            "I" => |text| Interval::parse(text).map(Rule::Every),
            "C" => |text| Cron::parse(text).map(Rule::Cron),
            _ => return Err(form()),
        };
        Ok(Self {
            text: text.to_owned(),
            start: parse_start(start.trim())?,
            rule: parse_rule(rule.trim())?,
        })
    }

    /// The text as it came in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first run of an interval; the time before which a cron expression does not run.
    #[must_use]
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// The first run after `after` (never at it), the calendar read in `zone`. `None` past the year 9999.
    #[must_use]
    pub fn next_run(&self, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(interval) => interval.next_run(self.start, after, zone),
            Rule::Cron(cron) => cron.next_run(after.max(self.start.plus_seconds(-1)), zone),
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
            start: start.chars().take(128).collect(),
        }),
    }
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

//! What to do now about a run that may have come due: a pure function of the schedule, the history and the time.

use super::Schedule;
use crate::timestamp::Timestamp;
use crate::zone::Zone;

/// A run that starts later than this after its time counts as missed (or half the time to the run after it, where that is
/// shorter). Long enough for a server's restart, short enough that a nightly run never starts at noon.
pub const GRACE_SECONDS: i64 = 600;

/// What to do now about a plan whose next run is `planned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The run is not due yet.
    Wait,
    /// Start the run; the one after it is `next`.
    Run {
        /// The run after this one; `None` past the year 9999.
        next: Option<Timestamp>,
    },
    /// Do not start it; the next one to look at is `next`.
    Skip {
        /// Why not.
        reason: SkipReason,
        /// The run to wait for; `None` past the year 9999.
        next: Option<Timestamp>,
    },
}

/// Why a run that came due is not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The plan's former job has not ended: runs never overlap.
    StillRunning,
    /// Its time is too long past: missed runs are not made up.
    Missed,
}

/// Decides about the run `planned` of `schedule` at `now`; `is_running` says whether the plan's former job goes on.
/// When several runs have passed unseen only the latest one counts.
#[must_use]
pub fn due(
    schedule: &Schedule,
    planned: Timestamp,
    is_running: bool,
    now: Timestamp,
    zone: &Zone,
) -> Due {
    if now < planned {
        return Due::Wait;
    }
    let next = schedule.next_run(now, zone);
    if is_running {
        return Due::Skip {
            reason: SkipReason::StillRunning,
            next,
        };
    }
    let latest = latest_run(schedule, planned, now, zone);
    let late_seconds = now.seconds_since(latest);
    let distance = next.map_or(i64::MAX, |next| next.seconds_since(latest));
    if late_seconds <= GRACE_SECONDS.min(distance / 2) {
        Due::Run { next }
    } else {
        Due::Skip {
            reason: SkipReason::Missed,
            next,
        }
    }
}

/// The last run at `now` or before, if it is young enough to matter; else `planned`, which is older.
fn latest_run(schedule: &Schedule, planned: Timestamp, now: Timestamp, zone: &Zone) -> Timestamp {
    let mut latest = planned;
    let mut after = planned.max(now.plus_seconds(-GRACE_SECONDS - 1));
    while let Some(run) = schedule.next_run(after, zone).filter(|run| *run <= now) {
        latest = latest.max(run);
        after = run;
    }
    latest
}

/// How many seconds after its time the run of `id` may start, from 0 to `most_seconds`: the same for the same plan and
/// run, spread evenly over plans (FNV-1a, whose low bits mix well for short keys).
#[must_use]
pub fn jitter_seconds(id: &str, planned: Timestamp, most_seconds: u32) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in id.bytes().chain(planned.0.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The high half: the low bits of FNV depend on the low bits of its input alone.
    let spread = ((hash >> 32) * (u64::from(most_seconds) + 1)) >> 32;
    i64::try_from(spread).unwrap_or(0)
}

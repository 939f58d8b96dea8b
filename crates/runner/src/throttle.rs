//! Keeps reading below the speed limit of the plan: a token bucket, whose rate follows the hour of the day.
//!
//! A worker that is about to read reserves the bytes and waits until its reservation is due; with several workers the
//! reservations queue up, so the sum is limited, not each of them.

use std::time::{Duration, Instant};

use model::SpeedLimit;
use parking_lot::Mutex;

use crate::stop::StopToken;

/// How long a worker sleeps before it looks at the hour again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How much unused time may be made up for: enough to smooth over, too little to be a burst.
const CREDIT: Duration = Duration::from_millis(250);

/// The limiter of one run.
#[derive(Debug)]
pub(crate) struct ReadThrottle {
    limit: Option<SpeedLimit>,
    stop: StopToken,
    // A mutex: the due time is read and moved as one step. Uncontended without a limit, since it is not taken then.
    due: Mutex<Instant>,
}

impl ReadThrottle {
    pub(crate) fn new(limit: Option<SpeedLimit>, stop: StopToken) -> ReadThrottle {
        ReadThrottle {
            limit,
            stop,
            due: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `length_bytes` more may be read, or the run is stopped.
    pub(crate) fn wait_for(&self, length_bytes: u64) {
        if let Some(limit) = &self.limit {
            self.wait(length_bytes, || limit.bytes_per_second_at(hour_of_day()));
        }
    }

    /// Pays off the bytes at the rate of the moment, a second's worth at a time, so that the next hour's rate counts
    /// from its first second on.
    fn wait(&self, length_bytes: u64, rate: impl Fn() -> Option<u64>) {
        let mut left_bytes = length_bytes;
        while left_bytes > 0 && self.stop.requested().is_none() {
            let Some(bytes_per_second) = rate() else {
                return;
            };
            let part_bytes = left_bytes.min(bytes_per_second.max(1));
            left_bytes -= part_bytes;
            let cost = Duration::from_secs_f64(part_bytes as f64 / bytes_per_second.max(1) as f64);
            let due = self.reserve(Instant::now(), cost);
            while let Some(rest) = due
                .checked_duration_since(Instant::now())
                .filter(|rest| !rest.is_zero())
            {
                if self.stop.requested().is_some() || rate().is_none() {
                    break;
                }
                self.stop.sleep(rest.min(LOOK_AGAIN));
            }
        }
    }

    fn reserve(&self, now: Instant, cost: Duration) -> Instant {
        let mut due = self.due.lock();
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        *due = (*due).max(earliest) + cost;
        *due
    }
}

/// The hour by the clock and time zone of this host.
fn hour_of_day() -> u32 {
    u32::try_from(jiff::ZonedDateTime::now().hour()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::stop::Stop;

    #[test]
    fn reservations_add_up() {
        let throttle = ReadThrottle::new(None, StopToken::new());
        let start = Instant::now();
        for _ in 0..10 {
            throttle.reserve(start, Duration::from_secs(1));
        }
        let due = throttle.reserve(start, Duration::ZERO);
        let wait = due - start;
        assert!(
            wait > Duration::from_secs(9) && wait <= Duration::from_secs(10),
            "{wait:?}"
        );
    }

    #[test]
    fn the_rate_is_kept_and_a_free_hour_ends_the_wait() {
        let throttle = ReadThrottle::new(None, StopToken::new());
        let start = Instant::now();
        for _ in 0..4 {
            throttle.wait(200_000, || Some(1_000_000));
        }
        assert!(
            start.elapsed() >= Duration::from_millis(500),
            "{:?}",
            start.elapsed()
        );
        throttle.wait(1 << 40, || None);
        let asked = std::cell::Cell::new(0);
        throttle.wait(1 << 40, || {
            asked.set(asked.get() + 1);
            (asked.get() < 3).then_some(1000)
        });
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let stop = StopToken::new();
        let limit = SpeedLimit::parse("0:24:1").unwrap();
        let throttle = ReadThrottle::new(Some(limit), stop.clone());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| throttle.wait_for(1 << 40));
            stop.stop(Stop::Cancel);
            waiting.join().unwrap();
        });
    }
}

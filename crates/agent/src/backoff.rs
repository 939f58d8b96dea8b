//! Waiting times while the server is away: they double, with jitter, up to a limit. Pure but for the jitter given in.

use std::time::Duration;

/// First waiting time.
const FIRST: Duration = Duration::from_millis(500);
/// Longest waiting time: a server that comes back is found well before the leases end that it renewed at its start.
const LONGEST: Duration = Duration::from_secs(10);

/// How often in a row it went wrong.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It went well: start over.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It went wrong once more: how long to wait. `jitter` is any number; the time is between half and all of the step,
    /// so that many agents do not come back at the same moment.
    pub(crate) fn next(&mut self, jitter: u64) -> Duration {
        let step = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        half + half.mul_f64((jitter % 1024) as f64 / 1023.0)
    }
}

/// A number that differs between processes and calls; good enough for jitter.
pub(crate) fn jitter() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::{Backoff, LONGEST};
    use std::time::Duration;

    #[test]
    fn doubles_up_to_the_limit_and_starts_over() {
        let mut backoff = Backoff::default();
        let times: Vec<Duration> = (0..12).map(|_| backoff.next(1023)).collect();
        assert_eq!(times[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(times[11], LONGEST);
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::from_millis(250));
    }
}

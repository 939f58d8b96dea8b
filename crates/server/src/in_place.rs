//! Work of microseconds on the threads of the connections, for as long as it is that.
//!
//! What waits for nobody can still be held up by a disk that is slow. One call that was keeps all others off these threads
//! for a while, so that connections never wait for a disk one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than any call should take here, and less than a person notices.
const SLOW: Duration = Duration::from_millis(20);
/// How long nothing is done here after a slow call.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether calls may be answered here.
#[derive(Debug)]
pub(crate) struct InPlace {
    started: Instant,
    /// Nothing is done here before this time, in milliseconds since `started`.
    paused_until: AtomicU64,
}

impl Default for InPlace {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            paused_until: AtomicU64::new(0),
        }
    }
}

impl InPlace {
    /// Runs `work`, unless a former one was slow; what it panicked with is an error.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> Option<thread::Result<T>> {
        let begun = self.started.elapsed();
        if milliseconds(begun) < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        // Locks do not stay locked, and requests share nothing else that a panic could leave half done.
        let result = catch_unwind(AssertUnwindSafe(work));
        let ended = self.started.elapsed();
        if ended - begun >= SLOW {
            let until = milliseconds(ended + PAUSE);
            self.paused_until.store(until, Ordering::Relaxed);
        }
        Some(result)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use super::{InPlace, SLOW};

    /// Takes `time` as a slow disk does.
    fn busy(time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {}
    }

    #[test]
    fn a_slow_call_keeps_the_others_away_for_a_while() {
        let place = InPlace::default();
        assert_eq!(place.run(|| 1).unwrap().unwrap(), 1);
        place.run(|| busy(SLOW)).unwrap().unwrap();
        assert!(place.run(|| 2).is_none());
        place.paused_until.store(0, Ordering::Relaxed);
        assert_eq!(place.run(|| 3).unwrap().unwrap(), 3);
    }

    #[test]
    fn a_panic_is_an_error_of_its_call() {
        let place = InPlace::default();
        assert!(place.run(|| panic!("on purpose")).unwrap().is_err());
        // Printing where it happened may have been slow.
        place.paused_until.store(0, Ordering::Relaxed);
        assert_eq!(place.run(|| 4).unwrap().unwrap(), 4);
    }
}

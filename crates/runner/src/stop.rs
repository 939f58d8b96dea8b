//! How a run is asked to end early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The job goes on later: what is done is made durable, then the lock is released.
    Suspend,
    /// The job is over: end as soon as possible.
    Cancel,
}

/// Shared by a run and whoever may want to stop it. Clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct StopToken {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    // A mutex with a condition variable, not an atomic: throttled workers sleep on it and must wake at once.
    requested: Mutex<Option<Stop>>,
    changed: Condvar,
}

impl StopToken {
    /// A token that nobody has used yet.
    #[must_use]
    pub fn new() -> StopToken {
        StopToken::default()
    }

    /// Asks the run to stop. A cancellation wins over a suspension.
    pub fn stop(&self, how: Stop) {
        let mut requested = self.shared.requested.lock();
        if *requested != Some(Stop::Cancel) {
            *requested = Some(how);
        }
        self.shared.changed.notify_all();
    }

    /// How the run was asked to stop, if it was.
    #[must_use]
    pub fn requested(&self) -> Option<Stop> {
        *self.shared.requested.lock()
    }

    /// Sleeps, but not beyond the moment the run is asked to stop.
    pub fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        let mut requested = self.shared.requested.lock();
        while requested.is_none()
            && !self
                .shared
                .changed
                .wait_until(&mut requested, end)
                .timed_out()
        {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_wins_and_ends_sleeps() {
        let token = StopToken::new();
        assert_eq!(token.requested(), None);
        token.clone().stop(Stop::Suspend);
        assert_eq!(token.requested(), Some(Stop::Suspend));
        token.stop(Stop::Cancel);
        token.stop(Stop::Suspend);
        assert_eq!(token.requested(), Some(Stop::Cancel));
        let start = Instant::now();
        token.sleep(Duration::from_secs(3600));
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

//! What agents say of themselves between changes of state, gathered: heartbeats, leases that go on, progress.
//!
//! All that came within a second is noted in one transaction, however many agents there are. So it may be a second late in
//! the catalog, and a crash loses it; the agents say it anew with their next sync. What an agent is told meanwhile (go on,
//! stop, lost) is read from the catalog at once, and whatever changes the state of a work is a transaction of its own,
//! durable before it is answered: nothing here can undo it, since a work that has ended or has another lease takes no
//! progress any more. Leases are extended from when the agent was heard, so they end no later than they should; agents sync
//! thrice in the time of a lease, so they do not end early either.

use std::collections::HashMap;
use std::time::Duration;

use catalog::pulses::{self, HeldWork, Pulse};
use catalog::{Catalog, CatalogError};
use model::ClientId;
use parking_lot::Mutex;

/// How often what was gathered is noted, but for leases that are very short.
const INTERVAL: Duration = Duration::from_secs(1);

const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// What is not in the catalog yet: the latest of each process. At most one entry for each agent that synced within a
/// second or while the catalog could not be written.
#[derive(Debug, Default)]
pub(crate) struct Pulses {
    // Held to put an entry in or to take all out, never while the catalog is written.
    waiting: Mutex<HashMap<(ClientId, String), Pulse>>,
    // Whoever notes takes all; another one waits until that is done.
    noting: Mutex<()>,
}

impl Pulses {
    /// How often [`Pulses::note`] should be called.
    pub(crate) fn interval(lease_ttl: Duration) -> Duration {
        INTERVAL.min(lease_ttl / 10).max(LEAST_INTERVAL)
    }

    /// Keeps what an agent said until it is noted.
    pub(super) fn add(&self, pulse: Pulse) {
        let mut waiting = self.waiting.lock();
        let key = (pulse.client_id.clone(), pulse.run_id.clone());
        let pulse = match waiting.remove(&key) {
            Some(before) => follow(before, pulse),
            None => pulse,
        };
        waiting.insert(key, pulse);
    }

    /// Notes all of it in one transaction, if there is any. What could not be noted waits on.
    pub(crate) fn note(&self, catalog: &Catalog, lease_ttl: Duration) -> Result<(), CatalogError> {
        let _noting = self.noting.lock();
        let taken = std::mem::take(&mut *self.waiting.lock());
        let pulses: Vec<Pulse> = taken.into_values().collect();
        let noted = pulses::note_pulses(catalog, &pulses, lease_ttl);
        if noted.is_err() {
            let mut waiting = self.waiting.lock();
            for before in pulses {
                let key = (before.client_id.clone(), before.run_id.clone());
                let pulse = match waiting.remove(&key) {
                    Some(later) => follow(before, later),
                    None => before,
                };
                waiting.insert(key, pulse);
            }
        }
        noted
    }
}

/// The later of two pulses, with the progress of the earlier one where it has none.
fn follow(before: Pulse, mut later: Pulse) -> Pulse {
    for held in &mut later.held {
        let is_same =
            |other: &&HeldWork| other.work_id == held.work_id && other.epoch == held.epoch;
        let known = before.held.iter().find(is_same);
        held.progress = held
            .progress
            .or_else(|| known.and_then(|known| known.progress));
    }
    later
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Pulses, follow};
    use catalog::Progress;
    use catalog::pulses::{HeldWork, Pulse};
    use model::{ClientId, Timestamp};
    use std::time::Duration;

    fn pulse(heard: i64, held: &[(&str, i64, Option<i64>)]) -> Pulse {
        let progress = |progress| Progress {
            progress,
            ..Progress::default()
        };
        let held = held.iter().map(|(work_id, epoch, done)| HeldWork {
            work_id: (*work_id).to_owned(),
            epoch: *epoch,
            progress: done.map(progress),
        });
        Pulse {
            client_id: ClientId::parse("c-1").unwrap(),
            run_id: "run".to_owned(),
            held: held.collect(),
            heard: Timestamp(heard),
        }
    }

    #[test]
    fn the_latest_counts_and_loses_no_progress() {
        let before = pulse(
            1,
            &[("a", 1, Some(10)), ("b", 1, Some(20)), ("c", 1, Some(30))],
        );
        let later = pulse(
            2,
            &[
                ("a", 1, Some(11)),
                ("b", 1, None),
                ("c", 2, None),
                ("d", 1, None),
            ],
        );
        let expected = pulse(
            2,
            &[
                ("a", 1, Some(11)),
                ("b", 1, Some(20)),
                ("c", 2, None),
                ("d", 1, None),
            ],
        );
        assert_eq!(follow(before.clone(), later.clone()), expected);
        let pulses = Pulses::default();
        pulses.add(before);
        pulses.add(later);
        let waiting = pulses.waiting.lock();
        assert_eq!(waiting.values().collect::<Vec<_>>(), [&expected]);
    }

    #[test]
    fn short_leases_are_noted_more_often() {
        let interval = |seconds| Pulses::interval(Duration::from_secs(seconds));
        assert_eq!(interval(30), Duration::from_secs(1));
        assert_eq!(interval(2), Duration::from_millis(200));
        assert_eq!(interval(0), Duration::from_millis(10));
    }
}

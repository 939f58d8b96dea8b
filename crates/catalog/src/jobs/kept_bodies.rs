//! The JSON of jobs that were shown lately, unpacked, so that a page that is looked at again costs no database.
//!
//! Only what is kept in a job's row comes here, never what was made for one reply. A kept body is written in the
//! transaction that ends its job (or adds it) and not changed after; the change log says which jobs were changed or
//! deleted, and an index that is brought up to date drops their bodies here. So a body that is found under the lock of an
//! index that is up to date is what the row has.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes of bodies in memory: some 40,000 jobs.
const MAX_BYTES: usize = 32 << 20;
/// What an entry takes beside its body, about.
const ENTRY_BYTES: usize = 64;

/// A job's JSON object.
pub type Body = Arc<[u8]>;

/// The bodies, by the ids of their rows.
#[derive(Debug, Default)]
pub(super) struct KeptBodies {
    /// A mutex: it is held for a look-up.
    generations: Mutex<Generations>,
}

/// When the young ones fill half of the room they become the old ones, and the old ones go. What is asked for among the
/// old ones becomes young again.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<i64, Body>,
    young_bytes: usize,
    old: HashMap<i64, Body>,
}

impl Generations {
    fn insert(&mut self, row_id: i64, body: Body) {
        self.young_bytes += body.len() + ENTRY_BYTES;
        self.young.insert(row_id, body);
        if self.young_bytes > MAX_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

impl KeptBodies {
    pub(super) fn get(&self, row_id: i64) -> Option<Body> {
        let mut generations = self.generations.lock();
        if let Some(body) = generations.young.get(&row_id) {
            return Some(body.clone());
        }
        let body = generations.old.remove(&row_id)?;
        generations.insert(row_id, body.clone());
        Some(body)
    }

    /// To be called under the lock of the index that the row was found by.
    pub(super) fn insert(&self, row_id: i64, body: Body) {
        if body.len() <= MAX_BYTES / 64 {
            self.generations.lock().insert(row_id, body);
        }
    }

    /// Drops the bodies of rows that were changed or deleted.
    pub(super) fn forget(&self, rows: RangeInclusive<i64>) {
        let mut generations = self.generations.lock();
        let Generations { young, old, .. } = &mut *generations;
        for bodies in [young, old] {
            if rows.end() - rows.start() < 64 {
                rows.clone().for_each(|row_id| drop(bodies.remove(&row_id)));
            } else {
                bodies.retain(|row_id, _| !rows.contains(row_id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Body, KeptBodies, MAX_BYTES};

    fn body(length: usize) -> Body {
        vec![b'x'; length].into()
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let bodies = KeptBodies::default();
        for row_id in 0..200_000 {
            bodies.insert(row_id, body(1_000));
            assert!(bodies.get(7.min(row_id)).is_some(), "at {row_id}");
        }
        assert_eq!(bodies.get(8), None);
        let generations = bodies.generations.lock();
        let kept = generations.young.len() + generations.old.len();
        assert!((10_000..MAX_BYTES / 1_000).contains(&kept), "{kept}");
    }

    #[test]
    fn one_body_never_takes_all_the_room() {
        let bodies = KeptBodies::default();
        bodies.insert(1, body(MAX_BYTES));
        assert_eq!(bodies.get(1), None);
    }

    #[test]
    fn what_was_changed_is_forgotten_in_both_generations() {
        for range in [5..=6, 5..=5_000] {
            let bodies = KeptBodies::default();
            for row_id in 0..20 {
                bodies.insert(row_id, body(MAX_BYTES / 64));
            }
            for row_id in [5, 6] {
                bodies.insert(row_id, body(10));
            }
            bodies.forget(range);
            assert_eq!((bodies.get(5), bodies.get(6)), (None, None));
        }
    }
}

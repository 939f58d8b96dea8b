//! Telling other servers that there is something to do, by NOTIFY.
//!
//! Only to save them waiting: whoever misses a word finds the same by looking, a few seconds later.

use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;

use super::{Connection, PostgresPlace};

/// One channel for all: whoever is woken looks for himself.
const LISTEN: &str = "LISTEN strongroom";
pub(super) const NOTIFY_AND_COMMIT: &str = "NOTIFY strongroom; COMMIT";

/// Listens on a connection of its own.
pub struct Wakes {
    place: PostgresPlace,
    busy_timeout: Duration,
    connection: Option<Connection>,
}

impl std::fmt::Debug for Wakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wakes").finish_non_exhaustive()
    }
}

impl Wakes {
    pub(super) const fn new(place: PostgresPlace, busy_timeout: Duration) -> Self {
        Self {
            place,
            busy_timeout,
            connection: None,
        }
    }

    /// Waits until some server has put something to do into the catalog, at most `longest`; whether one has. `None` when
    /// the database cannot be listened to for now: then this returns at once. A new connection counts as a word, since
    /// one may have been missed.
    pub fn wait(&mut self, longest: Duration) -> Option<bool> {
        let Some(connection) = &mut self.connection else {
            let connection = Connection::open(&self.place, self.busy_timeout).ok()?;
            connection.send(LISTEN).ok()?;
            self.connection = Some(connection);
            return Some(true);
        };
        let heard = hear(connection, longest);
        if heard.is_none() {
            self.connection = None;
        }
        heard
    }
}

fn hear(connection: &mut Connection, longest: Duration) -> Option<bool> {
    let heard = {
        let mut words = connection.client().notifications();
        let heard = words.timeout_iter(longest).next().ok()?.is_some();
        // All that came at once are one.
        let mut more = words.iter();
        while more.next().ok()?.is_some() {}
        heard
    };
    (heard || !connection.is_closed()).then_some(heard)
}

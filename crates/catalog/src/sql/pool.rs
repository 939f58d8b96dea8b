//! Connections that are handed from one transaction to the next.

use std::ops::{Deref, DerefMut};

use parking_lot::{Condvar, Mutex};

/// A fixed number of connections; who finds none waits for one.
pub(super) struct Pool<C> {
    /// A mutex: it is held only to take or put one.
    idle: Mutex<Vec<C>>,
    returned: Condvar,
}

impl<C> Pool<C> {
    pub(super) fn new(connections: Vec<C>) -> Self {
        Self {
            idle: Mutex::new(connections),
            returned: Condvar::new(),
        }
    }

    /// One that is idle, if any.
    pub(super) fn try_take(&self) -> Option<Taken<'_, C>> {
        let connection = self.idle.lock().pop()?;
        Some(Taken {
            pool: self,
            connection: Some(connection),
        })
    }

    pub(super) fn take(&self) -> Taken<'_, C> {
        let mut idle = self.idle.lock();
        loop {
            if let Some(connection) = idle.pop() {
                return Taken {
                    pool: self,
                    connection: Some(connection),
                };
            }
            self.returned.wait(&mut idle);
        }
    }
}

/// A connection that goes back when dropped, also when its user panics.
pub(super) struct Taken<'a, C> {
    pool: &'a Pool<C>,
    connection: Option<C>,
}

impl<C> Drop for Taken<'_, C> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle.lock().push(connection);
            self.pool.returned.notify_one();
        }
    }
}

impl<C> Deref for Taken<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.connection
            .as_ref()
            .expect("a taken connection is there until it is dropped")
    }
}

impl<C> DerefMut for Taken<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.connection
            .as_mut()
            .expect("a taken connection is there until it is dropped")
    }
}

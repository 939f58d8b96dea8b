//! The connections to one PostgreSQL database, and its transactions.
//!
//! One connection writes, a few read, as with a file. A connection that is gone is opened anew by the next transaction.
//!
//! A commit whose answer is lost may have happened or not. So each transaction that writes leaves a random number in a
//! row of its own server, and one that is unsure looks, on a new connection and under the lock, whether the number is
//! there: a commit is said to have failed only when it has.

use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::statements::is_away;
use super::{Connection, PostgresPlace, Wakes, schema, wakes};
use crate::db::entropy;
use crate::error::CatalogError;
use crate::sql::pool::Pool;
use crate::sql::{Durability, Session, SqlError, SqlErrorKind};

/// The advisory lock of whoever writes or migrates: `strongrm` in ASCII. Locks are apart from database to database.
pub(super) const WRITER_LOCK: i64 = 0x7374_726f_6e67_726d;
/// How long to look for what became of a commit.
const DOUBT: Duration = Duration::from_secs(10);

/// How to open a database.
pub(crate) struct Settings {
    pub(crate) reader_count: usize,
    pub(crate) busy_timeout: Duration,
    /// The migrations that it is to have.
    pub(crate) migrations: &'static [&'static str],
}

/// A place for a connection; there is none after the last one broke.
type Slot = Option<Connection>;

/// An open database.
pub(crate) struct Database {
    place: PostgresPlace,
    busy_timeout: Duration,
    /// This server's row of the numbers of commits.
    server: i64,
    /// A mutex, not a read-write lock: every use of it writes.
    writer: Mutex<Slot>,
    readers: Pool<Slot>,
}

impl Database {
    pub(crate) fn open(place: &PostgresPlace, settings: &Settings) -> Result<Self, CatalogError> {
        let database = Self {
            place: place.clone(),
            busy_timeout: settings.busy_timeout,
            server: entropy().cast_signed(),
            writer: Mutex::new(None),
            readers: Pool::new((0..settings.reader_count.max(1)).map(|_| None).collect()),
        };
        let mut connection = database.connect("open the catalog")?;
        schema::apply(&mut connection, settings.migrations)?;
        *database.writer.lock() = Some(connection);
        Ok(database)
    }

    fn connect(&self, operation: &'static str) -> Result<Connection, CatalogError> {
        Connection::open(&self.place, self.busy_timeout)
            .map_err(|error| self.error(operation, error.into()))
    }

    /// Puts the place on an error that says that the database is away.
    fn error(&self, operation: &'static str, error: SqlError) -> CatalogError {
        match error.kind() {
            SqlErrorKind::Away(detail) => CatalogError::Away {
                place: self.place.to_string(),
                detail,
            },
            _ => CatalogError::from_sql(operation, error),
        }
    }

    fn placed(&self, error: CatalogError) -> CatalogError {
        match error {
            CatalogError::Away { detail, .. } => CatalogError::Away {
                place: self.place.to_string(),
                detail,
            },
            error => error,
        }
    }

    /// Begins a transaction, on a new connection when there is none or the old one is broken.
    fn begin<'a>(
        &self,
        slot: &'a mut Slot,
        operation: &'static str,
        sql: &str,
    ) -> Result<Transaction<'a>, CatalogError> {
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            match connection.begin(sql) {
                Ok(()) => {}
                Err(error) if is_away(&error) => *slot = None,
                Err(error) => {
                    let _ = connection.send("ROLLBACK");
                    return Err(self.error(operation, error.into()));
                }
            }
        } else {
            *slot = None;
        }
        if slot.is_none() {
            let connection = self.connect(operation)?;
            connection
                .begin(sql)
                .map_err(|error| self.error(operation, error.into()))?;
            *slot = Some(connection);
        }
        Ok(Transaction {
            connection: slot.as_ref().expect("it was put there above"),
            is_open: true,
        })
    }

    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(Session<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut slot = self.readers.take();
        let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let transaction = self.begin(&mut slot, operation, sql)?;
        body(Session::Postgres(&transaction)).map_err(|error| self.placed(error))
    }

    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        body: impl FnOnce(Session<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut slot = self.writer.lock();
        let number = entropy().cast_signed();
        let relaxed = match durability {
            Durability::Synced => "",
            Durability::Relaxed => "SET LOCAL synchronous_commit = off; ",
        };
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; {relaxed}SELECT pg_advisory_xact_lock({WRITER_LOCK}); \
             INSERT INTO strongroom_servers (server, last_commit, seen) VALUES ({}, {number}, now()) \
             ON CONFLICT (server) DO UPDATE SET last_commit = excluded.last_commit, seen = excluded.seen",
            self.server
        );
        let transaction = self.begin(&mut slot, operation, &begin)?;
        let value = body(Session::Postgres(&transaction)).map_err(|error| self.placed(error))?;
        match transaction.commit() {
            Ok(()) => Ok(value),
            Err(error) if error.kind_is_away() => {
                *slot = None;
                self.settle(&mut slot, number)
                    .then_some(value)
                    .ok_or_else(|| self.error(operation, error))
            }
            Err(error) => Err(self.error(operation, error)),
        }
    }

    /// Whether the commit of a number happened, for as long as the database lets itself be asked.
    fn settle(&self, slot: &mut Slot, number: i64) -> bool {
        let until = Instant::now() + DOUBT;
        // The lock is taken first: the transaction in doubt has ended when it is free.
        let sql = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})::text; COMMIT; \
             SELECT last_commit FROM strongroom_servers WHERE server = {}",
            self.server
        );
        loop {
            let found = Connection::open(&self.place, self.busy_timeout)
                .and_then(|connection| Ok((connection.send(&sql)?, connection)));
            match found {
                Ok((rows, connection)) => {
                    *slot = Some(connection);
                    return rows.last() == Some(&number.to_string());
                }
                Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(200)),
                Err(_) => return false,
            }
        }
    }

    /// What tells that another server has something for this one to do.
    pub(crate) fn wakes(&self) -> Wakes {
        Wakes::new(self.place.clone(), self.busy_timeout)
    }
}

/// A transaction; rolled back unless it is committed, also when its user panics.
struct Transaction<'a> {
    connection: &'a Connection,
    is_open: bool,
}

impl Transaction<'_> {
    fn commit(mut self) -> Result<(), SqlError> {
        if self.connection.has_failed() {
            return Err(crate::sql::damage(
                "a transaction with a failed statement cannot be committed".to_owned(),
            ));
        }
        self.is_open = false;
        let result = if self.connection.wakes_others() {
            self.connection.send(wakes::NOTIFY_AND_COMMIT)
        } else {
            self.connection.send("COMMIT")
        };
        result.map(drop).map_err(SqlError::from)
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // On a connection that is gone the database has done it.
            let _ = self.connection.send("ROLLBACK");
        }
    }
}

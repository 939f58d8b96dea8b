//! PostgreSQL: a server that any number of our servers share.
//!
//! Transactions that write take turns, by an advisory lock that each takes in its first statement and that PostgreSQL
//! gives back when the transaction ends, however it ends. What is right with SQLite's one writer is right here for the
//! same reason, whichever servers write: nothing interleaves, nothing has to be tried again. They run READ COMMITTED,
//! where each statement sees all that was committed before it: the lock is taken before the first look, and nobody else
//! commits until it is free. (SERIALIZABLE would take its view of the data before it has waited for the lock.)
//! Transactions that read run REPEATABLE READ: they see one state, and wait for nobody.
//!
//! `place` says where the database is and who opens it, `tls` encrypts the way to it, `connection` opens one, `statements` has types and errors,
//! `database` the connections and transactions, `schema` the migrations, `wakes` tells other servers that there is
//! something to do.

mod connection;
mod database;
mod place;
mod schema;
mod statements;
mod tls;
mod wakes;

pub(crate) use connection::Connection;
pub(crate) use database::{Database, Settings};
pub use place::{PlaceError, PostgresPlace};
pub(super) use schema::TABLES;
pub(super) use statements::{kind, value, words};
pub use wakes::Wakes;

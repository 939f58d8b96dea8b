//! SQLite: a file beside the server, embedded. `statements` has its types and errors, `database` its connections and
//! transactions, `schema` its migrations.

mod database;
mod schema;
mod statements;

pub(crate) use database::{Database, Reading, Settings};
pub(super) use schema::TABLES;
pub(crate) use statements::pragma;
pub(super) use statements::{change, kind, value, while_each};

//! The seam between the catalog's functions and the database under them: values, rows, errors, one statement at a time.
//!
//! Statements are written once, in the SQL that the databases share, with `?` for values. What differs from one database
//! to the other is in the module of that database and nowhere else. No function outside of this module names a driver.
//!
//! In reading order: `values` (what is bound), `rows` (what is read), `errors`, `pool`, `memo`, `sqlite`, `postgres`.

mod errors;
mod memo;
mod pool;
pub(crate) mod postgres;
mod rows;
pub(crate) mod sqlite;
mod values;

pub use errors::SqlError;
pub(crate) use errors::{SqlErrorKind, damage};
pub(crate) use memo::Memo;
pub(crate) use rows::{Row, ValueRef};
pub(crate) use values::{Param, Params, ToParam, Value, params};

use crate::error::CatalogError;

/// What reading a row gives.
pub(crate) type Result<T> = std::result::Result<T, SqlError>;

/// What a transaction that writes promises when it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It survives a loss of power.
    Synced,
    /// It survives a crash of the program; a loss of power may undo it.
    Relaxed,
}

/// A database with its connections.
pub(crate) enum Database {
    /// A file, embedded.
    Sqlite(sqlite::Database),
    /// A server, shared.
    Postgres(Box<postgres::Database>),
}

impl Database {
    /// Runs `body` in a transaction that sees one state of the database, with what is still known of that state where
    /// that can be told.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(Session<'_>, Option<&Memo>) -> std::result::Result<T, CatalogError>,
    ) -> std::result::Result<T, CatalogError> {
        match self {
            Self::Sqlite(database) => database.read(operation, body),
            Self::Postgres(database) => database.read(operation, |session| body(session, None)),
        }
    }

    /// As [`Database::read`]; `None` when a connection would have to be waited for, or another host.
    pub(crate) fn try_read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(Session<'_>, Option<&Memo>) -> std::result::Result<T, CatalogError>,
    ) -> std::result::Result<Option<T>, CatalogError> {
        match self {
            Self::Sqlite(database) => database.try_read(operation, body),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// Runs `body` in a transaction that writes: while it goes on no other one does, in whatever program. It leaves no
    /// trace unless this returns `Ok`.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        body: impl FnOnce(Session<'_>) -> std::result::Result<T, CatalogError>,
    ) -> std::result::Result<T, CatalogError> {
        match self {
            Self::Sqlite(database) => database.write(operation, durability, body),
            Self::Postgres(database) => database.write(operation, durability, body),
        }
    }
}

/// A table, as its rows can be walked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableShape {
    pub(crate) name: String,
    /// The columns of its primary key.
    pub(crate) key: Vec<String>,
}

/// Where the statements of a transaction go.
#[derive(Clone, Copy)]
pub(crate) enum Session<'a> {
    /// A connection to an embedded database.
    Sqlite(&'a rusqlite::Connection),
    /// The same in a transaction that only reads.
    SqliteReading(&'a sqlite::Reading<'a>),
    /// A connection to a server.
    Postgres(&'a postgres::Connection),
}

impl Session<'_> {
    /// Hands rows of a statement to `take` until it says `false`; whether it never did. `take` must not use the session.
    pub(crate) fn while_each(
        &self,
        sql: &str,
        params: impl Params,
        take: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<bool> {
        params.with_params(|params| match self {
            Self::Sqlite(connection) => sqlite::while_each(connection, sql, params, take),
            Self::SqliteReading(reading) => {
                sqlite::while_each(reading.connection()?, sql, params, take)
            }
            Self::Postgres(connection) => connection.while_each(sql, params, take),
        })
    }

    /// Runs a statement and says how many rows it changed.
    pub(crate) fn change(&self, sql: &str, params: impl Params) -> Result<usize> {
        params.with_params(|params| match self {
            Self::Sqlite(connection) => sqlite::change(connection, sql, params),
            Self::SqliteReading(reading) => sqlite::change(reading.connection()?, sql, params),
            Self::Postgres(connection) => connection.change(sql, params),
        })
    }

    /// All tables of the catalog, in no order.
    pub(crate) fn tables(&self) -> Result<Vec<TableShape>> {
        let sql = match self {
            Self::Sqlite(_) | Self::SqliteReading(_) => sqlite::TABLES,
            Self::Postgres(_) => postgres::TABLES,
        };
        let mut tables: Vec<TableShape> = Vec::new();
        self.while_each(sql, [], &mut |row| {
            let name: String = row.get("table_name")?;
            let Some(column) = row.get::<_, Option<String>>("column_name")? else {
                return Err(damage(format!("table {name} has no primary key")));
            };
            match tables.last_mut().filter(|table| table.name == name) {
                Some(table) => table.key.push(column),
                None => tables.push(TableShape {
                    name,
                    key: vec![column],
                }),
            }
            Ok(true)
        })?;
        Ok(tables)
    }

    /// To be called when rows were put in with numbers of their own: those that the database gives go on after them.
    pub(crate) fn numbers_follow(&self) -> Result<()> {
        match self {
            Self::Sqlite(_) | Self::SqliteReading(_) => Ok(()),
            Self::Postgres(connection) => connection.numbers_follow(),
        }
    }

    /// Tells other servers that share the database, once the transaction is committed, that there is something to do.
    pub(crate) fn wake_others(&self) {
        match self {
            Self::Sqlite(_) | Self::SqliteReading(_) => {}
            Self::Postgres(connection) => connection.wake_others(),
        }
    }
}

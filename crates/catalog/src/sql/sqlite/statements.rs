//! Statements of a connection to SQLite, its types and its errors.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, ValueRef as SqliteValue};
use rusqlite::{CachedStatement, Connection, ErrorCode, ToSql, params_from_iter};

use crate::sql::rows::Column;
use crate::sql::{Param, Result, Row, SqlErrorKind, ValueRef, damage};

/// Every statement of the catalog is prepared here. In tests, one that would read a whole growing table fails.
fn prepare<'a>(connection: &'a Connection, sql: &str) -> Result<CachedStatement<'a>> {
    #[cfg(test)]
    crate::tests::support::check_query_plan(connection, sql);
    Ok(connection.prepare_cached(sql)?)
}

pub(in crate::sql) fn while_each(
    connection: &Connection,
    sql: &str,
    params: &[Param<'_>],
    take: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
) -> Result<bool> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        if !take(&Row::Sqlite(row))? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(in crate::sql) fn change(
    connection: &Connection,
    sql: &str,
    params: &[Param<'_>],
) -> Result<usize> {
    Ok(prepare(connection, sql)?.execute(params_from_iter(params))?)
}

pub(in crate::sql) fn value<'a>(
    row: &'a rusqlite::Row<'_>,
    column: Column<'_>,
) -> Result<ValueRef<'a>> {
    let value = match column {
        Column::Name(name) => row.get_ref(name),
        Column::Place(place) => row.get_ref(place),
    }?;
    Ok(match value {
        SqliteValue::Null => ValueRef::Null,
        SqliteValue::Integer(number) => ValueRef::Integer(number),
        SqliteValue::Real(_) => return Err(damage(format!("column {column} holds a fraction"))),
        SqliteValue::Text(text) => {
            let text = str::from_utf8(text)
                .map_err(|error| damage(format!("column {column} holds no text: {error}")))?;
            ValueRef::Text(Cow::Borrowed(text))
        }
        SqliteValue::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => SqliteValue::Null,
            Self::Integer(number) => SqliteValue::Integer(*number),
            Self::Text(text) => SqliteValue::Text(text.as_bytes()),
            Self::Blob(bytes) => SqliteValue::Blob(bytes),
        }))
    }
}

pub(in crate::sql) fn kind(error: &rusqlite::Error) -> SqlErrorKind {
    // The kind of failure that SQLite calls SHMSIZE is a full disk, too: it cannot grow the WAL's index.
    const SQLITE_IOERR_SHMSIZE: i32 = 4874;
    let rusqlite::Error::SqliteFailure(error, message) = error else {
        return SqlErrorKind::Other;
    };
    match error.code {
        ErrorCode::DiskFull => SqlErrorKind::Full,
        ErrorCode::SystemIoFailure if error.extended_code == SQLITE_IOERR_SHMSIZE => {
            SqlErrorKind::Full
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => SqlErrorKind::Busy,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            SqlErrorKind::Damaged(message.clone().unwrap_or_else(|| error.to_string()))
        }
        _ => SqlErrorKind::Other,
    }
}

/// Runs a statement that configures or maintains the database, and gives the first column of its first row, if any.
pub(crate) fn pragma(connection: &Connection, sql: &str) -> Result<Option<String>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(match row.get_ref(0)? {
        SqliteValue::Integer(number) => Some(number.to_string()),
        SqliteValue::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    })
}

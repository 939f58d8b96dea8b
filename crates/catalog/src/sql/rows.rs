//! What statements give: a row at a time, columns by name or place.

use std::borrow::Cow;

use super::{Result, SqlError, damage, postgres, sqlite};

/// A row, as long as its statement stands at it.
pub(crate) enum Row<'a> {
    /// Of an embedded database.
    Sqlite(&'a rusqlite::Row<'a>),
    /// Of a server.
    Postgres(&'a ::postgres::Row),
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ValueRef<'a> {
    /// Nothing.
    Null,
    /// A number; a flag is 0 or 1.
    Integer(i64),
    /// A text, in the row itself where it can be.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A column: its name, or its place from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column<'a> {
    /// As the statement names it.
    Name(&'a str),
    /// Its place.
    Place(usize),
}

impl<'a> From<&'a str> for Column<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Column<'_> {
    fn from(place: usize) -> Self {
        Self::Place(place)
    }
}

impl std::fmt::Display for Column<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Place(place) => write!(f, "{place}"),
        }
    }
}

impl Row<'_> {
    /// How many columns it has.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Sqlite(row) => row.as_ref().column_count(),
            Self::Postgres(row) => row.len(),
        }
    }

    /// The names of its columns, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Sqlite(row) => row.as_ref().column_names().collect(),
            Self::Postgres(row) => row.columns().iter().map(::postgres::Column::name).collect(),
        }
    }

    /// What a column holds.
    pub(crate) fn value<'c>(&self, column: impl Into<Column<'c>>) -> Result<ValueRef<'_>> {
        let column = column.into();
        match self {
            Self::Sqlite(row) => sqlite::value(row, column),
            Self::Postgres(row) => postgres::value(row, column),
        }
    }

    /// A column as a value of ours.
    pub(crate) fn get<'c, C: Into<Column<'c>>, T: FromColumn>(&self, column: C) -> Result<T> {
        let column = column.into();
        T::from_column(self.value(column)?).map_err(|found| wrong_type(column, found))
    }

    /// A text that may be absent, without copying it where that can be.
    pub(crate) fn text_opt<'c>(
        &self,
        column: impl Into<Column<'c>>,
    ) -> Result<Option<Cow<'_, str>>> {
        let column = column.into();
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => Ok(Some(text)),
            ValueRef::Integer(_) => Err(wrong_type(column, "a number")),
            ValueRef::Blob(_) => Err(wrong_type(column, "bytes")),
        }
    }

    /// A text, without copying it where that can be.
    pub(crate) fn text<'c>(&self, column: impl Into<Column<'c>>) -> Result<Cow<'_, str>> {
        let column = column.into();
        self.text_opt(column)?
            .ok_or_else(|| wrong_type(column, "nothing"))
    }

    /// Bytes that may be absent, without copying them.
    pub(crate) fn blob_opt<'c>(&self, column: impl Into<Column<'c>>) -> Result<Option<&[u8]>> {
        let column = column.into();
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            ValueRef::Integer(_) => Err(wrong_type(column, "a number")),
            ValueRef::Text(_) => Err(wrong_type(column, "a text")),
        }
    }
}

fn wrong_type(column: Column<'_>, found: &str) -> SqlError {
    damage(format!("column {column} holds {found}"))
}

/// What a column can be read as; the error says what it holds instead.
pub(crate) trait FromColumn: Sized {
    /// The value of what a column holds.
    fn from_column(value: ValueRef<'_>) -> std::result::Result<Self, &'static str>;
}

impl FromColumn for i64 {
    fn from_column(value: ValueRef<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            ValueRef::Integer(number) => Ok(number),
            ValueRef::Null => Err("nothing"),
            ValueRef::Text(_) => Err("a text"),
            ValueRef::Blob(_) => Err("bytes"),
        }
    }
}

impl FromColumn for u32 {
    fn from_column(value: ValueRef<'_>) -> std::result::Result<Self, &'static str> {
        i64::from_column(value)?
            .try_into()
            .map_err(|_| "a number out of its range")
    }
}

impl FromColumn for String {
    fn from_column(value: ValueRef<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            ValueRef::Text(text) => Ok(text.into_owned()),
            ValueRef::Null => Err("nothing"),
            ValueRef::Integer(_) => Err("a number"),
            ValueRef::Blob(_) => Err("bytes"),
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: ValueRef<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            ValueRef::Blob(bytes) => Ok(bytes.to_owned()),
            ValueRef::Null => Err("nothing"),
            ValueRef::Integer(_) => Err("a number"),
            ValueRef::Text(_) => Err("a text"),
        }
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: ValueRef<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::from_column(value).map(Some),
        }
    }
}

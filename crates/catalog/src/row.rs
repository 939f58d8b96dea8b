//! Reading rows and binding values. A text that does not parse is damage, never a default.

use std::str::FromStr;

use model::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Typed access to a row's columns by name.
pub(crate) trait RowReader {
    /// A text that must parse.
    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> rusqlite::Result<T>;
    /// A text that must parse when it is there.
    fn parsed_opt<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> rusqlite::Result<Option<T>>;
    /// A time.
    fn time(&self, column: &str) -> rusqlite::Result<Timestamp>;
    /// A time that may be absent.
    fn time_opt(&self, column: &str) -> rusqlite::Result<Option<Timestamp>>;
    /// A flag kept as 0 or 1.
    fn flag(&self, column: &str) -> rusqlite::Result<bool>;
    /// A value kept as JSON text.
    fn json<T: DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T>;
}

fn damage(
    row: &Row<'_>,
    column: &str,
    error: Box<dyn std::error::Error + Send + Sync>,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error)
}

impl RowReader for Row<'_> {
    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> rusqlite::Result<T> {
        let text = self
            .get_ref(column)?
            .as_str()
            .map_err(|error| damage(self, column, Box::new(error)))?;
        text.parse()
            .map_err(|error| damage(self, column, Box::new(error)))
    }

    fn parsed_opt<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> rusqlite::Result<Option<T>> {
        let text = self
            .get_ref(column)?
            .as_str_or_null()
            .map_err(|error| damage(self, column, Box::new(error)))?;
        text.map(str::parse)
            .transpose()
            .map_err(|error| damage(self, column, Box::new(error)))
    }

    fn time(&self, column: &str) -> rusqlite::Result<Timestamp> {
        Ok(Timestamp(self.get(column)?))
    }

    fn time_opt(&self, column: &str) -> rusqlite::Result<Option<Timestamp>> {
        Ok(self.get::<_, Option<i64>>(column)?.map(Timestamp))
    }

    fn flag(&self, column: &str) -> rusqlite::Result<bool> {
        Ok(self.get::<_, i64>(column)? != 0)
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T> {
        let text = self
            .get_ref(column)?
            .as_str()
            .map_err(|error| damage(self, column, Box::new(error)))?;
        serde_json::from_str(text).map_err(|error| damage(self, column, Box::new(error)))
    }
}

/// The text of an id or name that may be absent, for binding.
pub(crate) fn text<T: AsRef<str>>(value: &Option<T>) -> Option<&str> {
    value.as_ref().map(AsRef::as_ref)
}

/// The seconds of a time that may be absent, for binding.
pub(crate) fn seconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::seconds)
}

/// JSON text of a value of our own, for binding.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our records have text keys and no failing serializers")
}

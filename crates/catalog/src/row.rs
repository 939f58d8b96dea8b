//! Reading rows and binding values. A text that does not parse is damage, never a default.

use std::str::FromStr;

use model::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sql::{Row, SqlError, damage};

/// Typed access to a row's columns by name.
pub(crate) trait RowReader {
    /// A text that must parse.
    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> crate::sql::Result<T>;
    /// A text that must parse when it is there.
    fn parsed_opt<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> crate::sql::Result<Option<T>>;
    /// A time.
    fn time(&self, column: &str) -> crate::sql::Result<Timestamp>;
    /// A time that may be absent.
    fn time_opt(&self, column: &str) -> crate::sql::Result<Option<Timestamp>>;
    /// A flag kept as 0 or 1.
    fn flag(&self, column: &str) -> crate::sql::Result<bool>;
    /// A value kept as JSON text.
    fn json<T: DeserializeOwned>(&self, column: &str) -> crate::sql::Result<T>;
}

fn unreadable(column: &str, error: &dyn std::error::Error) -> SqlError {
    damage(format!("column {column}: {error}"))
}

impl RowReader for Row<'_> {
    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> crate::sql::Result<T> {
        self.text(column)?
            .parse()
            .map_err(|error| unreadable(column, &error))
    }

    fn parsed_opt<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> crate::sql::Result<Option<T>> {
        self.text_opt(column)?
            .map(|text| text.parse())
            .transpose()
            .map_err(|error| unreadable(column, &error))
    }

    fn time(&self, column: &str) -> crate::sql::Result<Timestamp> {
        Ok(Timestamp(self.get(column)?))
    }

    fn time_opt(&self, column: &str) -> crate::sql::Result<Option<Timestamp>> {
        Ok(self.get::<_, Option<i64>>(column)?.map(Timestamp))
    }

    fn flag(&self, column: &str) -> crate::sql::Result<bool> {
        Ok(self.get::<_, i64>(column)? != 0)
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> crate::sql::Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| unreadable(column, &error))
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

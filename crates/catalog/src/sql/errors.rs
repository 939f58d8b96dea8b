//! What a database can answer instead of rows.

use super::sqlite;

/// An error of the database, or a row that holds what no program of ours writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// From the embedded database.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A column holds something else than it should.
    #[error("{detail}")]
    Damage {
        /// Which column, and what it holds.
        detail: String,
    },
}

/// What an error means to the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SqlErrorKind {
    /// The disk or the allowed size is used up.
    Full,
    /// Somebody else kept the database for too long.
    Busy,
    /// The database is damaged.
    Damaged(String),
    /// Anything else.
    Other,
}

impl SqlError {
    pub(crate) fn kind(&self) -> SqlErrorKind {
        match self {
            Self::Sqlite(error) => sqlite::kind(error),
            Self::Damage { detail } => SqlErrorKind::Damaged(detail.clone()),
        }
    }
}

/// A row holds what it should not.
pub(crate) fn damage(detail: String) -> SqlError {
    SqlError::Damage { detail }
}

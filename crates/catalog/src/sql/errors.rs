//! What a database can answer instead of rows.

use super::{postgres, sqlite};

/// An error of the database, or a row that holds what no program of ours writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// From the embedded database.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// From a PostgreSQL server.
    #[error("{}", postgres::words(.0))]
    Postgres(#[from] ::postgres::Error),
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
    /// The database cannot be reached, or not for now, and why.
    Away(String),
    /// Anything else.
    Other,
}

impl SqlError {
    pub(crate) fn kind(&self) -> SqlErrorKind {
        match self {
            Self::Sqlite(error) => sqlite::kind(error),
            Self::Postgres(error) => postgres::kind(error),
            Self::Damage { detail } => SqlErrorKind::Damaged(detail.clone()),
        }
    }
}

impl SqlError {
    /// Whether the database cannot be reached.
    pub(crate) fn kind_is_away(&self) -> bool {
        matches!(self.kind(), SqlErrorKind::Away(_))
    }
}

/// A row holds what it should not.
pub(crate) fn damage(detail: String) -> SqlError {
    SqlError::Damage { detail }
}

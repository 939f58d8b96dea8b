//! Why a run ended without a result. Failures of single items are never here: they are rows that the observer gets.

use std::path::PathBuf;

use model::names::LONGEST_PATH_BYTES;
use source::SourceError;
use source::file::filter::PatternError;
use vault::VaultError;

use crate::stop::Stop;

/// The end of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The vault failed: missing, locked, wrong password, full, damaged. A full vault is always this and never the
    /// error of an item.
    #[error("the vault failed")]
    Vault(#[from] VaultError),
    /// An include or exclude pattern cannot be read.
    #[error("a pattern cannot be used")]
    Pattern(#[from] PatternError),
    /// A path that is to be protected is longer than any that the system takes.
    #[error("a path of {length_bytes} bytes is too long; the longest one has {LONGEST_PATH_BYTES}")]
    PathTooLong {
        /// Its length.
        length_bytes: usize,
    },
    /// There is nothing to protect.
    #[error("no path is given")]
    NoPath,
    /// A path that is to be protected is, or lies in, a folder that must be left out: a vault, a cache, the data
    /// directory.
    #[error("{} lies in a folder that is never protected (a vault, a cache or the data directory)", path.display())]
    SourceInsideVault {
        /// The path.
        path: PathBuf,
    },
    /// None of the paths could be read at all.
    #[error("none of the paths can be read")]
    SourceMissing,
    /// The observer refused the commit, for example because the job is another agent's by now.
    #[error("the result was refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The run was asked to stop.
    #[error("the run was stopped")]
    Stopped(Stop),
    /// What is to be stored cannot be read to its end.
    #[error("the input cannot be read")]
    Input(#[source] std::io::Error),
    /// The target of a restore cannot be written to at all.
    #[error("the target cannot be written")]
    Target(#[source] SourceError),
    /// What a restore has to remember for its next attempt cannot be written down.
    #[error("the journal of the restore, {}, cannot be used", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A worker ended unexpectedly.
    #[error("a worker thread ended unexpectedly")]
    Worker,
}

impl RunError {
    /// The exit status that restic uses for the same end.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            RunError::Vault(VaultError::NotARepository { .. }) => 10,
            RunError::Vault(VaultError::Locked { .. }) => 11,
            RunError::Vault(VaultError::WrongPassword) => 12,
            RunError::Stopped(_) => 130,
            _ => 1,
        }
    }

    /// Whether the lock of the vault was lost: the run has to begin again, and finds again what it has stored.
    #[must_use]
    pub fn is_lock_lost(&self) -> bool {
        matches!(self, RunError::Vault(VaultError::LockLost { .. }))
    }

    /// Whether the vault has no space left.
    #[must_use]
    pub fn is_vault_full(&self) -> bool {
        matches!(self, RunError::Vault(error) if error.is_full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let check =
            |error: RunError, expected: i32| assert_eq!(error.exit_code(), expected, "{error}");
        check(VaultError::WrongPassword.into(), 12);
        check(
            VaultError::NotARepository {
                location: String::new(),
            }
            .into(),
            10,
        );
        check(RunError::Stopped(Stop::Cancel), 130);
        check(RunError::NoPath, 1);
    }
}

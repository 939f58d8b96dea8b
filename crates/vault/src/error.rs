//! What can go wrong with a repository.

use storage::{ErrorKind, StorageError};

use crate::blob::BlobKind;
use crate::id::Id;
use crate::layout::FileKind;

/// A failed operation on a repository. Cheap to clone: a poisoned writer answers every later call with its first error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Nothing that looks like a repository is there.
    #[error("there is no repository at {location}")]
    NotARepository {
        /// Where it was looked for.
        location: String,
    },
    /// A repository is there already.
    #[error("there is a repository at {location} already")]
    RepositoryExists {
        /// Where it is.
        location: String,
    },
    /// No key of the repository opens with this password.
    #[error("wrong password, or no key found")]
    WrongPassword,
    /// A format version that this program does not know.
    #[error("repository format version {version} is not supported, only version 2 is")]
    UnsupportedVersion {
        /// The version the repository says it has.
        version: u32,
    },
    /// Stored bytes that are not what they should be.
    #[error("{kind} {name} is damaged: {reason}")]
    Damaged {
        /// What kind of file.
        kind: FileKind,
        /// Its id or name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob in a pack that is not what the index says.
    #[error("{kind} blob {id} in pack {pack} is damaged: {reason}")]
    DamagedBlob {
        /// Tree or data.
        kind: BlobKind,
        /// The blob.
        id: Id,
        /// The pack that holds it.
        pack: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A tree whose text cannot be read or that breaks a rule of the format.
    #[error("tree is damaged: {reason}")]
    DamagedTree {
        /// What is wrong with it.
        reason: String,
    },
    /// No index names this blob.
    #[error("{kind} blob {id} is in no index")]
    BlobMissing {
        /// Tree or data.
        kind: BlobKind,
        /// The blob.
        id: Id,
    },
    /// The blob is larger than the format allows.
    #[error("a blob of {length_bytes} bytes is too large")]
    BlobTooLarge {
        /// Its length.
        length_bytes: usize,
    },
    /// What was encrypted did not decrypt to the same bytes: the memory of this host may be bad.
    #[error(
        "{kind} blob {id} did not read back as it was written; the memory of this host may be bad"
    )]
    VerifyFailed {
        /// Tree or data.
        kind: BlobKind,
        /// The blob.
        id: Id,
    },
    /// Another process holds the repository.
    #[error(
        "repository is locked {} by {username}@{hostname}, PID {pid}, since {since}; if that is gone: strongroom repo unlock",
        if *exclusive { "exclusively" } else { "shared" }
    )]
    Locked {
        /// Whether that lock lets nobody else in.
        exclusive: bool,
        /// Where the holder runs.
        hostname: String,
        /// Who runs it.
        username: String,
        /// Its process id there.
        pid: u32,
        /// When the lock was last refreshed, RFC 3339.
        since: String,
    },
    /// The lock could not be kept: what it protected must stop.
    #[error("the lock of the repository was lost: {reason}")]
    LockLost {
        /// Why.
        reason: String,
    },
    /// No snapshot fits.
    #[error("no snapshot {pattern:?} in the repository")]
    SnapshotNotFound {
        /// What was asked for.
        pattern: String,
    },
    /// More than one snapshot fits.
    #[error("more than one snapshot begins with {pattern:?}")]
    SnapshotAmbiguous {
        /// What was asked for.
        pattern: String,
    },
    /// A key with impossible parameters.
    #[error("key {name} is not usable: {reason}")]
    UnusableKey {
        /// The id of the key file.
        name: String,
        /// Why.
        reason: String,
    },
    /// Something looks wrong in a way that going on could make worse. Nothing was removed for it.
    #[error("refused: {reason}")]
    Refused {
        /// What looks wrong.
        reason: String,
    },
    /// A thread of the writer could not be started or ended early.
    #[error("a thread of the writer failed: {reason}")]
    Thread {
        /// Why.
        reason: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl VaultError {
    /// The kind of the storage failure below, when that is the cause.
    #[must_use]
    pub fn storage_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Storage(error) => Some(error.kind),
            _ => None,
        }
    }

    /// Whether the vault has no space left, which is never a failure of a source.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.storage_kind() == Some(ErrorKind::Full)
    }

    pub(crate) fn damaged(kind: FileKind, name: impl ToString, reason: impl ToString) -> Self {
        Self::Damaged {
            kind,
            name: name.to_string(),
            reason: reason.to_string(),
        }
    }
}

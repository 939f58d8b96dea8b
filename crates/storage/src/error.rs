//! What can go wrong with a storage, as a small closed list that callers may act on.

use std::sync::Arc;

/// What a failure means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The name (or the whole storage) is not there.
    NotFound,
    /// The name is taken by other content.
    AlreadyExists,
    /// The store refuses: permissions, credentials, read-only, object lock.
    Denied,
    /// The store asks to come back later.
    Throttled,
    /// No space or quota left. Never to be booked as a failure of what was being backed up.
    Full,
    /// Worth another try: time-outs, interrupted calls, stale handles, a file server that is away.
    Transient,
    /// The store answered with bytes that cannot be right, such as too few.
    Corrupt,
    /// Everything else, an I/O error of the disk for example.
    Other,
}

impl ErrorKind {
    /// The kind in words, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists with other content",
            Self::Denied => "access denied",
            Self::Throttled => "throttled",
            Self::Full => "no space left",
            Self::Transient => "temporary failure",
            Self::Corrupt => "wrong content",
            Self::Other => "failed",
        }
    }

    /// Maps an error of the operating system.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use rustix::io::Errno;
        let Some(errno) = Errno::from_io_error(error) else {
            return match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Self::Corrupt,
                std::io::ErrorKind::NotFound => Self::NotFound,
                std::io::ErrorKind::AlreadyExists => Self::AlreadyExists,
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted => Self::Transient,
                _ => Self::Other,
            };
        };
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::EXIST => Self::AlreadyExists,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::Full,
            // What mounted file servers answer while they are away or restart, and what passes by itself.
            Errno::INTR
            | Errno::AGAIN
            | Errno::BUSY
            | Errno::TIMEDOUT
            | Errno::STALE
            | Errno::CONNRESET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH => Self::Transient,
            _ => Self::Other,
        }
    }
}

/// What was being done, one word per method of the trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Opening the storage.
    Open,
    /// `put`
    Put,
    /// `get`
    Get,
    /// `get_range`
    GetRange,
    /// `size`
    Size,
    /// `list`
    List,
    /// `delete`
    Delete,
    /// `sync_folders`
    Sync,
}

impl Operation {
    /// The operation in words, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Put => "write",
            Self::Get | Self::GetRange => "read",
            Self::Size => "stat",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Sync => "sync",
        }
    }
}

/// A failed call of a storage. Cheap to clone, since a poisoned writer answers every later call with it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {} {name:?} in the storage: {}", operation.as_str(), kind.as_str())]
pub struct StorageError {
    /// What the failure means.
    pub kind: ErrorKind,
    /// What was being done.
    pub operation: Operation,
    /// To which name.
    pub name: String,
    /// The cause, when there is one below.
    pub source: Option<Arc<std::io::Error>>,
}

impl StorageError {
    /// Whether the disk itself reported an I/O error.
    pub(crate) fn is_disk_error(&self) -> bool {
        self.source
            .as_deref()
            .and_then(rustix::io::Errno::from_io_error)
            == Some(rustix::io::Errno::IO)
    }

    /// An error without a cause below.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: Operation, name: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            name: name.into(),
            source: None,
        }
    }

    /// An error whose cause is best said in words.
    #[must_use]
    pub fn message(
        kind: ErrorKind,
        operation: Operation,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            operation,
            name: name.into(),
            source: Some(Arc::new(std::io::Error::other(text.into()))),
        }
    }

    /// A file that is larger than who reads it allows.
    #[must_use]
    pub fn too_large(name: &str, size_bytes: u64, limit_bytes: u64) -> Self {
        let text = format!("it has {size_bytes} bytes, where {limit_bytes} are the most");
        Self::message(ErrorKind::Corrupt, Operation::Get, name, text)
    }

    /// An error of the operating system; the kind is derived.
    #[must_use]
    pub fn io(operation: Operation, name: impl Into<String>, error: std::io::Error) -> Self {
        Self {
            kind: ErrorKind::of_io(&error),
            operation,
            name: name.into(),
            source: Some(Arc::new(error)),
        }
    }
}

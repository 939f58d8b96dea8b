//! The one error type of the crate: which operation failed on which path, and why.
//!
//! It never says what the failure means for a job (an item's error or the end of the run): `runner` decides that.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What was being done when an error came up. The text is stored in the error list of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reading an entry's metadata.
    Stat,
    /// Opening a file or a folder.
    Open,
    /// Reading a file's content.
    Read,
    /// Listing a folder.
    List,
    /// Reading or setting extended attributes.
    Xattr,
    /// Reading the target of a symbolic link.
    ReadLink,
    /// Creating a file, folder, link or device.
    Create,
    /// Writing a file's content.
    Write,
    /// Setting the owner.
    Owner,
    /// Setting the mode.
    Mode,
    /// Setting the times.
    Times,
    /// Removing or replacing what is in the way.
    Replace,
    /// Waiting until what was written is durable.
    Sync,
}

impl Operation {
    /// The lower-case word for messages and for the error list.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Stat => "stat",
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::List => "list",
            Operation::Xattr => "xattr",
            Operation::ReadLink => "readlink",
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Owner => "chown",
            Operation::Mode => "chmod",
            Operation::Times => "utimes",
            Operation::Replace => "replace",
            Operation::Sync => "sync",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An operation on one path that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct SourceError {
    /// What was being done.
    pub operation: Operation,
    /// The path it was done to.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl SourceError {
    /// An error of `operation` on the path whose bytes are given.
    pub(crate) fn new(
        operation: Operation,
        path: &[u8],
        source: impl Into<io::Error>,
    ) -> SourceError {
        SourceError {
            operation,
            path: PathBuf::from(OsStr::from_bytes(path)),
            source: source.into(),
        }
    }

    /// An error that no system call reported, in words.
    pub(crate) fn words(operation: Operation, path: &[u8], words: &str) -> SourceError {
        SourceError::new(operation, path, io::Error::other(words.to_owned()))
    }

    /// The operating system's error number, if it was one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// The path it was done to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the thing was not there (any more).
    pub fn is_missing(&self) -> bool {
        self.has(&[Errno::NOENT])
    }

    /// Whether the file system that was written to is full. One that cannot be written is not meant: it may be mounted
    /// somewhere below a target that can.
    pub fn is_full(&self) -> bool {
        self.has(&[Errno::NOSPC, Errno::DQUOT])
    }

    fn has(&self, errnos: &[Errno]) -> bool {
        self.errno()
            .is_some_and(|number| errnos.iter().any(|errno| errno.raw_os_error() == number))
    }
}

//! Which file lies where: restic's default layout.

use std::fmt;

use crate::id::Id;

/// The kinds of files in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// The one file that says what this repository is.
    Config,
    /// The master key, sealed by a password.
    Key,
    /// A lock of a running process.
    Lock,
    /// A snapshot.
    Snapshot,
    /// Where blobs are.
    Index,
    /// Blobs.
    Pack,
}

impl FileKind {
    /// The folder of this kind (the file itself for `Config`).
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }

    /// The name in the storage of the file with this id.
    #[must_use]
    pub fn name(self, id: &Id) -> String {
        match self {
            Self::Config => self.folder().to_owned(),
            Self::Pack => {
                let hex = id.to_hex();
                format!("data/{}/{hex}", &hex[..2])
            }
            _ => format!("{}/{}", self.folder(), id.to_hex()),
        }
    }

    /// The id in a name that a listing gave. Names that are none are left alone: they are not ours.
    #[must_use]
    pub fn id_of(self, name: &str) -> Option<Id> {
        name.rsplit('/').next()?.parse().ok()
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Lock => "lock",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::Pack => "pack",
        })
    }
}

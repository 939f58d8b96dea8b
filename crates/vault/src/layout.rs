//! Which file lies where: restic's default layout.

use std::fmt;

use storage::{Storage, StorageError};

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

    /// The most that is read of a file of this kind as a whole, several times what any program writes: what lies under a
    /// name may be anything, also a file of holes that has any size and takes no room.
    pub(crate) const fn largest_bytes(self) -> u64 {
        match self {
            // All have a few hundred bytes, names of hosts and users included.
            Self::Config | Self::Key | Self::Lock => 1 << 20,
            // restic keeps each path that it was given, which may come from a file of very many.
            Self::Snapshot => 256 << 20,
            // restic begins another file at 150,000 blobs, none of which has 256 bytes of JSON; the last pack of a file
            // may add as many as a header of 16 MiB names, which are 450,000.
            Self::Index => 256 << 20,
            // rustic lets packs grow with the repository: these are of one with a thousand terabytes.
            Self::Pack => 1 << 30,
        }
    }

    /// The content of the file with this id. One that is larger than any program writes is
    /// [`storage::ErrorKind::Corrupt`].
    pub(crate) fn read(self, storage: &dyn Storage, id: &Id) -> Result<Vec<u8>, StorageError> {
        self.read_named(storage, &self.name(id))
    }

    /// As [`FileKind::read`], for a file of this kind that lies elsewhere.
    pub(crate) fn read_named(
        self,
        storage: &dyn Storage,
        name: &str,
    ) -> Result<Vec<u8>, StorageError> {
        storage.get_at_most(name, self.largest_bytes())
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

//! What a check may find: damage, what is worth knowing, and what of the snapshots damage touches.

use std::fmt;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;

/// Damage. Each says what can no longer be restored, or why.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A snapshot that cannot be read.
    #[error("snapshot {id} cannot be read: {error}")]
    Snapshot {
        /// The snapshot.
        id: Id,
        /// Why.
        error: VaultError,
    },
    /// A key file that is not what its name says: its password may open nothing any more.
    #[error("key {id} is damaged: {reason}")]
    Key {
        /// The key.
        id: Id,
        /// What is wrong.
        reason: String,
    },
    /// An index file that cannot be read; the blobs it names may look missing.
    #[error("index {id} cannot be read: {error}")]
    Index {
        /// The index file.
        id: Id,
        /// Why.
        error: VaultError,
    },
    /// A pack that an index names is not there.
    #[error("pack {pack} is missing; an index says that it holds {blob_count} blobs")]
    PackMissing {
        /// The pack.
        pack: Id,
        /// How many blobs are gone with it.
        blob_count: usize,
    },
    /// A pack does not have the size that follows from its blobs.
    #[error("pack {pack} has {found} bytes where its index says {expected}")]
    PackSize {
        /// The pack.
        pack: Id,
        /// By the index.
        expected: u64,
        /// On the storage.
        found: u64,
    },
    /// The index gives overlapping or impossible places to blobs of a pack.
    #[error("the index of pack {pack} is wrong: {reason}")]
    PackIndex {
        /// The pack.
        pack: Id,
        /// What is wrong.
        reason: String,
    },
    /// A pack whose content is not what its name says.
    #[error("pack {pack} is damaged: {reason}")]
    Pack {
        /// The pack.
        pack: Id,
        /// What is wrong.
        reason: String,
    },
    /// A blob that cannot be brought back.
    #[error("{kind} blob {id} in pack {pack} is damaged: {reason}")]
    Blob {
        /// Tree or data.
        kind: BlobKind,
        /// The blob.
        id: Id,
        /// The pack that holds it.
        pack: Id,
        /// What is wrong.
        reason: String,
    },
    /// A tree that cannot be read.
    #[error("tree {id} cannot be read: {error}")]
    Tree {
        /// The tree.
        id: Id,
        /// Why.
        error: VaultError,
    },
    /// A tree that breaks a rule of the format.
    #[error("tree {tree}, node {name:?}: {reason}")]
    Node {
        /// The tree.
        tree: Id,
        /// The name of the entry, as far as it is text.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file needs a blob that no index names as data.
    #[error("tree {tree}, file {name:?}: data blob {blob} is in no index")]
    BlobMissing {
        /// The tree that holds the file.
        tree: Id,
        /// The name of the file, as far as it is text.
        name: String,
        /// The blob.
        blob: Id,
    },
}

impl CheckError {
    /// Whether it was found by reading data, so that a check of the structure alone would not find it.
    #[must_use]
    pub const fn is_of_data(&self) -> bool {
        matches!(self, Self::Pack { .. } | Self::Blob { .. })
    }
}

/// What is worth knowing but loses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckHint {
    /// A pack that no index names: a killed backup left it, the next one takes it over or a prune removes it.
    UnindexedPack {
        /// The pack.
        pack: Id,
    },
    /// A pack that is marked for deletion and holds what a snapshot needs and no other pack has: a backup that began
    /// before the mark refers to it. Nothing is lost; the next prune puts it back.
    NeededPackMarked {
        /// The pack.
        pack: Id,
    },
    /// The storage gave wrong bytes once and the right ones when asked again.
    UnsteadyRead {
        /// The pack.
        pack: Id,
    },
    /// A file in the place of packs whose name is none.
    StrangeFile {
        /// Its name.
        name: String,
    },
    /// Blobs that several packs hold: an interrupted backup, or two at once. A prune frees the space.
    DuplicateBlobs {
        /// Copies beyond the first of each blob.
        copy_count: u64,
        /// Stored bytes of those.
        size_bytes: u64,
    },
    /// A pack that is larger than any that restic writes.
    OversizedPack {
        /// The pack.
        pack: Id,
        /// Its size.
        size_bytes: u64,
    },
}

/// How much of something damage touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// One file, or another entry that is no folder.
    File,
    /// A folder with everything below it, whose list cannot be read.
    Folder,
}

/// Something that can no longer be restored as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The snapshot that holds it.
    pub snapshot: Id,
    /// Its path in the snapshot, from `/`; any bytes.
    pub path: Vec<u8>,
    /// How much of it.
    pub extent: Extent,
}

impl fmt::Display for Touched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        let below = match self.extent {
            Extent::File => "",
            Extent::Folder => " and everything below it",
        };
        write!(
            formatter,
            "snapshot {}: {path}{below}",
            self.snapshot.short()
        )
    }
}

impl fmt::Display for CheckHint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnindexedPack { pack } => write!(formatter, "pack {pack} is in no index"),
            Self::NeededPackMarked { pack } => write!(
                formatter,
                "pack {pack} is marked for deletion and a snapshot needs it: the next prune puts it back"
            ),
            Self::UnsteadyRead { pack } => write!(
                formatter,
                "pack {pack} was read wrong once and right when read again: the storage or its network is unsteady"
            ),
            Self::StrangeFile { name } => write!(formatter, "{name:?} is not a pack"),
            Self::DuplicateBlobs {
                copy_count,
                size_bytes,
            } => write!(
                formatter,
                "{copy_count} blobs are stored more than once, {size_bytes} bytes that a prune would free"
            ),
            Self::OversizedPack { pack, size_bytes } => {
                write!(
                    formatter,
                    "pack {pack} has {size_bytes} bytes, more than any that restic writes"
                )
            }
        }
    }
}

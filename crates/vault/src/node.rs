//! One entry of a tree: a file, a folder, a link and so on, with all that belongs to it.
//!
//! In memory the mode is the `st_mode` of Unix; on the wire it is Go's `os.FileMode`, whose bits lie elsewhere.

use std::fmt;

use crate::id::Id;
use crate::time::Time;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Device,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A Unix domain socket.
    Socket,
    /// Anything else, which is kept but cannot be restored.
    #[default]
    Irregular,
}

/// The type bits of `st_mode`.
const S_IFMT: u32 = 0o170_000;
const TYPES: [(NodeKind, &str, u32, u32); 7] = [
    (NodeKind::File, "file", 0o100_000, 0),
    (NodeKind::Dir, "dir", 0o040_000, 1 << 31),
    (NodeKind::Symlink, "symlink", 0o120_000, 1 << 27),
    (NodeKind::Device, "dev", 0o060_000, 1 << 26),
    (
        NodeKind::CharDevice,
        "chardev",
        0o020_000,
        1 << 26 | 1 << 21,
    ),
    (NodeKind::Fifo, "fifo", 0o010_000, 1 << 25),
    (NodeKind::Socket, "socket", 0o140_000, 1 << 24),
];
/// Go's bit for files that are none of the above.
const GO_IRREGULAR: u32 = 1 << 19;
/// The bits above the permissions: setuid, setgid, sticky, in `st_mode` and in Go's mode.
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

impl NodeKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        TYPES
            .iter()
            .find(|row| row.0 == self)
            .map_or("irregular", |row| row.1)
    }

    pub(crate) fn parse(text: &[u8]) -> Self {
        TYPES
            .iter()
            .find(|row| row.1.as_bytes() == text)
            .map_or(Self::Irregular, |row| row.0)
    }

    /// The kind in an `st_mode`.
    #[must_use]
    pub fn of_mode(mode: u32) -> Self {
        TYPES
            .iter()
            .find(|row| row.2 == mode & S_IFMT)
            .map_or(Self::Irregular, |row| row.0)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Go's `os.FileMode` of an `st_mode`.
pub(crate) fn go_mode(kind: NodeKind, mode: u32) -> u32 {
    let kind_bits = TYPES
        .iter()
        .find(|row| row.0 == kind)
        .map_or(GO_IRREGULAR, |row| row.3);
    let special = SPECIAL
        .iter()
        .filter(|(unix, _)| mode & unix != 0)
        .fold(0, |bits, (_, go)| bits | go);
    kind_bits | special | mode & 0o777
}

/// The `st_mode` of Go's `os.FileMode`.
pub(crate) fn unix_mode(kind: NodeKind, go: u32) -> u32 {
    let kind_bits = TYPES
        .iter()
        .find(|row| row.0 == kind)
        .map_or(0, |row| row.2);
    let special = SPECIAL
        .iter()
        .filter(|(_, bit)| go & bit != 0)
        .fold(0, |bits, (unix, _)| bits | unix);
    kind_bits | special | go & 0o777
}

/// An extended attribute; ACLs are among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The full name, `user.comment` for example.
    pub name: Vec<u8>,
    /// The value, any bytes.
    pub value: Vec<u8>,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// The name in its folder, any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// `st_mode`: type, setuid, setgid, sticky and permissions.
    pub mode: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// When it was last read.
    pub atime: Time,
    /// When the metadata last changed.
    pub ctime: Time,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Name of the owner, empty when unknown.
    pub user: String,
    /// Name of the group, empty when unknown.
    pub group: String,
    /// Inode number; with `device_id` it ties hard links together.
    pub inode: u64,
    /// `st_dev`.
    pub device_id: u64,
    /// Bytes of a regular file.
    pub size: u64,
    /// Number of hard links.
    pub links: u64,
    /// Where a symbolic link points to, any bytes.
    pub link_target: Vec<u8>,
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
    /// JSON of attributes that other systems have (Windows), kept as it was read.
    pub generic_attributes: Option<Box<str>>,
    /// `st_rdev` of a device.
    pub device: u64,
    /// The blobs of a regular file, in order.
    pub content: Vec<Id>,
    /// The tree of a folder.
    pub subtree: Option<Id>,
    /// What went wrong when the entry was read, empty when nothing did.
    pub error: String,
}

impl Node {
    /// The mode as the format and other programs write it: Go's `os.FileMode`.
    #[must_use]
    pub fn go_mode(&self) -> u32 {
        go_mode(self.kind, self.mode)
    }

    /// Whether the name can be that of one entry of a folder, and nothing else: a restore must refuse all others.
    #[must_use]
    pub fn has_safe_name(&self) -> bool {
        !self.name.is_empty()
            && self.name != b"."
            && self.name != b".."
            && !self.name.contains(&b'/')
            && !self.name.contains(&0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, NodeKind, go_mode, unix_mode};

    #[test]
    fn modes_both_ways() {
        let check = |unix: u32, go: u32| {
            let kind = NodeKind::of_mode(unix);
            assert_eq!(go_mode(kind, unix), go, "{unix:o}");
            assert_eq!(unix_mode(kind, go), unix, "{go}");
            assert_eq!(NodeKind::parse(kind.as_str().as_bytes()), kind);
        };
        // As restic 0.14 wrote them.
        check(0o100_644, 420);
        check(0o104_755, 8_389_101);
        check(0o040_755, 2_147_484_141);
        check(0o020_644, 69_206_436);
        check(0o010_644, 33_554_852);
        check(0o120_777, 134_218_239);
        check(0o041_777, 1 << 31 | 1 << 20 | 0o777);
        check(0o060_660, 1 << 26 | 0o660);
        check(0o142_700, 1 << 24 | 1 << 22 | 0o700);
    }

    #[test]
    fn names_that_a_restore_must_refuse() {
        let check = |name: &[u8], expected: bool| {
            let node = Node {
                name: name.to_vec(),
                ..Node::default()
            };
            assert_eq!(node.has_safe_name(), expected, "{name:?}");
        };
        check(b"a", true);
        check(b"...", true);
        check(b"\xff", true);
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
            check(name, false);
        }
    }
}

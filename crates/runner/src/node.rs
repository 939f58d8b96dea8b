//! The border between a source's entry and a restic node, and the question whether an entry is unchanged.

use source::SourceError;
use source::file::names::OwnerNames;
use source::file::stat::{FileKind, FileStat, FileTime};
use source::file::xattrs::ReadXattrs;
use vault::{Node, NodeKind, Time, Xattr};

/// The kind of node for a kind of entry.
pub(crate) fn node_kind(kind: FileKind) -> NodeKind {
    match kind {
        FileKind::File => NodeKind::File,
        FileKind::Dir => NodeKind::Dir,
        FileKind::Symlink => NodeKind::Symlink,
        FileKind::BlockDevice => NodeKind::Device,
        FileKind::CharDevice => NodeKind::CharDevice,
        FileKind::Fifo => NodeKind::Fifo,
        FileKind::Socket => NodeKind::Socket,
    }
}

pub(crate) fn time(time: FileTime) -> Time {
    Time::new(time.seconds, time.nanoseconds)
}

pub(crate) fn file_time(time: Time) -> FileTime {
    FileTime {
        seconds: time.seconds,
        nanoseconds: time.nanoseconds,
    }
}

/// Gives a node the attributes that could be read. What could not be is said in the node, so that no later backup takes
/// it over as whole, and is returned for the error list.
pub(crate) fn set_xattrs(node: &mut Node, read: ReadXattrs) -> Option<SourceError> {
    node.xattrs = read
        .found
        .into_iter()
        .map(|xattr| Xattr {
            name: xattr.name,
            value: xattr.value,
        })
        .collect();
    if let Some(error) = &read.error {
        note_error(node, error);
    }
    read.error
}

/// Says in a node what could not be read of it: restic's own field for that.
pub(crate) fn note_error(node: &mut Node, error: &SourceError) {
    if node.error.is_empty() {
        node.error = format!("{}: {}", error.operation, error.source);
    }
}

/// A node with everything that `lstat` tells. As restic does by default, the time of the last access is not kept (it
/// would change with each backup): the time of the last change stands for it.
pub(crate) fn node_of(name: &[u8], stat: &FileStat, names: &OwnerNames) -> Node {
    let is_dir = stat.kind == FileKind::Dir;
    let is_device = matches!(stat.kind, FileKind::BlockDevice | FileKind::CharDevice);
    Node {
        name: name.to_vec(),
        kind: node_kind(stat.kind),
        mode: stat.mode,
        mtime: time(stat.modified),
        atime: time(stat.modified),
        ctime: time(stat.changed),
        uid: stat.uid,
        gid: stat.gid,
        user: String::from(&*names.user(stat.uid)),
        group: String::from(&*names.group(stat.gid)),
        inode: stat.id.inode,
        // Device numbers change from boot to boot on many systems; only hard links need them.
        device_id: if !is_dir && stat.links > 1 {
            stat.id.device
        } else {
            0
        },
        size: if stat.kind == FileKind::File {
            stat.size_bytes
        } else {
            0
        },
        links: if is_dir { 0 } else { stat.links },
        device: if is_device { stat.device_number } else { 0 },
        ..Node::default()
    }
}

/// How long before the start of the parent an inode must have changed last, seconds.
///
/// The system sets this time itself with each change, so it lags behind by the step in which the file system keeps it (up to
/// two seconds, FAT) and by what the clock of a file server is behind. What is written through a mapping into memory without a
/// new time has given the file a time of modification within the margin of that one.
const INODE_SETTLED_AFTER_SECONDS: u32 = 5;

/// Until when an entry may have changed last to count as unchanged since the parent read it: times prove nothing about
/// what happened close to when they were read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutoff {
    modified: Time,
    changed: Time,
}

impl Cutoff {
    /// For a parent that began then. Contents must be older than `settled_after_seconds`.
    pub(crate) fn new(began: Time, settled_after_seconds: u32) -> Cutoff {
        let before = |seconds: u32| {
            let seconds = began.seconds.saturating_sub(i64::from(seconds));
            Time::new(seconds, began.nanoseconds)
        };
        Cutoff {
            modified: before(settled_after_seconds),
            changed: before(settled_after_seconds.min(INODE_SETTLED_AFTER_SECONDS)),
        }
    }

    /// Whether the last changes that an entry's times tell of were before.
    pub(crate) fn is_after(&self, stat: &FileStat) -> bool {
        time(stat.modified) < self.modified && time(stat.changed) < self.changed
    }
}

/// Whether size, times, inode and kind are those that the parent saw.
pub(crate) fn has_same_content(old: &Node, stat: &FileStat) -> bool {
    old.kind == node_kind(stat.kind)
        && old.mtime == time(stat.modified)
        && old.ctime == time(stat.changed)
        && old.inode == stat.id.inode
        && (stat.kind != FileKind::File || old.size == stat.size_bytes)
}

/// Whether the parent's node can be taken as it is, given that the content is the same. One that says that it is not
/// whole is never taken.
pub(crate) fn has_same_metadata(old: &Node, stat: &FileStat, names: &OwnerNames) -> bool {
    let is_dir = stat.kind == FileKind::Dir;
    old.error.is_empty()
        && old.mode == stat.mode
        && old.uid == stat.uid
        && old.gid == stat.gid
        && is_name_kept(&old.user, &names.user(stat.uid))
        && is_name_kept(&old.group, &names.group(stat.gid))
        && (is_dir || old.links == stat.links || old.kind == NodeKind::Fifo)
        && (is_dir || stat.links < 2 || old.device_id == stat.id.device)
}

/// Whether the name of an owner in the parent's node still holds. A number without a name is one whose name could not
/// be found this time (names are looked up for a while only): that is no reason to forget the one from before.
fn is_name_kept(old: &str, now: &str) -> bool {
    now.is_empty() || old == now
}

/// Gives a new node the names of its owners from the parent's node where they could not be found this time.
pub(crate) fn keep_names(node: &mut Node, old: &Node) {
    if node.user.is_empty() && node.uid == old.uid {
        node.user.clone_from(&old.user);
    }
    if node.group.is_empty() && node.gid == old.gid {
        node.group.clone_from(&old.group);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use source::file::stat::DevIno;
    use source::file::xattrs::Xattr as FileXattr;

    fn stat() -> FileStat {
        FileStat {
            kind: FileKind::File,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            size_bytes: 5,
            accessed: FileTime {
                seconds: 9,
                nanoseconds: 9,
            },
            modified: FileTime {
                seconds: 100,
                nanoseconds: 1,
            },
            changed: FileTime {
                seconds: 100,
                nanoseconds: 2,
            },
            id: DevIno {
                device: 7,
                inode: 8,
            },
            links: 1,
            device_number: 0,
            blocks: 8,
        }
    }

    #[test]
    fn a_change_of_any_kind_is_seen() {
        let names = OwnerNames::default();
        let old = node_of(b"f", &stat(), &names);
        assert!(has_same_content(&old, &stat()) && has_same_metadata(&old, &stat(), &names));
        let content = |change: fn(&mut FileStat)| {
            let mut stat = stat();
            change(&mut stat);
            has_same_content(&old, &stat)
        };
        assert!(!content(|stat| stat.size_bytes = 6));
        assert!(!content(|stat| stat.modified.nanoseconds += 1));
        assert!(!content(|stat| stat.changed.seconds += 1));
        assert!(!content(|stat| stat.id.inode += 1));
        assert!(!content(|stat| stat.kind = FileKind::Fifo));
        assert!(content(|stat| stat.id.device += 1));
        let metadata = |change: fn(&mut FileStat)| {
            let mut stat = stat();
            change(&mut stat);
            has_same_metadata(&old, &stat, &names)
        };
        assert!(!metadata(|stat| stat.mode = 0o100_600));
        assert!(!metadata(|stat| stat.uid = 1));
        assert!(!metadata(|stat| stat.links = 2));
    }

    #[test]
    fn a_node_that_is_not_whole_says_so_and_is_never_taken_over() {
        let names = OwnerNames::default();
        let mut node = node_of(b"f", &stat(), &names);
        let read = ReadXattrs {
            found: vec![FileXattr {
                name: b"user.a".to_vec(),
                value: b"1".to_vec(),
            }],
            error: Some(SourceError {
                operation: source::Operation::Xattr,
                path: "/f".into(),
                source: std::io::Error::from_raw_os_error(13),
            }),
        };
        assert!(set_xattrs(&mut node, read).is_some());
        assert_eq!(node.xattrs.len(), 1);
        assert_eq!(node.error, "xattr: Permission denied (os error 13)");
        assert!(!has_same_metadata(&node, &stat(), &names));
        let mut whole = node_of(b"f", &stat(), &names);
        assert!(set_xattrs(&mut whole, ReadXattrs::default()).is_none());
        assert!(has_same_metadata(&whole, &stat(), &names));
    }

    #[test]
    fn names_that_are_not_found_this_time_are_kept() {
        let names = OwnerNames::default();
        let mut old = node_of(b"f", &stat(), &names);
        old.user = "alice".to_owned();
        old.group = "staff".to_owned();
        assert!(has_same_metadata(&old, &stat(), &names));
        let mut node = node_of(b"f", &stat(), &names);
        keep_names(&mut node, &old);
        assert_eq!(node, old);
        old.uid = 5;
        let mut other = node_of(b"f", &stat(), &names);
        keep_names(&mut other, &old);
        assert_eq!((other.user.as_str(), other.group.as_str()), ("", "staff"));
        assert!(is_name_kept("alice", "alice") && !is_name_kept("alice", "bob"));
        assert!(!is_name_kept("", "bob"));
    }

    #[test]
    fn t25_times_of_the_same_tick_prove_nothing() {
        let check = |began: i64, expected: bool| {
            let cutoff = Cutoff::new(Time::new(began, 5), 0);
            assert_eq!(cutoff.is_after(&stat()), expected)
        };
        check(101, true);
        check(100, true);
        check(99, false);
        check(50, false);
    }

    /// A file that was renamed, or got back its old time after it was copied, is trusted sooner than one with new content.
    #[test]
    fn a_young_content_is_doubted_longer_than_a_young_inode() {
        let is_settled = |modified: i64, changed: i64| {
            let mut stat = stat();
            stat.modified.seconds = modified;
            stat.changed.seconds = changed;
            Cutoff::new(Time::new(1000, 0), 60).is_after(&stat)
        };
        assert!(is_settled(900, 900));
        assert!(is_settled(900, 994));
        assert!(!is_settled(900, 995));
        assert!(is_settled(939, 939));
        assert!(!is_settled(940, 940));
        assert!(!is_settled(2000, 900));
    }
}

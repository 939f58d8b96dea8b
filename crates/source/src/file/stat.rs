//! The metadata of one entry as `lstat` gives it, in a form that the rest of the program can compare and store.

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket; never stored.
    Socket,
}

impl FileKind {
    fn of(mode: u32) -> FileKind {
        match mode & 0o170_000 {
            0o040_000 => FileKind::Dir,
            0o120_000 => FileKind::Symlink,
            0o060_000 => FileKind::BlockDevice,
            0o020_000 => FileKind::CharDevice,
            0o010_000 => FileKind::Fifo,
            0o140_000 => FileKind::Socket,
            _ => FileKind::File,
        }
    }
}

/// A point in time as the file system keeps it: seconds since 1970 and nanoseconds in `0..1_000_000_000`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime {
    /// Whole seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

/// The device and inode that identify a thing on this host while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DevIno {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// The metadata of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// What it is.
    pub kind: FileKind,
    /// The whole `st_mode`, type bits included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes as the file system says.
    pub size_bytes: u64,
    /// Last access.
    pub accessed: FileTime,
    /// Last change of the content.
    pub modified: FileTime,
    /// Last change of content or metadata.
    pub changed: FileTime,
    /// Where it lives.
    pub id: DevIno,
    /// Number of hard links.
    pub links: u64,
    /// The device that a device node stands for.
    pub device_number: u64,
    /// Space taken, in units of 512 bytes; less than the size says for a sparse file.
    pub blocks: u64,
}

impl FileStat {
    /// Whether the file takes less space than its size, so that looking for holes pays.
    pub fn may_have_holes(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size_bytes
    }
}

// The fields of the system's structure have other widths on other machines.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
impl From<rustix::fs::Stat> for FileStat {
    fn from(stat: rustix::fs::Stat) -> FileStat {
        FileStat {
            kind: FileKind::of(stat.st_mode as u32),
            mode: stat.st_mode as u32,
            uid: stat.st_uid as u32,
            gid: stat.st_gid as u32,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            accessed: FileTime {
                seconds: stat.st_atime as i64,
                nanoseconds: stat.st_atime_nsec as u32,
            },
            modified: FileTime {
                seconds: stat.st_mtime as i64,
                nanoseconds: stat.st_mtime_nsec as u32,
            },
            changed: FileTime {
                seconds: stat.st_ctime as i64,
                nanoseconds: stat.st_ctime_nsec as u32,
            },
            id: DevIno {
                device: stat.st_dev as u64,
                inode: stat.st_ino as u64,
            },
            links: stat.st_nlink as u64,
            device_number: stat.st_rdev as u64,
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        }
    }
}

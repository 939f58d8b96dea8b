//! What a tree holds, as values that can be compared.
//!
//! Owns which properties belong to a file. Walks by folder descriptors, so no path is too long. Leaves out what no
//! restore can bring back: access and change times, inode numbers, sizes of folders, and sockets, which are never
//! backed up.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat,
};
use xattr::FileExt;

/// The properties of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The kind of file, as a word.
    pub kind: &'static str,
    /// Permission bits, set-user-id, set-group-id and sticky included. The kernel keeps none for symlinks.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Modification time: seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
    /// Length in bytes of a regular file, else 0.
    pub length_bytes: u64,
    /// Hash of a regular file's bytes, else 0.
    pub content_hash: u64,
    /// Where a symlink points.
    pub link_target: Vec<u8>,
    /// Device number of a device file.
    pub device: u64,
    /// Extended attributes, access lists among them.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// For a file with several names: the first of them in the tree.
    pub first_name: Option<Vec<u8>>,
    /// Bytes allocated on disk; smaller than the length when there are holes. Not part of equality by itself.
    pub allocated_bytes: u64,
}

/// All entries of a tree by their path below its root; the root itself is the empty path.
pub type Manifest = BTreeMap<Vec<u8>, Entry>;

/// Reads the tree below `root`.
///
/// # Errors
/// The first failure of the file system.
pub fn read(root: &Path) -> io::Result<Manifest> {
    let root = openat(CWD, root, FOLDER, Mode::empty())?;
    let mut reader = Reader {
        entries: Manifest::new(),
        names: HashMap::new(),
    };
    let stat = fstat(&root)?;
    let mut entry = reader.entry(&stat, &[])?;
    entry.attributes = attributes(&File::from(root.try_clone()?))?;
    reader.entries.insert(Vec::new(), entry);
    reader.folder(&root, &[])?;
    Ok(reader.entries)
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

struct Reader {
    entries: Manifest,
    /// The first name of each file that has several, by device and inode.
    names: HashMap<(u64, u64), Vec<u8>>,
}

impl Reader {
    fn folder(&mut self, folder: &OwnedFd, path: &[u8]) -> io::Result<()> {
        let mut names = Vec::new();
        for item in Dir::read_from(folder)? {
            let name = item?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let mut inside = path.to_vec();
            if !inside.is_empty() {
                inside.push(b'/');
            }
            inside.extend(name.as_bytes());
            self.item(folder.as_fd(), &name, &inside).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("{}: {error}", String::from_utf8_lossy(&inside)),
                )
            })?;
        }
        Ok(())
    }

    fn item(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        path: &[u8],
    ) -> io::Result<()> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut entry = self.entry(&stat, path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => return Ok(()),
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(folder, name, flags, Mode::empty())?);
                entry.content_hash = content_hash(&mut file)?;
                entry.attributes = attributes(&file)?;
            }
            FileType::Directory => {
                let inside = openat(folder, name, FOLDER, Mode::empty())?;
                entry.attributes = attributes(&File::from(inside.try_clone()?))?;
                self.folder(&inside, path)?;
            }
            FileType::Symlink => {
                entry.link_target = readlinkat(folder, name, Vec::new())?.into_bytes()
            }
            _ => {}
        }
        if !matches!(entry.kind, "file" | "folder") {
            entry.attributes = attributes_of_unopened(folder, name)?;
        }
        self.entries.insert(path.to_vec(), entry);
        Ok(())
    }

    fn entry(&mut self, stat: &Stat, path: &[u8]) -> io::Result<Entry> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        let is_regular = kind == FileType::RegularFile;
        let first_name = (stat.st_nlink > 1 && kind != FileType::Directory).then(|| {
            self.names
                .entry((stat.st_dev, stat.st_ino))
                .or_insert_with(|| path.to_vec())
                .clone()
        });
        Ok(Entry {
            kind: word(kind),
            mode: if kind == FileType::Symlink {
                0
            } else {
                stat.st_mode & 0o7777
            },
            owner: (stat.st_uid, stat.st_gid),
            modified: (
                stat.st_mtime,
                i64::try_from(stat.st_mtime_nsec).map_err(io::Error::other)?,
            ),
            length_bytes: if is_regular {
                u64::try_from(stat.st_size).map_err(io::Error::other)?
            } else {
                0
            },
            content_hash: 0,
            link_target: Vec::new(),
            device: if is_device { stat.st_rdev } else { 0 },
            attributes: BTreeMap::new(),
            first_name,
            allocated_bytes: u64::try_from(stat.st_blocks).map_err(io::Error::other)? * 512,
        })
    }
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Socket => "socket",
        FileType::Unknown => "unknown",
    }
}

fn content_hash(file: &mut File) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&buffer[..length]);
    }
}

/// Links, pipes and devices are not opened; the system reaches them by a short path, which follows no link at its end.
fn attributes_of_unopened(
    folder: BorrowedFd<'_>,
    name: &std::ffi::CStr,
) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let folder = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let path = Path::new(&folder).join(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let mut all = BTreeMap::new();
    for name in xattr::list(&path)? {
        if let Some(value) = xattr::get(&path, &name)? {
            all.insert(name.into_vec(), value);
        }
    }
    Ok(all)
}

fn attributes(file: &File) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt;
    let mut all = BTreeMap::new();
    for name in file.list_xattr()? {
        if let Some(value) = file.get_xattr(&name)? {
            all.insert(name.into_vec(), value);
        }
    }
    Ok(all)
}

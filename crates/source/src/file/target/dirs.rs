//! The folders of a target: who lies in whom, and which of them are open at the moment.
//!
//! A restore touches folders in the order of the packs, so any of them may be wanted at any time. The table remembers
//! name, parent, device and inode of each; a bounded cache holds descriptors.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Operation, SourceError};
use crate::file::path::{hops, push_component};
use crate::file::stat::{DevIno, FileStat};
use crate::file::xattrs;

/// How many folders stay open; neighbours in a pack mostly lie in the same few.
const OPEN_DIRS_MAX: usize = 128;

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A folder of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetDir(u32);

impl TargetDir {
    pub(super) const ROOT: TargetDir = TargetDir(0);
}

/// A folder that was made or found.
#[derive(Debug)]
pub struct MadeDir {
    /// The folder.
    pub dir: TargetDir,
    /// Its metadata when it was there before.
    pub existing: Option<FileStat>,
}

#[derive(Debug)]
struct DirRecord {
    parent: TargetDir,
    name: Box<[u8]>,
    id: DevIno,
    hands_down_acl: bool,
    /// Kept open: the way to it leads through a link, and is not taken again.
    pinned: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Default)]
struct FdCache {
    open: HashMap<TargetDir, Arc<OwnedFd>>,
    order: VecDeque<TargetDir>,
}

#[derive(Debug)]
pub(super) struct DirTable {
    root: Arc<OwnedFd>,
    // Written once per folder, read for every file: readers must not wait for each other.
    records: RwLock<Vec<DirRecord>>,
    // A mutex: a hit only clones an `Arc`.
    cache: Mutex<FdCache>,
}

impl DirTable {
    pub(super) fn open(root: &Path) -> Result<DirTable, SourceError> {
        let path = root.as_os_str().as_bytes();
        let fail = |errno: Errno| SourceError::new(Operation::Open, path, errno);
        std::fs::create_dir_all(root)
            .map_err(|source| SourceError::new(Operation::Create, path, source))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(fail)?;
        let stat = FileStat::from(rustix::fs::fstat(&fd).map_err(fail)?);
        let record = DirRecord {
            parent: TargetDir::ROOT,
            name: path.into(),
            id: stat.id,
            hands_down_acl: has_default_acl(&fd),
            pinned: None,
        };
        Ok(DirTable {
            root: Arc::new(fd),
            records: RwLock::new(vec![record]),
            cache: Mutex::default(),
        })
    }

    /// Opens a folder that was just made or found, and remembers it.
    pub(super) fn register(
        &self,
        parent: TargetDir,
        name: &[u8],
        is_new: bool,
    ) -> Result<TargetDir, SourceError> {
        let fail =
            |errno: Errno| SourceError::new(Operation::Open, &self.path_of(parent, name), errno);
        let fd =
            rustix::fs::openat(&*self.fd(parent)?, name, DIR_FLAGS, Mode::empty()).map_err(fail)?;
        let stat = FileStat::from(rustix::fs::fstat(&fd).map_err(fail)?);
        let may_hand_down = !is_new || self.hands_down_acl(parent);
        let record = DirRecord {
            parent,
            name: name.into(),
            id: stat.id,
            hands_down_acl: may_hand_down && has_default_acl(&fd),
            pinned: None,
        };
        let dir = self.add(record).map_err(fail)?;
        self.remember(dir, Arc::new(fd));
        Ok(dir)
    }

    /// Opens the folder that a symbolic link leads to, and keeps it open.
    pub(super) fn register_followed(
        &self,
        parent: TargetDir,
        name: &[u8],
    ) -> Result<(TargetDir, FileStat), SourceError> {
        let fail =
            |errno: Errno| SourceError::new(Operation::Open, &self.path_of(parent, name), errno);
        let flags = DIR_FLAGS.difference(OFlags::NOFOLLOW);
        let fd =
            rustix::fs::openat(&*self.fd(parent)?, name, flags, Mode::empty()).map_err(fail)?;
        let stat = FileStat::from(rustix::fs::fstat(&fd).map_err(fail)?);
        let record = DirRecord {
            parent,
            name: name.into(),
            id: stat.id,
            hands_down_acl: has_default_acl(&fd),
            pinned: Some(Arc::new(fd)),
        };
        Ok((self.add(record).map_err(fail)?, stat))
    }

    fn add(&self, record: DirRecord) -> Result<TargetDir, Errno> {
        let mut records = self.records.write();
        let dir = TargetDir(u32::try_from(records.len()).map_err(|_| Errno::OVERFLOW)?);
        records.push(record);
        Ok(dir)
    }

    /// Whether what is made in the folder inherits an access list.
    pub(super) fn hands_down_acl(&self, dir: TargetDir) -> bool {
        self.records.read()[dir.0 as usize].hands_down_acl
    }

    /// The open descriptor of a folder.
    pub(super) fn fd(&self, dir: TargetDir) -> Result<Arc<OwnedFd>, SourceError> {
        if dir == TargetDir::ROOT {
            return Ok(Arc::clone(&self.root));
        }
        if let Some(fd) = self.cache.lock().open.get(&dir) {
            return Ok(Arc::clone(fd));
        }
        if let Some(fd) = &self.records.read()[dir.0 as usize].pinned {
            return Ok(Arc::clone(fd));
        }
        let fail = |errno: Errno| SourceError::new(Operation::Open, &self.path(dir), errno);
        let fd = self.reopen(dir).map_err(fail)?;
        let stat = FileStat::from(rustix::fs::fstat(&*fd).map_err(fail)?);
        if stat.id != self.records.read()[dir.0 as usize].id {
            return Err(SourceError::words(
                Operation::Open,
                &self.path(dir),
                "the folder was replaced",
            ));
        }
        self.remember(dir, Arc::clone(&fd));
        Ok(fd)
    }

    fn remember(&self, dir: TargetDir, fd: Arc<OwnedFd>) {
        let mut cache = self.cache.lock();
        if cache.open.insert(dir, fd).is_none() {
            cache.order.push_back(dir);
        }
        if cache.open.len() > OPEN_DIRS_MAX
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.open.remove(&oldest);
        }
    }

    /// Opens from the nearest open folder above, in pieces that fit a system call.
    fn reopen(&self, dir: TargetDir) -> Result<Arc<OwnedFd>, Errno> {
        let (mut at, names) = self.nearest_open(dir);
        for hop in hops(names.iter().map(|name| &**name)) {
            at = Arc::new(open_beneath(&at, &hop)?);
        }
        Ok(at)
    }

    /// The nearest open folder above, and the names from there down to `dir`.
    fn nearest_open(&self, dir: TargetDir) -> (Arc<OwnedFd>, Vec<Box<[u8]>>) {
        let records = self.records.read();
        let cache = self.cache.lock();
        let mut names = Vec::new();
        let mut at = dir;
        let fd = loop {
            if at == TargetDir::ROOT {
                break Arc::clone(&self.root);
            }
            if let Some(fd) = cache.open.get(&at) {
                break Arc::clone(fd);
            }
            let record = &records[at.0 as usize];
            if let Some(fd) = &record.pinned {
                break Arc::clone(fd);
            }
            names.push(record.name.clone());
            at = record.parent;
        };
        names.reverse();
        (fd, names)
    }

    /// One folder on each file system that was reached.
    pub(super) fn one_of_each_device(&self) -> Vec<TargetDir> {
        let mut devices = HashSet::new();
        (0..)
            .zip(self.records.read().iter())
            .filter(|(_, record)| devices.insert(record.id.device))
            .map(|(number, _)| TargetDir(number))
            .collect()
    }

    pub(super) fn path(&self, dir: TargetDir) -> Vec<u8> {
        let records = self.records.read();
        let mut names = Vec::new();
        let mut at = dir;
        while at != TargetDir::ROOT {
            let record = &records[at.0 as usize];
            names.push(&record.name);
            at = record.parent;
        }
        let mut path = records[0].name.to_vec();
        for name in names.into_iter().rev() {
            push_component(&mut path, name);
        }
        path
    }

    pub(super) fn path_of(&self, dir: TargetDir, name: &[u8]) -> Vec<u8> {
        let mut path = self.path(dir);
        push_component(&mut path, name);
        path
    }
}

/// Opens a folder some levels down; no link on the way is followed.
fn open_beneath(dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, path, DIR_FLAGS, Mode::empty(), resolve) {
        // Before Linux 5.6, or forbidden by a sandbox that does not know the call: one step at a time.
        Err(Errno::NOSYS | Errno::PERM) => open_stepwise(dir, path),
        result => result,
    }
}

fn open_stepwise(dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    for name in path.split(|byte| *byte == b'/') {
        let from = at.as_ref().map_or(dir.as_fd(), AsFd::as_fd);
        at = Some(rustix::fs::openat(from, name, DIR_FLAGS, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

fn has_default_acl(fd: &OwnedFd) -> bool {
    // Without an answer assume there is one: the cost is one more look at each file.
    xattrs::has_name(fd, b"system.posix_acl_default").unwrap_or(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn folders_far_down_are_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let table = DirTable::open(temp.path()).unwrap();
        let name = [b'n'; 200];
        let mut dirs = vec![TargetDir::ROOT];
        for _ in 0..(OPEN_DIRS_MAX * 2) {
            let parent = *dirs.last().unwrap();
            rustix::fs::mkdirat(&*table.fd(parent).unwrap(), name.as_slice(), Mode::RWXU).unwrap();
            dirs.push(table.register(parent, &name, true).unwrap());
        }
        for dir in &dirs {
            assert!(table.fd(*dir).is_ok());
        }
        assert!(table.cache.lock().open.len() <= OPEN_DIRS_MAX);
        let fd =
            open_stepwise(&table.root, &[name.as_slice(), name.as_slice()].join(&b'/')).unwrap();
        assert_eq!(
            FileStat::from(rustix::fs::fstat(fd).unwrap()).id,
            table.records.read()[2].id
        );
    }

    #[test]
    fn a_link_in_place_of_a_folder_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a/b")).unwrap();
        let table = DirTable::open(temp.path()).unwrap();
        let a = table.register(TargetDir::ROOT, b"a", false).unwrap();
        let b = table.register(a, b"b", false).unwrap();
        *table.cache.lock() = FdCache::default();
        std::fs::rename(temp.path().join("a"), temp.path().join("moved")).unwrap();
        std::os::unix::fs::symlink("moved", temp.path().join("a")).unwrap();
        assert!(table.fd(b).is_err());
        let elsewhere = open_stepwise(&table.root, b"a/b");
        assert!(elsewhere.is_err());
    }
}

//! An open folder: the only way to reach what is in it.
//!
//! A [`Dir`] may give up its file descriptor when many are open and get it back later by its path; it then makes sure,
//! by device and inode, that it is still the same folder. So the number of open descriptors has a bound however deep
//! and wide the tree is, and a folder that is moved away or replaced while it is read is noticed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::path::{PathChain, open_absolute};
use super::stat::{DevIno, FileStat};
use crate::error::{Operation, SourceError};

/// How many folders may keep their descriptor while they wait; the usual limit of a process is 1024 descriptors.
const OPEN_DIRS_MAX: usize = 256;

/// Counts the descriptors that folders hold.
#[derive(Debug, Default)]
pub(crate) struct DirBudget {
    open_count: AtomicUsize,
}

impl DirBudget {
    fn is_spent(&self) -> bool {
        self.open_count.load(Ordering::Relaxed) >= OPEN_DIRS_MAX
    }
}

/// A descriptor that is counted while it is open.
#[derive(Debug)]
struct CountedFd {
    fd: OwnedFd,
    budget: Arc<DirBudget>,
}

impl CountedFd {
    fn new(fd: OwnedFd, budget: &Arc<DirBudget>) -> Arc<CountedFd> {
        budget.open_count.fetch_add(1, Ordering::Relaxed);
        Arc::new(CountedFd {
            fd,
            budget: Arc::clone(budget),
        })
    }
}

impl Drop for CountedFd {
    fn drop(&mut self) {
        self.budget.open_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A borrowed descriptor of a folder; it stays open as long as this lives.
#[derive(Debug)]
pub(crate) struct DirFd(Arc<CountedFd>);

impl std::os::fd::AsFd for DirFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for DirFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.fd.as_raw_fd()
    }
}

/// An open folder.
#[derive(Debug)]
pub struct Dir {
    chain: Arc<PathChain>,
    stat: FileStat,
    flags: OFlags,
    budget: Arc<DirBudget>,
    // A mutex, not a once-cell: the descriptor is taken away and given back many times.
    slot: Mutex<Option<Arc<CountedFd>>>,
}

/// For folders whose entries are listed.
const LIST_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// For folders that are only passed through, which takes less of a right than listing them.
const PASS_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

impl Dir {
    /// Opens a folder by its absolute path, symbolic links followed, to reach what is in it but not to list it.
    pub(crate) fn open_to_pass(path: &[u8], budget: &Arc<DirBudget>) -> Result<Dir, SourceError> {
        Dir::open_with(path, PASS_FLAGS, budget)
    }

    /// Opens a folder by its absolute path, symbolic links followed.
    pub(crate) fn open_path(path: &[u8], budget: &Arc<DirBudget>) -> Result<Dir, SourceError> {
        Dir::open_with(path, LIST_FLAGS, budget)
    }

    fn open_with(path: &[u8], flags: OFlags, budget: &Arc<DirBudget>) -> Result<Dir, SourceError> {
        let fail = |errno: Errno| SourceError::new(Operation::Open, path, errno);
        let fd = open_absolute(path, flags).map_err(fail)?;
        Dir::from_fd(fd, PathChain::absolute(path), flags, budget).map_err(fail)
    }

    /// Opens the folder `name` of this folder; a symbolic link is refused.
    pub fn open_child(&self, name: &[u8]) -> Result<Dir, SourceError> {
        let fail = |errno: Errno| SourceError::new(Operation::Open, &self.chain.join(name), errno);
        let parent = self.fd()?;
        let fd = open_quietly(
            &parent,
            name,
            LIST_FLAGS | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        )
        .map_err(fail)?;
        Dir::from_fd(fd, self.chain.child(name), LIST_FLAGS, &self.budget).map_err(fail)
    }

    fn from_fd(
        fd: OwnedFd,
        chain: Arc<PathChain>,
        flags: OFlags,
        budget: &Arc<DirBudget>,
    ) -> Result<Dir, Errno> {
        let stat = FileStat::from(rustix::fs::fstat(&fd)?);
        let slot = Mutex::new(Some(CountedFd::new(fd, budget)));
        Ok(Dir {
            chain,
            stat,
            flags,
            budget: Arc::clone(budget),
            slot,
        })
    }

    /// The folder's own metadata, taken when it was opened.
    pub fn stat(&self) -> &FileStat {
        &self.stat
    }

    /// Which folder it is.
    pub fn id(&self) -> DevIno {
        self.stat.id
    }

    /// The whole path of an entry, for messages and filters.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        self.chain.join(name)
    }

    /// The whole path of the folder.
    pub fn path(&self) -> Vec<u8> {
        self.chain.to_bytes()
    }

    /// The metadata of an entry, links not followed.
    pub fn stat_child(&self, name: &[u8]) -> Result<FileStat, SourceError> {
        let fd = self.fd()?;
        rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map(FileStat::from)
            .map_err(|errno| SourceError::new(Operation::Stat, &self.path_of(name), errno))
    }

    /// The target of the symbolic link `name`.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, SourceError> {
        let fd = self.fd()?;
        rustix::fs::readlinkat(&fd, name, Vec::new())
            .map(|target| target.into_bytes())
            .map_err(|errno| SourceError::new(Operation::ReadLink, &self.path_of(name), errno))
    }

    /// Closes the descriptor if too many folders hold one. Called when the folder has been listed and only waits.
    pub fn rest(&self) {
        if self.budget.is_spent() {
            self.slot.lock().take();
        }
    }

    /// The open descriptor; opened again, and checked to be the same folder, when it was given up.
    pub(crate) fn fd(&self) -> Result<DirFd, SourceError> {
        let mut slot = self.slot.lock();
        if let Some(fd) = slot.as_ref() {
            return Ok(DirFd(Arc::clone(fd)));
        }
        let fd = CountedFd::new(self.reopen()?, &self.budget);
        if !self.budget.is_spent() {
            *slot = Some(Arc::clone(&fd));
        }
        Ok(DirFd(fd))
    }

    fn reopen(&self) -> Result<OwnedFd, SourceError> {
        let path = self.path();
        let fail = |source: io::Error| SourceError::new(Operation::Open, &path, source);
        let fd = open_absolute(&path, self.flags).map_err(|errno| fail(errno.into()))?;
        let stat = FileStat::from(rustix::fs::fstat(&fd).map_err(|errno| fail(errno.into()))?);
        if stat.id == self.stat.id {
            Ok(fd)
        } else {
            Err(fail(io::Error::other("the folder was replaced")))
        }
    }
}

/// Opens without touching the access time where the system allows that.
pub(crate) fn open_quietly(dir: &DirFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_resting_folder_comes_back_and_a_replaced_one_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("d")).unwrap();
        std::fs::write(temp.path().join("d/f"), "x").unwrap();
        let budget = Arc::new(DirBudget::default());
        let root = Dir::open_path(temp.path().as_os_str().as_bytes(), &budget).unwrap();
        let dir = root.open_child(b"d").unwrap();
        budget
            .open_count
            .fetch_add(OPEN_DIRS_MAX, Ordering::Relaxed);
        dir.rest();
        assert_eq!(dir.stat_child(b"f").unwrap().size_bytes, 1);
        assert_eq!(
            budget.open_count.load(Ordering::Relaxed),
            OPEN_DIRS_MAX + 1,
            "only the root holds one"
        );
        std::fs::rename(temp.path().join("d"), temp.path().join("e")).unwrap();
        std::fs::create_dir(temp.path().join("d")).unwrap();
        let error = dir.stat_child(b"f").unwrap_err();
        assert_eq!(error.operation, Operation::Open);
    }

    #[test]
    fn a_symbolic_link_is_not_a_folder() {
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", temp.path().join("l")).unwrap();
        let budget = Arc::new(DirBudget::default());
        let root = Dir::open_path(temp.path().as_os_str().as_bytes(), &budget).unwrap();
        assert!(root.open_child(b"l").is_err());
        assert_eq!(root.read_link(b"l").unwrap(), b"/");
    }
}

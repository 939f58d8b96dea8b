//! The root of a local folder: which folder it is, who may make it, and how what lies in it is made durable.
//!
//! Every name is resolved from a descriptor of the root. [`Root::to_read`] opens the root anew until something was
//! written; [`Root::to_write`] opens it once and keeps it, so that a file system which is unmounted meanwhile is never
//! mistaken for the folder that it was mounted on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Opens a folder to resolve names in it, which takes no right to list it.
const ROOT_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// What a sync is asked to make durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Synced {
    /// The content of a file, and what is needed to find it by its name.
    Content,
    /// The names in a folder.
    Names,
}

/// The system call behind every sync. Tests put another one in its place, to see which there are and to let them fail.
pub(super) type SyncCall = fn(BorrowedFd<'_>, Synced) -> Result<(), Errno>;

/// The real one.
fn sync_call(descriptor: BorrowedFd<'_>, what: Synced) -> Result<(), Errno> {
    match what {
        Synced::Content => rustix::fs::fdatasync(descriptor),
        Synced::Names => rustix::fs::fsync(descriptor),
    }
}

#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// Device and inode of the folder that was used first.
    seen: OnceLock<(u64, u64)>,
    /// Set by the first write.
    pinned: OnceLock<Arc<OwnedFd>>,
    pub(super) sync_call: SyncCall,
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: OnceLock::new(),
            pinned: OnceLock::new(),
            sync_call,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The root to read from: the pinned one, or else what is there now.
    pub(super) fn to_read(&self) -> io::Result<Arc<OwnedFd>> {
        if let Some(pinned) = self.pinned.get() {
            return Ok(Arc::clone(pinned));
        }
        let root = self.open_now()?;
        self.seen.get_or_init(|| root.1);
        Ok(root.0)
    }

    /// The root to write to. Not found when it is another folder than the one that was read before.
    pub(super) fn to_write(&self) -> io::Result<Pinned> {
        let pinned = |root: &Arc<OwnedFd>| Pinned {
            root: Arc::clone(root),
            sync_call: self.sync_call,
        };
        if let Some(root) = self.pinned.get() {
            return Ok(pinned(root));
        }
        let (root, identity) = self.open_now()?;
        if *self.seen.get_or_init(|| identity) != identity {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "another folder has taken the place of the storage; was it unmounted?",
            ));
        }
        // Two threads may come here at once; both have the same folder, and the first descriptor is kept.
        Ok(pinned(self.pinned.get_or_init(|| root)))
    }

    fn open_now(&self) -> io::Result<(Arc<OwnedFd>, (u64, u64))> {
        let root = rustix::fs::openat(CWD, &self.path, ROOT_FLAGS, Mode::empty())?;
        let stat = rustix::fs::fstat(&root)?;
        Ok((Arc::new(root), (stat.st_dev, stat.st_ino)))
    }

    /// Makes the root and the folders above it, each durable in the folder that holds it.
    pub(super) fn create(&self) -> io::Result<()> {
        let missing: Vec<&Path> = self
            .path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir())
            .collect();
        for path in missing.into_iter().rev() {
            make_folder(CWD, path)?;
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            sync_names(self.sync_call, CWD, parent)?;
        }
        Ok(())
    }
}

/// The root while it is written to.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    root: Arc<OwnedFd>,
    sync_call: SyncCall,
}

impl AsFd for Pinned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Pinned {
    /// Creates a folder and those above it, each made durable in the folder that holds it. One that exists may have
    /// been made by a process that died before it could do so.
    pub(super) fn create_folder(&self, folder: &str) -> io::Result<()> {
        let ends = folder.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([folder.len()]) {
            let path = &folder[..end];
            make_folder(self, path)?;
            self.sync_names(folder_of(path))?;
        }
        Ok(())
    }

    /// Renames without ever replacing, and creates the folder of the new name when it is missing. Whether anything of
    /// that is durable, [`Pinned::sync_names`] decides.
    pub(super) fn move_into_place(&self, temporary: &str, name: &str) -> io::Result<()> {
        match self.rename_new(temporary, name) {
            Err(Errno::NOENT) => {
                self.create_folder(folder_of(name))?;
                Ok(self.rename_new(temporary, name)?)
            }
            other => Ok(other?),
        }
    }

    fn rename_new(&self, temporary: &str, name: &str) -> Result<(), Errno> {
        match rustix::fs::renameat_with(self, temporary, self, name, RenameFlags::NOREPLACE) {
            // File systems that cannot do it in one step: a hard link never replaces either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return other,
        }
        match rustix::fs::linkat(self, temporary, self, name, AtFlags::empty()) {
            Ok(()) => {
                self.remove(temporary);
                Ok(())
            }
            Err(error @ (Errno::EXIST | Errno::NOENT)) => Err(error),
            // Without hard links only a check before the rename is left. Names are content hashes or random, so two
            // writers of one name write the same bytes.
            Err(_) if rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() => {
                Err(Errno::EXIST)
            }
            Err(_) => rustix::fs::renameat(self, temporary, self, name),
        }
    }

    /// Removes a temporary file. One that stays costs space until the next sweep.
    pub(super) fn remove(&self, temporary: &str) {
        let _ = rustix::fs::unlinkat(self, temporary, AtFlags::empty());
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_names(&self, folder: &str) -> io::Result<()> {
        sync_names(self.sync_call, self, Path::new(folder))
    }

    /// Makes the content of a file durable.
    pub(super) fn sync_content(&self, file: &File) -> io::Result<()> {
        sync(self.sync_call, file.as_fd(), Synced::Content)
    }
}

/// The folder of a name, as a path from the root.
pub(super) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

fn make_folder(at: impl AsFd, path: impl rustix::path::Arg) -> io::Result<()> {
    match rustix::fs::mkdirat(at, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sync_names(call: SyncCall, at: impl AsFd, folder: &Path) -> io::Result<()> {
    let folder = rustix::fs::openat(at, folder, FOLDER_FLAGS, Mode::empty())?;
    sync(call, folder.as_fd(), Synced::Names)
}

fn sync(call: SyncCall, descriptor: BorrowedFd<'_>, what: Synced) -> io::Result<()> {
    match call(descriptor, what) {
        // Some network file systems cannot sync (a folder, mostly); there the server answers for it.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

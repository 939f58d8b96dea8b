//! A folder of a local or mounted file system.
//!
//! A put is: a temporary file below `tmp/`, held under `flock` while it is written; `fsync`; a rename that never
//! replaces; `fsync` of the folder. A reader therefore sees a whole file or none, after a power cut too. A temporary
//! file whose lock can be had, and which a dead process of this host or nobody for a day has written to, is removed at
//! the first put of the next one (`temporary`).
//!
//! Why a vault that is unmounted while it is used is not built anew on the file system below: only
//! [`Storage::create_folders`] makes the root; the first write pins the root by its descriptor, provided it is still
//! the folder that was read before, and from then on every name is resolved from there. Who only reads pins nothing,
//! so that a vault which is open for browsing can be unmounted.

mod root;
mod temporary;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use self::root::{Pinned, Root, folder_of};
use crate::error::{ErrorKind, Operation, StorageError};
use crate::name::{check_folder, check_name};
use crate::{Listed, Storage, Upload};

/// Where temporary files live. Readers of the vault format look at known folders only, so the name is free.
const TEMPORARY: &str = "tmp";
/// Names tried for a temporary file before giving up; each is random, so more than one try is already rare.
const TEMPORARY_TRIES: usize = 16;

/// Read at once from each of two files that are compared.
const COMPARE_BYTES: usize = 64 << 10;

/// Not waiting: where a pipe lies in the place of a file, nobody may ever open its other end.
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);
const LIST_FLAGS: OFlags = READ_FLAGS.union(OFlags::DIRECTORY);
const CREATE_FLAGS: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::RDWR)
    .union(OFlags::CLOEXEC);

/// A storage whose names are files below one folder.
#[derive(Debug)]
pub struct LocalFolder {
    root: Root,
    /// The sweep of dead temporary files is done once, by the first put: reading never writes.
    sweep: Once,
}

impl LocalFolder {
    /// Uses the folder `root`, which [`Storage::create_folders`] makes when it is missing, and nothing else does.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Root::new(root.into()),
            sweep: Once::new(),
        }
    }

    fn open(&self, operation: Operation, name: &str) -> Result<File, StorageError> {
        check_name(operation, name)?;
        let open = || -> std::io::Result<OwnedFd> {
            let root = self.root.to_read()?;
            let file = rustix::fs::openat(&*root, name, READ_FLAGS, Mode::empty())?;
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
            if kind == FileType::RegularFile {
                return Ok(file);
            }
            Err(std::io::Error::other("this is no regular file"))
        };
        open()
            .map(File::from)
            .map_err(|error| StorageError::io(operation, name, error))
    }

    /// A new temporary file that no sweep will take away.
    fn temporary(&self, root: &Pinned) -> std::io::Result<(String, File)> {
        for _ in 0..TEMPORARY_TRIES {
            let name = temporary::new_name();
            let opened = rustix::fs::openat(root, &name, CREATE_FLAGS, Mode::RUSR | Mode::WUSR);
            let file = match opened {
                Ok(descriptor) => File::from(descriptor),
                Err(Errno::NOENT) => {
                    root.create_folder(TEMPORARY)?;
                    continue;
                }
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // File systems without flock are written to all the same; there is no sweep there. One by a former version
            // of this program takes whatever it can lock, and might have come before the lock.
            let held = !matches!(locked, Err(Errno::WOULDBLOCK));
            if held && rustix::fs::fstat(&file)?.st_nlink > 0 {
                self.sweep
                    .call_once(|| temporary::sweep(root.as_fd(), &file));
                return Ok((name, file));
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists))
    }

    fn put_new(&self, root: &Pinned, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let (temporary, mut file) = self.temporary(root)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| root.sync_content(&file))
            .and_then(|()| root.move_into_place(&temporary, name));
        if written.is_err() {
            root.remove(&temporary);
        }
        written?;
        root.sync_names(folder_of(name))
    }
}

impl Storage for LocalFolder {
    fn location(&self) -> String {
        self.root.path().display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        check_name(Operation::Put, name)?;
        let failed = |error| StorageError::io(Operation::Put, name, error);
        let root = self.root.to_write().map_err(failed)?;
        match self.put_new(&root, name, bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let length_bytes = bytes.len() as u64;
                let is_same = self.size(name)? == length_bytes
                    && self.get_at_most(name, length_bytes)? == bytes;
                if is_same {
                    // It may have been written by a process that died before its folder was synced.
                    root.sync_names(folder_of(name)).map_err(failed)
                } else {
                    Err(failed(error))
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let file = self.open(Operation::Get, name)?;
        let failed = |error| StorageError::io(Operation::Get, name, error);
        let size_bytes = file.metadata().map_err(failed)?.len();
        let too_large = |size_bytes| Err(StorageError::too_large(name, size_bytes, limit_bytes));
        if size_bytes > limit_bytes {
            return too_large(size_bytes);
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(size_bytes).unwrap_or(usize::MAX))
            .map_err(|error| failed(std::io::Error::other(error)))?;
        // One byte more than there may be: it may grow while it is read.
        file.take(limit_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        match bytes.len() as u64 {
            size_bytes if size_bytes > limit_bytes => too_large(size_bytes),
            _ => Ok(bytes),
        }
    }

    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let file = self.open(Operation::GetRange, name)?;
        let failed = |error| StorageError::io(Operation::GetRange, name, error);
        // The length may come from a damaged file: ask the disk before memory is taken.
        let stored_bytes = file.metadata().map_err(failed)?.len();
        if offset
            .checked_add(length_bytes as u64)
            .is_none_or(|end| end > stored_bytes)
        {
            return Err(StorageError::new(
                ErrorKind::Corrupt,
                Operation::GetRange,
                name,
            ));
        }
        let mut bytes = vec![0; length_bytes];
        file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        check_name(Operation::Size, name)?;
        let stat = || -> std::io::Result<u64> {
            let root = self.root.to_read()?;
            let stat = rustix::fs::statat(&*root, name, AtFlags::empty())?;
            Ok(u64::try_from(stat.st_size).unwrap_or(0))
        };
        stat().map_err(|error| StorageError::io(Operation::Size, name, error))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        check_folder(folder)?;
        let failed = |error| StorageError::io(Operation::List, folder, error);
        let root = self.root.to_read().map_err(failed)?;
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(name) = folders.pop() {
            list_one(root.as_fd(), &name, &mut found, &mut folders).map_err(failed)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        check_name(Operation::Delete, name)?;
        let delete = || -> std::io::Result<()> {
            let root = self.root.to_write()?;
            rustix::fs::unlinkat(&root, name, AtFlags::empty())?;
            root.sync_names(folder_of(name))
        };
        delete().map_err(|error| StorageError::io(Operation::Delete, name, error))
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        let failed = |error| StorageError::io(Operation::Put, "", error);
        self.root.create().map_err(failed)?;
        let root = self.root.to_write().map_err(failed)?;
        let mut parents = BTreeSet::new();
        for folder in folders {
            check_name(Operation::Put, folder)?;
            let failed = |error| StorageError::io(Operation::Put, folder.as_str(), error);
            match rustix::fs::mkdirat(&root, folder, Mode::RWXU) {
                // One that is there may have been made by a process that died before it was durable.
                Ok(()) | Err(Errno::EXIST) => {
                    parents.insert(folder_of(folder));
                }
                Err(Errno::NOENT) => root.create_folder(folder).map_err(failed)?,
                Err(error) => return Err(failed(error.into())),
            }
        }
        // One sync for all folders made in the same parent.
        parents
            .into_iter()
            .try_for_each(|parent| root.sync_names(parent))
            .map_err(failed)
    }

    fn sync_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        for folder in folders {
            check_folder(folder)?;
            let sync = || -> std::io::Result<()> {
                let root = self.root.to_write()?;
                let path = if folder.is_empty() { "." } else { folder };
                match root.sync_names(path) {
                    // It holds no names, then.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    other => other,
                }
            };
            sync().map_err(|error| StorageError::io(Operation::Sync, folder.as_str(), error))?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        let begin = || -> std::io::Result<LocalUpload> {
            let root = self.root.to_write()?;
            let (temporary, file) = self.temporary(&root)?;
            Ok(LocalUpload {
                root,
                temporary,
                file,
                is_named: false,
            })
        };
        match begin() {
            Ok(upload) => Ok(Some(Box::new(upload))),
            Err(error) => Err(StorageError::io(Operation::Put, TEMPORARY, error)),
        }
    }

    fn local_root(&self) -> Option<&Path> {
        Some(self.root.path())
    }
}

/// A temporary file that gets its name when it is whole.
#[derive(Debug)]
struct LocalUpload {
    root: Pinned,
    temporary: String,
    file: File,
    is_named: bool,
}

impl Upload for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file
            .write_all(bytes)
            .map_err(|error| StorageError::io(Operation::Put, TEMPORARY, error))
    }

    fn finish(mut self: Box<Self>, name: &str) -> Result<(), StorageError> {
        check_name(Operation::Put, name)?;
        let failed = |error| StorageError::io(Operation::Put, name, error);
        let placed = self
            .root
            .sync_content(&self.file)
            .and_then(|()| self.root.move_into_place(&self.temporary, name));
        match placed {
            Ok(()) => self.is_named = true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if !is_same_content(&self.root, &self.temporary, name).map_err(failed)? {
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
        self.root.sync_names(folder_of(name)).map_err(failed)
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if !self.is_named {
            self.root.remove(&self.temporary);
        }
    }
}

fn is_same_content(root: &Pinned, one: &str, other: &str) -> std::io::Result<bool> {
    let open = |name: &str| -> std::io::Result<File> {
        let descriptor = rustix::fs::openat(root, name, READ_FLAGS, Mode::empty())?;
        Ok(File::from(descriptor))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let mut buffers = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let read_bytes = one.read(&mut buffers.0)?;
        if read_bytes == 0 {
            return Ok(true);
        }
        other.read_exact(&mut buffers.1[..read_bytes])?;
        if buffers.0[..read_bytes] != buffers.1[..read_bytes] {
            return Ok(false);
        }
    }
}

/// Adds the files of one folder to `found` and its folders to `folders`. A folder that is gone is empty.
fn list_one(
    root: BorrowedFd<'_>,
    name: &str,
    found: &mut Vec<Listed>,
    folders: &mut Vec<String>,
) -> std::io::Result<()> {
    let path = if name.is_empty() { "." } else { name };
    let folder = match rustix::fs::openat(root, path, LIST_FLAGS, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        // Names that are not text are not ours: every name we write is hexadecimal.
        let Ok(file_name) = entry.file_name().to_str() else {
            continue;
        };
        let child = match name {
            _ if matches!(file_name, "." | "..") => continue,
            "" if file_name == TEMPORARY => continue,
            "" => file_name.to_owned(),
            _ => format!("{name}/{file_name}"),
        };
        if entry.file_type() == FileType::Directory {
            folders.push(child);
            continue;
        }
        match rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            // A file system that does not tell the kinds of entries.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                folders.push(child);
            }
            Ok(stat) => found.push(Listed {
                name: child,
                size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            }),
            // Removed since the folder was read: locks come and go.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

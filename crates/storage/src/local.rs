//! A folder of a local or mounted file system.
//!
//! A put is: a temporary file below `tmp/`, held under `flock` while it is written; `fsync`; a rename that never
//! replaces; `fsync` of the folder. A reader therefore sees a whole file or none, after a power cut too. A temporary
//! file whose lock can be had belongs to a dead process and is removed at the first put of the next one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{ErrorKind, Operation, StorageError};
use crate::name::{check_folder, check_name};
use crate::{Listed, Storage, Upload};

/// Where temporary files live. Readers of the vault format look at known folders only, so the name is free.
const TEMPORARY: &str = "tmp";
/// Names tried for a temporary file before giving up; each is random, so more than one try is already rare.
const TEMPORARY_TRIES: usize = 16;
/// Read at once from each of two files that are compared.
const COMPARE_BYTES: usize = 64 << 10;

/// A storage whose names are files below one folder.
#[derive(Debug)]
pub struct LocalFolder {
    root: PathBuf,
    /// The sweep of dead temporary files is done once, by the first put: reading never writes.
    sweep: Once,
}

impl LocalFolder {
    /// Uses the folder `root`, which the first put creates when it is missing.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            sweep: Once::new(),
        }
    }

    fn path(&self, operation: Operation, name: &str) -> Result<PathBuf, StorageError> {
        check_name(operation, name)?;
        Ok(self.root.join(name))
    }

    fn open(&self, operation: Operation, name: &str) -> Result<File, StorageError> {
        let path = self.path(operation, name)?;
        File::open(path).map_err(|error| StorageError::io(operation, name, error))
    }

    /// Removes temporary files of dead processes. Failures are left alone: they cost space, not safety.
    fn sweep_dead_temporary_files(&self) {
        let Ok(entries) = std::fs::read_dir(self.root.join(TEMPORARY)) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // The lock is still held while the name goes, so a writer that just made the file sees, once it has
                // the lock, that its file has no name any more, and takes another.
                drop(std::fs::remove_file(&path));
            }
        }
    }

    /// A new temporary file that no sweep will take away.
    fn temporary(&self) -> std::io::Result<(PathBuf, File)> {
        self.sweep.call_once(|| self.sweep_dead_temporary_files());
        let folder = self.root.join(TEMPORARY);
        for _ in 0..TEMPORARY_TRIES {
            let path = folder.join(format!("{:032x}", rand::random::<u128>()));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let opened = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
            let file = match opened {
                Ok(descriptor) => File::from(descriptor),
                Err(Errno::NOENT) => {
                    create_folder(&folder)?;
                    continue;
                }
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // File systems without flock are written to all the same; only the sweep is less certain there.
            let held = !matches!(locked, Err(Errno::WOULDBLOCK));
            if held && rustix::fs::fstat(&file)?.st_nlink > 0 {
                return Ok((path, file));
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists))
    }

    fn put_at(&self, target: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let (temporary, mut file) = self.temporary()?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_data())
            .and_then(|()| move_into_place(&temporary, target));
        if written.is_err() {
            drop(std::fs::remove_file(&temporary));
        }
        written?;
        sync_folder(target.parent().unwrap_or(&self.root))
    }
}

impl Storage for LocalFolder {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let target = self.path(Operation::Put, name)?;
        match self.put_at(&target, bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if self.get(name)? == bytes {
                    // It may have been written by a process that died before its folder was synced.
                    sync_folder(target.parent().unwrap_or(&self.root))
                        .map_err(|error| StorageError::io(Operation::Put, name, error))
                } else {
                    Err(StorageError::io(Operation::Put, name, error))
                }
            }
            Err(error) => Err(StorageError::io(Operation::Put, name, error)),
        }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        let path = self.path(Operation::Get, name)?;
        std::fs::read(path).map_err(|error| StorageError::io(Operation::Get, name, error))
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
        let path = self.path(Operation::Size, name)?;
        std::fs::metadata(path)
            .map(|metadata| metadata.len())
            .map_err(|error| StorageError::io(Operation::Size, name, error))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        check_folder(folder)?;
        let failed = |error| StorageError::io(Operation::List, folder, error);
        if !std::fs::metadata(&self.root).map_err(failed)?.is_dir() {
            return Err(StorageError::message(
                ErrorKind::NotFound,
                Operation::List,
                folder,
                "the storage is not a folder",
            ));
        }
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(name) = folders.pop() {
            self.list_one(&name, &mut found, &mut folders)
                .map_err(failed)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(Operation::Delete, name)?;
        let failed = |error| StorageError::io(Operation::Delete, name, error);
        std::fs::remove_file(&path).map_err(failed)?;
        sync_folder(path.parent().unwrap_or(&self.root)).map_err(failed)
    }

    fn create_folders(&self, folders: &[String]) -> Result<(), StorageError> {
        let mut parents = BTreeSet::new();
        for folder in folders {
            let path = self.path(Operation::Put, folder)?;
            let failed = |error| StorageError::io(Operation::Put, folder.as_str(), error);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {
                    parents.extend(path.parent().map(Path::to_path_buf));
                }
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => create_folder(&path).map_err(failed)?,
                Err(error) => return Err(failed(error.into())),
            }
        }
        // One sync for all folders made in the same parent.
        for parent in parents {
            sync_folder(&parent).map_err(|error| StorageError::io(Operation::Put, "", error))?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        let (path, file) = self
            .temporary()
            .map_err(|error| StorageError::io(Operation::Put, TEMPORARY, error))?;
        Ok(Some(Box::new(LocalUpload {
            root: self.root.clone(),
            path,
            file,
            is_named: false,
        })))
    }

    fn local_root(&self) -> Option<&Path> {
        Some(&self.root)
    }
}

/// A temporary file that gets its name when it is whole.
#[derive(Debug)]
struct LocalUpload {
    root: PathBuf,
    path: PathBuf,
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
        let target = self.root.join(name);
        let failed = |error| StorageError::io(Operation::Put, name, error);
        let placed = self
            .file
            .sync_data()
            .and_then(|()| move_into_place(&self.path, &target));
        match placed {
            Ok(()) => self.is_named = true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if !is_same_content(&self.path, &target).map_err(failed)? {
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
        sync_folder(target.parent().unwrap_or(&self.root)).map_err(failed)
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if !self.is_named {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn is_same_content(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
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

impl LocalFolder {
    /// Adds the files of one folder to `found` and its folders to `folders`. A folder that is gone is empty.
    fn list_one(
        &self,
        name: &str,
        found: &mut Vec<Listed>,
        folders: &mut Vec<String>,
    ) -> std::io::Result<()> {
        let entries = match std::fs::read_dir(self.root.join(name)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            // Names that are not text are not ours: every name we write is hexadecimal.
            let Ok(file_name) = entry.file_name().into_string() else {
                continue;
            };
            let child = match name {
                "" if file_name == TEMPORARY => continue,
                "" => file_name,
                _ => format!("{name}/{file_name}"),
            };
            if entry.file_type()?.is_dir() {
                folders.push(child);
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => found.push(Listed {
                    name: child,
                    size_bytes: metadata.len(),
                }),
                // Removed since the folder was read: locks come and go.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Renames without ever replacing; creates the folder of the target when it is missing.
fn move_into_place(temporary: &Path, target: &Path) -> std::io::Result<()> {
    match rename_new(temporary, target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = target.parent() {
                create_folder(folder)?;
            }
            rename_new(temporary, target)
        }
        other => other,
    }
}

fn rename_new(temporary: &Path, target: &Path) -> std::io::Result<()> {
    match rustix::fs::renameat_with(CWD, temporary, CWD, target, RenameFlags::NOREPLACE) {
        // File systems that cannot do it in one step: a hard link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        other => return other.map_err(Into::into),
    }
    match std::fs::hard_link(temporary, target) {
        Ok(()) => {
            drop(std::fs::remove_file(temporary));
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(error),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(error),
        // Without hard links only a check before the rename is left. Names are content hashes or random, so two
        // writers of one name write the same bytes.
        Err(_) if target.symlink_metadata().is_ok() => {
            Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists))
        }
        Err(_) => std::fs::rename(temporary, target),
    }
}

/// Creates a folder and those above it, each made durable in the folder that holds it.
fn create_folder(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir())
        .collect();
    for path in missing.into_iter().rev() {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent)?,
            _ => sync_folder(Path::new("."))?,
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    let descriptor = rustix::fs::open(
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    match rustix::fs::fsync(descriptor.as_fd()) {
        // Some network file systems cannot sync a folder; there the server answers for it.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs::File;

    use super::{LocalFolder, TEMPORARY};
    use crate::{ErrorKind, Storage};

    fn temporary_files(root: &std::path::Path) -> usize {
        std::fs::read_dir(root.join(TEMPORARY)).unwrap().count()
    }

    #[test]
    fn dead_temporary_files_are_swept_and_live_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let tmp = folder.path().join(TEMPORARY);
        std::fs::create_dir(&tmp).unwrap();
        std::fs::write(tmp.join("dead"), b"x").unwrap();
        let live = File::create(tmp.join("live")).unwrap();
        rustix::fs::flock(&live, rustix::fs::FlockOperation::LockExclusive).unwrap();
        LocalFolder::new(folder.path()).put("a", b"1").unwrap();
        assert!(tmp.join("live").exists());
        assert!(!tmp.join("dead").exists());
        assert_eq!(temporary_files(folder.path()), 1);
    }

    #[test]
    fn reading_creates_nothing_and_a_lost_root_is_not_empty() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("gone");
        let storage = LocalFolder::new(&root);
        assert_eq!(storage.list("data").unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(storage.get("config").unwrap_err().kind, ErrorKind::NotFound);
        assert!(!root.exists());
        storage.put("data/ab/x", b"1").unwrap();
        assert_eq!(storage.list("data").unwrap().len(), 1);
        assert_eq!(temporary_files(&root), 0);
    }

    #[test]
    fn an_upload_is_a_put_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalFolder::new(folder.path());
        let upload = |pieces: &[&[u8]], name: Option<&str>| {
            let mut upload = storage.begin().unwrap().unwrap();
            for piece in pieces {
                upload.write(piece).unwrap();
            }
            name.map_or(Ok(()), |name| upload.finish(name))
        };
        upload(&[b"ab", b"", b"c"], Some("data/1")).unwrap();
        assert_eq!(storage.get("data/1").unwrap(), b"abc");
        upload(&[b"abc"], Some("data/1")).unwrap();
        for other in [&b"abd"[..], b"ab", b"abcd"] {
            let error = upload(&[other], Some("data/1")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::AlreadyExists);
        }
        assert!(upload(&[b"x"], Some("../x")).is_err());
        upload(&[b"dropped"], None).unwrap();
        assert_eq!(storage.get("data/1").unwrap(), b"abc");
        assert_eq!(temporary_files(folder.path()), 0);
    }

    #[test]
    fn a_refused_put_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalFolder::new(folder.path());
        storage.put("a", b"1").unwrap();
        assert_eq!(
            storage.put("a", b"2").unwrap_err().kind,
            ErrorKind::AlreadyExists
        );
        // A file where a folder is needed.
        assert_eq!(
            storage.put("a/b", b"2").unwrap_err().kind,
            ErrorKind::NotFound
        );
        assert_eq!(temporary_files(folder.path()), 0);
        assert_eq!(storage.get("a").unwrap(), b"1");
    }
}

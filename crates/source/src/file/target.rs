//! Writing files back below a root folder that can never be left.
//!
//! Every name is one component, checked by [`is_plain_name`], and is resolved against the descriptor of its folder with
//! `O_NOFOLLOW`. A folder whose descriptor was closed is opened again without following any link and must still be the
//! same device and inode. So whatever a snapshot says and whoever changes the target at the same time, nothing outside
//! is created, changed or followed.
//!
//! Content of a file that takes the place of another is written under a temporary name and moved over it when it is
//! whole, so that the old content is never half gone and hard links of the old file keep theirs.
//!
//! Parts: `dirs` (folders and their descriptors), [`files`] (content, holes), `metadata` (owner, attributes, mode,
//! times).

mod dirs;
pub mod files;
mod metadata;
mod staging;

use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

pub use dirs::{MadeDir, TargetDir};
pub use files::TargetFile;
pub use metadata::TargetMetadata;
pub use staging::StagingScope;

use self::dirs::DirTable;
use self::metadata::Setting;
use self::staging::Staging;
use super::path::is_plain_name;
use super::stat::{FileKind, FileStat};
use crate::error::{Operation, SourceError};

/// What to do when something else has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTheWay {
    /// It is an error.
    Refuse,
    /// It is replaced, unless it is a folder with something in it.
    Replace,
}

/// A thing that is neither file nor folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special<'a> {
    /// A symbolic link to these bytes.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A block device of this number.
    BlockDevice(u64),
    /// A character device of this number.
    CharDevice(u64),
}

/// A root folder to restore below.
#[derive(Debug)]
pub struct FileTarget {
    dirs: DirTable,
    open_files: files::OpenFiles,
    is_superuser: bool,
    staging: Staging,
}

impl FileTarget {
    /// Opens the root, which is made when it is not there. Links on the way to the root itself are followed.
    pub fn open(root: &Path) -> Result<FileTarget, SourceError> {
        Ok(FileTarget {
            dirs: DirTable::open(root)?,
            open_files: files::OpenFiles::default(),
            is_superuser: rustix::process::geteuid().is_root(),
            staging: Staging::new("", StagingScope::Replacing),
        })
    }

    /// The same, making things under names of their own until they are whole. `id` is that of the restore: attempts of
    /// one restore have the same, and clear away what former ones left; no two restores that run at once may.
    #[must_use]
    pub fn staged(mut self, id: &str, scope: StagingScope) -> FileTarget {
        self.staging = Staging::new(id, scope);
        self
    }

    /// Fails when the file system of the root cannot be written.
    pub fn ensure_writable(&self) -> Result<(), SourceError> {
        let root = TargetDir::ROOT;
        let flags = rustix::fs::fstatvfs(&*self.dirs.fd(root)?).map(|stat| stat.f_flag);
        match flags {
            Ok(flags) if flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) => Err(
                SourceError::new(Operation::Create, &self.dirs.path(root), Errno::ROFS),
            ),
            // One that does not tell says so when it is written to.
            _ => Ok(()),
        }
    }

    /// The root.
    pub fn root(&self) -> TargetDir {
        TargetDir::ROOT
    }

    /// The whole path of an entry, for messages.
    pub fn path_of(&self, dir: TargetDir, name: &[u8]) -> Vec<u8> {
        self.dirs.path_of(dir, name)
    }

    /// What has the name already.
    pub fn existing(&self, dir: TargetDir, name: &[u8]) -> Result<Option<FileStat>, SourceError> {
        self.check_name(dir, name)?;
        match rustix::fs::statat(&*self.dirs.fd(dir)?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileStat::from(stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail(Operation::Stat, dir, name, errno)),
        }
    }

    /// Makes a folder, or takes the one that is there. A symbolic link in the way is always refused: it may lead
    /// anywhere, and what lies behind it must stay reachable.
    pub fn make_dir(
        &self,
        parent: TargetDir,
        name: &[u8],
        in_the_way: InTheWay,
    ) -> Result<MadeDir, SourceError> {
        self.check_name(parent, name)?;
        let fd = self.dirs.fd(parent)?;
        let existing = match rustix::fs::mkdirat(&*fd, name, Mode::RWXU) {
            Ok(()) => None,
            Err(Errno::EXIST) => match self.existing(parent, name)? {
                Some(stat) if stat.kind == FileKind::Dir => Some(stat),
                Some(stat) if stat.kind == FileKind::Symlink || in_the_way == InTheWay::Refuse => {
                    return Err(self.words(
                        Operation::Create,
                        parent,
                        name,
                        "something that is no folder is in the way",
                    ));
                }
                _ => {
                    self.remove(parent, name, None)?;
                    rustix::fs::mkdirat(&*fd, name, Mode::RWXU)
                        .map_err(|errno| self.fail(Operation::Create, parent, name, errno))?;
                    None
                }
            },
            Err(errno) => return Err(self.fail(Operation::Create, parent, name, errno)),
        };
        let dir = self.dirs.register(parent, name, existing.is_none())?;
        Ok(MadeDir { dir, existing })
    }

    /// As [`FileTarget::make_dir`], but a symbolic link to a folder is followed, once: the folder that it leads to now is
    /// the one that is written to. For folders above what was protected, where links are part of the host (`/home`
    /// often is one) and the path that was asked for goes through them.
    pub fn make_way(
        &self,
        parent: TargetDir,
        name: &[u8],
        in_the_way: InTheWay,
    ) -> Result<MadeDir, SourceError> {
        match self.existing(parent, name)? {
            Some(stat) if stat.kind == FileKind::Symlink => {
                let (dir, stat) = self.dirs.register_followed(parent, name)?;
                Ok(MadeDir {
                    dir,
                    existing: Some(stat),
                })
            }
            _ => self.make_dir(parent, name, in_the_way),
        }
    }

    /// Sets the metadata of a folder, after everything below it is done. Returns what could not be set.
    pub fn finish_dir(&self, dir: TargetDir, metadata: &TargetMetadata<'_>) -> Vec<SourceError> {
        match self.dirs.fd(dir) {
            Ok(fd) => {
                let path = self.dirs.path(dir);
                let setting = Setting {
                    is_superuser: self.is_superuser,
                    may_have_xattrs: true,
                    given: None,
                };
                metadata::apply_fd(&*fd, &path, metadata, setting)
            }
            Err(error) => vec![error],
        }
    }

    /// Makes a link, pipe or device with its metadata. `Ok` lists the metadata that could not be set.
    pub fn make_special(
        &self,
        dir: TargetDir,
        name: &[u8],
        special: Special<'_>,
        metadata: &TargetMetadata<'_>,
        in_the_way: InTheWay,
    ) -> Result<Vec<SourceError>, SourceError> {
        self.check_name(dir, name)?;
        let fd = self.dirs.fd(dir)?;
        let private = Mode::RUSR | Mode::WUSR;
        let make = |name: &[u8]| match special {
            Special::Symlink(target) => rustix::fs::symlinkat(target, &*fd, name),
            Special::Fifo => rustix::fs::mknodat(&*fd, name, FileType::Fifo, private, 0),
            Special::BlockDevice(number) => {
                rustix::fs::mknodat(&*fd, name, FileType::BlockDevice, private, number)
            }
            Special::CharDevice(number) => {
                rustix::fs::mknodat(&*fd, name, FileType::CharacterDevice, private, number)
            }
        };
        let staged = if self.staging.is_for_all {
            if in_the_way == InTheWay::Replace {
                self.remove_dir_in_the_way(dir, name)?;
            }
            let ((), staged) = self.create_staged(dir, name, make)?;
            Some(staged)
        } else {
            self.make_or_replace(dir, name, in_the_way, || make(name))?;
            None
        };
        let is_symlink = matches!(special, Special::Symlink(_));
        let path = self.path_of(dir, name);
        let errors = metadata::apply_at(
            fd.as_raw_fd(),
            &*fd,
            staged.as_deref().unwrap_or(name),
            &path,
            metadata,
            is_symlink,
            Setting {
                is_superuser: self.is_superuser,
                may_have_xattrs: self.dirs.hands_down_acl(dir),
                given: None,
            },
        );
        if let Some(staged) = staged
            && let Err(error) = self.unstage(dir, &staged, name, in_the_way)
        {
            let _ = rustix::fs::unlinkat(&*fd, &*staged, AtFlags::empty());
            return Err(error);
        }
        Ok(errors)
    }

    /// Makes a hard link to a file that this target holds.
    pub fn make_link(
        &self,
        dir: TargetDir,
        name: &[u8],
        (from_dir, from_name): (TargetDir, &[u8]),
        in_the_way: InTheWay,
    ) -> Result<(), SourceError> {
        self.check_name(dir, name)?;
        self.check_name(from_dir, from_name)?;
        let (from, to) = (self.dirs.fd(from_dir)?, self.dirs.fd(dir)?);
        self.make_or_replace(dir, name, in_the_way, || {
            rustix::fs::linkat(&*from, from_name, &*to, name, AtFlags::empty())
        })
    }

    /// Waits until everything that was written below the root is durable, on every file system that it reaches.
    ///
    /// An error means that the system could not write something that it had taken: nothing written since the root was
    /// opened can be relied on.
    pub fn sync(&self) -> Result<(), SourceError> {
        for dir in self.dirs.one_of_each_device() {
            rustix::fs::syncfs(&*self.dirs.fd(dir)?)
                .map_err(|errno| SourceError::new(Operation::Sync, &self.dirs.path(dir), errno))?;
        }
        Ok(())
    }

    fn make_or_replace(
        &self,
        dir: TargetDir,
        name: &[u8],
        in_the_way: InTheWay,
        make: impl Fn() -> Result<(), Errno>,
    ) -> Result<(), SourceError> {
        let result = match make() {
            Err(Errno::EXIST) if in_the_way == InTheWay::Replace => {
                self.remove(dir, name, self.existing(dir, name)?)?;
                make()
            }
            result => result,
        };
        result.map_err(|errno| self.fail(Operation::Create, dir, name, errno))
    }

    /// Removes what is in the way: anything but a folder that holds something.
    fn remove(
        &self,
        dir: TargetDir,
        name: &[u8],
        existing: Option<FileStat>,
    ) -> Result<(), SourceError> {
        let is_dir = existing.is_some_and(|stat| stat.kind == FileKind::Dir);
        let flags = if is_dir {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(&*self.dirs.fd(dir)?, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.fail(Operation::Replace, dir, name, errno)),
        }
    }

    fn check_name(&self, dir: TargetDir, name: &[u8]) -> Result<(), SourceError> {
        if is_plain_name(name) {
            Ok(())
        } else {
            Err(self.words(
                Operation::Create,
                dir,
                name,
                "the name is not a plain name; it could lead out of its folder",
            ))
        }
    }

    fn fail(&self, operation: Operation, dir: TargetDir, name: &[u8], errno: Errno) -> SourceError {
        SourceError::new(operation, &self.path_of(dir, name), errno)
    }

    fn words(&self, operation: Operation, dir: TargetDir, name: &[u8], words: &str) -> SourceError {
        SourceError::words(operation, &self.path_of(dir, name), words)
    }
}

#[cfg(test)]
mod tests;

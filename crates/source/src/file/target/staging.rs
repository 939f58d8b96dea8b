//! Names that things have until they are whole.
//!
//! What is made under its final name can be torn by a kill, and whoever comes next cannot tell it from what was there
//! before the restore. So content that takes the place of another, and on demand everything, is made under a name of
//! its own in the same folder and moved when it is whole, with its metadata. The name follows from the restore and from
//! the final name: an attempt that goes on after a kill finds what the one before it left, and replaces it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::{FileTarget, InTheWay, TargetDir};
use crate::error::{Operation, SourceError};
use crate::file::stat::FileKind;

/// The longest name of the usual file systems.
const LONGEST_NAME_BYTES: usize = 255;

/// What is made under a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagingScope {
    /// Content of files that takes the place of something: the old one is never half gone.
    Replacing,
    /// All files, links, pipes and devices: whatever has its final name is whole.
    Everything,
}

#[derive(Debug)]
pub(super) struct Staging {
    prefix: String,
    pub(super) is_for_all: bool,
}

impl Staging {
    pub(super) fn new(id: &str, scope: StagingScope) -> Staging {
        Staging {
            prefix: format!(".strongroom-{:08x}-", hash(0, id.as_bytes()) >> 32),
            is_for_all: scope == StagingScope::Everything,
        }
    }

    /// The name that the entry `name` has until it is whole.
    fn name(&self, name: &[u8]) -> Box<[u8]> {
        let mut staged = self.prefix.clone().into_bytes();
        if staged.len() + name.len() <= LONGEST_NAME_BYTES {
            staged.extend_from_slice(name);
        } else {
            let (one, other) = (hash(1, name), hash(2, name));
            staged.extend_from_slice(format!("{one:016x}{other:016x}").as_bytes());
        }
        staged.into()
    }
}

/// The standard hash, whose keys are fixed. Another version of it would leave leftovers lie, and harm nothing.
fn hash(seed: u8, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, bytes).hash(&mut hasher);
    hasher.finish()
}

impl FileTarget {
    /// Makes something under the staged name of `name`, in place of a leftover; gives that name.
    pub(super) fn create_staged<T>(
        &self,
        dir: TargetDir,
        name: &[u8],
        create: impl Fn(&[u8]) -> Result<T, Errno>,
    ) -> Result<(T, Box<[u8]>), SourceError> {
        let staged = self.staging.name(name);
        let made = match create(&staged) {
            Err(Errno::EXIST) => {
                self.remove(dir, &staged, None)?;
                create(&staged)
            }
            made => made,
        };
        match made {
            Ok(made) => Ok((made, staged)),
            Err(errno) => Err(self.fail(Operation::Create, dir, name, errno)),
        }
    }

    /// Gives what is whole its final name.
    pub(super) fn unstage(
        &self,
        dir: TargetDir,
        staged: &[u8],
        name: &[u8],
        in_the_way: InTheWay,
    ) -> Result<(), SourceError> {
        let fd = self.dirs.fd(dir)?;
        let moved = match in_the_way {
            InTheWay::Replace => rustix::fs::renameat(&*fd, staged, &*fd, name),
            InTheWay::Refuse => rename_new(&*fd, staged, name),
        };
        moved.map_err(|errno| self.fail(Operation::Replace, dir, name, errno))
    }

    /// Removes an empty folder that has the name, which no rename of something else would replace. Says whether there
    /// was one.
    pub(super) fn remove_dir_in_the_way(
        &self,
        dir: TargetDir,
        name: &[u8],
    ) -> Result<bool, SourceError> {
        match self.existing(dir, name)? {
            Some(stat) if stat.kind == FileKind::Dir => {
                self.remove(dir, name, Some(stat))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Renames without replacing anything.
fn rename_new(dir: impl AsFd, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    let dir = dir.as_fd();
    match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        // File systems that cannot do it in one step: a hard link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        result => return result,
    }
    match rustix::fs::linkat(dir, from, dir, to, AtFlags::empty()) {
        Ok(()) => rustix::fs::unlinkat(dir, from, AtFlags::empty()),
        Err(Errno::EXIST) => Err(Errno::EXIST),
        // Without hard links only a look before the rename is left.
        Err(_) => match rustix::fs::statat(dir, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => rustix::fs::renameat(dir, from, dir, to),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn staged_names_fit_and_follow_from_restore_and_name() {
        let one = Staging::new("r-1", StagingScope::Everything);
        let again = Staging::new("r-1", StagingScope::Replacing);
        let other = Staging::new("r-2", StagingScope::Everything);
        let long = [b'n'; 255];
        let longer = [b'm'; 255];
        for name in [b"a".as_slice(), b"\xff", &long[..200], &long, &longer] {
            let staged = one.name(name);
            assert!(staged.len() <= LONGEST_NAME_BYTES && staged.starts_with(b".strongroom-"));
            assert_eq!(staged, again.name(name));
            assert_ne!(staged, other.name(name));
        }
        assert_ne!(one.name(&long), one.name(&longer));
    }

    #[test]
    fn nothing_is_replaced_by_a_rename_that_may_not() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("a"), "a").unwrap();
        std::fs::write(temp.path().join("b"), "b").unwrap();
        let dir = std::fs::File::open(temp.path()).unwrap();
        assert_eq!(rename_new(&dir, b"a", b"b"), Err(Errno::EXIST));
        assert_eq!(std::fs::read(temp.path().join("b")).unwrap(), b"b");
        rename_new(&dir, b"a", b"c").unwrap();
        assert!(!temp.path().join("a").exists() && temp.path().join("c").exists());
    }
}

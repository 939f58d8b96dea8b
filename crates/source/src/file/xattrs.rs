//! Extended attributes, and with them POSIX access lists, which Linux shows as `system.posix_acl_*`.
//!
//! Files and folders are reached by their descriptor. Symbolic links and devices cannot be opened, so they are reached
//! through `/proc/self/fd/<folder>/<name>`, which is short and resolves the folder no second time.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::dir::Dir;
use crate::error::{Operation, SourceError};

/// Room for most lists and values, so that one system call does.
const FIRST_TRY_BYTES: usize = 1024;
/// The kernel's own limit for a list or a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LIMIT_BYTES: usize = 64 * 1024;

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The whole name, `user.` and the like included.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// The attributes of an entry as far as they could be read.
#[derive(Debug, Default)]
pub struct ReadXattrs {
    /// Those that could be read, sorted by name.
    pub found: Vec<Xattr>,
    /// The first failure: something is missing from `found`.
    pub error: Option<SourceError>,
}

/// The same before it is known of which path it is.
type Partly = (Vec<Xattr>, Option<Errno>);

impl ReadXattrs {
    fn new(partly: Partly, path: impl FnOnce() -> Vec<u8>) -> ReadXattrs {
        let (found, errno) = partly;
        let error = errno.map(|errno| SourceError::new(Operation::Xattr, &path(), errno));
        ReadXattrs { found, error }
    }
}

impl From<SourceError> for ReadXattrs {
    fn from(error: SourceError) -> ReadXattrs {
        ReadXattrs {
            found: Vec::new(),
            error: Some(error),
        }
    }
}

/// The attributes of an entry that is not opened.
pub fn read_at(dir: &Dir, name: &[u8]) -> ReadXattrs {
    let fd = match dir.fd() {
        Ok(fd) => fd,
        Err(error) => return error.into(),
    };
    let partly = match read_path(&proc_path(fd.as_raw_fd(), name)) {
        // Gone, or there is no `/proc` here: the whole path tells which, unless it is too long.
        (_, Some(Errno::NOENT)) => read_path(&dir.path_of(name)),
        partly => partly,
    };
    ReadXattrs::new(partly, || dir.path_of(name))
}

/// The attributes of what a path names, links not followed.
fn read_path(path: &[u8]) -> Partly {
    collect(
        |list| rustix::fs::llistxattr(path, list),
        |name, value| rustix::fs::lgetxattr(path, name, value),
    )
}

/// The attributes of what a path leads to.
fn read_followed(path: &[u8]) -> Partly {
    collect(
        |list| rustix::fs::listxattr(path, list),
        |name, value| rustix::fs::getxattr(path, name, value),
    )
}

/// The attributes of an open folder.
pub fn read_dir(dir: &Dir) -> ReadXattrs {
    let fd = match dir.fd() {
        Ok(fd) => fd,
        Err(error) => return error.into(),
    };
    let partly = match read_fd(&fd) {
        // A folder that was opened only to pass through; its path in `/proc` leads to just that folder.
        (_, Some(Errno::BADF)) => {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            match read_followed(path.as_bytes()) {
                (_, Some(Errno::NOENT)) => read_followed(&dir.path()),
                partly => partly,
            }
        }
        partly => partly,
    };
    ReadXattrs::new(partly, || dir.path())
}

/// The attributes of an open file, whose path is asked for when something fails.
pub(crate) fn read_file(fd: impl AsFd, path: impl FnOnce() -> Vec<u8>) -> ReadXattrs {
    ReadXattrs::new(read_fd(fd), path)
}

fn read_fd(fd: impl AsFd) -> Partly {
    collect(
        |list| rustix::fs::flistxattr(fd.as_fd(), list),
        |name, value| rustix::fs::fgetxattr(fd.as_fd(), name, value),
    )
}

/// Whether an open file or folder has an attribute of this name.
pub(crate) fn has_name(fd: impl AsFd, name: &[u8]) -> Result<bool, Errno> {
    read_names(|list| rustix::fs::flistxattr(fd.as_fd(), list))
        .map(|names| names.iter().any(|other| other == name))
}

/// The path by which the system reaches an entry of an open folder.
pub(crate) fn proc_path(dir: i32, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{dir}/").into_bytes();
    path.extend_from_slice(name);
    path
}

/// Makes the attributes of an open file or folder equal to the wanted ones.
pub(crate) fn apply_fd(fd: impl AsFd, wanted: &[Xattr], remove_others: bool) -> Result<(), Errno> {
    let fd = fd.as_fd();
    if remove_others {
        for stale in stale_names(
            &read_names(|list| rustix::fs::flistxattr(fd, list))?,
            wanted,
        ) {
            rustix::fs::fremovexattr(fd, stale.as_slice())?;
        }
    }
    set_all(wanted, |xattr| {
        rustix::fs::fsetxattr(fd, xattr.name.as_slice(), &xattr.value, XattrFlags::empty())
    })
}

/// As [`apply_fd`] for an entry that cannot be opened.
pub(crate) fn apply_at(
    dir: i32,
    name: &[u8],
    wanted: &[Xattr],
    remove_others: bool,
) -> Result<(), Errno> {
    let path = proc_path(dir, name);
    if remove_others {
        let present = read_names(|list| rustix::fs::llistxattr(path.as_slice(), list))?;
        for stale in stale_names(&present, wanted) {
            rustix::fs::lremovexattr(path.as_slice(), stale.as_slice())?;
        }
    }
    set_all(wanted, |xattr| {
        rustix::fs::lsetxattr(
            path.as_slice(),
            xattr.name.as_slice(),
            &xattr.value,
            XattrFlags::empty(),
        )
    })
}

/// Sets what can be set; returns the first error after having tried all.
fn set_all(wanted: &[Xattr], set: impl Fn(&Xattr) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut first = Ok(());
    for xattr in wanted {
        let result = set(xattr);
        first = first.and(result);
    }
    first
}

/// What a restored entry may have inherited from its folder and must not keep. Labels of a security module stay.
fn stale_names(present: &[Vec<u8>], wanted: &[Xattr]) -> Vec<Vec<u8>> {
    let ours = |name: &[u8]| name.starts_with(b"system.posix_acl_") || name.starts_with(b"user.");
    present
        .iter()
        .filter(|name| ours(name) && !wanted.iter().any(|xattr| xattr.name == **name))
        .cloned()
        .collect()
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Partly {
    let names = match read_names(list) {
        Ok(names) => names,
        Err(errno) => return (Vec::new(), Some(errno)),
    };
    let (mut found, mut error) = (Vec::new(), None);
    for name in names {
        match with_growing_buffer(|value| get(&name, value)) {
            Ok(value) => found.push(Xattr { name, value }),
            // Removed between list and read, or listed without a value: both mean that there is none.
            Err(Errno::NODATA) => {}
            Err(errno) => error = error.or(Some(errno)),
        }
    }
    found.sort_unstable();
    (found, error)
}

fn read_names(list: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<Vec<u8>>, Errno> {
    match with_growing_buffer(list) {
        Ok(names) => Ok(names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect()),
        // The file system has no attributes at all.
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

fn with_growing_buffer(fill: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut first = [0u8; FIRST_TRY_BYTES];
    match fill(&mut first) {
        Ok(length_bytes) => Ok(first[..length_bytes].to_vec()),
        Err(Errno::RANGE) => {
            let mut buffer = vec![0; LIMIT_BYTES];
            let length_bytes = fill(&mut buffer)?;
            buffer.truncate(length_bytes);
            Ok(buffer)
        }
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn written_attributes_are_read_back_and_stale_ones_go() {
        let temp = tempfile::tempfile_in(".").unwrap();
        let big = Xattr {
            name: b"user.big".to_vec(),
            value: vec![7; 2000],
        };
        let small = Xattr {
            name: b"user.a".to_vec(),
            value: b"x\0y".to_vec(),
        };
        apply_fd(&temp, &[big.clone(), small.clone()], false).unwrap();
        assert_eq!(read_fd(&temp), (vec![small.clone(), big], None));
        apply_fd(&temp, std::slice::from_ref(&small), true).unwrap();
        assert_eq!(read_fd(&temp), (vec![small], None));
    }

    #[test]
    fn all_are_tried_and_the_first_error_is_told() {
        let temp = tempfile::tempfile_in(".").unwrap();
        let bad = Xattr {
            name: b"nonsense".to_vec(),
            value: Vec::new(),
        };
        let good = Xattr {
            name: b"user.a".to_vec(),
            value: b"1".to_vec(),
        };
        assert!(apply_fd(&temp, &[bad, good.clone()], false).is_err());
        assert_eq!(read_fd(&temp), (vec![good], None));
    }

    #[test]
    fn what_can_be_read_is_kept_beside_the_first_error() {
        let list = |names: &mut [u8]| {
            let text = b"user.c\0user.b\0user.gone\0user.a\0user.d\0";
            names[..text.len()].copy_from_slice(text);
            Ok(text.len())
        };
        let get = |name: &[u8], value: &mut [u8]| match name {
            b"user.b" => Err(Errno::ACCESS),
            b"user.d" => Err(Errno::IO),
            b"user.gone" => Err(Errno::NODATA),
            _ => {
                value[0] = name[5];
                Ok(1)
            }
        };
        let (found, error) = collect(list, get);
        let names: Vec<&[u8]> = found.iter().map(|xattr| xattr.name.as_slice()).collect();
        assert_eq!(names, [b"user.a", b"user.c"]);
        assert_eq!(error, Some(Errno::ACCESS));
        let unlisted = collect(|_| Err(Errno::IO), |_, _| Ok(0));
        assert_eq!(unlisted, (Vec::new(), Some(Errno::IO)));
        let none = collect(|_| Err(Errno::OPNOTSUPP), |_, _| Ok(0));
        assert_eq!(none, (Vec::new(), None));
    }
}

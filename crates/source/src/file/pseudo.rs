//! File systems that hold no data of anybody: the kernel's own views, recognised by the magic number of `statfs`.
//!
//! A folder on which one of these is mounted is kept, empty; nothing below is read.

use super::dir::Dir;
use crate::error::{Operation, SourceError};
use rustix::fs::{Mode, OFlags};

/// Magic numbers from the kernel's `include/uapi/linux/magic.h` and the file systems' own sources.
const PSEUDO_MAGICS: [u32; 21] = [
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0x0000_1cd1, // devpts
    0x1980_0202, // mqueue
    0x9584_58f6, // hugetlbfs
    0x6265_6570, // configfs
    0x6573_5543, // fusectl
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
    0x6759_6969, // rpc_pipefs
    0x0000_0187, // autofs
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
];

/// Whether the folder `name` of `dir` is on such a file system. Does not trigger an automount.
pub(crate) fn is_pseudo(dir: &Dir, name: &[u8]) -> Result<bool, SourceError> {
    let fail = |errno| SourceError::new(Operation::Open, &dir.path_of(name), errno);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir.fd()?, name, flags, Mode::empty()).map_err(fail)?;
    magic_of(&fd).map(is_pseudo_magic).map_err(fail)
}

/// Whether an open folder is on such a file system.
pub(crate) fn is_pseudo_dir(dir: &Dir) -> Result<bool, SourceError> {
    magic_of(dir.fd()?)
        .map(is_pseudo_magic)
        .map_err(|errno| SourceError::new(Operation::Stat, &dir.path(), errno))
}

fn magic_of(fd: impl std::os::fd::AsFd) -> Result<u32, rustix::io::Errno> {
    // The kernel's word for the type is signed or unsigned, 32 or 64 bits wide; the magic is its low 32 bits.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::unnecessary_cast
    )]
    rustix::fs::fstatfs(fd).map(|stat| stat.f_type as u64 as u32)
}

fn is_pseudo_magic(magic: u32) -> bool {
    PSEUDO_MAGICS.contains(&magic)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::file::dir::DirBudget;
    use std::sync::Arc;

    #[test]
    fn proc_is_one_and_a_temporary_folder_is_none() {
        let root = Dir::open_path(b"/", &Arc::new(DirBudget::default())).unwrap();
        assert!(is_pseudo(&root, b"proc").unwrap());
        assert!(!is_pseudo(&root, b"tmp").unwrap());
        assert!(!is_pseudo_dir(&root).unwrap());
        assert!(is_pseudo_dir(&root.open_child(b"proc").unwrap()).unwrap());
    }
}

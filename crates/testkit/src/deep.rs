//! Paths longer than `PATH_MAX` (4096 bytes): legal on disk, reachable only one folder at a time.
//!
//! Owns the making of such a path. Stock restic can back it up but cannot restore it.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

/// Makes `root/…` with folders until the path below `root` is longer than `length_bytes`, and a file in the last one.
///
/// # Errors
/// The first failure of the file system.
pub fn build(root: &Path, length_bytes: usize) -> io::Result<()> {
    std::fs::create_dir_all(root)?;
    let folder_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = openat(CWD, root, folder_flags, Mode::empty())?;
    let mut length = 0;
    let mut level = 0;
    while length <= length_bytes {
        let name = format!("{level:03}-{}", "d".repeat(196));
        mkdirat(&folder, &name, Mode::from_raw_mode(0o755))?;
        folder = openat(&folder, &name, folder_flags, Mode::empty())?;
        length += name.len() + 1;
        level += 1;
    }
    write_file(&folder)
}

fn write_file(folder: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = openat(folder, "bottom", flags, Mode::from_raw_mode(0o644))?;
    std::fs::File::from(file).write_all(b"at the bottom\n")
}

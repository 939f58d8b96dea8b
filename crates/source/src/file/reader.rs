//! One regular file, open for reading.
//!
//! Opening never blocks and never follows a link: what was a file when the folder was listed may have become a pipe or
//! a link since, and that is an error of the entry, not a hang.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{Advice, OFlags, SeekFrom};
use rustix::io::Errno;

use super::dir::{Dir, open_quietly};
use super::stat::{FileKind, FileStat};
use super::xattrs::{self, ReadXattrs};
use crate::error::{Operation, SourceError};

/// An open file with the metadata it had when it was opened.
#[derive(Debug)]
pub struct FileReader<'d> {
    dir: &'d Dir,
    name: &'d [u8],
    fd: OwnedFd,
    stat: FileStat,
}

impl<'d> FileReader<'d> {
    /// Opens the file `name` of a folder.
    pub fn open(dir: &'d Dir, name: &'d [u8]) -> Result<FileReader<'d>, SourceError> {
        let fail = |operation, errno: Errno| SourceError::new(operation, &dir.path_of(name), errno);
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd =
            open_quietly(&dir.fd()?, name, flags).map_err(|errno| fail(Operation::Open, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| fail(Operation::Stat, errno))?;
        let stat = FileStat::from(stat);
        if stat.kind != FileKind::File {
            return Err(SourceError::words(
                Operation::Open,
                &dir.path_of(name),
                "it is no regular file any more",
            ));
        }
        Ok(FileReader {
            dir,
            name,
            fd,
            stat,
        })
    }

    /// The whole path, for messages.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.dir.path_of(self.name)))
    }

    /// The metadata when the file was opened.
    pub fn stat(&self) -> &FileStat {
        &self.stat
    }

    /// The metadata now.
    pub fn stat_now(&self) -> Result<FileStat, SourceError> {
        rustix::fs::fstat(&self.fd)
            .map(FileStat::from)
            .map_err(|errno| self.fail(Operation::Stat, errno))
    }

    /// Fills the buffer from `offset` on; returns fewer bytes only at the end of the file.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let mut filled_bytes = 0;
        while filled_bytes < buffer.len() {
            match rustix::io::pread(
                &self.fd,
                &mut buffer[filled_bytes..],
                offset + filled_bytes as u64,
            ) {
                Ok(0) => break,
                Ok(read_bytes) => filled_bytes += read_bytes,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.fail(Operation::Read, errno)),
            }
        }
        Ok(filled_bytes)
    }

    /// Tells the system that the file will be read from start to end.
    pub fn expect_sequential(&self) {
        // A hint only: file systems may not know it, and nothing depends on it.
        let _ = rustix::fs::fadvise(&self.fd, 0, None, Advice::Sequential);
    }

    /// Where the next data begins at or after `offset`; `None` when only a hole is left up to the end of the file.
    /// A file system that knows no holes says that data begins at once.
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        match rustix::fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(data) => Some(data.max(offset)),
            Err(Errno::NXIO) => None,
            Err(_) => Some(offset),
        }
    }

    /// The extended attributes, sorted by name.
    pub fn xattrs(&self) -> ReadXattrs {
        xattrs::read_file(&self.fd, || self.dir.path_of(self.name))
    }

    fn fail(&self, operation: Operation, errno: Errno) -> SourceError {
        SourceError::new(operation, &self.dir.path_of(self.name), errno)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::file::dir::DirBudget;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    fn open_temp() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_path(
            temp.path().as_os_str().as_bytes(),
            &Arc::new(DirBudget::default()),
        )
        .unwrap();
        (temp, dir)
    }

    #[test]
    fn reads_at_offsets_and_stops_at_the_end() {
        let (temp, dir) = open_temp();
        std::fs::write(temp.path().join("f"), b"hello world").unwrap();
        let reader = FileReader::open(&dir, b"f").unwrap();
        let mut buffer = [0; 20];
        assert_eq!(reader.read_at(6, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"world");
        assert_eq!(reader.read_at(11, &mut buffer).unwrap(), 0);
    }

    #[test]
    fn holes_are_found() {
        let (temp, dir) = open_temp();
        let file = std::fs::File::create(temp.path().join("f")).unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_all_at(b"data", 2 << 20).unwrap();
        let reader = FileReader::open(&dir, b"f").unwrap();
        assert!(reader.stat().may_have_holes());
        let data = reader.next_data(0).unwrap();
        assert!(data <= 2 << 20);
        assert!(data == 0 || reader.next_data(3 << 20).is_none());
    }

    #[test]
    fn pipes_and_links_are_refused_without_blocking() {
        let (temp, dir) = open_temp();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            temp.path().join("p"),
            rustix::fs::Mode::RUSR,
        )
        .unwrap();
        std::os::unix::fs::symlink("p", temp.path().join("l")).unwrap();
        assert!(FileReader::open(&dir, b"p").is_err());
        assert!(FileReader::open(&dir, b"l").is_err());
        assert!(FileReader::open(&dir, b"gone").unwrap_err().is_missing());
    }
}

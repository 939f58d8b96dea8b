//! The content of restored files: made, written at any offset by several threads, read back, finished.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::dirs::TargetDir;
use super::metadata::{self, Given, MODE_BITS, Setting};
use super::{FileTarget, InTheWay, TargetMetadata};
use crate::error::{Operation, SourceError};
use crate::file::stat::{DevIno, FileStat};

/// How many files may stay open between two writes.
pub(super) const OPEN_FILES_MAX: usize = 256;
/// Holes begin and end at multiples of this; the block size of most file systems.
const BLOCK_BYTES: usize = 4096;
/// Shorter runs of zeros are written: a hole of a few blocks saves less than the extra system call costs.
const HOLE_MIN_BYTES: usize = 32 * 1024;

/// Counts open files of a target.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    open_count: AtomicUsize,
}

/// A file that is being written. It keeps its descriptor open between writes unless too many files are open.
#[derive(Debug)]
pub struct TargetFile {
    dir: TargetDir,
    name: Box<[u8]>,
    /// The name it has while it is written, if that is another one.
    temporary: Option<Box<[u8]>>,
    in_the_way: InTheWay,
    id: DevIno,
    /// Owner, group and mode that the system gave it.
    given: Given,
    // A mutex: threads that write other parts of the file share the descriptor and may close it.
    fd: Mutex<Option<Arc<OwnedFd>>>,
}

impl FileTarget {
    /// Makes a file of `size_bytes`, all holes until it is written to. `mode` is the one that it will get in the end;
    /// until then nobody has more rights than that gives to everybody.
    pub fn create_file(
        &self,
        dir: TargetDir,
        name: &[u8],
        size_bytes: u64,
        mode: u32,
        in_the_way: InTheWay,
    ) -> Result<TargetFile, SourceError> {
        self.check_name(dir, name)?;
        let fail = |errno| self.fail(Operation::Create, dir, name, errno);
        let parent = self.dirs.fd(dir)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(first_mode(mode) as _);
        let create = |name: &[u8]| rustix::fs::openat(&*parent, name, flags, mode);
        let (fd, temporary) = if self.staging.is_for_all {
            if in_the_way == InTheWay::Replace {
                self.remove_dir_in_the_way(dir, name)?;
            }
            let (fd, temporary) = self.create_staged(dir, name, create)?;
            (fd, Some(temporary))
        } else {
            match create(name) {
                Err(Errno::EXIST) if in_the_way == InTheWay::Replace => {
                    if self.remove_dir_in_the_way(dir, name)? {
                        (create(name).map_err(fail)?, None)
                    } else {
                        let (fd, temporary) = self.create_staged(dir, name, create)?;
                        (fd, Some(temporary))
                    }
                }
                result => (result.map_err(fail)?, None),
            }
        };
        let sized = if size_bytes >= HOLE_MIN_BYTES as u64 {
            rustix::fs::ftruncate(&fd, size_bytes)
        } else {
            Ok(())
        };
        let stat = match sized.and_then(|()| rustix::fs::fstat(&fd)) {
            Ok(stat) => FileStat::from(stat),
            Err(errno) => {
                // Nobody shall take an empty file for the one that could not be made.
                let made = temporary.as_deref().unwrap_or(name);
                let _ = rustix::fs::unlinkat(&*parent, made, AtFlags::empty());
                return Err(fail(errno));
            }
        };
        self.open_files.open_count.fetch_add(1, Ordering::Relaxed);
        Ok(TargetFile {
            dir,
            name: name.into(),
            temporary,
            in_the_way,
            id: stat.id,
            given: Given {
                uid: stat.uid,
                gid: stat.gid,
                mode: stat.mode & MODE_BITS,
            },
            fd: Mutex::new(Some(Arc::new(fd))),
        })
    }

    /// Writes a part of a file and says how many bytes were written: long runs of zeros stay holes.
    pub fn write_at(
        &self,
        file: &TargetFile,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, SourceError> {
        let fd = self.file_fd(file)?;
        let write = |start: usize, end: usize| {
            write_all_at(&fd, offset + start as u64, &data[start..end])
                .map_err(|errno| self.fail(Operation::Write, file.dir, &file.name, errno))
        };
        if data.len() < HOLE_MIN_BYTES {
            write(0, data.len())?;
            return Ok(data.len());
        }
        let mut written_bytes = 0;
        for (start, end) in data_runs(offset, data) {
            write(start, end)?;
            written_bytes += end - start;
        }
        Ok(written_bytes)
    }

    /// Whether the file system says that a part of a file holds no data at all, and so reads as zeros. `false` when it
    /// does not know.
    pub fn is_hole(
        &self,
        file: &TargetFile,
        offset: u64,
        length_bytes: u64,
    ) -> Result<bool, SourceError> {
        let fd = self.file_fd(file)?;
        match rustix::fs::seek(&*fd, SeekFrom::Data(offset)) {
            Ok(data_offset) => Ok(data_offset >= offset + length_bytes),
            // No data from here to the end, which must not come before the end of the part.
            Err(Errno::NXIO) => Ok(self.size_bytes(file)? >= offset + length_bytes),
            Err(_) => Ok(false),
        }
    }

    /// Reads a part of a file back; fills the whole buffer or fails.
    pub fn read_back(
        &self,
        file: &TargetFile,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), SourceError> {
        let fd = self.file_fd(file)?;
        let mut filled_bytes = 0;
        while filled_bytes < buffer.len() {
            match rustix::io::pread(
                &*fd,
                &mut buffer[filled_bytes..],
                offset + filled_bytes as u64,
            ) {
                Ok(0) => {
                    return Err(self.words(
                        Operation::Read,
                        file.dir,
                        &file.name,
                        "the file is too short",
                    ));
                }
                Ok(read_bytes) => filled_bytes += read_bytes,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.fail(Operation::Read, file.dir, &file.name, errno)),
            }
        }
        Ok(())
    }

    /// The size of a file now.
    pub fn size_bytes(&self, file: &TargetFile) -> Result<u64, SourceError> {
        rustix::fs::fstat(&*self.file_fd(file)?)
            .map(|stat| FileStat::from(stat).size_bytes)
            .map_err(|errno| self.fail(Operation::Stat, file.dir, &file.name, errno))
    }

    #[cfg(test)]
    pub(super) fn open_file_count(&self) -> usize {
        self.open_files.open_count.load(Ordering::Relaxed)
    }

    /// Closes a file between two writes if too many are open.
    pub fn rest_file(&self, file: &TargetFile) {
        if self.open_files.open_count.load(Ordering::Relaxed) > OPEN_FILES_MAX {
            self.close(file);
        }
    }

    /// Sets the metadata and, for a file that takes the place of another, moves it there. `Ok` lists the metadata that
    /// could not be set.
    pub fn finish_file(
        &self,
        file: &TargetFile,
        metadata: &TargetMetadata<'_>,
    ) -> Result<Vec<SourceError>, SourceError> {
        let fd = self.file_fd(file)?;
        let setting = Setting {
            is_superuser: self.is_superuser,
            may_have_xattrs: self.dirs.hands_down_acl(file.dir),
            given: Some(file.given),
        };
        // The path is for messages; building it for each file would cost more than some of the calls.
        let mut errors = metadata::apply_fd(&*fd, b"", metadata, setting);
        for error in &mut errors {
            *error = SourceError::new(
                error.operation,
                &self.path_of(file.dir, &file.name),
                take_errno(error),
            );
        }
        if let Some(temporary) = &file.temporary {
            self.unstage(file.dir, temporary, &file.name, file.in_the_way)?;
        }
        drop(fd);
        self.close(file);
        Ok(errors)
    }

    /// Removes a file that could not be restored, so that nobody takes it for whole.
    pub fn discard_file(&self, file: &TargetFile) -> Result<(), SourceError> {
        self.close(file);
        let name = file.name_now();
        match rustix::fs::unlinkat(&*self.dirs.fd(file.dir)?, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.fail(Operation::Replace, file.dir, name, errno)),
        }
    }

    fn close(&self, file: &TargetFile) {
        if file.fd.lock().take().is_some() {
            self.open_files.open_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn file_fd(&self, file: &TargetFile) -> Result<Arc<OwnedFd>, SourceError> {
        let mut slot = file.fd.lock();
        if let Some(fd) = slot.as_ref() {
            return Ok(Arc::clone(fd));
        }
        let fail = |errno| self.fail(Operation::Open, file.dir, &file.name, errno);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(
            &*self.dirs.fd(file.dir)?,
            file.name_now(),
            flags,
            Mode::empty(),
        )
        .map_err(fail)?;
        if FileStat::from(rustix::fs::fstat(&fd).map_err(fail)?).id != file.id {
            return Err(self.words(
                Operation::Open,
                file.dir,
                &file.name,
                "the file was replaced",
            ));
        }
        let fd = Arc::new(fd);
        self.open_files.open_count.fetch_add(1, Ordering::Relaxed);
        *slot = Some(Arc::clone(&fd));
        Ok(fd)
    }
}

impl TargetFile {
    fn name_now(&self) -> &[u8] {
        self.temporary.as_deref().unwrap_or(&self.name)
    }
}

/// The mode to make a file with: what its owner needs, and what everybody may do with it in the end. So a file that all
/// may read gets its final mode at once, whoever owns it by then, and all others stay private until they are whole.
fn first_mode(mode: u32) -> u32 {
    let everybody = mode & (mode >> 3) & 0o005;
    0o600 | (mode & 0o100) | everybody | everybody << 3
}

fn take_errno(error: &SourceError) -> std::io::Error {
    error.errno().map_or_else(
        || std::io::Error::other(error.source.to_string()),
        std::io::Error::from_raw_os_error,
    )
}

fn write_all_at(fd: &OwnedFd, mut offset: u64, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::pwrite(fd, data, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written_bytes) => {
                data = &data[written_bytes..];
                offset += written_bytes as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The parts of `data` to write, as `[start, end)`: all but runs of zero blocks that are long enough for a hole. Blocks
/// are aligned in the file, not in the data.
fn data_runs(offset: u64, data: &[u8]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut run_start = 0;
    let mut zero_start = None;
    let mut at = 0;
    let misaligned = usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or(0);
    while at < data.len() {
        let length = if at == 0 {
            BLOCK_BYTES - misaligned
        } else {
            BLOCK_BYTES
        };
        let end = data.len().min(at + length);
        if is_zero(&data[at..end]) {
            zero_start.get_or_insert(at);
        } else if let Some(start) = zero_start.take()
            && at - start >= HOLE_MIN_BYTES
        {
            runs.push((run_start, start));
            run_start = at;
        }
        at = end;
    }
    match zero_start {
        Some(start) if data.len() - start >= HOLE_MIN_BYTES => runs.push((run_start, start)),
        _ => runs.push((run_start, data.len())),
    }
    runs.retain(|(start, end)| start < end);
    runs
}

fn is_zero(block: &[u8]) -> bool {
    // A whole piece is folded at once, which the compiler turns into wide instructions.
    block
        .chunks(256)
        .all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    #[test]
    fn first_modes_give_nobody_more_than_the_last_one() {
        let check = |mode: u32, expected: u32| assert_eq!(first_mode(mode), expected, "{mode:o}");
        check(0o644, 0o644);
        check(0o755, 0o755);
        check(0o664, 0o644);
        check(0o600, 0o600);
        check(0o640, 0o600);
        check(0o4755, 0o755);
        check(0o000, 0o600);
        check(0o604, 0o600);
        check(0o666, 0o644);
        check(0o711, 0o711);
        for mode in 0..=0o7777 {
            let first = first_mode(mode);
            assert_eq!(first & 0o077 & !mode, 0, "{mode:o}");
            assert_eq!(first & 0o600, 0o600);
        }
    }

    #[test]
    fn runs_leave_out_long_zeros_only() {
        let hole = vec![0; HOLE_MIN_BYTES * 2];
        assert!(data_runs(0, &hole).is_empty());
        let mut data = hole.clone();
        data.push(1);
        assert_eq!(data_runs(0, &data), vec![(hole.len(), data.len())]);
        data[0] = 1;
        assert_eq!(
            data_runs(0, &data),
            vec![(0, BLOCK_BYTES), (hole.len(), data.len())]
        );
        assert_eq!(data_runs(100, &data)[0], (0, BLOCK_BYTES - 100));
        assert_eq!(data_runs(0, &[0; 100]), vec![(0, 100)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_left_out_is_zero(
            offset in 0u64..10_000,
            pieces in prop::collection::vec((any::<bool>(), 1usize..60_000), 1..8),
        ) {
            let mut data = Vec::new();
            for (is_zero, length) in pieces {
                data.resize(data.len() + length, u8::from(!is_zero));
            }
            let mut copy = vec![0; data.len()];
            let mut last_end = 0;
            for (start, end) in data_runs(offset, &data) {
                assert!(start >= last_end && end > start);
                copy[start..end].copy_from_slice(&data[start..end]);
                last_end = end;
            }
            assert_eq!(copy, data);
        }
    }
}

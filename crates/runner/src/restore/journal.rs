//! Which folders a restore has made, so that an attempt that goes on after a kill knows them for its own.
//!
//! A new folder is private until everything in it is done, and only then gets its metadata. Without a memory the next
//! attempt would find it there and leave it as it is, as it must with every folder of somebody else's. So each folder is
//! written down before it is made: a file of paths, each ended by a NUL, which only grows.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use parking_lot::Mutex;

/// A list of folders on disk.
#[derive(Debug)]
pub(super) struct Journal {
    /// Those of former attempts.
    known: HashSet<Vec<u8>>,
    // A mutex: held for one write.
    file: Mutex<File>,
}

impl Journal {
    /// Opens the list, which is made when it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Journal> {
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // What has no end was being written when the process was killed; its folder was not made.
        let whole_bytes = text
            .iter()
            .rposition(|byte| *byte == 0)
            .map_or(0, |at| at + 1);
        file.set_len(whole_bytes as u64)?;
        let known = text[..whole_bytes]
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        Ok(Journal {
            known,
            file: Mutex::new(file),
        })
    }

    /// Whether a former attempt made this folder.
    pub(super) fn knows(&self, path: &[u8]) -> bool {
        self.known.contains(path)
    }

    /// Writes down a folder that is about to be made.
    pub(super) fn add(&self, path: &[u8]) -> io::Result<()> {
        let mut line = path.to_vec();
        line.push(0);
        // One call, so that a kill leaves a whole line or one without an end.
        self.file.lock().write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_was_written_whole_is_known_to_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal");
        let first = Journal::open(&path).unwrap();
        first.add(b"/a\nb").unwrap();
        first.add(b"/\xff").unwrap();
        assert!(!first.knows(b"/\xff"));
        std::fs::File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"/torn")
            .unwrap();
        let second = Journal::open(&path).unwrap();
        assert!(second.knows(b"/a\nb") && second.knows(b"/\xff") && !second.knows(b"/torn"));
        second.add(b"/c").unwrap();
        let third = Journal::open(&path).unwrap();
        assert!(third.knows(b"/c") && third.knows(b"/\xff") && !third.knows(b"/torn/c"));
    }
}

//! Temporary files: by their names it can be proved whose they are, and which may be removed.
//!
//! A name is `<host>-<process>-<start>-<random>`. The host is a hash of the machine, its name, its boot and the namespace
//! of process ids; what it does not tell apart sees the same processes. A lock (`flock`) alone proves nothing: where the
//! folder is mounted over a network (sshfs, virtiofs, 9p, some of NFS) locks may be those of one host only, and what
//! another one is writing looks free.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode};

use super::{LIST_FLAGS, READ_FLAGS, TEMPORARY};
use crate::process;

/// What nobody has written to for so long belongs to nobody any more, whoever it was. A pack of trees gets new bytes only
/// when new trees fill a buffer, so a slow backup may leave one alone for days.
const OLD_SECONDS: i64 = 30 * 24 * 3600;

/// Who makes a temporary file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    host: String,
    pid: u32,
    start: String,
}

impl Owner {
    /// This process. `None` where `/proc` does not tell.
    pub(super) fn this_process() -> Option<&'static Self> {
        static OWNER: OnceLock<Option<Owner>> = OnceLock::new();
        let find = || -> Option<Owner> {
            let pid = std::process::id();
            let mut hasher = DefaultHasher::new();
            (process::machine_id(), process::hostname()).hash(&mut hasher);
            (process::boot_id()?, process::pid_namespace()?).hash(&mut hasher);
            Some(Owner {
                host: format!("{:016x}", hasher.finish()),
                pid,
                start: process::start_of(pid)?,
            })
        };
        OWNER.get_or_init(find).as_ref()
    }

    /// Who made the file of this name, when it tells.
    fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let owner = Self {
            host: parts.next()?.to_owned(),
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.to_owned(),
        };
        let random = parts.next()?;
        (!random.is_empty() && parts.next().is_none()).then_some(owner)
    }

    /// Whether this process of ours is known to have ended.
    fn is_dead(&self) -> bool {
        Self::this_process().is_some_and(|own| own.host == self.host)
            && process::has_ended(self.pid, &self.start)
    }
}

/// A name that nothing has yet.
pub(super) fn new_name() -> String {
    let random = rand::random::<u128>();
    match Owner::this_process() {
        Some(Owner { host, pid, start }) => {
            format!("{TEMPORARY}/{host}-{pid}-{start}-{random:032x}")
        }
        None => format!("{TEMPORARY}/{random:032x}"),
    }
}

/// Removes temporary files that are known to belong to nobody: of processes of this host that have ended, and old ones.
/// `fresh` is a file that was made just now: its time is what the clock of the file system says. Failures are left
/// alone: they cost space, not safety.
pub(super) fn sweep(root: BorrowedFd<'_>, fresh: &File) {
    let Ok(now) = rustix::fs::fstat(fresh) else {
        return;
    };
    let Ok(folder) = rustix::fs::openat(root, TEMPORARY, LIST_FLAGS, Mode::empty()) else {
        return;
    };
    let Ok(entries) = Dir::read_from(&folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(file) = rustix::fs::openat(&folder, name, READ_FLAGS, Mode::empty()) else {
            continue;
        };
        let is_dead = || {
            let owner = name.to_str().ok().and_then(Owner::of_name);
            owner.is_some_and(|owner| owner.is_dead())
        };
        let is_old = || {
            rustix::fs::fstat(&file).is_ok_and(|stat| now.st_mtime - stat.st_mtime > OLD_SECONDS)
        };
        let is_free = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_free && (is_dead() || is_old()) {
            // Folders, `.` and `..` stay.
            let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
        }
    }
}

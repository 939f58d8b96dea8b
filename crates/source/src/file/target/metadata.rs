//! Setting what belongs to an entry beside its content.
//!
//! The order matters: changing the owner drops set-id bits and capabilities, setting an access list changes the mode,
//! and everything changes the times. So: owner, attributes, mode, times.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::error::{Operation, SourceError};
use crate::file::stat::FileTime;
use crate::file::xattrs::{self, Xattr};

/// The set-user-id and set-group-id bits.
const SET_ID_BITS: u32 = 0o6000;
/// All bits that `chmod` sets.
pub(super) const MODE_BITS: u32 = 0o7777;

/// The metadata to give to an entry.
#[derive(Clone, Copy, Debug)]
pub struct TargetMetadata<'a> {
    /// Permission bits with set-id and sticky bits; type bits are ignored.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access.
    pub accessed: FileTime,
    /// Last change of the content.
    pub modified: FileTime,
    /// Extended attributes.
    pub xattrs: &'a [Xattr],
}

impl TargetMetadata<'_> {
    fn timestamps(&self) -> Timestamps {
        let spec = |time: FileTime| Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        };
        Timestamps {
            last_access: spec(self.accessed),
            last_modification: spec(self.modified),
        }
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        // The largest number means "leave as it is" to the system.
        let uid = (self.uid != u32::MAX).then(|| Uid::from_raw(self.uid));
        let gid = (self.gid != u32::MAX).then(|| Gid::from_raw(self.gid));
        (uid, gid)
    }
}

/// What is known about an entry and about this process, beside the metadata to set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The process may give files away.
    pub(super) is_superuser: bool,
    /// The entry may have attributes that are not wanted, inherited or left from before.
    pub(super) may_have_xattrs: bool,
    /// What the system gave the entry when it was made, when that is known.
    pub(super) given: Option<Given>,
}

/// What a new entry has before anything is set: calls that would change nothing are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Without the type bits.
    pub(super) mode: u32,
}

/// Collects what could not be set.
struct Outcome<'p> {
    path: &'p [u8],
    errors: Vec<SourceError>,
}

impl Outcome<'_> {
    fn note(&mut self, operation: Operation, result: Result<(), Errno>) {
        if let Err(errno) = result {
            self.errors
                .push(SourceError::new(operation, self.path, errno));
        }
    }

    /// Notes the result of a change of owner and returns the mode to set. A user who may not give files away keeps
    /// them, which is no error; but then the set-id bits would lend that user's rights and are not set.
    fn note_owner(&mut self, result: Result<(), Errno>, mode: u32, is_superuser: bool) -> Mode {
        let is_kept = result == Err(Errno::PERM) && !is_superuser;
        if !is_kept {
            self.note(Operation::Owner, result);
        }
        let mode = if result.is_err() {
            mode & !SET_ID_BITS
        } else {
            mode
        };
        Mode::from_raw_mode((mode & MODE_BITS) as _)
    }
}

/// Sets the metadata of an open file or folder.
pub(super) fn apply_fd(
    fd: impl AsFd,
    path: &[u8],
    metadata: &TargetMetadata<'_>,
    setting: Setting,
) -> Vec<SourceError> {
    let fd = fd.as_fd();
    let mut outcome = Outcome {
        path,
        errors: Vec::new(),
    };
    let (uid, gid) = metadata.owner();
    let is_owned = setting
        .given
        .is_some_and(|given| (given.uid, given.gid) == (metadata.uid, metadata.gid));
    let result = if is_owned {
        Ok(())
    } else {
        rustix::fs::fchown(fd, uid, gid)
    };
    let mode = outcome.note_owner(result, metadata.mode, setting.is_superuser);
    let takes_xattrs = setting.may_have_xattrs || !metadata.xattrs.is_empty();
    if takes_xattrs {
        outcome.note(
            Operation::Xattr,
            xattrs::apply_fd(fd, metadata.xattrs, setting.may_have_xattrs),
        );
    }
    // A change of owner drops no bit that a new file has, an access list may change some.
    let has_mode = setting
        .given
        .is_some_and(|given| given.mode == mode.as_raw_mode() && !takes_xattrs);
    if !has_mode {
        outcome.note(Operation::Mode, rustix::fs::fchmod(fd, mode));
    }
    outcome.note(
        Operation::Times,
        rustix::fs::futimens(fd, &metadata.timestamps()),
    );
    outcome.errors
}

/// Sets the metadata of a link, pipe or device, none of which is opened.
pub(super) fn apply_at(
    dir_number: i32,
    dir: impl AsFd,
    name: &[u8],
    path: &[u8],
    metadata: &TargetMetadata<'_>,
    is_symlink: bool,
    setting: Setting,
) -> Vec<SourceError> {
    let dir = dir.as_fd();
    let mut outcome = Outcome {
        path,
        errors: Vec::new(),
    };
    let (uid, gid) = metadata.owner();
    let result = rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
    let mode = outcome.note_owner(result, metadata.mode, setting.is_superuser);
    // Links inherit no access list, pipes and devices do.
    let may_inherit = setting.may_have_xattrs && !is_symlink;
    if may_inherit || !metadata.xattrs.is_empty() {
        outcome.note(
            Operation::Xattr,
            xattrs::apply_at(dir_number, name, metadata.xattrs, may_inherit),
        );
    }
    if !is_symlink {
        outcome.note(Operation::Mode, chmod_unopened(dir, name, mode));
    }
    let times = rustix::fs::utimensat(dir, name, &metadata.timestamps(), AtFlags::SYMLINK_NOFOLLOW);
    outcome.note(Operation::Times, times);
    outcome.errors
}

/// `chmod` that neither opens the thing nor follows a link put in its place: the descriptor pins it, and its path in
/// `/proc` leads to just that.
fn chmod_unopened(dir: impl AsFd, name: &[u8], mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    rustix::fs::chmodat(CWD, path.as_str(), mode, AtFlags::empty())
}

//! Paths as chains of names, so that a path may be longer than the 4096 bytes that a system call takes.
//!
//! A chain shares its parents: a million entries of one folder cost one chain. Dropping a chain never recurses, since
//! folders may be nested deeper than a thread's stack would bear.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// The longest piece of a path handed to one system call; the kernel takes 4095 bytes.
const HOP_BYTES: usize = 3500;

/// One folder's place: its name and the chain above it. The first link holds an absolute path.
#[derive(Debug)]
pub struct PathChain {
    parent: Option<Arc<PathChain>>,
    name: Box<[u8]>,
}

impl PathChain {
    /// A chain that starts at an absolute path.
    pub fn absolute(path: &[u8]) -> Arc<PathChain> {
        Arc::new(PathChain {
            parent: None,
            name: path.into(),
        })
    }

    /// The chain of an entry of this folder.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Arc<PathChain> {
        Arc::new(PathChain {
            parent: Some(Arc::clone(self)),
            name: name.into(),
        })
    }

    /// The whole path.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut links = vec![self];
        let mut at = self;
        while let Some(parent) = at.parent.as_deref() {
            links.push(parent);
            at = parent;
        }
        let mut path = Vec::with_capacity(links.iter().map(|link| link.name.len() + 1).sum());
        for link in links.iter().rev() {
            push_component(&mut path, &link.name);
        }
        path
    }

    /// The path of an entry of this folder.
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.to_bytes();
        push_component(&mut path, name);
        path
    }
}

impl Drop for PathChain {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut link| link.parent.take());
        }
    }
}

/// Appends a name to a path with one slash between.
pub fn push_component(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The components of a path: no empty ones, `.` left out, `..` taken lexically.
pub fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

/// Whether `name` may be the name of an entry: not empty, not `.` or `..`, no slash and no NUL.
pub fn is_plain_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Opens an absolute path of any length, symbolic links on the way followed, the last component only if `flags` say so.
pub(crate) fn open_absolute(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let whole = flags | OFlags::CLOEXEC;
    if path.len() <= HOP_BYTES {
        return rustix::fs::openat(CWD, path, whole, Mode::empty());
    }
    let mut hops = hops(components(path)).into_iter().peekable();
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(CWD, b"/".as_slice(), way, Mode::empty())?;
    while let Some(hop) = hops.next() {
        let flags = if hops.peek().is_some() { way } else { whole };
        at = rustix::fs::openat(at.as_fd(), hop.as_slice(), flags, Mode::empty())?;
    }
    Ok(at)
}

/// Joins the names of a path to relative pieces that each fit one system call.
pub(crate) fn hops<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Vec<Vec<u8>> {
    let mut hops: Vec<Vec<u8>> = Vec::new();
    for part in names {
        match hops.last_mut() {
            Some(hop) if hop.len() + part.len() < HOP_BYTES => push_component(hop, part),
            _ => hops.push(part.to_vec()),
        }
    }
    hops
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn chains_give_whole_paths_and_drop_without_recursion() {
        let root = PathChain::absolute(b"/");
        assert_eq!(root.to_bytes(), b"/");
        let child = root.child(b"a").child(b"b");
        assert_eq!(child.to_bytes(), b"/a/b");
        assert_eq!(child.join(b"c"), b"/a/b/c");
        let mut deep = root;
        for _ in 0..300_000 {
            deep = deep.child(b"x");
        }
        drop(deep);
    }

    #[test]
    fn components_are_cleaned() {
        let check = |input: &[u8], expected: &[&[u8]]| assert_eq!(components(input), expected);
        check(b"/", &[]);
        check(b"/a//b/./c/", &[b"a", b"b", b"c"]);
        check(b"/a/../b", &[b"b"]);
        check(b"/../a", &[b"a"]);
    }

    #[test]
    fn plain_names() {
        for name in [b"".as_slice(), b".", b"..", b"a/b", b"a\0b", b"/"] {
            assert!(!is_plain_name(name));
        }
        for name in [b"a".as_slice(), b"...", b"\xff", b" "] {
            assert!(is_plain_name(name));
        }
    }

    #[test]
    fn hops_hold_all_components() {
        let path: Vec<u8> = std::iter::repeat_n(b"/0123456789".as_slice(), 2000)
            .flatten()
            .copied()
            .collect();
        let hops = hops(components(&path));
        assert!(hops.len() > 5 && hops.iter().all(|hop| hop.len() < HOP_BYTES));
        assert_eq!(components(&hops.join(&b'/')), components(&path));
    }
}

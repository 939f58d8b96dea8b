//! The items of a snapshot, one after the other, folder by folder as `find` would print them.
//!
//! Held in memory are the entries of the folders above the present one, without their contents: bounded by the largest
//! folder that a snapshot can have times the depth, and usually a few kilobytes.

use std::sync::Arc;

use vault::{Id, Node, NodeKind, VaultError};

use crate::actions::repositories::OpenVault;

/// An item of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Absolute; bytes that are not UTF-8 are replaced by U+FFFD, as in the list of what failed.
    pub(super) path: String,
    pub(super) kind: NodeKind,
    /// Bytes of a regular file.
    pub(super) size: Option<u64>,
    /// When its content last changed, in seconds.
    pub(super) mtime: i64,
}

/// What is left of a folder.
struct Folder {
    /// Bytes of [`Items::path`] that are this folder's.
    path_bytes: usize,
    rest: std::vec::IntoIter<Entry>,
}

struct Entry {
    name: String,
    kind: NodeKind,
    size: u64,
    mtime: i64,
    subtree: Option<Id>,
}

impl From<Node> for Entry {
    fn from(node: Node) -> Self {
        Self {
            name: String::from_utf8_lossy(&node.name).into_owned(),
            kind: node.kind,
            size: node.size,
            mtime: node.mtime.seconds,
            subtree: node.subtree,
        }
    }
}

/// A walk through a snapshot.
pub(super) struct Items {
    vault: Arc<OpenVault>,
    path: String,
    folders: Vec<Folder>,
}

impl Items {
    /// Before the first item of a snapshot.
    pub(super) fn new(vault: Arc<OpenVault>, snapshot_hash: &str) -> Result<Self, VaultError> {
        let root = vault.root(snapshot_hash)?;
        let mut items = Self {
            vault,
            path: String::new(),
            folders: Vec::new(),
        };
        items.enter(&root)?;
        Ok(items)
    }

    fn enter(&mut self, tree: &Id) -> Result<(), VaultError> {
        let entries: Vec<Entry> = self
            .vault
            .tree(tree)?
            .nodes
            .into_iter()
            .map(Entry::from)
            .collect();
        self.folders.push(Folder {
            path_bytes: self.path.len(),
            rest: entries.into_iter(),
        });
        Ok(())
    }

    /// The next item; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Item>, VaultError> {
        while let Some(folder) = self.folders.last_mut() {
            self.path.truncate(folder.path_bytes);
            let Some(entry) = folder.rest.next() else {
                self.folders.pop();
                continue;
            };
            self.path.push('/');
            self.path.push_str(&entry.name);
            let item = Item {
                path: self.path.clone(),
                kind: entry.kind,
                size: (entry.kind == NodeKind::File).then_some(entry.size),
                mtime: entry.mtime,
            };
            if let Some(subtree) = entry.subtree {
                self.enter(&subtree)?;
            }
            return Ok(Some(item));
        }
        Ok(None)
    }
}

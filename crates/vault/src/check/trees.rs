//! Walks every tree that a snapshot reaches, each once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{CheckError, CheckPhase, Checker};
use crate::blob::BlobKind;
use crate::id::Id;
use crate::node::{Node, NodeKind};
use crate::reader::Reader;
use crate::tree::Tree;

/// The trees that wait, and those that were seen. 32 bytes and a little for each tree of the repository.
#[derive(Default)]
struct Frontier {
    waiting: Vec<Id>,
    seen: HashSet<Id>,
    busy_count: usize,
    done_count: u64,
}

impl Frontier {
    fn add(&mut self, id: Id) {
        if self.seen.insert(id) {
            self.waiting.push(id);
        }
    }
}

/// A mutex with a condition: threads wait for trees that others find.
struct Walk {
    frontier: Mutex<Frontier>,
    changed: Condvar,
}

/// A tree that is being looked at. When that ends by a panic, the other threads must not wait for what it would find.
struct Busy<'w>(&'w Walk);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.frontier.lock().busy_count -= 1;
        self.0.changed.notify_all();
    }
}

impl Checker<'_> {
    /// Reads all trees below the snapshots.
    pub(super) fn check_trees(&self) {
        let mut frontier = Frontier::default();
        for (_, snapshot) in &self.snapshots {
            frontier.add(snapshot.tree);
        }
        let walk = Walk {
            frontier: Mutex::new(frontier),
            changed: Condvar::new(),
        };
        let reader = Reader::new(self.repository.clone(), Arc::clone(&self.index));
        std::thread::scope(|scope| {
            for _ in 0..self.options.thread_count.max(1) {
                scope.spawn(|| self.walk(&walk, &reader));
            }
        });
        let count = walk.frontier.into_inner().done_count;
        self.report.lock().tree_count = count;
        self.progress(CheckPhase::Trees, count, count);
    }

    fn walk(&self, walk: &Walk, reader: &Reader) {
        loop {
            let id = {
                let mut frontier = walk.frontier.lock();
                loop {
                    if self.require_storage().is_err() {
                        frontier.waiting.clear();
                    }
                    if let Some(id) = frontier.waiting.pop() {
                        frontier.busy_count += 1;
                        break id;
                    }
                    if frontier.busy_count == 0 {
                        return;
                    }
                    walk.changed.wait(&mut frontier);
                }
            };
            let busy = Busy(walk);
            let subtrees = self.check_tree(reader, id);
            std::mem::forget(busy);
            let mut frontier = walk.frontier.lock();
            for subtree in subtrees {
                frontier.add(subtree);
            }
            frontier.busy_count -= 1;
            frontier.done_count += 1;
            let done = frontier.done_count;
            drop(frontier);
            walk.changed.notify_all();
            if done.is_multiple_of(256) {
                self.progress(CheckPhase::Trees, done, 0);
            }
        }
    }

    /// Reads one tree and gives the trees below it.
    fn check_tree(&self, reader: &Reader, id: Id) -> Vec<Id> {
        let tree = match reader.read_tree(&id) {
            Ok(tree) => tree,
            Err(error) => {
                if !self.is_away(&error) {
                    self.error(CheckError::Tree { id, error });
                }
                return Vec::new();
            }
        };
        if !tree.nodes.is_sorted_by(|a, b| a.name <= b.name) {
            self.node_error(id, b"", "the names are not in order");
        }
        for pair in tree.nodes.windows(2) {
            if pair[0].name == pair[1].name {
                self.node_error(id, &pair[0].name, "the name is there twice");
            }
        }
        for node in &tree.nodes {
            self.check_node(id, node);
        }
        subtrees(&tree)
    }

    fn check_node(&self, tree: Id, node: &Node) {
        if !node.has_safe_name() {
            self.node_error(tree, &node.name, "the name could leave its folder");
        }
        match node.kind {
            NodeKind::File => self.check_content(tree, node),
            NodeKind::Dir if node.subtree.is_none() => {
                self.node_error(tree, &node.name, "a folder without a tree");
            }
            _ => {}
        }
    }

    fn check_content(&self, tree: Id, node: &Node) {
        let mut content_bytes = 0;
        let mut is_whole = true;
        for blob in &node.content {
            match self.index.get(BlobKind::Data, blob) {
                Some(location) => content_bytes += location.plaintext_length(),
                None => {
                    is_whole = false;
                    self.error(CheckError::BlobMissing {
                        tree,
                        name: String::from_utf8_lossy(&node.name).into_owned(),
                        blob: *blob,
                    });
                }
            }
        }
        if is_whole && content_bytes != node.size {
            let reason = format!(
                "a file of {} bytes whose blobs have {content_bytes}",
                node.size
            );
            self.node_error(tree, &node.name, &reason);
        }
    }

    fn node_error(&self, tree: Id, name: &[u8], reason: &str) {
        self.error(CheckError::Node {
            tree,
            name: String::from_utf8_lossy(name).into_owned(),
            reason: reason.to_owned(),
        });
    }
}

fn subtrees(tree: &Tree) -> Vec<Id> {
    tree.nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Dir)
        .filter_map(|node| node.subtree)
        .collect()
}

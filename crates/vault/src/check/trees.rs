//! Walks every tree that a snapshot reaches, each once.

use std::sync::Arc;

use super::{CheckError, CheckPhase, Checker};
use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::frontier::Frontier;
use crate::id::Id;
use crate::node::{Node, NodeKind};
use crate::reader::Reader;
use crate::tree::Tree;

impl Checker<'_> {
    /// Reads all trees below the snapshots.
    pub(super) fn check_trees(&self) -> Result<(), VaultError> {
        let frontier = Frontier::new(self.snapshots.iter().map(|(_, snapshot)| snapshot.tree));
        let reader = Reader::new(self.repository.clone(), Arc::clone(&self.index));
        let count = frontier.run(self.options.thread_count, || {
            self.walk(&frontier, &reader);
        })?;
        self.report.lock().tree_count = count;
        self.progress(CheckPhase::Trees, count, count);
        Ok(())
    }

    fn walk(&self, frontier: &Frontier, reader: &Reader) {
        while let Some(visit) = frontier.next() {
            let subtrees = self.check_tree(reader, visit.id);
            if self.require_storage().is_err() {
                frontier.end();
            }
            let done = visit.finish(subtrees);
            if done.is_multiple_of(256) {
                self.progress(CheckPhase::Trees, done, 0);
            }
        }
    }

    /// Reads one tree and gives the trees below it.
    fn check_tree(&self, reader: &Reader, id: Id) -> Vec<Id> {
        self.note_marked(BlobKind::Tree, &id);
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
                Some(location) => {
                    self.note_marked(BlobKind::Data, blob);
                    content_bytes += location.plaintext_length();
                }
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

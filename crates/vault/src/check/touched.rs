//! What damage means to people: which files of which snapshots it touches.
//!
//! Runs only when something was found. It walks every snapshot by its paths, newest first. A tree that is whole is
//! remembered and never read again, so what costs time is damage, not history; a tree that is touched is walked for each
//! snapshot that holds it until the list is full, and from then on only its count is added.

use std::collections::HashMap;
use std::sync::Arc;

use super::{CheckError, CheckReport, Checker, Extent, Touched};
use crate::blob::BlobKind;
use crate::id::Id;
use crate::node::{Node, NodeKind};
use crate::reader::Reader;
use crate::tree::Tree;

/// No more are listed; all are counted.
const LISTED_MAX: usize = 10_000;

/// One folder of a walk.
struct Level {
    tree: Id,
    nodes: std::vec::IntoIter<Node>,
    path_bytes: usize,
    touched_before: u64,
}

struct Walk<'c> {
    checker: &'c Checker<'c>,
    reader: Reader,
    /// How many entries below each tree are touched; 40 bytes and a little for each tree of the repository.
    counts: HashMap<Id, u64>,
    listed: Vec<Touched>,
    count: u64,
}

impl Checker<'_> {
    /// Lists what the findings touch, in the report.
    pub(super) fn find_touched(&self) {
        let may_touch = |error: &CheckError| {
            matches!(
                error,
                CheckError::Tree { .. } | CheckError::Node { .. } | CheckError::BlobMissing { .. }
            )
        };
        if self.lost.is_empty() && !self.report.lock().errors.iter().any(may_touch) {
            return;
        }
        let mut walk = Walk {
            checker: self,
            reader: Reader::new(self.repository.clone(), Arc::clone(&self.index)),
            counts: HashMap::new(),
            listed: Vec::new(),
            count: 0,
        };
        for (id, snapshot) in self.snapshots.iter().rev() {
            walk.snapshot(*id, &snapshot.tree);
        }
        let CheckReport {
            touched,
            touched_count,
            ..
        } = &mut *self.report.lock();
        (*touched, *touched_count) = (walk.listed, walk.count);
    }
}

impl Walk<'_> {
    fn snapshot(&mut self, snapshot: Id, root: &Id) {
        let mut path = b"/".to_vec();
        let mut levels = Vec::new();
        self.enter(snapshot, root, &path, &mut levels);
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_bytes);
            let Some(node) = level.nodes.next() else {
                let count = self.count - level.touched_before;
                self.counts.insert(level.tree, count);
                levels.pop();
                continue;
            };
            if path.len() > 1 {
                path.push(b'/');
            }
            path.extend_from_slice(&node.name);
            match (node.kind, &node.subtree) {
                (NodeKind::Dir, Some(subtree)) => self.enter(snapshot, subtree, &path, &mut levels),
                (NodeKind::Dir, None) => self.touch(snapshot, &path, Extent::Folder),
                _ if self.is_touched(&node) => self.touch(snapshot, &path, Extent::File),
                _ => {}
            }
        }
    }

    /// Goes into a folder, unless what is in it is known.
    fn enter(&mut self, snapshot: Id, tree: &Id, path: &[u8], levels: &mut Vec<Level>) {
        match self.counts.get(tree) {
            Some(0) => return,
            Some(count) if self.listed.len() >= LISTED_MAX => {
                // Folders may share a tree, and so on below it: there may be more paths than anything can count.
                self.count = self.count.saturating_add(*count);
                return;
            }
            _ => {}
        }
        match self.reader.read_tree(tree) {
            Ok(Tree { nodes }) => levels.push(Level {
                tree: *tree,
                nodes: nodes.into_iter(),
                path_bytes: path.len(),
                touched_before: self.count,
            }),
            Err(error) if self.checker.is_away(&error) => {}
            Err(_) => self.touch(snapshot, path, Extent::Folder),
        }
    }

    /// Whether a restore would not bring the entry back as it was.
    fn is_touched(&self, node: &Node) -> bool {
        let Checker { index, lost, .. } = self.checker;
        let mut content_bytes = 0;
        for blob in &node.content {
            match lost.good_copy(index, BlobKind::Data, blob) {
                Some(place) => content_bytes += place.plaintext_length(),
                None => return true,
            }
        }
        !node.has_safe_name() || (node.kind == NodeKind::File && content_bytes != node.size)
    }

    fn touch(&mut self, snapshot: Id, path: &[u8], extent: Extent) {
        self.count = self.count.saturating_add(1);
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Touched {
                snapshot,
                path: path.to_vec(),
                extent,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use storage::Memory;

    use super::LISTED_MAX;
    use crate::check::{CheckOptions, check};
    use crate::testing::{create, doubled, snapshot_of};
    use crate::writer::{Writer, WriterOptions};

    /// Two entries of each folder share a tree, seventy levels deep.
    #[test]
    fn more_paths_than_a_number_can_count_end_no_check() {
        let repository = create(Arc::new(Memory::new()));
        let tree = doubled(&repository, 70);
        let index = Arc::new(repository.load_index().unwrap());
        let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
        writer.commit(&snapshot_of(tree)).unwrap();
        let report = check(&repository, &CheckOptions::default(), &|_| {}).unwrap();
        assert_eq!(report.error_count, 1);
        assert_eq!(
            (report.touched_count, report.touched.len()),
            (u64::MAX, LISTED_MAX)
        );
    }
}

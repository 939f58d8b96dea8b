//! What is different in another tree: paths, and the blobs that only one of both needs.
//!
//! Two trees are walked side by side; what is the same tree in both is not looked into. Which blobs went or came is known
//! of what differs; whether the rest of the other tree has them too is looked up after that, and only while there is one
//! of which it is not known. Memory grows with what differs and with the number of folders, not with the files.

#[cfg(test)]
mod tests;

use std::collections::btree_map::IntoIter;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::node::{Node, NodeKind};
use crate::reader::Reader;

/// Folders in folders deeper than this are a damaged or hostile tree.
const MAX_DEPTH: usize = 10_000;

/// How trees are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffOptions {
    /// Tell of what differs in its metadata alone, too.
    pub with_metadata: bool,
}

/// How much is on one side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffCounts {
    /// Files.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Links, devices and so on.
    pub others: u64,
    /// Data blobs that the other side does not need.
    pub data_blobs: u64,
    /// Tree blobs that the other side does not need.
    pub tree_blobs: u64,
    /// Bytes of these blobs before compression.
    pub bytes: u64,
}

impl DiffCounts {
    fn add(&mut self, node: &Node) {
        match node.kind {
            NodeKind::File => self.files += 1,
            NodeKind::Dir => self.dirs += 1,
            _ => self.others += 1,
        }
    }
}

/// All that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffReport {
    /// Files whose content is another.
    pub changed_files: u64,
    /// What only the second tree has.
    pub added: DiffCounts,
    /// What only the first tree has.
    pub removed: DiffCounts,
}

type Blobs = HashSet<(BlobKind, Id)>;
/// One name in both folders.
type Pair = (Option<Node>, Option<Node>);

/// Compares the tree `from` with the tree `to`. `tell` gets each path that differs (absolute; folders end with a slash)
/// and how, in the words of restic: `+` and `-` for what came and went, `M` another content, `M?` that with the same
/// metadata, `T` another type, `U` other metadata. `None` when it asked for the end.
///
/// # Errors
/// A tree that is missing or damaged.
pub fn diff(
    reader: &Reader,
    (from, to): (Id, Id),
    options: DiffOptions,
    tell: &mut dyn FnMut(&[u8], &str) -> ControlFlow<()>,
) -> Result<Option<DiffReport>, VaultError> {
    let mut walk = Walk {
        reader,
        options,
        report: DiffReport::default(),
        gone: Blobs::new(),
        new: Blobs::new(),
    };
    if from != to && walk.paths(from, to, tell)?.is_break() {
        return Ok(None);
    }
    walk.settle(from, to)?;
    Ok(Some(walk.count()?))
}

struct Walk<'a> {
    reader: &'a Reader,
    options: DiffOptions,
    report: DiffReport,
    /// What the first tree needs, and perhaps the second does not.
    gone: Blobs,
    /// What the second tree needs, and perhaps the first does not.
    new: Blobs,
}

impl Walk<'_> {
    /// Tells of each path, folders before what is in them. No function that calls itself: folders may be deep.
    fn paths(
        &mut self,
        from: Id,
        to: Id,
        tell: &mut dyn FnMut(&[u8], &str) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, VaultError> {
        let mut path = b"/".to_vec();
        self.gone.insert((BlobKind::Tree, from));
        self.new.insert((BlobKind::Tree, to));
        let mut levels = vec![(self.pairs(Some(from), Some(to))?, path.len())];
        while let Some((pairs, path_bytes)) = levels.last_mut() {
            path.truncate(*path_bytes);
            let Some((name, pair)) = pairs.next() else {
                levels.pop();
                continue;
            };
            path.extend_from_slice(&name);
            if pair.1.as_ref().or(pair.0.as_ref()).is_some_and(is_dir) {
                path.push(b'/');
            }
            let how = self.compare(&pair);
            if !how.is_empty() && tell(&path, how).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let below = below(&pair);
            if below.0 != below.1 {
                if levels.len() > MAX_DEPTH {
                    return Err(VaultError::DamagedTree {
                        reason: "folders in it are too deep".to_owned(),
                    });
                }
                levels.push((self.pairs(below.0, below.1)?, path.len()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The names of both folders, in order.
    fn pairs(
        &self,
        from: Option<Id>,
        to: Option<Id>,
    ) -> Result<IntoIter<Vec<u8>, Pair>, VaultError> {
        let mut pairs: BTreeMap<Vec<u8>, Pair> = BTreeMap::new();
        if let Some(id) = from {
            for node in self.reader.read_tree(&id)?.nodes {
                let pair = pairs.entry(node.name.clone()).or_default();
                pair.0 = Some(node);
            }
        }
        if let Some(id) = to {
            for node in self.reader.read_tree(&id)?.nodes {
                let pair = pairs.entry(node.name.clone()).or_default();
                pair.1 = Some(node);
            }
        }
        Ok(pairs.into_iter())
    }

    /// How an entry differs, empty when it does not; notes the blobs of it that may be on one side only.
    fn compare(&mut self, pair: &Pair) -> &'static str {
        match pair {
            (Some(node), None) => {
                self.report.removed.add(node);
                self.gone.extend(blobs_of(node));
                "-"
            }
            (None, Some(node)) => {
                self.report.added.add(node);
                self.new.extend(blobs_of(node));
                "+"
            }
            (Some(before), Some(after)) => {
                if before.content != after.content || before.subtree != after.subtree {
                    self.gone.extend(blobs_of(before));
                    self.new.extend(blobs_of(after));
                }
                self.changed(before, after)
            }
            (None, None) => "",
        }
    }

    fn changed(&mut self, before: &Node, after: &Node) -> &'static str {
        let are_files = before.kind == NodeKind::File && after.kind == NodeKind::File;
        let has_other_type = before.kind != after.kind;
        if are_files && before.content != after.content {
            self.report.changed_files += 1;
            return match is_same_but_for_content(before, after) {
                true => "M?",
                false => "M",
            };
        }
        match (
            has_other_type,
            self.options.with_metadata && before != after,
        ) {
            (true, true) => "TU",
            (true, false) => "T",
            (false, true) => "U",
            (false, false) => "",
        }
    }

    /// Strikes out what the other side needs, too: in other files, or in folders that are the same on both.
    fn settle(&mut self, from: Id, to: Id) -> Result<(), VaultError> {
        let both: Vec<_> = self.gone.intersection(&self.new).copied().collect();
        for blob in both {
            self.gone.remove(&blob);
            self.new.remove(&blob);
        }
        let mut seen = HashSet::new();
        let mut left = vec![(Some(from), Some(to))];
        while let Some((from, to)) = left.pop() {
            if self.gone.is_empty() && self.new.is_empty() {
                break;
            }
            if !seen.insert((from, to)) {
                continue;
            }
            if from == to {
                if let Some(id) = from {
                    self.settle_common(id, &mut left)?;
                }
                continue;
            }
            for (_, pair) in self.pairs(from, to)? {
                for blob in pair.0.iter().flat_map(blobs_of) {
                    self.new.remove(&blob);
                }
                for blob in pair.1.iter().flat_map(blobs_of) {
                    self.gone.remove(&blob);
                }
                let below = below(&pair);
                if below != (None, None) {
                    left.push(below);
                }
            }
        }
        Ok(())
    }

    /// The same for a folder that both have.
    fn settle_common(
        &mut self,
        id: Id,
        left: &mut Vec<(Option<Id>, Option<Id>)>,
    ) -> Result<(), VaultError> {
        for node in self.reader.read_tree(&id)?.nodes {
            for blob in blobs_of(&node) {
                self.gone.remove(&blob);
                self.new.remove(&blob);
            }
            if let Some(subtree) = node.subtree {
                left.push((Some(subtree), Some(subtree)));
            }
        }
        Ok(())
    }

    fn count(mut self) -> Result<DiffReport, VaultError> {
        for (blobs, counts) in [
            (&self.gone, &mut self.report.removed),
            (&self.new, &mut self.report.added),
        ] {
            for (kind, id) in blobs {
                match kind {
                    BlobKind::Data => counts.data_blobs += 1,
                    BlobKind::Tree => counts.tree_blobs += 1,
                }
                // A blob that is lost has no length; a check tells of it.
                let place = self.reader.place(*kind, id)?;
                counts.bytes += place.map_or(0, |place| place.plaintext_length());
            }
        }
        Ok(self.report)
    }
}

fn is_dir(node: &Node) -> bool {
    node.kind == NodeKind::Dir
}

/// The folders to look into: both of a folder that stayed one, or the one that came or went.
fn below(pair: &Pair) -> (Option<Id>, Option<Id>) {
    match pair {
        (Some(before), Some(after)) if is_dir(before) != is_dir(after) => (None, None),
        (before, after) => {
            let subtree = |node: &Option<Node>| node.as_ref().and_then(|node| node.subtree);
            (subtree(before), subtree(after))
        }
    }
}

fn blobs_of(node: &Node) -> impl Iterator<Item = (BlobKind, Id)> + '_ {
    let data = node.content.iter().map(|id| (BlobKind::Data, *id));
    data.chain(node.subtree.map(|id| (BlobKind::Tree, id)))
}

fn is_same_but_for_content(before: &Node, after: &Node) -> bool {
    let bare = |node: &Node| Node {
        content: Vec::new(),
        ..node.clone()
    };
    bare(before) == bare(after)
}

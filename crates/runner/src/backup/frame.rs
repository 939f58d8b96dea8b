//! A folder whose tree is being put together.
//!
//! A frame has one slot for each entry that the listing took. Workers fill the slots in any order; who fills the last
//! one writes the tree and fills the folder's own slot in the frame above, and so on up. So trees are written bottom
//! up, each once, and only frames with unfinished entries are in memory.
//!
//! A frame whose slots are exactly the entries of the parent snapshot's tree keeps that tree: nothing is encoded,
//! hashed or looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use vault::{Id, Node, Tree};

/// The tree that the parent snapshot has for the folder.
#[derive(Debug)]
pub(crate) struct OldTree {
    pub(crate) id: Id,
    pub(crate) nodes: Vec<Node>,
}

impl OldTree {
    pub(crate) fn new(id: Id, tree: Tree) -> OldTree {
        // Trees are sorted by name, but one written by another program might not be, and the merge relies on it.
        OldTree {
            id,
            nodes: Tree::from_nodes(tree.nodes).nodes,
        }
    }
}

/// What came of an entry.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Not done yet.
    Waiting,
    /// Left out, because it failed or because nothing in it was taken.
    Nothing,
    /// As in the parent snapshot: this node of the old tree.
    Same(u32),
    /// A new node.
    New(Box<Node>),
}

/// Where a result belongs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) frame: Arc<Frame>,
    pub(crate) slot: u32,
    /// The entry of the same name in the parent snapshot.
    pub(crate) old: Option<u32>,
}

/// What becomes of the tree of a frame.
#[derive(Debug)]
pub(crate) enum Above {
    /// It is the root tree of the snapshot.
    Root,
    /// It is the subtree of this node, which belongs there.
    Folder { place: Place, node: Box<Node> },
}

/// A folder being put together.
#[derive(Debug)]
pub(crate) struct Frame {
    // Counts slots that are not filled, and one more while the folder is being listed.
    pending_count: AtomicUsize,
    // A mutex: filling a slot is a few instructions, and two workers seldom work on one folder.
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    above: Above,
    slots: Vec<Slot>,
    old: Option<Arc<OldTree>>,
    is_dropped_when_empty: bool,
}

/// A frame that is complete.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) above: Above,
    pub(crate) tree: FinishedTree,
}

/// The tree of a frame that is complete.
#[derive(Debug)]
pub(crate) enum FinishedTree {
    /// Nothing was taken and the folder did not match itself.
    Dropped,
    /// The tree that the parent snapshot has.
    Same(Id),
    /// These nodes, sorted.
    New(Vec<Node>),
}

impl Frame {
    /// A frame for a listing that is sorted by name. One more than the open slots is pending until `Frame::listed`.
    pub(crate) fn new(
        above: Above,
        slots: Vec<Slot>,
        old: Option<Arc<OldTree>>,
        is_dropped_when_empty: bool,
    ) -> Arc<Frame> {
        let waiting = slots
            .iter()
            .filter(|slot| matches!(slot, Slot::Waiting))
            .count();
        Arc::new(Frame {
            pending_count: AtomicUsize::new(waiting + 1),
            content: Mutex::new(Content {
                above,
                slots,
                old,
                is_dropped_when_empty,
            }),
        })
    }

    /// The parent snapshot's node at a place.
    pub(crate) fn with_old<R>(
        &self,
        old: Option<u32>,
        use_it: impl FnOnce(&Node) -> R,
    ) -> Option<R> {
        let old_tree = self.content.lock().old.clone()?;
        old_tree.nodes.get(old? as usize).map(use_it)
    }

    /// Fills a slot. Gives the finished frame to who fills the last one.
    pub(crate) fn fill(&self, slot: u32, value: Slot) -> Option<Finished> {
        if let Some(place) = self.content.lock().slots.get_mut(slot as usize) {
            *place = value;
        }
        self.settle()
    }

    /// All entries are handed out.
    pub(crate) fn listed(&self) -> Option<Finished> {
        self.settle()
    }

    fn settle(&self) -> Option<Finished> {
        // The last one has to see what the others filled in; the lock that they held orders that.
        if self.pending_count.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        let mut content = self.content.lock();
        let content = std::mem::replace(
            &mut *content,
            Content {
                above: Above::Root,
                slots: Vec::new(),
                old: None,
                is_dropped_when_empty: false,
            },
        );
        Some(content.finish())
    }
}

impl Content {
    fn finish(self) -> Finished {
        let Content {
            above,
            slots,
            old,
            is_dropped_when_empty,
        } = self;
        let is_empty = slots
            .iter()
            .all(|slot| matches!(slot, Slot::Waiting | Slot::Nothing));
        if is_empty && is_dropped_when_empty {
            return Finished {
                above,
                tree: FinishedTree::Dropped,
            };
        }
        if let Some(old) = &old
            && is_same(&slots, old.nodes.len())
        {
            return Finished {
                above,
                tree: FinishedTree::Same(old.id),
            };
        }
        // Nobody else looks at the old tree once all slots are filled, so its nodes can be moved out.
        let mut old_nodes = old.map_or_else(Vec::new, |old| match Arc::try_unwrap(old) {
            Ok(old) => old.nodes,
            Err(shared) => shared.nodes.clone(),
        });
        let nodes = slots
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Waiting | Slot::Nothing => None,
                Slot::Same(old) => old_nodes.get_mut(old as usize).map(std::mem::take),
                Slot::New(node) => Some(*node),
            })
            .collect();
        Finished {
            above,
            tree: FinishedTree::New(nodes),
        }
    }
}

/// Whether the slots are all of the old tree's nodes, in order.
fn is_same(slots: &[Slot], old_count: usize) -> bool {
    let mut taken = slots.iter().filter(|slot| !matches!(slot, Slot::Nothing));
    let all = taken
        .by_ref()
        .zip(0..)
        .take(old_count)
        .filter(|(slot, at)| matches!(slot, Slot::Same(old) if old == at))
        .count();
    all == old_count && taken.next().is_none()
}

/// The path of a folder from its name and what it lies in, for messages.
pub(crate) fn path_of(name: &[u8], place: &Place) -> Vec<u8> {
    let mut names = vec![name.to_vec()];
    let mut frame = Arc::clone(&place.frame);
    loop {
        let next = match &frame.content.lock().above {
            Above::Root => break,
            Above::Folder { place, node } => {
                names.push(node.name.clone());
                Arc::clone(&place.frame)
            }
        };
        frame = next;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

impl Drop for Frame {
    fn drop(&mut self) {
        // A chain of frames is as long as the tree is deep; dropping it must not recurse.
        let mut above = std::mem::replace(&mut self.content.get_mut().above, Above::Root);
        while let Above::Folder { place, .. } = above {
            match Arc::into_inner(place.frame) {
                Some(mut frame) => {
                    above = std::mem::replace(&mut frame.content.get_mut().above, Above::Root)
                }
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.as_bytes().to_vec(),
            ..Node::default()
        }
    }

    fn old(names: &[&str]) -> Option<Arc<OldTree>> {
        let nodes = names.iter().map(|name| node(name)).collect();
        Some(Arc::new(OldTree {
            id: Id::hash(b"old"),
            nodes,
        }))
    }

    fn finish(slots: Vec<Slot>, old: Option<Arc<OldTree>>) -> FinishedTree {
        Frame::new(Above::Root, slots, old, false)
            .listed()
            .unwrap()
            .tree
    }

    #[test]
    fn unchanged_folders_keep_their_tree() {
        let check = |slots: Vec<Slot>, is_same: bool| {
            let tree = finish(slots, old(&["a", "b"]));
            assert_eq!(matches!(tree, FinishedTree::Same(_)), is_same, "{tree:?}");
        };
        check(vec![Slot::Same(0), Slot::Same(1)], true);
        check(vec![Slot::Same(0), Slot::Nothing, Slot::Same(1)], true);
        check(vec![Slot::Same(0)], false);
        check(vec![Slot::Same(1)], false);
        check(
            vec![Slot::Same(0), Slot::Same(1), Slot::New(Box::new(node("c")))],
            false,
        );
        check(vec![Slot::Same(0), Slot::New(Box::new(node("b")))], false);
        check(vec![], false);
        assert!(matches!(finish(vec![], old(&[])), FinishedTree::Same(_)));
        assert!(matches!(
            finish(vec![Slot::New(Box::new(node("x")))], old(&[])),
            FinishedTree::New(_)
        ));
    }

    #[test]
    fn the_last_slot_finishes_and_nodes_keep_their_order() {
        let frame = Frame::new(
            Above::Root,
            vec![Slot::Waiting, Slot::Same(1), Slot::Waiting],
            old(&["a", "b"]),
            false,
        );
        assert!(frame.fill(2, Slot::New(Box::new(node("c")))).is_none());
        assert!(frame.listed().is_none());
        let finished = frame.fill(0, Slot::Same(0)).unwrap();
        let FinishedTree::New(nodes) = finished.tree else {
            panic!("it has changed")
        };
        assert_eq!(nodes, [node("a"), node("b"), node("c")]);
    }

    #[test]
    fn empty_ways_are_dropped() {
        let frame = Frame::new(Above::Root, vec![Slot::Nothing], None, true);
        assert!(matches!(
            frame.listed().unwrap().tree,
            FinishedTree::Dropped
        ));
    }

    #[test]
    fn deep_chains_drop_without_recursion() {
        let mut frame = Frame::new(Above::Root, vec![Slot::Waiting], None, false);
        for _ in 0..200_000 {
            let place = Place {
                frame,
                slot: 0,
                old: None,
            };
            frame = Frame::new(
                Above::Folder {
                    place,
                    node: Box::default(),
                },
                vec![Slot::Waiting],
                None,
                false,
            );
        }
        drop(frame);
    }
}

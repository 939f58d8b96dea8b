//! Folders: listed, merged against the parent snapshot's trees, and turned into work.

use std::sync::Arc;

use source::SourceError;
use source::file::dir::Dir;
use source::file::listing::{Below, Entry, Scope};
use source::file::roots::RootTree;
use source::file::stat::{FileKind, FileStat};
use source::file::xattrs;
use vault::{BlobKind, Id, Node};

use super::engine::{Change, Engine, Worker};
use super::files::{BATCH_BYTES, BATCH_FILES, FileItem, FilesTask};
use super::frame::{Above, Frame, OldTree, Place, Slot};
use crate::error::RunError;
use crate::node::{has_same_content, has_same_metadata, node_of, note_error};

/// A folder to be listed.
#[derive(Debug)]
pub(crate) struct DirTask {
    pub(crate) parent: Arc<Dir>,
    pub(crate) name: Box<[u8]>,
    pub(crate) stat: FileStat,
    pub(crate) below: Below,
    pub(crate) place: Place,
}

/// What the merge decided about one entry.
enum Step {
    /// Done already.
    Fill(Slot),
    /// A folder to be listed.
    Dir,
    /// A file to be read.
    Read,
}

/// A folder that leads to paths of the job.
struct Way<'w> {
    tree: &'w RootTree,
    path: Vec<u8>,
    above: Above,
    /// The tree that the parent snapshot has for it.
    old: Option<Id>,
}

impl Engine<'_> {
    /// Queues the paths of the job. The frames for the folders that lead there are made here, before the workers start.
    /// Returns how many of the paths could be found.
    pub(crate) fn start(
        &self,
        old_root: Option<Id>,
        worker: &mut Worker,
    ) -> Result<usize, RunError> {
        let roots = self.source.roots();
        if roots.is_target {
            return self.start_at_root(old_root, worker);
        }
        let mut waiting = vec![Way {
            tree: roots,
            path: Vec::new(),
            above: Above::Root,
            old: old_root,
        }];
        let mut found_count = 0;
        while let Some(way) = waiting.pop() {
            found_count += self.start_way(way, &mut waiting, worker)?;
        }
        Ok(found_count)
    }

    /// The job is the whole file system.
    fn start_at_root(&self, old_root: Option<Id>, worker: &mut Worker) -> Result<usize, RunError> {
        match self.source.enter_root() {
            Ok(Some((dir, scope))) => {
                self.list(
                    Arc::new(dir),
                    scope,
                    Above::Root,
                    self.old_tree(old_root),
                    worker,
                )?;
                Ok(1)
            }
            Ok(None) => {
                self.complete(
                    Frame::new(Above::Root, Vec::new(), None, false).listed(),
                    &mut worker.scratch,
                )?;
                Ok(1)
            }
            Err(error) => {
                self.item_failed(&error);
                Ok(0)
            }
        }
    }

    /// One folder that leads to paths of the job: a frame with a slot for each child. Ways below it are left in
    /// `waiting`.
    fn start_way<'w>(
        &self,
        way: Way<'w>,
        waiting: &mut Vec<Way<'w>>,
        worker: &mut Worker,
    ) -> Result<usize, RunError> {
        let Way {
            tree,
            path,
            above,
            old,
        } = way;
        let old = self.old_tree(old);
        let dir = match self
            .source
            .open_way(if path.is_empty() { b"/" } else { &path })
        {
            Ok(dir) => Arc::new(dir),
            Err(error) => {
                self.item_failed(&error);
                let frame = Frame::new(above, Vec::new(), None, true);
                self.complete(frame.listed(), &mut worker.scratch)?;
                return Ok(0);
            }
        };
        let slots = tree.children.keys().map(|_| Slot::Waiting).collect();
        // A way of which no path was found is left out, but for the root tree, which every snapshot has.
        let frame = Frame::new(above, slots, old.clone(), true);
        let mut found_count = 0;
        for (slot, (name, child)) in (0..).zip(&tree.children) {
            let old_node = old.as_deref().and_then(|old| find(&old.nodes, name));
            let place = Place {
                frame: Arc::clone(&frame),
                slot,
                old: old_node,
            };
            if child.is_target {
                found_count += self.start_target(&dir, name, place, worker)?;
                continue;
            }
            let mut child_path = path.clone();
            child_path.push(b'/');
            child_path.extend_from_slice(name);
            let old_subtree = place
                .frame
                .with_old(old_node, |node| node.subtree)
                .flatten();
            match self.way_node(&child_path, name) {
                Ok(Some(node)) => {
                    let above = Above::Folder {
                        place,
                        node: Box::new(node),
                    };
                    waiting.push(Way {
                        tree: child,
                        path: child_path,
                        above,
                        old: old_subtree,
                    });
                }
                Ok(None) => self.fill(&place, Slot::Nothing, &mut worker.scratch)?,
                Err(error) => {
                    self.item_failed(&error);
                    self.fill(&place, Slot::Nothing, &mut worker.scratch)?;
                }
            }
        }
        self.complete(frame.listed(), &mut worker.scratch)?;
        Ok(found_count)
    }

    /// The node of a folder on the way; links are followed, as the path that the job named says.
    fn way_node(&self, path: &[u8], name: &[u8]) -> Result<Option<Node>, SourceError> {
        let dir = self.source.open_way(path)?;
        if self.source.scope_of_path(path, &dir).is_none() {
            return Ok(None);
        }
        let mut node = node_of(name, dir.stat(), &self.names);
        self.take_xattrs(&mut node, xattrs::read_dir(&dir));
        Ok(Some(node))
    }

    fn start_target(
        &self,
        parent: &Arc<Dir>,
        name: &[u8],
        place: Place,
        worker: &mut Worker,
    ) -> Result<usize, RunError> {
        match self.source.target_entry(parent, name) {
            Ok(Some(entry)) => {
                let slot = place.slot;
                match self.step(parent, &entry, &place)? {
                    Step::Fill(value) => self.fill(&place, value, &mut worker.scratch)?,
                    Step::Dir => self
                        .queue
                        .push_dirs(std::iter::once(dir_task(parent, entry, place))),
                    Step::Read => {
                        let files = vec![FileItem {
                            slot,
                            old: place.old,
                            name: entry.name,
                            stat: entry.stat,
                        }];
                        let task = FilesTask {
                            frame: place.frame,
                            dir: Arc::clone(parent),
                            files,
                        };
                        self.hand_out(task, worker)?;
                    }
                }
                Ok(1)
            }
            Ok(None) => {
                self.fill(&place, Slot::Nothing, &mut worker.scratch)?;
                Ok(1)
            }
            Err(error) => {
                self.item_failed(&error);
                self.fill(&place, Slot::Nothing, &mut worker.scratch)?;
                Ok(0)
            }
        }
    }

    /// Lists one folder. One that cannot be opened is kept, empty, beside its row in the error list.
    pub(crate) fn run_dir(&self, task: DirTask, worker: &mut Worker) -> Result<(), RunError> {
        let DirTask {
            parent,
            name,
            stat,
            below,
            place,
        } = task;
        let entered = self.source.enter(&parent, &name, below);
        let old_subtree = place
            .frame
            .with_old(place.old, |node| node.subtree)
            .flatten();
        let is_way = matches!(below, Below::Open { scope, .. } if !scope.is_taken);
        match entered {
            Ok(Some((dir, scope))) => {
                drop(parent);
                let node = self.dir_node(&name, dir.stat(), &place, || xattrs::read_dir(&dir));
                let above = Above::Folder {
                    place,
                    node: Box::new(node),
                };
                self.list(
                    Arc::new(dir),
                    scope,
                    above,
                    self.old_tree(old_subtree),
                    worker,
                )
            }
            Ok(None) => {
                let node = self.dir_node(&name, &stat, &place, || xattrs::read_at(&parent, &name));
                self.close_dir(node, place, is_way, worker)
            }
            Err(error) if error.is_missing() => {
                self.item_failed(&error);
                self.fill(&place, Slot::Nothing, &mut worker.scratch)
            }
            Err(error) => {
                self.item_failed(&error);
                let mut node = node_of(&name, &stat, &self.names);
                note_error(&mut node, &error);
                self.close_dir(node, place, is_way, worker)
            }
        }
    }

    fn close_dir(
        &self,
        node: Node,
        place: Place,
        is_way: bool,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        let above = Above::Folder {
            place,
            node: Box::new(node),
        };
        self.complete(
            Frame::new(above, Vec::new(), None, is_way).listed(),
            &mut worker.scratch,
        )
    }

    /// The node of a folder, without its subtree. Attributes are read only when something may have changed.
    fn dir_node(
        &self,
        name: &[u8],
        stat: &FileStat,
        place: &Place,
        read_xattrs: impl Fn() -> xattrs::ReadXattrs,
    ) -> Node {
        let known = place.frame.with_old(place.old, |old| {
            let is_known = has_same_content(old, stat)
                && has_same_metadata(old, stat, &self.names)
                && self.cutoff.is_some_and(|cutoff| cutoff.is_after(stat));
            is_known.then(|| Node {
                subtree: None,
                ..old.clone()
            })
        });
        if let Some(node) = known.flatten() {
            return node;
        }
        let mut node = node_of(name, stat, &self.names);
        self.take_xattrs(&mut node, read_xattrs());
        node
    }

    /// Reads the names of a folder, decides about each, and hands out what is left to do.
    fn list(
        &self,
        dir: Arc<Dir>,
        scope: Scope,
        above: Above,
        old: Option<Arc<OldTree>>,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        let listing = self.source.list(&dir, scope);
        for error in &listing.errors {
            self.item_failed(error);
        }
        let slots = listing.entries.iter().map(|_| Slot::Waiting).collect();
        let frame = Frame::new(above, slots, old.clone(), !scope.is_taken);
        let mut subdirs = Vec::new();
        let mut batch = Batch::default();
        let mut old_at = 0;
        for (slot, entry) in (0..).zip(listing.entries) {
            let old_node = old
                .as_deref()
                .and_then(|old| advance(&old.nodes, &mut old_at, &entry.name));
            let place = Place {
                frame: Arc::clone(&frame),
                slot,
                old: old_node,
            };
            match self.step(&dir, &entry, &place)? {
                Step::Fill(value) => self.fill(&place, value, &mut worker.scratch)?,
                Step::Dir => subdirs.push(dir_task(&dir, entry, place)),
                Step::Read => {
                    let item = FileItem {
                        slot,
                        old: old_node,
                        name: entry.name,
                        stat: entry.stat,
                    };
                    if let Some(files) = batch.add(item) {
                        self.hand_out(
                            FilesTask {
                                frame: Arc::clone(&frame),
                                dir: Arc::clone(&dir),
                                files,
                            },
                            worker,
                        )?;
                    }
                }
            }
        }
        drop(old);
        if let Some(files) = batch.rest() {
            self.hand_out(
                FilesTask {
                    frame: Arc::clone(&frame),
                    dir: Arc::clone(&dir),
                    files,
                },
                worker,
            )?;
        }
        self.queue.push_dirs(subdirs.into_iter());
        dir.rest();
        self.complete(frame.listed(), &mut worker.scratch)
    }

    /// Decides about one entry; what needs no reading is done at once.
    fn step(&self, dir: &Dir, entry: &Entry, place: &Place) -> Result<Step, RunError> {
        let kind = entry.stat.kind;
        if kind == FileKind::Dir {
            return Ok(Step::Dir);
        }
        if self.is_unchanged(entry, place) {
            if kind == FileKind::File {
                self.file_done(Change::Unmodified, entry.stat.size_bytes);
            } else {
                self.item_done(Change::Unmodified);
            }
            return Ok(Step::Fill(place.old.map_or(Slot::Nothing, Slot::Same)));
        }
        if kind == FileKind::File {
            return Ok(Step::Read);
        }
        let mut node = node_of(&entry.name, &entry.stat, &self.names);
        if kind == FileKind::Symlink {
            match dir.read_link(&entry.name) {
                Ok(target) => node.link_target = target,
                Err(error) => {
                    self.item_failed(&error);
                    return Ok(Step::Fill(Slot::Nothing));
                }
            }
        }
        self.take_xattrs(&mut node, xattrs::read_at(dir, &entry.name));
        let (slot, change) = Engine::compare(place, node);
        self.item_done(change);
        Ok(Step::Fill(slot))
    }

    /// Whether the parent's node can be taken over: nothing that `lstat` shows differs, the times are old enough to
    /// prove it, and the vault still has the content.
    fn is_unchanged(&self, entry: &Entry, place: &Place) -> bool {
        let Some(cutoff) = self.cutoff else {
            return false;
        };
        let is_same = |old: &Node| {
            has_same_content(old, &entry.stat)
                && has_same_metadata(old, &entry.stat, &self.names)
                && cutoff.is_after(&entry.stat)
                && old
                    .content
                    .iter()
                    .all(|id| self.writer.contains(BlobKind::Data, id))
        };
        place.frame.with_old(place.old, is_same).unwrap_or(false)
    }

    /// Queues files, or reads them here when the queue is full.
    fn hand_out(&self, task: FilesTask, worker: &mut Worker) -> Result<(), RunError> {
        match self.queue.push_files(task) {
            Ok(()) => Ok(()),
            Err(task) => self.run_files(task, worker),
        }
    }

    /// The parent snapshot's tree. One that cannot be read is as good as none: everything below is read anew, and the tree
    /// is stored again if it comes out the same.
    fn old_tree(&self, id: Option<Id>) -> Option<Arc<OldTree>> {
        let id = id?;
        match self.reader.read_tree(&id) {
            Ok(tree) => Some(Arc::new(OldTree::new(id, tree))),
            Err(_) => {
                self.writer.note_unreadable_tree(id);
                self.changes.unreadable_trees.add(1);
                None
            }
        }
    }
}

fn dir_task(parent: &Arc<Dir>, entry: Entry, place: Place) -> DirTask {
    DirTask {
        parent: Arc::clone(parent),
        name: entry.name,
        stat: entry.stat,
        below: entry.below,
        place,
    }
}

/// Files that are read as one task.
#[derive(Default)]
struct Batch {
    files: Vec<FileItem>,
    length_bytes: u64,
}

impl Batch {
    /// Takes one more; gives the batch when it is full.
    fn add(&mut self, item: FileItem) -> Option<Vec<FileItem>> {
        self.length_bytes += item.stat.size_bytes;
        self.files.push(item);
        let is_full = self.files.len() >= BATCH_FILES || self.length_bytes >= BATCH_BYTES;
        if is_full { self.rest() } else { None }
    }

    fn rest(&mut self) -> Option<Vec<FileItem>> {
        self.length_bytes = 0;
        let files = std::mem::take(&mut self.files);
        (!files.is_empty()).then_some(files)
    }
}

fn find(nodes: &[Node], name: &[u8]) -> Option<u32> {
    let at = nodes
        .binary_search_by(|node| node.name.as_slice().cmp(name))
        .ok()?;
    u32::try_from(at).ok()
}

/// Moves `at` forward to `name` in the sorted nodes, which is a merge when the names come sorted too.
fn advance(nodes: &[Node], at: &mut usize, name: &[u8]) -> Option<u32> {
    while nodes
        .get(*at)
        .is_some_and(|node| node.name.as_slice() < name)
    {
        *at += 1;
    }
    let is_match = nodes.get(*at).is_some_and(|node| node.name == name);
    is_match.then(|| u32::try_from(*at).ok()).flatten()
}

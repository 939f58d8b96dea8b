//! Walks the trees of a snapshot: makes folders and everything that has no content, and plans the files.
//!
//! Files are planned in batches of bounded memory, which are written while the walk goes on (`flow`). A blob is read
//! once per batch, which is once in all unless it is in files far apart.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::names::LONGEST_PATH_BYTES;
use source::SourceError;
use source::file::filter::Choice;
use source::file::path::{is_plain_name, push_component};
use source::file::roots::RootTree;
use source::file::stat::FileStat;
use source::file::target::{InTheWay, Special, TargetDir};
use storage::ErrorKind;
use vault::{BlobKind, Id, Node, NodeKind, Tree, VaultError};

use super::Session;
use super::batch::{Batch, BlobUse, PlannedFile, PlannedLink, Primary};
use super::conflict::{Decision, decide};
use super::flow::{self, BatchSender, WriterGone};
use super::metadata::NodeMetadata;
use crate::error::RunError;
use crate::node::file_time;
use crate::observe::{ItemError, Phase};

/// One folder of the walk.
struct Level {
    nodes: std::vec::IntoIter<Node>,
    last_name: Vec<u8>,
    state: LevelState,
    is_taken: bool,
    path_bytes: usize,
}

enum LevelState {
    /// It only leads to what is wanted, and is made when that is found.
    Unmade(Box<Node>),
    /// It is there. In a new one nothing can be in the way.
    Made { dir: TargetDir, is_new: bool },
}

/// What a folder is to the restore.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DirRole {
    /// It was backed up for itself, and its metadata is restored.
    Wanted,
    /// It leads to what was backed up or is wanted. Where it exists it belongs to others too and stays as it is.
    Way,
}

pub(super) struct Planner<'s> {
    session: &'s Session<'s>,
    levels: Vec<Level>,
    path: Vec<u8>,
    finished_dirs: Vec<(TargetDir, NodeMetadata)>,
    /// By inode and device.
    primaries: HashMap<(u64, u64), Arc<Primary>>,
    batch: Batch,
    /// The folders above the paths of the snapshot.
    ways: HashSet<Vec<u8>>,
}

impl<'s> Planner<'s> {
    pub(super) fn new(session: &'s Session<'s>, snapshot_paths: &[String]) -> Planner<'s> {
        // Longer ones are of no file system, and each of their folders would cost its whole path.
        let paths = snapshot_paths
            .iter()
            .map(String::as_bytes)
            .filter(|path| path.len() <= LONGEST_PATH_BYTES);
        let ways = RootTree::new(paths).ways().into_iter().collect();
        Planner {
            session,
            ways,
            levels: Vec::new(),
            path: Vec::new(),
            finished_dirs: Vec::new(),
            primaries: HashMap::new(),
            batch: Batch::default(),
        }
    }

    /// Walks, and writes beside it. Folders get their metadata when all is written.
    pub(super) fn run(mut self, root_tree: &Id) -> Result<(), RunError> {
        let session = self.session;
        let (walked, written) = std::thread::scope(|scope| {
            let (sender, receiver) = flow::meeting();
            let writer = scope.spawn(move || flow::write_all(session, &receiver));
            let walked = self.walk(root_tree, sender);
            if walked.is_err() {
                session.is_over.store(true, Ordering::Relaxed);
            }
            (walked, writer.join().unwrap_or(Err(RunError::Worker)))
        });
        // The writer has the reason when the walk ended because of it.
        match walked? {
            Walked::ToTheEnd => written?,
            Walked::UntilTheWriterWasGone => return written.and(Err(RunError::Worker)),
        }
        self.finish_dirs();
        Ok(())
    }

    fn walk(&mut self, root_tree: &Id, sender: BatchSender) -> Result<Walked, RunError> {
        let tree = self.session.reader.read_tree(root_tree)?;
        let root = self.session.target.root();
        let is_taken = self.session.filter.choose_path(b"/", true) == Choice::Take;
        self.enter(
            tree,
            LevelState::Made {
                dir: root,
                is_new: false,
            },
            is_taken,
        );
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path_bytes);
            match level.nodes.next() {
                None => {
                    self.levels.pop();
                }
                Some(node) => self.node(node)?,
            }
            if let Some(how) = self.session.stop.requested() {
                return Err(RunError::Stopped(how));
            }
            if let Err(WriterGone) = sender.offer(&mut self.batch) {
                return Ok(Walked::UntilTheWriterWasGone);
            }
        }
        match sender.finish(std::mem::take(&mut self.batch)) {
            Ok(()) => Ok(Walked::ToTheEnd),
            Err(WriterGone) => Ok(Walked::UntilTheWriterWasGone),
        }
    }

    fn enter(&mut self, tree: Tree, state: LevelState, is_taken: bool) {
        let nodes = Tree::from_nodes(tree.nodes).nodes.into_iter();
        let path_bytes = self.path.len();
        self.levels.push(Level {
            nodes,
            last_name: Vec::new(),
            state,
            is_taken,
            path_bytes,
        });
    }

    /// One entry of the innermost folder.
    fn node(&mut self, node: Node) -> Result<(), RunError> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let is_double = !level.last_name.is_empty() && level.last_name == node.name;
        level.last_name.clone_from(&node.name);
        let parent_is_taken = level.is_taken;
        if self.path.is_empty() {
            self.path.push(b'/');
        }
        push_component(&mut self.path, &node.name);
        if !is_plain_name(&node.name) {
            self.item_failed(
                "create",
                "the name is not a plain name; it could lead out of its folder",
            );
            return Ok(());
        }
        if is_double {
            self.item_failed("create", "the name is there twice in one folder");
            return Ok(());
        }
        let is_dir = node.kind == NodeKind::Dir;
        let choice = self
            .session
            .filter
            .choose(&self.path, is_dir, parent_is_taken);
        match choice {
            Choice::Leave => Ok(()),
            Choice::Pass => self.pass(node),
            Choice::Take if is_dir => self.take_dir(node),
            Choice::Take => self.take_other(node),
        }
    }

    fn pass(&mut self, node: Node) -> Result<(), RunError> {
        if let Some(tree) = self.read_subtree(&node)? {
            self.enter(tree, LevelState::Unmade(Box::new(node)), false);
        }
        Ok(())
    }

    fn take_dir(&mut self, node: Node) -> Result<(), RunError> {
        self.session.tally.items_total.add(1);
        let Some((parent, _)) = self.made()? else {
            return Ok(());
        };
        let subtree = self.read_subtree(&node)?;
        let role = match self.ways.contains(&self.path) {
            true => DirRole::Way,
            false => DirRole::Wanted,
        };
        let Some(state) = self.make_dir(parent, node, role)? else {
            return Ok(());
        };
        if let Some(tree) = subtree {
            self.enter(tree, state, true);
        }
        Ok(())
    }

    /// Makes one folder; `None` when that failed and is told.
    fn make_dir(
        &mut self,
        parent: TargetDir,
        mut node: Node,
        role: DirRole,
    ) -> Result<Option<LevelState>, RunError> {
        let in_the_way = match self.session.conflict {
            model::ConflictPolicy::OverwriteExisting => InTheWay::Replace,
            _ => InTheWay::Refuse,
        };
        let is_ours = match self.is_our_dir(parent, &node.name) {
            Ok(is_ours) => is_ours?,
            Err(error) => return self.session.target_failed(error).map(|()| None),
        };
        let target = self.session.target;
        let made = match role {
            DirRole::Way if self.session.is_original => {
                target.make_way(parent, &node.name, in_the_way)
            }
            _ => target.make_dir(parent, &node.name, in_the_way),
        };
        match made {
            Ok(made) => {
                let modified = file_time(node.mtime);
                let decision = decide(self.session.conflict, made.existing.as_ref(), modified);
                let is_kept = role == DirRole::Way && made.existing.is_some();
                if is_ours || decision != Decision::Skip && !is_kept {
                    self.finished_dirs
                        .push((made.dir, NodeMetadata::of(&mut node)));
                }
                self.session.counts.dirs.add(1);
                self.session.item_done(made.existing.is_none());
                Ok(Some(LevelState::Made {
                    dir: made.dir,
                    is_new: made.existing.is_none(),
                }))
            }
            Err(error) => self.session.target_failed(error).map(|()| None),
        }
    }

    /// Whether a former attempt of this job made the folder. One that is about to be made is written down. The outer
    /// error is that of the target, the inner one ends the run.
    fn is_our_dir(
        &self,
        parent: TargetDir,
        name: &[u8],
    ) -> Result<Result<bool, RunError>, SourceError> {
        let Some(journal) = &self.session.journal else {
            return Ok(Ok(false));
        };
        let path = self.session.target.path_of(parent, name);
        if journal.knows(&path) {
            return Ok(Ok(true));
        }
        if self.session.target.existing(parent, name)?.is_some() {
            return Ok(Ok(false));
        }
        Ok(journal
            .add(&path)
            .map(|()| false)
            .map_err(|source| RunError::Journal {
                path: PathBuf::from(OsString::from_vec(path)),
                source,
            }))
    }

    /// The innermost folder, made if it was not yet, and whether it is new. `None` when it cannot be made: what lies in
    /// it is given up.
    fn made(&mut self) -> Result<Option<(TargetDir, bool)>, RunError> {
        if let Some(LevelState::Made { dir, is_new }) = self.levels.last().map(|level| &level.state)
        {
            return Ok(Some((*dir, *is_new)));
        }
        let mut parent = self.session.target.root();
        for depth in 0..self.levels.len() {
            if let LevelState::Made { dir, .. } = self.levels[depth].state {
                parent = dir;
                continue;
            }
            let placeholder = LevelState::Unmade(Box::default());
            let LevelState::Unmade(node) =
                std::mem::replace(&mut self.levels[depth].state, placeholder)
            else {
                continue;
            };
            self.session.tally.items_total.add(1);
            match self.make_dir(parent, *node, DirRole::Way)? {
                Some(state) => {
                    if let LevelState::Made { dir, .. } = state {
                        parent = dir;
                    }
                    self.levels[depth].state = state;
                }
                None => {
                    self.levels.truncate(depth);
                    return Ok(None);
                }
            }
        }
        Ok(match self.levels.last().map(|level| &level.state) {
            Some(LevelState::Made { dir, is_new }) => Some((*dir, *is_new)),
            _ => None,
        })
    }

    /// A folder's tree; `None` when it cannot be read and that is told.
    fn read_subtree(&mut self, node: &Node) -> Result<Option<Tree>, RunError> {
        let Some(id) = node.subtree else {
            self.item_failed("list", "the snapshot has no tree for this folder");
            return Ok(None);
        };
        match self.session.reader.read_tree(&id) {
            Ok(tree) => Ok(Some(tree)),
            Err(error) => {
                let message = words_of(error)?;
                self.item_failed("list", &message);
                Ok(None)
            }
        }
    }

    fn take_other(&mut self, node: Node) -> Result<(), RunError> {
        if node.kind == NodeKind::Socket {
            return Ok(());
        }
        self.session.tally.items_total.add(1);
        let Some((dir, is_new)) = self.made()? else {
            return Ok(());
        };
        let existing = if is_new {
            Ok(None)
        } else {
            self.session.target.existing(dir, &node.name)
        };
        let existing: Option<FileStat> = match existing {
            Ok(existing) => existing,
            Err(error) => return self.session.target_failed(error),
        };
        match decide(
            self.session.conflict,
            existing.as_ref(),
            file_time(node.mtime),
        ) {
            Decision::Skip => {
                self.session.counts.skipped.add(1);
                self.session.item_done(false);
                if node.kind == NodeKind::File {
                    self.session.tally.files_total.add(1);
                    self.session.tally.files_done.add(1);
                }
                Ok(())
            }
            Decision::Write(in_the_way) if node.kind == NodeKind::File => {
                self.plan_file(dir, node, in_the_way)
            }
            Decision::Write(in_the_way) => self.make_special(dir, node, in_the_way),
        }
    }

    fn make_special(
        &mut self,
        dir: TargetDir,
        mut node: Node,
        in_the_way: InTheWay,
    ) -> Result<(), RunError> {
        let link_target = std::mem::take(&mut node.link_target);
        let special = match node.kind {
            NodeKind::Symlink => Special::Symlink(&link_target),
            NodeKind::Fifo => Special::Fifo,
            NodeKind::Device => Special::BlockDevice(node.device),
            NodeKind::CharDevice => Special::CharDevice(node.device),
            NodeKind::File | NodeKind::Dir | NodeKind::Socket | NodeKind::Irregular => {
                self.item_failed("create", "things of this kind cannot be restored");
                return Ok(());
            }
        };
        let metadata = NodeMetadata::of(&mut node);
        match self.session.target.make_special(
            dir,
            &node.name,
            special,
            &metadata.as_target(),
            in_the_way,
        ) {
            Ok(errors) => {
                self.session.counts.others.add(1);
                self.session.item_done(true);
                self.session.metadata_failed(&errors);
                Ok(())
            }
            Err(error) => self.session.target_failed(error),
        }
    }

    fn plan_file(
        &mut self,
        dir: TargetDir,
        mut node: Node,
        in_the_way: InTheWay,
    ) -> Result<(), RunError> {
        self.session.tally.files_total.add(1);
        self.session.tally.bytes_total.add(node.size);
        let primary = match self.link(dir, &node, in_the_way) {
            Linked::ToAnother => return Ok(()),
            Linked::First(primary) => Some(primary),
            Linked::Alone => None,
        };
        let metadata = NodeMetadata::of(&mut node);
        let file = PlannedFile::new(
            dir,
            node.name.into(),
            node.size,
            metadata,
            in_the_way,
            primary,
            node.content,
        );
        let number = self.batch.files.len() as u32;
        let mut offset = 0;
        let uses_before = self.batch.uses.len();
        for (content, id) in (0..).zip(&file.content) {
            let found = match self.session.reader.place(BlobKind::Data, id) {
                Ok(Some(location)) => Ok(location),
                Ok(None) => Err(VaultError::BlobMissing {
                    kind: BlobKind::Data,
                    id: *id,
                }),
                Err(error) => Err(error),
            };
            let location = match found {
                Ok(location) => location,
                Err(error) => {
                    self.batch.uses.truncate(uses_before);
                    let message = words_of(error)?;
                    self.file_failed(&message);
                    return Ok(());
                }
            };
            let pack = self.batch.pack_number(&location.pack);
            self.batch.uses.push(BlobUse {
                pack,
                blob_offset: location.offset,
                blob_length: location.length,
                uncompressed_length: location.uncompressed_length,
                file: number,
                content,
                offset,
            });
            offset += location.plaintext_length();
        }
        if offset != node.size {
            self.batch.uses.truncate(uses_before);
            let message = format!(
                "the snapshot says {} bytes, but its blobs have {offset}",
                node.size
            );
            self.file_failed(&message);
            return Ok(());
        }
        self.batch.metadata_bytes += file.metadata.held_bytes();
        self.batch.files.push(file);
        Ok(())
    }

    /// Ties hard links together. Inode numbers of different file systems may be equal where the snapshot names no
    /// device, and numbers are given anew while a backup runs: size and all of the content have to agree too.
    fn link(&mut self, dir: TargetDir, node: &Node, in_the_way: InTheWay) -> Linked {
        if node.links < 2 {
            return Linked::Alone;
        }
        let key = (node.inode, node.device_id);
        let content = hash_of(&node.content);
        if let Some(primary) = self.primaries.get(&key)
            && primary.size == node.size
            && primary.content == content
        {
            let name = node.name.clone().into();
            let link = PlannedLink {
                dir,
                name,
                in_the_way,
                primary: Arc::clone(primary),
                size: node.size,
            };
            self.batch.links.push(link);
            return Linked::ToAnother;
        }
        let primary = Arc::new(Primary {
            dir,
            name: node.name.clone().into(),
            size: node.size,
            content,
            is_restored: AtomicBool::new(false),
        });
        self.primaries.insert(key, Arc::clone(&primary));
        Linked::First(primary)
    }

    /// Deepest first: a folder that nobody may enter any more is done after what lies in it.
    fn finish_dirs(&mut self) {
        self.session.tally.enter(Phase::Finishing);
        for (dir, metadata) in self.finished_dirs.drain(..).rev() {
            let errors = self.session.target.finish_dir(dir, &metadata.as_target());
            self.session.metadata_failed(&errors);
        }
    }

    fn file_failed(&self, message: &str) {
        self.session.tally.files_done.add(1);
        self.item_failed("read", message);
    }

    /// Books a failure of the entry that the walk is at.
    fn item_failed(&self, operation: &'static str, message: &str) {
        self.session.tally.items_done.add(1);
        self.session
            .words(self.path.clone(), operation, message.to_owned());
    }
}

/// A hash of these ids, one after the other.
fn hash_of(ids: &[Id]) -> Id {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    Id::hash(&bytes)
}

/// How far a walk came.
enum Walked {
    ToTheEnd,
    UntilTheWriterWasGone,
}

enum Linked {
    Alone,
    First(Arc<Primary>),
    ToAnother,
}

/// What a failed read of the vault means for the files that need it, in words; an error when it means the end of the
/// run, because the vault as a whole does not answer.
pub(super) fn words_of(error: VaultError) -> Result<String, RunError> {
    match error.storage_kind() {
        Some(ErrorKind::Transient | ErrorKind::Throttled) => Err(error.into()),
        _ => Ok(error.to_string()),
    }
}

impl Session<'_> {
    pub(super) fn item_done(&self, is_new: bool) {
        self.tally.items_done.add(1);
        if is_new {
            self.tally.actual_items.add(1);
        }
    }

    /// Books an item that the target refused. A full target ends the run: nothing more will fit.
    pub(super) fn target_failed(&self, error: SourceError) -> Result<(), RunError> {
        if error.is_full() {
            return Err(RunError::Target(error));
        }
        self.tally.items_done.add(1);
        self.tally.fail(self.observer, &ItemError::from(&error));
        Ok(())
    }

    /// Books metadata that could not be set on something that was made.
    pub(super) fn metadata_failed(&self, errors: &[SourceError]) {
        for error in errors {
            self.tally.fail(self.observer, &ItemError::from(error));
        }
    }

    /// Books a failure in words.
    pub(super) fn words(&self, path: Vec<u8>, operation: &'static str, message: String) {
        let path = PathBuf::from(OsString::from_vec(path));
        self.tally
            .fail(self.observer, &ItemError::new(path, operation, message));
    }
}

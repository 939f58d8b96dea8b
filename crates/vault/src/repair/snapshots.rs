//! Snapshots that name what is lost: written anew without it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{load_index, quarantine};
use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::Index;
use crate::layout::FileKind;
use crate::lock::LockKind;
use crate::node::{Node, NodeKind};
use crate::prune::Run;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::snapshot_json::SnapshotFields;
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

/// The tag of a snapshot that was written anew, as restic has it.
const TAG: &str = "repaired";
/// Folders in folders deeper than this count as lost: a damaged or hostile tree.
const MAX_DEPTH: usize = 10_000;
/// Room for so many calls of a function that calls itself.
const STACK_BYTES: usize = 512 << 20;

/// No more lost paths are listed, over all snapshots; all are counted. A vault that lost its index has lost each path of
/// each snapshot, which is more than anybody reads.
const LISTED_MAX: usize = 10_000;
/// Nor more bytes of them: names may be long and folders deep.
const LISTED_BYTES_MAX: usize = 16 << 20;

/// What became of one snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotRepair {
    /// The snapshot, which was moved away.
    pub id: Id,
    /// The one that was written in its place; `None` when nothing of it is left, or in a dry run.
    pub replacement: Option<Id>,
    /// How many files and folders are missing in the replacement; a folder that cannot be read counts as one.
    pub lost_count: u64,
    /// Their paths, as far as they are text; folders end with a slash. The first 10,000 of all snapshots together, newest
    /// snapshot first.
    pub lost_paths: Vec<String>,
}

/// What a repair of snapshots found and did, or would do.
#[derive(Debug, Clone, Default)]
pub struct SnapshotsRepair {
    /// Snapshots with losses.
    pub repaired: Vec<SnapshotRepair>,
    /// Snapshot files that cannot be read, which were moved away.
    pub unreadable: Vec<Id>,
    /// Snapshots that are whole.
    pub whole_count: usize,
}

/// What is left of a tree, or of one entry of it.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Whole,
    Lost,
    /// The tree that takes its place, and how much is missing below it.
    Part(Id, u64),
}

/// Repairs all snapshots. A blob counts as lost when no index names it, not even in a pack that is marked for deletion; run
/// [`super::repair_packs`] before, so that damaged ones are named no more.
pub fn repair_snapshots(repository: &Repository, run: Run) -> Result<SnapshotsRepair, VaultError> {
    let lock = repository.lock(LockKind::Exclusive)?;
    repository.sync_what_is_there()?;
    let index = Arc::new(load_index(repository)?);
    let mut report = SnapshotsRepair::default();
    let snapshots = read_snapshots(repository, &mut report)?;
    let writer = match run {
        Run::Dry => None,
        Run::Real => Some(Writer::open(
            repository.clone(),
            Arc::clone(&index),
            WriterOptions {
                read_back: true,
                ..WriterOptions::default()
            },
        )?),
    };
    let mut surgeon = Surgeon {
        reader: Reader::new(repository.clone(), Arc::clone(&index)),
        index: &index,
        writer: writer.as_ref(),
        scratch: BlobScratch::new(),
        known: HashMap::new(),
    };
    let new_trees = surgeon.examine_all(&snapshots, &mut report)?;
    let written = surgeon.written();
    let Some(writer) = writer else {
        return Ok(report);
    };
    writer.flush()?;
    if !report.repaired.is_empty() {
        refuse_unfindable(repository, &written)?;
    }
    for (repaired, tree) in report.repaired.iter_mut().zip(new_trees) {
        lock.ensure_held()?;
        if let Some(tree) = tree {
            repaired.replacement = Some(replace(repository, &snapshots, &repaired.id, &tree)?);
        }
        quarantine(repository, &lock, FileKind::Snapshot, &repaired.id)?;
    }
    for id in &report.unreadable {
        quarantine(repository, &lock, FileKind::Snapshot, id)?;
    }
    Ok(report)
}

/// All snapshots that can be read; the others become part of the report.
fn read_snapshots(
    repository: &Repository,
    report: &mut SnapshotsRepair,
) -> Result<Vec<(Id, Snapshot)>, VaultError> {
    let (mut snapshots, damaged) = repository.snapshots_and_damage()?;
    for (id, _) in damaged {
        // Wrong bytes once do not make a file damaged.
        match repository.snapshot(&id) {
            Ok(snapshot) => snapshots.push((id, snapshot)),
            Err(VaultError::Damaged { .. }) => report.unreadable.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok(snapshots)
}

/// The new trees must be found by whoever reads the repository before anything goes: a storage may have kept no index of
/// them.
fn refuse_unfindable(repository: &Repository, trees: &[Id]) -> Result<(), VaultError> {
    let fresh = repository.load_tree_index()?;
    match trees
        .iter()
        .find(|tree| !fresh.contains(BlobKind::Tree, tree))
    {
        None => Ok(()),
        Some(tree) => Err(VaultError::Refused {
            reason: format!("the storage did not keep the index of tree {tree}, which was written"),
        }),
    }
}

/// Writes the snapshot anew with another tree, and reads it back.
fn replace(
    repository: &Repository,
    snapshots: &[(Id, Snapshot)],
    id: &Id,
    tree: &Id,
) -> Result<Id, VaultError> {
    let json = repository.load_json(FileKind::Snapshot, id)?;
    let mut fields = SnapshotFields::read(id, &json)?;
    fields.set_tree(tree);
    fields.set_original(id);
    fields.add_tag(TAG);
    // A repair that was killed here before has written it already.
    let repaired = snapshots.iter().filter(|(_, snapshot)| {
        snapshot.original.is_some() && snapshot.tags.iter().any(|tag| tag == TAG)
    });
    fields.put_once(repository, repaired.map(|(id, _)| id))
}

struct Surgeon<'a> {
    reader: Reader,
    index: &'a Index,
    /// None in a dry run.
    writer: Option<&'a Writer>,
    scratch: BlobScratch,
    known: HashMap<Id, Rest>,
}

impl Surgeon<'_> {
    /// Looks at each snapshot, and gives the trees that take the place of those with losses; `None` where nothing is left.
    fn examine_all(
        &mut self,
        snapshots: &[(Id, Snapshot)],
        report: &mut SnapshotsRepair,
    ) -> Result<Vec<Option<Id>>, VaultError> {
        let (mut roots, mut new_trees) = (Vec::new(), Vec::new());
        for (id, snapshot) in snapshots {
            let (tree, lost_count) = match self.examine(snapshot.tree)? {
                Rest::Whole => {
                    report.whole_count += 1;
                    continue;
                }
                Rest::Lost => (None, 1),
                Rest::Part(tree, lost_count) => (Some(tree), lost_count),
            };
            roots.push(snapshot.tree);
            new_trees.push(tree);
            report.repaired.push(SnapshotRepair {
                id: *id,
                replacement: None,
                lost_count,
                lost_paths: Vec::new(),
            });
        }
        let mut room = Room {
            path_count: LISTED_MAX,
            bytes: LISTED_BYTES_MAX,
        };
        for (repaired, root) in report.repaired.iter_mut().zip(&roots).rev() {
            repaired.lost_paths = self.list_lost(root, &mut room)?;
        }
        Ok(new_trees)
    }

    /// What is left of a tree, looked at by a thread with room for deep ones.
    fn examine(&mut self, root: Id) -> Result<Rest, VaultError> {
        let failed = |reason: String| VaultError::Thread { reason };
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("repair".to_owned())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.rest_of(root, 0))
                .map_err(|error| failed(error.to_string()))?
                .join()
                .unwrap_or_else(|_| Err(failed("the repair ended early".to_owned())))
        })
    }

    /// The trees that were written, or are there already under the same name.
    fn written(&self) -> Vec<Id> {
        let rests = self.known.values();
        rests
            .filter_map(|rest| match rest {
                Rest::Part(tree, _) => Some(*tree),
                Rest::Whole | Rest::Lost => None,
            })
            .collect()
    }

    fn rest_of(&mut self, id: Id, depth: usize) -> Result<Rest, VaultError> {
        if let Some(rest) = self.known.get(&id) {
            return Ok(*rest);
        }
        let rest = match self.read_tree(&id)? {
            _ if depth > MAX_DEPTH => Rest::Lost,
            Some(tree) => self.part_of(&tree, depth)?,
            None => Rest::Lost,
        };
        self.known.insert(id, rest);
        Ok(rest)
    }

    /// `None` when the tree is lost. What the storage cannot give for now is not.
    fn read_tree(&self, id: &Id) -> Result<Option<Tree>, VaultError> {
        let read = self.reader.read_tree(id);
        match read.or_else(|_| self.reader.read_tree(id)) {
            Ok(tree) => Ok(Some(tree)),
            Err(VaultError::Storage(error)) if is_passing(error.kind) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    fn part_of(&mut self, tree: &Tree, depth: usize) -> Result<Rest, VaultError> {
        let mut nodes = Vec::with_capacity(tree.nodes.len());
        let mut names = HashSet::new();
        // Two entries may share a tree, and so on below it: there may be more paths than anything can count.
        let (mut lost_count, mut doubled_count) = (0_u64, 0);
        for node in &tree.nodes {
            match self.rest_of_entry(node, depth)? {
                Rest::Lost => lost_count = lost_count.saturating_add(1),
                _ if !names.insert(&node.name) => doubled_count += 1,
                Rest::Whole => nodes.push(node.clone()),
                Rest::Part(new, below) => {
                    lost_count = lost_count.saturating_add(below);
                    nodes.push(Node {
                        subtree: Some(new),
                        ..node.clone()
                    });
                }
            }
        }
        if lost_count == 0 {
            return Ok(Rest::Whole);
        }
        // A tree of another program may have a name twice. Where nothing is lost it stays as it is; where it is written anew
        // each name is there once, and what else had it is lost.
        let lost_count = lost_count.saturating_add(doubled_count);
        let tree = Tree::from_nodes(nodes);
        let id = match self.writer {
            Some(writer) => writer.save_tree(&tree, &mut self.scratch)?.id,
            None => Id::hash(&tree.encode()?),
        };
        Ok(Rest::Part(id, lost_count))
    }

    fn rest_of_entry(&mut self, node: &Node, depth: usize) -> Result<Rest, VaultError> {
        let is_there = |blob: &Id| self.index.get(BlobKind::Data, blob).is_some();
        if !node.content.iter().all(is_there) {
            return Ok(Rest::Lost);
        }
        match node.subtree {
            Some(subtree) => self.rest_of(subtree, depth + 1),
            None if node.kind == NodeKind::Dir => Ok(Rest::Lost),
            None => Ok(Rest::Whole),
        }
    }

    /// The paths that are lost of a tree that was examined, as long as there is room. It is walked once more, and only
    /// where something is lost, so that nothing has to be kept for each path.
    fn list_lost(&mut self, root: &Id, room: &mut Room) -> Result<Vec<String>, VaultError> {
        let mut listed = Vec::new();
        let mut path = b"/".to_vec();
        let mut levels = Vec::new();
        match self.read_tree(root)? {
            Some(tree) => levels.push((tree.nodes.into_iter(), path.len(), HashSet::new())),
            None => listed.extend(room.take(&path)),
        }
        while let Some((nodes, path_bytes, _)) = levels.last_mut()
            && !room.is_used_up()
        {
            path.truncate(*path_bytes);
            let Some(node) = nodes.next() else {
                levels.pop();
                continue;
            };
            path.extend_from_slice(&node.name);
            if node.subtree.is_some() || node.kind == NodeKind::Dir {
                path.push(b'/');
            }
            let rest = self.rest_of_entry(&node, levels.len() - 1)?;
            let names = levels.last_mut().map(|(_, _, names)| names);
            let is_first =
                matches!(rest, Rest::Lost) || names.is_some_and(|names| names.insert(node.name));
            let below = match (rest, node.subtree) {
                (Rest::Whole, _) if is_first => continue,
                (Rest::Part(..), Some(subtree)) if is_first => self.read_tree(&subtree)?,
                _ => None,
            };
            match below {
                Some(tree) => levels.push((tree.nodes.into_iter(), path.len(), HashSet::new())),
                None => listed.extend(room.take(&path)),
            }
        }
        Ok(listed)
    }
}

/// How many paths may still be listed.
struct Room {
    path_count: usize,
    bytes: usize,
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.path_count == 0 || self.bytes == 0
    }

    fn take(&mut self, path: &[u8]) -> Option<String> {
        if self.is_used_up() {
            return None;
        }
        self.path_count -= 1;
        self.bytes = self.bytes.saturating_sub(path.len());
        Some(String::from_utf8_lossy(path).into_owned())
    }
}

/// Failures of a storage that say nothing about what it keeps.
fn is_passing(kind: storage::ErrorKind) -> bool {
    !matches!(
        kind,
        storage::ErrorKind::NotFound | storage::ErrorKind::Corrupt
    )
}

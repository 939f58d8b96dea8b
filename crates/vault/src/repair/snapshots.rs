//! Snapshots that name what is lost: written anew without it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{load_index, quarantine};
use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::Index;
use crate::layout::FileKind;
use crate::lock::LockKind;
use crate::node::NodeKind;
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

/// What became of one snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotRepair {
    /// The snapshot, which was moved away.
    pub id: Id,
    /// The one that was written in its place; `None` when nothing of it is left, or in a dry run.
    pub replacement: Option<Id>,
    /// What is missing in the replacement: paths of files and folders, as far as they are text.
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

/// What is left of a tree.
#[derive(Debug, Clone)]
enum Rest {
    Whole,
    Lost,
    /// The tree that takes its place, and what is missing below it.
    Part(Id, Arc<Vec<String>>),
}

/// Repairs all snapshots. A blob counts as lost when no index names it; run [`super::repair_packs`] before, so that
/// damaged ones are named no more.
pub fn repair_snapshots(repository: &Repository, run: Run) -> Result<SnapshotsRepair, VaultError> {
    let lock = repository.lock(LockKind::Exclusive)?;
    let index = Arc::new(load_index(repository)?);
    let (mut snapshots, damaged) = repository.snapshots_and_damage()?;
    let mut report = SnapshotsRepair::default();
    for (id, _) in damaged {
        // Wrong bytes once do not make a file damaged.
        match repository.snapshot(&id) {
            Ok(snapshot) => snapshots.push((id, snapshot)),
            Err(VaultError::Damaged { .. }) => report.unreadable.push(id),
            Err(error) => return Err(error),
        }
    }
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
    let mut new_trees = Vec::new();
    for (id, snapshot) in &snapshots {
        let (tree, lost_paths) = match surgeon.examine(snapshot.tree)? {
            Rest::Whole => {
                report.whole_count += 1;
                continue;
            }
            Rest::Lost => (None, vec!["/".to_owned()]),
            Rest::Part(tree, lost) => (Some(tree), lost.to_vec()),
        };
        new_trees.push(tree);
        report.repaired.push(SnapshotRepair {
            id: *id,
            replacement: None,
            lost_paths,
        });
    }
    let Some(writer) = writer else {
        return Ok(report);
    };
    writer.flush()?;
    // The new trees must be findable before anything goes.
    repository.load_index()?;
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
    if let Some(written) = find_written(repository, snapshots, &fields)? {
        return Ok(written);
    }
    let json = fields.to_json()?;
    let new = repository.save_json(FileKind::Snapshot, &json)?;
    if repository.load_json(FileKind::Snapshot, &new)? == json {
        return Ok(new);
    }
    let reason = "the storage kept something else than it was given";
    Err(VaultError::damaged(FileKind::Snapshot, new, reason))
}

/// The snapshot that has just these fields.
fn find_written(
    repository: &Repository,
    snapshots: &[(Id, Snapshot)],
    fields: &SnapshotFields,
) -> Result<Option<Id>, VaultError> {
    let is_repaired = |snapshot: &Snapshot| {
        snapshot.original.is_some() && snapshot.tags.iter().any(|tag| tag == TAG)
    };
    for (id, _) in snapshots
        .iter()
        .filter(|(_, snapshot)| is_repaired(snapshot))
    {
        let json = repository.load_json(FileKind::Snapshot, id)?;
        if SnapshotFields::read(id, &json)? == *fields {
            return Ok(Some(*id));
        }
    }
    Ok(None)
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

    fn rest_of(&mut self, id: Id, depth: usize) -> Result<Rest, VaultError> {
        if let Some(rest) = self.known.get(&id) {
            return Ok(rest.clone());
        }
        let read = self.reader.read_tree(&id);
        let rest = match read.or_else(|_| self.reader.read_tree(&id)) {
            _ if depth > MAX_DEPTH => Rest::Lost,
            Ok(tree) => self.part_of(&tree, depth)?,
            // What the storage cannot give for now is not lost.
            Err(VaultError::Storage(error)) if is_passing(error.kind) => return Err(error.into()),
            Err(_) => Rest::Lost,
        };
        self.known.insert(id, rest.clone());
        Ok(rest)
    }

    fn part_of(&mut self, tree: &Tree, depth: usize) -> Result<Rest, VaultError> {
        let mut nodes = Vec::with_capacity(tree.nodes.len());
        let mut lost = Vec::new();
        for node in &tree.nodes {
            let name = String::from_utf8_lossy(&node.name).into_owned();
            let is_there = |blob: &Id| self.index.contains(BlobKind::Data, blob);
            let mut node = node.clone();
            if !node.content.iter().all(is_there) {
                lost.push(format!("/{name}"));
                continue;
            }
            if let Some(subtree) = node.subtree {
                match self.rest_of(subtree, depth + 1)? {
                    Rest::Whole => {}
                    Rest::Lost => {
                        lost.push(format!("/{name}/"));
                        continue;
                    }
                    Rest::Part(new, below) => {
                        node.subtree = Some(new);
                        lost.extend(below.iter().map(|path| format!("/{name}{path}")));
                    }
                }
            } else if node.kind == NodeKind::Dir {
                lost.push(format!("/{name}/"));
                continue;
            }
            nodes.push(node);
        }
        if lost.is_empty() {
            return Ok(Rest::Whole);
        }
        let tree = Tree::from_nodes(nodes);
        let id = match self.writer {
            Some(writer) => writer.save_tree(&tree, &mut self.scratch)?.id,
            None => Id::hash(&tree.encode()?),
        };
        Ok(Rest::Part(id, Arc::new(lost)))
    }
}

/// Failures of a storage that say nothing about what it keeps.
fn is_passing(kind: storage::ErrorKind) -> bool {
    !matches!(
        kind,
        storage::ErrorKind::NotFound | storage::ErrorKind::Corrupt
    )
}

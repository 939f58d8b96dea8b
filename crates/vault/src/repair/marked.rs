//! Packs that are marked for deletion and needed after all: a backup that began before the mark refers to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::frontier::Frontier;
use crate::id::Id;
use crate::index::Index;
use crate::reader::Reader;
use crate::repository::Repository;

/// Threads that read trees.
const THREAD_COUNT: usize = 4;

/// The marked packs with what snapshots need and no other pack has, sorted.
///
/// A snapshot or a tree that cannot be read is passed over: what else it needs stays where it is, and is put back by the
/// repair or the prune that can read it.
pub(super) fn needed(repository: &Repository, index: Index) -> Result<Vec<Id>, VaultError> {
    if index.marked().is_none() {
        return Ok(Vec::new());
    }
    let (snapshots, _) = repository.snapshots_and_damage()?;
    let frontier = Frontier::new(snapshots.iter().map(|(_, snapshot)| snapshot.tree));
    let reader = Reader::new(repository.clone(), Arc::new(index));
    // A mutex around the findings: held to add a few.
    let found: Mutex<BTreeSet<Id>> = Mutex::default();
    let note = |kind: BlobKind, id: &Id| reader.index().note_only_marked(kind, id, &found);
    frontier.run(THREAD_COUNT, || {
        while let Some(visit) = frontier.next() {
            note(BlobKind::Tree, &visit.id);
            let mut subtrees = Vec::new();
            for node in reader
                .read_tree(&visit.id)
                .iter()
                .flat_map(|tree| &tree.nodes)
            {
                node.content.iter().for_each(|id| note(BlobKind::Data, id));
                subtrees.extend(node.subtree);
            }
            visit.finish(subtrees);
        }
    })?;
    Ok(found.into_inner().into_iter().collect())
}

//! What is there: packs on the storage and in index files, marks, the journal, snapshots, and the locks of others.
//!
//! The order of looking matters, see the module above: locks, snapshots, packs, index files.

use std::collections::HashMap;
use std::time::Duration;

use storage::ErrorKind;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::journal::{LockHolder, PruneJournal};
use crate::index::{Index, IndexBuilder};
use crate::index_files::{each_index_file, list_twice};
use crate::layout::FileKind;
use crate::pack::{PackedBlob, pack_bytes};
use crate::repository::Repository;
use crate::time::Time;

/// One pack, wherever it was seen. About 120 bytes.
#[derive(Debug, Clone)]
pub(super) struct PackState {
    pub(super) id: Id,
    /// Its size on the storage; `None` when it is not there.
    pub(super) stored_bytes: Option<u64>,
    /// An index file names it.
    pub(super) is_live: bool,
    /// An index file has it marked, and since when as far as that is told.
    pub(super) mark: Option<Option<Time>>,
    /// A former prune saw that nothing needs it, or that no index names it.
    pub(super) seen: Option<Time>,
    /// Its size is the one that follows from its blobs.
    pub(super) is_whole: bool,
    /// Where its last blob ends.
    pub(super) blobs_end: u64,
}

/// Everything that a prune decides by, but for what is used.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) holders: Vec<LockHolder>,
    pub(super) snapshots: Vec<Id>,
    pub(super) roots: Vec<Id>,
    pub(super) index_ids: Vec<Id>,
    pub(super) packs: Vec<PackState>,
    pub(super) numbers: HashMap<Id, u32>,
    pub(super) journal: Option<PruneJournal>,
    /// The index files that hold it.
    pub(super) journal_ids: Vec<Id>,
    /// Where tree blobs are, marked packs included.
    pub(super) trees: Index,
}

/// Looks at everything.
pub(super) fn scan(
    repository: &Repository,
    now: Time,
    believed_for: Duration,
) -> Result<Scan, VaultError> {
    let mut scan = Scan {
        holders: repository.lock_holders(now, believed_for)?,
        ..Scan::default()
    };
    scan.snapshots = list_twice(repository, FileKind::Snapshot)?;
    for id in &scan.snapshots {
        match repository.snapshot(id) {
            Ok(snapshot) => scan.roots.push(snapshot.tree),
            // Removed since it was listed.
            Err(VaultError::SnapshotNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    scan.add_stored_packs(repository)?;
    scan.index_ids = list_twice(repository, FileKind::Index)?;
    scan.read_index(repository)?;
    scan.refuse_a_short_listing(repository)?;
    Ok(scan)
}

impl Scan {
    fn number(&mut self, id: Id) -> usize {
        let next = self.packs.len() as u32;
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.packs.push(PackState {
                id,
                stored_bytes: None,
                is_live: false,
                mark: None,
                seen: None,
                is_whole: false,
                blobs_end: 0,
            });
        }
        number as usize
    }

    /// Packs are listed before index files: one that a backup puts meanwhile is missing here and asked for by name later,
    /// while the other way round it would look as if no index named it.
    fn add_stored_packs(&mut self, repository: &Repository) -> Result<(), VaultError> {
        for listed in repository.list_packs()? {
            let number = self.number(listed.id);
            self.packs[number].stored_bytes = Some(listed.size_bytes);
        }
        Ok(())
    }

    fn read_index(&mut self, repository: &Repository) -> Result<(), VaultError> {
        let mut trees = IndexBuilder::default();
        let mut journal: Option<PruneJournal> = None;
        // Packs whose size is not that of one listing alone: split over index files, or damaged.
        let mut parts: HashMap<usize, Vec<PackedBlob>> = HashMap::new();
        let ids = std::mem::take(&mut self.index_ids);
        let read = each_index_file(repository, &ids, |id, file| {
            for pack in file.packs {
                let number = self.number(pack.id);
                self.packs[number].is_live = true;
                self.add_blobs(number, &pack.blobs, &mut parts);
                let is_tree = |blob: &PackedBlob| blob.kind == BlobKind::Tree;
                trees.add_pack(pack.id, pack.blobs.into_iter().filter(is_tree));
            }
            for pack in file.marked_packs {
                let number = self.number(pack.id);
                let mark = &mut self.packs[number].mark;
                // Of several marks the latest counts; one without a time is younger than any.
                *mark = Some(match (*mark, pack.time) {
                    (None, time) => time,
                    (Some(Some(a)), Some(b)) => Some(a.max(b)),
                    _ => None,
                });
                self.add_blobs(number, &pack.blobs, &mut parts);
                let is_tree = |blob: &PackedBlob| blob.kind == BlobKind::Tree;
                trees.add_pack(pack.id, pack.blobs.into_iter().filter(is_tree));
            }
            if let Some(other) = file.journal {
                self.journal_ids.push(id);
                merge(journal.get_or_insert_default(), other);
            }
            Ok(())
        });
        self.index_ids = ids;
        read?;
        for (number, mut blobs) in parts {
            blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id));
            blobs.dedup();
            let pack = &mut self.packs[number];
            if pack.stored_bytes.is_none() {
                pack.stored_bytes = size_of(repository, &pack.id)?;
            }
            pack.is_whole |= pack.stored_bytes == Some(pack_bytes(&blobs));
        }
        for (id, time) in journal.iter().flat_map(|journal| &journal.seen) {
            if let Some(number) = self.numbers.get(id) {
                self.packs[*number as usize].seen = Some(*time);
            }
        }
        self.journal = journal;
        self.trees = trees.build();
        Ok(())
    }

    fn add_blobs(
        &mut self,
        number: usize,
        blobs: &[PackedBlob],
        parts: &mut HashMap<usize, Vec<PackedBlob>>,
    ) {
        let pack = &mut self.packs[number];
        let end = blobs
            .iter()
            .map(|blob| u64::from(blob.offset) + u64::from(blob.length))
            .max();
        pack.blobs_end = pack.blobs_end.max(end.unwrap_or(0));
        if pack.stored_bytes == Some(pack_bytes(blobs)) {
            pack.is_whole = true;
        } else if !pack.is_whole {
            parts.entry(number).or_default().extend_from_slice(blobs);
        }
    }

    /// Snapshots that were there at the last mark and are not listed now must be gone when asked for by name.
    fn refuse_a_short_listing(&self, repository: &Repository) -> Result<(), VaultError> {
        for id in self.journal.iter().flat_map(|journal| &journal.snapshots) {
            if self.snapshots.binary_search(id).is_ok() {
                continue;
            }
            match repository.storage().size(&FileKind::Snapshot.name(id)) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    return Err(VaultError::Refused {
                        reason: format!(
                            "the storage does not list snapshot {id}, which is there: its listings cannot be trusted"
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The size of a pack that the listing did not have: it may have been put since.
fn size_of(repository: &Repository, pack: &Id) -> Result<Option<u64>, VaultError> {
    match repository.storage().size(&FileKind::Pack.name(pack)) {
        Ok(size) => Ok(Some(size)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Two journals are there when a prune was killed between writing one and removing the other.
fn merge(journal: &mut PruneJournal, other: PruneJournal) {
    journal.records.extend(other.records);
    journal.records.sort_by_key(|record| record.time);
    journal.records.dedup();
    journal.snapshots.extend(other.snapshots);
    journal.snapshots.sort_unstable();
    journal.snapshots.dedup();
    // Of two times the later one waits longer.
    journal.seen.extend(other.seen);
    journal
        .seen
        .sort_unstable_by_key(|&(id, time)| (id, std::cmp::Reverse(time)));
    journal.seen.dedup_by_key(|(id, _)| *id);
}

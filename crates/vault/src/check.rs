//! Looks for damage: what a repository says about itself against what is there.
//!
//! The structure is always looked at: every key, snapshot and index file is read, every pack that an index names must be
//! there with the size that follows from its blobs, every tree that a snapshot reaches is read and compared with its
//! id, and every blob that a tree names must be in an index as the right kind. Reading data adds every byte of every
//! pack: its hash, its header against the index, and each blob against its id. When anything is lost, every snapshot is
//! walked by its paths to say which files that touches.
//!
//! What only packs have that are marked for deletion is not lost: such a pack is looked at like the others, and a hint
//! says that the next prune puts it back.
//!
//! Memory: the index (48 bytes for each blob, also those of marked packs), 4 bytes more for each blob in the order of the packs, about 100 for each
//! pack and 40 for each tree, and for each thread one window of a pack with the largest blob three times. Nothing grows
//! with the number of snapshots but their own few hundred bytes.
//!
//! Nothing is changed. A finding is a row of the report; an error of the call means that the repository could not be
//! looked at.

mod data;
mod findings;
mod lost;
mod touched;
mod trees;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use storage::ErrorKind;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::{ByPack, Index};
use crate::key;
use crate::layout::FileKind;
use crate::pack::{LARGEST_PACK_OF_RESTIC_BYTES, PackedBlob, pack_bytes};
use crate::repository::Repository;
use crate::snapshot::Snapshot;

pub use findings::{CheckError, CheckHint, Extent, Touched};
use lost::Lost;

/// How much of the packs is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadData {
    /// Nothing but trees.
    None,
    /// Everything.
    All,
    /// Part `part` (from 1) of `parts`: the same packs each time, so that all parts together are everything.
    Part {
        /// Which part, from 1.
        part: u32,
        /// How many parts.
        parts: u32,
    },
    /// So many per cent of the packs, picked at random.
    Percent(f64),
    /// Packs picked at random until they hold so many bytes.
    Bytes(u64),
}

/// What to check and how.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// How much of the packs is read.
    pub read_data: ReadData,
    /// Threads that read trees and packs. Each holds a few MiB of a pack in memory.
    pub thread_count: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            read_data: ReadData::None,
            thread_count: std::thread::available_parallelism()
                .map_or(2, usize::from)
                .min(8),
        }
    }
}

/// What a check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckPhase {
    /// Comparing packs with indexes; counted in packs.
    Packs,
    /// Reading trees; counted in trees, of which the total is not known before.
    Trees,
    /// Reading packs; counted in bytes.
    Data,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// What is being done.
    pub phase: CheckPhase,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 when that is not known.
    pub total: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Damage, the first 10,000 findings. Empty means that all is well as far as it was looked at.
    pub errors: Vec<CheckError>,
    /// How many findings there were.
    pub error_count: u64,
    /// How many of them only reading data could show.
    pub data_error_count: u64,
    /// What is worth knowing.
    pub hints: Vec<CheckHint>,
    /// What the damage touches, newest snapshot first: the first 10,000 files and folders.
    pub touched: Vec<Touched>,
    /// How many files and folders the damage touches, over all snapshots.
    pub touched_count: u64,
    /// Snapshots looked at.
    pub snapshot_count: usize,
    /// Packs that indexes name.
    pub pack_count: usize,
    /// Entries of the indexes.
    pub blob_count: usize,
    /// Trees read.
    pub tree_count: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Bytes of those.
    pub bytes_read: u64,
}

/// A vault that lost its index has an error for each blob of each file: no more than so many are kept, which is more
/// than anybody reads.
const LARGEST_ERROR_LIST: usize = 10_000;

impl CheckReport {
    fn add(&mut self, error: CheckError) {
        self.error_count += 1;
        self.data_error_count += u64::from(error.is_of_data());
        if self.errors.len() < LARGEST_ERROR_LIST {
            self.errors.push(error);
        }
    }

    /// Whether no damage was found.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Called now and then from any thread.
pub type OnProgress<'a> = &'a (dyn Fn(CheckProgress) + Sync);

/// What all parts of a check share.
struct Checker<'a> {
    repository: &'a Repository,
    /// Oldest first.
    snapshots: Vec<(Id, Snapshot)>,
    index: Arc<Index>,
    options: &'a CheckOptions,
    on_progress: OnProgress<'a>,
    // A plain mutex: held to push a finding.
    report: Mutex<CheckReport>,
    lost: Lost,
    /// Marked packs with what snapshots need and no other pack has.
    needed_marked: Mutex<BTreeSet<Id>>,
    /// Why the storage cannot be asked for now, which ends the check.
    away: Mutex<Option<VaultError>>,
}

/// Checks a repository. The caller holds a lock.
///
/// # Errors
/// The storage cannot be asked: it is away, or asks to come back later. What it holds is not known then, and nothing that was
/// found until then is told.
pub fn check(
    repository: &Repository,
    options: &CheckOptions,
    on_progress: OnProgress<'_>,
) -> Result<CheckReport, VaultError> {
    // A backup beside the check writes packs, then their index, then the snapshot, so all is read in the other order: what
    // a snapshot of the list needs is in the indexes that are read after it. Packs are listed first all the same: those
    // that are added look unindexed at worst, and one that an index names and the listing lacks is asked for by name
    // before it counts as missing (`size_of`).
    let listed = repository.storage().list(FileKind::Pack.folder())?;
    let (snapshots, damaged_snapshots) = repository.snapshots_and_damage()?;
    let (index, damaged_indexes) = repository.load_index_and_damage()?;
    let checker = Checker {
        repository,
        snapshots,
        index: Arc::new(index),
        options,
        on_progress,
        report: Mutex::new(CheckReport::default()),
        lost: Lost::default(),
        needed_marked: Mutex::default(),
        away: Mutex::new(None),
    };
    checker.note_unreadable(damaged_snapshots, damaged_indexes);
    checker.check_keys()?;
    checker.require_storage()?;
    let by_pack = checker.index.by_pack();
    let mut sizes = checker.pack_sizes(&listed);
    drop(listed);
    checker.check_packs(&by_pack, &mut sizes)?;
    checker.find_duplicates();
    checker.check_trees()?;
    checker.require_storage()?;
    let marked = checker.index.marked().map(Index::by_pack);
    let mut packs: Vec<_> = (0..by_pack.len())
        .map(|number| (&by_pack, number))
        .collect();
    if let Some(marked) = &marked {
        let needed = checker.check_marked(marked, &mut sizes)?;
        packs.extend(needed.into_iter().map(|number| (marked, number)));
    }
    checker.check_data(packs, &sizes);
    checker.require_storage()?;
    drop((by_pack, marked, sizes));
    checker.find_touched();
    checker.require_storage()?;
    let mut report = checker.report.into_inner();
    report.errors.sort_by_cached_key(ToString::to_string);
    Ok(report)
}

impl Checker<'_> {
    fn error(&self, error: CheckError) {
        self.report.lock().add(error);
    }

    /// Whether the error only says that the storage cannot be asked for now. That is no damage; the check ends with it.
    fn is_away(&self, error: &VaultError) -> bool {
        let is_passing = matches!(
            error.storage_kind(),
            Some(ErrorKind::Transient | ErrorKind::Throttled)
        );
        if is_passing {
            self.away.lock().get_or_insert_with(|| error.clone());
        }
        is_passing
    }

    fn require_storage(&self) -> Result<(), VaultError> {
        self.away.lock().clone().map_or(Ok(()), Err)
    }

    /// Books what was read before there was a checker.
    fn note_unreadable(&self, snapshots: Vec<(Id, VaultError)>, indexes: Vec<(Id, VaultError)>) {
        for (id, error) in snapshots {
            if !self.is_away(&error) {
                self.error(CheckError::Snapshot { id, error });
            }
        }
        for (id, error) in indexes {
            if !self.is_away(&error) {
                self.error(CheckError::Index { id, error });
            }
        }
        let mut report = self.report.lock();
        report.snapshot_count = self.snapshots.len();
        report.pack_count = self.index.packs().len();
        report.blob_count = self.index.len();
    }

    fn hint(&self, hint: CheckHint) {
        self.report.lock().hints.push(hint);
    }

    /// Reads every key, also those of other passwords.
    fn check_keys(&self) -> Result<(), VaultError> {
        for id in self.repository.list(FileKind::Key)? {
            let read = || FileKind::Key.read(&**self.repository.storage(), &id);
            let mut found = read();
            if !matches!(&found, Ok(bytes) if Id::hash(bytes) == id) {
                found = read();
            }
            let reason = match found {
                Ok(bytes) if Id::hash(&bytes) == id => match key::is_key_file(&bytes) {
                    true => continue,
                    false => {
                        "it is no key file; stock restic opens nothing while it is there: move it away"
                            .to_owned()
                    }
                },
                Ok(_) => "its content does not have this hash".to_owned(),
                // Removed since it was listed.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) if self.is_away(&error.clone().into()) => continue,
                Err(error) => error.to_string(),
            };
            self.error(CheckError::Key { id, reason });
        }
        Ok(())
    }

    /// Sizes of the packs on the storage; what is no pack becomes a hint.
    fn pack_sizes(&self, listed: &[storage::Listed]) -> HashMap<Id, u64> {
        let mut sizes = HashMap::with_capacity(listed.len());
        for entry in listed {
            match FileKind::Pack.id_of(&entry.name) {
                Some(id) if FileKind::Pack.name(&id) == entry.name => {
                    sizes.insert(id, entry.size_bytes);
                }
                _ => self.hint(CheckHint::StrangeFile {
                    name: entry.name.clone(),
                }),
            }
        }
        sizes
    }

    /// Compares what indexes say about packs with what is there. Sizes of packs that the listing did not have are added.
    fn check_packs(
        &self,
        by_pack: &ByPack<'_>,
        sizes: &mut HashMap<Id, u64>,
    ) -> Result<(), VaultError> {
        let total = by_pack.len() as u64;
        for number in 0..by_pack.len() {
            let (pack, blobs) = by_pack.get(number);
            self.check_pack(pack, &blobs, self.size_of(sizes, &pack)?);
            if number % 1024 == 0 {
                self.progress(CheckPhase::Packs, number as u64, total);
            }
        }
        self.progress(CheckPhase::Packs, total, total);
        let indexed: HashSet<&Id> = self
            .index
            .packs()
            .iter()
            .chain(self.index.marked_packs())
            .collect();
        let mut unindexed: Vec<Id> = sizes
            .keys()
            .filter(|id| !indexed.contains(id))
            .copied()
            .collect();
        unindexed.sort_unstable();
        for pack in unindexed {
            self.hint(CheckHint::UnindexedPack { pack });
        }
        Ok(())
    }

    /// The size of a pack; one that the listing did not have is asked for again.
    fn size_of(&self, sizes: &mut HashMap<Id, u64>, pack: &Id) -> Result<Option<u64>, VaultError> {
        if let Some(size) = sizes.get(pack) {
            return Ok(Some(*size));
        }
        match self.repository.storage().size(&FileKind::Pack.name(pack)) {
            Ok(size) => {
                sizes.insert(*pack, size);
                Ok(Some(size))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn check_pack(&self, pack: Id, blobs: &[PackedBlob], found: Option<u64>) {
        let Some(found) = found else {
            self.lost.add_pack(pack);
            return self.error(CheckError::PackMissing {
                pack,
                blob_count: blobs.len(),
            });
        };
        let mut end = 0;
        for blob in blobs {
            if u64::from(blob.offset) != end {
                let kind = if u64::from(blob.offset) < end {
                    "overlap"
                } else {
                    "leave a gap"
                };
                return self.error(CheckError::PackIndex {
                    pack,
                    reason: format!("blobs {kind} at offset {}", blob.offset),
                });
            }
            end += u64::from(blob.length);
        }
        if found > LARGEST_PACK_OF_RESTIC_BYTES {
            self.hint(CheckHint::OversizedPack {
                pack,
                size_bytes: found,
            });
        }
        let expected = pack_bytes(blobs);
        if expected != found {
            self.lost.add_short_pack(pack, found);
            self.error(CheckError::PackSize {
                pack,
                expected,
                found,
            });
        }
    }

    /// Notes the packs of a blob that a snapshot needs and only marked packs hold.
    fn note_marked(&self, kind: BlobKind, id: &Id) {
        self.index.note_only_marked(kind, id, &self.needed_marked);
    }

    /// Compares the marked packs that are needed with what is there, and gives their numbers.
    fn check_marked(
        &self,
        by_pack: &ByPack<'_>,
        sizes: &mut HashMap<Id, u64>,
    ) -> Result<Vec<usize>, VaultError> {
        let needed = std::mem::take(&mut *self.needed_marked.lock());
        let is_needed = |number: &usize| needed.contains(&by_pack.id(*number));
        let numbers: Vec<usize> = (0..by_pack.len()).filter(is_needed).collect();
        for number in &numbers {
            let (pack, blobs) = by_pack.get(*number);
            self.check_pack(pack, &blobs, self.size_of(sizes, &pack)?);
            self.hint(CheckHint::NeededPackMarked { pack });
        }
        Ok(numbers)
    }

    /// Counts blobs that are stored more than once.
    fn find_duplicates(&self) {
        let (mut copy_count, mut size_bytes) = (0, 0);
        let mut last = None;
        for (kind, id, place) in self.index.iter() {
            if last == Some((kind, id)) {
                copy_count += 1;
                size_bytes += u64::from(place.length);
            }
            last = Some((kind, id));
        }
        if copy_count > 0 {
            self.hint(CheckHint::DuplicateBlobs {
                copy_count,
                size_bytes,
            });
        }
    }

    fn progress(&self, phase: CheckPhase, done: u64, total: u64) {
        (self.on_progress)(CheckProgress { phase, done, total });
    }
}

#[cfg(test)]
mod tests;

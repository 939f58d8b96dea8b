//! Index files: what cannot be read goes, packs that nothing names are found by their own headers, and packs that are
//! marked for deletion and needed come back.

use std::collections::{HashMap, HashSet};

use super::{Entry, marked, quarantine, rewrite};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::IndexBuilder;
use crate::index::file::{self, IndexFile, IndexedPack};
use crate::index_files::NewIndexFiles;
use crate::layout::FileKind;
use crate::lock::LockKind;
use crate::pack::{LONGEST_TRAILER_BYTES, PackedBlob, header_of_tail, pack_bytes};
use crate::prune::Run;
use crate::repository::Repository;

/// Enough for the header of nearly every pack.
const USUAL_TAIL_BYTES: u64 = 64 << 10;

/// What a repair of the index found and did, or would do.
#[derive(Debug, Clone, Default)]
pub struct IndexRepair {
    /// Index files that cannot be read, which were moved away.
    pub damaged_index_files: Vec<Id>,
    /// Packs whose entries were made from their headers.
    pub packs_added: Vec<Id>,
    /// Packs that index files named and that are not there; their entries were dropped.
    pub packs_missing: Vec<Id>,
    /// Packs that are there and whose size or header is wrong; see [`super::repair_packs`].
    pub packs_damaged: Vec<Id>,
    /// Packs that were marked for deletion, hold what a snapshot needs and no other pack has, and are put back.
    pub packs_put_back: Vec<Id>,
    /// Index files written.
    pub index_files_written: usize,
}

impl IndexRepair {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged_index_files.is_empty()
            && self.packs_added.is_empty()
            && self.packs_missing.is_empty()
            && self.packs_damaged.is_empty()
            && self.packs_put_back.is_empty()
    }
}

/// What the good index files say about a pack.
#[derive(Default)]
struct Known {
    is_sound: bool,
    is_marked: bool,
}

/// Repairs the index.
pub fn repair_index(repository: &Repository, run: Run) -> Result<IndexRepair, VaultError> {
    let lock = repository.lock(LockKind::Exclusive)?;
    repository.sync_what_is_there()?;
    let mut report = IndexRepair::default();
    let listed = repository.list_packs()?.into_iter();
    let stored: HashMap<Id, u64> = listed.map(|pack| (pack.id, pack.size_bytes)).collect();
    let mut known: HashMap<Id, Known> = HashMap::new();
    let mut good = Vec::new();
    let mut builder = IndexBuilder::default();
    for id in repository.list(FileKind::Index)? {
        let read = || {
            let json = repository.load_json(FileKind::Index, &id)?;
            file::decode(&id, &json)
        };
        // Wrong bytes once do not make a file damaged.
        match read().or_else(|_| read()) {
            Ok(mut file) => {
                note(&file, &stored, &mut known);
                // What a missing pack had may be in a marked one.
                file.packs.retain(|pack| stored.contains_key(&pack.id));
                file.marked_packs
                    .retain(|pack| stored.contains_key(&pack.id));
                builder.add_file(&id, file);
                good.push(id);
            }
            Err(VaultError::Damaged { .. }) => report.damaged_index_files.push(id),
            Err(error) => return Err(error),
        }
    }
    report.packs_missing = known
        .keys()
        .filter(|id| !stored.contains_key(*id))
        .copied()
        .collect();
    report.packs_missing.sort_unstable();
    for pack in &report.packs_missing {
        match repository.storage().size(&FileKind::Pack.name(pack)) {
            Err(error) if error.kind == storage::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                return Err(VaultError::Refused {
                    reason: format!(
                        "the storage does not list pack {pack}, which is there: its listings cannot be trusted"
                    ),
                });
            }
        }
    }
    let mut unsound: Vec<Id> = stored
        .keys()
        .filter(|id| {
            known
                .get(*id)
                .is_none_or(|known| !known.is_sound && !known.is_marked)
        })
        .copied()
        .collect();
    unsound.sort_unstable();
    let is_dry = run == Run::Dry;
    if !is_dry {
        // Who put these packs may have been killed before their names were durable, and an index is to name them.
        let folder = |id: &Id| format!("{}/{}", FileKind::Pack.folder(), &id.to_hex()[..2]);
        let folders: Vec<String> = unsound.iter().map(folder).collect();
        repository.storage().sync_folders(&folders)?;
    }
    let mut new = NewIndexFiles::new(repository, &lock);
    let mut replaced: HashSet<Id> = HashSet::new();
    for pack in unsound {
        match read_header(repository, &pack, stored[&pack]) {
            Ok(blobs) => {
                replaced.insert(pack);
                report.packs_added.push(pack);
                builder.add_pack(pack, blobs.iter().copied());
                if !is_dry {
                    new.keep(IndexedPack { id: pack, blobs })?;
                }
            }
            Err(VaultError::Storage(error)) if error.kind != storage::ErrorKind::Corrupt => {
                return Err(error.into());
            }
            Err(_) => report.packs_damaged.push(pack),
        }
    }
    let missing: HashSet<Id> = report.packs_missing.iter().copied().collect();
    report.packs_put_back = marked::needed(repository, builder.build())?;
    let entry_of = |id: &Id| {
        if missing.contains(id) || replaced.contains(id) {
            Entry::Goes
        } else if report.packs_put_back.binary_search(id).is_ok() {
            Entry::ComesBack
        } else {
            Entry::Stays
        }
    };
    let rewritten = rewrite(repository, &good, &entry_of, (!is_dry).then_some(&mut new))?;
    if is_dry {
        return Ok(report);
    }
    report.index_files_written = new.finish()?.len();
    for id in rewritten.iter().chain(&report.damaged_index_files) {
        quarantine(repository, &lock, FileKind::Index, id)?;
    }
    Ok(report)
}

/// The header of a pack: by its last bytes, and by as many as a header may have when it is not among those.
fn read_header(
    repository: &Repository,
    pack: &Id,
    size_bytes: u64,
) -> Result<Vec<PackedBlob>, VaultError> {
    let by_tail = |tail_bytes: u64| {
        let length = size_bytes.min(tail_bytes);
        let name = FileKind::Pack.name(pack);
        let storage = repository.storage();
        let tail = storage.get_range(&name, size_bytes - length, length as usize)?;
        header_of_tail(repository.cipher(), pack, &tail, size_bytes)
    };
    match by_tail(USUAL_TAIL_BYTES) {
        // Also when the storage gave too few bytes: that may be so only once.
        Err(VaultError::Damaged { .. }) => by_tail(LONGEST_TRAILER_BYTES),
        Err(VaultError::Storage(error)) if error.kind == storage::ErrorKind::Corrupt => {
            by_tail(LONGEST_TRAILER_BYTES)
        }
        other => other,
    }
}

fn note(file: &IndexFile, stored: &HashMap<Id, u64>, known: &mut HashMap<Id, Known>) {
    for pack in &file.packs {
        let is_sound = stored.get(&pack.id) == Some(&pack_bytes(&pack.blobs));
        known.entry(pack.id).or_default().is_sound |= is_sound;
    }
    for pack in &file.marked_packs {
        known.entry(pack.id).or_default().is_marked = true;
    }
}

//! Damaged packs: every blob that still reads is stored anew, then the pack is moved away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use storage::StorageError;

use super::{Entry, quarantine, rewrite};
use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::{ByPack, Index};
use crate::index_files::{NewIndexFiles, list_twice};
use crate::layout::FileKind;
use crate::lock::{LockGuard, LockKind};
use crate::pack::{PackedBlob, hash_and_tail, header_of, header_of_tail};
use crate::prune::Run;
use crate::reader::open_compared;
use crate::repository::Repository;
use crate::writer::{Writer, WriterOptions};

/// Packs that are read at once, a few MiB of each in memory. One that is damaged is taken into memory whole.
const THREAD_COUNT: usize = 4;

/// What a repair of packs found and did, or would do.
#[derive(Debug, Clone, Default)]
pub struct PackRepair {
    /// Packs that are damaged, which were moved away.
    pub damaged: Vec<Id>,
    /// Blobs of them that still read and were stored anew.
    pub salvaged_count: usize,
    /// Blobs of them that do not read and that no other pack has.
    pub lost: Vec<(BlobKind, Id)>,
    /// Packs that could not be read at all for now; they stay as they are.
    pub unreadable: Vec<(Id, VaultError)>,
}

/// What is left of a pack.
struct Remains {
    bytes: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

/// Repairs these packs, or with an empty list all that index files name, which reads all of them.
pub fn repair_packs(
    repository: &Repository,
    packs: &[Id],
    run: Run,
    on_progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<PackRepair, VaultError> {
    let lock = repository.lock(LockKind::Exclusive)?;
    repository.sync_what_is_there()?;
    let index = Arc::new(repository.load_index()?);
    let by_pack = index.by_pack();
    let mut numbers: HashMap<Id, usize> = HashMap::new();
    for (number, id) in index.packs().iter().enumerate() {
        numbers.insert(*id, number);
    }
    let candidates: Vec<Id> = if packs.is_empty() {
        index.packs().to_vec()
    } else {
        packs.to_vec()
    };
    let mut report = PackRepair::default();
    let damaged = find_damaged(
        repository,
        &candidates,
        &numbers,
        &by_pack,
        &mut report,
        on_progress,
    )?;
    report.damaged = damaged.clone();
    if damaged.is_empty() {
        return Ok(report);
    }
    let gone: HashSet<Id> = damaged.iter().copied().collect();
    let writer = match run {
        Run::Dry => None,
        Run::Real => Some(Writer::open(
            repository.clone(),
            Arc::new(Index::default()),
            WriterOptions {
                read_back: true,
                ..WriterOptions::default()
            },
        )?),
    };
    let (mut scratch, mut save_scratch) = (BlobScratch::new(), BlobScratch::new());
    let mut salvaged: HashSet<(BlobKind, Id)> = HashSet::new();
    let mut failed: HashSet<(BlobKind, Id)> = HashSet::new();
    for pack in &damaged {
        let Some(remains) = remains(repository, pack, &numbers, &by_pack)? else {
            continue;
        };
        let mut left = remains.blobs;
        let mut bytes = remains.bytes;
        // What does not read is tried once more with bytes that are read again: a store may be unsteady.
        for is_last_try in [false, true] {
            for blob in std::mem::take(&mut left) {
                let start = blob.offset as usize;
                let stored = bytes.get(start..start + blob.length as usize);
                let opened = stored.and_then(|stored| {
                    open_compared(repository, &mut scratch, pack, &blob, stored).ok()
                });
                match opened {
                    None if is_last_try => {
                        failed.insert((blob.kind, blob.id));
                    }
                    None => left.push(blob),
                    Some(plaintext) => {
                        if let Some(writer) = &writer {
                            writer.save_blob(blob.kind, plaintext, &mut save_scratch)?;
                        }
                        salvaged.insert((blob.kind, blob.id));
                    }
                }
            }
            if !is_last_try && !left.is_empty() {
                bytes = get(repository, pack)?.unwrap_or_default();
            }
        }
    }
    report.salvaged_count = salvaged.len();
    let has_other_copy = |(kind, id): &(BlobKind, Id)| {
        salvaged.contains(&(*kind, *id))
            || index
                .all(*kind, id)
                .any(|place| !gone.contains(&place.pack))
    };
    report.lost = failed
        .into_iter()
        .filter(|key| !has_other_copy(key))
        .collect();
    report.lost.sort_unstable();
    if let Some(writer) = writer {
        writer.flush()?;
        // What was saved must be found elsewhere before the old entries go: a storage may have kept no index of it.
        let fresh = super::load_index(repository)?;
        let is_saved = |(kind, id): &(BlobKind, Id)| {
            fresh
                .stored(*kind, id)
                .any(|place| !gone.contains(&place.pack))
        };
        if !salvaged.iter().all(is_saved) {
            return Err(VaultError::Refused {
                reason: "the storage did not keep the index of what was saved".to_owned(),
            });
        }
        drop_entries(repository, &gone, &lock)?;
        for pack in &damaged {
            quarantine(repository, &lock, FileKind::Pack, pack)?;
        }
    }
    Ok(report)
}

/// Reads each candidate whole.
fn find_damaged(
    repository: &Repository,
    candidates: &[Id],
    numbers: &HashMap<Id, usize>,
    by_pack: &ByPack<'_>,
    report: &mut PackRepair,
    on_progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Id>, VaultError> {
    // A mutex around the findings: held for a push.
    let found = Mutex::new((Vec::new(), Vec::new()));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREAD_COUNT.min(candidates.len()) {
            scope.spawn(|| {
                while let Some(pack) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let expected = numbers.get(pack).map(|number| by_pack.get(*number).1);
                    match is_damaged(repository, pack, expected.as_deref()) {
                        Ok(false) => {}
                        Ok(true) => found.lock().0.push(*pack),
                        Err(error) => found.lock().1.push((*pack, error)),
                    }
                    on_progress(done.fetch_add(1, Ordering::Relaxed) + 1, candidates.len());
                }
            });
        }
    });
    let (mut damaged, mut unreadable) = found.into_inner();
    damaged.sort_unstable();
    unreadable.sort_unstable_by_key(|(pack, _)| *pack);
    report.unreadable = unreadable;
    Ok(damaged)
}

/// A pack with wrong bytes is read a second time before it is called damaged: a store may be unsteady.
fn is_damaged(
    repository: &Repository,
    pack: &Id,
    expected: Option<&[PackedBlob]>,
) -> Result<bool, VaultError> {
    let storage = &**repository.storage();
    let size_bytes = match storage.size(&FileKind::Pack.name(pack)) {
        Ok(size_bytes) => size_bytes,
        // Missing packs are a matter of the index.
        Err(error) if error.kind == storage::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let largest_bytes = FileKind::Pack.largest_bytes();
    if size_bytes > largest_bytes {
        let name = FileKind::Pack.name(pack);
        return Err(StorageError::too_large(&name, size_bytes, largest_bytes).into());
    }
    let (mut hash, mut tail) = hash_and_tail(storage, pack, size_bytes)?;
    if hash != *pack {
        (hash, tail) = hash_and_tail(storage, pack, size_bytes)?;
    }
    if hash != *pack {
        return Ok(true);
    }
    let header = header_of_tail(repository.cipher(), pack, &tail, size_bytes);
    // With the right hash it is what its writer wrote. An index that says something else is repaired from the header.
    Ok(header.is_err() || expected.is_some_and(|expected| expected.is_empty()))
}

fn get(repository: &Repository, pack: &Id) -> Result<Option<Vec<u8>>, VaultError> {
    match FileKind::Pack.read(&**repository.storage(), pack) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == storage::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The bytes of a damaged pack and every place where a blob may be: by the index, and by the header if it reads.
fn remains(
    repository: &Repository,
    pack: &Id,
    numbers: &HashMap<Id, usize>,
    by_pack: &ByPack<'_>,
) -> Result<Option<Remains>, VaultError> {
    let Some(bytes) = get(repository, pack)? else {
        return Ok(None);
    };
    let mut blobs = header_of(repository.cipher(), pack, &bytes).unwrap_or_default();
    if let Some(number) = numbers.get(pack) {
        blobs.extend(by_pack.get(*number).1);
    }
    blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id));
    blobs.dedup();
    Ok(Some(Remains { bytes, blobs }))
}

/// Index files without these packs, before the old ones are moved away.
fn drop_entries(
    repository: &Repository,
    gone: &HashSet<Id>,
    lock: &LockGuard,
) -> Result<(), VaultError> {
    let ids = list_twice(repository, FileKind::Index)?;
    let mut new = NewIndexFiles::new(repository, lock);
    let entry_of = |id: &Id| match gone.contains(id) {
        true => Entry::Goes,
        false => Entry::Stays,
    };
    let replaced = rewrite(repository, &ids, &entry_of, Some(&mut new))?;
    new.finish()?;
    replaced
        .iter()
        .try_for_each(|id| quarantine(repository, lock, FileKind::Index, id))
}

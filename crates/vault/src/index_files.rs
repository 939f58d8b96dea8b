//! Index files as a whole, for who writes them anew: all of them are read, and new ones put before old ones go.
//!
//! At every moment the index files together must name every pack that stays, whatever else they name twice. So the caller
//! gathers what stays in [`NewIndexFiles`], finishes them, and only then removes the files that they replace.

use crossbeam_channel::bounded;
use parking_lot::Mutex;

use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::{self, IndexFile, IndexedPack, MarkedPack};
use crate::index::journal::PruneJournal;
use crate::layout::FileKind;
use crate::lock::LockGuard;
use crate::repository::Repository;

/// Index files that are read and decoded at once, on hosts with as many cores: each takes about 15 MB while it is, a few tens
/// of megabytes at most.
const INDEX_THREADS: usize = 4;
/// A new index file is finished when it has so many blobs, as restic does it.
const INDEX_BLOB_COUNT: usize = 50_000;

/// A listing that may have been cut is not to be trusted by who deletes: it is asked for twice, and a file that the second
/// one lacks must be gone when asked for by name.
pub(crate) fn list_twice(repository: &Repository, kind: FileKind) -> Result<Vec<Id>, VaultError> {
    let mut ids = repository.list(kind)?;
    let again = repository.list(kind)?;
    ids.sort_unstable();
    for id in again {
        if let Err(place) = ids.binary_search(&id) {
            ids.insert(place, id);
        }
    }
    Ok(ids)
}

/// Hands each of these index files to `take`, on the calling thread. One that is missing or damaged is an error.
pub(crate) fn each_index_file(
    repository: &Repository,
    ids: &[Id],
    mut take: impl FnMut(Id, IndexFile) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    each_index_file_read(repository, ids, |id, read| take(id, read?))
}

/// Hands each of these index files to `take`, on the calling thread, or why it cannot be read.
pub(crate) fn each_index_file_read(
    repository: &Repository,
    ids: &[Id],
    mut take: impl FnMut(Id, Result<IndexFile, VaultError>) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    // A mutex around the next id: held for a step.
    let next = Mutex::new(ids.iter());
    // A file is taken when it is wanted: none waits decoded but in the hands of the thread that read it.
    let (sender, receiver) = bounded(0);
    std::thread::scope(|scope| {
        for _ in 0..INDEX_THREADS.min(cores).min(ids.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let Some(id) = next.lock().next() else {
                        return;
                    };
                    let read = repository
                        .load_json(FileKind::Index, id)
                        .and_then(|json| file::decode(id, &json));
                    if sender.send((*id, read)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Dropping the receiver when this ends early lets the threads end.
        let receiver = receiver;
        for (id, read) in &receiver {
            take(id, read)?;
        }
        Ok(())
    })
}

/// Entries on their way to new index files, each of which is read back.
pub(crate) struct NewIndexFiles<'a> {
    repository: &'a Repository,
    lock: &'a LockGuard,
    file: IndexFile,
    blob_count: usize,
    written: Vec<Id>,
}

impl<'a> NewIndexFiles<'a> {
    pub(crate) fn new(repository: &'a Repository, lock: &'a LockGuard) -> Self {
        Self {
            repository,
            lock,
            file: IndexFile::default(),
            blob_count: 0,
            written: Vec::new(),
        }
    }

    pub(crate) fn keep(&mut self, pack: IndexedPack) -> Result<(), VaultError> {
        let blob_count = pack.blobs.len();
        self.file.packs.push(pack);
        self.put_when_full(blob_count)
    }

    pub(crate) fn mark(&mut self, pack: MarkedPack) -> Result<(), VaultError> {
        let blob_count = pack.blobs.len();
        self.file.marked_packs.push(pack);
        self.put_when_full(blob_count)
    }

    /// Puts what there is, then the journal as a file of its own, and says which.
    pub(crate) fn put_journal(&mut self, journal: PruneJournal) -> Result<Id, VaultError> {
        self.put_rest()?;
        self.put(&IndexFile {
            journal: Some(journal),
            ..IndexFile::default()
        })
    }

    /// Puts what is left. All that was handed over is durable then, in these files.
    pub(crate) fn finish(mut self) -> Result<Vec<Id>, VaultError> {
        self.put_rest()?;
        Ok(self.written)
    }

    fn put_when_full(&mut self, more_blobs: usize) -> Result<(), VaultError> {
        self.blob_count += more_blobs + 1;
        if self.blob_count < INDEX_BLOB_COUNT {
            return Ok(());
        }
        self.put_rest()
    }

    fn put_rest(&mut self) -> Result<(), VaultError> {
        self.blob_count = 0;
        let file = std::mem::take(&mut self.file);
        if !file.packs.is_empty() || !file.marked_packs.is_empty() {
            self.put(&file)?;
        }
        Ok(())
    }

    fn put(&mut self, file: &IndexFile) -> Result<Id, VaultError> {
        self.lock.ensure_held()?;
        let json = file::encode_file(file)?;
        let id = self.repository.save_json(FileKind::Index, &json)?;
        self.written.push(id);
        Ok(id)
    }
}

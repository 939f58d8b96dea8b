//! Packs on the storage that no index names: what a backup left that was killed before its index was written.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage::ErrorKind;

use super::{Writer, padding};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::IndexedPack;
use crate::layout::FileKind;
use crate::pack::{LARGEST_PACK_OF_RESTIC_BYTES, hash_and_tail, header_of_tail};
use crate::repository::ListedPack;

/// Packs read at once, a few MiB of each in memory.
const THREAD_COUNT: usize = 4;

impl Writer {
    /// Takes over packs that no index names, so that a backup goes on where a killed one ended. Says how many.
    ///
    /// Each is read whole and compared with its name, since nothing else vouches for it; one that is damaged is left
    /// where it is and never referred to. So is a file that is larger than packs are: it would cost each backup the time
    /// to read it. A pack that holds nothing new is left too, as are packs that another program marked for deletion. Taking over a pack of a backup that runs beside this one does no harm: both will name it.
    ///
    /// `packs` are those that [`Repository::load_index_for_backup`](crate::Repository::load_index_for_backup) found. Asked
    /// before each pack, `is_over` ends it early; what was taken over by then counts.
    pub fn adopt_unindexed_packs(
        &self,
        packs: &[ListedPack],
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<usize, VaultError> {
        self.core.poison.check()?;
        let mut known: HashSet<Id> = self.core.pending.pack_ids().into_iter().collect();
        known.extend(self.core.index.packs());
        known.extend(self.core.index.marked_packs());
        let candidates: Vec<&ListedPack> = packs
            .iter()
            .filter(|pack| pack.size_bytes <= LARGEST_PACK_OF_RESTIC_BYTES)
            .filter(|pack| !known.contains(&pack.id))
            .collect();
        let (next, adopted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run = || -> Result<(), VaultError> {
            while !is_over()
                && let Some(pack) = candidates.get(next.fetch_add(1, Ordering::Relaxed))
            {
                if self.adopt(&pack.id, pack.size_bytes)? {
                    adopted.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREAD_COUNT.min(candidates.len()))
                .map(|_| scope.spawn(run))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(VaultError::Thread {
                        reason: "a reader of packs ended early".to_owned(),
                    })
                })
            })
        })?;
        Ok(adopted.into_inner())
    }

    fn adopt(&self, id: &Id, size_bytes: u64) -> Result<bool, VaultError> {
        let repository = &self.core.repository;
        let tail = match hash_and_tail(&**repository.storage(), id, size_bytes) {
            Ok((hash, tail)) if hash == *id => tail,
            Ok(_) => return Ok(false),
            Err(error) if matches!(error.kind, ErrorKind::Transient | ErrorKind::Throttled) => {
                return Err(error.into());
            }
            // Shorter than it was listed, or on a bad sector: nobody needs it, so it keeps nobody from a backup.
            Err(_) => return Ok(false),
        };
        let Ok(blobs) = header_of_tail(repository.cipher(), id, &tail, size_bytes) else {
            return Ok(false);
        };
        let mut has_new = false;
        for blob in padding::without_padding(&blobs, size_bytes as usize) {
            if !self.core.index.contains(blob.kind, &blob.id) {
                has_new |= self.core.claims.claim(blob.kind, blob.id);
            }
        }
        if has_new {
            // Whoever put it may have been killed before its name was durable, and its folder's.
            let name = FileKind::Pack.name(id);
            let folders = [
                FileKind::Pack.folder(),
                name.rsplit_once('/').map_or("", |(folder, _)| folder),
            ];
            repository
                .storage()
                .sync_folders(&folders.map(str::to_owned))
                .map_err(|error| self.core.poison.set(error.into()))?;
            let ready = self.core.pending.add(IndexedPack { id: *id, blobs });
            self.core.write_index(ready)?;
        }
        Ok(has_new)
    }
}

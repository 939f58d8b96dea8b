//! Brings blobs back, each compared with its id: what was read is what was backed up, or an error.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::{BlobLocation, Index};
use crate::layout::FileKind;
use crate::pack::PackedBlob;
use crate::repository::Repository;
use crate::tree::Tree;

/// Blobs whose distance in a pack is at most this are read with one request: less than a disk reads in one seek.
const LARGEST_GAP_BYTES: u64 = 64 << 10;
/// One request reads no more than this at once.
const LARGEST_REQUEST_BYTES: u64 = 16 << 20;

/// Reads blobs through an index. Shared by any number of threads.
#[derive(Debug)]
pub struct Reader {
    repository: Repository,
    index: Arc<Index>,
    // Scratch of threads that are not reading right now: a stack under a plain mutex, held for a push or a pop.
    scratch: Mutex<Vec<BlobScratch>>,
}

impl Reader {
    /// A reader of this repository by this index.
    #[must_use]
    pub fn new(repository: Repository, index: Arc<Index>) -> Self {
        Self {
            repository,
            index,
            scratch: Mutex::new(Vec::new()),
        }
    }

    /// The index that is used.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The repository that is read.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The plaintext of a blob. When one copy is damaged and the index names another, that one is taken.
    pub fn read_blob(&self, kind: BlobKind, id: &Id) -> Result<Vec<u8>, VaultError> {
        self.with_blob(kind, id, <[u8]>::to_vec)
    }

    /// The tree of this id.
    pub fn read_tree(&self, id: &Id) -> Result<Tree, VaultError> {
        self.with_blob(BlobKind::Tree, id, Tree::decode)?
    }

    /// Hands the plaintext of a blob to `take` without a copy of its own.
    pub fn with_blob<T>(
        &self,
        kind: BlobKind,
        id: &Id,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, VaultError> {
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let mut first_error = None;
        let mut found = None;
        for location in self.index.all(kind, id) {
            match self.read_at(&mut scratch, kind, id, &location) {
                Ok(()) => {
                    found = Some(location);
                    break;
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let result = match (found, first_error) {
            (Some(location), _) => Ok(take(scratch.opened(location.uncompressed_length))),
            (None, Some(error)) => Err(error),
            (None, None) => Err(VaultError::BlobMissing { kind, id: *id }),
        };
        self.scratch.lock().push(scratch);
        result
    }

    /// Reads, opens and compares one copy; the plaintext stays in `scratch`.
    fn read_at(
        &self,
        scratch: &mut BlobScratch,
        kind: BlobKind,
        id: &Id,
        location: &BlobLocation,
    ) -> Result<(), VaultError> {
        let stored = self.repository.storage().get_range(
            &FileKind::Pack.name(&location.pack),
            u64::from(location.offset),
            location.length as usize,
        )?;
        open_compared(
            &self.repository,
            scratch,
            &location.pack,
            &location.with_id(kind, *id),
            &stored,
        )?;
        Ok(())
    }

    /// Reads several blobs of one pack, near ones with one request, and hands each to `take` in order of offset.
    ///
    /// A blob that is damaged is handed over as an error and the others go on; `take` ends it all by an error of its
    /// own, which is returned.
    pub fn read_pack<E>(
        &self,
        pack: &Id,
        blobs: &[PackedBlob],
        scratch: &mut BlobScratch,
        mut take: impl FnMut(&PackedBlob, Result<&[u8], VaultError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ordered = blobs.to_vec();
        ordered.sort_unstable_by_key(|blob| blob.offset);
        let mut rest = ordered.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_length(rest));
            rest = after;
            let start = u64::from(run[0].offset);
            let end = run_end(run);
            let read = self.repository.storage().get_range(
                &FileKind::Pack.name(pack),
                start,
                (end - start) as usize,
            );
            for blob in run {
                match &read {
                    Err(error) => take(blob, Err(error.clone().into()))?,
                    Ok(bytes) => {
                        let from = (u64::from(blob.offset) - start) as usize;
                        let stored = &bytes[from..from + blob.length as usize];
                        take(
                            blob,
                            open_compared(&self.repository, scratch, pack, blob, stored),
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many of the first blobs one request reads.
fn run_length(blobs: &[PackedBlob]) -> usize {
    let start = u64::from(blobs[0].offset);
    let mut end = start + u64::from(blobs[0].length);
    let fitting = blobs[1..].iter().take_while(|blob| {
        let offset = u64::from(blob.offset);
        let blob_end = offset + u64::from(blob.length);
        let fits = offset <= end + LARGEST_GAP_BYTES && blob_end - start <= LARGEST_REQUEST_BYTES;
        end = end.max(blob_end);
        fits
    });
    1 + fitting.count()
}

fn run_end(run: &[PackedBlob]) -> u64 {
    run.iter()
        .map(|blob| u64::from(blob.offset) + u64::from(blob.length))
        .max()
        .unwrap_or(0)
}

/// Opens the stored bytes of a blob and compares their hash with the id.
pub(crate) fn open_compared<'a>(
    repository: &Repository,
    scratch: &'a mut BlobScratch,
    pack: &Id,
    blob: &PackedBlob,
    stored: &[u8],
) -> Result<&'a [u8], VaultError> {
    let damaged = |reason: String| VaultError::DamagedBlob {
        kind: blob.kind,
        id: blob.id,
        pack: *pack,
        reason,
    };
    let plaintext = scratch
        .open(repository.cipher(), stored, blob.uncompressed_length)
        .map_err(|error| damaged(error.to_string()))?;
    if Id::hash(plaintext) == blob.id {
        Ok(plaintext)
    } else {
        Err(damaged("its content does not have this hash".to_owned()))
    }
}

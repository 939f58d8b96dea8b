//! Brings blobs back, each compared with its id: what was read is what was backed up, or an error.
//!
//! Who writes a blob somewhere and compares the result with the id may ask for [`Comparison::ByCaller`], so that each
//! byte is hashed once. Storages have given wrong bytes once and the right ones later, so a blob that does not open is
//! read a second time before it counts as damaged.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;
use storage::{ErrorKind, StorageError};

use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::homes::Homes;
use crate::index::{BlobLocation, Index};
use crate::layout::FileKind;
use crate::pack::PackedBlob;
use crate::repository::Repository;
use crate::tree::Tree;

/// Blobs whose distance in a pack is at most this are read with one request: less than a disk reads in one seek.
const LARGEST_GAP_BYTES: u64 = 64 << 10;
/// One request reads no more than this at once.
const LARGEST_REQUEST_BYTES: u64 = 16 << 20;

/// Who compares the hash of a blob with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The reader, before anybody gets to see the bytes.
    ByReader,
    /// The caller, by [`PackedBlob::compare`] or by hashing what became of the bytes. They are authentic (somebody with
    /// the key sealed just them) and have the length that the index says, no more.
    ByCaller,
}

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

    /// Every place of a blob, those in packs that are marked for deletion last, and nothing when no index file names it. An
    /// index for a restore may have to be completed by reading index files for that.
    pub fn places(&self, kind: BlobKind, id: &Id) -> Result<Vec<BlobLocation>, VaultError> {
        let mut parts = vec![&*self.index];
        if let (BlobKind::Data, Some(homes)) = (kind, self.index.homes()) {
            for number in homes.files_of(id) {
                parts.push(self.part(homes, number)?);
            }
        }
        // What one part has marked another one may have in a pack that stays: those come first.
        let stored = parts.iter().flat_map(|part| part.stored(kind, id));
        let marked = parts.iter().filter_map(|part| part.marked());
        let mut places: Vec<BlobLocation> = Vec::new();
        for place in stored.chain(marked.flat_map(|part| part.stored(kind, id))) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// The index file of this number.
    fn part<'a>(&'a self, homes: &'a Homes, number: usize) -> Result<&'a Index, VaultError> {
        if let Some(whole) = homes.whole() {
            return Ok(whole);
        }
        match homes.part(number, |file| self.repository.load_index_file(file)) {
            // A prune beside this has put others in its place.
            Err(error) if error.storage_kind() == Some(ErrorKind::NotFound) => {
                // What an index file names that cannot be read is missed by the files that need it.
                homes.read_whole(|| {
                    let read = self.repository.load_index_and_damage();
                    read.map(|(index, _)| index)
                })
            }
            read => read,
        }
    }

    /// A place of a blob, see [`Reader::places`].
    pub fn place(&self, kind: BlobKind, id: &Id) -> Result<Option<BlobLocation>, VaultError> {
        match self.index.stored(kind, id).next() {
            Some(place) => Ok(Some(place)),
            None => Ok(self.places(kind, id)?.first().copied()),
        }
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
        let places = self.places(kind, id)?;
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let mut first_error = None;
        let mut found = None;
        // Each place once, then those again that answered with wrong bytes.
        for is_again in [false, true] {
            if is_again && !first_error.as_ref().is_some_and(is_worth_a_second_look) {
                break;
            }
            found = places.iter().find(|location| {
                match self.read_at(&mut scratch, kind, id, location) {
                    Ok(()) => true,
                    Err(error) => {
                        first_error.get_or_insert(error);
                        false
                    }
                }
            });
            if found.is_some() {
                break;
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
        let blob = location.with_id(kind, *id);
        let read = self.repository.storage().get_range(
            &FileKind::Pack.name(&location.pack),
            u64::from(location.offset),
            location.length as usize,
        );
        let stored = read.map_err(|error| unreadable(&blob, &location.pack, error))?;
        open_compared(&self.repository, scratch, &location.pack, &blob, &stored)?;
        Ok(())
    }

    /// Reads several blobs of one pack, near ones with one request, and hands each to `take` in order of offset.
    ///
    /// A blob that is damaged is handed over as an error and the others go on; `take` ends it all by an error of its
    /// own, which is returned. Nothing is read a second time here: [`Reader::read_blob`] does that, and knows of other
    /// copies.
    pub fn read_pack<E>(
        &self,
        pack: &Id,
        blobs: &[PackedBlob],
        comparison: Comparison,
        scratch: &mut BlobScratch,
        mut take: impl FnMut(&PackedBlob, Result<&[u8], VaultError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut sorted = Vec::new();
        let mut rest = blobs;
        if !blobs.is_sorted_by_key(|blob| blob.offset) {
            sorted.extend_from_slice(blobs);
            sorted.sort_unstable_by_key(|blob| blob.offset);
            rest = &sorted;
        }
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
                    Err(error) => take(blob, Err(unreadable(blob, pack, error.clone())))?,
                    Ok(bytes) => {
                        let from = (u64::from(blob.offset) - start) as usize;
                        let stored = &bytes[from..from + blob.length as usize];
                        let opened = match comparison {
                            Comparison::ByReader => {
                                open_compared(&self.repository, scratch, pack, blob, stored)
                            }
                            Comparison::ByCaller => {
                                open_authentic(&self.repository, scratch, pack, blob, stored)
                            }
                        };
                        take(blob, opened)?;
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

/// A pack that is gone is damage to what it held, and must not be taken for a vault that is not there.
fn unreadable(blob: &PackedBlob, pack: &Id, error: StorageError) -> VaultError {
    match error.kind {
        ErrorKind::NotFound => blob.damaged(pack, "the pack is missing".to_owned()),
        _ => error.into(),
    }
}

/// Whether the same place may give other bytes when it is asked again.
fn is_worth_a_second_look(error: &VaultError) -> bool {
    match error.storage_kind() {
        Some(kind) => kind == ErrorKind::Corrupt,
        None => matches!(error, VaultError::DamagedBlob { .. }),
    }
}

/// Opens the stored bytes of a blob and compares their hash with the id.
pub(crate) fn open_compared<'a>(
    repository: &Repository,
    scratch: &'a mut BlobScratch,
    pack: &Id,
    blob: &PackedBlob,
    stored: &[u8],
) -> Result<&'a [u8], VaultError> {
    let plaintext = open_authentic(repository, scratch, pack, blob, stored)?;
    blob.compare(pack, plaintext)?;
    Ok(plaintext)
}

/// Opens the stored bytes of a blob: their tag and the length of the plaintext are right.
fn open_authentic<'a>(
    repository: &Repository,
    scratch: &'a mut BlobScratch,
    pack: &Id,
    blob: &PackedBlob,
    stored: &[u8],
) -> Result<&'a [u8], VaultError> {
    scratch
        .open(repository.cipher(), stored, blob.uncompressed_length)
        .map_err(|error| blob.damaged(pack, error.to_string()))
}

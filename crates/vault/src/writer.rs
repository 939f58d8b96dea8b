//! Adds blobs, trees and one snapshot to a repository, from any number of threads.
//!
//! The way of a blob: hash (outside locks), claim its id ([`claims`]: who comes second need not store it), compress,
//! seal and read back (outside locks), append to an open pack picked at random ([`packer`]), finish by a thread of the
//! writer ([`upload`]), enter an index file ([`pending`]). [`Writer::commit`] waits for all of that and then writes the
//! snapshot.
//!
//! Why a snapshot never refers to what is not durable: a pack enters the pending index only after its put returned and
//! its size was asked for; an index file is put only with such packs; `commit` writes the snapshot only after
//! [`Writer::flush`] saw every pack uploaded and every index file put, and only when nothing failed since the writer
//! was opened. Any failure is kept ([`Poison`]) and answered by every later call, so a blob whose claim was never
//! fulfilled can never be referred to.
//!
//! Memory: `open_data_packs + 1 + upload_threads` buffers of at most 1 MiB where the storage takes files piece by piece,
//! of `pack_size_bytes` (or one larger blob) where it does not, the tags of what was claimed (20 to 40 bytes for each new blob), the
//! entries of the pending index (at most `index_blob_count` of 48 bytes and those of the packs in flight), and the
//! scratch of each thread that saves.

mod adopt;
mod claims;
mod packer;
mod padding;
mod pending;
mod upload;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use storage::Storage;

use crate::blob::{BlobKind, BlobScratch, LARGEST_BLOB_BYTES};
use crate::crypto::Cipher;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::Index;
use crate::layout::FileKind;
use crate::pack::PackedBlob;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::Tree;

use claims::Claims;
use packer::{FullPack, Packer};
use pending::PendingIndex;
use upload::InFlight;

/// How a writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// No pack grows beyond this, but for one that holds a single larger blob. Finished packs have between three
    /// quarters and the whole of it.
    pub pack_size_bytes: usize,
    /// Data blobs are spread at random over so many packs, so that the order and the sizes of files do not show in the
    /// sizes of packs. At least 2.
    pub open_data_packs: usize,
    /// Threads that put packs. More than one hides the time a durable put takes.
    pub upload_threads: usize,
    /// Larger blobs are refused with [`VaultError::BlobTooLarge`]; at most 1 GiB, which is what any blob may have that is
    /// read back. It bounds the tree of one folder: restic knows no bound but the 4 GiB of its length fields, and holds
    /// such a tree in memory several times, as we do.
    pub largest_blob_bytes: usize,
    /// An index file is written when so many blobs wait for one, as restic does it.
    pub index_blob_count: usize,
    /// Every pack is read back from the storage and compared before an index file names it. For what replaces something
    /// that will be removed: a storage that keeps other bytes than it was given is found out in time.
    pub read_back: bool,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            pack_size_bytes: 16 << 20,
            open_data_packs: 2,
            upload_threads: 2,
            largest_blob_bytes: LARGEST_BLOB_BYTES,
            index_blob_count: 50_000,
            read_back: false,
        }
    }
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedBlob {
    /// SHA-256 of the plaintext.
    pub id: Id,
    /// Whether this call stored it. Otherwise it was there, or another thread is storing it.
    pub is_new: bool,
    /// What it added to the vault, 0 when it is not new.
    pub stored_bytes: u64,
}

/// What a writer has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// New data blobs.
    pub data_blobs: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// Bytes of new data blobs before compression.
    pub data_bytes: u64,
    /// Bytes of new tree blobs before compression.
    pub tree_bytes: u64,
    /// Bytes of new blobs of both kinds as stored.
    pub stored_bytes: u64,
    /// Packs put.
    pub packs: u64,
    /// Index files put.
    pub index_files: u64,
}

#[derive(Debug, Default)]
struct Counters {
    data_blobs: AtomicU64,
    tree_blobs: AtomicU64,
    data_bytes: AtomicU64,
    tree_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    packs: AtomicU64,
    index_files: AtomicU64,
}

/// The first failure, kept for ever.
#[derive(Debug, Default)]
struct Poison {
    // Written once, read before each blob without a lock.
    first: OnceLock<VaultError>,
}

impl Poison {
    fn check(&self) -> Result<(), VaultError> {
        match self.first.get() {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    fn set(&self, error: VaultError) -> VaultError {
        self.first.get_or_init(|| error).clone()
    }
}

/// What the callers' threads and the uploaders share.
#[derive(Debug)]
struct Core {
    repository: Repository,
    index: Arc<Index>,
    claims: Claims,
    /// Trees that the index names and that could not be read: they are stored again. A plain mutex: held for a look.
    unreadable_trees: Mutex<HashSet<Id>>,
    packer: Packer,
    pending: PendingIndex,
    in_flight: InFlight,
    read_back: bool,
    poison: Poison,
    counters: Counters,
    largest_blob_bytes: usize,
}

impl Core {
    fn storage_and_cipher(&self) -> (&dyn Storage, &Cipher) {
        (&**self.repository.storage(), self.repository.cipher())
    }

    /// Whether the blob was stored before, as far as is known.
    fn is_stored(&self, kind: BlobKind, id: &Id) -> bool {
        self.index.contains(kind, id)
            && (kind != BlobKind::Tree || !self.unreadable_trees.lock().contains(id))
    }
}

/// Adds to a repository. See the module's text for its promises.
#[derive(Debug)]
pub struct Writer {
    core: Arc<Core>,
    /// Gone when the uploaders shall end.
    full_packs: Option<Sender<FullPack>>,
    uploaders: Vec<JoinHandle<()>>,
}

impl Writer {
    /// Starts the uploaders. `index` says what is stored already.
    pub fn open(
        repository: Repository,
        index: Arc<Index>,
        options: WriterOptions,
    ) -> Result<Self, VaultError> {
        let upload_threads = options.upload_threads.max(1);
        let packer = Packer::new(&options);
        // Every buffer fits in the channel, so sending never blocks; the number of buffers is what bounds memory.
        let (full_packs, queue) = bounded(packer.buffer_count());
        let core = Arc::new(Core {
            repository,
            index,
            claims: Claims::default(),
            unreadable_trees: Mutex::default(),
            packer,
            pending: PendingIndex::new(options.index_blob_count),
            in_flight: InFlight::default(),
            read_back: options.read_back,
            poison: Poison::default(),
            counters: Counters::default(),
            largest_blob_bytes: options.largest_blob_bytes.min(LARGEST_BLOB_BYTES),
        });
        let mut writer = Self {
            core,
            full_packs: Some(full_packs),
            uploaders: Vec::new(),
        };
        for number in 0..upload_threads {
            let (core, queue) = (Arc::clone(&writer.core), queue.clone());
            let uploader = std::thread::Builder::new()
                .name(format!("upload-{number}"))
                .spawn(move || core.upload_all(&queue))
                .map_err(|error| VaultError::Thread {
                    reason: error.to_string(),
                })?;
            writer.uploaders.push(uploader);
        }
        Ok(writer)
    }

    /// Stores a blob unless it is there. `scratch` belongs to the calling thread.
    pub fn save_blob(
        &self,
        kind: BlobKind,
        plaintext: &[u8],
        scratch: &mut BlobScratch,
    ) -> Result<SavedBlob, VaultError> {
        self.core.poison.check()?;
        if plaintext.len() > self.core.largest_blob_bytes {
            return Err(VaultError::BlobTooLarge {
                length_bytes: plaintext.len(),
            });
        }
        let id = Id::hash(plaintext);
        if self.core.is_stored(kind, &id) || !self.core.claims.claim(kind, id) {
            return Ok(SavedBlob {
                id,
                is_new: false,
                stored_bytes: 0,
            });
        }
        // From here on the claim must be fulfilled, or nothing that this writer does may count.
        let sealed = scratch
            .seal_verified(self.core.repository.cipher(), plaintext)
            .map_err(|_| self.core.poison.set(VaultError::VerifyFailed { kind, id }))?;
        let stored_bytes = sealed.bytes.len() as u64;
        self.add(kind, id, sealed.bytes, sealed.uncompressed_length)?;
        self.core
            .counters
            .count(kind, plaintext.len() as u64, stored_bytes);
        Ok(SavedBlob {
            id,
            is_new: true,
            stored_bytes,
        })
    }

    /// Stores a tree unless it is there.
    pub fn save_tree(
        &self,
        tree: &Tree,
        scratch: &mut BlobScratch,
    ) -> Result<SavedBlob, VaultError> {
        let mut json = std::mem::take(&mut scratch.tree_json);
        let saved = tree
            .encode_to(&mut json)
            .and_then(|()| self.save_blob(BlobKind::Tree, &json, scratch));
        scratch.tree_json = json;
        saved
    }

    /// Whether the blob is stored, or is being stored by this writer.
    #[must_use]
    pub fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        self.core.is_stored(kind, id) || self.core.claims.contains(kind, id)
    }

    /// Notes that a tree could not be read: when it is saved once more it is stored again, and whoever needs it finds
    /// another copy then.
    pub fn note_unreadable_tree(&self, id: Id) {
        self.core.unreadable_trees.lock().insert(id);
    }

    /// Puts all that was saved so far: packs, then index files. On `Ok` all of it is durable and findable.
    pub fn flush(&self) -> Result<(), VaultError> {
        self.core.poison.check()?;
        let (storage, cipher) = self.core.storage_and_cipher();
        let packs = self.core.packer.take_open_packs(storage, cipher);
        for pack in packs.map_err(|error| self.core.poison.set(error))? {
            self.send(pack)?;
        }
        self.core.in_flight.wait_for_none(&self.core.poison);
        self.core.poison.check()?;
        self.core.write_index(self.core.pending.take_all())
    }

    /// Flushes, then writes the snapshot, whose id is returned. Nothing of the writer is left afterwards.
    pub fn commit(self, snapshot: &Snapshot) -> Result<Id, VaultError> {
        self.flush()?;
        if !self.contains(BlobKind::Tree, &snapshot.tree) {
            return Err(VaultError::BlobMissing {
                kind: BlobKind::Tree,
                id: snapshot.tree,
            });
        }
        let json = snapshot.encode()?;
        self.core.repository.save_json(FileKind::Snapshot, &json)
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        let counters = &self.core.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterStats {
            data_blobs: read(&counters.data_blobs),
            tree_blobs: read(&counters.tree_blobs),
            data_bytes: read(&counters.data_bytes),
            tree_bytes: read(&counters.tree_bytes),
            stored_bytes: read(&counters.stored_bytes),
            packs: read(&counters.packs),
            index_files: read(&counters.index_files),
        }
    }

    fn add(
        &self,
        kind: BlobKind,
        id: Id,
        stored: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<(), VaultError> {
        let blob = PackedBlob {
            kind,
            id,
            offset: 0,
            length: stored.len() as u32,
            uncompressed_length,
        };
        let (storage, _) = self.core.storage_and_cipher();
        let poison = &self.core.poison;
        let full = self.core.packer.append(storage, blob, stored, poison);
        for pack in full.map_err(|error| poison.set(error))? {
            self.send(pack)?;
        }
        Ok(())
    }

    fn send(&self, pack: FullPack) -> Result<(), VaultError> {
        self.core.in_flight.begin();
        if let Some(queue) = &self.full_packs
            && queue.send(pack).is_ok()
        {
            return Ok(());
        }
        self.core.in_flight.end();
        Err(self.core.poison.set(VaultError::Thread {
            reason: "the uploaders have ended".to_owned(),
        }))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What is still queued belongs to nobody: the uploaders shall not spend time on it.
        self.core.poison.set(VaultError::Thread {
            reason: "the writer has ended".to_owned(),
        });
        drop(self.full_packs.take());
        for uploader in self.uploaders.drain(..) {
            drop(uploader.join());
        }
    }
}

impl Counters {
    fn count(&self, kind: BlobKind, plaintext_bytes: u64, stored_bytes: u64) {
        let (blobs, bytes) = match kind {
            BlobKind::Data => (&self.data_blobs, &self.data_bytes),
            BlobKind::Tree => (&self.tree_blobs, &self.tree_bytes),
        };
        blobs.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(plaintext_bytes, Ordering::Relaxed);
        self.stored_bytes.fetch_add(stored_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

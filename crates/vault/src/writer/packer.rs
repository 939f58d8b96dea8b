//! The packs that are being filled.
//!
//! Data blobs go to one of several open packs picked at random, trees to one of their own, as restic wants them apart.
//! A pack goes to the storage piece by piece while it is filled, so that its buffer holds one piece; only a storage that
//! takes whole files makes it grow to the whole pack.
//!
//! The number of buffers is fixed: who needs one waits until an upload gives one back, which is what holds the readers
//! of the source to the speed of the storage.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use storage::{Storage, Upload};

use super::{Poison, WriterOptions, padding};
use crate::blob::BlobKind;
use crate::crypto::Cipher;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::IndexedPack;
use crate::layout::FileKind;
use crate::pack::{PackedBlob, entry_bytes, push_trailer, trailer_bytes};

/// restic reads headers of at most 16 MiB; this keeps ours far below, and their entries in memory few.
const LARGEST_BLOB_COUNT: usize = 50_000;
/// Blobs are written together until they are so long; more is not faster, and each open pack may hold as much.
const PIECE_BYTES: usize = 1 << 20;
/// How often a thread that waits for a buffer looks whether the writer failed.
const POISON_INTERVAL: Duration = Duration::from_millis(100);

/// A pack without its trailer: what is written to the storage already, and what is still in memory.
#[derive(Debug)]
pub(super) struct FullPack {
    /// The end of the body that is not written yet; all of it when the storage takes whole files only.
    tail: Vec<u8>,
    written_bytes: usize,
    /// Of what is written.
    hash: Sha256,
    upload: Option<Box<dyn Upload>>,
    blobs: Vec<PackedBlob>,
    /// What the trailer will take, kept up to date since every blob asks for it.
    trailer_bytes: usize,
}

/// A pack that is being filled.
#[derive(Debug)]
struct OpenPack {
    pack: FullPack,
    /// Finished from this size on.
    target_bytes: usize,
}

impl FullPack {
    /// An empty pack with this empty buffer.
    pub(super) fn new(tail: Vec<u8>) -> Self {
        Self {
            tail,
            written_bytes: 0,
            hash: Sha256::new(),
            upload: None,
            blobs: Vec::new(),
            trailer_bytes: trailer_bytes(std::iter::empty()),
        }
    }

    pub(super) fn blobs(&self) -> &[PackedBlob] {
        &self.blobs
    }

    fn body_bytes(&self) -> usize {
        self.written_bytes + self.tail.len()
    }

    pub(super) fn size_with_trailer(&self) -> usize {
        self.body_bytes() + self.trailer_bytes
    }

    pub(super) fn push(
        &mut self,
        storage: &dyn Storage,
        mut blob: PackedBlob,
        stored: &[u8],
    ) -> Result<(), VaultError> {
        blob.offset = self.body_bytes() as u32;
        self.trailer_bytes += entry_bytes(blob.uncompressed_length.is_some());
        self.blobs.push(blob);
        self.extend(storage, stored)
    }

    /// Appends to the body, and writes what has come together when it is enough.
    fn extend(&mut self, storage: &dyn Storage, bytes: &[u8]) -> Result<(), VaultError> {
        if self.tail.len() + bytes.len() < PIECE_BYTES {
            self.tail.extend_from_slice(bytes);
            return Ok(());
        }
        if self.upload.is_none() && self.written_bytes == 0 {
            self.upload = storage.begin()?;
        }
        let Some(upload) = &mut self.upload else {
            self.tail.extend_from_slice(bytes);
            return Ok(());
        };
        for piece in [self.tail.as_slice(), bytes] {
            upload.write(piece)?;
            self.hash.update(piece);
            self.written_bytes += piece.len();
        }
        self.tail.clear();
        Ok(())
    }

    /// Takes in another pack none of which is written yet.
    fn append(&mut self, storage: &dyn Storage, other: &Self) -> Result<(), VaultError> {
        let shift = self.body_bytes() as u32;
        self.trailer_bytes += other.trailer_bytes - trailer_bytes(std::iter::empty());
        self.blobs.extend(other.blobs.iter().map(|blob| PackedBlob {
            offset: blob.offset + shift,
            ..*blob
        }));
        self.extend(storage, &other.tail)
    }

    /// Adds the trailer and makes the pack durable under its hash. Gives what index files need, and the empty buffer.
    ///
    /// A store that says all is well and keeps a part is found out here, before anything refers to the pack.
    pub(super) fn store(
        mut self,
        storage: &dyn Storage,
        cipher: &Cipher,
    ) -> (Vec<u8>, Result<IndexedPack, VaultError>) {
        push_trailer(cipher, &self.blobs, &mut self.tail);
        self.hash.update(&self.tail);
        let id = Id::new(self.hash.finalize().into());
        let size_bytes = (self.written_bytes + self.tail.len()) as u64;
        let stored = put(storage, self.upload, id, &self.tail, size_bytes);
        let blobs = self.blobs;
        (self.tail, stored.map(|()| IndexedPack { id, blobs }))
    }
}

fn put(
    storage: &dyn Storage,
    upload: Option<Box<dyn Upload>>,
    id: Id,
    tail: &[u8],
    size_bytes: u64,
) -> Result<(), VaultError> {
    let name = FileKind::Pack.name(&id);
    match upload {
        None => storage.put(&name, tail)?,
        Some(mut upload) => {
            upload.write(tail)?;
            upload.finish(&name)?;
        }
    }
    let stored_bytes = storage.size(&name)?;
    if stored_bytes == size_bytes {
        return Ok(());
    }
    let reason = format!("the storage kept {stored_bytes} of {size_bytes} bytes");
    Err(VaultError::damaged(FileKind::Pack, id, reason))
}

/// Plain mutexes: each is held for a copy of one blob, or while waiting for a buffer, when the others would have to
/// wait too.
type Slot = Mutex<Option<OpenPack>>;

#[derive(Debug)]
pub(super) struct Packer {
    data: Vec<Slot>,
    trees: Slot,
    pack_size_bytes: usize,
    free_buffers: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    buffer_count: usize,
}

impl Packer {
    pub(super) fn new(options: &WriterOptions) -> Self {
        let open_data_packs = options.open_data_packs.max(2);
        // One for each open pack and one for each upload.
        let buffer_count = open_data_packs + 1 + options.upload_threads.max(1);
        let free_buffers = bounded(buffer_count);
        for _ in 0..buffer_count {
            // There is room for all of them, so this cannot fail.
            drop(free_buffers.0.try_send(Vec::new()));
        }
        Self {
            data: (0..open_data_packs).map(|_| Slot::default()).collect(),
            trees: Slot::default(),
            pack_size_bytes: options.pack_size_bytes.max(1 << 10),
            free_buffers,
            buffer_count,
        }
    }

    pub(super) fn buffer_count(&self) -> usize {
        self.buffer_count
    }

    /// Appends a blob to an open pack; gives the packs (at most two) that are full now.
    pub(super) fn append(
        &self,
        storage: &dyn Storage,
        blob: PackedBlob,
        stored: &[u8],
        poison: &Poison,
    ) -> Result<impl Iterator<Item = FullPack> + use<>, VaultError> {
        let slot = match blob.kind {
            BlobKind::Tree => &self.trees,
            BlobKind::Data => &self.data[rand::random_range(0..self.data.len())],
        };
        let mut slot = slot.lock();
        let needed = stored.len() + entry_bytes(blob.uncompressed_length.is_some());
        let too_small = slot.take_if(|open| {
            open.pack.size_with_trailer() + needed > self.pack_size_bytes
                || open.pack.blobs.len() >= LARGEST_BLOB_COUNT
        });
        let open = match &mut *slot {
            Some(open) => open,
            // The pack that was too small waits here unsent, and so may one of each other slot; the buffers beyond the
            // number of slots are with uploaders or free, so somebody always goes on.
            empty => empty.insert(self.begin(poison)?),
        };
        open.pack.push(storage, blob, stored)?;
        let full = slot.take_if(|open| open.pack.size_with_trailer() >= open.target_bytes);
        Ok([too_small, full]
            .into_iter()
            .flatten()
            .map(|open| open.pack))
    }

    fn begin(&self, poison: &Poison) -> Result<OpenPack, VaultError> {
        let bytes = loop {
            poison.check()?;
            match self.free_buffers.1.recv_timeout(POISON_INTERVAL) {
                Ok(buffer) => break buffer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(VaultError::Thread {
                        reason: "the buffers of the writer are gone".to_owned(),
                    });
                }
            }
        };
        let smallest = self.pack_size_bytes / 4 * 3;
        Ok(OpenPack {
            pack: FullPack::new(bytes),
            target_bytes: rand::random_range(smallest..=self.pack_size_bytes),
        })
    }

    /// Gives a buffer back after its upload.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        // A buffer that one huge blob blew up is not kept.
        buffer.shrink_to(self.pack_size_bytes + self.pack_size_bytes / 8);
        drop(self.free_buffers.0.try_send(buffer));
    }

    /// Takes all packs that are being filled, data packs joined where they fit, each padded.
    pub(super) fn take_open_packs(
        &self,
        storage: &dyn Storage,
        cipher: &Cipher,
    ) -> Result<Vec<FullPack>, VaultError> {
        let mut data: Vec<FullPack> = self
            .data
            .iter()
            .filter_map(|slot| slot.lock().take())
            .map(|open| open.pack)
            .collect();
        // Those of which a part is written come first: only the others can be joined to one.
        data.sort_by_key(|pack| pack.written_bytes == 0);
        let mut packs: Vec<FullPack> = Vec::new();
        for pack in data {
            match packs.last_mut() {
                Some(last)
                    if pack.written_bytes == 0
                        && last.size_with_trailer() + pack.size_with_trailer()
                            <= self.pack_size_bytes =>
                {
                    last.append(storage, &pack)?;
                    self.give_back(pack.tail);
                }
                _ => packs.push(pack),
            }
        }
        packs.extend(self.trees.lock().take().map(|open| open.pack));
        for pack in &mut packs {
            padding::pad(pack, storage, cipher)?;
        }
        Ok(packs)
    }
}

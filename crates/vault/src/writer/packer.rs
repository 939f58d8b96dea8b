//! The packs that are being filled.
//!
//! Data blobs go to one of several open packs picked at random, trees to one of their own, as restic wants them apart.
//! The number of buffers is fixed: who needs one waits until an upload gives one back, which is what holds the readers
//! of the source to the speed of the storage.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::{Poison, WriterOptions, padding};
use crate::blob::BlobKind;
use crate::crypto::Cipher;
use crate::error::VaultError;
use crate::pack::{PackedBlob, entry_bytes, trailer_bytes};

/// restic reads headers of at most 16 MiB; this keeps ours far below, and their entries in memory few.
const LARGEST_BLOB_COUNT: usize = 50_000;
/// How often a thread that waits for a buffer looks whether the writer failed.
const POISON_INTERVAL: Duration = Duration::from_millis(100);

/// A pack without its trailer, on its way to an uploader.
#[derive(Debug)]
pub(super) struct FullPack {
    pub(super) bytes: Vec<u8>,
    pub(super) blobs: Vec<PackedBlob>,
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
    /// An empty pack in this empty buffer.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            blobs: Vec::new(),
            trailer_bytes: trailer_bytes(std::iter::empty()),
        }
    }

    pub(super) fn size_with_trailer(&self) -> usize {
        self.bytes.len() + self.trailer_bytes
    }

    pub(super) fn push(&mut self, mut blob: PackedBlob, stored: &[u8]) {
        blob.offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(stored);
        self.trailer_bytes += entry_bytes(blob.uncompressed_length.is_some());
        self.blobs.push(blob);
    }

    fn append(&mut self, other: &Self) {
        let shift = self.bytes.len() as u32;
        self.trailer_bytes += other.trailer_bytes - trailer_bytes(std::iter::empty());
        self.bytes.extend_from_slice(&other.bytes);
        self.blobs.extend(other.blobs.iter().map(|blob| PackedBlob {
            offset: blob.offset + shift,
            ..*blob
        }));
    }
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
        open.pack.push(blob, stored);
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
    pub(super) fn take_open_packs(&self, cipher: &Cipher) -> Vec<FullPack> {
        let mut packs: Vec<FullPack> = Vec::new();
        for slot in &self.data {
            let Some(open) = slot.lock().take() else {
                continue;
            };
            match packs.last_mut() {
                Some(last)
                    if last.size_with_trailer() + open.pack.size_with_trailer()
                        <= self.pack_size_bytes =>
                {
                    last.append(&open.pack);
                    self.give_back(open.pack.bytes);
                }
                _ => packs.push(open.pack),
            }
        }
        packs.extend(self.trees.lock().take().map(|open| open.pack));
        for pack in &mut packs {
            padding::pad(pack, cipher);
        }
        packs
    }
}

//! The plan of a batch: files, the places that want each blob, hard links, and how packs are read for them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use source::file::target::{InTheWay, TargetDir, TargetFile};
use vault::{Id, PackedBlob};

use super::metadata::NodeMetadata;

/// A file to be written.
#[derive(Debug)]
pub(super) struct PlannedFile {
    pub(super) dir: TargetDir,
    pub(super) name: Box<[u8]>,
    pub(super) size: u64,
    pub(super) metadata: NodeMetadata,
    pub(super) in_the_way: InTheWay,
    /// Set when other names are to be linked to this file.
    pub(super) primary: Option<Arc<Primary>>,
    pub(super) content: Vec<Id>,
    /// Blobs that are not written yet.
    pub(super) pending_count: AtomicUsize,
    pub(super) has_failed: AtomicBool,
    // A mutex: the first worker that has a blob for the file makes it.
    pub(super) file: Mutex<Option<Arc<TargetFile>>>,
}

impl PlannedFile {
    pub(super) fn new(
        dir: TargetDir,
        name: Box<[u8]>,
        size: u64,
        metadata: NodeMetadata,
        in_the_way: InTheWay,
        primary: Option<Arc<Primary>>,
        content: Vec<Id>,
    ) -> PlannedFile {
        PlannedFile {
            dir,
            name,
            size,
            metadata,
            in_the_way,
            primary,
            pending_count: AtomicUsize::new(content.len()),
            content,
            has_failed: AtomicBool::new(false),
            file: Mutex::new(None),
        }
    }

    /// Says whether this is the first failure of the file.
    pub(super) fn fail(&self) -> bool {
        !self.has_failed.swap(true, Ordering::Relaxed)
    }
}

/// The first of several hard links, which the others are linked to.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) dir: TargetDir,
    pub(super) name: Box<[u8]>,
    pub(super) size: u64,
    pub(super) blob_count: usize,
    pub(super) first_blob: Option<Id>,
    /// Written by a worker, read when the links of the same or a later batch are made, after its workers have ended.
    pub(super) is_restored: AtomicBool,
}

/// A hard link to be made when the file it belongs to is whole.
#[derive(Debug)]
pub(super) struct PlannedLink {
    pub(super) dir: TargetDir,
    pub(super) name: Box<[u8]>,
    pub(super) in_the_way: InTheWay,
    pub(super) primary: Arc<Primary>,
    pub(super) size: u64,
}

/// One place that wants a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobUse {
    pub(super) pack: u32,
    pub(super) blob_offset: u32,
    pub(super) blob_length: u32,
    pub(super) uncompressed_length: Option<NonZeroU32>,
    pub(super) file: u32,
    /// The number of the blob in the file.
    pub(super) content: u32,
    /// Where it goes in the file.
    pub(super) offset: u64,
}

/// Files that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) files: Vec<PlannedFile>,
    pub(super) uses: Vec<BlobUse>,
    pub(super) links: Vec<PlannedLink>,
    /// What the attributes of the files take.
    pub(super) metadata_bytes: usize,
    pub(super) packs: Vec<Id>,
    pack_numbers: HashMap<Id, u32>,
}

impl Batch {
    pub(super) fn pack_number(&mut self, pack: &Id) -> u32 {
        *self.pack_numbers.entry(*pack).or_insert_with(|| {
            self.packs.push(*pack);
            (self.packs.len() - 1) as u32
        })
    }

    /// About how much memory the plan takes: the records, names, ids and attributes of files, and the uses.
    pub(super) fn held_bytes(&self) -> usize {
        let blob_bytes = size_of::<BlobUse>() + size_of::<Id>();
        self.files.len() * (size_of::<PlannedFile>() + 64)
            + self.uses.len() * blob_bytes
            + self.links.len() * 64
            + self.metadata_bytes
    }

    /// The uses of each pack, after sorting.
    pub(super) fn groups(&mut self) -> Vec<Range<usize>> {
        self.uses
            .sort_unstable_by_key(|place| (place.pack, place.blob_offset));
        let mut groups = Vec::new();
        let mut start = 0;
        for end in 1..=self.uses.len() {
            if end == self.uses.len() || self.uses[end].pack != self.uses[start].pack {
                groups.push(start..end);
                start = end;
            }
        }
        groups
    }
}

/// How much of a pack one request brings: enough that a request costs little, little enough that workers need little
/// memory.
const RUN_BYTES: u64 = 4 << 20;

/// Cuts the blobs of a pack, sorted by offset, into runs of about `RUN_BYTES`.
pub(super) fn runs(blobs: &[PackedBlob]) -> impl Iterator<Item = &[PackedBlob]> {
    blobs.chunk_by({
        let mut start = blobs.first().map_or(0, |blob| u64::from(blob.offset));
        move |_, next| {
            let fits = u64::from(next.offset) + u64::from(next.length) - start <= RUN_BYTES;
            if !fits {
                start = u64::from(next.offset);
            }
            fits
        }
    })
}

//! The plan of a batch: files, the places that want each blob, hard links, and how packs are read for them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use source::file::target::{InTheWay, TargetDir, TargetFile};
use vault::{BlobKind, Id, PackedBlob};

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
    /// A hash of the ids of all its blobs.
    pub(super) content: Id,
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

    /// The blob of a place as its pack has it.
    fn packed_blob(&self, place: &BlobUse) -> PackedBlob {
        PackedBlob {
            kind: BlobKind::Data,
            id: id_in(&self.files, place),
            offset: place.blob_offset,
            length: place.blob_length,
            uncompressed_length: place.uncompressed_length,
        }
    }

    /// The blobs that the places of one pack want, in order of offset, each once. `places` is a part of the uses after
    /// sorting. An index that is wrong may have several blobs at one offset: each is a blob of its own here.
    pub(super) fn blobs(&self, places: &[BlobUse]) -> Vec<PackedBlob> {
        let mut blobs: Vec<PackedBlob> = Vec::new();
        for place in places {
            let blob = self.packed_blob(place);
            if blobs.last() != Some(&blob) {
                blobs.push(blob);
            }
        }
        blobs
    }

    /// Those of the places of one pack that want this blob.
    pub(super) fn places_of<'p>(&self, places: &'p [BlobUse], blob: &PackedBlob) -> &'p [BlobUse] {
        let key = blob_key(blob);
        let key_of = |place: &BlobUse| blob_key(&self.packed_blob(place));
        let start = places.partition_point(|place| key_of(place) < key);
        let end = places.partition_point(|place| key_of(place) <= key);
        &places[start..end]
    }

    /// The uses of each pack, after sorting: the places of a blob lie together, blobs in order of offset.
    pub(super) fn groups(&mut self) -> Vec<Range<usize>> {
        let files = &self.files;
        let key_of = |place: &BlobUse| (place.pack, place.blob_offset, place.blob_length);
        self.uses.sort_unstable_by(|a, b| {
            // Ids are compared only where the same bytes are wanted twice.
            key_of(a)
                .cmp(&key_of(b))
                .then_with(|| a.uncompressed_length.cmp(&b.uncompressed_length))
                .then_with(|| id_in(files, a).cmp(&id_in(files, b)))
        });
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

/// The blob that a place wants.
fn id_in(files: &[PlannedFile], place: &BlobUse) -> Id {
    files[place.file as usize].content[place.content as usize]
}

/// What tells blobs of one pack apart, in the order in which places are sorted.
fn blob_key(blob: &PackedBlob) -> (u32, u32, Option<NonZeroU32>, Id) {
    let PackedBlob {
        id,
        offset,
        length,
        uncompressed_length,
        ..
    } = *blob;
    (offset, length, uncompressed_length, id)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::num::NonZeroU32;

    use source::file::target::{FileTarget, InTheWay};
    use vault::{Id, Node};

    use super::{Batch, BlobUse, NodeMetadata, PlannedFile};

    /// Blobs at one offset, as only an index has them that is wrong: none stands for another, and each goes to the places
    /// that want it and to no others.
    #[test]
    fn blobs_at_one_offset_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FileTarget::open(folder.path()).unwrap().root();
        let (one, other) = (Id::hash(b"one"), Id::hash(b"other"));
        let wanted = [
            (one, 0, 50, None),
            (other, 0, 50, None),
            (one, 0, 50, None),
            (other, 0, 60, None),
            (other, 0, 50, NonZeroU32::new(70)),
            (one, 50, 50, None),
            (other, 0, 50, None),
        ];
        let mut batch = Batch::default();
        let pack = batch.pack_number(&Id::hash(b"pack"));
        for (file, (id, blob_offset, blob_length, uncompressed_length)) in (0..).zip(wanted) {
            batch.files.push(PlannedFile::new(
                dir,
                b"name".to_vec().into(),
                10,
                NodeMetadata::of(&mut Node::default()),
                InTheWay::Refuse,
                None,
                vec![id],
            ));
            batch.uses.push(BlobUse {
                pack,
                blob_offset,
                blob_length,
                uncompressed_length,
                file,
                content: 0,
                offset: 0,
            });
        }
        let groups = batch.groups();
        assert_eq!(groups, std::iter::once(0..7).collect::<Vec<_>>());
        let blobs = batch.blobs(&batch.uses);
        assert!(blobs.is_sorted_by_key(|blob| blob.offset));
        let mut found = Vec::new();
        for blob in &blobs {
            let places = batch.places_of(&batch.uses, blob);
            let mut files: Vec<u32> = places.iter().map(|place| place.file).collect();
            files.sort_unstable();
            for file in &files {
                let (id, offset, length, uncompressed_length) = wanted[*file as usize];
                assert_eq!((blob.id, blob.offset), (id, offset));
                assert_eq!(blob.length, length);
                assert_eq!(blob.uncompressed_length, uncompressed_length);
            }
            found.push(files);
        }
        found.sort();
        assert_eq!(found, [vec![0, 2], vec![1, 6], vec![3], vec![4], vec![5]]);
    }
}

//! Copies snapshots with all that they need into another repository, which has another key.
//!
//! Blobs keep their ids, since those are hashes of plaintext, and so do trees, byte for byte. What the other repository has
//! already is not read. A snapshot is written only when everything below it is durable there; a copy that was stopped goes
//! on where it was, and one that is done does nothing when repeated. A snapshot of which something cannot be read is left out
//! and told; the others are copied.
//!
//! Two repositories cut files into the same chunks only when they were made for that: where they do not
//! ([`CopyReport::is_same_chunker`]), what is backed up into one and copied into the other is shared with nothing that the
//! other backs up by itself.

use std::collections::HashSet;
use std::sync::Arc;

use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::Index;
use crate::layout::FileKind;
use crate::lock::{LockGuard, LockKind};
use crate::pack::PackedBlob;
use crate::reader::{Comparison, Reader};
use crate::repository::Repository;
use crate::snapshot_json::SnapshotFields;
use crate::writer::{Writer, WriterOptions};

/// Blobs are copied when so many were found missing: that bounds memory to about 100 MB.
const BATCH_LENGTH: usize = 1 << 20;

/// How far a copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Snapshots done, those that were there included.
    pub snapshots_done: u64,
    /// Snapshots asked for.
    pub snapshots_total: u64,
    /// Stored bytes written.
    pub stored_bytes: u64,
}

/// What a copy did.
#[derive(Debug, Clone, Default)]
pub struct CopyReport {
    /// The snapshots that were copied, here and there.
    pub copied: Vec<(Id, Id)>,
    /// Snapshots that were there already.
    pub already_there: Vec<Id>,
    /// Snapshots that were not copied, because something of them cannot be read.
    pub failed: Vec<(Id, VaultError)>,
    /// Blobs written.
    pub blob_count: u64,
    /// Stored bytes written.
    pub stored_bytes: u64,
    /// Whether both repositories cut files into the same chunks.
    pub is_same_chunker: bool,
}

/// Why a snapshot is not copied.
enum Obstacle {
    /// It cannot be read.
    Source(VaultError),
    /// Nothing more can be copied.
    Fatal(VaultError),
}

impl From<VaultError> for Obstacle {
    fn from(error: VaultError) -> Self {
        Self::Fatal(error)
    }
}

/// Copies these snapshots, in the order given. An error of the other repository, or of a lock, ends the copy.
pub fn copy(
    from: &Repository,
    to: &Repository,
    snapshots: &[Id],
    options: WriterOptions,
    on_progress: &dyn Fn(CopyProgress),
) -> Result<CopyReport, VaultError> {
    let _from_lock = from.lock(LockKind::Shared)?;
    let to_lock = to.lock(LockKind::Shared)?;
    to.sync_what_is_there()?;
    // What only an index file names that cannot be read is missed by the snapshots that need it.
    let (from_index, _) = from.load_index_and_damage()?;
    let from_index = Arc::new(from_index);
    let base = to.load_index_for_backup()?;
    let writer = Writer::open(to.clone(), Arc::new(base.index), options)?;
    writer.adopt_unindexed_packs(&base.packs, &|| false)?;
    drop(base.packs);
    let mut there = Vec::new();
    for id in to.list(FileKind::Snapshot)? {
        match to.load_json(FileKind::Snapshot, &id) {
            Ok(json) => there.push(SnapshotFields::read(&id, &json)?),
            Err(error) if error.storage_kind() == Some(storage::ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    let mut copier = Copier {
        from,
        to,
        there,
        reader: Reader::new(from.clone(), Arc::clone(&from_index)),
        from_index,
        writer,
        lock: &to_lock,
        seen: HashSet::new(),
        wanted: HashSet::new(),
        missing: Vec::new(),
        scratch: (BlobScratch::new(), BlobScratch::new()),
    };
    let mut report = CopyReport {
        is_same_chunker: from.cuts_like(to),
        ..CopyReport::default()
    };
    for (number, id) in snapshots.iter().enumerate() {
        match copier.copy_snapshot(id) {
            Ok(Some(new)) => report.copied.push((*id, new)),
            Ok(None) => report.already_there.push(*id),
            Err(Obstacle::Source(error)) => {
                copier.forget_what_is_not_there();
                report.failed.push((*id, error));
            }
            Err(Obstacle::Fatal(error)) => return Err(error),
        }
        on_progress(CopyProgress {
            snapshots_done: number as u64 + 1,
            snapshots_total: snapshots.len() as u64,
            stored_bytes: copier.writer.stats().stored_bytes,
        });
    }
    let stats = copier.writer.stats();
    report.blob_count = stats.data_blobs + stats.tree_blobs;
    report.stored_bytes = stats.stored_bytes;
    Ok(report)
}

struct Copier<'a> {
    from: &'a Repository,
    to: &'a Repository,
    /// The snapshots of the other repository.
    there: Vec<SnapshotFields>,
    reader: Reader,
    from_index: Arc<Index>,
    writer: Writer,
    lock: &'a LockGuard,
    /// Trees whose content is in the other repository, or on its way.
    seen: HashSet<Id>,
    /// Blobs in `missing`.
    wanted: HashSet<(BlobKind, Id)>,
    /// Blobs that are to be copied, with the packs that have them.
    missing: Vec<(Id, PackedBlob)>,
    scratch: (BlobScratch, BlobScratch),
}

impl Copier<'_> {
    /// The id of the copy; `None` when the snapshot was there already.
    fn copy_snapshot(&mut self, id: &Id) -> Result<Option<Id>, Obstacle> {
        let json = self.from.load_json(FileKind::Snapshot, id);
        let read = json.and_then(|json| SnapshotFields::read(id, &json));
        let mut fields = read.map_err(Obstacle::Source)?;
        fields.remove_parent();
        if self.there.iter().any(|known| fields.is_same_backup(known)) {
            return Ok(None);
        }
        let snapshot = self.from.snapshot(id).map_err(Obstacle::Source)?;
        self.copy_below(snapshot.tree)?;
        fields.set_original(id);
        self.lock.ensure_held()?;
        let new = self.to.save_json(FileKind::Snapshot, &fields.to_json()?)?;
        self.there.push(fields);
        Ok(Some(new))
    }

    /// After a snapshot that was not copied whole: of no tree is it known that what it names is there.
    fn forget_what_is_not_there(&mut self) {
        self.seen.clear();
        self.wanted.clear();
        self.missing.clear();
    }

    /// Everything below this tree; durable when this returns.
    fn copy_below(&mut self, root: Id) -> Result<(), Obstacle> {
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            // Also read when the tree itself is there: what it names may not be, after a copy that was killed.
            let tree = self.reader.read_tree(&id).map_err(Obstacle::Source)?;
            self.want(BlobKind::Tree, &id)?;
            for node in &tree.nodes {
                for blob in &node.content {
                    self.want(BlobKind::Data, blob)?;
                }
                waiting.extend(node.subtree);
            }
            if self.missing.len() >= BATCH_LENGTH {
                self.copy_missing()?;
            }
        }
        self.copy_missing()?;
        Ok(self.writer.flush()?)
    }

    fn want(&mut self, kind: BlobKind, id: &Id) -> Result<(), Obstacle> {
        if self.writer.contains(kind, id) || !self.wanted.insert((kind, *id)) {
            return Ok(());
        }
        let missing = VaultError::BlobMissing { kind, id: *id };
        let place = self.from_index.get(kind, id);
        let place = place.ok_or(Obstacle::Source(missing))?;
        self.missing.push((place.pack, place.with_id(kind, *id)));
        Ok(())
    }

    /// Reads pack after pack. A blob that cannot be read is read again, from another copy if there is one.
    fn copy_missing(&mut self) -> Result<(), Obstacle> {
        self.missing
            .sort_unstable_by_key(|(pack, blob)| (*pack, blob.offset));
        let missing = std::mem::take(&mut self.missing);
        let (read_scratch, write_scratch) = &mut self.scratch;
        let writer = &self.writer;
        let mut again = Vec::new();
        for group in missing.chunk_by(|a, b| a.0 == b.0) {
            self.lock.ensure_held()?;
            let blobs: Vec<PackedBlob> = group.iter().map(|(_, blob)| *blob).collect();
            self.reader.read_pack(
                &group[0].0,
                &blobs,
                Comparison::ByReader,
                read_scratch,
                |blob, read| {
                    match read {
                        Ok(plaintext) => {
                            writer.save_blob(blob.kind, plaintext, write_scratch)?;
                        }
                        Err(_) => again.push((blob.kind, blob.id)),
                    }
                    Ok::<(), VaultError>(())
                },
            )?;
        }
        for (kind, id) in again {
            let plaintext = self.reader.read_blob(kind, &id);
            let plaintext = plaintext.map_err(Obstacle::Source)?;
            writer.save_blob(kind, &plaintext, write_scratch)?;
        }
        self.wanted.clear();
        Ok(())
    }
}

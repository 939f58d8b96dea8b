//! Writes a batch of planned files: packs in turn, each by one worker, each blob to every place that wants it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use source::file::target::{InTheWay, TargetDir, TargetFile};
use vault::{BlobKind, BlobScratch, Id, PackedBlob, VaultError};

use super::metadata::NodeMetadata;
use super::plan::{Primary, words_of};
use super::{Session, Verification};
use crate::error::RunError;

/// A file to be written.
#[derive(Debug)]
pub(super) struct PlannedFile {
    dir: TargetDir,
    name: Box<[u8]>,
    size: u64,
    metadata: NodeMetadata,
    in_the_way: InTheWay,
    primary: Option<usize>,
    pub(super) content: Vec<Id>,
    // Blobs that are not written yet.
    pending_count: AtomicUsize,
    has_failed: AtomicBool,
    // A mutex: the first worker that has a blob for the file makes it.
    file: Mutex<Option<Arc<TargetFile>>>,
}

impl PlannedFile {
    pub(super) fn new(
        dir: TargetDir,
        name: Box<[u8]>,
        size: u64,
        metadata: NodeMetadata,
        in_the_way: InTheWay,
        primary: Option<usize>,
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
    fn fail(&self) -> bool {
        !self.has_failed.swap(true, Ordering::Relaxed)
    }
}

/// A hard link to be made when the file it belongs to is whole.
#[derive(Debug)]
pub(super) struct PlannedLink {
    pub(super) dir: TargetDir,
    pub(super) name: Box<[u8]>,
    pub(super) in_the_way: InTheWay,
    pub(super) primary: usize,
    pub(super) size: u64,
}

/// One place that wants a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobUse {
    pub(super) pack: u32,
    pub(super) blob_offset: u32,
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
    packs: Vec<Id>,
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
    }

    /// The uses of each pack, after sorting.
    fn groups(&mut self) -> Vec<Range<usize>> {
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
fn runs(blobs: &[PackedBlob]) -> impl Iterator<Item = &[PackedBlob]> {
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

/// A batch being written.
struct Writing<'w> {
    session: &'w Session<'w>,
    batch: &'w Batch,
    groups: &'w [Range<usize>],
    next_group: AtomicUsize,
    restored: Mutex<Vec<usize>>,
    end: Mutex<Option<RunError>>,
    is_over: AtomicBool,
}

impl Session<'_> {
    /// Writes the files of a batch, then its hard links.
    pub(super) fn write(
        &self,
        mut batch: Batch,
        primaries: &mut [Primary],
    ) -> Result<(), RunError> {
        let groups = batch.groups();
        let writing = Writing {
            session: self,
            batch: &batch,
            groups: &groups,
            next_group: AtomicUsize::new(0),
            restored: Mutex::new(Vec::new()),
            end: Mutex::new(None),
            is_over: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.worker_count)
                .map(|number| {
                    let writing = &writing;
                    scope.spawn(move || writing.work(number))
                })
                .collect();
            for worker in workers {
                if worker.join().is_err() {
                    writing.abort(RunError::Worker);
                }
            }
        });
        let Writing { restored, end, .. } = writing;
        if let Some(error) = end.into_inner() {
            self.discard_unfinished(&batch);
            return Err(error);
        }
        for number in restored.into_inner() {
            primaries[number].is_restored = true;
        }
        self.make_links(&batch.links, primaries)
    }

    /// What is not whole when the run ends is removed, so that nobody takes it for whole.
    fn discard_unfinished(&self, batch: &Batch) {
        for file in &batch.files {
            if let Some(unfinished) = file.file.lock().take() {
                // The run has failed already, and with more of a reason than this.
                let _ = self.target.discard_file(&unfinished);
            }
        }
    }

    fn make_links(&self, links: &[PlannedLink], primaries: &[Primary]) -> Result<(), RunError> {
        for link in links {
            self.tally.files_done.add(1);
            self.tally.bytes_done.add(link.size);
            let primary = &primaries[link.primary];
            if !primary.is_restored {
                let path = self.target.path_of(link.dir, &link.name);
                self.tally.items_done.add(1);
                self.words(
                    path,
                    "create",
                    "the file that this is a hard link to could not be restored".to_owned(),
                );
                continue;
            }
            match self.target.make_link(
                link.dir,
                &link.name,
                (primary.dir, &primary.name),
                link.in_the_way,
            ) {
                Ok(()) => {
                    self.counts.files.add(1);
                    self.tally.actual_files.add(1);
                    self.item_done(true);
                }
                Err(error) => self.target_failed(error)?,
            }
        }
        Ok(())
    }
}

impl Writing<'_> {
    fn work(&self, number: usize) {
        let mut scratch = BlobScratch::new();
        let mut buffer = Vec::new();
        let result = self.write_empty_files(number, &mut buffer).and_then(|()| {
            while let Some(group) = self.next() {
                self.write_group(group, &mut scratch, &mut buffer)?;
            }
            Ok(())
        });
        if let Err(error) = result {
            self.abort(error);
        }
    }

    fn next(&self) -> Option<Range<usize>> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        self.groups
            .get(self.next_group.fetch_add(1, Ordering::Relaxed))
            .cloned()
    }

    fn abort(&self, error: RunError) {
        self.end.lock().get_or_insert(error);
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Files without content have no pack that would bring them up; each worker takes its share.
    fn write_empty_files(&self, number: usize, buffer: &mut Vec<u8>) -> Result<(), RunError> {
        let share = self
            .batch
            .files
            .iter()
            .skip(number)
            .step_by(self.session.worker_count);
        for file in share.filter(|file| file.content.is_empty()) {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            match self.made(file) {
                Ok(made) => self.finish(file, &made, buffer)?,
                Err(error) => {
                    file.fail();
                    self.session.tally.files_done.add(1);
                    self.session.target_failed(error)?;
                }
            }
        }
        Ok(())
    }

    /// All blobs of one pack.
    fn write_group(
        &self,
        group: Range<usize>,
        scratch: &mut BlobScratch,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        let uses = &self.batch.uses[group];
        let Some(first) = uses.first() else {
            return Ok(());
        };
        let pack = self.batch.packs[first.pack as usize];
        let mut blobs: Vec<PackedBlob> = Vec::new();
        for place in uses {
            if blobs
                .last()
                .is_some_and(|blob| blob.offset == place.blob_offset)
            {
                continue;
            }
            blobs.extend(self.packed_blob(place));
        }
        for run in runs(&blobs) {
            self.session
                .reader
                .read_pack(&pack, run, scratch, |blob, content| {
                    let start = uses.partition_point(|place| place.blob_offset < blob.offset);
                    let places = uses[start..]
                        .iter()
                        .take_while(|place| place.blob_offset == blob.offset);
                    match content {
                        Ok(content) => self.write_blob(places, content, buffer),
                        Err(error) => self.write_other_copy(places, &blob.id, error, buffer),
                    }?;
                    match (
                        self.session.stop.requested(),
                        self.is_over.load(Ordering::Relaxed),
                    ) {
                        (Some(how), _) => Err(RunError::Stopped(how)),
                        // Another worker has ended the run; the first reason counts.
                        (None, true) => Err(RunError::Worker),
                        (None, false) => Ok(()),
                    }
                })?;
        }
        Ok(())
    }

    fn packed_blob(&self, place: &BlobUse) -> Option<PackedBlob> {
        let id = self.batch.files[place.file as usize].content[place.content as usize];
        let location = self.session.reader.index().get(BlobKind::Data, &id)?;
        Some(PackedBlob {
            kind: BlobKind::Data,
            id,
            offset: location.offset,
            length: location.length,
            uncompressed_length: location.uncompressed_length,
        })
    }

    /// A blob that could not be read may be in another pack too.
    fn write_other_copy<'u>(
        &self,
        places: impl Iterator<Item = &'u BlobUse>,
        id: &Id,
        error: VaultError,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        if self
            .session
            .reader
            .index()
            .all(BlobKind::Data, id)
            .nth(1)
            .is_some()
            && let Ok(content) = self.session.reader.read_blob(BlobKind::Data, id)
        {
            return self.write_blob(places, &content, buffer);
        }
        let message = words_of(error)?;
        for place in places {
            let file = &self.batch.files[place.file as usize];
            if file.fail() {
                self.session.words(self.path(file), "read", message.clone());
            }
            self.settle(file, buffer)?;
        }
        Ok(())
    }

    fn write_blob<'u>(
        &self,
        places: impl Iterator<Item = &'u BlobUse>,
        content: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        for place in places {
            let file = &self.batch.files[place.file as usize];
            if !file.has_failed.load(Ordering::Relaxed) {
                let written = self.made(file).and_then(|made| {
                    self.session.target.write_at(&made, place.offset, content)?;
                    self.session.target.rest_file(&made);
                    Ok(())
                });
                match written {
                    Ok(()) => self.session.tally.bytes_done.add(content.len() as u64),
                    Err(error) if error.is_full() => return Err(RunError::Target(error)),
                    Err(error) => {
                        if file.fail() {
                            self.session.metadata_failed(&[error]);
                        }
                    }
                }
            }
            self.settle(file, buffer)?;
        }
        Ok(())
    }

    /// The file, made by who comes first.
    fn made(&self, file: &PlannedFile) -> Result<Arc<TargetFile>, source::SourceError> {
        let mut slot = file.file.lock();
        if let Some(made) = slot.as_ref() {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(self.session.target.create_file(
            file.dir,
            &file.name,
            file.size,
            file.in_the_way,
        )?);
        *slot = Some(Arc::clone(&made));
        Ok(made)
    }

    /// One blob less to wait for; the last one finishes the file.
    fn settle(&self, file: &PlannedFile, buffer: &mut Vec<u8>) -> Result<(), RunError> {
        if file.pending_count.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let made = file.file.lock().clone();
        match made {
            Some(made) if !file.has_failed.load(Ordering::Relaxed) => {
                self.finish(file, &made, buffer)
            }
            made => self.give_up(file, made.as_deref()),
        }
    }

    /// Compares, sets the metadata, counts.
    fn finish(
        &self,
        file: &PlannedFile,
        made: &TargetFile,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        if self.session.verification == Verification::Content
            && let Err(message) = self.compare(file, made, buffer)
        {
            self.session.words(self.path(file), "verify", message);
            return self.give_up(file, Some(made));
        }
        match self
            .session
            .target
            .finish_file(made, &file.metadata.as_target())
        {
            Ok(errors) => {
                file.file.lock().take();
                self.session.metadata_failed(&errors);
                self.session.counts.files.add(1);
                self.session.counts.bytes.add(file.size);
                self.session.tally.files_done.add(1);
                self.session.tally.actual_files.add(1);
                self.session.tally.actual_bytes.add(file.size);
                self.session.item_done(true);
                self.restored.lock().extend(file.primary);
                Ok(())
            }
            Err(error) if error.is_full() => Err(RunError::Target(error)),
            Err(error) => {
                self.session.metadata_failed(&[error]);
                self.give_up(file, Some(made))
            }
        }
    }

    /// Size and hash of what is in the file now against what the snapshot says.
    fn compare(
        &self,
        file: &PlannedFile,
        made: &TargetFile,
        buffer: &mut Vec<u8>,
    ) -> Result<(), String> {
        let target = self.session.target;
        let words = |error: source::SourceError| error.source.to_string();
        let size = target.size_bytes(made).map_err(words)?;
        if size != file.size {
            return Err(format!(
                "the file has {size} bytes where the snapshot says {}",
                file.size
            ));
        }
        let mut offset = 0;
        for id in &file.content {
            let location = self.session.reader.index().get(BlobKind::Data, id);
            let length = location.map_or(0, |location| location.plaintext_length());
            buffer.resize(usize::try_from(length).unwrap_or(0), 0);
            target.read_back(made, offset, buffer).map_err(words)?;
            if Id::hash(buffer) != *id {
                return Err(format!(
                    "the content at byte {offset} is not that of the snapshot"
                ));
            }
            offset += length;
        }
        Ok(())
    }

    /// Removes a file that cannot be whole. Its reason is told already.
    fn give_up(&self, file: &PlannedFile, made: Option<&TargetFile>) -> Result<(), RunError> {
        file.fail();
        file.file.lock().take();
        self.session.tally.files_done.add(1);
        self.session.tally.items_done.add(1);
        match made.map(|made| self.session.target.discard_file(made)) {
            Some(Err(error)) => {
                self.session.metadata_failed(&[error]);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn path(&self, file: &PlannedFile) -> Vec<u8> {
        self.session.target.path_of(file.dir, &file.name)
    }
}

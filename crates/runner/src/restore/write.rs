//! Writes a batch of planned files: packs in turn, each by one worker, each blob to every place that wants it.
//!
//! Each byte is hashed once. Where written files are compared, what is hashed is not the blob in memory but what the file
//! holds after it was written, read back; a hole is compared by asking the file system whether it is one.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use source::SourceError;
use source::file::target::TargetFile;
use vault::{BlobKind, BlobScratch, Comparison, Id, PackedBlob, VaultError};

use super::batch::{Batch, BlobUse, PlannedFile, PlannedLink, runs};
use super::plan::words_of;
use super::{Session, Verification};
use crate::error::RunError;

/// A batch being written.
struct Writing<'w> {
    session: &'w Session<'w>,
    batch: &'w Batch,
    groups: &'w [Range<usize>],
    next_group: AtomicUsize,
    end: Mutex<Option<RunError>>,
}

/// A blob in memory on its way to the places that want it.
struct Opened<'a> {
    pack: &'a Id,
    blob: &'a PackedBlob,
    content: &'a [u8],
    /// Its hash was compared with its id already.
    is_compared: bool,
}

/// What became of a blob at one place.
enum Placed {
    /// It is there.
    Right,
    /// It is not what was backed up, and never was: the copy in the vault is at fault.
    WrongBlob(VaultError),
    /// The file does not hold what was written to it.
    WrongFile,
}

impl Session<'_> {
    /// Writes the files of a batch, then its hard links.
    pub(super) fn write(&self, mut batch: Batch) -> Result<(), RunError> {
        let groups = batch.groups();
        let writing = Writing {
            session: self,
            batch: &batch,
            groups: &groups,
            next_group: AtomicUsize::new(0),
            end: Mutex::new(None),
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
        if let Some(error) = writing.end.into_inner() {
            self.discard_unfinished(&batch);
            return Err(error);
        }
        self.make_links(&batch.links)
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

    fn make_links(&self, links: &[PlannedLink]) -> Result<(), RunError> {
        for link in links {
            self.tally.files_done.add(1);
            self.tally.bytes_done.add(link.size);
            let primary = &link.primary;
            if !primary.is_restored.load(Ordering::Acquire) {
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
        let result = self.write_empty_files(number).and_then(|()| {
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
        if self.is_over() {
            return None;
        }
        self.groups
            .get(self.next_group.fetch_add(1, Ordering::Relaxed))
            .cloned()
    }

    fn abort(&self, error: RunError) {
        self.end.lock().get_or_insert(error);
        self.session.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.session.is_over.load(Ordering::Relaxed)
    }

    /// Files without content have no pack that would bring them up; each worker takes its share.
    fn write_empty_files(&self, number: usize) -> Result<(), RunError> {
        let share = self
            .batch
            .files
            .iter()
            .skip(number)
            .step_by(self.session.worker_count);
        for file in share.filter(|file| file.content.is_empty()) {
            if self.is_over() {
                break;
            }
            match self.made(file) {
                Ok(made) => self.finish(file, &made)?,
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
        let blobs = self.batch.blobs(uses);
        let comparison = match self.session.verification {
            Verification::Content => Comparison::ByCaller,
            Verification::None => Comparison::ByReader,
        };
        for run in runs(&blobs) {
            self.session
                .reader
                .read_pack(&pack, run, comparison, scratch, |blob, content| {
                    let places = self.batch.places_of(uses, blob);
                    match content {
                        Ok(content) => {
                            let opened = Opened {
                                pack: &pack,
                                blob,
                                content,
                                is_compared: comparison == Comparison::ByReader,
                            };
                            self.write_blob(places, opened, buffer)
                        }
                        Err(error) => self.write_other_copy(places, blob, error, buffer),
                    }?;
                    match (self.session.stop.requested(), self.is_over()) {
                        (Some(how), _) => Err(RunError::Stopped(how)),
                        // Another worker has ended the run; the first reason counts.
                        (None, true) => Err(RunError::Worker),
                        (None, false) => Ok(()),
                    }
                })?;
        }
        Ok(())
    }

    /// A blob that could not be read may be right when it is read again, or be in another pack too.
    fn write_other_copy(
        &self,
        places: &[BlobUse],
        blob: &PackedBlob,
        error: VaultError,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        let message = match self.session.reader.read_blob(BlobKind::Data, &blob.id) {
            Ok(content) => {
                let opened = Opened {
                    pack: &blob.id,
                    blob,
                    content: &content,
                    is_compared: true,
                };
                return self.write_blob(places, opened, buffer);
            }
            // The first error counts, unless the storage is gone by now.
            Err(again) => words_of(again).and_then(|_| words_of(error))?,
        };
        for place in places {
            let file = self.file(place);
            if file.fail() {
                self.session.words(self.path(file), "read", message.clone());
            }
            self.settle(file)?;
        }
        Ok(())
    }

    fn write_blob(
        &self,
        places: &[BlobUse],
        mut opened: Opened<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        // With several places it is cheaper to hash the blob, and to compare each of them with it.
        if places.len() > 1 && !opened.is_compared {
            if let Err(error) = opened.blob.compare(opened.pack, opened.content) {
                return self.write_other_copy(places, opened.blob, error, buffer);
            }
            opened.is_compared = true;
        }
        for place in places {
            let file = self.file(place);
            if !file.has_failed.load(Ordering::Relaxed) {
                match self.write_place(file, place, &opened, buffer) {
                    Ok(Placed::Right) => {
                        let length = opened.content.len() as u64;
                        self.session.tally.bytes_done.add(length);
                    }
                    Ok(Placed::WrongBlob(error)) => {
                        return self.write_other_copy(places, opened.blob, error, buffer);
                    }
                    Ok(Placed::WrongFile) => {
                        if file.fail() {
                            let message = format!(
                                "the content at byte {} is not that of the snapshot",
                                place.offset
                            );
                            self.session.words(self.path(file), "verify", message);
                        }
                    }
                    Err(error) if error.is_full() => return Err(RunError::Target(error)),
                    Err(error) => {
                        if file.fail() {
                            self.session.metadata_failed(&[error]);
                        }
                    }
                }
            }
            self.settle(file)?;
        }
        Ok(())
    }

    /// Writes a blob to one place, and compares what is there then.
    fn write_place(
        &self,
        file: &PlannedFile,
        place: &BlobUse,
        opened: &Opened<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Placed, SourceError> {
        let target = self.session.target;
        let content = opened.content;
        let made = self.made(file)?;
        let written_bytes = target.write_at(&made, place.offset, content)?;
        let placed = if self.session.verification == Verification::None {
            Placed::Right
        } else if opened.is_compared
            && written_bytes == 0
            && target.is_hole(&made, place.offset, content.len() as u64)?
        {
            // Zeros that were not written, since the whole place is a hole.
            Placed::Right
        } else {
            buffer.resize(content.len(), 0);
            target.read_back(&made, place.offset, buffer)?;
            if opened.is_compared {
                match buffer == content {
                    true => Placed::Right,
                    false => Placed::WrongFile,
                }
            } else if Id::hash(buffer) == opened.blob.id {
                Placed::Right
            } else {
                match opened.blob.compare(opened.pack, content) {
                    Ok(()) => Placed::WrongFile,
                    Err(error) => Placed::WrongBlob(error),
                }
            }
        };
        target.rest_file(&made);
        Ok(placed)
    }

    fn file(&self, place: &BlobUse) -> &PlannedFile {
        &self.batch.files[place.file as usize]
    }

    /// The file, made by who comes first.
    fn made(&self, file: &PlannedFile) -> Result<Arc<TargetFile>, SourceError> {
        let mut slot = file.file.lock();
        if let Some(made) = slot.as_ref() {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(self.session.target.create_file(
            file.dir,
            &file.name,
            file.size,
            file.metadata.mode(),
            file.in_the_way,
        )?);
        *slot = Some(Arc::clone(&made));
        Ok(made)
    }

    /// One blob less to wait for; the last one finishes the file.
    fn settle(&self, file: &PlannedFile) -> Result<(), RunError> {
        if file.pending_count.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let made = file.file.lock().clone();
        match made {
            Some(made) if !file.has_failed.load(Ordering::Relaxed) => self.finish(file, &made),
            made => self.give_up(file, made.as_deref()),
        }
    }

    /// Compares the size, sets the metadata, counts.
    fn finish(&self, file: &PlannedFile, made: &TargetFile) -> Result<(), RunError> {
        if self.session.verification == Verification::Content
            && let Err(message) = self.compare_size(file, made)
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
                if let Some(primary) = &file.primary {
                    primary.is_restored.store(true, Ordering::Release);
                }
                Ok(())
            }
            Err(error) if error.is_full() => Err(RunError::Target(error)),
            Err(error) => {
                self.session.metadata_failed(&[error]);
                self.give_up(file, Some(made))
            }
        }
    }

    fn compare_size(&self, file: &PlannedFile, made: &TargetFile) -> Result<(), String> {
        let size = self.session.target.size_bytes(made);
        match size.map_err(|error| error.source.to_string())? {
            size if size == file.size => Ok(()),
            size => Err(format!(
                "the file has {size} bytes where the snapshot says {}",
                file.size
            )),
        }
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

//! What the workers of one backup share, and their loop.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use source::SourceError;
use source::file::dir::Dir;
use source::file::listing::FileSource;
use source::file::names::OwnerNames;
use source::file::xattrs::ReadXattrs;
use vault::{BlobKind, BlobScratch, Id, Node, Reader, Tree, VaultError, Writer};

use super::chunks::{ChunkTask, ZeroChunks};
use super::files::FilesTask;
use super::frame::{Above, Finished, FinishedTree, Place, Slot, path_of};
use super::queue::{Queue, QueueLimits, Task};
use super::walk::DirTask;
use crate::error::RunError;
use crate::node::{Cutoff, keep_names, note_error, set_xattrs};
use crate::observe::{ItemError, Observer};
use crate::progress::{Counter, Tally};
use crate::stop::StopToken;
use crate::throttle::ReadThrottle;

/// Batches of files that may wait, for each worker.
const FILES_TASKS_PER_WORKER: usize = 4;
/// Bytes of chunks that may wait, for each worker: two of the usual length.
const CHUNK_BYTES_PER_WORKER: usize = 4 << 20;

pub(crate) type BackupQueue = Queue<DirTask, FilesTask, ChunkTask>;

/// What is counted for the summary, beside what progress shows.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) files_new: Counter,
    pub(crate) files_changed: Counter,
    pub(crate) files_unmodified: Counter,
    pub(crate) dirs_new: Counter,
    pub(crate) dirs_changed: Counter,
    pub(crate) dirs_unmodified: Counter,
    /// Trees of the parent snapshot that could not be read.
    pub(crate) unreadable_trees: Counter,
}

/// Whether an entry is new against the parent snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    New,
    Changed,
    Unmodified,
}

impl Changes {
    fn of_files(&self, change: Change) -> &Counter {
        match change {
            Change::New => &self.files_new,
            Change::Changed => &self.files_changed,
            Change::Unmodified => &self.files_unmodified,
        }
    }

    fn of_dirs(&self, change: Change) -> &Counter {
        match change {
            Change::New => &self.dirs_new,
            Change::Changed => &self.dirs_changed,
            Change::Unmodified => &self.dirs_unmodified,
        }
    }
}

/// Everything the workers of one backup share.
pub(crate) struct Engine<'r> {
    pub(crate) source: &'r FileSource,
    pub(crate) writer: &'r Writer,
    pub(crate) reader: &'r Reader,
    pub(crate) observer: &'r dyn Observer,
    pub(crate) stop: &'r StopToken,
    pub(crate) tally: &'r Tally,
    pub(crate) changes: Changes,
    pub(crate) names: OwnerNames,
    pub(crate) throttle: ReadThrottle,
    pub(crate) queue: BackupQueue,
    /// Some time before the parent's backup began; what changed since then is read again.
    pub(crate) cutoff: Option<Cutoff>,
    pub(crate) zero_chunks: ZeroChunks,
    pub(crate) spare_buffers: Mutex<Vec<Vec<u8>>>,
    // Plain mutexes: each is set once or looked at a few times a second.
    end: Mutex<Option<RunError>>,
    root_tree: Mutex<Option<Id>>,
    current: Vec<Mutex<Option<Current>>>,
    is_over: AtomicBool,
}

/// What a worker is reading.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) dir: Arc<Dir>,
    pub(crate) name: Box<[u8]>,
}

/// The parts that differ from run to run.
pub(crate) struct EngineParts<'r> {
    pub(crate) source: &'r FileSource,
    pub(crate) writer: &'r Writer,
    pub(crate) reader: &'r Reader,
    pub(crate) observer: &'r dyn Observer,
    pub(crate) stop: &'r StopToken,
    pub(crate) tally: &'r Tally,
    pub(crate) throttle: ReadThrottle,
    pub(crate) cutoff: Option<Cutoff>,
    pub(crate) worker_count: usize,
}

/// What one worker keeps between tasks.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) scratch: BlobScratch,
    pub(crate) buffer: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(number: usize) -> Worker {
        Worker {
            number,
            scratch: BlobScratch::new(),
            buffer: Vec::new(),
        }
    }
}

impl<'r> Engine<'r> {
    pub(crate) fn new(parts: EngineParts<'r>) -> Engine<'r> {
        let limits = QueueLimits {
            files_tasks: parts.worker_count * FILES_TASKS_PER_WORKER,
            chunk_bytes: parts.worker_count * CHUNK_BYTES_PER_WORKER,
        };
        Engine {
            source: parts.source,
            writer: parts.writer,
            reader: parts.reader,
            observer: parts.observer,
            stop: parts.stop,
            tally: parts.tally,
            changes: Changes::default(),
            names: OwnerNames::of_this_host(),
            throttle: parts.throttle,
            queue: Queue::new(limits),
            cutoff: parts.cutoff,
            zero_chunks: ZeroChunks::default(),
            spare_buffers: Mutex::new(Vec::new()),
            end: Mutex::new(None),
            root_tree: Mutex::new(None),
            current: (0..parts.worker_count).map(|_| Mutex::new(None)).collect(),
            is_over: AtomicBool::new(false),
        }
    }

    /// The loop of one worker.
    pub(crate) fn work(&self, number: usize) {
        let _guard = CloseOnPanic(self);
        let mut worker = Worker::new(number);
        while let Some(task) = self.queue.pop() {
            if let Some(how) = self.stop.requested() {
                self.abort(RunError::Stopped(how));
                break;
            }
            let result = match task {
                Task::Dir(task) => self.run_dir(task, &mut worker),
                Task::Files(task) => self.run_files(task, &mut worker),
                Task::Chunk(task) => self.run_chunks(task, &mut worker),
            };
            if let Err(error) = result {
                self.abort(error);
                break;
            }
            self.queue.done();
        }
        self.show(number, None);
    }

    /// Ends the run; the first reason counts.
    pub(crate) fn abort(&self, error: RunError) {
        self.end.lock().get_or_insert(error);
        self.finish();
    }

    /// Nothing more is to be done, by success or failure.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.queue.close();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The root tree, or why there is none.
    pub(crate) fn into_result(self) -> Result<(Id, Changes), RunError> {
        match (self.end.into_inner(), self.root_tree.into_inner()) {
            (Some(error), _) => Err(error),
            (None, Some(tree)) => Ok((tree, self.changes)),
            (None, None) => Err(RunError::Worker),
        }
    }

    /// `Err` when the run is to stop; asked between two pieces of a large file.
    pub(crate) fn check_stop(&self) -> Result<(), RunError> {
        match self.stop.requested() {
            Some(how) => Err(RunError::Stopped(how)),
            None => Ok(()),
        }
    }

    pub(crate) fn show(&self, worker: usize, current: Option<Current>) {
        if let Some(slot) = self.current.get(worker) {
            *slot.lock() = current;
        }
    }

    /// What is being read at the moment.
    pub(crate) fn current_paths(&self) -> Vec<PathBuf> {
        let currents: Vec<Current> = self
            .current
            .iter()
            .filter_map(|slot| slot.lock().clone())
            .collect();
        currents
            .iter()
            .map(|current| PathBuf::from(OsString::from_vec(current.dir.path_of(&current.name))))
            .collect()
    }

    pub(crate) fn item_failed(&self, error: &SourceError) {
        self.tally.fail(self.observer, &ItemError::from(error));
    }

    /// An entry is stored, but without some of its metadata.
    pub(crate) fn item_incomplete(&self, error: &SourceError) {
        self.tally.incomplete.add(1);
        self.item_failed(error);
    }

    /// Gives a node its attributes; what could not be read is told.
    pub(crate) fn take_xattrs(&self, node: &mut Node, read: ReadXattrs) {
        if let Some(error) = set_xattrs(node, read) {
            self.item_incomplete(&error);
        }
    }

    /// Saves a blob and counts what it added.
    pub(crate) fn save(
        &self,
        kind: BlobKind,
        plaintext: &[u8],
        scratch: &mut BlobScratch,
    ) -> Result<Id, VaultError> {
        let saved = self.writer.save_blob(kind, plaintext, scratch)?;
        self.tally.actual_bytes.add(saved.stored_bytes);
        Ok(saved.id)
    }

    /// Counts a regular file that is done.
    pub(crate) fn file_done(&self, change: Change, size_bytes: u64) {
        self.changes.of_files(change).add(1);
        self.tally.files_done.add(1);
        self.tally.bytes_done.add(size_bytes);
        if change != Change::Unmodified {
            self.tally.actual_files.add(1);
            self.tally.bytes_changed.add(size_bytes);
        }
        self.item_done(change);
    }

    /// Counts any entry that is done.
    pub(crate) fn item_done(&self, change: Change) {
        self.tally.items_done.add(1);
        if change != Change::Unmodified {
            self.tally.actual_items.add(1);
        }
    }

    /// Turns a new node into a slot: the parent's own when nothing differs.
    pub(crate) fn compare(place: &Place, mut node: Node) -> (Slot, Change) {
        let is_same = place.frame.with_old(place.old, |old| {
            keep_names(&mut node, old);
            *old == node
        });
        match (place.old, is_same) {
            (Some(old), Some(true)) => (Slot::Same(old), Change::Unmodified),
            (_, Some(false)) => (Slot::New(Box::new(node)), Change::Changed),
            _ => (Slot::New(Box::new(node)), Change::New),
        }
    }

    /// Fills a slot and writes every tree that is complete by that, upwards.
    pub(crate) fn fill(
        &self,
        place: &Place,
        slot: Slot,
        scratch: &mut BlobScratch,
    ) -> Result<(), RunError> {
        self.complete(place.frame.fill(place.slot, slot), scratch)
    }

    /// Writes the tree of a finished frame, fills its slot in the frame above, and goes on there.
    pub(crate) fn complete(
        &self,
        finished: Option<Finished>,
        scratch: &mut BlobScratch,
    ) -> Result<(), RunError> {
        let mut next = finished;
        while let Some(Finished { mut above, tree }) = next {
            let tree = match tree {
                FinishedTree::Dropped => None,
                FinishedTree::Same(id) => Some(id),
                FinishedTree::New(nodes) => {
                    let saved = self.save_tree(&Tree { nodes }, scratch);
                    match (saved, &mut above) {
                        (
                            Err(VaultError::BlobTooLarge { length_bytes }),
                            Above::Folder { place, node },
                        ) => {
                            self.folder_too_large(place, node, length_bytes);
                            Some(self.save_tree(&Tree::default(), scratch)?)
                        }
                        (saved, _) => Some(saved?),
                    }
                }
            };
            next = match (above, tree) {
                (Above::Root, tree) => {
                    let tree = match tree {
                        Some(id) => id,
                        None => self.save_tree(&Tree::default(), scratch)?,
                    };
                    *self.root_tree.lock() = Some(tree);
                    None
                }
                (Above::Folder { place, .. }, None) => place.frame.fill(place.slot, Slot::Nothing),
                (Above::Folder { place, mut node }, Some(id)) => {
                    node.subtree = Some(id);
                    let (slot, change) = Engine::compare(&place, *node);
                    self.changes.of_dirs(change).add(1);
                    self.item_done(change);
                    place.frame.fill(place.slot, slot)
                }
            };
        }
        Ok(())
    }

    /// Books a folder of so many entries that its tree is larger than a blob may be. It is kept empty, as one that cannot
    /// be opened; all else goes on.
    fn folder_too_large(&self, place: &Place, node: &mut Node, length_bytes: usize) {
        let error = SourceError {
            operation: source::Operation::List,
            path: PathBuf::from(OsString::from_vec(path_of(&node.name, place))),
            source: std::io::Error::other(format!(
                "the folder has too many entries: its list would take {length_bytes} bytes"
            )),
        };
        note_error(node, &error);
        self.item_failed(&error);
    }

    fn save_tree(&self, tree: &Tree, scratch: &mut BlobScratch) -> Result<Id, VaultError> {
        let saved = self.writer.save_tree(tree, scratch)?;
        self.tally.actual_bytes.add(saved.stored_bytes);
        Ok(saved.id)
    }
}

/// A worker that panics must not leave the others waiting for its work.
struct CloseOnPanic<'e, 'r>(&'e Engine<'r>);

impl Drop for CloseOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort(RunError::Worker);
        }
    }
}

/// Ends the run when it is dropped, with success or by a panic of the thread that waits for the workers.
pub(crate) struct EndOnDrop<'e, 'r>(pub(crate) &'e Engine<'r>);

impl Drop for EndOnDrop<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort(RunError::Worker);
        }
        self.0.finish();
    }
}

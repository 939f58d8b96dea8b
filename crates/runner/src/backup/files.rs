//! Regular files: small ones whole, large ones handed on to `chunks`.

use std::sync::Arc;

use source::SourceError;
use source::file::dir::Dir;
use source::file::reader::FileReader;
use source::file::stat::FileStat;
use vault::{BlobKind, Id, Node};

use super::engine::{Current, Engine, Worker};
use super::frame::{Frame, Place, Slot};
use crate::error::RunError;
use crate::node::{node_of, note_error};
use crate::observe::ItemError;

/// Small files in one task: enough that the queue costs nothing, few enough that the workers end together.
pub(crate) const BATCH_FILES: usize = 16;
/// Bytes of files in one task.
pub(crate) const BATCH_BYTES: u64 = 1 << 20;

/// Files of one folder to be read.
#[derive(Debug)]
pub(crate) struct FilesTask {
    pub(crate) frame: Arc<Frame>,
    pub(crate) dir: Arc<Dir>,
    pub(crate) files: Vec<FileItem>,
}

/// One file to be read.
#[derive(Debug)]
pub(crate) struct FileItem {
    pub(crate) slot: u32,
    pub(crate) old: Option<u32>,
    pub(crate) name: Box<[u8]>,
    pub(crate) stat: FileStat,
}

impl Engine<'_> {
    pub(crate) fn run_files(&self, task: FilesTask, worker: &mut Worker) -> Result<(), RunError> {
        let FilesTask { frame, dir, files } = task;
        for item in files {
            self.check_stop()?;
            let place = Place {
                frame: Arc::clone(&frame),
                slot: item.slot,
                old: item.old,
            };
            self.show(
                worker.number,
                Some(Current {
                    dir: Arc::clone(&dir),
                    name: item.name.clone(),
                }),
            );
            self.run_file(&dir, item, place, worker)?;
        }
        Ok(())
    }

    fn run_file(
        &self,
        dir: &Arc<Dir>,
        item: FileItem,
        place: Place,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        let opened = FileReader::open(dir, &item.name);
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) => return self.file_failed(&error, &place, worker),
        };
        // One byte more than the size shows whether the file has grown.
        let capacity = usize::try_from(reader.stat().size_bytes)
            .map_or(usize::MAX, |size| size.saturating_add(1));
        if capacity > self.chunk_limit() {
            return self.run_large(&reader, &item.name, place, worker);
        }
        let mut buffer = std::mem::take(&mut worker.buffer);
        buffer.resize(buffer.len().max(capacity), 0);
        self.throttle.wait_for(capacity as u64 - 1);
        let read = reader.read_at(0, &mut buffer[..capacity]);
        let content = match &read {
            Ok(read_bytes) if *read_bytes < capacity => {
                self.save_small(&buffer[..*read_bytes], worker)?
            }
            _ => Vec::new(),
        };
        worker.buffer = buffer;
        match read {
            Ok(read_bytes) if read_bytes < capacity => {
                let node = self.file_node(&reader, &item.name, content, read_bytes as u64);
                self.file_stored(&place, node, worker)
            }
            Ok(_) => self.run_large(&reader, &item.name, place, worker),
            Err(error) => self.file_failed(&error, &place, worker),
        }
    }

    /// Files below this are one blob: the chunker would not cut them.
    fn chunk_limit(&self) -> usize {
        self.reader.repository().chunker().sizes().shortest_bytes
    }

    fn save_small(&self, content: &[u8], worker: &mut Worker) -> Result<Vec<Id>, RunError> {
        if content.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![self.save(
            BlobKind::Data,
            content,
            &mut worker.scratch,
        )?])
    }

    /// The node of a file that was read. What changed meanwhile is stored as it was read and told.
    pub(crate) fn file_node(
        &self,
        reader: &FileReader<'_>,
        name: &[u8],
        content: Vec<Id>,
        read_bytes: u64,
    ) -> Node {
        let mut node = node_of(name, reader.stat(), &self.names);
        node.size = read_bytes;
        node.content = content;
        self.take_xattrs(&mut node, reader.xattrs());
        match reader.stat_now() {
            Ok(now) => {
                let before = reader.stat();
                let has_changed = now.size_bytes != read_bytes
                    || now.modified != before.modified
                    || before.size_bytes != read_bytes;
                if has_changed {
                    self.changed_while_read(reader);
                }
            }
            Err(error) => {
                note_error(&mut node, &error);
                self.item_incomplete(&error);
            }
        }
        node
    }

    fn changed_while_read(&self, reader: &FileReader<'_>) {
        let message = "the file changed while it was read; it is stored as it was read".to_owned();
        self.tally.changed.add(1);
        self.tally.fail(
            self.observer,
            &ItemError::new(reader.path(), "read", message),
        );
    }

    /// Puts a file's node in its place.
    pub(crate) fn file_stored(
        &self,
        place: &Place,
        node: Node,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        let size_bytes = node.size;
        let (slot, change) = Engine::compare(place, node);
        self.file_done(change, size_bytes);
        self.fill(place, slot, &mut worker.scratch)
    }

    /// Books a file that cannot be stored and leaves it out.
    pub(crate) fn file_failed(
        &self,
        error: &SourceError,
        place: &Place,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        self.item_failed(error);
        self.tally.files_done.add(1);
        self.tally.items_done.add(1);
        self.fill(place, Slot::Nothing, &mut worker.scratch)
    }
}

//! Large files: cut into chunks by content, which all workers share.
//!
//! One worker reads the file from start to end and finds the cuts; the chunks go to the queue, so that a single huge
//! file keeps every core busy. When the queue is full the reading worker handles the chunk itself. What is in memory is
//! bounded by the queue, whatever the size of the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use source::SourceError;
use source::file::reader::FileReader;
use vault::{BlobKind, Id, Node, Scan};

use super::engine::{Engine, Worker};
use super::frame::{Place, Slot};
use crate::error::RunError;

/// How much is read at once: large enough for the disk, small against the memory of a chunk.
const READ_BYTES: usize = 512 << 10;
/// Buffers that grew for a long chunk are not kept: most chunks are shorter.
const KEPT_BUFFER_BYTES: usize = 2 << 20;

/// A chunk to be stored.
#[derive(Debug)]
pub(crate) struct ChunkTask {
    file: Arc<LargeFile>,
    number: usize,
    data: Vec<u8>,
}

/// A file whose chunks are being stored.
#[derive(Debug)]
struct LargeFile {
    place: Place,
    // Chunks that are not stored, and one more while the file is being read.
    pending_count: AtomicUsize,
    has_failed: AtomicBool,
    /// Bytes of it that are counted as under way.
    under_way_bytes: AtomicU64,
    // A mutex: touched once per chunk, that is, per megabyte.
    state: Mutex<LargeState>,
}

#[derive(Debug, Default)]
struct LargeState {
    content: Vec<Id>,
    node: Option<Box<Node>>,
}

/// The chunk of zeros that long holes are made of: its length by the chunker, and its id once it is stored.
#[derive(Debug, Default)]
pub(crate) struct ZeroChunk {
    // A mutex, so that the first two workers that meet a hole do not both store it.
    known: Mutex<Option<(usize, Id)>>,
}

impl Engine<'_> {
    /// Reads a file that is longer than the shortest chunk.
    pub(crate) fn run_large(
        &self,
        reader: &FileReader<'_>,
        name: &[u8],
        place: Place,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        let file = Arc::new(LargeFile {
            place,
            pending_count: AtomicUsize::new(1),
            has_failed: AtomicBool::new(false),
            under_way_bytes: AtomicU64::new(0),
            state: Mutex::default(),
        });
        reader.expect_sequential();
        let read = self.cut_file(reader, &file, worker)?;
        match read {
            Ok(read_bytes) => {
                let node = self.file_node(reader, name, Vec::new(), read_bytes);
                file.state.lock().node = Some(Box::new(node));
            }
            Err(error) => {
                self.item_failed(&error);
                file.has_failed.store(true, Ordering::Relaxed);
            }
        }
        self.settle_chunk(&file, worker)
    }

    /// Reads, cuts and hands out. The outer error ends the run, the inner one the file.
    fn cut_file(
        &self,
        reader: &FileReader<'_>,
        file: &Arc<LargeFile>,
        worker: &mut Worker,
    ) -> Result<Result<u64, SourceError>, RunError> {
        let chunker = self.reader.repository().chunker();
        let mut window = Window {
            buffer: self.spare_buffer(),
            offset: 0,
            is_at_end: false,
        };
        let mut scan = Scan::default();
        let mut number = 0;
        let mut holes = Holes::new(reader);
        loop {
            self.check_stop()?;
            if window.buffer.is_empty() {
                while let Some((length_bytes, id)) =
                    self.zero_chunk_in(&mut holes, window.offset, worker)?
                {
                    file.state.lock().content.push(id);
                    number += 1;
                    window.offset += length_bytes as u64;
                    self.count_under_way(file, length_bytes as u64);
                    self.check_stop()?;
                }
            }
            match chunker.resume(&window.buffer, &mut scan, window.is_at_end) {
                Some(length_bytes) => {
                    let data = self.split_off(&mut window, length_bytes);
                    file.state.lock().content.push(Id::default());
                    file.pending_count.fetch_add(1, Ordering::Relaxed);
                    self.hand_out_chunk(
                        ChunkTask {
                            file: Arc::clone(file),
                            number,
                            data,
                        },
                        worker,
                    )?;
                    number += 1;
                    scan = Scan::default();
                }
                None if window.is_at_end => break,
                None => {
                    self.throttle.wait_for(window.next_read_bytes(reader));
                    if let Err(error) = window.read_more(reader) {
                        return Ok(Err(error));
                    }
                }
            }
        }
        let read_bytes = window.offset;
        self.give_back(window.buffer);
        Ok(Ok(read_bytes))
    }

    /// Takes the first bytes of the window as a chunk; the rest stays.
    fn split_off(&self, window: &mut Window, length_bytes: usize) -> Vec<u8> {
        let mut rest = self.spare_buffer();
        rest.extend_from_slice(&window.buffer[length_bytes..]);
        window.offset += length_bytes as u64;
        window.buffer.truncate(length_bytes);
        std::mem::replace(&mut window.buffer, rest)
    }

    fn hand_out_chunk(&self, task: ChunkTask, worker: &mut Worker) -> Result<(), RunError> {
        // The memory that it holds counts, which may be more than its length.
        let held_bytes = task.data.capacity();
        match self.queue.push_chunk(task, held_bytes) {
            Ok(()) => Ok(()),
            Err(task) => self.run_chunk(task, worker),
        }
    }

    pub(crate) fn run_chunk(&self, task: ChunkTask, worker: &mut Worker) -> Result<(), RunError> {
        let ChunkTask { file, number, data } = task;
        if !file.has_failed.load(Ordering::Relaxed) {
            let id = self.save(BlobKind::Data, &data, &mut worker.scratch)?;
            file.state.lock().content[number] = id;
            self.count_under_way(&file, data.len() as u64);
        }
        self.give_back(data);
        self.settle_chunk(&file, worker)
    }

    fn count_under_way(&self, file: &LargeFile, length_bytes: u64) {
        file.under_way_bytes
            .fetch_add(length_bytes, Ordering::Relaxed);
        self.tally.bytes_under_way.add(length_bytes);
    }

    /// One thing less to wait for; the last one puts the file in its place.
    fn settle_chunk(&self, file: &LargeFile, worker: &mut Worker) -> Result<(), RunError> {
        if file.pending_count.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        // From now on it counts as a whole.
        self.tally
            .bytes_under_way
            .take_back(file.under_way_bytes.load(Ordering::Relaxed));
        let LargeState { content, node } = std::mem::take(&mut *file.state.lock());
        match node {
            Some(mut node) => {
                node.content = content;
                self.file_stored(&file.place, *node, worker)
            }
            None => {
                self.tally.files_done.add(1);
                self.tally.items_done.add(1);
                self.fill(&file.place, Slot::Nothing, &mut worker.scratch)
            }
        }
    }

    /// A whole chunk of zeros at `offset`, if a hole covers it. The chunker would cut the same one, so a file gets the
    /// same chunks whether its zeros are a hole or not.
    fn zero_chunk_in(
        &self,
        holes: &mut Holes<'_>,
        offset: u64,
        worker: &mut Worker,
    ) -> Result<Option<(usize, Id)>, RunError> {
        let longest_bytes = self.reader.repository().chunker().sizes().longest_bytes;
        if !holes.covers(offset, longest_bytes as u64) {
            return Ok(None);
        }
        let mut known = self.zero_chunk.known.lock();
        if let Some(chunk) = *known {
            return Ok(Some(chunk));
        }
        let zeros = vec![0; longest_bytes];
        let length_bytes = self
            .reader
            .repository()
            .chunker()
            .next_cut(&zeros, false)
            .unwrap_or(longest_bytes);
        let id = self.save(BlobKind::Data, &zeros[..length_bytes], &mut worker.scratch)?;
        *known = Some((length_bytes, id));
        Ok(*known)
    }

    fn spare_buffer(&self) -> Vec<u8> {
        self.spare_buffers.lock().pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BUFFER_BYTES {
            buffer.clear();
            self.spare_buffers.lock().push(buffer);
        }
    }
}

/// The part of a file that is read but not cut.
struct Window {
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    offset: u64,
    is_at_end: bool,
}

impl Window {
    /// How much the next read will bring, as far as the size of the file tells.
    fn next_read_bytes(&self, reader: &FileReader<'_>) -> u64 {
        let position = self.offset + self.buffer.len() as u64;
        reader
            .stat()
            .size_bytes
            .saturating_sub(position)
            .min(READ_BYTES as u64)
    }

    fn read_more(&mut self, reader: &FileReader<'_>) -> Result<(), SourceError> {
        let filled_bytes = self.buffer.len();
        self.buffer.reserve_exact(READ_BYTES);
        self.buffer.resize(filled_bytes + READ_BYTES, 0);
        let read = reader.read_at(
            self.offset + filled_bytes as u64,
            &mut self.buffer[filled_bytes..],
        );
        let read_bytes = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(filled_bytes + read_bytes);
        self.is_at_end = read_bytes < READ_BYTES;
        read.map(|_| ())
    }
}

/// Where a file has holes, asked only when it takes less space than its size.
struct Holes<'f> {
    reader: &'f FileReader<'f>,
    end_of_file: u64,
    /// The end of the hole that was found last.
    hole_end: u64,
    may_have_holes: bool,
}

impl<'f> Holes<'f> {
    fn new(reader: &'f FileReader<'f>) -> Holes<'f> {
        let may_have_holes = reader.stat().may_have_holes();
        Holes {
            reader,
            end_of_file: reader.stat().size_bytes,
            hole_end: 0,
            may_have_holes,
        }
    }

    /// Whether `[offset, offset + length_bytes)` is a hole.
    fn covers(&mut self, offset: u64, length_bytes: u64) -> bool {
        if !self.may_have_holes || offset + length_bytes > self.end_of_file {
            return false;
        }
        if self.hole_end < offset + length_bytes {
            self.hole_end = self
                .reader
                .next_data(offset)
                .unwrap_or(self.end_of_file)
                .min(self.end_of_file);
        }
        self.hole_end >= offset + length_bytes
    }
}

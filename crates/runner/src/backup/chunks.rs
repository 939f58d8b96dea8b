//! Large files: cut into chunks by content, which all workers share.
//!
//! One worker reads the file from start to end and finds the cuts; the chunks go to the queue, several small ones
//! together, so that a single huge file keeps every core busy. When the queue is full the reading worker handles them
//! itself. What is in memory is bounded by the queue, whatever the size of the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use source::file::reader::FileReader;
use source::{Operation, SourceError};
use vault::{BlobKind, ChunkSizes, Chunker, Id, Node, Scan};

use super::engine::{Engine, Worker};
use super::frame::{Place, Slot};
use crate::error::RunError;

/// How much is read at once: large enough for the disk, small against the memory of a chunk, and what follows the last
/// cut in it has to be copied.
const READ_BYTES: usize = 256 << 10;
/// The most chunks that a file may have. A node lists each one in 67 bytes of JSON and a tree is sealed in one piece of at
/// most 1 GiB, so twice as many would not fit; and each costs about 200 bytes of memory on the way there. It is a hole of
/// 32 TiB, or some 8 TiB of data, that a file may hold at least.
const LARGEST_CHUNK_COUNT: usize = 8 << 20;
/// Buffers that grew for a long chunk are not kept: most chunks are shorter.
const KEPT_BUFFER_BYTES: usize = 2 << 20;

/// Chunks that lie one after the other, to be stored.
#[derive(Debug)]
pub(crate) struct ChunkTask {
    file: Arc<LargeFile>,
    /// The number of the first one in the file.
    first: usize,
    /// Their lengths, from the start of the data on.
    lengths: Vec<usize>,
    data: Vec<u8>,
}

/// A file whose chunks are being stored.
#[derive(Debug)]
struct LargeFile {
    place: Place,
    // Tasks that are not done, and one more while the file is being read.
    pending_count: AtomicUsize,
    has_failed: AtomicBool,
    /// Bytes of it that are counted as under way.
    under_way_bytes: AtomicU64,
    // A mutex: touched once per chunk.
    state: Mutex<LargeState>,
}

#[derive(Debug, Default)]
struct LargeState {
    content: Vec<Id>,
    node: Option<Box<Node>>,
}

/// The chunks of zeros that long holes are made of: by the sizes of the chunker, which tell those of a vault apart, the
/// length and the id once it is stored.
#[derive(Debug, Default)]
pub(crate) struct ZeroChunks {
    // A mutex, so that the first two workers that meet a hole do not both store it.
    known: Mutex<Vec<(ChunkSizes, usize, Id)>>,
}

impl LargeFile {
    fn is_full(&self) -> bool {
        self.state.lock().content.len() >= LARGEST_CHUNK_COUNT
    }

    /// Adds a chunk that is stored; `false` when there are too many.
    fn push(&self, id: Id) -> bool {
        let content = &mut self.state.lock().content;
        let has_room = content.len() < LARGEST_CHUNK_COUNT;
        if has_room {
            content.push(id);
        }
        has_room
    }
}

/// A file that would take more than its share of memory, such as one that is a hole of an exbibyte. The other files go
/// on.
fn too_many_chunks(reader: &FileReader<'_>) -> SourceError {
    SourceError {
        operation: Operation::Read,
        path: reader.path(),
        source: std::io::Error::other(format!(
            "the file has more than {LARGEST_CHUNK_COUNT} chunks, which is more than a snapshot can list"
        )),
    }
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
        self.settle_chunks(&file, worker)
    }

    /// Reads, cuts and hands out. The outer error ends the run, the inner one the file.
    fn cut_file(
        &self,
        reader: &FileReader<'_>,
        file: &Arc<LargeFile>,
        worker: &mut Worker,
    ) -> Result<Result<u64, SourceError>, RunError> {
        let mut window = Window {
            buffer: self.spare_buffer(),
            ..Window::default()
        };
        if let Err(error) = self.read_more(&mut window, reader) {
            return Ok(Err(error));
        }
        let chunker = self
            .reader
            .repository()
            .chunker_of(reader.stat().size_bytes, window.uncut());
        let mut holes = Holes::new(reader);
        let mut scan = Scan::default();
        loop {
            self.check_stop()?;
            while holes.covers(window.position(), chunker.sizes().longest_bytes as u64) {
                self.hand_out_chunks(&mut window, file, worker)?;
                let (length_bytes, id) = self.zero_chunk(chunker, worker)?;
                if !file.push(id) {
                    return Ok(Err(too_many_chunks(reader)));
                }
                window.skip(length_bytes);
                scan = Scan::default();
                self.count_under_way(file, length_bytes as u64);
                self.check_stop()?;
            }
            while let Some(length_bytes) =
                chunker.resume(window.uncut(), &mut scan, window.is_at_end)
            {
                window.cut(length_bytes);
                scan = Scan::default();
            }
            self.hand_out_chunks(&mut window, file, worker)?;
            if window.is_at_end {
                break;
            }
            if file.is_full() {
                return Ok(Err(too_many_chunks(reader)));
            }
            if let Err(error) = self.read_more(&mut window, reader) {
                return Ok(Err(error));
            }
        }
        let read_bytes = window.position();
        self.give_back(window.buffer);
        Ok(Ok(read_bytes))
    }

    fn read_more(&self, window: &mut Window, reader: &FileReader<'_>) -> Result<(), SourceError> {
        self.throttle.wait_for(window.next_read_bytes(reader));
        window.read_more(reader)
    }

    /// Hands out the chunks that are cut; what is not cut stays.
    fn hand_out_chunks(
        &self,
        window: &mut Window,
        file: &Arc<LargeFile>,
        worker: &mut Worker,
    ) -> Result<(), RunError> {
        if window.lengths.is_empty() {
            return Ok(());
        }
        let (data, lengths) = window.split_off(self.spare_buffer());
        let first = {
            let content = &mut file.state.lock().content;
            let first = content.len();
            content.resize(first + lengths.len(), Id::default());
            first
        };
        file.pending_count.fetch_add(1, Ordering::Relaxed);
        let task = ChunkTask {
            file: Arc::clone(file),
            first,
            lengths,
            data,
        };
        // The memory that it holds counts, which may be more than its length.
        let held_bytes = task.data.capacity();
        match self.queue.push_chunk(task, held_bytes) {
            Ok(()) => Ok(()),
            Err(task) => self.run_chunks(task, worker),
        }
    }

    pub(crate) fn run_chunks(&self, task: ChunkTask, worker: &mut Worker) -> Result<(), RunError> {
        let ChunkTask {
            file,
            first,
            lengths,
            data,
        } = task;
        let mut rest = data.as_slice();
        for (number, length_bytes) in (first..).zip(lengths) {
            if file.has_failed.load(Ordering::Relaxed) {
                break;
            }
            let (chunk, after) = rest.split_at(length_bytes);
            rest = after;
            let id = self.save(BlobKind::Data, chunk, &mut worker.scratch)?;
            file.state.lock().content[number] = id;
            self.count_under_way(&file, length_bytes as u64);
        }
        self.give_back(data);
        self.settle_chunks(&file, worker)
    }

    fn count_under_way(&self, file: &LargeFile, length_bytes: u64) {
        file.under_way_bytes
            .fetch_add(length_bytes, Ordering::Relaxed);
        self.tally.bytes_under_way.add(length_bytes);
    }

    /// One thing less to wait for; the last one puts the file in its place.
    fn settle_chunks(&self, file: &LargeFile, worker: &mut Worker) -> Result<(), RunError> {
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

    /// The first chunk of a hole that is as long as the longest chunk: its length, and its id, for which it is stored.
    /// The chunker would cut the same one, so a file gets the same chunks whether its zeros are a hole or not.
    fn zero_chunk(&self, chunker: &Chunker, worker: &mut Worker) -> Result<(usize, Id), RunError> {
        let sizes = chunker.sizes();
        let mut known = self.zero_chunks.known.lock();
        if let Some((_, length_bytes, id)) = known.iter().find(|chunk| chunk.0 == sizes) {
            return Ok((*length_bytes, *id));
        }
        let zeros = vec![0; sizes.longest_bytes];
        let length_bytes = chunker.next_cut(&zeros, false).unwrap_or(zeros.len());
        let id = self.save(BlobKind::Data, &zeros[..length_bytes], &mut worker.scratch)?;
        known.push((sizes, length_bytes, id));
        Ok((length_bytes, id))
    }

    fn spare_buffer(&self) -> Vec<u8> {
        self.spare_buffers.lock().pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next use, its bytes as they are: clearing them would only cost time.
    fn give_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BUFFER_BYTES {
            self.spare_buffers.lock().push(buffer);
        }
    }
}

/// The part of a file that is read and not handed out.
#[derive(Default)]
struct Window {
    /// Read data, then room.
    buffer: Vec<u8>,
    filled_bytes: usize,
    /// The chunks that are cut, from the start of the buffer on.
    lengths: Vec<usize>,
    cut_bytes: usize,
    /// Where the buffer begins in the file.
    offset: u64,
    is_at_end: bool,
}

impl Window {
    /// Where what is not cut begins in the file.
    fn position(&self) -> u64 {
        self.offset + self.cut_bytes as u64
    }

    fn uncut(&self) -> &[u8] {
        &self.buffer[self.cut_bytes..self.filled_bytes]
    }

    fn cut(&mut self, length_bytes: usize) {
        self.lengths.push(length_bytes);
        self.cut_bytes += length_bytes;
    }

    /// Takes the chunks that are cut; the rest goes to the other buffer.
    fn split_off(&mut self, mut other: Vec<u8>) -> (Vec<u8>, Vec<usize>) {
        let rest_bytes = self.filled_bytes - self.cut_bytes;
        grow(&mut other, rest_bytes);
        other[..rest_bytes].copy_from_slice(self.uncut());
        self.offset += self.cut_bytes as u64;
        self.filled_bytes = rest_bytes;
        self.cut_bytes = 0;
        let data = std::mem::replace(&mut self.buffer, other);
        (data, std::mem::take(&mut self.lengths))
    }

    /// Leaves out what is known without reading; all that was cut must have been handed out.
    fn skip(&mut self, length_bytes: usize) {
        let read_bytes = self.filled_bytes.min(length_bytes);
        self.buffer.copy_within(read_bytes..self.filled_bytes, 0);
        self.filled_bytes -= read_bytes;
        self.offset += length_bytes as u64;
    }

    /// How much the next read will bring, as far as the size of the file tells.
    fn next_read_bytes(&self, reader: &FileReader<'_>) -> u64 {
        let position = self.offset + self.filled_bytes as u64;
        reader
            .stat()
            .size_bytes
            .saturating_sub(position)
            .min(READ_BYTES as u64)
    }

    fn read_more(&mut self, reader: &FileReader<'_>) -> Result<(), SourceError> {
        let end = self.filled_bytes + READ_BYTES;
        grow(&mut self.buffer, end);
        let position = self.offset + self.filled_bytes as u64;
        let room = &mut self.buffer[self.filled_bytes..end];
        let read_bytes = reader.read_at(position, room)?;
        self.filled_bytes += read_bytes;
        self.is_at_end = read_bytes < READ_BYTES;
        Ok(())
    }
}

/// Makes a buffer at least so long, in few steps.
fn grow(buffer: &mut Vec<u8>, length_bytes: usize) {
    if buffer.len() < length_bytes {
        buffer.reserve_exact(length_bytes.next_multiple_of(READ_BYTES) - buffer.len());
        buffer.resize(length_bytes, 0);
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

//! One stream of bytes as the only file of a snapshot, as `restic backup --stdin` does it.
//!
//! Read, cut and stored by one thread: what comes from somewhere else is the slower part. The order is that of any backup:
//! shared lock, index, packs, index, snapshot. A stream that ends with an error leaves no snapshot.

use std::io::Read;
use std::sync::Arc;

use vault::{
    BlobKind, BlobScratch, Id, LockGuard, LockKind, Node, NodeKind, Repository, Scan, Snapshot,
    SnapshotSummary, Time, Tree, UnlockScope, Writer, WriterOptions,
};

use crate::backup::current_user;
use crate::error::RunError;
use crate::observe::{Observer, Phase};
use crate::progress::{Reporter, Tally};
use crate::stop::StopToken;

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// Where a stream goes, and under which name.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Where to.
    pub repository: Repository,
    /// The name of the file, which lies at the root of the snapshot.
    pub name: String,
    /// Tags of the snapshot.
    pub tags: Vec<String>,
    /// The host in the snapshot.
    pub hostname: String,
    /// How packs are made.
    pub writer: WriterOptions,
}

/// What was stored.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// The snapshot.
    pub snapshot_id: Id,
    /// Bytes of the stream.
    pub bytes: u64,
    /// Bytes that it added to the vault.
    pub added_bytes: u64,
    /// What the snapshot says.
    pub summary: SnapshotSummary,
}

/// Stores all that `input` gives.
///
/// # Errors
/// The vault failed, the input did, or a stop was asked for. There is no snapshot then.
pub fn back_up_stream(
    request: &StreamRequest,
    input: &mut dyn Read,
    observer: &dyn Observer,
    stop: &StopToken,
) -> Result<StreamReport, RunError> {
    let start = Time::now();
    let repository = &request.repository;
    repository.unlock(UnlockScope::Dead)?;
    let lock = repository.lock(LockKind::Shared)?;
    repository.sync_what_is_there()?;
    let index = Arc::new(repository.load_index_for_backup()?.index);
    let writer = Writer::open(repository.clone(), index, request.writer.clone())?;
    let tally = Tally::new();
    tally.enter(Phase::Running);
    let reporter = Reporter::default();
    let (content, bytes) = std::thread::scope(|scope| {
        let _finished = reporter.finish_on_drop();
        scope.spawn(|| reporter.run(&tally, observer, Vec::new));
        let source = Source {
            repository,
            writer: &writer,
            tally: &tally,
            lock: &lock,
            stop,
        };
        source.store(input)
    })?;
    tally.enter(Phase::Finishing);
    let node = file_node(&request.name, start, content, bytes);
    let tree = writer.save_tree(&Tree::from_nodes(vec![node]), &mut BlobScratch::default())?;
    writer.flush()?;
    check_stop(stop)?;
    lock.ensure_held()?;
    observer
        .before_commit()
        .map_err(|reason| RunError::Refused { reason })?;
    lock.ensure_held()?;
    let summary = summary(&writer, bytes, start);
    let snapshot = snapshot(request, tree.id, &summary);
    let snapshot_id = writer.commit(&snapshot)?;
    Ok(StreamReport {
        snapshot_id,
        bytes,
        added_bytes: summary.data_added_packed,
        summary,
    })
}

fn check_stop(stop: &StopToken) -> Result<(), RunError> {
    match stop.requested() {
        Some(how) => Err(RunError::Stopped(how)),
        None => Ok(()),
    }
}

/// A stream on its way into the vault.
struct Source<'a> {
    repository: &'a Repository,
    writer: &'a Writer,
    tally: &'a Tally,
    lock: &'a LockGuard,
    stop: &'a StopToken,
}

impl Source<'_> {
    /// The chunks of the stream and its length.
    fn store(&self, input: &mut dyn Read) -> Result<(Vec<Id>, u64), RunError> {
        let chunker = self.repository.chunker();
        let mut scratch = BlobScratch::default();
        let (mut content, mut bytes) = (Vec::new(), 0);
        let (mut uncut, mut scan, mut is_at_end) = (Vec::new(), Scan::default(), false);
        loop {
            check_stop(self.stop)?;
            self.lock.ensure_fresh()?;
            while let Some(length) = chunker.resume(&uncut, &mut scan, is_at_end) {
                let saved =
                    self.writer
                        .save_blob(BlobKind::Data, &uncut[..length], &mut scratch)?;
                content.push(saved.id);
                uncut.drain(..length);
                scan = Scan::default();
                bytes += length as u64;
                self.tally.bytes_done.add(length as u64);
                self.tally.actual_bytes.add(saved.stored_bytes);
            }
            if is_at_end {
                return Ok((content, bytes));
            }
            let read = input.take(READ_BYTES as u64).read_to_end(&mut uncut);
            // Asked to stop, whoever gives the stream may end it with an error: the stop is what it is about.
            is_at_end = read.map_err(|error| match check_stop(self.stop) {
                Err(stopped) => stopped,
                Ok(()) => RunError::Input(error),
            })? == 0;
        }
    }
}

fn file_node(name: &str, time: Time, content: Vec<Id>, bytes: u64) -> Node {
    Node {
        name: name.as_bytes().to_vec(),
        kind: NodeKind::File,
        mode: 0o100_600,
        mtime: time,
        atime: time,
        ctime: time,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        size: bytes,
        links: 1,
        content,
        ..Node::default()
    }
}

fn summary(writer: &Writer, bytes: u64, start: Time) -> SnapshotSummary {
    let stats = writer.stats();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    SnapshotSummary {
        backup_start: start,
        backup_end: Time::now(),
        files_new: 1,
        data_blobs: signed(stats.data_blobs),
        tree_blobs: signed(stats.tree_blobs),
        data_added: stats.data_bytes + stats.tree_bytes,
        data_added_packed: stats.stored_bytes,
        total_files_processed: 1,
        total_bytes_processed: bytes,
        ..SnapshotSummary::default()
    }
}

fn snapshot(request: &StreamRequest, tree: Id, summary: &SnapshotSummary) -> Snapshot {
    Snapshot {
        time: summary.backup_start,
        tree,
        paths: vec![format!("/{}", request.name)],
        hostname: request.hostname.clone(),
        username: current_user(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        tags: request.tags.clone(),
        program_version: concat!("strongroom ", env!("CARGO_PKG_VERSION")).to_owned(),
        summary: Some(summary.clone()),
        ..Snapshot::default()
    }
}

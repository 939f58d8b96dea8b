//! The writer on storages that behave: what it writes, how much, and in which order.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::{Call, ErrorKind, Memory, Operation, Record, Storage, StorageError, Upload};

use super::{Writer, WriterOptions};
use crate::blob::{BlobKind, BlobScratch};
use crate::id::Id;
use crate::layout::FileKind;
use crate::pack::header_of;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::testing::{blob, create, snapshot_of};
use crate::tree::Tree;

const SMALL_PACKS: usize = 4096;

/// Takes over what no index names now.
fn adopt(writer: &Writer, repository: &Repository) -> usize {
    let packs = repository.list_packs().unwrap();
    writer.adopt_unindexed_packs(&packs, &|| false).unwrap()
}

fn writer_of(repository: &Repository) -> Writer {
    let options = WriterOptions {
        pack_size_bytes: SMALL_PACKS,
        ..WriterOptions::default()
    };
    let index = Arc::new(repository.load_index().unwrap());
    Writer::open(repository.clone(), index, options).unwrap()
}

fn reader_of(repository: &Repository) -> Reader {
    Reader::new(
        repository.clone(),
        Arc::new(repository.load_index().unwrap()),
    )
}

fn pack_sizes(storage: &dyn Storage) -> Vec<u64> {
    let listed = storage.list(FileKind::Pack.folder()).unwrap();
    listed.into_iter().map(|entry| entry.size_bytes).collect()
}

#[test]
fn what_was_saved_is_read_back_and_saved_once() {
    let repository = create(Arc::new(Memory::new()));
    let writer = writer_of(&repository);
    let mut scratch = BlobScratch::new();
    for round in 0..2 {
        for number in 0..100 {
            let bytes = blob(number, number as usize * 37);
            let saved = writer
                .save_blob(BlobKind::Data, &bytes, &mut scratch)
                .unwrap();
            assert_eq!(saved.id, Id::hash(&bytes));
            assert_eq!(saved.is_new, round == 0);
            assert_eq!(saved.stored_bytes > 0, round == 0);
        }
    }
    // The same bytes as a tree are another blob.
    let tree = writer.save_tree(&Tree::default(), &mut scratch).unwrap();
    let text = Tree::default().encode().unwrap();
    assert!(
        writer
            .save_blob(BlobKind::Data, &text, &mut scratch)
            .unwrap()
            .is_new
    );
    let stats = writer.stats();
    assert_eq!((stats.data_blobs, stats.tree_blobs), (101, 1));
    let id = writer.commit(&snapshot_of(tree.id)).unwrap();
    assert_eq!(repository.find_snapshot("latest").unwrap().0, id);
    let reader = reader_of(&repository);
    for number in 0..100 {
        let bytes = blob(number, number as usize * 37);
        assert_eq!(
            reader.read_blob(BlobKind::Data, &Id::hash(&bytes)).unwrap(),
            bytes
        );
    }
    assert_eq!(reader.read_tree(&tree.id).unwrap(), Tree::default());
    assert!(reader.read_tree(&Id::hash(b"none")).is_err());
}

#[test]
fn a_second_unchanged_backup_writes_nothing_but_its_snapshot() {
    let record = Arc::new(Record::new(Arc::new(Memory::new())));
    let repository = create(Arc::clone(&record) as Arc<dyn Storage>);
    let mut scratch = BlobScratch::new();
    let mut puts = Vec::new();
    for _ in 0..2 {
        drop(record.take());
        let writer = writer_of(&repository);
        writer
            .save_blob(BlobKind::Data, b"content", &mut scratch)
            .unwrap();
        let tree = writer.save_tree(&Tree::default(), &mut scratch).unwrap().id;
        writer.commit(&snapshot_of(tree)).unwrap();
        let is_put = |call: &Call| call.operation == Operation::Put;
        puts.push(record.take().into_iter().filter(is_put).collect::<Vec<_>>());
    }
    // Packs first, then their index, then the snapshot.
    let folders = |calls: &[Call]| -> Vec<String> {
        calls
            .iter()
            .map(|call| call.name.split('/').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(folders(&puts[0]), ["data", "data", "index", "snapshots"]);
    assert_eq!(folders(&puts[1]), ["snapshots"]);
}

#[test]
fn packs_keep_their_bounds_and_kinds_apart() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let writer = writer_of(&repository);
    let mut scratch = BlobScratch::new();
    for number in 0..300 {
        let bytes = blob(number, 100 + (number as usize * 97) % 900);
        let kind = if number % 5 == 0 {
            BlobKind::Tree
        } else {
            BlobKind::Data
        };
        writer.save_blob(kind, &bytes, &mut scratch).unwrap();
    }
    // Larger than a pack: it gets one of its own.
    let large = blob(1000, 3 * SMALL_PACKS);
    writer
        .save_blob(BlobKind::Data, &large, &mut scratch)
        .unwrap();
    writer.flush().unwrap();
    let index = repository.load_index().unwrap();
    let by_pack = index.by_pack();
    let mut unfilled = 0;
    for number in 0..by_pack.len() {
        let (pack, blobs) = by_pack.get(number);
        let size = memory.size(&FileKind::Pack.name(&pack)).unwrap() as usize;
        let bytes = memory.get(&FileKind::Pack.name(&pack)).unwrap();
        assert_eq!(
            header_of(repository.cipher(), &pack, &bytes).unwrap(),
            blobs
        );
        assert!(blobs.iter().all(|blob| blob.kind == blobs[0].kind));
        if blobs.iter().any(|blob| blob.length as usize > SMALL_PACKS) {
            assert_eq!(blobs.len(), 1);
            continue;
        }
        assert!(size <= SMALL_PACKS + SMALL_PACKS / 8, "{size}");
        // A blob that did not fit any more leaves a pack at most one blob short.
        unfilled += usize::from(size < SMALL_PACKS / 4 * 3 - 1100);
    }
    // The last pack of each open slot, at most.
    assert!(unfilled <= 3, "{unfilled}");
    assert_eq!(
        reader_of(&repository)
            .read_blob(BlobKind::Data, &Id::hash(&large))
            .unwrap(),
        large
    );
}

#[test]
fn many_threads_save_the_same_and_different_blobs() {
    let repository = create(Arc::new(Memory::new()));
    let writer = writer_of(&repository);
    let new_count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let (writer, new_count) = (&writer, &new_count);
            scope.spawn(move || {
                let mut scratch = BlobScratch::new();
                for number in 0..200 {
                    // Every third blob is the same in all threads.
                    let seed = if number % 3 == 0 {
                        number
                    } else {
                        (thread + 1) * 1000 + number
                    };
                    let saved = writer
                        .save_blob(BlobKind::Data, &blob(seed, 500), &mut scratch)
                        .unwrap();
                    new_count.fetch_add(u64::from(saved.is_new), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(new_count.into_inner(), 67 + 6 * 133);
    writer.flush().unwrap();
    assert_eq!(writer.stats().data_blobs, 67 + 6 * 133);
    let reader = reader_of(&repository);
    for thread in 1..=6 {
        for number in (0..200).filter(|number| number % 3 != 0) {
            let bytes = blob(thread * 1000 + number, 500);
            assert_eq!(
                reader.read_blob(BlobKind::Data, &Id::hash(&bytes)).unwrap(),
                bytes
            );
        }
    }
}

#[test]
fn index_files_are_written_on_the_way_and_hold_each_pack_once() {
    let repository = create(Arc::new(Memory::new()));
    let options = WriterOptions {
        pack_size_bytes: SMALL_PACKS,
        index_blob_count: 20,
        ..WriterOptions::default()
    };
    let writer = Writer::open(repository.clone(), Arc::default(), options).unwrap();
    let mut scratch = BlobScratch::new();
    for number in 0..200 {
        writer
            .save_blob(BlobKind::Data, &blob(number, 500), &mut scratch)
            .unwrap();
    }
    writer.flush().unwrap();
    let stats = writer.stats();
    assert!(stats.index_files > 5, "{stats:?}");
    assert_eq!(
        repository.list(FileKind::Index).unwrap().len() as u64,
        stats.index_files
    );
    let index = repository.load_index().unwrap();
    assert_eq!(index.packs().len() as u64, stats.packs);
    // All blobs and the padding of the packs that were not full.
    assert!((200..=203).contains(&index.len()), "{}", index.len());
}

#[test]
fn a_snapshot_of_a_tree_that_is_not_stored_is_refused() {
    let repository = create(Arc::new(Memory::new()));
    let mut scratch = BlobScratch::new();
    let writer = writer_of(&repository);
    // The bytes are there, but as data: a type confusion of the caller.
    let text = Tree::default().encode().unwrap();
    let id = writer
        .save_blob(BlobKind::Data, &text, &mut scratch)
        .unwrap()
        .id;
    assert!(writer.commit(&snapshot_of(id)).is_err());
    assert!(repository.snapshots().unwrap().is_empty());
}

#[test]
fn pack_sizes_of_small_backups_do_not_tell_the_size_of_a_file() {
    let sizes_of = |length: usize| {
        let memory = Memory::new();
        let writer = writer_of(&create(Arc::new(memory.clone())));
        writer
            .save_blob(BlobKind::Data, &blob(1, length), &mut BlobScratch::new())
            .unwrap();
        writer.flush().unwrap();
        pack_sizes(&memory)
    };
    let first = sizes_of(2000);
    assert_eq!(first.len(), 1);
    for length in 2001..2020 {
        assert_eq!(sizes_of(length), first);
    }
}

#[test]
fn packs_of_a_killed_writer_are_taken_over() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let mut scratch = BlobScratch::new();
    let killed = writer_of(&repository);
    for number in 0..100 {
        killed
            .save_blob(BlobKind::Data, &blob(number, 500), &mut scratch)
            .unwrap();
    }
    killed.flush().unwrap();
    // As if it had been killed before its index files were written.
    for id in repository.list(FileKind::Index).unwrap() {
        memory.delete(&FileKind::Index.name(&id)).unwrap();
    }
    drop(killed);
    let packs = repository.list(FileKind::Pack).unwrap();
    let damaged = FileKind::Pack.name(&packs[0]);
    let mut bytes = memory.get(&damaged).unwrap();
    bytes[10] ^= 1;
    memory.overwrite(&damaged, bytes);
    memory.overwrite("data/aa/strange", b"not a pack".to_vec());

    let resumed = writer_of(&repository);
    let listed = repository.list_packs().unwrap();
    assert_eq!(listed.len(), packs.len());
    assert_eq!(resumed.adopt_unindexed_packs(&listed, &|| true).unwrap(), 0);
    assert_eq!(adopt(&resumed, &repository), packs.len() - 1);
    assert_eq!(adopt(&resumed, &repository), 0);
    let mut stored_again = 0;
    for number in 0..100 {
        let saved = resumed
            .save_blob(BlobKind::Data, &blob(number, 500), &mut scratch)
            .unwrap();
        stored_again += usize::from(saved.is_new);
    }
    // Only what the damaged pack held.
    assert!((1..=8).contains(&stored_again), "{stored_again}");
    resumed.flush().unwrap();
    let reader = reader_of(&repository);
    assert!(!reader.index().packs().contains(&packs[0]));
    for number in 0..100 {
        let bytes = blob(number, 500);
        assert_eq!(
            reader.read_blob(BlobKind::Data, &Id::hash(&bytes)).unwrap(),
            bytes
        );
    }
    // With everything indexed there is nothing to take over.
    assert_eq!(adopt(&writer_of(&repository), &repository), 0);
}

/// Two killed runs stored the same: the padding of the second one is no reason to take its pack over too.
#[test]
fn a_pack_whose_padding_alone_is_new_is_left() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let mut scratch = BlobScratch::new();
    for _ in 0..2 {
        let killed = writer_of(&repository);
        killed
            .save_blob(BlobKind::Data, &blob(1, 500), &mut scratch)
            .unwrap();
        killed.flush().unwrap();
        for id in repository.list(FileKind::Index).unwrap() {
            memory.delete(&FileKind::Index.name(&id)).unwrap();
        }
    }
    assert_eq!(repository.list(FileKind::Pack).unwrap().len(), 2);
    let resumed = writer_of(&repository);
    assert_eq!(adopt(&resumed, &repository), 1);
    let saved = resumed
        .save_blob(BlobKind::Data, &blob(1, 500), &mut scratch)
        .unwrap();
    assert!(!saved.is_new);
}

/// A pack may have been put by a process that was killed before the name of the pack was durable: it is made durable
/// before an index names it.
#[test]
fn what_is_taken_over_is_made_durable_first() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let killed = writer_of(&repository);
    killed
        .save_blob(BlobKind::Data, &blob(1, 500), &mut BlobScratch::new())
        .unwrap();
    killed.flush().unwrap();
    for id in repository.list(FileKind::Index).unwrap() {
        memory.delete(&FileKind::Index.name(&id)).unwrap();
    }
    let pack = repository.list(FileKind::Pack).unwrap()[0];
    let record = Arc::new(Record::new(Arc::new(memory)));
    let repository = repository.with_storage(record.clone());
    let resumed = writer_of(&repository);
    let _ = record.take();
    adopt(&resumed, &repository);
    resumed.flush().unwrap();
    let calls: Vec<(Operation, String)> = record
        .take()
        .into_iter()
        .filter(|call| matches!(call.operation, Operation::Sync | Operation::Put))
        .map(|call| (call.operation, call.name))
        .collect();
    let folder = format!("data/{}", &pack.to_hex()[..2]);
    assert_eq!(
        calls[..2],
        [
            (Operation::Sync, "data".to_owned()),
            (Operation::Sync, folder)
        ]
    );
    assert!(
        calls[2].1.starts_with("index/") && calls.len() == 3,
        "{calls:?}"
    );
    repository.sync_what_is_there().unwrap();
    let synced: Vec<String> = record.take().into_iter().map(|call| call.name).collect();
    assert_eq!(synced, ["index", "snapshots"]);
}

#[test]
fn packs_marked_for_deletion_are_neither_used_nor_taken_over() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let mut scratch = BlobScratch::new();
    let writer = writer_of(&repository);
    writer
        .save_blob(BlobKind::Data, &blob(1, 500), &mut scratch)
        .unwrap();
    writer.flush().unwrap();
    let index = repository.list(FileKind::Index).unwrap()[0];
    let json = String::from_utf8(repository.load_json(FileKind::Index, &index).unwrap()).unwrap();
    let marked = json.replacen("{\"packs\":", "{\"packs\":[],\"packs_to_delete\":", 1);
    memory.delete(&FileKind::Index.name(&index)).unwrap();
    repository
        .save_json(FileKind::Index, marked.as_bytes())
        .unwrap();

    let next = writer_of(&repository);
    assert_eq!(adopt(&next, &repository), 0);
    assert!(
        next.save_blob(BlobKind::Data, &blob(1, 500), &mut scratch)
            .unwrap()
            .is_new
    );
}

/// A storage that takes files in pieces, and fails at one step of them: a beginning, a piece, or an end.
#[derive(Debug, Clone, Default)]
struct Pieces {
    inner: Memory,
    step: Arc<AtomicU64>,
    fails_at: Option<u64>,
}

impl Pieces {
    fn step(&self) -> Result<(), StorageError> {
        let step = self.step.fetch_add(1, Ordering::SeqCst);
        if self.fails_at == Some(step) {
            let (kind, operation) = (ErrorKind::Full, Operation::Put);
            return Err(StorageError::new(kind, operation, "a piece"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct PiecesUpload {
    storage: Pieces,
    bytes: Vec<u8>,
}

impl Upload for PiecesUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage.step()?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, name: &str) -> Result<(), StorageError> {
        self.storage.step()?;
        self.storage.inner.put(name, &self.bytes)
    }
}

impl Storage for Pieces {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.put(name, bytes)
    }

    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.get_at_most(name, limit_bytes)
    }

    fn get_range(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        self.inner.get_range(name, offset, length)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.inner.size(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<storage::Listed>, StorageError> {
        self.inner.list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.inner.delete(name)
    }

    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        self.step()?;
        let (storage, bytes) = (self.clone(), Vec::new());
        Ok(Some(Box::new(PiecesUpload { storage, bytes })))
    }
}

/// Saves blobs that fill several packs, some longer than a piece, and commits.
fn save_in_pieces(storage: &Pieces) -> Result<Id, crate::error::VaultError> {
    let repository = create(Arc::new(storage.clone()));
    let index = Arc::new(repository.load_index().unwrap());
    let options = WriterOptions {
        pack_size_bytes: 3 << 20,
        ..WriterOptions::default()
    };
    let writer = Writer::open(repository.clone(), index, options).unwrap();
    let mut scratch = BlobScratch::new();
    for number in 0..16_u64 {
        let length = if number % 5 == 0 { 1_500_000 } else { 300_000 };
        writer.save_blob(BlobKind::Data, &blob(number, length), &mut scratch)?;
    }
    let tree = writer.save_tree(&Tree::default(), &mut scratch)?;
    writer.commit(&snapshot_of(tree.id))
}

#[test]
fn packs_written_in_pieces_are_whole_or_nothing_refers_to_them() {
    let storage = Pieces::default();
    save_in_pieces(&storage).unwrap();
    let step_count = storage.step.load(Ordering::SeqCst);
    assert!(step_count > 15, "{step_count}");
    let repository = crate::testing::open(Arc::new(storage.inner)).unwrap();
    let index = repository.load_index().unwrap();
    let reader = Reader::new(repository.clone(), Arc::new(index));
    for number in 0..16_u64 {
        let length = if number % 5 == 0 { 1_500_000 } else { 300_000 };
        let bytes = blob(number, length);
        let read = reader.read_blob(BlobKind::Data, &Id::hash(&bytes));
        assert!(read.unwrap() == bytes);
    }
    for pack in reader.index().packs() {
        let stored = repository
            .storage()
            .get(&FileKind::Pack.name(pack))
            .unwrap();
        assert_eq!(Id::hash(&stored), *pack);
        header_of(repository.cipher(), pack, &stored).unwrap();
    }
    for step in 0..step_count {
        let storage = Pieces {
            fails_at: Some(step),
            ..Pieces::default()
        };
        let saved = save_in_pieces(&storage);
        // Blobs are spread over packs at random, so the last steps may be there or not.
        let has_failed = storage.step.load(Ordering::SeqCst) > step;
        assert_eq!(saved.is_err(), has_failed, "{step}");
        let snapshots = storage.list("snapshots").unwrap();
        assert_eq!(snapshots.is_empty(), has_failed, "{step}");
    }
}

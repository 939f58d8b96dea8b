//! Reading through an index that knows of most blobs only which index file names them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use storage::{Memory, Operation, Record};

use super::Reader;
use crate::blob::{BlobKind, BlobScratch};
use crate::id::Id;
use crate::index::IndexBuilder;
use crate::node::{Node, NodeKind};
use crate::prune::{Limit, PruneOptions, prune};
use crate::repository::Repository;
use crate::testing::{blob, create, snapshot_of};
use crate::time::Time;
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

const BACKUPS: u64 = 5;
const BLOBS: u64 = 20;

/// One backup, one index file.
fn back_up(repository: &Repository, numbers: std::ops::Range<u64>) -> Id {
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    let content = numbers.clone().map(|number| {
        let bytes = blob(number, 300);
        let saved = writer.save_blob(BlobKind::Data, &bytes, &mut scratch);
        saved.unwrap().id
    });
    let content: Vec<Id> = content.collect();
    let file = Node {
        name: b"file".to_vec(),
        kind: NodeKind::File,
        size: (numbers.end - numbers.start) * 300,
        content,
        ..Node::default()
    };
    let tree = Tree::from_nodes(vec![file]);
    let tree = writer.save_tree(&tree, &mut BlobScratch::new()).unwrap().id;
    writer.commit(&snapshot_of(tree)).unwrap()
}

/// A reader that knows the places of `resident_count` data blobs at first.
fn reader(repository: &Repository, resident_count: usize) -> Reader {
    let new_builder = || IndexBuilder::keeping_homes(resident_count);
    let (index, damaged) = repository.read_index(&new_builder).unwrap();
    assert!(damaged.is_empty());
    Reader::new(repository.clone(), Arc::new(index))
}

fn read(reader: &Reader, number: u64) {
    let expected = blob(number, 300);
    let id = Id::hash(&expected);
    let found = reader.read_blob(BlobKind::Data, &id).unwrap();
    assert_eq!(found, expected, "{number}");
    let place = reader.place(BlobKind::Data, &id).unwrap().unwrap();
    assert_eq!(place.plaintext_length(), 300);
}

#[test]
fn only_index_files_of_wanted_blobs_are_read_again() {
    let record = Arc::new(Record::new(Arc::new(Memory::new())));
    let repository = create(record.clone());
    for number in 0..BACKUPS {
        back_up(&repository, number * BLOBS..(number + 1) * BLOBS);
    }
    let index_reads = || {
        let calls = record.take();
        let is_read = |call: &&storage::Call| {
            call.operation == Operation::Get && call.name.starts_with("index/")
        };
        calls.iter().filter(is_read).count() as u64
    };
    drop(record.take());
    for resident in [0, BLOBS + 3, BACKUPS * BLOBS] {
        let reader = reader(&repository, resident as usize);
        assert_eq!(index_reads(), BACKUPS);
        let placeless = reader.index().placeless_count() as u64;
        assert!(
            placeless + resident >= BACKUPS * BLOBS,
            "{placeless} + {resident}"
        );
        for number in BLOBS..2 * BLOBS {
            read(&reader, number);
        }
        assert!(index_reads() <= 1, "one file names them all");
        for number in 0..BACKUPS * BLOBS {
            read(&reader, number);
        }
        assert!(
            index_reads() <= BACKUPS,
            "each file is read again once at most"
        );
        let unknown = Id::hash(b"of nobody");
        assert_eq!(reader.places(BlobKind::Data, &unknown).unwrap(), []);
        assert!(reader.read_blob(BlobKind::Data, &unknown).is_err());
    }
}

/// A prune puts other index files in the place of those that the reader knows, and other packs in the place of theirs.
#[test]
fn index_files_that_a_prune_replaced_are_done_without() {
    let repository = create(Arc::new(Memory::new()));
    let doomed = back_up(&repository, 0..2 * BLOBS);
    back_up(&repository, BLOBS..3 * BLOBS);
    let reader = reader(&repository, 0);
    repository.delete_snapshot(&doomed).unwrap();
    let options = PruneOptions {
        max_unused: Limit::Bytes(0),
        ..PruneOptions::default()
    };
    let report = prune(&repository, &options, Time::now(), &|_| {}).unwrap();
    assert!(report.repacked.count > 0, "{report:?}");
    for number in BLOBS..3 * BLOBS {
        read(&reader, number);
    }
}

#[test]
fn an_index_of_trees_knows_trees_alone() {
    let repository = create(Arc::new(Memory::new()));
    let snapshot = back_up(&repository, 0..BLOBS);
    let tree = repository.snapshot(&snapshot).unwrap().tree;
    let index = repository.load_tree_index().unwrap();
    assert!(index.contains(BlobKind::Tree, &tree));
    assert!(!index.contains(BlobKind::Data, &Id::hash(&blob(0, 300))));
    let reader = Reader::new(repository, Arc::new(index));
    assert_eq!(reader.read_tree(&tree).unwrap().nodes.len(), 1);
}

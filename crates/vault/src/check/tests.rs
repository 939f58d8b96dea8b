//! A small vault, damaged in every way: what is read is right or an error, check finds it, and the loss stays small.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use storage::{Fault, Faulty, Memory, Operation, Storage};

use super::{CheckError, CheckHint, CheckOptions, CheckReport, ReadData, check};
use crate::blob::{BlobKind, BlobScratch};
use crate::id::Id;
use crate::layout::FileKind;
use crate::node::{Node, NodeKind};
use crate::reader::{Comparison, Reader};
use crate::testing::{create, open, snapshot_of};
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

/// Files of the sample, by name.
fn content(number: usize) -> Vec<u8> {
    let text: String = (0..40 * (number + 1))
        .map(|line| format!("{number}-{line};"))
        .collect();
    text.into_bytes()
}

const FILE_COUNT: usize = 6;

/// A vault with one snapshot of a folder in a folder, its packs small so that files are spread.
pub(super) fn sample() -> Memory {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let options = WriterOptions {
        pack_size_bytes: 1024,
        ..WriterOptions::default()
    };
    let writer = Writer::open(repository, Arc::default(), options).unwrap();
    let mut scratch = BlobScratch::new();
    let mut nodes = Vec::new();
    for number in 0..FILE_COUNT {
        let bytes = content(number);
        let id = writer
            .save_blob(BlobKind::Data, &bytes, &mut scratch)
            .unwrap()
            .id;
        nodes.push(Node {
            name: format!("file{number}").into_bytes(),
            kind: NodeKind::File,
            size: bytes.len() as u64,
            content: vec![id],
            ..Node::default()
        });
    }
    let subtree = writer.save_tree(&Tree { nodes }, &mut scratch).unwrap().id;
    let root = Tree {
        nodes: vec![Node {
            name: b"folder".to_vec(),
            kind: NodeKind::Dir,
            subtree: Some(subtree),
            ..Node::default()
        }],
    };
    let tree = writer.save_tree(&root, &mut scratch).unwrap().id;
    writer.commit(&snapshot_of(tree)).unwrap();
    memory
}

/// Which files read back right. One that reads back wrong without an error fails the test.
fn readable(memory: &Memory) -> BTreeSet<usize> {
    let mut right = BTreeSet::new();
    let Ok(repository) = open(Arc::new(memory.clone())) else {
        return right;
    };
    let (snapshots, _) = repository.snapshots_and_damage().unwrap();
    let (index, _) = repository.load_index_and_damage().unwrap();
    let reader = Reader::new(repository, Arc::new(index));
    for (_, snapshot) in snapshots {
        let Ok(root) = reader.read_tree(&snapshot.tree) else {
            continue;
        };
        let Ok(folder) = reader.read_tree(&root.nodes[0].subtree.unwrap()) else {
            continue;
        };
        for number in 0..FILE_COUNT {
            let node = folder.find(format!("file{number}").as_bytes()).unwrap();
            if let Ok(bytes) = reader.read_blob(BlobKind::Data, &node.content[0]) {
                assert_eq!(bytes, content(number));
                right.insert(number);
            }
        }
    }
    right
}

fn check_all(memory: &Memory) -> Option<CheckReport> {
    let repository = open(Arc::new(memory.clone())).ok()?;
    let options = CheckOptions {
        read_data: ReadData::All,
        thread_count: 1,
    };
    Some(check(&repository, &options, &|_| {}).unwrap())
}

pub(super) fn names(memory: &Memory) -> Vec<String> {
    memory
        .list("")
        .unwrap()
        .into_iter()
        .map(|listed| listed.name)
        .collect()
}

/// Files that need the pack of this name.
fn files_in(memory: &Memory, name: &str) -> BTreeSet<usize> {
    let repository = open(Arc::new(memory.clone())).unwrap();
    let index = repository.load_index().unwrap();
    let needs = |number: &usize| {
        let id = Id::hash(&content(*number));
        let pack = index.get(BlobKind::Data, &id).unwrap().pack;
        name.ends_with(&pack.to_hex())
    };
    (0..FILE_COUNT).filter(needs).collect()
}

/// T28 of the history of failures: one flipped byte anywhere, in every file of a vault. It is found, and costs the files
/// whose bytes it hit; in a pack of data no other.
#[test]
fn t28_a_flipped_byte_anywhere_is_found_and_costs_what_it_hit() {
    let whole = sample();
    assert!(check_all(&whole).unwrap().is_ok());
    assert_eq!(readable(&whole).len(), FILE_COUNT);
    let mut cases = 0;
    for name in names(&whole) {
        let original = whole.get(&name).unwrap();
        let touched = if name.starts_with("data/") {
            files_in(&whole, &name)
        } else {
            BTreeSet::new()
        };
        for position in 0..original.len() {
            let memory = whole.snapshot();
            let mut bytes = original.clone();
            bytes[position] ^= 1 << (position % 8);
            memory.overwrite(&name, bytes);
            cases += 1;
            let right = readable(&memory);
            if !touched.is_empty() {
                let lost = FILE_COUNT - right.len();
                assert!(lost <= 1, "{name} {position}: {lost} files lost");
                assert!(
                    (0..FILE_COUNT)
                        .filter(|file| !right.contains(file))
                        .all(|file| touched.contains(&file))
                );
            }
            // A full check of each case would take long; every position class is hit all the same.
            if position % 7 == 0 || position + 60 > original.len() {
                let is_found = check_all(&memory).is_none_or(|report| !report.is_ok());
                // Some bytes of a key file are for people only.
                assert!(is_found || name.starts_with("keys/"), "{name} {position}");
            }
        }
    }
    assert!(cases > 3000, "{cases}");
}

#[test]
fn every_removed_and_truncated_file_is_found() {
    let whole = sample();
    for name in names(&whole) {
        let original = whole.get(&name).unwrap();
        let memory = whole.snapshot();
        memory.delete(&name).unwrap();
        readable(&memory);
        let is_found = check_all(&memory).is_none_or(|report| !report.is_ok());
        // A snapshot that is gone cannot be missed: nothing else names it.
        assert!(is_found || name.starts_with("snapshots/"), "{name} removed");
        for length in [
            0,
            1,
            15,
            31,
            32,
            original.len() / 2,
            original.len() - 5,
            original.len() - 1,
        ] {
            let memory = whole.snapshot();
            memory.overwrite(&name, original[..length.min(original.len() - 1)].to_vec());
            readable(&memory);
            let is_found = check_all(&memory).is_none_or(|report| !report.is_ok());
            assert!(is_found, "{name} cut to {length}");
        }
        let memory = whole.snapshot();
        let mut longer = original.clone();
        longer.push(0);
        memory.overwrite(&name, longer);
        readable(&memory);
        let is_found = check_all(&memory).is_none_or(|report| !report.is_ok());
        assert!(is_found || name.starts_with("keys/"), "{name} grown");
    }
}

/// What the structure alone tells, without reading packs.
fn structure(memory: &Memory) -> Vec<CheckError> {
    let repository = open(Arc::new(memory.clone())).unwrap();
    check(&repository, &CheckOptions::default(), &|_| {})
        .unwrap()
        .errors
}

#[test]
fn t16_missing_packs_and_wrong_sizes_are_seen_without_reading_data() {
    let whole = sample();
    let packs: Vec<String> = names(&whole)
        .into_iter()
        .filter(|name| name.starts_with("data/"))
        .collect();
    assert!(packs.len() >= 3);
    for name in &packs {
        let memory = whole.snapshot();
        memory.delete(name).unwrap();
        let errors = structure(&memory);
        assert!(errors.iter().any(|error| matches!(error, CheckError::PackMissing { pack, .. } if name.ends_with(&pack.to_hex()))), "{errors:?}");
        let memory = whole.snapshot();
        let mut bytes = whole.get(name).unwrap();
        bytes.push(0);
        memory.overwrite(name, bytes);
        let errors = structure(&memory);
        assert!(
            errors
                .iter()
                .any(|error| matches!(error, CheckError::PackSize { .. })),
            "{errors:?}"
        );
    }
}

/// Replaces the index of the sample by one that `change` made of its text.
fn with_index(change: impl Fn(&str) -> String) -> Memory {
    let memory = sample();
    let repository = open(Arc::new(memory.clone())).unwrap();
    let id = repository.list(FileKind::Index).unwrap()[0];
    let text = String::from_utf8(repository.load_json(FileKind::Index, &id).unwrap()).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    memory.delete(&FileKind::Index.name(&id)).unwrap();
    repository
        .save_json(FileKind::Index, changed.as_bytes())
        .unwrap();
    memory
}

/// T30 of the history of failures: a tree that an index calls data, and the other way round.
#[test]
fn t30_a_blob_of_the_wrong_kind_is_not_read_and_is_found() {
    let memory = with_index(|text| text.replace("\"tree\"", "\"data\""));
    assert!(readable(&memory).is_empty());
    assert!(
        structure(&memory)
            .iter()
            .any(|error| matches!(error, CheckError::Tree { .. }))
    );
    let memory = with_index(|text| text.replace("\"data\"", "\"tree\""));
    assert!(readable(&memory).is_empty());
    let missing = structure(&memory);
    let count = missing
        .iter()
        .filter(|error| matches!(error, CheckError::BlobMissing { .. }))
        .count();
    assert_eq!(count, FILE_COUNT);
    // Both kinds at once: the packs' own headers contradict the index.
    let memory = with_index(|text| {
        text.replace("\"tree\"", "\"x\"")
            .replace("\"data\"", "\"tree\"")
            .replace("\"x\"", "\"data\"")
    });
    assert!(readable(&memory).is_empty());
    assert!(!check_all(&memory).unwrap().is_ok());
}

#[test]
fn an_index_that_lies_about_places_is_found() {
    let moved = with_index(|text| text.replacen("\"offset\":0", "\"offset\":1", 1));
    assert!(!structure(&moved).is_empty());
    let id = Id::hash(&content(2)).to_hex();
    let other = Id::hash(b"nothing").to_hex();
    let renamed = with_index(|text| text.replace(&id, &other));
    let errors = structure(&renamed);
    assert!(
        errors
            .iter()
            .any(|error| matches!(error, CheckError::BlobMissing { .. })),
        "{errors:?}"
    );
    assert_eq!(readable(&renamed).len(), FILE_COUNT - 1);
    // With data read, the blob that is in the index but not in the pack is found too.
    let report = check_all(&renamed).unwrap();
    assert!(
        report
            .errors
            .iter()
            .any(|error| matches!(error, CheckError::Blob { .. }))
    );
}

#[test]
fn unindexed_packs_and_strange_files_are_hints() {
    let memory = sample();
    let repository = open(Arc::new(memory.clone())).unwrap();
    for listed in memory.list("index").unwrap() {
        memory.delete(&listed.name).unwrap();
    }
    let report = check(&repository, &CheckOptions::default(), &|_| {}).unwrap();
    let packs = memory.list("data").unwrap().len();
    assert_eq!(report.hints.len(), packs);
    assert!(
        report
            .hints
            .iter()
            .all(|hint| matches!(hint, CheckHint::UnindexedPack { .. }))
    );
    assert!(!report.is_ok());
    let memory = sample();
    memory.overwrite("data/00/rubbish", b"x".to_vec());
    let report = check_all(&memory).unwrap();
    assert!(report.is_ok());
    assert_eq!(
        report.hints,
        [CheckHint::StrangeFile {
            name: "data/00/rubbish".to_owned()
        }]
    );
}

/// Stores a tree as it is, past all checks of the writer, and says what check finds in it.
fn findings_of(nodes: Vec<Node>) -> Vec<String> {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let writer =
        Writer::open(repository.clone(), Arc::default(), WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    let mut text = b"{\"nodes\":[".to_vec();
    for (position, node) in nodes.into_iter().enumerate() {
        let one = Tree { nodes: vec![node] }.encode().unwrap();
        text.extend_from_slice(if position == 0 { b"" } else { b"," });
        text.extend_from_slice(&one[b"{\"nodes\":[".len()..one.len() - b"]}\n".len()]);
    }
    text.extend_from_slice(b"]}\n");
    let tree = writer
        .save_blob(BlobKind::Tree, &text, &mut scratch)
        .unwrap()
        .id;
    writer
        .save_blob(BlobKind::Data, b"12345", &mut scratch)
        .unwrap();
    writer.commit(&snapshot_of(tree)).unwrap();
    let report = check(&repository, &CheckOptions::default(), &|_| {}).unwrap();
    report.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn trees_that_break_the_rules_are_found() {
    let node = |name: &str, kind| Node {
        name: name.into(),
        kind,
        ..Node::default()
    };
    let file = |name: &str, size| Node {
        size,
        content: vec![Id::hash(b"12345")],
        ..node(name, NodeKind::File)
    };
    let check = |nodes: Vec<Node>, expected: &[&str]| {
        let found = findings_of(nodes);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    };
    check(vec![file("a", 5), file("b", 5)], &[]);
    check(vec![file("b", 5), file("a", 5)], &["not in order"]);
    check(vec![file("a", 5), file("a", 5)], &["there twice"]);
    check(vec![file("a", 6)], &["6 bytes whose blobs have 5"]);
    check(vec![node("a", NodeKind::Dir)], &["a folder without a tree"]);
    check(vec![file("..", 5)], &["could leave its folder"]);
    check(vec![file("a/b", 5)], &["could leave its folder"]);
    let mut lost = file("a", 5);
    lost.content = vec![Id::hash(b"lost")];
    check(vec![lost], &["is in no index"]);
    let mut folder = node("a", NodeKind::Dir);
    folder.subtree = Some(Id::hash(b"lost"));
    check(vec![folder], &["cannot be read"]);
}

/// T38 of the history of failures: a store that gives wrong bytes once. It is read again before anything is condemned.
#[test]
fn t38_wrong_bytes_once_are_a_hint_and_wrong_bytes_always_damage() {
    let memory = sample();
    let checked = |is_lasting: bool| {
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        let repository = open(Arc::clone(&faulty) as Arc<dyn Storage>).unwrap();
        // The reads of whole packs come last: find the first of them by a check that is not disturbed.
        let options = CheckOptions {
            read_data: ReadData::All,
            thread_count: 1,
        };
        let reads_before = reads_without_packs(&memory);
        // The blobs of the first pack, and then when it is read again: one window each, and one with the header.
        faulty.at_nth(Operation::GetRange, reads_before, Fault::Flip);
        if is_lasting {
            faulty.at_nth(Operation::GetRange, reads_before + 2, Fault::Flip);
        }
        check(&repository, &options, &|_| {}).unwrap()
    };
    let once = checked(false);
    assert!(once.is_ok(), "{:?}", once.errors);
    assert!(matches!(once.hints[..], [CheckHint::UnsteadyRead { .. }]));
    assert!(!checked(true).is_ok());
}

/// How many parts of files are read for opening and for a check of the structure.
fn reads_without_packs(memory: &Memory) -> u64 {
    let record = Arc::new(storage::Record::new(Arc::new(memory.clone())));
    let repository = open(Arc::clone(&record) as Arc<dyn Storage>).unwrap();
    check(&repository, &CheckOptions::default(), &|_| {}).unwrap();
    record
        .take()
        .iter()
        .filter(|call| call.operation == Operation::GetRange)
        .count() as u64
}

#[test]
fn parts_of_a_check_together_read_everything() {
    let memory = sample();
    let repository = open(Arc::new(memory.clone())).unwrap();
    let read = |read_data| {
        let options = CheckOptions {
            read_data,
            thread_count: 2,
        };
        check(&repository, &options, &|_| {}).unwrap()
    };
    let all = read(ReadData::All);
    assert_eq!(all.packs_read as usize, all.pack_count);
    let parts: u64 = (1..=5)
        .map(|part| read(ReadData::Part { part, parts: 5 }).packs_read)
        .sum();
    assert_eq!(parts, all.packs_read);
    assert_eq!(read(ReadData::None).packs_read, 0);
    assert_eq!(read(ReadData::Percent(100.0)).packs_read, all.packs_read);
    assert_eq!(read(ReadData::Percent(0.0)).packs_read, 0);
    assert_eq!(read(ReadData::Percent(0.1)).packs_read, 1);
    assert_eq!(read(ReadData::Bytes(1)).packs_read, 1);
    assert_eq!(read(ReadData::Bytes(u64::MAX)).packs_read, all.packs_read);
}

/// T14 of the history of failures: of a blob that two packs hold, the good copy is found when the other is damaged.
#[test]
fn t14_a_second_copy_of_a_blob_is_used() {
    let memory = sample();
    let repository = open(Arc::new(memory.clone())).unwrap();
    // A writer that knows of nothing stores everything again.
    let writer =
        Writer::open(repository.clone(), Arc::default(), WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    for number in 0..FILE_COUNT {
        writer
            .save_blob(BlobKind::Data, &content(number), &mut scratch)
            .unwrap();
    }
    writer.flush().unwrap();
    let index = repository.load_index().unwrap();
    for number in 0..FILE_COUNT {
        let copies: Vec<_> = index
            .all(BlobKind::Data, &Id::hash(&content(number)))
            .collect();
        assert_eq!(copies.len(), 2);
        for copy in &copies {
            let damaged = memory.snapshot();
            let name = FileKind::Pack.name(&copy.pack);
            let mut bytes = memory.get(&name).unwrap();
            bytes[copy.offset as usize + 20] ^= 1;
            damaged.overwrite(&name, bytes);
            assert_eq!(readable(&damaged).len(), FILE_COUNT);
        }
    }
}

#[test]
fn reading_a_pack_gives_every_blob_that_can_be_read() {
    let memory = sample();
    let repository = open(Arc::new(memory.clone())).unwrap();
    let index = Arc::new(repository.load_index().unwrap());
    let reader = Reader::new(repository.clone(), Arc::clone(&index));
    let mut scratch = BlobScratch::new();
    let by_pack = index.by_pack();
    for number in 0..by_pack.len() {
        let (pack, blobs) = by_pack.get(number);
        let mut seen = Vec::new();
        reader
            .read_pack(
                &pack,
                &blobs,
                Comparison::ByReader,
                &mut scratch,
                |blob, bytes| {
                    assert_eq!(Id::hash(bytes.unwrap()), blob.id);
                    seen.push(*blob);
                    Ok::<_, ()>(())
                },
            )
            .unwrap();
        assert_eq!(seen, blobs);
        let stopped =
            reader.read_pack(&pack, &blobs, Comparison::ByReader, &mut scratch, |_, _| {
                Err("stop")
            });
        assert_eq!(stopped, Err("stop"));
        memory.delete(&FileKind::Pack.name(&pack)).unwrap();
        let mut errors = 0;
        reader
            .read_pack(
                &pack,
                &blobs,
                Comparison::ByReader,
                &mut scratch,
                |_, bytes| {
                    errors += usize::from(bytes.is_err());
                    Ok::<_, ()>(())
                },
            )
            .unwrap();
        assert_eq!(errors, blobs.len());
    }
}

#[test]
fn findings_beyond_the_bound_are_counted_only() {
    let mut report = super::CheckReport::default();
    for number in 0..super::LARGEST_ERROR_LIST as u64 + 5 {
        report.add(super::CheckError::PackMissing {
            pack: crate::id::Id::hash(&number.to_le_bytes()),
            blob_count: 1,
        });
    }
    assert_eq!(report.errors.len(), super::LARGEST_ERROR_LIST);
    assert_eq!(report.error_count, report.errors.len() as u64 + 5);
}

/// T2 of the history of failures: neither a short listing nor a storage that went away says that snapshots were removed.
#[test]
fn t02_a_listing_that_lies_makes_no_snapshot_absent() {
    let memory = sample();
    let snapshots = open(Arc::new(memory.clone())).unwrap();
    let there = snapshots.list(FileKind::Snapshot).unwrap()[0];
    let gone = Id::hash(b"removed by somebody else");
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    let repository = open(Arc::clone(&faulty) as Arc<dyn Storage>).unwrap();
    let absent = |expected: &[Id]| repository.absent_snapshots(expected);
    assert_eq!(absent(&[there, gone]).unwrap(), [gone]);
    let lists = |nth| {
        faulty.at_nth(Operation::List, nth, Fault::Lie(0));
    };
    // Opening and the look above listed before; every further listing is empty.
    (0..20).for_each(lists);
    assert_eq!(absent(&[there, gone]).unwrap(), [gone]);
    repository.require_there().unwrap();
    memory.delete(FileKind::Config.folder()).unwrap();
    assert!(absent(&[there, gone]).is_err(), "the vault is away");
    assert!(repository.require_there().is_err());
    // Nothing is absent: nothing has to be proved.
    assert!(absent(&[there]).unwrap().is_empty());
}

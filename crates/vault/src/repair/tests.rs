//! Damage of each kind, repaired: what can be saved is, nothing is destroyed, and a check is clean afterwards.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage::{Memory, Storage};

use super::{repair_index, repair_packs, repair_snapshots};
use crate::blob::{BlobKind, BlobScratch};
use crate::check::{CheckOptions, ReadData, check};
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::node::{Node, NodeKind};
use crate::prune::Run;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::testing::{Watched, blob, create, doubled, open, snapshot_of};
use crate::time::Time;
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

/// A vault with one snapshot of ten files in two folders, each file one blob.
fn vault() -> (Memory, Repository, Id) {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let options = WriterOptions {
        pack_size_bytes: 4096,
        index_blob_count: 4,
        ..WriterOptions::default()
    };
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, options).unwrap();
    let mut scratch = BlobScratch::new();
    let mut folders = Vec::new();
    for folder in 0..2_u64 {
        let mut nodes = Vec::new();
        for number in folder * 5..folder * 5 + 5 {
            let bytes = blob(number, 900);
            let id = writer
                .save_blob(BlobKind::Data, &bytes, &mut scratch)
                .unwrap()
                .id;
            nodes.push(Node {
                name: format!("file-{number}").into_bytes(),
                kind: NodeKind::File,
                size: 900,
                content: vec![id],
                ..Node::default()
            });
        }
        let tree = writer
            .save_tree(&Tree::from_nodes(nodes), &mut scratch)
            .unwrap();
        folders.push(Node {
            name: format!("folder-{folder}").into_bytes(),
            kind: NodeKind::Dir,
            subtree: Some(tree.id),
            ..Node::default()
        });
    }
    let tree = writer
        .save_tree(&Tree::from_nodes(folders), &mut scratch)
        .unwrap();
    let id = writer.commit(&snapshot_of(tree.id)).unwrap();
    (memory, repository, id)
}

#[track_caller]
fn assert_clean(memory: &Memory) {
    let options = CheckOptions {
        read_data: ReadData::All,
        thread_count: 1,
    };
    let report = check(&open(Arc::new(memory.clone())).unwrap(), &options, &|_| {}).unwrap();
    assert!(report.is_ok(), "{:?}", report.errors);
}

/// The names of all files that read back, over all snapshots.
fn files(memory: &Memory) -> Vec<String> {
    let repository = open(Arc::new(memory.clone())).unwrap();
    let reader = Reader::new(
        repository.clone(),
        Arc::new(repository.load_index().unwrap()),
    );
    let mut names = Vec::new();
    for (_, snapshot) in repository.snapshots().unwrap() {
        for folder in reader.read_tree(&snapshot.tree).unwrap().nodes {
            for node in reader.read_tree(&folder.subtree.unwrap()).unwrap().nodes {
                reader.read_blob(BlobKind::Data, &node.content[0]).unwrap();
                names.push(String::from_utf8(node.name).unwrap());
            }
        }
    }
    names.sort();
    names
}

fn names(memory: &Memory, folder: &str) -> Vec<String> {
    let listed = memory.list(folder).unwrap();
    listed.into_iter().map(|listed| listed.name).collect()
}

/// Every file that was there before is there still, at its place or in quarantine.
#[track_caller]
fn assert_nothing_destroyed(before: &Memory, after: &Memory) {
    for name in names(before, "") {
        let bytes = before.get(&name).unwrap();
        let kept = [name.clone(), format!("quarantine/{name}")];
        let is_kept = kept
            .iter()
            .any(|name| after.get(name).is_ok_and(|found| found == bytes));
        assert!(is_kept || name.starts_with("locks/"), "{name}");
    }
}

fn flip(memory: &Memory, name: &str, at: usize) {
    let mut bytes = memory.get(name).unwrap();
    bytes[at] ^= 1;
    memory.overwrite(name, bytes);
}

/// T23 of the history of failures: a repair of what is whole changes nothing, and no repair destroys anything.
#[test]
fn t23_a_whole_vault_is_left_alone() {
    let (memory, repository, _) = vault();
    let before = memory.snapshot();
    for run in [Run::Dry, Run::Real] {
        assert!(repair_index(&repository, run).unwrap().is_clean());
        let packs = repair_packs(&repository, &[], run, &|_, _| {}).unwrap();
        assert!(packs.damaged.is_empty() && packs.unreadable.is_empty());
        let snapshots = repair_snapshots(&repository, run).unwrap();
        assert_eq!((snapshots.whole_count, snapshots.repaired.len()), (1, 0));
    }
    assert_eq!(names(&before, ""), names(&memory, ""));
}

#[test]
fn t23_a_lost_or_damaged_index_is_made_from_the_packs() {
    let (memory, _, _) = vault();
    for name in names(&memory, "index") {
        for how in 0..3 {
            let memory = memory.snapshot();
            match how {
                0 => memory.delete(&name).unwrap(),
                1 => flip(&memory, &name, 20),
                _ => memory.overwrite(&name, Vec::new()),
            }
            let before = memory.snapshot();
            let repository = open(Arc::new(memory.clone())).unwrap();
            let planned = repair_index(&repository, Run::Dry).unwrap();
            assert_eq!(names(&before, ""), names(&memory, ""));
            let done = repair_index(&repository, Run::Real).unwrap();
            assert_eq!(planned.packs_added, done.packs_added);
            assert!(!done.packs_added.is_empty());
            assert_eq!(done.damaged_index_files.len(), usize::from(how > 0));
            assert_nothing_destroyed(&before, &memory);
            assert_clean(&memory);
            assert_eq!(files(&memory).len(), 10);
            assert!(repair_index(&repository, Run::Dry).unwrap().is_clean());
        }
    }
}

/// T23 of the history of failures: another program wrote trees in which a name is there twice. Alone that is no loss and the
/// snapshot stays; with a loss in the tree or below, the name is there once afterwards, and what else had it is told as lost.
#[test]
fn t23_a_name_that_is_there_twice_ends_no_repair() {
    /// A file `name` with content that is there or not.
    fn file(name: &str, blob: Id) -> Node {
        Node {
            name: name.as_bytes().to_vec(),
            kind: NodeKind::File,
            size: 900,
            content: vec![blob],
            ..Node::default()
        }
    }
    fn text(nodes: Vec<Node>) -> Vec<u8> {
        let mut json = br#"{"nodes":["#.to_vec();
        for (number, node) in nodes.into_iter().enumerate() {
            // The text of a tree with one entry has that of the entry between its brackets.
            let one = Tree::from_nodes(vec![node]).encode().unwrap();
            let from = one.iter().position(|byte| *byte == b'[').unwrap() + 1;
            let to = one.iter().rposition(|byte| *byte == b']').unwrap();
            json.extend_from_slice(if number == 0 { b"" } else { b"," });
            json.extend_from_slice(&one[from..to]);
        }
        json.extend_from_slice(
            b"]}
",
        );
        json
    }
    let there = Id::hash(&blob(0, 900));
    let lost = Id::hash(b"no such blob");
    // The blobs of the entries `twice`, `twice` and `z`, and the paths that are lost.
    let cases: [(&[Id; 3], &[&str]); 5] = [
        (&[there, there, there], &[]),
        (&[there, there, lost], &["/twice", "/z"]),
        (&[there, lost, there], &["/twice"]),
        (&[lost, there, there], &["/twice"]),
        (&[lost, lost, there], &["/twice", "/twice"]),
    ];
    for (blobs, expected) in cases {
        for run in [Run::Dry, Run::Real] {
            let (memory, repository, whole) = vault();
            let index = Arc::new(repository.load_index().unwrap());
            let options = WriterOptions::default();
            let writer = Writer::open(repository.clone(), index, options).unwrap();
            let names = ["twice", "twice", "z"];
            let nodes = names
                .iter()
                .zip(blobs)
                .map(|(name, blob)| file(name, *blob));
            let json = text(nodes.collect());
            let mut scratch = BlobScratch::new();
            let tree = writer.save_blob(BlobKind::Tree, &json, &mut scratch);
            let doubled = writer.commit(&snapshot_of(tree.unwrap().id)).unwrap();
            let done = repair_snapshots(&repository, run).unwrap();
            let repaired = done.repaired.iter().find(|repaired| repaired.id == doubled);
            let paths = repaired.map_or(&[][..], |repaired| &repaired.lost_paths);
            assert_eq!(paths, expected);
            let count = repaired.map_or(0, |repaired| repaired.lost_count);
            assert_eq!(count, expected.len() as u64);
            assert_eq!(done.whole_count, 2 - usize::from(!expected.is_empty()));
            assert!(repository.snapshot(&whole).is_ok());
            if run == Run::Real && !expected.is_empty() {
                assert!(repository.snapshot(&doubled).is_err());
                assert_clean(&memory);
            }
        }
    }
}

/// T23 and T28 of the history of failures: one wrong byte in a pack costs the blob it hit, and everything else is saved.
#[test]
fn t28_a_damaged_pack_costs_what_was_hit() {
    let (memory, repository, id) = vault();
    let index = repository.load_index().unwrap();
    let by_pack = index.by_pack();
    let mut lost_files = 0;
    for number in 0..by_pack.len() {
        let (pack, blobs) = by_pack.get(number);
        let name = FileKind::Pack.name(&pack);
        // In each blob in turn, and in the header.
        let ends = blobs.last().map(|blob| blob.offset + blob.length).unwrap();
        let places = blobs.iter().map(|blob| blob.offset + 5).chain([ends + 5]);
        for (position, place) in places.enumerate() {
            let memory = memory.snapshot();
            flip(&memory, &name, place as usize);
            let before = memory.snapshot();
            let repository = open(Arc::new(memory.clone())).unwrap();
            let planned = repair_packs(&repository, &[], Run::Dry, &|_, _| {}).unwrap();
            assert_eq!(names(&before, ""), names(&memory, ""));
            let done = repair_packs(&repository, &[], Run::Real, &|_, _| {}).unwrap();
            assert_eq!(done.damaged, [pack]);
            assert_eq!(
                (planned.salvaged_count, &planned.lost),
                (done.salvaged_count, &done.lost)
            );
            let expected_lost: Vec<_> = blobs
                .get(position)
                .map(|blob| (blob.kind, blob.id))
                .into_iter()
                .collect();
            assert_eq!(done.lost, expected_lost);
            let planned = repair_snapshots(&repository, Run::Dry).unwrap();
            let done = repair_snapshots(&repository, Run::Real).unwrap();
            assert_eq!(planned.repaired.len(), done.repaired.len());
            for repaired in &done.repaired {
                assert_eq!(repaired.id, id);
                lost_files += repaired.lost_paths.len();
                let is_named = |path: &String| path == "/" || path.starts_with("/folder-");
                assert!(repaired.lost_paths.iter().all(is_named), "{repaired:?}");
            }
            assert_nothing_destroyed(&before, &memory);
            assert_clean(&memory);
            let has_lost_tree = done
                .repaired
                .iter()
                .any(|repaired| repaired.lost_paths.iter().any(|path| path.ends_with('/')));
            if !has_lost_tree {
                let lost: usize = done
                    .repaired
                    .iter()
                    .map(|repaired| repaired.lost_paths.len())
                    .sum();
                assert_eq!(files(&memory).len(), 10 - lost);
            }
        }
    }
    assert!(lost_files >= 12, "{lost_files}");
}

/// A pack that was cut off, and one that is gone: what is left of them is saved, and the snapshot says what it lost.
#[test]
fn t16_cut_and_missing_packs_are_repaired() {
    let (memory, _, _) = vault();
    for name in names(&memory, "data") {
        for cut in [true, false] {
            let memory = memory.snapshot();
            if cut {
                let bytes = memory.get(&name).unwrap();
                memory.overwrite(&name, bytes[..bytes.len() / 2].to_vec());
            } else {
                memory.delete(&name).unwrap();
            }
            let before = memory.snapshot();
            let repository = open(Arc::new(memory.clone())).unwrap();
            let index = repair_index(&repository, Run::Real).unwrap();
            assert_eq!(index.packs_damaged.len(), usize::from(cut));
            assert_eq!(index.packs_missing.len(), usize::from(!cut));
            repair_packs(&repository, &index.packs_damaged, Run::Real, &|_, _| {}).unwrap();
            repair_snapshots(&repository, Run::Real).unwrap();
            assert_nothing_destroyed(&before, &memory);
            assert_clean(&memory);
        }
    }
}

/// Each folder holds the next one twice, so there are 2^40 paths to one lost file: they are counted, and the first are
/// listed. Of many snapshots that lost the same, each counts and the newest are listed.
#[test]
fn what_is_lost_is_counted_and_the_first_of_it_listed() {
    const DEPTH: usize = 40;
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let tree = doubled(&repository, DEPTH);
    let ids: Vec<Id> = (0..3)
        .map(|second| {
            let index = Arc::new(repository.load_index().unwrap());
            let options = WriterOptions::default();
            let writer = Writer::open(repository.clone(), index, options).unwrap();
            let snapshot = Snapshot {
                time: Time::new(second, 0),
                ..snapshot_of(tree)
            };
            writer.commit(&snapshot).unwrap()
        })
        .collect();
    for run in [Run::Dry, Run::Real] {
        let report = repair_snapshots(&repository, run).unwrap();
        let found: Vec<_> = report
            .repaired
            .iter()
            .map(|repaired| (repaired.id, repaired.lost_count, repaired.lost_paths.len()))
            .collect();
        let count = 1 << DEPTH;
        assert_eq!(
            found,
            [
                (ids[0], count, 0),
                (ids[1], count, 0),
                (ids[2], count, 10_000)
            ]
        );
        let first = format!("/{}lost", "a/".repeat(DEPTH));
        assert_eq!(report.repaired[2].lost_paths[0], first);
    }
    assert_clean(&memory);
}

/// A storage that loses the index of the new trees: the old snapshot stays as it was.
#[test]
fn a_repair_whose_trees_cannot_be_found_moves_nothing_away() {
    let (memory, repository, id) = vault();
    let index = repository.load_index().unwrap();
    let lost = index.get(BlobKind::Data, &Id::hash(&blob(0, 900))).unwrap();
    memory.delete(&FileKind::Pack.name(&lost.pack)).unwrap();
    repair_index(&repository, Run::Real).unwrap();
    let known = names(&memory, "index");
    let mut watched = Watched::new(memory.clone());
    watched.listed = Box::new(move |folder, listed| {
        if folder == "index" {
            listed.retain(|entry| known.contains(&entry.name));
        }
    });
    let repository = open(Arc::new(watched)).unwrap();
    let refused = repair_snapshots(&repository, Run::Real);
    assert!(
        matches!(refused, Err(VaultError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(names(&memory, "snapshots"), [FileKind::Snapshot.name(&id)]);
}

/// T2: one listing of index files that is cut must not leave entries behind that name a pack which was moved away.
#[test]
fn t02_a_short_listing_leaves_no_entries_of_a_pack_that_went() {
    let mut cases = 0;
    for nth in 0.. {
        let (memory, _, _) = vault();
        let pack = names(&memory, "data").remove(0);
        flip(&memory, &pack, 5);
        let count = Arc::new(AtomicUsize::new(0));
        let mut watched = Watched::new(memory.clone());
        let counted = Arc::clone(&count);
        watched.listed = Box::new(move |folder, listed| {
            if folder == "index" && counted.fetch_add(1, Ordering::SeqCst) == nth {
                listed.clear();
            }
        });
        let repository = open(Arc::new(watched)).unwrap();
        let repaired = repair_packs(&repository, &[], Run::Real, &|_, _| {});
        if count.load(Ordering::SeqCst) <= nth {
            break;
        }
        cases += 1;
        let index = open(Arc::new(memory.clone()))
            .unwrap()
            .load_index()
            .unwrap();
        for id in index.packs() {
            let name = FileKind::Pack.name(id);
            assert!(memory.get(&name).is_ok(), "{nth} {name} {repaired:?}");
        }
    }
    assert!(cases > 2, "{cases}");
}

#[test]
fn unreadable_snapshots_are_moved_away_and_fields_of_others_stay() {
    let (memory, repository, id) = vault();
    flip(&memory, &FileKind::Snapshot.name(&id), 20);
    let done = repair_snapshots(&repository, Run::Real).unwrap();
    assert_eq!(done.unreadable, [id]);
    assert!(repository.snapshots().unwrap().is_empty());
    assert_eq!(names(&memory, "quarantine").len(), 1);
}

//! Differences of small trees, told by hand and by a naive walk.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use storage::Memory;

use super::{DiffCounts, DiffOptions, DiffReport, diff};
use crate::blob::{BlobKind, BlobScratch};
use crate::error::VaultError;
use crate::id::Id;
use crate::node::{Node, NodeKind};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::testing::{blob, create, doubled};
use crate::time::Time;
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

type Folder = BTreeMap<&'static str, Entry>;

#[derive(Clone)]
enum Entry {
    /// The numbers of its blobs, and the time of its change.
    File(Vec<u64>, i64),
    Link,
    Dir(Folder),
}

fn file(blobs: &[u64]) -> Entry {
    Entry::File(blobs.to_vec(), 0)
}

const BLOB_BYTES: u64 = 1_000;

/// Trees in a repository.
struct Bench {
    repository: Repository,
}

impl Bench {
    fn new() -> Self {
        Self {
            repository: create(Arc::new(Memory::new())),
        }
    }

    /// The ids of these trees.
    fn store<const N: usize>(&self, folders: [&Folder; N]) -> [Id; N] {
        let index = Arc::new(self.repository.load_index().unwrap());
        let options = WriterOptions::default();
        let writer = Writer::open(self.repository.clone(), index, options).unwrap();
        let ids = folders.map(|folder| save(&writer, folder));
        writer.flush().unwrap();
        ids
    }

    fn reader(&self) -> Reader {
        let index = self.repository.load_index().unwrap();
        Reader::new(self.repository.clone(), Arc::new(index))
    }

    fn diff(&self, from: Id, to: Id, with_metadata: bool) -> (Vec<String>, DiffReport) {
        let mut told = Vec::new();
        let options = DiffOptions { with_metadata };
        let report = diff(&self.reader(), (from, to), options, &mut |path, how| {
            told.push(format!("{how} {}", String::from_utf8_lossy(path)));
            ControlFlow::Continue(())
        });
        (told, report.unwrap().unwrap())
    }
}

fn save(writer: &Writer, folder: &Folder) -> Id {
    let mut scratch = BlobScratch::new();
    let nodes = folder.iter().map(|(name, entry)| {
        let mut node = Node {
            name: name.as_bytes().to_vec(),
            ..Node::default()
        };
        match entry {
            Entry::File(blobs, seconds) => {
                node.kind = NodeKind::File;
                node.mtime = Time::new(*seconds, 0);
                for number in blobs {
                    let bytes = blob(*number, BLOB_BYTES as usize);
                    let saved = writer.save_blob(BlobKind::Data, &bytes, &mut BlobScratch::new());
                    node.content.push(saved.unwrap().id);
                }
            }
            Entry::Link => node.kind = NodeKind::Symlink,
            Entry::Dir(folder) => {
                node.kind = NodeKind::Dir;
                node.subtree = Some(save(writer, folder));
            }
        }
        node
    });
    let tree = Tree::from_nodes(nodes.collect());
    writer.save_tree(&tree, &mut scratch).unwrap().id
}

#[test]
fn what_came_went_and_changed_is_told_in_order() {
    let bench = Bench::new();
    let kept = Entry::Dir(Folder::from([("same", file(&[1]))]));
    let before = Folder::from([
        ("a", file(&[2])),
        (
            "dir",
            Entry::Dir(Folder::from([("x", file(&[3])), ("y", Entry::Link)])),
        ),
        ("gone", Entry::Dir(Folder::from([("deep", file(&[4, 1]))]))),
        ("kept", kept.clone()),
        ("rotten", file(&[5])),
        ("type", Entry::Link),
        ("touched", Entry::File(vec![6], 0)),
    ]);
    let after = Folder::from([
        ("a", Entry::File(vec![2, 7], 9)),
        (
            "dir",
            Entry::Dir(Folder::from([("x", file(&[3])), ("z", Entry::Link)])),
        ),
        ("kept", kept),
        ("new", Entry::Dir(Folder::from([("deep", file(&[2]))]))),
        ("rotten", file(&[8])),
        ("type", Entry::Dir(Folder::new())),
        ("touched", Entry::File(vec![6], 1)),
    ]);
    let [from, to] = bench.store([&before, &after]);
    let (told, report) = bench.diff(from, to, false);
    assert_eq!(
        told,
        [
            "M /a",
            "- /dir/y",
            "+ /dir/z",
            "- /gone/",
            "- /gone/deep",
            "+ /new/",
            "+ /new/deep",
            "M? /rotten",
            "T /type/",
        ]
    );
    // Blob 1 went from one place and stays in another, blob 2 came to one and was there before.
    assert_eq!((report.removed.data_blobs, report.added.data_blobs), (2, 2));
    assert_eq!(
        (report.removed.tree_blobs, report.added.tree_blobs),
        (3, 4),
        "the roots, `dir`, and a folder each that came or went"
    );
    assert_eq!(report.changed_files, 2);
    let counts = |counts: DiffCounts| (counts.files, counts.dirs, counts.others);
    assert_eq!(counts(report.removed), (1, 1, 1));
    assert_eq!(counts(report.added), (1, 1, 1));
    let (told, _) = bench.diff(from, to, true);
    for line in ["U /dir/", "TU /type/", "U /touched"] {
        assert!(told.contains(&line.to_owned()), "{line} in {told:?}");
    }
}

#[test]
fn the_same_tree_has_no_difference_and_is_not_read() {
    let bench = Bench::new();
    let nowhere = Id::hash(b"no such tree");
    let (told, report) = bench.diff(nowhere, nowhere, true);
    assert_eq!((told, report), (vec![], DiffReport::default()));
}

#[test]
fn a_missing_tree_is_an_error_and_a_listener_may_end_it() {
    let bench = Bench::new();
    let [from, to] = bench.store([
        &Folder::from([("a", file(&[1])), ("b", file(&[1]))]),
        &Folder::new(),
    ]);
    let reader = bench.reader();
    let nowhere = Id::hash(b"no such tree");
    let failed = diff(
        &reader,
        (from, nowhere),
        DiffOptions::default(),
        &mut |_, _| ControlFlow::Continue(()),
    );
    assert!(
        matches!(failed, Err(VaultError::BlobMissing { .. })),
        "{failed:?}"
    );
    let mut told = 0;
    let ended = diff(&reader, (from, to), DiffOptions::default(), &mut |_, _| {
        told += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(ended, Ok(None)) && told == 1);
}

/// Two to the power of fifty paths: what both have is looked into once for each folder, not for each path.
#[test]
fn folders_that_many_share_are_looked_into_once() {
    let bench = Bench::new();
    let shared = doubled(&bench.repository, 50);
    let root = |name: &str| {
        let index = Arc::new(bench.repository.load_index().unwrap());
        let options = WriterOptions::default();
        let writer = Writer::open(bench.repository.clone(), index, options).unwrap();
        let tree = Tree::from_nodes(vec![
            Node {
                name: b"shared".to_vec(),
                kind: NodeKind::Dir,
                subtree: Some(shared),
                ..Node::default()
            },
            Node {
                name: name.as_bytes().to_vec(),
                kind: NodeKind::Symlink,
                ..Node::default()
            },
        ]);
        let id = writer.save_tree(&tree, &mut BlobScratch::new()).unwrap().id;
        writer.flush().unwrap();
        id
    };
    let (told, report) = bench.diff(root("a"), root("b"), false);
    assert_eq!(told, ["- /a", "+ /b"]);
    assert_eq!((report.added.tree_blobs, report.removed.tree_blobs), (1, 1));
}

/// A generator that gives the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn folder(&mut self, depth: u32) -> Folder {
        let mut folder = Folder::new();
        for name in ["file-1", "file-2", "file-3"] {
            if self.below(3) > 0 {
                let blobs: Vec<u64> = (0..self.below(3)).map(|_| self.below(12)).collect();
                folder.insert(name, file(&blobs));
            }
        }
        for name in ["dir-1", "dir-2"] {
            if depth > 0 && self.below(3) > 0 {
                folder.insert(name, Entry::Dir(self.folder(depth - 1)));
            }
        }
        folder
    }
}

/// All paths below a folder with what is there, and all blobs of its files.
fn all(
    folder: &Folder,
    above: &str,
    paths: &mut BTreeMap<String, Vec<u64>>,
    blobs: &mut BTreeSet<u64>,
) {
    for (name, entry) in folder {
        match entry {
            Entry::File(content, _) => {
                paths.insert(format!("{above}{name}"), content.clone());
                blobs.extend(content);
            }
            Entry::Link => panic!("not made"),
            Entry::Dir(folder) => {
                let path = format!("{above}{name}/");
                all(folder, &path, paths, blobs);
                paths.insert(path, Vec::new());
            }
        }
    }
}

#[test]
fn random_trees_agree_with_a_naive_walk() {
    let mut numbers = Numbers(7);
    for _ in 0..200 {
        let bench = Bench::new();
        let (before, after) = (numbers.folder(3), numbers.folder(3));
        let [from, to] = bench.store([&before, &after]);
        let (mut told, report) = bench.diff(from, to, false);
        let [(paths_before, blobs_before), (paths_after, blobs_after)] =
            [&before, &after].map(|folder| {
                let (mut paths, mut blobs) = (BTreeMap::new(), BTreeSet::new());
                all(folder, "/", &mut paths, &mut blobs);
                (paths, blobs)
            });
        let names: BTreeSet<&String> = paths_before.keys().chain(paths_after.keys()).collect();
        let mut expected: Vec<String> = names
            .into_iter()
            .filter_map(
                |name| match (paths_before.get(name), paths_after.get(name)) {
                    (Some(_), None) => Some(format!("- {name}")),
                    (None, Some(_)) => Some(format!("+ {name}")),
                    (Some(a), Some(b)) if a != b => Some(format!("M? {name}")),
                    _ => None,
                },
            )
            .collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
        let gone = blobs_before.difference(&blobs_after).count() as u64;
        let new = blobs_after.difference(&blobs_before).count() as u64;
        assert_eq!(
            (report.removed.data_blobs, report.added.data_blobs),
            (gone, new)
        );
        assert!(
            report.removed.bytes >= gone * BLOB_BYTES && report.added.bytes >= new * BLOB_BYTES
        );
    }
}

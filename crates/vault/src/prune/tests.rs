//! What a rewrite of index files must keep, whatever they say twice or in parts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use storage::{Memory, Operation, Storage};

use super::{Deletion, Limit, PruneOptions, Run, prune};
use crate::blob::{BlobKind, BlobScratch};
use crate::check::{CheckOptions, check};
use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::{self, IndexedPack};
use crate::layout::FileKind;
use crate::node::{Node, NodeKind};
use crate::repository::Repository;
use crate::testing::{Watched, blob, create, open, snapshot_of};
use crate::time::Time;
use crate::tree::Tree;
use crate::writer::{Writer, WriterOptions};

/// A backup of these blobs into small packs.
fn back_up(repository: &Repository, numbers: std::ops::Range<u64>) -> Id {
    let options = WriterOptions {
        pack_size_bytes: 4096,
        ..WriterOptions::default()
    };
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, options).unwrap();
    let mut scratch = BlobScratch::new();
    let nodes = numbers.map(|number| {
        let saved = writer.save_blob(BlobKind::Data, &blob(number, 500), &mut scratch);
        Node {
            name: format!("{number:04}").into_bytes(),
            kind: NodeKind::File,
            size: 500,
            content: vec![saved.unwrap().id],
            ..Node::default()
        }
    });
    let tree = Tree::from_nodes(nodes.collect());
    let tree = writer.save_tree(&tree, &mut BlobScratch::new()).unwrap().id;
    writer.commit(&snapshot_of(tree)).unwrap()
}

/// Every place that live entries name.
fn places(repository: &Repository) -> BTreeSet<(BlobKind, Id, Id, u32, u32)> {
    let index = repository.load_index().unwrap();
    index
        .iter()
        .map(|(kind, id, place)| (kind, id, place.pack, place.offset, place.length))
        .collect()
}

/// Puts all that index files say into new ones: each blob of each pack into one or two of `count` files.
fn split(repository: &Repository, memory: &Memory, seed: u64, count: usize) {
    let index = repository.load_index().unwrap();
    let by_pack = index.by_pack();
    let mut files: Vec<Vec<IndexedPack>> = (0..count).map(|_| Vec::new()).collect();
    for number in 0..by_pack.len() {
        let (id, blobs) = by_pack.get(number);
        for (position, blob) in blobs.into_iter().enumerate() {
            let draw = Id::hash(
                &[seed, number as u64, position as u64]
                    .map(u64::to_le_bytes)
                    .concat(),
            );
            for place in 0..=usize::from(draw.as_bytes()[1] % 2) {
                let file = &mut files[usize::from(draw.as_bytes()[2 + place]) % count];
                match file.iter_mut().find(|pack| pack.id == id) {
                    Some(pack) => pack.blobs.push(blob),
                    None => file.push(IndexedPack {
                        id,
                        blobs: vec![blob],
                    }),
                }
            }
        }
    }
    for listed in memory.list("index").unwrap() {
        memory.delete(&listed.name).unwrap();
    }
    for file in files.iter().filter(|file| !file.is_empty()) {
        repository
            .save_json(FileKind::Index, &file::encode(file))
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// T5 of the history of failures: entries that are split over index files, or there twice, survive a rewrite: what is
    /// live before and not marked is live afterwards, and nothing else is.
    #[test]
    fn t05_a_rewrite_keeps_the_union(seed in any::<u64>(), count in 1_usize..6, is_worn in any::<bool>()) {
        let memory = Memory::new();
        let repository = create(Arc::new(memory.clone()));
        let first = back_up(&repository, 0..20);
        back_up(&repository, 12..30);
        if is_worn {
            repository.delete_snapshot(&first).unwrap();
        }
        split(&repository, &memory, seed, count);
        let before = places(&repository);
        let lazy = PruneOptions { max_unused: Limit::Unlimited, ..PruneOptions::default() };
        let report = prune(&repository, &lazy, Time::new(1_750_000_000, 0), &|_| {}).unwrap();
        let index = repository.load_index().unwrap();
        let marked: BTreeSet<Id> = index.marked_packs().iter().copied().collect();
        prop_assert_eq!(marked.len() as u64, report.marked.count);
        prop_assert!(is_worn || marked.is_empty());
        let expected: BTreeSet<_> = before.into_iter().filter(|place| !marked.contains(&place.2)).collect();
        prop_assert_eq!(places(&repository), expected);
    }
}

/// Snapshots that are there count as gone in a dry run alone.
#[test]
fn a_real_prune_ignores_no_snapshot() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let snapshot = back_up(&repository, 0..20);
    let files = |memory: &Memory| memory.list("").unwrap();
    let before = files(&memory);
    for (run, is_refused) in [(Run::Real, true), (Run::Dry, false)] {
        let options = PruneOptions {
            run,
            deletion: Deletion::Instant,
            ignored_snapshots: vec![snapshot],
            ..PruneOptions::default()
        };
        match prune(&repository, &options, Time::now(), &|_| {}) {
            Ok(report) => assert!(!is_refused && report.deleted.count > 0, "{report:?}"),
            Err(error) => assert!(is_refused && matches!(error, VaultError::Refused { .. })),
        }
        assert_eq!(files(&memory), before);
    }
}

/// A thread that panics while it reads a tree ends a prune or a check; the others wait for it no longer.
#[test]
fn a_walk_whose_reader_panics_ends() {
    type Walk = fn(&Repository) -> Result<(), VaultError>;
    let walks: [Walk; 2] = [
        |repository| {
            let options = PruneOptions::default();
            prune(repository, &options, Time::now(), &|_| {}).map(drop)
        },
        |repository| check(repository, &CheckOptions::default(), &|_| {}).map(drop),
    ];
    for walk in walks {
        let memory = Memory::new();
        back_up(&create(Arc::new(memory.clone())), 0..4);
        let mut watched = Watched::new(memory);
        watched.before = Box::new(|operation, _| assert!(operation != Operation::GetRange));
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let repository = open(Arc::new(watched)).unwrap();
            sender.send(walk(&repository)).unwrap();
        });
        let ended = receiver.recv_timeout(std::time::Duration::from_secs(60));
        assert!(
            matches!(ended, Ok(Err(VaultError::Thread { .. }))),
            "{ended:?}"
        );
    }
}

//! A small vault whose content is known: backups of numbered blobs, and the comparison of what is there with what should
//! be.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::{Fault, Faulty, Memory, Storage};
use vault::{
    BlobKind, BlobScratch, CheckOptions, CheckReport, Id, LockKind, Node, NodeKind, PruneOptions,
    PruneReport, ReadData, Reader, Repository, Time, Tree, VaultError, Writer, WriterOptions,
    check, prune,
};

use crate::sample::{create, open, snapshot_of};

/// What each snapshot holds: the numbers of its blobs.
pub(crate) type Content = Vec<u64>;

/// Snapshots that must be there, with their content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) snapshots: BTreeMap<Id, Content>,
}

/// The bytes of blob `number`: between 300 and 700 that no compressor makes smaller.
pub(crate) fn bytes_of(number: u64) -> Vec<u8> {
    let length = 300 + (number * 37 % 400) as usize;
    let mut bytes = Vec::new();
    let mut part = 0_u64;
    while bytes.len() < length {
        bytes.extend_from_slice(Id::hash(format!("{number} {part}").as_bytes()).as_bytes());
        part += 1;
    }
    bytes.truncate(length);
    bytes
}

/// Small packs and many index files, so that a few blobs make a whole vault.
pub(crate) fn small_packs() -> WriterOptions {
    WriterOptions {
        pack_size_bytes: 2048,
        index_blob_count: 6,
        ..WriterOptions::default()
    }
}

pub(crate) fn new_vault() -> Memory {
    let memory = Memory::new();
    create(Arc::new(memory.clone())).unwrap();
    memory
}

/// Saves a tree with two folders of files, one blob each.
pub(crate) fn save(writer: &Writer, content: &[u64]) -> Result<Id, VaultError> {
    let mut scratch = BlobScratch::new();
    let mut folders = Vec::new();
    for (name, part) in [("even", 0), ("odd", 1)] {
        let mut nodes = Vec::new();
        for number in content.iter().filter(|number| **number % 2 == part) {
            let bytes = bytes_of(*number);
            let saved = writer.save_blob(BlobKind::Data, &bytes, &mut scratch)?;
            nodes.push(Node {
                name: format!("{number:08}").into_bytes(),
                kind: NodeKind::File,
                size: bytes.len() as u64,
                content: vec![saved.id],
                ..Node::default()
            });
        }
        let tree = writer.save_tree(&Tree::from_nodes(nodes), &mut scratch)?;
        folders.push(Node {
            name: name.as_bytes().to_vec(),
            kind: NodeKind::Dir,
            subtree: Some(tree.id),
            ..Node::default()
        });
    }
    Ok(writer
        .save_tree(&Tree::from_nodes(folders), &mut scratch)?
        .id)
}

/// A backup as a job makes it: lock, index, adoption, blobs, snapshot.
pub(crate) fn back_up(storage: Arc<dyn Storage>, content: &[u64]) -> Result<Id, VaultError> {
    let repository = open(storage)?;
    let lock = repository.lock(LockKind::Shared)?;
    let base = repository.load_index_for_backup()?;
    let writer = Writer::open(repository.clone(), Arc::new(base.index), small_packs())?;
    writer.adopt_unindexed_packs(&base.packs, &|| false)?;
    let tree = save(&writer, content)?;
    lock.ensure_held()?;
    writer.commit(&snapshot_of(tree, "/content"))
}

impl Model {
    pub(crate) fn back_up(&mut self, memory: &Memory, content: &[u64]) -> Id {
        let id = back_up(Arc::new(memory.clone()), content).unwrap();
        self.snapshots.insert(id, content.to_vec());
        id
    }

    pub(crate) fn forget(&mut self, memory: &Memory, id: &Id) {
        open(Arc::new(memory.clone()))
            .unwrap()
            .delete_snapshot(id)
            .unwrap();
        self.snapshots.remove(id);
    }

    /// The vault holds exactly these snapshots, whole, and a check of every byte finds nothing.
    #[track_caller]
    pub(crate) fn verify(&self, memory: &Memory) -> CheckReport {
        let repository = open(Arc::new(memory.clone())).unwrap();
        let found: Vec<Id> = repository
            .snapshots()
            .unwrap()
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert_eq!(found.len(), self.snapshots.len(), "snapshots");
        for id in &found {
            let expected = self.snapshots.get(id).unwrap();
            assert_eq!(content_of(&repository, id).unwrap(), *expected, "{id}");
        }
        let report = check(&repository, &read_all(), &|_| {}).unwrap();
        assert!(report.is_ok(), "{:?}", report.errors);
        report
    }
}

/// The numbers of the blobs of a snapshot, each read and compared.
pub(crate) fn content_of(repository: &Repository, id: &Id) -> Result<Content, VaultError> {
    let reader = Reader::new(repository.clone(), Arc::new(repository.load_index()?));
    let root = reader.read_tree(&repository.snapshot(id)?.tree)?;
    let mut content = Vec::new();
    for folder in &root.nodes {
        for node in reader.read_tree(&folder.subtree.unwrap())?.nodes {
            let number: u64 = std::str::from_utf8(&node.name).unwrap().parse().unwrap();
            let bytes = reader.read_blob(BlobKind::Data, &node.content[0])?;
            assert_eq!(bytes, bytes_of(number));
            content.push(number);
        }
    }
    content.sort_unstable();
    Ok(content)
}

pub(crate) fn read_all() -> CheckOptions {
    CheckOptions {
        read_data: ReadData::All,
        thread_count: 1,
    }
}

/// A time so many hours after an arbitrary start.
pub(crate) fn hours(hours: i64) -> Time {
    Time::new(1_750_000_000 + hours * 3600, 0)
}

pub(crate) fn prune_at(
    storage: Arc<dyn Storage>,
    options: &PruneOptions,
    hour: i64,
) -> Result<PruneReport, VaultError> {
    prune(&open(storage)?, options, hours(hour), &|_| {})
}

/// Removes what a killed process left in `locks/`.
pub(crate) fn unlock(memory: &Memory) {
    for listed in memory.list("locks").unwrap() {
        memory.delete(&listed.name).unwrap();
    }
}

/// How many files of a folder there are.
pub(crate) fn count(memory: &Memory, folder: &str) -> usize {
    memory.list(folder).unwrap().len()
}

/// Kills `act` at every call in turn, the last call done or not done, and hands what is left to `verify`, the locks removed.
/// Says how many cases that were.
pub(crate) fn kill_everywhere(
    prepared: &Memory,
    act: impl Fn(Arc<dyn Storage>) -> Result<(), VaultError>,
    verify: impl Fn(&Memory),
) -> u64 {
    let mut cases = 0;
    for first in [
        Fault::Fail(storage::ErrorKind::Other),
        Fault::FailAfter(storage::ErrorKind::Other),
    ] {
        for call in 0.. {
            let memory = prepared.snapshot();
            let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
            faulty.at(call, first.clone());
            faulty.from(call + 1, Fault::Fail(storage::ErrorKind::Other));
            let result = act(Arc::clone(&faulty) as Arc<dyn Storage>);
            if faulty.call_count() <= call {
                result.unwrap();
                break;
            }
            unlock(&memory);
            verify(&memory);
            cases += 1;
        }
    }
    cases
}

//! What upkeep costs on a large synthetic vault: time and peak memory of opening the index, forget, stats and prune.
//!
//!     cargo run --release -p vault --example upkeep_scale -- FOLDER BLOBS SNAPSHOTS
//!
//! Blobs are 40 bytes long, 100 to a file folder; each snapshot replaces one folder in a hundred of the one before. The
//! vault is made in FOLDER, which must not exist, and is left there. Peak memory is that of the process so far, so the
//! steps are in the order of their needs; the vault is made by a process of its own.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use storage::LocalFolder;
use vault::forget::{GroupBy, Keep, RetentionPolicy, plan, remove_snapshots};
use vault::{
    BlobKind, BlobScratch, Id, KdfCost, KeyOptions, Node, NodeKind, PruneOptions, Repository,
    Secret, Snapshot, Time, Tree, Writer, WriterOptions, prune, stats,
};

const FILES_PER_FOLDER: u64 = 100;
const PASSWORD: &str = "scale";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, blobs, snapshots, rest @ ..] = arguments.as_slice() else {
        println!("usage: upkeep_scale FOLDER BLOBS SNAPSHOTS");
        return;
    };
    let storage = Arc::new(LocalFolder::new(folder.as_str()));
    let (blobs, snapshots): (u64, u64) = (blobs.parse().unwrap(), snapshots.parse().unwrap());
    if rest.is_empty() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(&arguments[1..])
            .arg("make")
            .status()
            .unwrap();
        assert!(status.success());
        measure(&Repository::open(storage, &Secret::from(PASSWORD)).unwrap());
    } else {
        make(storage, blobs, snapshots);
    }
}

/// Runs and tells how long it took, and the peak memory of the process so far.
fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = act();
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kilobytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("{what:<28} {seconds:>8.2} s {:>8} MiB", kilobytes / 1024);
    result
}

fn make(storage: Arc<LocalFolder>, blobs: u64, snapshots: u64) {
    let options = KeyOptions {
        cost: KdfCost::Cheapest,
        username: String::new(),
        hostname: String::new(),
    };
    let repository = Repository::create(storage, &Secret::from(PASSWORD), &options).unwrap();
    let folder_count = blobs / FILES_PER_FOLDER;
    let mut folders: Vec<Node> = Vec::new();
    let mut next = 0;
    for number in 0..snapshots {
        let index = Arc::new(repository.load_index().unwrap());
        let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
        let mut scratch = BlobScratch::new();
        let changed: Vec<u64> = if number == 0 {
            (0..folder_count).collect()
        } else {
            (0..folder_count)
                .filter(|folder| folder % 100 == number % 100)
                .collect()
        };
        for folder in changed {
            let node = save_folder(&writer, folder, next, &mut scratch);
            next += FILES_PER_FOLDER;
            match folders.get_mut(folder as usize) {
                Some(old) => *old = node,
                None => folders.push(node),
            }
        }
        let tree = Tree::from_nodes(folders.clone());
        let tree = writer.save_tree(&tree, &mut scratch).unwrap().id;
        let snapshot = Snapshot {
            time: Time::new(1_700_000_000 + number as i64 * 3600, 0),
            tree,
            paths: vec!["/scale".to_owned()],
            hostname: "host".to_owned(),
            ..Snapshot::default()
        };
        writer.commit(&snapshot).unwrap();
    }
    println!("{next} files in {snapshots} snapshots");
}

fn save_folder(writer: &Writer, folder: u64, first: u64, scratch: &mut BlobScratch) -> Node {
    let nodes = (first..first + FILES_PER_FOLDER).map(|number| {
        let mut bytes = Id::hash(&number.to_le_bytes()).as_bytes().to_vec();
        bytes.extend_from_slice(&number.to_le_bytes());
        Node {
            name: format!("{:02}", number - first).into_bytes(),
            kind: NodeKind::File,
            size: bytes.len() as u64,
            content: vec![
                writer
                    .save_blob(BlobKind::Data, &bytes, scratch)
                    .unwrap()
                    .id,
            ],
            ..Node::default()
        }
    });
    let tree = Tree::from_nodes(nodes.collect());
    let tree = writer.save_tree(&tree, &mut BlobScratch::new()).unwrap().id;
    Node {
        name: format!("{folder:08}").into_bytes(),
        kind: NodeKind::Dir,
        subtree: Some(tree),
        ..Node::default()
    }
}

fn measure(repository: &Repository) {
    let now = Time::new(1_800_000_000, 0);
    let snapshots = timed("list snapshots", || repository.snapshots().unwrap());
    let policy = RetentionPolicy {
        last: Keep::Newest(snapshots.len() as u32 / 2 + 1),
        ..RetentionPolicy::default()
    };
    let removed = timed("forget", || {
        let groups = plan(&snapshots, &policy, GroupBy::default(), now);
        let ids: Vec<Id> = groups[0]
            .remove
            .iter()
            .map(|&index| snapshots[index].0)
            .collect();
        remove_snapshots(repository, &ids).unwrap().removed.len()
    });
    let options = PruneOptions::default();
    let marked = timed("prune: mark and repack", || {
        prune(repository, &options, now, &|_| {}).unwrap()
    });
    let later = Time::new(now.seconds + 100_000, 0);
    let deleted = timed("prune: remove", || {
        prune(repository, &options, later, &|_| {}).unwrap()
    });
    let index = timed("open the index", || repository.load_index().unwrap());
    println!(
        "{removed} snapshots removed; {} blobs needed; {} packs repacked, {} marked, {} removed; {} entries",
        marked.used_blob_count,
        marked.repacked.count,
        marked.marked.count,
        deleted.deleted.count,
        index.len()
    );
    drop(index);
    timed("stats", || stats(repository).unwrap());
}

//! The damage matrix: each file of a vault, spoiled in each way. A check finds it and names the files that it touches; a
//! restore brings back all others, names the same ones, and never writes a wrong byte.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runner::RunError;
use storage::{ErrorKind, Memory, Storage};
use vault::{
    CheckOptions, CheckReport, Id, KdfCost, KeyOptions, LockKind, ReadData, Repository, Secret,
    UnlockScope, WriterOptions,
};

use crate::support::{
    Ear, PASSWORD, below, create, request, restore_request, run, run_restore, temp,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Truncated,
    Emptied,
    Flipped,
    Zeroed,
    Swapped,
    Missing,
}

const DAMAGES: [Damage; 6] = [
    Damage::Truncated,
    Damage::Emptied,
    Damage::Flipped,
    Damage::Zeroed,
    Damage::Swapped,
    Damage::Missing,
];

/// A vault with two snapshots, each with an index and packs of its own, two keys, and two locks.
struct Sample {
    memory: Memory,
    root: PathBuf,
    /// The files of each snapshot, by their paths.
    snapshots: Vec<(Id, BTreeMap<PathBuf, Vec<u8>>)>,
}

fn files_below(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut files_below(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

fn sample(temp: &Path) -> Sample {
    let root = temp.join("tree");
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let options = KeyOptions {
        cost: KdfCost::Cheapest,
        username: "second".to_owned(),
        hostname: "here".to_owned(),
    };
    repository
        .add_key(&Secret::new("another password"), &options)
        .unwrap();
    // All of one length, so that two packs which change places hold blobs at the same places, whose tags are right.
    let write = |path: &str, seed: u64| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        testkit::content::write_random_file(&path, 20_000, seed).unwrap();
    };
    let mut snapshots = Vec::new();
    for round in 0..2 {
        for file in 0..5 {
            write(&format!("old/f{file}"), file);
            write(&format!("changing/f{file}"), 10 + 10 * round + file);
        }
        // A blob that several files need.
        write("old/copy", 0);
        let mut request = request(&repository, &root);
        request.writer = WriterOptions {
            pack_size_bytes: 50_000,
            ..WriterOptions::default()
        };
        let report = run(&request).0.unwrap();
        snapshots.push((report.snapshot_id, files_below(&root)));
    }
    let held = [(), ()].map(|()| repository.lock(LockKind::Shared).unwrap());
    let locks = memory.list("locks").unwrap();
    let locks = locks
        .iter()
        .map(|lock| (&lock.name, memory.get(&lock.name).unwrap()));
    let locks: Vec<_> = locks.collect();
    drop(held);
    for (name, bytes) in locks {
        memory.overwrite(name, bytes);
    }
    Sample {
        memory,
        root,
        snapshots,
    }
}

impl Sample {
    /// A copy of the vault with one file spoiled.
    fn with(&self, name: &str, damage: Damage) -> Memory {
        let memory = self.memory.snapshot();
        let bytes = memory.get(name).unwrap();
        let half = bytes.len() / 2;
        match damage {
            Damage::Truncated => memory.overwrite(name, bytes[..half].to_vec()),
            Damage::Emptied => memory.overwrite(name, Vec::new()),
            Damage::Flipped => {
                let mut bytes = bytes;
                bytes[half] ^= 4;
                memory.overwrite(name, bytes);
            }
            Damage::Zeroed => memory.overwrite(name, vec![0; bytes.len()]),
            Damage::Swapped => {
                let other = self.neighbour(name);
                memory.overwrite(name, memory.get(&other).unwrap());
                memory.overwrite(&other, bytes);
            }
            Damage::Missing => memory.delete(name).unwrap(),
        }
        memory
    }

    /// Another file, of the same kind where there is one.
    fn neighbour(&self, name: &str) -> String {
        let names: Vec<String> = self.names();
        let kind = name.split('/').next().unwrap();
        let at = names.iter().position(|other| other == name).unwrap();
        let others = || names[at + 1..].iter().chain(&names[..at]);
        let same = others().find(|other| other.starts_with(kind));
        same.or_else(|| others().next()).unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        let listed = self.memory.list("").unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }
}

fn check(repository: &Repository) -> CheckReport {
    let options = CheckOptions {
        read_data: ReadData::All,
        ..CheckOptions::default()
    };
    vault::check(repository, &options, &|_| {}).unwrap()
}

/// The paths of a snapshot that a check calls touched.
fn touched(report: &CheckReport, snapshot: Id) -> BTreeSet<PathBuf> {
    report
        .touched
        .iter()
        .filter(|touched| touched.snapshot == snapshot)
        .map(|touched| PathBuf::from(std::ffi::OsStr::from_bytes(&touched.path)))
        .collect()
}

/// The paths that a restore names, as they are in the snapshot. Those of index files are none of them.
fn named(ear: &Ear, target: &Path) -> BTreeSet<PathBuf> {
    ear.paths()
        .into_iter()
        .filter(|path| !path.starts_with("index"))
        .map(|path| match path.strip_prefix(target) {
            Ok(rest) => Path::new("/").join(rest),
            Err(_) => path,
        })
        .collect()
}

/// Restores every snapshot and compares what comes back with what the check said.
fn restore_all(sample: &Sample, repository: &Repository, report: &CheckReport, case: &str) {
    for (snapshot, files) in &sample.snapshots {
        let target = sample.root.with_file_name("target");
        let mut request = restore_request(repository, &target);
        request.snapshot = snapshot.to_hex();
        let (result, ear) = run_restore(&request);
        let touched = touched(report, *snapshot);
        if let Err(error) = result {
            // What says that the whole vault is missing sends people to look in the wrong place.
            let is_missing = matches!(&error, RunError::Vault(error) if error.storage_kind() == Some(ErrorKind::NotFound));
            assert!(!is_missing, "{case}: {error:?}");
            let is_unreadable = repository.snapshot(snapshot).is_err();
            assert!(is_unreadable || touched.contains(Path::new("/")), "{case}");
            continue;
        }
        assert_eq!(named(&ear, &target), touched, "{case}");
        for (path, content) in files {
            let found = std::fs::read(below(&target, path)).ok();
            let is_touched = path.ancestors().any(|part| touched.contains(part));
            let expected = (!is_touched).then_some(content);
            assert!(found.as_ref() == expected, "{case}: {}", path.display());
        }
        std::fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn each_file_spoiled_in_each_way_is_found_and_costs_what_the_check_names() {
    let temp = temp();
    let sample = sample(temp.path());
    let names = sample.names();
    for kind in ["config", "keys/", "data/", "index/", "snapshots/", "locks/"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}");
    }
    let secret = Secret::new(PASSWORD);
    let (mut case_count, mut lost_file_cases) = (0, 0);
    for name in &names {
        for damage in DAMAGES {
            let case = format!("{name} {damage:?}");
            case_count += 1;
            let memory = sample.with(name, damage);
            let Ok(repository) = Repository::open(Arc::new(memory), &secret) else {
                let is_needed = name == "config" || name.starts_with("keys/");
                assert!(is_needed, "{case}");
                continue;
            };
            let report = check(&repository);
            // Nothing else names a snapshot, a key or a lock that is gone; and a lock protects nothing by its content.
            let is_unseen = name.starts_with("locks/")
                || damage == Damage::Missing
                    && (name.starts_with("snapshots/") || name.starts_with("keys/"));
            assert_eq!(report.is_ok(), is_unseen, "{case}: {:?}", report.errors);
            assert_eq!(report.touched_count as usize, report.touched.len());
            if name.starts_with("locks/") && repository.lock(LockKind::Shared).is_err() {
                // Who may hold it is not known, so a person decides.
                repository.unlock(UnlockScope::All).unwrap();
            }
            restore_all(&sample, &repository, &report, &case);
            lost_file_cases += usize::from(report.touched_count > 0);
        }
    }
    assert_eq!(case_count, names.len() * DAMAGES.len());
    // Packs and indexes: without them something is lost each time.
    let holding = names
        .iter()
        .filter(|name| name.starts_with("data/") || name.starts_with("index/"));
    assert_eq!(lost_file_cases, holding.count() * DAMAGES.len());
    assert!(case_count >= 96, "{case_count}");
}

//! The files of a repository that stock restic made, changed in every way that the sibling tests change ours.
//!
//! Whatever their bytes become, parsers and the commands behind them say no or go on; none panics, and none makes more of
//! an input than it has room for.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use proptest::prelude::{any, prop_assert, proptest};
use storage::{LocalFolder, Memory, Storage};

use super::{apply, cases, edits};
use crate::blob::BlobKind;
use crate::check::{CheckOptions, ReadData, check};
use crate::id::Id;
use crate::index::file;
use crate::layout::FileKind;
use crate::pack::header_of;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::snapshot_json::SnapshotFields;
use crate::testing::PASSWORD;
use crate::tree::Tree;
use crate::unpacked;

/// A repository of restic in memory, and what its files say.
struct Corpus {
    memory: Memory,
    repository: Repository,
    indexes: Vec<Vec<u8>>,
    snapshots: Vec<Vec<u8>>,
    trees: Vec<Vec<u8>>,
    packs: Vec<Vec<u8>>,
}

fn corpus() -> &'static Corpus {
    static CORPUS: OnceLock<Corpus> = OnceLock::new();
    CORPUS.get_or_init(make)
}

fn restic(repository: &Path, words: &[&str]) {
    let output = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(repository)
        .args(words)
        .env("RESTIC_PASSWORD", PASSWORD)
        .output()
        .expect("stock restic must be installed");
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// Two backups of a small tree with odd names, links, large and empty files.
fn make() -> Corpus {
    let root = tempfile::tempdir().unwrap();
    let (source, folder) = (root.path().join("source"), root.path().join("repository"));
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    for number in 0..20 {
        let text = format!("{number}\n").repeat(number * 50);
        std::fs::write(source.join(format!("deep/f \u{e9}\"{number}")), text).unwrap();
    }
    std::fs::write(source.join("large"), crate::testing::blob(1, 2 << 20)).unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("link")).unwrap();
    restic(&folder, &["init"]);
    for tag in ["one", "two,three"] {
        let path = source.to_str().unwrap();
        restic(&folder, &["backup", "--tag", tag, path]);
        std::fs::write(source.join("deep/er/new"), tag).unwrap();
    }
    let memory = Memory::new();
    let local = LocalFolder::new(&folder);
    for listed in local.list("").unwrap() {
        memory.overwrite(&listed.name, local.get(&listed.name).unwrap());
    }
    read(memory)
}

fn read(memory: Memory) -> Corpus {
    let secret = Secret::from(PASSWORD);
    let repository = Repository::open(Arc::new(memory.clone()), &secret).unwrap();
    let json = |kind| {
        let ids = repository.list(kind).unwrap();
        let texts = ids.iter().map(|id| repository.load_json(kind, id).unwrap());
        texts.collect::<Vec<_>>()
    };
    let (indexes, snapshots) = (json(FileKind::Index), json(FileKind::Snapshot));
    let index = Arc::new(repository.load_index().unwrap());
    let reader = Reader::new(repository.clone(), Arc::clone(&index));
    let tree_ids = index
        .iter()
        .filter(|(kind, ..)| *kind == BlobKind::Tree)
        .map(|(_, id, _)| id);
    let trees = tree_ids
        .map(|id| reader.read_blob(BlobKind::Tree, &id).unwrap())
        .collect();
    let pack = |id: &Id| memory.get(&FileKind::Pack.name(id)).unwrap();
    let packs = index.packs().iter().map(pack).collect();
    Corpus {
        indexes,
        snapshots,
        trees,
        packs,
        repository,
        memory,
    }
}

/// One of them, changed.
fn changed(of: &[Vec<u8>], which: usize, edits: &[super::Edit]) -> Vec<u8> {
    apply(edits, &of[which % of.len()])
}

#[test]
fn the_corpus_has_every_kind() {
    let corpus = corpus();
    assert!(corpus.indexes.len() >= 2 && corpus.snapshots.len() == 2);
    assert!(corpus.trees.len() >= 4 && corpus.packs.len() >= 3);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn texts_of_restic(which in any::<usize>(), edits in edits()) {
        let corpus = corpus();
        let none = Id::default();
        let index = changed(&corpus.indexes, which, &edits);
        if let Ok(found) = file::decode(&none, &index) {
            prop_assert!(file::blob_count(&found.packs) * 100 <= index.len());
            prop_assert!(file::decode(&none, &file::encode_file(&found).unwrap()).is_ok());
        }
        let snapshot = changed(&corpus.snapshots, which, &edits);
        if let Ok(found) = Snapshot::decode(&none, &snapshot) {
            prop_assert!(Snapshot::decode(&none, &found.encode().unwrap()).is_ok());
        }
        drop(SnapshotFields::read(&none, &snapshot).map(|fields| fields.to_json()));
        let tree = changed(&corpus.trees, which, &edits);
        if let Ok(found) = Tree::decode(&tree) {
            prop_assert!(found.nodes.len() * 2 <= tree.len());
            drop(found.encode());
        }
    }

    /// Sealed bytes: packs and files as they lie in the storage.
    #[test]
    fn sealed_bytes_of_restic(which in any::<usize>(), edits in edits()) {
        let corpus = corpus();
        let cipher = corpus.repository.cipher();
        let pack = changed(&corpus.packs, which, &edits);
        if let Ok(found) = header_of(cipher, &Id::default(), &pack) {
            prop_assert!(found.len() * 37 <= pack.len());
        }
        let names = corpus.memory.list("").unwrap();
        let name = &names[which % names.len()].name;
        let sealed = apply(&edits, &corpus.memory.get(name).unwrap());
        drop(unpacked::open(cipher, FileKind::Snapshot, "x", &sealed));
    }
}

/// Any one file of the repository, changed where it lies: opening, listing and checking say so and end.
#[test]
fn commands_on_a_changed_repository_of_restic() {
    let corpus = corpus();
    let names = corpus.memory.list("").unwrap();
    let case_count = cases().cases / 10;
    let mut runner = proptest::test_runner::TestRunner::new(
        proptest::test_runner::Config::with_cases(case_count),
    );
    let input = (any::<usize>(), edits());
    let options = CheckOptions {
        read_data: ReadData::All,
        thread_count: 2,
    };
    runner
        .run(&input, |(which, edits)| {
            let name = &names[which % names.len()].name;
            let memory = Memory::new();
            for listed in &names {
                memory.overwrite(&listed.name, corpus.memory.get(&listed.name).unwrap());
            }
            let before = memory.get(name).unwrap();
            let after = apply(&edits, &before);
            let is_changed = before != after;
            memory.overwrite(name, after);
            // The key is open already: opening it costs half a second, and key files have a test of their own.
            let repository = corpus.repository.with_storage(Arc::new(memory));
            drop(repository.snapshots_and_damage());
            let report = check(&repository, &options, &|_| {});
            let is_seen = !report.is_ok_and(|report| report.is_ok());
            prop_assert!(
                is_seen || !is_changed || name == "config",
                "{name} passed as whole"
            );
            Ok(())
        })
        .unwrap();
}

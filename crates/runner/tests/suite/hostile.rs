//! T29: snapshots that try to write outside of the target, and vaults that hold damage.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runner::Outcome;
use storage::{Memory, Storage};
use vault::{
    BlobKind, BlobScratch, Id, Node, NodeKind, Repository, Snapshot, Time, Tree, Writer,
    WriterOptions,
};

use crate::support::{
    back_up, below, create, memory_repository, restore_request, run_restore, temp,
};

fn file(name: &[u8], content: Id) -> Node {
    Node {
        name: name.to_vec(),
        kind: NodeKind::File,
        mode: 0o100_644,
        size: 4,
        content: vec![content],
        ..Node::default()
    }
}

fn dir(name: &[u8], subtree: Id) -> Node {
    Node {
        name: name.to_vec(),
        kind: NodeKind::Dir,
        mode: 0o040_755,
        subtree: Some(subtree),
        ..Node::default()
    }
}

fn link(name: &[u8], target: &Path) -> Node {
    Node {
        name: name.to_vec(),
        kind: NodeKind::Symlink,
        mode: 0o120_777,
        link_target: target.to_str().unwrap().as_bytes().to_vec(),
        ..Node::default()
    }
}

/// The JSON of a tree as a program would write it that checks nothing.
fn raw_tree(nodes: &[Node]) -> Vec<u8> {
    let texts: Vec<String> = nodes
        .iter()
        .map(|node| {
            let text = Tree {
                nodes: vec![node.clone()],
            }
            .encode()
            .unwrap();
            let text = String::from_utf8(text).unwrap();
            text.strip_prefix("{\"nodes\":[")
                .unwrap()
                .strip_suffix("]}\n")
                .unwrap()
                .to_owned()
        })
        .collect();
    format!("{{\"nodes\":[{}]}}\n", texts.join(",")).into_bytes()
}

/// A repository with one snapshot that `build` makes the root tree of.
fn forged(build: impl FnOnce(&mut dyn FnMut(&[Node]) -> Id, Id) -> Id) -> Repository {
    let repository = memory_repository();
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    let content = writer
        .save_blob(BlobKind::Data, b"evil", &mut scratch)
        .unwrap()
        .id;
    let mut save = |nodes: &[Node]| {
        writer
            .save_blob(BlobKind::Tree, &raw_tree(nodes), &mut scratch)
            .unwrap()
            .id
    };
    let tree = build(&mut save, content);
    writer
        .commit(&Snapshot {
            tree,
            time: Time::now(),
            ..Snapshot::default()
        })
        .unwrap();
    repository
}

/// Everything below a folder but the target itself.
fn outside(temp: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(temp)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| !path.ends_with("target"));
    names.sort();
    names
}

#[test]
fn t29_no_name_leads_out_of_the_target() {
    let temp = temp();
    let target = temp.path().join("target");
    let escape = temp.path().join("escaped");
    let mut names: Vec<Vec<u8>> = [
        "..",
        ".",
        "",
        "/",
        "a/b",
        "../escaped",
        "../../escaped",
        "./../escaped",
        "x/../../escaped",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(escape.to_str().unwrap().as_bytes().to_vec());
    names.push(b"a\0b".to_vec());
    for name in &names {
        let repository = forged(|save, content| {
            let inner = save(&[file(b"inner", content)]);
            let level = save(&[file(name, content)]);
            save(&[
                dir(name, inner),
                dir(b"level", level),
                file(b"fine", content),
                link(name, &escape),
            ])
        });
        let (result, ear) = run_restore(&restore_request(&repository, &target));
        let report = result.unwrap();
        assert_eq!(report.outcome, Outcome::Partial, "{name:?}");
        assert!(ear.errors().len() >= 3, "{name:?}: {:?}", ear.errors());
        assert!(
            outside(temp.path()).is_empty(),
            "{name:?}: {:?}",
            outside(temp.path())
        );
        assert_eq!(std::fs::read(target.join("fine")).unwrap(), b"evil");
        std::fs::remove_dir_all(&target).unwrap();
    }
}

/// Makes a root tree from a way to save trees, a blob, and the folder that is to be hit.
type Forgery = fn(&mut dyn FnMut(&[Node]) -> Id, Id, &Path) -> Id;

#[test]
fn t29_links_of_the_snapshot_are_not_followed() {
    let temp = temp();
    let victim = temp.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("file"), "precious").unwrap();
    let target = temp.path().join("target");
    let orders: [Forgery; 4] = [
        // The same name as a link and as a folder, in both orders, and as a link and a file.
        |save, content, victim| {
            let inner = save(&[file(b"file", content), file(b"new", content)]);
            save(&[link(b"d", victim), dir(b"d", inner)])
        },
        |save, content, victim| {
            let inner = save(&[file(b"file", content), file(b"new", content)]);
            save(&[dir(b"d", inner), link(b"d", victim)])
        },
        |save, content, victim| save(&[link(b"f", &victim.join("file")), file(b"f", content)]),
        |save, content, victim| save(&[file(b"f", content), link(b"f", &victim.join("file"))]),
    ];
    for order in orders {
        let repository = forged(|save, content| order(save, content, &victim));
        // The second restore meets what the first one made.
        for _ in 0..2 {
            run_restore(&restore_request(&repository, &target))
                .0
                .unwrap();
            assert_eq!(
                std::fs::read_to_string(victim.join("file")).unwrap(),
                "precious"
            );
            assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1);
        }
        std::fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn t29_links_that_were_in_the_target_before_are_not_followed() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("d/e")).unwrap();
    std::fs::write(tree.join("d/e/f"), "content").unwrap();
    let repository = memory_repository();
    back_up(&repository, &tree);
    let victim = temp.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let target = temp.path().join("target");
    let there = below(&target, &tree);
    std::fs::create_dir_all(&there).unwrap();
    std::os::unix::fs::symlink(&victim, there.join("d")).unwrap();
    let (result, _) = run_restore(&restore_request(&repository, &target));
    assert_eq!(result.unwrap().outcome, Outcome::Partial);
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
}

/// duplicati#2275: files of no bytes restored without an error.
#[test]
fn t36_a_restore_that_is_not_what_was_backed_up_is_never_complete() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for (number, name) in (0..).zip(["one", "two", "three"]) {
        testkit::content::write_random_file(&tree.join(name), 3 << 20, number).unwrap();
    }
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    back_up(&repository, &tree);
    let index = repository.load_index().unwrap();
    let packs: Vec<String> = memory
        .list("data")
        .unwrap()
        .into_iter()
        .map(|listed| listed.name)
        .collect();
    let holds_data = |pack: &String| {
        index.iter().any(|(kind, _, location)| {
            kind == BlobKind::Data && pack.ends_with(&location.pack.to_hex())
        })
    };
    for pack in packs.into_iter().filter(holds_data) {
        let whole = memory.get(&pack).unwrap();
        let damages: [Option<Vec<u8>>; 3] = [
            None,
            Some(whole[..whole.len() / 2].to_vec()),
            Some(
                whole
                    .iter()
                    .enumerate()
                    .map(|(at, byte)| if at == 1000 { byte ^ 1 } else { *byte })
                    .collect(),
            ),
        ];
        for damage in damages {
            match damage {
                None => memory.delete(&pack).unwrap(),
                Some(bytes) => memory.overwrite(&pack, bytes),
            }
            let target = temp.path().join("target");
            let (result, ear) = run_restore(&restore_request(&repository, &target));
            let report = result.unwrap();
            assert_eq!(report.outcome, Outcome::Partial);
            assert!(!ear.errors().is_empty());
            for name in ["one", "two", "three"] {
                let restored = below(&target, &tree.join(name));
                let is_told = ear.paths().contains(&restored);
                match std::fs::read(&restored) {
                    Ok(bytes) => assert!(
                        !is_told && bytes == std::fs::read(tree.join(name)).unwrap(),
                        "{name}"
                    ),
                    Err(_) => assert!(is_told, "{name} is missing and nobody was told"),
                }
            }
            std::fs::remove_dir_all(&target).unwrap();
            memory.overwrite(&pack, whole.clone());
        }
    }
}

#[test]
fn t36_sizes_that_do_not_add_up_are_told() {
    let repository = forged(|save, content| {
        let mut short = file(b"short", content);
        short.size = 0;
        let mut long = file(b"long", content);
        long.size = 400;
        let lost = file(b"lost", Id::hash(b"no such blob"));
        save(&[file(b"fine", content), long, lost, short])
    });
    let temp = temp();
    let target = temp.path().join("target");
    let (result, ear) = run_restore(&restore_request(&repository, &target));
    let report = result.unwrap();
    assert_eq!(
        (report.outcome, report.files_restored),
        (Outcome::Partial, 1)
    );
    assert_eq!(ear.errors().len(), 3);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
}

/// An inode that was given anew between the two: the entries look like hard links of one file of the same size and the
/// same beginning, and are two files.
#[test]
fn entries_of_one_inode_and_other_content_are_no_hard_links() {
    let repository = memory_repository();
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    let mut save = |bytes: &[u8]| {
        let saved = writer.save_blob(BlobKind::Data, bytes, &mut scratch);
        saved.unwrap().id
    };
    let (head, old, new) = (save(b"head"), save(b" old"), save(b" new"));
    let entry = |name: &str, end: Id| Node {
        size: 8,
        links: 2,
        inode: 7,
        content: vec![head, end],
        ..file(name.as_bytes(), head)
    };
    let nodes = vec![
        entry("a", old),
        entry("b", new),
        entry("c", new),
        entry("d", old),
    ];
    let tree = writer
        .save_tree(&Tree { nodes }, &mut BlobScratch::new())
        .unwrap()
        .id;
    writer
        .commit(&Snapshot {
            tree,
            time: Time::now(),
            ..Snapshot::default()
        })
        .unwrap();
    let temp = temp();
    let target = temp.path().join("target");
    let (result, _) = run_restore(&restore_request(&repository, &target));
    assert_eq!(result.unwrap().outcome, Outcome::Complete);
    let read = |name: &str| std::fs::read_to_string(target.join(name)).unwrap();
    assert_eq!(
        ["a", "b", "c", "d"].map(read),
        ["head old", "head new", "head new", "head old"]
    );
    let inode = |name: &str| std::fs::metadata(target.join(name)).unwrap().ino();
    assert_eq!(inode("b"), inode("c"));
    assert_ne!(inode("a"), inode("b"));
}

/// The paths of a snapshot are only names, and may be of any length: they must not cost the stack of a thread, nor the
/// square of their length.
#[test]
fn paths_of_very_many_components_end_no_restore() {
    let temp = temp();
    let repository = memory_repository();
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
    let tree = writer
        .save_tree(&Tree::default(), &mut BlobScratch::new())
        .unwrap()
        .id;
    writer
        .commit(&Snapshot {
            tree,
            time: Time::now(),
            paths: vec!["/a".repeat(100_000), "/b".repeat(2048), "/c".to_owned()],
            ..Snapshot::default()
        })
        .unwrap();
    let (result, _) = run_restore(&restore_request(&repository, &temp.path().join("target")));
    assert_eq!(result.unwrap().outcome, Outcome::Complete);
}

//! What has not changed is not read, not written, and not trusted further than its times go.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runner::{Outcome, ParentChoice};
use storage::{Memory, Operation, Record};
use testkit::tree::TreeOptions;
use vault::{BlobKind, BlobScratch, Id, Node, Reader, Repository, Time, Writer, WriterOptions};

use crate::support::{
    age, assert_same, back_up, below, bring_back, create, memory_repository, request, run, temp,
};

/// A folder above which nothing changes while a test runs, unlike that of the other tests.
fn quiet_temp() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

#[test]
fn a_second_backup_writes_neither_pack_nor_tree() {
    let temp = quiet_temp();
    let tree = temp.path().join("tree");
    testkit::tree::build(&tree, TreeOptions::default()).unwrap();
    age();
    let record = Arc::new(Record::new(Arc::new(Memory::new())));
    let repository = create(record.clone());
    let first = back_up(&repository, &tree);
    let _ = record.take();
    let second = back_up(&repository, &tree);
    let put: Vec<String> = record
        .take()
        .into_iter()
        .filter(|call| call.operation == Operation::Put)
        .map(|call| call.name)
        .collect();
    assert!(
        put.iter()
            .all(|name| name.starts_with("locks/") || name.starts_with("snapshots/")),
        "{put:?}"
    );
    assert_eq!(second.snapshot.tree, first.snapshot.tree);
    assert_eq!(second.snapshot.parent, Some(first.snapshot_id));
    assert_eq!(second.summary.files_unmodified, first.summary.files_new);
    assert_eq!(second.summary.dirs_unmodified, first.summary.dirs_new);
    assert_eq!(
        (second.progress.actual_items, second.progress.actual_bytes),
        (0, 0)
    );
    assert_eq!(second.progress.items_done, first.progress.items_done);
}

#[test]
fn only_what_changed_is_read_and_its_folders_are_written() {
    let temp = temp();
    let tree = temp.path().join("tree");
    for folder in ["a", "b/c", "d"] {
        std::fs::create_dir_all(tree.join(folder)).unwrap();
        std::fs::write(tree.join(folder).join("f"), folder).unwrap();
    }
    std::os::unix::fs::symlink("x", tree.join("d/link")).unwrap();
    age();
    let repository = memory_repository();
    back_up(&repository, &tree);
    std::fs::write(tree.join("b/c/f"), "changed").unwrap();
    std::fs::write(tree.join("b/new"), "new").unwrap();
    std::fs::remove_file(tree.join("d/link")).unwrap();
    let report = back_up(&repository, &tree);
    let summary = &report.summary;
    assert_eq!(
        (
            summary.files_new,
            summary.files_changed,
            summary.files_unmodified
        ),
        (1, 1, 2)
    );
    assert_eq!(summary.data_blobs, 2);
    // b, b/c, d, the root of the job and the way to it have changed; a has not.
    assert!(
        summary.dirs_unmodified >= 1 && summary.dirs_changed >= 4,
        "{summary:?}"
    );
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert_same(&tree, &below(&target, &tree));
}

#[test]
fn a_change_of_metadata_alone_is_seen() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("d")).unwrap();
    std::fs::write(tree.join("d/f"), "x").unwrap();
    age();
    let repository = memory_repository();
    back_up(&repository, &tree);
    std::fs::set_permissions(tree.join("d/f"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(tree.join("d"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let report = back_up(&repository, &tree);
    assert_eq!(
        (report.summary.files_changed, report.summary.data_blobs),
        (1, 0)
    );
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert_same(&tree, &below(&target, &tree));
}

/// Makes a newer snapshot of the same source from the latest one, with every node changed by `change`: what the next
/// backup takes over from it shows. `change` gets the id of a stored blob `forged`.
fn forge(repository: &Repository, change: impl Fn(&mut Node, Id)) {
    let (_, mut snapshot) = repository.find_snapshot("latest").unwrap();
    let index = Arc::new(repository.load_index().unwrap());
    let reader = Reader::new(repository.clone(), Arc::clone(&index));
    let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
    let mut scratch = BlobScratch::new();
    let forged = writer
        .save_blob(BlobKind::Data, b"forged", &mut scratch)
        .unwrap()
        .id;
    let forge_node = |node: &mut Node| change(node, forged);
    snapshot.tree = rewrite(&reader, &writer, &mut scratch, snapshot.tree, &forge_node);
    snapshot.time = Time::new(snapshot.time.seconds, snapshot.time.nanoseconds + 1);
    writer.commit(&snapshot).unwrap();
}

fn rewrite(
    reader: &Reader,
    writer: &Writer,
    scratch: &mut BlobScratch,
    id: Id,
    change: &dyn Fn(&mut Node),
) -> Id {
    let mut tree = reader.read_tree(&id).unwrap();
    for node in &mut tree.nodes {
        change(node);
        node.subtree = node
            .subtree
            .map(|subtree| rewrite(reader, writer, scratch, subtree, change));
    }
    writer.save_tree(&tree, scratch).unwrap().id
}

/// Puts other content of the same length into the node of the file `f`.
fn forge_content(repository: &Repository) {
    forge(repository, |node, forged| {
        if node.name == b"f" {
            node.content = vec![forged];
        }
    });
}

/// A folder with a file `f` of the length of `forged`.
fn tree_with_f(temp: &Path) -> PathBuf {
    let tree = temp.join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), "first!").unwrap();
    tree
}

fn restored_f(repository: &Repository, temp: &Path, tree: &Path) -> String {
    let target = temp.join("target");
    bring_back(repository, &target);
    std::fs::read_to_string(below(&target, &tree.join("f"))).unwrap()
}

/// borg#3536, #9749: a file that changes twice in one tick of the clock, the second time with the same size, looks
/// unchanged after the second time. The parent snapshot has other content under just what `lstat` shows now.
#[test]
fn t25_a_change_in_the_tick_of_the_last_backup_is_read_again() {
    let temp = temp();
    let tree = tree_with_f(temp.path());
    let repository = memory_repository();
    back_up(&repository, &tree);
    forge_content(&repository);
    // Too young to be trusted: it may have changed after the parent read it, in the same tick.
    back_up(&repository, &tree);
    assert_eq!(restored_f(&repository, temp.path(), &tree), "first!");
    // The same is trusted when a parent began later than the tick in which the file last changed.
    age();
    back_up(&repository, &tree);
    forge_content(&repository);
    back_up(&repository, &tree);
    assert_eq!(restored_f(&repository, temp.path(), &tree), "forged");
}

/// A parent whose time was set into the future by hand must not make young files look settled.
#[test]
fn t25_a_time_set_by_hand_proves_nothing() {
    let temp = temp();
    let tree = tree_with_f(temp.path());
    let repository = memory_repository();
    let mut request = request(&repository, &tree);
    request.time = Some(Time::new(4_000_000_000, 0));
    run(&request).0.unwrap();
    forge_content(&repository);
    request.time = Some(Time::new(4_000_000_010, 0));
    run(&request).0.unwrap();
    assert_eq!(restored_f(&repository, temp.path(), &tree), "first!");
}

/// A node that says that something of it could not be read is not taken over: the next backup tries again, and is
/// partial again or whole.
#[test]
fn what_could_not_be_read_last_time_is_read_again() {
    let temp = temp();
    let tree = tree_with_f(temp.path());
    std::fs::create_dir(tree.join("d")).unwrap();
    for name in ["f", "d"] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.join(name), "user.kept", b"1", flags).unwrap();
    }
    age();
    let repository = memory_repository();
    back_up(&repository, &tree);
    forge(&repository, |node, _| {
        if node.name == b"f" || node.name == b"d" {
            node.xattrs.clear();
            node.error = "xattr: Input/output error (os error 5)".to_owned();
        }
    });
    back_up(&repository, &tree);
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert_same(&tree, &below(&target, &tree));
}

#[test]
fn a_blob_that_the_vault_lost_is_stored_again() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), "content").unwrap();
    age();
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    back_up(&repository, &tree);
    // All packs and indexes are lost; the snapshot is still there.
    for folder in ["data", "index"] {
        for listed in storage::Storage::list(&memory, folder).unwrap() {
            storage::Storage::delete(&memory, &listed.name).unwrap();
        }
    }
    let report = back_up(&repository, &tree);
    assert_eq!(report.summary.data_blobs, 1);
    bring_back(&repository, &temp.path().join("target"));
}

/// A tree of the parent that is damaged is noticed, told of and stored again, which heals the parent too.
#[test]
fn a_tree_that_the_vault_damaged_is_stored_again() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("d")).unwrap();
    std::fs::write(tree.join("d/f"), "content").unwrap();
    age();
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let first = back_up(&repository, &tree);
    assert_eq!(first.unreadable_trees, 0);
    let index = repository.load_index().unwrap();
    let place = index.get(BlobKind::Tree, &first.snapshot.tree).unwrap();
    let name = vault::FileKind::Pack.name(&place.pack);
    let mut bytes = storage::Storage::get(&memory, &name).unwrap();
    bytes[place.offset as usize + 20] ^= 1;
    memory.overwrite(&name, bytes);
    let second = back_up(&repository, &tree);
    assert_eq!(second.unreadable_trees, 1);
    assert_eq!(second.snapshot.tree, first.snapshot.tree);
    for (target, report) in [("one", &first), ("two", &second)] {
        let reader = Reader::new(
            repository.clone(),
            Arc::new(repository.load_index().unwrap()),
        );
        assert!(reader.read_tree(&report.snapshot.tree).is_ok(), "{target}");
    }
    bring_back(&repository, &temp.path().join("target"));
    assert_eq!(back_up(&repository, &tree).unreadable_trees, 0);
}

#[test]
fn the_parent_can_be_chosen() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), "content").unwrap();
    age();
    let repository = memory_repository();
    let first = back_up(&repository, &tree);
    let mut request = request(&repository, &tree);
    request.parent = ParentChoice::None;
    let second = run(&request).0.unwrap();
    assert_eq!(
        (second.snapshot.parent, second.summary.files_new),
        (None, 1)
    );
    request.parent = ParentChoice::Snapshot(first.snapshot_id);
    let third = run(&request).0.unwrap();
    assert_eq!(
        (third.snapshot.parent, third.summary.files_unmodified),
        (Some(first.snapshot_id), 1)
    );
    request.parent = ParentChoice::Latest;
    request.hostname = Some("elsewhere".to_owned());
    let fourth = run(&request).0.unwrap();
    assert_eq!(
        (fourth.outcome, fourth.snapshot.parent),
        (Outcome::Complete, None)
    );
}

//! Everything that a file system holds comes back as it was.

use std::collections::HashSet;
use std::path::Path;

use runner::Outcome;
use testkit::tree::TreeOptions;

use crate::support::{
    assert_same, back_up, below, bring_back, folder_repository, memory_repository, request, run,
    temp,
};

#[test]
fn every_kind_of_file_comes_back() {
    let temp = temp();
    let tree = temp.path().join("tree");
    testkit::tree::build(&tree, TreeOptions::default()).unwrap();
    let repository = folder_repository(&temp.path().join("vault"));
    let report = back_up(&repository, &tree);
    assert_eq!(report.summary.files_new, report.progress.files_done);
    assert_eq!(report.progress.files_total, report.progress.files_done);
    assert_eq!(
        report.progress.actual_bytes,
        report.summary.data_added_packed
    );
    let target = temp.path().join("target");
    let restored = bring_back(&repository, &target);
    assert_same(&tree, &below(&target, &tree));
    assert_eq!(restored.files_restored, report.progress.files_done);
    assert_eq!(restored.progress.items_done, report.progress.items_done);
    let check = runner::CheckRequest {
        repository,
        options: vault::CheckOptions {
            read_data: vault::ReadData::All,
            ..vault::CheckOptions::default()
        },
    };
    let found = runner::check(&check, &|_| {}).unwrap();
    assert!(found.is_ok(), "{:?}", found.errors);
}

#[test]
fn paths_beyond_4096_bytes_come_back() {
    let temp = temp();
    let tree = temp.path().join("tree");
    testkit::deep::build(&tree, 9000).unwrap();
    let repository = memory_repository();
    back_up(&repository, &tree);
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    let found = testkit::manifest::read(&below(&target, &tree)).unwrap();
    assert!(
        found
            .keys()
            .any(|path| path.len() > 9000 && path.ends_with(b"/bottom"))
    );
    assert_same(&tree, &below(&target, &tree));
}

#[test]
fn several_paths_share_the_folders_that_lead_to_them() {
    let temp = temp();
    let root = temp.path().join("root");
    for name in ["a/one", "a/two/deep", "b", "left out"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("file"), name).unwrap();
    }
    let repository = memory_repository();
    let mut request = request(&repository, &root.join("a/one"));
    request.paths.extend([
        root.join("a/two/deep"),
        root.join("b"),
        root.join("b/file"),
        root.join("a/one/../one/"),
    ]);
    let (result, ear) = run(&request);
    let report = result.unwrap();
    assert_eq!((report.outcome, ear.errors()), (Outcome::Complete, vec![]));
    assert_eq!(report.summary.files_new, 3);
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    let found: HashSet<_> = testkit::manifest::read(&below(&target, &root))
        .unwrap()
        .into_keys()
        .collect();
    let expected = [
        "",
        "a",
        "a/one",
        "a/one/file",
        "a/two",
        "a/two/deep",
        "a/two/deep/file",
        "b",
        "b/file",
    ];
    assert_eq!(
        found,
        expected
            .iter()
            .map(|path| path.as_bytes().to_vec())
            .collect()
    );
}

#[test]
fn a_single_file_and_a_link_can_be_protected() {
    let temp = temp();
    std::fs::write(temp.path().join("f"), "content").unwrap();
    std::os::unix::fs::symlink("f", temp.path().join("l")).unwrap();
    let repository = memory_repository();
    let mut request = request(&repository, &temp.path().join("f"));
    request.paths.push(temp.path().join("l"));
    let report = run(&request).0.unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert_eq!(
        std::fs::read(below(&target, &temp.path().join("l"))).unwrap(),
        b"content"
    );
    assert_eq!(
        std::fs::read_link(below(&target, &temp.path().join("l"))).unwrap(),
        Path::new("f")
    );
}

#[test]
fn a_huge_file_is_shared_by_all_workers_in_little_memory() {
    let temp = temp();
    let path = temp.path().join("huge");
    testkit::content::write_random_file(&path, 70 << 20, 7).unwrap();
    let repository = folder_repository(&temp.path().join("vault"));
    let mut request = request(&repository, &path);
    request.worker_count = std::num::NonZeroUsize::new(4);
    let report = run(&request).0.unwrap();
    assert!(report.summary.data_blobs > 30);
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert!(std::fs::read(&path).unwrap() == std::fs::read(below(&target, &path)).unwrap());
}

/// Attributes of what is never opened. Only root may set any on a link, a pipe or a device.
#[test]
fn attributes_of_links_and_pipes_come_back() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::os::unix::fs::symlink("nowhere", tree.join("link")).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("pipe"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    for name in ["link", "pipe"] {
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::lsetxattr(tree.join(name), "trusted.strongroom", b"1", flags);
        assert_eq!(set.is_ok(), rustix::process::geteuid().is_root());
    }
    let repository = memory_repository();
    back_up(&repository, &tree);
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert_same(&tree, &below(&target, &tree));
    let restored = testkit::manifest::read(&below(&target, &tree)).unwrap();
    let count = usize::from(rustix::process::geteuid().is_root());
    for name in [b"link".as_slice(), b"pipe"] {
        assert_eq!(restored[name].attributes.len(), count);
    }
}

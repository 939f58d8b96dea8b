//! Stock restic and we read each other's repositories.

use std::ffi::OsStr;
use std::path::Path;

use testkit::programs::Restic;
use testkit::tree::TreeOptions;
use vault::Secret;

use crate::support::{
    PASSWORD, age, assert_same, back_up, below, bring_back, folder_repository, temp,
};

/// Every kind of file that each stock restic can keep: older ones spoil link targets that are not UTF-8.
fn build(tree: &Path) {
    testkit::tree::build(tree, TreeOptions::default()).unwrap();
    let links = tree.join("links");
    let times = std::fs::metadata(&links).unwrap().modified().unwrap();
    std::fs::remove_file(links.join("not-utf8")).unwrap();
    std::fs::File::open(&links)
        .unwrap()
        .set_modified(times)
        .unwrap();
}

#[test]
fn restic_checks_and_restores_ours() {
    for restic in Restic::all().unwrap() {
        let temp = temp();
        let (tree, vault) = (temp.path().join("tree"), temp.path().join("vault"));
        build(&tree);
        let report = back_up(&folder_repository(&vault), &tree);
        let restic = |arguments: &[&OsStr]| restic.run(&vault, PASSWORD, arguments).unwrap();
        restic(&["check".as_ref(), "--read-data".as_ref()]);
        let target = temp.path().join("target");
        restic(&[
            "restore".as_ref(),
            "latest".as_ref(),
            "--target".as_ref(),
            target.as_ref(),
        ]);
        assert_same(&tree, &below(&target, &tree));
        let listed = restic(&["ls".as_ref(), "latest".as_ref()]);
        assert!(listed.contains(&tree.to_string_lossy().into_owned()));
        let shown = restic(&[
            "cat".as_ref(),
            "snapshot".as_ref(),
            report.snapshot_id.to_hex().as_ref(),
        ]);
        assert!(shown.contains(&report.snapshot.tree.to_hex()));
    }
}

#[test]
fn we_restore_what_restic_made_and_go_on_from_there() {
    for restic in Restic::all().unwrap() {
        let temp = temp();
        let (tree, vault) = (temp.path().join("tree"), temp.path().join("vault"));
        build(&tree);
        age();
        let restic = |arguments: &[&OsStr]| restic.run(&vault, PASSWORD, arguments).unwrap();
        restic(&[
            "init".as_ref(),
            "--repository-version".as_ref(),
            "2".as_ref(),
        ]);
        restic(&["backup".as_ref(), tree.as_ref()]);
        let storage = std::sync::Arc::new(storage::LocalFolder::new(&vault));
        let repository = vault::Repository::open(storage, &Secret::new(PASSWORD)).unwrap();
        let target = temp.path().join("target");
        bring_back(&repository, &target);
        assert_same(&tree, &below(&target, &tree));
        let report = back_up(&repository, &tree);
        assert!(
            report.snapshot.parent.is_some(),
            "restic's snapshot is the parent"
        );
        // One file of the tree has a time far ahead, which never proves that it is unchanged.
        assert!(
            report.summary.data_blobs <= 1,
            "nothing else is read anew: {:?}",
            report.summary
        );
        assert!(
            report.summary.files_new + report.summary.files_changed <= 1,
            "{:?}",
            report.summary
        );
        restic(&["check".as_ref(), "--read-data".as_ref()]);
        restic(&["backup".as_ref(), tree.as_ref()]);
        restic(&["check".as_ref()]);
    }
}

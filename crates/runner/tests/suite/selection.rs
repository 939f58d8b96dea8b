//! What is left out, what is refused, and what is missing.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use runner::{Outcome, RunError, folder_identity};
use source::file::stat::DevIno;

use crate::support::{
    back_up, below, bring_back, folder_repository, memory_repository, request, run, temp,
};

fn write(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
}

/// The restored files below `root`, sorted.
fn restored(repository: &vault::Repository, temp: &Path, root: &Path) -> Vec<String> {
    let target = temp.join("target");
    bring_back(repository, &target);
    let manifest = testkit::manifest::read(&below(&target, root)).unwrap();
    manifest
        .keys()
        .filter(|path| !path.is_empty())
        .map(|path| String::from_utf8(path.clone()).unwrap())
        .collect()
}

#[test]
fn the_vault_and_skipped_folders_are_left_out() {
    let temp = temp();
    let home = temp.path().join("home");
    write(&home, &["keep/f", "cache/x", "deep/cache/y"]);
    let repository = folder_repository(&home.join("deep/vault"));
    let mut request = request(&repository, &home);
    request.skip = vec![folder_identity(&home.join("cache")).unwrap()];
    let report = run(&request).0.unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
    let expected = ["deep", "deep/cache", "deep/cache/y", "keep", "keep/f"];
    assert_eq!(restored(&repository, temp.path(), &home), expected);
}

#[test]
fn a_bind_mount_of_the_vault_is_left_out() {
    let temp = temp();
    let home = temp.path().join("home");
    write(&home, &["f", "mount/x"]);
    let vault = temp.path().join("vault");
    let repository = folder_repository(&vault);
    let mounted = std::process::Command::new("mount")
        .arg("--bind")
        .arg(&vault)
        .arg(home.join("mount"))
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        // Only root may; the identity that the test would see through the mount is tested in `source`.
        assert!(!rustix::process::geteuid().is_root());
        return;
    }
    let (result, _) = run(&request(&repository, &home));
    let refused = run(&request(&repository, &home.join("mount"))).0;
    std::process::Command::new("umount")
        .arg(home.join("mount"))
        .status()
        .unwrap();
    assert_eq!(result.unwrap().outcome, Outcome::Complete);
    assert!(matches!(refused, Err(RunError::SourceInsideVault { .. })));
    assert_eq!(restored(&repository, temp.path(), &home), ["f"]);
}

#[test]
fn protecting_the_vault_or_a_skipped_folder_is_refused() {
    let temp = temp();
    let vault = temp.path().join("vault");
    let repository = folder_repository(&vault);
    for path in [vault.clone(), vault.join("data")] {
        let result = run(&request(&repository, &path)).0;
        assert!(
            matches!(result, Err(RunError::SourceInsideVault { .. })),
            "{}",
            path.display()
        );
    }
    let data_dir = temp.path().join("data-dir");
    write(&data_dir, &["x/f"]);
    let meta = std::fs::metadata(&data_dir).unwrap();
    let mut request = request(&repository, &data_dir.join("x"));
    request.skip = vec![DevIno {
        device: meta.dev(),
        inode: meta.ino(),
    }];
    assert!(matches!(
        run(&request).0,
        Err(RunError::SourceInsideVault { .. })
    ));
}

#[test]
fn includes_limit_and_excludes_leave_out() {
    let temp = temp();
    let root = temp.path().join("root");
    write(
        &root,
        &[
            "a/1.pdf",
            "a/1.txt",
            "b/only.txt",
            "c/deep/2.pdf",
            "c/skip/3.pdf",
        ],
    );
    let repository = memory_repository();
    let mut request = request(&repository, &root);
    request.include = vec!["*.pdf".to_owned()];
    request.exclude = vec!["skip".to_owned()];
    assert_eq!(run(&request).0.unwrap().summary.files_new, 2);
    let expected = ["a", "a/1.pdf", "c", "c/deep", "c/deep/2.pdf"];
    assert_eq!(restored(&repository, temp.path(), &root), expected);
    request.include = vec![root.join("a").to_str().unwrap().to_owned()];
    request.parent = runner::ParentChoice::None;
    assert_eq!(run(&request).0.unwrap().summary.files_new, 2);
}

#[test]
fn a_restore_can_be_limited_too() {
    let temp = temp();
    let root = temp.path().join("root");
    write(
        &root,
        &[
            "a/1.pdf",
            "a/1.txt",
            "b/only.txt",
            "c/deep/2.pdf",
            "c/skip/3.pdf",
        ],
    );
    let repository = memory_repository();
    back_up(&repository, &root);
    let target = temp.path().join("target");
    let mut request = crate::support::restore_request(&repository, &target);
    request.includes = vec!["*.pdf".to_owned()];
    request.excludes = vec!["skip".to_owned()];
    let report = crate::support::run_restore(&request).0.unwrap();
    assert_eq!(
        (report.outcome, report.files_restored),
        (Outcome::Complete, 2)
    );
    let found = testkit::manifest::read(&below(&target, &root)).unwrap();
    let paths: Vec<&[u8]> = found.keys().map(Vec::as_slice).collect();
    assert_eq!(
        paths,
        [
            b"".as_slice(),
            b"a",
            b"a/1.pdf",
            b"c",
            b"c/deep",
            b"c/deep/2.pdf"
        ]
    );
    let a = std::fs::metadata(root.join("a"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(
        std::fs::metadata(below(&target, &root).join("a"))
            .unwrap()
            .modified()
            .unwrap(),
        a
    );
}

/// restic#4467: a source path that is not there, and exit status 0.
#[test]
fn t12_a_missing_path_is_never_passed_over() {
    let temp = temp();
    write(temp.path(), &["here/f"]);
    let repository = memory_repository();
    let mut request = request(&repository, &temp.path().join("here"));
    request.paths.push(temp.path().join("gone"));
    request.paths.push(temp.path().join("gone too/deep"));
    let (result, ear) = run(&request);
    assert_eq!(result.unwrap().outcome, Outcome::Partial);
    assert_eq!(ear.errors().len(), 2);
    assert!(ear.paths().contains(&temp.path().join("gone")));
    assert!(ear.errors().iter().all(|error| error.errno == Some(2)));
    request.paths.remove(0);
    let (result, ear) = run(&request);
    assert!(matches!(result, Err(RunError::SourceMissing)));
    assert_eq!(ear.errors().len(), 2);
    assert_eq!(
        repository.snapshots().unwrap().len(),
        1,
        "no snapshot of nothing"
    );
}

#[test]
fn a_bad_pattern_is_an_error() {
    let temp = temp();
    let mut request = request(&memory_repository(), temp.path());
    request.exclude = vec!["[".to_owned()];
    assert!(matches!(run(&request).0, Err(RunError::Pattern(_))));
}

/// The longest path that the system takes, of as many folders as it can have, on a thread with little stack.
#[test]
fn a_path_of_as_many_folders_as_there_can_be_is_protected() {
    let temp = temp();
    let mut path = temp.path().to_owned();
    while path.as_os_str().len() + 2 < 4096 {
        path.push("a");
    }
    std::fs::create_dir_all(&path).unwrap();
    let repository = memory_repository();
    let report = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || {
            let (result, ear) = run(&request(&repository, &path));
            assert!(ear.errors().is_empty(), "{:?}", ear.errors());
            result.unwrap()
        })
        .unwrap()
        .join()
        .unwrap();
    assert!(report.summary.dirs_new > 1900, "{:?}", report.summary);
}

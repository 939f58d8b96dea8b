//! T39: the source changes while it is read, restic#2165 and #5421.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use runner::Outcome;
use vault::ReadData;

use crate::support::{below, folder_repository, memory_repository, request, run, temp};

fn fill(tree: &Path) {
    for folder in 0..20 {
        let folder = tree.join(format!("d{folder}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..20 {
            std::fs::write(folder.join(format!("f{file}")), vec![file; 20_000]).unwrap();
        }
    }
}

/// Removes, adds, grows, shrinks and swaps until told to stop.
fn mutate(tree: &Path, stop: &AtomicBool) {
    let mut random = testkit::content::Random::new(39);
    while !stop.load(Ordering::Relaxed) {
        let folder = tree.join(format!("d{}", random.below(20)));
        let file = folder.join(format!("f{}", random.below(20)));
        // Whatever is refused because of an earlier step is part of the mess.
        let _ = match random.below(7) {
            0 => std::fs::remove_file(&file),
            1 => std::fs::write(&file, vec![1; random.below(2_000_000) as usize]),
            2 => std::fs::File::options()
                .write(true)
                .open(&file)
                .and_then(|file| file.set_len(random.below(9000))),
            3 => std::fs::remove_dir_all(&folder),
            4 => std::fs::create_dir_all(&folder),
            5 => std::fs::rename(&file, folder.join("moved")),
            _ => std::fs::remove_file(&file)
                .and_then(|()| std::os::unix::fs::symlink("/etc/passwd", &file)),
        };
    }
}

#[test]
fn t39_a_source_that_changes_gives_a_snapshot_that_restores() {
    let temp = temp();
    let tree = temp.path().join("tree");
    let repository = folder_repository(&temp.path().join("vault"));
    for round in 0..4 {
        fill(&tree);
        let stop = AtomicBool::new(false);
        let (result, ear) = std::thread::scope(|scope| {
            scope.spawn(|| mutate(&tree, &stop));
            let result = run(&request(&repository, &tree));
            stop.store(true, Ordering::Relaxed);
            result
        });
        let report = result.unwrap();
        assert_eq!(report.outcome == Outcome::Partial, !ear.errors().is_empty());
        let target = temp.path().join(format!("target-{round}"));
        let restored =
            crate::support::run_restore(&crate::support::restore_request(&repository, &target))
                .0
                .unwrap();
        assert_eq!(restored.outcome, Outcome::Complete);
        std::fs::remove_dir_all(&tree).unwrap();
    }
    let options = vault::CheckOptions {
        read_data: ReadData::All,
        ..vault::CheckOptions::default()
    };
    let check = runner::CheckRequest {
        repository,
        options,
    };
    assert!(runner::check(&check, &|_| {}).unwrap().is_ok());
}

#[test]
fn t39_a_file_that_grows_while_it_is_read_is_stored_and_told() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let file = tree.join("log");
    std::fs::write(&file, vec![7; 30 << 20]).unwrap();
    let stop = AtomicBool::new(false);
    let repository = memory_repository();
    let (result, ear) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = std::fs::File::options().append(true).open(&file).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::io::Write::write_all(&mut log, b"one more line\n").unwrap();
            }
        });
        let result = run(&request(&repository, &tree));
        stop.store(true, Ordering::Relaxed);
        result
    });
    let report = result.unwrap();
    assert_eq!(report.outcome, Outcome::Partial);
    assert_eq!((report.progress.errors, report.progress.changed), (1, 1));
    assert_eq!(ear.paths(), std::slice::from_ref(&file));
    let target = temp.path().join("target");
    crate::support::bring_back(&repository, &target);
    let restored = std::fs::read(below(&target, &file)).unwrap();
    assert!(restored.len() >= 30 << 20);
    assert_eq!(restored, std::fs::read(&file).unwrap()[..restored.len()]);
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_goes_on() {
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root; a pipe in place of a file gives the same kind of failure in `source`.
        return;
    }
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("closed")).unwrap();
    std::fs::write(tree.join("open"), "x").unwrap();
    std::fs::write(tree.join("secret"), "x").unwrap();
    for name in ["closed", "secret"] {
        std::fs::set_permissions(tree.join(name), std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    let (result, ear) = run(&request(&memory_repository(), &tree));
    let report = result.unwrap();
    assert_eq!(
        (report.outcome, report.summary.files_new),
        (Outcome::Partial, 1)
    );
    assert_eq!(ear.errors().len(), 2);
    std::fs::set_permissions(tree.join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
}

//! What a restore does with what is there already.

use std::path::Path;
use std::time::{Duration, SystemTime};

use model::{ConflictPolicy, SpeedLimit};
use runner::{Outcome, RestoreReport, Target};

use crate::support::{
    Ear, assert_same, back_up, below, bring_back, memory_repository, request, restore_request, run,
    run_restore, temp,
};

const OLD: Duration = Duration::from_secs(1_000_000_000);
const MIDDLE: Duration = Duration::from_secs(1_100_000_000);
const NEW: Duration = Duration::from_secs(1_200_000_000);

fn write(path: &Path, content: &str, time: Duration) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + time).unwrap();
}

/// A snapshot of three files, restored over an older and a newer one.
fn restored_over(policy: ConflictPolicy, temp: &Path) -> (RestoreReport, Ear, [String; 3]) {
    let tree = temp.join("tree");
    for name in ["older", "newer", "absent"] {
        write(&tree.join(name), "snapshot", MIDDLE);
    }
    let repository = memory_repository();
    back_up(&repository, &tree);
    let target = temp.join("target");
    let there = below(&target, &tree);
    write(&there.join("older"), "present", OLD);
    write(&there.join("newer"), "present", NEW);
    let mut request = restore_request(&repository, &target);
    request.conflict = policy;
    let (result, ear) = run_restore(&request);
    let content = |name: &str| std::fs::read_to_string(there.join(name)).unwrap();
    (
        result.unwrap(),
        ear,
        [content("older"), content("newer"), content("absent")],
    )
}

/// T35 of the history of failures: bytes do not depend on the speed at which they were read, nor on what lies in the way.
#[test]
fn t35_any_speed_limit_gives_the_same_bytes_also_over_a_changed_file() {
    for (limit, length) in [
        ("0:24:1", 700),
        ("0:24:100", 60_000),
        ("0:24:1000000", 3_000_000),
    ] {
        let temp = temp();
        let tree = temp.path().join("tree");
        let content: String = (0..length / 7)
            .map(|number| format!("{number:06}\n"))
            .collect();
        write(&tree.join("file"), &content, MIDDLE);
        let repository = memory_repository();
        let mut limited = request(&repository, &tree);
        limited.speed_limit = Some(SpeedLimit::parse(limit).unwrap());
        let (report, ear) = run(&limited);
        assert_eq!(
            report.unwrap().outcome,
            Outcome::Complete,
            "{:?}",
            ear.errors()
        );
        let target = temp.path().join("target");
        let there = below(&target, &tree).join("file");
        // As long and as old, so that nothing but the content tells.
        write(&there, &content.replace('3', "4"), MIDDLE);
        bring_back(&repository, &target);
        assert_same(&tree, &below(&target, &tree));
    }
}

#[test]
fn the_policies_decide() {
    let check = |policy, expected: [&str; 3], skipped| {
        let temp = temp();
        let (report, ear, found) = restored_over(policy, temp.path());
        assert_eq!(found, expected, "{policy:?}");
        assert_eq!(
            (report.outcome, report.skipped),
            (Outcome::Complete, skipped),
            "{:?}",
            ear.errors()
        );
    };
    check(
        ConflictPolicy::OverwriteExisting,
        ["snapshot", "snapshot", "snapshot"],
        0,
    );
    check(
        ConflictPolicy::SkipExisting,
        ["present", "present", "snapshot"],
        2,
    );
    check(
        ConflictPolicy::OverwriteOlder,
        ["snapshot", "present", "snapshot"],
        1,
    );
}

#[test]
fn the_original_place_is_restored_to() {
    let temp = temp();
    let tree = temp.path().join("tree");
    write(&tree.join("d/f"), "original", MIDDLE);
    write(&tree.join("d/g"), "original", MIDDLE);
    let repository = memory_repository();
    back_up(&repository, &tree);
    let before = testkit::manifest::read(&tree).unwrap();
    std::fs::write(tree.join("d/f"), "spoilt").unwrap();
    std::fs::remove_file(tree.join("d/g")).unwrap();
    write(&tree.join("d/other"), "not of the snapshot", NEW);
    let mut request = restore_request(&repository, temp.path());
    request.target = Target::Original;
    // The folders that lead there are this host's own and stay as they are.
    let parent_before = std::fs::metadata(temp.path()).unwrap().modified().unwrap() + NEW;
    let parent = std::fs::File::open(temp.path()).unwrap();
    parent.set_modified(parent_before).unwrap();
    let (result, ear) = run_restore(&request);
    assert_eq!(
        result.unwrap().outcome,
        Outcome::Complete,
        "{:?}",
        ear.errors()
    );
    assert_eq!(
        std::fs::metadata(temp.path()).unwrap().modified().unwrap(),
        parent_before
    );
    let mut after = testkit::manifest::read(&tree).unwrap();
    assert!(after.remove(b"d/other".as_slice()).is_some());
    let differences =
        testkit::compare::manifests(&before, &after, testkit::compare::CompareOptions::default());
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn other_kinds_in_the_way() {
    let temp = temp();
    let tree = temp.path().join("tree");
    write(&tree.join("was-dir"), "file", MIDDLE);
    write(&tree.join("was-full-dir"), "file", MIDDLE);
    write(&tree.join("was-file/inner"), "file", MIDDLE);
    write(&tree.join("was-link/inner"), "file", MIDDLE);
    std::os::unix::fs::symlink("x", tree.join("link")).unwrap();
    let repository = memory_repository();
    back_up(&repository, &tree);
    let target = temp.path().join("target");
    let there = below(&target, &tree);
    std::fs::create_dir_all(there.join("was-dir")).unwrap();
    write(&there.join("was-full-dir/precious"), "precious", NEW);
    write(&there.join("was-file"), "present", NEW);
    write(&there.join("link"), "present", NEW);
    std::os::unix::fs::symlink(temp.path(), there.join("was-link")).unwrap();
    let (result, ear) = run_restore(&restore_request(&repository, &target));
    assert_eq!(result.unwrap().outcome, Outcome::Partial);
    let failed = ear.paths();
    assert_eq!(failed.len(), 2, "{:?}", ear.errors());
    assert!(
        failed.contains(&there.join("was-full-dir")) && failed.contains(&there.join("was-link"))
    );
    assert_eq!(
        std::fs::read_to_string(there.join("was-full-dir/precious")).unwrap(),
        "precious"
    );
    assert_eq!(
        std::fs::read_to_string(there.join("was-file/inner")).unwrap(),
        "file"
    );
    assert!(there.join("was-dir").is_file() && there.join("link").is_symlink());
    assert!(
        !temp.path().join("inner").exists(),
        "nothing was written through the link"
    );
}

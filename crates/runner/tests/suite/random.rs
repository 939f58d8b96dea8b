//! Random trees, changed at random between backups, come back as they were.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use testkit::content::Random;

use crate::support::{assert_same, back_up, below, bring_back, folder_repository, temp};

fn name(random: &mut Random) -> std::ffi::OsString {
    let longest = if random.below(10) == 0 { 250 } else { 8 };
    let length = 1 + random.below(longest);
    let bytes: Vec<u8> = (0..length)
        .map(|_| match random.below(256) as u8 {
            0 | b'/' | b'.' => b'_',
            byte => byte,
        })
        .collect();
    std::ffi::OsString::from_vec(bytes)
}

fn content(random: &mut Random) -> Vec<u8> {
    let length = match random.below(12) {
        0 => 0,
        1 => 512 * 1024 - 1 + random.below(3),
        2 => random.below(3 << 20),
        _ => random.below(5000),
    } as usize;
    match random.below(3) {
        0 => vec![0; length],
        1 => vec![random.below(4) as u8; length],
        _ => testkit::content::random_bytes(length, random.next_number()),
    }
}

/// One random change somewhere in the tree; what is not possible is left.
fn change(root: &Path, dirs: &mut Vec<PathBuf>, random: &mut Random) {
    let dir = dirs[random.below(dirs.len() as u64) as usize].clone();
    let path = dir.join(name(random));
    let some_entry = std::fs::read_dir(&dir)
        .ok()
        .and_then(|mut entries| entries.next())
        .and_then(Result::ok);
    let _ = match (random.below(9), some_entry) {
        (0 | 1, _) => std::fs::create_dir(&path).map(|()| dirs.push(path)),
        (2, _) => std::os::unix::fs::symlink(name(random), &path),
        (3, Some(entry)) if entry.path().is_file() => std::fs::hard_link(entry.path(), &path),
        (4, Some(entry)) if entry.path() != *root && !dirs.contains(&entry.path()) => {
            std::fs::remove_file(entry.path())
        }
        (5, Some(entry)) if !dirs.contains(&entry.path()) => std::fs::rename(entry.path(), &path),
        _ => std::fs::write(&path, content(random)),
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_trees_come_back(seed in any::<u64>(), rounds in prop::collection::vec(1_u64..40, 1..4)) {
        let temp = temp();
        let root = temp.path().join("tree");
        std::fs::create_dir(&root).unwrap();
        let repository = folder_repository(&temp.path().join("vault"));
        let mut random = Random::new(seed);
        let mut dirs = vec![root.clone()];
        for (round, changes) in rounds.into_iter().enumerate() {
            for _ in 0..changes {
                change(&root, &mut dirs, &mut random);
            }
            back_up(&repository, &root);
            let target = temp.path().join(format!("target-{round}"));
            bring_back(&repository, &target);
            assert_same(&root, &below(&target, &root));
        }
    }
}

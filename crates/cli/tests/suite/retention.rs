//! `repo forget`: its rules against those of stock restic, and what it refuses.

use std::sync::Arc;

use serde_json::Value;
use testkit::programs::Restic;
use vault::{Id, Repository, Snapshot, Time, Writer, WriterOptions};

use super::maintain::{PASSWORD, Repo, save};

/// A history of snapshots of one tree, by a seed: times over three years at several offsets, hosts, paths, tags.
fn history(repository: &Repository, seed: u64, count: u64) {
    let tree = save(
        repository,
        0..1,
        &Snapshot {
            time: Time::new(1_600_000_000, 0),
            hostname: "first".to_owned(),
            paths: vec!["/first".to_owned()],
            ..Snapshot::default()
        },
    );
    let tree = repository.snapshot(&tree).unwrap().tree;
    for number in 0..count {
        let bytes = *Id::hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).as_bytes();
        let wide = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        // Some close together, some far apart.
        let spread = [3_600, 86_400, 8_640_000, 94_000_000][usize::from(bytes[8] % 4)];
        let time = Time::new(
            1_717_000_000 - (wide % spread) as i64,
            u32::from(bytes[9]) + 1,
        );
        let words = |byte: u8, all: &[&str]| -> Vec<String> {
            (0..all.len())
                .filter(|bit| byte >> bit & 1 == 1)
                .map(|bit| all[bit].to_owned())
                .collect()
        };
        let mut paths = words(bytes[11] % 4, &["/a", "/b"]);
        if paths.is_empty() {
            paths.push("/c".to_owned());
        }
        let snapshot = Snapshot {
            time,
            utc_offset_seconds: [0, 0, 7_200, -34_200][usize::from(bytes[12] % 4)],
            tree,
            hostname: ["alpha", "beta"][usize::from(bytes[10] % 2)].to_owned(),
            paths,
            tags: words(bytes[13] % 8, &["x", "y", "z"]),
            ..Snapshot::default()
        };
        let index = Arc::new(repository.load_index().unwrap());
        let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
        writer.commit(&snapshot).unwrap();
    }
}

/// The ids that are kept and removed, and how many groups there are.
fn decision(text: &str) -> (usize, Vec<String>, Vec<String>) {
    let start = text.find('[').unwrap();
    let groups: Vec<Value> = serde_json::from_str(text[start..].lines().next().unwrap()).unwrap();
    let ids = |name: &str| {
        let lists = groups.iter().filter_map(|group| group[name].as_array());
        let mut ids: Vec<String> = lists
            .flatten()
            .map(|snapshot| snapshot["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    (groups.len(), ids("keep"), ids("remove"))
}

#[test]
fn forget_decides_as_stock_restic_does() {
    let policies = [
        "--keep-last 3",
        "--keep-hourly 4 --keep-daily 5",
        "--keep-daily 3 --keep-weekly 2 --keep-monthly 4 --keep-yearly 2",
        "--keep-yearly 1 --keep-tag x",
        "--keep-tag x,y --keep-last 1 --group-by host",
        "--keep-last 2 --group-by tags",
        "--keep-last 2 --group-by host,tags,paths",
        "--keep-within 1y2m --keep-last 1",
        "--keep-within 3d5h --keep-daily 2",
        "--keep-last 1 --tag x --tag y,z",
        "--keep-daily 4 --host alpha",
        "--keep-last 2 --path /a",
        "--keep-last 1 --path /a --path /b --group-by host",
    ];
    // restic 0.14 does not know the word, and does not keep the oldest one while a rule has some left.
    let newer_only = [
        "--keep-weekly unlimited",
        "--keep-monthly 40",
        "--keep-daily 2 --group-by host,tags,paths",
        "--keep-within-hourly 2d --keep-last 1",
        "--keep-within-daily 1m --keep-within-weekly 1y --keep-last 1",
        "--keep-within-monthly 3y --keep-within-yearly 9y --keep-last 1",
    ];
    let restics = Restic::all().unwrap();
    let mut cases = 0;
    let mut different = Vec::new();
    for (number, restic) in restics.iter().enumerate() {
        let repo = Repo::new();
        history(&repo.open(), number as u64, 60);
        let more: &[&str] = if number > 0 { &newer_only } else { &[] };
        for policy in policies.iter().chain(more) {
            let mut arguments = vec!["forget", "--dry-run", "--json"];
            arguments.extend(policy.split(' '));
            let ours = repo.run(&arguments).expect(0).out;
            let mut command = restic.command(&repo.path, PASSWORD);
            command.args(&arguments).env("TZ", "UTC");
            let theirs = testkit::programs::successful(&mut command).unwrap();
            if decision(&ours) != decision(&theirs) {
                different.push(format!("{policy}, restic {number}"));
            }
            cases += 1;
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(cases >= 15 || restics.is_empty(), "{cases}");
}

/// T9 of the history of failures: nothing is removed by accident.
#[test]
fn t09_forget_refuses_to_remove_everything() {
    let repo = Repo::new();
    history(&repo.open(), 1, 10);
    let count = || repo.open().snapshots().unwrap().len();
    let before = count();
    repo.run(&["forget"]).expect(1);
    repo.run(&["forget", "--keep-tag", "nobody-has-it"])
        .expect(1);
    repo.run(&["forget", "--keep-last", "0"]).expect(1);
    repo.run(&["forget", "--unsafe-allow-remove-all"]).expect(2);
    repo.run(&["forget", "--unsafe-allow-remove-all", "--keep-last", "1"])
        .expect(2);
    repo.run(&["forget", "--keep-within", "2w"]).expect(2);
    assert_eq!(count(), before);
    // A filter that nothing passes removes nothing.
    repo.run(&["forget", "--unsafe-allow-remove-all", "--host", "nobody"])
        .expect(0);
    assert_eq!(count(), before);
    repo.run(&["forget", "--unsafe-allow-remove-all", "--host", "first"])
        .expect(0);
    assert_eq!(count(), before - 1);
    let id = repo.open().snapshots().unwrap()[0].0.to_hex();
    let dry = repo.run(&["forget", &id[..10], "-n"]).expect(0);
    assert!(dry.out.contains("would remove"), "{}", dry.out);
    repo.run(&["forget", &id[..10]]).expect(0);
    assert_eq!(count(), before - 2);
}

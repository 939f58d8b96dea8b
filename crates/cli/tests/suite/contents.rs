//! Archives of `repo dump` and dry runs of `repo backup`, whole and not: every kind of file, damage, readers that go away.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::maintain::{PASSWORD, Repo, newest_restic};

/// The last JSON line of a backup.
fn summary(repo: &Repo, arguments: &[&str]) -> Value {
    let all = [&["backup", "--json"], arguments].concat();
    repo.run(&all).expect(0).json_lines().pop().unwrap()
}

/// The files of a repository, by name.
pub(super) fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => drop(found.insert(path.to_str().unwrap().to_owned())),
            }
        }
    }
    found
}

#[test]
fn a_dump_is_what_restic_dumps_and_what_was_there() {
    let repo = Repo::new();
    let source = repo.bench.path("source");
    testkit::tree::build(&source, testkit::tree::TreeOptions::default()).unwrap();
    let path = source.to_str().unwrap();
    repo.run(&["backup", path]).expect(0);
    let file = format!("{path}/plain/bytes-4096");
    let target = repo.bench.path("file");
    let to = target.to_str().unwrap();
    let done = repo
        .run(&["dump", "latest", &file, "--target", to])
        .expect(0);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", ""));
    assert_eq!(
        std::fs::read(&target).unwrap(),
        std::fs::read(&file).unwrap()
    );

    let archive = repo.bench.path("all.tar");
    let to = archive.to_str().unwrap();
    repo.run(&["dump", "latest", "/", "-t", to]).expect(0);
    let restored = repo.bench.path("restored");
    std::fs::create_dir(&restored).unwrap();
    let unpacked = Command::new("tar")
        .args([
            "-x",
            "-p",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-f",
            to,
            "-C",
        ])
        .arg(&restored)
        .output()
        .unwrap();
    assert!(
        unpacked.status.success(),
        "{}",
        String::from_utf8_lossy(&unpacked.stderr)
    );
    let found = restored.join(source.strip_prefix("/").unwrap());
    let options = testkit::compare::CompareOptions::default();
    let mut differences = testkit::compare::trees(&source, &found, options).unwrap();
    // Two names of one file are two files, as restic dumps them.
    differences.retain(|line| !(line.starts_with("links/") && line.contains("first name")));
    assert!(differences.is_empty(), "{differences:#?}");

    let theirs = repo.bench.path("theirs.tar");
    let folder = format!("{path}/plain");
    newest_restic()
        .run(
            &repo.path,
            PASSWORD,
            &[
                "dump",
                "latest",
                &folder,
                "--target",
                theirs.to_str().unwrap(),
            ],
        )
        .unwrap();
    let ours = repo.bench.path("ours.tar");
    repo.run(&[
        "dump",
        "latest",
        &folder,
        "--target",
        ours.to_str().unwrap(),
    ])
    .expect(0);
    let listed = |archive: &Path| -> BTreeSet<String> {
        let listing = Command::new("tar")
            .arg("-tvf")
            .arg(archive)
            .env("TZ", "UTC")
            .output()
            .unwrap();
        let text = String::from_utf8(listing.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    assert!(listed(&ours).len() > 5);
    assert_eq!(listed(&ours), listed(&theirs));
}

#[test]
fn a_dump_that_cannot_be_whole_says_so() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    let path = source.to_str().unwrap();
    repo.run(&["backup", path]).expect(0);
    let missing = repo
        .run(&["dump", "latest", &format!("{path}/none")])
        .expect(1);
    assert!(
        missing.err.contains("is not in snapshot") && missing.err.contains("repo ls"),
        "{}",
        missing.err
    );
    // A reader that goes away ends it without a word.
    let mut command = repo.command(&["dump", "latest", path]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), &*done.stderr), (Some(141), &b""[..]));
    let data = repo.path.join("data");
    let packs: Vec<String> = files(&data).into_iter().collect();
    for pack in &packs {
        let length = std::fs::metadata(pack).unwrap().len();
        std::fs::write(pack, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    let damaged = repo.run(&["dump", "latest", path]).expect(1);
    assert!(damaged.err.contains("check --read-data"), "{}", damaged.err);
}

#[test]
fn a_dry_run_counts_and_stores_nothing() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    testkit::content::write_random_file(&source.join("large"), 24 << 20, 1).unwrap();
    let path = source.to_str().unwrap();
    let before = files(&repo.path);
    let dry = summary(&repo, &[path, "--dry-run"]);
    assert!(
        dry["dry_run"] == true && dry.get("snapshot_id").is_none(),
        "{dry}"
    );
    assert_eq!(files(&repo.path), before);
    let said = repo.run(&["backup", "-n", path]).expect(0).out;
    assert!(
        said.contains("nothing was stored") && !said.contains("saved"),
        "{said}"
    );
    let real = summary(&repo, &[path]);
    for name in [
        "files_new",
        "dirs_new",
        "data_blobs",
        "data_added",
        "total_bytes_processed",
    ] {
        assert_eq!(dry[name], real[name], "{name}");
    }
    std::fs::write(source.join("more"), "more\n").unwrap();
    let again = summary(&repo, &[path, "--dry-run"]);
    assert_eq!(
        (&again["files_new"], &again["files_unmodified"]),
        (&1.into(), &6.into())
    );
    let snapshots = repo.run(&["snapshots", "--json"]).expect(0).json_lines();
    assert_eq!(snapshots[0].as_array().unwrap().len(), 1);
}

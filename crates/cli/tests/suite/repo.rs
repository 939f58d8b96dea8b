//! `repo`: restic repositories without a service, and stock restic on the other side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use testkit::programs::Restic;
use vault::{LockKind, Repository, Secret};

use super::bench::{Bench, Done, assert_same, finish, pack_count, wait_for};

const PASSWORD: &str = "correct horse";

struct Repo {
    bench: Bench,
    path: PathBuf,
}

impl Repo {
    fn new() -> Self {
        let bench = Bench::new();
        let path = bench.path("repository");
        Self { bench, path }
    }

    fn made() -> Self {
        let repo = Self::new();
        repo.run(&["init"]).expect(0);
        repo
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.command(&["repo"]);
        command
            .args(arguments)
            .env("RESTIC_REPOSITORY", &self.path)
            .env("RESTIC_PASSWORD", PASSWORD);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments))
    }

    fn locks(&self) -> usize {
        std::fs::read_dir(self.path.join("locks")).unwrap().count()
    }
}

#[test]
fn stock_restic_checks_and_restores_ours() {
    let repo = Repo::made();
    let source = repo.bench.path("source");
    testkit::tree::build(&source, testkit::tree::TreeOptions::default()).unwrap();
    let path = source.to_str().unwrap();
    repo.run(&["backup", path, "--tag", "one,two", "--host", "elsewhere"])
        .expect(0);
    let again = repo
        .run(&["backup", path, "--host", "elsewhere", "--json"])
        .expect(0)
        .json_lines();
    let summary = again.last().unwrap();
    assert_eq!(
        (&summary["message_type"], &summary["data_blobs"]),
        (&Value::from("summary"), &Value::from(0))
    );
    repo.run(&["check", "--read-data"]).expect(0);
    assert_eq!(repo.locks(), 0);
    for (number, restic) in Restic::all().unwrap().into_iter().enumerate() {
        restic
            .run(&repo.path, PASSWORD, &["check", "--read-data"])
            .unwrap();
        let listed = restic
            .run(&repo.path, PASSWORD, &["snapshots", "--json"])
            .unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(
            (&listed[0]["tags"][1], &listed[0]["hostname"]),
            (&Value::from("two"), &Value::from("elsewhere"))
        );
        let theirs = restic
            .run(&repo.path, PASSWORD, &["ls", "latest", "--json"])
            .unwrap();
        let ours = repo.run(&["ls", "latest", "--json"]).expect(0).out;
        let ours = modes(&ours);
        assert!(ours.len() > 50, "{}", ours.len());
        assert_eq!(modes(&theirs), ours);
        let target = repo.bench.path(&format!("by-restic-{number}"));
        restic
            .run(
                &repo.path,
                PASSWORD,
                &["restore", "latest", "--target", target.to_str().unwrap()],
            )
            .unwrap();
        let restored = target.join(source.strip_prefix("/").unwrap());
        let options = testkit::compare::CompareOptions::default();
        let mut differences = testkit::compare::trees(&source, &restored, options).unwrap();
        // restic before 0.17 cannot bring back link targets that are not UTF-8.
        differences.retain(|line| !line.starts_with("links/not-utf8: link target"));
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

/// The mode of each path, as `ls --json` prints it.
fn modes(listing: &str) -> std::collections::BTreeMap<String, u64> {
    let lines = listing
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    // What stands for bytes that are not UTF-8 differs.
    let nodes = lines.filter(|line: &Value| {
        line["struct_type"] == "node" && !line["path"].to_string().contains('\u{fffd}')
    });
    nodes
        .map(|node| (node["path"].to_string(), node["mode"].as_u64().unwrap_or(0)))
        .collect()
}

#[test]
fn we_read_and_extend_what_restic_made() {
    for restic in Restic::all().unwrap() {
        let repo = Repo::new();
        let source = repo.bench.small_source("source");
        let path = source.to_str().unwrap();
        restic
            .run(&repo.path, PASSWORD, &["init", "--repository-version", "2"])
            .unwrap();
        restic.run(&repo.path, PASSWORD, &["backup", path]).unwrap();
        let target = repo.bench.path("restored");
        repo.run(&["restore", "latest", "--target", target.to_str().unwrap()])
            .expect(0);
        assert_same(&source, &target);
        std::fs::write(source.join("new"), "new\n").unwrap();
        repo.run(&["backup", path]).expect(0);
        let snapshots = repo.run(&["snapshots", "--json"]).expect(0).json_lines();
        assert_eq!(snapshots[0].as_array().unwrap().len(), 2);
        let listed = repo.run(&["ls", "latest", path]).expect(0).out;
        assert!(
            listed.contains("/sub/file-4\n") && listed.contains("/new\n"),
            "{listed}"
        );
        restic
            .run(&repo.path, PASSWORD, &["check", "--read-data"])
            .unwrap();
    }
}

#[test]
fn exit_statuses_are_those_of_restic() {
    let repo = Repo::made();
    let source = repo.bench.small_source("source");
    let path = source.to_str().unwrap();
    repo.run(&["init"]).expect(1);
    repo.run(&["-r", repo.bench.path("none").to_str().unwrap(), "snapshots"])
        .expect(10);
    let mut wrong = repo.command(&["snapshots"]);
    wrong.env("RESTIC_PASSWORD", "wrong");
    finish(wrong).expect(12);
    repo.run(&["backup", repo.bench.path("missing").to_str().unwrap()])
        .expect(1);
    let partly = repo
        .run(&["backup", path, repo.bench.path("missing").to_str().unwrap()])
        .expect(3);
    assert!(
        partly.err.contains("missing") && partly.out.contains("snapshot"),
        "{partly:?}"
    );
    let target = repo.bench.path("target");
    let failed = repo
        .run(&[
            "restore",
            "ffffffff",
            "--json",
            "--target",
            target.to_str().unwrap(),
        ])
        .expect(1);
    assert_eq!(failed.out, "", "a restore that failed has no summary");
    let mut bad = repo.command(&["snapshots"]);
    bad.env("RESTIC_PACK_SIZE", "lots");
    let bad = finish(bad).expect(2);
    assert!(bad.err.contains("RESTIC_PACK_SIZE"), "{}", bad.err);
}

#[test]
fn locks_are_honoured_and_stale_ones_removed() {
    let repo = Repo::made();
    let source = repo.bench.small_source("source");
    let path = source.to_str().unwrap();
    let storage = storage::open(repo.path.to_str().unwrap()).unwrap();
    let opened = Repository::open(Arc::clone(&storage), &Secret::from(PASSWORD)).unwrap();
    let lock = opened.lock(LockKind::Exclusive).unwrap();
    let refused = repo.run(&["backup", path]).expect(11);
    assert!(
        refused.err.contains("locked") && refused.err.contains("unlock"),
        "{}",
        refused.err
    );
    // The holder lives: only --remove-all takes its lock away.
    assert!(repo.run(&["unlock"]).expect(0).out.contains("0 locks"));
    assert!(
        repo.run(&["unlock", "--remove-all"])
            .expect(0)
            .out
            .contains("1 lock removed")
    );
    repo.run(&["backup", path]).expect(0);
    drop(lock);
}

#[test]
fn an_interrupted_backup_leaves_no_lock_and_what_it_stored_is_used() {
    let repo = Repo::made();
    let source = repo.bench.big_source("source");
    let path = source.to_str().unwrap();
    let running = repo.bench.start(repo.command(&["backup", path, "--json"]));
    wait_for("packs", || pack_count(&repo.path) > 1);
    let done = running.interrupt().expect(130);
    assert!(done.err.contains("interrupted"), "{}", done.err);
    assert!(!done.out.contains("summary"), "{}", done.out);
    assert_eq!(repo.locks(), 0);
    repo.run(&["check", "--read-data"]).expect(0);
    let lines = repo.run(&["backup", path, "--json"]).expect(0).json_lines();
    let summary = lines.last().unwrap();
    let (added, all) = (
        summary["data_added"].as_u64().unwrap(),
        summary["total_bytes_processed"].as_u64().unwrap(),
    );
    assert!(added < all, "nothing was used again: {summary}");
}

#[test]
fn json_lines_end_with_the_summary_and_failures_are_lines_too() {
    let repo = Repo::made();
    let source = repo.bench.small_source("source");
    let mut command = repo.command(&["backup", source.to_str().unwrap(), "--json"]);
    command.env("RESTIC_PROGRESS_FPS", "60");
    let lines = finish(command).expect(0).json_lines();
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["message_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.last(), Some(&"summary"));
    assert!(
        kinds[..kinds.len() - 1]
            .iter()
            .all(|kind| *kind == "status"),
        "{kinds:?}"
    );
    assert_eq!(lines.last().unwrap()["files_new"], 5);
    let failed = repo
        .run(&["-r", "/nonexistent/r", "snapshots", "--json"])
        .expect(10);
    let line: Value = serde_json::from_str(failed.err.trim()).unwrap();
    assert_eq!(
        (&line["message_type"], &line["code"]),
        (&Value::from("exit_error"), &Value::from(10))
    );
}

#[test]
fn passwords_come_from_files_and_commands() {
    let repo = Repo::new();
    let file = repo.bench.path("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let base = |arguments: &[&str]| {
        let mut command = repo
            .bench
            .command(&["repo", "-r", repo.path.to_str().unwrap()]);
        command.args(arguments);
        command
    };
    finish(base(&["--password-file", file.to_str().unwrap(), "init"])).expect(0);
    let print = format!("cat '{}'", file.display());
    finish(base(&["--password-command", &print, "snapshots"])).expect(0);
    for (name, value) in [
        ("RESTIC_PASSWORD", PASSWORD),
        ("RESTIC_PASSWORD_FILE", file.to_str().unwrap()),
        ("RESTIC_PASSWORD_COMMAND", &print),
    ] {
        let mut command = base(&["snapshots"]);
        command.env(name, value);
        finish(command).expect(0);
    }
    let none = finish(base(&["snapshots"])).expect(12);
    assert!(none.err.contains("no password is given"), "{}", none.err);
    let mut both = base(&["snapshots"]);
    both.env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_PASSWORD_FILE", &file);
    finish(both).expect(2);
}

#[test]
fn excludes_tags_and_parents() {
    let repo = Repo::made();
    let source = repo.bench.small_source("source");
    std::fs::create_dir(source.join("cache")).unwrap();
    std::fs::write(
        source.join("cache/CACHEDIR.TAG"),
        "Signature: 8a477f597d28d172789f06886806bc55",
    )
    .unwrap();
    std::fs::write(source.join("cache/junk"), "junk").unwrap();
    std::fs::write(source.join("note.tmp"), "tmp").unwrap();
    let patterns = repo.bench.path("patterns");
    std::fs::write(&patterns, "# comment\nfile-2\n").unwrap();
    let path = source.to_str().unwrap();
    let flags = [
        "--exclude",
        "*.tmp",
        "--exclude-file",
        patterns.to_str().unwrap(),
        "--exclude-caches",
    ];
    repo.run(&[&["backup", path][..], &flags].concat())
        .expect(0);
    let listed = repo.run(&["ls", "latest"]).expect(0).out;
    for absent in ["note.tmp", "file-2", "junk"] {
        assert!(!listed.contains(absent), "{absent} in {listed}");
    }
    assert!(listed.contains("file-1"));
    let parent =
        repo.run(&["snapshots", "--json"]).expect(0).json_lines()[0][0]["short_id"].clone();
    let forced = repo
        .run(&["backup", path, "--force", "--json"])
        .expect(0)
        .json_lines();
    assert_eq!(forced.last().unwrap()["files_unmodified"], 0);
    let with_parent = repo
        .run(&[
            "backup",
            path,
            "--parent",
            parent.as_str().unwrap(),
            "--json",
        ])
        .expect(0)
        .json_lines();
    // Four files, and the tag itself.
    assert_eq!(with_parent.last().unwrap()["files_unmodified"], 5);
}

#[test]
fn conflicts_are_settled_as_asked() {
    let repo = Repo::made();
    let source = repo.bench.small_source("source");
    repo.run(&["backup", source.to_str().unwrap()]).expect(0);
    let target = repo.bench.path("target");
    let restore = |conflict: &str| {
        repo.run(&[
            "restore",
            "latest",
            "--target",
            target.to_str().unwrap(),
            "--conflict",
            conflict,
        ])
        .expect(0);
    };
    restore("overwrite");
    let file = target
        .join(source.strip_prefix("/").unwrap())
        .join("sub/file-0");
    let now = || std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "mine\n").unwrap();
    for keeping in ["skip", "keep-newer"] {
        restore(keeping);
        assert_eq!(now(), "mine\n", "{keeping}");
    }
    restore("overwrite");
    assert_eq!(now(), "text 0\n");
    assert_same(Path::new(&source), &target);
}

#[test]
fn commands_that_only_read_need_no_lock() {
    let repo = Repo::made();
    let source = repo.bench.small_source("source");
    let path = source.to_str().unwrap();
    repo.run(&["backup", path]).expect(0);
    let storage = storage::open(repo.path.to_str().unwrap()).unwrap();
    let opened = Repository::open(storage, &Secret::from(PASSWORD)).unwrap();
    let lock = opened.lock(LockKind::Exclusive).unwrap();
    let target = repo.bench.path("target");
    let commands: [&[&str]; 5] = [
        &["check", "--read-data"],
        &["restore", "latest", "--target", target.to_str().unwrap()],
        &["ls", "latest"],
        &["stats"],
        &["snapshots"],
    ];
    for command in commands {
        // Listing the snapshots takes no lock anyhow.
        repo.run(command)
            .expect(if command == ["snapshots"] { 0 } else { 11 });
        repo.run(&[&["--no-lock"], command].concat()).expect(0);
    }
    assert_same(&source, &target);
    assert_eq!(repo.locks(), 1);
    let refused = repo.run(&["backup", path, "--no-lock"]).expect(2);
    assert!(refused.err.contains("only read"), "{}", refused.err);
    drop(lock);
}

#[test]
fn a_copy_takes_what_is_whole_and_names_the_rest() {
    let repo = Repo::made();
    let packs = || -> std::collections::BTreeSet<PathBuf> {
        let folders = std::fs::read_dir(repo.path.join("data")).unwrap();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    };
    let (whole, damaged) = (repo.bench.small_source("whole"), repo.bench.path("damaged"));
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("other"), "of this snapshot alone\n").unwrap();
    let back_up = |path: &Path| -> String {
        let done = repo.run(&["backup", path.to_str().unwrap(), "--json"]);
        let lines = done.expect(0).json_lines();
        let id = lines.last().unwrap()["snapshot_id"].as_str();
        id.unwrap().to_owned()
    };
    let kept = back_up(&whole);
    let before = packs();
    let lost = back_up(&damaged);
    for pack in packs().difference(&before) {
        std::fs::remove_file(pack).unwrap();
    }
    let target = repo.bench.path("copy");
    let to = target.to_str().unwrap();
    repo.run(&["-r", to, "init"]).expect(0);
    let copy = |arguments: &[&str]| {
        let from = ["-r", to, "copy", "--from-repo", repo.path.to_str().unwrap()];
        let mut command = repo.command(&[&from[..], arguments].concat());
        command.env("RESTIC_FROM_PASSWORD", PASSWORD);
        finish(command)
    };
    let done = copy(&[]).expect(1);
    assert!(
        done.out.contains("1 snapshot copied, 0 already there"),
        "{}",
        done.out
    );
    assert!(
        done.err.contains(&lost[..8]) && done.err.contains("1 snapshot not copied"),
        "{}",
        done.err
    );
    std::fs::write(repo.path.join("snapshots").join(&lost), "torn").unwrap();
    for arguments in [&["--json"][..], &["--json", &kept[..10], &lost[..10]]] {
        let again = copy(arguments).expect(1);
        let summary = &again.json_lines()[0];
        assert_eq!(summary["failed"][0], lost.as_str(), "{summary}");
        assert_eq!(summary["already_there"].as_array().unwrap().len(), 1);
    }
    repo.run(&["-r", to, "check", "--read-data"]).expect(0);
    assert!(
        repo.run(&["-r", to, "snapshots"])
            .expect(0)
            .out
            .contains("\n1 snapshot\n")
    );
}

#[test]
fn failures_say_what_to_do_next() {
    let repo = Repo::made();
    let file = repo.bench.path("file");
    std::fs::write(&file, "x").unwrap();
    let check = |arguments: &[&str], exit: i32, what: &str, next: &str| {
        let done = repo.run(arguments).expect(exit);
        assert!(
            done.err.contains(what) && done.err.contains(next),
            "{}",
            done.err
        );
    };
    check(
        &["-r", "sftp:host:/r", "snapshots"],
        1,
        "sftp",
        "local or mounted",
    );
    check(
        &["-r", file.to_str().unwrap(), "init"],
        1,
        "is a file",
        "empty folder",
    );
    check(
        &["key", "remove", "zzz"],
        1,
        "no key begins with",
        "key list",
    );
    let mut add = repo.command(&["key", "add"]);
    add.env("RESTIC_NEW_PASSWORD", "another").env_remove("USER");
    finish(add).expect(0);
    let keys = repo.run(&["key", "list", "--json"]).expect(0).json_lines();
    for key in keys[0].as_array().unwrap() {
        assert_ne!(key["userName"], "", "{key}");
    }
    let source = repo.bench.small_source("source");
    repo.run(&["backup", source.to_str().unwrap()]).expect(0);
    std::fs::remove_dir_all(repo.path.join("data")).unwrap();
    check(&["check"], 1, "damaged", "strongroom repo repair index");
}

//! `repo forget`, `prune`, `repair`, `copy`, `key` and `stats`, and stock restic on the other side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use storage::{Call, Fault, Faulty, LocalFolder, Memory, Operation, Record, Storage};
use testkit::programs::Restic;
use vault::{
    BlobKind, BlobScratch, CheckOptions, Id, KdfCost, KeyOptions, Limit, Node, NodeKind,
    PruneOptions, ReadData, Repository, Secret, Snapshot, Time, Tree, Writer, WriterOptions, check,
    prune,
};

use super::bench::{Bench, Done, finish, pack_count};

pub(super) const PASSWORD: &str = "correct horse";

pub(super) struct Repo {
    pub(super) bench: Bench,
    pub(super) path: PathBuf,
}

/// The newest stock restic.
pub(super) fn newest_restic() -> Restic {
    Restic::all().unwrap().pop().unwrap()
}

impl Repo {
    pub(super) fn new() -> Self {
        let bench = Bench::new();
        let path = bench.path("repository");
        cheap_repository(Arc::new(LocalFolder::new(&path)));
        Self { bench, path }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.command(&["repo"]);
        command
            .args(arguments)
            .env("TZ", "UTC")
            .env("RESTIC_REPOSITORY", &self.path)
            .env("RESTIC_PASSWORD", PASSWORD);
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments))
    }

    pub(super) fn open(&self) -> Repository {
        open(Arc::new(LocalFolder::new(&self.path)))
    }

    /// The last JSON line of a successful run.
    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--json"]].concat()).expect(0);
        done.json_lines().pop().unwrap()
    }

    #[track_caller]
    fn assert_clean(&self) {
        let options = CheckOptions {
            read_data: ReadData::All,
            ..CheckOptions::default()
        };
        let report = check(&self.open(), &options, &|_| {}).unwrap();
        assert!(report.is_ok(), "{:?}", report.errors);
    }
}

/// A repository whose password costs next to nothing, so that a test may open it often.
fn cheap_repository(storage: Arc<dyn Storage>) -> Repository {
    let options = KeyOptions {
        cost: KdfCost::Cheapest,
        username: String::new(),
        hostname: String::new(),
    };
    Repository::create(storage, &Secret::from(PASSWORD), &options).unwrap()
}

fn open(storage: Arc<dyn Storage>) -> Repository {
    Repository::open(storage, &Secret::from(PASSWORD)).unwrap()
}

/// Every restic of this run finds nothing wrong in any byte.
#[track_caller]
fn restic_finds_no_errors(path: &Path) {
    for restic in Restic::all().unwrap() {
        let checked = restic
            .run(path, PASSWORD, &["check", "--read-data"])
            .unwrap();
        assert!(checked.contains("no errors were found"), "{checked}");
    }
}

/// A snapshot of a tree of these numbered files, each a blob of about a kilobyte.
pub(super) fn save(
    repository: &Repository,
    numbers: std::ops::Range<u64>,
    snapshot: &Snapshot,
) -> Id {
    let index = Arc::new(repository.load_index().unwrap());
    let options = WriterOptions {
        pack_size_bytes: 8 << 10,
        ..WriterOptions::default()
    };
    let writer = Writer::open(repository.clone(), index, options).unwrap();
    let mut scratch = BlobScratch::new();
    let nodes = numbers.map(|number| {
        let bytes: Vec<u8> = (0..32_u64)
            .flat_map(|part| *Id::hash(format!("{number} {part}").as_bytes()).as_bytes())
            .collect();
        let saved = writer
            .save_blob(BlobKind::Data, &bytes, &mut scratch)
            .unwrap();
        Node {
            name: format!("{number:08}").into_bytes(),
            kind: NodeKind::File,
            mode: 0o100_644,
            size: bytes.len() as u64,
            content: vec![saved.id],
            ..Node::default()
        }
    });
    let tree = Tree::from_nodes(nodes.collect());
    let tree = writer.save_tree(&tree, &mut BlobScratch::new()).unwrap().id;
    writer
        .commit(&Snapshot {
            tree,
            ..snapshot.clone()
        })
        .unwrap()
}

#[test]
fn forget_and_prune_by_the_command_line() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    let path = source.to_str().unwrap();
    for number in 0..3 {
        let file = source.join("changing");
        testkit::content::write_random_file(&file, 300_000, number).unwrap();
        repo.run(&["backup", path]).expect(0);
    }
    let packs = pack_count(&repo.path);
    let lines = repo
        .run(&["forget", "--keep-last", "1", "--prune", "--json"])
        .expect(0)
        .json_lines();
    assert_eq!(lines[0][0]["remove"].as_array().unwrap().len(), 2);
    assert!(
        lines[1]["packs_marked"].as_u64().unwrap() > 0,
        "{}",
        lines[1]
    );
    restic_finds_no_errors(&repo.path);
    // Not due yet, then due.
    let waiting = repo.json(&["prune"]);
    assert!(waiting["packs_waiting"].as_u64().unwrap() > 0 && waiting["packs_deleted"] == 0);
    let deleted = repo.json(&["prune", "--keep-delete", "0"]);
    assert!(deleted["packs_deleted"].as_u64().unwrap() > 0, "{deleted}");
    assert!(pack_count(&repo.path) < packs);
    restic_finds_no_errors(&repo.path);
    repo.assert_clean();
    let text = repo.run(&["prune", "--dry-run"]).expect(0).out;
    assert!(text.contains("nothing is changed"), "{text}");
    repo.run(&["prune", "--instant-delete", "--max-unused", "0"])
        .expect(0);
    restic_finds_no_errors(&repo.path);
}

/// Stock restic reads, checks and prunes what a prune left that was killed at any of its writes; then ours checks.
#[test]
fn restic_understands_a_prune_killed_at_any_write() {
    let Some(restic) = Restic::all().unwrap().pop() else {
        return;
    };
    let memory = Memory::new();
    let repository = cheap_repository(Arc::new(memory.clone()));
    let snapshot = |name: &str| Snapshot {
        time: Time::now(),
        hostname: "h".to_owned(),
        paths: vec![format!("/{name}")],
        ..Snapshot::default()
    };
    let first = save(&repository, 0..30, &snapshot("a"));
    save(&repository, 10..45, &snapshot("b"));
    repository.delete_snapshot(&first).unwrap();
    let options = PruneOptions {
        max_unused: Limit::Bytes(0),
        ..PruneOptions::default()
    };
    let at = |hour: i64| Time::new(Time::now().seconds + hour * 3600, 0);
    let marked = memory.snapshot();
    prune(&open(Arc::new(marked.clone())), &options, at(-48), &|_| {}).unwrap();
    let mut cases = 0;
    for (prepared, hour) in [(&memory, -24), (&marked, -24)] {
        for call in writes_of_a_prune(prepared, &options, at(hour)) {
            let left = prepared.snapshot();
            let faulty = Arc::new(Faulty::new(Arc::new(left.clone())));
            let kind = storage::ErrorKind::Other;
            faulty.at(call, Fault::FailAfter(kind));
            faulty.from(call + 1, Fault::Fail(kind));
            let through = open(Arc::clone(&faulty) as Arc<dyn Storage>);
            drop(prune(&through, &options, at(hour), &|_| {}));
            let folder = tempfile::tempdir().unwrap();
            write_out(&left, folder.path());
            let checked = restic
                .run(folder.path(), PASSWORD, &["check", "--read-data"])
                .unwrap();
            assert!(checked.contains("no errors were found"), "{checked}");
            // Every third time restic's own prune goes over it.
            if cases % 3 == 0 {
                restic.run(folder.path(), PASSWORD, &["prune"]).unwrap();
            }
            let opened = open(Arc::new(LocalFolder::new(folder.path())));
            prune(&opened, &options, at(0), &|_| {}).unwrap();
            let report = check(&opened, &CheckOptions::default(), &|_| {}).unwrap();
            assert!(report.is_ok(), "{:?}", report.errors);
            cases += 1;
        }
    }
    assert!(cases > 12, "{cases}");
}

/// The numbers of the calls of a prune that change something, its lock left out.
fn writes_of_a_prune(prepared: &Memory, options: &PruneOptions, now: Time) -> Vec<u64> {
    let record = Arc::new(Record::new(Arc::new(prepared.snapshot())));
    let repository = open(Arc::clone(&record) as Arc<dyn Storage>);
    prune(&repository, options, now, &|_| {}).unwrap();
    let is_write = |call: &Call| {
        matches!(call.operation, Operation::Put | Operation::Delete)
            && !call.name.starts_with("locks/")
    };
    let calls = record.take();
    (0..calls.len() as u64)
        .filter(|number| is_write(&calls[*number as usize]))
        .collect()
}

fn write_out(memory: &Memory, folder: &Path) {
    for name in ["data", "index", "keys", "locks", "snapshots"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    for listed in memory.list("").unwrap() {
        // The process that held the lock is gone.
        if listed.name.starts_with("locks/") {
            continue;
        }
        let path = folder.join(&listed.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, memory.get(&listed.name).unwrap()).unwrap();
    }
}

/// T31 of the history of failures with a stock restic: it backs up again and again beside our forget and prune, with the
/// grace at nothing. Nothing is lost at the end, and both programs find no errors.
#[test]
fn t31_restic_backs_up_beside_our_forget_and_prune() {
    for restic in Restic::all().unwrap() {
        let repo = Repo::new();
        let source = repo.bench.small_source("source");
        for number in 0..4 {
            let file = source.join(format!("random-{number}"));
            testkit::content::write_random_file(&file, 200_000, number).unwrap();
        }
        let is_over = AtomicBool::new(false);
        let (mut prunes, mut backups) = (0, 0);
        std::thread::scope(|scope| {
            let pruner = scope.spawn(|| {
                let mut prunes = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let arguments = [
                        "forget",
                        "--keep-last",
                        "2",
                        "--prune",
                        "--keep-delete",
                        "0",
                    ];
                    let done = repo.run(&[&arguments[..], &["--max-unused", "0"]].concat());
                    assert!([0, 1].contains(&done.code), "{done:?}");
                    repo.run(&["prune", "--keep-delete", "0"]).expect(0);
                    prunes += 1;
                }
                prunes
            });
            for number in 0..8_u64 {
                // Content that comes and goes, so that backups refer to what is about to be removed.
                let file = source.join("random-0");
                testkit::content::write_random_file(&file, 200_000, number % 3).unwrap();
                let done = restic
                    .command(&repo.path, PASSWORD)
                    .arg("backup")
                    .arg(&source)
                    .output()
                    .unwrap();
                // An index file that goes away between listing and reading is an error for restic, never a loss.
                backups += u64::from(done.status.success());
            }
            is_over.store(true, Ordering::Relaxed);
            prunes = pruner.join().unwrap();
        });
        assert!(prunes > 0 && backups >= 4, "{prunes} {backups}");
        repo.run(&["prune", "--keep-delete", "0"]).expect(0);
        repo.assert_clean();
        let checked = restic
            .run(&repo.path, PASSWORD, &["check", "--read-data"])
            .unwrap();
        assert!(checked.contains("no errors were found"), "{checked}");
        let target = repo.bench.path("restored");
        restic
            .run(
                &repo.path,
                PASSWORD,
                &["restore", "latest", "--target", target.to_str().unwrap()],
            )
            .unwrap();
    }
}

#[test]
fn repair_says_first_and_does_then() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    repo.run(&["backup", source.to_str().unwrap()]).expect(0);
    repo.run(&["repair", "index"]).expect(0);
    let index = std::fs::read_dir(repo.path.join("index"))
        .unwrap()
        .next()
        .unwrap();
    std::fs::remove_file(index.unwrap().path()).unwrap();
    let dry = repo.run(&["repair", "index"]).expect(1);
    assert!(dry.out.contains("--apply"), "{}", dry.out);
    repo.run(&["check"]).expect(1);
    repo.run(&["repair", "index", "--apply"]).expect(0);
    repo.run(&["check", "--read-data"]).expect(0);
    restic_finds_no_errors(&repo.path);
    // Wrong bytes in the pack of the files: one file is lost, and said to be.
    let opened = repo.open();
    let index = opened.load_index().unwrap();
    // Not any blob: packs hold padding too, which no file needs.
    let content = std::fs::read(source.join("sub/file-0")).unwrap();
    let place = index
        .get(vault::BlobKind::Data, &vault::Id::hash(&content))
        .unwrap();
    let pack = repo.path.join(vault::FileKind::Pack.name(&place.pack));
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[place.offset as usize + 3] ^= 1;
    use_permissions(&pack);
    std::fs::write(&pack, bytes).unwrap();
    repo.run(&["repair", "packs"]).expect(1);
    let done = repo.run(&["repair", "packs", "--apply"]).expect(0);
    assert!(done.out.contains("is lost"), "{}", done.out);
    let done = repo.run(&["repair", "snapshots", "--apply"]).expect(0);
    assert!(done.out.contains("file-"), "{}", done.out);
    repo.run(&["check", "--read-data"]).expect(0);
    restic_finds_no_errors(&repo.path);
    let listed = repo.json(&["snapshots"]);
    assert_eq!(listed[0]["tags"][0], "repaired");
    assert!(repo.path.join("quarantine/data").exists());
}

/// Packs are stored read-only.
fn use_permissions(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn copy_takes_snapshots_of_restic_and_gives_them_back() {
    for restic in Restic::all().unwrap() {
        let repo = Repo::new();
        let source = repo.bench.small_source("source");
        let theirs = repo.bench.path("theirs");
        let other_password = "another password";
        let file = repo.bench.path("password");
        std::fs::write(&file, other_password).unwrap();
        restic
            .run(
                &theirs,
                other_password,
                &["init", "--repository-version", "2"],
            )
            .unwrap();
        for tag in ["one", "two"] {
            restic
                .run(
                    &theirs,
                    other_password,
                    &["backup", "--tag", tag, source.to_str().unwrap()],
                )
                .unwrap();
        }
        let from = ["--from-repo", theirs.to_str().unwrap()];
        let password = ["--from-password-file", file.to_str().unwrap()];
        let copy = [&["copy"], &from[..], &password[..]].concat();
        let first = repo.json(&[&copy[..], &["--tag", "one"]].concat());
        assert_eq!(first["copied"].as_array().unwrap().len(), 1);
        let second = repo.json(&copy);
        assert_eq!(
            (
                second["copied"].as_array().unwrap().len(),
                second["already_there"].as_array().unwrap().len()
            ),
            (1, 1)
        );
        assert_eq!(repo.json(&copy)["bytes_added"], 0);
        restic_finds_no_errors(&repo.path);
        let target = repo.bench.path("restored");
        restic
            .run(
                &repo.path,
                PASSWORD,
                &["restore", "latest", "--target", target.to_str().unwrap()],
            )
            .unwrap();
        super::bench::assert_same(&source, &target);
        // And back, by stock restic.
        let mut command = repo.command(&["copy", "--from-repo", theirs.to_str().unwrap()]);
        command.env("RESTIC_FROM_PASSWORD", "wrong");
        finish(command).expect(12);
    }
}

#[test]
fn keys_by_the_command_line() {
    let repo = Repo::new();
    let file = repo.bench.path("new");
    std::fs::write(&file, "new password\n").unwrap();
    let new = ["--new-password-file", file.to_str().unwrap()];
    repo.run(&["key", "add"]).expect(2);
    repo.run(&[&["key", "add"], &new[..]].concat()).expect(0);
    let listed = repo.json(&["key", "list"]);
    let keys = listed.as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let id_of = |is_current: bool| {
        let key = keys
            .iter()
            .find(|key| key["current"] == is_current)
            .unwrap();
        key["id"].as_str().unwrap().to_owned()
    };
    repo.run(&["key", "remove", &id_of(true)]).expect(1);
    repo.run(&["key", "remove", &id_of(false)]).expect(0);
    repo.run(&[&["key", "rotate"], &new[..]].concat()).expect(0);
    repo.run(&["key", "list"]).expect(12);
    for restic in Restic::all().unwrap() {
        restic
            .run(&repo.path, "new password", &["key", "list"])
            .unwrap();
        assert!(restic.run(&repo.path, PASSWORD, &["key", "list"]).is_err());
    }
}

#[test]
fn statistics_agree_with_restic() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    let path = source.to_str().unwrap();
    repo.run(&["backup", path]).expect(0);
    testkit::content::write_random_file(&source.join("only-later"), 100_000, 1).unwrap();
    repo.run(&["backup", path]).expect(0);
    let ours = repo.json(&["stats"]);
    for restic in Restic::all().unwrap() {
        let run = |mode: &str| -> Value {
            let arguments = ["stats", "--json", "--mode", mode];
            serde_json::from_str(&restic.run(&repo.path, PASSWORD, &arguments).unwrap()).unwrap()
        };
        assert_eq!(run("restore-size")["total_size"], ours["total_size"]);
        let raw = run("raw-data");
        assert_eq!(raw["total_size"], ours["raw_size"]);
        assert_eq!(raw["total_blob_count"], ours["total_blob_count"]);
    }
    let unique = ours["snapshots"][1]["unique_size"].as_u64().unwrap();
    assert!((100_000..110_000).contains(&unique), "{ours}");
    let text = repo.run(&["stats"]).expect(0).out;
    assert!(text.contains("FREE WITHOUT IT"), "{text}");
}

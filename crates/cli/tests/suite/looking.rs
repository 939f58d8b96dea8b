//! `repo find`, `diff`, `dump`, `tag` and what a backup takes from a pipe, beside what stock restic says of the same
//! repository.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use testkit::compare::{CompareOptions, trees};

use super::bench::finish;
use super::contents::files;
use super::maintain::{PASSWORD, Repo, newest_restic};

/// A repository with two snapshots of a folder that changed in between, and that folder as it was at first.
fn changed() -> (Repo, PathBuf, [String; 2]) {
    let repo = Repo::new();
    let source = repo.bench.path("source");
    for (name, content) in [
        ("same/kept.txt", "kept"),
        ("same/\u{e4} name", "umlaut"),
        ("changed.txt", "before"),
        ("gone/deep/gone.txt", "gone"),
        ("became", "a file"),
    ] {
        let path = source.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let top = source.to_str().unwrap().to_owned();
    let backup = || -> String {
        let done = repo.run(&["backup", &top, "--json"]).expect(0);
        let summary = done.json_lines().pop().unwrap();
        summary["snapshot_id"].as_str().unwrap().to_owned()
    };
    let first = backup();
    let before = repo.bench.path("before");
    let copied = Command::new("cp")
        .arg("-a")
        .args([&source, &before])
        .status();
    assert!(copied.unwrap().success());
    std::fs::write(source.join("changed.txt"), "after, and longer").unwrap();
    std::fs::remove_dir_all(source.join("gone")).unwrap();
    std::fs::remove_file(source.join("became")).unwrap();
    std::fs::create_dir(source.join("became")).unwrap();
    std::fs::write(source.join("new.txt"), "new").unwrap();
    let second = backup();
    (repo, before, [first, second])
}

#[test]
fn differences_are_those_that_restic_finds() {
    let (repo, _, [first, second]) = changed();
    let changes = |text: &str| -> BTreeSet<(String, String)> {
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["message_type"] == "change")
            .map(|line| {
                let text = |key: &str| line[key].as_str().unwrap().to_owned();
                (text("path"), text("modifier"))
            })
            .collect()
    };
    for pair in [[&first, &second], [&second, &first], [&first, &first]] {
        let [from, to] = pair.map(String::as_str);
        let ours = repo.run(&["diff", from, to, "--json"]).expect(0).out;
        let theirs = newest_restic()
            .run(&repo.path, PASSWORD, &["diff", from, to, "--json"])
            .unwrap();
        assert_eq!(changes(&ours), changes(&theirs));
        assert_eq!(changes(&ours).is_empty(), from == to);
    }
    let table = repo.run(&["diff", &first, &second]).expect(0).out;
    for line in ["M    ", "+    ", "-    ", "T    "] {
        assert!(table.lines().any(|l| l.starts_with(line)), "{table}");
    }
    repo.run(&["diff", &first, "0000000000"]).expect(1);
}

#[test]
fn names_are_found_where_restic_finds_them() {
    let (repo, _, [first, _]) = changed();
    let found = |text: &str| -> BTreeSet<(String, String)> {
        let listed: Value = serde_json::from_str(text).unwrap();
        let mut found = BTreeSet::new();
        for snapshot in listed.as_array().unwrap() {
            let id = snapshot["snapshot"].as_str().unwrap();
            for one in snapshot["matches"].as_array().unwrap() {
                found.insert((id.to_owned(), one["path"].as_str().unwrap().to_owned()));
            }
        }
        found
    };
    for (arguments, count) in [
        (&["find", "*.txt", "--json"][..], 6),
        (&["find", "KEPT.TXT", "-i", "--json"], 2),
        (&["find", "gone.txt", "-s", &first, "--json"], 1),
        (&["find", "nothing", "--json"], 0),
    ] {
        let ours = repo.run(arguments).expect(0).out;
        let theirs = newest_restic()
            .run(&repo.path, PASSWORD, arguments)
            .unwrap();
        assert_eq!(found(&ours).len(), count, "{arguments:?}");
        assert_eq!(found(&ours), found(&theirs), "{arguments:?}");
    }
}

#[test]
fn a_dump_is_the_file_or_an_archive_of_the_folder() {
    let (repo, before, [first, _]) = changed();
    let source = repo.bench.path("source");
    let file = source.join("changed.txt");
    let dumped = repo
        .run(&["dump", &first, file.to_str().unwrap()])
        .expect(0);
    assert_eq!(dumped.out, "before");
    let archive = repo.bench.path("all.tar");
    let (top, target) = (source.to_str().unwrap(), archive.to_str().unwrap());
    repo.run(&["dump", &first, top, "--target", target])
        .expect(0);
    let out = repo.bench.path("unpacked");
    std::fs::create_dir(&out).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xpf").arg(&archive).arg("-C").arg(&out);
    finish(tar).expect(0);
    let options = CompareOptions {
        holes: false,
        skip_root: true,
    };
    let unpacked = out.join(top.trim_start_matches('/'));
    let differences = trees(&before, &unpacked, options).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
    repo.run(&["dump", &first, "/nothing"]).expect(1);
}

#[test]
fn tags_are_what_restic_reads_and_data_stays() {
    let (repo, _, [first, second]) = changed();
    repo.run(&["tag", "--add", "a,b", &first]).expect(0);
    repo.run(&["tag", "--set", "c"]).expect(0);
    repo.run(&["tag", "--add", "d", "--remove", "c", "latest"])
        .expect(0);
    let listed = newest_restic()
        .run(&repo.path, PASSWORD, &["snapshots", "--json"])
        .unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let told: Vec<(&Value, &Value)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| (&snapshot["tags"], &snapshot["original"]))
        .collect();
    assert_eq!(
        told,
        [
            (&serde_json::json!(["c"]), &Value::from(first)),
            (&serde_json::json!(["d"]), &Value::from(second)),
        ]
    );
    newest_restic()
        .run(&repo.path, PASSWORD, &["check", "--read-data"])
        .unwrap();
}

#[test]
fn a_program_that_fails_leaves_no_snapshot_and_a_dry_run_stores_nothing() {
    let (repo, _, _) = changed();
    let count = || repo.open().snapshots().unwrap().len();
    let from = |script: &str| {
        let program = ["--stdin-from-command", "--stdin-filename", "out"];
        let arguments = [&["backup"][..], &program, &["--", "sh", "-c", script]].concat();
        repo.run(&arguments)
    };
    from("printf text").expect(0);
    assert_eq!(count(), 3);
    assert_eq!(repo.run(&["dump", "latest", "/out"]).expect(0).out, "text");
    from("printf text; exit 4").expect(1);
    assert_eq!(count(), 3);
    let files = || files(&repo.path);
    let before = files();
    let source = repo.bench.path("source");
    std::fs::write(source.join("newer"), "newer").unwrap();
    let done = repo.run(&["backup", "-n", source.to_str().unwrap(), "--json"]);
    let summary = done.expect(0).json_lines().pop().unwrap();
    assert_eq!(summary["files_new"], 1);
    assert_eq!((files(), count()), (before, 3));
}

#[test]
fn the_latest_is_that_of_a_host_a_path_or_tags() {
    let repo = Repo::new();
    let mut ids = Vec::new();
    for (host, tags, name) in [
        ("a", "one,two", "first"),
        ("b", "one", "second"),
        ("c", "three", "third"),
    ] {
        let source = repo.bench.small_source(name);
        std::fs::write(source.join("of"), host).unwrap();
        let path = source.to_str().unwrap();
        let words = ["backup", path, "--host", host, "--tag", tags, "--json"];
        let summary = repo.run(&words).expect(0).json_lines().pop().unwrap();
        ids.push(summary["snapshot_id"].as_str().unwrap().to_owned());
    }
    let first = repo.bench.path("first");
    let first_path = first.to_str().unwrap();
    let restic = newest_restic();
    for (filter, expected) in [
        (&[][..], "third"),
        (&["--host", "a"], "first"),
        (&["-H", "b", "-H", "a"], "second"),
        (&["--tag", "one"], "second"),
        (&["--tag", "one,two", "--tag", "nosuch"], "first"),
        (&["--path", first_path], "first"),
        (&["--host", "b", "--tag", "one"], "second"),
    ] {
        let of = repo.bench.path(expected).join("of");
        let of = of.to_str().unwrap();
        let words = [&["dump", "latest", of][..], filter].concat();
        let dumped = repo.run(&words).expect(0).out;
        assert_eq!(
            dumped,
            restic.run(&repo.path, PASSWORD, &words).unwrap(),
            "{words:?}"
        );
        let words = [&["ls", "latest"][..], filter].concat();
        assert!(repo.run(&words).expect(0).out.contains(of), "{words:?}");
        let words = [&["find", "-s", "latest", "of"][..], filter].concat();
        // Without -H, which `find` does not have.
        let words: Vec<&str> = words
            .iter()
            .map(|word| if *word == "-H" { "--host" } else { word })
            .collect();
        let found = repo.run(&words).expect(0).out;
        assert!(
            found.contains(of) && found.matches("/of").count() == 1,
            "{found}"
        );
        let target = repo.bench.path("target");
        let words = [
            &["restore", "latest", "-t", target.to_str().unwrap()][..],
            filter,
        ]
        .concat();
        repo.run(&words).expect(0);
        assert!(
            target.join(of.trim_start_matches('/')).exists(),
            "{words:?}"
        );
        std::fs::remove_dir_all(&target).unwrap();
        let words = [&["diff", "latest", "latest", "--json"][..], filter].concat();
        let compared = repo.run(&words).expect(0).json_lines().pop().unwrap();
        let number = ["first", "second", "third"]
            .iter()
            .position(|name| *name == expected);
        assert_eq!(compared["source_snapshot"], ids[number.unwrap()].as_str());
    }
    let shown = repo.run(&["snapshots", "latest", "--host", "a", "--json"]);
    assert_eq!(shown.expect(0).json_lines()[0][0]["id"], ids[0].as_str());
    let none = repo.run(&["ls", "latest", "--host", "nobody"]).expect(1);
    assert!(
        none.err.contains("no snapshot is of the host"),
        "{}",
        none.err
    );
    // An id is taken whatever the filters say, as restic does.
    repo.run(&["ls", &ids[0][..8], "--host", "c"]).expect(0);
    let mut of_variable = repo.command(&["ls", "latest"]);
    of_variable.env("RESTIC_HOST", "a");
    assert!(finish(of_variable).expect(0).out.contains("first/of"));
    let mut undone = repo.command(&["ls", "latest", "--host", ""]);
    undone.env("RESTIC_HOST", "a");
    assert!(finish(undone).expect(0).out.contains("third/of"));
}

#[test]
fn a_restore_of_what_there_is_not_fails() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    repo.run(&["backup", source.to_str().unwrap()]).expect(0);
    let target = repo.bench.path("target");
    let words = ["restore", "latest", "-t", target.to_str().unwrap(), "-i"];
    for more in [&["*.nosuch"][..], &["*.nosuch", "--json"]] {
        let done = repo.run(&[&words[..], more].concat()).expect(1);
        assert!(done.err.contains("matches --include"), "{}", done.err);
    }
    repo.run(&[&words[..], &["file-1"]].concat()).expect(0);
    // What is there already is left alone, and was meant.
    repo.run(&[&words[..], &["file-1", "--conflict", "skip"]].concat())
        .expect(0);
}

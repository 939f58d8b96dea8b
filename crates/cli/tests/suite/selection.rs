//! What of the source `repo backup` takes, beside what stock restic takes.

use std::path::Path;

use serde_json::Value;
use testkit::programs::Restic;

use super::maintain::{PASSWORD, Repo, newest_restic};

/// The paths below `source` that stock restic lists of its newest snapshot, and those that we list of ours.
fn listings(
    repo: &Repo,
    theirs: &Path,
    restic: &Restic,
    source: &Path,
) -> (Vec<String>, Vec<String>) {
    let below = |text: &str| -> Vec<String> {
        let prefix = source.to_str().unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
            .collect()
    };
    let theirs = restic.run(theirs, PASSWORD, &["ls", "latest"]).unwrap();
    let ours = repo.run(&["ls", "latest"]).expect(0).out;
    (below(&theirs), below(&ours))
}

#[test]
fn patterns_leave_out_what_restic_leaves_out() {
    let repo = Repo::new();
    let source = repo.bench.path("source");
    for file in [
        "keep.log",
        "other.log",
        "logs/a.log",
        "logs/keep/b.log",
        "logs/keep/deep/c",
        "!odd",
        "sub/d.o",
        "sub/keep.log",
        "cache/tmp/x",
        "cache/other",
    ] {
        let path = source.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    let top = source.to_str().unwrap();
    let file = repo.bench.path("patterns");
    std::fs::write(&file, "# what is kept\n!keep.log\n").unwrap();
    let from_file = format!("--exclude-file={}", file.to_str().unwrap());
    let (logs, keep) = (format!("{top}/logs/*"), format!("!{top}/logs/keep"));
    let (all, not_sub) = (top.to_owned(), format!("!{top}/sub"));
    let cases: &[&[&str]] = &[
        &["-e", "*.log", "-e", "!keep.log"],
        &["-e", "!keep.log", "-e", "*.log"],
        &["-e", "*.log", &from_file],
        &["-e", &logs, "-e", &keep],
        &["-e", "*.log", "-e", &keep],
        &["-e", "logs", "-e", &keep],
        &["-e", r"\!odd"],
        &["-e", "cache/tmp", "-e", "[a-d].?"],
    ];
    let restic = newest_restic();
    let theirs = repo.bench.path("theirs");
    restic
        .run(&theirs, PASSWORD, &["init", "--repository-version", "2"])
        .unwrap();
    let whole = [vec![top]];
    let (sub, kept) = (source.join("sub"), source.join("logs/keep"));
    let parts = [vec![sub.to_str().unwrap(), kept.to_str().unwrap()]];
    // What only a pattern that takes back lets in, below a folder that another one leaves out.
    let below: &[&str] = &["-e", &all, "-e", &not_sub, "-e", &keep];
    let both = cases
        .iter()
        .flat_map(|case| [(&whole, *case), (&parts, *case)]);
    for (paths, case) in both.chain([(&parts, below)]) {
        let arguments = [&["backup"][..], &paths[0][..], case].concat();
        restic.run(&theirs, PASSWORD, &arguments).unwrap();
        repo.run(&arguments).expect(0);
        let (theirs, ours) = listings(&repo, &theirs, &restic, &source);
        assert_eq!(theirs, ours, "{arguments:?}");
    }
}

#[test]
fn lists_of_files_and_sizes_are_taken_as_restic_takes_them() {
    let repo = Repo::new();
    let source = repo.bench.path("source");
    for (name, length) in [
        ("a/1", 1),
        ("a/2", 2048),
        ("b/1", 2049),
        ("#c", 3),
        ("d*", 4),
        ("{e}", 5),
        ("f g", 6),
    ] {
        let path = source.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x".repeat(length)).unwrap();
    }
    let top = source.to_str().unwrap();
    let list = |name: &str, text: String| -> String {
        let file = repo.bench.path(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let patterns = list(
        "patterns",
        format!("# comment\n\n  {top}/a/* \n{top}/[bd]\n{top}/{{?}}\n"),
    );
    let verbatim = list("verbatim", format!("{top}/#c\n\n{top}/d*\n"));
    let raw = list("raw", format!("{top}/f g\0{top}/b\0"));
    let cases: &[&[&str]] = &[
        &["backup", "--files-from", &patterns],
        &[
            "backup",
            "--files-from-verbatim",
            &verbatim,
            "--files-from-raw",
            &raw,
        ],
        &["backup", top, "--exclude-larger-than", "2048"],
        &["backup", top, "--exclude-larger-than", "2K"],
        &[
            "backup",
            "--files-from",
            &patterns,
            "--exclude-larger-than=1k",
        ],
    ];
    let restic = newest_restic();
    let theirs = repo.bench.path("theirs");
    restic
        .run(&theirs, PASSWORD, &["init", "--repository-version", "2"])
        .unwrap();
    let newest = |listed: &Value| -> Vec<String> {
        let paths = listed.as_array().unwrap().last().unwrap()["paths"]
            .as_array()
            .unwrap();
        let mut paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        paths.sort();
        paths
    };
    for case in cases {
        restic.run(&theirs, PASSWORD, case).unwrap();
        repo.run(case).expect(0);
        let (listed, ours) = listings(&repo, &theirs, &restic, &source);
        assert_eq!(listed, ours, "{case:?}");
        let listed = restic
            .run(&theirs, PASSWORD, &["snapshots", "--json"])
            .unwrap();
        let ours = repo.run(&["snapshots", "--json"]).expect(0).json_lines();
        assert_eq!(
            newest(&serde_json::from_str(&listed).unwrap()),
            newest(&ours[0]),
            "{case:?}"
        );
    }
    repo.run(&[
        "backup",
        "--files-from",
        repo.bench.path("none").to_str().unwrap(),
    ])
    .expect(1);
    repo.run(&["backup"]).expect(2);
}

#[test]
fn a_source_that_a_pattern_leaves_out_is_told() {
    let repo = Repo::new();
    let source = repo.bench.small_source("source");
    let other = repo.bench.small_source("other");
    let (top, kept) = (source.to_str().unwrap(), other.to_str().unwrap());
    let file = source.join("sub/file-1");
    let file = file.to_str().unwrap();
    for (pattern, path) in [("source", top), (top, top), ("sub", file), ("file-1", file)] {
        let words = ["backup", kept, path, "-e", pattern];
        let done = repo.run(&words).expect(0);
        let told = format!("{path}: an exclude pattern matches this source");
        assert!(done.err.contains(&told), "{pattern}: {}", done.err);
        let done = repo.run(&[&words[..], &["--json"]].concat()).expect(0);
        let line: Value = serde_json::from_str(done.err.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&line["message_type"], &line["item"]),
            (&"warning".into(), &path.into())
        );
        assert!(
            done.json_lines()
                .pop()
                .unwrap()
                .get("error_count")
                .is_none_or(|count| count == 0)
        );
    }
    let listed = repo.run(&["ls", "latest"]).expect(0).out;
    assert!(
        listed.contains("other/sub/file-2") && !listed.contains("/source\n"),
        "{listed}"
    );
    // Taken back, it is no more left out; what a pattern leaves out below it is as it was asked for.
    let back = format!("!{top}");
    repo.run(&["backup", top, "-e", "source", "-e", &back])
        .expect(0);
    repo.run(&["backup", top, "-e", "file-1"]).expect(0);
    // Nothing else is there to be stored, and no empty snapshot takes the place of the latest.
    let before = repo.run(&["snapshots", "latest", "--json"]).expect(0).out;
    for path in [top, file] {
        let alone = repo.run(&["backup", path, "-e", "source"]).expect(1);
        for told in ["nothing of it is stored", "every source"] {
            assert!(alone.err.contains(told), "{}", alone.err);
        }
    }
    assert_eq!(
        repo.run(&["snapshots", "latest", "--json"]).expect(0).out,
        before
    );
    let missing = repo.bench.path("missing");
    let words = ["backup", kept, missing.to_str().unwrap(), "--json"];
    let done = repo.run(&words).expect(3);
    assert!(done.err.contains("No such file"), "{}", done.err);
    assert_eq!(done.json_lines().pop().unwrap()["error_count"], 1);
}

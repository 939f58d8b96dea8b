//! Both ways with stock restic: it checks and restores what we write, and we read what it writes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use storage::LocalFolder;
use vault::{
    CheckOptions, LockKind, NodeKind, ReadData, Reader, VaultError, Writer, WriterOptions, check,
};

use crate::sample::{PASSWORD, create, key_options, open, read_all, save_folder, snapshot_of};

/// Runs restic on the repository and gives what it printed. A missing restic fails the test: it is the judge.
fn restic(repository: &Path, arguments: &[&OsStr]) -> String {
    let output = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .output()
        .expect("stock restic must be installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "restic {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn words<'a>(words: &'a [&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(OsStr::new).collect()
}

/// A folder with what makes trouble: odd names, links, empty and large files, modes.
fn odd_folder(root: &Path) {
    let write = |name: &[u8], bytes: &[u8]| {
        std::fs::write(root.join(OsStr::from_bytes(name)), bytes).unwrap()
    };
    write(b"plain.txt", b"hello\n");
    write(b"empty", b"");
    write(
        b"bad\xff\x01\n\"q\\tab\t\xe2\x80\x8b\xe2\x80\xa8\xc3\xa9\x7f\xc2\xa0<>&",
        b"odd",
    );
    write(&[b'x'; 255], b"long");
    let mut random = vec![0; 3 << 20];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
    write(b"random", &random);
    write(b"zeros", &vec![0; 9 << 20]);
    let text: String = (0..200_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    write(b"text", text.as_bytes());
    std::fs::create_dir_all(root.join("folder/deep/deeper")).unwrap();
    std::fs::create_dir(root.join("empty folder")).unwrap();
    std::fs::write(root.join("folder/deep/deeper/file"), b"down here").unwrap();
    std::fs::hard_link(root.join("plain.txt"), root.join("folder/hard")).unwrap();
    symlink("plain.txt", root.join("link")).unwrap();
    symlink("nowhere \"quoted\" \u{2028}<>", root.join("dangling")).unwrap();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("empty", 0o4755);
    mode("empty folder", 0o1777);
    // Where the file system has no user attributes, the rest is tested all the same.
    let _ = rustix::fs::setxattr(
        root.join("plain.txt"),
        "user.comment",
        b"\x00\xffvalue",
        rustix::fs::XattrFlags::empty(),
    );
    let fifo = root.join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
}

#[test]
fn restic_checks_and_restores_what_we_write() {
    let root = tempfile::tempdir().unwrap();
    let (source, vault) = (root.path().join("source"), root.path().join("vault"));
    std::fs::create_dir(&source).unwrap();
    odd_folder(&source);
    let repository = create(Arc::new(LocalFolder::new(&vault))).unwrap();
    let lock = repository.lock(LockKind::Shared).unwrap();
    let index = Arc::new(repository.load_index().unwrap());
    let options = WriterOptions {
        pack_size_bytes: 1 << 20,
        ..WriterOptions::default()
    };
    let writer = Writer::open(repository.clone(), index, options).unwrap();
    let tree = save_folder(&writer, repository.chunker(), &source).unwrap();
    let id = writer.commit(&snapshot_of(tree, "/source")).unwrap();
    drop(lock);

    let checked = restic(&vault, &words(&["check", "--read-data"]));
    assert!(checked.contains("no errors were found"), "{checked}");
    let listed = restic(&vault, &words(&["snapshots", "--json"]));
    assert!(listed.contains(&id.to_hex()), "{listed}");
    let target = root.path().join("target");
    let mut restore = words(&["restore", "latest", "--target"]);
    restore.push(target.as_os_str());
    restic(&vault, &restore);
    let differences = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(&source)
        .arg(&target)
        .output()
        .unwrap();
    let differences = String::from_utf8_lossy(&differences.stdout).into_owned();
    let is_known = |line: &str| line.contains("fifo");
    assert!(differences.lines().all(is_known), "{differences}");

    // restic goes on in the same vault: the second backup finds ours as it is.
    let mut backup = words(&["backup", "--host", "testhost"]);
    backup.push(source.as_os_str());
    restic(&vault, &backup);
    let checked = restic(&vault, &words(&["check", "--read-data"]));
    assert!(checked.contains("no errors were found"), "{checked}");
    restic(&vault, &words(&["prune"]));
    let repository = open(Arc::new(LocalFolder::new(&vault))).unwrap();
    let options = CheckOptions {
        read_data: ReadData::All,
        ..CheckOptions::default()
    };
    let report = check(&repository, &options, &|_| {}).unwrap();
    assert!(report.is_ok(), "{:?}", report.errors);
    assert_eq!(report.snapshot_count, 2);
}

/// In a vault that is cut by Rabin both programs make the same chunks, whoever comes first.
#[test]
fn chunks_are_shared_with_restic_in_a_vault_cut_by_rabin() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let mut random = vec![0; 12 << 20];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
    std::fs::write(source.join("random"), &random).unwrap();
    // Whole blocks of 4 KiB from 16 MiB on would be an image in a vault of our own.
    std::fs::write(source.join("image"), vec![7; 16 << 20]).unwrap();
    let save = |repository: &vault::Repository| {
        let index = Arc::new(repository.load_index().unwrap());
        let writer = Writer::open(repository.clone(), index, WriterOptions::default()).unwrap();
        let tree = save_folder(&writer, repository.chunker(), &source).unwrap();
        let blob_count = writer.stats().data_blobs;
        writer.commit(&snapshot_of(tree, "/source")).unwrap();
        blob_count
    };
    let mut backup = words(&["backup", "--json"]);
    backup.push(source.as_os_str());

    let ours = root.path().join("ours");
    let repository = vault::Repository::create_with(
        Arc::new(LocalFolder::new(&ours)),
        &vault::Secret::from(PASSWORD),
        &key_options(),
        vault::ChunkerKind::Rabin,
    )
    .unwrap();
    let first = save(&repository);
    assert!(first > 2, "{first}");
    let summary = restic(&ours, &backup);
    assert!(summary.contains("\"data_blobs\":0,"), "{summary}");

    let theirs = root.path().join("theirs");
    restic(&theirs, &words(&["init"]));
    restic(&theirs, &backup);
    let repository = open(Arc::new(LocalFolder::new(&theirs))).unwrap();
    assert_eq!(repository.config().chunker, vault::ChunkerKind::Rabin);
    assert_eq!(save(&repository), 0);
    for vault in [&ours, &theirs] {
        let checked = restic(vault, &words(&["check", "--read-data"]));
        assert!(checked.contains("no errors were found"), "{checked}");
    }
}

#[test]
fn we_read_every_node_and_blob_that_restic_writes() {
    let root = tempfile::tempdir().unwrap();
    let (source, vault) = (root.path().join("source"), root.path().join("vault"));
    std::fs::create_dir(&source).unwrap();
    odd_folder(&source);
    restic(&vault, &words(&["init"]));
    let mut backup = words(&["backup", "--tag", "JobId=job-1,x"]);
    backup.push(source.as_os_str());
    restic(&vault, &backup);

    let repository = open(Arc::new(LocalFolder::new(&vault))).unwrap();
    let (_, snapshot) = repository.find_snapshot("latest").unwrap();
    assert_eq!(snapshot.tag_value("JobId"), Some("job-1"));
    assert_eq!(snapshot.paths, [source.to_str().unwrap()]);
    let reader = Reader::new(
        repository.clone(),
        Arc::new(repository.load_index().unwrap()),
    );
    let entries = read_all(&reader, &snapshot.tree).unwrap();
    let mut seen = 0;
    for (path, node, bytes) in &entries {
        let path = Path::new("/").join(path);
        let Ok(below) = path.strip_prefix(&source) else {
            continue;
        };
        let expected = crate::sample::node_of(&path);
        seen += 1;
        assert_eq!(node.mode, expected.mode, "{path:?}");
        assert_eq!(node.mtime, expected.mtime, "{path:?}");
        assert_eq!(node.size, expected.size, "{path:?}");
        assert_eq!(node.link_target, expected.link_target, "{path:?}");
        if node.kind == NodeKind::File {
            assert_eq!(*bytes, std::fs::read(&path).unwrap(), "{below:?}");
        }
    }
    let all = walk_count(&source);
    assert_eq!(seen, all + 1);
    // What we encode from a tree of restic is what restic wrote, so unchanged folders keep their ids.
    let tree = reader.read_tree(&snapshot.tree).unwrap();
    let text = reader
        .read_blob(vault::BlobKind::Tree, &snapshot.tree)
        .unwrap();
    assert_eq!(tree.encode().unwrap(), text);
    let report = check(&repository, &CheckOptions::default(), &|_| {}).unwrap();
    assert!(report.is_ok(), "{:?}", report.errors);
}

fn walk_count(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            1 + if is_folder {
                walk_count(&entry.path())
            } else {
                0
            }
        })
        .sum()
}

#[test]
fn locks_of_restic_and_ours_respect_each_other() {
    let root = tempfile::tempdir().unwrap();
    let repository = create(Arc::new(LocalFolder::new(root.path()))).unwrap();
    let restic_refuses = |arguments: &[&str]| {
        let output = Command::new("restic")
            .args(["--no-cache", "-r"])
            .arg(root.path())
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        !output.status.success() && text.contains("locked")
    };
    let exclusive = repository.lock(LockKind::Exclusive).unwrap();
    assert!(restic_refuses(&["check"]));
    assert!(restic_refuses(&["backup", "/etc/hostname"]));
    drop(exclusive);
    let shared = repository.lock(LockKind::Shared).unwrap();
    assert!(restic_refuses(&["prune"]));
    restic(root.path(), &words(&["backup", "/etc/hostname"]));
    drop(shared);
    restic(root.path(), &words(&["prune"]));

    // A lock of a restic that runs elsewhere, as far as we can tell: it stays in the way until it is old.
    let mut running = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(root.path())
        .args(["backup", "--stdin"])
        .env("RESTIC_PASSWORD", PASSWORD)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let locks = root.path().join("locks");
    // restic writes it under another name first.
    let is_whole =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().len() == 64;
    while !std::fs::read_dir(&locks).unwrap().any(is_whole) {
        std::thread::yield_now();
    }
    // The lock file is renamed into place whole, so it can be read as soon as it is there.
    let is_locked = matches!(
        repository.lock(LockKind::Exclusive),
        Err(VaultError::Locked { exclusive: false, pid, .. }) if pid == running.id()
    );
    drop(running.stdin.take());
    running.wait().unwrap();
    assert!(is_locked);
    drop(repository.lock(LockKind::Exclusive).unwrap());
}

#[test]
fn every_kind_of_key_opens_in_restic() {
    let root = tempfile::tempdir().unwrap();
    let repository = create(Arc::new(LocalFolder::new(root.path()))).unwrap();
    let mut options = key_options();
    options.cost = vault::KdfCost::Calibrated;
    repository
        .add_key(&vault::Secret::from("dear"), &options)
        .unwrap();
    let listed = restic(root.path(), &words(&["key", "list"]));
    assert_eq!(listed.matches("testhost").count(), 2, "{listed}");
    let opened = open(Arc::new(LocalFolder::new(root.path()))).unwrap();
    assert_eq!(opened.config(), repository.config());
    assert_eq!(opened.config().chunker, vault::ChunkerKind::Gear);
    let dear = vault::Secret::from("dear");
    assert!(vault::Repository::open(Arc::new(LocalFolder::new(root.path())), &dear).is_ok());
}

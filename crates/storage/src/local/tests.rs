//! What only a folder does: temporary files, syncs, and the root that is never made by accident.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::root::Synced;
use super::{LocalFolder, TEMPORARY};
use crate::{ErrorKind, Storage};

fn temporary_files(root: &Path) -> usize {
    std::fs::read_dir(root.join(TEMPORARY)).unwrap().count()
}

fn names(folders: &[&str]) -> Vec<String> {
    folders.iter().map(|folder| (*folder).to_owned()).collect()
}

/// What goes is what a process of this host left that has ended, and what is old; nothing that is locked. On a mount whose
/// locks are those of one host, what other hosts are writing looks as free as the files here do.
#[test]
fn what_nobody_writes_any_more_is_swept_and_nothing_else() {
    let own = super::temporary::new_name();
    let [host, pid, start, _] = own.split('-').collect::<Vec<_>>()[..] else {
        panic!("{own}");
    };
    let host = host.strip_prefix("tmp/").unwrap();
    let names = [
        (format!("{host}-{}-{start}-1", 0x3fff_fff0), true),
        (format!("{host}-{pid}-1-1"), true),
        (format!("{host}-{pid}-{start}-1"), false),
        (format!("{:016x}-{}-{start}-1", 0, 0x3fff_fff0), false),
        (format!("{host}-x-{start}-1"), false),
        (format!("{host}-{}-{start}-1-1", 0x3fff_fff0), false),
        ("0".repeat(32), false),
    ];
    for is_old in [false, true] {
        for is_locked in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let tmp = folder.path().join(TEMPORARY);
            std::fs::create_dir_all(tmp.join("folder")).unwrap();
            let mut files = Vec::new();
            for (name, _) in &names {
                let file = File::create(tmp.join(name)).unwrap();
                let days = if is_old { 31 } else { 29 };
                let age = std::time::Duration::from_secs(days * 24 * 3600);
                file.set_modified(std::time::SystemTime::now() - age)
                    .unwrap();
                if is_locked {
                    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
                }
                files.push(file);
            }
            LocalFolder::new(folder.path()).put("a", b"1").unwrap();
            for (name, is_dead) in &names {
                let is_swept = !is_locked && (is_old || *is_dead);
                assert_eq!(tmp.join(name).exists(), !is_swept, "{name} {is_old}");
            }
            assert!(tmp.join("folder").exists());
        }
    }
}

#[test]
fn a_file_that_is_being_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut upload = LocalFolder::new(folder.path()).begin().unwrap().unwrap();
    upload.write(b"1").unwrap();
    LocalFolder::new(folder.path()).put("a", b"1").unwrap();
    assert_eq!(temporary_files(folder.path()), 1);
    upload.finish("b").unwrap();
}

#[test]
fn only_creating_makes_the_root_and_a_lost_root_is_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/gone");
    let storage = LocalFolder::new(&root);
    let lost = |kind: Option<ErrorKind>| assert_eq!(kind, Some(ErrorKind::NotFound));
    lost(storage.list("data").err().map(|error| error.kind));
    lost(storage.get("config").err().map(|error| error.kind));
    lost(storage.put("config", b"1").err().map(|error| error.kind));
    lost(storage.delete("config").err().map(|error| error.kind));
    let synced = storage.sync_folders(&names(&["index"]));
    lost(synced.err().map(|error| error.kind));
    assert!(!folder.path().join("deep").exists());
    storage.create_folders(&names(&["data"])).unwrap();
    storage.put("data/ab/x", b"1").unwrap();
    assert_eq!(storage.list("data").unwrap().len(), 1);
    assert_eq!(temporary_files(&root), 0);
}

/// A vault that is unmounted while a job uses it: what the job still writes goes to the vault or nowhere, and never
/// into the folder that appears in its place.
#[test]
fn what_takes_the_place_of_the_root_is_never_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (root, away) = (folder.path().join("vault"), folder.path().join("away"));
    std::fs::create_dir(&root).unwrap();
    let writer = LocalFolder::new(&root);
    writer.put("config", b"1").unwrap();
    let reader = LocalFolder::new(&root);
    assert_eq!(reader.get("config").unwrap(), b"1");
    std::fs::rename(&root, &away).unwrap();
    std::fs::create_dir(&root).unwrap();
    writer.put("data/ab/x", b"2").unwrap();
    assert_eq!(writer.get("data/ab/x").unwrap(), b"2");
    assert!(away.join("data/ab/x").exists());
    // One that has only read so far takes no other folder for its own.
    let refused = reader.put("data/ab/y", b"3").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotFound);
    assert_eq!(reader.get("config").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    // And it pins nothing: when the vault is back, it is read again.
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&away, &root).unwrap();
    assert_eq!(reader.get("data/ab/x").unwrap(), b"2");
}

#[test]
fn an_upload_is_a_put_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalFolder::new(folder.path());
    let upload = |pieces: &[&[u8]], name: Option<&str>| {
        let mut upload = storage.begin().unwrap().unwrap();
        for piece in pieces {
            upload.write(piece).unwrap();
        }
        name.map_or(Ok(()), |name| upload.finish(name))
    };
    upload(&[b"ab", b"", b"c"], Some("data/1")).unwrap();
    assert_eq!(storage.get("data/1").unwrap(), b"abc");
    upload(&[b"abc"], Some("data/1")).unwrap();
    for other in [&b"abd"[..], b"ab", b"abcd"] {
        let error = upload(&[other], Some("data/1")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists);
    }
    assert!(upload(&[b"x"], Some("../x")).is_err());
    upload(&[b"dropped"], None).unwrap();
    assert_eq!(storage.get("data/1").unwrap(), b"abc");
    assert_eq!(temporary_files(folder.path()), 0);
}

#[test]
fn a_refused_put_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalFolder::new(folder.path());
    storage.put("a", b"1").unwrap();
    assert_eq!(
        storage.put("a", b"2").unwrap_err().kind,
        ErrorKind::AlreadyExists
    );
    // A file where a folder is needed.
    assert_eq!(
        storage.put("a/b", b"2").unwrap_err().kind,
        ErrorKind::NotFound
    );
    assert_eq!(temporary_files(folder.path()), 0);
    assert_eq!(storage.get("a").unwrap(), b"1");
}

/// A sync as a test sees it: what, of which path, how many entries a folder had, and under how many names a file was.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    what: Synced,
    path: PathBuf,
    entries: usize,
}

thread_local! {
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<Result<(), Errno>> = const { RefCell::new(Ok(())) };
}

fn note_sync(descriptor: BorrowedFd<'_>, what: Synced) -> Result<(), Errno> {
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let path = std::fs::read_link(&link).unwrap();
    let entries = match what {
        Synced::Names => std::fs::read_dir(&path).unwrap().count(),
        // The length that is written by now.
        Synced::Content => std::fs::metadata(&path).unwrap().len() as usize,
    };
    SEEN.with_borrow_mut(|seen| {
        seen.push(Seen {
            what,
            path,
            entries,
        })
    });
    ANSWER.with_borrow(|answer| *answer)
}

/// The syncs since the last look, temporary names shortened to their folder.
fn seen(root: &Path) -> Vec<(Synced, String, usize)> {
    let below = |path: &Path| match path.strip_prefix(root) {
        Ok(path) if path.starts_with(TEMPORARY) && path != Path::new(TEMPORARY) => {
            TEMPORARY.to_owned()
        }
        Ok(path) => path.display().to_string(),
        Err(_) => "above".to_owned(),
    };
    SEEN.with_borrow_mut(std::mem::take)
        .into_iter()
        .map(|seen| (seen.what, below(&seen.path), seen.entries))
        .collect()
}

fn watched(root: &Path) -> LocalFolder {
    let mut storage = LocalFolder::new(root);
    storage.root.sync_call = note_sync;
    storage
}

/// A put returns after content and name are durable, in that order; a name that was there already, made perhaps by a
/// process that died, is made durable too.
#[test]
fn a_put_syncs_content_then_name_and_everything_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("vault");
    let storage = watched(&root);
    let check = |expected: &[(Synced, &str, usize)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(what, path, entries)| (*what, (*path).to_owned(), *entries))
            .collect();
        assert_eq!(seen(&root), expected);
    };
    storage.create_folders(&names(&["data", "keys"])).unwrap();
    check(&[(Synced::Names, "above", 1), (Synced::Names, "", 2)]);
    storage.create_folders(&names(&["data", "keys"])).unwrap();
    check(&[(Synced::Names, "", 2)]);
    storage.put("data/ab/x", b"12345").unwrap();
    check(&[
        // `tmp` is made, the content written, `data/ab` made, the name put in place.
        (Synced::Names, "", 3),
        (Synced::Content, TEMPORARY, 5),
        (Synced::Names, "", 3),
        (Synced::Names, "data", 1),
        (Synced::Names, "data/ab", 1),
    ]);
    storage.put("data/ab/y", b"1").unwrap();
    check(&[
        (Synced::Content, TEMPORARY, 1),
        (Synced::Names, "data/ab", 2),
    ]);
    storage.put("data/ab/y", b"1").unwrap();
    check(&[
        (Synced::Content, TEMPORARY, 1),
        (Synced::Names, "data/ab", 2),
    ]);
    let mut upload = storage.begin().unwrap().unwrap();
    upload.write(b"123").unwrap();
    upload.finish("data/ab/z").unwrap();
    check(&[
        (Synced::Content, TEMPORARY, 3),
        (Synced::Names, "data/ab", 3),
    ]);
    storage
        .sync_folders(&names(&["data/ab", "", "nothing"]))
        .unwrap();
    check(&[(Synced::Names, "data/ab", 3), (Synced::Names, "", 3)]);
    storage.delete("data/ab/y").unwrap();
    check(&[(Synced::Names, "data/ab", 2)]);
}

#[test]
fn a_sync_that_fails_fails_the_call_and_one_that_cannot_be_had_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let storage = watched(folder.path());
    storage.put("a", b"1").unwrap();
    ANSWER.set(Err(Errno::IO));
    assert!(storage.put("b", b"1").is_err());
    assert!(storage.put("a", b"1").is_err());
    let upload = storage.begin().unwrap().unwrap();
    assert!(upload.finish("d").is_err());
    assert!(storage.delete("a").is_err());
    assert!(storage.create_folders(&names(&["data"])).is_err());
    assert!(storage.sync_folders(&names(&["data"])).is_err());
    for missing in [Errno::INVAL, Errno::NOTSUP] {
        ANSWER.set(Err(missing));
        storage.put("c", b"1").unwrap();
        storage.create_folders(&names(&["data"])).unwrap();
        storage.delete("c").unwrap();
    }
}

/// A pipe in the place of a file would be waited for without an end by who opens it.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalFolder::new(folder.path());
    storage.put("locks/a", b"1").unwrap();
    for name in ["locks/pipe", "tmp/pipe"] {
        let path = folder.path().join(name);
        let (cwd, kind, mode) = (
            rustix::fs::CWD,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
        );
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(cwd, &path, kind, mode, 0).unwrap();
    }
    let refused = storage.get("locks/pipe").unwrap_err();
    let reason = refused.source.unwrap().to_string();
    assert!(reason.contains("no regular file"), "{reason}");
    // The sweep of temporary files meets the other one.
    LocalFolder::new(folder.path())
        .put("locks/b", b"2")
        .unwrap();
}

//! Tests of a whole target: nothing outside is touched, metadata comes back, replacing keeps what others hold.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::file::stat::FileTime;
use crate::file::xattrs::Xattr;

fn metadata(xattrs: &[Xattr]) -> TargetMetadata<'_> {
    let time = |seconds| FileTime {
        seconds,
        nanoseconds: 123_456_789,
    };
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    TargetMetadata {
        mode: 0o640,
        uid,
        gid,
        accessed: time(1_000_000),
        modified: time(-5),
        xattrs,
    }
}

#[test]
fn a_file_is_made_with_all_that_belongs_to_it() {
    let temp = tempfile::tempdir_in(".").unwrap();
    let target = FileTarget::open(temp.path()).unwrap();
    let dir = target
        .make_dir(target.root(), b"d", InTheWay::Refuse)
        .unwrap()
        .dir;
    let file = target
        .create_file(dir, b"\xff", 100_000, 0o640, InTheWay::Refuse)
        .unwrap();
    target.write_at(&file, 99_995, b"tail!").unwrap();
    target.write_at(&file, 0, b"head").unwrap();
    let xattrs = [Xattr {
        name: b"user.k".to_vec(),
        value: b"v".to_vec(),
    }];
    assert!(
        target
            .finish_file(&file, &metadata(&xattrs))
            .unwrap()
            .is_empty()
    );
    let mut buffer = [1; 5];
    target.read_back(&file, 99_995, &mut buffer).unwrap();
    assert_eq!(&buffer, b"tail!");
    assert!(target.read_back(&file, 99_999, &mut buffer).is_err());
    assert!(target.finish_dir(dir, &metadata(&[])).is_empty());
    let path = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(&target.path_of(dir, b"\xff")));
    let meta = std::fs::metadata(path).unwrap();
    assert_eq!(
        (
            meta.len(),
            meta.mode() & 0o7777,
            meta.mtime(),
            meta.mtime_nsec()
        ),
        (100_000, 0o640, -5, 123_456_789)
    );
    assert!(meta.blocks() * 512 < 100_000);
    assert_eq!(
        std::fs::metadata(temp.path().join("d")).unwrap().mtime(),
        -5
    );
}

use std::os::unix::ffi::OsStrExt;

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let target = FileTarget::open(&temp.path().join("root")).unwrap();
    for name in [
        b"".as_slice(),
        b".",
        b"..",
        b"../x",
        b"/etc/x",
        b"a/b",
        b"a\0",
    ] {
        let root = target.root();
        assert!(target.make_dir(root, name, InTheWay::Replace).is_err());
        assert!(
            target
                .create_file(root, name, 1, 0o640, InTheWay::Replace)
                .is_err()
        );
        assert!(
            target
                .make_special(root, name, Special::Fifo, &metadata(&[]), InTheWay::Replace)
                .is_err()
        );
        assert!(
            target
                .make_link(root, name, (root, b"x"), InTheWay::Replace)
                .is_err()
        );
        assert!(
            target
                .make_link(root, b"x", (root, name), InTheWay::Replace)
                .is_err()
        );
    }
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn a_link_in_the_way_is_never_followed() {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), "precious").unwrap();
    let root_path = temp.path().join("root");
    let target = FileTarget::open(&root_path).unwrap();
    symlink(&outside, root_path.join("d")).unwrap();
    symlink(outside.join("f"), root_path.join("f")).unwrap();
    assert!(
        target
            .make_dir(target.root(), b"d", InTheWay::Replace)
            .is_err()
    );
    let file = target
        .create_file(target.root(), b"f", 3, 0o640, InTheWay::Replace)
        .unwrap();
    target.write_at(&file, 0, b"new").unwrap();
    target.finish_file(&file, &metadata(&[])).unwrap();
    assert_eq!(
        std::fs::read_to_string(outside.join("f")).unwrap(),
        "precious"
    );
    assert_eq!(std::fs::read_to_string(root_path.join("f")).unwrap(), "new");
}

#[test]
fn replacing_keeps_hard_links_of_the_old_file_and_full_folders() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("old"), "old").unwrap();
    std::fs::hard_link(temp.path().join("old"), temp.path().join("kept")).unwrap();
    std::fs::create_dir_all(temp.path().join("full/x")).unwrap();
    std::fs::create_dir(temp.path().join("empty")).unwrap();
    let target = FileTarget::open(temp.path()).unwrap();
    assert!(
        target
            .create_file(target.root(), b"old", 1, 0o640, InTheWay::Refuse)
            .is_err()
    );
    let file = target
        .create_file(target.root(), b"old", 1, 0o640, InTheWay::Replace)
        .unwrap();
    target.write_at(&file, 0, b"n").unwrap();
    assert_eq!(
        std::fs::read_to_string(temp.path().join("old")).unwrap(),
        "old",
        "until it is finished"
    );
    target.finish_file(&file, &metadata(&[])).unwrap();
    assert_eq!(
        std::fs::read_to_string(temp.path().join("old")).unwrap(),
        "n"
    );
    assert_eq!(
        std::fs::read_to_string(temp.path().join("kept")).unwrap(),
        "old"
    );
    assert!(
        target
            .create_file(target.root(), b"full", 1, 0o640, InTheWay::Replace)
            .is_err()
    );
    let file = target
        .create_file(target.root(), b"empty", 1, 0o640, InTheWay::Replace)
        .unwrap();
    target.discard_file(&file).unwrap();
    assert_eq!(target.existing(target.root(), b"empty").unwrap(), None);
}

#[test]
fn links_and_pipes() {
    let temp = tempfile::tempdir().unwrap();
    let target = FileTarget::open(temp.path()).unwrap();
    let root = target.root();
    let make = |name: &[u8], special| {
        target.make_special(root, name, special, &metadata(&[]), InTheWay::Replace)
    };
    assert!(
        make(b"l", Special::Symlink(b"nowhere/\xfe"))
            .unwrap()
            .is_empty()
    );
    assert!(make(b"p", Special::Fifo).unwrap().is_empty());
    let meta = std::fs::symlink_metadata(temp.path().join("p")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o640, -5));
    assert_eq!(
        std::fs::symlink_metadata(temp.path().join("l"))
            .unwrap()
            .mtime(),
        -5
    );
    std::fs::write(temp.path().join("f"), "x").unwrap();
    target
        .make_link(root, b"p", (root, b"f"), InTheWay::Replace)
        .unwrap();
    assert_eq!(std::fs::metadata(temp.path().join("p")).unwrap().nlink(), 2);
    if rustix::process::geteuid().is_root() {
        let number = rustix::fs::makedev(1, 3);
        assert!(
            make(b"null", Special::CharDevice(number))
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            target
                .existing(root, b"null")
                .unwrap()
                .unwrap()
                .device_number,
            number
        );
    }
}

#[test]
fn many_files_at_once_stay_within_the_limit() {
    let temp = tempfile::tempdir().unwrap();
    let target = FileTarget::open(temp.path()).unwrap();
    let files: Vec<TargetFile> = (0..1500)
        .map(|number| {
            let name = number.to_string().into_bytes();
            let file = target
                .create_file(target.root(), &name, 2, 0o640, InTheWay::Refuse)
                .unwrap();
            target.write_at(&file, 0, b"a").unwrap();
            target.rest_file(&file);
            file
        })
        .collect();
    assert_eq!(target.open_file_count(), super::files::OPEN_FILES_MAX);
    for file in &files {
        target.write_at(file, 1, b"b").unwrap();
        target.rest_file(file);
        assert!(target.open_file_count() <= super::files::OPEN_FILES_MAX);
    }
    for file in &files {
        assert_eq!(target.size_bytes(file).unwrap(), 2);
        target.finish_file(file, &metadata(&[])).unwrap();
    }
    assert_eq!(target.open_file_count(), 0);
    assert_eq!(std::fs::read(temp.path().join("1499")).unwrap(), b"ab");
}

/// What is made in a folder with a default access list inherits it, pipes and devices too, and must not keep it.
#[test]
fn pipes_lose_the_access_list_that_they_inherit() {
    let temp = tempfile::tempdir_in(".").unwrap();
    // Version 2; owner, user 12345, group, mask, others: tag, rights, id.
    let entries: [(u16, u16, u32); 5] = [
        (1, 7, u32::MAX),
        (2, 7, 12_345),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 5, u32::MAX),
    ];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let name = "system.posix_acl_default";
    rustix::fs::setxattr(temp.path(), name, &list, rustix::fs::XattrFlags::empty()).unwrap();
    for scope in [StagingScope::Replacing, StagingScope::Everything] {
        let target = FileTarget::open(temp.path()).unwrap().staged("r", scope);
        let made = target.make_special(
            target.root(),
            b"pipe",
            Special::Fifo,
            &metadata(&[]),
            InTheWay::Replace,
        );
        assert!(made.unwrap().is_empty());
        let mut names = [0u8; 1000];
        let path = temp.path().join("pipe");
        let length = rustix::fs::llistxattr(&path, &mut names).unwrap();
        let names = String::from_utf8_lossy(&names[..length]);
        assert!(!names.contains("posix_acl_access"), "{names}");
    }
}

#[test]
fn zeros_that_were_not_written_are_a_hole_and_all_is_synced() {
    const MIB: usize = 1 << 20;
    let temp = tempfile::tempdir_in(".").unwrap();
    let target = FileTarget::open(temp.path()).unwrap();
    let file = target
        .create_file(target.root(), b"f", MIB as u64, 0o640, InTheWay::Refuse)
        .unwrap();
    let is_hole =
        |offset: usize, length: usize| target.is_hole(&file, offset as u64, length as u64).unwrap();
    assert_eq!(target.write_at(&file, 0, &vec![0; MIB]).unwrap(), 0);
    assert!(is_hole(0, MIB));
    // Beyond the end nothing reads as zeros.
    assert!(!is_hole(0, MIB + 1));
    let mut half = vec![0; MIB / 2];
    half.push(1);
    assert_eq!(target.write_at(&file, 0, &half).unwrap(), 1);
    assert!(is_hole(0, MIB / 2));
    assert!(!is_hole(0, MIB));
    assert!(!is_hole(MIB / 2, 1));
    assert_eq!(target.write_at(&file, 0, &[0; 100]).unwrap(), 100);
    target.finish_file(&file, &metadata(&[])).unwrap();
    target.sync().unwrap();
}

#[test]
fn a_new_file_gets_its_mode_whatever_it_was_made_with() {
    let temp = tempfile::tempdir().unwrap();
    let target = FileTarget::open(temp.path()).unwrap();
    for mode in [0o644, 0o600, 0o000, 0o4755, 0o2711, 0o666, 0o1604] {
        let name = format!("{mode:o}");
        let file = target
            .create_file(target.root(), name.as_bytes(), 0, mode, InTheWay::Refuse)
            .unwrap();
        let wanted = TargetMetadata {
            mode,
            ..metadata(&[])
        };
        assert!(target.finish_file(&file, &wanted).unwrap().is_empty());
        let found = std::fs::metadata(temp.path().join(&name)).unwrap().mode();
        assert_eq!(found & 0o7777, mode, "{name}");
    }
}

//! What every storage must do, run against each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wrappers::quick;
use storage::{ErrorKind, Faulty, Listed, LocalFolder, Memory, Record, Retry, Storage};

/// Runs `test` on a fresh storage of each kind.
pub(crate) fn with_every_storage(test: impl Fn(Arc<dyn Storage>)) {
    let memory = || -> Arc<dyn Storage> { Arc::new(Memory::new()) };
    let folder = tempfile::tempdir().unwrap();
    let local = LocalFolder::new(folder.path().join("vault"));
    local.create_folders(&[]).unwrap();
    test(Arc::new(local));
    test(memory());
    test(Arc::new(Retry::new(memory(), quick())));
    test(Arc::new(Record::new(memory())));
    test(Arc::new(Faulty::new(memory())));
    let all = tempfile::tempdir().unwrap();
    let all = Arc::new(LocalFolder::new(all.path()));
    test(Arc::new(Retry::new(
        Arc::new(Record::new(Arc::new(Faulty::new(all)))),
        quick(),
    )));
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, storage::StorageError>) -> ErrorKind {
    result.unwrap_err().kind
}

#[test]
fn what_is_put_can_be_got_whole_and_in_part() {
    with_every_storage(|storage| {
        for (name, bytes) in [
            ("config", &b"abcdef"[..]),
            ("data/ab/abcd", b""),
            ("keys/k", &[7; 100_000]),
        ] {
            storage.put(name, bytes).unwrap();
            assert_eq!(storage.get(name).unwrap(), bytes);
            assert_eq!(storage.size(name).unwrap(), bytes.len() as u64);
            assert_eq!(storage.get_range(name, 0, bytes.len()).unwrap(), bytes);
            assert_eq!(storage.get_range(name, bytes.len() as u64, 0).unwrap(), b"");
        }
        assert_eq!(storage.get_range("config", 2, 3).unwrap(), b"cde");
        for (offset, length) in [
            (0, 7),
            (6, 1),
            (7, 0),
            (u64::MAX, 1),
            (0, usize::MAX),
            (3, 4),
        ] {
            assert_eq!(
                kind_of(storage.get_range("config", offset, length)),
                ErrorKind::Corrupt
            );
        }
    });
}

/// Whatever lies under a name, no more memory is taken for it than who reads it allows.
#[test]
fn what_is_larger_than_allowed_is_refused() {
    with_every_storage(|storage| {
        storage.put("config", b"12345").unwrap();
        for limit_bytes in [5, 6, u64::MAX] {
            assert_eq!(
                storage.get_at_most("config", limit_bytes).unwrap(),
                b"12345"
            );
        }
        for limit_bytes in [0, 4] {
            let refused = storage.get_at_most("config", limit_bytes).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Corrupt);
            let cause = refused.source.unwrap().to_string();
            assert!(cause.contains("5 bytes"), "{cause}");
        }
        let lost = storage.get_at_most("other", 0).unwrap_err();
        assert_eq!(lost.kind, ErrorKind::NotFound);
    });
    // A file of holes takes no room on the disk, and would take all memory.
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("hole")).unwrap();
    file.set_len(1 << 40).unwrap();
    let storage = LocalFolder::new(folder.path());
    assert_eq!(
        kind_of(storage.get_at_most("hole", 1 << 20)),
        ErrorKind::Corrupt
    );
    assert_eq!(kind_of(storage.put("hole", b"x")), ErrorKind::AlreadyExists);
}

#[test]
fn what_is_not_there_is_not_found() {
    with_every_storage(|storage| {
        storage.put("config", b"x").unwrap();
        for name in ["other", "data/ab/x", "config2"] {
            assert_eq!(kind_of(storage.get(name)), ErrorKind::NotFound);
            assert_eq!(kind_of(storage.get_range(name, 0, 1)), ErrorKind::NotFound);
            assert_eq!(kind_of(storage.size(name)), ErrorKind::NotFound);
            assert_eq!(kind_of(storage.delete(name)), ErrorKind::NotFound);
        }
    });
}

#[test]
fn a_name_is_written_once() {
    with_every_storage(|storage| {
        storage.put("a/b", b"one").unwrap();
        storage.put("a/b", b"one").unwrap();
        assert_eq!(
            kind_of(storage.put("a/b", b"two")),
            ErrorKind::AlreadyExists
        );
        assert_eq!(kind_of(storage.put("a/b", b"on")), ErrorKind::AlreadyExists);
        assert_eq!(storage.get("a/b").unwrap(), b"one");
        storage.delete("a/b").unwrap();
        storage.put("a/b", b"two").unwrap();
        assert_eq!(storage.get("a/b").unwrap(), b"two");
    });
}

#[test]
fn names_cannot_leave_the_storage() {
    with_every_storage(|storage| {
        for name in [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "./a",
            "a\0b",
        ] {
            assert!(storage.put(name, b"x").is_err(), "{name:?}");
            assert!(storage.get(name).is_err(), "{name:?}");
            assert!(storage.get_range(name, 0, 0).is_err(), "{name:?}");
            assert!(storage.size(name).is_err(), "{name:?}");
            assert!(storage.delete(name).is_err(), "{name:?}");
        }
        for folder in ["/", "..", "a/.."] {
            assert!(storage.list(folder).is_err(), "{folder:?}");
        }
    });
}

#[test]
fn listings_are_whole_sorted_and_of_one_folder() {
    with_every_storage(|storage| {
        storage.put("config", b"12").unwrap();
        for name in [
            "data/ff/2",
            "data/00/1",
            "data/00/0",
            "database/x",
            "index/a",
        ] {
            storage.put(name, b"1").unwrap();
        }
        let names = |folder: &str| -> Vec<String> {
            storage
                .list(folder)
                .unwrap()
                .into_iter()
                .map(|listed| listed.name)
                .collect()
        };
        assert_eq!(names("data"), ["data/00/0", "data/00/1", "data/ff/2"]);
        assert_eq!(names("data/00"), ["data/00/0", "data/00/1"]);
        assert_eq!(names("snapshots"), Vec::<String>::new());
        assert_eq!(names("").len(), 6);
        assert_eq!(
            storage.list("").unwrap()[0],
            Listed {
                name: "config".to_owned(),
                size_bytes: 2
            }
        );
        storage
            .create_folders(&[
                "locks".to_owned(),
                "data/01".to_owned(),
                "new/deep/er".to_owned(),
            ])
            .unwrap();
        assert_eq!(names("").len(), 6);
    });
}

/// T3 of the history of failures: numbers of files at which paged listings have been cut.
#[test]
fn t03_listings_of_any_length_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalFolder::new(folder.path());
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for (count, from) in [(1, 0), (999, 1), (1000, 999), (1001, 1000), (2001, 1001)] {
        for number in from..count {
            std::fs::write(folder.path().join(format!("data/{number:05}")), b"x").unwrap();
        }
        assert_eq!(storage.list("data").unwrap().len(), count);
    }
}

#[test]
fn many_threads_that_put_the_same_name_leave_one_of_their_contents() {
    with_every_storage(|storage| {
        let (written, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let (storage, written, refused) = (&storage, &written, &refused);
                scope.spawn(move || {
                    for number in 0..25 {
                        match storage.put(&format!("x/{number}"), &[thread; 1000]) {
                            Ok(()) => written.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                assert_eq!(error.kind, ErrorKind::AlreadyExists);
                                refused.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    }
                });
            }
        });
        assert_eq!(written.into_inner(), 25);
        assert_eq!(refused.into_inner(), 75);
        for number in 0..25 {
            let bytes = storage.get(&format!("x/{number}")).unwrap();
            assert_eq!(bytes.len(), 1000);
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        }
    });
}

#[test]
fn a_reader_never_sees_a_part_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalFolder::new(folder.path());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..20 {
                storage
                    .put(&format!("data/{number}"), &vec![1; 300_000])
                    .unwrap();
            }
        });
        while !writer.is_finished() {
            for listed in storage.list("").unwrap_or_default() {
                assert_eq!(listed.size_bytes, 300_000);
                assert_eq!(storage.get(&listed.name).unwrap().len(), 300_000);
            }
        }
    });
}

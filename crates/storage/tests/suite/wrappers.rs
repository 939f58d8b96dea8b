//! What the wrappers add: retries, records, faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Record, Retry, RetryPolicy, Storage};

/// Pauses that a test can afford.
pub(crate) fn quick() -> RetryPolicy {
    RetryPolicy {
        attempt_count: 4,
        first_pause: Duration::from_micros(10),
        longest_pause: Duration::from_micros(20),
        longest_total: Duration::from_secs(60),
    }
}

/// A memory with one file, faults in front of it, and retries in front of those.
fn retried() -> (Memory, Arc<Faulty>, Retry) {
    let memory = Memory::new();
    memory.put("a", b"abcdef").unwrap();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    let retry = Retry::new(Arc::clone(&faulty) as Arc<dyn Storage>, quick());
    (memory, faulty, retry)
}

#[test]
fn what_is_worth_a_retry_is_tried_again_and_nothing_else() {
    let check = |kind: ErrorKind, expected_calls: u64| {
        let (_, faulty, retry) = retried();
        faulty.from(0, Fault::Fail(kind));
        assert_eq!(retry.get("a").unwrap_err().kind, kind);
        assert_eq!(faulty.call_count(), expected_calls, "{kind:?}");
    };
    check(ErrorKind::Transient, 4);
    check(ErrorKind::Throttled, 4);
    // A short answer may be right at a second look; a third one is not worth the wait.
    check(ErrorKind::Corrupt, 2);
    for kind in [
        ErrorKind::Full,
        ErrorKind::Denied,
        ErrorKind::NotFound,
        ErrorKind::Other,
    ] {
        check(kind, 1);
    }
}

#[test]
fn retries_end_in_time() {
    let faulty = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let policy = RetryPolicy {
        longest_total: Duration::ZERO,
        ..quick()
    };
    faulty.from(0, Fault::Fail(ErrorKind::Transient));
    let retry = Retry::new(Arc::clone(&faulty) as Arc<dyn Storage>, policy);
    assert!(retry.get("a").is_err());
    assert_eq!(faulty.call_count(), 2);
}

/// What a disk or a mount answers, as `storage::open` has it: a read that failed by itself is looked at again, and a
/// write that failed by the disk is believed.
#[test]
fn a_disk_error_is_looked_at_again_by_reads_alone() {
    #[derive(Debug)]
    struct Broken(AtomicU64);
    impl Broken {
        fn answer<T>(&self, operation: Operation) -> Result<T, storage::StorageError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let error = std::io::Error::from_raw_os_error(5);
            Err(storage::StorageError::io(operation, "a", error))
        }
    }
    impl Storage for Broken {
        fn location(&self) -> String {
            String::new()
        }
        fn put(&self, _: &str, _: &[u8]) -> Result<(), storage::StorageError> {
            self.answer(Operation::Put)
        }
        fn get_at_most(&self, _: &str, _: u64) -> Result<Vec<u8>, storage::StorageError> {
            self.answer(Operation::Get)
        }
        fn get_range(&self, _: &str, _: u64, _: usize) -> Result<Vec<u8>, storage::StorageError> {
            self.answer(Operation::GetRange)
        }
        fn size(&self, _: &str) -> Result<u64, storage::StorageError> {
            self.answer(Operation::Size)
        }
        fn list(&self, _: &str) -> Result<Vec<storage::Listed>, storage::StorageError> {
            self.answer(Operation::List)
        }
        fn delete(&self, _: &str) -> Result<(), storage::StorageError> {
            self.answer(Operation::Delete)
        }
    }
    let broken = Arc::new(Broken(AtomicU64::new(0)));
    let retry = Retry::new(Arc::clone(&broken) as Arc<dyn Storage>, quick());
    let calls = || broken.0.swap(0, Ordering::Relaxed);
    assert!(retry.get("a").is_err());
    assert_eq!(calls(), 2);
    assert!(retry.list("a").is_err());
    assert_eq!(calls(), 2);
    assert!(retry.put("a", b"").is_err());
    assert_eq!(calls(), 1);
    assert!(retry.delete("a").is_err());
    assert_eq!(calls(), 1);
}

#[test]
fn what_mounts_answer_while_their_server_is_away_passes() {
    for errno in [4, 11, 16, 104, 110, 112, 113, 116] {
        let error = std::io::Error::from_raw_os_error(errno);
        assert_eq!(ErrorKind::of_io(&error), ErrorKind::Transient, "{errno}");
    }
    for errno in [1, 2, 5, 13, 28, 30] {
        let error = std::io::Error::from_raw_os_error(errno);
        assert_ne!(ErrorKind::of_io(&error), ErrorKind::Transient, "{errno}");
    }
}

#[test]
fn a_put_whose_answer_was_lost_is_repeated_and_a_delete_too() {
    let (memory, faulty, retry) = retried();
    faulty.at(0, Fault::FailAfter(ErrorKind::Transient));
    retry.put("b", b"new").unwrap();
    assert_eq!(memory.get("b").unwrap(), b"new");
    faulty.at(faulty.call_count(), Fault::FailAfter(ErrorKind::Transient));
    retry.delete("b").unwrap();
    assert_eq!(retry.delete("b").unwrap_err().kind, ErrorKind::NotFound);
}

/// T8 of the history of failures: a short answer is an error that is tried again, and in the end a loud one.
#[test]
fn t08_short_answers_are_retried_and_then_fail() {
    for keep in 0..6 {
        let (_, faulty, retry) = retried();
        faulty.at(0, Fault::Tear(keep));
        assert_eq!(retry.get_range("a", 0, 6).unwrap(), b"abcdef");
        let (_, faulty, retry) = retried();
        faulty.from(0, Fault::Tear(keep));
        assert_eq!(
            retry.get_range("a", 0, 6).unwrap_err().kind,
            ErrorKind::Corrupt
        );
    }
}

#[test]
fn faults_do_what_they_say() {
    let memory = Memory::new();
    let faulty = Faulty::new(Arc::new(memory.clone()));
    let kind = |result: Result<(), storage::StorageError>| result.err().map(|error| error.kind);
    faulty.at_nth(Operation::Put, 0, Fault::Fail(ErrorKind::Full));
    faulty.at_nth(Operation::Put, 1, Fault::FailAfter(ErrorKind::Transient));
    faulty.at_nth(Operation::Put, 2, Fault::Tear(2));
    faulty.at_nth(Operation::Put, 3, Fault::TearSilently(1));
    faulty.at_nth(Operation::Put, 4, Fault::Flip);
    faulty.at_nth(Operation::Put, 5, Fault::Lie(0));
    assert_eq!(kind(faulty.put("0", b"abc")), Some(ErrorKind::Full));
    assert_eq!(kind(faulty.put("1", b"abc")), Some(ErrorKind::Transient));
    assert_eq!(kind(faulty.put("2", b"abc")), Some(ErrorKind::Other));
    for name in ["3", "4", "5", "6"] {
        assert_eq!(kind(faulty.put(name, b"abc")), None);
    }
    let stored: Vec<(String, Vec<u8>)> = memory
        .list("")
        .unwrap()
        .into_iter()
        .map(|listed| (listed.name.clone(), memory.get(&listed.name).unwrap()))
        .collect();
    let expected = [
        ("1", &b"abc"[..]),
        ("2", b"ab"),
        ("3", b"a"),
        ("4", b"arc"),
        ("6", b"abc"),
    ];
    assert_eq!(stored.len(), expected.len());
    for ((name, bytes), (expected_name, expected_bytes)) in stored.iter().zip(expected) {
        assert_eq!(
            (name.as_str(), bytes.as_slice()),
            (expected_name, expected_bytes)
        );
    }
    faulty.at_nth(Operation::List, 0, Fault::Lie(2));
    assert_eq!(faulty.list("").unwrap().len(), 2);
    assert_eq!(faulty.list("").unwrap().len(), 5);
    faulty.at_nth(Operation::Delete, 0, Fault::Lie(0));
    faulty.delete("1").unwrap();
    assert!(memory.get("1").is_ok());
    faulty.from(faulty.call_count(), Fault::Fail(ErrorKind::Other));
    assert!(faulty.get("1").is_err() && faulty.size("1").is_err());
    faulty.heal();
    assert!(faulty.get("1").is_ok());
}

#[test]
fn a_record_tells_what_was_called() {
    let record = Record::new(Arc::new(Memory::new()));
    record.put("a", b"abc").unwrap();
    record.get_range("a", 1, 2).unwrap();
    assert!(record.get("b").is_err());
    let calls = record.take();
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call.operation,
                call.name.as_str(),
                call.transferred_bytes,
                call.is_ok,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Operation::Put, "a", 3, true),
            (Operation::GetRange, "a", 2, true),
            (Operation::Get, "b", 0, false)
        ]
    );
    assert!(record.take().is_empty());
}

//! Storages that are wrong once, at every call, under a restore and under a check: neither may take that for damage. And
//! storages that are wrong for ever, which must never put a wrong byte into a file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runner::{Outcome, RunError};
use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Record, Retry, RetryPolicy, Storage};
use vault::{CheckOptions, ReadData, Repository, Secret, VaultError, WriterOptions};

use crate::support::{
    PASSWORD, assert_same, below, create, request, restore_request, run, run_restore, temp,
};

fn sample(root: &Path) -> Memory {
    for folder in ["a", "b", "a/deep"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
        for file in 0..3 {
            let path = root.join(folder).join(format!("f{file}"));
            let seed = path.to_str().unwrap().len() as u64 * 10 + file;
            testkit::content::write_random_file(&path, 15_000, seed).unwrap();
        }
    }
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let mut request = request(&repository, root);
    request.writer = WriterOptions {
        pack_size_bytes: 40_000,
        ..WriterOptions::default()
    };
    run(&request).0.unwrap();
    memory
}

fn faulty(memory: &Memory) -> (Arc<Faulty>, Repository) {
    let faulty = Arc::new(Faulty::new(Arc::new(memory.snapshot())));
    let repository = Repository::open(
        Arc::clone(&faulty) as Arc<dyn Storage>,
        &Secret::new(PASSWORD),
    );
    (faulty, repository.unwrap())
}

/// The same with the wrapper that every real storage has.
fn retried(repository: &Repository) -> Repository {
    let policy = RetryPolicy {
        attempt_count: 3,
        first_pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
        longest_total: Duration::from_secs(60),
    };
    repository.with_storage(Arc::new(Retry::new(
        Arc::clone(repository.storage()),
        policy,
    )))
}

/// Runs `each` under every fault that passes: a wrong or short answer to each read, and a failure of each call. Says how
/// many cases there were.
fn under_every_passing_fault(memory: &Memory, each: impl Fn(&Repository, &str)) -> u64 {
    let mut case_count = 0;
    let mut run = |case: &str, set: &dyn Fn(&Faulty)| {
        let (faulty, repository) = faulty(memory);
        set(&faulty);
        each(&retried(&repository), case);
        case_count += 1;
    };
    let (opening, whole) = calls(memory, &each);
    for fault in [Fault::Flip, Fault::Tear(0), Fault::Tear(7)] {
        for operation in [Operation::Get, Operation::GetRange] {
            let count =
                |calls: &[Operation]| calls.iter().filter(|call| **call == operation).count();
            for nth in count(&opening)..count(&whole) {
                let case = format!("{fault:?} at {operation:?} {nth}");
                run(&case, &|faulty| {
                    faulty.at_nth(operation, nth as u64, fault.clone())
                });
            }
        }
    }
    for kind in [ErrorKind::Transient, ErrorKind::Throttled] {
        for call in opening.len()..whole.len() {
            let case = format!("{kind:?} at {call}");
            run(&case, &|faulty| faulty.at(call as u64, Fault::Fail(kind)));
        }
    }
    case_count
}

/// The calls that opening takes, and those that opening and the run take.
fn calls(memory: &Memory, each: &impl Fn(&Repository, &str)) -> (Vec<Operation>, Vec<Operation>) {
    let record = Arc::new(Record::new(Arc::new(memory.snapshot())));
    let storage = Arc::clone(&record) as Arc<dyn Storage>;
    let repository = Repository::open(storage, &Secret::new(PASSWORD)).unwrap();
    let operations = || {
        record
            .take()
            .iter()
            .map(|call| call.operation)
            .collect::<Vec<_>>()
    };
    let opening = operations();
    each(&repository, "no fault");
    let whole = opening.iter().copied().chain(operations()).collect();
    (opening, whole)
}

fn check(repository: &Repository) -> Result<vault::CheckReport, VaultError> {
    let options = CheckOptions {
        read_data: ReadData::All,
        thread_count: 1,
    };
    vault::check(repository, &options, &|_| {})
}

/// T8 and T38 of the history of failures under a restore.
#[test]
fn t08_t38_a_restore_gets_everything_whichever_call_is_wrong_once() {
    let temp = temp();
    let root = temp.path().join("tree");
    let memory = sample(&root);
    let target = temp.path().join("target");
    let case_count = under_every_passing_fault(&memory, |repository, case| {
        let (result, ear) = run_restore(&restore_request(repository, &target));
        let outcome = result.unwrap().outcome;
        assert_eq!(
            (ear.errors(), outcome),
            (vec![], Outcome::Complete),
            "{case}"
        );
        assert_same(&root, &below(&target, &root));
        std::fs::remove_dir_all(&target).unwrap();
    });
    assert!(case_count > 60, "{case_count}");
}

/// T38 under a check of everything.
#[test]
fn t38_a_check_condemns_nothing_whichever_call_is_wrong_once() {
    let temp = temp();
    let memory = sample(&temp.path().join("tree"));
    let case_count = under_every_passing_fault(&memory, |repository, case| {
        let report = check(repository).unwrap();
        assert!(report.is_ok(), "{case}: {:?}", report.errors);
    });
    assert!(case_count > 60, "{case_count}");
}

/// From some call on every answer is wrong. What is in the target then is right or not there, and everything that is not
/// there is told, or the run ends.
#[test]
fn t36_a_storage_that_lies_for_ever_never_gets_a_wrong_byte_into_a_file() {
    let temp = temp();
    let root = temp.path().join("tree");
    let memory = sample(&root);
    let target = temp.path().join("target");
    let mut case_count = 0;
    for fault in [Fault::Flip, Fault::Tear(7), Fault::Fail(ErrorKind::Other)] {
        for call in 0.. {
            let (faulty, repository) = faulty(&memory);
            let first = faulty.call_count();
            faulty.from(first + call, fault.clone());
            let (result, ear) = run_restore(&restore_request(&repository, &target));
            let case = format!("{fault:?} from {call}");
            let is_told = match &result {
                Ok(report) => report.outcome == Outcome::Partial,
                Err(RunError::Vault(_)) => true,
                Err(error) => panic!("{case}: {error}"),
            };
            for path in ["a/f0", "a/f1", "a/f2", "a/deep/f0", "b/f0", "b/f2"] {
                let expected = std::fs::read(root.join(path)).unwrap();
                match std::fs::read(below(&target, &root).join(path)) {
                    Ok(found) => assert!(found == expected, "{case}: {path}"),
                    Err(_) => assert!(is_told, "{case}: {path} is missing: {:?}", ear.errors()),
                }
            }
            if target.exists() {
                std::fs::remove_dir_all(&target).unwrap();
            }
            case_count += 1;
            if faulty.call_count() - first <= call {
                break;
            }
        }
    }
    assert!(case_count > 20, "{case_count}");
}

/// A check beside a storage that lies for ever says so, or that it cannot look.
#[test]
fn a_check_of_a_storage_that_lies_for_ever_is_never_content() {
    let temp = temp();
    let memory = sample(&temp.path().join("tree"));
    let calls = {
        let (faulty, repository) = faulty(&memory);
        let first = faulty.call_count();
        check(&repository).unwrap();
        faulty.call_count() - first
    };
    for fault in [Fault::Flip, Fault::Tear(7), Fault::Fail(ErrorKind::Other)] {
        // Listings are not falsified by a flip, so from the last read of content on nothing is noticed any more: that
        // is the last call.
        for call in 0..calls {
            let (faulty, repository) = faulty(&memory);
            faulty.from(faulty.call_count() + call, fault.clone());
            let is_content = check(&repository).is_ok_and(|report| report.is_ok());
            assert!(!is_content, "{fault:?} from {call} of {calls}");
        }
    }
}

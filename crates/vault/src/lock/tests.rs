//! Locks against each other, and dead ones.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use storage::{ErrorKind, Fault, Faulty, Memory, Storage};

use super::{HeldState, LockJson, LockKind, STALE_AFTER, UnlockScope, hostname, process_start};
use crate::error::VaultError;
use crate::layout::FileKind;
use crate::repository::Repository;
use crate::testing::create;
use crate::time::Time;

fn repository() -> Repository {
    create(Arc::new(Memory::new()))
}

fn lock_count(repository: &Repository) -> usize {
    repository.list(FileKind::Lock).unwrap().len()
}

/// Leaves a lock behind as another process would.
fn leave(repository: &Repository, change: impl FnOnce(&mut LockJson)) {
    let mut lock = LockJson::of_this_process(LockKind::Exclusive);
    change(&mut lock);
    let json = serde_json::to_vec(&lock).unwrap();
    repository.save_json(FileKind::Lock, &json).unwrap();
}

fn seconds_ago(seconds: i64) -> String {
    Time::new(Time::now().seconds - seconds, 0).to_string()
}

#[test]
fn shared_locks_go_together_and_an_exclusive_one_stands_alone() {
    let repository = repository();
    let first = repository.lock(LockKind::Shared).unwrap();
    let second = repository.lock(LockKind::Shared).unwrap();
    assert_eq!(lock_count(&repository), 2);
    let refused = repository.lock(LockKind::Exclusive).unwrap_err();
    let VaultError::Locked {
        exclusive,
        pid,
        hostname: host,
        ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert!(!exclusive);
    assert_eq!((pid, host), (std::process::id(), hostname()));
    assert_eq!(lock_count(&repository), 2);
    drop((first, second));
    let exclusive = repository.lock(LockKind::Exclusive).unwrap();
    for kind in [LockKind::Shared, LockKind::Exclusive] {
        assert!(matches!(
            repository.lock(kind),
            Err(VaultError::Locked {
                exclusive: true,
                ..
            })
        ));
    }
    assert!(exclusive.ensure_held().is_ok());
    drop(exclusive);
    assert_eq!(lock_count(&repository), 0);
}

#[test]
fn dead_and_silent_locks_stop_nobody_and_live_ones_do() {
    let check = |change: &dyn Fn(&mut LockJson), is_stale: bool| {
        let repository = repository();
        leave(&repository, change);
        assert_eq!(repository.lock(LockKind::Shared).is_ok(), is_stale);
        assert_eq!(
            repository.unlock(UnlockScope::Stale).unwrap(),
            usize::from(is_stale)
        );
        let left = usize::from(!is_stale);
        assert_eq!(lock_count(&repository), left);
        assert_eq!(repository.unlock(UnlockScope::All).unwrap(), left);
    };
    check(&|_| {}, false);
    // The largest process id that Linux gives is below this number.
    check(&|lock| lock.pid = 0x3fff_fff0, true);
    // A process of this number lives, but it is another one: the container was restarted.
    check(
        &|lock| lock.process_start = Some("other:1".to_owned()),
        true,
    );
    check(&|lock| lock.process_start = None, false);
    check(&|lock| lock.pid = 0, false);
    let elsewhere = |lock: &mut LockJson| {
        lock.hostname = "elsewhere".to_owned();
        lock.pid = 0x3fff_fff0;
    };
    check(&elsewhere, false);
    check(
        &|lock| {
            elsewhere(lock);
            lock.time = seconds_ago(29 * 60);
        },
        false,
    );
    check(
        &|lock| {
            elsewhere(lock);
            lock.time = seconds_ago(31 * 60);
        },
        true,
    );
    // T11: a time of the future, or none, proves nothing.
    check(
        &|lock| {
            elsewhere(lock);
            lock.time = seconds_ago(-86_400);
        },
        false,
    );
    check(
        &|lock| {
            elsewhere(lock);
            lock.time = "never".to_owned();
        },
        false,
    );
}

#[test]
fn a_lock_that_cannot_be_read_stops_a_change_but_not_an_unlock() {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let name = format!("locks/{}", "ab".repeat(32));
    memory.overwrite(&name, b"rubbish".to_vec());
    assert!(repository.lock(LockKind::Exclusive).is_err());
    assert_eq!(repository.unlock(UnlockScope::Stale).unwrap(), 0);
    assert_eq!(repository.unlock(UnlockScope::All).unwrap(), 1);
    // An empty file is what a writer left that died before its first byte.
    memory.overwrite(&name, Vec::new());
    assert!(repository.lock(LockKind::Exclusive).is_ok());
    assert_eq!(repository.unlock(UnlockScope::Stale).unwrap(), 1);
}

/// T7 of the history of failures: a lock that was not refreshed in time, or was removed, counts as lost.
#[test]
fn t07_a_lost_lock_is_noticed() {
    let repository = repository();
    let guard = repository.lock(LockKind::Shared).unwrap();
    assert!(guard.ensure_held().is_ok());
    assert!(guard.shared.refresh().is_ok());
    assert_eq!(lock_count(&repository), 1);
    let age = |refreshed: Duration, wall_seconds: i64| {
        let mut state = guard.shared.state.lock();
        *state = HeldState {
            id: state.id,
            refreshed: Instant::now()
                .checked_sub(refreshed)
                .unwrap_or_else(Instant::now),
            refreshed_at: Time::new(Time::now().seconds - wall_seconds, 0),
            failure: None,
        };
    };
    // The host slept: its steady clock stood still, the wall clock did not.
    age(Duration::ZERO, STALE_AFTER.as_secs() as i64);
    assert!(matches!(
        guard.ensure_held(),
        Err(VaultError::LockLost { .. })
    ));
    age(Duration::ZERO, 60);
    assert!(guard.ensure_held().is_ok());
    // Somebody ran `unlock --remove-all`: the next refresh does not bring the lock back.
    repository.unlock(UnlockScope::All).unwrap();
    assert!(matches!(
        guard.shared.refresh(),
        Err(VaultError::LockLost { .. })
    ));
    assert_eq!(lock_count(&repository), 0);
}

#[test]
fn a_refresh_that_fails_keeps_the_old_lock() {
    let memory = Memory::new();
    let faulty = Arc::new(Faulty::new(Arc::new(memory)));
    let repository = create(Arc::clone(&faulty) as Arc<dyn Storage>);
    let guard = repository.lock(LockKind::Shared).unwrap();
    faulty.from(faulty.call_count(), Fault::Fail(ErrorKind::Transient));
    assert!(guard.shared.refresh().is_err());
    faulty.heal();
    assert_eq!(lock_count(&repository), 1);
    assert!(guard.shared.refresh().is_ok());
    drop(guard);
    assert_eq!(lock_count(&repository), 0);
}

/// Two processes that look at the same moment: whatever the order, never both hold conflicting locks.
#[test]
fn racing_lockers_never_both_win() {
    for _ in 0..20 {
        let repository = repository();
        let barrier = std::sync::Barrier::new(4);
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        repository.lock(LockKind::Exclusive).ok()
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(held.len() <= 1);
        assert_eq!(lock_count(&repository), held.len());
    }
}

#[test]
fn a_process_has_one_start() {
    let pid = std::process::id();
    assert_eq!(process_start(pid), process_start(pid));
    assert!(process_start(pid).is_some());
    assert_eq!(process_start(0x3fff_fff0), None);
}

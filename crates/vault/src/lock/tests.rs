//! Locks against each other, and dead ones.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Storage};

use super::file::{Holder, LockJson, Origin};
use super::{BELIEVED_FOR, HeldState, LockKind, STALE_AFTER, UnlockScope, hostname};
use crate::error::VaultError;
use crate::layout::FileKind;
use crate::repository::Repository;
use crate::testing::{Watched, create, open};
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

/// The largest process id that Linux gives is below this number.
const NO_PID: u32 = 0x3fff_fff0;

#[test]
fn dead_and_silent_locks_stop_nobody_and_live_ones_do() {
    let check = |change: &dyn Fn(&mut LockJson), is_stale: bool| {
        let repository = repository();
        leave(&repository, change);
        assert_eq!(repository.lock(LockKind::Shared).is_ok(), is_stale);
        assert_eq!(
            repository.unlock(UnlockScope::Dead).unwrap(),
            usize::from(is_stale)
        );
        let left = usize::from(!is_stale);
        assert_eq!(lock_count(&repository), left);
        assert_eq!(repository.unlock(UnlockScope::All).unwrap(), left);
    };
    let origin = |lock: &mut LockJson| lock.origin.clone().unwrap();
    check(&|_| {}, false);
    check(&|lock| lock.pid = NO_PID, true);
    // A process of this number lives, but it is another one.
    check(
        &|lock| {
            lock.origin = Some(Origin {
                start: "1".to_owned(),
                ..origin(lock)
            });
        },
        true,
    );
    check(&|lock| lock.origin = None, false);
    check(&|lock| lock.pid = 0, false);
    // Two hosts or containers of one name: the process of the other one cannot be seen from here.
    for pid in [std::process::id(), NO_PID] {
        check(
            &|lock| {
                lock.pid = pid;
                lock.origin = Some(Origin {
                    machine: "other".to_owned(),
                    boot: "other".to_owned(),
                    ..origin(lock)
                });
            },
            false,
        );
        check(
            &|lock| {
                lock.pid = pid;
                lock.origin = Some(Origin {
                    pid_namespace: "pid:[1]".to_owned(),
                    ..origin(lock)
                });
            },
            false,
        );
    }
    let elsewhere = |lock: &mut LockJson| {
        lock.hostname = "elsewhere".to_owned();
        lock.pid = NO_PID;
    };
    check(&elsewhere, false);
    for (hours, is_dead) in [(0, false), (1, false), (23, false), (25, true)] {
        check(
            &|lock| {
                elsewhere(lock);
                lock.time = seconds_ago(hours * 3600);
            },
            is_dead,
        );
    }
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
fn a_machine_that_was_started_anew_knows_its_dead_and_no_others() {
    let own = Origin {
        machine: "m".to_owned(),
        boot: "2".to_owned(),
        pid_namespace: "n".to_owned(),
        start: "7".to_owned(),
    };
    let check = |machine: &str, own_machine: &str, expected: Holder| {
        let before = Origin {
            machine: machine.to_owned(),
            boot: "1".to_owned(),
            ..own.clone()
        };
        let own = Origin {
            machine: own_machine.to_owned(),
            ..own.clone()
        };
        let pid = std::process::id();
        assert_eq!(before.holder(&own, pid, true), expected);
        assert_eq!(before.holder(&own, pid, false), Holder::Alive);
    };
    check("m", "m", Holder::Dead);
    check("other", "m", Holder::Alive);
    check("", "", Holder::Alive);
}

/// A clone of a machine, which has its name and its ids, is seen by its original and the other way round, whenever the one
/// that looks was started: a lock that is refreshed every five minutes is never taken for one of a former boot, one that was
/// left before the boot is, once that is sure.
#[test]
fn a_clone_of_a_machine_is_not_the_machine_before_it_was_started_anew() {
    let now = Time::now();
    let minutes = |minutes: i64| Duration::from_secs(minutes.unsigned_abs() * 60);
    let mut lock = LockJson::of_this_process(LockKind::Shared);
    let mut dead = 0;
    for up_minutes in 0..200 {
        for silent_minutes in 0..200 {
            lock.time = Time::new(now.seconds - silent_minutes * 60 - 1, 0).to_string();
            let is_dead = lock.is_of_former_boot(Some(minutes(up_minutes)), now);
            assert!(!is_dead || silent_minutes > 5, "it is refreshed");
            assert_eq!(is_dead, silent_minutes >= up_minutes.max(10));
            dead += usize::from(is_dead);
        }
    }
    assert!(dead > 10_000, "{dead}");
    assert!(!lock.is_of_former_boot(None, now));
    lock.time = "never".to_owned();
    assert!(!lock.is_of_former_boot(Some(minutes(0)), now));
}

/// T19 of the history of failures: the clock of who looks is ahead by anything below a day. He removes no live lock of
/// another host, and comes in beside it neither alone nor for a prune; nor beside one that is there alone, unless it is
/// restic's, of whom all restics think so. A person may say otherwise.
#[test]
fn t19_a_clock_ahead_takes_no_live_lock_for_dead() {
    type Change = fn(&mut LockJson);
    let kinds: [(Change, &[LockKind]); 4] = [
        (|lock| lock.exclusive = false, &[LockKind::Exclusive]),
        (
            |lock| (lock.exclusive, lock.maintenance) = (false, true),
            &[LockKind::Exclusive, LockKind::Maintenance],
        ),
        (
            |_| {},
            &[LockKind::Exclusive, LockKind::Maintenance, LockKind::Shared],
        ),
        (
            |lock| lock.origin = None,
            &[LockKind::Exclusive, LockKind::Maintenance],
        ),
    ];
    for (change, stopped) in kinds {
        for ahead_minutes in [0, 31, 90, 23 * 60, 25 * 60] {
            let repository = repository();
            leave(&repository, |lock| {
                lock.hostname = "elsewhere".to_owned();
                lock.time = seconds_ago(ahead_minutes * 60);
                change(lock);
            });
            let is_dead = Duration::from_secs(ahead_minutes.unsigned_abs() * 60) > BELIEVED_FOR;
            for kind in stopped {
                match repository.lock(*kind) {
                    Ok(_) => assert!(is_dead, "{kind:?} {ahead_minutes}"),
                    Err(error) => {
                        assert!(!is_dead, "{kind:?} {ahead_minutes}");
                        assert!(matches!(error, VaultError::Locked { .. }), "{error}");
                        let told = error.to_string();
                        assert!(told.contains("@elsewhere") && told.contains("repo unlock"));
                    }
                }
            }
            let removed = repository.unlock(UnlockScope::Dead).unwrap();
            assert_eq!(removed, usize::from(is_dead));
            let by_a_person = repository.unlock(UnlockScope::Stale).unwrap();
            assert_eq!(removed + by_a_person, usize::from(ahead_minutes > 30));
        }
    }
}

/// Locks of restic name host and process only. One that looks dead stops nobody, as among restics, and nobody removes it
/// by itself, but who asks for it may.
#[test]
fn what_only_looks_dead_goes_when_somebody_asks() {
    let repository = repository();
    leave(&repository, |lock| {
        lock.origin = None;
        lock.pid = NO_PID;
    });
    assert!(repository.lock(LockKind::Shared).is_ok());
    assert_eq!(repository.unlock(UnlockScope::Dead).unwrap(), 0);
    assert_eq!(repository.unlock(UnlockScope::Stale).unwrap(), 1);
    assert!(repository.lock(LockKind::Shared).is_ok());
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
        let refreshed = Instant::now().checked_sub(refreshed);
        *state = HeldState::new(
            state.id,
            refreshed.unwrap_or_else(Instant::now),
            Time::new(Time::now().seconds - wall_seconds, 0),
        );
    };
    age(Duration::ZERO, 60);
    assert!(guard.ensure_held().is_ok());
    // The host slept: its steady clock stood still, the wall clock did not. The refresher may wake up before anybody
    // asks, and must not make the lock held again.
    age(Duration::ZERO, STALE_AFTER.as_secs() as i64);
    assert_lost(guard.shared.refresh());
    assert_lost(guard.ensure_fresh());
    guard.shared.state.lock().refreshed_at = Time::now();
    assert_lost(guard.ensure_fresh());
    assert_lost(guard.ensure_held());
    assert_lost(guard.shared.refresh());
    // The lock itself is still there, and goes with its guard.
    assert_eq!(lock_count(&repository), 1);
    drop(guard);
    assert_eq!(lock_count(&repository), 0);
}

fn assert_lost(result: Result<(), VaultError>) {
    assert!(
        matches!(result, Err(VaultError::LockLost { .. })),
        "{result:?}"
    );
}

/// Somebody ran `unlock --remove-all`: who asks is told at once, and no refresh brings the lock back.
#[test]
fn t07_a_removed_lock_stays_lost() {
    let repository = repository();
    let (asked, refreshed) = (
        repository.lock(LockKind::Shared).unwrap(),
        repository.lock(LockKind::Shared).unwrap(),
    );
    repository.unlock(UnlockScope::All).unwrap();
    assert!(asked.ensure_fresh().is_ok(), "nobody has told it yet");
    assert_lost(asked.ensure_held());
    assert_lost(asked.ensure_fresh());
    assert_lost(refreshed.shared.refresh());
    assert_lost(refreshed.ensure_fresh());
    assert_lost(refreshed.ensure_held());
    assert_eq!(lock_count(&repository), 0);
}

/// The same between the moment at which a refresh finds the lock and the one at which its successor is there: somebody
/// runs `unlock --remove-all`, and another one comes in alone.
#[test]
fn t07_a_lock_that_is_removed_during_its_refresh_is_lost() {
    let memory = Memory::new();
    let other = create(Arc::new(memory.clone()));
    let acts = Arc::new(AtomicBool::new(false));
    let intruder = Arc::new(Mutex::new(None));
    let mut watched = Watched::new(memory);
    watched.before = Box::new({
        let (acts, intruder) = (Arc::clone(&acts), Arc::clone(&intruder));
        move |operation, _| {
            if operation == Operation::Put && acts.swap(false, Ordering::SeqCst) {
                assert_eq!(other.unlock(UnlockScope::All).unwrap(), 1);
                *intruder.lock() = Some(other.lock(LockKind::Exclusive).unwrap());
            }
        }
    });
    let repository = open(Arc::new(watched)).unwrap();
    let guard = repository.lock(LockKind::Shared).unwrap();
    acts.store(true, Ordering::SeqCst);
    assert_lost(guard.shared.refresh());
    assert_lost(guard.ensure_fresh());
    assert_lost(guard.ensure_held());
    assert_lost(guard.shared.refresh());
    drop(guard);
    let intruder = intruder.lock().take().unwrap();
    assert!(intruder.ensure_held().is_ok());
    assert_eq!(lock_count(&repository), 1);
}

/// Where a lock cannot be removed, its successor is held all the same and is not written again and again.
#[test]
fn an_old_lock_that_cannot_be_removed_is_no_failed_refresh() {
    for kind in [ErrorKind::Denied, ErrorKind::Transient] {
        let memory = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(memory)));
        let repository = create(Arc::clone(&faulty) as Arc<dyn Storage>);
        let guard = repository.lock(LockKind::Shared).unwrap();
        faulty.at_nth(Operation::Delete, 0, Fault::Fail(kind));
        assert!(guard.shared.refresh().is_ok());
        assert!(guard.ensure_held().is_ok());
        assert_eq!(lock_count(&repository), 2);
        assert!(guard.shared.refresh().is_ok());
        drop(guard);
        // What was only away for a moment is removed later; what may not be deleted becomes stale.
        let left = usize::from(kind == ErrorKind::Denied);
        assert_eq!(lock_count(&repository), left, "{kind:?}");
    }
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

/// What a look at the locks finds while somebody holds one.
type Look = fn(&Repository) -> Result<usize, VaultError>;

/// How many hold a lock, as a prune sees it.
fn count_holders(repository: &Repository) -> Result<usize, VaultError> {
    let holders = repository.lock_holders(Time::now(), STALE_AFTER)?;
    Ok(holders.len())
}

/// How many stop somebody who wants the repository for himself.
fn count_conflicts(repository: &Repository) -> Result<usize, VaultError> {
    match repository.lock(LockKind::Exclusive) {
        Ok(_) => Ok(0),
        Err(VaultError::Locked { .. }) => Ok(1),
        Err(error) => Err(error),
    }
}

/// A lock that is refreshed at any call of who looks, once or at each call from then on: it is seen, or the look fails.
#[test]
fn t07_a_lock_that_is_refreshed_beside_a_look_is_seen() {
    let mut cases = 0;
    for (look, goes_on) in [
        (count_holders as Look, false),
        (count_holders, true),
        (count_conflicts, false),
        (count_conflicts, true),
    ] {
        for first in 0.. {
            let memory = Memory::new();
            let guard = create(Arc::new(memory.clone()))
                .lock(LockKind::Shared)
                .unwrap();
            let calls = Arc::new(AtomicUsize::new(0));
            let mut watched = Watched::new(memory);
            watched.before = Box::new({
                let calls = Arc::clone(&calls);
                move |_, name| {
                    let is_of_locks = name.starts_with(FileKind::Lock.folder());
                    let call = calls.fetch_add(usize::from(is_of_locks), Ordering::SeqCst);
                    if is_of_locks && (call == first || (goes_on && call > first)) {
                        guard.shared.refresh().unwrap();
                    }
                }
            });
            let found = look(&open(Arc::new(watched)).unwrap());
            match found {
                Ok(count) => assert_eq!(count, 1, "refreshed at call {first}"),
                Err(VaultError::Refused { .. }) => assert!(goes_on),
                Err(error) => panic!("{error}"),
            }
            if calls.load(Ordering::SeqCst) <= first {
                break;
            }
            cases += 1;
        }
    }
    assert!(cases >= 12, "{cases}");
}

/// T2: any one listing of who looks is cut. And a storage that lists a lock for long after it is gone stops nobody.
#[test]
fn t02_a_listing_that_lies_hides_no_lock() {
    for look in [count_holders as Look, count_conflicts] {
        for nth in 0..2 {
            let memory = Memory::new();
            let guard = create(Arc::new(memory.clone()))
                .lock(LockKind::Shared)
                .unwrap();
            let listings = AtomicUsize::new(0);
            let mut watched = Watched::new(memory.clone());
            watched.listed = Box::new(move |folder, listed| {
                let is_of_locks = folder == FileKind::Lock.folder();
                if is_of_locks && listings.fetch_add(1, Ordering::SeqCst) == nth {
                    listed.clear();
                }
            });
            assert_eq!(look(&open(Arc::new(watched)).unwrap()).unwrap(), 1);
            let late = memory.list(FileKind::Lock.folder()).unwrap();
            drop(guard);
            let mut watched = Watched::new(memory);
            watched.listed = Box::new(move |folder, listed| {
                if folder == FileKind::Lock.folder() {
                    listed.extend(late.clone());
                }
            });
            assert_eq!(look(&open(Arc::new(watched)).unwrap()).unwrap(), 0);
        }
    }
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

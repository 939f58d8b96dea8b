//! A backup and a prune at once, in every order of one within the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::{Listed, Memory, Storage, StorageError};
use vault::{Limit, PruneOptions, check};

use crate::sample::open;
use crate::world::{Model, back_up, new_vault, prune_at, read_all};

/// A storage that does something else before the call with this number.
struct Interrupted {
    inner: Memory,
    calls: AtomicU64,
    at: u64,
    act: Act,
}

type Act = Box<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Interrupted at {}", self.at)
    }
}

impl Interrupted {
    fn count(&self) -> &Memory {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.act)();
        }
        &self.inner
    }
}

impl Storage for Interrupted {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.count().put(name, bytes)
    }
    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.count().get_at_most(name, limit_bytes)
    }
    fn get_range(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        self.count().get_range(name, offset, length)
    }
    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.count().size(name)
    }
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.count().list(folder)
    }
    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.count().delete(name)
    }
}

fn thorough() -> PruneOptions {
    PruneOptions {
        max_unused: Limit::Bytes(0),
        ..PruneOptions::default()
    }
}

fn shared(memory: &Memory) -> Arc<dyn Storage> {
    Arc::new(memory.clone())
}

/// A vault in which nobody needs what `CONTENT` is made of.
fn vault_of(marked_at: Option<i64>) -> (Memory, Model) {
    let memory = new_vault();
    let mut model = Model::default();
    model.back_up(&memory, &(0..8).collect::<Vec<_>>());
    let gone = model.back_up(&memory, &CONTENT);
    model.back_up(&memory, &[2, 50, 51]);
    model.forget(&memory, &gone);
    if let Some(hour) = marked_at {
        prune_at(shared(&memory), &thorough(), hour).unwrap();
    }
    (memory, model)
}

const CONTENT: [u64; 6] = [4, 20, 21, 22, 23, 24];

/// Runs `outer` on a storage that lets `inner` run before call `at`; says whether the call was reached.
fn interrupt(memory: &Memory, at: u64, act: Act, outer: impl FnOnce(Arc<dyn Storage>)) -> bool {
    let storage = Arc::new(Interrupted {
        inner: memory.clone(),
        calls: AtomicU64::new(0),
        at,
        act,
    });
    outer(Arc::clone(&storage) as Arc<dyn Storage>);
    storage.calls.load(Ordering::SeqCst) > at
}

/// T17 and T31 of the history of failures: a whole backup between any two calls of a prune, while it marks and while it
/// removes. The snapshot is whole as soon as the prune is over, and stays so.
#[test]
fn t17_t31_a_backup_at_every_call_of_a_prune() {
    let mut cases = 0;
    for (marked_at, hour) in [(None, 0), (Some(-24), 0)] {
        let (prepared, model) = vault_of(marked_at);
        for at in 0.. {
            let memory = prepared.snapshot();
            let made = Arc::new(std::sync::Mutex::new(None));
            let (inside, slot) = (memory.clone(), Arc::clone(&made));
            let inner = move || {
                let id = back_up(Arc::new(inside.clone()), &CONTENT).unwrap();
                *slot.lock().unwrap() = Some(id);
            };
            let is_reached = interrupt(&memory, at, Box::new(inner), |storage| {
                prune_at(storage, &thorough(), hour).unwrap();
            });
            if !is_reached {
                break;
            }
            let mut model = model.clone();
            let id = made.lock().unwrap().take().unwrap();
            model.snapshots.insert(id, CONTENT.to_vec());
            model.verify(&memory);
            for day in 1..4 {
                prune_at(shared(&memory), &thorough(), hour + day * 24).unwrap();
                model.verify(&memory);
            }
            cases += 1;
        }
    }
    assert!(cases > 80, "{cases}");
}

/// T31 again: one prune, or two that lie further apart than the grace, between any two calls of a backup.
#[test]
fn t31_prunes_at_every_call_of_a_backup() {
    let mut cases = 0;
    for hours in [&[0_i64][..], &[0, 24, 48]] {
        let (prepared, model) = vault_of(None);
        for at in 0.. {
            let memory = prepared.snapshot();
            let inside = memory.clone();
            let inner = move || {
                for hour in hours {
                    prune_at(Arc::new(inside.clone()), &thorough(), *hour).unwrap();
                }
            };
            let mut model = model.clone();
            let is_reached = interrupt(&memory, at, Box::new(inner), |storage| {
                let id = back_up(storage, &CONTENT).unwrap();
                model.snapshots.insert(id, CONTENT.to_vec());
            });
            if !is_reached {
                break;
            }
            if hours.len() == 1 {
                model.verify(&memory);
            }
            // A backup longer than the grace may need something to be put back first.
            for day in 3..7 {
                prune_at(shared(&memory), &thorough(), day * 24).unwrap();
                model.verify(&memory);
            }
            cases += 1;
        }
    }
    assert!(cases > 25, "{cases}");
}

/// A backup between any two calls of a check. What it adds is no damage.
#[test]
fn a_backup_at_every_call_of_a_check() {
    let (prepared, _) = vault_of(None);
    let mut cases = 0;
    for at in 0.. {
        let memory = prepared.snapshot();
        let inside = memory.clone();
        let inner = move || {
            back_up(Arc::new(inside.clone()), &[60, 61, 62]).unwrap();
        };
        let is_reached = interrupt(&memory, at, Box::new(inner), |storage| {
            let report = check(&open(storage).unwrap(), &read_all(), &|_| {}).unwrap();
            assert!(report.is_ok(), "call {at}: {:?}", report.errors);
        });
        if !is_reached {
            break;
        }
        cases += 1;
    }
    assert!(cases > 20, "{cases}");
}

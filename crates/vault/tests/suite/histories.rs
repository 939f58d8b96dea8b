//! Random histories of backups that run beside each other, forget, prune and copy, against a naive model.
//!
//! `STRONGROOM_HISTORIES` sets how many histories are run; a failed one names its seed, which `STRONGROOM_HISTORY_SEED` runs
//! alone.

use std::sync::Arc;

use storage::{Fault, Faulty, Memory, Storage};
use vault::{
    Deletion, Id, Limit, LockGuard, LockKind, PruneOptions, UnlockScope, Writer, WriterOptions,
    copy,
};

use crate::sample::{open, snapshot_of};
use crate::world::{Content, Model, new_vault, prune_at, save, small_packs};

/// Histories in a plain run, and the steps of each.
const HISTORIES: u64 = 12;
const STEPS: usize = 30;

/// Numbers by a seed (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn content(&mut self) -> Content {
        let start = self.below(40);
        let length = 1 + self.below(14);
        (start..start + length)
            .filter(|_| self.below(5) > 0)
            .collect()
    }
}

/// A backup that has begun.
struct Running {
    lock: LockGuard,
    writer: Writer,
    tree: Id,
    content: Content,
}

struct History {
    random: Random,
    memory: Memory,
    model: Model,
    running: Vec<Running>,
    other: Memory,
    other_model: Model,
    hour: i64,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            memory: new_vault(),
            model: Model::default(),
            running: Vec::new(),
            other: new_vault(),
            other_model: Model::default(),
            hour: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..=2 => self.back_up(),
            3 => self.begin(),
            4 => self.commit(),
            5 | 6 => self.forget(),
            7 | 8 => self.prune(),
            9 => self.killed_prune(),
            10 => self.copy(),
            _ => self.instant_prune(),
        }
        self.hour += self.random.below(30) as i64;
    }

    fn back_up(&mut self) {
        let content = self.random.content();
        self.model.back_up(&self.memory, &content);
    }

    fn begin(&mut self) {
        if self.running.len() >= 2 {
            return;
        }
        let content = self.random.content();
        let repository = open(Arc::new(self.memory.clone())).unwrap();
        let lock = repository.lock(LockKind::Shared).unwrap();
        let base = repository.load_index_for_backup().unwrap();
        let writer = Writer::open(repository, Arc::new(base.index), small_packs()).unwrap();
        writer
            .adopt_unindexed_packs(&base.packs, &|| false)
            .unwrap();
        let tree = save(&writer, &content).unwrap();
        self.running.push(Running {
            lock,
            writer,
            tree,
            content,
        });
    }

    fn commit(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.random.below(self.running.len() as u64) as usize;
        let running = self.running.remove(at);
        let id = running
            .writer
            .commit(&snapshot_of(running.tree, "/content"))
            .unwrap();
        drop(running.lock);
        self.model.snapshots.insert(id, running.content);
        // A backup longer than the grace may need something to be put back before everybody can read it.
        self.prune();
    }

    fn forget(&mut self) {
        let count = self.model.snapshots.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.random.below(count) as usize;
        let id = *self.model.snapshots.keys().nth(at).unwrap();
        self.model.forget(&self.memory, &id);
    }

    fn options(&mut self) -> PruneOptions {
        PruneOptions {
            max_unused: [Limit::Bytes(0), Limit::Percent(20.0), Limit::Unlimited]
                [self.random.below(3) as usize],
            max_repack_bytes: (self.random.below(3) == 0).then_some(3000),
            repack_smaller_than_bytes: self.random.below(2) * 1500,
            ..PruneOptions::default()
        }
    }

    fn prune(&mut self) {
        let options = self.options();
        prune_at(Arc::new(self.memory.clone()), &options, self.hour).unwrap();
    }

    fn killed_prune(&mut self) {
        let options = self.options();
        let faulty = Arc::new(Faulty::new(Arc::new(self.memory.clone())));
        faulty.from(
            self.random.below(90),
            Fault::Fail(storage::ErrorKind::Other),
        );
        drop(prune_at(faulty, &options, self.hour));
        // Also a prune that got to its end may have been killed before it removed its lock.
        if self.memory.list("locks").unwrap().len() > self.running.len() {
            self.remove_lock_of_the_killed();
        }
    }

    /// All of this is one process, so the lock of the killed prune looks alive: only the maintenance lock goes.
    fn remove_lock_of_the_killed(&mut self) {
        let repository = open(Arc::new(self.memory.clone())).unwrap();
        let running = std::mem::take(&mut self.running);
        let contents: Vec<Content> = running
            .iter()
            .map(|running| running.content.clone())
            .collect();
        drop(running);
        repository.unlock(UnlockScope::All).unwrap();
        for content in contents {
            self.model.back_up(&self.memory, &content);
        }
    }

    fn instant_prune(&mut self) {
        if !self.running.is_empty() {
            return;
        }
        let options = PruneOptions {
            deletion: Deletion::Instant,
            ..self.options()
        };
        prune_at(Arc::new(self.memory.clone()), &options, self.hour).unwrap();
    }

    fn copy(&mut self) {
        let from = open(Arc::new(self.memory.clone()) as Arc<dyn Storage>).unwrap();
        let to = open(Arc::new(self.other.clone()) as Arc<dyn Storage>).unwrap();
        let ids: Vec<Id> = self.model.snapshots.keys().copied().collect();
        let options = WriterOptions {
            pack_size_bytes: 2048,
            index_blob_count: 6,
            ..WriterOptions::default()
        };
        let report = copy(&from, &to, &ids, options, &|_| {}).unwrap();
        for (old, new) in report.copied {
            let content = self.model.snapshots[&old].clone();
            self.other_model.snapshots.insert(new, content);
        }
    }

    fn end(mut self) {
        self.running.clear();
        self.model.verify(&self.memory);
        self.copy();
        self.other_model.verify(&self.other);
        // Some days later nothing is left that no snapshot needs.
        for day in 1..=4 {
            let options = PruneOptions {
                max_unused: Limit::Bytes(0),
                ..PruneOptions::default()
            };
            let hour = self.hour + day * 24;
            let report = prune_at(Arc::new(self.memory.clone()), &options, hour).unwrap();
            if day == 4 {
                assert_eq!(report.waiting.count + report.unindexed.count, 0);
                assert_eq!(report.unused_left_bytes, 0);
            }
        }
        self.model.verify(&self.memory);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_histories_agree_with_the_model() {
    let seeds = match number("STRONGROOM_HISTORY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("STRONGROOM_HISTORIES").unwrap_or(HISTORIES)).collect(),
    };
    for seed in seeds {
        let ended = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for step in 0..STEPS {
                history.step();
                if step % 5 == 4 {
                    history.model.verify(&history.memory);
                }
            }
            history.end();
        });
        assert!(ended.is_ok(), "history with STRONGROOM_HISTORY_SEED={seed}");
    }
}

//! Trees that several threads walk: each tree once, whoever finds it.
//!
//! 32 bytes and a little of memory for each tree that was seen.

use std::collections::HashSet;

use parking_lot::{Condvar, Mutex};

use crate::error::VaultError;
use crate::id::Id;

/// The trees that wait, and those that were seen.
#[derive(Default)]
struct State {
    waiting: Vec<Id>,
    seen: HashSet<Id>,
    busy_count: usize,
    done_count: u64,
    is_over: bool,
}

impl State {
    fn add(&mut self, ids: impl IntoIterator<Item = Id>) {
        for id in ids {
            if self.seen.insert(id) {
                self.waiting.push(id);
            }
        }
    }
}

/// What is known of the trees of a walk.
pub(crate) struct Frontier {
    // A mutex with a condition: threads wait for trees that others find.
    state: Mutex<State>,
    changed: Condvar,
}

impl Frontier {
    pub(crate) fn new(roots: impl IntoIterator<Item = Id>) -> Self {
        let mut state = State::default();
        state.add(roots);
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Runs `walk` in so many threads, each of which asks for trees until there are none, and says how many trees there
    /// were. An error when one of them ended by a panic.
    pub(crate) fn run(
        &self,
        thread_count: usize,
        walk: impl Fn() + Sync,
    ) -> Result<u64, VaultError> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..thread_count.max(1))
                .map(|_| scope.spawn(&walk))
                .collect();
            // All are waited for, whatever becomes of one.
            let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            match ends.iter().all(Result::is_ok) {
                true => Ok(self.state.lock().done_count),
                false => Err(VaultError::Thread {
                    reason: "a reader of trees ended early".to_owned(),
                }),
            }
        })
    }

    /// The next tree. `None` when there is none any more, or the walk is over.
    pub(crate) fn next(&self) -> Option<Visit<'_>> {
        let mut state = self.state.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(id) = state.waiting.pop() {
                state.busy_count += 1;
                return Some(Visit { frontier: self, id });
            }
            if state.busy_count == 0 {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Ends the walk: nobody is given another tree.
    pub(crate) fn end(&self) {
        self.state.lock().is_over = true;
        self.changed.notify_all();
    }
}

/// A tree that a thread looks at. When that ends by a panic, the walk is over: the others do not wait for what it would
/// have found.
pub(crate) struct Visit<'f> {
    frontier: &'f Frontier,
    pub(crate) id: Id,
}

impl Visit<'_> {
    /// The tree is done, and these are below it. Says how many are done by now.
    pub(crate) fn finish(self, subtrees: impl IntoIterator<Item = Id>) -> u64 {
        let frontier = self.frontier;
        let mut state = frontier.state.lock();
        state.add(subtrees);
        state.busy_count -= 1;
        state.done_count += 1;
        let done = state.done_count;
        drop(state);
        std::mem::forget(self);
        frontier.changed.notify_all();
        done
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.frontier.end();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::HashMap;
    use std::sync::mpsc;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::Frontier;
    use crate::id::Id;

    fn id(number: u8) -> Id {
        Id::hash(&[number])
    }

    #[test]
    fn each_tree_is_walked_once_by_any_number_of_threads() {
        for thread_count in [0, 1, 4] {
            let frontier = Frontier::new([id(0), id(1), id(0)]);
            let visits = Mutex::new(HashMap::new());
            let count = frontier.run(thread_count, || {
                while let Some(visit) = frontier.next() {
                    *visits.lock().entry(visit.id).or_insert(0) += 1;
                    // Each of the first hundred finds two others, or those that were found before.
                    let number = (0..100).find(|number| id(*number) == visit.id);
                    visit.finish(number.into_iter().flat_map(|n| [id(n + 1), id(n + 2)]));
                }
            });
            assert_eq!(count.unwrap(), 102);
            let visits = visits.into_inner();
            assert!(visits.len() == 102 && visits.values().all(|count| *count == 1));
        }
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let frontier = Frontier::new([id(0)]);
            let ended = frontier.run(4, || {
                while let Some(visit) = frontier.next() {
                    assert!(visit.id != id(0), "what the test wants");
                }
            });
            sender.send(ended.is_err()).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn an_ended_walk_gives_no_more_trees() {
        let frontier = Frontier::new([id(0), id(1)]);
        frontier.next().unwrap().finish([id(2)]);
        frontier.end();
        assert!(frontier.next().is_none());
    }
}

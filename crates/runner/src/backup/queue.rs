//! The work of a backup, waiting for a worker.
//!
//! All workers do all kinds of work. Chunks come first, then files, then folders: what is nearest to its end frees the
//! most memory. Chunks and files have bounded queues; who finds one full does the work itself, so nobody ever waits
//! for room and a full queue means that every worker is busy. Folders are a stack, so that the walk goes deep before
//! it goes wide and few folders are begun at a time.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// Something for a worker to do.
#[derive(Debug)]
pub(crate) enum Task<D, F, C> {
    Dir(D),
    Files(F),
    Chunk(C),
}

/// The queue of one run.
#[derive(Debug)]
pub(crate) struct Queue<D, F, C> {
    // A mutex with a condition variable: one decision takes in all three queues and the count of unfinished work.
    state: Mutex<State<D, F, C>>,
    ready: Condvar,
    limits: QueueLimits,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) files_tasks: usize,
    pub(crate) chunk_bytes: usize,
}

#[derive(Debug)]
struct State<D, F, C> {
    dirs: Vec<D>,
    files: VecDeque<F>,
    chunks: VecDeque<(C, usize)>,
    chunk_bytes: usize,
    unfinished_count: usize,
    sleeping_count: usize,
    is_closed: bool,
}

impl<D, F, C> Queue<D, F, C> {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        let state = State {
            dirs: Vec::new(),
            files: VecDeque::new(),
            chunks: VecDeque::new(),
            chunk_bytes: 0,
            unfinished_count: 0,
            sleeping_count: 0,
            is_closed: false,
        };
        Queue {
            state: Mutex::new(state),
            ready: Condvar::new(),
            limits,
        }
    }

    /// Adds folders; the first one is taken first.
    pub(crate) fn push_dirs(&self, dirs: impl DoubleEndedIterator<Item = D>) {
        let mut state = self.state.lock();
        let before = state.dirs.len();
        state.dirs.extend(dirs.rev());
        let added = state.dirs.len() - before;
        state.unfinished_count += added;
        self.wake(&state, added);
    }

    /// Adds files, or gives them back when too many wait.
    pub(crate) fn push_files(&self, files: F) -> Result<(), F> {
        let mut state = self.state.lock();
        if state.files.len() >= self.limits.files_tasks {
            return Err(files);
        }
        state.files.push_back(files);
        state.unfinished_count += 1;
        self.wake(&state, 1);
        Ok(())
    }

    /// Adds a chunk, or gives it back when too many bytes wait.
    pub(crate) fn push_chunk(&self, chunk: C, length_bytes: usize) -> Result<(), C> {
        let mut state = self.state.lock();
        // One may always wait, however long: else a file of long chunks would be one worker's alone.
        if !state.chunks.is_empty() && state.chunk_bytes + length_bytes > self.limits.chunk_bytes {
            return Err(chunk);
        }
        state.chunks.push_back((chunk, length_bytes));
        state.chunk_bytes += length_bytes;
        state.unfinished_count += 1;
        self.wake(&state, 1);
        Ok(())
    }

    fn wake(&self, state: &State<D, F, C>, added: usize) {
        for _ in 0..added.min(state.sleeping_count) {
            self.ready.notify_one();
        }
    }

    /// Waits for work. `None` when there is none left and none can come, or when the queue is closed.
    pub(crate) fn pop(&self) -> Option<Task<D, F, C>> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed || state.unfinished_count == 0 {
                return None;
            }
            if let Some((chunk, length_bytes)) = state.chunks.pop_front() {
                state.chunk_bytes -= length_bytes;
                return Some(Task::Chunk(chunk));
            }
            if let Some(files) = state.files.pop_front() {
                return Some(Task::Files(files));
            }
            if let Some(dir) = state.dirs.pop() {
                return Some(Task::Dir(dir));
            }
            state.sleeping_count += 1;
            self.ready.wait(&mut state);
            state.sleeping_count -= 1;
        }
    }

    /// A task that `pop` gave is done, with all the work it has added.
    pub(crate) fn done(&self) {
        let mut state = self.state.lock();
        state.unfinished_count -= 1;
        if state.unfinished_count == 0 {
            self.ready.notify_all();
        }
    }

    /// Ends the run: nobody gets work any more.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.ready.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    type Numbers = Queue<u32, u32, u32>;

    fn queue() -> Numbers {
        Queue::new(QueueLimits {
            files_tasks: 2,
            chunk_bytes: 10,
        })
    }

    #[test]
    fn nearest_to_the_end_first_and_folders_depth_first() {
        let queue = queue();
        queue.push_dirs([1, 2].into_iter());
        queue.push_dirs([3].into_iter());
        queue.push_files(4).unwrap();
        queue.push_chunk(5, 10).unwrap();
        let order: Vec<u32> = (0..5)
            .map(|_| match queue.pop() {
                Some(Task::Dir(number) | Task::Files(number) | Task::Chunk(number)) => number,
                None => panic!("work is left"),
            })
            .collect();
        assert_eq!(order, [5, 4, 3, 1, 2]);
        (0..5).for_each(|_| queue.done());
        assert!(queue.pop().is_none());
    }

    #[test]
    fn full_queues_give_back() {
        let queue = queue();
        assert_eq!(
            (
                queue.push_files(1),
                queue.push_files(2),
                queue.push_files(3)
            ),
            (Ok(()), Ok(()), Err(3))
        );
        assert_eq!(
            (
                queue.push_chunk(1, 6),
                queue.push_chunk(2, 5),
                queue.push_chunk(3, 4)
            ),
            (Ok(()), Err(2), Ok(()))
        );
        queue.close();
        assert!(queue.pop().is_none());
        assert_eq!(
            self::queue().push_chunk(1, 100),
            Ok(()),
            "one may always wait"
        );
    }

    #[test]
    fn workers_end_when_all_work_is_done() {
        let queue = queue();
        queue.push_dirs([6].into_iter());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(task) = queue.pop() {
                        if let Task::Dir(depth) = task {
                            queue.push_dirs((0..depth).map(|_| depth - 1));
                        }
                        queue.done();
                    }
                });
            }
        });
    }
}

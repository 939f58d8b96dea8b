//! A future that is polled again where it is when it wakes itself.
//!
//! hyper wakes the task of a connection while that task runs, once for each request with a body: reading the body is what
//! makes its reader ready. A scheduler of several threads takes that for a task that gives way: it queues the task again and
//! wakes another thread, which finds nothing left to do. That costs two switches of context, a third of the time
//! of a short call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Polls in a row, after which others have their turn.
const MAX_POLLS: usize = 4;

/// Nobody polls: who wakes, wakes the task.
const WAITING: u8 = 0;
/// The future is being polled.
const POLLED: u8 = 1;
/// It was woken meanwhile: it is polled once more.
const WOKEN: u8 = 2;

/// The same future, with the same result.
pub(crate) struct SelfWakes<F> {
    future: Pin<Box<F>>,
    state: Arc<State>,
    /// Of `state`.
    waker: Waker,
}

struct State {
    phase: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl<F: Future> SelfWakes<F> {
    pub(crate) fn new(future: F) -> Self {
        let state = Arc::new(State {
            phase: AtomicU8::new(WAITING),
            task: Mutex::new(None),
        });
        Self {
            future: Box::pin(future),
            waker: state.clone().into(),
            state,
        }
    }
}

impl<F: Future> Future for SelfWakes<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.state.remember(context.waker());
        let waker = self.waker.clone();
        let mut own = Context::from_waker(&waker);
        for _ in 0..MAX_POLLS {
            self.state.phase.store(POLLED, Ordering::SeqCst);
            if let Poll::Ready(output) = self.future.as_mut().poll(&mut own) {
                return Poll::Ready(output);
            }
            let waits = self.state.phase.compare_exchange(
                POLLED,
                WAITING,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            if waits.is_ok() {
                return Poll::Pending;
            }
        }
        self.state.phase.store(WAITING, Ordering::SeqCst);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl State {
    fn remember(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = self
            .phase
            .compare_exchange(POLLED, WOKEN, Ordering::SeqCst, Ordering::SeqCst);
        if before == Err(WAITING) {
            // Outside the lock: waking may poll.
            let task = self.task.lock().clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::{MAX_POLLS, SelfWakes};

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_wakes_himself_is_polled_again_and_his_task_is_not_woken() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let mut polls = 0;
        let mut future = pin!(SelfWakes::new(poll_fn(|context| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(polls);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })));
        assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(3));
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn who_wakes_himself_for_ever_gives_way_to_others() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let polls = AtomicUsize::new(0);
        let mut future = pin!(SelfWakes::new(poll_fn(|context| {
            polls.fetch_add(1, Ordering::SeqCst);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        })));
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert_eq!(polls.load(Ordering::SeqCst), MAX_POLLS);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_waits_is_woken_through_the_task_that_polled_last() {
        let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
        let mut inner = None;
        let mut future = pin!(SelfWakes::new(poll_fn(|context| {
            inner = Some(context.waker().clone());
            Poll::<()>::Pending
        })));
        for count in &counts {
            let waker = Waker::from(count.clone());
            let mut context = Context::from_waker(&waker);
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
        inner.unwrap().wake();
        let woken = counts.map(|count| count.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_of_another_thread_is_lost() {
        for round in 0..2_000_u32 {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let waiting = tokio::spawn(SelfWakes::new(receiver));
            tokio::spawn(async move { sender.send(round) });
            assert_eq!(waiting.await.unwrap().unwrap(), round);
        }
    }
}

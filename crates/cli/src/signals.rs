//! Signals as state that loops ask for: an interruption, a wish for a progress line.
//!
//! The first SIGINT, SIGTERM or SIGHUP asks for a clean stop; a second one ends the program at once. SIGUSR1 asks for a
//! progress line. One thread receives them; nothing runs inside a signal handler.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::exit::{Exit, Failure};

type Callback = Box<dyn Fn() + Send>;

/// What puts the terminal right while a password is asked for: a prompt is left at once, nothing is running yet.
static PROMPT: Mutex<Option<Callback>> = Mutex::new(None);

/// Runs `body`; an interruption meanwhile calls `restore` and ends the program.
pub(crate) fn while_asking<T>(restore: impl Fn() + Send + 'static, body: impl FnOnce() -> T) -> T {
    let set = |prompt: Option<Callback>| {
        *PROMPT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = prompt;
    };
    set(Some(Box::new(restore)));
    let done = body();
    set(None);
    done
}

#[derive(Default)]
struct State {
    interrupted: bool,
    report_wanted: bool,
    callbacks: Vec<Callback>,
}

/// What the signals said so far.
#[derive(Clone, Default)]
pub(crate) struct Interrupts {
    // A std mutex because a condition variable waits on it; never held while a callback of another part runs long.
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Interrupts {
    /// Starts to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interrupts = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])
            .map_err(|error| Failure::new(format!("cannot listen to signals: {error}"), ""))?;
        let listener = interrupts.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    listener.receive(signal);
                }
            })
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}"), ""))?;
        Ok(interrupts)
    }

    fn receive(&self, signal: i32) {
        if signal != SIGUSR1
            && let Ok(prompt) = PROMPT.lock()
            && let Some(restore) = prompt.as_ref()
        {
            restore();
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        let mut state = self.lock();
        if signal == SIGUSR1 {
            state.report_wanted = true;
        } else if state.interrupted {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        } else {
            state.interrupted = true;
            for callback in &state.callbacks {
                callback();
            }
        }
        self.shared.1.notify_all();
    }

    /// True from the first interruption on.
    pub(crate) fn interrupted(&self) -> bool {
        self.lock().interrupted
    }

    /// Runs `callback` at the first interruption, or now if it was already. It must be short: signals wait for it.
    pub(crate) fn on_interrupt(&self, callback: impl Fn() + Send + 'static) {
        let mut state = self.lock();
        if state.interrupted {
            callback();
        }
        state.callbacks.push(Box::new(callback));
    }

    /// True once after each SIGUSR1.
    pub(crate) fn take_report_wish(&self) -> bool {
        std::mem::take(&mut self.lock().report_wanted)
    }

    /// Waits for a signal, at most this long. True if interrupted.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        let mut state = self.lock();
        while !state.interrupted && !state.report_wanted {
            let Some(left) = deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                break;
            };
            state = match self.shared.1.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state.interrupted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupts;
    use signal_hook::consts::{SIGTERM, SIGUSR1};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    #[test]
    fn an_interruption_stays_and_calls_back_once() {
        let interrupts = Interrupts::default();
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        interrupts.on_interrupt(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        assert!(!interrupts.wait(Duration::ZERO));
        interrupts.receive(SIGTERM);
        assert!(interrupts.interrupted() && interrupts.wait(Duration::from_secs(60)));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_wish_for_a_report_is_taken_once() {
        let interrupts = Interrupts::default();
        interrupts.receive(SIGUSR1);
        assert!(!interrupts.wait(Duration::from_secs(60)));
        assert!(interrupts.take_report_wish() && !interrupts.take_report_wish());
    }
}

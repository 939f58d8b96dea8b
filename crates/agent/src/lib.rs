//! The agent: dials out to a server, leases work for this host, runs it, reports. Never decides when something runs.
//!
//! Flow: [`start`] locks the state folder and registers (`link`), then three kinds of threads share one table of works:
//! `sync` (heartbeat, assignments, cancellations), `outbox` (error rows and ends, repeated until the server has them)
//! and one thread for each running work (`execute`), which calls the runner. No panic of a work ends the agent.
//!
//! A work is stopped for one of three reasons: cancelled (ends `CANCELED`), suspended because the agent stops (ends
//! `RELEASED`, resumed later under the same job), lost (another lease exists: ends without a report). Passwords of
//! vaults live only in the memory of a running work.
//!
//! Modules in reading order: `state` (files), `host`, `link`, `work`, `execute` with `backup`, `restore`, `vaults`,
//! `upkeep`, `catalog_backup` and `report`, `outbox`,
//! `sync`, `backoff`.

mod backoff;
mod backup;
mod catalog_backup;
mod execute;
mod host;
mod link;
mod outbox;
mod report;
mod restore;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod upkeep;
mod vaults;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use api::client::{ClientError, Credentials, Trust};
use parking_lot::{Condvar, Mutex};

use crate::catalog_backup::CatalogSource;
use crate::execute::Execute;
use crate::link::Link;
use crate::state::StateFolder;
use crate::work::{StopReason, Works};

/// How long running work may take to put down its tools when the agent stops.
const SUSPEND_TIME: Duration = Duration::from_secs(30);
/// How long the last reports may take then.
const LAST_REPORTS_TIME: Duration = Duration::from_secs(4);

/// How an agent runs.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Address of the server, `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// Whose certificates the server may show.
    pub trust: Trust,
    /// A key of the account, used to register only.
    pub credentials: Credentials,
    /// Region of the server.
    pub region: String,
    /// Folder for the identity and for reports that wait. One agent a folder.
    pub state_dir: PathBuf,
    /// Folders that are left out of every backup, by device and inode: the data directory of a server on this host.
    pub skip: Vec<PathBuf>,
    /// How much runs at the same time.
    pub capacity: Capacity,
    /// Name of this host; the kernel's if none is given.
    pub hostname: Option<String>,
    /// What it does when the server asks it to uninstall itself.
    pub uninstall: Uninstall,
}

/// What an agent does when the server asks it to uninstall itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uninstall {
    /// It puts down its work and goes; [`AgentHandle::is_gone`] tells when.
    Go,
    /// It is a part of a service, of another server than the one that asks, and registers anew: it stays.
    Stay,
}

/// How many works run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Backups: each reads in parallel by itself, so one keeps a host busy.
    pub backups: u32,
    /// Restores and tasks.
    pub others: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            backups: 1,
            others: 3,
        }
    }
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Another agent uses the state folder.
    #[error("another agent is running with the state folder {path}")]
    AlreadyRunning {
        /// The folder.
        path: PathBuf,
    },
    /// The state folder has the identity of this host in another account of the same server, which is not overwritten.
    #[error("the state folder {path} is that of an agent of account {account_id}")]
    OtherAccount {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        account_id: String,
    },
    /// A file of the state folder cannot be used.
    #[error("cannot {operation} {path}")]
    State {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The server refused or did not answer.
    #[error("cannot {operation} at the server")]
    Server {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: Box<ClientError>,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl AgentError {
    /// True if the same may work later: the server did not answer.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Server { source, .. } if source.is_transient())
    }
}

/// What the threads of one agent share.
#[derive(Debug)]
pub(crate) struct Shared {
    link: Arc<Link>,
    state: Arc<StateFolder>,
    works: Works,
    capacity: Capacity,
    uninstall: Uninstall,
    run_id: String,
    executor: Box<dyn Execute>,
    stopping: AtomicBool,
    /// The server asked this agent to uninstall itself.
    leaving: AtomicBool,
    /// It has said goodbye.
    gone: AtomicBool,
    /// Nobody waits for this agent any more: its threads end, whatever is left.
    closed: AtomicBool,
    // Wakes pauses of the sync loop; guards nothing else.
    pause_lock: Mutex<()>,
    woken: Condvar,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// True once the threads have nothing more to do.
    fn is_over(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.is_stopping() && self.works.all().is_empty()
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Puts down all work, and lets the agent end when it is reported.
    fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.stop();
    }

    fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.works.notify();
    }

    /// Running work is suspended and given back.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for work in self.works.all() {
            work.stop(StopReason::Suspended);
        }
        self.works.notify();
        self.wake();
    }

    /// Room for backups, and for works of any kind.
    fn free_slots(&self) -> (u32, u32) {
        let (backups, others) = self.works.busy();
        let for_backups = self.capacity.backups.saturating_sub(backups);
        (
            for_backups,
            for_backups + self.capacity.others.saturating_sub(others),
        )
    }

    /// Sleeps, at most this long, unless something happens that the server should know at once.
    fn pause(&self, longest: Duration) {
        let mut guard = self.pause_lock.lock();
        if !self.is_stopping() || !self.works.all().is_empty() {
            self.woken.wait_for(&mut guard, longest);
        }
    }

    fn wake(&self) {
        let _guard = self.pause_lock.lock();
        self.woken.notify_all();
    }
}

/// A running agent. Dropping it does not stop it; [`AgentHandle::stop`] does.
#[derive(Debug)]
pub struct AgentHandle {
    shared: Arc<Shared>,
    reporter: JoinHandle<()>,
}

/// Registers and starts the threads.
///
/// # Errors
/// [`AgentError::Server`] if this host was never registered and the server does not answer (see
/// [`AgentError::is_transient`]) or refuses the key; otherwise see [`AgentError`].
pub fn start(options: AgentOptions) -> Result<AgentHandle, AgentError> {
    let mut skip = options.skip.clone();
    let state_dir = options.state_dir.clone();
    skip.push(state_dir.clone());
    start_with(options, |link| {
        let catalog = CatalogSource::behind(Arc::clone(link));
        let hostname = link.hostname().to_owned();
        Box::new(execute::Engine::new(skip, hostname, state_dir, catalog))
    })
}

fn start_with(
    options: AgentOptions,
    executor: impl FnOnce(&Arc<Link>) -> Box<dyn Execute>,
) -> Result<AgentHandle, AgentError> {
    let state = Arc::new(StateFolder::open(&options.state_dir)?);
    let link = Arc::new(Link::establish(&options, Arc::clone(&state))?);
    let run_id = host::random_id().map_err(|source| AgentError::State {
        operation: "read",
        path: PathBuf::from("/dev/urandom"),
        source,
    })?;
    let executor = executor(&link);
    let shared = Arc::new(Shared {
        link,
        state,
        works: Works::default(),
        capacity: options.capacity,
        uninstall: options.uninstall,
        run_id,
        executor,
        stopping: AtomicBool::new(false),
        leaving: AtomicBool::new(false),
        gone: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        pause_lock: Mutex::new(()),
        woken: Condvar::new(),
    });
    let reporting = Arc::clone(&shared);
    let reporter = thread("agent-report", move || {
        outbox::run(&reporting.link, &reporting.works, &reporting.state, &|| {
            reporting.is_over()
        });
    })?;
    let syncing = Arc::clone(&shared);
    // Not joined: when the agent stops idle, this thread may be in a long poll, which ends by itself.
    thread("agent-sync", move || sync::run(&syncing))?;
    Ok(AgentHandle { shared, reporter })
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AgentError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(AgentError::Thread)
}

impl AgentHandle {
    /// `c-…` of this host.
    #[must_use]
    pub fn client_id(&self) -> String {
        self.shared.link.identity().client_id
    }

    /// `i-…` of this host.
    #[must_use]
    pub fn instance_id(&self) -> String {
        self.shared.link.identity().instance_id
    }

    /// Asks for a stop: running work is suspended and given back. Returns at once.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Whether the server asked this agent to uninstall itself and it has put down its work: time for [`Self::uninstall`].
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::Acquire)
    }

    /// Ends an agent that was asked to uninstall itself: removes what it kept in its state folder, and the folder if nothing
    /// else is in it.
    ///
    /// # Errors
    /// [`AgentError::State`] if a file cannot be removed.
    pub fn uninstall(self) -> Result<(), AgentError> {
        let state = Arc::clone(&self.shared.state);
        self.join();
        state.clear()
    }

    /// Waits until the work is put down and reported; gives up on what does not end in time. Call [`Self::stop`] first.
    pub fn join(self) {
        let works = &self.shared.works;
        let ended = works.wait_until(Instant::now() + SUSPEND_TIME, |table| {
            table.values().all(|work| work.end().is_some())
        });
        if !ended {
            tracing::warn!("some work does not stop; it will be resumed by the next start");
        }
        let reported =
            works.wait_until(Instant::now() + LAST_REPORTS_TIME, |table| table.is_empty());
        self.shared.closed.store(true, Ordering::Release);
        works.notify();
        if reported {
            let _ = self.reporter.join();
        }
        self.shared.state.unlock();
    }
}

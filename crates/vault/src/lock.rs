//! Locks as restic understands them: small files that say who uses the repository, and how.
//!
//! Any number of shared locks may be held at once, or one exclusive lock alone. A lock is refreshed every five minutes
//! by writing a new file and then removing the old one. One that is older than 30 minutes, or whose process is known to
//! be dead on this host, is stale and stops nobody.
//!
//! A lock is taken by looking for others, writing it, and looking again. Of two processes that do this at once at least
//! one sees the other, because a put is visible to every listing that begins after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::ErrorKind;

use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::repository::Repository;
use crate::time::Time;

/// restic's own interval.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// After a refresh that failed, the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Other programs take a lock of this age for dead.
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);
/// Our own lock counts as lost this long before others would take it for dead.
const SAFETY_MARGIN: Duration = Duration::from_secs(5 * 60);

/// How a repository is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Reading and adding: others may do the same.
    Shared,
    /// Removing or rewriting: nobody else may be there.
    Exclusive,
}

/// Which locks [`Repository::unlock`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlockScope {
    /// Those whose holder is dead or silent.
    Stale,
    /// All. Only right when it is known that nobody is there.
    All,
}

/// The JSON of a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LockJson {
    time: String,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    gid: u32,
    /// Ours, which restic ignores: tells a process from a later one with the same id, as in a restarted container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process_start: Option<String>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl LockJson {
    fn of_this_process(kind: LockKind) -> Self {
        let pid = std::process::id();
        Self {
            time: Time::now().to_string(),
            exclusive: kind == LockKind::Exclusive,
            hostname: hostname(),
            username: std::env::var("USER").unwrap_or_default(),
            pid,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            process_start: process_start(pid),
        }
    }

    /// Whether the holder is gone, as far as that can be known here.
    fn is_stale(&self, now: Time) -> bool {
        // A time that cannot be read, or one of the future, says nothing: such a lock stays.
        let age = self
            .time
            .parse::<Time>()
            .map_or(0, |time| now.seconds.saturating_sub(time.seconds));
        age > STALE_AFTER.as_secs() as i64 || (self.hostname == hostname() && self.is_dead_here())
    }

    fn is_dead_here(&self) -> bool {
        let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        else {
            return false;
        };
        match rustix::process::test_kill_process(pid) {
            Err(rustix::io::Errno::SRCH) => true,
            // Alive: unless it is another process that was given the same number.
            _ => match (&self.process_start, process_start(self.pid)) {
                (Some(then), Some(now)) => *then != now,
                _ => false,
            },
        }
    }

    fn conflict(&self) -> VaultError {
        VaultError::Locked {
            exclusive: self.exclusive,
            hostname: self.hostname.clone(),
            username: self.username.clone(),
            pid: self.pid,
            since: self.time.clone(),
        }
    }
}

fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The boot and the tick of it at which a process began: no two processes of a host share it. `None` where `/proc` does
/// not tell.
fn process_start(pid: u32) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the process is in parentheses and may hold anything; the start is the 20th field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let start = fields.split_whitespace().nth(19)?;
    Some(format!("{}:{start}", boot.trim()))
}

/// A lock that is held. Dropping it removes it.
#[derive(Debug)]
pub struct LockGuard {
    shared: Arc<Held>,
    /// Dropping the sender wakes the refresher.
    stop: Option<Sender<()>>,
    refresher: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Held {
    repository: Repository,
    kind: LockKind,
    // A plain mutex: held to read or replace a few words.
    state: Mutex<HeldState>,
}

#[derive(Debug)]
struct HeldState {
    id: Id,
    refreshed: Instant,
    refreshed_at: Time,
    failure: Option<String>,
}

impl LockGuard {
    /// Fails when the lock may be taken for dead by others: what it protects must stop.
    ///
    /// Both clocks are asked, so neither a suspended host nor a wall clock that jumps is missed.
    pub fn ensure_held(&self) -> Result<(), VaultError> {
        let state = self.shared.state.lock();
        let limit = STALE_AFTER - SAFETY_MARGIN;
        let wall = Time::now()
            .seconds
            .saturating_sub(state.refreshed_at.seconds);
        if state.refreshed.elapsed() < limit && wall < limit.as_secs() as i64 {
            return Ok(());
        }
        let reason = state.failure.clone();
        Err(VaultError::LockLost {
            reason: reason.unwrap_or_else(|| "it was not refreshed in time".to_owned()),
        })
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(refresher) = self.refresher.take() {
            drop(refresher.join());
        }
        let id = self.shared.state.lock().id;
        // A lock that stays because the storage is gone becomes stale by itself.
        drop(
            self.shared
                .repository
                .storage()
                .delete(&FileKind::Lock.name(&id)),
        );
    }
}

impl Held {
    /// Writes a new lock, then removes the old one.
    fn refresh(&self) -> Result<(), VaultError> {
        let old = self.state.lock().id;
        // The lock must still be there: when somebody removed it, others may have come in since.
        if let Err(error) = self.repository.storage().size(&FileKind::Lock.name(&old)) {
            if error.kind == ErrorKind::NotFound {
                return Err(VaultError::LockLost {
                    reason: "somebody removed it".to_owned(),
                });
            }
            return Err(error.into());
        }
        let (refreshed, refreshed_at) = (Instant::now(), Time::now());
        let id = write(&self.repository, self.kind)?;
        *self.state.lock() = HeldState {
            id,
            refreshed,
            refreshed_at,
            failure: None,
        };
        self.repository
            .storage()
            .delete(&FileKind::Lock.name(&old))?;
        Ok(())
    }

    fn keep_fresh(&self, stop: &crossbeam_channel::Receiver<()>) {
        let mut pause = REFRESH_INTERVAL;
        while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = match self.refresh() {
                Ok(()) => REFRESH_INTERVAL,
                Err(error) => {
                    self.state.lock().failure = Some(error.to_string());
                    RETRY_INTERVAL
                }
            };
        }
    }
}

fn write(repository: &Repository, kind: LockKind) -> Result<Id, VaultError> {
    let json = serde_json::to_vec(&LockJson::of_this_process(kind))
        .map_err(|error| VaultError::damaged(FileKind::Lock, "(new)", error))?;
    repository.save_json(FileKind::Lock, &json)
}

impl Repository {
    /// Takes a lock, or says who is in the way. It is refreshed by a thread of its own until the guard is dropped.
    pub fn lock(&self, kind: LockKind) -> Result<LockGuard, VaultError> {
        self.refuse_conflicts(kind, None)?;
        let (refreshed, refreshed_at) = (Instant::now(), Time::now());
        let id = write(self, kind)?;
        if let Err(conflict) = self.refuse_conflicts(kind, Some(&id)) {
            self.storage().delete(&FileKind::Lock.name(&id))?;
            return Err(conflict);
        }
        let shared = Arc::new(Held {
            repository: self.clone(),
            kind,
            state: Mutex::new(HeldState {
                id,
                refreshed,
                refreshed_at,
                failure: None,
            }),
        });
        let (stop, stopped) = bounded(0);
        let held = Arc::clone(&shared);
        let mut guard = LockGuard {
            shared,
            stop: Some(stop),
            refresher: None,
        };
        let refresher = std::thread::Builder::new()
            .name("lock-refresh".to_owned())
            .spawn(move || held.keep_fresh(&stopped))
            .map_err(|error| VaultError::Thread {
                reason: error.to_string(),
            })?;
        guard.refresher = Some(refresher);
        Ok(guard)
    }

    fn refuse_conflicts(&self, kind: LockKind, own: Option<&Id>) -> Result<(), VaultError> {
        let now = Time::now();
        for id in self.list(FileKind::Lock)? {
            if own == Some(&id) {
                continue;
            }
            let Some(lock) = self.read_lock(&id)? else {
                continue;
            };
            let conflicts = kind == LockKind::Exclusive || lock.exclusive;
            if conflicts && !lock.is_stale(now) {
                return Err(lock.conflict());
            }
        }
        Ok(())
    }

    /// `None` when the lock went away since it was listed, or is an empty file that a dead writer left.
    fn read_lock(&self, id: &Id) -> Result<Option<LockJson>, VaultError> {
        let json = match self.load_json(FileKind::Lock, id) {
            Ok(json) => json,
            Err(error) if error.storage_kind() == Some(ErrorKind::NotFound) => return Ok(None),
            Err(VaultError::Damaged { .. })
                if self.storage().size(&FileKind::Lock.name(id)).ok() == Some(0) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| VaultError::damaged(FileKind::Lock, id, error))
    }

    /// Removes locks and says how many. Locks that cannot be read go with [`UnlockScope::All`] only.
    pub fn unlock(&self, scope: UnlockScope) -> Result<usize, VaultError> {
        let now = Time::now();
        let mut removed = 0;
        for id in self.list(FileKind::Lock)? {
            let is_stale = match self.read_lock(&id) {
                Ok(lock) => lock.is_none_or(|lock| lock.is_stale(now)),
                Err(_) => false,
            };
            if scope == UnlockScope::Stale && !is_stale {
                continue;
            }
            match self.storage().delete(&FileKind::Lock.name(&id)) {
                Ok(()) => removed += 1,
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;

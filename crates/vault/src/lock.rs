//! Locks as restic understands them: small files that say who uses the repository, and how.
//!
//! Any number of shared locks may be held at once, or one exclusive lock alone. A lock is refreshed every five minutes
//! by writing a new file and then removing the old one. One whose process is known to be dead on this host stops nobody.
//! Silence proves little, since clocks differ: one that nobody has refreshed is believed for a day, and for the thirty
//! minutes of restic only by people ([`UnlockScope::Stale`]) and by who wants to share with an exclusive lock of restic.
//!
//! Who is dead is a matter of proof, since a live lock that is removed costs its holder the work. restic goes by the name
//! of the host and the process id, but hosts share names, and containers share hosts. So our locks say more (`origin`):
//! only a lock of this machine, and of this process namespace if the machine has not been started anew since, is known
//! to be dead when its process is gone. A clone of a machine has its name and its ids, so of another start of the machine
//! only a lock is dead that was silent since before this one. A lock without all that, one of restic, stops nobody when it
//! looks dead in restic's way, but is not removed before somebody asks for it ([`UnlockScope::Stale`], as with
//! `restic unlock`).
//!
//! A lock that was lost stays lost: others may have come in since, so nothing that happens later makes it held again.
//!
//! A lock is taken by looking for others, writing it, and looking again. Of two processes that do this at once at least
//! one sees the other, because a put is visible to every listing that begins after it.
//!
//! A lock that is refreshed is another file, which is there before the old one goes. So who looks and finds a listed one
//! gone looks again: its successor is listed by then.

mod file;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use storage::{ErrorKind, process};

use crate::error::VaultError;
use crate::id::Id;
use crate::index::journal::LockHolder;
use crate::index_files::list_twice;
use crate::layout::FileKind;
use crate::repository::Repository;
use crate::time::Time;

use file::{Holder, LockJson};

/// restic's own interval.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// After a refresh that failed, the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Other programs take a lock of this age for dead.
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);
/// Without a proof we take a lock for dead after this time: the clock of its host, or ours, may be wrong by hours.
pub(crate) const BELIEVED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Our own lock counts as lost this long before others would take it for dead.
const SAFETY_MARGIN: Duration = Duration::from_secs(5 * 60);
/// How often the locks are listed while listed ones are gone when they are read.
const LOOKS: usize = 16;

/// How a repository is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Reading and adding: others may do the same.
    Shared,
    /// Removing or rewriting: nobody else may be there.
    Exclusive,
    /// Shared towards everybody, but only one of this kind: a prune that lets backups go on. For other programs it is
    /// a shared lock.
    Maintenance,
}

/// Which locks [`Repository::unlock`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlockScope {
    /// Those whose holder is known to be dead, or has been silent for a day. Safe without anybody's decision.
    Dead,
    /// Also those that nobody has refreshed for 30 minutes by the clock of this host, and those that look dead by the name
    /// of the host and the process id alone, as restic goes by.
    Stale,
    /// Those of this very process, which is about to end.
    ThisProcess,
    /// All. Only right when it is known that nobody is there.
    All,
}

/// The name of this host, as locks and snapshots have it.
#[must_use]
pub fn hostname() -> String {
    process::hostname()
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
    /// Former ones that could not be removed when they were replaced.
    leftovers: Vec<Id>,
    refreshed: Instant,
    refreshed_at: Time,
    /// Why the last refresh failed.
    failure: Option<String>,
    /// Why the lock is lost. Never unset.
    loss: Option<String>,
}

impl HeldState {
    fn new(id: Id, refreshed: Instant, refreshed_at: Time) -> Self {
        Self {
            id,
            leftovers: Vec::new(),
            refreshed,
            refreshed_at,
            failure: None,
            loss: None,
        }
    }

    /// Notes that the lock is lost.
    fn lose(&mut self, reason: &str) -> VaultError {
        let reason = self.loss.get_or_insert_with(|| reason.to_owned()).clone();
        VaultError::LockLost { reason }
    }

    /// Fails when the lock was lost, or may be taken for dead by others by now.
    ///
    /// Both clocks are asked, so neither a suspended host nor a wall clock that jumps is missed.
    fn ensure_fresh(&mut self) -> Result<(), VaultError> {
        let limit = STALE_AFTER - SAFETY_MARGIN;
        let wall = Time::now()
            .seconds
            .saturating_sub(self.refreshed_at.seconds);
        let is_fresh = self.refreshed.elapsed() < limit && wall < limit.as_secs() as i64;
        if is_fresh && self.loss.is_none() {
            return Ok(());
        }
        let reason = self.failure.clone();
        Err(self.lose(reason.as_deref().unwrap_or("it was not refreshed in time")))
    }
}

impl LockGuard {
    /// Fails when the lock was lost, as far as this process knows by itself: what it protects must stop. Costs nothing,
    /// so it may be asked often.
    pub fn ensure_fresh(&self) -> Result<(), VaultError> {
        self.shared.state.lock().ensure_fresh()
    }

    /// As [`LockGuard::ensure_fresh`], and asks the storage whether the lock is still there. To be called right before
    /// anything that relies on the lock. An error of the storage says that nobody knows.
    pub fn ensure_held(&self) -> Result<(), VaultError> {
        loop {
            let id = {
                let mut state = self.shared.state.lock();
                state.ensure_fresh()?;
                state.id
            };
            match self.shared.ask_for(&id) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    let mut state = self.shared.state.lock();
                    // A refresh may have replaced it meanwhile.
                    if state.id == id {
                        return Err(state.lose(REMOVED));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What became of a lock that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    Now,
    /// It was not there any more.
    BySomebody,
    /// The storage failed: another try may remove it.
    Later,
    /// Nothing may be deleted there.
    Never,
}

/// Why a lock is lost that is not there any more.
const REMOVED: &str = "somebody removed it";

impl Drop for LockGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(refresher) = self.refresher.take() {
            drop(refresher.join());
        }
        let (id, leftovers) = {
            let mut state = self.shared.state.lock();
            (state.id, std::mem::take(&mut state.leftovers))
        };
        // A lock that stays because the storage is gone becomes stale by itself.
        drop(self.shared.remove(leftovers.into_iter().chain([id])));
    }
}

impl Held {
    /// Whether the storage has this lock.
    fn ask_for(&self, id: &Id) -> Result<bool, VaultError> {
        match self.repository.storage().size(&FileKind::Lock.name(id)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a new lock, then removes the old one. Once the new one is there the refresh has succeeded: an old one that
    /// cannot be removed is tried again later, and becomes stale by itself.
    fn refresh(&self) -> Result<(), VaultError> {
        // After a long sleep of the host others may have taken the lock for dead.
        let old = {
            let mut state = self.state.lock();
            state.ensure_fresh()?;
            state.id
        };
        // The lock must still be there: when somebody removed it, others may have come in since.
        if !self.ask_for(&old)? {
            return Err(self.state.lock().lose(REMOVED));
        }
        let (refreshed, refreshed_at) = (Instant::now(), Time::now());
        let id = write(&self.repository, self.kind)?;
        let leftovers = {
            let mut state = self.state.lock();
            state.id = id;
            state.refreshed = refreshed;
            state.refreshed_at = refreshed_at;
            state.failure = None;
            std::mem::take(&mut state.leftovers)
        };
        let mut leftovers = self.remove(leftovers.into_iter());
        let removed = self.delete(&old);
        let mut state = self.state.lock();
        if removed == Removed::Later {
            leftovers.push(old);
        }
        state.leftovers = leftovers;
        match removed {
            // Somebody removed it since it was asked for: when that was before the new one was there, others may have
            // come in.
            Removed::BySomebody => Err(state.lose(REMOVED)),
            _ => Ok(()),
        }
    }

    /// Removes locks and gives those back that may be removed later.
    fn remove(&self, ids: impl Iterator<Item = Id>) -> Vec<Id> {
        ids.filter(|id| self.delete(id) == Removed::Later).collect()
    }

    fn delete(&self, id: &Id) -> Removed {
        match self.repository.storage().delete(&FileKind::Lock.name(id)) {
            Ok(()) => Removed::Now,
            Err(error) => match error.kind {
                ErrorKind::NotFound => Removed::BySomebody,
                ErrorKind::Denied => Removed::Never,
                _ => Removed::Later,
            },
        }
    }

    /// The loop of the refresher. A lock that is lost is not refreshed any more.
    fn keep_fresh(&self, stop: &crossbeam_channel::Receiver<()>) {
        let mut pause = REFRESH_INTERVAL;
        while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = match self.refresh() {
                Ok(()) => REFRESH_INTERVAL,
                Err(VaultError::LockLost { .. }) => return,
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
            state: Mutex::new(HeldState::new(id, refreshed, refreshed_at)),
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
        for (id, lock) in self.locks()? {
            if own == Some(&id) {
                continue;
            }
            let conflicts = kind == LockKind::Exclusive
                || lock.exclusive
                || (kind == LockKind::Maintenance && lock.maintenance);
            let holder = lock.holder(now, lock.believed_for(kind));
            if conflicts && holder == Holder::Alive {
                return Err(lock.conflict());
            }
        }
        Ok(())
    }

    /// Who else holds a lock, sorted: everybody whose lock is there and who is not known to be dead, but for the one
    /// maintenance that there can be, which is the caller.
    ///
    /// A lock counts for as long as `believed_for` after it was last refreshed, which should be far longer than what
    /// makes it dead for others: the clock of its host may be wrong. One that cannot be read is an error.
    pub(crate) fn lock_holders(
        &self,
        now: Time,
        believed_for: Duration,
    ) -> Result<Vec<LockHolder>, VaultError> {
        let mut holders = Vec::new();
        for (_, lock) in self.locks()? {
            if !lock.maintenance && lock.holder(now, believed_for) != Holder::Dead {
                holders.push(LockHolder {
                    hostname: lock.hostname,
                    username: lock.username,
                    pid: lock.pid,
                    uid: lock.uid,
                    gid: lock.gid,
                });
            }
        }
        holders.sort_unstable();
        holders.dedup();
        Ok(holders)
    }

    /// All locks, whatever their holders do meanwhile: whoever holds one from before this call until after it is there.
    ///
    /// A listed lock that is gone may have been refreshed: its successor was put before that, so the next listing has it.
    /// One that is gone and listed nevertheless, by a storage that is late, costs no further look.
    fn locks(&self) -> Result<HashMap<Id, LockJson>, VaultError> {
        let mut known: HashMap<Id, LockJson> = HashMap::new();
        let mut gone: HashSet<Id> = HashSet::new();
        for _ in 0..LOOKS {
            let listed = list_twice(self, FileKind::Lock)?;
            known.retain(|id, _| listed.binary_search(id).is_ok());
            let gone_before = gone.len();
            for id in listed {
                if known.contains_key(&id) || gone.contains(&id) {
                    continue;
                }
                match self.read_lock(&id) {
                    Ok(Some(lock)) => drop(known.insert(id, lock)),
                    Ok(None) => {}
                    Err(error) if error.storage_kind() == Some(ErrorKind::NotFound) => {
                        gone.insert(id);
                    }
                    Err(error) => return Err(error),
                }
            }
            if gone.len() == gone_before {
                return Ok(known);
            }
        }
        Err(VaultError::Refused {
            reason: "the locks change faster than they can be read: it is not known who is there"
                .to_owned(),
        })
    }

    /// `None` when it is an empty file that a dead writer left.
    fn read_lock(&self, id: &Id) -> Result<Option<LockJson>, VaultError> {
        let json = match self.load_json(FileKind::Lock, id) {
            Ok(json) => json,
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
            let lock = self.read_lock(&id);
            let is_meant = match (scope, &lock) {
                (UnlockScope::All, _) => true,
                (_, Err(_)) => false,
                (UnlockScope::ThisProcess, Ok(lock)) => {
                    lock.as_ref().is_some_and(LockJson::is_of_this_process)
                }
                (UnlockScope::Dead, Ok(lock)) => lock
                    .as_ref()
                    .is_none_or(|lock| lock.holder(now, BELIEVED_FOR) == Holder::Dead),
                (UnlockScope::Stale, Ok(lock)) => lock
                    .as_ref()
                    .is_none_or(|lock| lock.holder(now, STALE_AFTER) != Holder::Alive),
            };
            if !is_meant {
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

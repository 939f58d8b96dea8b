//! What a lock file says, and what can be known here about who wrote it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::process;

use super::{BELIEVED_FOR, LockKind, REFRESH_INTERVAL, STALE_AFTER, hostname};
use crate::error::VaultError;
use crate::id::Id;
use crate::time::Time;

/// The JSON of a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LockJson {
    pub(super) time: String,
    pub(super) exclusive: bool,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) pid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) gid: u32,
    /// Ours, which restic ignores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<Origin>,
    /// Ours: marks [`LockKind::Maintenance`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) maintenance: bool,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl LockJson {
    pub(super) fn of_this_process(kind: LockKind) -> Self {
        let pid = std::process::id();
        Self {
            time: Time::now().to_string(),
            exclusive: kind == LockKind::Exclusive,
            hostname: hostname(),
            username: std::env::var("USER").unwrap_or_default(),
            pid,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            origin: Origin::of_process(pid),
            maintenance: kind == LockKind::Maintenance,
        }
    }

    /// What can be known here about the holder, who is taken for dead when the lock was not refreshed for longer than
    /// `believed_for`, whatever the clock of which host that means.
    pub(super) fn holder(&self, now: Time, believed_for: Duration) -> Holder {
        if self.is_older_than(believed_for, now) {
            return Holder::Dead;
        }
        if self.hostname != hostname() {
            return Holder::Alive;
        }
        match (&self.origin, Origin::of_process(std::process::id())) {
            (Some(origin), Some(own)) => {
                let is_of_former_boot = self.is_of_former_boot(process::uptime(), now);
                origin.holder(&own, self.pid, is_of_former_boot)
            }
            _ if process::is_gone(self.pid) => Holder::LooksDead,
            _ => Holder::Alive,
        }
    }

    /// For how long who wants a lock of this kind believes that this one is held, although nobody refreshes it.
    ///
    /// The clock of one of the two hosts may be wrong, and what comes in beside a lock that is held may remove what the other
    /// one refers to. Only among locks that restics know, who go by that anyway, its own time is enough.
    pub(super) fn believed_for(&self, wanted: LockKind) -> Duration {
        match (wanted, &self.origin) {
            (LockKind::Shared, None) => STALE_AFTER,
            _ => BELIEVED_FOR,
        }
    }

    /// Whether its last refresh was longer ago. A time that cannot be read, or one of the future, says nothing.
    fn is_older_than(&self, limit: Duration, now: Time) -> bool {
        let age = self
            .time
            .parse::<Time>()
            .map_or(0, |time| now.seconds.saturating_sub(time.seconds));
        age > limit.as_secs() as i64
    }

    /// Whether it was refreshed before this start of the machine alone.
    ///
    /// A clone of this machine has its ids and another boot, and lives: its lock is refreshed while this one is up, or, if
    /// this one was started a moment ago, will be.
    pub(super) fn is_of_former_boot(&self, uptime: Option<Duration>, now: Time) -> bool {
        uptime.is_some_and(|uptime| self.is_older_than(uptime.max(2 * REFRESH_INTERVAL), now))
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.pid == std::process::id()
            && self.hostname == hostname()
            && self.origin == Origin::of_process(self.pid)
    }

    pub(super) fn conflict(&self) -> VaultError {
        VaultError::Locked {
            exclusive: self.exclusive,
            hostname: self.hostname.clone(),
            username: self.username.clone(),
            pid: self.pid,
            since: self.time.clone(),
        }
    }
}

/// What this host knows about the holder of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Alive, or out of sight.
    Alive,
    /// Dead if the name of the host means this host.
    LooksDead,
    /// Dead, or silent for so long that it is taken for dead.
    Dead,
}

/// Where and when a process began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// A hash of the id of the machine, empty where it has none. Hashed because the id itself is not to be told.
    pub(super) machine: String,
    /// Which start of the machine.
    pub(super) boot: String,
    /// The namespace of process ids: that of a container is its own.
    pub(super) pid_namespace: String,
    /// The tick of the boot: tells a process from a later one with the same id.
    pub(super) start: String,
}

impl Origin {
    /// `None` where `/proc` does not tell.
    pub(super) fn of_process(pid: u32) -> Option<Self> {
        Some(Self {
            machine: machine(),
            boot: process::boot_id()?,
            pid_namespace: process::pid_namespace()?,
            start: process::start_of(pid)?,
        })
    }

    /// What can be known about the process with this origin and id by one with the origin `own`. `is_of_former_boot` says
    /// whether it was heard of before this start of the machine alone.
    pub(super) fn holder(&self, own: &Self, pid: u32, is_of_former_boot: bool) -> Holder {
        if self.boot != own.boot {
            // Started anew since, or another machine.
            let is_same_machine = !own.machine.is_empty() && self.machine == own.machine;
            return if is_same_machine && is_of_former_boot {
                Holder::Dead
            } else {
                Holder::Alive
            };
        }
        if self.pid_namespace != own.pid_namespace {
            return Holder::Alive;
        }
        if process::has_ended(pid, &self.start) {
            Holder::Dead
        } else {
            Holder::Alive
        }
    }
}

/// A hash of the id of this machine; empty without one.
fn machine() -> String {
    match process::machine_id().as_str() {
        "" => String::new(),
        id => Id::hash(format!("strongroom lock {id}").as_bytes()).to_hex()[..32].to_owned(),
    }
}

//! What a lock file says, and what can be known here about who wrote it.

use serde::{Deserialize, Serialize};
use storage::process;

use super::{LockKind, STALE_AFTER, hostname};
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

    /// What can be known here about the holder.
    pub(super) fn holder(&self, now: Time) -> Holder {
        // A time that cannot be read, or one of the future, says nothing: such a lock stays.
        let age = self
            .time
            .parse::<Time>()
            .map_or(0, |time| now.seconds.saturating_sub(time.seconds));
        if age > STALE_AFTER.as_secs() as i64 {
            return Holder::Dead;
        }
        self.process()
    }

    /// What can be known here about the process, whatever the age of the lock.
    pub(super) fn process(&self) -> Holder {
        if self.hostname != hostname() {
            return Holder::Alive;
        }
        match (&self.origin, Origin::of_process(std::process::id())) {
            (Some(origin), Some(own)) => origin.holder(&own, self.pid),
            _ if process::is_gone(self.pid) => Holder::LooksDead,
            _ => Holder::Alive,
        }
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
    /// Dead, or silent for so long that everybody may take it for dead.
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

    /// What can be known about the process with this origin and id by one with the origin `own`.
    pub(super) fn holder(&self, own: &Self, pid: u32) -> Holder {
        if self.boot != own.boot {
            // Started anew since, or another machine.
            let is_same_machine = !own.machine.is_empty() && self.machine == own.machine;
            return if is_same_machine {
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

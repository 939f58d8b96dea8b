//! Which process of which host this is, and what can be known about another one.
//!
//! Whoever leaves something behind writes down who he is; whoever finds it may then prove that he is dead. Hosts share
//! names, and containers share hosts, so a number of a process means nothing without the rest.

use std::time::Duration;

/// The id of this machine, which systemd and D-Bus keep; empty without one. It is not to be told to others.
#[must_use]
pub fn machine_id() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Which start of the machine this is. `None` where `/proc` does not tell.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// How long ago this start of the machine was, the time that it slept included. `None` where `/proc` does not tell.
#[must_use]
pub fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The namespace of process ids: that of a container is its own. `None` where `/proc` does not tell.
#[must_use]
pub fn pid_namespace() -> Option<String> {
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(namespace.to_string_lossy().into_owned())
}

/// The name of this host.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Whether no process of this number can be seen.
#[must_use]
pub fn is_gone(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// The tick of the boot at which a process began, which tells it from a later one with the same number. `None` where
/// `/proc` does not tell.
#[must_use]
pub fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the process is in parentheses and may hold anything; the start is the 20th field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().nth(19)?.to_owned())
}

/// Whether the process of this number that began at `start` has ended: there is none, or one that began later. Of this
/// host, this boot and this namespace, which the caller knows.
#[must_use]
pub fn has_ended(pid: u32, start: &str) -> bool {
    is_gone(pid) || start_of(pid).is_some_and(|other| other != start)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{has_ended, start_of, uptime};

    /// The largest process id that Linux gives is below this number.
    const NO_PID: u32 = 0x3fff_fff0;

    #[test]
    fn the_machine_is_up_since_before_this() {
        let before = uptime().unwrap();
        assert!(!before.is_zero());
        assert!(uptime().unwrap() >= before);
    }

    #[test]
    fn a_process_has_one_start() {
        let pid = std::process::id();
        let start = start_of(pid).unwrap();
        assert_eq!(start_of(pid).unwrap(), start);
        assert_eq!(start_of(NO_PID), None);
        assert!(!has_ended(pid, &start));
        assert!(has_ended(pid, "1"));
        assert!(has_ended(NO_PID, &start));
    }
}

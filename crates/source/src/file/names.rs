//! Names of users and groups: from `/etc/passwd` and `/etc/group`, read once, and for numbers that are not there from
//! the system's `getent`, which also knows directory services.
//!
//! Names are stored beside the numbers for people to read; a restore goes by the numbers, so a name that is not found
//! is left empty and nothing is lost. That is also why a lookup that takes long is given up, and with it all later
//! ones.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// A lookup that takes longer is given up: the directory service does not answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// How many numbers are looked up in one run. Trees with more unknown owners come from elsewhere, and their names too.
const LOOKUPS_MAX: usize = 200;

/// The names of this host's users and groups.
#[derive(Debug, Default)]
pub struct OwnerNames {
    users: NameTable,
    groups: NameTable,
    lookups_left: AtomicUsize,
}

// A read-write lock: asked for every entry, written once for each number that the files do not have.
type NameTable = RwLock<HashMap<u32, Arc<str>>>;

impl OwnerNames {
    /// Reads this host's files; a missing one gives no names.
    pub fn of_this_host() -> OwnerNames {
        let read = |path: &str| std::fs::read(Path::new(path)).unwrap_or_default();
        let mut names = OwnerNames::parse(&read("/etc/passwd"), &read("/etc/group"));
        *names.lookups_left.get_mut() = LOOKUPS_MAX;
        names
    }

    fn parse(passwd: &[u8], group: &[u8]) -> OwnerNames {
        OwnerNames {
            users: RwLock::new(parse_table(passwd)),
            groups: RwLock::new(parse_table(group)),
            lookups_left: AtomicUsize::new(0),
        }
    }

    /// The name of a user, or an empty text.
    pub fn user(&self, uid: u32) -> Arc<str> {
        self.name(&self.users, "passwd", uid)
    }

    /// The name of a group, or an empty text.
    pub fn group(&self, gid: u32) -> Arc<str> {
        self.name(&self.groups, "group", gid)
    }

    fn name(&self, table: &NameTable, database: &str, number: u32) -> Arc<str> {
        if let Some(name) = table.read().get(&number) {
            return Arc::clone(name);
        }
        let mut table = table.write();
        Arc::clone(
            table
                .entry(number)
                .or_insert_with(|| self.look_up(database, number).unwrap_or_default()),
        )
    }

    fn look_up(&self, database: &str, number: u32) -> Option<Arc<str>> {
        let left = self.lookups_left.load(Ordering::Relaxed);
        self.lookups_left
            .store(left.checked_sub(1)?, Ordering::Relaxed);
        match ask_getent(database, number) {
            Answer::Line(line) => parse_table(&line).remove(&number),
            Answer::Nothing => None,
            Answer::TooLate => {
                self.lookups_left.store(0, Ordering::Relaxed);
                None
            }
        }
    }
}

enum Answer {
    Line(Vec<u8>),
    Nothing,
    TooLate,
}

/// Runs `getent DATABASE NUMBER`. Its answer is one line, which a pipe holds, so it never waits for its reader.
fn ask_getent(database: &str, number: u32) -> Answer {
    let child = Command::new("getent")
        .args([database, &number.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return Answer::Nothing;
    };
    let end = Instant::now() + LOOKUP_TIMEOUT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) => return Answer::Nothing,
            _ => {
                // Both fail only when it has ended by itself meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return Answer::TooLate;
            }
        }
    }
    let mut line = Vec::new();
    match child
        .stdout
        .take()
        .map(|output| output.take(4096).read_to_end(&mut line))
    {
        Some(Ok(_)) => Answer::Line(line),
        _ => Answer::Nothing,
    }
}

/// Lines of `name:password:number:...`; the first line of a number counts, as it does for the system.
fn parse_table(text: &[u8]) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(number)) = (fields.next(), fields.next(), fields.next())
            && let Ok(number) = number.parse()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            names.entry(number).or_insert_with(|| name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn tables_are_parsed() {
        let names = OwnerNames::parse(
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n#c:x:7:\nbroken\nu:x:nan:0\n\nalice:x:1000:1000::/:\n",
            b"wheel:x:10:\n",
        );
        let check = |found: Arc<str>, expected: &str| assert_eq!(&*found, expected);
        check(names.user(0), "root");
        check(names.user(1000), "alice");
        check(names.user(7), "");
        check(names.group(10), "wheel");
        check(names.group(11), "");
    }

    #[test]
    fn numbers_without_a_name_are_asked_for_once() {
        let names = OwnerNames::of_this_host();
        assert_eq!(&*names.user(0), "root");
        let nobody = 3_999_999_999;
        assert_eq!(&*names.user(nobody), "");
        let left = names.lookups_left.load(Ordering::Relaxed);
        assert_eq!(&*names.user(nobody), "");
        assert_eq!(names.lookups_left.load(Ordering::Relaxed), left);
    }
}

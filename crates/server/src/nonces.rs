//! Nonces of signed requests: each is good once. Remembered per access key for as long as a request with it could pass
//! the time window, in memory and in a pair of append-only files, so that a restart forgets nothing.
//!
//! A request is accepted when its time is within [`WINDOW_SECONDS`] of the server's, so a nonce with time `t` must be
//! known until `t + WINDOW_SECONDS`, which is at most two windows after it came in. The current file is renamed over the
//! former one once it is two windows old; what the former one held is then past. Records have a fixed length (expiry,
//! tag of the key, hash of the nonce); a torn one at the end is cut off.
//!
//! A record is written before the reply, but not synced: a crash of the process loses nothing, a crash of the machine
//! may lose the last seconds. When the disk is full the nonce is only kept in memory, and the file `complete` is removed
//! (which needs no room) until two windows have passed; a start without that file refuses every request that was signed
//! before it.
//!
//! Bounded: when a key, or all keys together, have too many nonces in the window, requests are throttled; nothing is
//! forgotten early.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::data_dir::{read_file, write_file};
use crate::error::ServerError;

/// How far the time of a request may be from the server's, either way.
pub(crate) const WINDOW_SECONDS: i64 = 15 * 60;
/// A file is this old before it is rotated.
const ROTATE_SECONDS: i64 = 2 * WINDOW_SECONDS;
const RECORD_BYTES: usize = 32;

type KeyTag = [u8; 8];
type NonceHash = [u8; 16];

/// Most nonces that are remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NonceLimits {
    pub(crate) per_key: usize,
    pub(crate) total: usize,
}

impl Default for NonceLimits {
    /// 24 bytes in memory each: at most about 100 MB. 500,000 in 15 minutes are 550 requests a second.
    fn default() -> Self {
        Self {
            per_key: 500_000,
            total: 2_000_000,
        }
    }
}

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceUse {
    /// Never seen: the request may go on.
    Fresh,
    /// Seen: a replay.
    Replay,
    /// Not remembered because there are too many.
    TooMany,
    /// Signed before a start that does not know all earlier nonces.
    BeforeStart,
}

/// All nonces in the window.
#[derive(Debug)]
pub(crate) struct Nonces {
    // A plain mutex: held for a lookup, an insert and one write of 32 bytes to the page cache.
    state: Mutex<State>,
    limits: NonceLimits,
}

#[derive(Debug, Default)]
struct KeyNonces {
    seen: HashSet<NonceHash>,
    /// By expiry in minutes, to forget in steps.
    by_minute: BTreeMap<i64, Vec<NonceHash>>,
}

#[derive(Debug)]
struct State {
    folder: PathBuf,
    file: File,
    file_since: Timestamp,
    file_bytes: u64,
    /// When a nonce was last not written; while set, the file `complete` is not there.
    last_gap: Option<Timestamp>,
    refuse_before: Option<Timestamp>,
    keys: HashMap<KeyTag, KeyNonces>,
    total: usize,
    purged_minute: i64,
}

impl Nonces {
    /// Reads the files of `folder` (creating it) and starts a new current file with what is still alive.
    pub(crate) fn open(
        folder: &Path,
        now: Timestamp,
        limits: NonceLimits,
    ) -> Result<Self, ServerError> {
        let is_first = !folder.exists();
        fs::create_dir_all(folder).map_err(ServerError::file("create", folder))?;
        let (current, former, complete) = (
            folder.join("current"),
            folder.join("former"),
            folder.join("complete"),
        );
        let mut alive = Vec::new();
        for path in [&former, &current] {
            let bytes = read_file(path)?.unwrap_or_default();
            let records = bytes.chunks_exact(RECORD_BYTES).filter_map(parse_record);
            alive.extend(records.filter(|(expiry, _, _)| *expiry >= now.0));
        }
        let knows_all = is_first || complete.exists();
        let bytes: Vec<u8> = alive
            .iter()
            .flat_map(|(expiry, key, nonce)| record(*expiry, key, nonce))
            .collect();
        write_file(&current, &bytes)?;
        match fs::remove_file(&former) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ServerError::file("remove", &former)(error));
            }
            _ => {}
        }
        if knows_all {
            write_file(&complete, b"")?;
        }
        let mut state = State {
            folder: folder.to_owned(),
            file: open_append(&current).map_err(ServerError::file("open", &current))?,
            file_since: now,
            file_bytes: bytes.len() as u64,
            last_gap: (!knows_all).then_some(now),
            refuse_before: (!knows_all).then_some(now),
            keys: HashMap::new(),
            total: 0,
            purged_minute: now.0 / 60,
        };
        for (expiry, key, nonce) in alive {
            state.remember(expiry, key, nonce);
        }
        Ok(Self {
            state: Mutex::new(state),
            limits,
        })
    }

    /// Uses a nonce of a request whose signature is right and whose time `signed_at` is within the window.
    pub(crate) fn use_once(
        &self,
        access_key_id: &str,
        nonce: &str,
        signed_at: i64,
        now: Timestamp,
    ) -> NonceUse {
        let key = key_tag(access_key_id);
        let hash = nonce_hash(access_key_id, nonce);
        let mut state = self.state.lock();
        state.forget_expired(now);
        if state.refuse_before.is_some_and(|start| signed_at < start.0) {
            return NonceUse::BeforeStart;
        }
        // A clock that was set back: what was forgotten in the meantime would count as new.
        let expiry = signed_at.saturating_add(WINDOW_SECONDS);
        if expiry / 60 < state.purged_minute {
            return NonceUse::BeforeStart;
        }
        let of_key = state.keys.get(&key);
        if of_key.is_some_and(|known| known.seen.contains(&hash)) {
            return NonceUse::Replay;
        }
        if state.total >= self.limits.total
            || of_key.is_some_and(|known| known.seen.len() >= self.limits.per_key)
        {
            return NonceUse::TooMany;
        }
        state.append(&record(expiry, &key, &hash), now);
        state.remember(expiry, key, hash);
        NonceUse::Fresh
    }
}

impl State {
    fn remember(&mut self, expiry: i64, key: KeyTag, nonce: NonceHash) {
        let known = self.keys.entry(key).or_default();
        if known.seen.insert(nonce) {
            known.by_minute.entry(expiry / 60).or_default().push(nonce);
            self.total += 1;
        }
    }

    /// Once a minute: forgets whole minutes that are past.
    fn forget_expired(&mut self, now: Timestamp) {
        let minute = now.0 / 60;
        if minute <= self.purged_minute {
            return;
        }
        self.purged_minute = minute;
        let mut forgotten = 0;
        self.keys.retain(|_, known| {
            let alive = known.by_minute.split_off(&minute);
            for nonce in std::mem::replace(&mut known.by_minute, alive)
                .into_values()
                .flatten()
            {
                known.seen.remove(&nonce);
                forgotten += 1;
            }
            !known.seen.is_empty()
        });
        self.total -= forgotten;
        if self
            .last_gap
            .is_some_and(|gap| now.0 > gap.0 + ROTATE_SECONDS)
        {
            match write_file(&self.folder.join("complete"), b"") {
                Ok(()) => self.last_gap = None,
                Err(error) => {
                    tracing::warn!(%error, "the nonces are complete again, but that cannot be noted")
                }
            }
        }
    }

    fn append(&mut self, record: &[u8], now: Timestamp) {
        let result = self
            .rotate_if_old(now)
            .and_then(|()| self.file.write_all(record));
        match result {
            Ok(()) => self.file_bytes += record.len() as u64,
            Err(error) => {
                // Cut a torn record off, so that later ones stay aligned.
                let cut = self.file.set_len(self.file_bytes);
                if self.last_gap.replace(now).is_none() {
                    let removed = fs::remove_file(self.folder.join("complete"));
                    tracing::error!(%error, ?cut, ?removed, "nonces cannot be written; they are kept in memory only");
                }
            }
        }
    }

    fn rotate_if_old(&mut self, now: Timestamp) -> io::Result<()> {
        if now.0 < self.file_since.0 + ROTATE_SECONDS {
            return Ok(());
        }
        let current = self.folder.join("current");
        fs::rename(&current, self.folder.join("former"))?;
        self.file = open_append(&current)?;
        self.file_since = now;
        self.file_bytes = 0;
        Ok(())
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn key_tag(access_key_id: &str) -> KeyTag {
    let mut tag = KeyTag::default();
    tag.copy_from_slice(&Sha256::digest(access_key_id.as_bytes())[..8]);
    tag
}

fn nonce_hash(access_key_id: &str, nonce: &str) -> NonceHash {
    let mut hash = Sha256::new();
    hash.update(access_key_id.as_bytes());
    hash.update([0]);
    hash.update(nonce.as_bytes());
    let mut short = NonceHash::default();
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

fn record(expiry: i64, key: &KeyTag, nonce: &NonceHash) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&expiry.to_le_bytes());
    bytes[8..16].copy_from_slice(key);
    bytes[16..].copy_from_slice(nonce);
    bytes
}

fn parse_record(bytes: &[u8]) -> Option<(i64, KeyTag, NonceHash)> {
    let expiry = i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    Some((
        expiry,
        bytes.get(8..16)?.try_into().ok()?,
        bytes.get(16..32)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;

    use model::Timestamp;

    use super::{NonceLimits, NonceUse, Nonces};

    fn open(folder: &std::path::Path, now: i64) -> Nonces {
        Nonces::open(
            folder,
            Timestamp(now),
            NonceLimits {
                per_key: 5,
                total: 8,
            },
        )
        .unwrap()
    }

    #[test]
    fn a_nonce_is_good_once_per_key_and_across_restarts() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("nonces");
        let nonces = open(&folder, 1000);
        assert_eq!(
            nonces.use_once("a", "1", 1000, Timestamp(1000)),
            NonceUse::Fresh
        );
        assert_eq!(
            nonces.use_once("a", "1", 1000, Timestamp(1000)),
            NonceUse::Replay
        );
        assert_eq!(
            nonces.use_once("b", "1", 1900, Timestamp(1000)),
            NonceUse::Fresh
        );
        drop(nonces);
        let nonces = open(&folder, 1100);
        assert_eq!(
            nonces.use_once("a", "1", 1000, Timestamp(1100)),
            NonceUse::Replay
        );
        assert_eq!(
            nonces.use_once("b", "1", 1900, Timestamp(1100)),
            NonceUse::Replay
        );
        assert_eq!(
            nonces.use_once("a", "2", 1100, Timestamp(1100)),
            NonceUse::Fresh
        );
    }

    #[test]
    fn nothing_is_forgotten_while_it_could_be_replayed() {
        let temp = tempfile::tempdir().unwrap();
        let nonces = open(temp.path(), 0);
        // Signed as far in the future as the window allows: replayable until 1800.
        assert_eq!(
            nonces.use_once("a", "x", 900, Timestamp(0)),
            NonceUse::Fresh
        );
        for now in (0..=1800).step_by(60) {
            assert_eq!(
                nonces.use_once("a", "x", 900, Timestamp(now)),
                NonceUse::Replay,
                "at {now}"
            );
        }
        assert_eq!(
            nonces.use_once("a", "x", 1900, Timestamp(1900)),
            NonceUse::Fresh
        );
    }

    #[test]
    fn the_bound_throttles_and_time_frees() {
        let temp = tempfile::tempdir().unwrap();
        let nonces = open(temp.path(), 0);
        let mut results = Vec::new();
        for number in 0..7 {
            results.push(nonces.use_once("a", &number.to_string(), 0, Timestamp(0)));
        }
        assert_eq!(
            results
                .iter()
                .filter(|result| **result == NonceUse::TooMany)
                .count(),
            2
        );
        for number in 0..5 {
            nonces.use_once("b", &number.to_string(), 0, Timestamp(0));
        }
        assert_eq!(
            nonces.use_once("c", "0", 0, Timestamp(0)),
            NonceUse::TooMany
        );
        assert_eq!(
            nonces.use_once("c", "0", 1000, Timestamp(1000)),
            NonceUse::Fresh
        );
    }

    #[test]
    fn files_rotate_and_survive() {
        let temp = tempfile::tempdir().unwrap();
        let nonces = open(temp.path(), 0);
        for now in (0..20_000).step_by(700) {
            assert_eq!(
                nonces.use_once("a", &now.to_string(), now, Timestamp(now)),
                NonceUse::Fresh
            );
        }
        let size = |name: &str| fs::metadata(temp.path().join(name)).map_or(0, |data| data.len());
        assert!(
            size("current") + size("former") <= 8 * 32,
            "files hold only two windows each"
        );
        drop(nonces);
        let nonces = open(temp.path(), 20_000);
        assert_eq!(
            nonces.use_once("a", "19600", 19_600, Timestamp(20_000)),
            NonceUse::Replay
        );
    }

    #[test]
    fn a_torn_record_is_cut_and_a_gap_refuses_what_was_signed_before() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("nonces");
        let nonces = open(&folder, 1000);
        nonces.use_once("a", "1", 1000, Timestamp(1000));
        drop(nonces);
        let current = folder.join("current");
        let mut bytes = fs::read(&current).unwrap();
        bytes.extend([7; 9]);
        fs::write(&current, bytes).unwrap();
        let nonces = open(&folder, 1001);
        assert_eq!(
            nonces.use_once("a", "1", 1000, Timestamp(1001)),
            NonceUse::Replay
        );
        assert_eq!(
            nonces.use_once("a", "2", 1000, Timestamp(1001)),
            NonceUse::Fresh
        );
        drop(nonces);
        fs::remove_file(folder.join("complete")).unwrap();
        for start in [1002, 1003] {
            let nonces = open(&folder, start);
            assert_eq!(
                nonces.use_once("a", "3", start - 1, Timestamp(start)),
                NonceUse::BeforeStart
            );
            assert_eq!(
                nonces.use_once("a", &start.to_string(), start, Timestamp(start)),
                NonceUse::Fresh
            );
        }
        let nonces = open(&folder, 1004);
        assert_eq!(
            nonces.use_once("a", "5", 2900, Timestamp(2900)),
            NonceUse::Fresh
        );
        drop(nonces);
        let nonces = open(&folder, 2901);
        assert_eq!(
            nonces.use_once("a", "6", 2900, Timestamp(2901)),
            NonceUse::Fresh
        );
    }
}

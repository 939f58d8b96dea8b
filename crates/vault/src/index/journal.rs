//! What prunes remember from one run to the next, in a field of an index file that other programs pass over.
//!
//! The prune module says what it is for. A program that rewrites index files may drop it: then prunes wait longer, and
//! nothing else.

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::time::Time;

/// Who held a lock, as far as a lock file tells. A refreshed lock has another file and the same holder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockHolder {
    pub(crate) hostname: String,
    pub(crate) username: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The locks of others at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockRecord {
    pub(crate) time: Time,
    pub(crate) holders: Vec<LockHolder>,
}

/// What prunes remember.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PruneJournal {
    /// Oldest first.
    pub(crate) records: Vec<LockRecord>,
    /// The snapshots that were there.
    pub(crate) snapshots: Vec<Id>,
    /// Packs that nothing needed, or that no index named, and when that was seen first.
    pub(crate) seen: Vec<(Id, Time)>,
}

/// The JSON of a journal.
#[derive(Serialize, Deserialize)]
pub(super) struct JournalJson {
    #[serde(default)]
    records: Vec<RecordJson>,
    #[serde(default)]
    snapshots: Vec<Id>,
    #[serde(default)]
    seen: Vec<SeenJson>,
}

#[derive(Serialize, Deserialize)]
struct RecordJson {
    time: String,
    #[serde(default)]
    locks: Vec<HolderJson>,
}

#[derive(Serialize, Deserialize)]
struct HolderJson {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

#[derive(Serialize, Deserialize)]
struct SeenJson {
    id: Id,
    time: String,
}

impl JournalJson {
    pub(super) fn of(journal: &PruneJournal) -> Self {
        let holder = |holder: &LockHolder| HolderJson {
            hostname: holder.hostname.clone(),
            username: holder.username.clone(),
            pid: holder.pid,
            uid: holder.uid,
            gid: holder.gid,
        };
        Self {
            records: journal
                .records
                .iter()
                .map(|record| RecordJson {
                    time: record.time.to_string(),
                    locks: record.holders.iter().map(holder).collect(),
                })
                .collect(),
            snapshots: journal.snapshots.clone(),
            seen: journal
                .seen
                .iter()
                .map(|(id, time)| SeenJson {
                    id: *id,
                    time: time.to_string(),
                })
                .collect(),
        }
    }

    /// Entries whose time cannot be read are left out, as if nothing had been noted.
    pub(super) fn into_journal(self) -> PruneJournal {
        let holder = |holder: HolderJson| LockHolder {
            hostname: holder.hostname,
            username: holder.username,
            pid: holder.pid,
            uid: holder.uid,
            gid: holder.gid,
        };
        PruneJournal {
            records: self
                .records
                .into_iter()
                .filter_map(|record| {
                    Some(LockRecord {
                        time: record.time.parse().ok()?,
                        holders: record.locks.into_iter().map(holder).collect(),
                    })
                })
                .collect(),
            snapshots: self.snapshots,
            seen: self
                .seen
                .into_iter()
                .filter_map(|seen| Some((seen.id, seen.time.parse().ok()?)))
                .collect(),
        }
    }
}

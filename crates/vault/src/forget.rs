//! Which snapshots a retention policy keeps, by the rules of restic, and removing the others.
//!
//! Deciding is a pure function of the snapshots, the policy and a given time ([`plan`]); removing is one call a snapshot
//! ([`remove_snapshots`]) and touches nothing but snapshot files, so it may run beside backups. What the snapshots held
//! stays until a prune.
//!
//! Snapshots are parted into groups, by host and paths unless told otherwise, and the policy is applied to each group. In
//! a group, newest first, a snapshot is kept by each rule it satisfies:
//! - the newest N (`last`), or the newest of each hour, day, ISO week, month, year, for the newest N of those. While a
//!   rule has some of its N left, the oldest snapshot of the group is kept as well;
//! - those within a span of time before the newest one (`within`), or of those the newest of each hour and so on;
//! - those with all tags of one of the lists of tags.
//!
//! Hours, days and so on are those of the clock of the host that made the snapshot.
//!
//! What restic does not have: a snapshot whose time lies more than a day ahead of `now` is always kept and counts for
//! nothing, so that a forged or wrong clock cannot push real snapshots out.

mod calendar;
mod policy;
mod span;

use std::collections::BTreeMap;

use storage::ErrorKind;

use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::time::Time;

pub use policy::{Keep, RetentionPolicy};
pub use span::{Span, SpanError};

/// What parts snapshots into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// By host.
    pub host: bool,
    /// By the set of paths.
    pub paths: bool,
    /// By the set of tags.
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self {
            host: true,
            paths: true,
            tags: false,
        }
    }
}

impl std::str::FromStr for GroupBy {
    type Err = String;

    /// `host`, `paths` and `tags`, parted by commas; the empty text puts all snapshots in one group.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut by = Self {
            host: false,
            paths: false,
            tags: false,
        };
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word {
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                _ => return Err(format!("{word:?} is none of host, paths, tags")),
            }
        }
        Ok(by)
    }
}

/// What the snapshots of a group share; `None` where they were not parted by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GroupKey {
    /// The host.
    pub host: Option<String>,
    /// The paths, sorted.
    pub paths: Option<Vec<String>>,
    /// The tags, sorted.
    pub tags: Option<Vec<String>>,
}

impl std::fmt::Display for GroupKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            self.host.as_ref().map(|host| format!("host {host}")),
            self.paths
                .as_ref()
                .map(|paths| format!("paths {}", paths.join(", "))),
            self.tags
                .as_ref()
                .map(|tags| format!("tags {}", tags.join(", "))),
        ];
        let text: Vec<String> = parts.into_iter().flatten().collect();
        formatter.write_str(if text.is_empty() { "all snapshots" } else { "" })?;
        formatter.write_str(&text.join("; "))
    }
}

/// A snapshot that is kept, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the list that was given to [`plan`].
    pub index: usize,
    /// The rules that keep it, in restic's words.
    pub reasons: Vec<String>,
}

/// What a policy says about one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPlan {
    /// What the snapshots share.
    pub key: GroupKey,
    /// Kept, newest first.
    pub keep: Vec<Kept>,
    /// The others, newest first, by their place in the list that was given to [`plan`].
    pub remove: Vec<usize>,
}

/// Applies `policy` to each group of `snapshots`. An empty policy keeps everything.
///
/// Nothing stops a policy from keeping nothing of a group (`keep` is empty then): who removes must ask whether that was
/// meant.
#[must_use]
pub fn plan(
    snapshots: &[(Id, Snapshot)],
    policy: &RetentionPolicy,
    group_by: GroupBy,
    now: Time,
) -> Vec<GroupPlan> {
    let mut groups: BTreeMap<GroupKey, Vec<usize>> = BTreeMap::new();
    for (index, (_, snapshot)) in snapshots.iter().enumerate() {
        groups
            .entry(key_of(snapshot, group_by))
            .or_default()
            .push(index);
    }
    groups
        .into_iter()
        .map(|(key, mut members)| {
            // Newest first; of the same time the smaller id first, so that the order of a listing decides nothing.
            members.sort_by(|&a, &b| {
                let order = |index: usize| (snapshots[index].1.time, snapshots[index].0);
                let ((time_a, id_a), (time_b, id_b)) = (order(a), order(b));
                time_b.cmp(&time_a).then(id_a.cmp(&id_b))
            });
            let list: Vec<&Snapshot> = members.iter().map(|&index| &snapshots[index].1).collect();
            let mut group = GroupPlan {
                key,
                ..GroupPlan::default()
            };
            for (index, reasons) in members.into_iter().zip(policy::apply(&list, policy, now)) {
                if reasons.is_empty() {
                    group.remove.push(index);
                } else {
                    group.keep.push(Kept { index, reasons });
                }
            }
            group
        })
        .collect()
}

fn key_of(snapshot: &Snapshot, by: GroupBy) -> GroupKey {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    GroupKey {
        host: by.host.then(|| snapshot.hostname.clone()),
        paths: by.paths.then(|| sorted(&snapshot.paths)),
        tags: by.tags.then(|| sorted(&snapshot.tags)),
    }
}

/// Which snapshots a command looks at. Empty lists let everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Of one of these hosts.
    pub hosts: Vec<String>,
    /// With all tags of one of these lists; the empty tag means "no tag at all".
    pub tags: Vec<Vec<String>>,
    /// With all of these paths.
    pub paths: Vec<String>,
}

impl SnapshotFilter {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.tags.is_empty() && self.paths.is_empty()
    }

    /// Whether the snapshot passes.
    #[must_use]
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(&snapshot.hostname))
            && (self.tags.is_empty() || self.tags.iter().any(|list| has_tags(snapshot, list)))
            && self.paths.iter().all(|path| snapshot.paths.contains(path))
    }
}

/// Whether the snapshot has all tags of the list.
pub(crate) fn has_tags(snapshot: &Snapshot, list: &[String]) -> bool {
    let is_untagged_wanted = list.iter().any(String::is_empty);
    if is_untagged_wanted && snapshot.tags.is_empty() {
        return true;
    }
    list.iter().all(|tag| snapshot.tags.contains(tag))
}

/// What became of snapshots that were to be removed.
#[derive(Debug, Default)]
pub struct RemovalReport {
    /// Gone.
    pub removed: Vec<Id>,
    /// Still there, and why.
    pub failed: Vec<(Id, VaultError)>,
}

/// Removes snapshots, one after the other; one that cannot be removed does not stop the others.
///
/// A storage that says it removed a file and kept it is found out by a listing afterwards. A snapshot that is gone
/// already counts as removed, so that a removal that was interrupted may be repeated.
pub fn remove_snapshots(repository: &Repository, ids: &[Id]) -> Result<RemovalReport, VaultError> {
    let mut report = RemovalReport::default();
    for id in ids {
        match repository.storage().delete(&FileKind::Snapshot.name(id)) {
            Ok(()) => report.removed.push(*id),
            Err(error) if error.kind == ErrorKind::NotFound => report.removed.push(*id),
            Err(error) => report.failed.push((*id, error.into())),
        }
    }
    let left = repository.list(FileKind::Snapshot)?;
    let (kept, gone): (Vec<Id>, Vec<Id>) = std::mem::take(&mut report.removed)
        .into_iter()
        .partition(|id| left.contains(id));
    report.removed = gone;
    report.failed.extend(kept.into_iter().map(|id| {
        let reason = "the storage said that it removed it, and lists it still";
        (id, VaultError::damaged(FileKind::Snapshot, id, reason))
    }));
    Ok(report)
}

#[cfg(test)]
mod tests;

//! The snapshot that unchanged files are taken over from, and snapshots that the job has made already.

use vault::{Id, Repository, Snapshot, Time, VaultError};

/// Which snapshot unchanged files are taken over from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ParentChoice {
    /// The newest one of the same host and paths.
    #[default]
    Latest,
    /// This one.
    Snapshot(Id),
    /// None: every file is read.
    None,
}

/// The chosen parent.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) id: Id,
    pub(crate) snapshot: Snapshot,
}

impl Parent {
    pub(crate) fn choose(
        choice: &ParentChoice,
        repository: &Repository,
        snapshots: &[(Id, Snapshot)],
        hostname: &str,
        paths: &[String],
    ) -> Result<Option<Parent>, VaultError> {
        match choice {
            ParentChoice::None => Ok(None),
            ParentChoice::Snapshot(id) => repository
                .snapshot(id)
                .map(|snapshot| Some(Parent { id: *id, snapshot })),
            ParentChoice::Latest => Ok(snapshots
                .iter()
                .filter(|(_, snapshot)| {
                    snapshot.hostname == hostname && is_same_set(&snapshot.paths, paths)
                })
                .max_by_key(|(id, snapshot)| (snapshot.time, *id))
                .map(|(id, snapshot)| Parent {
                    id: *id,
                    snapshot: snapshot.clone(),
                })),
        }
    }

    /// When its backup began, by the clock of the host that made it. Its time may have been set by hand.
    pub(crate) fn began(&self) -> Time {
        match &self.snapshot.summary {
            Some(summary) if summary.backup_start != Time::default() => summary.backup_start,
            _ => self.snapshot.time,
        }
    }
}

fn is_same_set(a: &[String], b: &[String]) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use vault::SnapshotSummary;

    #[test]
    fn paths_are_a_set() {
        let list = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        assert!(is_same_set(&list(&["/a", "/b"]), &list(&["/b", "/a"])));
        assert!(!is_same_set(&list(&["/a"]), &list(&["/a", "/b"])));
        assert!(!is_same_set(&list(&["/a", "/a"]), &list(&["/a", "/b"])));
    }

    #[test]
    fn the_real_start_counts_not_a_time_set_by_hand() {
        let mut snapshot = Snapshot {
            time: Time::new(9_000, 0),
            ..Snapshot::default()
        };
        let began = |snapshot: &Snapshot| {
            Parent {
                id: Id::default(),
                snapshot: snapshot.clone(),
            }
            .began()
        };
        assert_eq!(began(&snapshot), Time::new(9_000, 0));
        snapshot.summary = Some(SnapshotSummary {
            backup_start: Time::new(5, 0),
            ..SnapshotSummary::default()
        });
        assert_eq!(began(&snapshot), Time::new(5, 0));
    }
}

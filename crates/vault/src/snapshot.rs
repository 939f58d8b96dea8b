//! Snapshots: a tree with the time, the paths and what else people ask for.

use serde::{Deserialize, Serialize};

use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::time::Time;

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// When the backup was made.
    pub time: Time,
    /// How many seconds east of UTC the clock was that the time was read from: days and weeks of a retention rule are
    /// those of that clock.
    pub utc_offset_seconds: i32,
    /// The snapshot that unchanged files were taken over from.
    pub parent: Option<Id>,
    /// The root tree.
    pub tree: Id,
    /// The paths that were protected.
    pub paths: Vec<String>,
    /// The host they are on.
    pub hostname: String,
    /// Who ran the backup.
    pub username: String,
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Patterns that were left out.
    pub excludes: Vec<String>,
    /// Labels; a job writes `JobId=…` and so on here.
    pub tags: Vec<String>,
    /// The snapshot that this one was rewritten from.
    pub original: Option<Id>,
    /// The program that made it.
    pub program_version: String,
    /// What the backup did.
    pub summary: Option<SnapshotSummary>,
}

/// What a backup did, in the fields that restic 0.17 and later write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotSummary {
    /// When it began.
    pub backup_start: Time,
    /// When it ended.
    pub backup_end: Time,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent.
    pub files_changed: u64,
    /// Files taken over from the parent.
    pub files_unmodified: u64,
    /// Folders that the parent did not have.
    pub dirs_new: u64,
    /// Folders that differ from the parent.
    pub dirs_changed: u64,
    /// Folders that are as in the parent.
    pub dirs_unmodified: u64,
    /// New data blobs.
    pub data_blobs: i64,
    /// New tree blobs.
    pub tree_blobs: i64,
    /// Bytes of new blobs before compression.
    pub data_added: u64,
    /// Bytes of new blobs as stored.
    pub data_added_packed: u64,
    /// Files seen.
    pub total_files_processed: u64,
    /// Bytes of the files seen.
    pub total_bytes_processed: u64,
}

impl Snapshot {
    /// The value of the tag `key=value`.
    #[must_use]
    pub fn tag_value(&self, key: &str) -> Option<&str> {
        self.tags
            .iter()
            .find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, VaultError> {
        serde_json::to_vec(&SnapshotJson::of(self))
            .map_err(|error| VaultError::damaged(FileKind::Snapshot, "(new)", error))
    }

    /// Reads the text of the snapshot `id`, as [`crate::Repository::snapshot_text`] gives it. `Damaged` when it is none.
    pub fn decode(id: &Id, json: &[u8]) -> Result<Self, VaultError> {
        let damaged = |reason: String| VaultError::damaged(FileKind::Snapshot, id, reason);
        let json: SnapshotJson =
            serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
        json.into_snapshot().map_err(damaged)
    }
}

#[derive(Serialize, Deserialize)]
struct SnapshotJson {
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Id>,
    tree: Id,
    #[serde(default)]
    paths: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    hostname: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excludes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original: Option<Id>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    program_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<SummaryJson>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct SummaryJson {
    backup_start: String,
    backup_end: String,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    dirs_new: u64,
    dirs_changed: u64,
    dirs_unmodified: u64,
    data_blobs: i64,
    tree_blobs: i64,
    data_added: u64,
    data_added_packed: u64,
    total_files_processed: u64,
    total_bytes_processed: u64,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn some_if_any(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl SnapshotJson {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            time: snapshot.time.to_text_at(snapshot.utc_offset_seconds),
            parent: snapshot.parent,
            tree: snapshot.tree,
            paths: Some(snapshot.paths.clone()),
            hostname: snapshot.hostname.clone(),
            username: snapshot.username.clone(),
            uid: snapshot.uid,
            gid: snapshot.gid,
            excludes: some_if_any(&snapshot.excludes),
            tags: some_if_any(&snapshot.tags),
            original: snapshot.original,
            program_version: snapshot.program_version.clone(),
            summary: snapshot.summary.as_ref().map(SummaryJson::of),
        }
    }

    fn into_snapshot(self) -> Result<Snapshot, String> {
        let (time, utc_offset_seconds) = Time::parse_with_offset(self.time.as_bytes())
            .map_err(|_| "its time is wrong".to_owned())?;
        Ok(Snapshot {
            time,
            utc_offset_seconds,
            parent: self.parent,
            tree: self.tree,
            paths: self.paths.unwrap_or_default(),
            hostname: self.hostname,
            username: self.username,
            uid: self.uid,
            gid: self.gid,
            excludes: self.excludes.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            original: self.original,
            program_version: self.program_version,
            summary: self.summary.map(SummaryJson::into_summary),
        })
    }
}

impl SummaryJson {
    fn of(summary: &SnapshotSummary) -> Self {
        Self {
            backup_start: summary.backup_start.to_string(),
            backup_end: summary.backup_end.to_string(),
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            dirs_new: summary.dirs_new,
            dirs_changed: summary.dirs_changed,
            dirs_unmodified: summary.dirs_unmodified,
            data_blobs: summary.data_blobs,
            tree_blobs: summary.tree_blobs,
            data_added: summary.data_added,
            data_added_packed: summary.data_added_packed,
            total_files_processed: summary.total_files_processed,
            total_bytes_processed: summary.total_bytes_processed,
        }
    }

    /// A summary is for people: a time in it that cannot be read is no reason to refuse the snapshot.
    fn into_summary(self) -> SnapshotSummary {
        SnapshotSummary {
            backup_start: self.backup_start.parse().unwrap_or_default(),
            backup_end: self.backup_end.parse().unwrap_or_default(),
            files_new: self.files_new,
            files_changed: self.files_changed,
            files_unmodified: self.files_unmodified,
            dirs_new: self.dirs_new,
            dirs_changed: self.dirs_changed,
            dirs_unmodified: self.dirs_unmodified,
            data_blobs: self.data_blobs,
            tree_blobs: self.tree_blobs,
            data_added: self.data_added,
            data_added_packed: self.data_added_packed,
            total_files_processed: self.total_files_processed,
            total_bytes_processed: self.total_bytes_processed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Snapshot, SnapshotSummary};
    use crate::id::Id;
    use crate::time::Time;

    #[test]
    fn round_trip_and_text() {
        let mut snapshot = Snapshot {
            time: Time::new(1_700_000_000, 5),
            tree: Id::hash(b"tree"),
            paths: vec!["/a".to_owned()],
            ..Snapshot::default()
        };
        let text = String::from_utf8(snapshot.encode().unwrap()).unwrap();
        assert_eq!(
            text,
            format!(
                "{{\"time\":\"2023-11-14T22:13:20.000000005Z\",\"tree\":\"{}\",\"paths\":[\"/a\"]}}",
                snapshot.tree
            )
        );
        snapshot.tags = vec!["JobId=job-1".to_owned(), "x".to_owned()];
        snapshot.summary = Some(SnapshotSummary {
            files_new: 7,
            ..SnapshotSummary::default()
        });
        snapshot.parent = Some(Id::hash(b"parent"));
        let id = Id::default();
        let again = Snapshot::decode(&id, &snapshot.encode().unwrap()).unwrap();
        assert_eq!(again, snapshot);
        assert_eq!(again.tag_value("JobId"), Some("job-1"));
        assert_eq!(again.tag_value("Job"), None);
        for wrong in ["{}", "[]", "", "{\"time\":\"x\",\"tree\":\"\"}"] {
            assert!(Snapshot::decode(&id, wrong.as_bytes()).is_err());
        }
    }
}

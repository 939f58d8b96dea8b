//! JSON with restic's names for fields: snapshots, what a backup did, entries of folders.

use serde_json::{Value, json};
use vault::{Id, Node, NodeKind, Snapshot, SnapshotSummary};

/// A snapshot with the field names of restic.
pub(crate) fn snapshot_json(id: &Id, snapshot: &Snapshot) -> Value {
    let mut value = json!({
        "time": snapshot.time.to_string(),
        "tree": snapshot.tree.to_hex(),
        "paths": snapshot.paths,
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "uid": snapshot.uid,
        "gid": snapshot.gid,
        "program_version": snapshot.program_version,
        "id": id.to_hex(),
        "short_id": id.short(),
    });
    let more = [
        (
            "parent",
            snapshot.parent.map(|parent| json!(parent.to_hex())),
        ),
        (
            "tags",
            (!snapshot.tags.is_empty()).then(|| json!(snapshot.tags)),
        ),
        (
            "excludes",
            (!snapshot.excludes.is_empty()).then(|| json!(snapshot.excludes)),
        ),
        ("summary", snapshot.summary.as_ref().map(summary_json)),
    ];
    for (name, field) in more {
        if let Some(field) = field {
            value[name] = field;
        }
    }
    value
}

/// What a backup did, as a snapshot has it and as the summary of a backup begins.
pub(crate) fn summary_json(summary: &SnapshotSummary) -> Value {
    json!({
        "backup_start": summary.backup_start.to_string(),
        "backup_end": summary.backup_end.to_string(),
        "files_new": summary.files_new,
        "files_changed": summary.files_changed,
        "files_unmodified": summary.files_unmodified,
        "dirs_new": summary.dirs_new,
        "dirs_changed": summary.dirs_changed,
        "dirs_unmodified": summary.dirs_unmodified,
        "data_blobs": summary.data_blobs,
        "tree_blobs": summary.tree_blobs,
        "data_added": summary.data_added,
        "data_added_packed": summary.data_added_packed,
        "total_files_processed": summary.total_files_processed,
        "total_bytes_processed": summary.total_bytes_processed,
    })
}

/// An entry of a folder.
pub(crate) fn node_json(node: &Node, path: &str) -> Value {
    let mut value = json!({
        "name": String::from_utf8_lossy(&node.name),
        "type": node.kind.as_str(),
        "path": path,
        "uid": node.uid,
        "gid": node.gid,
        "mode": node.go_mode(),
        "permissions": permissions(node),
        "mtime": node.mtime.to_string(),
        "atime": node.atime.to_string(),
        "ctime": node.ctime.to_string(),
        "inode": node.inode,
    });
    if node.kind == NodeKind::File {
        value["size"] = json!(node.size);
    }
    value
}

/// Mode as `ls -l` prints it.
pub(crate) fn permissions(node: &Node) -> String {
    let kind = match node.kind {
        NodeKind::Dir => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::Device => 'b',
        NodeKind::CharDevice => 'c',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        NodeKind::File | NodeKind::Irregular => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, node.mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{permissions, snapshot_json};
    use vault::{Id, Node, NodeKind, Snapshot};

    #[test]
    fn modes_are_written_as_ls_does() {
        for (kind, mode, expected) in [
            (NodeKind::File, 0o644, "-rw-r--r--"),
            (NodeKind::Dir, 0o1777, "drwxrwxrwt"),
            (NodeKind::File, 0o4755, "-rwsr-xr-x"),
            (NodeKind::File, 0o2644, "-rw-r-Sr--"),
            (NodeKind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            let node = Node {
                kind,
                mode,
                ..Node::default()
            };
            assert_eq!(permissions(&node), expected);
        }
    }

    #[test]
    fn snapshots_have_the_fields_of_restic() {
        let snapshot = Snapshot {
            paths: vec!["/a".into()],
            tags: vec!["t".into()],
            ..Snapshot::default()
        };
        let value = snapshot_json(&Id::default(), &snapshot);
        for name in [
            "time", "tree", "paths", "hostname", "id", "short_id", "tags",
        ] {
            assert!(value.get(name).is_some(), "{name}");
        }
        assert!(value.get("parent").is_none());
    }
}

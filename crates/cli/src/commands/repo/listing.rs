//! `repo snapshots` and `repo ls`.

use std::sync::Arc;

use serde_json::{Value, json};
use vault::{Id, Node, NodeKind, Reader, Repository, Snapshot};

use super::{Repo, vault_failure};
use crate::args::{RepoLsArgs, RepoSnapshotsArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Table, bytes, clock, counted, printable};

/// Folders in folders deeper than this are a damaged or hostile tree.
const MAX_DEPTH: usize = 10_000;
/// Lines are printed when they are this much.
const FLUSH_BYTES: usize = 32 * 1024;

/// Lists the snapshots, oldest first, as restic does.
pub(crate) fn snapshots(repo: &Repo<'_>, args: &RepoSnapshotsArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let found = match &args.snapshot {
        Some(pattern) => vec![
            opened
                .find_snapshot(pattern)
                .map_err(|error| vault_failure(&error))?,
        ],
        None => all(repo, &opened)?,
    };
    let matching: Vec<(Id, Snapshot)> = found
        .into_iter()
        .filter(|(_, snapshot)| matches(snapshot, args))
        .collect();
    if repo.options.json {
        let list: Vec<Value> = matching
            .iter()
            .map(|(id, snapshot)| snapshot_json(id, snapshot))
            .collect();
        repo.screen.json(&Value::Array(list));
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("ID"),
        Column::Text("TIME"),
        Column::Flexible("HOST"),
        Column::Flexible("TAGS"),
        Column::Number("SIZE"),
        Column::Path("PATHS"),
    ]);
    for (id, snapshot) in &matching {
        let size = snapshot.summary.as_ref().map_or_else(
            || "-".to_owned(),
            |summary| bytes(summary.total_bytes_processed),
        );
        table.row(vec![
            id.short(),
            clock(snapshot.time.seconds),
            snapshot.hostname.clone(),
            snapshot.tags.join(","),
            size,
            snapshot.paths.join(", "),
        ]);
    }
    repo.screen.text(&table.render(repo.screen));
    repo.say(&counted(matching.len() as u64, "snapshot"));
    Ok(Exit::Done)
}

fn all(repo: &Repo<'_>, opened: &Repository) -> Result<Vec<(Id, Snapshot)>, Failure> {
    let (found, damaged) = opened
        .snapshots_and_damage()
        .map_err(|error| vault_failure(&error))?;
    for (id, error) in damaged {
        repo.warn(&format!(
            "snapshot {id} is left out: {}",
            crate::exit::chain(&error)
        ));
    }
    Ok(found)
}

fn matches(snapshot: &Snapshot, args: &RepoSnapshotsArgs) -> bool {
    args.host
        .as_ref()
        .is_none_or(|host| *host == snapshot.hostname)
        && args.tag.iter().all(|tag| snapshot.tags.contains(tag))
        && args.path.iter().all(|path| snapshot.paths.contains(path))
}

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
        (
            "summary",
            snapshot.summary.as_ref().map(|summary| {
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
            }),
        ),
    ];
    for (name, field) in more {
        if let Some(field) = field {
            value[name] = field;
        }
    }
    value
}

/// Lists what is in a snapshot, folders before what is in them.
pub(crate) fn ls(repo: &Repo<'_>, args: &RepoLsArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let fail = |error| vault_failure(&error);
    let _lock = repo.lock_to_read(&opened)?;
    let (id, snapshot) = opened.find_snapshot(&args.snapshot).map_err(fail)?;
    let index = Arc::new(opened.load_tree_index().map_err(fail)?);
    let reader = Reader::new(opened, index);
    if repo.options.json {
        let mut line = snapshot_json(&id, &snapshot);
        line["message_type"] = json!("snapshot");
        line["struct_type"] = json!("snapshot");
        repo.screen.json(&line);
    } else {
        repo.say(&format!(
            "snapshot {} of {} at {}:",
            id.short(),
            printable(&snapshot.paths.join(", ")),
            clock(snapshot.time.seconds)
        ));
    }
    let wanted = args.path.as_deref().map(path_parts);
    let mut walk = Walk {
        repo,
        reader: &reader,
        wanted: wanted.as_deref(),
        long: args.long,
        found: false,
        text: String::new(),
    };
    let walked = walk.folder(&snapshot.tree, &mut Vec::new());
    walk.flush();
    walked?;
    match (walk.found, &args.path) {
        (false, Some(path)) => Err(Failure::new(
            format!("{path} is not in snapshot {}", id.short()),
            format!("list all of it: strongroom repo ls {}", id.short()),
        )),
        _ => Ok(Exit::Done),
    }
}

fn path_parts(path: &str) -> Vec<Vec<u8>> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(|part| part.as_bytes().to_vec())
        .collect()
}

struct Walk<'a> {
    repo: &'a Repo<'a>,
    reader: &'a Reader,
    wanted: Option<&'a [Vec<u8>]>,
    long: bool,
    found: bool,
    /// Lines that are not printed yet: one write for many.
    text: String,
}

impl Walk<'_> {
    fn folder(&mut self, tree: &Id, path: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
        if path.len() > MAX_DEPTH {
            return Err(Failure::new(
                "the tree of the snapshot is too deep",
                "look at it: strongroom repo check",
            ));
        }
        if self.repo.interrupts.interrupted() {
            return Err(Failure::interrupted("interrupted"));
        }
        let tree = self
            .reader
            .read_tree(tree)
            .map_err(|error| vault_failure(&error))?;
        for node in &tree.nodes {
            if self.repo.screen.reader_is_gone() {
                self.found = true;
                return Ok(());
            }
            path.push(node.name.clone());
            let (inside, towards) = self.relation(path);
            if inside {
                self.found = true;
                self.print(node, path);
            }
            if (inside || towards)
                && let Some(subtree) = &node.subtree
            {
                self.folder(subtree, path)?;
            }
            path.pop();
        }
        Ok(())
    }

    /// Whether a path is the wanted one or below it, and whether it leads there.
    fn relation(&self, path: &[Vec<u8>]) -> (bool, bool) {
        match self.wanted {
            None => (true, true),
            Some(wanted) => (path.starts_with(wanted), wanted.starts_with(path)),
        }
    }

    fn print(&mut self, node: &Node, path: &[Vec<u8>]) {
        let name = format!(
            "/{}",
            path.iter()
                .map(|part| String::from_utf8_lossy(part))
                .collect::<Vec<_>>()
                .join("/")
        );
        let line = if self.repo.options.json {
            node_json(node, &name).to_string()
        } else if self.long {
            long_line(node, &name)
        } else {
            printable(&name)
        };
        self.text.push_str(&line);
        self.text.push('\n');
        if self.text.len() > FLUSH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.repo.screen.text(&self.text);
        self.text.clear();
    }
}

fn long_line(node: &Node, name: &str) -> String {
    let target = match node.kind {
        NodeKind::Symlink => format!(
            " -> {}",
            printable(&String::from_utf8_lossy(&node.link_target))
        ),
        _ => String::new(),
    };
    format!(
        "{} {:>5} {:>5} {:>12} {} {}{target}",
        permissions(node),
        node.uid,
        node.gid,
        node.size,
        clock(node.mtime.seconds),
        printable(name)
    )
}

fn node_json(node: &Node, path: &str) -> Value {
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
        "message_type": "node",
        "struct_type": "node",
    });
    if node.kind == NodeKind::File {
        value["size"] = json!(node.size);
    }
    value
}

/// Mode as `ls -l` prints it.
fn permissions(node: &Node) -> String {
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
    use super::{path_parts, permissions, snapshot_json};
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

    #[test]
    fn paths_are_split() {
        assert_eq!(
            path_parts("/a//b/./c/"),
            [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]
        );
        assert!(path_parts("/").is_empty());
    }
}

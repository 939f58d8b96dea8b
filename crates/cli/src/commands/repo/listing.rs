//! `repo snapshots` and `repo ls`.

use std::sync::Arc;

use serde_json::{Value, json};
use vault::forget::SnapshotFilter;
use vault::{Id, Node, NodeKind, Reader, Repository, Snapshot};

use super::shapes::{node_json, permissions, snapshot_json};
use super::walk::{Lines, Next, Visitor, path_text, walk};
use super::{Repo, vault_failure};
use crate::args::{RepoLsArgs, RepoSnapshotsArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Table, bytes, clock, counted, printable};

/// Lists the snapshots, oldest first, as restic does.
pub(crate) fn snapshots(repo: &Repo<'_>, args: &RepoSnapshotsArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let found = match &args.snapshot {
        Some(pattern) => vec![repo.find_snapshot(&opened, pattern, &filter(args))?],
        None => all(repo, &opened)?,
    };
    let matching: Vec<(Id, Snapshot)> = found
        .into_iter()
        .filter(|(_, snapshot)| filter(args).matches(snapshot))
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

/// All snapshots that can be read, oldest first; the others are told of.
pub(crate) fn all(repo: &Repo<'_>, opened: &Repository) -> Result<Vec<(Id, Snapshot)>, Failure> {
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

fn filter(args: &RepoSnapshotsArgs) -> SnapshotFilter {
    let tags = Some(&args.tag).filter(|tags| !tags.is_empty());
    SnapshotFilter {
        hosts: args.host.iter().cloned().collect(),
        tags: tags.cloned().into_iter().collect(),
        paths: args.path.clone(),
    }
}

/// Lists what is in a snapshot, folders before what is in them.
pub(crate) fn ls(repo: &Repo<'_>, args: &RepoLsArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let fail = |error| vault_failure(&error);
    let _lock = repo.lock_to_read(&opened)?;
    let filter = args.latest.filter(repo.settings.host.as_deref());
    let (id, snapshot) = repo.find_snapshot(&opened, &args.snapshot, &filter)?;
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
    let mut printer = Printer {
        repo,
        wanted: wanted.as_deref(),
        long: args.long,
        found: false,
        text: Lines::new(repo.screen),
    };
    let walked = walk(repo, &reader, &snapshot.tree, Vec::new(), &mut printer);
    printer.text.flush();
    walked?;
    match (printer.found, &args.path) {
        (false, Some(path)) => Err(Failure::new(
            format!("{path} is not in snapshot {}", id.short()),
            format!("list all of it: strongroom repo ls {}", id.short()),
        )),
        _ => Ok(Exit::Done),
    }
}

/// The names of a path as it is typed.
pub(crate) fn path_parts(path: &str) -> Vec<Vec<u8>> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(|part| part.as_bytes().to_vec())
        .collect()
}

/// Prints what is wanted of a walk.
struct Printer<'a> {
    repo: &'a Repo<'a>,
    wanted: Option<&'a [Vec<u8>]>,
    long: bool,
    found: bool,
    text: Lines<'a>,
}

impl Visitor for Printer<'_> {
    fn visit(&mut self, node: &Node, path: &[Vec<u8>]) -> Result<Next, Failure> {
        if self.repo.screen.reader_is_gone() {
            self.found = true;
            return Ok(Next::End);
        }
        let (inside, towards) = self.relation(path);
        if inside {
            self.found = true;
            self.print(node, &path_text(path));
        }
        Ok(match inside || towards {
            true => Next::Below,
            false => Next::Beside,
        })
    }
}

impl Printer<'_> {
    /// Whether a path is the wanted one or below it, and whether it leads there.
    fn relation(&self, path: &[Vec<u8>]) -> (bool, bool) {
        match self.wanted {
            None => (true, true),
            Some(wanted) => (path.starts_with(wanted), wanted.starts_with(path)),
        }
    }

    fn print(&mut self, node: &Node, name: &str) {
        let line = if self.repo.options.json {
            let mut line = node_json(node, name);
            line["message_type"] = json!("node");
            line["struct_type"] = json!("node");
            line.to_string()
        } else if self.long {
            long_line(node, name)
        } else {
            printable(name)
        };
        self.text.push(&line);
    }
}

/// An entry as `ls -l` prints it.
pub(crate) fn long_line(node: &Node, name: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::path_parts;

    #[test]
    fn paths_are_split() {
        assert_eq!(
            path_parts("/a//b/./c/"),
            [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]
        );
        assert!(path_parts("/").is_empty());
    }
}

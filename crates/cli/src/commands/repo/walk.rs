//! A walk through a snapshot, and lines that are printed many at a time.

use std::ops::ControlFlow;

use vault::{Id, Node, Reader};

use super::{Repo, vault_failure};
use crate::exit::Failure;
use crate::output::Screen;

/// Folders in folders deeper than this are a damaged or hostile tree.
const MAX_DEPTH: usize = 10_000;
/// Lines are printed when they are this much.
const FLUSH_BYTES: usize = 32 * 1024;

/// Where a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// With what is in the entry, if it is a folder.
    Below,
    /// With the entry after it.
    Beside,
    /// Nowhere.
    End,
}

/// Who is led through a snapshot.
pub(crate) trait Visitor {
    /// Gets an entry, and the names that lead to it, its own the last.
    fn visit(&mut self, node: &Node, path: &[Vec<u8>]) -> Result<Next, Failure>;

    /// Gets a folder that was looked into to its end.
    fn leave(&mut self, _subtree: &Id) {}
}

/// Leads through a tree that lies at this path of the snapshot, folders before what is in them.
pub(crate) fn walk(
    repo: &Repo<'_>,
    reader: &Reader,
    tree: &Id,
    mut path: Vec<Vec<u8>>,
    visitor: &mut dyn Visitor,
) -> Result<(), Failure> {
    folder(repo, reader, tree, &mut path, visitor).map(|_| ())
}

fn folder(
    repo: &Repo<'_>,
    reader: &Reader,
    tree: &Id,
    path: &mut Vec<Vec<u8>>,
    visitor: &mut dyn Visitor,
) -> Result<ControlFlow<()>, Failure> {
    if path.len() > MAX_DEPTH {
        return Err(Failure::new(
            "the tree of the snapshot is too deep",
            "look at it: strongroom repo check",
        ));
    }
    if repo.interrupts.interrupted() {
        return Err(Failure::interrupted("interrupted"));
    }
    let tree = reader
        .read_tree(tree)
        .map_err(|error| vault_failure(&error))?;
    for node in &tree.nodes {
        path.push(node.name.clone());
        match (visitor.visit(node, path)?, &node.subtree) {
            (Next::End, _) => return Ok(ControlFlow::Break(())),
            (Next::Below, Some(subtree)) => {
                if folder(repo, reader, subtree, path, visitor)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                visitor.leave(subtree);
            }
            (Next::Below | Next::Beside, _) => {}
        }
        path.pop();
    }
    Ok(ControlFlow::Continue(()))
}

/// A path for a person.
pub(crate) fn path_text(path: &[Vec<u8>]) -> String {
    let names: Vec<_> = path
        .iter()
        .map(|name| String::from_utf8_lossy(name))
        .collect();
    format!("/{}", names.join("/"))
}

/// Text on its way to standard output: one write for many lines.
pub(crate) struct Lines<'a> {
    screen: &'a Screen,
    text: String,
}

impl<'a> Lines<'a> {
    /// None yet.
    pub(crate) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            text: String::new(),
        }
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.push_part("\n");
    }

    /// Adds a part of a line.
    pub(crate) fn push_part(&mut self, part: &str) {
        self.text.push_str(part);
        if self.text.len() > FLUSH_BYTES {
            self.flush();
        }
    }

    /// Prints what is there.
    pub(crate) fn flush(&mut self) {
        self.screen.text(&self.text);
        self.text.clear();
    }
}

//! Counts what a backup will read, beside it, so that progress has a total. Nothing depends on the figures.

use std::sync::Arc;

use source::file::dir::Dir;
use source::file::listing::{Below, Entry, FileSource, Scope};
use source::file::path::push_component;
use source::file::roots::RootTree;
use source::file::stat::FileKind;

use crate::progress::Tally;

/// Walks all paths of a job until done or told to end.
pub(crate) struct Scan<'s> {
    pub(crate) source: &'s FileSource,
    pub(crate) tally: &'s Tally,
    pub(crate) is_over: &'s (dyn Fn() -> bool + Sync),
}

/// A folder that is still to be listed.
struct Waiting {
    parent: Arc<Dir>,
    name: Box<[u8]>,
    below: Below,
}

impl Scan<'_> {
    pub(crate) fn run(&self) {
        let mut waiting = Vec::new();
        if self.source.roots().is_target {
            if let Ok(Some((dir, scope))) = self.source.enter_root() {
                self.list(Arc::new(dir), scope, &mut waiting);
            }
        } else {
            self.add_ways(self.source.roots(), &mut waiting);
        }
        while let Some(Waiting {
            parent,
            name,
            below,
        }) = waiting.pop()
        {
            if (self.is_over)() {
                return;
            }
            // Errors are found and told by the backup itself.
            if let Ok(Some((dir, scope))) = self.source.enter(&parent, &name, below) {
                drop(parent);
                self.list(Arc::new(dir), scope, &mut waiting);
            }
        }
    }

    fn add_ways(&self, roots: &RootTree, waiting: &mut Vec<Waiting>) {
        let mut ways = vec![(roots, b"/".to_vec())];
        while let Some((way, path)) = ways.pop() {
            let Ok(dir) = self.source.open_way(&path).map(Arc::new) else {
                continue;
            };
            for (name, child) in &way.children {
                if child.is_target {
                    if let Ok(Some(entry)) = self.source.target_entry(&dir, name) {
                        self.add(&dir, entry, waiting);
                    }
                } else {
                    self.tally.items_total.add(1);
                    let mut path = path.clone();
                    push_component(&mut path, name);
                    ways.push((child, path));
                }
            }
        }
    }

    fn list(&self, dir: Arc<Dir>, scope: Scope, waiting: &mut Vec<Waiting>) {
        for entry in self.source.list(&dir, scope).entries {
            self.add(&dir, entry, waiting);
        }
        dir.rest();
    }

    fn add(&self, dir: &Arc<Dir>, entry: Entry, waiting: &mut Vec<Waiting>) {
        self.tally.items_total.add(1);
        if entry.stat.kind == FileKind::File {
            self.tally.files_total.add(1);
            self.tally.bytes_total.add(entry.stat.size_bytes);
        }
        if entry.below != Below::Nothing {
            waiting.push(Waiting {
                parent: Arc::clone(dir),
                name: entry.name,
                below: entry.below,
            });
        }
    }
}

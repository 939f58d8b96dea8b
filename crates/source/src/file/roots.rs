//! The paths of a job as one tree, so that several of them share the folders that lead to them.

use std::collections::BTreeMap;

use super::path::{components, push_component};

/// A folder that leads to a path of the job, or the path itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RootTree {
    /// The path of the job ends here: everything below belongs to it.
    pub is_target: bool,
    /// What lies below, by name; empty for a target.
    pub children: BTreeMap<Vec<u8>, RootTree>,
}

impl RootTree {
    /// Merges absolute paths; one that lies inside another is covered by it.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p [u8]>) -> RootTree {
        let mut root = RootTree::default();
        for path in paths {
            root.add(&components(path));
        }
        root
    }

    /// The paths of all folders that lead to a path of the job, `/` left out.
    pub fn ways(&self) -> Vec<Vec<u8>> {
        let mut ways = Vec::new();
        let mut waiting = vec![(self, vec![b'/'])];
        while let Some((way, path)) = waiting.pop() {
            for (name, child) in way.children.iter().filter(|(_, child)| !child.is_target) {
                let mut path = path.clone();
                push_component(&mut path, name);
                ways.push(path.clone());
                waiting.push((child, path));
            }
        }
        ways
    }

    fn add(&mut self, parts: &[&[u8]]) {
        let mut at = self;
        for part in parts {
            if at.is_target {
                return;
            }
            at = at.children.entry(part.to_vec()).or_default();
        }
        at.is_target = true;
        at.children.clear();
    }
}

impl Drop for RootTree {
    fn drop(&mut self) {
        // A path may have more components than a thread's stack has room for calls.
        let mut waiting = vec![std::mem::take(&mut self.children)];
        while let Some(children) = waiting.pop() {
            waiting.extend(
                children
                    .into_values()
                    .map(|mut child| std::mem::take(&mut child.children)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn paths_merge() {
        let check = |paths: &[&str], expected: &str| {
            let tree = RootTree::new(paths.iter().map(|path| path.as_bytes()));
            assert_eq!(show(&tree), expected, "{paths:?}");
        };
        check(&["/a/b"], "a(b!)");
        check(&["/a/b", "/a/c/", "/d"], "a(b!c!)d!");
        check(&["/a", "/a/b"], "a!");
        check(&["/a/b", "/a"], "a!");
        check(&["/"], "!");
        check(&["/a", "/"], "!");
    }

    #[test]
    fn ways_lead_to_targets() {
        let paths: [&[u8]; 3] = [b"/a/b/c", b"/a/d", b"/e"];
        let mut ways = RootTree::new(paths).ways();
        ways.sort_unstable();
        assert_eq!(ways, [b"/a".to_vec(), b"/a/b".to_vec()]);
        assert!(RootTree::new([b"/".as_slice()]).ways().is_empty());
    }

    #[test]
    fn a_path_of_very_many_components_needs_no_stack() {
        let path = b"/a".repeat(200_000);
        let tree = RootTree::new([path.as_slice(), b"/b"]);
        assert_eq!(tree.children.len(), 2);
        drop(tree);
        let path = b"/a".repeat(1000);
        assert_eq!(RootTree::new([path.as_slice()]).ways().len(), 999);
    }

    fn show(tree: &RootTree) -> String {
        let children: String = tree
            .children
            .iter()
            .map(|(name, child)| {
                let inner = show(child);
                let name = String::from_utf8_lossy(name);
                if child.is_target {
                    format!("{name}{inner}")
                } else {
                    format!("{name}({inner})")
                }
            })
            .collect();
        if tree.is_target {
            format!("!{children}")
        } else {
            children
        }
    }
}

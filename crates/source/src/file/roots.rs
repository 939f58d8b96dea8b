//! The paths of a job as one tree, so that several of them share the folders that lead to them.

use std::collections::BTreeMap;

use super::path::components;

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

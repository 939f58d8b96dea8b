//! How two trees differ.
//!
//! Owns the meaning of "restored as it was".

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::manifest::{self, Entry, Manifest};

/// What a comparison looks at beyond content and metadata.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompareOptions {
    /// Files with large holes must have holes in the copy too.
    pub holes: bool,
    /// Leave out the metadata of the roots themselves: a restore target that was there before.
    pub skip_root: bool,
}

/// Lists the differences of the tree `found` from the tree `expected`, one sentence each; none means the same.
///
/// # Errors
/// When one of the trees cannot be read.
pub fn trees(expected: &Path, found: &Path, options: CompareOptions) -> io::Result<Vec<String>> {
    Ok(manifests(
        &manifest::read(expected)?,
        &manifest::read(found)?,
        options,
    ))
}

/// Lists the differences of two manifests that were read before.
#[must_use]
pub fn manifests(expected: &Manifest, found: &Manifest, options: CompareOptions) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, entry) in expected {
        let name = if path.is_empty() {
            "the root".to_owned()
        } else {
            path.escape_ascii().to_string()
        };
        match found.get(path) {
            _ if options.skip_root && path.is_empty() => {}
            None => differences.push(format!("{name}: is missing")),
            Some(other) => entries(&name, entry, other, options, &mut differences),
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{}: is not expected", path.escape_ascii()));
    }
    differences
}

fn entries(
    name: &str,
    expected: &Entry,
    found: &Entry,
    options: CompareOptions,
    differences: &mut Vec<String>,
) {
    let mut differ = |what: &str, expected: &dyn Display, found: &dyn Display, same: bool| {
        if !same {
            differences.push(format!("{name}: {what} is {found}, expected {expected}"));
        }
    };
    differ(
        "kind",
        &expected.kind,
        &found.kind,
        expected.kind == found.kind,
    );
    let (mode, other) = (
        format!("{:04o}", expected.mode),
        format!("{:04o}", found.mode),
    );
    differ("mode", &mode, &other, mode == other);
    let mut debug = |what: &str, expected: String, found: String| {
        differ(what, &expected, &found, expected == found)
    };
    debug(
        "owner",
        format!("{:?}", expected.owner),
        format!("{:?}", found.owner),
    );
    debug(
        "modification time",
        format!("{:?}", expected.modified),
        format!("{:?}", found.modified),
    );
    debug(
        "length",
        expected.length_bytes.to_string(),
        found.length_bytes.to_string(),
    );
    debug(
        "content",
        format!("{:016x}", expected.content_hash),
        format!("{:016x}", found.content_hash),
    );
    debug(
        "link target",
        ascii(&expected.link_target),
        ascii(&found.link_target),
    );
    debug(
        "device",
        expected.device.to_string(),
        found.device.to_string(),
    );
    debug("first name", names(expected), names(found));
    debug(
        "extended attributes",
        attributes(expected),
        attributes(found),
    );
    if options.holes && has_hole(expected) && !has_hole(found) {
        differences.push(format!(
            "{name}: has no holes, {} bytes are allocated",
            found.allocated_bytes
        ));
    }
}

/// Half of the file or more is not on disk.
fn has_hole(entry: &Entry) -> bool {
    entry.allocated_bytes.saturating_mul(2) < entry.length_bytes
}

fn names(entry: &Entry) -> String {
    entry
        .first_name
        .as_deref()
        .map_or_else(|| "its own".to_owned(), ascii)
}

fn attributes(entry: &Entry) -> String {
    let all: Vec<String> = entry
        .attributes
        .iter()
        .map(|(name, value)| format!("{}={}", ascii(name), ascii(value)))
        .collect();
    all.join(" ")
}

fn ascii(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::{deep, tree};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    type Change<'change> = &'change dyn Fn(&Path);

    const ALL: CompareOptions = CompareOptions {
        holes: true,
        skip_root: false,
    };

    fn small() -> tree::TreeOptions {
        tree::TreeOptions {
            big_file_bytes: 100_000,
            ..tree::TreeOptions::default()
        }
    }

    #[test]
    fn two_builds_and_a_copy_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, copy) = (
            folder.path().join("one"),
            folder.path().join("two"),
            folder.path().join("copy"),
        );
        tree::build(&one, small()).unwrap();
        tree::build(&two, small()).unwrap();
        assert_eq!(trees(&one, &two, ALL).unwrap(), Vec::<String>::new());
        let status = Command::new("cp")
            .arg("-a")
            .arg(&one)
            .arg(&copy)
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(trees(&one, &copy, ALL).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn each_property_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        tree::build(&one, small()).unwrap();
        let changes: [(&str, Change<'_>); 9] = [
            ("plain/bytes-511: content", &|root| {
                flip(&root.join("plain/bytes-511"))
            }),
            ("plain/bytes-1: is missing", &|root| {
                fs::remove_file(root.join("plain/bytes-1")).unwrap()
            }),
            ("extra: is not expected", &|root| {
                fs::write(root.join("extra"), "").unwrap()
            }),
            ("modes/file-0644: mode", &|root| {
                fs::set_permissions(
                    root.join("modes/file-0644"),
                    fs::Permissions::from_mode(0o600),
                )
                .unwrap();
            }),
            ("attributes/user: extended attributes", &|root| {
                xattr::remove(root.join("attributes/user"), "user.text").unwrap()
            }),
            ("attributes/access-list: extended attributes", &|root| {
                xattr::remove(
                    root.join("attributes/access-list"),
                    "system.posix_acl_access",
                )
                .unwrap();
            }),
            ("links/second: first name", &|root| {
                fs::remove_file(root.join("links/second")).unwrap();
                fs::copy(root.join("links/first"), root.join("links/second")).unwrap();
            }),
            ("sparse/hole-only: has no holes", &|root| {
                fs::write(root.join("sparse/hole-only"), vec![0; 32 << 20]).unwrap()
            }),
            ("links/relative: kind", &|root| {
                fs::remove_file(root.join("links/relative")).unwrap();
                fs::write(root.join("links/relative"), "").unwrap();
            }),
        ];
        for (expected, change) in changes {
            tree::build(&two, small()).unwrap();
            change(&two);
            let differences = trees(&one, &two, ALL).unwrap();
            assert!(
                differences.iter().any(|line| line.starts_with(expected)),
                "{expected}: {differences:?}"
            );
            fs::remove_dir_all(&two).unwrap();
        }
    }

    fn flip(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        bytes[100] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn deep_trees_are_read_to_the_bottom() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("deep");
        deep::build(&root, 5000).unwrap();
        let all = manifest::read(&root).unwrap();
        let longest = all.keys().max_by_key(|path| path.len()).unwrap();
        assert!(longest.len() > 5000 && longest.ends_with(b"/bottom"));
    }
}

//! Paths as people type them, made absolute.
//!
//! `~` and `~/…` are the home folder (the shell does this for `--protect ~/x`, but not for `--path=~/x`). A relative path
//! is taken from the working folder; `.` and `..` are removed as written. Symbolic links are not resolved, neither in
//! the last component nor before: what is protected is the path that was typed. A link that is itself protected is
//! backed up as a link; write it with a slash at its end (or name its target) to protect what it points to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::exit::Failure;

/// The absolute form of a path.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let working_folder = std::env::current_dir();
    let base = match &working_folder {
        Ok(folder) => folder.as_path(),
        Err(_) if path.is_absolute() || path.starts_with("~") => Path::new("/"),
        Err(error) => {
            return Err(Failure::new(
                format!("cannot find the working folder: {error}"),
                "use absolute paths",
            ));
        }
    };
    absolute_from(path, base, home().as_deref())
}

fn absolute_from(path: &Path, base: &Path, home: Option<&Path>) -> Result<PathBuf, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::usage("a path is empty", "name a file or a folder"));
    }
    let whole = match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_), None) => {
            return Err(Failure::new(
                "cannot find the home folder for ~",
                "set HOME or use absolute paths",
            ));
        }
        (Err(_), _) => base.join(path),
    };
    let through_link = path.as_os_str().as_bytes().ends_with(b"/") && whole.is_symlink_named();
    let whole = if through_link {
        std::fs::canonicalize(&whole).unwrap_or(whole)
    } else {
        whole
    };
    Ok(without_dots(&whole))
}

trait SymlinkNamed {
    fn is_symlink_named(&self) -> bool;
}

impl SymlinkNamed for PathBuf {
    /// True if the last component, without a slash at its end, is a symbolic link.
    fn is_symlink_named(&self) -> bool {
        let bytes = self.as_os_str().as_bytes();
        let trimmed = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == b'/').count();
        let name = Path::new(OsStr::from_bytes(&bytes[..trimmed]));
        std::fs::symlink_metadata(name).is_ok_and(|meta| meta.file_type().is_symlink())
    }
}

fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// The home folder of the user.
fn home() -> Option<PathBuf> {
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
}

/// The data directory if none is given: `$XDG_DATA_HOME/strongroom` or `~/.local/share/strongroom`.
pub(crate) fn default_data_dir() -> Result<PathBuf, Failure> {
    let xdg = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    match (xdg, home()) {
        (Some(xdg), _) => Ok(xdg.join("strongroom")),
        (None, Some(home)) => Ok(home.join(".local/share/strongroom")),
        (None, None) => Err(Failure::new(
            "cannot find a place for the data directory",
            "set HOME or use --data-dir",
        )),
    }
}

/// The path with all symbolic links resolved, as far as it exists; the rest as written.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = std::fs::canonicalize(existing) {
            return missing
                .iter()
                .rev()
                .fold(real, |whole, name: &&OsStr| whole.join(name));
        }
        match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                existing = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{absolute_from, resolved};
    use std::path::Path;

    fn check(input: &str, expected: &str) {
        let path = absolute_from(
            Path::new(input),
            Path::new("/here"),
            Some(Path::new("/home/ann")),
        )
        .unwrap();
        assert_eq!(path, Path::new(expected), "{input}");
    }

    #[test]
    fn paths_become_absolute() {
        for (input, expected) in [
            ("a", "/here/a"),
            ("./a/../b/", "/here/b"),
            ("../../..", "/"),
            ("/x//y/.", "/x/y"),
            ("~", "/home/ann"),
            ("~/Documents", "/home/ann/Documents"),
            ("~bob/x", "/here/~bob/x"),
            ("a~", "/here/a~"),
        ] {
            check(input, expected);
        }
        assert!(absolute_from(Path::new(""), Path::new("/"), None).is_err());
        assert!(absolute_from(Path::new("~"), Path::new("/"), None).is_err());
    }

    #[test]
    fn links_stay_links_unless_a_slash_follows() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let plain = absolute_from(Path::new("link"), &root, None).unwrap();
        assert_eq!(plain, root.join("link"));
        let through = absolute_from(Path::new("link/"), &root, None).unwrap();
        assert_eq!(through, root.join("real"));
    }

    #[test]
    fn resolves_what_exists_and_keeps_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::os::unix::fs::symlink(&root, root.join("self")).unwrap();
        assert_eq!(
            resolved(&root.join("self/self/new/deep")),
            root.join("new/deep")
        );
    }
}

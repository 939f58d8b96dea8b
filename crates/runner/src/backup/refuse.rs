//! Paths that a backup must not take: those inside a vault, a cache or the data directory.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::names::LONGEST_PATH_BYTES;
use source::file::path::{components, push_component};
use source::file::stat::DevIno;

use crate::error::RunError;

/// The paths as absolute bytes without `.`, `..` and double slashes.
pub(super) fn absolute_paths(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, RunError> {
    if paths.is_empty() {
        return Err(RunError::NoPath);
    }
    let mut absolute: Vec<Vec<u8>> = Vec::new();
    for path in paths {
        if path.as_os_str().is_empty() {
            return Err(RunError::NoPath);
        }
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let mut cleaned = vec![b'/'];
        for part in components(&whole.into_os_string().into_vec()) {
            push_component(&mut cleaned, part);
        }
        if cleaned.len() > LONGEST_PATH_BYTES {
            return Err(RunError::PathTooLong {
                length_bytes: cleaned.len(),
            });
        }
        if !absolute.contains(&cleaned) {
            absolute.push(cleaned);
        }
    }
    Ok(absolute)
}

/// The device and inode of a folder.
pub(super) fn identity(path: &Path) -> Option<DevIno> {
    std::fs::metadata(path).ok().map(|meta| DevIno {
        device: meta.dev(),
        inode: meta.ino(),
    })
}

/// Refuses a path that is, or lies in, one of the folders; by its own name and by where its links really lead.
pub(super) fn refuse_inside(paths: &[Vec<u8>], folders: &[DevIno]) -> Result<(), RunError> {
    for path in paths {
        let path = Path::new(OsStr::from_bytes(path));
        let real = std::fs::canonicalize(path).ok();
        let is_inside = |path: &Path| {
            path.ancestors()
                .any(|at| identity(at).is_some_and(|id| folders.contains(&id)))
        };
        if is_inside(path) || real.as_deref().is_some_and(is_inside) {
            return Err(RunError::SourceInsideVault {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn paths_become_absolute_and_clean() {
        let check = |input: &str, expected: &str| {
            assert_eq!(
                absolute_paths(&[input.into()]).unwrap(),
                [expected.as_bytes()],
                "{input}"
            );
        };
        check("/a//b/../c/", "/a/c");
        check("/", "/");
        let here = std::env::current_dir().unwrap();
        check("x", here.join("x").to_str().unwrap());
        assert!(matches!(absolute_paths(&[]), Err(RunError::NoPath)));
        assert_eq!(
            absolute_paths(&["/a".into(), "/a/".into()]).unwrap().len(),
            1
        );
        assert!(absolute_paths(&["/a".repeat(2048).into()]).is_ok());
        assert!(matches!(
            absolute_paths(&["/a".into(), "/a".repeat(16_000).into()]),
            Err(RunError::PathTooLong {
                length_bytes: 32_000
            })
        ));
    }

    #[test]
    fn the_folder_itself_what_is_in_it_and_links_to_it_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let vault = temp.path().join("vault");
        std::fs::create_dir_all(vault.join("data")).unwrap();
        std::os::unix::fs::symlink(&vault, temp.path().join("link")).unwrap();
        let folders = [identity(&vault).unwrap()];
        let check = |path: PathBuf, expected: bool| {
            let paths = absolute_paths(std::slice::from_ref(&path)).unwrap();
            assert_eq!(
                refuse_inside(&paths, &folders).is_err(),
                expected,
                "{}",
                path.display()
            );
        };
        check(vault.clone(), true);
        check(vault.join("data"), true);
        check(temp.path().join("link"), true);
        check(temp.path().join("link/data"), true);
        check(temp.path().to_owned(), false);
        check(temp.path().join("missing"), false);
    }
}

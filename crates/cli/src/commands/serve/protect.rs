//! What may be protected: checked before anything starts.

use std::path::{Path, PathBuf};

use crate::commands::plan::api_path;
use crate::exit::Failure;
use crate::paths;

/// A path to protect, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protected {
    /// Absolute, as the plan has it.
    pub(crate) path: String,
}

/// Checks all paths. Same paths count once; a missing one, or one inside the data directory, is refused.
pub(crate) fn check(typed: &[PathBuf], data_dir: &Path) -> Result<Vec<Protected>, Failure> {
    let data_dir = paths::resolved(data_dir);
    let mut found: Vec<Protected> = Vec::new();
    for path in typed {
        let absolute = paths::absolute(path)?;
        std::fs::symlink_metadata(&absolute).map_err(|error| {
            Failure::new(
                format!("cannot protect {}: {error}", absolute.display()),
                "name a file or a folder that exists and that you can read",
            )
        })?;
        if paths::resolved(&absolute).starts_with(&data_dir) {
            return Err(Failure::new(
                format!(
                    "cannot protect {}: it is, or lies in, the data directory {}",
                    absolute.display(),
                    data_dir.display()
                ),
                "protect other folders; a folder around the data directory is fine, the data directory is left out of it",
            ));
        }
        let protected = Protected {
            path: api_path(&absolute)?,
        };
        if !found.contains(&protected) {
            found.push(protected);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::check;
    use std::path::Path;

    fn refused(path: &Path, data_dir: &Path) -> String {
        check(&[path.to_owned()], data_dir).unwrap_err().what
    }

    #[test]
    fn the_data_directory_is_refused_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        let data_dir = root.join("data");
        std::fs::create_dir_all(data_dir.join("vaults")).unwrap();
        std::os::unix::fs::symlink(&data_dir, root.join("link")).unwrap();
        for path in [
            data_dir.clone(),
            data_dir.join("vaults"),
            root.join("link/vaults"),
            root.join("link/"),
        ] {
            assert!(
                refused(&path, &data_dir).contains("the data directory"),
                "{}",
                path.display()
            );
        }
        // By the link's name as the data directory too.
        assert!(refused(&data_dir, &root.join("link")).contains("the data directory"));
    }

    #[test]
    fn folders_around_and_beside_are_fine_and_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(root.join("data-beside")).unwrap();
        let typed = [
            root.clone(),
            root.join("data-beside"),
            root.join("./data-beside/"),
        ];
        let found = check(&typed, &root.join("data")).unwrap();
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn missing_paths_are_refused() {
        assert!(
            refused(Path::new("/nonexistent/x"), Path::new("/tmp/data")).contains("No such file")
        );
    }
}

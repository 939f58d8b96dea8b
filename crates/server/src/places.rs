//! Where vaults lie: checks of the storage that an operator names, and who else is there.

use std::path::{Component, Path, PathBuf};

use api::error::ApiError;
use catalog::vaults::VaultFilter;
use catalog::{PageRequest, Vault, vaults};
use model::{AccountId, VaultId};

use crate::failure;
use crate::service::Service;

/// Longest storage URL.
const MAX_URL_BYTES: usize = 1024;

/// A checked storage URL of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    url: String,
    folder: PathBuf,
}

impl Place {
    /// The usual place of a vault.
    pub(crate) fn inside(vaults_dir: &Path, vault_id: &VaultId) -> Self {
        let folder = vaults_dir.join(vault_id.as_str());
        Self {
            url: folder.to_string_lossy().into_owned(),
            folder,
        }
    }

    /// Checks a URL: of a kind that the storage crate opens, absolute, without `..`. The error is for the caller.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.len() > MAX_URL_BYTES || url.chars().any(char::is_control) {
            return Err("it is too long or holds control characters".to_owned());
        }
        storage::open(url).map_err(|error| error.to_string())?;
        let folder = folder_of(url);
        if !folder.is_absolute() {
            return Err("it must be an absolute path, or file:// and an absolute path".to_owned());
        }
        if folder.components().any(|part| part == Component::ParentDir) || folder.parent().is_none()
        {
            return Err("it must not hold `..`, nor be the root of the file system".to_owned());
        }
        Ok(Self {
            url: url.to_owned(),
            folder,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// True if one of the two lies in the other.
    pub(crate) fn touches(&self, url: &str) -> bool {
        self.touches_folder(&folder_of(url))
    }

    /// True if it lies in the folder, or is it. Links are followed as far as folders exist.
    pub(crate) fn lies_in(&self, folder: &Path) -> bool {
        resolve(&self.folder).starts_with(resolve(folder))
    }

    /// True if one of the two lies in the other. Links are followed as far as folders exist.
    pub(crate) fn touches_folder(&self, folder: &Path) -> bool {
        let (mine, other) = (resolve(&self.folder), resolve(folder));
        mine.starts_with(&other) || other.starts_with(&mine)
    }
}

/// The path in a URL of a folder.
pub(crate) fn folder_of(url: &str) -> PathBuf {
    let path = url
        .strip_prefix("file://")
        .or_else(|| url.strip_prefix("local:"))
        .unwrap_or(url);
    PathBuf::from(path)
}

/// Follows links in the part of a path that exists.
fn resolve(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path.to_owned()
}

/// All vaults of an account; there are at most a hundred.
pub(crate) fn all_vaults(service: &Service, account: &AccountId) -> Result<Vec<Vault>, ApiError> {
    let page = PageRequest::first(vaults::MAX_VAULTS);
    let found = vaults::list(&service.catalog, account, &VaultFilter::default(), page);
    Ok(found.map_err(failure::of_catalog)?.rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Place;

    #[test]
    fn storage_urls() {
        for url in [
            "/mnt/backup",
            "file:///mnt/backup",
            "local:/mnt/backup",
            "/mnt/backup/",
        ] {
            assert!(Place::parse(url).is_ok(), "{url}");
        }
        for url in [
            "backup",
            "../x",
            "/mnt/../etc",
            "/",
            "s3:bucket",
            "",
            "file://",
            "local:x",
            "/a\nb",
        ] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn places_that_touch() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let place = Place::parse(real.join("vault").to_str().unwrap()).unwrap();
        let touches = |path: &std::path::Path| place.touches(&format!("file://{}", path.display()));
        assert!(touches(&real.join("vault")));
        assert!(touches(&real.join("vault/inner")));
        assert!(touches(&real));
        assert!(touches(&link.join("vault")));
        assert!(!touches(&real.join("vault2")));
        assert!(!touches(&temp.path().join("other")));
    }
}

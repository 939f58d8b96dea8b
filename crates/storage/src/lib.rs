//! Named bytes: put, get, range, list, delete.
//!
//! This crate owns the way bytes reach a disk (or another store) and come back. It never knows what the bytes mean:
//! packs, locks and jobs are words of the crates above. It is also the only place that decides on a retry.
//!
//! In reading order:
//! - `error`: the closed list of error kinds that callers may act on.
//! - `name`: which names are legal.
//! - `local`: a folder of a local (or mounted) file system, durable on return.
//! - `memory`: a map, for tests.
//! - `process`: who left something behind in a storage, and whether he is dead.
//! - `retry`, `record`, `faulty`, `stoppable`, `dry_run`: wrappers, each one storage around another.
//!
//! The promise of [`Storage::put`] carries the whole house: when it returns `Ok`, the bytes are there after a power cut,
//! and at no moment can a reader see a part of them under that name.

mod dry_run;
mod error;
mod faulty;
mod local;
mod memory;
mod name;
pub mod process;
mod record;
mod retry;
mod stoppable;

use std::path::Path;
use std::sync::Arc;

pub use dry_run::DryRun;
pub use error::{ErrorKind, Operation, StorageError};
pub use faulty::{Fault, Faulty};
pub use local::LocalFolder;
pub use memory::Memory;
pub use name::check_name;
pub use record::{Call, Record};
pub use retry::{Retry, RetryPolicy};
pub use stoppable::{IsStopped, Stoppable};

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name relative to the root of the storage, as [`Storage::get`] takes it.
    pub name: String,
    /// The stored size.
    pub size_bytes: u64,
}

/// A place that keeps bytes under names such as `data/ab/abcd…`.
///
/// All methods may be called from many threads at once.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// The place in words, for messages. Never holds a secret.
    fn location(&self) -> String;

    /// Stores `bytes` under a new name.
    ///
    /// On `Ok` the content and the name are durable. A name that exists with the same content is `Ok` too, so that a
    /// put of unknown outcome may be repeated; with other content the error kind is [`ErrorKind::AlreadyExists`] and
    /// the old content stays.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// The whole content, whatever that takes of memory: for what the caller knows to be small.
    fn get(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        self.get_at_most(name, u64::MAX)
    }

    /// The whole content, unless it has more than `limit_bytes`: then the kind is [`ErrorKind::Corrupt`] and no memory
    /// was taken for it. What lies under a name may be anything by now, also a file of any size.
    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError>;

    /// Exactly `length_bytes` bytes from `offset`. When the stored file is shorter the kind is [`ErrorKind::Corrupt`].
    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError>;

    /// The stored size in bytes.
    fn size(&self, name: &str) -> Result<u64, StorageError>;

    /// Every file below `folder` at any depth, sorted by name; the empty string lists everything. A folder that does
    /// not exist inside an existing storage is empty; a storage that does not exist is [`ErrorKind::NotFound`], so
    /// that a lost mount never looks like an empty vault.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError>;

    /// Removes a file. One that is not there is [`ErrorKind::NotFound`].
    fn delete(&self, name: &str) -> Result<(), StorageError>;

    /// Makes the storage itself when it is missing, and folders ahead of the files that will lie in them, durably; what
    /// exists is left alone. A put makes the folders that it needs, but never the storage: a lost mount must not look
    /// like a place for a new vault. A store without folders has nothing to do.
    fn create_folders(&self, _folders: &[String]) -> Result<(), StorageError> {
        Ok(())
    }

    /// Begins a file that is written piece by piece and named at its end, when its hash is known. `None` from a store
    /// that takes whole files only: the caller keeps the pieces and puts them.
    fn begin(&self) -> Result<Option<Box<dyn Upload>>, StorageError> {
        Ok(None)
    }

    /// Makes durable the names that are in these folders now, whoever put them there; the empty string is the root.
    ///
    /// Needed before something refers to a file that this process found and did not put: who put it may have been
    /// killed before its name was durable. A folder that is not there is passed over. A store whose puts become
    /// visible and durable at once has nothing to do.
    fn sync_folders(&self, _folders: &[String]) -> Result<(), StorageError> {
        Ok(())
    }

    /// The folder on this host, so that sources can leave it out by device and inode.
    fn local_root(&self) -> Option<&Path> {
        None
    }
}

/// A file on its way into a storage, see [`Storage::begin`]. Dropped before its end, it leaves nothing.
pub trait Upload: Send + std::fmt::Debug {
    /// Appends. After an error the upload is to be dropped.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Gives it its name, with the promises and the errors of [`Storage::put`].
    fn finish(self: Box<Self>, name: &str) -> Result<(), StorageError>;
}

/// Opens a storage by its URL: `/path`, `file:///path` or `local:/path`. Failures that may pass are tried again within
/// the bounds of [`RetryPolicy::default`].
///
/// Nothing is read or created yet. Other schemes (`s3:`, `oss:`, `rest:` and so on) are answered by an error of kind
/// [`ErrorKind::Other`] that says so.
pub fn open(url: &str) -> Result<Arc<dyn Storage>, StorageError> {
    let path = if let Some(rest) = url.strip_prefix("file://") {
        rest
    } else if let Some(rest) = url.strip_prefix("local:") {
        rest
    } else if let Some(scheme) = foreign_scheme(url) {
        return Err(StorageError::message(
            ErrorKind::Other,
            Operation::Open,
            url_without_secrets(url),
            format!("storage of type {scheme:?} is not supported yet; use a folder"),
        ));
    } else {
        url
    };
    if path.is_empty() {
        return Err(StorageError::message(
            ErrorKind::Other,
            Operation::Open,
            url,
            "the storage URL holds no path",
        ));
    }
    Ok(Arc::new(Retry::new(
        Arc::new(LocalFolder::new(path)),
        RetryPolicy::default(),
    )))
}

/// The scheme of `url` when it looks like one (letters, then a colon before any slash).
fn foreign_scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let legal = scheme.len() >= 2
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    legal.then_some(scheme)
}

/// The URL with user and password between `//` and `@` left out.
fn url_without_secrets(url: &str) -> String {
    match (url.find("//"), url.rfind('@')) {
        (Some(start), Some(at)) if start < at => {
            format!("{}//…{}", &url[..start], &url[at..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{ErrorKind, open};

    #[test]
    fn urls() {
        let check = |url: &str, expected: &str| {
            assert_eq!(open(url).unwrap().location(), expected, "{url}");
        };
        check("/srv/vault", "/srv/vault");
        check("file:///srv/vault", "/srv/vault");
        check("local:/srv/vault", "/srv/vault");
        check("relative/x", "relative/x");
        check("./a:b", "./a:b");
        for url in [
            "s3:host/bucket",
            "oss://bucket",
            "rest:http://u:p@host/",
            "b2:x",
        ] {
            let error = open(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Other);
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
        for url in ["", "file://", "local:"] {
            assert!(open(url).is_err(), "{url}");
        }
    }
}

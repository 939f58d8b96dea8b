//! The data directory: names of its files, its rights, its lock, and files that are whole or not there.
//!
//! The folder is for its owner alone (0700). A file is written to a temporary name, synced, renamed and the folder
//! synced, so that a crash leaves the old or the new file. `server.lock` is held with `flock` for as long as a server or
//! an offline command works on the folder; its text, the process id, is for messages only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::ServerError;

/// The name of the file of the master key.
pub(crate) const MASTER_KEY: &str = "master.key";
/// The files of the CA that signs the server's own certificates: those that clients were told to trust.
pub(crate) const CA_FILES: [&str; 2] = ["tls/ca.pem", "tls/ca.key"];

/// Names of the entries.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
    master_key: Option<PathBuf>,
}

/// The lock on a data directory; released when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DataDir {
    /// Opens the folder, creating it and its parents if needed. An existing folder must be empty or one of ours.
    pub(crate) fn open(path: &Path) -> Result<Self, ServerError> {
        if !path.exists() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder
                .create(path)
                .map_err(ServerError::file("create", path))?;
        }
        let root = path
            .canonicalize()
            .map_err(ServerError::file("open", path))?;
        let dir = Self {
            root,
            master_key: None,
        };
        if !(dir.lock_file().exists() || dir.catalog().exists() || dir.master_key().exists()) {
            dir.refuse_foreign_entries()?;
        }
        fs::set_permissions(&dir.root, fs::Permissions::from_mode(0o700))
            .map_err(ServerError::file("set the rights of", &dir.root))?;
        Ok(dir)
    }

    /// What may be left of a data directory: vaults, recovery files, the state of an agent, temporary files.
    fn refuse_foreign_entries(&self) -> Result<(), ServerError> {
        for entry in fs::read_dir(&self.root).map_err(ServerError::file("list", &self.root))? {
            let name = entry
                .map_err(ServerError::file("list", &self.root))?
                .file_name();
            let name = name.to_string_lossy();
            let is_ours = [
                "vaults",
                "agent",
                "cache",
                "nonces",
                "tls",
                "credentials.json",
            ]
            .contains(&name.as_ref())
                || name.starts_with("recovery-")
                || name.starts_with("master.key");
            if !is_ours {
                return Err(ServerError::NotADataDirectory {
                    path: self.root.clone(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.sqlite")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    pub(crate) fn master_key(&self) -> PathBuf {
        self.master_key
            .clone()
            .unwrap_or_else(|| self.root.join(MASTER_KEY))
    }

    /// The same folder with the master key elsewhere.
    pub(crate) fn with_master_key(mut self, path: Option<PathBuf>) -> Self {
        self.master_key = path;
        self
    }

    /// Says where the catalog is when it is not in the folder.
    fn catalog_elsewhere(&self) -> PathBuf {
        self.root.join("catalog.url")
    }

    /// Refuses a folder whose catalog is a database elsewhere.
    pub(crate) fn refuse_catalog_elsewhere(&self) -> Result<(), ServerError> {
        match read_file(&self.catalog_elsewhere())? {
            None => Ok(()),
            Some(place) => Err(ServerError::CatalogElsewhere {
                path: self.root.clone(),
                place: String::from_utf8_lossy(&place).trim().to_owned(),
            }),
        }
    }

    /// Notes that the catalog is a database elsewhere; `place` has no password. Refuses a folder with a catalog.
    pub(crate) fn note_catalog_elsewhere(&self, place: &str) -> Result<(), ServerError> {
        if self.catalog().exists() {
            return Err(ServerError::CatalogHere {
                path: self.root.clone(),
                place: place.to_owned(),
            });
        }
        write_file(&self.catalog_elsewhere(), format!("{place}\n").as_bytes())
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.root.join("credentials.json")
    }

    pub(crate) fn recovery_file(&self, account_id: &str) -> PathBuf {
        self.root.join(format!("recovery-{account_id}.txt"))
    }

    pub(crate) fn nonces(&self) -> PathBuf {
        self.root.join("nonces")
    }

    /// The certificate that clients of a server with a certificate of its own trust.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.root.join(CA_FILES[0])
    }

    /// The key that signs the server's own certificates.
    pub(crate) fn ca_key(&self) -> PathBuf {
        self.root.join(CA_FILES[1])
    }

    /// Makes the folder of the two.
    pub(crate) fn make_tls_folder(&self) -> Result<(), ServerError> {
        let path = self.root.join("tls");
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(&path)
            .map_err(ServerError::file("create", &path))
    }

    pub(crate) fn vaults(&self) -> PathBuf {
        self.root.join("vaults")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("server.lock")
    }

    /// Takes the lock.
    pub(crate) fn lock(&self) -> Result<DirLock, ServerError> {
        let path = self.lock_file();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(ServerError::file("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.take(32).read_to_string(&mut text).unwrap_or_default();
                let holder = text
                    .trim()
                    .parse::<u32>()
                    .map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string());
                return Err(ServerError::InUse {
                    path: self.root.clone(),
                    holder,
                });
            }
            Err(errno) => return Err(ServerError::file("lock", &path)(errno.into())),
        }
        file.set_len(0).map_err(ServerError::file("write", &path))?;
        file.write_all(std::process::id().to_string().as_bytes())
            .map_err(ServerError::file("write", &path))?;
        Ok(DirLock { _file: file })
    }
}

/// Writes a file of mode 0600 that is whole or not there, durable on return.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ServerError> {
    try_write(path, bytes).map_err(ServerError::file("write", path))
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = folder.join(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// The bytes of a small file; `None` if it is not there.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, ServerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ServerError::file("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{DataDir, read_file, write_file};
    use crate::error::ServerError;

    #[test]
    fn a_new_folder_is_private_and_locked_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let lock = dir.lock().unwrap();
        let error = DataDir::open(&path).unwrap().lock().unwrap_err();
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(lock);
        dir.lock().unwrap();
    }

    #[test]
    fn a_folder_with_other_things_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("letter.txt"), "dear").unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            DataDir::open(temp.path()),
            Err(ServerError::NotADataDirectory { .. })
        ));
        assert_eq!(
            fs::metadata(temp.path()).unwrap().permissions().mode() & 0o777,
            0o755
        );
    }

    #[test]
    fn files_are_replaced_whole_and_private() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        assert_eq!(read_file(&path).unwrap(), None);
        fs::write(temp.path().join("file.tmp"), "left by a crash").unwrap();
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}

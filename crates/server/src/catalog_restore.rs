//! `catalog restore`: the service as it was when its catalog was backed up, from a vault and the recovery file alone.
//!
//! Works offline on a data directory, which it makes if it is not there, and puts the catalog into it or into an empty
//! PostgreSQL database, whichever of the two it came from. Order: the copy's header is opened, which proves the secret; the
//! master key and the CA are written; then all rows within one transaction, of SQLite in a file that gets its name last. A
//! restore that broke off is done again; a catalog that is there already is never touched.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::agent_protocol::{CATALOG_FILE, CATALOG_TAG};
use catalog::copy::{self, RestoreError, RowCounts, Target};
use catalog::{Catalog, CatalogError, CatalogOptions, PostgresPlace, accounts, vaults};
use model::{AccountId, Timestamp, VaultId};
use vault::{BlobKind, Id, Reader, Repository, Snapshot};

use crate::clock::{Clock, SystemClock};
use crate::data_dir::{CA_FILES, DataDir, MASTER_KEY, read_file, write_file};
use crate::error::ServerError;
use crate::places::Place;
use crate::recovery::{open_vault, read_recovery_file};
use crate::seal::{MasterKey, RecoverySecret};
use crate::sealed_copy::{CopyError, CopyHeader, CopyReader};

/// What opens the copy.
#[derive(Debug, Clone)]
pub enum Unlock {
    /// The recovery file.
    RecoveryFile(PathBuf),
    /// The file of the master key.
    MasterKey(PathBuf),
}

/// Where the copy is.
#[derive(Debug, Clone)]
pub enum CopySource {
    /// In a vault: an absolute path, or a URL that the storage crate opens.
    Vault {
        /// Where the vault is.
        storage_url: String,
        /// The snapshot, by its id or the beginning of it; `None`: the newest one of a catalog.
        snapshot: Option<String>,
    },
    /// In a file, as `restic dump` gives it.
    File(PathBuf),
}

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct CatalogRestoreOptions {
    /// The data directory that gets the master key and the catalog. No server may run on it.
    pub data_dir: PathBuf,
    /// The PostgreSQL database that gets the catalog instead.
    pub catalog: Option<PostgresPlace>,
    /// Where the master key is to be, if not in the data directory.
    pub master_key_file: Option<PathBuf>,
    /// What opens the copy.
    pub unlock: Unlock,
    /// Where the copy is.
    pub source: CopySource,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct CatalogRestoreReport {
    /// The operator's account.
    pub account_id: AccountId,
    /// When the copy was made.
    pub created_time: Timestamp,
    /// The snapshot that held it, by the engine's id.
    pub snapshot: Option<String>,
    /// The vault, and where it was, if it is elsewhere now and the catalog says so from now on.
    pub moved_vault: Option<(VaultId, String)>,
    /// Rows of each table.
    pub row_counts: RowCounts,
}

/// Restores a catalog.
///
/// # Errors
/// There is a catalog already, the data directory is in use, nothing opens the copy, or it is damaged. The catalog is as it
/// was then.
pub fn restore_catalog(
    options: &CatalogRestoreOptions,
) -> Result<CatalogRestoreReport, ServerError> {
    let secret = recovery_secret(&options.unlock)?;
    let opened = open_copy(options, &secret)?;
    let (mut reader, header) = CopyReader::open(opened.input, &secret)?;
    let dir = DataDir::open(&options.data_dir)?.with_master_key(options.master_key_file.clone());
    let _lock = dir.lock()?;
    if dir.catalog().exists() {
        return Err(ServerError::CatalogExists {
            path: dir.catalog(),
        });
    }
    write_files(&dir, &header)?;
    let row_counts = match &options.catalog {
        Some(place) => {
            let target = Target::Server(Box::new(place.clone()));
            let counts = copy::restore(&target, header.schema, &mut || reader.next())?;
            dir.note_catalog_elsewhere(&place.to_string())?;
            counts
        }
        None => {
            dir.refuse_catalog_elsewhere()?;
            restore_file(&dir.catalog(), header.schema, &mut reader)?
        }
    };
    // Brings the schema up to date.
    let catalog = match &options.catalog {
        Some(place) => Catalog::connect(place, CatalogOptions::default())?,
        None => Catalog::open(&dir.catalog(), CatalogOptions::default())?,
    };
    let account = accounts::list(&catalog)?.into_iter().next();
    let account_id = account.map(|account| account.account_id);
    let account_id = account_id.ok_or(CopyError::Damaged {
        detail: "there is no account in it",
    })?;
    let moved_vault = follow_vault(&catalog, &account_id, opened.vault.as_ref())?;
    Ok(CatalogRestoreReport {
        account_id,
        created_time: Timestamp(header.created_time),
        snapshot: opened.snapshot.map(|id| id.to_hex()),
        moved_vault,
        row_counts,
    })
}

fn recovery_secret(unlock: &Unlock) -> Result<RecoverySecret, ServerError> {
    match unlock {
        Unlock::RecoveryFile(path) => read_recovery_file(path),
        Unlock::MasterKey(path) => {
            let bytes = read_file(path)?;
            let key = bytes.and_then(|bytes| MasterKey::parse(&zeroize::Zeroizing::new(bytes)));
            let wrong = || ServerError::MasterKeyWrong {
                path: path.clone(),
                why: "it does not have 64 hex digits",
            };
            Ok(key.ok_or_else(wrong)?.recovery_secret())
        }
    }
}

/// A copy that was found.
struct Opened {
    input: Box<dyn Read>,
    snapshot: Option<Id>,
    vault: Option<(VaultId, Place)>,
}

fn open_copy(
    options: &CatalogRestoreOptions,
    secret: &RecoverySecret,
) -> Result<Opened, ServerError> {
    match &options.source {
        CopySource::File(path) => {
            let file = fs::File::open(path).map_err(ServerError::file("open", path))?;
            Ok(Opened {
                input: Box::new(io::BufReader::new(file)),
                snapshot: None,
                vault: None,
            })
        }
        CopySource::Vault {
            storage_url,
            snapshot,
        } => {
            let place = Place::parse(storage_url).map_err(|why| ServerError::Adopt {
                storage: storage_url.clone(),
                why,
            })?;
            let (vault_id, repository, _) = open_vault(&place, secret)?;
            let (id, snapshot) = find(&repository, snapshot.as_deref(), storage_url)?;
            Ok(Opened {
                input: Box::new(FileOfSnapshot::open(&repository, &snapshot, storage_url)?),
                snapshot: Some(id),
                vault: Some((vault_id, place)),
            })
        }
    }
}

fn find(
    repository: &Repository,
    wanted: Option<&str>,
    storage_url: &str,
) -> Result<(Id, Snapshot), ServerError> {
    if let Some(wanted) = wanted {
        return Ok(repository.find_snapshot(wanted)?);
    }
    // One that cannot be read must not stand in the way of the others.
    let (snapshots, _) = repository.snapshots_and_damage()?;
    snapshots
        .into_iter()
        .filter(|(_, snapshot)| snapshot.tags.iter().any(|tag| tag == CATALOG_TAG))
        .max_by_key(|(id, snapshot)| (snapshot.time, *id))
        .ok_or_else(|| ServerError::NoCatalogBackup {
            storage: storage_url.to_owned(),
        })
}

/// Reads the copy out of its snapshot, blob by blob.
struct FileOfSnapshot {
    reader: Reader,
    content: std::vec::IntoIter<Id>,
    blob: io::Cursor<Vec<u8>>,
}

impl FileOfSnapshot {
    fn open(
        repository: &Repository,
        snapshot: &Snapshot,
        storage_url: &str,
    ) -> Result<Self, ServerError> {
        let (index, _) = repository.load_index_to_restore()?;
        let reader = Reader::new(repository.clone(), Arc::new(index));
        let tree = reader.read_tree(&snapshot.tree)?;
        let node = tree.find(CATALOG_FILE.as_bytes());
        let content = node.map(|node| node.content.clone());
        Ok(Self {
            reader,
            content: content
                .ok_or_else(|| ServerError::NoCatalogBackup {
                    storage: storage_url.to_owned(),
                })?
                .into_iter(),
            blob: io::Cursor::default(),
        })
    }
}

impl Read for FileOfSnapshot {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.blob.read(bytes)?;
            if read > 0 || bytes.is_empty() {
                return Ok(read);
            }
            let Some(id) = self.content.next() else {
                return Ok(0);
            };
            let blob = self.reader.read_blob(BlobKind::Data, &id);
            self.blob = io::Cursor::new(blob.map_err(io::Error::other)?);
        }
    }
}

/// The master key and the CA. One that is there already stays if it is the same; another one is refused.
fn write_files(dir: &DataDir, header: &CopyHeader) -> Result<(), ServerError> {
    let has_key = header.files.contains_key(MASTER_KEY);
    if !has_key {
        return Err(CopyError::Damaged {
            detail: "there is no master key in it",
        }
        .into());
    }
    dir.make_tls_folder()?;
    for (name, text) in &header.files {
        let path = match name.as_str() {
            MASTER_KEY => dir.master_key(),
            name if CA_FILES.contains(&name) => dir.root().join(name),
            // Of a newer program, which this one does not need.
            _ => continue,
        };
        match read_file(&path)? {
            Some(found) if found == text.expose().as_bytes() => {}
            Some(_) => return Err(ServerError::OtherFile { path }),
            None => write_file(&path, text.expose().as_bytes())?,
        }
    }
    Ok(())
}

/// All rows into a new file, which gets its name once it is whole.
fn restore_file<R: Read>(
    path: &Path,
    schema: i64,
    reader: &mut CopyReader<R>,
) -> Result<RowCounts, ServerError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let unfinished = path.with_file_name(name);
    remove_database(&unfinished)?;
    let target = Target::File(unfinished.clone());
    match copy::restore(&target, schema, &mut || reader.next()) {
        Ok(counts) => {
            // The last connection to close has put the log into the file.
            fs::rename(&unfinished, path).map_err(ServerError::file("rename", &unfinished))?;
            let folder = path.parent().unwrap_or(Path::new("."));
            let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(ServerError::file("sync", folder))?;
            Ok(counts)
        }
        Err(error) => {
            remove_database(&unfinished)?;
            Err(error.into())
        }
    }
}

fn remove_database(path: &Path) -> Result<(), ServerError> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ServerError::file("remove", Path::new(&name))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The vault that the copy was in may lie elsewhere now.
fn follow_vault(
    catalog: &Catalog,
    account_id: &AccountId,
    vault: Option<&(VaultId, Place)>,
) -> Result<Option<(VaultId, String)>, ServerError> {
    let Some((vault_id, place)) = vault else {
        return Ok(None);
    };
    let known = match vaults::get(catalog, account_id, vault_id) {
        // It was being deleted.
        Err(CatalogError::NotFound { .. }) => return Ok(None),
        known => known?,
    };
    if known.storage_url == place.url() {
        return Ok(None);
    }
    let now = SystemClock.now();
    vaults::move_to(catalog, account_id, vault_id, place.url(), now)?;
    Ok(Some((vault_id.clone(), known.storage_url)))
}

impl From<RestoreError<CopyError>> for ServerError {
    fn from(error: RestoreError<CopyError>) -> Self {
        match error {
            RestoreError::Catalog(error) => error.into(),
            RestoreError::Source(error) => error.into(),
            error => Self::RestoreCatalog(error.to_string()),
        }
    }
}

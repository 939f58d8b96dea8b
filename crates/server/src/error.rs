//! Why a server does not start, or an offline command fails.

use std::io;
use std::path::{Path, PathBuf};

/// An error that ends a start, a stop or an adoption. Failures of single requests are [`api::error::ApiError`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A file or folder of the data directory.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried, such as `read`.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The folder holds other things.
    #[error(
        "{} is not empty and is not a data directory of Strongroom; name an empty or new folder with --data-dir",
        path.display()
    )]
    NotADataDirectory {
        /// The folder.
        path: PathBuf,
    },
    /// Another server runs on the data directory.
    #[error("another server uses {} (process {holder}); stop it first, or use another --data-dir", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Its process id as the lock file says, or `unknown`.
        holder: String,
    },
    /// The catalog has an account but the master key is gone.
    #[error(
        "{} is missing, and without it the catalog's secrets cannot be opened; put the file back from your copy of the \
         data directory (or from another server that shares the catalog, with --master-key-file), or start with a new data directory and `strongroom vault adopt --recovery-file` for each vault",
        path.display()
    )]
    MasterKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A catalog is restored to where there is none.
    #[error("there is a catalog at {} already; name a new data directory with --data-dir", path.display())]
    CatalogExists {
        /// The catalog.
        path: PathBuf,
    },
    /// A file of the data directory is another one than that of the backup.
    #[error("{} is there, and is another one than that of the backup; name a new data directory with --data-dir", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
    },
    /// The vault holds no copy of a catalog.
    #[error(
        "there is no backup of a catalog in {storage}; `strongroom vault adopt` brings the vault itself back"
    )]
    NoCatalogBackup {
        /// Where it was looked for.
        storage: String,
    },
    /// The copy of a catalog cannot be read.
    #[error(transparent)]
    Copy(#[from] crate::sealed_copy::CopyError),
    /// The copy of a catalog cannot be put into the database.
    #[error("{0}")]
    RestoreCatalog(String),
    /// The master key is not the one that sealed the catalog, or is no key at all.
    #[error(
        "{} is not the master key of this catalog ({why}); put the right file back from your copy of the data \
         directory, or start with a new data directory and `strongroom vault adopt --recovery-file` for each vault",
        path.display()
    )]
    MasterKeyWrong {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The catalog.
    #[error("the catalog cannot be used")]
    Catalog(#[from] catalog::CatalogError),
    /// The data directory belongs to a catalog elsewhere.
    #[error(
        "the catalog of {} is {place}: start the service with `--catalog` and ask it; what works without a running \
         service needs a catalog in the data directory",
        path.display()
    )]
    CatalogElsewhere {
        /// The data directory.
        path: PathBuf,
        /// Where the catalog is.
        place: String,
    },
    /// The data directory has a catalog, and another one is asked for.
    #[error(
        "{} has a catalog of its own (catalog.sqlite), which {place} does not know; use a new --data-dir",
        path.display()
    )]
    CatalogHere {
        /// The data directory.
        path: PathBuf,
        /// Where the catalog should be.
        place: String,
    },
    /// The address to listen on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As given.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Whoever listens on the network would read access keys' requests and their answers.
    #[error(
        "{address} can be reached from other hosts, and without TLS everybody on the way could read and change what is said; \
         use --tls auto, or --tls-cert with --tls-key, or say --insecure if something else encrypts"
    )]
    PlainOutside {
        /// As given.
        address: String,
    },
    /// A certificate or key that cannot be used.
    #[error("{what} cannot be used for TLS: {why}")]
    Tls {
        /// Which file or part.
        what: String,
        /// Reason.
        why: String,
    },
    /// The runtime's threads.
    #[error("cannot start the threads of the server")]
    Threads(#[source] io::Error),
    /// What should be the id of a client.
    #[error("{client_id:?} is not the id of a client")]
    ClientId {
        /// As it was given.
        client_id: String,
    },
    /// The region's name.
    #[error("the region {0:?} is not valid; use letters, digits and '-', at most 32")]
    Region(String),
    /// A recovery file that is none.
    #[error("{} is not a recovery file: {why}", path.display())]
    RecoveryFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Adopting a vault, or reading a backup of a catalog from it.
    #[error("the vault at {storage} cannot be used: {why}")]
    Adopt {
        /// Where it is.
        storage: String,
        /// Reason.
        why: String,
    },
    /// The storage of a vault that is to be adopted.
    #[error("the storage of the vault cannot be used")]
    Storage(#[from] storage::StorageError),
    /// The repository of a vault that is to be adopted.
    #[error("the vault cannot be opened")]
    Vault(#[from] vault::VaultError),
}

impl ServerError {
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

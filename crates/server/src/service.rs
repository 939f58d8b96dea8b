//! What all requests share: the catalog, the master key, the nonces, and the bell that wakes waiting agents.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, CatalogError};
use model::upkeep::UpkeepRule;
use model::{AccountId, ClientId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::actions::repositories::Repositories;
use crate::agents::{Pulses, Runs};
use crate::auth::KnownKeys;
use crate::catalog_backup::CatalogBackupRule;
use crate::clock::Clock;
use crate::data_dir::DirLock;
use crate::nonces::Nonces;
use crate::rates::Rates;
use crate::seal::MasterKey;

/// The running server, without its sockets.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) catalog: Catalog,
    pub(crate) master_key: MasterKey,
    /// The first account, whose root key is the operator's.
    pub(crate) operator: AccountId,
    pub(crate) known_keys: KnownKeys,
    pub(crate) nonces: Nonces,
    pub(crate) rates: Rates,
    pub(crate) region: String,
    /// `http` or `https`, for links.
    pub(crate) scheme: &'static str,
    pub(crate) vaults_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) lease_ttl: Duration,
    pub(crate) vault_delete_grace: Duration,
    pub(crate) job_retention: Option<Duration>,
    pub(crate) upkeep: UpkeepRule,
    pub(crate) catalog_backup: CatalogBackupRule,
    pub(crate) prune_grace: Option<Duration>,
    pub(crate) max_body_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// Rung when there may be work or a cancellation for an agent.
    pub(crate) bell: Notify,
    /// True once the server stops: long polls end.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Held while a vault's storage is checked and its row written, so that two vaults never get one place.
    pub(crate) vault_places: Mutex<()>,
    /// The agent that was started with this server, on this host.
    pub(crate) local_client: Mutex<Option<ClientId>>,
    /// Which process of each client is the present one.
    pub(crate) runs: Mutex<Runs>,
    /// What agents said that is not in the catalog yet.
    pub(crate) pulses: Pulses,
    pub(crate) repositories: Repositories,
    /// Places for files of reports that are being downloaded.
    pub(crate) downloads: Arc<Semaphore>,
    /// Dropped last: the data directory is free when nothing can touch it any more.
    pub(crate) _lock: DirLock,
}

impl Service {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes what agents said since the last time.
    pub(crate) fn note_pulses(&self) -> Result<(), CatalogError> {
        self.pulses.note(&self.catalog, self.lease_ttl)
    }

    /// Wakes every agent that waits for news.
    pub(crate) fn ring(&self) {
        self.bell.notify_waiters();
    }
}

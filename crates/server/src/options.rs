//! What a caller of [`crate::start`] chooses.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::upkeep::UpkeepRule;

use crate::catalog_backup::CatalogBackupRule;
use crate::clock::{Clock, SystemClock};
use crate::error::ServerError;
use crate::rates::RateLimit;

/// How clients and the server speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Plain HTTP, refused on an address that other hosts can reach.
    Plain,
    /// Plain HTTP on any address: something else encrypts.
    PlainAnywhere,
    /// TLS with a certificate that the CA of the data directory signs; clients trust `tls/ca.pem`.
    OwnCertificate {
        /// Names and addresses of this server besides the host's own and the address that it listens on.
        names: Vec<String>,
    },
    /// TLS with a certificate of the operator. The files are read again when they change.
    Certificate {
        /// The certificate, and those between it and the CA (PEM).
        cert: PathBuf,
        /// Its private key (PEM).
        key: PathBuf,
    },
}

/// Options of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Catalog, keys and, by default, vaults. Created if it is not there.
    pub data_dir: PathBuf,
    /// The PostgreSQL database that is the catalog; `None`: a file in the data directory.
    pub catalog: Option<catalog::PostgresPlace>,
    /// The file of the master key; `None`: `master.key` in the data directory. Servers that share a catalog have the same.
    pub master_key_file: Option<PathBuf>,
    /// `ADDR:PORT`; port 0 picks a free one.
    pub listen: String,
    /// Plain or TLS.
    pub transport: Transport,
    /// The region that this server is, such as `cn-hangzhou`.
    pub region: String,
    /// How long a lease lasts after each heartbeat of its agent.
    pub lease_ttl: Duration,
    /// How often plans and leases are looked at. `None`: never, a test calls [`crate::ServerHandle::tick`].
    pub tick_interval: Option<Duration>,
    /// DeleteVault refuses vaults that are younger; zero by default, the cloud has two hours.
    pub vault_delete_grace: Duration,
    /// The zone in which schedules and retention read the calendar.
    pub zone: model::Zone,
    /// Scheduled runs start up to so many seconds after their time, each plan at its own.
    pub schedule_jitter_seconds: u32,
    /// How long a deleted snapshot can be taken back before it is removed from its vault.
    pub trash: Duration,
    /// How long the history keeps jobs that have ended; `None`: for ever.
    pub job_retention: Option<Duration>,
    /// How often vaults are checked and pruned.
    pub upkeep: UpkeepRule,
    /// When the catalog itself is backed up, and where to.
    pub catalog_backup: CatalogBackupRule,
    /// Between the mark of a pack that is not needed and its removal by a later prune; `None`: as the engine does.
    pub prune_grace: Option<Duration>,
    /// How many calls each access key may make; `None`: as many as it likes. Agents' messages are not counted.
    pub rate_limit: Option<RateLimit>,
    /// Most bytes of a request's body.
    pub max_body_bytes: usize,
    /// Most pages (4 KiB each) of the catalog; tests use it to fill the disk.
    pub max_catalog_pages: Option<u32>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl ServerOptions {
    /// The usual options for a data directory.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            catalog: None,
            master_key_file: None,
            listen: "127.0.0.1:8710".to_owned(),
            transport: Transport::Plain,
            region: "cn-hangzhou".to_owned(),
            lease_ttl: Duration::from_secs(30),
            tick_interval: Some(Duration::from_secs(1)),
            vault_delete_grace: Duration::ZERO,
            zone: model::Zone::utc(),
            schedule_jitter_seconds: 0,
            trash: Duration::from_secs(24 * 3600),
            job_retention: None,
            upkeep: UpkeepRule::default(),
            catalog_backup: CatalogBackupRule::default(),
            prune_grace: None,
            rate_limit: Some(RateLimit::per_second(500)),
            max_body_bytes: 4 * 1024 * 1024,
            max_catalog_pages: None,
            clock: Arc::new(SystemClock),
        }
    }
}

pub(crate) fn check_region(region: &str) -> Result<(), ServerError> {
    let valid = (1..=32).contains(&region.len())
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if valid {
        Ok(())
    } else {
        Err(ServerError::Region(region.to_owned()))
    }
}

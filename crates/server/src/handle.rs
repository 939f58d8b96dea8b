//! Starting and stopping: everything is opened and checked before the first connection is accepted, and nothing is left
//! behind after the last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, CatalogOptions, Wakes, jobs, vaults};
use model::{AccountId, ClientId};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::actions::backup_jobs::JOB_RENDERER;
use crate::actions::repositories::Repositories;
use crate::agents::Pulses;
use crate::auth::KnownKeys;
use crate::bootstrap::{self, Identity};
use crate::connections::LimitedListener;
use crate::data_dir::DataDir;
use crate::error::ServerError;
use crate::http::{Border, MAX_IN_FLIGHT};
use crate::nonces::{NonceLimits, Nonces};
use crate::options::{ServerOptions, Transport, check_region};
use crate::places::Place;
use crate::rates::Rates;
use crate::report_files::MAX_DOWNLOADS;
use crate::service::Service;
use crate::serving;
use crate::ticker::{TickReport, Ticker};
use crate::tls::{Acceptors, LOOK_INTERVAL, Tls};

/// Requests that are under way get this long to end once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to listen for other servers before looking whether this one still runs.
const WAKE_LOOK: Duration = Duration::from_secs(1);

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct ServerHandle {
    addr: SocketAddr,
    endpoint: String,
    ca_file: Option<PathBuf>,
    account_id: AccountId,
    credentials_path: PathBuf,
    recovery_path: Option<PathBuf>,
    data_dir: PathBuf,
    service: Arc<Service>,
    ticker: Arc<Ticker>,
    stop: watch::Sender<bool>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    runtime: Runtime,
    main: JoinHandle<()>,
}

/// Starts a server on its own threads and returns once it listens.
///
/// # Errors
/// See [`ServerError`]: the data directory is in use or unusable, the address is taken, the catalog cannot be opened.
pub fn start(options: ServerOptions) -> Result<ServerHandle, ServerError> {
    check_region(&options.region)?;
    // Before anything is made: a port that is taken must leave no half of a data directory.
    let (listener, addr) = listen(&options.listen)?;
    if options.transport == Transport::Plain && !addr.ip().is_loopback() {
        return Err(ServerError::PlainOutside {
            address: options.listen,
        });
    }
    let dir = DataDir::open(&options.data_dir)?.with_master_key(options.master_key_file);
    let lock = dir.lock()?;
    let tls = Tls::open(&dir, &options.transport, addr.ip(), &vault::hostname())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = format!("{scheme}://{}", as_seen_from_here(addr));
    let now = options.clock.now();
    let catalog_options = CatalogOptions {
        max_page_count: options.max_catalog_pages,
        ledger_dir: Some(dir.ledger()),
        renderer: Some(JOB_RENDERER),
        zone: options.zone,
        jitter_seconds: options.schedule_jitter_seconds,
        trash: options.trash,
        ..CatalogOptions::default()
    };
    let catalog = match &options.catalog {
        Some(place) => {
            let catalog = Catalog::connect(place, catalog_options)?;
            dir.note_catalog_elsewhere(&place.to_string())?;
            catalog
        }
        None => {
            dir.refuse_catalog_elsewhere()?;
            Catalog::open(&dir.catalog(), catalog_options)?
        }
    };
    let moved = catalog::zone::follow(&catalog, now)?;
    if moved > 0 {
        tracing::info!(moved, zone = %catalog.zone(), "schedules are read in another time zone");
    }
    let identity = bootstrap::run(&dir, &catalog, now)?;
    let nonces = Nonces::open(&dir.nonces(), now, NonceLimits::default())?;
    let ca_file = tls.as_ref().map(Tls::ca_file);
    bootstrap::write_credentials(
        &dir,
        &identity,
        &endpoint,
        &options.region,
        ca_file.as_deref(),
    )?;
    let Identity {
        account_id,
        master_key,
        new_recovery_file,
        ..
    } = identity;
    // Agents could not extend their leases while no server ran.
    catalog::work::renew_leases(&catalog, now, options.lease_ttl)?;
    let (stop, stopping) = watch::channel(false);
    let service = Arc::new(Service {
        catalog,
        master_key,
        operator: account_id.clone(),
        known_keys: KnownKeys::default(),
        nonces,
        rates: Rates::new(options.rate_limit),
        region: options.region,
        scheme,
        vaults_dir: dir.vaults(),
        data_dir: dir.root().to_owned(),
        lease_ttl: options.lease_ttl,
        vault_delete_grace: options.vault_delete_grace,
        job_retention: options.job_retention,
        upkeep: options.upkeep,
        catalog_backup: options.catalog_backup,
        prune_grace: options.prune_grace,
        max_body_bytes: options.max_body_bytes,
        clock: options.clock,
        bell: Notify::new(),
        stopping,
        vault_places: Mutex::new(()),
        local_client: Mutex::new(None),
        runs: Mutex::default(),
        pulses: Pulses::default(),
        repositories: Repositories::default(),
        downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        _lock: lock,
    });
    let ticker = Arc::new(Ticker::default());
    let runtime = Builder::new_multi_thread()
        .worker_threads(worker_count())
        .max_blocking_threads(MAX_IN_FLIGHT + 8)
        .thread_name("strongroom-server")
        .enable_all()
        .build()
        .map_err(ServerError::Threads)?;
    runtime.spawn(note_pulses_for_ever(service.clone()));
    if let Some(interval) = options.tick_interval {
        runtime.spawn(tick_for_ever(service.clone(), ticker.clone(), interval));
    }
    if let Some(wakes) = service.catalog.wakes() {
        hear_other_servers(wakes, &service);
    }
    let acceptors = tls.as_ref().map(Tls::acceptors);
    if let Some(tls) = tls {
        runtime.spawn(refresh_for_ever(service.clone(), tls));
    }
    let main = runtime.spawn(serve(listener, acceptors, service.clone()));
    let loading = service.clone();
    runtime.spawn_blocking(move || {
        if let Err(error) = jobs::load_index(&loading.catalog) {
            tracing::warn!(%error, "the job ledger's index was not loaded; the first query does it");
        }
    });
    // Noted where an intruder in the catalog cannot change it: `audit verify --head` takes it.
    let audit_head = catalog::audit::head(&service.catalog)?;
    tracing::info!(%audit_head, "the audit log goes on");
    tracing::info!(%addr, data_dir = %dir.root().display(), "the server listens");
    Ok(ServerHandle {
        addr,
        endpoint,
        ca_file,
        account_id,
        credentials_path: dir.credentials(),
        recovery_path: new_recovery_file,
        data_dir: dir.root().to_owned(),
        service,
        ticker,
        stop,
        running: Mutex::new(Some(Running { runtime, main })),
    })
}

/// Threads of connections: each answers the calls that take microseconds, so every processor may.
fn worker_count() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().max(2))
}

fn listen(address: &str) -> Result<(StdListener, SocketAddr), ServerError> {
    let refuse = |source| ServerError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = StdListener::bind(address).map_err(refuse)?;
    listener.set_nonblocking(true).map_err(refuse)?;
    let addr = listener.local_addr().map_err(refuse)?;
    Ok((listener, addr))
}

/// Rings when another server that shares the catalog has put work into it. On a thread of its own, which does not keep the
/// service alive.
fn hear_other_servers(mut wakes: Wakes, service: &Arc<Service>) {
    let service = Arc::downgrade(service);
    let heard = std::thread::Builder::new()
        .name("strongroom-wakes".to_owned())
        .spawn(move || {
            while service.strong_count() > 0 {
                match wakes.wait(WAKE_LOOK) {
                    Some(true) => match service.upgrade() {
                        Some(service) => service.ring(),
                        None => return,
                    },
                    Some(false) => {}
                    // Agents look for work by themselves meanwhile.
                    None => std::thread::sleep(WAKE_LOOK),
                }
            }
        });
    if let Err(error) = heard {
        tracing::warn!(%error, "work that other servers create is found a few seconds later");
    }
}

/// The address to reach a listening socket at from the same host.
fn as_seen_from_here(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

async fn serve(listener: StdListener, tls: Option<Acceptors>, service: Arc<Service>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => LimitedListener::new(listener, tls),
        Err(error) => {
            tracing::error!(%error, "the socket cannot be used");
            return;
        }
    };
    let mut stopping = service.stopping.clone();
    let border = Border::new(service);
    let stopped = async move {
        // An error means that the handle is gone: stop too.
        while !*stopping.borrow_and_update() {
            if stopping.changed().await.is_err() {
                break;
            }
        }
    };
    serving::serve(listener, border, stopped).await;
}

async fn refresh_for_ever(service: Arc<Service>, mut tls: Tls) {
    let mut stopping = service.stopping.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = stopping.changed() => return,
        }
        // Two small files a look at most: not worth another thread.
        tls.refresh();
    }
}

async fn note_pulses_for_ever(service: Arc<Service>) {
    let mut stopping = service.stopping.clone();
    let mut timer = tokio::time::interval(Pulses::interval(service.lease_ttl));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stopping.changed() => return,
        }
        let service = service.clone();
        let noted = tokio::task::spawn_blocking(move || service.note_pulses()).await;
        if let Ok(Err(error)) = noted {
            tracing::error!(%error, "progress and heartbeats could not be noted; they wait");
        }
    }
}

async fn tick_for_ever(service: Arc<Service>, ticker: Arc<Ticker>, interval: Duration) {
    let mut stopping = service.stopping.clone();
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stopping.changed() => return,
        }
        let (service, ticker) = (service.clone(), ticker.clone());
        match tokio::task::spawn_blocking(move || ticker.tick(&service)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "scheduler and watchdog could not do their step")
            }
            Err(error) => tracing::error!(%error, "a step of scheduler and watchdog broke off"),
        }
    }
}

impl ServerHandle {
    #[cfg(test)]
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// Where it listens, the port as it really is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint for clients on this host, `http://ADDR:PORT` or `https://ADDR:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The CA that signs the server's own certificate, if it speaks TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The account of the data directory.
    #[must_use]
    pub fn account_id(&self) -> &AccountId {
        &self.account_id
    }

    /// `credentials.json`.
    #[must_use]
    pub fn credentials_path(&self) -> &Path {
        &self.credentials_path
    }

    /// The recovery file, if this start wrote it: its owner should be asked to keep it elsewhere.
    #[must_use]
    pub fn new_recovery_path(&self) -> Option<&Path> {
        self.recovery_path.as_deref()
    }

    /// The data directory, as an absolute path without links.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Names the agent that runs on this host: only it can be trusted to see the server's own folders, so it gets the
    /// tasks on vaults. Those that further accounts asked for before it came are its too.
    ///
    /// # Errors
    /// [`ServerError::ClientId`] if the id is none, or an error of the catalog.
    pub fn set_local_client(&self, client_id: &str) -> Result<(), ServerError> {
        let client = ClientId::parse(client_id).map_err(|_| ServerError::ClientId {
            client_id: client_id.to_owned(),
        })?;
        let service = &self.service;
        // Whoever makes a vault at this moment has written it before, or sees the agent afterwards.
        let _places = service.vault_places.lock();
        vaults::keep_waiting(
            &service.catalog,
            &service.operator,
            &client,
            |vault_id, url| Place::inside(&service.vaults_dir, vault_id).url() == url,
        )?;
        *service.local_client.lock() = Some(client);
        self.service.ring();
        Ok(())
    }

    /// One step of scheduler and watchdog, now. For tests that move the clock.
    ///
    /// # Errors
    /// An error of the catalog; the next step goes on where this one stopped.
    pub fn tick(&self) -> Result<TickReport, ServerError> {
        Ok(self.ticker.tick(&self.service)?)
    }

    /// Asks the server to stop: no new connections, long polls end, requests under way go on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        self.service.ring();
    }

    /// Stops the server if that was not asked for yet, and waits until it has ended and its data directory is free.
    /// Not to be called from an asynchronous task.
    pub fn join(self) {
        self.end();
    }

    fn end(&self) {
        let Some(running) = self.running.lock().take() else {
            return;
        };
        self.stop();
        let Running { runtime, main } = running;
        let ended = runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, main).await });
        if ended.is_err() {
            tracing::warn!("requests under way were cut off");
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        if let Err(error) = self.service.note_pulses() {
            tracing::warn!(%error, "the last progress was not noted; agents say it again");
        }
        if let Err(error) = jobs::save_index(&self.service.catalog) {
            tracing::warn!(%error, "the job ledger's index was not saved; the next start reads all jobs");
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;

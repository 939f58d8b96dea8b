//! Connections and transactions.
//!
//! One connection writes, behind a mutex: SQLite has one writer at a time anyway, and a queue of threads on a mutex is
//! fair and cheap where its busy handler would sleep. A few connections read, each in a transaction that sees one
//! state of the database; WAL lets them go on while the writer writes. The file is locked to this program by the
//! server's own lock, not here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{AccountId, Timestamp, Zone};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{CatalogError, SqlResult};
use crate::jobs::{Ledger, Renderer};
use crate::migrations;

/// Prepared statements that each connection keeps.
const STATEMENT_CACHE: usize = 128;
/// The WAL file is cut back to this size after a checkpoint, in bytes.
const WAL_SIZE_LIMIT: i64 = 64 << 20;

/// How to open a catalog.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Connections that read at the same time.
    pub reader_count: usize,
    /// How long to wait for another process that holds the database.
    pub busy_timeout: Duration,
    /// Most pages (4 KiB each) of the database; tests use it to fill the disk.
    pub max_page_count: Option<u32>,
    /// Where snapshots of the job ledger's index are kept; without one, each start reads all jobs once.
    pub ledger_dir: Option<PathBuf>,
    /// Makes the JSON of jobs, which is then kept with those that have ended.
    pub renderer: Option<Renderer>,
    /// The zone in which calendars are read: schedules, and the days and weeks of retention.
    pub zone: Zone,
    /// Scheduled runs start up to so many seconds after their time, each plan at its own.
    pub jitter_seconds: u32,
    /// How long a deleted snapshot can be taken back before it is removed from its vault.
    pub trash: Duration,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            reader_count: 4,
            busy_timeout: Duration::from_secs(10),
            max_page_count: None,
            ledger_dir: None,
            renderer: None,
            zone: Zone::utc(),
            jitter_seconds: 0,
            trash: Duration::ZERO,
        }
    }
}

/// An open catalog. Share it by reference or `Arc` among all threads.
pub struct Catalog {
    /// A mutex, not a read-write lock: every use of it writes.
    writer: Mutex<Connection>,
    /// Readers that are idle; taken for the length of one transaction.
    readers: Mutex<Vec<Connection>>,
    reader_returned: Condvar,
    ids: IdSource,
    pub(crate) ledger: Ledger,
    renderer: Option<Renderer>,
    zone: Zone,
    jitter_seconds: u32,
    trash: Duration,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

impl Catalog {
    /// Opens the database at `path`, creates it when it is not there, and brings its schema up to date. Refuses a
    /// database of a newer program.
    pub fn open(path: &Path, options: CatalogOptions) -> Result<Self, CatalogError> {
        let mut writer = connect(path, &options)?;
        // Also turns the file into a WAL database for good; readers find it so.
        pragma(&writer, "journal_mode", "WAL")?;
        pragma(&writer, "synchronous", "FULL")?;
        pragma(&writer, "foreign_keys", "ON")?;
        pragma(&writer, "journal_size_limit", &WAL_SIZE_LIMIT.to_string())?;
        if let Some(pages) = options.max_page_count {
            pragma(&writer, "max_page_count", &pages.to_string())?;
        }
        migrations::apply(&mut writer)?;
        let readers = (0..options.reader_count.max(1))
            .map(|_| {
                let reader = connect(path, &options)?;
                pragma(&reader, "query_only", "ON")?;
                Ok(reader)
            })
            .collect::<Result<Vec<_>, CatalogError>>()?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers: Mutex::new(readers),
            reader_returned: Condvar::new(),
            ids: IdSource::default(),
            ledger: Ledger::new(options.ledger_dir),
            renderer: options.renderer,
            zone: options.zone,
            jitter_seconds: options.jitter_seconds,
            trash: options.trash,
        })
    }

    /// Runs `body` in a transaction that sees one state of the database.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut reader = self.take_reader();
        let connection = reader
            .connection
            .as_mut()
            .expect("a taken reader has its connection until it is dropped");
        let transaction = connection.transaction().op(operation)?;
        body(&Tx::new(&transaction, self.renderer))
    }

    /// Runs `body` in a transaction that is durable when this returns `Ok`, and leaves no trace otherwise.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let (value, changed) = run(&mut self.writer.lock(), self.renderer, operation, body)?;
        self.ledger.follow(self, &changed);
        Ok(value)
    }

    /// As [`Catalog::write`], but not synced: a loss of power may undo it (a crash of the program does not). Later
    /// durable transactions make it durable too, so the order of changes is kept.
    pub(crate) fn write_relaxed<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut writer = self.writer.lock();
        pragma(&writer, "synchronous", "NORMAL")?;
        let result = catch_unwind(AssertUnwindSafe(|| {
            run(&mut writer, self.renderer, operation, body)
        }));
        // Must not be skipped, whatever the body did: durable transactions rely on it.
        pragma(&writer, "synchronous", "FULL")?;
        drop(writer);
        let (value, changed) = result.unwrap_or_else(|panic| resume_unwind(panic))?;
        self.ledger.follow(self, &changed);
        Ok(value)
    }

    /// Microseconds and entropy for a new id; the microseconds rise with every call.
    pub(crate) fn new_id(&self, now: Timestamp) -> (u64, u64) {
        self.ids.next(now)
    }

    /// The zone in which calendars are read.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// See [`CatalogOptions::jitter_seconds`].
    pub(crate) const fn jitter_seconds(&self) -> u32 {
        self.jitter_seconds
    }

    /// See [`CatalogOptions::trash`].
    pub(crate) const fn trash(&self) -> Duration {
        self.trash
    }

    fn take_reader(&self) -> TakenReader<'_> {
        let mut readers = self.readers.lock();
        loop {
            if let Some(connection) = readers.pop() {
                return TakenReader {
                    catalog: self,
                    connection: Some(connection),
                };
            }
            self.reader_returned.wait(&mut readers);
        }
    }
}

/// A reader that goes back when dropped, also when the body panics.
struct TakenReader<'a> {
    catalog: &'a Catalog,
    connection: Option<Connection>,
}

impl Drop for TakenReader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.catalog.readers.lock().push(connection);
            self.catalog.reader_returned.notify_one();
        }
    }
}

fn run<T>(
    writer: &mut Connection,
    renderer: Option<Renderer>,
    operation: &'static str,
    body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
) -> Result<(T, BTreeSet<AccountId>), CatalogError> {
    let transaction: Transaction<'_> = writer
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .op(operation)?;
    let tx = Tx::new(&transaction, renderer);
    let value = body(&tx)?;
    let changed = tx.changed_accounts.into_inner();
    transaction.commit().op(operation)?;
    Ok((value, changed))
}

/// A transaction, as the functions of the catalog see it.
pub(crate) struct Tx<'a> {
    connection: &'a Connection,
    /// Accounts whose jobs this transaction changed: their index follows once it is committed.
    changed_accounts: RefCell<BTreeSet<AccountId>>,
    renderer: Option<Renderer>,
}

impl<'a> Tx<'a> {
    fn new(connection: &'a Connection, renderer: Option<Renderer>) -> Self {
        Self {
            connection,
            changed_accounts: RefCell::default(),
            renderer,
        }
    }

    /// What makes the JSON of jobs.
    pub(crate) const fn renderer(&self) -> Option<Renderer> {
        self.renderer
    }

    /// To be called with every entry of the change log.
    pub(crate) fn note_change(&self, account_id: &AccountId) {
        let mut accounts = self.changed_accounts.borrow_mut();
        if !accounts.contains(account_id) {
            accounts.insert(account_id.clone());
        }
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

fn connect(path: &Path, options: &CatalogOptions) -> Result<Connection, CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags).op("open the catalog")?;
    connection
        .busy_timeout(options.busy_timeout)
        .op("open the catalog")?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str, value: &str) -> Result<(), CatalogError> {
    connection
        .query_row(&format!("PRAGMA {name} = {value}"), [], |_| Ok(()))
        .or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            error => Err(error),
        })
        .op("configure the catalog")
}

/// Gives microseconds that never repeat or fall within this catalog, and entropy.
#[derive(Debug, Default)]
struct IdSource {
    last_micros: AtomicU64,
}

impl IdSource {
    fn next(&self, now: Timestamp) -> (u64, u64) {
        let now_micros = micros(now);
        let before = self
            .last_micros
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(now_micros.max(last + 1))
            })
            .unwrap_or_default();
        (now_micros.max(before + 1), entropy())
    }
}

/// `time` in microseconds; times before 1970 count as 1970.
pub(crate) fn micros(time: Timestamp) -> u64 {
    u64::try_from(time.0)
        .unwrap_or_default()
        .saturating_mul(1_000_000)
}

/// Bits that differ from call to call and from process to process: every `RandomState` has keys of its own, made from
/// the system's random numbers. Good for ids, not for secrets.
pub(crate) fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}

//! Connections and transactions.
//!
//! What a transaction promises is the same on every database (`sql` says how each keeps it): reads see one state, writes
//! come one after the other, and what was written is durable when the function returns.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{AccountId, Timestamp, Zone};

use crate::copy::{Target, schema_version};
use crate::error::CatalogError;
use crate::jobs::{Ledger, Renderer};
use crate::migrations::MIGRATIONS;
use crate::sql::postgres::{PostgresPlace, Wakes};
use crate::sql::{Database, Durability, Memo, Session, postgres, sqlite};

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
    database: Database,
    ids: IdSource,
    pub(crate) ledger: Ledger,
    renderer: Option<Renderer>,
    zone: Zone,
    jitter_seconds: u32,
    trash: Duration,
    commits: AtomicU64,
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
        Self::open_file(path, options, MIGRATIONS)
    }

    fn open_file(
        path: &Path,
        options: CatalogOptions,
        migrations: &'static [&'static str],
    ) -> Result<Self, CatalogError> {
        let settings = sqlite::Settings {
            reader_count: options.reader_count,
            busy_timeout: options.busy_timeout,
            max_page_count: options.max_page_count,
            migrations,
        };
        let database = sqlite::Database::open(path, &settings)?;
        Ok(Self::new(Database::Sqlite(database), options))
    }

    /// Opens a PostgreSQL database, which other servers may use at the same time, and brings its schema up to date.
    ///
    /// # Errors
    /// `Away` when it cannot be reached, `SchemaTooNew` when a newer program has migrated it.
    pub fn connect(place: &PostgresPlace, options: CatalogOptions) -> Result<Self, CatalogError> {
        Self::open_server(place, options, MIGRATIONS)
    }

    fn open_server(
        place: &PostgresPlace,
        options: CatalogOptions,
        migrations: &'static [&'static str],
    ) -> Result<Self, CatalogError> {
        let settings = postgres::Settings {
            reader_count: options.reader_count,
            busy_timeout: options.busy_timeout,
            migrations,
        };
        let database = postgres::Database::open(place, &settings)?;
        Ok(Self::new(Database::Postgres(Box::new(database)), options))
    }

    /// Opens a catalog with the schema of an older program: what a copy of that program's catalog is restored to.
    pub(crate) fn open_at(
        target: &Target,
        options: CatalogOptions,
        schema: i64,
    ) -> Result<Self, CatalogError> {
        let migrations = usize::try_from(schema)
            .ok()
            .and_then(|n| MIGRATIONS.get(..n));
        let migrations = migrations.ok_or(CatalogError::SchemaTooNew {
            found: schema,
            supported: schema_version(),
        })?;
        match target {
            Target::File(path) => Self::open_file(path, options, migrations),
            Target::Server(place) => Self::open_server(place, options, migrations),
        }
    }

    /// What tells that another server has put something to do into the catalog; none when no other can.
    #[must_use]
    pub fn wakes(&self) -> Option<Wakes> {
        match &self.database {
            Database::Sqlite(_) => None,
            Database::Postgres(database) => Some(database.wakes()),
        }
    }

    fn new(database: Database, options: CatalogOptions) -> Self {
        Self {
            database,
            ids: IdSource::default(),
            ledger: Ledger::new(options.ledger_dir),
            renderer: options.renderer,
            zone: options.zone,
            jitter_seconds: options.jitter_seconds,
            trash: options.trash,
            commits: AtomicU64::new(0),
        }
    }

    /// How many transactions that write have been committed since it was opened: for figures and tests.
    #[must_use]
    pub fn commit_count(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Runs `body` in a transaction that sees one state of the database.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        self.database.read(operation, |session, memo| {
            body(&self.reading(session, memo))
        })
    }

    /// As [`Catalog::read`]; `None` when a connection would have to be waited for, or another host. What `body` asks after
    /// it was told what is remembered may be `Busy`, when that is not the present state any more.
    pub(crate) fn try_read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        self.database.try_read(operation, |session, memo| {
            body(&self.reading(session, memo))
        })
    }

    /// Hands `body` one state of the catalog for several questions; `None` when a connection would have to be waited for, or
    /// another host. Each question but the first may find that the state has passed: `Busy`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn try_reading<T>(
        &self,
        body: impl FnOnce(&Reading<'_, '_>) -> T,
    ) -> Result<Option<T>, CatalogError> {
        self.try_read("read the catalog", |tx| Ok(body(&Reading(tx))))
    }

    fn reading<'a>(&self, session: Session<'a>, memo: Option<&'a Memo>) -> Tx<'a> {
        Tx {
            memo,
            ..Tx::new(session, self.renderer)
        }
    }

    /// Runs `body` in a transaction that is durable when this returns `Ok`, and leaves no trace otherwise.
    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        self.write_as(operation, Durability::Synced, body)
    }

    /// As [`Catalog::write`], but not synced: a loss of power may undo it (a crash of the program does not). Later
    /// durable transactions make it durable too, so the order of changes is kept.
    pub(crate) fn write_relaxed<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        self.write_as(operation, Durability::Relaxed, body)
    }

    fn write_as<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let (value, changed) = self.database.write(operation, durability, |session| {
            let tx = Tx::new(session, self.renderer);
            let value = body(&tx)?;
            Ok((value, tx.changed_accounts.into_inner()))
        })?;
        self.commits.fetch_add(1, Ordering::Relaxed);
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
}

/// One state of the catalog.
pub struct Reading<'t, 'c>(pub(crate) &'t Tx<'c>);

impl std::fmt::Debug for Reading<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

/// A transaction, as the functions of the catalog see it.
pub(crate) struct Tx<'a> {
    session: Session<'a>,
    /// Accounts whose jobs this transaction changed: their index follows once it is committed.
    changed_accounts: RefCell<BTreeSet<AccountId>>,
    renderer: Option<Renderer>,
    /// What is known of the state that this transaction sees; none when it writes.
    memo: Option<&'a Memo>,
}

impl<'a> Tx<'a> {
    fn new(session: Session<'a>, renderer: Option<Renderer>) -> Self {
        Self {
            session,
            changed_accounts: RefCell::default(),
            renderer,
            memo: None,
        }
    }

    /// What `read` gives about `key`, which must depend on nothing but the state of the database: remembered for as long
    /// as that state lasts.
    pub(crate) fn remembered<T: Send + Sync + 'static>(
        &self,
        kind: &'static str,
        key: &str,
        read: impl FnOnce() -> Result<T, CatalogError>,
    ) -> Result<Arc<T>, CatalogError> {
        if let Some(known) = self.memo.and_then(|memo| memo.get(kind, key)) {
            return Ok(known);
        }
        let fact = Arc::new(read()?);
        if let Some(memo) = self.memo {
            memo.put(kind, key, fact.clone());
        }
        Ok(fact)
    }

    /// Where its statements go.
    pub(crate) const fn session(&self) -> &Session<'a> {
        &self.session
    }

    /// Its connection, for tests of what is SQLite's own.
    #[cfg(test)]
    pub(crate) fn sqlite(&self) -> &rusqlite::Connection {
        match self.session {
            Session::Sqlite(connection) => connection,
            Session::SqliteReading(reading) => match reading.connection() {
                Ok(connection) => connection,
                Err(_) => unreachable!(),
            },
            Session::Postgres(_) => unreachable!(),
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

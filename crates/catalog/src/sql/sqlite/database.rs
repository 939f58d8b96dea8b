//! The connections to one SQLite file.
//!
//! One connection writes, behind a mutex: SQLite has one writer at a time anyway, and a queue of threads on a mutex is
//! fair and cheap where its busy handler would sleep. A few connections read, each in a transaction that sees one
//! state of the database; WAL lets them go on while the writer writes. The file is locked to this program by the
//! server's own lock, not here.

use std::cell::Cell;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{pragma, schema};
use crate::error::{CatalogError, SqlResult};
use crate::sql::pool::Pool;
use crate::sql::{Durability, Memo, Session};

/// Prepared statements that each connection keeps.
const STATEMENT_CACHE: usize = 128;
/// The WAL file is cut back to this size after a checkpoint, in bytes.
const WAL_SIZE_LIMIT: i64 = 64 << 20;

/// Mode of the file and of what lies beside it: its owner reads and writes.
const MODE: u32 = 0o600;
/// What SQLite puts beside the file.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Pages that each reading connection keeps at most; a history of a million jobs has half a gigabyte.
const READER_CACHE_KIB: u32 = 8 << 10;

/// How to open a file.
pub(crate) struct Settings {
    pub(crate) reader_count: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_page_count: Option<u32>,
    /// The migrations that it is to have.
    pub(crate) migrations: &'static [&'static str],
}

/// An open file.
pub(crate) struct Database {
    /// A mutex, not a read-write lock: every use of it writes.
    writer: Mutex<Connection>,
    readers: Pool<Reader>,
}

/// A connection that reads.
struct Reader {
    connection: Connection,
    memo: Memo,
}

impl Database {
    pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Self, CatalogError> {
        keep_private(path)?;
        let mut writer = connect(path, settings)?;
        // Also turns the file into a WAL database for good; readers find it so.
        set(&writer, "journal_mode", "WAL")?;
        set(&writer, "synchronous", "FULL")?;
        set(&writer, "foreign_keys", "ON")?;
        set(&writer, "journal_size_limit", &WAL_SIZE_LIMIT.to_string())?;
        if let Some(pages) = settings.max_page_count {
            set(&writer, "max_page_count", &pages.to_string())?;
        }
        schema::apply(&mut writer, settings.migrations)?;
        let readers = (0..settings.reader_count.max(1))
            .map(|_| {
                let reader = connect(path, settings)?;
                set(&reader, "query_only", "ON")?;
                set(&reader, "cache_size", &format!("-{READER_CACHE_KIB}"))?;
                Ok(Reader {
                    connection: reader,
                    memo: Memo::default(),
                })
            })
            .collect::<Result<Vec<_>, CatalogError>>()?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers: Pool::new(readers),
        })
    }

    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(Session<'_>, Option<&Memo>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        self.readers.take().read(operation, body)
    }

    /// As [`Database::read`]; `None` when all connections are in use. A body that needs no statement, because all that it
    /// asks is remembered, begins no transaction. One that does, and for which the state has passed meanwhile that it was
    /// told facts of, gets `Busy`.
    pub(crate) fn try_read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(Session<'_>, Option<&Memo>) -> Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        let Some(reader) = self.readers.try_take() else {
            return Ok(None);
        };
        let reading = sql(Reading::open(&reader), operation)?;
        body(Session::SqliteReading(&reading), Some(&reader.memo)).map(Some)
    }

    pub(crate) fn write<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        body: impl FnOnce(Session<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut writer = self.writer.lock();
        if durability == Durability::Synced {
            return run(&mut writer, operation, body);
        }
        set(&writer, "synchronous", "NORMAL")?;
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut writer, operation, body)));
        // Must not be skipped, whatever the body did: durable transactions rely on it.
        set(&writer, "synchronous", "FULL")?;
        drop(writer);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Reader {
    fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(Session<'_>, Option<&Memo>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let reading = sql(Reading::begin(self), operation)?;
        body(Session::SqliteReading(&reading), Some(&self.memo))
    }

    /// The number of the database's state. It is another one when anybody else, in this program or not, has committed since
    /// this connection last asked.
    fn state(&self) -> rusqlite::Result<i64> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version")?;
        statement.query_row([], |row| row.get(0))
    }

    /// Runs a statement of a transaction's bounds. It is kept prepared, which those of [`Connection::transaction`] are not.
    fn bound(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// A transaction that only reads, from its first statement on.
pub(crate) struct Reading<'a> {
    reader: &'a Reader,
    has_begun: Cell<bool>,
}

impl<'a> Reading<'a> {
    fn new(reader: &'a Reader) -> rusqlite::Result<Self> {
        if !reader.connection.is_autocommit() {
            // Its last transaction could not be ended then.
            reader.bound("ROLLBACK")?;
        }
        Ok(Self {
            reader,
            has_begun: Cell::new(false),
        })
    }

    /// One that has begun.
    fn begin(reader: &'a Reader) -> rusqlite::Result<Self> {
        let reading = Self::new(reader)?;
        reading.start()?;
        // The first statement fixes the state that the transaction sees.
        reader.memo.enter(reader.state()?);
        Ok(reading)
    }

    /// One that begins with the first statement; until then what is remembered of the present state can be asked.
    fn open(reader: &'a Reader) -> rusqlite::Result<Self> {
        let reading = Self::new(reader)?;
        reader.memo.enter(reader.state()?);
        Ok(reading)
    }

    fn start(&self) -> rusqlite::Result<()> {
        self.reader.bound("BEGIN")?;
        self.has_begun.set(true);
        Ok(())
    }

    /// Where the next statement goes.
    pub(crate) fn connection(&self) -> rusqlite::Result<&'a Connection> {
        if !self.has_begun.get() {
            self.start()?;
            if !self.reader.memo.goes_on(self.reader.state()?) {
                let passed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY_SNAPSHOT);
                return Err(rusqlite::Error::SqliteFailure(passed, None));
            }
        }
        Ok(&self.reader.connection)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.has_begun.get() {
            // Nothing was changed. What fails here is tried again by the next transaction.
            let _ = self.reader.bound("ROLLBACK");
        }
    }
}

fn run<T>(
    writer: &mut Connection,
    operation: &'static str,
    body: impl FnOnce(Session<'_>) -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    let begun = writer.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = sql(begun, operation)?;
    let value = body(Session::Sqlite(&transaction))?;
    sql(transaction.commit(), operation)?;
    Ok(value)
}

/// Makes the file if there is none, for its owner alone, as SQLite would not; SQLite gives what it puts beside the file the
/// same mode. What an older program made for more is closed to them.
fn keep_private(path: &Path) -> Result<(), CatalogError> {
    // What cannot be made is for SQLite to name, which does the same next.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    let beside = BESIDE.map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        name.into()
    });
    for file in [path.to_owned()].into_iter().chain(beside) {
        let is_open = file
            .metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0);
        if is_open {
            std::fs::set_permissions(&file, Permissions::from_mode(MODE)).map_err(|why| {
                CatalogError::Away {
                    place: file.display().to_string(),
                    detail: format!("other users of this host can read it: {why}"),
                }
            })?;
        }
    }
    Ok(())
}

fn connect(path: &Path, settings: &Settings) -> Result<Connection, CatalogError> {
    let operation = "open the catalog";
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = sql(Connection::open_with_flags(path, flags), operation)?;
    sql(connection.busy_timeout(settings.busy_timeout), operation)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

fn set(connection: &Connection, name: &str, value: &str) -> Result<(), CatalogError> {
    pragma(connection, &format!("PRAGMA {name} = {value}"))
        .map(drop)
        .op("configure the catalog")
}

fn sql<T>(result: rusqlite::Result<T>, operation: &'static str) -> Result<T, CatalogError> {
    result.map_err(crate::sql::SqlError::from).op(operation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::db::{Catalog, CatalogOptions};

    /// The modes of all files of the folder.
    fn modes(folder: &Path) -> BTreeMap<String, u32> {
        let mode = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (
                name,
                entry.metadata().unwrap().permissions().mode() & 0o7777,
            )
        };
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| mode(entry.unwrap())).collect()
    }

    fn private() -> BTreeMap<String, u32> {
        let names = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];
        names.map(|name| (name.to_owned(), MODE)).into()
    }

    #[test]
    fn nobody_else_reads_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        let open = || Catalog::open(&path, CatalogOptions::default()).unwrap();
        let catalog = open();
        assert_eq!(modes(folder.path()), private());
        // As an older program left them when it was killed.
        for name in private().keys() {
            let file = folder.path().join(name);
            std::fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        let second = open();
        assert_eq!(modes(folder.path()), private());
        drop((catalog, second));
    }
}

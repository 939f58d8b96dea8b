//! The whole catalog as a stream of bytes that any database of the catalog takes: for its backup, and for moving from one
//! kind of database to the other.
//!
//! [`dump`] reads all tables in one transaction, so the copy is of one state while everybody goes on writing. Rows come in
//! the order of their primary keys and are cut into segments by their content (`segment`): two copies of nearly the same
//! catalog are nearly the same segments, whichever databases they come from. Nothing is held but one segment.
//!
//! [`restore`] makes the tables of just the version that the copy has, puts all rows in within one transaction, and commits
//! only when the number of rows of each table is the one that the copy says at its end. What later versions changed is done
//! by the migrations when the catalog is opened.
//!
//! Knows nothing of secrets: those are sealed in the rows, and who keeps a copy seals it.

mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use segment::{SegmentReader, SegmentWriter};

use crate::catalog_backups;
use crate::conditions::{change, first, while_each};
use crate::db::{Catalog, CatalogOptions, Tx};
use crate::error::{CatalogError, SqlResult};
use crate::migrations::MIGRATIONS;
use crate::sql::postgres::PostgresPlace;
use crate::sql::{Param, TableShape};

/// Tables that others refer to; their rows go in first.
const PARENTS: [&str; 2] = ["accounts", "policies"];
/// Rows of one statement that inserts: few enough for the values that a database takes in one.
const ROWS_AT_ONCE: usize = 50;

/// How many rows each table has.
pub type RowCounts = BTreeMap<String, u64>;

/// The version of the schema that a copy made now has.
#[must_use]
pub fn schema_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Where a copy is restored to.
#[derive(Debug, Clone)]
pub enum Target {
    /// A file of SQLite.
    File(PathBuf),
    /// A PostgreSQL database.
    Server(Box<PostgresPlace>),
}

/// What a restore reads, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A segment, as [`dump`] gave it.
    Segment(Vec<u8>),
    /// There are no more, and this is what there were.
    End(RowCounts),
}

/// Why a copy could not be restored. Nothing was put into the database then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError<E: std::error::Error + 'static> {
    /// The database failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The copy could not be read.
    #[error(transparent)]
    Source(E),
    /// There is a catalog already.
    #[error(
        "there is a catalog already (table {table} has rows); a backup is restored to where there is none"
    )]
    NotEmpty {
        /// A table with rows.
        table: String,
    },
    /// The copy is not what this program writes.
    #[error("the copy of the catalog is damaged: {detail}")]
    Damaged {
        /// What is wrong.
        detail: String,
    },
}

const DUMP: &str = "copy the catalog";
const RESTORE: &str = "restore the catalog";

/// Hands all rows to `take`, a segment at a time, until it says `false`; gives the number of rows of each table unless it
/// did.
///
/// # Errors
/// The database failed, or holds what no program of ours writes.
pub fn dump(
    catalog: &Catalog,
    take: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<Option<RowCounts>, CatalogError> {
    catalog.read(DUMP, |tx| {
        let mut counts = RowCounts::new();
        for table in tables(tx, DUMP)? {
            match dump_table(tx, &table, take)? {
                Some(count) => counts.insert(table.name, count),
                None => return Ok(None),
            };
        }
        Ok(Some(counts))
    })
}

fn tables(tx: &Tx<'_>, operation: &'static str) -> Result<Vec<TableShape>, CatalogError> {
    let mut tables = tx.session().tables().op(operation)?;
    tables.sort_by_key(|table| {
        let place = PARENTS.iter().position(|parent| *parent == table.name);
        (place.unwrap_or(PARENTS.len()), table.name.clone())
    });
    Ok(tables)
}

fn dump_table(
    tx: &Tx<'_>,
    table: &TableShape,
    take: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<Option<u64>, CatalogError> {
    let sql = format!(
        "/* whole */ SELECT * FROM {} ORDER BY {}",
        table.name,
        table.key.join(", ")
    );
    let mut writer = SegmentWriter::new(&table.name);
    let is_whole = while_each(tx, DUMP, &sql, [], |row| match writer.push(row)? {
        Some(segment) => Ok(take(segment)),
        None => Ok(true),
    })?;
    if !is_whole {
        return Ok(None);
    }
    let (last, count) = writer.finish().op(DUMP)?;
    Ok(last.is_none_or(take).then_some(count))
}

/// Puts a copy into an empty database. `schema` is the [`schema_version`] of the program that made the copy.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore<E: std::error::Error + 'static>(
    target: &Target,
    schema: i64,
    next: &mut dyn FnMut() -> Result<Piece, E>,
) -> Result<RowCounts, RestoreError<E>> {
    let catalog = Catalog::open_at(target, CatalogOptions::default(), schema)?;
    // The closure's errors are the catalog's; this one carries the others past it.
    let mut other = None;
    let restored = catalog.write(RESTORE, |tx| {
        insert_all(tx, next).map_err(|error| match error {
            RestoreError::Catalog(error) => error,
            error => {
                other = Some(error);
                CatalogError::Busy
            }
        })
    });
    match (restored, other) {
        (_, Some(error)) => Err(error),
        (restored, None) => Ok(restored?),
    }
}

fn insert_all<E: std::error::Error + 'static>(
    tx: &Tx<'_>,
    next: &mut dyn FnMut() -> Result<Piece, E>,
) -> Result<RowCounts, RestoreError<E>> {
    let tables = tables(tx, RESTORE)?;
    for table in &tables {
        let sql = format!("/* whole */ SELECT 1 FROM {} LIMIT 1", table.name);
        if first(tx, RESTORE, &sql, [], |_| Ok(()))?.is_some() {
            return Err(RestoreError::NotEmpty {
                table: table.name.clone(),
            });
        }
    }
    let mut counts: RowCounts = tables.iter().map(|table| (table.name.clone(), 0)).collect();
    let expected = loop {
        match next().map_err(RestoreError::Source)? {
            Piece::Segment(packed) => insert_segment(tx, &packed, &mut counts)?,
            Piece::End(expected) => break expected,
        }
    };
    if counts != expected {
        return Err(RestoreError::Damaged {
            detail: "it does not have the rows that it says".to_owned(),
        });
    }
    tx.session().numbers_follow().op(RESTORE)?;
    catalog_backups::after_restore(tx)?;
    Ok(counts)
}

fn insert_segment<E: std::error::Error + 'static>(
    tx: &Tx<'_>,
    packed: &[u8],
    counts: &mut RowCounts,
) -> Result<(), RestoreError<E>> {
    let damaged = |detail: &str| RestoreError::Damaged {
        detail: detail.to_owned(),
    };
    let bytes = segment::unpack(packed).map_err(damaged)?;
    let mut reader = SegmentReader::new(&bytes).map_err(damaged)?;
    let count = counts
        .get_mut(reader.table)
        .ok_or_else(|| damaged("it names a table that there is not"))?;
    if !reader.columns.iter().all(|name| is_name(name)) {
        return Err(damaged("it names a column that there cannot be"));
    }
    let (one, many) = (insert_sql(&reader, 1), insert_sql(&reader, ROWS_AT_ONCE));
    let width = reader.columns.len();
    let mut values: Vec<Param<'_>> = Vec::with_capacity(width * ROWS_AT_ONCE);
    while reader.row_into(&mut values).map_err(damaged)? {
        *count += 1;
        if values.len() == width * ROWS_AT_ONCE {
            change(tx, RESTORE, &many, &values[..])?;
            values.clear();
        }
    }
    for row in values.chunks(width) {
        change(tx, RESTORE, &one, row)?;
    }
    Ok(())
}

/// Names go into statements as they are.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn insert_sql(segment: &SegmentReader<'_>, row_count: usize) -> String {
    let row = format!("({})", crate::conditions::marks(segment.columns.len()));
    format!(
        "INSERT INTO {} ({}) VALUES {}",
        segment.table,
        segment.columns.join(", "),
        vec![row; row_count].join(", ")
    )
}

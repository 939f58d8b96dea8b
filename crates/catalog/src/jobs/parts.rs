//! Parts of the job ledger in the database: numbering, versions, the change log.
//!
//! A part is the jobs of one account and source type. Every change of a field that can be filtered by takes the part's
//! row, raises its version and adds to the change log, all in the transaction of the change: whoever has an index of
//! version `n` brings it to the present one by the entries above `n`, and knows when that is not possible any more.

use std::ops::RangeInclusive;

use model::{AccountId, SourceType};

use crate::conditions::{all, change, first};
use crate::db::{Tx, entropy};
use crate::error::{CatalogError, Entity};
use crate::row::RowReader;
use crate::sql::params;

/// Bits of a job's number in the id of its row.
const SEQ_BITS: u32 = 32;

/// A state of a part. Numbers alone do not tell it: a database that was put back to an older copy counts on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Rises by one with each change.
    pub(super) number: i64,
    /// Random, with each change.
    pub(super) stamp: i64,
}

impl Version {
    /// That of an index that has seen nothing.
    pub(super) const NONE: Self = Self {
        number: -1,
        stamp: 0,
    };
}

/// A part's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) part_id: i64,
    pub(super) source_type: SourceType,
    pub(super) version: Version,
    /// The number of its next job.
    pub(super) end_seq: i64,
}

/// What the change log says of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Added,
    Changed,
    Deleted,
    /// Those that a row of `job_removals` with this version tells of.
    Hidden,
}

impl ChangeKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Changed => "CHANGED",
            Self::Deleted => "DELETED",
            Self::Hidden => "HIDDEN",
        }
    }
}

/// An entry of the change log: what became of jobs with these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) version: Version,
    pub(super) kind: ChangeKind,
    pub(super) first_seq: u32,
    pub(super) last_seq: u32,
}

/// The id of a job's row.
pub(super) fn row_id(part_id: i64, seq: u32) -> i64 {
    (part_id << SEQ_BITS) + i64::from(seq)
}

/// The ids of all rows that a part can have.
pub(super) fn all_rows(part_id: i64) -> RangeInclusive<i64> {
    row_id(part_id, 0)..=row_id(part_id, u32::MAX)
}

/// The part and number behind the id of a row.
pub(super) fn split_row_id(row_id: i64) -> (i64, u32) {
    // The remainder of a division by 2^32 always fits.
    (
        row_id >> SEQ_BITS,
        u32::try_from(row_id & i64::from(u32::MAX)).unwrap_or_default(),
    )
}

/// The parts of an account, in the order of their ids.
pub(super) fn of_account(tx: &Tx<'_>, account_id: &AccountId) -> Result<Vec<Part>, CatalogError> {
    let sql = "SELECT part_id, source_type, version, stamp, next_seq FROM job_parts WHERE account_id = ? ORDER BY part_id";
    all(
        tx,
        "read the ledger's parts",
        sql,
        [account_id.as_str()],
        |row| {
            Ok(Part {
                part_id: row.get(0)?,
                source_type: row.parsed("source_type")?,
                version: Version {
                    number: row.get(2)?,
                    stamp: row.get(3)?,
                },
                end_seq: row.get(4)?,
            })
        },
    )
}

/// Takes numbers for `count` new jobs, all of which must be written in this transaction: gives the part and the first
/// number.
pub(super) fn add(
    tx: &Tx<'_>,
    account_id: &AccountId,
    source_type: SourceType,
    count: u32,
) -> Result<(i64, u32), CatalogError> {
    let operation = "number jobs";
    let ids = [account_id.as_str(), source_type.as_str()];
    let sql = "UPDATE job_parts SET version = version + 1, stamp = ?, next_seq = next_seq + ? \
               WHERE account_id = ? AND source_type = ? RETURNING part_id, version, stamp, next_seq";
    let take = || {
        let values = params![new_stamp(), i64::from(count), ids[0], ids[1]];
        first(tx, operation, sql, values, |row| {
            let version = Version {
                number: row.get(1)?,
                stamp: row.get(2)?,
            };
            Ok((row.get(0)?, version, row.get::<_, i64>(3)?))
        })
    };
    let taken = match take()? {
        Some(taken) => Some(taken),
        None => {
            // Only now: an insertion that does nothing would use up a number of a part.
            let sql = "INSERT INTO job_parts (account_id, source_type, version, stamp, next_seq) \
                       VALUES (?, ?, 0, 0, 0)";
            change(tx, operation, sql, ids)?;
            take()?
        }
    };
    let (part_id, version, next_seq) =
        taken.ok_or_else(|| CatalogError::not_found(Entity::Account, account_id))?;
    // Numbers end at 2^32: four thousand million jobs of one account and source type.
    let Ok(end) = u32::try_from(next_seq) else {
        return Err(CatalogError::Full);
    };
    let first_seq = end - count;
    let entry = Change {
        version,
        kind: ChangeKind::Added,
        first_seq,
        last_seq: end.saturating_sub(1),
    };
    log(tx, account_id, part_id, &entry)?;
    Ok((part_id, first_seq))
}

/// Notes that fields of a job changed.
pub(super) fn note_changed(
    tx: &Tx<'_>,
    account_id: &AccountId,
    row_id: i64,
) -> Result<(), CatalogError> {
    let (part_id, seq) = split_row_id(row_id);
    let entry = Change {
        version: raise(tx, part_id)?,
        kind: ChangeKind::Changed,
        first_seq: seq,
        last_seq: seq,
    };
    log(tx, account_id, part_id, &entry)
}

/// Notes that jobs of a part were deleted; `seqs` rise.
pub(super) fn note_deleted(
    tx: &Tx<'_>,
    account_id: &AccountId,
    part_id: i64,
    seqs: &[u32],
) -> Result<(), CatalogError> {
    if seqs.is_empty() {
        return Ok(());
    }
    let version = raise(tx, part_id)?;
    for range in seqs.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        let (Some(first), Some(last)) = (range.first(), range.last()) else {
            continue;
        };
        let entry = Change {
            version,
            kind: ChangeKind::Deleted,
            first_seq: *first,
            last_seq: *last,
        };
        log(tx, account_id, part_id, &entry)?;
    }
    Ok(())
}

/// Notes that jobs of a part are hidden, of those that it has: gives the version with which they are, and the number of
/// its next job.
pub(super) fn note_hidden(
    tx: &Tx<'_>,
    account_id: &AccountId,
    part_id: i64,
) -> Result<(i64, i64), CatalogError> {
    let operation = "hide jobs";
    let version = raise(tx, part_id)?;
    let sql = "SELECT next_seq FROM job_parts WHERE part_id = ?";
    let next_seq: i64 = first(tx, operation, sql, [part_id], |row| row.get(0))?.unwrap_or_default();
    let last_seq = u32::try_from(next_seq - 1).unwrap_or_default();
    let entry = Change {
        version,
        kind: ChangeKind::Hidden,
        first_seq: 0,
        last_seq,
    };
    log(tx, account_id, part_id, &entry)?;
    Ok((version.number, next_seq))
}

fn new_stamp() -> i64 {
    entropy().cast_signed()
}

fn raise(tx: &Tx<'_>, part_id: i64) -> Result<Version, CatalogError> {
    let operation = "raise a part's version";
    let sql = "UPDATE job_parts SET version = version + 1, stamp = ? WHERE part_id = ? RETURNING version, stamp";
    first(tx, operation, sql, [new_stamp(), part_id], |row| {
        Ok(Version {
            number: row.get(0)?,
            stamp: row.get(1)?,
        })
    })?
    .ok_or_else(|| CatalogError::Damaged {
        operation,
        detail: format!("part {part_id} of the job ledger is missing"),
    })
}

fn log(
    tx: &Tx<'_>,
    account_id: &AccountId,
    part_id: i64,
    entry: &Change,
) -> Result<(), CatalogError> {
    tx.note_change(account_id);
    let sql = "INSERT INTO job_changes (part_id, version, stamp, first_seq, last_seq, kind) VALUES (?, ?, ?, ?, ?, ?)";
    let values = params![
        part_id,
        entry.version.number,
        entry.version.stamp,
        entry.first_seq,
        entry.last_seq,
        entry.kind.as_str()
    ];
    change(tx, "log a change", sql, values)?;
    Ok(())
}

/// The changes of a part after a version, in order; `None` when the log does not lead on from there.
pub(super) fn changes_after(
    tx: &Tx<'_>,
    part_id: i64,
    version: Version,
) -> Result<Option<Vec<Change>>, CatalogError> {
    let sql = "SELECT version, stamp, first_seq, last_seq, kind FROM job_changes WHERE part_id = ? AND version >= ? \
               ORDER BY version, first_seq";
    let mut changes = all(tx, "read changes", sql, [part_id, version.number], |row| {
        let kind: String = row.get(4)?;
        Ok(Change {
            version: Version {
                number: row.get(0)?,
                stamp: row.get(1)?,
            },
            first_seq: row.get(2)?,
            last_seq: row.get(3)?,
            kind: match kind.as_str() {
                "ADDED" => ChangeKind::Added,
                "DELETED" => ChangeKind::Deleted,
                "HIDDEN" => ChangeKind::Hidden,
                // Reading a job anew is right whatever happened to it.
                _ => ChangeKind::Changed,
            },
        })
    })?;
    let leads_on = changes
        .first()
        .is_some_and(|first| first.version == version);
    changes.retain(|change| change.version != version);
    Ok(leads_on.then_some(changes))
}

/// Cuts off the changes of a part before a version.
pub(super) fn forget_changes(tx: &Tx<'_>, part_id: i64, version: i64) -> Result<(), CatalogError> {
    let sql = "DELETE FROM job_changes WHERE part_id = ? AND version < ?";
    change(tx, "forget changes", sql, [part_id, version])?;
    // Their rows are gone, and no index will ask for them.
    let sql = "DELETE FROM job_removals WHERE part_id = ? AND version < ? AND next_seq >= end_seq";
    change(tx, "forget removals", sql, [part_id, version])?;
    Ok(())
}

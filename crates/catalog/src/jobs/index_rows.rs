//! Feeding an index from the database: the changes since its version, or all rows.

use std::borrow::Cow;

use model::{JobStatus, SourceType};

use super::kept_bodies::KeptBodies;
use super::ledger::IndexedPart;
use super::parts::{self, Change, ChangeKind, Version};
use super::removals::{Hidden, Removal};
use crate::conditions::{each, first, while_each};
use crate::db::Tx;
use crate::error::CatalogError;
use crate::ledger::{IndexRow, PartIndex, StateCounts};
use crate::row::RowReader;
use crate::sql::{Row, Value, damage};

/// The columns that the index needs, the first of their table.
const COLUMNS: &str = "row_id, job_id, created_time, status, complete_time, region_id, plan_id, vault_id, instance_id, \
                       bucket, file_system_id, instance_name, backup_type, parent_id";

/// Hands a row to `take` as the index sees it, without copying its texts.
fn read<T>(row: &Row<'_>, take: impl FnOnce(&IndexRow<'_>) -> T) -> crate::sql::Result<T> {
    let mut texts: [Option<Cow<'_, str>>; 9] = Default::default();
    for (number, place) in texts.iter_mut().enumerate() {
        *place = row.text_opt(5 + number)?;
    }
    let job_id = row.text(1)?;
    Ok(take(&IndexRow {
        seq: parts::split_row_id(row.get(0)?).1,
        job_id: &job_id,
        created_time: row.get(2)?,
        status: status(row)?,
        complete_time: row.get(4)?,
        texts: texts.each_ref().map(Option::as_deref),
    }))
}

/// The state; by its place, since a name is looked for among all columns.
fn status(row: &Row<'_>) -> crate::sql::Result<JobStatus> {
    let word = row.text(3)?;
    let status = word.parse();
    status.map_err(|_| damage(format!("column status: {word}")))
}

/// Brings an index to the part's present version by the change log, and drops the bodies of jobs that were changed or
/// deleted; `false` when the log does not reach back.
pub(super) fn catch_up(
    tx: &Tx<'_>,
    indexed: &mut IndexedPart,
    bodies: &KeptBodies,
    present: Version,
) -> Result<bool, CatalogError> {
    let Some(changes) = parts::changes_after(tx, indexed.part_id, indexed.version)? else {
        return Ok(false);
    };
    for change in &changes {
        let row = |seq| parts::row_id(indexed.part_id, seq);
        bodies.forget(row(change.first_seq)..=row(change.last_seq));
        // Whatever fails in between leaves the index at the version before, and every step can be repeated.
        if !apply(tx, indexed, change)? {
            return Ok(false);
        }
    }
    indexed.version = present;
    Ok(true)
}

/// Applies one entry; `false` when the index does not have what it should.
fn apply(tx: &Tx<'_>, indexed: &mut IndexedPart, change: &Change) -> Result<bool, CatalogError> {
    let part_id = indexed.part_id;
    let index = &mut indexed.index;
    match change.kind {
        ChangeKind::Added => {
            add(tx, index, part_id, change.first_seq, change.last_seq).map(|()| true)
        }
        ChangeKind::Changed => {
            let sql = "SELECT status, complete_time FROM jobs WHERE row_id = ?";
            let row_id = parts::row_id(part_id, change.first_seq);
            let state = first(tx, "read a job's state", sql, [row_id], |row| {
                let status: JobStatus = row.parsed("status")?;
                Ok((status, row.get(1)?))
            })?;
            // A job that is gone was deleted by a later entry.
            Ok(state.is_none_or(|(status, complete_time)| {
                index.change(change.first_seq, status, complete_time)
            }))
        }
        ChangeKind::Deleted => {
            (change.first_seq..=change.last_seq).for_each(|seq| index.delete(seq));
            Ok(true)
        }
        ChangeKind::Hidden => {
            let removal = Removal::of_version(tx, part_id, change.version.number)?;
            Ok(removal.is_some_and(|removal| {
                let (key, text) = removal.text();
                index.delete_all(key, text, change.last_seq);
                true
            }))
        }
    }
}

/// Adds the jobs of a range in the order of creation, those that the index has already left out.
fn add(
    tx: &Tx<'_>,
    index: &mut PartIndex,
    part_id: i64,
    first_seq: u32,
    last_seq: u32,
) -> Result<(), CatalogError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs WHERE row_id BETWEEN ? AND ? ORDER BY created_time, job_id"
    );
    let range = [
        parts::row_id(part_id, first_seq),
        parts::row_id(part_id, last_seq),
    ];
    each(tx, "read new jobs", &sql, range, |row| {
        read(row, |row| {
            if !index.has(row.seq) {
                index.push(row);
            }
        })
    })?;
    index.settle();
    Ok(())
}

/// Builds an index anew from all rows of its part.
pub(super) fn rebuild(tx: &Tx<'_>, indexed: &mut IndexedPart) -> Result<(), CatalogError> {
    indexed.index = build(tx, indexed.part_id, indexed.index.source_type())?;
    Ok(())
}

fn build(tx: &Tx<'_>, part_id: i64, source_type: SourceType) -> Result<PartIndex, CatalogError> {
    let operation = "read all jobs";
    let range = [parts::row_id(part_id, 0), parts::row_id(part_id, u32::MAX)];
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE row_id BETWEEN ? AND ? ORDER BY row_id");
    let hidden = Hidden::of_part(tx, part_id)?;
    let push = |index: &mut PartIndex, row: &IndexRow<'_>| {
        let [_, plan_id, vault_id, ..] = row.texts;
        if !hidden.has(row.seq, plan_id, vault_id) {
            index.push(row);
        }
    };
    let mut index = PartIndex::new(source_type);
    let is_whole = while_each(tx, operation, &sql, range, |row| {
        read(row, |row| push(&mut index, row))?;
        Ok(!index.is_scattered())
    })?;
    if is_whole {
        index.settle();
        return Ok(index);
    }
    // Imported in many pieces: find the order first, then read along it.
    let mut index = PartIndex::new(source_type);
    for (first_seq, last_seq) in order(tx, part_id)? {
        let range = [
            parts::row_id(part_id, first_seq),
            parts::row_id(part_id, last_seq),
        ];
        each(tx, operation, &sql, range, |row| {
            read(row, |row| push(&mut index, row))
        })?;
    }
    index.settle();
    Ok(index)
}

/// The numbers of a part's jobs in the order of (CreatedTime, JobId), as ranges.
fn order(tx: &Tx<'_>, part_id: i64) -> Result<Vec<(u32, u32)>, CatalogError> {
    let operation = "order all jobs";
    let range = [parts::row_id(part_id, 0), parts::row_id(part_id, u32::MAX)];
    let sql = "SELECT row_id, created_time FROM jobs WHERE row_id BETWEEN ? AND ?";
    let mut jobs: Vec<(i64, u32)> = Vec::new();
    each(tx, operation, sql, range, |row| {
        jobs.push((row.get(1)?, parts::split_row_id(row.get(0)?).1));
        Ok(())
    })?;
    jobs.sort_unstable();
    // Within a second, by the ids.
    let sql = "SELECT job_id FROM jobs WHERE row_id = ?";
    for same in jobs
        .chunk_by_mut(|a, b| a.0 == b.0)
        .filter(|same| same.len() > 1)
    {
        let mut named = Vec::with_capacity(same.len());
        for (time, seq) in same.iter() {
            let id: Option<String> =
                first(tx, operation, sql, [parts::row_id(part_id, *seq)], |row| {
                    row.get(0)
                })?;
            named.push((id, (*time, *seq)));
        }
        named.sort_unstable();
        same.iter_mut()
            .zip(named)
            .for_each(|(job, (_, named))| *job = named);
    }
    let ranges = jobs.chunk_by(|a, b| a.1.checked_add(1) == Some(b.1));
    Ok(ranges
        .filter_map(|range| Some((range.first()?.1, range.last()?.1)))
        .collect())
}

/// The jobs of a part by state, counted by the database.
pub(super) fn counts(tx: &Tx<'_>, part_id: i64) -> Result<StateCounts, CatalogError> {
    let range = [parts::row_id(part_id, 0), parts::row_id(part_id, u32::MAX)];
    let mut values = range.map(Value::Integer).to_vec();
    let mut sql =
        "SELECT status, COUNT(*), COUNT(complete_time) FROM jobs WHERE row_id BETWEEN ? AND ?"
            .to_owned();
    Hidden::of_part(tx, part_id)?.mask(&mut sql, &mut values);
    sql.push_str(" GROUP BY status");
    let mut counts = StateCounts::default();
    each(tx, "count jobs", &sql, &values[..], |row| {
        let status: JobStatus = row.parsed("status")?;
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        counts[status as usize] = (count(1)?, count(2)?);
        Ok(())
    })?;
    Ok(counts)
}

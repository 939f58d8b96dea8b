//! A job's row, and how jobs get their ids.

use model::{AccountId, JobId, Timestamp};

use super::body::{self, Renderer};
use super::{parts, removals};
use crate::conditions::{change, first};
use crate::db::{Tx, entropy, micros};
use crate::error::{CatalogError, Entity};
use crate::records::Job;
use crate::row::{RowReader, json, seconds, text};
use crate::sql::{Row, params};
use crate::work;

/// The id and creation time of the account's next job. Both rise with every job, even when the clock falls: order by
/// id, by creation time and by insertion are the same.
pub(super) fn next_id(
    tx: &Tx<'_>,
    account_id: &AccountId,
    now: Timestamp,
) -> Result<(JobId, Timestamp), CatalogError> {
    let operation = "make a job id";
    let sql = "SELECT last_job_micros FROM accounts WHERE account_id = ?";
    let last: i64 = first(tx, operation, sql, [account_id.as_str()], |row| {
        row.get("last_job_micros")
    })?
    .ok_or_else(|| CatalogError::not_found(Entity::Account, account_id))?;
    let next = micros(now).max(last.unsigned_abs() + 1);
    let next_signed = i64::try_from(next).unwrap_or(i64::MAX);
    let sql = "UPDATE accounts SET last_job_micros = ? WHERE account_id = ?";
    change(
        tx,
        operation,
        sql,
        params![next_signed, account_id.as_str()],
    )?;
    Ok((
        JobId::new(next, entropy()),
        Timestamp(next_signed / 1_000_000),
    ))
}

pub(super) fn read(row: &Row<'_>) -> crate::sql::Result<Job> {
    Ok(Job {
        account_id: row.parsed("account_id")?,
        job_id: row.parsed("job_id")?,
        job_name: row.get("job_name")?,
        region_id: row.get("region_id")?,
        source_type: row.parsed("source_type")?,
        backup_type: row.get("backup_type")?,
        status: row.parsed("status")?,
        vault_id: row.parsed_opt("vault_id")?,
        plan_id: row.parsed_opt("plan_id")?,
        client_id: row.parsed_opt("client_id")?,
        instance_id: row.parsed_opt("instance_id")?,
        bucket: row.get("bucket")?,
        file_system_id: row.get("file_system_id")?,
        instance_name: row.get("instance_name")?,
        parent_id: row.parsed_opt("parent_id")?,
        trigger_mode: row.parsed_opt("trigger_mode")?,
        paths: row.json("paths")?,
        include: row.get("include")?,
        exclude: row.get("exclude")?,
        speed_limit: row.get("speed_limit")?,
        options: row.get("options")?,
        retention: row.get("retention")?,
        source_fields: row.json("source_fields")?,
        created_time: row.time("created_time")?,
        start_time: row.time_opt("start_time")?,
        complete_time: row.time_opt("complete_time")?,
        updated_time: row.time("updated_time")?,
        progress: work::read_progress(row)?,
        error_message: row.get("error_message")?,
    })
}

pub(super) fn find(
    tx: &Tx<'_>,
    account_id: &AccountId,
    job_id: &JobId,
) -> Result<Option<Job>, CatalogError> {
    if removals::hides(tx, account_id, job_id.as_str())? {
        return Ok(None);
    }
    let sql = "SELECT * FROM jobs WHERE account_id = ? AND job_id = ?";
    let ids = [account_id.as_str(), job_id.as_str()];
    first(tx, "read a job", sql, ids, read)
}

/// Writes a new job as the next of its part.
pub(super) fn insert(tx: &Tx<'_>, job: &Job) -> Result<(), CatalogError> {
    let (part_id, seq) = parts::add(tx, &job.account_id, job.source_type, 1)?;
    insert_as(tx, job, parts::row_id(part_id, seq), None)
}

/// Writes a job into a row that [`parts::add`] gave.
pub(super) fn insert_as(
    tx: &Tx<'_>,
    job: &Job,
    row_id: i64,
    body: Option<&[u8]>,
) -> Result<(), CatalogError> {
    let sql = "INSERT INTO jobs (row_id, account_id, job_id, created_time, status, complete_time, region_id, plan_id, \
               vault_id, instance_id, bucket, file_system_id, instance_name, backup_type, parent_id, source_type, \
               job_name, client_id, trigger_mode, paths, include, exclude, speed_limit, options, retention, \
               source_fields, start_time, updated_time, progress, speed, bytes_total, bytes_done, actual_bytes, \
               items_total, items_done, actual_items, files_total, files_done, actual_files, error_count, \
               error_message, body) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
               ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let progress = &job.progress;
    let values = params![
        row_id,
        job.account_id.as_str(),
        job.job_id.as_str(),
        job.created_time.0,
        job.status.as_str(),
        seconds(job.complete_time),
        job.region_id,
        text(&job.plan_id),
        text(&job.vault_id),
        text(&job.instance_id),
        job.bucket,
        job.file_system_id,
        job.instance_name,
        job.backup_type,
        text(&job.parent_id),
        job.source_type.as_str(),
        job.job_name,
        text(&job.client_id),
        job.trigger_mode.map(|mode| mode.as_str()),
        json(&job.paths),
        job.include,
        job.exclude,
        job.speed_limit,
        job.options,
        job.retention,
        json(&job.source_fields),
        seconds(job.start_time),
        job.updated_time.0,
        progress.progress,
        progress.speed,
        progress.bytes_total,
        progress.bytes_done,
        progress.actual_bytes,
        progress.items_total,
        progress.items_done,
        progress.actual_items,
        progress.files_total,
        progress.files_done,
        progress.actual_files,
        progress.error_count,
        job.error_message,
        body
    ];
    change(tx, "create a job", sql, values)?;
    Ok(())
}

/// The row of a job, be it hidden.
pub(super) fn row_id(
    tx: &Tx<'_>,
    account_id: &AccountId,
    job_id: &str,
) -> Result<Option<i64>, CatalogError> {
    let sql = "SELECT row_id FROM jobs WHERE account_id = ? AND job_id = ?";
    first(
        tx,
        "find a job",
        sql,
        [account_id.as_str(), job_id],
        |row| row.get(0),
    )
}

/// The packed JSON of a job, when the catalog was given something that makes it.
pub(super) fn packed_body(renderer: Option<Renderer>, job: &Job) -> Option<Vec<u8>> {
    renderer.and_then(|renderer| body::pack(renderer.version, &(renderer.render)(job)))
}

/// Keeps the JSON of a job that has ended, in the transaction that notes the change: what is kept is not changed after.
pub(super) fn keep_body(tx: &Tx<'_>, job: &Job) -> Result<(), CatalogError> {
    let Some(packed) = packed_body(tx.renderer(), job) else {
        return Ok(());
    };
    let sql = "UPDATE jobs SET body = ? WHERE account_id = ? AND job_id = ?";
    let values = params![packed, job.account_id.as_str(), job.job_id.as_str()];
    change(tx, "keep a job's body", sql, values)?;
    Ok(())
}

/// The JSON that is kept of the job in a row, if it is of the present form.
pub(super) fn kept_body(tx: &Tx<'_>, row_id: i64) -> Result<Option<Vec<u8>>, CatalogError> {
    let sql = "SELECT body FROM jobs WHERE row_id = ?";
    let kept = first(tx, "read a job's body", sql, [row_id], |row| {
        let packed = row.blob_opt(0)?;
        Ok(packed.and_then(|packed| body::unpack(tx.renderer(), packed)))
    })?;
    Ok(kept.flatten())
}

/// The JSON of the job in a row, made of its columns.
pub(super) fn make_body(tx: &Tx<'_>, row_id: i64) -> Result<Option<Vec<u8>>, CatalogError> {
    let sql = "SELECT * FROM jobs WHERE row_id = ?";
    let job = first(tx, "read a job", sql, [row_id], read)?;
    Ok(job
        .zip(tx.renderer())
        .map(|(job, renderer)| (renderer.render)(&job)))
}

/// Notes in the ledger that a job's state changed.
pub(crate) fn note_changed(
    tx: &Tx<'_>,
    account_id: &AccountId,
    job_id: &str,
) -> Result<(), CatalogError> {
    match row_id(tx, account_id, job_id)? {
        Some(row_id) => parts::note_changed(tx, account_id, row_id),
        None => Err(CatalogError::not_found(Entity::Job, job_id)),
    }
}

/// Removes a job with what hangs on it. The ledger is the caller's to tell.
pub(super) fn remove(
    tx: &Tx<'_>,
    account_id: &AccountId,
    job_id: &str,
    row_id: i64,
) -> Result<(), CatalogError> {
    work::remove(tx, account_id, job_id)?;
    let sql = "DELETE FROM jobs WHERE row_id = ?";
    change(tx, "remove a job", sql, [row_id])?;
    Ok(())
}

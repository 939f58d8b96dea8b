//! A job's row, and how jobs get their ids.

use model::{AccountId, JobId, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::conditions::{change, first};
use crate::db::{entropy, micros};
use crate::error::{CatalogError, Entity};
use crate::records::Job;
use crate::row::{RowReader, json, seconds, text};
use crate::work;

/// The id and creation time of the account's next job. Both rise with every job, even when the clock falls: order by
/// id, by creation time and by insertion are the same.
pub(super) fn next_id(
    tx: &Connection,
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

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
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
    connection: &Connection,
    account_id: &AccountId,
    job_id: &JobId,
) -> Result<Option<Job>, CatalogError> {
    let sql = "SELECT * FROM jobs WHERE account_id = ? AND job_id = ?";
    first(
        connection,
        "read a job",
        sql,
        [account_id.as_str(), job_id.as_str()],
        read,
    )
}

pub(super) fn insert(tx: &Connection, job: &Job) -> Result<(), CatalogError> {
    let sql = "INSERT INTO jobs (account_id, job_id, job_name, region_id, source_type, backup_type, status, vault_id, \
               plan_id, client_id, instance_id, bucket, file_system_id, instance_name, parent_id, trigger_mode, paths, \
               include, exclude, speed_limit, options, retention, source_fields, created_time, start_time, \
               complete_time, updated_time, progress, speed, bytes_total, bytes_done, actual_bytes, items_total, \
               items_done, actual_items, files_total, files_done, actual_files, error_count, error_message) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
               ?, ?, ?, ?, ?, ?, ?, ?)";
    let progress = &job.progress;
    let values = params![
        job.account_id.as_str(),
        job.job_id.as_str(),
        job.job_name,
        job.region_id,
        job.source_type.as_str(),
        job.backup_type,
        job.status.as_str(),
        text(&job.vault_id),
        text(&job.plan_id),
        text(&job.client_id),
        text(&job.instance_id),
        job.bucket,
        job.file_system_id,
        job.instance_name,
        text(&job.parent_id),
        job.trigger_mode.map(|mode| mode.as_str()),
        json(&job.paths),
        job.include,
        job.exclude,
        job.speed_limit,
        job.options,
        job.retention,
        json(&job.source_fields),
        job.created_time.0,
        seconds(job.start_time),
        seconds(job.complete_time),
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
        job.error_message
    ];
    change(tx, "create a job", sql, values)?;
    Ok(())
}

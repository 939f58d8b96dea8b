//! Restore jobs: created from a snapshot with their work, idempotent by the caller's token.

use model::source_type::RestoreType;
use model::{
    AccountId, ClientId, FilterKey, InstanceId, JobStatus, RestoreId, RestoreQuery, SnapshotId,
    Timestamp,
};

use crate::conditions::{Conditions, change, first, marks};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::jobs::add_filter;
use crate::records::{Page, PageRequest, Progress, RestoreJob, TargetFields};
use crate::row::{RowReader, json, text};
use crate::sql::{Row, params};
use crate::words::WorkKind;
use crate::work::{self, Claim, FinishAnswer, NewWork};
use crate::{clients, item_errors, snapshots};

/// What CreateRestoreJob asks for; the rest comes from the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRestore {
    /// What kind of restore.
    pub restore_type: RestoreType,
    /// The region.
    pub region_id: String,
    /// The snapshot to read.
    pub snapshot_id: SnapshotId,
    /// The client that runs it.
    pub target_client_id: Option<ClientId>,
    /// The instance that is written to.
    pub target_instance_id: Option<InstanceId>,
    /// The folder that is written to; absent means the original places.
    pub target_path: Option<String>,
    /// The bucket that is written to.
    pub target_bucket: Option<String>,
    /// The file system that is written to.
    pub target_file_system_id: Option<String>,
    /// JSON array text.
    pub include: Option<String>,
    /// JSON array text.
    pub exclude: Option<String>,
    /// JSON text.
    pub options: Option<String>,
    /// The rest.
    pub target_fields: TargetFields,
}

/// The caller's token that makes a request safe to send again, and the text of the request that it came with (any form,
/// as long as equal requests give equal texts).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientToken {
    /// The token.
    pub token: String,
    /// The request.
    pub request_content: String,
}

/// The end of a restore job as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishRestore {
    /// The restore job's id.
    pub work_id: String,
    /// The epoch of the lease.
    pub epoch: i64,
    /// COMPLETE, PARTIAL_COMPLETE, FAILED or CANCELED.
    pub outcome: JobStatus,
    /// Why it failed, or what is wrong with its result.
    pub message: Option<String>,
    /// How far it came.
    pub progress: Progress,
}

fn read(row: &Row<'_>) -> crate::sql::Result<RestoreJob> {
    Ok(RestoreJob {
        account_id: row.parsed("account_id")?,
        restore_id: row.parsed("restore_id")?,
        restore_type: row.parsed("restore_type")?,
        source_type: row.parsed("source_type")?,
        region_id: row.get("region_id")?,
        status: row.parsed("status")?,
        vault_id: row.parsed("vault_id")?,
        snapshot_id: row.parsed("snapshot_id")?,
        snapshot_hash: row.get("snapshot_hash")?,
        plan_id: row.parsed_opt("plan_id")?,
        job_id: row.parsed_opt("job_id")?,
        source_instance_id: row.parsed_opt("source_instance_id")?,
        target_client_id: row.parsed_opt("target_client_id")?,
        target_instance_id: row.parsed_opt("target_instance_id")?,
        target_path: row.get("target_path")?,
        target_bucket: row.get("target_bucket")?,
        target_file_system_id: row.get("target_file_system_id")?,
        include: row.get("include")?,
        exclude: row.get("exclude")?,
        options: row.get("options")?,
        target_fields: row.json("target_fields")?,
        created_time: row.time("created_time")?,
        start_time: row.time_opt("start_time")?,
        complete_time: row.time_opt("complete_time")?,
        updated_time: row.time("updated_time")?,
        progress: work::read_progress(row)?,
        error_message: row.get("error_message")?,
    })
}

fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    restore_id: &RestoreId,
) -> Result<RestoreJob, CatalogError> {
    let sql = "SELECT * FROM restore_jobs WHERE account_id = ? AND restore_id = ?";
    first(
        tx,
        "read a restore job",
        sql,
        [account_id.as_str(), restore_id.as_str()],
        read,
    )?
    .ok_or_else(|| CatalogError::not_found(Entity::RestoreJob, restore_id))
}

/// Creates a restore job with its work (CreateRestoreJob). With a token that came before: the same restore job again
/// when the request is the same, else `TokenMismatch`. For a client that is uninstalled it is FAILED at once.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    restore: &NewRestore,
    token: Option<&ClientToken>,
    now: Timestamp,
) -> Result<RestoreJob, CatalogError> {
    catalog.write("create a restore job", |tx| {
        if let Some(token) = token
            && let Some(restore_job) = by_token(tx, account_id, token)?
        {
            return Ok(restore_job);
        }
        let (micros, entropy) = catalog.new_id(now);
        let restore_id = RestoreId::new(micros, entropy);
        insert(tx, account_id, &restore_id, restore, token, now)?;
        let restore_job = require(tx, account_id, &restore_id)?;
        let new = NewWork {
            work_id: restore_id.as_str(),
            kind: WorkKind::Restore,
            account_id,
            client_id: restore.target_client_id.as_ref(),
            lent_to: None,
            vault_id: &restore_job.vault_id,
            serial_key: None,
            not_before: now,
        };
        work::insert(catalog, tx, &new, now)?;
        let target = restore.target_client_id.as_ref();
        let Some(why) = clients::why_waits_in_vain(tx, account_id, target)? else {
            return Ok(restore_job);
        };
        work::fail_new(tx, restore_id.as_str(), &why, now)?;
        require(tx, account_id, &restore_id)
    })
}

/// The restore job that a request with this token has made before, whatever became of its snapshot and its target since.
/// `TokenMismatch` when the request was another.
pub fn created_by(
    catalog: &Catalog,
    account_id: &AccountId,
    token: &ClientToken,
) -> Result<Option<RestoreJob>, CatalogError> {
    catalog.read("read a restore job", |tx| by_token(tx, account_id, token))
}

fn by_token(
    tx: &Tx<'_>,
    account_id: &AccountId,
    token: &ClientToken,
) -> Result<Option<RestoreJob>, CatalogError> {
    let sql = "SELECT * FROM restore_jobs WHERE account_id = ? AND client_token = ?";
    let ids = [account_id.as_str(), token.token.as_str()];
    let found = first(tx, "read a restore job", sql, ids, |row| {
        Ok((read(row)?, row.get::<_, Option<String>>("request_content")?))
    })?;
    match found {
        None => Ok(None),
        Some((restore_job, content)) if content.as_deref() == Some(&token.request_content) => {
            Ok(Some(restore_job))
        }
        Some(_) => Err(CatalogError::TokenMismatch),
    }
}

fn insert(
    tx: &Tx<'_>,
    account_id: &AccountId,
    restore_id: &RestoreId,
    restore: &NewRestore,
    token: Option<&ClientToken>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let snapshot = snapshots::require(tx, account_id, &restore.snapshot_id)?;
    let sql = format!(
        "INSERT INTO restore_jobs (account_id, restore_id, restore_type, source_type, region_id, status, vault_id, \
         snapshot_id, snapshot_hash, plan_id, job_id, source_instance_id, target_client_id, target_instance_id, \
         target_path, target_bucket, target_file_system_id, include, exclude, options, target_fields, client_token, \
         request_content, created_time, updated_time, progress, speed, bytes_total, bytes_done, actual_bytes, \
         items_total, items_done, actual_items, files_total, files_done, actual_files, error_count) \
         VALUES ({}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        marks(25)
    );
    let values = params![
        account_id.as_str(),
        restore_id.as_str(),
        restore.restore_type.as_str(),
        snapshot.source_type.as_str(),
        restore.region_id,
        JobStatus::Created.as_str(),
        snapshot.vault_id.as_str(),
        snapshot.snapshot_id.as_str(),
        snapshot.snapshot_hash,
        text(&snapshot.plan_id),
        text(&snapshot.job_id),
        text(&snapshot.instance_id),
        text(&restore.target_client_id),
        text(&restore.target_instance_id),
        restore.target_path,
        restore.target_bucket,
        restore.target_file_system_id,
        restore.include,
        restore.exclude,
        restore.options,
        json(&restore.target_fields),
        token.map(|token| token.token.as_str()),
        token.map(|token| token.request_content.as_str()),
        now.0,
        now.0
    ];
    change(tx, "create a restore job", &sql, values)?;
    Ok(())
}

/// The restore job. `NotFound` when it is another account's.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    restore_id: &RestoreId,
) -> Result<RestoreJob, CatalogError> {
    catalog.read("read a restore job", |tx| {
        require(tx, account_id, restore_id)
    })
}

/// The page and the exact count of the account's restore jobs that match, newest first (DescribeRestoreJobs2).
pub fn query(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &RestoreQuery,
) -> Result<Page<RestoreJob>, CatalogError> {
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and_equal(
        "restore_type",
        query.restore_type.map(|restore_type| restore_type.as_str()),
    );
    for filter in &query.filters {
        add_filter(&mut conditions, filter, column(filter.key));
    }
    let page = PageRequest {
        page_number: query.page_number,
        page_size: query.page_size,
    };
    let order = ("restore_jobs", "created_time DESC, restore_id DESC");
    catalog.read("query restore jobs", |tx| {
        conditions.page(tx, "query restore jobs", order, page, read)
    })
}

/// The column of a filter key; `None` for keys that restore jobs do not have.
const fn column(key: FilterKey) -> Option<&'static str> {
    Some(match key {
        FilterKey::RegionId => "region_id",
        FilterKey::PlanId => "plan_id",
        FilterKey::JobId => "job_id",
        FilterKey::VaultId => "vault_id",
        FilterKey::InstanceId => "target_instance_id",
        FilterKey::Bucket => "target_bucket",
        FilterKey::FileSystemId => "target_file_system_id",
        FilterKey::Status => "status",
        FilterKey::CreatedTime => "created_time",
        FilterKey::CompleteTime => "complete_time",
        FilterKey::RestoreId => "restore_id",
        FilterKey::SourceType => "source_type",
        FilterKey::InstanceName | FilterKey::BackupType | FilterKey::ParentId => return None,
    })
}

/// Asks for the end of a restore job (CancelRestoreJob), as [`crate::jobs::cancel`].
pub fn cancel(
    catalog: &Catalog,
    account_id: &AccountId,
    restore_id: &RestoreId,
    now: Timestamp,
) -> Result<JobStatus, CatalogError> {
    let id = restore_id.as_str();
    catalog.write("cancel a restore job", |tx| {
        work::request_cancel(tx, WorkKind::Restore, account_id, id, now)
    })
}

/// Ends a restore job and its work, all or none.
pub fn finish(
    catalog: &Catalog,
    report: &FinishRestore,
    now: Timestamp,
) -> Result<FinishAnswer, CatalogError> {
    catalog.write("finish a restore job", |tx| {
        let work = match work::claim(tx, &[WorkKind::Restore], &report.work_id, report.epoch)? {
            Claim::Mine(work) => work,
            Claim::Answer(answer) => return Ok(answer),
        };
        let is_end = report.outcome.has_result()
            || matches!(report.outcome, JobStatus::Failed | JobStatus::Canceled);
        if !is_end {
            return Err(CatalogError::BadReport {
                work_id: report.work_id.clone(),
                outcome: report.outcome,
                detail: "a restore job",
            });
        }
        let mut progress = report.progress;
        if report.outcome.has_result() {
            progress.progress = 10_000;
        }
        work::write_progress(tx, &work, &progress, now)?;
        item_errors::settle(tx, &work, report.epoch, now)?;
        work::close(tx, &work, report.outcome, report.message.as_deref(), now)?;
        Ok(FinishAnswer::Accepted)
    })
}

//! ImportBackupJobs and ExportBackupJobs, extensions of this server: the history of backup jobs moves between services.
//!
//! A line is `{"AccountId":"…","RegionId":"…","Job":{…}}` with a job as DescribeBackupJobs2 returns it, of this server or
//! of the cloud service. Its ids and times are kept, and its JSON is given out as it came: fields that this server does
//! not know survive. Vaults, plans and clients need not exist.

use api::error::{ApiError, Code};
use api::shapes::backup_jobs::BackupJob;
use catalog::jobs::ImportedJob;
use catalog::{Job, Progress, SourceFields, TriggerMode, jobs};
use model::{
    AccountId, ClientId, InstanceId, JobId, JobQuery, JobStatus, PlanId, SortDirection, SourceType,
    Timestamp, VaultId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::backup_jobs::splice;
use super::{Answer, Call, lists};
use crate::failure;

/// Most jobs of one export page: about a megabyte.
const MAX_EXPORT_JOBS: i64 = 1_000;
/// How far a clock elsewhere may be ahead of ours: new jobs are created after all imported ones.
const MAX_AHEAD_SECONDS: i64 = 900;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    account_id: Option<String>,
    region_id: Option<String>,
    #[serde(borrow)]
    job: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImportReply {
    imported: u64,
    known: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExportReply {
    total_count: i64,
    jobs: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LineHead<'a> {
    account_id: &'a str,
    region_id: &'a str,
}

/// Imports the lines of `Jobs`, all or none. Jobs that are there already are left as they are.
pub(crate) fn import_backup_jobs(call: &Call<'_>) -> Answer {
    let lines = call.params.required("Jobs")?.lines().enumerate();
    let jobs = lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            parse(call, line)
                .map_err(|why| ApiError::invalid("Jobs", format!("line {}: {why}", number + 1)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let report = jobs::import_all(&call.service.catalog, &call.account, &jobs)
        .map_err(failure::of_catalog)?;
    tracing::info!(account_id = %call.account, imported = report.imported, known = report.known, "jobs were imported");
    call.reply(ImportReply {
        imported: report.imported,
        known: report.known,
    })
}

fn parse(call: &Call<'_>, line: &str) -> Result<ImportedJob, String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if let Some(account_id) = &line.account_id
        && *account_id != call.account.as_str()
    {
        return Err(format!(
            "the job belongs to account {account_id}, the access key to another one; a line without AccountId is of the key's account"
        ));
    }
    let shape: BackupJob =
        serde_json::from_str(line.job.get()).map_err(|error| error.to_string())?;
    let region_id = line
        .region_id
        .unwrap_or_else(|| call.service.region.clone());
    let job = job_of(&call.account, region_id, shape)?;
    if !job.status.is_final() {
        return Err(format!(
            "job {} has not ended: it is {}",
            job.job_id, job.status
        ));
    }
    if job.created_time.0 > call.now.0 + MAX_AHEAD_SECONDS {
        return Err(format!("job {} was created in the future", job.job_id));
    }
    let body = Some(line.job.get().as_bytes().to_vec());
    Ok(ImportedJob { job, body })
}

fn needed<T>(name: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("{name} is missing"))
}

/// An id, absent when it is empty: the cloud service leaves some empty.
fn id<T>(
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, model::IdError>,
) -> Result<Option<T>, String> {
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => parse(text).map(Some).map_err(|error| error.to_string()),
    }
}

/// The fields of a job that the API shows so; what a shape does not have is absent or 0.
fn job_of(account_id: &AccountId, region_id: String, shape: BackupJob) -> Result<Job, String> {
    let word = |error: model::UnknownWord| error.to_string();
    let source_type: SourceType = needed("SourceType", shape.source_type)?
        .parse()
        .map_err(word)?;
    let status: JobStatus = needed("Status", shape.status)?.parse().map_err(word)?;
    let created_time = Timestamp(needed("CreatedTime", shape.created_time)?);
    let job_id = needed("JobId", shape.job_id)?;
    let number = |value: Option<i64>| value.unwrap_or_default();
    let time = |value: Option<i64>| value.filter(|seconds| *seconds > 0).map(Timestamp);
    let table_names = shape.ots_detail.and_then(|detail| detail.table_names);
    let detail = shape
        .detail
        .map(|detail| serde_json::to_value(detail).unwrap_or_default());
    Ok(Job {
        account_id: account_id.clone(),
        job_id: JobId::parse(&job_id).map_err(|error| error.to_string())?,
        job_name: shape.job_name.unwrap_or_default(),
        region_id,
        source_type,
        backup_type: shape.backup_type.unwrap_or_else(|| "COMPLETE".to_owned()),
        status,
        vault_id: id(shape.vault_id, VaultId::parse)?,
        plan_id: id(shape.plan_id, PlanId::parse)?,
        client_id: id(shape.client_id, ClientId::parse)?,
        instance_id: id(shape.instance_id, InstanceId::parse)?,
        bucket: shape.bucket,
        file_system_id: shape.file_system_id,
        instance_name: shape.instance_name,
        parent_id: None,
        trigger_mode: shape
            .trigger_mode
            .and_then(|mode| mode.parse::<TriggerMode>().ok()),
        paths: shape.paths.and_then(|paths| paths.path).unwrap_or_default(),
        include: shape.include,
        exclude: shape.exclude,
        speed_limit: shape.speed_limit,
        options: shape.options,
        retention: None,
        source_fields: SourceFields {
            prefix: shape.prefix,
            create_time: shape.create_time,
            table_name: shape.table_name,
            table_names: table_names
                .and_then(|names| names.table_name)
                .unwrap_or_default(),
            detail,
            cross_account_type: shape.cross_account_type,
            cross_account_user_id: shape.cross_account_user_id,
            cross_account_role_name: shape.cross_account_role_name,
            identifier: shape.identifier,
            dest_source_type: shape.dest_source_type,
            dest_data_source_id: shape.dest_data_source_id,
            dest_data_source_detail: shape.dest_data_source_detail,
            change_list_path: shape.change_list_path,
            ..SourceFields::default()
        },
        created_time,
        start_time: time(shape.start_time),
        complete_time: time(shape.complete_time),
        updated_time: time(shape.updated_time).unwrap_or(created_time),
        progress: Progress {
            progress: i64::from(shape.progress.unwrap_or_default()),
            speed: number(shape.speed),
            bytes_total: number(shape.bytes_total),
            bytes_done: number(shape.bytes_done),
            actual_bytes: number(shape.actual_bytes),
            items_total: number(shape.items_total),
            items_done: number(shape.items_done),
            actual_items: number(shape.actual_items),
            files_total: number(shape.files_total),
            files_done: number(shape.files_done),
            actual_files: number(shape.actual_files),
            error_count: 0,
        },
        error_message: shape.error_message.filter(|message| !message.is_empty()),
    })
}

/// A page of all jobs, oldest first, each as a line for ImportBackupJobs. Jobs that are created meanwhile come at the
/// end: whoever asks page after page sees each job once.
pub(crate) fn export_backup_jobs(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let page_size = params
        .int_in("PageSize", 1..=MAX_EXPORT_JOBS)?
        .unwrap_or(MAX_EXPORT_JOBS);
    let page_number = params
        .int_in("PageNumber", 1..=i64::from(u32::MAX))?
        .unwrap_or(1);
    let number =
        |value: i64| u32::try_from(value).map_err(|_| ApiError::of(Code::InvalidParameter));
    let query = JobQuery {
        sort: SortDirection::Ascend,
        page_number: number(page_number)?,
        page_size: number(page_size)?,
        ..JobQuery::default()
    };
    let found =
        jobs::export(&call.service.catalog, &call.account, &query).map_err(failure::of_catalog)?;
    let lines: Vec<Vec<u8>> = found
        .rows
        .iter()
        .map(|row| line(&call.account, row))
        .collect();
    let empty = call.reply(ExportReply {
        total_count: lists::total_i64(found.total).unwrap_or_default(),
        jobs: [],
    })?;
    Ok(splice(empty, b"\"Jobs\":[]", &lines))
}

fn line(account_id: &AccountId, exported: &jobs::ExportedJob) -> Vec<u8> {
    let head = LineHead {
        account_id: account_id.as_str(),
        region_id: &exported.region_id,
    };
    let mut line = serde_json::to_vec(&head).expect("a struct of texts is JSON");
    line.pop();
    line.extend_from_slice(b",\"Job\":");
    line.extend_from_slice(&exported.body);
    line.push(b'}');
    line
}

//! DescribeBackupJobs2 and CancelBackupJob.

use api::error::{ApiError, Code};
use api::shapes::backup_jobs::{BackupJob, BackupJobs, BackupJobsReply, JobDetail, JobReply};
use api::shapes::{OtsDetail, Paths, TableNames};
use catalog::jobs::{Body, Renderer};
use catalog::{Job, Page, Reading, SourceFields, jobs, plan_rules};
use model::{JobId, JobQuery, RawJobQuery, SourceType};

use super::{Answer, Call, lists, plan_fields};
use crate::{failure, report_files};

/// The jobs that meet the conditions: one page and the exact count.
pub(crate) fn describe_backup_jobs2(call: &Call<'_>) -> Answer {
    let query = job_query(call)?;
    let found = if is_basic(call) {
        NONE
    } else {
        jobs::bodies(&call.service.catalog, &call.account, &query).map_err(failure::of_catalog)?
    };
    jobs_reply(call, &query, &found)
}

/// As [`describe_backup_jobs2`], when that takes microseconds and waits for nobody.
pub(crate) fn try_describe_backup_jobs2(
    call: &Call<'_>,
    reading: &Reading<'_, '_>,
) -> Result<Option<Vec<u8>>, ApiError> {
    let query = job_query(call)?;
    let found = if is_basic(call) {
        Some(NONE)
    } else {
        jobs::try_bodies(&call.service.catalog, reading, &call.account, &query)
            .map_err(failure::of_catalog)?
    };
    found
        .map(|found| jobs_reply(call, &query, &found))
        .transpose()
}

/// No jobs: every job is of the standard edition.
const NONE: Page<Body> = Page {
    rows: Vec::new(),
    total: 0,
};

fn is_basic(call: &Call<'_>) -> bool {
    call.params.text("Edition") == Some("BASIC")
}

fn job_query(call: &Call<'_>) -> Result<JobQuery, ApiError> {
    let params = &call.params;
    plan_fields::check_edition(params)?;
    let text = |name: &str| params.text(name).map(str::to_owned);
    let raw = RawJobQuery {
        source_type: text("SourceType"),
        filters: lists::raw_filters(params)?,
        sort_direction: text("SortDirection"),
        page_number: params.int("PageNumber")?,
        page_size: params.int("PageSize")?,
    };
    JobQuery::parse(&raw).map_err(lists::of_query)
}

fn jobs_reply(call: &Call<'_>, query: &JobQuery, found: &Page<Body>) -> Answer {
    let empty = call.reply(BackupJobsReply {
        page_number: lists::number_i32(query.page_number),
        page_size: lists::number_i32(query.page_size),
        total_count: lists::total_i64(found.total),
        backup_jobs: Some(BackupJobs {
            backup_job: Some(Vec::new()),
        }),
    })?;
    Ok(splice(empty, b"\"BackupJob\":[]", &found.rows))
}

/// Puts JSON objects into the empty list of a reply; `place` is the list with its name. The names before it are ours
/// and the values before it never hold that text: they are a request id, numbers and fixed words.
pub(crate) fn splice(empty: Vec<u8>, place: &[u8], objects: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let found = empty
        .windows(place.len())
        .position(|window| window == place);
    let Some(start) = found.filter(|_| !objects.is_empty()) else {
        return empty;
    };
    let (head, tail) = empty.split_at(start + place.len() - 1);
    let length: usize = objects.iter().map(|object| object.as_ref().len() + 1).sum();
    let mut reply = Vec::with_capacity(empty.len() + length);
    reply.extend_from_slice(head);
    for (number, object) in objects.iter().enumerate() {
        if number > 0 {
            reply.push(b',');
        }
        reply.extend_from_slice(object.as_ref());
    }
    reply.extend_from_slice(tail);
    reply
}

/// How the catalog makes the JSON that it keeps of a job: to be raised when `shape` changes.
pub const JOB_RENDERER: Renderer = Renderer {
    version: 3,
    render: |job| {
        serde_json::to_vec(&shape(job.clone())).expect("a struct of texts and numbers is JSON")
    },
};

/// A job as the API shows it: the fields of every job, and those of its source type. A job that has not started or
/// ended does not have these times.
pub(crate) fn shape(job: Job) -> BackupJob {
    let report = report_files::of_job(&job);
    let progress = job.progress;
    let mut shape = BackupJob {
        report,
        job_id: Some(job.job_id.to_string()),
        job_name: Some(job.job_name),
        status: Some(job.status.as_str().to_owned()),
        error_message: Some(job.error_message.unwrap_or_default()),
        source_type: Some(job.source_type.as_str().to_owned()),
        backup_type: Some(job.backup_type),
        vault_id: job.vault_id.map(String::from),
        plan_id: job.plan_id.map(String::from),
        progress: Some(i32::try_from(progress.progress.clamp(0, 10_000)).unwrap_or(10_000)),
        created_time: Some(job.created_time.0),
        start_time: job.start_time.map(|time| time.0),
        complete_time: job.complete_time.map(|time| time.0),
        updated_time: Some(job.updated_time.0),
        actual_bytes: Some(progress.actual_bytes),
        bytes_done: Some(progress.bytes_done),
        bytes_total: Some(progress.bytes_total),
        speed: Some(progress.speed),
        trigger_mode: job.trigger_mode.map(|mode| mode.as_str().to_owned()),
        instance_id: job.instance_id.map(String::from),
        ..BackupJob::default()
    };
    add_cross_account(&mut shape, &job.source_fields);
    match job.source_type {
        SourceType::EcsFile | SourceType::File | SourceType::CommonNas | SourceType::Nas => {
            shape.client_id = job.client_id.map(String::from);
            shape.options = Some(
                job.options
                    .unwrap_or_else(|| "{\"UseVSS\":false}".to_owned()),
            );
            shape.paths = Some(Paths {
                path: Some(job.paths),
            });
            shape.include = Some(job.include.unwrap_or_else(|| "[]".to_owned()));
            shape.exclude = Some(job.exclude.unwrap_or_else(|| "[]".to_owned()));
            shape.speed_limit = Some(job.speed_limit.unwrap_or_default());
            shape.items_total = Some(progress.items_total);
            shape.items_done = Some(progress.items_done);
            shape.actual_items = Some(progress.actual_items);
            shape.files_total = Some(progress.files_total);
            shape.files_done = Some(progress.files_done);
            shape.actual_files = Some(progress.actual_files);
            shape.file_system_id = job.file_system_id;
            shape.create_time = job.source_fields.create_time;
        }
        SourceType::Oss => {
            shape.bucket = job.bucket;
            shape.prefix = Some(job.source_fields.prefix.unwrap_or_default());
        }
        SourceType::Ots => {
            shape.instance_name = job.instance_name;
            shape.table_name = job.source_fields.table_name;
            shape.ots_detail = Some(OtsDetail {
                table_names: Some(TableNames {
                    table_name: Some(job.source_fields.table_names),
                }),
            });
        }
        SourceType::UdmEcs | SourceType::UdmEcsDisk => {
            shape.detail = Some(detail(job.source_fields))
        }
        SourceType::Sync => {
            shape.dest_source_type = job.source_fields.dest_source_type;
            shape.dest_data_source_id = job.source_fields.dest_data_source_id;
            shape.dest_data_source_detail = job.source_fields.dest_data_source_detail;
            shape.change_list_path = job.source_fields.change_list_path;
        }
        SourceType::Container => shape.identifier = job.source_fields.identifier,
    }
    shape
}

fn add_cross_account(shape: &mut BackupJob, fields: &SourceFields) {
    shape.cross_account_type = Some(
        fields
            .cross_account_type
            .clone()
            .unwrap_or_else(|| "SELF_ACCOUNT".to_owned()),
    );
    shape.cross_account_user_id = fields.cross_account_user_id;
    shape.cross_account_role_name = fields.cross_account_role_name.clone();
}

/// `Detail` of an imported job; members of another type than the API's are left out.
fn detail(fields: SourceFields) -> JobDetail {
    fields
        .detail
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default()
}

/// Backs up a host now, without a plan of the caller's: all of it, less what `Include` and `Exclude` say.
pub(crate) fn create_backup_job(call: &Call<'_>) -> Answer {
    let params = &call.params;
    plan_fields::check_protectable(params, "SourceType")?;
    plan_fields::check_cross_account(params)?;
    let spec = plan_fields::adhoc_spec(call)?;
    let catalog = &call.service.catalog;
    let plan_id =
        plan_rules::adhoc(catalog, &call.account, spec, call.now).map_err(failure::of_catalog)?;
    let job =
        jobs::create(catalog, &call.account, &plan_id, call.now).map_err(failure::of_catalog)?;
    call.service.ring();
    call.reply(JobReply {
        job_id: Some(job.job_id.to_string()),
    })
}

/// Stops a job: at once if no agent holds it, else its agent is told.
pub(crate) fn cancel_backup_job(call: &Call<'_>) -> Answer {
    let service = call.service;
    let job_id: JobId = lists::id(&call.params, "JobId", Code::JobNotExist)?;
    if let Some(vault) = call.params.text("VaultId") {
        let job =
            jobs::get(&service.catalog, &call.account, &job_id).map_err(failure::of_catalog)?;
        if job.vault_id.is_none_or(|own| own.as_str() != vault) {
            return Err(ApiError::invalid(
                "VaultId",
                "the job belongs to another vault",
            ));
        }
    }
    jobs::cancel(&service.catalog, &call.account, &job_id, call.now)
        .map_err(failure::of_catalog)?;
    service.ring();
    call.done()
}

#[cfg(test)]
mod tests {
    use super::splice;

    #[test]
    fn objects_go_into_the_empty_list() {
        let empty = b"{\"N\":1,\"L\":[],\"T\":2}";
        let check = |objects: &[&str], expected: &str| {
            let objects: Vec<Vec<u8>> = objects
                .iter()
                .map(|text| text.as_bytes().to_vec())
                .collect();
            let reply = splice(empty.to_vec(), b"\"L\":[]", &objects);
            assert_eq!(String::from_utf8_lossy(&reply), expected);
        };
        check(&[], "{\"N\":1,\"L\":[],\"T\":2}");
        check(&["{}"], "{\"N\":1,\"L\":[{}],\"T\":2}");
        check(
            &["{\"L\":[]}", "{}"],
            "{\"N\":1,\"L\":[{\"L\":[]},{}],\"T\":2}",
        );
    }
}

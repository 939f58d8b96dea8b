//! CreateRestoreJob, DescribeRestoreJobs2, CancelRestoreJob.

use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::restore_jobs::{
    RestoreJob as RestoreShape, RestoreJobs, RestoreJobsReply, RestoreReply,
};
use catalog::restores::{ClientToken, NewRestore};
use catalog::{Client, RestoreJob, Snapshot, TargetFields, clients, restores, snapshots};
use model::{
    ClientId, InstanceId, RawRestoreQuery, RestoreId, RestoreOptions, RestoreQuery, RestoreType,
    SnapshotId, SourceType, VaultId, patterns,
};

use super::{Answer, Call, client_tasks, lists, plan_fields};
use crate::{failure, report_files};

/// Longest ClientToken.
const MAX_TOKEN_CHARS: usize = 128;

/// Restores files of a snapshot to a host.
pub(crate) fn create_restore_job(call: &Call<'_>) -> Answer {
    let params = &call.params;
    check_types(params)?;
    RestoreOptions::parse(params.given("Options").unwrap_or_default())
        .map_err(|why| ApiError::invalid("Options", plan_fields::failure_text(&why)))?;
    for name in ["Include", "Exclude"] {
        patterns::parse(params.given(name).unwrap_or_default())
            .map_err(|why| ApiError::invalid(name, why))?;
    }
    if let Some(path) = params.text("TargetPath") {
        plan_fields::check_path(path).map_err(|why| ApiError::invalid("TargetPath", why))?;
    }
    let token = client_token(params)?;
    if let Some(token) = &token {
        // A request that is sent again gets its answer again, though the snapshot or the host may be gone by now.
        let made = restores::created_by(&call.service.catalog, &call.account, token)
            .map_err(failure::of_catalog)?;
        if let Some(job) = made {
            return answer(call, &job);
        }
    }
    let snapshot = named_snapshot(call)?;
    let client = target_client(call)?;
    client_tasks::check_installed(&client)?;
    let text = |name: &str| params.text(name).map(str::to_owned);
    let restore = NewRestore {
        restore_type: RestoreType::EcsFile,
        region_id: call.service.region.clone(),
        snapshot_id: snapshot.snapshot_id,
        target_client_id: Some(client.client_id),
        target_instance_id: Some(client.instance_id),
        target_path: text("TargetPath"),
        target_bucket: None,
        target_file_system_id: None,
        include: text("Include"),
        exclude: text("Exclude"),
        options: text("Options"),
        target_fields: TargetFields::default(),
    };
    let job = restores::create(
        &call.service.catalog,
        &call.account,
        &restore,
        token.as_ref(),
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.service.ring();
    answer(call, &job)
}

fn answer(call: &Call<'_>, job: &RestoreJob) -> Answer {
    call.reply(RestoreReply {
        restore_id: Some(job.restore_id.to_string()),
    })
}

fn check_types(params: &Params) -> Result<(), ApiError> {
    let restore_type: RestoreType = params
        .required("RestoreType")?
        .parse()
        .map_err(|why: model::UnknownWord| ApiError::invalid("RestoreType", why))?;
    let source_type: SourceType = params
        .required("SourceType")?
        .parse()
        .map_err(|why: model::UnknownWord| ApiError::invalid("SourceType", why))?;
    if !restore_type.accepts(source_type) {
        return Err(ApiError::invalid(
            "SourceType",
            format!("it does not fit RestoreType {restore_type}"),
        ));
    }
    if restore_type != RestoreType::EcsFile {
        return Err(ApiError::new(
            Code::OperationNotSupported,
            format!(
                "The restore type {restore_type} is not supported by this server yet; it restores ECS_FILE."
            ),
        ));
    }
    plan_fields::check_edition(params)?;
    match params.text("CrossAccountType") {
        None | Some("SELF_ACCOUNT") => Ok(()),
        Some("CROSS_ACCOUNT") => Err(ApiError::new(
            Code::OperationNotSupported,
            "Restores across accounts are not supported by this server yet.",
        )),
        Some(_) => Err(ApiError::invalid(
            "CrossAccountType",
            "valid values are SELF_ACCOUNT, CROSS_ACCOUNT",
        )),
    }
}

/// By SnapshotId, or by VaultId and SnapshotHash; all that are given must agree.
fn named_snapshot(call: &Call<'_>) -> Result<Snapshot, ApiError> {
    let params = &call.params;
    let catalog = &call.service.catalog;
    let hash = params.text("SnapshotHash");
    let snapshot = if params.has("SnapshotId") {
        let snapshot_id: SnapshotId = lists::id(params, "SnapshotId", Code::SnapshotNotExist)?;
        snapshots::get(catalog, &call.account, &snapshot_id).map_err(failure::of_catalog)?
    } else {
        let hash = hash.ok_or_else(|| ApiError::missing("SnapshotId"))?;
        let vault_id: VaultId = lists::id(params, "VaultId", Code::VaultNotExist)?;
        snapshots::get_by_hash(catalog, &call.account, &vault_id, hash)
            .map_err(failure::of_catalog)?
    };
    if params
        .text("VaultId")
        .is_some_and(|vault| vault != snapshot.vault_id.as_str())
    {
        return Err(ApiError::invalid(
            "VaultId",
            "the snapshot belongs to another vault",
        ));
    }
    if hash.is_some_and(|hash| hash != snapshot.snapshot_hash) {
        return Err(ApiError::invalid(
            "SnapshotHash",
            "it is not the hash of the snapshot",
        ));
    }
    if snapshot.source_type != SourceType::EcsFile {
        return Err(ApiError::invalid(
            "SourceType",
            format!("the snapshot's is {}", snapshot.source_type),
        ));
    }
    Ok(snapshot)
}

/// By TargetInstanceId, or by TargetClientId, which Terraform may send.
fn target_client(call: &Call<'_>) -> Result<Client, ApiError> {
    let params = &call.params;
    let catalog = &call.service.catalog;
    if params.has("TargetInstanceId") || !params.has("TargetClientId") {
        let instance_id: InstanceId =
            lists::id(params, "TargetInstanceId", Code::InstanceNotExist)?;
        return clients::find_by_instance(catalog, &call.account, &instance_id)
            .map_err(failure::of_catalog)?
            .ok_or_else(|| ApiError::of(Code::InstanceNotExist));
    }
    let client_id: ClientId = lists::id(params, "TargetClientId", Code::ClientNotExist)?;
    clients::get(catalog, &call.account, &client_id).map_err(failure::of_catalog)
}

/// What makes a request another one than a former with the same token.
const TOLD_APART_BY: [&str; 10] = [
    "RestoreType",
    "VaultId",
    "SnapshotId",
    "SnapshotHash",
    "TargetInstanceId",
    "TargetClientId",
    "TargetPath",
    "Include",
    "Exclude",
    "Options",
];

/// The token, and the request as a text that is equal for equal requests. It is made from what was sent, not from what
/// that means today.
pub(super) fn client_token(params: &Params) -> Result<Option<ClientToken>, ApiError> {
    let Some(token) = params.text("ClientToken") else {
        return Ok(None);
    };
    if token.chars().count() > MAX_TOKEN_CHARS {
        return Err(ApiError::invalid(
            "ClientToken",
            format!("it may have at most {MAX_TOKEN_CHARS} characters"),
        ));
    }
    let content = serde_json::json!(TOLD_APART_BY.map(|name| params.text(name)));
    Ok(Some(ClientToken {
        token: token.to_owned(),
        request_content: content.to_string(),
    }))
}

/// Lists restore jobs, newest first.
pub(crate) fn describe_restore_jobs2(call: &Call<'_>) -> Answer {
    let params = &call.params;
    plan_fields::check_edition(params)?;
    let raw = RawRestoreQuery {
        restore_type: params.text("RestoreType").map(str::to_owned),
        filters: lists::raw_filters(params)?,
        page_number: params.int("PageNumber")?,
        page_size: params.int("PageSize")?,
    };
    let query = RestoreQuery::parse(&raw).map_err(lists::of_query)?;
    let found = restores::query(&call.service.catalog, &call.account, &query)
        .map_err(failure::of_catalog)?;
    call.reply(RestoreJobsReply {
        page_number: lists::number_i32(query.page_number),
        page_size: lists::number_i32(query.page_size),
        total_count: lists::total_i32(found.total),
        restore_jobs: Some(RestoreJobs {
            restore_job: Some(found.rows.into_iter().map(shape).collect()),
        }),
    })
}

fn shape(job: RestoreJob) -> RestoreShape {
    let report = report_files::of_restore(&job);
    let progress = job.progress;
    RestoreShape {
        report,
        restore_id: Some(job.restore_id.to_string()),
        restore_type: Some(job.restore_type.as_str().to_owned()),
        source_type: Some(job.source_type.as_str().to_owned()),
        status: Some(job.status.as_str().to_owned()),
        error_message: Some(job.error_message.unwrap_or_default()),
        vault_id: Some(job.vault_id.to_string()),
        snapshot_id: Some(job.snapshot_id.to_string()),
        snapshot_hash: Some(job.snapshot_hash),
        progress: Some(i32::try_from(progress.progress.clamp(0, 10_000)).unwrap_or(10_000)),
        created_time: Some(job.created_time.0),
        start_time: job.start_time.map(|time| time.0),
        complete_time: job.complete_time.map(|time| time.0),
        updated_time: Some(job.updated_time.0),
        bytes_total: Some(progress.bytes_total),
        bytes_done: Some(progress.bytes_done),
        actual_bytes: Some(progress.actual_bytes),
        items_total: Some(progress.items_total),
        items_done: Some(progress.items_done),
        actual_items: Some(progress.actual_items),
        speed: Some(progress.speed),
        storage_class: Some("STANDARD".to_owned()),
        source_instance_id: job.source_instance_id.map(String::from),
        target_client_id: job.target_client_id.map(String::from),
        target_instance_id: job.target_instance_id.map(String::from),
        target_path: job.target_path,
        include: job.include,
        exclude: job.exclude,
        options: job.options,
        target_bucket: job.target_bucket,
        target_prefix: job.target_fields.target_prefix,
        target_file_system_id: job.target_file_system_id,
        target_create_time: job.target_fields.target_create_time,
        target_data_source_id: job.target_fields.target_data_source_id,
        target_instance_name: job.target_fields.target_instance_name,
        target_table_name: job.target_fields.target_table_name,
        target_time: job.target_fields.target_time,
        cross_account_type: Some(
            job.target_fields
                .cross_account_type
                .unwrap_or_else(|| "SELF_ACCOUNT".to_owned()),
        ),
        cross_account_user_id: job.target_fields.cross_account_user_id,
        cross_account_role_name: job.target_fields.cross_account_role_name,
        ..RestoreShape::default()
    }
}

/// Stops a restore job, as CancelBackupJob does.
pub(crate) fn cancel_restore_job(call: &Call<'_>) -> Answer {
    let service = call.service;
    let restore_id: RestoreId = lists::id(&call.params, "RestoreId", Code::RestoreJobNotExist)?;
    if let Some(vault) = call.params.text("VaultId") {
        let job = restores::get(&service.catalog, &call.account, &restore_id)
            .map_err(failure::of_catalog)?;
        if job.vault_id.as_str() != vault {
            return Err(ApiError::invalid(
                "VaultId",
                "the restore job belongs to another vault",
            ));
        }
    }
    restores::cancel(&service.catalog, &call.account, &restore_id, call.now)
        .map_err(failure::of_catalog)?;
    service.ring();
    call.done()
}

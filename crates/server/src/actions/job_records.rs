//! Extensions of this server about one backup job or restore job: ListJobEvents (what became of it) and ListJobErrors (what
//! it could not read or write). `JobId` takes the id of either.

use api::error::{ApiError, Code};
use catalog::{ItemError, JobEvent, PageRequest, WorkKind, item_errors, job_events};
use model::{JobId, RestoreId};
use serde_json::{Value, json};

use super::{Answer, Call, lists};
use crate::failure;

/// Each change of the job's state, the first one first.
pub(crate) fn list_job_events(call: &Call<'_>) -> Answer {
    let (kind, id, page) = named(call)?;
    let found = job_events::list(&call.service.catalog, &call.account, kind, &id, page)
        .map_err(failure::of_catalog)?;
    call.reply(json!({
        "PageNumber": page.page_number,
        "PageSize": page.page_size,
        "TotalCount": found.total,
        "Events": found.rows.iter().map(event_row).collect::<Vec<Value>>(),
    }))
}

fn event_row(event: &JobEvent) -> Value {
    json!({
        "Number": event.number,
        "Time": event.time.0,
        "Status": event.status.as_str(),
        "Attempt": event.attempt,
        "ClientId": event.client_id.as_ref().map(|id| id.as_str()),
        "Epoch": event.epoch,
        "Message": event.message,
    })
}

/// Each item that could not be read or written, in the order of the agent's report.
pub(crate) fn list_job_errors(call: &Call<'_>) -> Answer {
    let (kind, id, page) = named(call)?;
    let found = item_errors::list(&call.service.catalog, &call.account, kind, &id, page)
        .map_err(failure::of_catalog)?;
    call.reply(json!({
        "PageNumber": page.page_number,
        "PageSize": page.page_size,
        "TotalCount": found.total,
        "Errors": found.rows.iter().map(error_row).collect::<Vec<Value>>(),
    }))
}

fn error_row(error: &ItemError) -> Value {
    json!({
        "Path": error.path,
        "Operation": error.operation,
        "Errno": error.errno,
        "Message": error.message,
        "Time": error.time.0,
    })
}

/// The job that is asked about, and the page.
fn named(call: &Call<'_>) -> Result<(WorkKind, String, PageRequest), ApiError> {
    let params = &call.params;
    let page = lists::page(params)?;
    if RestoreId::parse(params.required("JobId")?).is_ok() {
        let id: RestoreId = lists::id(params, "JobId", Code::RestoreJobNotExist)?;
        return Ok((WorkKind::Restore, id.to_string(), page));
    }
    let id: JobId = lists::id(params, "JobId", Code::JobNotExist)?;
    Ok((WorkKind::Backup, id.to_string(), page))
}

//! DescribeTask.

use api::error::{ApiError, Code};
use api::shapes::TaskReply;
use catalog::kept_records::{self, Kind, Record};
use catalog::{CatalogError, Task, tasks};
use model::{ClientStatus, JobStatus, TaskId};

use super::client_tasks::{self, DoneTask};
use super::{Answer, Call, lists};
use crate::failure;

/// How long an agent may take to uninstall itself before its task is given up.
const UNINSTALL_SECONDS: i64 = 900;

/// How far a task of the service is.
pub(crate) fn describe_task(call: &Call<'_>) -> Answer {
    let task_id: TaskId = lists::id(&call.params, "TaskId", Code::TaskNotExist)?;
    let catalog = &call.service.catalog;
    match tasks::get(catalog, &call.account, &task_id) {
        Ok(task) => call.reply(shape(&task)),
        Err(CatalogError::NotFound { .. }) => {
            let (kind, id) = (Kind::DoneTask, task_id.as_str());
            match kept_records::get::<DoneTask>(catalog, &call.account, kind, id) {
                Ok(record) if record.body.leaving.is_empty() => call.reply(done_shape(&record)),
                Ok(record) => call.reply(leaving_shape(call, &record)?),
                Err(CatalogError::NotFound { .. }) => Err(ApiError::of(Code::TaskNotExist)),
                Err(error) => Err(failure::of_catalog(error)),
            }
        }
        Err(error) => Err(failure::of_catalog(error)),
    }
}

/// A task that was over when it was asked for.
fn done_shape(record: &Record<DoneTask>) -> TaskReply {
    TaskReply {
        name: Some(record.body.name.clone()),
        description: Some("completed".to_owned()),
        progress: Some(100),
        result: Some(record.body.result.clone()),
        created_time: Some(record.created_time.0),
        updated_time: Some(record.updated_time.0),
        completed_time: Some(record.created_time.0),
    }
}

/// Clients that are to go: over when all have gone, given up after the time that the API names.
fn leaving_shape(call: &Call<'_>, record: &Record<DoneTask>) -> Result<TaskReply, ApiError> {
    let leaving = &record.body.leaving;
    let statuses = client_tasks::left(call, leaving)?;
    let gone = statuses
        .iter()
        .filter(|status| **status == ClientStatus::NotInstalled)
        .count();
    let is_late = record.created_time.plus_seconds(UNINSTALL_SECONDS) <= call.now;
    let description = match (gone == leaving.len(), is_late) {
        (true, _) => "completed",
        (false, true) => "expired",
        (false, false) => "created",
    };
    let one = |(client, status): (&client_tasks::Leaving, &ClientStatus)| {
        let (shown, error_code) = match status {
            ClientStatus::NotInstalled => (*status, ""),
            // It was started again, or never came.
            _ if is_late => (ClientStatus::UninstallFailed, "UNINSTALL_TIMEOUT"),
            _ => (ClientStatus::Uninstalling, ""),
        };
        serde_json::json!({
            "instanceId": client.instance_id,
            "clientId": client.client_id,
            "clientStatus": shown.as_str(),
            "errorCode": error_code,
        })
    };
    let results = leaving.iter().zip(&statuses).map(one).collect();
    let percent = 100 * gone / leaving.len().max(1);
    Ok(TaskReply {
        name: Some(record.body.name.clone()),
        description: Some(description.to_owned()),
        progress: i32::try_from(percent).ok(),
        result: Some(serde_json::Value::Array(results).to_string()),
        created_time: Some(record.created_time.0),
        updated_time: Some(call.now.0),
        completed_time: None,
    })
}

fn shape(task: &Task) -> TaskReply {
    let description = match task.status {
        // The API has no word for a failure: it shows in `Progress` (-1) and `Result`.
        JobStatus::Complete
        | JobStatus::PartialComplete
        | JobStatus::Failed
        | JobStatus::Unavailable => "completed",
        JobStatus::Expired => "expired",
        JobStatus::Canceled | JobStatus::Canceling => "cancelled",
        JobStatus::Created | JobStatus::Queued | JobStatus::Running => "created",
    };
    // An empty text means: not ready. Afterwards one object says what came of it.
    let result = if task.status.is_final() {
        let error = task.message.as_deref().unwrap_or_default();
        serde_json::json!([{
            "vaultId": task.vault_id.as_str(),
            "snapshotId": task.snapshot_id.as_ref().map(model::SnapshotId::as_str),
            "status": task.status.as_str(),
            "errorCode": error,
            "found": task
                .result
                .as_deref()
                .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()),
        }])
        .to_string()
    } else {
        String::new()
    };
    let is_failed = matches!(task.status, JobStatus::Failed | JobStatus::Unavailable);
    let progress = if is_failed {
        -1
    } else {
        i32::try_from(task.progress.clamp(0, 100)).unwrap_or(0)
    };
    TaskReply {
        name: Some(task.kind.as_str().to_owned()),
        description: Some(description.to_owned()),
        progress: Some(progress),
        result: Some(result),
        created_time: Some(task.created_time.0),
        updated_time: Some(task.updated_time.0),
        completed_time: task.completed_time.map(|time| time.0),
    }
}

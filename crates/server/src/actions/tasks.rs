//! DescribeTask.

use api::error::{ApiError, Code};
use api::shapes::TaskReply;
use catalog::kept_records::{self, Kind, Record};
use catalog::{CatalogError, Task, tasks};
use model::{JobStatus, TaskId};

use super::client_tasks::DoneTask;
use super::{Answer, Call, lists};
use crate::failure;

/// How far a task of the service is.
pub(crate) fn describe_task(call: &Call<'_>) -> Answer {
    let task_id: TaskId = lists::id(&call.params, "TaskId", Code::TaskNotExist)?;
    let catalog = &call.service.catalog;
    match tasks::get(catalog, &call.account, &task_id) {
        Ok(task) => call.reply(shape(&task)),
        Err(CatalogError::NotFound { .. }) => {
            match kept_records::get(catalog, &call.account, Kind::DoneTask, task_id.as_str()) {
                Ok(record) => call.reply(done_shape(&record)),
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

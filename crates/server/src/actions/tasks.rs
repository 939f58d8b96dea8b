//! DescribeTask.

use api::error::Code;
use api::shapes::TaskReply;
use catalog::{Task, tasks};
use model::{JobStatus, TaskId};

use super::{Answer, Call, lists};
use crate::failure;

/// How far a task of the service is.
pub(crate) fn describe_task(call: &Call<'_>) -> Answer {
    let task_id: TaskId = lists::id(&call.params, "TaskId", Code::TaskNotExist)?;
    let task =
        tasks::get(&call.service.catalog, &call.account, &task_id).map_err(failure::of_catalog)?;
    call.reply(shape(&task))
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

//! How far a work is: written into the row of the job, restore job or task behind it, and read from there.

use model::{TaskId, Timestamp};

use crate::conditions::change;
use crate::db::Tx;
use crate::error::{CatalogError, Entity};
use crate::records::{Progress, Work};
use crate::sql::{Row, params};
use crate::tasks;

/// Writes how far a work is, into the row behind it.
pub(crate) fn write_progress(
    tx: &Tx<'_>,
    work: &Work,
    progress: &Progress,
    now: Timestamp,
) -> Result<(), CatalogError> {
    if work.kind.is_task() {
        let task_id = TaskId::parse(&work.work_id)
            .map_err(|_| CatalogError::not_found(Entity::Task, &work.work_id))?;
        // Tasks count to 100, jobs to 10000.
        return tasks::write_progress(tx, &task_id, progress.progress / 100, now);
    }
    let sql = format!(
        "UPDATE {} SET progress = ?, speed = ?, bytes_total = ?, bytes_done = ?, actual_bytes = ?, items_total = ?, \
         items_done = ?, actual_items = ?, files_total = ?, files_done = ?, actual_files = ?, error_count = ?, \
         updated_time = ? WHERE account_id = ? AND {} = ?",
        work.kind.table(),
        work.kind.id_column(),
    );
    let values = params![
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
        now.0,
        work.account_id.as_str(),
        work.work_id
    ];
    change(tx, "note progress", &sql, values)?;
    Ok(())
}

/// How far a job or restore job is, from its row.
pub(crate) fn read_progress(row: &Row<'_>) -> crate::sql::Result<Progress> {
    Ok(Progress {
        progress: row.get("progress")?,
        speed: row.get("speed")?,
        bytes_total: row.get("bytes_total")?,
        bytes_done: row.get("bytes_done")?,
        actual_bytes: row.get("actual_bytes")?,
        items_total: row.get("items_total")?,
        items_done: row.get("items_done")?,
        actual_items: row.get("actual_items")?,
        files_total: row.get("files_total")?,
        files_done: row.get("files_done")?,
        actual_files: row.get("actual_files")?,
        error_count: row.get("error_count")?,
    })
}

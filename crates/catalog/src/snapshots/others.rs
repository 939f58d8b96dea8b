//! Snapshots that other programs made in a vault, as a check or a prune found them.

use super::{insert, read};
use crate::conditions::first;
use crate::db::Tx;
use crate::error::{CatalogError, Entity};
use crate::records::{Snapshot, Task};
use crate::words::WorkState;
use crate::work;

/// A snapshot that was found in a vault and that no job has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSnapshot {
    /// What it says of itself.
    pub snapshot: Snapshot,
    /// The engine's id of the snapshot that it was made from, by a repair or by restic's `rewrite` and `tag`.
    pub original: Option<String>,
}

/// Writes snapshots that others made in a vault. One that was made from a snapshot that the catalog knows takes its place in the
/// plan, the host and the retention. All others belong to nobody, whatever their tags say, so no retention ever removes
/// them. One that a running job has just made is left to the report of that job.
pub(crate) fn list_others(
    tx: &Tx<'_>,
    task: &Task,
    found: &[FoundSnapshot],
) -> Result<(), CatalogError> {
    for FoundSnapshot { snapshot, original } in found {
        if snapshot.account_id != task.account_id || snapshot.vault_id != task.vault_id {
            return Err(CatalogError::not_found(
                Entity::Snapshot,
                &snapshot.snapshot_id,
            ));
        }
        if let Some(job_id) = &snapshot.job_id
            && work::find(tx, job_id.as_str())?.is_some_and(|work| work.state != WorkState::Done)
        {
            continue;
        }
        let original = match original {
            Some(hash) => by_hash(tx, task, hash)?,
            None => None,
        };
        let snapshot = Snapshot {
            job_id: None,
            plan_id: original.as_ref().and_then(|row| row.plan_id.clone()),
            client_id: original.as_ref().and_then(|row| row.client_id.clone()),
            instance_id: original.as_ref().and_then(|row| row.instance_id.clone()),
            retention: original.as_ref().and_then(|row| row.retention),
            expire_time: original.as_ref().and_then(|row| row.expire_time),
            ..snapshot.clone()
        };
        match insert(tx, &snapshot) {
            Ok(()) | Err(CatalogError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The row of a snapshot, also when it is missing or being deleted.
fn by_hash(tx: &Tx<'_>, task: &Task, hash: &str) -> Result<Option<Snapshot>, CatalogError> {
    let sql = "SELECT * FROM snapshots WHERE vault_id = ? AND snapshot_hash = ?";
    first(
        tx,
        "read a snapshot",
        sql,
        [task.vault_id.as_str(), hash],
        read,
    )
}

//! Snapshots that no job has told of: those of an adopted vault, and those that a check or a prune found beside ours.

use model::AccountId;

use super::{insert, of_job, read};
use crate::conditions::first;
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::{Snapshot, Task};
use crate::words::WorkState;
use crate::{vaults, work};

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

/// Writes snapshots that were found in an adopted vault; those that the catalog knows by vault and hash are left alone.
/// Says how many were new.
pub fn adopt(
    catalog: &Catalog,
    account_id: &AccountId,
    found: &[Snapshot],
) -> Result<usize, CatalogError> {
    catalog.write("adopt snapshots", |tx| {
        let mut new = 0;
        for snapshot in found {
            if snapshot.account_id != *account_id {
                return Err(CatalogError::not_found(
                    Entity::Snapshot,
                    &snapshot.snapshot_id,
                ));
            }
            vaults::require(tx, account_id, &snapshot.vault_id)?;
            // A copy of a snapshot in another vault has the tags of the first: the job stays with that one.
            let has_job = match &snapshot.job_id {
                Some(job_id) => of_job(tx, account_id, job_id)?.is_some(),
                None => false,
            };
            let mut snapshot = snapshot.clone();
            if has_job {
                snapshot.job_id = None;
            }
            match insert(tx, &snapshot) {
                Ok(()) => new += 1,
                Err(CatalogError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(new)
    })
}

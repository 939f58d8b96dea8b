//! What is protected: hosts that have a plan or a snapshot, with how much there is of them.

use model::{AccountId, InstanceId, SnapshotId, Timestamp};

use crate::conditions::{Conditions, all};
use crate::db::Catalog;
use crate::error::CatalogError;
use crate::policies::{TokenPage, token_page};
use crate::records::Snapshot;
use crate::row::RowReader;
use crate::snapshots;
use crate::sql::{Row, Value};

/// A host that has a plan or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The host.
    pub instance_id: InstanceId,
    /// When its client was created.
    pub created_time: Timestamp,
    /// Plans of it, those of policies included.
    pub plan_count: i64,
    /// Its snapshots.
    pub snapshot_count: i64,
    /// Bytes of the source in its newest snapshot.
    pub data_bytes: i64,
}

/// What ListProtectedResources may ask for; an absent member does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProtectedFilter {
    /// One host.
    pub instance_id: Option<String>,
    /// With or without snapshots.
    pub has_snapshot: Option<bool>,
}

/// What ListSnapshots asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotsOf {
    /// Of which host.
    pub instance_id: String,
    /// In one vault.
    pub vault_id: Option<String>,
    /// Of one plan.
    pub plan_id: Option<String>,
    /// Completed at this time or later.
    pub complete_from: Option<Timestamp>,
    /// Completed before this time.
    pub complete_before: Option<Timestamp>,
}

/// Hosts with their counts; the snapshots of a host are found by an index.
const TABLE: &str = "(SELECT c.account_id, c.instance_id, c.created_time, \
    (SELECT COUNT(*) FROM plans p WHERE p.account_id = c.account_id AND p.instance_id = c.instance_id) AS plan_count, \
    (SELECT COUNT(*) FROM snapshots s WHERE s.account_id = c.account_id AND s.instance_id = c.instance_id \
     AND s.delete_task_id IS NULL AND s.missing_since IS NULL) AS snapshot_count, \
    COALESCE((SELECT s.bytes_total FROM snapshots s WHERE s.account_id = c.account_id \
     AND s.instance_id = c.instance_id AND s.delete_task_id IS NULL AND s.missing_since IS NULL \
     ORDER BY s.complete_time DESC, s.snapshot_id DESC LIMIT 1), 0) AS data_bytes \
    FROM clients c WHERE c.account_id = ?) AS seen";

fn read(row: &Row<'_>) -> crate::sql::Result<Protected> {
    Ok(Protected {
        instance_id: row.parsed("instance_id")?,
        created_time: row.time("created_time")?,
        plan_count: row.get("plan_count")?,
        snapshot_count: row.get("snapshot_count")?,
        data_bytes: row.get("data_bytes")?,
    })
}

/// All protected hosts of the account that match, the oldest first.
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    filter: &ProtectedFilter,
) -> Result<Vec<Protected>, CatalogError> {
    let operation = "list what is protected";
    let sql = format!(
        "SELECT * FROM {TABLE} WHERE (plan_count > 0 OR snapshot_count > 0) ORDER BY created_time, instance_id"
    );
    let found = catalog.read(operation, |tx| {
        all(tx, operation, &sql, [account_id.as_str()], read)
    })?;
    Ok(found
        .into_iter()
        .filter(|host| {
            filter
                .instance_id
                .as_ref()
                .is_none_or(|id| id == host.instance_id.as_str())
        })
        .filter(|host| {
            filter
                .has_snapshot
                .is_none_or(|has| has == (host.snapshot_count > 0))
        })
        .collect())
}

/// The snapshots of one host in the order of their creation, from a token on, or behind `skip` rows.
pub fn snapshots_of(
    catalog: &Catalog,
    account_id: &AccountId,
    wanted: &SnapshotsOf,
    (max_results, next_token, skip): (u32, Option<&str>, u32),
) -> Result<TokenPage<Snapshot>, CatalogError> {
    let operation = "list snapshots";
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and("delete_task_id IS NULL AND missing_since IS NULL", []);
    conditions.and_equal("instance_id", Some(&wanted.instance_id));
    conditions.and_equal("vault_id", wanted.vault_id.as_deref());
    conditions.and_equal("plan_id", wanted.plan_id.as_deref());
    if let Some(from) = wanted.complete_from {
        conditions.and("complete_time >= ?", [Value::Integer(from.0)]);
    }
    if let Some(before) = wanted.complete_before {
        conditions.and("complete_time < ?", [Value::Integer(before.0)]);
    }
    let key = |snapshot: &Snapshot| {
        (
            snapshot.created_time,
            SnapshotId::to_string(&snapshot.snapshot_id),
        )
    };
    let table = ("snapshots", "snapshot_id");
    catalog.read(operation, |tx| {
        if skip == 0 {
            let request = (
                max_results,
                next_token,
                snapshots::read as fn(&Row<'_>) -> _,
            );
            return token_page(tx, operation, table, &conditions, request, key);
        }
        let total = conditions.count(tx, operation, table.0)?;
        let page = (i64::from(max_results), i64::from(skip));
        let rows = conditions.rows(
            tx,
            operation,
            (table.0, "created_time, snapshot_id"),
            page,
            snapshots::read,
        )?;
        Ok(TokenPage {
            rows,
            total,
            next_token: None,
        })
    })
}

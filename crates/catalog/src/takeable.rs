//! Which works a client can take: the questions behind each lease.

use model::{AccountId, ClientId, Timestamp};

use crate::conditions::all;
use crate::db::Tx;
use crate::error::CatalogError;
use crate::row::RowReader;
use crate::sql::ToParam;
use crate::words::WorkKind;

/// How much an agent can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLimit {
    /// Works of any kind.
    pub works: u32,
    /// Backups among them.
    pub backups: u32,
}

impl From<u32> for LeaseLimit {
    fn from(works: u32) -> Self {
        Self {
            works,
            backups: works,
        }
    }
}

/// A work that a client can take.
pub(crate) struct Takeable {
    pub(crate) work_id: String,
    pub(crate) kind: WorkKind,
    pub(crate) serial_key: Option<String>,
    queue_order: i64,
}

/// The works that a client can take, the longest waiting first. Its account's and those lent to it are two questions, each
/// with an index of its own: with an OR between them the database reads what all accounts have queued.
pub(crate) fn takeable(
    tx: &Tx<'_>,
    account_id: &AccountId,
    client_id: &ClientId,
    now: Timestamp,
    limit: LeaseLimit,
) -> Result<Vec<Takeable>, CatalogError> {
    let own = [account_id.as_str(), client_id.as_str()];
    let mut found = takeable_where(tx, OWN, &own, client_id, now, limit)?;
    let lent = [client_id.as_str()];
    found.extend(takeable_where(tx, LENT, &lent, client_id, now, limit)?);
    found.sort_by(|a, b| (a.queue_order, &a.work_id).cmp(&(b.queue_order, &b.work_id)));
    found.truncate(limit.works as usize);
    Ok(found)
}

/// Works of the account (`?`) that the client (`?`) may take.
pub(crate) const OWN: &str =
    "w.account_id = ? AND w.lent_to IS NULL AND (w.client_id IS NULL OR w.client_id = ?)";
/// Works that were lent to the client (`?`).
pub(crate) const LENT: &str = "w.lent_to = ?";

/// One check or prune at a time: several would leave no room for restores, for hours.
pub(crate) fn takeable_sql(whose: &str) -> String {
    format!(
        "SELECT w.work_id, w.kind, w.serial_key, w.queue_order FROM work w JOIN vaults v ON v.vault_id = w.vault_id \
         WHERE w.state = 'QUEUED' AND {whose} AND w.not_before <= ? AND (w.kind <> 'BACKUP' OR ?) \
         AND (w.kind = 'DELETE_VAULT' OR v.deleted_time IS NULL \
              AND (w.kind = 'CREATE_VAULT' OR v.status = 'CREATED')) \
         AND (w.serial_key IS NULL OR NOT EXISTS \
              (SELECT 1 FROM work o WHERE o.state = 'LEASED' AND o.serial_key = w.serial_key)) \
         AND (w.kind NOT IN ('CHECK_VAULT', 'PRUNE_VAULT') OR NOT EXISTS \
              (SELECT 1 FROM work o WHERE o.state = 'LEASED' AND o.holder_client_id = ? \
               AND o.kind IN ('CHECK_VAULT', 'PRUNE_VAULT'))) \
         ORDER BY w.queue_order, w.work_id LIMIT ?"
    )
}

fn takeable_where(
    tx: &Tx<'_>,
    whose: &str,
    who: &[&str],
    client_id: &ClientId,
    now: Timestamp,
    limit: LeaseLimit,
) -> Result<Vec<Takeable>, CatalogError> {
    let (has_backups, client) = (limit.backups > 0, client_id.as_str());
    let mut values: Vec<&dyn ToParam> = who.iter().map(|value| value as &dyn ToParam).collect();
    values.extend([&now.0 as &dyn ToParam, &has_backups, &client, &limit.works]);
    all(
        tx,
        "lease works",
        &takeable_sql(whose),
        &values[..],
        |row| {
            Ok(Takeable {
                work_id: row.get("work_id")?,
                kind: row.parsed("kind")?,
                serial_key: row.get("serial_key")?,
                queue_order: row.get("queue_order")?,
            })
        },
    )
}

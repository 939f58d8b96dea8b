//! Accounts: the owners of everything else. Created by the operator, never by a caller of the API.

use model::{AccountId, Timestamp};

use crate::access_keys::{self, NewAccessKey};
use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::Account;
use crate::row::RowReader;
use crate::sql::{Row, params};
use crate::words::IdentityStatus;

/// The order of an account that opened the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOrder {
    /// The order.
    pub order_id: String,
    /// Whether this call opened it; `false` means that it was open before.
    pub is_new: bool,
}

fn read(row: &Row<'_>) -> crate::sql::Result<Account> {
    Ok(Account {
        account_id: row.parsed("account_id")?,
        account_name: row.get("account_name")?,
        order_id: row.get("order_id")?,
        status: row.parsed("status")?,
        created_time: row.time("created_time")?,
    })
}

/// Creates the first account of a catalog, as [`create`]; `AlreadyExists` when another server was faster.
pub fn create_first(
    catalog: &Catalog,
    account_id: &AccountId,
    account_name: &str,
    root_key: &NewAccessKey,
    now: Timestamp,
) -> Result<Account, CatalogError> {
    let operation = "create the first account";
    catalog.write(operation, |tx| {
        let sql = "SELECT account_id FROM accounts LIMIT 1";
        if let Some(id) = first(tx, operation, sql, [], |row| row.get(0))? {
            return Err(CatalogError::AlreadyExists {
                entity: Entity::Account,
                id,
            });
        }
        insert(tx, account_id, account_name, root_key, now)
    })
}

/// Creates an account together with its root key, so that none is ever without one. It is younger than all others, by a second
/// at least: the oldest is the operator's, and a start takes it for its own.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    account_name: &str,
    root_key: &NewAccessKey,
    now: Timestamp,
) -> Result<Account, CatalogError> {
    let operation = "create an account";
    catalog.write(operation, |tx| {
        if find(tx, account_id)?.is_some() {
            return Err(CatalogError::AlreadyExists {
                entity: Entity::Account,
                id: account_id.to_string(),
            });
        }
        let sql = "SELECT MAX(created_time) FROM accounts";
        let newest: Option<i64> = first(tx, operation, sql, [], |row| row.get(0))?.flatten();
        let created = newest.map_or(now, |newest| now.max(Timestamp(newest.saturating_add(1))));
        insert(tx, account_id, account_name, root_key, created)
    })
}

fn insert(
    tx: &Tx<'_>,
    account_id: &AccountId,
    account_name: &str,
    root_key: &NewAccessKey,
    now: Timestamp,
) -> Result<Account, CatalogError> {
    let sql = "INSERT INTO accounts (account_id, account_name, created_time, last_job_micros) VALUES (?, ?, ?, 0)";
    let values = params![account_id.as_str(), account_name, now.0];
    change(tx, "create an account", sql, values)?;
    access_keys::insert(tx, account_id, root_key, now)?;
    find(tx, account_id)?.ok_or_else(|| CatalogError::not_found(Entity::Account, account_id))
}

pub(crate) fn find(
    connection: &Tx<'_>,
    account_id: &AccountId,
) -> Result<Option<Account>, CatalogError> {
    let sql = "SELECT * FROM accounts WHERE account_id = ?";
    first(
        connection,
        "read an account",
        sql,
        [account_id.as_str()],
        read,
    )
}

/// All accounts, oldest first. For the operator: nobody's request may show it.
pub fn list(catalog: &Catalog) -> Result<Vec<Account>, CatalogError> {
    let operation = "list accounts";
    catalog.read(operation, |tx| {
        all(
            tx,
            operation,
            "SELECT * FROM accounts ORDER BY created_time, account_id",
            [],
            read,
        )
    })
}

/// Switches an account off or on: none of the keys of one that is off is accepted. Its plans go on.
pub fn set_status(
    catalog: &Catalog,
    account_id: &AccountId,
    status: IdentityStatus,
) -> Result<(), CatalogError> {
    let operation = "change an account";
    let sql = "UPDATE accounts SET status = ? WHERE account_id = ?";
    let values = params![status.as_str(), account_id.as_str()];
    catalog.write(operation, |tx| match change(tx, operation, sql, values)? {
        0 => Err(CatalogError::not_found(Entity::Account, account_id)),
        _ => Ok(()),
    })
}

/// Opens the service for an account (OpenHbrService); a second call gives the first one's order.
pub fn open_service(
    catalog: &Catalog,
    account_id: &AccountId,
    order_id: &str,
) -> Result<ServiceOrder, CatalogError> {
    let operation = "open the service";
    catalog.write(operation, |tx| {
        let account = find(tx, account_id)?
            .ok_or_else(|| CatalogError::not_found(Entity::Account, account_id))?;
        if let Some(order_id) = account.order_id {
            return Ok(ServiceOrder {
                order_id,
                is_new: false,
            });
        }
        let sql = "UPDATE accounts SET order_id = ? WHERE account_id = ?";
        change(tx, operation, sql, params![order_id, account_id.as_str()])?;
        Ok(ServiceOrder {
            order_id: order_id.to_owned(),
            is_new: true,
        })
    })
}

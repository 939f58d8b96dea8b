//! Access keys. Secrets come in and go out sealed.

use std::sync::Arc;

use model::{AccountId, ClientId, Timestamp};

use crate::conditions::{all, change, first};
use crate::db::{Catalog, Reading, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::{AccessKey, Sealed, User};
use crate::row::{RowReader, text};
use crate::sql::{Row, params};
use crate::words::{AccessKeyKind, AccessKeyStatus, IdentityStatus};
use crate::{accounts, identities};

/// A key to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccessKey {
    /// Its id, unique among all accounts.
    pub access_key_id: String,
    /// What it may do.
    pub kind: AccessKeyKind,
    /// The client that it belongs to, for an agent's key.
    pub client_id: Option<ClientId>,
    /// The user that it belongs to, for a user's key.
    pub user_name: Option<String>,
    /// The secret, sealed.
    pub sealed_secret: Sealed,
}

fn read(row: &Row<'_>) -> crate::sql::Result<AccessKey> {
    Ok(AccessKey {
        access_key_id: row.get("access_key_id")?,
        account_id: row.parsed("account_id")?,
        kind: row.parsed("kind")?,
        client_id: row.parsed_opt("client_id")?,
        user_name: row.get("user_name")?,
        sealed_secret: Sealed(row.get("sealed_secret")?),
        status: row.parsed("status")?,
        created_time: row.time("created_time")?,
    })
}

pub(crate) fn insert(
    tx: &Tx<'_>,
    account_id: &AccountId,
    key: &NewAccessKey,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "create an access key";
    if by_id(tx, &key.access_key_id)?.is_some() {
        return Err(CatalogError::AlreadyExists {
            entity: Entity::AccessKey,
            id: key.access_key_id.clone(),
        });
    }
    let sql = "INSERT INTO access_keys \
               (access_key_id, account_id, kind, client_id, user_name, sealed_secret, status, created_time) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        key.access_key_id,
        account_id.as_str(),
        key.kind.as_str(),
        text(&key.client_id),
        key.user_name,
        key.sealed_secret.0,
        AccessKeyStatus::Active.as_str(),
        now.0
    ];
    change(tx, operation, sql, values)?;
    Ok(())
}

fn by_id(connection: &Tx<'_>, access_key_id: &str) -> Result<Option<AccessKey>, CatalogError> {
    let sql = "SELECT * FROM access_keys WHERE access_key_id = ?";
    first(connection, "read an access key", sql, [access_key_id], read)
}

/// Creates a key in an account.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    key: &NewAccessKey,
    now: Timestamp,
) -> Result<(), CatalogError> {
    catalog.write("create an access key", |tx| {
        insert(tx, account_id, key, now)
    })
}

/// A key with what decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The key.
    pub key: AccessKey,
    /// Whether its account, and its user if it is a user's, may be used.
    pub is_active: bool,
    /// Its user.
    pub user: Option<User>,
}

/// The key that a request names, with its account and its user: this is how a request finds who asks.
pub fn identify(
    catalog: &Catalog,
    access_key_id: &str,
) -> Result<Option<Arc<Identified>>, CatalogError> {
    catalog.read("read an access key", |tx| identified(tx, access_key_id))
}

/// As [`identify`], in a state of the catalog that is at hand.
pub fn identify_in(
    reading: &Reading<'_, '_>,
    access_key_id: &str,
) -> Result<Option<Arc<Identified>>, CatalogError> {
    identified(reading.0, access_key_id)
}

fn identified(tx: &Tx<'_>, access_key_id: &str) -> Result<Option<Arc<Identified>>, CatalogError> {
    let found = tx.remembered("access key", access_key_id, || {
        Ok(read_identified(tx, access_key_id)?.map(Arc::new))
    })?;
    Ok(Option::clone(&found))
}

fn read_identified(tx: &Tx<'_>, access_key_id: &str) -> Result<Option<Identified>, CatalogError> {
    let Some(key) = by_id(tx, access_key_id)? else {
        return Ok(None);
    };
    let account = accounts::find(tx, &key.account_id)?;
    let user = match &key.user_name {
        Some(name) => identities::find_user(tx, &key.account_id, name)?,
        None => None,
    };
    // A key whose user is gone is good for nothing.
    let is_active = account.is_some_and(|account| account.status == IdentityStatus::Active)
        && match (&key.user_name, &user) {
            (None, _) => true,
            (Some(_), Some(user)) => user.status == IdentityStatus::Active,
            (Some(_), None) => false,
        };
    Ok(Some(Identified {
        key,
        is_active,
        user,
    }))
}

/// The keys of an account, oldest first.
pub fn list(catalog: &Catalog, account_id: &AccountId) -> Result<Vec<AccessKey>, CatalogError> {
    let operation = "list access keys";
    let sql = "SELECT * FROM access_keys WHERE account_id = ? ORDER BY created_time, access_key_id";
    catalog.read(operation, |tx| {
        all(tx, operation, sql, [account_id.as_str()], read)
    })
}

/// Allows or forbids the use of a key.
pub fn set_status(
    catalog: &Catalog,
    account_id: &AccountId,
    access_key_id: &str,
    status: AccessKeyStatus,
) -> Result<(), CatalogError> {
    let operation = "change an access key";
    let sql = "UPDATE access_keys SET status = ? WHERE account_id = ? AND access_key_id = ?";
    let values = params![status.as_str(), account_id.as_str(), access_key_id];
    catalog.write(operation, |tx| match change(tx, operation, sql, values)? {
        0 => Err(CatalogError::not_found(Entity::AccessKey, access_key_id)),
        _ => Ok(()),
    })
}

/// Removes a key.
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    access_key_id: &str,
) -> Result<(), CatalogError> {
    let operation = "delete an access key";
    let sql = "DELETE FROM access_keys WHERE account_id = ? AND access_key_id = ?";
    catalog.write(operation, |tx| {
        match change(
            tx,
            operation,
            sql,
            params![account_id.as_str(), access_key_id],
        )? {
            0 => Err(CatalogError::not_found(Entity::AccessKey, access_key_id)),
            _ => Ok(()),
        }
    })
}

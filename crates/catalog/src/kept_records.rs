//! Records that the service keeps for its callers and never acts on: one row each, the body as JSON.
//!
//! Data sources, cross accounts, container clusters, settings of clients, and tasks that had nothing to do. What the
//! bodies hold is the server's affair; here they have an id, a key that no two of a kind share, and an owner.

use model::{AccountId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::conditions::{Conditions, change, first};
use crate::db::Catalog;
use crate::error::{CatalogError, Entity};
use crate::records::{Page, PageRequest};
use crate::row::{RowReader, json};
use crate::sql::{Row, params};

/// Most records of one kind in an account.
pub const MAX_RECORDS: u64 = 10_000;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A data source, `ds-…`.
    DataSource,
    /// A role of another account.
    CrossAccount,
    /// A container cluster, `cc-…`.
    ContainerCluster,
    /// Settings of a client, by its id.
    ClientSettings,
    /// A task that was over when it was asked for, `t-…`.
    DoneTask,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::DataSource => "DATA_SOURCE",
            Self::CrossAccount => "CROSS_ACCOUNT",
            Self::ContainerCluster => "CONTAINER_CLUSTER",
            Self::ClientSettings => "CLIENT_SETTINGS",
            Self::DoneTask => "DONE_TASK",
        }
    }

    /// How ids of the kind start.
    const fn prefix(self) -> &'static str {
        match self {
            Self::DataSource => "ds-",
            Self::CrossAccount => "ca-",
            Self::ContainerCluster => "cc-",
            Self::ClientSettings => "cs-",
            Self::DoneTask => "t-",
        }
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<T> {
    /// Its id.
    pub id: String,
    /// What it says.
    pub body: T,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
}

fn read<T: DeserializeOwned>(row: &Row<'_>) -> crate::sql::Result<Record<T>> {
    Ok(Record {
        id: row.get("record_id")?,
        body: row.json("body")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
    })
}

/// An id for a new record.
#[must_use]
pub fn new_id(catalog: &Catalog, kind: Kind, now: Timestamp) -> String {
    let (micros, entropy) = catalog.new_id(now);
    model::ids::new_id(kind.prefix(), micros, entropy)
}

/// Adds a record. `AlreadyExists` when another one of the kind has the unique key.
pub fn insert<T: Serialize>(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: Kind,
    (id, unique_key): (&str, &str),
    body: &T,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "keep a record";
    catalog.write(operation, |tx| {
        let taken = "SELECT record_id FROM kept_records WHERE account_id = ? AND kind = ? AND unique_key = ?";
        let key = [account_id.as_str(), kind.as_str(), unique_key];
        if let Some(known) = first(tx, operation, taken, key, |row| row.get::<_, String>("record_id"))? {
            return Err(CatalogError::AlreadyExists { entity: Entity::Record, id: known });
        }
        let mut mine = Conditions::equal("account_id", account_id.as_str());
        mine.and_equal("kind", Some(kind.as_str()));
        if mine.count(tx, operation, "kept_records")? >= MAX_RECORDS {
            return Err(CatalogError::TooMany { what: "records of one kind", max: MAX_RECORDS });
        }
        let sql = "INSERT INTO kept_records (account_id, kind, record_id, unique_key, body, created_time, updated_time) \
                   VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = params![account_id.as_str(), kind.as_str(), id, unique_key, json(body), now.0, now.0];
        change(tx, operation, sql, values)?;
        Ok(())
    })
}

/// The record of an id. `NotFound` when it is another account's.
pub fn get<T: DeserializeOwned>(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: Kind,
    id: &str,
) -> Result<Record<T>, CatalogError> {
    let operation = "read a record";
    let sql = "SELECT * FROM kept_records WHERE account_id = ? AND kind = ? AND record_id = ?";
    let ids = [account_id.as_str(), kind.as_str(), id];
    catalog
        .read(operation, |tx| first(tx, operation, sql, ids, read))?
        .ok_or_else(|| CatalogError::not_found(Entity::Record, id))
}

/// Changes what a record says.
pub fn update<T: DeserializeOwned + Serialize>(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: Kind,
    id: &str,
    edit: impl FnOnce(&mut T),
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "change a record";
    let sql = "SELECT * FROM kept_records WHERE account_id = ? AND kind = ? AND record_id = ?";
    let ids = [account_id.as_str(), kind.as_str(), id];
    catalog.write(operation, |tx| {
        let mut record: Record<T> = first(tx, operation, sql, ids, read)?
            .ok_or_else(|| CatalogError::not_found(Entity::Record, id))?;
        edit(&mut record.body);
        let sql = "UPDATE kept_records SET body = ?, updated_time = ? \
                   WHERE account_id = ? AND kind = ? AND record_id = ?";
        let values = params![
            json(&record.body),
            now.0,
            account_id.as_str(),
            kind.as_str(),
            id
        ];
        change(tx, operation, sql, values)?;
        Ok(())
    })
}

/// Removes a record. `NotFound` when there is none.
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: Kind,
    id: &str,
) -> Result<(), CatalogError> {
    let operation = "drop a record";
    let sql = "DELETE FROM kept_records WHERE account_id = ? AND kind = ? AND record_id = ?";
    let ids = [account_id.as_str(), kind.as_str(), id];
    catalog.write(operation, |tx| {
        if change(tx, operation, sql, ids)? == 0 {
            return Err(CatalogError::not_found(Entity::Record, id));
        }
        Ok(())
    })
}

/// Drops the records of a kind that were created before a time.
pub fn delete_before(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: Kind,
    before: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "drop old records";
    let sql = "DELETE FROM kept_records WHERE account_id = ? AND kind = ? AND created_time < ?";
    catalog.write(operation, |tx| {
        let values = params![account_id.as_str(), kind.as_str(), before.0];
        change(tx, operation, sql, values)?;
        Ok(())
    })
}

/// A page of the account's records of one kind, the oldest first.
pub fn list<T: DeserializeOwned>(
    catalog: &Catalog,
    account_id: &AccountId,
    kind: Kind,
    id: Option<&str>,
    page: PageRequest,
) -> Result<Page<Record<T>>, CatalogError> {
    let operation = "list records";
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and_equal("kind", Some(kind.as_str()));
    conditions.and_equal("record_id", id);
    let order = ("kept_records", "created_time, record_id");
    catalog.read(operation, |tx| {
        conditions.page(tx, operation, order, page, read)
    })
}

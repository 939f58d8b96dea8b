//! Tags that callers put on vaults, clients, policies and plans. A tag is a key and a value; a key is there once.

use model::AccountId;

use crate::conditions::{all, change};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::sql::params;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Puts tags on resources of one type; a key that is there gets the new value.
pub fn put(
    catalog: &Catalog,
    account_id: &AccountId,
    resource_type: &str,
    resource_ids: &[String],
    tags: &[Tag],
) -> Result<(), CatalogError> {
    let operation = "tag resources";
    catalog.write(operation, |tx| {
        for resource_id in resource_ids {
            for tag in tags {
                let sql = "INSERT INTO tags (account_id, resource_type, resource_id, tag_key, tag_value) \
                           VALUES (?, ?, ?, ?, ?) \
                           ON CONFLICT (account_id, resource_type, resource_id, tag_key) \
                           DO UPDATE SET tag_value = excluded.tag_value";
                let values = params![
                    account_id.as_str(),
                    resource_type,
                    resource_id,
                    tag.key,
                    tag.value
                ];
                change(tx, operation, sql, values)?;
            }
        }
        Ok(())
    })
}

/// Takes keys off resources of one type; an empty list takes all.
pub fn remove(
    catalog: &Catalog,
    account_id: &AccountId,
    resource_type: &str,
    resource_ids: &[String],
    keys: &[String],
) -> Result<(), CatalogError> {
    let operation = "untag resources";
    let all_of = "DELETE FROM tags WHERE account_id = ? AND resource_type = ? AND resource_id = ?";
    catalog.write(operation, |tx| {
        for resource_id in resource_ids {
            let ids = [account_id.as_str(), resource_type, resource_id];
            if keys.is_empty() {
                change(tx, operation, all_of, ids)?;
            }
            for key in keys {
                let sql = format!("{all_of} AND tag_key = ?");
                let values = [account_id.as_str(), resource_type, resource_id, key];
                change(tx, operation, &sql, values)?;
            }
        }
        Ok(())
    })
}

/// Takes all tags off a resource that is being deleted.
pub(crate) fn forget(
    tx: &Tx<'_>,
    account_id: &AccountId,
    resource_type: &str,
    resource_id: &str,
) -> Result<(), CatalogError> {
    let sql = "DELETE FROM tags WHERE account_id = ? AND resource_type = ? AND resource_id = ?";
    let ids = [account_id.as_str(), resource_type, resource_id];
    change(tx, "forget tags", sql, ids)?;
    Ok(())
}

/// The tags of one resource, by key.
pub fn of(
    catalog: &Catalog,
    account_id: &AccountId,
    resource_type: &str,
    resource_id: &str,
) -> Result<Vec<Tag>, CatalogError> {
    let operation = "read tags";
    let sql = "SELECT tag_key, tag_value FROM tags WHERE account_id = ? AND resource_type = ? AND resource_id = ? \
               ORDER BY tag_key";
    catalog.read(operation, |tx| {
        all(
            tx,
            operation,
            sql,
            [account_id.as_str(), resource_type, resource_id],
            |row| {
                Ok(Tag {
                    key: row.get("tag_key")?,
                    value: row.get("tag_value")?,
                })
            },
        )
    })
}

/// Ids of the resources of one type that have all of `wanted`; an empty value stands for any.
pub fn find(
    catalog: &Catalog,
    account_id: &AccountId,
    resource_type: &str,
    wanted: &[Tag],
) -> Result<Vec<String>, CatalogError> {
    let operation = "find by tags";
    let sql = "SELECT resource_id FROM tags WHERE account_id = ? AND resource_type = ? AND tag_key = ? \
               AND (? = '' OR tag_value = ?) ORDER BY resource_id";
    catalog.read(operation, |tx| {
        let mut found: Option<Vec<String>> = None;
        for tag in wanted {
            let values = [
                account_id.as_str(),
                resource_type,
                &tag.key,
                &tag.value,
                &tag.value,
            ];
            let ids = all(tx, operation, sql, values, |row| row.get("resource_id"))?;
            found = Some(match found {
                None => ids,
                Some(before) => before.into_iter().filter(|id| ids.contains(id)).collect(),
            });
        }
        Ok(found.unwrap_or_default())
    })
}

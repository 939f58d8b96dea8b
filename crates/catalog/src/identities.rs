//! Users and roles of an account, with their policy documents. What the documents mean is [`model::ram`]'s; here they are
//! texts that the server has read before.

use model::{AccountId, Timestamp};

use crate::access_keys::{self, NewAccessKey};
use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx, entropy};
use crate::error::{CatalogError, Entity};
use crate::records::{Role, User};
use crate::row::RowReader;
use crate::sql::{Result as RowResult, Row, params};
use crate::words::IdentityStatus;

/// Most users, and most roles, of an account.
pub const MAX_IDENTITIES: i64 = 1_000;
/// Most keys of a user: two let a key be replaced without a gap.
pub const MAX_USER_KEYS: i64 = 2;

/// A role to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// Its name.
    pub role_name: String,
    /// Who may take it on: a policy document.
    pub trust: String,
    /// What it may do.
    pub policy: Option<String>,
    /// Longest session, in seconds.
    pub max_session_seconds: i64,
}

fn read_user(row: &Row<'_>) -> RowResult<User> {
    Ok(User {
        account_id: row.parsed("account_id")?,
        user_name: row.get("user_name")?,
        user_id: row.get("user_id")?,
        status: row.parsed("status")?,
        policy: row.get("policy")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
    })
}

fn read_role(row: &Row<'_>) -> RowResult<Role> {
    Ok(Role {
        account_id: row.parsed("account_id")?,
        role_name: row.get("role_name")?,
        role_id: row.get("role_id")?,
        trust: row.get("trust")?,
        policy: row.get("policy")?,
        max_session_seconds: row.get("max_session_seconds")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
    })
}

/// Ids of users and roles as RAM shows them: 18 digits.
fn new_id() -> String {
    format!("3{:017}", entropy() % 100_000_000_000_000_000)
}

pub(crate) fn find_user(
    tx: &Tx<'_>,
    account_id: &AccountId,
    user_name: &str,
) -> Result<Option<User>, CatalogError> {
    let sql = "SELECT * FROM users WHERE account_id = ? AND user_name = ?";
    first(
        tx,
        "read a user",
        sql,
        [account_id.as_str(), user_name],
        read_user,
    )
}

fn require_user(
    tx: &Tx<'_>,
    account_id: &AccountId,
    user_name: &str,
) -> Result<User, CatalogError> {
    find_user(tx, account_id, user_name)?
        .ok_or_else(|| CatalogError::not_found(Entity::User, user_name))
}

fn refuse_too_many(
    tx: &Tx<'_>,
    sql: &str,
    account_id: &AccountId,
    what: &'static str,
) -> Result<(), CatalogError> {
    let count = first(tx, "count identities", sql, [account_id.as_str()], |row| {
        row.get::<_, i64>("n")
    })?;
    if count.unwrap_or(0) >= MAX_IDENTITIES {
        return Err(CatalogError::TooMany {
            what,
            max: MAX_IDENTITIES.unsigned_abs(),
        });
    }
    Ok(())
}

/// Creates a user without keys.
pub fn create_user(
    catalog: &Catalog,
    account_id: &AccountId,
    user_name: &str,
    policy: Option<&str>,
    now: Timestamp,
) -> Result<User, CatalogError> {
    let operation = "create a user";
    catalog.write(operation, |tx| {
        if find_user(tx, account_id, user_name)?.is_some() {
            return Err(CatalogError::AlreadyExists {
                entity: Entity::User,
                id: user_name.to_owned(),
            });
        }
        let count = "SELECT COUNT(*) AS n FROM users WHERE account_id = ?";
        refuse_too_many(tx, count, account_id, "users")?;
        let sql = "INSERT INTO users (account_id, user_name, user_id, status, policy, created_time, updated_time) \
                   VALUES (?, ?, ?, 'ACTIVE', ?, ?, ?)";
        let values = params![account_id.as_str(), user_name, new_id(), policy, now.0, now.0];
        change(tx, operation, sql, values)?;
        require_user(tx, account_id, user_name)
    })
}

/// The user. `NotFound` when there is none in the account.
pub fn user(
    catalog: &Catalog,
    account_id: &AccountId,
    user_name: &str,
) -> Result<User, CatalogError> {
    catalog.read("read a user", |tx| require_user(tx, account_id, user_name))
}

/// The users of an account, by name.
pub fn users(catalog: &Catalog, account_id: &AccountId) -> Result<Vec<User>, CatalogError> {
    let operation = "list users";
    let sql = "SELECT * FROM users WHERE account_id = ? ORDER BY user_name";
    catalog.read(operation, |tx| {
        all(tx, operation, sql, [account_id.as_str()], read_user)
    })
}

/// Switches a user off or on.
pub fn set_user_status(
    catalog: &Catalog,
    account_id: &AccountId,
    user_name: &str,
    status: IdentityStatus,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "change a user";
    let sql =
        "UPDATE users SET status = ?, updated_time = ? WHERE account_id = ? AND user_name = ?";
    let values = params![status.as_str(), now.0, account_id.as_str(), user_name];
    catalog.write(operation, |tx| match change(tx, operation, sql, values)? {
        0 => Err(CatalogError::not_found(Entity::User, user_name)),
        _ => Ok(()),
    })
}

/// Replaces what a user may do.
pub fn set_user_policy(
    catalog: &Catalog,
    account_id: &AccountId,
    user_name: &str,
    policy: Option<&str>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "change a user";
    let sql =
        "UPDATE users SET policy = ?, updated_time = ? WHERE account_id = ? AND user_name = ?";
    let values = params![policy, now.0, account_id.as_str(), user_name];
    catalog.write(operation, |tx| match change(tx, operation, sql, values)? {
        0 => Err(CatalogError::not_found(Entity::User, user_name)),
        _ => Ok(()),
    })
}

/// Removes a user with its keys.
pub fn delete_user(
    catalog: &Catalog,
    account_id: &AccountId,
    user_name: &str,
) -> Result<(), CatalogError> {
    let operation = "delete a user";
    catalog.write(operation, |tx| {
        let ids = [account_id.as_str(), user_name];
        let keys = "DELETE FROM access_keys WHERE account_id = ? AND user_name = ?";
        change(tx, operation, keys, ids)?;
        let sql = "DELETE FROM users WHERE account_id = ? AND user_name = ?";
        match change(tx, operation, sql, ids)? {
            0 => Err(CatalogError::not_found(Entity::User, user_name)),
            _ => Ok(()),
        }
    })
}

/// Creates a key of a user, of which there are at most [`MAX_USER_KEYS`].
pub fn create_user_key(
    catalog: &Catalog,
    account_id: &AccountId,
    key: &NewAccessKey,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "create an access key";
    catalog.write(operation, |tx| {
        let user_name = key.user_name.as_deref().unwrap_or_default();
        require_user(tx, account_id, user_name)?;
        let sql = "SELECT COUNT(*) AS n FROM access_keys WHERE account_id = ? AND user_name = ?";
        let ids = [account_id.as_str(), user_name];
        let count = first(tx, operation, sql, ids, |row| row.get::<_, i64>("n"))?;
        if count.unwrap_or(0) >= MAX_USER_KEYS {
            return Err(CatalogError::TooMany {
                what: "access keys of a user",
                max: MAX_USER_KEYS.unsigned_abs(),
            });
        }
        access_keys::insert(tx, account_id, key, now)
    })
}

fn find_role(
    tx: &Tx<'_>,
    account_id: &AccountId,
    role_name: &str,
) -> Result<Option<Role>, CatalogError> {
    let sql = "SELECT * FROM roles WHERE account_id = ? AND role_name = ?";
    first(
        tx,
        "read a role",
        sql,
        [account_id.as_str(), role_name],
        read_role,
    )
}

/// Creates a role.
pub fn create_role(
    catalog: &Catalog,
    account_id: &AccountId,
    role: &NewRole,
    now: Timestamp,
) -> Result<Role, CatalogError> {
    let operation = "create a role";
    catalog.write(operation, |tx| {
        if find_role(tx, account_id, &role.role_name)?.is_some() {
            return Err(CatalogError::AlreadyExists {
                entity: Entity::Role,
                id: role.role_name.clone(),
            });
        }
        let count = "SELECT COUNT(*) AS n FROM roles WHERE account_id = ?";
        refuse_too_many(tx, count, account_id, "roles")?;
        let sql = "INSERT INTO roles (account_id, role_name, role_id, trust, policy, max_session_seconds, \
                   created_time, updated_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            account_id.as_str(),
            role.role_name,
            new_id(),
            role.trust,
            role.policy,
            role.max_session_seconds,
            now.0,
            now.0
        ];
        change(tx, operation, sql, values)?;
        find_role(tx, account_id, &role.role_name)?
            .ok_or_else(|| CatalogError::not_found(Entity::Role, &role.role_name))
    })
}

/// The role of an active account. `NotFound` when there is none.
pub fn role(
    catalog: &Catalog,
    account_id: &AccountId,
    role_name: &str,
) -> Result<Role, CatalogError> {
    catalog.read("read a role", |tx| {
        let account = crate::accounts::find(tx, account_id)?
            .filter(|account| account.status == IdentityStatus::Active);
        match account {
            Some(_) => find_role(tx, account_id, role_name)?,
            None => None,
        }
        .ok_or_else(|| CatalogError::not_found(Entity::Role, role_name))
    })
}

/// The roles of an account, by name.
pub fn roles(catalog: &Catalog, account_id: &AccountId) -> Result<Vec<Role>, CatalogError> {
    let operation = "list roles";
    let sql = "SELECT * FROM roles WHERE account_id = ? ORDER BY role_name";
    catalog.read(operation, |tx| {
        all(tx, operation, sql, [account_id.as_str()], read_role)
    })
}

/// Removes a role: its sessions end at once.
pub fn delete_role(
    catalog: &Catalog,
    account_id: &AccountId,
    role_name: &str,
) -> Result<(), CatalogError> {
    let operation = "delete a role";
    let sql = "DELETE FROM roles WHERE account_id = ? AND role_name = ?";
    let ids = [account_id.as_str(), role_name];
    catalog.write(operation, |tx| match change(tx, operation, sql, ids)? {
        0 => Err(CatalogError::not_found(Entity::Role, role_name)),
        _ => Ok(()),
    })
}

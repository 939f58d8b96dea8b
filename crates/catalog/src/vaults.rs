//! Vaults: where backups are kept. The catalog knows where the repository lies and keeps its password sealed; making
//! and removing what lies there are tasks that an agent runs ([`crate::tasks`]).

use model::{
    AccountId, ClientId, JobId, PlanId, RestoreId, SnapshotId, SourceType, TaskId, Timestamp,
    VaultId, VaultStatus,
};

use crate::conditions::{Conditions, all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::{Page, PageRequest, Sealed, Vault, VaultCounts};
use crate::row::{RowReader, text};
use crate::sql::{Row, params};
use crate::words::TaskKind;
use crate::{jobs, policies, tags, tasks, upkeep};

/// Most vaults of an account.
pub const MAX_VAULTS: u32 = 100;

/// A vault to be created. Its id is made by the caller ([`new_id`]), since the sealed password and the storage's place
/// may depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVault {
    /// Its id.
    pub vault_id: VaultId,
    /// Its name, 1 to 64 characters.
    pub vault_name: String,
    /// Its description, maybe empty.
    pub description: String,
    /// The region it is asked for.
    pub vault_region_id: String,
    /// `STANDARD` or `OTS_BACKUP`.
    pub vault_type: String,
    /// `STANDARD`.
    pub vault_storage_class: String,
    /// `HBR_PRIVATE` or `KMS`.
    pub encrypt_type: String,
    /// The key of a KMS vault.
    pub kms_key_id: Option<String>,
    /// Whether it is immutable.
    pub worm_enabled: bool,
    /// Where the repository is to lie.
    pub storage_url: String,
    /// The repository's password, sealed.
    pub sealed_password: Sealed,
    /// A client of another account that does the tasks on it: the service's own agent, for a vault of a further account in
    /// the service's own storage. Whoever names it answers for that.
    pub kept_by: Option<ClientId>,
}

/// What DescribeVaults may ask for; an absent member does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct VaultFilter {
    pub vault_id: Option<String>,
    pub vault_name: Option<String>,
    pub vault_region_id: Option<String>,
    pub vault_type: Option<String>,
    pub status: Option<String>,
    pub resource_group_id: Option<String>,
    /// One of these; an empty list matches nothing.
    pub vault_ids: Option<Vec<String>>,
}

/// What UpdateVault may change; an absent member stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VaultChange {
    /// The new name.
    pub vault_name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// WORM can be switched on, never off.
    pub worm_enabled: Option<bool>,
    /// The new resource group.
    pub resource_group_id: Option<String>,
}

/// An id for a new vault.
#[must_use]
pub fn new_id(catalog: &Catalog, now: Timestamp) -> VaultId {
    let (micros, entropy) = catalog.new_id(now);
    VaultId::new(micros, entropy)
}

fn read(row: &Row<'_>) -> crate::sql::Result<Vault> {
    Ok(Vault {
        vault_id: row.parsed("vault_id")?,
        account_id: row.parsed("account_id")?,
        vault_name: row.get("vault_name")?,
        description: row.get("description")?,
        vault_region_id: row.get("vault_region_id")?,
        vault_type: row.get("vault_type")?,
        vault_storage_class: row.get("vault_storage_class")?,
        encrypt_type: row.get("encrypt_type")?,
        kms_key_id: row.get("kms_key_id")?,
        worm_enabled: row.flag("worm_enabled")?,
        resource_group_id: row.get("resource_group_id")?,
        status: row.parsed("status")?,
        status_message: row.get("status_message")?,
        storage_url: row.get("storage_url")?,
        sealed_password: Sealed(row.get("sealed_password")?),
        bytes_done: row.get("bytes_done")?,
        storage_size: row.get("storage_size")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
        counts: VaultCounts::default(),
    })
}

/// The vault without its counts. `NotFound` when it is another account's or deleted.
pub(crate) fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    vault_id: &VaultId,
) -> Result<Vault, CatalogError> {
    let sql = "SELECT * FROM vaults WHERE account_id = ? AND vault_id = ? AND deleted_time IS NULL";
    first(
        tx,
        "read a vault",
        sql,
        [account_id.as_str(), vault_id.as_str()],
        read,
    )?
    .ok_or_else(|| CatalogError::not_found(Entity::Vault, vault_id))
}

/// The tables whose rows lie in a vault, by what their ids start with, and the column of the id.
const IN_A_VAULT: [(&str, &str, &str); 5] = [
    (PlanId::PREFIX, "plans", "plan_id"),
    (JobId::PREFIX, "jobs", "job_id"),
    (RestoreId::PREFIX, "restore_jobs", "restore_id"),
    (SnapshotId::PREFIX, "snapshots", "snapshot_id"),
    (TaskId::PREFIX, "tasks", "task_id"),
];

/// The vault of a plan, job, restore job, snapshot (a deleted one also) or task of the account, by its id; none for what has
/// none, and for ids of nobody.
pub fn of_record(
    catalog: &Catalog,
    account_id: &AccountId,
    id: &str,
) -> Result<Option<VaultId>, CatalogError> {
    let operation = "read a record's vault";
    let found = IN_A_VAULT
        .iter()
        .find(|(prefix, ..)| id.starts_with(prefix));
    let Some((_, table, column)) = found else {
        return Ok(None);
    };
    let sql = format!("SELECT vault_id FROM {table} WHERE account_id = ? AND {column} = ?");
    catalog.read(operation, |tx| {
        if *table == "jobs" && jobs::hides(tx, account_id, id)? {
            return Ok(None);
        }
        first(tx, operation, &sql, [account_id.as_str(), id], |row| {
            row.parsed_opt("vault_id")
        })
        .map(Option::flatten)
    })
}

/// The client of another account that does the tasks on it.
pub(crate) fn kept_by(tx: &Tx<'_>, vault_id: &VaultId) -> Result<Option<ClientId>, CatalogError> {
    let sql = "SELECT kept_by FROM vaults WHERE vault_id = ?";
    let found = first(tx, "read a vault", sql, [vault_id.as_str()], |row| {
        row.parsed_opt("kept_by")
    })?;
    Ok(found.flatten())
}

/// Lets `client_id` keep the vaults of other accounts than its own that wait to be made and that nobody keeps, where
/// `is_kept` says so of their place.
pub fn keep_waiting(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
    is_kept: impl Fn(&VaultId, &str) -> bool,
) -> Result<(), CatalogError> {
    let operation = "keep vaults";
    let sql = "SELECT vault_id, storage_url FROM vaults WHERE account_id <> ? AND status = 'INITIALIZING' \
               AND kept_by IS NULL AND deleted_time IS NULL ORDER BY vault_id";
    let waiting: Vec<(VaultId, String)> = catalog.read(operation, |tx| {
        all(tx, operation, sql, [account_id.as_str()], |row| {
            Ok((row.parsed("vault_id")?, row.get("storage_url")?))
        })
    })?;
    for (vault_id, _) in waiting.iter().filter(|(id, url)| is_kept(id, url)) {
        let values = [client_id.as_str(), vault_id.as_str()];
        catalog.write(operation, |tx| {
            let keep = "UPDATE vaults SET kept_by = ? WHERE vault_id = ? AND kept_by IS NULL";
            change(tx, operation, keep, values)?;
            let lend = "UPDATE work SET lent_to = ? WHERE vault_id = ? AND kind = 'CREATE_VAULT' \
                        AND state = 'QUEUED' AND client_id IS NULL";
            change(tx, operation, lend, values)?;
            Ok(())
        })?;
    }
    Ok(())
}

fn counts(tx: &Tx<'_>, vault_id: &VaultId) -> Result<VaultCounts, CatalogError> {
    let operation = "count a vault";
    let snapshots = all(
        tx,
        operation,
        "SELECT source_type, COUNT(*) AS n FROM snapshots WHERE vault_id = ? AND delete_task_id IS NULL \
         AND missing_since IS NULL GROUP BY source_type ORDER BY source_type",
        [vault_id.as_str()],
        |row| {
            Ok((
                row.parsed::<SourceType>("source_type")?,
                row.get::<_, i64>("n")?,
            ))
        },
    )?;
    let plans = all(
        tx,
        operation,
        "SELECT source_type, COUNT(*) AS n FROM plans WHERE vault_id = ? AND owner_id IS NULL GROUP BY source_type ORDER BY source_type",
        [vault_id.as_str()],
        |row| {
            Ok((
                row.parsed::<SourceType>("source_type")?,
                row.get::<_, i64>("n")?,
            ))
        },
    )?;
    Ok(VaultCounts {
        snapshot_count: snapshots.iter().map(|(_, count)| count).sum(),
        plans,
        source_types: snapshots
            .into_iter()
            .map(|(source_type, _)| source_type)
            .collect(),
    })
}

fn insert(
    tx: &Tx<'_>,
    account_id: &AccountId,
    vault: &NewVault,
    status: VaultStatus,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "create a vault";
    let taken = "SELECT 1 AS n FROM vaults WHERE vault_id = ?";
    if first(tx, operation, taken, [vault.vault_id.as_str()], |_| Ok(()))?.is_some() {
        return Err(CatalogError::AlreadyExists {
            entity: Entity::Vault,
            id: vault.vault_id.to_string(),
        });
    }
    let mut mine = Conditions::equal("account_id", account_id.as_str());
    mine.and("deleted_time IS NULL", []);
    if mine.count(tx, operation, "vaults")? >= u64::from(MAX_VAULTS) {
        return Err(CatalogError::TooManyVaults { max: MAX_VAULTS });
    }
    let sql = "INSERT INTO vaults (vault_id, account_id, vault_name, description, vault_region_id, vault_type, \
               vault_storage_class, encrypt_type, kms_key_id, worm_enabled, status, storage_url, sealed_password, \
               kept_by, bytes_done, storage_size, created_time, updated_time) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?)";
    let values = params![
        vault.vault_id.as_str(),
        account_id.as_str(),
        vault.vault_name,
        vault.description,
        vault.vault_region_id,
        vault.vault_type,
        vault.vault_storage_class,
        vault.encrypt_type,
        text(&vault.kms_key_id),
        i64::from(vault.worm_enabled),
        status.as_str(),
        vault.storage_url,
        vault.sealed_password.0,
        vault.kept_by.as_ref().map(ClientId::as_str),
        now.0,
        now.0
    ];
    change(tx, operation, sql, values)?;
    Ok(())
}

/// Creates a vault (INITIALIZING) and the task that makes its repository, run by `client_id`, by the client that keeps the
/// vault, or by any client of the account.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    vault: &NewVault,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<(Vault, TaskId), CatalogError> {
    catalog.write("create a vault", |tx| {
        insert(tx, account_id, vault, VaultStatus::Initializing, now)?;
        let target = tasks::Target::of(&vault.vault_id, now);
        let task_id = tasks::insert(
            catalog,
            tx,
            account_id,
            TaskKind::CreateVault,
            &target,
            client_id,
            now,
        )?;
        Ok((require(tx, account_id, &vault.vault_id)?, task_id))
    })
}

/// Takes over a vault whose repository exists already (CREATED at once, no task): the way back when a catalog was lost.
pub fn adopt(
    catalog: &Catalog,
    account_id: &AccountId,
    vault: &NewVault,
    now: Timestamp,
) -> Result<Vault, CatalogError> {
    catalog.write("adopt a vault", |tx| {
        insert(tx, account_id, vault, VaultStatus::Created, now)?;
        require(tx, account_id, &vault.vault_id)
    })
}

/// Notes that the vault's storage is elsewhere now.
pub fn move_to(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    storage_url: &str,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "move a vault";
    catalog.write(operation, |tx| {
        require(tx, account_id, vault_id)?;
        let sql = "UPDATE vaults SET storage_url = ?, updated_time = ? WHERE vault_id = ?";
        let values = params![storage_url, now.0, vault_id.as_str()];
        change(tx, operation, sql, values).map(drop)
    })
}

/// The vault with its counts. `NotFound` when it is another account's or deleted.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
) -> Result<Vault, CatalogError> {
    catalog.read("read a vault", |tx| {
        let mut vault = require(tx, account_id, vault_id)?;
        vault.counts = counts(tx, vault_id)?;
        Ok(vault)
    })
}

/// The vault of a work, deleted ones included: what the task that removes it needs.
pub fn get_for_work(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
) -> Result<Vault, CatalogError> {
    let sql = "SELECT * FROM vaults WHERE account_id = ? AND vault_id = ?";
    catalog.read("read a vault", |tx| {
        first(
            tx,
            "read a vault",
            sql,
            [account_id.as_str(), vault_id.as_str()],
            read,
        )?
        .ok_or_else(|| CatalogError::not_found(Entity::Vault, vault_id))
    })
}

/// A page of the account's vaults with their counts, newest first (DescribeVaults).
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    filter: &VaultFilter,
    page: PageRequest,
) -> Result<Page<Vault>, CatalogError> {
    catalog.read("list vaults", |tx| {
        let mut conditions = Conditions::equal("account_id", account_id.as_str());
        conditions.and("deleted_time IS NULL", []);
        conditions.and_equal("vault_id", filter.vault_id.as_deref());
        conditions.and_in("vault_id", filter.vault_ids.as_deref());
        conditions.and_equal("vault_name", filter.vault_name.as_deref());
        conditions.and_equal("vault_region_id", filter.vault_region_id.as_deref());
        conditions.and_equal("vault_type", filter.vault_type.as_deref());
        conditions.and_equal("status", filter.status.as_deref());
        conditions.and_equal("resource_group_id", filter.resource_group_id.as_deref());
        let order = ("vaults", "created_time DESC, vault_id DESC");
        let mut page = conditions.page(tx, "list vaults", order, page, read)?;
        for vault in &mut page.rows {
            vault.counts = counts(tx, &vault.vault_id)?;
        }
        Ok(page)
    })
}

/// Changes a vault (UpdateVault). WORM is never switched off.
pub fn update(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    changes: &VaultChange,
    now: Timestamp,
) -> Result<Vault, CatalogError> {
    let operation = "change a vault";
    catalog.write(operation, |tx| {
        let vault = require(tx, account_id, vault_id)?;
        if vault.worm_enabled && changes.worm_enabled == Some(false) {
            return Err(CatalogError::Worm {
                vault_id: vault_id.to_string(),
                reason: "immutability cannot be switched off",
            });
        }
        let sql = "UPDATE vaults SET vault_name = COALESCE(?, vault_name), description = COALESCE(?, description), \
                   worm_enabled = COALESCE(?, worm_enabled), \
                   resource_group_id = COALESCE(?, resource_group_id), updated_time = ? WHERE vault_id = ?";
        let values = params![
            changes.vault_name,
            changes.description,
            changes.worm_enabled.map(i64::from),
            changes.resource_group_id,
            now.0,
            vault_id.as_str()
        ];
        change(tx, operation, sql, values)?;
        require(tx, account_id, vault_id)
    })
}

/// Deletes a vault with its plans, jobs, snapshots and restore jobs (DeleteVault), and creates the task that removes
/// what it stored. Refused while it is INITIALIZING, and with WORM while a snapshot's retention lasts.
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    client_id: Option<&ClientId>,
    now: Timestamp,
) -> Result<TaskId, CatalogError> {
    let operation = "delete a vault";
    catalog.write(operation, |tx| {
        let vault = require(tx, account_id, vault_id)?;
        if vault.status == VaultStatus::Initializing {
            return Err(CatalogError::VaultState {
                vault_id: vault_id.to_string(),
                status: vault.status,
            });
        }
        if vault.worm_enabled && has_kept_snapshot(tx, vault_id, now)? {
            return Err(CatalogError::Worm {
                vault_id: vault_id.to_string(),
                reason: "it holds snapshots whose retention has not ended",
            });
        }
        if let Some(policy_id) = policies::bound_to_vault(tx, account_id, vault_id)? {
            return Err(CatalogError::VaultBound {
                vault_id: vault_id.to_string(),
                policy_id,
            });
        }
        jobs::delete_of(catalog, tx, account_id, jobs::Owner::Vault(vault_id))?;
        let id = [vault_id.as_str()];
        // The works of backup jobs go with their jobs.
        let others = "SELECT work_id FROM work WHERE vault_id = ? AND kind <> 'BACKUP'";
        let errors = format!("DELETE FROM item_errors WHERE work_id IN ({others})");
        change(tx, operation, &errors, id)?;
        let events =
            format!("DELETE FROM job_events WHERE account_id = ? AND work_id IN ({others})");
        change(
            tx,
            operation,
            &events,
            [account_id.as_str(), vault_id.as_str()],
        )?;
        let tasks = "UPDATE tasks SET status = 'CANCELED', completed_time = ?, updated_time = ? \
                     WHERE vault_id = ? AND completed_time IS NULL";
        change(
            tx,
            operation,
            tasks,
            params![now.0, now.0, vault_id.as_str()],
        )?;
        for table in ["work", "restore_jobs", "snapshots", "plans"] {
            let sql = format!("DELETE FROM {table} WHERE vault_id = ?");
            // `restore_jobs` has the vault behind the account in its index.
            match table {
                "restore_jobs" => {
                    let values = [vault_id.as_str(), account_id.as_str()];
                    change(tx, operation, &format!("{sql} AND account_id = ?"), values)?
                }
                "work" => change(tx, operation, &format!("{sql} AND kind <> 'BACKUP'"), id)?,
                _ => change(tx, operation, &sql, id)?,
            };
        }
        tags::forget(tx, account_id, "vault", vault_id.as_str())?;
        upkeep::forget(tx, vault_id)?;
        let hide = "UPDATE vaults SET deleted_time = ?, updated_time = ? WHERE vault_id = ?";
        change(
            tx,
            operation,
            hide,
            params![now.0, now.0, vault_id.as_str()],
        )?;
        let target = tasks::Target::of(vault_id, now);
        tasks::insert(
            catalog,
            tx,
            account_id,
            TaskKind::DeleteVault,
            &target,
            client_id,
            now,
        )
    })
}

fn has_kept_snapshot(
    tx: &Tx<'_>,
    vault_id: &VaultId,
    now: Timestamp,
) -> Result<bool, CatalogError> {
    let sql = "SELECT 1 FROM snapshots WHERE vault_id = ? AND (expire_time IS NULL OR expire_time > ?) LIMIT 1";
    Ok(first(
        tx,
        "read snapshots",
        sql,
        params![vault_id.as_str(), now.0],
        |_| Ok(()),
    )?
    .is_some())
}

/// Moves a vault to `status`; a change that the model does not know is an error.
pub(crate) fn set_status(
    tx: &Tx<'_>,
    vault: &Vault,
    status: VaultStatus,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    if vault.status == status {
        return Ok(());
    }
    if !vault.status.can_become(status) {
        return Err(CatalogError::VaultState {
            vault_id: vault.vault_id.to_string(),
            status: vault.status,
        });
    }
    let sql =
        "UPDATE vaults SET status = ?, status_message = ?, updated_time = ? WHERE vault_id = ?";
    change(
        tx,
        "change a vault",
        sql,
        params![status.as_str(), message, now.0, vault.vault_id.as_str()],
    )?;
    Ok(())
}

/// Adds what a job has read and stored.
pub(crate) fn add_usage(
    tx: &Tx<'_>,
    vault_id: &VaultId,
    bytes_done: i64,
    stored: i64,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "UPDATE vaults SET bytes_done = bytes_done + ?, storage_size = storage_size + ?, updated_time = ? \
               WHERE vault_id = ?";
    change(
        tx,
        "change a vault",
        sql,
        params![bytes_done, stored, now.0, vault_id.as_str()],
    )?;
    Ok(())
}

/// Removes the row of a deleted vault, once what it stored is gone.
pub(crate) fn forget(tx: &Tx<'_>, vault_id: &VaultId) -> Result<(), CatalogError> {
    let sql = "DELETE FROM vaults WHERE vault_id = ? AND deleted_time IS NOT NULL";
    change(tx, "forget a vault", sql, [vault_id.as_str()])?;
    Ok(())
}

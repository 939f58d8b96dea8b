//! Clients: agents on hosts, and the instance ids of those hosts.

use std::time::Duration;

use model::{AccountId, ClientId, ClientStatus, InstanceId, Timestamp};

use crate::access_keys::{self, NewAccessKey};
use crate::conditions::{Conditions, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::{Client, Page, PageRequest, Sealed};
use crate::row::RowReader;
use crate::sql::{Row, params};
use crate::words::{AccessKeyKind, ClientType};
use crate::work;

/// What an agent says about itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The client that it was before, when it remembers.
    pub client_id: Option<ClientId>,
    /// The machine as it names itself; stays the same across restarts and reinstalls.
    pub machine_id: String,
    /// What kind of client.
    pub client_type: ClientType,
    /// The host's name.
    pub hostname: String,
    /// `linux`, …
    pub os_type: String,
    /// `x86_64`, …
    pub arch_type: String,
    /// The agent's version.
    pub client_version: String,
    /// The address it called from, when known.
    pub private_ipv4: Option<String>,
    /// The id of the key that it is to use from now on.
    pub agent_key_id: String,
    /// That key's secret, sealed.
    pub sealed_agent_secret: Sealed,
}

/// A client that is known only from the snapshots it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedClient {
    /// The id it had.
    pub client_id: ClientId,
    /// The instance id it had.
    pub instance_id: InstanceId,
    /// The host's name.
    pub hostname: String,
}

/// What DescribeBackupClients may ask for; an absent member does not matter, an empty list matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct ClientFilter {
    pub client_type: Option<String>,
    pub client_ids: Option<Vec<String>>,
    pub instance_ids: Option<Vec<String>>,
    pub statuses: Option<Vec<String>>,
    pub hostnames: Option<Vec<String>>,
}

/// Clients, each with whether a plan that is not disabled protects its instance.
const TABLE: &str = "(SELECT c.*, EXISTS (SELECT 1 FROM plans p WHERE p.account_id = c.account_id \
                     AND p.instance_id = c.instance_id AND p.disabled = 0) AS is_protected FROM clients c) AS seen";

fn read(row: &Row<'_>) -> crate::sql::Result<Client> {
    Ok(Client {
        client_id: row.parsed("client_id")?,
        account_id: row.parsed("account_id")?,
        instance_id: row.parsed("instance_id")?,
        machine_id: row.get("machine_id")?,
        client_type: row.parsed("client_type")?,
        hostname: row.get("hostname")?,
        os_type: row.get("os_type")?,
        arch_type: row.get("arch_type")?,
        client_version: row.get("client_version")?,
        private_ipv4: row.get("private_ipv4")?,
        status: row.parsed("status")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
        last_heart_beat_time: row.time("last_heart_beat_time")?,
        is_protected: row.flag("is_protected")?,
    })
}

fn by(
    connection: &Tx<'_>,
    account_id: &AccountId,
    column: &str,
    value: &str,
) -> Result<Option<Client>, CatalogError> {
    let sql = format!("SELECT * FROM {TABLE} WHERE account_id = ? AND {column} = ?");
    first(
        connection,
        "read a client",
        &sql,
        [account_id.as_str(), value],
        read,
    )
}

/// An agent that was heard of in this time is alive: longer than the longest time between two of its messages.
pub const LIVE_TIME: Duration = Duration::from_secs(60);

/// Deletes a client with its keys; what it made stays, jobs that wait for it fail. `NotFound` when it is another account's.
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "delete a client";
    catalog.write(operation, |tx| {
        let ids = [account_id.as_str(), client_id.as_str()];
        let client = require(tx, account_id, client_id)?;
        let why = format!("{} was deleted", shown(&client));
        work::fail_waiting_for(tx, &client, &why, now)?;
        let sql = "DELETE FROM clients WHERE account_id = ? AND client_id = ?";
        change(tx, operation, sql, ids)?;
        let keys = "DELETE FROM access_keys WHERE account_id = ? AND client_id = ?";
        change(tx, operation, keys, ids)?;
        let tags = "DELETE FROM tags WHERE account_id = ? AND resource_id = ?";
        change(tx, operation, tags, ids)?;
        let kept = "DELETE FROM kept_records WHERE account_id = ? AND record_id = ?";
        change(tx, operation, kept, ids)?;
        Ok(())
    })
}

/// Registers an agent: the client it was before (by its id, else by its machine), or a new one with a new instance id.
/// Its new key replaces the former one, so it is refused while an agent with that one is alive and has not uninstalled itself
/// ([`CatalogError::ClientLive`]): two agents with one identity would take work from each other for ever.
pub fn register(
    catalog: &Catalog,
    account_id: &AccountId,
    registration: &Registration,
    now: Timestamp,
) -> Result<Client, CatalogError> {
    let operation = "register a client";
    catalog.write(operation, |tx| {
        let same_machine = by(tx, account_id, "machine_id", &registration.machine_id)?;
        let known = match &registration.client_id {
            Some(client_id) => by(tx, account_id, "client_id", client_id.as_str())?,
            None => None,
        };
        if let Some(client) = known.as_ref().or(same_machine.as_ref())
            && client.status != ClientStatus::NotInstalled
            && now < client.last_heart_beat_time.plus(LIVE_TIME)
        {
            return Err(CatalogError::ClientLive {
                client_id: client.client_id.to_string(),
                hostname: client.hostname.clone(),
            });
        }
        let client_id = match (known, same_machine) {
            (Some(known), None) => {
                // The host got a new machine id, but kept the agent's state.
                let sql = "UPDATE clients SET machine_id = ? WHERE client_id = ?";
                change(tx, operation, sql, params![registration.machine_id, known.client_id.as_str()])?;
                known.client_id
            }
            (Some(known), Some(_)) => known.client_id,
            (None, Some(same)) => same.client_id,
            (None, None) => insert(catalog, tx, account_id, registration, now)?,
        };
        let sql = "UPDATE clients SET client_type = ?, hostname = ?, os_type = ?, arch_type = ?, client_version = ?, \
                   private_ipv4 = ?, status = 'ACTIVATED', updated_time = ?, last_heart_beat_time = ? \
                   WHERE client_id = ?";
        let values = params![
            registration.client_type.as_str(),
            registration.hostname,
            registration.os_type,
            registration.arch_type,
            registration.client_version,
            registration.private_ipv4,
            now.0,
            now.0,
            client_id.as_str()
        ];
        change(tx, operation, sql, values)?;
        let old_keys = "DELETE FROM access_keys WHERE client_id = ? AND kind = 'AGENT'";
        change(tx, operation, old_keys, [client_id.as_str()])?;
        let key = NewAccessKey {
            access_key_id: registration.agent_key_id.clone(),
            kind: AccessKeyKind::Agent,
            client_id: Some(client_id.clone()),
            user_name: None,
            sealed_secret: registration.sealed_agent_secret.clone(),
        };
        access_keys::insert(tx, account_id, &key, now)?;
        by(tx, account_id, "client_id", client_id.as_str())?
            .ok_or_else(|| CatalogError::not_found(Entity::Client, &client_id))
    })
}

fn insert(
    catalog: &Catalog,
    tx: &Tx<'_>,
    account_id: &AccountId,
    registration: &Registration,
    now: Timestamp,
) -> Result<ClientId, CatalogError> {
    let (micros, entropy) = catalog.new_id(now);
    let client_id = ClientId::new(micros, entropy);
    let (micros, entropy) = catalog.new_id(now);
    let instance_id = InstanceId::new(micros, entropy);
    let sql = "INSERT INTO clients (client_id, account_id, instance_id, machine_id, client_type, hostname, os_type, \
               arch_type, client_version, status, created_time, updated_time, last_heart_beat_time) \
               VALUES (?, ?, ?, ?, ?, '', '', '', '', ?, ?, ?, ?)";
    let values = params![
        client_id.as_str(),
        account_id.as_str(),
        instance_id.as_str(),
        registration.machine_id,
        registration.client_type.as_str(),
        ClientStatus::Registered.as_str(),
        now.0,
        now.0,
        now.0
    ];
    change(tx, "register a client", sql, values)?;
    Ok(client_id)
}

/// The client. `NotFound` when it is another account's.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
) -> Result<Client, CatalogError> {
    catalog.read("read a client", |tx| require(tx, account_id, client_id))
}

fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    client_id: &ClientId,
) -> Result<Client, CatalogError> {
    by(tx, account_id, "client_id", client_id.as_str())?
        .ok_or_else(|| CatalogError::not_found(Entity::Client, client_id))
}

/// The client of an instance, if the account has it.
pub fn find_by_instance(
    catalog: &Catalog,
    account_id: &AccountId,
    instance_id: &InstanceId,
) -> Result<Option<Client>, CatalogError> {
    catalog.read("read a client", |tx| {
        by(tx, account_id, "instance_id", instance_id.as_str())
    })
}

/// A page of the account's clients, newest first (DescribeBackupClients).
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    filter: &ClientFilter,
    page: PageRequest,
) -> Result<Page<Client>, CatalogError> {
    catalog.read("list clients", |tx| {
        let mut conditions = Conditions::equal("account_id", account_id.as_str());
        conditions.and_equal("client_type", filter.client_type.as_deref());
        conditions.and_in("client_id", filter.client_ids.as_deref());
        conditions.and_in("instance_id", filter.instance_ids.as_deref());
        conditions.and_in("status", filter.statuses.as_deref());
        conditions.and_in("hostname", filter.hostnames.as_deref());
        conditions.page(
            tx,
            "list clients",
            (TABLE, "created_time DESC, client_id DESC"),
            page,
            read,
        )
    })
}

/// Writes a client that was found in an adopted vault, DEACTIVATED; one with its id or instance id is left alone. When
/// its agent registers again with the client id that it remembers, it has its old ids.
pub fn adopt(
    catalog: &Catalog,
    account_id: &AccountId,
    client: &AdoptedClient,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "adopt a client";
    catalog.write(operation, |tx| {
        let known = by(tx, account_id, "client_id", client.client_id.as_str())?
            .or(by(tx, account_id, "instance_id", client.instance_id.as_str())?);
        if known.is_some() {
            return Ok(());
        }
        let sql = "INSERT INTO clients (client_id, account_id, instance_id, machine_id, client_type, hostname, \
                   os_type, arch_type, client_version, status, created_time, updated_time, last_heart_beat_time) \
                   VALUES (?, ?, ?, ?, ?, ?, 'linux', '', '', ?, ?, ?, 0) ON CONFLICT DO NOTHING";
        let values = params![
            client.client_id.as_str(),
            account_id.as_str(),
            client.instance_id.as_str(),
            // No machine names itself so: the first registration puts the true one in its place.
            format!("adopted:{}", client.client_id),
            ClientType::Ecs.as_str(),
            client.hostname,
            ClientStatus::Deactivated.as_str(),
            now.0,
            now.0
        ];
        change(tx, operation, sql, values)?;
        Ok(())
    })
}

/// Asks the client's agent to uninstall itself: UNINSTALLING, until it says that it has. One that was not heard of since
/// `heard_before` is NOT_INSTALLED at once; should it come back, it is asked then. Jobs and restore jobs that wait for it
/// fail, and so do those that it holds, when it puts them down.
pub fn request_uninstall(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
    heard_before: Timestamp,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "uninstall a client";
    catalog.write(operation, |tx| {
        let client = require(tx, account_id, client_id)?;
        let status = match client.status {
            ClientStatus::NotInstalled => return Ok(()),
            _ if client.last_heart_beat_time < heard_before => ClientStatus::NotInstalled,
            _ => ClientStatus::Uninstalling,
        };
        set_status(tx, client_id, status, now)?;
        let client = Client { status, ..client };
        match why_gone(&client) {
            Some(why) => work::fail_waiting_for(tx, &client, &why, now),
            None => Ok(()),
        }
    })
}

/// Why nothing runs on the client's host, and what to do: its agent was uninstalled, or is asked to go. `None` for one that is
/// there or may come back by itself. For a person, as the end of a job and as a refusal of a new one.
#[must_use]
pub fn why_gone(client: &Client) -> Option<String> {
    let state = match client.status {
        ClientStatus::Uninstalling => "is being uninstalled: wait until it is gone, then",
        ClientStatus::NotInstalled => "is uninstalled:",
        _ => return None,
    };
    Some(format!(
        "{} {state} start the agent on that host again with `strongroom agent`, and try again",
        shown(client)
    ))
}

fn shown(client: &Client) -> String {
    format!("backup client {} ({})", client.client_id, client.hostname)
}

/// As [`why_gone`], of the client that a work waits for.
pub(crate) fn why_waits_in_vain(
    tx: &Tx<'_>,
    account_id: &AccountId,
    client_id: Option<&ClientId>,
) -> Result<Option<String>, CatalogError> {
    let Some(client_id) = client_id else {
        return Ok(None);
    };
    let client = by(tx, account_id, "client_id", client_id.as_str())?;
    Ok(client.as_ref().and_then(why_gone))
}

fn set_status(
    tx: &Tx<'_>,
    client_id: &ClientId,
    status: ClientStatus,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "UPDATE clients SET status = ?, updated_time = ? WHERE client_id = ?";
    let values = params![status.as_str(), now.0, client_id.as_str()];
    change(tx, "change a client", sql, values)?;
    Ok(())
}

/// Whether the client's agent is to uninstall itself.
pub fn is_leaving(catalog: &Catalog, client_id: &ClientId) -> Result<bool, CatalogError> {
    let operation = "read a client";
    let sql = "SELECT status FROM clients WHERE client_id = ?";
    let found: Option<ClientStatus> = catalog.read(operation, |tx| {
        first(tx, operation, sql, [client_id.as_str()], |row| {
            row.parsed("status")
        })
    })?;
    Ok(found.is_some_and(ClientStatus::is_leaving))
}

/// The agent has uninstalled itself: NOT_INSTALLED, and its key opens nothing any more. Says whether it was asked to;
/// otherwise nothing changes.
pub fn uninstalled(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
    now: Timestamp,
) -> Result<bool, CatalogError> {
    let operation = "note that a client is gone";
    catalog.write(operation, |tx| {
        let client = by(tx, account_id, "client_id", client_id.as_str())?;
        if !client.is_some_and(|client| client.status.is_leaving()) {
            return Ok(false);
        }
        set_status(tx, client_id, ClientStatus::NotInstalled, now)?;
        let key = "DELETE FROM access_keys WHERE client_id = ? AND kind = 'AGENT'";
        change(tx, operation, key, [client_id.as_str()])?;
        Ok(true)
    })
}

/// Notes that a client was heard of, which makes it ACTIVATED unless its agent is to go. Not synced.
pub fn heartbeat(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "note a heartbeat";
    let sql = "UPDATE clients SET last_heart_beat_time = ?, \
               status = CASE WHEN status IN ('UNINSTALLING', 'NOT_INSTALLED') THEN status ELSE 'ACTIVATED' END \
               WHERE account_id = ? AND client_id = ?";
    let values = params![now.0, account_id.as_str(), client_id.as_str()];
    catalog.write_relaxed(operation, |tx| match change(tx, operation, sql, values)? {
        0 => Err(CatalogError::not_found(Entity::Client, client_id)),
        _ => Ok(()),
    })
}

/// As [`heartbeat`], for a client that is ACTIVATED; any other one stays as it is.
pub(crate) fn note_heard(
    tx: &Tx<'_>,
    client_id: &ClientId,
    heard: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "UPDATE clients SET last_heart_beat_time = ? \
               WHERE client_id = ? AND status = 'ACTIVATED' AND last_heart_beat_time < ?";
    let values = params![heard.0, client_id.as_str(), heard.0];
    change(tx, "note a heartbeat", sql, values)?;
    Ok(())
}

/// Turns clients that were last heard of before `heard_before` from ACTIVATED to DEACTIVATED, of all accounts; says how
/// many.
pub fn deactivate_silent(
    catalog: &Catalog,
    heard_before: Timestamp,
    now: Timestamp,
) -> Result<usize, CatalogError> {
    let operation = "deactivate clients";
    let sql = "UPDATE clients SET status = 'DEACTIVATED', updated_time = ? \
               WHERE status = 'ACTIVATED' AND last_heart_beat_time < ?";
    catalog.write(operation, |tx| {
        change(tx, operation, sql, params![now.0, heard_before.0])
    })
}

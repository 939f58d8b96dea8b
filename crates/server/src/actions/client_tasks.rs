//! InstallBackupClients, UpgradeBackupClients, UninstallBackupClients, DeleteBackupClient, DeleteBackupClientResource,
//! DescribeClients.
//!
//! The service cannot reach into a host: agents come to it. So an installation of an agent that is there already is a task
//! that is over at once, as is an upgrade of one that is up to date, and all else is refused with what to do instead. An
//! agent that is to go is asked to when it comes, and does it itself.

use api::error::{ApiError, Code};
use api::shapes::client_tasks::{Clients, InstanceStatus, InstanceTaskReply, OldClientsReply};
use catalog::clients::ClientFilter;
use catalog::kept_records::{self, Kind};
use catalog::{CatalogError, Client, PageRequest, clients, plans, policy_bindings, snapshots};
use model::{ClientId, ClientStatus, InstanceId, PlanId, SourceType};
use serde::{Deserialize, Serialize};

use super::{Answer, Call, lists, plan_fields};
use crate::{agents, failure};

/// Hosts of one call.
const MAX_HOSTS: usize = 20;
const MAX_CLIENTS: usize = 100;
/// A client that was heard of so lately is active.
const ACTIVE_SECONDS: i64 = 3_600;
/// How long a task that is over can be asked for.
const DONE_TASK_SECONDS: i64 = 7 * 86_400;

/// A task that has no work of its own: what DescribeTask shows of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DoneTask {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) result: String,
    /// Clients that are to go; then the result is what has become of them.
    #[serde(default)]
    pub(crate) leaving: Vec<Leaving>,
}

/// A client that is to go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Leaving {
    pub(crate) client_id: String,
    pub(crate) instance_id: String,
}

/// Answers for hosts whose agent is there.
pub(crate) fn install_backup_clients(call: &Call<'_>) -> Answer {
    let ids = call.params.list("InstanceIds")?;
    if ids.is_empty() {
        return Err(ApiError::missing("InstanceIds"));
    }
    let found = hosts(call, Some(ids.clone()), None)?;
    answer(call, "install clients", &ids, &found, |client| {
        if client.status == ClientStatus::Activated {
            Ok(())
        } else {
            Err("start the agent on the host: it was not heard of for a while")
        }
    })
}

/// Answers for hosts whose agent has the version of the server.
pub(crate) fn upgrade_backup_clients(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let (instances, client_ids) = (params.list("InstanceIds")?, params.list("ClientIds")?);
    if instances.is_empty() && client_ids.is_empty() {
        return Err(ApiError::missing("InstanceIds"));
    }
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let found = hosts(call, some(&instances), some(&client_ids))?;
    let ids = if instances.is_empty() {
        client_ids
            .iter()
            .map(|id| {
                let client = found.iter().find(|client| client.client_id.as_str() == id);
                client.map_or_else(|| id.clone(), |client| client.instance_id.to_string())
            })
            .collect()
    } else {
        instances
    };
    answer(call, "upgrade clients", &ids, &found, |client| {
        if client.client_version == env!("CARGO_PKG_VERSION") {
            Ok(())
        } else {
            Err("install the newer program on the host and start its agent again")
        }
    })
}

fn hosts(
    call: &Call<'_>,
    instance_ids: Option<Vec<String>>,
    client_ids: Option<Vec<String>>,
) -> Result<Vec<Client>, ApiError> {
    for (name, list) in [("InstanceIds", &instance_ids), ("ClientIds", &client_ids)] {
        if list.as_ref().is_some_and(|list| list.len() > MAX_HOSTS) {
            return Err(ApiError::invalid(
                name,
                format!("it may name at most {MAX_HOSTS}"),
            ));
        }
    }
    let filter = ClientFilter {
        instance_ids,
        client_ids,
        ..ClientFilter::default()
    };
    let page = PageRequest::first(u32::try_from(2 * MAX_HOSTS).unwrap_or(100));
    let found = clients::list(&call.service.catalog, &call.account, &filter, page)
        .map_err(failure::of_catalog)?;
    Ok(found.rows)
}

/// A task that is over, if `check` has nothing against any host; else NotSupported with what to do.
fn answer(
    call: &Call<'_>,
    name: &str,
    instance_ids: &[String],
    found: &[Client],
    check: impl Fn(&Client) -> Result<(), &'static str>,
) -> Answer {
    let mut results = Vec::new();
    for instance_id in instance_ids {
        let client = found
            .iter()
            .find(|client| client.instance_id.as_str() == instance_id);
        let advice = match client {
            None => Err("run `strongroom agent` on the host with a key of this account"),
            Some(client) => check(client),
        };
        let shown: String = instance_id.chars().take(64).collect();
        match (client, advice) {
            (Some(client), Ok(())) => results.push(serde_json::json!({
                "instanceId": instance_id,
                "clientId": client.client_id.as_str(),
                "clientStatus": client.status.as_str(),
                "errorCode": "",
            })),
            (_, advice) => {
                let advice = advice.err().unwrap_or_default();
                return Err(ApiError::new(
                    Code::OperationNotSupported,
                    format!("This server does not reach into hosts. For {shown}: {advice}."),
                ));
            }
        }
    }
    let task = DoneTask {
        name: name.to_owned(),
        result: serde_json::Value::Array(results).to_string(),
        leaving: Vec::new(),
    };
    reply_with(call, &task, instance_ids.iter().map(String::as_str))
}

/// Keeps the task and answers with its id.
fn reply_with<'a>(
    call: &Call<'_>,
    task: &DoneTask,
    instance_ids: impl Iterator<Item = &'a str>,
) -> Answer {
    // Nobody asks for a task of a week ago.
    let old = call.now.plus_seconds(-DONE_TASK_SECONDS);
    kept_records::delete_before(&call.service.catalog, &call.account, Kind::DoneTask, old)
        .map_err(failure::of_catalog)?;
    let task_id = kept_records::new_id(&call.service.catalog, Kind::DoneTask, call.now);
    kept_records::insert(
        &call.service.catalog,
        &call.account,
        Kind::DoneTask,
        (&task_id, &task_id),
        task,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    let statuses = instance_ids.map(|instance_id| InstanceStatus {
        instance_id: Some(instance_id.to_owned()),
        valid_instance: Some(true),
        error_code: Some(String::new()),
    });
    call.reply(InstanceTaskReply {
        task_id: Some(task_id),
        instance_statuses: Some(statuses.collect()),
    })
}

/// Asks agents to put down their work, remove what they keep and end; their plans, jobs and snapshots stay, and jobs that have
/// not ended fail. All or none: the agent that runs in a service ends with it, and is never asked.
pub(crate) fn uninstall_backup_clients(call: &Call<'_>) -> Answer {
    let params = &call.params;
    plan_fields::check_cross_account(params)?;
    let (instances, client_ids) = (params.list("InstanceIds")?, params.list("ClientIds")?);
    if instances.is_empty() && client_ids.is_empty() {
        return Err(ApiError::missing("InstanceIds"));
    }
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let found = hosts(call, some(&instances), some(&client_ids))?;
    let has = |id: &String| {
        found
            .iter()
            .any(|client| client.instance_id.as_str() == id || client.client_id.as_str() == id)
    };
    if !client_ids.iter().all(has) {
        return Err(ApiError::of(Code::ClientNotExist));
    }
    if !instances.iter().all(has) {
        return Err(ApiError::of(Code::InstanceNotExist));
    }
    let local = call.service.local_client.lock().clone();
    if let Some(own) = found
        .iter()
        .find(|client| Some(&client.client_id) == local.as_ref())
    {
        return Err(ApiError::new(
            Code::OperationNotSupported,
            format!(
                "The agent of {} is a part of this service and cannot be uninstalled.",
                own.hostname
            ),
        ));
    }
    let heard_before = call.now.plus_seconds(-ACTIVE_SECONDS);
    for client in &found {
        let id = &client.client_id;
        clients::request_uninstall(
            &call.service.catalog,
            &call.account,
            id,
            heard_before,
            call.now,
        )
        .map_err(failure::of_catalog)?;
    }
    call.service.ring();
    let task = DoneTask {
        name: "uninstall clients".to_owned(),
        result: String::new(),
        leaving: found
            .iter()
            .map(|client| Leaving {
                client_id: client.client_id.to_string(),
                instance_id: client.instance_id.to_string(),
            })
            .collect(),
    };
    let instance_ids = found.iter().map(|client| client.instance_id.as_str());
    reply_with(call, &task, instance_ids)
}

/// The client on the host of an instance id.
pub(crate) fn host(call: &Call<'_>, instance_id: &str) -> Result<Client, ApiError> {
    let none = || ApiError::of(Code::InstanceNotExist);
    let instance_id: InstanceId = instance_id.parse().map_err(|_| none())?;
    clients::find_by_instance(&call.service.catalog, &call.account, &instance_id)
        .map_err(failure::of_catalog)?
        .ok_or_else(none)
}

/// Refuses a client whose agent was uninstalled: what waits for it would never run.
pub(crate) fn check_installed(client: &Client) -> Result<(), ApiError> {
    match clients::why_gone(client) {
        Some(why) => Err(ApiError::new(
            Code::ClientNotInstalled,
            failure::sentence(&why),
        )),
        None => Ok(()),
    }
}

/// What has become of clients that are to go: each with its state, as DescribeTask tells it. One that was deleted since is
/// not installed.
pub(crate) fn left(call: &Call<'_>, leaving: &[Leaving]) -> Result<Vec<ClientStatus>, ApiError> {
    let ids = leaving.iter().map(|one| one.client_id.clone()).collect();
    let found = hosts(call, None, Some(ids))?;
    let status = |one: &Leaving| {
        let client = found
            .iter()
            .find(|client| client.client_id.as_str() == one.client_id);
        client.map_or(ClientStatus::NotInstalled, |client| client.status)
    };
    Ok(leaving.iter().map(status).collect())
}

/// Deletes a client that is silent or uninstalled, with its plans, jobs and snapshots.
pub(crate) fn delete_backup_client(call: &Call<'_>) -> Answer {
    let client_id: ClientId = lists::id(&call.params, "ClientId", Code::ClientNotExist)?;
    let catalog = &call.service.catalog;
    let client = clients::get(catalog, &call.account, &client_id).map_err(failure::of_catalog)?;
    let is_gone = client.status == ClientStatus::NotInstalled;
    if !is_gone && client.last_heart_beat_time.plus_seconds(ACTIVE_SECONDS) > call.now {
        return Err(failure::of_catalog(CatalogError::ClientActive {
            client_id: client_id.to_string(),
        }));
    }
    delete_resources(call, &client_id)?;
    clients::delete(catalog, &call.account, &client_id, call.now).map_err(failure::of_catalog)?;
    call.service.ring();
    call.done()
}

/// Deletes plans, jobs and snapshots of clients, which stay.
pub(crate) fn delete_backup_client_resource(call: &Call<'_>) -> Answer {
    let ids = call.params.list("ClientIds")?;
    if ids.is_empty() {
        return Err(ApiError::missing("ClientIds"));
    }
    if ids.len() > MAX_CLIENTS {
        let why = format!("it may name at most {MAX_CLIENTS}");
        return Err(ApiError::invalid("ClientIds", why));
    }
    let mut clients_found = Vec::new();
    for id in &ids {
        let client_id: ClientId = id.parse().map_err(|_| ApiError::of(Code::ClientNotExist))?;
        clients::get(&call.service.catalog, &call.account, &client_id)
            .map_err(failure::of_catalog)?;
        clients_found.push(client_id);
    }
    for client_id in &clients_found {
        delete_resources(call, client_id)?;
    }
    call.service.ring();
    call.done()
}

/// Each step can be done again: what a failure leaves is deleted by the next call.
fn delete_resources(call: &Call<'_>, client_id: &ClientId) -> Result<(), ApiError> {
    let catalog = &call.service.catalog;
    let agent = agents::client_for_tasks(call.service, &call.account);
    for (vault_id, snapshot_id) in
        snapshots::of_client(catalog, &call.account, client_id).map_err(failure::of_catalog)?
    {
        let gone = snapshots::request_delete(
            catalog,
            &call.account,
            &snapshot_id,
            agent.as_ref(),
            call.now,
        );
        match gone {
            Ok(_) | Err(CatalogError::NotFound { .. }) => {}
            Err(error) => {
                tracing::info!(%vault_id, %snapshot_id, %error, "a snapshot of a client stays");
                return Err(failure::of_catalog(error));
            }
        }
    }
    let client = clients::get(catalog, &call.account, client_id).map_err(failure::of_catalog)?;
    let instance_id = client.instance_id.as_str();
    policy_bindings::unbind_source(catalog, &call.account, SourceType::EcsFile, instance_id)
        .map_err(failure::of_catalog)?;
    for plan_id in
        plans::of_client(catalog, &call.account, client_id).map_err(failure::of_catalog)?
    {
        delete_plan(call, &plan_id)?;
    }
    Ok(())
}

fn delete_plan(call: &Call<'_>, plan_id: &PlanId) -> Result<(), ApiError> {
    let running = plans::RunningJobs::Drop;
    match plans::delete(&call.service.catalog, &call.account, plan_id, running) {
        Ok(()) | Err(CatalogError::NotFound { .. }) => Ok(()),
        Err(error) => Err(failure::of_catalog(error)),
    }
}

/// The clients of the older API are those of SAP HANA: there are none.
pub(crate) fn describe_clients(call: &Call<'_>) -> Answer {
    let page = lists::page(&call.params)?;
    call.reply(OldClientsReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: Some(0),
        clients: Some(Clients {
            client: Some(Vec::new()),
        }),
    })
}

//! The agents' side of the server: Register, Sync, ReportErrors, Finish, CopyCatalog, under `/agent/v1/`.
//!
//! An agent key is good for its own client and for nothing else; Register alone is signed by a key of the account. Sync
//! is a long poll: when there is no news the request waits for the bell of the service, without a thread.

mod assignments;
mod copy;
mod pulses;
mod register;
mod report;
mod runs;
mod sync;
mod upkeep;

pub(crate) use pulses::Pulses;
pub(crate) use register::REGISTER_AGENT;
pub(crate) use runs::Runs;

use api::agent_protocol::{AgentRequest, CopyCatalogRequest, PREFIX};
use api::error::{ApiError, Code};
use api::signature::Scheme;
use axum::body::Body;
use model::{AccountId, ClientId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::{Caller, authenticate};
use crate::failure;
use crate::http::Border;
use crate::service::Service;
use crate::wire::Wire;

/// Answers a request below `/agent/v1/`.
pub(crate) async fn serve(border: &Border, wire: Wire) -> Result<Vec<u8>, ApiError> {
    let request_id = wire.request_id.clone();
    match wire.path.strip_prefix(PREFIX).unwrap_or_default() {
        "Register" => {
            border
                .blocking(&request_id, move |service| {
                    register::register(service, &wire)
                })
                .await
        }
        "Sync" => sync::sync(border, wire).await,
        "ReportErrors" => {
            border
                .blocking(&request_id, move |service| {
                    report::report_errors(service, &wire)
                })
                .await
        }
        "Deregister" => {
            border
                .blocking(&request_id, move |service| {
                    register::deregister(service, &wire)
                })
                .await
        }
        "Finish" => {
            border
                .blocking(&request_id, move |service| report::finish(service, &wire))
                .await
        }
        _ => Err(ApiError::of(Code::InvalidActionNotFound)),
    }
}

/// Whether a request asks for a copy of the catalog, whose reply is no JSON.
pub(crate) fn is_copy(path: &str) -> bool {
    path.strip_prefix(PREFIX) == Some(CopyCatalogRequest::METHOD)
}

/// Answers such a request.
pub(crate) async fn copy_catalog(border: &Border, wire: Wire) -> Result<Body, ApiError> {
    copy::copy_catalog(border, wire).await
}

/// The identity of an agent, proven.
#[derive(Debug, Clone)]
struct Agent {
    account: AccountId,
    client: ClientId,
}

/// Checks signature, method, action and version of a message.
fn check(service: &Service, wire: &Wire, method: &str) -> Result<(Caller, String), ApiError> {
    let (caller, claimed) = authenticate(service, wire)?;
    // The older scheme signs neither the path nor a body of JSON.
    if claimed.claim.scheme != Scheme::V3 {
        return Err(ApiError::new(
            Code::InvalidParameter,
            "Messages of agents must be signed with ACS3-HMAC-SHA256.",
        ));
    }
    if wire.method != "POST" {
        return Err(ApiError::of(Code::UnsupportedHttpMethod));
    }
    if claimed.claim.version.as_deref() != Some(api::VERSION) {
        return Err(ApiError::of(Code::InvalidVersion));
    }
    if claimed.claim.action.as_deref() != Some(method) {
        return Err(ApiError::new(
            Code::InvalidParameter,
            "x-acs-action must be the last part of the path.",
        ));
    }
    Ok((caller, claimed.claim.access_key_id))
}

fn check_agent(service: &Service, wire: &Wire, method: &str) -> Result<Agent, ApiError> {
    match check(service, wire, method)?.0 {
        Caller::Agent(account, client) => Ok(Agent { account, client }),
        Caller::Account(_) | Caller::Registrar(_) => Err(ApiError::new(
            Code::NoPermission,
            "This message must be signed with the agent's own key.",
        )),
    }
}

fn parse<T: DeserializeOwned>(wire: &Wire) -> Result<T, ApiError> {
    serde_json::from_slice(&wire.body).map_err(|why| {
        ApiError::new(
            Code::InvalidParameter,
            format!("The body is not the message: {why}."),
        )
    })
}

fn encode<T: Serialize>(reply: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(reply).map_err(|error| failure::internal(&error))
}

/// The agent that was started with the server and can reach folders of this host, if it is of the account: tasks on the
/// storage of vaults go to it. `None` otherwise; then they go to the client that keeps the vault, or to any of the account.
pub(crate) fn client_for_tasks(service: &Service, account_id: &AccountId) -> Option<ClientId> {
    let local = service.local_client.lock().clone();
    local.filter(|id| catalog::clients::get(&service.catalog, account_id, id).is_ok())
}

/// Bytes and counts as the database has them.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

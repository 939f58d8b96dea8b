//! Register: a host becomes a client with an agent key of its own. Deregister: its agent has uninstalled itself.

use std::net::IpAddr;

use api::agent_protocol::{
    Accepted, AgentRequest, DeregisterRequest, RegisterReply, RegisterRequest,
};
use api::error::{ApiError, Code};
use catalog::clients::Registration;
use catalog::{ClientType, clients};
use model::{AccountId, ClientId};
use serde_json::Map;

use super::{check, check_agent, encode, parse};
use crate::audited::Subject;
use crate::auth::Caller;
use crate::bootstrap::new_key_text;
use crate::failure;
use crate::principal::Thing;
use crate::seal::Record;
use crate::service::Service;
use crate::wire::Wire;

/// The right to register agents, as policies name it.
pub(crate) const REGISTER_AGENT: &str = "hbr:RegisterAgent";
/// Longest name that a host gives of itself.
const MAX_TEXT_CHARS: usize = 255;

/// The same machine always gets the same client and instance id; each registration makes its former key void.
pub(super) fn register(service: &Service, wire: &Wire) -> Result<Vec<u8>, ApiError> {
    let (caller, access_key_id) = check(service, wire, RegisterRequest::METHOD)?;
    let (account, principal) = match caller {
        Caller::Registrar(account) => {
            let principal = format!("acs:ram::{account}:registrar");
            (account, principal)
        }
        Caller::Account(principal) => {
            let resource = format!("acs:hbr:{}:{}:*", service.region, principal.account);
            let about = [Thing::named(resource)];
            principal.authorize(REGISTER_AGENT, &about, wire.peer, service.now())?;
            let arn = principal.arn();
            (principal.account, arn)
        }
        Caller::Agent(..) => {
            return Err(ApiError::new(
                Code::NoPermission,
                "Register must be signed with a key of the account.",
            ));
        }
    };
    let request: RegisterRequest = parse(wire)?;
    for (name, text) in [
        ("hostname", &request.hostname),
        ("os", &request.os),
        ("arch", &request.arch),
        ("agent_version", &request.agent_version),
        ("machine_id", &request.machine_id),
    ] {
        if text.is_empty()
            || text.chars().count() > MAX_TEXT_CHARS
            || text.chars().any(char::is_control)
        {
            return Err(ApiError::invalid(
                name,
                format!("it must have 1 to {MAX_TEXT_CHARS} printable characters"),
            ));
        }
    }
    let who = (&account, principal);
    let mut target = Map::new();
    target.insert("HostName".to_owned(), request.hostname.clone().into());
    let action = REGISTER_AGENT.to_owned();
    Subject::new(service, wire, who, &access_key_id, action, target)
        .witness(service, || write(service, wire, &account, request))
}

fn write(
    service: &Service,
    wire: &Wire,
    account: &AccountId,
    request: RegisterRequest,
) -> Result<Vec<u8>, ApiError> {
    let (agent_key_id, secret) = new_key_text();
    let registration = Registration {
        client_id: request
            .client_id
            .as_deref()
            .and_then(|text| ClientId::parse(text).ok()),
        machine_id: request.machine_id,
        client_type: ClientType::Ecs,
        hostname: request.hostname,
        os_type: request.os,
        arch_type: request.arch,
        client_version: request.agent_version,
        private_ipv4: address_of(wire.peer),
        sealed_agent_secret: service
            .master_key
            .seal(Record::AccessKey(&agent_key_id), secret.expose()),
        agent_key_id: agent_key_id.clone(),
    };
    let client = clients::register(&service.catalog, account, &registration, service.now())
        .map_err(failure::of_catalog)?;
    tracing::info!(client_id = %client.client_id, instance_id = %client.instance_id, hostname = client.hostname, "a client registered");
    encode(&RegisterReply {
        client_id: client.client_id.to_string(),
        instance_id: client.instance_id.to_string(),
        account_id: account.to_string(),
        agent_key_id,
        agent_key_secret: secret,
    })
}

/// Only an agent that was asked to uninstall itself may go: nobody else's client is let go by a message.
pub(super) fn deregister(service: &Service, wire: &Wire) -> Result<Vec<u8>, ApiError> {
    let agent = check_agent(service, wire, DeregisterRequest::METHOD)?;
    let request: DeregisterRequest = parse(wire)?;
    let is_own = request.client_id == agent.client.as_str();
    let (catalog, now) = (&service.catalog, service.now());
    let accepted = is_own
        && clients::uninstalled(catalog, &agent.account, &agent.client, now)
            .map_err(failure::of_catalog)?;
    if accepted {
        tracing::info!(client_id = %agent.client, "an agent has uninstalled itself");
    }
    encode(&Accepted { accepted })
}

fn address_of(peer: IpAddr) -> Option<String> {
    match peer {
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) if address.is_loopback() => Some("127.0.0.1".to_owned()),
        IpAddr::V6(address) => address.to_ipv4_mapped().map(|address| address.to_string()),
    }
}

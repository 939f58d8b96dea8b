//! The actions of the API: one function per action, named like it, one file per resource.
//!
//! A handler reads the parameters, checks that the caller may, makes one call to the catalog (or the dispatcher) and
//! shapes the reply. It runs on the blocking pool and knows nothing of HTTP.

pub(crate) mod account_info;
pub(crate) mod audit;
pub(crate) mod backup_jobs;
pub(crate) mod backup_plans;
pub(crate) mod browse;
pub(crate) mod client_settings;
pub(crate) mod client_tasks;
pub(crate) mod clients;
pub(crate) mod container_clusters;
pub(crate) mod cross_accounts;
pub(crate) mod data_sources;
pub(crate) mod identities;
pub(crate) mod job_history;
pub(crate) mod job_records;
pub(crate) mod lists;
pub(crate) mod plan_fields;
pub(crate) mod policies;
pub(crate) mod policy_bindings;
pub(crate) mod policy_rules;
pub(crate) mod protected;
pub(crate) mod regions;
pub(crate) mod registry;
pub(crate) mod repositories;
pub(crate) mod resource;
pub(crate) mod restore_jobs;
pub(crate) mod retention;
pub(crate) mod snapshots;
pub(crate) mod sts;
pub(crate) mod tags;
pub(crate) mod tasks;
pub(crate) mod temp_files;
pub(crate) mod upkeep;
pub(crate) mod vault_keys;
pub(crate) mod vaults;

use std::time::Instant;

use api::contract::contract;
use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::{Empty, Reply};
use model::{AccountId, Timestamp};
use serde::Serialize;

use crate::audited::{self, Subject};
use crate::auth::{Caller, authenticate};
use crate::failure;
use crate::principal::Principal;
use crate::service::Service;
use crate::wire::Wire;
use registry::Entry;

/// A call whose caller is known and whose parameters have the types of the contract.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) service: &'a Service,
    pub(crate) account: AccountId,
    pub(crate) principal: Principal,
    pub(crate) params: Params,
    pub(crate) request_id: &'a str,
    /// As the caller named it, for links.
    pub(crate) host: &'a str,
    pub(crate) now: Timestamp,
}

/// The JSON of a reply, or a failure.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;

type Handler = fn(&Call<'_>) -> Answer;

impl Call<'_> {
    /// A reply of success with fields of its own.
    pub(crate) fn reply<T: Serialize>(&self, body: T) -> Answer {
        self.bare_reply(&Reply::successful(self.request_id, body))
    }

    /// A reply of success without fields of its own.
    pub(crate) fn done(&self) -> Answer {
        self.reply(Empty {})
    }

    /// A reply that does not have the usual fields.
    pub(crate) fn bare_reply<T: Serialize>(&self, body: &T) -> Answer {
        serde_json::to_vec(body).map_err(|error| failure::internal(&error))
    }
}

/// Answers a request to `/`.
pub(crate) fn serve(service: &Service, wire: &Wire) -> Answer {
    let (caller, claimed) = authenticate(service, wire)?;
    let access_key_id = claimed.claim.access_key_id.as_str();
    if let Err(wait) = service.rates.take(access_key_id, Instant::now()) {
        let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        return Err(ApiError::of(Code::Throttling).retry_after(milliseconds.saturating_add(1)));
    }
    let Caller::Account(principal) = caller else {
        return Err(ApiError::new(
            Code::NoPermission,
            "The key of an agent is good for the agent protocol only.",
        ));
    };
    let action = claimed
        .claim
        .action
        .as_deref()
        .ok_or_else(|| ApiError::of(Code::MissingAction))?;
    let version = claimed
        .claim
        .version
        .as_deref()
        .ok_or_else(|| ApiError::of(Code::MissingVersion))?;
    // Before the parameters are handed on, and only for calls that are kept: most only look.
    let target = audited::is_kept(action).then(|| audited::named(&claimed.pairs));
    let params = Params::new(claimed.pairs);
    let subject = |action: String| {
        target.map(|target| {
            let who = (&principal.account, principal.arn());
            Subject::new(service, wire, who, access_key_id, action, target)
        })
    };
    if version == sts::VERSION {
        let serve = || sts::serve(service, wire, &principal, action, &params);
        return match subject(format!("sts:{action}")) {
            Some(subject) if action == "AssumeRole" => subject.witness(service, serve),
            _ => serve(),
        };
    }
    if version != api::VERSION {
        return Err(ApiError::of(Code::InvalidVersion));
    }
    let handler = match registry::find(action) {
        Some(Entry::Serve(handler)) => handler,
        Some(Entry::Refuse(why)) => return Err(ApiError::new(Code::OperationNotSupported, why)),
        None => return Err(ApiError::of(Code::InvalidActionNotFound)),
    };
    let known = contract().action(action);
    if known.is_some_and(api::contract::Action::is_post_only) && wire.method != "POST" {
        return Err(ApiError::new(
            Code::UnsupportedHttpMethod,
            format!("The action {action} is served for POST only."),
        ));
    }
    if let Some(action) = known {
        action.check_request(&params)?;
    }
    tracing::debug!(action, request_id = %wire.request_id, "call");
    let now = service.now();
    let resource = resource::of(&service.region, &principal.account, &params);
    let named = format!("{}:{action}", registry::product(action));
    let allowed = principal.authorize(&named, &resource, wire.peer, now);
    let subject = subject(named);
    if let Err(denied) = allowed {
        return Err(match subject {
            Some(subject) => subject.refused(service, denied),
            None => denied,
        });
    }
    let call = Call {
        service,
        account: principal.account.clone(),
        principal,
        params,
        request_id: &wire.request_id,
        host: wire.host(),
        now,
    };
    match subject {
        Some(subject) => subject.witness(service, || handler(&call)),
        None => handler(&call),
    }
}

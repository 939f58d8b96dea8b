//! The actions of the API: one function per action, named like it, one file per resource.
//!
//! A handler reads the parameters, checks that the caller may, makes one call to the catalog (or the dispatcher) and
//! shapes the reply. It runs on the blocking pool and knows nothing of HTTP. A few that are called often and take
//! microseconds are tried on the thread of the connection first ([`attempt`]).

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

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use api::contract::contract;
use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::{Empty, Reply};
use api::signature::{Claim, Claimed, claim};
use catalog::Reading;
use model::{AccountId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::audited::{self, Subject};
use crate::auth::{self, Caller};
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
    pub(crate) principal: &'a Principal,
    /// Shared, so that a call that was tried can be done.
    pub(crate) params: Arc<Params>,
    pub(crate) request_id: &'a str,
    /// As the caller named it, for links.
    pub(crate) host: &'a str,
    pub(crate) now: Timestamp,
}

/// The JSON of a reply, or a failure.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;

type Handler = fn(&Call<'_>) -> Answer;

/// As a [`Handler`], in a state of the catalog that is at hand and on a thread that must not be held up: `None` when it
/// would be, and then nothing has been done.
type QuickHandler = fn(&Call<'_>, &Reading<'_, '_>) -> Result<Option<Vec<u8>>, ApiError>;

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

/// How much of a request is read on a thread that must not be held up.
const MAX_QUICK_BYTES: usize = 16 << 10;

/// A request to `/`, as far as it has come. Each step is taken once: a nonce is good once, a call counts once.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Nothing is known of it.
    Arrived,
    /// Its parameters are read.
    Claimed(Claimed),
    /// Its caller is let in.
    Admitted(Box<Admitted>),
}

/// What became of a request on a thread that must not be held up.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is answered.
    Done(Answer),
    /// It has to go on elsewhere.
    Later(Pending),
}

/// Answers a request as far as that can be done without waiting for anything and in about a millisecond.
pub(crate) fn attempt(service: &Service, wire: &Wire) -> Attempt {
    if wire.body.len() + wire.query.len() > MAX_QUICK_BYTES {
        return Attempt::Later(Pending::Arrived);
    }
    let claimed = match claim(&wire.as_request()) {
        Ok(claimed) => claimed,
        Err(error) => return Attempt::Done(Err(error)),
    };
    let Some(quick) = quick_handler(&claimed.claim) else {
        return Attempt::Later(Pending::Claimed(claimed));
    };
    let mut claimed = Some(claimed);
    let tried = service.catalog.try_reading(|reading| {
        let claimed = claimed.take()?;
        Some(attempt_in(service, wire, claimed, quick, reading))
    });
    match tried {
        Ok(Some(Some(Ok(attempt)))) => attempt,
        Ok(Some(Some(Err(error)))) => Attempt::Done(Err(error)),
        Ok(_) => Attempt::Later(claimed.map_or(Pending::Arrived, Pending::Claimed)),
        Err(error) => Attempt::Done(Err(failure::of_catalog(error))),
    }
}

/// The same in a state of the catalog that is at hand.
fn attempt_in(
    service: &Service,
    wire: &Wire,
    claimed: Claimed,
    quick: QuickHandler,
    reading: &Reading<'_, '_>,
) -> Result<Attempt, ApiError> {
    let caller = auth::caller_in(service, reading, &claimed.claim)?;
    let admitted = Admitted::new(service, caller, claimed)?;
    if admitted.needs_a_look()? {
        return Ok(Attempt::Later(Pending::Admitted(Box::new(admitted))));
    }
    let reply = quick(&admitted.prepare(service, wire)?.call, reading)?;
    Ok(match reply {
        Some(reply) => Attempt::Done(Ok(reply)),
        None => Attempt::Later(Pending::Admitted(Box::new(admitted))),
    })
}

fn quick_handler(claim: &Claim) -> Option<QuickHandler> {
    let action = claim.action.as_deref()?;
    let is_quick = claim.version.as_deref() == Some(api::VERSION) && auth::is_lasting(claim);
    is_quick.then(|| registry::quick(action))?
}

impl Pending {
    /// Answers the request, however long that takes.
    pub(crate) fn finish(self, service: &Service, wire: &Wire) -> Answer {
        let claimed = match self {
            Self::Arrived => claim(&wire.as_request())?,
            Self::Claimed(claimed) => claimed,
            Self::Admitted(admitted) => return admitted.finish(service, wire),
        };
        let caller = auth::caller(service, &claimed.claim)?;
        Admitted::new(service, caller, claimed)?.finish(service, wire)
    }
}

/// A call whose caller is let in: the signature is right, and he has not called too often.
#[derive(Debug)]
pub(crate) struct Admitted {
    principal: Principal,
    claim: Claim,
    params: Arc<Params>,
    /// What the audit log is told of the parameters, of calls that are kept there.
    target: Option<Map<String, Value>>,
}

impl Admitted {
    fn new(service: &Service, caller: Caller, claimed: Claimed) -> Result<Self, ApiError> {
        let Claimed { claim, pairs } = claimed;
        if let Err(wait) = service.rates.take(&claim.access_key_id, Instant::now()) {
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            return Err(ApiError::of(Code::Throttling).retry_after(milliseconds.saturating_add(1)));
        }
        let Caller::Account(principal) = caller else {
            return Err(ApiError::new(
                Code::NoPermission,
                "The key of an agent is good for the agent protocol only.",
            ));
        };
        // Only for calls that are kept: most only look.
        let is_kept = claim.action.as_deref().is_some_and(audited::is_kept);
        Ok(Self {
            target: is_kept.then(|| audited::named(&pairs)),
            params: Arc::new(Params::new(pairs)),
            principal,
            claim,
        })
    }

    /// Answers the call, however long that takes.
    fn finish(&self, service: &Service, wire: &Wire) -> Answer {
        let action = self.action()?;
        if self.version()? == api::STS_VERSION {
            let serve = || sts::serve(service, wire, &self.principal, action, &self.params);
            return match self.subject(service, wire, format!("sts:{action}")) {
                Some(subject) if action == "AssumeRole" => subject.witness(service, serve),
                _ => serve(),
            };
        }
        let Prepared {
            handler,
            call,
            subject,
        } = self.prepare(service, wire)?;
        match subject {
            Some(subject) => subject.witness(service, || handler(&call)),
            None => handler(&call),
        }
    }

    fn action(&self) -> Result<&str, ApiError> {
        let action = self.claim.action.as_deref();
        action.ok_or_else(|| ApiError::of(Code::MissingAction))
    }

    fn version(&self) -> Result<&str, ApiError> {
        let version = self.claim.version.as_deref();
        version.ok_or_else(|| ApiError::of(Code::MissingVersion))
    }

    fn subject(&self, service: &Service, wire: &Wire, action: String) -> Option<Subject> {
        let target = self.target.clone()?;
        let who = (&self.principal.account, self.principal.arn());
        let access_key_id = &self.claim.access_key_id;
        Some(Subject::new(
            service,
            wire,
            who,
            access_key_id,
            action,
            target,
        ))
    }

    /// Whether what the caller's policies say of the call depends on where in the catalog something lies.
    fn needs_a_look(&self) -> Result<bool, ApiError> {
        Ok(self.principal.has_policies() && resource::needs_a_look(self.action()?, &self.params))
    }

    /// Refuses what the caller's policies do not allow. Root keys are not asked what the call is about.
    fn authorize(
        &self,
        service: &Service,
        action: &str,
        named: &str,
        source_ip: IpAddr,
    ) -> Result<(), ApiError> {
        if !self.principal.has_policies() {
            return Ok(());
        }
        let things = resource::of(service, &self.principal.account, action, &self.params)?;
        self.principal
            .authorize(named, &things, source_ip, service.now())
    }

    /// Finds what is to be done, checks that the parameters fit and that the caller may.
    fn prepare<'a>(
        &'a self,
        service: &'a Service,
        wire: &'a Wire,
    ) -> Result<Prepared<'a>, ApiError> {
        let action = self.action()?;
        if self.version()? != api::VERSION {
            return Err(ApiError::of(Code::InvalidVersion));
        }
        let handler = match registry::find(action) {
            Some(Entry::Serve(handler)) => handler,
            Some(Entry::Refuse(why)) => {
                return Err(ApiError::new(Code::OperationNotSupported, why));
            }
            None => return Err(registry::unknown(action, registry::names())),
        };
        let known = contract().action(action);
        if known.is_some_and(api::contract::Action::is_post_only) && wire.method != "POST" {
            return Err(ApiError::new(
                Code::UnsupportedHttpMethod,
                format!("The action {action} is served for POST only."),
            ));
        }
        if let Some(action) = known {
            action.check_request(&self.params)?;
        }
        tracing::debug!(action, request_id = %wire.request_id, "call");
        let now = service.now();
        let named = format!("{}:{action}", registry::product(action));
        let allowed = self.authorize(service, action, &named, wire.peer);
        let subject = self.subject(service, wire, named);
        if let Err(denied) = allowed {
            return Err(match subject {
                Some(subject) => subject.refused(service, denied),
                None => denied,
            });
        }
        let call = Call {
            service,
            account: self.principal.account.clone(),
            principal: &self.principal,
            params: self.params.clone(),
            request_id: &wire.request_id,
            host: wire.host(),
            now,
        };
        Ok(Prepared {
            handler,
            call,
            subject,
        })
    }
}

/// A call that may be done.
struct Prepared<'a> {
    handler: Handler,
    call: Call<'a>,
    subject: Option<Subject>,
}

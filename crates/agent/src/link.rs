//! The link to the server: registration, the agent's own key, and calls under it.
//!
//! The account key is used for `Register` only. When the server does not know the agent's key any more (its data
//! directory was replaced), the agent registers again and goes on.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use api::agent_protocol::{AgentRequest, DeregisterRequest, RegisterRequest};
use api::client::{Client, ClientError, Credentials, Trust};
use parking_lot::RwLock;

use crate::state::{Identity, StateFolder};
use crate::{AgentError, AgentOptions, host};

/// Connection to the server, shared by the threads of the agent.
#[derive(Debug)]
pub(crate) struct Link {
    endpoint: String,
    trust: Trust,
    region: String,
    account: Client,
    hostname: String,
    state: Arc<StateFolder>,
    // Read for every call, written once per registration.
    current: RwLock<(Identity, Client)>,
}

impl Link {
    /// Registers, or goes on with the identity of an earlier run if the server is away.
    pub(crate) fn establish(
        options: &AgentOptions,
        state: Arc<StateFolder>,
    ) -> Result<Self, AgentError> {
        let client_error = |source| AgentError::Server {
            operation: "connect",
            source: Box::new(source),
        };
        let account = Client::trusting(
            &options.endpoint,
            &options.trust,
            options.credentials.clone(),
            &options.region,
        )
        .map_err(client_error)?;
        let hostname = options.hostname.clone().unwrap_or_else(host::hostname);
        let known = state.identity()?;
        // Before anything is registered, where the key can tell whose it is: one that may only register cannot.
        if let Some(account_id) = account_of(&account, known.as_ref()) {
            refuse_other_account(options, known.as_ref(), &account_id)?;
        }
        let identity = match register(&account, &hostname, known.as_ref()) {
            Ok(identity) => {
                refuse_other_account(options, known.as_ref(), &identity.account_id)?;
                state.store_identity(&identity)?;
                identity
            }
            // One that says that this agent is running means the process before this one, which was killed a moment ago:
            // its state folder is locked by this one now. A copied machine is told apart when both speak.
            Err(AgentError::Server { source, .. })
                if (source.is_transient() || is_twin_refused(&source)) && known.is_some() =>
            {
                tracing::warn!("cannot register now: {source}; going on with the known identity");
                match known {
                    Some(known) => known,
                    None => {
                        return Err(AgentError::Server {
                            operation: "register",
                            source,
                        });
                    }
                }
            }
            Err(error) => return Err(error),
        };
        let client = agent_client(
            &options.endpoint,
            &options.trust,
            &options.region,
            &identity,
        )?;
        Ok(Self {
            endpoint: options.endpoint.clone(),
            trust: options.trust.clone(),
            region: options.region.clone(),
            account,
            hostname,
            state,
            current: RwLock::new((identity, client)),
        })
    }

    /// Who this agent is.
    pub(crate) fn identity(&self) -> Identity {
        self.current.read().0.clone()
    }

    /// Name of this host.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// A call under the agent's key; `wait` is how long the server may hold it.
    pub(crate) fn call<R: AgentRequest>(
        &self,
        message: &R,
        wait: Duration,
    ) -> Result<R::Reply, ClientError> {
        let client = self.current.read().1.clone();
        client.agent_call_waiting(message, wait)
    }

    /// A call under the agent's key whose reply is a stream.
    pub(crate) fn stream<R: AgentRequest>(
        &self,
        message: &R,
    ) -> Result<impl Read + Send + use<R>, ClientError> {
        let client = self.current.read().1.clone();
        client.agent_stream(message)
    }

    /// Registers again after the server refused the agent's key.
    pub(crate) fn register_again(&self) -> Result<(), AgentError> {
        let known = self.identity();
        let identity = register(&self.account, &self.hostname, Some(&known))?;
        if identity.client_id != known.client_id {
            tracing::warn!(
                "the server knows this host as {} now, it was {}",
                identity.client_id,
                known.client_id
            );
        }
        self.state.store_identity(&identity)?;
        let client = agent_client(&self.endpoint, &self.trust, &self.region, &identity)?;
        *self.current.write() = (identity, client);
        Ok(())
    }
}

/// Whose the account key is; asked only when there is an identity that it could be another's than.
fn account_of(account: &Client, known: Option<&Identity>) -> Option<String> {
    known?;
    let caller = account.call("GetCallerIdentity", &[]).ok()?;
    caller.get("AccountId")?.as_str().map(str::to_owned)
}

/// One state folder is for one account of a server.
fn refuse_other_account(
    options: &AgentOptions,
    known: Option<&Identity>,
    account_id: &str,
) -> Result<(), AgentError> {
    match known {
        Some(known) if known.account_id != account_id && is_known_here(options, known)? => {
            Err(AgentError::OtherAccount {
                path: options.state_dir.clone(),
                account_id: known.account_id.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// Whether the server that knows this host for one account knows it for another, too, by this identity.
/// Asked with a goodbye for nobody, which a server answers and does nothing about. An identity that it does not accept is
/// of a server that is no more, or of an account that is closed.
fn is_known_here(options: &AgentOptions, known: &Identity) -> Result<bool, AgentError> {
    let client = agent_client(&options.endpoint, &options.trust, &options.region, known)?;
    let nobody = DeregisterRequest {
        client_id: String::new(),
    };
    match client.agent_call(&nobody) {
        Err(error) => Ok(!is_key_refused(&error)),
        Ok(_) => Ok(true),
    }
}

/// True if the server does not accept the agent's key.
pub(crate) fn is_key_refused(error: &ClientError) -> bool {
    error.code().is_some_and(|code| {
        code.starts_with("InvalidAccessKeyId")
            || code == "SignatureDoesNotMatch"
            || code == "NoPermission"
    })
}

/// True if another agent with this one's identity is running.
pub(crate) fn is_twin_refused(error: &ClientError) -> bool {
    error.code() == Some("ClientIsRunning")
}

/// True if the server finds the time or the nonce of a message wrong, as after this host has slept: the same message
/// signed anew passes once the clocks agree.
pub(crate) fn is_clock_refused(error: &ClientError) -> bool {
    error
        .code()
        .is_some_and(|code| code.starts_with("InvalidTimeStamp") || code == "SignatureNonceUsed")
}

fn register(
    account: &Client,
    hostname: &str,
    known: Option<&Identity>,
) -> Result<Identity, AgentError> {
    let machine_id = match known
        .map(|known| known.machine_id.clone())
        .or_else(host::machine_id)
    {
        Some(id) => id,
        None => host::random_id().map_err(|source| AgentError::State {
            operation: "read",
            path: "/dev/urandom".into(),
            source,
        })?,
    };
    let request = RegisterRequest {
        hostname: hostname.to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        machine_id: machine_id.clone(),
        client_id: known.map(|known| known.client_id.clone()),
    };
    let reply = account
        .agent_call(&request)
        .map_err(|source| AgentError::Server {
            operation: "register",
            source: Box::new(source),
        })?;
    Ok(Identity {
        client_id: reply.client_id,
        instance_id: reply.instance_id,
        account_id: reply.account_id,
        agent_key_id: reply.agent_key_id,
        agent_key_secret: reply.agent_key_secret,
        machine_id,
    })
}

fn agent_client(
    endpoint: &str,
    trust: &Trust,
    region: &str,
    identity: &Identity,
) -> Result<Client, AgentError> {
    let credentials = Credentials {
        access_key_id: identity.agent_key_id.clone(),
        access_key_secret: identity.agent_key_secret.clone(),
        security_token: None,
    };
    Client::trusting(endpoint, trust, credentials, region).map_err(|source| AgentError::Server {
        operation: "connect",
        source: Box::new(source),
    })
}

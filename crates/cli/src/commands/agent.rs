//! `agent`: protects this host for a service elsewhere, until it is stopped.

use std::path::PathBuf;
use std::time::Duration;

use ::agent::{AgentError, AgentHandle, AgentOptions, Capacity, Uninstall};

use super::Context;
use crate::args::AgentArgs;
use crate::exit::{Exit, Failure, chain};
use crate::paths;
use crate::session::Access;
use crate::signals::Interrupts;

/// The folder of the agent's identity inside a data directory.
pub(crate) const STATE_FOLDER: &str = "agent";
/// Between two tries to register with a service that does not answer.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks at whether the agent is to go; a signal ends the wait.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the agent.
pub(crate) fn run(context: &Context, args: AgentArgs) -> Result<Exit, Failure> {
    let interrupts = Interrupts::listen()?;
    let data_dir = context.data_dir()?;
    let access = context.access(&data_dir)?;
    let state_dir = match args.state_dir {
        Some(dir) => paths::absolute(&dir)?,
        None => data_dir.join(STATE_FOLDER),
    };
    let options = options(&access, state_dir, vec![data_dir]);
    let Some(agent) = start_patiently(context, &options, &interrupts)? else {
        return Ok(Exit::Done);
    };
    context.screen.line(&format!(
        "agent {} (instance {}) works for {}; Ctrl-C stops it",
        agent.client_id(),
        agent.instance_id(),
        access.endpoint
    ));
    while !interrupts.wait(LOOK) {
        interrupts.take_report_wish();
        if agent.is_gone() {
            return uninstall(context, agent);
        }
    }
    context
        .screen
        .note("stopping: running work is put down, it goes on with the next start");
    agent.stop();
    agent.join();
    Ok(Exit::Done)
}

/// The service asked this agent to uninstall itself (UninstallBackupClients).
fn uninstall(context: &Context, agent: AgentHandle) -> Result<Exit, Failure> {
    agent.uninstall().map_err(|error| {
        Failure::new(
            format!("the state of the agent stays: {}", chain(&error)),
            "remove it by hand",
        )
    })?;
    context.screen.note(
        "the service asked this agent to uninstall itself: it is gone; starting it again registers this host anew",
    );
    Ok(Exit::Done)
}

/// Options of an agent for this host.
pub(crate) fn options(access: &Access, state_dir: PathBuf, skip: Vec<PathBuf>) -> AgentOptions {
    AgentOptions {
        endpoint: access.endpoint.clone(),
        trust: access.trust.clone(),
        credentials: access.credentials.clone(),
        region: access.region.clone(),
        state_dir,
        skip,
        capacity: Capacity::default(),
        hostname: None,
        uninstall: Uninstall::Go,
    }
}

/// Starts the agent; waits for a service that does not answer yet. None if interrupted meanwhile.
fn start_patiently(
    context: &Context,
    options: &AgentOptions,
    interrupts: &Interrupts,
) -> Result<Option<AgentHandle>, Failure> {
    let mut told = false;
    loop {
        match ::agent::start(options.clone()) {
            Ok(agent) => return Ok(Some(agent)),
            Err(error) if error.is_transient() => {
                if !told {
                    context
                        .screen
                        .note(&format!("{}; trying again until it answers", chain(&error)));
                    told = true;
                }
            }
            Err(error) => return Err(failure(&error)),
        }
        if interrupts.wait(RETRY) {
            return Ok(None);
        }
    }
}

/// Why the agent does not start, for a person.
pub(crate) fn failure(error: &AgentError) -> Failure {
    let next = match error {
        AgentError::AlreadyRunning { .. } => {
            "stop the other one, or give this one a --state-dir of its own, as each account needs one"
        }
        AgentError::OtherAccount { .. } => {
            let next = "give this one a --state-dir of its own: both can run on this host, each for its account";
            let what = format!("the agent cannot start: {}", chain(error));
            return Failure::with(Exit::Conflict, what, next);
        }
        AgentError::Server { source, .. } => {
            return crate::refusal::api_failure("registering this host", source);
        }
        AgentError::State { .. } => "look at the rights of the folder and at the free space",
        _ => "look at the limits of processes and memory",
    };
    Failure::new(format!("the agent cannot start: {}", chain(error)), next)
}

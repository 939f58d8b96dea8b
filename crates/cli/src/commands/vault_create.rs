//! `vault create`: a vault with its name and place, and the wait until an agent has made it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::vault::{is_url, storage_url};
use super::{Context, lookup};
use crate::args::VaultCreateArgs;
use crate::exit::{Exit, Failure};
use crate::output::Screen;
use crate::session::{Access, Parameters, Session, rows, text};
use crate::signals::Interrupts;

/// How long a new vault may take.
const MOST: Duration = Duration::from_secs(120);
/// Between two looks at a new vault.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A vault that takes longer than this is spoken of.
const SILENT: Duration = Duration::from_secs(1);
/// Between two words about a vault that is still not made.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Makes a vault and waits for it.
pub(crate) fn run(context: &Context, args: &VaultCreateArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    if !args.allow_duplicate_name {
        refuse_taken_name(&session, &args.name)?;
    }
    let storage = match &args.storage {
        Some(typed) => Some(storage_of_agents(
            &context.screen,
            typed,
            Access::is_elsewhere(),
        )?),
        None => None,
    };
    let interrupts = Interrupts::listen()?;
    let parameters = Parameters::new()
        .with("VaultName", &args.name)
        .with_some("Description", args.description.as_ref())
        .with_some("StorageUrl", storage);
    let vault_id = create(&session, parameters)?;
    if !args.detach && !wait_until_created(&context.screen, &session, &interrupts, &vault_id)? {
        return Err(Failure::interrupted(format!(
            "interrupted; {vault_id} is still being made"
        )));
    }
    context.screen.line(&vault_id);
    Ok(Exit::Done)
}

/// Names need not be unique for the service, but who names a vault by its name wants one to be meant.
fn refuse_taken_name(session: &Session, name: &str) -> Result<(), Failure> {
    let reply = session.call("DescribeVaults", Parameters::new().with("VaultName", name))?;
    let vaults = rows(&reply, &["Vaults", "Vault"]);
    match vaults.iter().find(|vault| text(vault, "VaultName") == name) {
        None => Ok(()),
        Some(vault) => Err(Failure::with(
            Exit::Conflict,
            format!(
                "there is a vault called {name:?} already: {} ({})",
                text(vault, "VaultId"),
                text(vault, "Status")
            ),
            "use that one, or another name; --allow-duplicate-name makes a second one, and then commands need ids",
        )),
    }
}

/// The storage as the agents will see it. A path that is not whole is one of this host: it is made whole here, and means
/// nothing to a service that may be on another.
fn storage_of_agents(screen: &Screen, typed: &str, is_elsewhere: bool) -> Result<String, Failure> {
    if typed.starts_with('/') || is_url(typed) {
        return storage_url(typed);
    }
    if is_elsewhere {
        return Err(Failure::usage(
            format!(
                "--storage {typed} is a relative path, and STRONGROOM_ENDPOINT names a service that may be on another host"
            ),
            "write the whole path, as the agents of that service see it: --storage /…",
        ));
    }
    let storage = storage_url(typed)?;
    screen.note(&format!(
        "the storage is {storage}, as the agents of this service see it"
    ));
    Ok(storage)
}

/// Makes a vault and returns its id.
pub(crate) fn create(session: &Session, parameters: Parameters) -> Result<String, Failure> {
    let region = session.region().to_owned();
    let reply = session.call("CreateVault", parameters.with("VaultRegionId", region))?;
    Ok(text(&reply, "VaultId").to_owned())
}

/// Waits until a vault can be used, and says what it waits for; false if interrupted.
pub(crate) fn wait_until_created(
    screen: &Screen,
    session: &Session,
    interrupts: &Interrupts,
    vault_id: &str,
) -> Result<bool, Failure> {
    let begun = Instant::now();
    let mut say_after = SILENT;
    loop {
        if is_created(session, vault_id)? {
            return Ok(true);
        }
        let waited = begun.elapsed();
        if waited >= MOST {
            return Err(never_made(vault_id, agents_in_touch(session)));
        }
        if waited >= say_after {
            screen.note(&format!(
                "{vault_id} is INITIALIZING for {} s: {}",
                waited.as_secs(),
                waits_for(agents_in_touch(session))
            ));
            say_after = waited + SAY_EVERY;
        }
        if interrupts.wait(LOOK_EVERY) {
            return Ok(false);
        }
    }
}

fn is_created(session: &Session, vault_id: &str) -> Result<bool, Failure> {
    let reply = session.call(
        "DescribeVaults",
        Parameters::new().with("VaultId", vault_id),
    )?;
    let vaults = rows(&reply, &["Vaults", "Vault"]);
    let Some(vault) = vaults.first() else {
        return Err(Failure::with(
            Exit::NotFound,
            format!("the vault {vault_id} is gone"),
            "look at: strongroom vault list",
        ));
    };
    match text(vault, "Status") {
        "CREATED" => Ok(true),
        "ERROR" => Err(Failure::new(
            format!(
                "the vault {vault_id} could not be made: {}",
                text(vault, "VaultStatusMessage")
            ),
            format!("mend what it names, then strongroom vault delete {vault_id} and start again"),
        )),
        _ => Ok(false),
    }
}

/// How many agents of the account are in touch; `None` when the caller may not know.
fn agents_in_touch(session: &Session) -> Option<usize> {
    let is_in_touch = |client: &&Value| text(client, "Status") == "ACTIVATED";
    let clients = lookup::clients(session).ok()?;
    Some(clients.iter().filter(is_in_touch).count())
}

fn waits_for(agents: Option<usize>) -> String {
    let whom = "waiting for an agent that makes it";
    match agents {
        Some(0) => format!(
            "{whom}; no agent of this account is in touch: start one, as strongroom agent --help says"
        ),
        _ => whom.to_owned(),
    }
}

fn never_made(vault_id: &str, agents: Option<usize>) -> Failure {
    let what = format!(
        "the vault {vault_id} is still not made after {} s",
        MOST.as_secs()
    );
    match agents {
        Some(0) => Failure::new(
            format!("{what}: no agent of this account is in touch"),
            "start one with a key of this account (strongroom agent --help): it makes the vault, and strongroom vault list \
             shows it CREATED",
        ),
        _ => Failure::new(
            what,
            format!("see what the agent does: strongroom vault tasks {vault_id}, and its log"),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{never_made, storage_of_agents, waits_for};
    use crate::output::Screen;

    #[test]
    fn a_relative_path_is_one_of_this_host() {
        let screen = Screen::detect();
        let of = |typed: &str, is_elsewhere| storage_of_agents(&screen, typed, is_elsewhere);
        for is_elsewhere in [false, true] {
            assert_eq!(of("/srv/../v/", is_elsewhere).unwrap(), "/v");
            assert_eq!(of("file:///v", is_elsewhere).unwrap(), "file:///v");
        }
        let here = std::env::current_dir().unwrap().join("v");
        assert_eq!(of("./v", false).unwrap(), here.to_str().unwrap());
        let refused = of("v", true).unwrap_err();
        assert_eq!(refused.exit.code(), 2);
        assert!(refused.what.contains("relative") && refused.next.contains("whole path"));
    }

    #[test]
    fn a_vault_without_an_agent_says_what_to_start() {
        assert!(waits_for(Some(0)).contains("strongroom agent"));
        assert!(!waits_for(Some(1)).contains("no agent") && !waits_for(None).contains("no agent"));
        let failure = never_made("v-1", Some(0));
        assert!(failure.what.contains("v-1") && failure.next.contains("strongroom agent"));
        assert!(never_made("v-1", None).next.contains("vault tasks v-1"));
    }
}

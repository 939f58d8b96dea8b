//! `restore`: a restore job on the agent of this host, followed to its end.

use model::{ConflictPolicy, SnapshotId};
use serde_json::{Value, json};

use super::follow::{JobKind, to_the_end};
use super::lookup::Found;
use super::{Context, lookup};
use crate::args::{ConflictArg, RestoreArgs};
use crate::exit::{Exit, Failure};
use crate::output::{clock, printable};
use crate::session::{Parameters, Session, number, text};

/// The policy in the words of the model.
pub(crate) fn policy(conflict: ConflictArg) -> ConflictPolicy {
    match conflict {
        ConflictArg::Overwrite => ConflictPolicy::OverwriteExisting,
        ConflictArg::Skip => ConflictPolicy::SkipExisting,
        ConflictArg::KeepNewer => ConflictPolicy::OverwriteOlder,
    }
}

/// Restores.
pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let instance = instance(context, &session, args.instance.as_deref())?;
    let target = super::plan::api_path(&args.target)?;
    let snapshot = snapshot(&session, args, &instance)?;
    let options = json!({
        "includes": args.include,
        "excludes": args.exclude,
        "conflictPolicy": policy(args.conflict).as_str(),
    });
    let parameters = Parameters::new()
        .with("RestoreType", "ECS_FILE")
        .with("SourceType", "ECS_FILE")
        .with_some("VaultId", known(&snapshot, "VaultId"))
        .with("SnapshotId", text(&snapshot, "SnapshotId"))
        .with_some("SnapshotHash", known(&snapshot, "SnapshotHash"))
        .with("TargetInstanceId", &instance)
        .with("TargetPath", &target)
        .with("Options", options);
    let reply = session.call("CreateRestoreJob", parameters)?;
    let restore_id = text(&reply, "RestoreId").to_owned();
    let of_what = match number(&snapshot, "CreatedTime") {
        0 => String::new(),
        time => format!(
            " of {} from {}",
            printable(&super::jobs::paths(&snapshot)),
            clock(time)
        ),
    };
    context.screen.note(&format!(
        "restoring {}{of_what} into {}",
        text(&snapshot, "SnapshotId"),
        printable(&target)
    ));
    let job = (restore_id.as_str(), target.as_str());
    let exit = to_the_end(context, &session, JobKind::Restore, job, args.json)?;
    if exit == Exit::Done && !args.include.is_empty() {
        refuse_if_nothing_matched(&session, &restore_id)?;
    }
    Ok(exit)
}

/// A field that is there.
fn known<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    Some(text(row, name)).filter(|text| !text.is_empty())
}

/// The snapshot that is meant. One that is named by its id needs no search: the service knows which vault it lies in.
fn snapshot(session: &Session, args: &RestoreArgs, instance: &str) -> Result<Value, Failure> {
    let (wanted, vault) = (args.snapshot.as_str(), args.vault.as_deref());
    if SnapshotId::parse(wanted).is_ok() && vault.is_none() {
        return Ok(json!({ "SnapshotId": wanted }));
    }
    match lookup::snapshot(session, wanted, Some(instance), vault) {
        // Another host's snapshots are better than none, for a host that was set up anew.
        Err(failure) if failure.exit == Exit::NotFound && wanted == "latest" => {
            lookup::snapshot(session, wanted, None, vault)
        }
        found => found,
    }
}

/// A pattern with a slip restores nothing, and a job without anything to do is complete.
fn refuse_if_nothing_matched(session: &Session, restore_id: &str) -> Result<(), Failure> {
    let ended = lookup::restore_job(session, restore_id)?;
    if ended.is_none_or(|job| number(&job, "ItemsTotal") != 0) {
        return Ok(());
    }
    Err(Failure::with(
        Exit::NotFound,
        "nothing in the snapshot matches --include: nothing was restored",
        "look at its names: strongroom ls SNAPSHOT PATH",
    ))
}

/// The instance that is meant: the one that was typed, or this host.
pub(crate) fn instance(
    context: &Context,
    session: &Session,
    typed: Option<&str>,
) -> Result<String, Failure> {
    if let Some(instance) = typed {
        return Ok(instance.to_owned());
    }
    if let Some((client_id, instance_id)) = own_identity(context) {
        match lookup::client(session, &client_id)? {
            Found::Yes(client) => return Ok(text(&client, "InstanceId").to_owned()),
            // The call that it is for says if this is the agent of another service.
            Found::Hidden => return Ok(instance_id),
            Found::No => {}
        }
    }
    let hostname = vault::hostname();
    let clients = lookup::clients_on(session, &hostname)?;
    let mut here = clients.iter();
    match (here.next(), here.next()) {
        (Some(client), None) => Ok(text(client, "InstanceId").to_owned()),
        (None, _) => Err(Failure::with(
            Exit::NotFound,
            format!("the service knows no agent on this host ({hostname})"),
            "start one (strongroom serve, strongroom agent), or name a host with --instance i-…",
        )),
        (Some(_), Some(_)) => Err(Failure::with(
            Exit::Conflict,
            format!("the service knows more than one agent on {hostname}"),
            "name one with --instance i-…: strongroom api DescribeBackupClients ClientType=ECS_CLIENT",
        )),
    }
}

/// The client id and the instance id of the agent that keeps its identity in the data directory, as far as it may be read.
fn own_identity(context: &Context) -> Option<(String, String)> {
    let file = context
        .data_dir()
        .ok()?
        .join(super::agent::STATE_FOLDER)
        .join("agent.json");
    let identity: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let field = |name| known(&identity, name).map(str::to_owned);
    Some((field("client_id")?, field("instance_id")?))
}

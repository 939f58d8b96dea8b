//! `restore`: a restore job on the agent of this host, followed to its end.

use model::ConflictPolicy;
use serde_json::json;

use super::follow::{JobKind, to_the_end};
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
    let snapshot = match lookup::snapshot(&session, &args.snapshot, Some(&instance)) {
        // Another host's snapshots are better than none, for a host that was set up anew.
        Err(failure) if failure.exit == Exit::NotFound && args.snapshot == "latest" => {
            lookup::snapshot(&session, &args.snapshot, None)?
        }
        found => found?,
    };
    let options = json!({
        "includes": args.include,
        "excludes": args.exclude,
        "conflictPolicy": policy(args.conflict).as_str(),
    });
    let parameters = Parameters::new()
        .with("RestoreType", "ECS_FILE")
        .with("SourceType", "ECS_FILE")
        .with("VaultId", text(&snapshot, "VaultId"))
        .with("SnapshotId", text(&snapshot, "SnapshotId"))
        .with("SnapshotHash", text(&snapshot, "SnapshotHash"))
        .with("TargetInstanceId", &instance)
        .with("TargetPath", &target)
        .with("Options", options);
    let reply = session.call("CreateRestoreJob", parameters)?;
    let restore_id = text(&reply, "RestoreId").to_owned();
    context.screen.note(&format!(
        "restoring {} of {} from {} into {target}",
        text(&snapshot, "SnapshotId"),
        printable(&super::jobs::paths(&snapshot)),
        clock(number(&snapshot, "CreatedTime")),
    ));
    let job = (restore_id.as_str(), target.as_str());
    let exit = to_the_end(context, &session, JobKind::Restore, job, args.json)?;
    if exit == Exit::Done && !args.include.is_empty() {
        warn_if_nothing_matched(context, &session, &restore_id)?;
    }
    Ok(exit)
}

/// A pattern with a slip restores nothing, and a job without anything to do is complete.
fn warn_if_nothing_matched(
    context: &Context,
    session: &Session,
    restore_id: &str,
) -> Result<(), Failure> {
    let ended = lookup::restore_job(session, restore_id)?;
    if ended.is_some_and(|job| number(&job, "ItemsTotal") == 0) {
        context.screen.note(
            "nothing in the snapshot matches --include; look at its names: strongroom ls SNAPSHOT PATH",
        );
    }
    Ok(())
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
    let clients = lookup::clients(session)?;
    if let Some(own) = own_client(context)
        && let Some(client) = clients
            .iter()
            .find(|client| text(client, "ClientId") == own)
    {
        return Ok(text(client, "InstanceId").to_owned());
    }
    let hostname = vault::hostname();
    let mut here = clients
        .iter()
        .filter(|client| text(client, "Hostname") == hostname);
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

/// The client id of the agent that keeps its identity in the data directory, as far as it may be read.
fn own_client(context: &Context) -> Option<String> {
    let file = context
        .data_dir()
        .ok()?
        .join(super::agent::STATE_FOLDER)
        .join("agent.json");
    let identity: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(text(&identity, "client_id").to_owned())
}

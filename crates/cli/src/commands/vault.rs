//! `vault list|delete|export|adopt`; `create` is in `vault_create`, the rest in `vault_upkeep`.
//!
//! All but `adopt` are clients of the API; `adopt` works on a data directory without a server, and so does `export` when
//! no server answers.

use std::path::Path;

use api::secret::SecretText;
use serde_json::json;
use server::{AdoptKey, AdoptOptions};

use super::plan::api_path;
use super::serve::server_failure;
use super::{Context, FAILED_LINE, lookup, vault_create, vault_upkeep};
use crate::args::{Confirmed, VaultAdoptArgs, VaultCommand};
use crate::exit::{Exit, Failure};
use crate::output::{
    Column, Paint, Table, bytes, clock, counted, printable, shell_quoted, status_paint,
};
use crate::paths;
use crate::secrets::{Secret, from_file};
use crate::session::{Access, Parameters, number, size, text};

/// Runs a verb.
pub(crate) fn run(context: &Context, command: VaultCommand) -> Result<Exit, Failure> {
    match command {
        VaultCommand::Create(args) => vault_create::run(context, &args),
        VaultCommand::List { json } => list(context, json),
        VaultCommand::Delete { vault, confirmed } => delete(context, &vault, confirmed),
        VaultCommand::Export { vault } => export(context, &vault),
        VaultCommand::Adopt(args) => adopt(context, args),
        VaultCommand::Check(args) => vault_upkeep::check(context, &args),
        VaultCommand::Prune {
            vault,
            detach,
            json,
        } => vault_upkeep::prune(context, &vault, detach, json),
        VaultCommand::Tasks { vault, json } => vault_upkeep::tasks(context, vault.as_deref(), json),
        VaultCommand::Cancel { task } => vault_upkeep::cancel(context, &task),
    }
}

fn list(context: &Context, as_json: bool) -> Result<Exit, Failure> {
    let session = context.session()?;
    let mut vaults = lookup::vaults(&session)?;
    vault_upkeep::add_health(&session, &mut vaults);
    if as_json {
        for vault in &vaults {
            context.screen.json(vault);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("VAULT"),
        Column::Flexible("NAME"),
        Column::Text("STATUS"),
        Column::Text("HEALTH"),
        Column::Number("STORED"),
        Column::Number("PROTECTED"),
        Column::Number("SNAPSHOTS"),
        Column::Text("CREATED"),
        Column::Flexible("DESCRIPTION"),
    ])
    .sparing(&["DESCRIPTION", "SNAPSHOTS", "PROTECTED", "CREATED"]);
    for vault in &vaults {
        let status = text(vault, "Status");
        let cells = [
            (text(vault, "VaultId").to_owned(), Paint::Plain),
            (text(vault, "VaultName").to_owned(), Paint::Plain),
            (status.to_owned(), status_paint(status)),
            vault_upkeep::health_cell(vault),
            (bytes(size(vault, "StorageSize")), Paint::Plain),
            (bytes(size(vault, "BytesDone")), Paint::Plain),
            (size(vault, "SnapshotCount").to_string(), Paint::Plain),
            (clock(number(vault, "CreatedTime")), Paint::Plain),
            (text(vault, "Description").to_owned(), Paint::Plain),
        ];
        table.painted_row(cells.into());
    }
    context.screen.text(&table.render(&context.screen));
    Ok(Exit::Done)
}

fn delete(context: &Context, wanted: &str, confirmed: Confirmed) -> Result<Exit, Failure> {
    let session = context.session()?;
    let vault = lookup::vault(&session, wanted)?;
    let id = text(&vault, "VaultId");
    confirmed.ask(&format!(
        "delete the vault {} with all its plans, jobs, snapshots and data?",
        lookup::VAULT.shown(&vault)
    ))?;
    session.call("DeleteVault", Parameters::new().with("VaultId", id))?;
    context.screen.line(&format!(
        "{id} is deleted; its data goes as soon as an agent gets to it, unless it lies in a folder that was named for it: \
         that one is yours to delete"
    ));
    Ok(Exit::Done)
}

/// Two lines that a shell can take over as they are, or one that fails there. Needs no running service: the way out must always be open.
fn export(context: &Context, wanted: &str) -> Result<Exit, Failure> {
    let (storage_url, password) = exported(context, wanted).inspect_err(|_| {
        context.screen.line(FAILED_LINE);
    })?;
    // What restic calls local has no scheme.
    let location = storage_url.strip_prefix("file://").unwrap_or(&storage_url);
    context
        .screen
        .line(&format!("RESTIC_REPOSITORY={}", shell_quoted(location)));
    context
        .screen
        .line(&format!("RESTIC_PASSWORD={}", shell_quoted(&password)));
    Ok(Exit::Done)
}

fn exported(context: &Context, wanted: &str) -> Result<(String, Secret), Failure> {
    match exported_by_service(context, wanted) {
        Err(failure) if failure.exit == Exit::Failed && !Access::is_elsewhere() => {
            exported_offline(context, wanted)?.ok_or(failure)
        }
        done => done,
    }
}

fn exported_by_service(context: &Context, wanted: &str) -> Result<(String, Secret), Failure> {
    let session = context.session()?;
    let vault = lookup::vault(&session, wanted)?;
    let reply = session.call(
        "ExportVaultKey",
        Parameters::new().with("VaultId", text(&vault, "VaultId")),
    )?;
    Ok((
        text(&reply, "StorageUrl").to_owned(),
        Secret::new(text(&reply, "Password").to_owned()),
    ))
}

/// Straight from the data directory; none while a server runs on it, whose answer counts then.
fn exported_offline(context: &Context, wanted: &str) -> Result<Option<(String, Secret)>, Failure> {
    let vaults = match server::export_vaults(&context.data_dir()?) {
        Err(server::ServerError::InUse { .. }) => return Ok(None),
        exported => exported.map_err(|error| server_failure(&error))?,
    };
    let rows = vaults
        .iter()
        .map(|vault| json!({"VaultId": vault.vault_id, "VaultName": vault.vault_name}))
        .collect();
    let found = lookup::VAULT.one_of(rows, wanted)?;
    let vault = vaults
        .into_iter()
        .find(|vault| vault.vault_id == text(&found, "VaultId"));
    Ok(vault.map(|vault| {
        (
            vault.storage_url,
            Secret::new(vault.password.expose().to_owned()),
        )
    }))
}

fn adopt(context: &Context, args: VaultAdoptArgs) -> Result<Exit, Failure> {
    let data_dir = context.data_dir()?;
    let options = AdoptOptions {
        data_dir,
        region: args.region,
        opened_by: match (&args.recovery_file, &args.password_file) {
            (_, Some(file)) => AdoptKey::Password(SecretText::new(from_file(file)?.to_string())),
            (Some(file), None) => AdoptKey::RecoveryFile(paths::absolute(file)?),
            (None, None) => {
                return Err(Failure::usage(
                    "nothing is named that opens the vault",
                    "use --recovery-file or --password-file",
                ));
            }
        },
        storage_url: storage_url(&args.storage)?,
    };
    let report = server::adopt(&options).map_err(|error| server_failure(&error))?;
    for (id, reason) in &report.damaged_snapshots {
        context.screen.note(&format!(
            "warning: snapshot {id} cannot be read: {}",
            printable(reason)
        ));
    }
    context.screen.line(&format!(
        "adopted {}: {}, {} of them new to this data directory",
        report.vault_id,
        counted(report.snapshot_count as u64, "snapshot"),
        report.new_snapshot_count
    ));
    if let Some(path) = &report.new_recovery_path {
        context
            .screen
            .line(&format!("new recovery file: {}", path.display()));
        context.screen.line("Keep a copy of it elsewhere, and the old one too: vaults that are not adopted yet need that.");
    }
    context
        .screen
        .note("next: strongroom serve, then strongroom snapshots");
    Ok(if report.damaged_snapshots.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

/// A path is made absolute; a URL stays as it is.
pub(crate) fn storage_url(typed: &str) -> Result<String, Failure> {
    if is_url(typed) {
        return Ok(typed.to_owned());
    }
    api_path(Path::new(typed))
}

/// Whether the storage is named by a scheme.
pub(crate) fn is_url(typed: &str) -> bool {
    ["file:", "local:"]
        .iter()
        .any(|scheme| typed.starts_with(scheme))
}

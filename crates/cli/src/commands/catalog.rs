//! `catalog backup|restore`: the service itself, kept and brought back.

use server::{CatalogRestoreOptions, CopySource, Unlock};

use super::serve::{catalog_place, server_failure};
use super::vault::storage_url;
use super::{Context, lookup, vault_upkeep};
use crate::args::{CatalogCommand, CatalogRestoreArgs};
use crate::exit::{Exit, Failure};
use crate::output::{clock, count};
use crate::paths;
use crate::session::{Parameters, text};

/// Tables whose rows are told of, and what a person calls them.
const TOLD: [(&str, &str); 8] = [
    ("accounts", "accounts"),
    ("access_keys", "access keys"),
    ("vaults", "vaults"),
    ("clients", "hosts"),
    ("plans", "plans"),
    ("policies", "policies"),
    ("jobs", "jobs"),
    ("snapshots", "snapshots"),
];

/// Runs a verb.
pub(crate) fn run(context: &Context, command: CatalogCommand) -> Result<Exit, Failure> {
    match command {
        CatalogCommand::Backup {
            vault,
            detach,
            json,
        } => backup(context, vault.as_deref(), detach, json),
        CatalogCommand::Restore(args) => restore(context, &args),
    }
}

fn backup(
    context: &Context,
    wanted: Option<&str>,
    detach: bool,
    json: bool,
) -> Result<Exit, Failure> {
    let session = context.session()?;
    let mut parameters = Parameters::new();
    if let Some(wanted) = wanted {
        let vault = lookup::vault(&session, wanted)?;
        parameters = parameters.with("VaultId", text(&vault, "VaultId"));
    }
    let reply = session.call("BackupCatalog", parameters)?;
    vault_upkeep::go_on(context, &session, text(&reply, "TaskId"), detach, json)
}

fn restore(context: &Context, args: &CatalogRestoreArgs) -> Result<Exit, Failure> {
    let report = server::restore_catalog(&options(context, args)?)
        .map_err(|error| server_failure(&error))?;
    let rows = |table: &str| report.row_counts.get(table).copied().unwrap_or(0);
    let told: Vec<String> = TOLD
        .iter()
        .map(|(table, name)| format!("{} {name}", count(rows(table))))
        .collect();
    let screen = &context.screen;
    screen.line(&format!(
        "restored the catalog of account {} as it was on {}",
        report.account_id,
        clock(report.created_time.0)
    ));
    screen.line(&told.join(", "));
    if let Some((vault_id, before)) = &report.moved_vault {
        screen.note(&format!(
            "{vault_id} was at {before}; the catalog says now where it is"
        ));
    }
    screen.note("next: strongroom serve, with the same flags as before");
    Ok(Exit::Done)
}

fn options(context: &Context, args: &CatalogRestoreArgs) -> Result<CatalogRestoreOptions, Failure> {
    let usage = |what: &str| Failure::usage(what.to_owned(), "strongroom catalog restore --help");
    let unlock = match (&args.recovery_file, &args.from_master_key) {
        (Some(file), _) => Unlock::RecoveryFile(paths::absolute(file)?),
        (None, Some(file)) => Unlock::MasterKey(paths::absolute(file)?),
        (None, None) => return Err(usage("name the recovery file or the master key")),
    };
    let source = match (&args.storage, &args.copy) {
        (Some(storage), _) => CopySource::Vault {
            storage_url: storage_url(storage)?,
            snapshot: args.snapshot.clone(),
        },
        (None, Some(file)) => CopySource::File(paths::absolute(file)?),
        (None, None) => return Err(usage("name the vault's storage or a copy")),
    };
    Ok(CatalogRestoreOptions {
        data_dir: context.data_dir()?,
        catalog: catalog_place(args.catalog.as_deref(), args.catalog_file.as_deref())?,
        master_key_file: args.master_key_file.clone(),
        unlock,
        source,
    })
}

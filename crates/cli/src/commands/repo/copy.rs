//! `repo copy`: snapshots of another repository into this one.

use std::time::Instant;

use serde_json::json;
use vault::{FileKind, Id, Repository, VaultError, WriterOptions};

use super::{Repo, secret, storage_at, vault_failure};
use crate::args::RepoCopyArgs;
use crate::exit::{Exit, Failure, chain};
use crate::output::{Meter, Sample, bytes, counted};
use crate::secrets::{self, Secret};

/// Copies what is not there yet.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoCopyArgs) -> Result<Exit, Failure> {
    let to = repo.open()?;
    let from = open_source(args)?;
    repo.unlock_on_interrupt(&to);
    repo.unlock_on_interrupt(&from);
    let (snapshots, mut bad) = chosen(repo, args, &from)?;
    let mut options = WriterOptions::default();
    if let Some(size) = repo.settings.pack_size_bytes {
        options.pack_size_bytes = usize::try_from(size).unwrap_or(options.pack_size_bytes);
    }
    let start = Instant::now();
    let meter = std::cell::RefCell::new(Meter::new(repo.screen, repo.meter_style(), "copy", start));
    let report = vault::copy(&from, &to, &snapshots, options, &|progress| {
        let sample = Sample {
            phase: "snapshots".to_owned(),
            files_done: progress.snapshots_done,
            files_total: progress.snapshots_total,
            bytes_done: progress.stored_bytes,
            elapsed: start.elapsed(),
            ..Sample::default()
        };
        meter.borrow_mut().show(&sample, Instant::now());
    });
    meter.borrow_mut().finish();
    let report = report.map_err(|error| vault_failure(&error))?;
    bad.extend(report.failed.iter().cloned());
    for (id, error) in &bad {
        repo.error(&format!(
            "snapshot {} is not copied: {}",
            id.short(),
            chain(error)
        ));
    }
    if !report.is_same_chunker && !report.copied.is_empty() {
        repo.warn(
            "the two repositories cut files differently: what is copied is not shared with what is backed up here",
        );
    }
    if repo.options.json {
        repo.screen.json(&json!({
            "message_type": "summary",
            "copied": report.copied.iter().map(|(old, new)| json!({"original": old.to_hex(), "id": new.to_hex()}))
                .collect::<Vec<_>>(),
            "already_there": report.already_there.iter().map(Id::to_hex).collect::<Vec<_>>(),
            "failed": bad.iter().map(|(id, _)| id.to_hex()).collect::<Vec<_>>(),
            "blobs": report.blob_count,
            "bytes_added": report.stored_bytes,
            "same_chunker": report.is_same_chunker,
        }));
    }
    for (old, new) in &report.copied {
        repo.say(&format!(
            "snapshot {} copied as {}",
            old.short(),
            new.short()
        ));
    }
    repo.say(&format!(
        "{} copied, {} already there; {}, {} added",
        counted(report.copied.len() as u64, "snapshot"),
        report.already_there.len(),
        counted(report.blob_count, "blob"),
        bytes(report.stored_bytes)
    ));
    if bad.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        format!("{} not copied", counted(bad.len() as u64, "snapshot")),
        "look at the repository they are in: strongroom repo check --read-data",
    ))
}

/// The snapshots to copy, and those that cannot be read.
type Chosen = (Vec<Id>, Vec<(Id, VaultError)>);

fn chosen(repo: &Repo<'_>, args: &RepoCopyArgs, from: &Repository) -> Result<Chosen, Failure> {
    let fail = |error| vault_failure(&error);
    if !args.snapshots.is_empty() {
        let mut chosen = Chosen::default();
        for pattern in &args.snapshots {
            match from.find_snapshot(pattern) {
                Ok((id, _)) => chosen.0.push(id),
                Err(error) => match damaged_snapshot(&error) {
                    Some(id) => chosen.1.push((id, error)),
                    None => return Err(fail(error)),
                },
            }
        }
        return Ok(chosen);
    }
    let filter = args.filter.filter(repo.settings.host.as_deref());
    let (snapshots, damaged) = from.snapshots_and_damage().map_err(fail)?;
    let matching = snapshots
        .into_iter()
        .filter(|(_, snapshot)| filter.matches(snapshot))
        .map(|(id, _)| id)
        .collect();
    Ok((matching, damaged))
}

/// The snapshot that an error is about, when it is damaged.
fn damaged_snapshot(error: &VaultError) -> Option<Id> {
    match error {
        VaultError::Damaged {
            kind: FileKind::Snapshot,
            name,
            ..
        } => name.parse().ok(),
        _ => None,
    }
}

fn open_source(args: &RepoCopyArgs) -> Result<Repository, Failure> {
    let variable = std::env::var("RESTIC_FROM_REPOSITORY").ok();
    let location = args
        .from_repo
        .clone()
        .or(variable)
        .filter(|location| !location.is_empty())
        .ok_or_else(|| {
            Failure::usage(
                "the repository to copy from is not named",
                "use --from-repo, or set RESTIC_FROM_REPOSITORY",
            )
        })?;
    let password = source_password(args)?;
    let storage = storage_at(&location)?;
    Repository::open(storage, &secret(&password)).map_err(|error| vault_failure(&error))
}

fn source_password(args: &RepoCopyArgs) -> Result<Secret, Failure> {
    if let Some(file) = &args.from_password_file {
        return secrets::from_file(file);
    }
    if let Some(command) = &args.from_password_command {
        return secrets::from_command(command);
    }
    if let Some(secret) = secrets::from_environment("RESTIC_FROM_PASSWORD")? {
        return Ok(secret);
    }
    secrets::ask("enter the password of the repository to copy from")?.ok_or_else(|| {
        Failure::with(
            Exit::WrongPassword,
            "no password of the repository to copy from is given",
            "use --from-password-file, --from-password-command or RESTIC_FROM_PASSWORD_FILE",
        )
    })
}

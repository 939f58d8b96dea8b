//! `repo repair`: makes a damaged repository usable again; without `--apply` it only says what it would do.

use serde_json::{Value, json};
use vault::{Id, Run};

use super::tell::list;
use super::{Repo, vault_failure};
use crate::args::{RepairCommand, RepoRepairArgs};
use crate::exit::{Exit, Failure, chain};
use crate::output::{counted, printable};

/// Repairs. Exit status 1 when a dry run found something, so that scripts see it.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoRepairArgs) -> Result<Exit, Failure> {
    match &args.command {
        RepairCommand::Index { apply } => index(repo, run_of(*apply)),
        RepairCommand::Packs { packs, apply } => self::packs(repo, packs, run_of(*apply)),
        RepairCommand::Snapshots { apply } => snapshots(repo, run_of(*apply)),
    }
}

fn run_of(apply: bool) -> Run {
    if apply { Run::Real } else { Run::Dry }
}

/// What was found: in a dry run something is left to do.
fn end(repo: &Repo<'_>, run: Run, is_clean: bool) -> Exit {
    match (is_clean, run) {
        (true, _) => repo.say("nothing to repair"),
        (false, Run::Real) => repo.say("done; what was replaced is below quarantine/"),
        (false, Run::Dry) => repo.say("nothing is changed; to do it: --apply"),
    }
    if is_clean || run == Run::Real {
        Exit::Done
    } else {
        Exit::Failed
    }
}

fn ids(list: &[Id]) -> Value {
    list.iter().map(Id::to_hex).collect()
}

fn say_list(repo: &Repo<'_>, lines: impl ExactSizeIterator<Item = String>) {
    let total = lines.len() as u64;
    let is_terminal = repo.screen.width().is_some();
    list(is_terminal, lines, total, |line| repo.say(line));
}

fn say_all(repo: &Repo<'_>, what: &str, ids: &[Id]) {
    say_list(repo, ids.iter().map(|id| format!("{what} {id}")));
}

fn index(repo: &Repo<'_>, run: Run) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let report = vault::repair_index(&opened, run).map_err(|error| vault_failure(&error))?;
    if repo.options.json {
        repo.screen.json(&json!({
            "message_type": "summary",
            "dry_run": run == Run::Dry,
            "damaged_index_files": ids(&report.damaged_index_files),
            "packs_added": ids(&report.packs_added),
            "packs_missing": ids(&report.packs_missing),
            "packs_damaged": ids(&report.packs_damaged),
            "packs_put_back": ids(&report.packs_put_back),
        }));
    }
    say_all(
        repo,
        "index file cannot be read:",
        &report.damaged_index_files,
    );
    say_all(repo, "pack gets an entry:", &report.packs_added);
    say_all(repo, "pack is gone, its entry goes:", &report.packs_missing);
    say_all(
        repo,
        "pack was to be removed and is needed, it is put back:",
        &report.packs_put_back,
    );
    say_all(
        repo,
        "pack is damaged, see repair packs:",
        &report.packs_damaged,
    );
    Ok(end(repo, run, report.is_clean()))
}

fn packs(repo: &Repo<'_>, wanted: &[String], run: Run) -> Result<Exit, Failure> {
    let parsed: Result<Vec<Id>, _> = wanted.iter().map(|text| text.parse()).collect();
    let wanted = parsed.map_err(|_| {
        Failure::usage(
            "a pack is named by the 64 digits of its id",
            "copy them from what check printed",
        )
    })?;
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let report = vault::repair_packs(&opened, &wanted, run, &|_, _| {})
        .map_err(|error| vault_failure(&error))?;
    for (pack, error) in &report.unreadable {
        repo.error(&format!("pack {pack}: {}", chain(error)));
    }
    if repo.options.json {
        let lost: Vec<Value> = report
            .lost
            .iter()
            .map(|(kind, id)| json!({"type": kind.as_str(), "id": id.to_hex()}))
            .collect();
        repo.screen.json(&json!({
            "message_type": "summary",
            "dry_run": run == Run::Dry,
            "damaged": ids(&report.damaged),
            "blobs_saved": report.salvaged_count,
            "blobs_lost": lost,
            "packs_unreadable": report.unreadable.len(),
        }));
    }
    say_all(repo, "pack is damaged:", &report.damaged);
    let lost = report.lost.iter();
    say_list(
        repo,
        lost.map(|(kind, id)| format!("{kind} blob is lost: {id}")),
    );
    if !report.damaged.is_empty() {
        repo.say(&format!(
            "{} of them still readable, {} lost: a backup with --force stores again what is still on its host; what is lost \
             for good, repair snapshots takes out",
            counted(report.salvaged_count as u64, "blob"),
            report.lost.len()
        ));
    }
    let exit = end(repo, run, report.damaged.is_empty());
    Ok(if report.unreadable.is_empty() {
        exit
    } else {
        Exit::Partial
    })
}

fn snapshots(repo: &Repo<'_>, run: Run) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let report = vault::repair_snapshots(&opened, run).map_err(|error| vault_failure(&error))?;
    if repo.options.json {
        let repaired: Vec<Value> = report
            .repaired
            .iter()
            .map(|repaired| {
                json!({
                    "id": repaired.id.to_hex(),
                    "replacement": repaired.replacement.map(|id| id.to_hex()),
                    "lost": repaired.lost_paths,
                    "lost_count": repaired.lost_count,
                })
            })
            .collect();
        repo.screen.json(&json!({
            "message_type": "summary",
            "dry_run": run == Run::Dry,
            "repaired": repaired,
            "unreadable": ids(&report.unreadable),
            "whole": report.whole_count,
        }));
    }
    say_all(repo, "snapshot cannot be read:", &report.unreadable);
    for repaired in &report.repaired {
        let replacement = match (run, &repaired.replacement) {
            (Run::Dry, _) => String::new(),
            (Run::Real, None) => ", nothing of it is left".to_owned(),
            (Run::Real, Some(id)) => format!(", written anew as {}", id.short()),
        };
        repo.say(&format!(
            "snapshot {} has lost files{replacement}:",
            repaired.id.short()
        ));
        let paths = repaired.lost_paths.iter();
        let lines = paths.map(|path| format!("  {}", printable(path)));
        let is_terminal = repo.screen.width().is_some();
        list(is_terminal, lines, repaired.lost_count, |line| {
            repo.say(line)
        });
    }
    let is_clean = report.repaired.is_empty() && report.unreadable.is_empty();
    Ok(end(repo, run, is_clean))
}

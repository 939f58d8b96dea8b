//! `repo forget`: removes snapshots by rules or by name, in restic's words and JSON.

use serde_json::{Value, json};
use vault::forget::{GroupPlan, SnapshotFilter, plan, remove_snapshots};
use vault::{Id, LockKind, Repository, Snapshot, Time};

use super::shapes::snapshot_json;
use super::{Repo, prune, vault_failure};
use crate::args::RepoForgetArgs;
use crate::exit::{Exit, Failure, chain};
use crate::output::{Column, Table, clock, counted};

/// Removes; exit status 3 if some snapshot could not be removed.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoForgetArgs) -> Result<Exit, Failure> {
    let fail = |error| vault_failure(&error);
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let lock = opened.lock(LockKind::Shared).map_err(fail)?;
    let removed = if args.snapshots.is_empty() {
        by_rules(repo, args, &opened)?
    } else {
        by_name(&opened, &args.snapshots)?
    };
    let mut exit = Exit::Done;
    if args.dry_run {
        for id in &removed {
            repo.say(&format!("would remove snapshot {}", id.short()));
        }
    } else {
        let report = remove_snapshots(&opened, &removed).map_err(fail)?;
        for (id, error) in &report.failed {
            exit = Exit::Partial;
            repo.error(&format!("snapshot {}: {}", id.short(), chain(error)));
        }
        repo.say(&format!(
            "{} removed",
            counted(report.removed.len() as u64, "snapshot")
        ));
    }
    drop(lock);
    if !args.prune || removed.is_empty() {
        return Ok(exit);
    }
    let ignored = if args.dry_run { removed } else { Vec::new() };
    let pruned = prune::with(repo, &opened, &args.prune_options, args.dry_run, ignored)?;
    Ok(if exit == Exit::Done { pruned } else { exit })
}

fn by_name(opened: &Repository, patterns: &[String]) -> Result<Vec<Id>, Failure> {
    let mut ids = Vec::new();
    for pattern in patterns {
        let (id, _) = opened
            .find_snapshot(pattern)
            .map_err(|error| vault_failure(&error))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn by_rules(
    repo: &Repo<'_>,
    args: &RepoForgetArgs,
    opened: &Repository,
) -> Result<Vec<Id>, Failure> {
    let policy = args.rules.policy();
    let filter = args.filter.filter(repo.settings.host.as_deref());
    if args.unsafe_allow_remove_all && filter.is_empty() {
        return Err(Failure::usage(
            "--unsafe-allow-remove-all would remove every snapshot of the repository",
            "say which snapshots are meant: --host, --tag or --path",
        ));
    }
    if policy.is_empty() && !args.unsafe_allow_remove_all {
        return Err(Failure::new(
            "no rule was given, no snapshot is removed",
            "use --keep-last, --keep-daily and so on, or name snapshots",
        ));
    }
    let snapshots = matching(repo, opened, &filter)?;
    let mut groups = plan(&snapshots, &policy, args.group_by, Time::now());
    if policy.is_empty() {
        // Nothing is to be kept, and that was said twice: by the flag and by the filter.
        for group in &mut groups {
            group
                .remove
                .extend(group.keep.drain(..).map(|kept| kept.index));
        }
    }
    let emptied = groups.iter().find(|group| group.keep.is_empty());
    if let Some(group) = emptied.filter(|_| !args.unsafe_allow_remove_all) {
        return Err(Failure::new(
            format!("refusing to remove the last snapshot of {}", group.key),
            "check the rules; to remove all of them: --unsafe-allow-remove-all with --host, --tag or --path",
        ));
    }
    if repo.options.json {
        let list: Vec<Value> = groups
            .iter()
            .map(|group| group_json(group, &snapshots))
            .collect();
        repo.screen.json(&Value::Array(list));
    } else {
        for group in &groups {
            print(repo, group, &snapshots);
        }
    }
    let removed = groups.iter().flat_map(|group| &group.remove);
    Ok(removed.map(|&index| snapshots[index].0).collect())
}

fn matching(
    repo: &Repo<'_>,
    opened: &Repository,
    filter: &SnapshotFilter,
) -> Result<Vec<(Id, Snapshot)>, Failure> {
    let (mut found, damaged) = opened
        .snapshots_and_damage()
        .map_err(|error| vault_failure(&error))?;
    for (id, error) in damaged {
        repo.warn(&format!("snapshot {id} is kept: {}", chain(&error)));
    }
    found.retain(|(_, snapshot)| filter.matches(snapshot));
    Ok(found)
}

/// A group with the field names of restic.
fn group_json(group: &GroupPlan, snapshots: &[(Id, Snapshot)]) -> Value {
    let snapshot = |index: usize| {
        let (id, snapshot) = &snapshots[index];
        snapshot_json(id, snapshot)
    };
    let keep: Vec<Value> = group.keep.iter().map(|kept| snapshot(kept.index)).collect();
    let remove: Vec<Value> = group.remove.iter().map(|&index| snapshot(index)).collect();
    let reasons: Vec<Value> = group
        .keep
        .iter()
        .map(|kept| json!({"snapshot": snapshot(kept.index), "matches": kept.reasons}))
        .collect();
    json!({
        "tags": group.key.tags,
        "host": group.key.host.clone().unwrap_or_default(),
        "paths": group.key.paths,
        "keep": keep,
        "remove": if remove.is_empty() { Value::Null } else { Value::Array(remove) },
        "reasons": reasons,
    })
}

fn print(repo: &Repo<'_>, group: &GroupPlan, snapshots: &[(Id, Snapshot)]) {
    if repo.options.quiet {
        return;
    }
    repo.say(&format!(
        "{}:",
        crate::output::printable(&group.key.to_string())
    ));
    let mut table = Table::new(&[
        Column::Text(""),
        Column::Text("ID"),
        Column::Text("TIME"),
        Column::Flexible("HOST"),
        Column::Flexible("TAGS"),
        Column::Flexible("WHY"),
        Column::Path("PATHS"),
    ]);
    let kept = group
        .keep
        .iter()
        .map(|kept| ("keep", kept.index, kept.reasons.join(", ")));
    let removed = group
        .remove
        .iter()
        .map(|&index| ("remove", index, String::new()));
    for (what, index, why) in kept.chain(removed) {
        let (id, snapshot) = &snapshots[index];
        table.row(vec![
            what.to_owned(),
            id.short(),
            clock(snapshot.time.seconds),
            snapshot.hostname.clone(),
            snapshot.tags.join(","),
            why,
            snapshot.paths.join(", "),
        ]);
    }
    repo.screen.text(&table.render(repo.screen));
}

//! `repo diff`: what is different in another snapshot, in restic's words and JSON.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value, json};
use vault::{DiffCounts, DiffOptions, DiffReport, Reader, diff};

use super::walk::Lines;
use super::{Repo, vault_failure};
use crate::args::RepoDiffArgs;
use crate::exit::{Exit, Failure, chain};
use crate::output::{bytes, printable};

/// Compares two snapshots.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoDiffArgs) -> Result<Exit, Failure> {
    let fail = |error| vault_failure(&error);
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let _lock = repo.lock_to_read(&opened)?;
    let filter = args.latest.filter(repo.settings.host.as_deref());
    let (from, before) = repo.find_snapshot(&opened, &args.from, &filter)?;
    let (to, after) = repo.find_snapshot(&opened, &args.to, &filter)?;
    let (index, damaged) = opened.load_index_to_restore().map_err(fail)?;
    for (id, error) in damaged {
        repo.warn(&format!("index file {id} is left out: {}", chain(&error)));
    }
    let reader = Reader::new(opened, Arc::new(index));
    repo.say(&format!(
        "comparing snapshot {} to {}:\n",
        from.short(),
        to.short()
    ));
    let mut text = Lines::new(repo.screen);
    let options = DiffOptions {
        with_metadata: args.metadata,
    };
    let trees = (before.tree, after.tree);
    let compared = diff(&reader, trees, options, &mut |path, how| {
        let path = String::from_utf8_lossy(path);
        text.push(&match repo.options.json {
            true => json!({"message_type": "change", "path": path, "modifier": how}).to_string(),
            false => format!("{how:<5}{}", printable(&path)),
        });
        match repo.screen.reader_is_gone() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    text.flush();
    let Some(report) = compared.map_err(fail)? else {
        return Ok(Exit::Done);
    };
    if repo.options.json {
        let mut line = statistics_json(&report);
        line["source_snapshot"] = json!(from.to_hex());
        line["target_snapshot"] = json!(to.to_hex());
        repo.screen.json(&line);
    } else {
        print(repo, &report);
    }
    Ok(Exit::Done)
}

fn print(repo: &Repo<'_>, report: &DiffReport) {
    let (added, removed) = (&report.added, &report.removed);
    let row = |title: &str, new: u64, gone: u64, more: &str| {
        repo.say(&format!(
            "{title:<12} {new:>5} new, {gone:>5} removed{more}"
        ));
    };
    let changed = format!(", {:>5} changed", report.changed_files);
    repo.say("");
    row("Files:", added.files, removed.files, &changed);
    row("Dirs:", added.dirs, removed.dirs, "");
    row("Others:", added.others, removed.others, "");
    row("Data Blobs:", added.data_blobs, removed.data_blobs, "");
    row("Tree Blobs:", added.tree_blobs, removed.tree_blobs, "");
    repo.say(&format!("  Added:   {}", bytes(added.bytes)));
    repo.say(&format!("  Removed: {}", bytes(removed.bytes)));
}

fn statistics_json(report: &DiffReport) -> Value {
    let counts = |counts: &DiffCounts| {
        json!({
            "files": counts.files,
            "dirs": counts.dirs,
            "others": counts.others,
            "data_blobs": counts.data_blobs,
            "tree_blobs": counts.tree_blobs,
            "bytes": counts.bytes,
        })
    };
    json!({
        "message_type": "statistics",
        "changed_files": report.changed_files,
        "added": counts(&report.added),
        "removed": counts(&report.removed),
    })
}

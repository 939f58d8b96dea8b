//! `repo stats`: what snapshots take, and what would be free without them.

use serde_json::{Value, json};
use vault::RepositoryStats;

use super::{Repo, vault_failure};
use crate::args::RepoStatsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Table, bytes, clock, count, counted};

/// Prints a row for each snapshot that the filter lets pass, and totals over the whole repository.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoStatsArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let _lock = repo.lock_to_read(&opened)?;
    let mut stats = vault::stats(&opened).map_err(|error| vault_failure(&error))?;
    let filter = args.filter.filter(repo.settings.host.as_deref());
    stats
        .snapshots
        .retain(|(_, snapshot, _)| filter.matches(snapshot));
    if repo.options.json {
        repo.screen.json(&stats_json(&stats));
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("ID"),
        Column::Text("TIME"),
        Column::Flexible("HOST"),
        Column::Number("FILES"),
        Column::Number("RESTORE SIZE"),
        Column::Number("FREE WITHOUT IT"),
        Column::Path("PATHS"),
    ]);
    for (id, snapshot, stats) in &stats.snapshots {
        table.row(vec![
            id.short(),
            clock(snapshot.time.seconds),
            snapshot.hostname.clone(),
            count(stats.file_count),
            bytes(stats.restore_bytes),
            bytes(stats.unique_bytes),
            snapshot.paths.join(", "),
        ]);
    }
    repo.screen.text(&table.render(repo.screen));
    repo.say(&format!(
        "all snapshots need {}, {} stored, {} before compression",
        counted(stats.blob_count, "blob"),
        bytes(stats.stored_bytes),
        bytes(stats.uncompressed_bytes)
    ));
    repo.say(&format!(
        "{} of {}; {} of that needed by no snapshot",
        counted(stats.pack_count, "pack"),
        bytes(stats.pack_bytes),
        bytes(stats.unneeded_bytes)
    ));
    Ok(Exit::Done)
}

/// restic's names where it has them (modes `restore-size` and `raw-data`).
fn stats_json(stats: &RepositoryStats) -> Value {
    let snapshots = &stats.snapshots;
    let list: Vec<Value> = snapshots
        .iter()
        .map(|(id, snapshot, stats)| {
            json!({
                "id": id.to_hex(),
                "short_id": id.short(),
                "time": snapshot.time.to_string(),
                "hostname": snapshot.hostname,
                "total_size": stats.restore_bytes,
                "total_file_count": stats.file_count,
                "unique_blob_count": stats.unique_blob_count,
                "unique_size": stats.unique_bytes,
            })
        })
        .collect();
    let sum = |field: fn(&vault::SnapshotStats) -> u64| -> u64 {
        snapshots.iter().map(|(_, _, stats)| field(stats)).sum()
    };
    let ratio = match stats.stored_bytes {
        0 => 0.0,
        stored => stats.uncompressed_bytes as f64 / stored as f64,
    };
    json!({
        "snapshots_count": snapshots.len(),
        "total_size": sum(|stats| stats.restore_bytes),
        "total_file_count": sum(|stats| stats.file_count),
        "total_blob_count": stats.blob_count,
        "raw_size": stats.stored_bytes,
        "total_uncompressed_size": stats.uncompressed_bytes,
        "compression_ratio": ratio,
        "unneeded_size": stats.unneeded_bytes,
        "pack_count": stats.pack_count,
        "pack_size": stats.pack_bytes,
        "snapshots": list,
    })
}

//! `snapshots`: what can be restored.

use std::cmp::Reverse;

use super::{Context, jobs, lookup};
use crate::args::SnapshotsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, bytes, clock, count, status_paint};
use crate::session::{number, size, text};

/// Letters of the hash that a table shows; as many as restic does.
const SHORT_HASH: usize = 8;

/// Lists the snapshots of one vault or of all, newest first.
pub(crate) fn run(context: &Context, args: &SnapshotsArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let vaults = lookup::vaults_to_search(&session, args.vault.as_deref())?;
    let mut found = Vec::new();
    for vault in &vaults {
        let name = match text(vault, "VaultName") {
            // Who may not ask for the vault sees its id.
            "" => text(vault, "VaultId"),
            name => name,
        };
        let snapshots = lookup::snapshots(&session, text(vault, "VaultId"))?;
        found.extend(
            snapshots
                .into_iter()
                .map(|snapshot| (name.to_owned(), snapshot)),
        );
    }
    found.sort_by_key(|(_, row)| {
        Reverse((
            number(row, "CreatedTime"),
            text(row, "SnapshotId").to_owned(),
        ))
    });
    if args.json {
        for (_, snapshot) in &found {
            context.screen.json(snapshot);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("SNAPSHOT"),
        Column::Text("HASH"),
        Column::Text("CREATED"),
        Column::Text("STATUS"),
        Column::Number("SIZE"),
        Column::Number("ITEMS"),
        Column::Flexible("VAULT"),
        Column::Path("PATHS"),
    ])
    .sparing(&["ITEMS", "STATUS", "VAULT", "SIZE", "HASH"]);
    for (vault, row) in &found {
        let status = text(row, "Status");
        let hash: String = text(row, "SnapshotHash").chars().take(SHORT_HASH).collect();
        let cells = [
            (text(row, "SnapshotId").to_owned(), Paint::Plain),
            (hash, Paint::Plain),
            (clock(number(row, "CreatedTime")), Paint::Plain),
            (status.to_owned(), status_paint(status)),
            (bytes(size(row, "BytesTotal")), Paint::Plain),
            (count(size(row, "ItemsTotal")), Paint::Plain),
            (vault.clone(), Paint::Plain),
            (jobs::paths(row), Paint::Plain),
        ];
        table.painted_row(cells.into());
    }
    context.screen.text(&table.render(&context.screen));
    Ok(Exit::Done)
}

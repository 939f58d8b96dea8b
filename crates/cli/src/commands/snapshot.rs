//! `snapshot hold|release|delete|trash|recover`.

use super::Context;
use crate::args::SnapshotCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Table, clock};
use crate::session::{Parameters, number, rows, text};

/// Runs a verb.
pub(crate) fn run(context: &Context, command: SnapshotCommand) -> Result<Exit, Failure> {
    let of = |snapshot: &str| Parameters::new().with("SnapshotId", snapshot);
    let session = context.session()?;
    match command {
        SnapshotCommand::Hold { snapshot, reason } => {
            session.call("HoldSnapshot", of(&snapshot).with("Reason", reason))?;
            context.screen.line(&format!("{snapshot} is held"));
        }
        SnapshotCommand::Release { snapshot } => {
            session.call("ReleaseSnapshot", of(&snapshot))?;
            context.screen.line(&format!("{snapshot} is held no more"));
        }
        SnapshotCommand::Delete {
            snapshot,
            confirmed,
        } => {
            confirmed.ask(&format!("delete the snapshot {snapshot}?"))?;
            session.call("DeleteSnapshot", of(&snapshot))?;
            context.screen.line(&format!("{snapshot} is deleted"));
        }
        SnapshotCommand::Recover { snapshot } => {
            session.call("RecoverSnapshot", of(&snapshot))?;
            context.screen.line(&format!("{snapshot} is back"));
        }
        SnapshotCommand::Trash { json } => {
            let reply = session.call("ListTrash", Parameters::new())?;
            let mut table = Table::new(&[
                Column::Text("SNAPSHOT"),
                Column::Text("VAULT"),
                Column::Text("UNTIL"),
            ]);
            for row in rows(&reply, &["Snapshots"]) {
                if json {
                    context.screen.json(&row);
                }
                table.row(vec![
                    text(&row, "SnapshotId").to_owned(),
                    text(&row, "VaultId").to_owned(),
                    clock(number(&row, "Until")),
                ]);
            }
            if !json {
                context.screen.text(&table.render(&context.screen));
            }
        }
    }
    Ok(Exit::Done)
}

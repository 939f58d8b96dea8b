//! `ls SNAPSHOT [PATH]`: one folder of a snapshot, through BrowseFiles.

use serde_json::Value;

use super::{Context, lookup};
use crate::args::LsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, bytes};
use crate::session::{Parameters, rows, size, text};

/// Entries asked for at a time; the most that BrowseFiles serves.
const PAGE: u32 = 100;

/// Lists the folder.
pub(crate) fn run(context: &Context, args: &LsArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let snapshot = lookup::snapshot(&session, &args.snapshot, None, args.vault.as_deref())?;
    let base = Parameters::new()
        .with("VaultId", text(&snapshot, "VaultId"))
        .with("SnapshotHash", text(&snapshot, "SnapshotHash"))
        .with("AbsolutePath", absolute(&args.path))
        .with("MaxResults", PAGE);
    let mut table = Table::new(&[
        Column::Text("TYPE"),
        Column::Number("SIZE"),
        Column::Path("NAME"),
    ]);
    let mut token = String::new();
    loop {
        let asked = if token.is_empty() {
            base.clone()
        } else {
            base.clone().with("NextToken", &token)
        };
        let reply = session.call("BrowseFiles", asked)?;
        for node in rows(&reply, &["Nodes", "Node"]) {
            if args.json {
                context.screen.json(&node)
            } else {
                table.painted_row(cells(&node))
            }
        }
        token = text(&reply, "NextToken").to_owned();
        if token.is_empty() {
            break;
        }
    }
    if !args.json {
        context.screen.text(&table.render(&context.screen));
    }
    Ok(Exit::Done)
}

fn cells(node: &Value) -> Vec<(String, Paint)> {
    let kind = text(node, "Type");
    let length = if kind == "file" {
        bytes(size(node, "Size"))
    } else {
        "-".to_owned()
    };
    let paint = if kind == "dir" {
        Paint::Blue
    } else {
        Paint::Plain
    };
    vec![
        (kind.to_owned(), Paint::Plain),
        (length, Paint::Plain),
        (text(node, "Name").to_owned(), paint),
    ]
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

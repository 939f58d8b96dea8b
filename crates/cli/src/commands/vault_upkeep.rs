//! `vault check|prune|tasks|cancel`: how vaults are, and what the service does to keep them well.

use std::time::Instant;

use serde_json::Value;

use super::follow::{Asker, INTERVAL};
use super::{Context, lookup};
use crate::args::VaultCheckArgs;
use crate::exit::{Exit, Failure};
use crate::output::{
    Column, Meter, MeterStyle, Paint, Sample, Table, bytes, clock, count, counted, printable,
    status_paint,
};
use crate::session::{Parameters, Session, number, rows, size, text};
use crate::signals::Interrupts;

/// Findings that are printed; `--json` has more.
const SHOWN: usize = 20;

/// Starts a check and follows it.
pub(crate) fn check(context: &Context, args: &VaultCheckArgs) -> Result<Exit, Failure> {
    let data = match &args.read_data_subset {
        Some(subset) => subset.as_str(),
        None if args.read_data => "all",
        None => "none",
    };
    let session = context.session()?;
    let vault = lookup::vault(&session, &args.vault)?;
    let parameters = Parameters::new()
        .with("VaultId", text(&vault, "VaultId"))
        .with("ReadData", data);
    let reply = session.call("CheckVault", parameters)?;
    go_on(
        context,
        &session,
        text(&reply, "TaskId"),
        args.detach,
        args.json,
    )
}

/// Starts a prune and follows it.
pub(crate) fn prune(
    context: &Context,
    wanted: &str,
    detach: bool,
    json: bool,
) -> Result<Exit, Failure> {
    let session = context.session()?;
    let vault = lookup::vault(&session, wanted)?;
    let parameters = Parameters::new().with("VaultId", text(&vault, "VaultId"));
    let reply = session.call("PruneVault", parameters)?;
    go_on(context, &session, text(&reply, "TaskId"), detach, json)
}

/// Ends a task early.
pub(crate) fn cancel(context: &Context, task: &str) -> Result<Exit, Failure> {
    let parameters = Parameters::new().with("TaskId", task);
    let reply = context.session()?.call("CancelVaultTask", parameters)?;
    context
        .screen
        .line(&format!("{task} is {}", text(&reply, "Status")));
    Ok(Exit::Done)
}

/// Lists tasks, the newest first.
pub(crate) fn tasks(context: &Context, wanted: Option<&str>, json: bool) -> Result<Exit, Failure> {
    let session = context.session()?;
    let mut parameters = Parameters::new().with("PageSize", 99);
    if let Some(wanted) = wanted {
        let vault = lookup::vault(&session, wanted)?;
        parameters = parameters.with("VaultId", text(&vault, "VaultId"));
    }
    let reply = session.call("ListVaultTasks", parameters)?;
    let mut table = Table::new(&[
        Column::Text("TASK"),
        Column::Text("KIND"),
        Column::Text("STATUS"),
        Column::Text("CREATED"),
        Column::Text("VAULT"),
        Column::Flexible("RESULT"),
    ])
    .sparing(&["CREATED", "VAULT"]);
    for row in rows(&reply, &["Tasks"]) {
        if json {
            context.screen.json(&row);
            continue;
        }
        let status = text(&row, "Status");
        let shown = match status {
            "RUNNING" => format!("RUNNING {} %", number(&row, "Progress")),
            status => status.to_owned(),
        };
        let result = match text(&row, "Message") {
            "" => outline(&row),
            message => printable(message),
        };
        table.painted_row(vec![
            (text(&row, "TaskId").to_owned(), Paint::Plain),
            (text(&row, "Kind").to_owned(), Paint::Plain),
            (shown, status_paint(status)),
            (clock(number(&row, "CreatedTime")), Paint::Plain),
            (text(&row, "VaultId").to_owned(), Paint::Dim),
            (result, Paint::Plain),
        ]);
    }
    if !json {
        context.screen.text(&table.render(&context.screen));
    }
    Ok(Exit::Done)
}

/// Puts what DescribeVaultHealth says of each vault into its row, as `Upkeep`. A server without that action leaves the
/// rows as they are.
pub(crate) fn add_health(session: &Session, vaults: &mut [Value]) {
    let Ok(reply) = session.try_call("DescribeVaultHealth", &Parameters::new()) else {
        return;
    };
    let found = rows(&reply, &["Vaults"]);
    for vault in vaults {
        let id = text(vault, "VaultId").to_owned();
        let health = found.iter().find(|row| text(row, "VaultId") == id);
        if let (Some(fields), Some(health)) = (vault.as_object_mut(), health) {
            fields.insert("Upkeep".to_owned(), health.clone());
        }
    }
}

/// The health of a vault whose row has it.
pub(crate) fn health_cell(vault: &Value) -> (String, Paint) {
    let health = vault.get("Upkeep").map_or("", |row| text(row, "Health"));
    let paint = match health {
        "OK" => Paint::Green,
        "DAMAGED" => Paint::Red,
        "CHECK_FAILED" | "PRUNE_FAILED" | "CATALOG_BACKUP_FAILED" => Paint::Amber,
        _ => Paint::Dim,
    };
    (health.to_owned(), paint)
}

/// Follows a task to its end, unless it is to be left alone.
pub(crate) fn go_on(
    context: &Context,
    session: &Session,
    task_id: &str,
    detach: bool,
    json: bool,
) -> Result<Exit, Failure> {
    if detach {
        context.screen.line(task_id);
        return Ok(Exit::Done);
    }
    let row = follow(context, session, task_id)?;
    if json {
        context.screen.json(&row);
    } else {
        tell(context, &row);
    }
    let message = printable(text(&row, "Message"));
    match text(&row, "Status") {
        "COMPLETE" if !has_failed_packs(&row) => Ok(Exit::Done),
        "COMPLETE" => Ok(Exit::Partial),
        "FAILED" if row.pointer("/Result/Check").is_some_and(Value::is_object) => {
            Err(Failure::new(
                message,
                "copy the vault's storage before anything else; then: strongroom repo repair --help",
            ))
        }
        "FAILED" => Err(Failure::with(
            Exit::JobFailed,
            format!("{task_id} failed: {message}"),
            "mend what it names and start it again",
        )),
        status => Err(Failure::with(
            Exit::JobFailed,
            format!("{task_id} is {status}"),
            "start it again: it changes nothing that was done",
        )),
    }
}

fn has_failed_packs(row: &Value) -> bool {
    row.pointer("/Result/Prune/Failed")
        .and_then(Value::as_array)
        .is_some_and(|failed| !failed.is_empty())
}

/// Asks until the task has ended; shows how far it is.
fn follow(context: &Context, session: &Session, task_id: &str) -> Result<Value, Failure> {
    let interrupts = Interrupts::listen()?;
    let screen = &context.screen;
    let start = Instant::now();
    let mut meter = Meter::new(screen, MeterStyle::for_screen(screen), task_id, start);
    let mut asker = Asker::new(session);
    let parameters = Parameters::new().with("TaskId", task_id);
    loop {
        if let Some(reply) = asker.ask("ListVaultTasks", &parameters)? {
            let row = rows(&reply, &["Tasks"]).into_iter().next();
            let row = row.unwrap_or(Value::Null);
            if row.get("CompletedTime").is_some_and(Value::is_i64) {
                meter.finish();
                return Ok(row);
            }
            let sample = Sample {
                phase: match text(&row, "Status") {
                    "RUNNING" => format!("{} %", number(&row, "Progress")),
                    status => status.to_ascii_lowercase(),
                },
                elapsed: start.elapsed(),
                ..Sample::default()
            };
            if interrupts.take_report_wish() {
                meter.print(&sample, Instant::now());
            } else {
                meter.show(&sample, Instant::now());
            }
        }
        if interrupts.wait(INTERVAL) {
            meter.finish();
            return Err(Failure::with(
                Exit::Interrupted,
                format!("interrupted; {task_id} goes on in the service"),
                format!("to stop it: strongroom vault cancel {task_id}"),
            ));
        }
    }
}

fn tell(context: &Context, row: &Value) {
    let screen = &context.screen;
    let texts = |pointer: &str| -> Vec<String> {
        let found = row.pointer(pointer).and_then(Value::as_array);
        let words = found.into_iter().flatten().filter_map(Value::as_str);
        words.map(printable).take(SHOWN).collect()
    };
    for (label, pointer) in [
        ("error", "/Result/Check/Errors"),
        ("touched", "/Result/Check/TouchedPaths"),
        ("note", "/Result/Check/Hints"),
        ("error", "/Result/Prune/Failed"),
    ] {
        for line in texts(pointer) {
            screen.note(&format!("{label}: {line}"));
        }
    }
    let status = text(row, "Status");
    let painted = screen.paint(status_paint(status), status);
    screen.line(&format!(
        "{}  {painted}  {}",
        text(row, "TaskId"),
        outline(row)
    ));
}

/// What came of a task, in one line.
fn outline(row: &Value) -> String {
    let mut said = Vec::new();
    if let Some(check) = row
        .pointer("/Result/Check")
        .filter(|found| found.is_object())
    {
        said.push(format!(
            "{}, {}, {}",
            counted(size(check, "Snapshots"), "snapshot"),
            counted(size(check, "Packs"), "pack"),
            counted(size(check, "Blobs"), "blob")
        ));
        if size(check, "BytesRead") > 0 {
            said.push(format!("read {}", bytes(size(check, "BytesRead"))));
        }
        let errors = size(check, "StructureErrors") + size(check, "DataErrors");
        if errors == 0 {
            said.push("no damage".to_owned());
        }
    }
    if let Some(prune) = row
        .pointer("/Result/Prune")
        .filter(|found| found.is_object())
    {
        said.push(format!("freed {}", bytes(size(prune, "DeletedBytes"))));
        if size(prune, "MarkedBytes") > 0 {
            said.push(format!(
                "marked {} for a later prune",
                bytes(size(prune, "MarkedBytes"))
            ));
        }
        said.push(format!("needed {}", bytes(size(prune, "UsedBytes"))));
    }
    if let Some(catalog) = row
        .pointer("/Result/Catalog")
        .filter(|found| found.is_object())
    {
        let hash = text(catalog, "SnapshotHash");
        said.push(format!(
            "{} in snapshot {}, added {}",
            bytes(size(catalog, "Bytes")),
            hash.get(..8).unwrap_or(hash),
            bytes(size(catalog, "AddedBytes"))
        ));
        if size(catalog, "RemovedSnapshots") > 0 {
            let removed = size(catalog, "RemovedSnapshots");
            said.push(format!("removed {} older ones", count(removed)));
        }
    }
    let missing = row
        .get("Result")
        .map_or(0, |result| size(result, "MissingSnapshots"));
    if missing > 0 {
        said.push(format!(
            "{} removed by another program",
            counted(missing, "snapshot")
        ));
    }
    said.join("; ")
}

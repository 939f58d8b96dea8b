//! `jobs events`, `jobs errors`, `jobs report`: what is told of one backup job or restore job.

use std::io::{ErrorKind, Write};

use serde_json::Value;

use super::{Context, jobs, lookup};
use crate::args::{JobRecordArgs, ReportArg, ReportArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, clock, printable, status_paint};
use crate::session::{Parameters, Session, number, rows, size, text};

/// Rows of one call.
const PAGE_ROWS: u64 = 100;

/// Each change of a job's state.
pub(crate) fn events(context: &Context, args: &JobRecordArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let mut table = Table::new(&[
        Column::Text("TIME"),
        Column::Text("STATUS"),
        Column::Number("ATTEMPT"),
        Column::Number("EPOCH"),
        Column::Text("AGENT"),
        Column::Flexible("MESSAGE"),
    ])
    .sparing(&["EPOCH", "AGENT"]);
    each(&session, "ListJobEvents", "Events", &args.job, |event| {
        if args.json {
            context.screen.json(event);
            return;
        }
        let status = text(event, "Status");
        let cells = [
            (clock(number(event, "Time")), Paint::Plain),
            (status.to_owned(), status_paint(status)),
            (number(event, "Attempt").to_string(), Paint::Plain),
            (number(event, "Epoch").to_string(), Paint::Plain),
            (text(event, "ClientId").to_owned(), Paint::Dim),
            (printable(text(event, "Message")), Paint::Plain),
        ];
        table.painted_row(cells.into());
    })?;
    if !args.json {
        context.screen.text(&table.render(&context.screen));
    }
    Ok(Exit::Done)
}

/// Each item that a job could not read or write: one a line, as they come.
pub(crate) fn errors(context: &Context, args: &JobRecordArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    each(&session, "ListJobErrors", "Errors", &args.job, |error| {
        if args.json {
            context.screen.json(error);
        } else {
            context.screen.line(&format!(
                "{}: {}: {}",
                printable(text(error, "Path")),
                printable(text(error, "Operation")),
                printable(text(error, "Message"))
            ));
        }
    })?;
    Ok(Exit::Done)
}

/// All rows of a list, page after page.
fn each(
    session: &Session,
    action: &str,
    list: &str,
    job: &str,
    mut take: impl FnMut(&Value),
) -> Result<(), Failure> {
    let mut page = 1;
    loop {
        let parameters = Parameters::new()
            .with("JobId", job)
            .with("PageNumber", page)
            .with("PageSize", PAGE_ROWS);
        let reply = session.call(action, parameters)?;
        rows(&reply, &[list]).iter().for_each(&mut take);
        if page * PAGE_ROWS >= size(&reply, "TotalCount") {
            return Ok(());
        }
        page += 1;
    }
}

/// A list of a job's `Report`, as CSV.
pub(crate) fn report(context: &Context, args: &ReportArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let (found, why) = if jobs::is_restore(&args.job) {
        (
            lookup::restore_job(&session, &args.job)?,
            "the lists of a restore job are those of what failed",
        )
    } else {
        (
            lookup::job(&session, &args.job)?,
            "there is a list once the job has ended, and none of what failed when nothing did",
        )
    };
    let found = found.ok_or_else(|| jobs::no_such_job(&args.job))?;
    let name = match args.list {
        ReportArg::Failed => "FailedFiles",
        ReportArg::Success => "SuccessFiles",
        ReportArg::Total => "TotalFiles",
    };
    let key = found.pointer(&format!("/Report/{name}"));
    let Some(key) = key.and_then(Value::as_str) else {
        let what = format!("{} has no {name}", args.job);
        return Err(Failure::with(Exit::NotFound, what, why));
    };
    let parameters = Parameters::new().with("TempFileKey", key);
    let reply = session.call("GetTempFileDownloadLink", parameters)?;
    let mut out = context.screen.raw_out();
    session.download(text(&reply, "Url"), &mut *out)?;
    match out.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            format!("cannot write to standard output: {error}"),
            "look at where it goes",
        )),
        _ => Ok(Exit::Done),
    }
}

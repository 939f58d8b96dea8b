//! `jobs`, `job show`, `job cancel`. Histories in and out are in [`super::job_history`].

use std::time::Duration;

use serde_json::Value;

use super::{Context, job_history, job_records, lookup};
use crate::args::{JobCommand, JobsArgs, JobsCommand, SortArg};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, bytes, clock, duration, printable, status_paint};
use crate::session::{Parameters, Session, number, rows, size, text};
use crate::signals::Interrupts;

/// Between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Moves to the upper left corner of a terminal and clears it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// `strongroom jobs`: the list, watched or not, or a history in or out.
pub(crate) fn run(context: &Context, args: &JobsArgs) -> Result<Exit, Failure> {
    match &args.command {
        Some(JobsCommand::Import { file }) => job_history::import(context, file),
        Some(JobsCommand::Export) => job_history::export(context),
        Some(JobsCommand::Events(args)) => job_records::events(context, args),
        Some(JobsCommand::Errors(args)) => job_records::errors(context, args),
        Some(JobsCommand::Report(args)) => job_records::report(context, args),
        None if args.watch => watch(context, args),
        None => {
            let session = context.session()?;
            let asked = asked(&session, args)?;
            list(context, &session, &asked, args, "")
        }
    }
}

/// Shows the list anew until it is interrupted or its reader goes away.
fn watch(context: &Context, args: &JobsArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let asked = asked(&session, args)?;
    let interrupts = Interrupts::listen()?;
    let before = if context.screen.width().is_some() {
        CLEAR
    } else {
        ""
    };
    while !interrupts.interrupted() && !context.screen.reader_is_gone() {
        list(context, &session, &asked, args, before)?;
        interrupts.wait(WATCH_INTERVAL);
    }
    Ok(Exit::Done)
}

/// The question. A vault that is named must be there; one of an id may be known to an imported history alone.
fn asked(session: &Session, args: &JobsArgs) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::new()
        .with_some("SourceType", args.source_type)
        .with("PageNumber", args.page)
        .with("PageSize", args.page_size)
        .with(
            "SortDirection",
            if args.sort == SortArg::Ascend {
                "ASCEND"
            } else {
                "DESCEND"
            },
        );
    for row in &args.filters.rows {
        if let [key, operator, values @ ..] = row.as_slice() {
            parameters = parameters.filter(key, Some(operator), values);
        }
    }
    if !args.status.is_empty() {
        let words: Vec<&str> = args.status.iter().map(|status| status.as_str()).collect();
        parameters = parameters.filter("Status", Some("IN"), &words);
    }
    if let Some(wanted) = &args.vault {
        let vault_id = lookup::vault_id(session, wanted)?;
        parameters = parameters.filter("VaultId", Some("EQUAL"), &[vault_id]);
    }
    Ok(parameters)
}

/// Lists one page of jobs, after what is printed before it.
fn list(
    context: &Context,
    session: &Session,
    asked: &Parameters,
    args: &JobsArgs,
    before: &str,
) -> Result<Exit, Failure> {
    let reply = session.call("DescribeBackupJobs2", asked.clone())?;
    let jobs = rows(&reply, &["BackupJobs", "BackupJob"]);
    if args.json {
        for job in &jobs {
            context.screen.json(job);
        }
        return Ok(Exit::Done);
    }
    let table = job_table(&jobs).render(&context.screen);
    context.screen.text(&format!("{before}{table}"));
    let total = size(&reply, "TotalCount");
    let pages = total.div_ceil(u64::from(args.page_size)).max(1);
    let page = u64::from(args.page);
    if page > pages {
        context.screen.note(&format!(
            "there is no page {page}: {total} jobs are {pages} pages"
        ));
    } else if pages > 1 {
        context.screen.note(&format!(
            "page {page} of {pages}, {total} jobs; --page N shows more"
        ));
    }
    Ok(Exit::Done)
}

fn job_table(jobs: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("JOB"),
        Column::Text("STATUS"),
        Column::Number("PROGRESS"),
        Column::Text("CREATED"),
        Column::Number("DURATION"),
        Column::Number("SIZE"),
        Column::Number("ADDED"),
        Column::Path("PATHS"),
    ])
    .sparing(&["ADDED", "DURATION", "PROGRESS", "SIZE"]);
    for job in jobs {
        let status = text(job, "Status");
        let cells = [
            (text(job, "JobId").to_owned(), Paint::Plain),
            (status.to_owned(), status_paint(status)),
            (
                format!("{:.1}%", number(job, "Progress") as f64 / 100.0),
                Paint::Plain,
            ),
            (clock(number(job, "CreatedTime")), Paint::Plain),
            (
                job_duration(job).map_or_else(|| "-".to_owned(), duration),
                Paint::Plain,
            ),
            (bytes(size(job, "BytesTotal")), Paint::Plain),
            (bytes(size(job, "ActualBytes")), Paint::Plain),
            (paths(job), Paint::Plain),
        ];
        table.painted_row(cells.into());
    }
    table
}

/// Time from start to end, in whole seconds; none while it has not ended.
pub(crate) fn job_duration(job: &Value) -> Option<Duration> {
    let (start, end) = (number(job, "StartTime"), number(job, "CompleteTime"));
    (start > 0 && end >= start).then(|| Duration::from_secs((end - start).unsigned_abs()))
}

/// The paths of a job or plan, for one cell.
pub(crate) fn paths(row: &Value) -> String {
    let paths = rows(row, &["Paths", "Path"]);
    let names: Vec<&str> = paths.iter().filter_map(Value::as_str).collect();
    if names.is_empty() {
        "(whole host)".to_owned()
    } else {
        names.join(", ")
    }
}

/// Shows or cancels one job.
pub(crate) fn one(context: &Context, command: JobCommand) -> Result<Exit, Failure> {
    match command {
        JobCommand::Show { job, json } => show(context, &job, json),
        JobCommand::Cancel { job } => cancel(context, &job),
    }
}

/// No job has this id.
pub(crate) fn no_such_job(job: &str) -> Failure {
    Failure::with(
        Exit::NotFound,
        format!("there is no job {job:?}"),
        "look for it: strongroom jobs",
    )
}

pub(crate) fn is_restore(job: &str) -> bool {
    job.starts_with("r-")
}

fn show(context: &Context, job: &str, as_json: bool) -> Result<Exit, Failure> {
    let session = context.session()?;
    let found = if is_restore(job) {
        lookup::restore_job(&session, job)?
    } else {
        lookup::job(&session, job)?
    };
    let found = found.ok_or_else(|| no_such_job(job))?;
    if as_json {
        context.screen.json(&found);
    } else {
        context.screen.text(&field_list(&found));
    }
    Ok(Exit::Done)
}

/// All fields of an object, one a line, times and sizes for people.
fn field_list(value: &Value) -> String {
    let Some(fields) = value.as_object() else {
        return String::new();
    };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    fields
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", printable(&field(name, value))))
        .collect()
}

fn field(name: &str, value: &Value) -> String {
    let list = |value: &Value| -> Option<String> {
        let names: Vec<&str> = value.as_array()?.iter().filter_map(Value::as_str).collect();
        Some(names.join(", "))
    };
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if name.ends_with("Time") => clock(number.as_i64().unwrap_or(0)),
        Value::Number(number) if name.contains("Bytes") => {
            let count = number.as_u64().unwrap_or(0);
            format!("{} ({count})", bytes(count))
        }
        Value::Number(number) if name == "Progress" => {
            format!("{:.2}%", number.as_f64().unwrap_or(0.0) / 100.0)
        }
        Value::Number(number) if name == "Speed" => format!("{number} KB/s"),
        Value::Object(object) => object
            .values()
            .next()
            .and_then(list)
            .unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

fn cancel(context: &Context, job: &str) -> Result<Exit, Failure> {
    let session = context.session()?;
    let (action, name) = if is_restore(job) {
        ("CancelRestoreJob", "RestoreId")
    } else {
        ("CancelBackupJob", "JobId")
    };
    session.call(action, Parameters::new().with(name, job))?;
    context.screen.line(&format!("{job} is being cancelled"));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::{field_list, job_duration, paths};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn durations_need_a_start_and_an_end() {
        assert_eq!(
            job_duration(&json!({"StartTime": 10, "CompleteTime": 75})),
            Some(Duration::from_secs(65))
        );
        assert_eq!(job_duration(&json!({"StartTime": 10})), None);
        assert_eq!(job_duration(&json!({"CompleteTime": 10})), None);
    }

    #[test]
    fn fields_are_for_people() {
        let job = json!({"JobId": "job-1", "Progress": 5050, "BytesTotal": 2048, "Speed": 7, "Paths": {"Path": ["/a\u{1b}", "/b"]}});
        let expected = "JobId       job-1\nProgress    50.50%\nBytesTotal  2.000 KiB (2048)\nSpeed       7 KB/s\nPaths       /a\\x1b, /b\n";
        assert_eq!(field_list(&job), expected);
        assert_eq!(paths(&job), "/a\u{1b}, /b");
        assert_eq!(paths(&json!({})), "(whole host)");
    }
}

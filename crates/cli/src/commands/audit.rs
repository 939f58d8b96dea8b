//! `audit verify` and `audit export`: the log of what was changed, checked or printed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use model::audit::{Head, Verifier};
use serde_json::Value;

use super::Context;
use crate::args::AuditCommand;
use crate::exit::{Exit, Failure};
use crate::output::printable;
use crate::session::{Parameters, number, rows, text};

/// Entries of one call.
const PAGE: u64 = 1_000;

/// Runs a verb.
pub(crate) fn run(context: &Context, command: &AuditCommand) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Verify { file, head } => verify(context, file.as_deref(), head.as_deref()),
        AuditCommand::Export { after, json } => export(context, *after, *json),
    }
}

/// Hands each entry of the service's log to `take`, oldest first, until it says `false`.
fn each(
    context: &Context,
    mut after: u64,
    wants_whole: bool,
    take: &mut dyn FnMut(&Value) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let session = context.session()?;
    loop {
        let parameters = Parameters::new()
            .with("AfterSeq", after)
            .with("MaxResults", PAGE);
        let reply = session.call("ListAuditEntries", parameters)?;
        if wants_whole && reply["IsWhole"] != Value::Bool(true) {
            return Err(Failure::with(
                Exit::Refused,
                "only the operator's root key sees the whole log, and a part of it cannot be verified",
                "sign with the key in credentials.json of the data directory",
            ));
        }
        let entries = rows(&reply, &["Entries"]);
        for entry in &entries {
            after = number(entry, "Seq").unsigned_abs();
            if !take(entry)? {
                return Ok(());
            }
        }
        if (entries.len() as u64) < PAGE {
            return Ok(());
        }
    }
}

fn export(context: &Context, after: u64, json: bool) -> Result<Exit, Failure> {
    let screen = &context.screen;
    each(context, after, false, &mut |row| {
        if json {
            screen.text(&format!("{row}\n"));
        } else {
            let entry = &row["Entry"];
            let time = jiff::Timestamp::from_second(number(entry, "Time"))
                .map_or_else(|_| "?".to_owned(), |time| time.to_string());
            let target = entry["Target"]
                .as_object()
                .map_or_else(String::new, |target| {
                    let words = target.iter().map(|(name, value)| {
                        format!(" {name}={}", value.as_str().unwrap_or_default())
                    });
                    words.collect()
                });
            let result = match text(entry, "Code") {
                "" => "begins",
                code => code,
            };
            screen.line(&printable(&format!(
                "{:>6} {time} {} {} {} {result}{target}",
                number(row, "Seq"),
                text(entry, "SourceIp"),
                text(entry, "Principal"),
                text(entry, "Action"),
            )));
        }
        Ok(!screen.reader_is_gone())
    })?;
    Ok(Exit::Done)
}

fn verify(context: &Context, file: Option<&Path>, head: Option<&str>) -> Result<Exit, Failure> {
    let noted = head
        .map(|text| {
            Head::parse(text).ok_or_else(|| {
                Failure::usage(
                    format!("{text:?} is not a head"),
                    "write SEQ:HASH as `audit verify` prints it",
                )
            })
        })
        .transpose()?;
    let mut verifier = Verifier::from(Head::start());
    let mut reached = noted.as_ref().is_none_or(|noted| *noted == Head::start());
    let mut follow = |row: &Value| {
        let seq = number(row, "Seq");
        let entry = row["Entry"].to_string();
        verifier
            .follow(seq, &entry, text(row, "Hash"))
            .map_err(|error| broken(format!("{error}; whole up to {}", verifier.head())))?;
        if let Some(noted) = &noted
            && noted.seq == seq
        {
            if noted != verifier.head() {
                return Err(broken(format!(
                    "entry {seq} has another hash than the given head: the log was rewritten"
                )));
            }
            reached = true;
        }
        Ok(true)
    };
    match file {
        None => each(context, 0, true, &mut follow)?,
        Some(path) => each_line(path, &mut follow)?,
    }
    if !reached {
        return Err(broken(format!(
            "the log ends at {}, before the given head: entries were removed",
            verifier.head()
        )));
    }
    context.screen.line(&verifier.head().to_string());
    Ok(Exit::Done)
}

fn broken(what: String) -> Failure {
    Failure::new(
        format!("the audit log is broken: {what}"),
        "somebody changed the catalog or the file; compare it with a copy, and change the keys",
    )
}

fn each_line(
    path: &Path,
    take: &mut dyn FnMut(&Value) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!("cannot read {}: {error}", path.display()),
            "name a file of lines as `audit export --json` prints them",
        )
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| unreadable(&error))?;
        let row: Value = serde_json::from_str(&line).map_err(|error| unreadable(&error))?;
        if !take(&row)? {
            break;
        }
    }
    Ok(())
}

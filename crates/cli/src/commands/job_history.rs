//! `jobs import` and `jobs export`: the history of backup jobs as lines of JSON, in and out.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Screen, count, counted};
use crate::session::{Parameters, Session, rows, size, text};

/// Bytes of lines in one call: encoded they take up to three times as much, and a request may have 4 MiB.
const BATCH_BYTES: usize = 1 << 20;
/// Jobs of one exported page.
const PAGE_JOBS: u64 = 1_000;
/// States that a job can be imported in.
const ENDED: [&str; 6] = [
    "COMPLETE",
    "PARTIAL_COMPLETE",
    "FAILED",
    "CANCELED",
    "EXPIRED",
    "UNAVAILABLE",
];

/// Reads lines from a file or standard input (`-`) and imports them, batch after batch.
pub(crate) fn import(context: &Context, path: &Path) -> Result<Exit, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            format!("cannot read {}: {error}", path.display()),
            "name a file of lines as jobs export prints them, or - for standard input",
        )
    };
    let (input, bytes): (Box<dyn Read>, Option<u64>) = if path == Path::new("-") {
        (Box::new(std::io::stdin().lock()), None)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        (Box::new(file), Some(bytes))
    };
    let session = context.session()?;
    let mut lines = BufReader::with_capacity(BATCH_BYTES, input);
    let mut import = Import::new(&session, &context.screen, bytes);
    let mut line_number = 0u64;
    let mut batch = String::new();
    let mut first_line = 1;
    loop {
        let before = batch.len();
        let is_end = lines.read_line(&mut batch).map_err(unreadable)? == 0;
        line_number += u64::from(!is_end);
        let line_bytes = batch.len() - before;
        // Without this line the batch is as long as it may be.
        if !is_end && before > 0 && batch.len() > BATCH_BYTES {
            let line = batch.split_off(before);
            import.send(&batch, first_line)?;
            (batch, first_line) = (line, line_number);
        }
        import.bytes_read += line_bytes as u64;
        if is_end {
            import.send(&batch, first_line)?;
            break;
        }
    }
    import.finish();
    Ok(Exit::Done)
}

struct Import<'a> {
    session: &'a Session,
    screen: &'a Screen,
    bar: Option<ProgressBar>,
    began: Instant,
    bytes_read: u64,
    imported: u64,
    known: u64,
}

impl<'a> Import<'a> {
    fn new(session: &'a Session, screen: &'a Screen, bytes: Option<u64>) -> Self {
        let bar = screen.stderr_is_terminal.then(|| {
            let bar = screen
                .bars()
                .add(bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
            let template = if bytes.is_some() {
                "import [{bar:24}] {percent:>3}%  {wide_msg}"
            } else {
                "import {spinner}  {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self {
            session,
            screen,
            bar,
            began: Instant::now(),
            bytes_read: 0,
            imported: 0,
            known: 0,
        }
    }

    fn send(&mut self, batch: &str, first_line: u64) -> Result<(), Failure> {
        if batch.trim().is_empty() {
            return Ok(());
        }
        let reply = self
            .session
            .call("ImportBackupJobs", Parameters::new().with("Jobs", batch))
            .map_err(|failure| Failure {
                what: in_the_input(&failure.what, first_line),
                ..failure
            })?;
        self.imported += size(&reply, "Imported");
        self.known += size(&reply, "Known");
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes_read);
            let done = self.imported + self.known;
            bar.set_message(format!(
                "{} jobs  {} a second",
                count(done),
                count(per_second(done, self.began))
            ));
        }
        Ok(())
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        let done = self.imported + self.known;
        self.screen.line(&format!(
            "{} jobs imported, {} were there already, {} a second",
            count(self.imported),
            count(self.known),
            count(per_second(done, self.began))
        ));
    }
}

/// What the service says of a line of a batch, told of the line of the input. A batch is imported whole or not at all.
fn in_the_input(what: &str, first_line: u64) -> String {
    let before = first_line - 1;
    let told = what.split_once(" line ").and_then(|(head, rest)| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let line: u64 = rest[..end].parse().ok()?;
        Some(format!("{head} line {}{}", before + line, &rest[end..]))
    });
    let told = told.as_deref().unwrap_or(what);
    match before {
        0 => format!("{told} (nothing was imported)"),
        _ => format!(
            "{told} ({} before line {first_line} imported, and nothing from there on)",
            counted(before, "line")
        ),
    }
}

fn per_second(done: u64, began: Instant) -> u64 {
    (done as f64 / began.elapsed().as_secs_f64().max(0.001)) as u64
}

/// Prints all jobs that have ended, oldest first, each as a line that `jobs import` takes.
pub(crate) fn export(context: &Context) -> Result<Exit, Failure> {
    let session = context.session()?;
    for page_number in 1u64.. {
        let parameters = Parameters::new()
            .with("PageNumber", page_number)
            .with("PageSize", PAGE_JOBS);
        let reply = session.call("ExportBackupJobs", parameters)?;
        let jobs = rows(&reply, &["Jobs"]);
        let lines: String = jobs
            .iter()
            .filter(|line| has_ended(line))
            .map(|line| format!("{line}\n"))
            .collect();
        context.screen.text(&lines);
        if (jobs.len() as u64) < PAGE_JOBS || context.screen.reader_is_gone() {
            break;
        }
    }
    Ok(Exit::Done)
}

fn has_ended(line: &Value) -> bool {
    ENDED.contains(&text(&line["Job"], "Status"))
}

#[cfg(test)]
mod tests {
    use super::in_the_input;

    #[test]
    fn lines_are_those_of_the_input() {
        let what =
            "InvalidParameter.Jobs: Jobs is not valid: line 35: no Status at line 1 (RequestId A)";
        assert_eq!(
            in_the_input(what, 1_001),
            "InvalidParameter.Jobs: Jobs is not valid: line 1035: no Status at line 1 (RequestId A) (1,000 lines before line \
             1001 imported, and nothing from there on)"
        );
        assert_eq!(
            in_the_input("Jobs: line 3: wrong", 1),
            "Jobs: line 3: wrong (nothing was imported)"
        );
        assert_eq!(
            in_the_input("away", 2),
            "away (1 line before line 2 imported, and nothing from there on)"
        );
    }
}

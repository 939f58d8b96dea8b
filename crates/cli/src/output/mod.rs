//! What a person or a script sees: lines, tables, JSON lines, progress.
//!
//! Results go to standard output, progress, warnings and errors to standard error. Colours and bars only on a terminal
//! and without `NO_COLOR`. Text from outside (names of files above all) never reaches a terminal with control
//! characters in it. A reader that goes away (`strongroom jobs | head`) is no error: what is printed after that is dropped,
//! and the work goes on or ends quietly, never leaving a lock behind.

mod harmless;
mod human;
mod progress;
mod table;

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;

use crate::exit::Failure;

pub(crate) use human::{bytes, clock, count, counted, duration, printable, rate, shell_quoted};
pub(crate) use progress::{Meter, MeterStyle, Sample};
pub(crate) use table::{Column, Table};

/// The two standard streams and what they can show.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// Standard error is a terminal that can be redrawn.
    pub(crate) stderr_is_terminal: bool,
    colours: bool,
    width: Option<usize>,
    bars: MultiProgress,
    reader_is_gone: Arc<AtomicBool>,
}

/// Colours of a state, never the only sign of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it is.
    Plain,
    /// All is well.
    Green,
    /// Partly well.
    Amber,
    /// Not well.
    Red,
    /// Under way.
    Blue,
    /// Less important.
    Dim,
    /// Headings.
    Bold,
}

impl Screen {
    /// Looks at the streams and the environment.
    pub(crate) fn detect() -> Self {
        let stdout_is_terminal = std::io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = stdout_is_terminal.then(terminal_width).flatten();
        Self {
            stderr_is_terminal: std::io::stderr().is_terminal() && !dumb,
            colours: stdout_is_terminal && !no_color && !dumb,
            width,
            bars: MultiProgress::new(),
            reader_is_gone: Arc::default(),
        }
    }

    /// Columns that a table may use; none means that nothing is cut.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// All progress bars.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// One line of a result.
    pub(crate) fn line(&self, text: &str) {
        self.write(|out| writeln!(out, "{text}"));
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json(&self, value: &serde_json::Value) {
        self.write(|out| writeln!(out, "{value}"));
    }

    /// Many lines of a result at once.
    pub(crate) fn text(&self, text: &str) {
        self.write(|out| out.write_all(text.as_bytes()));
    }

    /// One line beside the result: what is going on.
    pub(crate) fn note(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        });
    }

    /// The two lines of a failure.
    pub(crate) fn failure(&self, failure: &Failure) {
        let (what, next) = (printable(&failure.what), printable(&failure.next));
        if next.is_empty() {
            self.note(&format!("error: {what}"))
        } else {
            self.note(&format!("error: {what}\n  next: {next}"))
        }
    }

    /// `text` in a colour, if there are colours.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Green => "32",
            Paint::Amber => "33",
            Paint::Red => "31",
            Paint::Blue => "34",
            Paint::Dim => "2",
            Paint::Bold => "1",
            Paint::Plain => return text.to_owned(),
        };
        if self.colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// True once the reader of standard output went away: no need to find more to print.
    pub(crate) fn reader_is_gone(&self) -> bool {
        self.reader_is_gone.load(Ordering::Relaxed)
    }

    /// Standard output for text from outside as it comes: on a terminal its control characters are written as escapes, a
    /// file or a pipe gets every byte.
    pub(crate) fn raw_out(&self) -> Box<dyn Write> {
        let out = std::io::stdout().lock();
        match out.is_terminal() {
            true => Box::new(harmless::Harmless::new(out)),
            false => Box::new(out),
        }
    }

    /// Writes to standard output and flushes, so that scripts see each line at once.
    fn write(&self, print: impl Fn(&mut dyn Write) -> std::io::Result<()>) {
        if self.reader_is_gone() {
            return;
        }
        let done = self.bars.suspend(|| {
            let mut out = std::io::stdout().lock();
            print(&mut out).and_then(|()| out.flush())
        });
        if let Err(error) = done {
            self.reader_is_gone.store(true, Ordering::Relaxed);
            if error.kind() != ErrorKind::BrokenPipe {
                self.note(&format!("error: cannot write to standard output: {error}"));
            }
        }
    }
}

/// The colour of a status of the API.
pub(crate) fn status_paint(status: &str) -> Paint {
    match status {
        "COMPLETE" | "CREATED" | "ACTIVATED" => Paint::Green,
        "PARTIAL_COMPLETE" => Paint::Amber,
        "FAILED" | "ERROR" | "UNAVAILABLE" | "EXPIRED" => Paint::Red,
        "RUNNING" | "QUEUED" | "CANCELING" | "INITIALIZING" => Paint::Blue,
        _ => Paint::Dim,
    }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col >= 20).then_some(usize::from(size.ws_col))
}

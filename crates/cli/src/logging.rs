//! The log: what server and agent tell an operator, on standard error, above progress bars and never through them.
//!
//! `STRONGROOM_LOG` says how much, as `info` or `agent=debug,server=info`; `warn` if it is not set.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::exit::Failure;
use crate::output::Screen;

const VARIABLE: &str = "STRONGROOM_LOG";
const DEFAULT: &str = "warn";

/// Starts the log.
pub(crate) fn start(screen: &Screen) -> Result<(), Failure> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let wanted = if text.is_empty() { DEFAULT } else { &text };
    let filter = EnvFilter::try_new(wanted).map_err(|error| {
        Failure::usage(
            format!("{VARIABLE}={text} is not valid: {error}"),
            "set it to error, warn, info, debug or trace",
        )
    })?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .with_target(true)
        .with_writer(AboveBars(screen.bars().clone()))
        .init();
    Ok(())
}

/// Writes lines while the bars are out of the way.
#[derive(Clone)]
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .suspend(|| io::stderr().lock().write_all(bytes))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

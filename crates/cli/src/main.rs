//! The binary `strongroom`: the commands.
//!
//! Owns the command line, what people and scripts see, and the joining of server and agent in `serve`. Never holds
//! logic of backups or of the API: each command is a client of the API like any other, or one call of the engine.
//!
//! Modules in reading order: `args` (what can be typed), `commands` (what it does), `session` (calls of the API),
//! `refusal` (what it refuses), `environment`, `secrets`, `paths` (what comes from outside), `output` (what is shown), `signals`, `exit`.

mod args;
mod commands;
mod environment;
mod exit;
mod logging;
mod output;
mod paths;
mod refusal;
mod secrets;
mod session;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = args::Cli::try_parse().unwrap_or_else(|error| {
        let words = std::env::args_os().skip(1);
        if error.use_stderr() && commands::prints_for_a_shell(words) {
            output::Screen::detect().line(commands::FAILED_LINE);
        }
        error.exit()
    });
    let screen = output::Screen::detect();
    let done = logging::start(&screen).and_then(|()| commands::run(cli, &screen));
    let exit = done.unwrap_or_else(|failure| {
        screen.failure(&failure);
        failure.exit
    });
    let exit = if exit == Exit::Done && screen.reader_is_gone() {
        Exit::ReaderGone
    } else {
        exit
    };
    ExitCode::from(exit.code())
}

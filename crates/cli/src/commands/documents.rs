//! `completion`, `man`, `version`: all from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use serde_json::json;

use super::Context;
use crate::args::{Cli, ShellArg};
use crate::exit::{Exit, Failure};

/// Prints a completion script.
pub(crate) fn completion(context: &Context, shell: ShellArg) -> Result<Exit, Failure> {
    let shell = match shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "strongroom", &mut script);
    context.screen.text(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

/// Writes one page for each command.
pub(crate) fn manual(context: &Context, dir: &Path) -> Result<Exit, Failure> {
    let fail = |error: std::io::Error| {
        Failure::new(
            format!("cannot write manual pages to {}: {error}", dir.display()),
            "name a folder that you can write to",
        )
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(fail)?;
    context
        .screen
        .note(&format!("manual pages are in {}", dir.display()));
    Ok(Exit::Done)
}

/// Prints the version.
pub(crate) fn version(context: &Context, as_json: bool) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if as_json {
        context.screen.json(&json!({
            "message_type": "version",
            "version": version,
            "api_version": ::api::VERSION,
            "repository_format": 2,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        }));
    } else {
        context.screen.line(&format!("strongroom {version}"));
    }
    Ok(Exit::Done)
}

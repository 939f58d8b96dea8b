//! `--yes`, the same flag of every command that destroys something.

use clap::Args;

/// What cannot be undone is asked for on the terminal; without one `--yes` must say it.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Confirmed {
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(long)]
    pub(crate) yes: bool,
}

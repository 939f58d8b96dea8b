//! Definitions of `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const AUDIT_HELP: &str = "\
Examples:
  strongroom audit verify                      is the log whole? Prints its head, SEQ:HASH; keep it elsewhere
  strongroom audit verify --head 812:9f…       is everything up to that head as it was?
  strongroom audit export --json > audit.json  a copy, which `audit verify audit.json` can check without a service

Every call that may change something has an entry before it (BEGIN) and one with its result (END). Entries are chained by \
hashes and never removed. Whoever can write to the catalog could make a new log; a head that was kept elsewhere shows it.";

/// `strongroom audit`
#[derive(Debug, Args)]
#[command(after_help = AUDIT_HELP)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// Verbs of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that no entry was changed, removed or put in
    Verify {
        /// An exported log, instead of the service's
        file: Option<PathBuf>,
        /// A head as an earlier run printed it
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
    },
    /// Print the log, oldest entry first
    Export {
        /// Only what comes after this number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        /// Print one JSON object a line, as `audit verify` takes them
        #[arg(long)]
        json: bool,
    },
}

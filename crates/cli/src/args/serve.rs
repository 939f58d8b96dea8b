//! Definitions of `serve` and `agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

const SERVE_HELP: &str = "\
Examples:
  strongroom serve --protect ~/Documents            protect one folder, now and every day
  strongroom serve --protect /etc /home --once      back both up and end; exit status 0, 3 (partial), 1 or 130
  strongroom serve --listen 0.0.0.0:8710 --tls auto only the service, also for agents on other hosts

The first start makes the data directory with an account, an access key (credentials.json) and a recovery file. Keep a copy \
of the recovery file elsewhere: with it and a vault's storage everything can be restored.
A running job is not lost by a stop or a crash: the next start goes on with it under the same job id.
Send SIGUSR1 to print the progress. Ctrl-C or SIGTERM stop cleanly.";

/// `strongroom serve`
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// Protect these files or folders: a daily plan for each, and a first backup at once
    #[arg(long, value_name = "PATH", num_args = 1.., action = clap::ArgAction::Append)]
    pub(crate) protect: Vec<PathBuf>,
    /// Address and port of the API; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8710")]
    pub(crate) listen: SocketAddr,
    /// `auto`: speak https with a certificate signed by a CA of this data directory; clients trust its tls/ca.pem
    #[arg(long, value_enum, value_name = "auto", conflicts_with_all = ["tls_cert", "insecure"])]
    pub(crate) tls: Option<TlsArg>,
    /// One more name or address of this host in the certificate of `--tls auto`
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) tls_name: Vec<String>,
    /// Speak https with this certificate (PEM, with those between it and its CA); read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "insecure"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Allow plain http on an address that other hosts can reach: something else must encrypt
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Keep the catalog in this PostgreSQL database, which other servers may share [default: a file in the data directory]
    /// [env: STRONGROOM_CATALOG]
    #[arg(
        long,
        value_name = "postgres://USER@HOST/DB",
        conflicts_with = "catalog_file"
    )]
    pub(crate) catalog: Option<String>,
    /// As --catalog, with the URL (and its password) in a file that only you can read [env: STRONGROOM_CATALOG_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog_file: Option<PathBuf>,
    /// The key that seals the catalog's secrets, the same for all servers that share it [default: master.key in the data directory]
    /// [env: STRONGROOM_MASTER_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) master_key_file: Option<PathBuf>,
    /// Region that this service says it is
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    pub(crate) region: String,
    /// Time zone in which schedules and retention read the calendar, as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) timezone: model::Zone,
    /// Start scheduled runs up to this long after their time, each plan at its own moment
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = span)]
    pub(crate) schedule_jitter: Duration,
    /// How long a deleted snapshot can be taken back, as 12h or 7d
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = span)]
    pub(crate) trash: Duration,
    /// Remove backup jobs and restore jobs from the history this long after their end, as 400d, or `forever`; snapshots stay
    #[arg(long, value_name = "SPAN", default_value = "forever", value_parser = Kept::parse)]
    pub(crate) job_retention: Kept,
    /// Check each vault this often, or `off`
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = Every::parse)]
    pub(crate) check_every: Every,
    /// Read all data of each vault once in this time, a part with each check
    #[arg(long, value_name = "SPAN", default_value = "28d", value_parser = span)]
    pub(crate) read_all_within: Duration,
    /// Prune each vault at most this often, when there is something to free, or `off`
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = Every::parse)]
    pub(crate) prune_every: Every,
    /// Remove data that a prune found unneeded only so long after, for whoever still reads the vault
    #[arg(long, value_name = "SPAN", default_value = "23h", value_parser = span)]
    pub(crate) prune_grace: Duration,
    /// Back the catalog itself up into a vault this often, or `off`
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = Every::parse)]
    pub(crate) catalog_backup_every: Every,
    /// The vault of those backups, by id or name [default: the oldest outside of the data directory, else the oldest]
    #[arg(long, value_name = "VAULT")]
    pub(crate) catalog_backup_vault: Option<String>,
    /// Refuse to delete a vault that is younger than this
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = span)]
    pub(crate) vault_delete_grace: Duration,
    /// Calls a second that each access key may make, twice as many at once, or `off`
    #[arg(long, value_name = "CALLS", default_value = "500", value_parser = Rate::parse)]
    pub(crate) rate_limit: Rate,
    /// End after the first job of each path
    #[arg(long, requires = "protect")]
    pub(crate) once: bool,
    /// Print each first job as a JSON line once it has ended, with the names of the API, and nothing else
    #[arg(long, requires = "protect")]
    pub(crate) json: bool,
}

/// How a certificate is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TlsArg {
    /// Made by the service
    Auto,
}

const AGENT_HELP: &str = "\
Examples:
  STRONGROOM_ENDPOINT=https://backup:8710 STRONGROOM_CACERT=/etc/strongroom/ca.pem ALIBABA_CLOUD_ACCESS_KEY_ID=… \\
  ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE=/etc/strongroom/secret strongroom agent

The agent dials out to the service, runs the jobs that the service has for this host, and must be able to reach the storage \
of the vaults by the same path. On a host of two accounts, also beside `strongroom serve`, each account has an agent with a \
--state-dir of its own.";

/// `strongroom agent`
#[derive(Debug, Args)]
#[command(after_help = AGENT_HELP)]
pub(crate) struct AgentArgs {
    /// Where the agent keeps its identity [default: agent in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Calls a second, or any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<u32>);

impl Rate {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            text => match text.parse() {
                Ok(calls @ 1..) => Ok(Self(Some(calls))),
                _ => Err("write a number above 0, or off".to_owned()),
            },
        }
    }
}

/// A span, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) Option<Duration>);

impl Every {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            text => match span(text)? {
                Duration::ZERO => Err("write it as 12h or 7d, or off".to_owned()),
                every => Ok(Self(Some(every))),
            },
        }
    }
}

/// How long something is kept, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept(pub(crate) Option<Duration>);

impl Kept {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "forever" => Ok(Self(None)),
            text => match span(text)? {
                Duration::ZERO => Err("write it as 12h or 400d, or forever".to_owned()),
                kept => Ok(Self(Some(kept))),
            },
        }
    }
}

/// A whole number with `s`, `m`, `h` or `d`.
fn span(text: &str) -> Result<Duration, String> {
    let bad = || "write it as 90s, 10m, 12h or 7d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(bad()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    // A century is enough, and keeps times in range.
    count
        .checked_mul(unit)
        .filter(|seconds| *seconds <= 36_525 * 86_400)
        .map(Duration::from_secs)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::{Every, Kept, span};
    use std::time::Duration;

    #[test]
    fn spans_that_may_be_off() {
        assert_eq!(Every::parse("off"), Ok(Every(None)));
        let week = Duration::from_secs(604_800);
        assert_eq!(Every::parse("7d"), Ok(Every(Some(week))));
        assert!(Every::parse("0s").is_err() && Every::parse("on").is_err());
        assert_eq!(Kept::parse("forever"), Ok(Kept(None)));
        assert_eq!(Kept::parse("7d"), Ok(Kept(Some(week))));
        assert!(Kept::parse("0d").is_err() && Kept::parse("never").is_err());
    }

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("10m", 600),
            ("12h", 43_200),
            ("7d", 604_800),
        ] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "s",
            "7",
            "-1s",
            "1.5h",
            "1w",
            "ä",
            "99999999999999999999d",
            "999999d",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}

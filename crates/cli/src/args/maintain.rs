//! Definitions of the `repo` commands that maintain a repository, with restic's names for flags where it has them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use vault::Limit;
use vault::forget::{GroupBy, Keep, RetentionPolicy, SnapshotFilter, Span};

/// Which snapshots a command looks at.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FilterArgs {
    /// Only snapshots of this host; repeat for more [env: RESTIC_HOST]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// Only snapshots with all of these tags, separated by commas; repeat for other lists; '' means without tags
    #[arg(long, value_name = "TAG[,TAG...]")]
    pub(crate) tag: Vec<String>,
    /// Only snapshots with this path; repeat for more, of which they must have all
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
}

impl FilterArgs {
    /// As the engine wants it. `host` is what the environment says.
    pub(crate) fn filter(&self, host: Option<&str>) -> SnapshotFilter {
        snapshot_filter(&self.host, &self.tag, &self.path, host)
    }
}

/// Which snapshots `latest` is the newest of; one that is named by its id is taken whatever these say, as restic does.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LatestArgs {
    /// With `latest`: only snapshots of this host; repeat for more [env: RESTIC_HOST]
    #[arg(short = 'H', long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// With `latest`: only snapshots with all of these tags, separated by commas; repeat for other lists; '' means without
    /// tags
    #[arg(long, value_name = "TAG[,TAG...]")]
    pub(crate) tag: Vec<String>,
    /// With `latest`: only snapshots with this path; repeat for more, of which they must have all
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

impl LatestArgs {
    /// As the engine wants it. `host` is what the environment says.
    pub(crate) fn filter(&self, host: Option<&str>) -> SnapshotFilter {
        snapshot_filter(&self.host, &self.tag, &self.paths, host)
    }
}

fn snapshot_filter(
    hosts: &[String],
    tags: &[String],
    paths: &[String],
    host: Option<&str>,
) -> SnapshotFilter {
    let mut hosts = hosts.to_vec();
    if hosts.is_empty() {
        hosts.extend(host.map(str::to_owned));
    }
    // The empty name undoes the variable.
    hosts.retain(|host| !host.is_empty());
    SnapshotFilter {
        hosts,
        tags: tags.iter().map(|list| tag_list(list)).collect(),
        paths: paths.to_vec(),
    }
}

fn tag_list(text: &str) -> Vec<String> {
    text.split(',').map(|tag| tag.trim().to_owned()).collect()
}

/// `strongroom repo forget`
#[derive(Debug, Args)]
pub(crate) struct RepoForgetArgs {
    /// Remove these snapshots, whatever the rules say: starts of ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    #[command(flatten)]
    pub(crate) rules: KeepArgs,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Apply the rules to each group of the same host, paths, tags; '' makes one group of all
    #[arg(short, long, value_name = "GROUPS", default_value = "host,paths")]
    pub(crate) group_by: GroupBy,
    /// Allow that no snapshot of a group is left; needs --host, --tag or --path
    #[arg(long)]
    pub(crate) unsafe_allow_remove_all: bool,
    /// Say what would be removed and remove nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Prune afterwards, if snapshots were removed
    #[arg(long)]
    pub(crate) prune: bool,
    #[command(flatten)]
    pub(crate) prune_options: PruneArgs,
}

/// The rules of `forget`.
#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    /// Keep the newest N snapshots ('unlimited' keeps all, here and below)
    #[arg(
        short = 'l',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) keep_last: Keep,
    /// Keep the newest of each of the last N hours that have one
    #[arg(
        short = 'H',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) keep_hourly: Keep,
    /// Keep the newest of each of the last N days that have one
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) keep_daily: Keep,
    /// Keep the newest of each of the last N weeks that have one
    #[arg(
        short = 'w',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) keep_weekly: Keep,
    /// Keep the newest of each of the last N months that have one
    #[arg(
        short = 'm',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) keep_monthly: Keep,
    /// Keep the newest of each of the last N years that have one
    #[arg(
        short = 'y',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) keep_yearly: Keep,
    /// Keep all within this time before the newest, as 1y5m7d2h (years, months, days, hours)
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within: Option<Span>,
    /// Of those within this time keep the newest of each hour
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within_hourly: Option<Span>,
    /// Of those within this time keep the newest of each day
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within_daily: Option<Span>,
    /// Of those within this time keep the newest of each week
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within_weekly: Option<Span>,
    /// Of those within this time keep the newest of each month
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within_monthly: Option<Span>,
    /// Of those within this time keep the newest of each year
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within_yearly: Option<Span>,
    /// Keep snapshots with all of these tags, separated by commas; repeat for other lists
    #[arg(long, value_name = "TAG[,TAG...]")]
    pub(crate) keep_tag: Vec<String>,
}

impl KeepArgs {
    /// As the engine wants it.
    pub(crate) fn policy(&self) -> RetentionPolicy {
        RetentionPolicy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within.unwrap_or_default(),
            within_hourly: self.keep_within_hourly.unwrap_or_default(),
            within_daily: self.keep_within_daily.unwrap_or_default(),
            within_weekly: self.keep_within_weekly.unwrap_or_default(),
            within_monthly: self.keep_within_monthly.unwrap_or_default(),
            within_yearly: self.keep_within_yearly.unwrap_or_default(),
            tags: self.keep_tag.iter().map(|list| tag_list(list)).collect(),
        }
    }
}

/// How `prune` works.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Tolerate so much unneeded data: a size as 500M, a percentage of what stays, or 'unlimited'
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = parse_limit)]
    pub(crate) max_unused: Limit,
    /// Write anew no more than this in one run, a size as 2G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_repack_size: Option<u64>,
    /// Join packs smaller than this, a size as 4M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) repack_smaller_than: Option<u64>,
    /// Remove the files of unneeded packs so long after they were marked, as 90m, 23h or 2d
    #[arg(long, value_name = "TIME", default_value = "23h", value_parser = parse_time)]
    pub(crate) keep_delete: Duration,
    /// Remove unneeded packs at once; only when nobody else works on the repository
    #[arg(long)]
    pub(crate) instant_delete: bool,
}

/// `strongroom repo prune`
#[derive(Debug, Args)]
pub(crate) struct RepoPruneArgs {
    #[command(flatten)]
    pub(crate) options: PruneArgs,
    /// Say what would be done and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// `strongroom repo repair`
#[derive(Debug, Args)]
pub(crate) struct RepoRepairArgs {
    #[command(subcommand)]
    pub(crate) command: RepairCommand,
}

/// What is repaired. Nothing is ever destroyed: what is replaced goes below `quarantine/`.
#[derive(Debug, Subcommand)]
pub(crate) enum RepairCommand {
    /// Make entries of packs that no index names, drop those of packs that are gone
    Index {
        /// Do it; without this it is only said what would be done
        #[arg(long)]
        apply: bool,
    },
    /// Save what still reads of damaged packs
    Packs {
        /// Only these packs, by their whole ids; without any, all packs are read
        #[arg(value_name = "PACK")]
        packs: Vec<String>,
        /// Do it; without this it is only said what would be done
        #[arg(long)]
        apply: bool,
    },
    /// Write snapshots anew without the files that are lost
    Snapshots {
        /// Do it; without this it is only said what would be done
        #[arg(long)]
        apply: bool,
    },
}

/// `strongroom repo copy`
#[derive(Debug, Args)]
pub(crate) struct RepoCopyArgs {
    /// The repository to copy from [env: RESTIC_FROM_REPOSITORY]
    #[arg(long, value_name = "PATH")]
    pub(crate) from_repo: Option<String>,
    /// File that holds the password of the repository to copy from [env: RESTIC_FROM_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "from_password_command")]
    pub(crate) from_password_file: Option<PathBuf>,
    /// Command that prints the password of the repository to copy from [env: RESTIC_FROM_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) from_password_command: Option<String>,
    /// Only these snapshots: starts of ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// `strongroom repo key`
#[derive(Debug, Args)]
pub(crate) struct RepoKeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// Verbs of `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the keys; `*` is the one that opened the repository
    List,
    /// Add a password
    Add(NewPasswordArgs),
    /// Replace the password that opened the repository
    #[command(visible_alias = "passwd")]
    Rotate(NewPasswordArgs),
    /// Remove a key, never the one that opened the repository
    Remove {
        /// Start of the id of a key
        key: String,
    },
}

/// Where a new password comes from; without any of these it is asked for.
#[derive(Debug, Args)]
pub(crate) struct NewPasswordArgs {
    /// File that holds the new password [env: RESTIC_NEW_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_command")]
    pub(crate) new_password_file: Option<PathBuf>,
    /// Command that prints the new password [env: RESTIC_NEW_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) new_password_command: Option<String>,
}

/// `strongroom repo stats`
#[derive(Debug, Args)]
pub(crate) struct RepoStatsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    if text == "unlimited" {
        return Ok(Limit::Unlimited);
    }
    let Some(percent) = text.strip_suffix('%') else {
        return parse_size(text).map(Limit::Bytes);
    };
    let percent: Option<f64> = percent.parse().ok();
    percent
        .filter(|percent| (0.0..100.0).contains(percent))
        .map(Limit::Percent)
        .ok_or_else(|| "a percentage is from 0% to below 100%".to_owned())
}

/// Bytes, with K, M, G or T for powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "write a size as 4096, 500K, 20M, 2G or 1T".to_owned();
    let shift = match text.chars().last().map(|unit| unit.to_ascii_uppercase()) {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => 0,
    };
    let digits = if shift == 0 {
        text
    } else {
        &text[..text.len() - 1]
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time as 45s, 90m (minutes), 23h or 2d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (seconds, unit) = match text.chars().last() {
        Some('s') => (1, 's'),
        Some('m') => (60, 'm'),
        Some('h') => (3600, 'h'),
        Some('d') => (86_400, 'd'),
        _ => return Err(wrong()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse_limit, parse_size, parse_time};
    use vault::Limit;

    #[test]
    fn sizes_limits_and_times() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("2k", Some(2048)),
            ("3M", Some(3 << 20)),
            ("1T", Some(1 << 40)),
            ("", None),
            ("M", None),
            ("-1", None),
            ("1.5G", None),
            ("99999999999T", None),
            ("5\u{e4}", None),
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
        assert_eq!(parse_limit("2.5%"), Ok(Limit::Percent(2.5)));
        assert_eq!(parse_limit("unlimited"), Ok(Limit::Unlimited));
        assert_eq!(parse_limit("1K"), Ok(Limit::Bytes(1024)));
        for wrong in ["100%", "-1%", "NaN%", "%", "much"] {
            assert!(parse_limit(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_time("23h"), Ok(Duration::from_secs(82_800)));
        assert_eq!(parse_time("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "5y", "h", "-1h", "1h1m"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}

//! Definitions of `policy`, `snapshot` and `schedule`: what is kept, and when things run.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::confirmed::Confirmed;

/// `strongroom policy`
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

/// Verbs of `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Make a policy with one BACKUP rule, or with the rules of a file
    Create(PolicyCreateArgs),
    /// List the policies
    List {
        /// Print one JSON object a line, with the names of the API
        #[arg(long)]
        json: bool,
    },
    /// Protect a host by a policy
    Bind(PolicyBindArgs),
    /// No longer protect a host by a policy; its snapshots stay
    Unbind {
        /// Policy id (po-…) or name
        policy: String,
        /// Instance id (i-…) of the host; repeat for more [default: this host]
        #[arg(long, value_name = "INSTANCE")]
        instance: Vec<String>,
    },
    /// List what is bound to policies
    Bindings {
        /// Policy id (po-…) or name [default: all]
        policy: Option<String>,
        /// Print one JSON object a line, with the names of the API
        #[arg(long)]
        json: bool,
    },
    /// Run the BACKUP rules of a policy now, for all that is bound to it
    Run {
        /// Policy id (po-…) or name
        policy: String,
        /// Only this rule (rule-…)
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
    },
    /// Show which snapshots would be kept and which would go, and how many bytes that would free
    Simulate(SimulateArgs),
    /// Delete a policy; its snapshots stay
    Delete {
        /// Policy id (po-…) or name
        policy: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
}

const CREATE_HELP: &str = "\
Examples:
  strongroom policy create nightly --schedule 'C|0|0 30 2 ? * *' --keep-days 30
  strongroom policy create archive --vault offsite --every P1D --keep-days 7 --monthly 365 --keep-latest
  strongroom policy create --file policy.json

where policy.json has what CreatePolicyV2 takes:
  {\"PolicyName\": \"nightly\", \"Rules\": [{\"RuleType\": \"BACKUP\", \"Schedule\": \"I|1767225600|P1D\",
    \"VaultId\": \"v-000…\", \"Retention\": 30}]}

Nothing runs until a host is bound: strongroom policy bind.";

/// `strongroom policy create`
#[derive(Debug, Args)]
#[command(after_help = CREATE_HELP)]
pub(crate) struct PolicyCreateArgs {
    /// Name, 1 to 64 characters
    #[arg(required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// Free text, up to 255 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Make it although there is a policy of that name
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    /// File with the whole policy as JSON, or - for standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["vault", "every", "schedule", "keep_days", "keep_latest", "daily", "weekly", "monthly", "yearly"]
    )]
    pub(crate) file: Option<PathBuf>,
    /// Vault id (v-…) or name
    #[arg(long, value_name = "VAULT", default_value = "default")]
    pub(crate) vault: String,
    #[command(flatten)]
    pub(crate) when: WhenArgs,
    #[command(flatten)]
    pub(crate) keep: RetentionArgs,
    /// Keep the first snapshot of each day for so many days
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    pub(crate) daily: Option<i64>,
    /// Keep the first snapshot of each week for so many days
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    pub(crate) weekly: Option<i64>,
    /// Keep the first snapshot of each month for so many days
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    pub(crate) monthly: Option<i64>,
    /// Keep the first snapshot of each year for so many days
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    pub(crate) yearly: Option<i64>,
}

/// When the backups of a plan or a policy run.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhenArgs {
    /// Interval as an ISO 8601 duration, as PT6H, P1D or P1M
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "P1D",
        conflicts_with = "schedule"
    )]
    pub(crate) every: String,
    /// Whole schedule as the API has it, I|START|DURATION or C|START|CRON [default: first run one interval from now]
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) schedule: Option<String>,
}

/// What of the paths of a plan or a binding is read, and how fast.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectionArgs {
    /// Only what matches this pattern; repeat for more
    #[arg(long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Leave out what matches this pattern; repeat for more
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Throttle, START:END:KBPS with hours of the day; rules joined by |
    #[arg(long, value_name = "RULES")]
    pub(crate) speed_limit: Option<String>,
}

/// How long the snapshots of a plan or a policy are kept. The service says what is valid.
#[derive(Debug, Clone, Args)]
pub(crate) struct RetentionArgs {
    /// Keep snapshots for so many days, 1 to 364635 [default: for ever]
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    pub(crate) keep_days: Option<i64>,
    /// Never let the newest complete snapshot go, however old it is
    #[arg(long)]
    pub(crate) keep_latest: bool,
}

const BIND_HELP: &str = "\
Examples:
  strongroom policy bind nightly --path /etc --path /home
  strongroom policy bind nightly --instance i-000… --path /srv --exclude '*.tmp'";

/// `strongroom policy bind`
#[derive(Debug, Args)]
#[command(after_help = BIND_HELP)]
pub(crate) struct PolicyBindArgs {
    /// Policy id (po-…) or name
    pub(crate) policy: String,
    /// File or folder to back up; repeat for more [default: the whole host]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
    #[command(flatten)]
    pub(crate) what: SelectionArgs,
    /// Instance id (i-…) of the host; repeat for more [default: this host]
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) instance: Vec<String>,
}

const SIMULATE_HELP: &str = "\
Examples:
  strongroom policy simulate                                   all snapshots, by what they were promised, now
  strongroom policy simulate --policy nightly --at 2027-01-01T00:00:00Z
  strongroom policy simulate --plan plan-000… --days 30 --monthly 365 --keep-latest

Nothing is changed. A snapshot goes only when its rule says so: without one it is kept. Bytes are what the snapshots that
go had added to their vault; what later snapshots use of that stays.";

/// `strongroom policy simulate`
#[derive(Debug, Args)]
#[command(after_help = SIMULATE_HELP)]
pub(crate) struct SimulateArgs {
    /// Only snapshots of this policy, by id (po-…) or name
    #[arg(long, value_name = "POLICY", conflicts_with = "plan")]
    pub(crate) policy: Option<String>,
    /// Only snapshots of this plan, by id (plan-…) or name
    #[arg(long, value_name = "PLAN")]
    pub(crate) plan: Option<String>,
    /// Only snapshots of this vault, by id (v-…) or name
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,
    /// As if it were this time, as 2027-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<i64>,
    /// As if all had been promised so many days; 0 and -1 are for ever, as in a policy's rule, and refused with --plan
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true)]
    pub(crate) days: Option<i64>,
    /// As if the newest good one were kept always
    #[arg(long)]
    pub(crate) keep_latest: bool,
    /// As if the first of each day were kept for so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) daily: Option<i64>,
    /// As if the first of each week were kept for so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) weekly: Option<i64>,
    /// As if the first of each month were kept for so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) monthly: Option<i64>,
    /// As if the first of each year were kept for so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) yearly: Option<i64>,
    /// Print one JSON object a line, with the names of the API
    #[arg(long)]
    pub(crate) json: bool,
}

/// `strongroom snapshot`
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    pub(crate) command: SnapshotCommand,
}

/// Verbs of `snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Hold a snapshot: nobody and nothing deletes it
    Hold {
        /// Snapshot id (s-…)
        snapshot: String,
        /// Why, for those who look later
        #[arg(long, value_name = "TEXT", default_value = "held")]
        reason: String,
    },
    /// Let a held snapshot go again
    Release {
        /// Snapshot id (s-…)
        snapshot: String,
    },
    /// Delete a snapshot; it can be taken back while it rests in the trash
    Delete {
        /// Snapshot id (s-…)
        snapshot: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
    /// List deleted snapshots that can be taken back
    Trash {
        /// Print one JSON object a line, with the names of the API
        #[arg(long)]
        json: bool,
    },
    /// Take a deleted snapshot back out of the trash
    Recover {
        /// Snapshot id (s-…)
        snapshot: String,
    },
}

const SCHEDULE_HELP: &str = "\
Examples:
  strongroom schedule 'I|1767225600|P1D'
  strongroom schedule 'C|0|0 30 2 ? * MON-FRI' --timezone Europe/Berlin --count 10
  strongroom schedule 'C|0|0 0 2 L * ?' --from 2027-01-01T00:00:00Z";

/// `strongroom schedule`
#[derive(Debug, Args)]
#[command(after_help = SCHEDULE_HELP)]
pub(crate) struct ScheduleArgs {
    /// I|START|DURATION or C|START|CRON; cron has six fields, seconds first
    pub(crate) schedule: String,
    /// Time zone of the calendar
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) timezone: model::Zone,
    /// Runs after this time, as 2027-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<i64>,
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// Print UNIX seconds
    #[arg(long)]
    pub(crate) seconds: bool,
}

/// A time with its offset, or UNIX seconds.
fn time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_second)
        .map_err(|_| "write it as 2027-01-01T00:00:00Z or in UNIX seconds".to_owned())
}

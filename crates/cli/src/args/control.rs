//! Definitions of the commands that are clients of the API.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use model::{JobStatus, SourceType};

use super::confirmed::Confirmed;
use super::filters::{FilterRows, word};
use super::policy::{RetentionArgs, SelectionArgs, WhenArgs};

const JOBS_HELP: &str = "\
Examples:
  strongroom jobs
  strongroom jobs --status FAILED,PARTIAL_COMPLETE --sort ascend
  strongroom jobs --vault default --filter InstanceId EQUAL i-000…
  strongroom jobs --filter CreatedTime GREATER_THAN_OR_EQUAL 1767225600 --json
  strongroom jobs --watch --status RUNNING,QUEUED
  strongroom jobs events job-000…
  strongroom jobs export > history.ndjson

A terminal of 120 columns shows everything. On a narrower one ADDED is left out first, then
DURATION, PROGRESS and SIZE; --json, a file or a pipe has them all.";

const IMPORT_HELP: &str = "\
A line is {\"AccountId\":\"...\",\"RegionId\":\"...\",\"Job\":{...}} with a job as DescribeBackupJobs2 returns it; AccountId and
RegionId may be left out. Ids and times are kept. Jobs that are there already are left as they are, so an import that
broke off can simply be run again.";

/// `strongroom jobs`
#[derive(Debug, Args)]
#[command(after_help = JOBS_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<JobsCommand>,
    /// Only jobs into this vault, by id (v-…) or name
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,
    /// Only jobs in this state, as FAILED; repeat or separate by commas for more
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = word::<JobStatus>)]
    pub(crate) status: Vec<JobStatus>,
    /// Only jobs of this source type, as ECS_FILE
    #[arg(long, value_name = "TYPE", value_parser = word::<SourceType>)]
    pub(crate) source_type: Option<SourceType>,
    #[command(flatten)]
    pub(crate) filters: FilterRows,
    /// Order by time of creation
    #[arg(long, value_enum, default_value = "descend")]
    pub(crate) sort: SortArg,
    /// Page to show, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page: u32,
    /// Jobs on a page, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) page_size: u32,
    /// Print one JSON object a line, with the names of the API
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the list anew every two seconds
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
}

/// Verbs of `jobs`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// Bring the history of another service along
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// File with one job a line, or - for standard input
        file: PathBuf,
    },
    /// Print all jobs that have ended, one a line, as import takes them
    Export,
    /// Show what became of a job: each change of its state
    Events(JobRecordArgs),
    /// Show what a job could not read or write
    Errors(JobRecordArgs),
    /// Print a list of a job's report as CSV
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
}

/// `strongroom jobs events`, `strongroom jobs errors`
#[derive(Debug, Args)]
pub(crate) struct JobRecordArgs {
    /// Job id (job-…) or restore job id (r-…)
    pub(crate) job: String,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

const REPORT_HELP: &str = "\
Example:
  strongroom jobs report job-000… --list total > total.csv

A restore job has the list of what failed alone. What a backup succeeded with is read from its snapshot, and can be had as \
long as that stands.";

/// `strongroom jobs report`
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Job id (job-…) or restore job id (r-…)
    pub(crate) job: String,
    /// Which list
    #[arg(long, value_enum, default_value = "failed")]
    pub(crate) list: ReportArg,
}

/// Lists of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportArg {
    /// What failed, and why
    Failed,
    /// What the snapshot holds and nothing failed of
    Success,
    /// Both
    Total,
}

/// Sort directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortArg {
    /// Oldest first
    Ascend,
    /// Newest first
    Descend,
}

/// `strongroom job`
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    #[command(subcommand)]
    pub(crate) command: JobCommand,
}

/// Verbs of `job`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Show all fields of a job
    Show {
        /// Job id (job-…) or restore job id (r-…)
        job: String,
        /// Print JSON, with the names of the API
        #[arg(long)]
        json: bool,
    },
    /// Cancel a job that has not ended
    Cancel {
        /// Job id (job-…) or restore job id (r-…)
        job: String,
    },
}

/// `strongroom vault`
#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    pub(crate) command: VaultCommand,
}

const EXPORT_HELP: &str = "\
Example:
  set -a; eval \"$(strongroom vault export default)\"; set +a; restic snapshots

Prints the password in clear text: the way out, for stock restic. On failure it prints `false`, so that eval fails, too.
Works without a running service, too, on its data directory. A service logs each export.";

/// Verbs of `vault`.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault
    Create(VaultCreateArgs),
    /// List the vaults
    List {
        /// Print one JSON object a line, with the names of the API
        #[arg(long)]
        json: bool,
    },
    /// Delete a vault with all its plans, jobs, snapshots and data
    Delete {
        /// Vault id (v-…) or name
        vault: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
    /// Print RESTIC_REPOSITORY= and RESTIC_PASSWORD= of a vault
    #[command(after_help = EXPORT_HELP)]
    Export {
        /// Vault id (v-…) or name
        vault: String,
    },
    /// Take over a vault of a lost data directory, by its recovery file
    Adopt(VaultAdoptArgs),
    /// Look for damage in a vault now
    Check(VaultCheckArgs),
    /// Remove from a vault now what no snapshot needs
    #[command(after_help = PRUNE_HELP)]
    Prune {
        /// Vault id (v-…) or name
        vault: String,
        /// Do not wait for its end
        #[arg(long)]
        detach: bool,
        /// Print the task as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List what the service does with its vaults: checks, prunes, deletions
    Tasks {
        /// Vault id (v-…) or name [default: all]
        vault: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// End a check or a prune early
    Cancel {
        /// Task id (t-…)
        task: String,
    },
}

const PRUNE_HELP: &str = "\
What is not needed is marked first and removed by a prune a day later, so that others may work on the vault meanwhile. The \
service does both by itself when snapshots were removed (serve --prune-every).";

const CHECK_HELP: &str = "\
Examples:
  strongroom vault check default                        keys, snapshots, indexes, trees, and that packs are there
  strongroom vault check default --read-data            and every byte
  strongroom vault check default --read-data-subset 1/8 and an eighth of the data

Exit status 1 if the vault is damaged; the files and snapshots that are touched are named. The service checks each vault by \
itself (serve --check-every).";

/// `strongroom vault check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(crate) struct VaultCheckArgs {
    /// Vault id (v-…) or name
    pub(crate) vault: String,
    /// Read all data
    #[arg(long, conflicts_with = "read_data_subset")]
    pub(crate) read_data: bool,
    /// Read one part of the data
    #[arg(long, value_name = "N/T")]
    pub(crate) read_data_subset: Option<String>,
    /// Do not wait for its end
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print the task as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `strongroom vault create`
#[derive(Debug, Args)]
pub(crate) struct VaultCreateArgs {
    /// Name, 1 to 64 characters
    pub(crate) name: String,
    /// Free text, up to 255 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Folder for the vault's data, as the agents see it: a whole path, unless the service runs on this host [default: in
    /// the data directory]
    #[arg(long, value_name = "PATH")]
    pub(crate) storage: Option<String>,
    /// Make it although there is a vault of that name
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    /// Do not wait until an agent has made it
    #[arg(long)]
    pub(crate) detach: bool,
}

const ADOPT_HELP: &str = "\
Examples:
  strongroom vault adopt --recovery-file recovery-1234567890123456.txt --storage /mnt/disk/v-000…
  strongroom vault adopt --password-file pw --storage /mnt/disk/restic-repository

Needs nothing else than the recovery file, or a password of the repository, and its storage. Stop the
service before.";

/// `strongroom vault adopt`
#[derive(Debug, Args)]
#[command(after_help = ADOPT_HELP)]
pub(crate) struct VaultAdoptArgs {
    /// The recovery file that the first start wrote
    #[arg(long, value_name = "FILE", required_unless_present = "password_file")]
    pub(crate) recovery_file: Option<PathBuf>,
    /// Instead: a file with a password of the repository, which may be one of restic or rustic
    #[arg(long, value_name = "FILE", conflicts_with = "recovery_file")]
    pub(crate) password_file: Option<PathBuf>,
    /// Folder with the vault's data
    #[arg(long, value_name = "PATH")]
    pub(crate) storage: String,
    /// Region that the service says it is
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    pub(crate) region: String,
}

/// `strongroom plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    pub(crate) command: PlanCommand,
}

/// Verbs of `plan`.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Make a plan for folders of a host
    Create(Box<PlanCreateArgs>),
    /// List the plans
    List {
        /// Only plans of this vault, by id (v-…) or name
        #[arg(long, value_name = "VAULT")]
        vault: Option<String>,
        /// Print one JSON object a line, with the names of the API
        #[arg(long)]
        json: bool,
    },
    /// Start a backup of a plan now
    Run {
        /// Plan id (plan-…) or name
        plan: String,
        /// Follow the job to its end
        #[arg(long)]
        wait: bool,
        /// Print the job as JSON, with the names of the API: its id, or with --wait all of it once it has ended
        #[arg(long)]
        json: bool,
    },
    /// Delete a plan and its jobs; its snapshots stay
    Delete {
        /// Plan id (plan-…) or name
        plan: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
}

const PLAN_HELP: &str = "\
Examples:
  strongroom plan create --path /etc --every P1D
  strongroom plan create --vault offsite --path /srv --exclude '*.tmp' --speed-limit 8:18:5120
  strongroom plan create --path /home --keep-days 90 --keep-latest";

/// `strongroom plan create`
#[derive(Debug, Args)]
#[command(after_help = PLAN_HELP)]
pub(crate) struct PlanCreateArgs {
    /// File or folder to back up; repeat for more
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) path: Vec<String>,
    /// Vault id (v-…) or name
    #[arg(long, value_name = "VAULT", default_value = "default")]
    pub(crate) vault: String,
    /// Name, 1 to 64 characters [default: made from the paths]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) when: WhenArgs,
    #[command(flatten)]
    pub(crate) what: SelectionArgs,
    #[command(flatten)]
    pub(crate) keep: RetentionArgs,
    /// Instance id (i-…) of the host [default: this host]
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) instance: Option<String>,
}

/// `strongroom snapshots`
#[derive(Debug, Args)]
pub(crate) struct SnapshotsArgs {
    /// Only snapshots of this vault, by id (v-…) or name
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,
    /// Print one JSON object a line, with the names of the API
    #[arg(long)]
    pub(crate) json: bool,
}

/// `strongroom ls`
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Snapshot id (s-…), the start of a snapshot hash, or `latest`
    pub(crate) snapshot: String,
    /// Folder in the snapshot
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// Look for the snapshot in this vault, by id (v-…) or name [default: in all]
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,
    /// Print one JSON object a line, with the names of the API
    #[arg(long)]
    pub(crate) json: bool,
}

const RESTORE_HELP: &str = "\
Examples:
  strongroom restore latest --target /tmp/restored
  strongroom restore s-000… --target / --include /etc/nginx --conflict keep-newer
  strongroom restore 3f2a91 --target /tmp/r --exclude '*.iso'

The agent of this host does the work: `strongroom serve` (or `strongroom agent`) must be running. The paths of the snapshot \
are made below the target; `--target /` restores to the original place.";

/// `strongroom restore`
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub(crate) struct RestoreArgs {
    /// Snapshot id (s-…), the start of a snapshot hash, or `latest`
    pub(crate) snapshot: String,
    /// Look for the snapshot in this vault, by id (v-…) or name [default: in all]
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,
    /// Folder to restore into; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// Only what matches this pattern; repeat for more
    #[arg(long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Leave out what matches this pattern; repeat for more
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// What to do with a file that is there already
    #[arg(long, value_enum, default_value = "overwrite")]
    pub(crate) conflict: ConflictArg,
    /// Instance id (i-…) of the host that restores [default: this host]
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) instance: Option<String>,
    /// Print the restore job as JSON once it has ended, with the names of the API
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConflictArg {
    /// Replace it
    Overwrite,
    /// Keep it
    Skip,
    /// Replace it only if the snapshot has a newer one
    KeepNewer,
}

const API_HELP: &str = "\
Examples:
  strongroom api DescribeVaults
  strongroom api DescribeBackupJobs2 SourceType=ECS_FILE Filters.1.Key=Status Filters.1.Values.1=COMPLETE
  strongroom api CreateVault VaultName=home VaultRegionId=cn-hangzhou
  strongroom api GetCallerIdentity                               STS is served too, and AssumeRole";

/// `strongroom api`
#[derive(Debug, Args)]
#[command(after_help = API_HELP)]
pub(crate) struct ApiArgs {
    /// Name of the action
    pub(crate) action: String,
    /// Parameters as the API names them
    #[arg(value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Send parameters, too, that the action does not take: the service ignores them
    #[arg(long)]
    pub(crate) force: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as Key=Value".to_owned()),
    }
}

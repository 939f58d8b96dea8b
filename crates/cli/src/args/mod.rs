//! What can be typed: the definitions of all commands, their help texts and examples.
//!
//! Shell completion and manual pages are made from the same definitions. Never does anything: the commands live in
//! [`crate::commands`].

mod audit;
mod catalog;
mod confirmed;
mod control;
mod filters;
mod identity;
mod maintain;
mod policy;
mod repo;
mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use audit::{AuditArgs, AuditCommand};
pub(crate) use catalog::{CatalogArgs, CatalogCommand, CatalogRestoreArgs};
pub(crate) use confirmed::Confirmed;
pub(crate) use control::{
    ApiArgs, ConflictArg, JobArgs, JobCommand, JobRecordArgs, JobsArgs, JobsCommand, LsArgs,
    PlanArgs, PlanCommand, PlanCreateArgs, ReportArg, ReportArgs, RestoreArgs, SnapshotsArgs,
    SortArg, VaultAdoptArgs, VaultArgs, VaultCheckArgs, VaultCommand, VaultCreateArgs,
};
pub(crate) use identity::{
    AccessKeyCommand, AccountArgs, AccountCommand, AssumeRoleArgs, KeyArgs, RoleArgs, RoleCommand,
    UserArgs, UserCommand,
};
#[cfg(test)]
pub(crate) use maintain::FilterArgs;
pub(crate) use maintain::{
    KeyCommand, NewPasswordArgs, PruneArgs, RepairCommand, RepoCopyArgs, RepoForgetArgs,
    RepoKeyArgs, RepoPruneArgs, RepoRepairArgs, RepoStatsArgs,
};
pub(crate) use policy::{
    PolicyArgs, PolicyBindArgs, PolicyCommand, PolicyCreateArgs, ScheduleArgs, SelectionArgs,
    SimulateArgs, SnapshotArgs, SnapshotCommand, WhenArgs,
};
pub(crate) use repo::{
    ChunkerArg, RepoArgs, RepoBackupArgs, RepoCheckArgs, RepoCommand, RepoDiffArgs, RepoDumpArgs,
    RepoFindArgs, RepoInitArgs, RepoLsArgs, RepoOptions, RepoRestoreArgs, RepoSnapshotsArgs,
    RepoTagArgs, RepoUnlockArgs,
};
pub(crate) use serve::{AgentArgs, ServeArgs, TlsArg};

const AFTER_HELP: &str = "\
Examples:
  strongroom serve --protect ~/Documents     serve; back up now and every day
  strongroom jobs                            list the backup jobs
  strongroom restore latest --target /tmp/r  restore the newest snapshot
  strongroom vault export default            how stock restic opens the vault

Exit status:
  0 done; 1 failed; 2 wrong usage
  3 done, but some items could not be read or written
  10 no repository; 11 repository is locked; 12 wrong password
  20 access refused; 21 not found; 22 conflict; 23 throttled
  24 the job failed; 130 interrupted

Environment:
  STRONGROOM_ENDPOINT  a service on another host, instead of the one that
                       credentials.json in the data directory names
  ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET[_FILE|_COMMAND],
  ALIBABA_CLOUD_SECURITY_TOKEN[_FILE|_COMMAND] (of a temporary key)
                       the access key, instead of that of credentials.json
  ALIBABA_CLOUD_REGION_ID  region of a service on another host
  STRONGROOM_DATA_DIR  the data directory
  STRONGROOM_CACERT    the CA of a service that speaks https; without it, the
                       CAs that this host trusts (SSL_CERT_FILE, SSL_CERT_DIR)
  STRONGROOM_LOG       what is logged to standard error, as `info` or
                       `agent=debug` (default `warn`)
  NO_COLOR             no colours
An empty variable counts as none.";

/// Strongroom: cloud backup that you host yourself.
#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    about = "Self-hosted cloud backup: the Cloud Backup API (HBR 2017-09-08), vaults that stock restic reads",
    after_help = AFTER_HELP,
    propagate_version = false,
    max_term_width = 120
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the service keeps its catalog, keys and vaults [default: $XDG_DATA_HOME/strongroom]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Certificates (PEM) to trust when the service speaks https: its CA, or its certificate itself
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service and an agent for this host; protect folders
    Serve(Box<ServeArgs>),
    /// Run an agent that protects this host for a service elsewhere
    Agent(AgentArgs),
    /// List backup jobs, show what became of one, import or export their history
    Jobs(JobsArgs),
    /// Show or cancel a backup job or restore job
    Job(JobArgs),
    /// Create, list, delete, export or adopt vaults
    Vault(VaultArgs),
    /// Create, list, run or delete backup plans
    Plan(PlanArgs),
    /// Create, list, bind, run, simulate or delete policies
    Policy(PolicyArgs),
    /// Create, list or disable accounts, each with vaults, jobs and users of its own
    Account(AccountArgs),
    /// Create, list, change or delete users of the account
    User(UserArgs),
    /// Create, list, rotate or disable access keys
    Key(KeyArgs),
    /// Create, list, take on or delete roles, which users have for a while
    Role(RoleArgs),
    /// Verify or export the audit log
    Audit(AuditArgs),
    /// Back up the catalog of the service, or bring a service back from such a backup
    Catalog(CatalogArgs),
    /// Show when a schedule would run
    Schedule(ScheduleArgs),
    /// List snapshots
    Snapshots(SnapshotsArgs),
    /// Hold, release, delete or recover a snapshot
    Snapshot(SnapshotArgs),
    /// List a folder of a snapshot
    Ls(LsArgs),
    /// Restore a snapshot, or parts of it, on this host
    Restore(RestoreArgs),
    /// Call any action of the API and print its JSON
    Api(ApiArgs),
    /// Work straight on a restic repository, without a service
    Repo(Box<RepoArgs>),
    /// Print the completion script of a shell
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: ShellArg,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder; made if missing
        dir: PathBuf,
    },
    /// Print the version
    Version {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Shells that have completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ShellArg {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Cli, Command, JobCommand, PlanCommand, RepoCommand, VaultCommand};
    use clap::{CommandFactory, Parser};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_command_line_parses() {
        for line in [
            "strongroom serve",
            "strongroom serve --protect /a /b --listen 127.0.0.1:0 --region cn-beijing --once",
            "strongroom --data-dir /d serve --protect /a --protect /b",
            "strongroom agent --data-dir /d",
            "strongroom jobs --source-type ECS_FILE --sort ascend --page 2 --page-size 99 --json",
            "strongroom jobs --filter Status IN COMPLETE FAILED --filter CompleteTime BETWEEN 1 2",
            "strongroom jobs --vault default --status FAILED,canceled --status RUNNING",
            "strongroom job show job-1 --json",
            "strongroom job cancel job-1",
            "strongroom vault create home --storage /backup --description text",
            "strongroom vault list --json",
            "strongroom vault delete v-1 --yes",
            "strongroom vault export default",
            "strongroom vault adopt --recovery-file /f --storage /v",
            "strongroom catalog backup --vault default --detach --json",
            "strongroom catalog restore --recovery-file /f --storage /v --snapshot 12ab",
            "strongroom catalog restore --from-master-key /k --copy /c --catalog postgres://u@h/d --master-key-file /m",
            "strongroom plan create --vault default --path /a --path /b --every P1D --exclude *.tmp",
            "strongroom plan create --path /a --keep-days -1 --keep-latest",
            "strongroom plan list --vault default --json",
            "strongroom user delete u --yes",
            "strongroom key delete k --yes",
            "strongroom role delete r --yes",
            "strongroom policy create p --vault v --every PT6H --keep-days 30 --keep-latest --daily 9 --yearly 400",
            "strongroom policy create --file - --description text",
            "strongroom policy bind p --path /a --exclude *.tmp --instance i-1 --instance i-2 --speed-limit 0:24:1",
            "strongroom policy unbind p --instance i-1",
            "strongroom policy bindings p --json",
            "strongroom role assume r --session s --duration 900 --policy /p --export",
            "strongroom plan run plan-1 --wait",
            "strongroom plan delete plan-1 --yes",
            "strongroom snapshots --vault default --json",
            "strongroom ls s-1 /etc --vault v-1 --json",
            "strongroom restore latest --vault v-1 --target /t --include a --exclude b --conflict keep-newer",
            "strongroom api DescribeVaults PageSize=10",
            "strongroom repo -r /r init",
            "strongroom repo -r /r backup /a /b --tag x --host h -x --exclude-caches --json",
            "strongroom repo restore latest --target /t --no-verify",
            "strongroom repo check --read-data",
            "strongroom repo snapshots --json",
            "strongroom repo ls latest /etc -H h --path /etc",
            "strongroom repo restore latest -t /t -H h --tag a,b --path /p",
            "strongroom repo dump latest /etc/hosts --host h",
            "strongroom repo diff 12ab latest -H h",
            "strongroom repo find x -s latest --host h",
            "strongroom repo backup --stdin --stdin-filename x --dry-run",
            "strongroom repo backup --stdin-from-command --tag t -- cat -n /f",
            "strongroom repo find -i -l *.log /etc/x --host h",
            "strongroom repo find --snapshot latest -s 12ab x",
            "strongroom repo diff 12ab latest --metadata --json",
            "strongroom repo dump latest /etc/hosts -t /f",
            "strongroom repo tag --set a,b latest",
            "strongroom repo tag --add a --remove b --host h",
            "strongroom repo unlock --remove-all",
            "strongroom repo forget -l 3 -H 2 -d 7 -w 5 -m unlimited -y 1 --keep-within 1y5m7d2h --keep-tag a,b -n",
            "strongroom repo forget 1234abcd latest --prune --max-unused 10% --instant-delete",
            "strongroom repo forget --tag x --host h --path /p --group-by tags --unsafe-allow-remove-all",
            "strongroom repo repair index --apply",
            "strongroom repo repair packs --apply 00",
            "strongroom repo repair snapshots",
            "strongroom repo copy --from-repo /a --from-password-file /p latest --tag x",
            "strongroom repo key list --json",
            "strongroom repo key add --new-password-file /p",
            "strongroom repo key passwd --new-password-command x",
            "strongroom repo key remove 12ab",
            "strongroom repo stats --host h --json",
            "strongroom repo prune --keep-delete 0 --max-repack-size 2G --repack-smaller-than 4M --dry-run",
            "strongroom completion zsh",
            "strongroom man /m",
            "strongroom version --json",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "strongroom",
            "strongroom serve --once",
            "strongroom serve --listen nowhere",
            "strongroom catalog restore --recovery-file /f",
            "strongroom catalog restore --storage /v",
            "strongroom catalog restore --recovery-file /f --from-master-key /k --storage /v",
            "strongroom catalog restore --recovery-file /f --storage /v --copy /c",
            "strongroom jobs --filter Status IN",
            "strongroom jobs --filter Status EQUAL COMPELTE",
            "strongroom jobs --filter Status EQAL COMPLETE",
            "strongroom jobs --filter State EQUAL COMPLETE",
            "strongroom jobs --status COMPELTE",
            "strongroom jobs --source-type XYZ",
            "strongroom jobs --page-size 0",
            "strongroom jobs --page-size 101",
            "strongroom restore latest",
            "strongroom restore latest --target /t --conflict maybe",
            "strongroom repo backup",
            "strongroom repo backup --stdin /a",
            "strongroom repo backup --stdin-from-command",
            "strongroom repo find",
            "strongroom repo diff latest",
            "strongroom repo tag --set a --add b",
            "strongroom repo --password secret snapshots",
            "strongroom repo forget --keep-within 2w",
            "strongroom repo forget --keep-daily some",
            "strongroom repo forget --group-by color",
            "strongroom repo prune --max-unused 100%",
            "strongroom repo key add secret",
            "strongroom repo repair",
            "strongroom plan create",
            "strongroom policy create",
            "strongroom policy create --file /f --keep-days 3",
            "strongroom role assume r --export --json",
            "strongroom completion powershell",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn filters_keep_their_groups() {
        let cli =
            parse("strongroom jobs --filter Status IN queued FAILED --filter JobId EQUAL j --json")
                .unwrap();
        let Command::Jobs(jobs) = cli.command else {
            panic!("not jobs")
        };
        assert_eq!(
            jobs.filters.rows,
            [
                vec!["Status", "IN", "QUEUED", "FAILED"],
                vec!["JobId", "EQUAL", "j"]
            ]
        );
        assert!(jobs.json);
    }

    #[test]
    fn global_flags_work_after_the_command() {
        let cli = parse("strongroom vault list --data-dir /d").unwrap();
        assert_eq!(cli.global.data_dir.unwrap(), std::path::Path::new("/d"));
        let Command::Vault(vault) = cli.command else {
            panic!("not vault")
        };
        assert!(matches!(vault.command, VaultCommand::List { json: false }));
        let cli = parse("strongroom repo snapshots -r /x -q").unwrap();
        let Command::Repo(repo) = cli.command else {
            panic!("not repo")
        };
        assert_eq!(repo.options.repository.as_deref(), Some("/x"));
        assert!(repo.options.quiet && matches!(repo.command, RepoCommand::Snapshots(_)));
    }

    #[test]
    fn nouns_have_their_verbs() {
        let cli = parse("strongroom job cancel r-1").unwrap();
        let Command::Job(job) = cli.command else {
            panic!("not job")
        };
        assert!(matches!(job.command, JobCommand::Cancel { job } if job == "r-1"));
        let cli = parse("strongroom plan run p --wait").unwrap();
        let Command::Plan(plan) = cli.command else {
            panic!("not plan")
        };
        assert!(matches!(plan.command, PlanCommand::Run { wait: true, .. }));
    }

    /// Renders the long help of every command, so that a change of the stable command line is seen in review.
    fn all_help(command: &mut clap::Command, prefix: &str, out: &mut String) {
        use std::fmt::Write;
        let name = format!("{prefix}{}", command.get_name());
        writeln!(out, "=== {name}\n{}", command.render_help()).unwrap();
        for sub in command
            .get_subcommands_mut()
            .filter(|sub| sub.get_name() != "help")
        {
            all_help(sub, &format!("{name} "), out);
        }
    }

    #[test]
    fn help_is_as_the_golden_file_says() {
        let mut command = Cli::command().term_width(100).version("0.0.0");
        command.build();
        let mut text = String::new();
        all_help(&mut command, "", &mut text);
        let text: String = text
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
        if std::env::var_os("STRONGROOM_BLESS").is_some() {
            std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            text == expected,
            "help changed; look at the difference and set STRONGROOM_BLESS=1:\n{text}"
        );
    }
}

//! Definitions of `repo`: the engine on a restic repository, with restic's names for flags and variables.
//!
//! Passwords never come as arguments, because every user of a host can read those.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::control::ConflictArg;
use super::maintain::{
    FilterArgs, LatestArgs, RepoCopyArgs, RepoForgetArgs, RepoKeyArgs, RepoPruneArgs,
    RepoRepairArgs, RepoStatsArgs, parse_size,
};

const REPO_HELP: &str = "\
Examples:
  strongroom repo -r /backup --password-file pw init
  strongroom repo -r /backup --password-file pw backup ~/Documents
  strongroom repo -r /backup --password-file pw restore latest --target /tmp/r

Environment, as restic has it (a wrong value is an error):
  RESTIC_REPOSITORY[_FILE], RESTIC_PASSWORD[_FILE|_COMMAND], RESTIC_HOST, RESTIC_COMPRESSION, RESTIC_PACK_SIZE,
  RESTIC_READ_CONCURRENCY, RESTIC_PROGRESS_FPS, RESTIC_CACHE_DIR (accepted; there is no cache on disk)

Exit status: 0 done; 1 failed; 2 wrong usage; 3 some items could not be read or written; 10 no repository;
11 locked; 12 wrong password; 130 interrupted. Send SIGUSR1 to print the progress.";

/// `strongroom repo`
#[derive(Debug, Args)]
#[command(after_help = REPO_HELP)]
pub(crate) struct RepoArgs {
    #[command(flatten)]
    pub(crate) options: RepoOptions,
    #[command(subcommand)]
    pub(crate) command: RepoCommand,
}

/// Flags of every `repo` command.
#[derive(Debug, Args)]
pub(crate) struct RepoOptions {
    /// Where the repository is [env: RESTIC_REPOSITORY]
    #[arg(
        short,
        long,
        visible_alias = "repo",
        global = true,
        value_name = "PATH",
        conflicts_with = "repository_file"
    )]
    pub(crate) repository: Option<String>,
    /// File that holds where the repository is [env: RESTIC_REPOSITORY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) repository_file: Option<PathBuf>,
    /// File that holds the password [env: RESTIC_PASSWORD_FILE]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "password_command"
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// Command that prints the password [env: RESTIC_PASSWORD_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND")]
    pub(crate) password_command: Option<String>,
    /// Take no lock, for repositories that nobody can write to; only for commands that only read, and only when nothing
    /// prunes meanwhile
    #[arg(long, global = true)]
    pub(crate) no_lock: bool,
    /// Print JSON lines as restic does
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Verbs of `repo`.
#[derive(Debug, Subcommand)]
pub(crate) enum RepoCommand {
    /// Make a new repository
    Init(RepoInitArgs),
    /// Back up files and folders
    Backup(RepoBackupArgs),
    /// Restore a snapshot below a folder
    Restore(RepoRestoreArgs),
    /// Check the repository
    Check(RepoCheckArgs),
    /// List the snapshots
    Snapshots(RepoSnapshotsArgs),
    /// List what is in a snapshot
    Ls(RepoLsArgs),
    /// Find names in snapshots
    Find(RepoFindArgs),
    /// Show what is different in another snapshot
    Diff(RepoDiffArgs),
    /// Print a file of a snapshot, or a folder as a tar archive
    Dump(RepoDumpArgs),
    /// Change the tags of snapshots
    Tag(RepoTagArgs),
    /// Remove locks of processes that are gone
    Unlock(RepoUnlockArgs),
    /// Remove snapshots by rules or by name
    Forget(RepoForgetArgs),
    /// Remove data that no snapshot needs, while backups go on
    Prune(RepoPruneArgs),
    /// Repair the index, packs or snapshots without destroying anything
    Repair(RepoRepairArgs),
    /// Copy snapshots from another repository
    Copy(RepoCopyArgs),
    /// Manage passwords
    Key(RepoKeyArgs),
    /// Show what snapshots take, and what would be free without them
    Stats(RepoStatsArgs),
}

impl RepoCommand {
    /// Whether the repository is left as it is, so that no lock is needed when nobody else changes it.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Restore(_)
                | Self::Check(_)
                | Self::Snapshots(_)
                | Self::Ls(_)
                | Self::Find(_)
                | Self::Diff(_)
                | Self::Dump(_)
                | Self::Stats(_)
        )
    }
}

/// `strongroom repo init`
#[derive(Debug, Args)]
pub(crate) struct RepoInitArgs {
    /// How files are cut into chunks; it cannot be changed later
    #[arg(long, value_enum, default_value = "gear")]
    pub(crate) chunker: ChunkerArg,
}

/// How files are cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ChunkerArg {
    /// Fast and keyed, small chunks for disk images: for repositories that only strongroom writes to
    Gear,
    /// As restic does: for repositories that restic or rustic write to as well
    Rabin,
}

const BACKUP_HELP: &str = "\
Patterns (--exclude, --exclude-file):
  *.log           this name at any depth; * and ? stay in one name, [ab] and [^ab] are one letter
  cache/tmp       these names, one in the other, at any depth
  /home/*/tmp     from the top, because of the leading slash
  /srv/**/target  ** stands for any number of folders, none too
  {a,b}.txt       a choice (restic has none)
  !keep.log       takes back what patterns before it left out; \\!name is a name that begins with !
What lies in a folder that is left out cannot be taken back: write /logs/* and !/logs/keep.
The last pattern that matches decides; those of files come after those of --exclude. Lines of a file
that begin with # are comments. Patterns are about absolute paths, whatever was typed for PATH.

Examples:
  strongroom repo -r /backup backup ~ --exclude '*.log' --exclude '!keep.log'
  pg_dump shop | strongroom repo -r /backup backup --stdin --stdin-filename shop.sql
  strongroom repo -r /backup backup --stdin-from-command --stdin-filename shop.sql -- pg_dump shop

A program that ends with a failure leaves no snapshot with --stdin-from-command; a pipe cannot tell.";

/// `strongroom repo backup`
#[derive(Debug, Args)]
#[command(after_help = BACKUP_HELP)]
pub(crate) struct RepoBackupArgs {
    /// Files and folders; with --stdin-from-command, the program and its arguments
    #[arg(
        required_unless_present_any = ["files_from", "files_from_verbatim", "files_from_raw", "stdin"],
        value_name = "PATH"
    )]
    pub(crate) paths: Vec<PathBuf>,
    /// File with patterns of files and folders, one a line, as a shell expands them; - for standard input; repeat for more
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Vec<PathBuf>,
    /// File with files and folders, one a line, taken as they stand; - for standard input; repeat for more
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from_verbatim: Vec<PathBuf>,
    /// File with files and folders, each ended by a NUL byte; - for standard input; repeat for more
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from_raw: Vec<PathBuf>,
    /// Tag of the snapshot; repeat or separate by commas for more
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub(crate) tag: Vec<String>,
    /// Host name in the snapshot [env: RESTIC_HOST]
    #[arg(short = 'H', long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Leave out what matches this pattern (see below); repeat for more
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// File with patterns of what is left out, one a line; repeat for more
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_file: Vec<PathBuf>,
    /// Leave out the content of folders with a CACHEDIR.TAG file
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Leave out files larger than this, a size as 500K, 20M or 2G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) exclude_larger_than: Option<u64>,
    /// Do not leave the file systems of the given paths
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Compare with this snapshot [default: the newest of the same host and paths]
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) parent: Option<String>,
    /// Read every file, whether it changed or not
    #[arg(short, long, conflicts_with = "parent")]
    pub(crate) force: bool,
    /// Read everything and say what would be stored, but store nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Store what comes by standard input, as one file
    #[arg(
        long,
        conflicts_with_all = ["paths", "files_from", "files_from_verbatim", "files_from_raw", "exclude", "exclude_file",
            "exclude_caches", "exclude_larger_than", "one_file_system", "parent", "force"]
    )]
    pub(crate) stdin: bool,
    /// Store what a program prints, as one file
    #[arg(
        long,
        requires = "paths",
        conflicts_with_all = ["stdin", "files_from", "files_from_verbatim", "files_from_raw", "exclude", "exclude_file",
            "exclude_caches", "exclude_larger_than", "one_file_system", "parent", "force"]
    )]
    pub(crate) stdin_from_command: bool,
    /// Name of that file in the snapshot
    #[arg(long, value_name = "NAME", default_value = "stdin")]
    pub(crate) stdin_filename: String,
}

/// `strongroom repo restore`
#[derive(Debug, Args)]
pub(crate) struct RepoRestoreArgs {
    /// Start of a snapshot id, or `latest`
    pub(crate) snapshot: String,
    /// Folder to restore into; made if missing
    #[arg(short, long, value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// Only what matches this pattern; repeat for more
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Leave out what matches this pattern; repeat for more
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// What to do with a file that is there already
    #[arg(long, value_enum, default_value = "overwrite")]
    pub(crate) conflict: ConflictArg,
    /// Do not read the restored files again to compare them
    #[arg(long)]
    pub(crate) no_verify: bool,
    #[command(flatten)]
    pub(crate) latest: LatestArgs,
}

/// `strongroom repo check`
#[derive(Debug, Args)]
pub(crate) struct RepoCheckArgs {
    /// Read and verify all data
    #[arg(long, conflicts_with = "read_data_subset")]
    pub(crate) read_data: bool,
    /// Read and verify a part of the data: n/t (the n-th of t parts), a percentage as 5%, or a size as 10G
    #[arg(long, value_name = "SUBSET")]
    pub(crate) read_data_subset: Option<String>,
}

/// `strongroom repo snapshots`
#[derive(Debug, Args)]
pub(crate) struct RepoSnapshotsArgs {
    /// Only snapshots of this host
    #[arg(short = 'H', long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Only snapshots with all of these tags; repeat for more
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub(crate) tag: Vec<String>,
    /// Only snapshots with this path; repeat for more
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
    /// Only this snapshot: the start of an id, or `latest`
    pub(crate) snapshot: Option<String>,
}

/// `strongroom repo ls`
#[derive(Debug, Args)]
pub(crate) struct RepoLsArgs {
    /// Start of a snapshot id, or `latest`
    pub(crate) snapshot: String,
    /// Only this folder with all below it
    pub(crate) path: Option<String>,
    /// Print mode, owner, size and time as well
    #[arg(short, long)]
    pub(crate) long: bool,
    #[command(flatten)]
    pub(crate) latest: LatestArgs,
}

const FIND_HELP: &str = "\
Examples:
  strongroom repo find '*.odt'                 in all snapshots, the newest first
  strongroom repo find -l --snapshot latest shop.sql /etc/hosts

Patterns are those of `backup --exclude`: without a leading slash a name at any depth, and what lies below a match matches too.";

/// `strongroom repo find`
#[derive(Debug, Args)]
#[command(after_help = FIND_HELP)]
pub(crate) struct RepoFindArgs {
    /// What is looked for; any of them
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
    /// Take capital and small letters for the same
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
    /// Print mode, owner, size and time as well
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Only in this snapshot: the start of an id, or `latest` (of those that the filters let pass); repeat for more
    #[arg(short, long, value_name = "SNAPSHOT")]
    pub(crate) snapshot: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

const DIFF_HELP: &str = "\
Each path that differs has a letter, folders end with a slash:
  +  came       -  went       M  other content       T  another type
  U  other metadata (with --metadata)
  M? other content with the same metadata: perhaps a damaged disk

Added and removed bytes are those of data that only one of the snapshots needs, before compression.";

/// `strongroom repo diff`
#[derive(Debug, Args)]
#[command(after_help = DIFF_HELP)]
pub(crate) struct RepoDiffArgs {
    /// Start of the id of the one snapshot, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) from: String,
    /// Start of the id of the other snapshot, or `latest`
    #[arg(value_name = "OTHER")]
    pub(crate) to: String,
    /// Show what differs in its metadata alone, too
    #[arg(long)]
    pub(crate) metadata: bool,
    #[command(flatten)]
    pub(crate) latest: LatestArgs,
}

const DUMP_HELP: &str = "\
Examples:
  strongroom repo dump latest /srv/shop.sql | psql shop
  strongroom repo dump latest /etc | tar -x -C /tmp/r
  strongroom repo dump latest / --target all.tar";

/// `strongroom repo dump`
#[derive(Debug, Args)]
#[command(after_help = DUMP_HELP)]
pub(crate) struct RepoDumpArgs {
    /// Start of a snapshot id, or `latest`
    pub(crate) snapshot: String,
    /// A file, or a folder
    pub(crate) path: String,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) target: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) latest: LatestArgs,
}

/// `strongroom repo tag`
#[derive(Debug, Args)]
pub(crate) struct RepoTagArgs {
    /// These tags take the place of all, '' for none; repeat or separate by commas for more
    #[arg(long, value_name = "TAG", value_delimiter = ',', conflicts_with_all = ["add", "remove"])]
    pub(crate) set: Vec<String>,
    /// Add this tag; repeat or separate by commas for more
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub(crate) add: Vec<String>,
    /// Remove this tag; repeat or separate by commas for more
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub(crate) remove: Vec<String>,
    /// Only these snapshots: starts of ids, or `latest` [default: all that the filters let pass]
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// `strongroom repo unlock`
#[derive(Debug, Args)]
pub(crate) struct RepoUnlockArgs {
    /// Remove the locks of living processes too
    #[arg(long)]
    pub(crate) remove_all: bool,
}

//! What the commands do, one file a noun. Thin: definitions in [`crate::args`], looks in [`crate::output`].

mod agent;
mod api;
mod assume_role;
mod audit;
mod catalog;
mod confirmation;
mod documents;
mod follow;
mod identity;
mod job_history;
mod job_records;
mod jobs;
mod lookup;
mod ls;
mod plan;
mod policy;
mod policy_rules;
mod repo;
mod restore;
mod schedule;
mod serve;
mod snapshot;
mod snapshots;
mod vault;
mod vault_create;
mod vault_upkeep;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::args::{Cli, Command, Global};
use crate::environment::variable;
use crate::exit::{Exit, Failure};
use crate::output::Screen;
use crate::paths;
use crate::session::{Access, CACERT, Session};

/// The data directory, if no flag names it.
const DATA_DIR: &str = "STRONGROOM_DATA_DIR";

/// What a shell runs to find that a command has failed whose lines it was to run: `eval "$(…)"` loses its status.
pub(crate) const FAILED_LINE: &str = "false";

/// Whether a command line that cannot be read is of a command that prints lines for a shell.
pub(crate) fn prints_for_a_shell(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = words.collect();
    words.iter().any(|word| word == "--export")
        || words.windows(2).any(|pair| pair == ["vault", "export"])
}

/// What every command gets.
pub(crate) struct Context {
    pub(crate) screen: Screen,
    pub(crate) data_dir: Option<PathBuf>,
    /// What the flag or the environment says about certificates to trust.
    pub(crate) cacert: Option<PathBuf>,
}

impl Context {
    /// The data directory, absolute.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        match &self.data_dir {
            Some(path) => paths::absolute(path),
            None => paths::default_data_dir(),
        }
    }

    /// A client of the service.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        Session::new(self.access_from_here()?, &self.screen)
    }

    /// Where the service is; one elsewhere needs no data directory here.
    pub(crate) fn access_from_here(&self) -> Result<Access, Failure> {
        self.access(&self.data_dir().unwrap_or_default())
    }

    /// Where the service is that this data directory or the environment names.
    pub(crate) fn access(&self, data_dir: &Path) -> Result<Access, Failure> {
        Access::find(data_dir, self.cacert.as_deref())
    }
}

/// Runs a command to its end.
pub(crate) fn run(cli: Cli, screen: &Screen) -> Result<Exit, Failure> {
    let Global { data_dir, cacert } = cli.global;
    let or_variable =
        |flag: Option<PathBuf>, name: &str| flag.or_else(|| variable(name).map(PathBuf::from));
    let context = Context {
        screen: screen.clone(),
        data_dir: or_variable(data_dir, DATA_DIR),
        cacert: or_variable(cacert, CACERT),
    };
    match cli.command {
        Command::Serve(args) => serve::run(&context, *args),
        Command::Agent(args) => agent::run(&context, args),
        Command::Jobs(args) => jobs::run(&context, &args),
        Command::Job(args) => jobs::one(&context, args.command),
        Command::Vault(args) => vault::run(&context, args.command),
        Command::Plan(args) => plan::run(&context, args.command),
        Command::Policy(args) => policy::run(&context, args.command),
        Command::Account(args) => identity::account(&context, args.command),
        Command::User(args) => identity::user(&context, args.command),
        Command::Key(args) => identity::key(&context, args.command),
        Command::Role(args) => identity::role(&context, args.command),
        Command::Audit(args) => audit::run(&context, &args.command),
        Command::Catalog(args) => catalog::run(&context, args.command),
        Command::Schedule(args) => schedule::run(&context, &args),
        Command::Snapshot(args) => snapshot::run(&context, args.command),
        Command::Snapshots(args) => snapshots::run(&context, &args),
        Command::Ls(args) => ls::run(&context, &args),
        Command::Restore(args) => restore::run(&context, &args),
        Command::Api(args) => api::run(&context, args),
        Command::Repo(args) => repo::run(&context, *args),
        Command::Completion { shell } => documents::completion(&context, shell),
        Command::Man { dir } => documents::manual(&context, &dir),
        Command::Version { json } => documents::version(&context, json),
    }
}

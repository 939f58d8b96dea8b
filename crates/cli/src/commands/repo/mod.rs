//! `repo`: the engine straight on a restic repository; no service, no catalog. The way back when the server is gone.
//!
//! Flags, variables, JSON lines and exit statuses are restic's, so that scripts need to change little.

mod backup;
mod check;
mod copy;
mod diff;
mod dump;
mod files_from;
mod find;
mod forget;
mod key;
mod listing;
mod prune;
mod repair;
mod restore;
mod shapes;
mod stats;
mod stdin;
mod tag;
mod tar;
mod tell;
mod walk;

use std::sync::Arc;

use serde_json::json;
use storage::{ErrorKind, Operation, Storage, StorageError};
use vault::forget::SnapshotFilter;
use vault::{
    ChunkerKind, FileKind, Id, KdfCost, KeyOptions, LockGuard, LockKind, Repository, Secret,
    Snapshot, UnlockScope, VaultError,
};

use super::Context;
use crate::args::{ChunkerArg, RepoArgs, RepoCommand, RepoInitArgs, RepoOptions, RepoUnlockArgs};
use crate::environment::{Ask, Settings, password, repository};
use crate::exit::{Exit, Failure, chain};
use crate::output::{MeterStyle, Screen, counted};
use crate::signals::Interrupts;

/// What every `repo` command gets.
pub(crate) struct Repo<'a> {
    screen: &'a Screen,
    options: &'a RepoOptions,
    settings: Settings,
    interrupts: Interrupts,
}

/// Runs a verb. With `--json` a failure is a JSON line, too.
pub(crate) fn run(context: &Context, args: RepoArgs) -> Result<Exit, Failure> {
    let done = prepare(context, &args.options).and_then(|repo| dispatch(&repo, args.command));
    match done {
        Err(failure) if args.options.json => {
            let line = json!({"message_type": "exit_error", "code": failure.exit.code(), "message": failure.what});
            context.screen.note(&line.to_string());
            Ok(failure.exit)
        }
        done => done,
    }
}

fn prepare<'a>(context: &'a Context, options: &'a RepoOptions) -> Result<Repo<'a>, Failure> {
    let settings = Settings::from_environment()?;
    Ok(Repo {
        screen: &context.screen,
        options,
        settings,
        interrupts: Interrupts::listen()?,
    })
}

fn dispatch(repo: &Repo<'_>, command: RepoCommand) -> Result<Exit, Failure> {
    if repo.options.no_lock && !command.only_reads() {
        return Err(Failure::usage(
            "--no-lock is for commands that only read",
            "leave it out, or wait until the repository can be locked",
        ));
    }
    match command {
        RepoCommand::Init(args) => init(repo, &args),
        RepoCommand::Backup(args) => backup::run(repo, &args),
        RepoCommand::Restore(args) => restore::run(repo, &args),
        RepoCommand::Check(args) => check::run(repo, &args),
        RepoCommand::Snapshots(args) => listing::snapshots(repo, &args),
        RepoCommand::Ls(args) => listing::ls(repo, &args),
        RepoCommand::Find(args) => find::run(repo, &args),
        RepoCommand::Diff(args) => diff::run(repo, &args),
        RepoCommand::Dump(args) => dump::run(repo, &args),
        RepoCommand::Tag(args) => tag::run(repo, &args),
        RepoCommand::Unlock(args) => unlock(repo, &args),
        RepoCommand::Forget(args) => forget::run(repo, &args),
        RepoCommand::Prune(args) => prune::run(repo, &args),
        RepoCommand::Repair(args) => repair::run(repo, &args),
        RepoCommand::Copy(args) => copy::run(repo, &args),
        RepoCommand::Key(args) => key::run(repo, &args),
        RepoCommand::Stats(args) => stats::run(repo, &args),
    }
}

impl Repo<'_> {
    /// Opens the repository; asks for the password if nothing else gives it.
    fn open(&self) -> Result<Repository, Failure> {
        let location = repository(self.options)?;
        let storage = storage_at(&location)?;
        let password = password(self.options, Ask::Once)?;
        Repository::open(storage, &secret(&password)).map_err(|error| vault_failure(&error))
    }

    /// The snapshot that is named; `latest` is the newest that the filter lets pass.
    fn find_snapshot(
        &self,
        opened: &Repository,
        pattern: &str,
        filter: &SnapshotFilter,
    ) -> Result<(Id, Snapshot), Failure> {
        let fail = |error| vault_failure(&error);
        if pattern != vault::LATEST || filter.is_empty() {
            return opened.find_snapshot(pattern).map_err(fail);
        }
        let found = opened.latest_snapshot(|snapshot| filter.matches(snapshot));
        found.map_err(fail)?.ok_or_else(|| {
            Failure::new(
                "no snapshot is of the host, tags and paths that are asked for",
                "look for it: strongroom repo snapshots (RESTIC_HOST counts as --host)",
            )
        })
    }

    /// A shared lock for a command that only reads; none with `--no-lock`.
    fn lock_to_read(&self, opened: &Repository) -> Result<Option<LockGuard>, Failure> {
        if self.options.no_lock {
            return Ok(None);
        }
        opened
            .lock(LockKind::Shared)
            .map(Some)
            .map_err(|error| vault_failure(&error))
    }

    /// A line of a result, unless `--quiet` or `--json`.
    fn say(&self, text: &str) {
        if !self.options.quiet && !self.options.json {
            self.screen.line(text);
        }
    }

    /// A warning on standard error, unless `--json`.
    fn warn(&self, text: &str) {
        if !self.options.json {
            self.screen
                .note(&format!("warning: {}", crate::output::printable(text)));
        }
    }

    /// One line for something that failed while the rest goes on.
    fn error(&self, text: &str) {
        if self.options.json {
            let line = json!({"message_type": "error", "message": text});
            self.screen.note(&line.to_string());
        } else {
            self.screen
                .note(&format!("error: {}", crate::output::printable(text)));
        }
    }

    /// For commands that may end at any moment without harm: an interruption takes the locks of this process away and
    /// ends it.
    fn unlock_on_interrupt(&self, opened: &Repository) {
        let opened = opened.clone();
        self.interrupts.on_interrupt(move || {
            // A lock that cannot be removed is seen to be dead by others, as its process is gone.
            drop(opened.unlock(UnlockScope::ThisProcess));
            std::process::exit(i32::from(Exit::Interrupted.code()));
        });
    }

    /// How progress is shown.
    fn meter_style(&self) -> MeterStyle {
        if self.options.quiet || self.options.json {
            return MeterStyle::Silent;
        }
        match (
            MeterStyle::for_screen(self.screen),
            self.settings.progress_interval,
        ) {
            (MeterStyle::Lines(_), Some(interval)) => MeterStyle::Lines(interval),
            (style, _) => style,
        }
    }
}

/// The storage at this location, which may hold nothing yet.
fn storage_at(location: &str) -> Result<Arc<dyn Storage>, Failure> {
    storage::open(location).map_err(|error| {
        Failure::new(
            chain(&error),
            "name a folder of this host, local or mounted: nothing else is served today",
        )
    })
}

/// Says who makes a key, as restic does.
fn key_options() -> KeyOptions {
    KeyOptions {
        cost: KdfCost::Calibrated,
        username: runner::current_user(),
        hostname: vault::hostname(),
    }
}

fn secret(password: &str) -> Secret {
    Secret::new(password.as_bytes().to_vec())
}

fn init(repo: &Repo<'_>, args: &RepoInitArgs) -> Result<Exit, Failure> {
    let location = repository(repo.options)?;
    let storage = storage_at(&location)?;
    if storage
        .local_root()
        .is_some_and(|root| root.exists() && !root.is_dir())
    {
        return Err(Failure::new(
            format!("{location} is a file, and a repository is a folder"),
            "name an empty folder, or one that is not there yet",
        ));
    }
    let password = password(repo.options, Ask::Twice)?;
    let chunker = match args.chunker {
        ChunkerArg::Gear => ChunkerKind::Gear,
        ChunkerArg::Rabin => ChunkerKind::Rabin,
    };
    let made = Repository::create_with(storage, &secret(&password), &key_options(), chunker)
        .map_err(|error| vault_failure(&error))?;
    let id = made.config().id.to_hex();
    if repo.options.json {
        repo.screen
            .json(&json!({"message_type": "initialized", "id": id, "repository": location}));
    }
    repo.say(&format!(
        "created restic repository {} at {location}",
        &id[..10]
    ));
    repo.say("Keep the password in a safe place: without it the data is lost for good.");
    Ok(Exit::Done)
}

fn unlock(repo: &Repo<'_>, args: &RepoUnlockArgs) -> Result<Exit, Failure> {
    let scope = if args.remove_all {
        UnlockScope::All
    } else {
        UnlockScope::Stale
    };
    let removed = repo
        .open()?
        .unlock(scope)
        .map_err(|error| vault_failure(&error))?;
    if repo.options.json {
        repo.screen
            .json(&json!({"message_type": "summary", "locks_removed": removed}));
    }
    repo.say(&format!("{} removed", counted(removed as u64, "lock")));
    Ok(Exit::Done)
}

/// A failure of the engine, for a person, with restic's exit status.
pub(crate) fn vault_failure(error: &VaultError) -> Failure {
    let (exit, next) = match error {
        VaultError::NotARepository { .. } => (
            Exit::NoRepository,
            "check --repository, or make one: strongroom repo init",
        ),
        VaultError::RepositoryExists { .. } => {
            (Exit::Failed, "use it as it is, or choose an empty folder")
        }
        VaultError::WrongPassword => (
            Exit::WrongPassword,
            "check the password file, command or variable",
        ),
        VaultError::Locked { .. } => (Exit::Locked, "wait for the other program"),
        VaultError::LockLost { .. } => {
            (Exit::Locked, "start again; what was uploaded is used again")
        }
        VaultError::SnapshotNotFound { .. } => {
            (Exit::Failed, "look for it: strongroom repo snapshots")
        }
        VaultError::SnapshotAmbiguous { .. } => (Exit::Failed, "write more of the id"),
        VaultError::UnsupportedVersion { .. } => (
            Exit::Failed,
            "convert it with restic migrate upgrade_repo_v2",
        ),
        VaultError::Refused { .. } => (
            Exit::Failed,
            "nothing was removed for it; look at the whole repository: strongroom repo check --read-data",
        ),
        VaultError::Damaged {
            kind: FileKind::Config | FileKind::Key,
            ..
        } => (
            Exit::Failed,
            "bring the file back from a copy: no repair can make it anew",
        ),
        VaultError::VerifyFailed { .. } => (Exit::Failed, "test the memory of this host"),
        VaultError::Storage(error) if is_of_lock(error) => (
            Exit::Failed,
            "where nothing can be written (no space left, read-only), commands that only read take --no-lock",
        ),
        error if error.is_full() => (
            Exit::Failed,
            "make room on the repository's disk, then start again: what was uploaded is used again",
        ),
        VaultError::Storage(error) if error.kind == storage::ErrorKind::NotFound => (
            Exit::NoRepository,
            "check --repository, or make one: strongroom repo init",
        ),
        VaultError::Storage(error) if error.kind == storage::ErrorKind::Denied => {
            (Exit::Failed, "check the rights of the folder")
        }
        VaultError::Storage(_) => (
            Exit::Failed,
            "check the repository's disk, then start again",
        ),
        _ => (
            Exit::Failed,
            "look at the whole repository: strongroom repo check --read-data",
        ),
    };
    Failure::with(exit, chain(error), next)
}

/// Whether a lock could not be written because nothing can be written there.
fn is_of_lock(error: &StorageError) -> bool {
    error.operation == Operation::Put
        && matches!(error.kind, ErrorKind::Full | ErrorKind::Denied)
        && error.name.starts_with(FileKind::Lock.folder())
}

#[cfg(test)]
mod tests {
    use super::vault_failure;
    use crate::exit::Exit;
    use storage::{ErrorKind, Operation, StorageError};
    use vault::VaultError;

    #[test]
    fn a_lock_that_cannot_be_written_leads_to_no_lock() {
        let next = |name: &str, operation, kind| {
            vault_failure(&VaultError::Storage(StorageError::new(
                kind, operation, name,
            )))
            .next
        };
        let lock = format!("locks/{}", "0".repeat(64));
        for kind in [ErrorKind::Full, ErrorKind::Denied] {
            assert!(next(&lock, Operation::Put, kind).contains("--no-lock"));
            let pack = format!("data/00/{}", "0".repeat(64));
            assert!(!next(&pack, Operation::Put, kind).contains("--no-lock"));
            assert!(!next(&lock, Operation::Delete, kind).contains("--no-lock"));
        }
    }

    #[test]
    fn statuses_are_those_of_restic() {
        let at = || "/r".to_owned();
        for (error, exit) in [
            (
                VaultError::NotARepository { location: at() },
                Exit::NoRepository,
            ),
            (VaultError::WrongPassword, Exit::WrongPassword),
            (VaultError::LockLost { reason: at() }, Exit::Locked),
            (VaultError::SnapshotNotFound { pattern: at() }, Exit::Failed),
        ] {
            let failure = vault_failure(&error);
            assert_eq!(failure.exit, exit);
            assert!(!failure.next.is_empty());
        }
    }
}

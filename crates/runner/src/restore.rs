//! One restore from start to report.
//!
//! Order: lock; find the snapshot and read the index; walk its trees, making folders and planning files (`plan`,
//! `batch`); beside that (`flow`) write the planned files in pack order by several workers (`write`), and hard links; then
//! the metadata of folders, deepest first, since making entries changes their times; then wait until all is durable.
//!
//! Every blob is compared with its id, in the file, after it was written ([`Verification::Content`]) or in memory before
//! that ([`Verification::None`]).

mod batch;
mod conflict;
mod flow;
mod journal;
mod metadata;
mod plan;
mod write;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use model::ConflictPolicy;
use source::file::filter::Filter;
use source::file::target::{FileTarget, StagingScope};
use storage::ErrorKind;
use vault::{Id, LockGuard, LockKind, Reader, Repository, Snapshot};

use self::journal::Journal;
use self::plan::Planner;
use crate::backup::default_worker_count;
use crate::error::RunError;
use crate::observe::{ItemError, Observer, Outcome, Phase, Progress};
use crate::progress::{Counter, Reporter, Tally};
use crate::stop::StopToken;

/// Where a restore writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Each entry where it was.
    Original,
    /// Below this folder, with its whole path.
    Folder(PathBuf),
}

/// Whether written files are read back and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Size and hash of every file.
    #[default]
    Content,
    /// Only what each write reports.
    None,
}

/// When a restore is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When everything that was written is on the disk: one `syncfs` for each file system at the end, none before.
    #[default]
    Synced,
    /// When everything is handed to the system, which writes it to the disk in its own time, as `cp` and most backup
    /// tools do it.
    LeftToTheSystem,
}

/// The job that a restore belongs to, when it may take several attempts: one that was killed or suspended is gone on with
/// by another, which finds what the former ones left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreJob {
    /// The same for all attempts, and for no other restore.
    pub id: String,
    /// A file of this job alone, in which a restore writes down what the next attempt has to know. It is made when it is
    /// not there; whoever ends the job removes it.
    pub journal: PathBuf,
}

/// Whether a lock keeps others from removing what is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locking {
    /// A shared one, unless nobody may write to the storage.
    #[default]
    Shared,
    /// None: whoever asks for the restore knows that nothing is removed meanwhile.
    None,
}

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// Where from.
    pub repository: Repository,
    /// `latest`, an id, or the beginning of one.
    pub snapshot: String,
    /// Where to.
    pub target: Target,
    /// Limits the restore to what matches; empty means everything. Paths are those in the snapshot.
    pub includes: Vec<String>,
    /// Leaves out what matches.
    pub excludes: Vec<String>,
    /// What to do with what is there already.
    pub conflict: ConflictPolicy,
    /// Whether written files are compared.
    pub verification: Verification,
    /// When the restore is over.
    pub durability: Durability,
    /// Whether the repository is locked.
    pub locking: Locking,
    /// The job this belongs to.
    pub job: Option<RestoreJob>,
    /// How many workers write; one for each core, but at least two, when `None`.
    pub worker_count: Option<NonZeroUsize>,
}

impl RestoreRequest {
    /// A restore of everything, with everything else at its default.
    #[must_use]
    pub fn new(repository: Repository, snapshot: &str, target: Target) -> RestoreRequest {
        RestoreRequest {
            repository,
            snapshot: snapshot.to_owned(),
            target,
            includes: Vec::new(),
            excludes: Vec::new(),
            conflict: ConflictPolicy::OverwriteExisting,
            verification: Verification::default(),
            durability: Durability::default(),
            locking: Locking::default(),
            job: None,
            worker_count: None,
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Whether everything was restored.
    pub outcome: Outcome,
    /// The snapshot.
    pub snapshot_id: Id,
    /// The snapshot as it was read.
    pub snapshot: Snapshot,
    /// Regular files that were written or linked.
    pub files_restored: u64,
    /// Folders that were made or found.
    pub dirs_restored: u64,
    /// Links, pipes and devices that were made.
    pub others_restored: u64,
    /// Entries that were left as they are because of the conflict policy.
    pub skipped: u64,
    /// Bytes of the files that were written.
    pub bytes_restored: u64,
    /// The last progress.
    pub progress: Progress,
    /// How long it took.
    pub duration: Duration,
}

/// What is counted beside progress.
#[derive(Debug, Default)]
struct Counts {
    files: Counter,
    dirs: Counter,
    others: Counter,
    skipped: Counter,
    bytes: Counter,
}

/// Everything that planner and workers share.
struct Session<'r> {
    target: &'r FileTarget,
    /// Each entry goes where it was.
    is_original: bool,
    journal: Option<Journal>,
    reader: &'r Reader,
    filter: &'r Filter,
    conflict: ConflictPolicy,
    verification: Verification,
    worker_count: usize,
    observer: &'r dyn Observer,
    stop: &'r StopToken,
    tally: &'r Tally,
    counts: &'r Counts,
    /// Set when the run has failed somewhere: everybody ends.
    is_over: AtomicBool,
}

/// Restores. Items that fail are told to the observer and make the outcome partial; everything else that fails is the
/// error.
pub fn restore(
    request: &RestoreRequest,
    observer: &dyn Observer,
    stop: &StopToken,
) -> Result<RestoreReport, RunError> {
    let tally = Tally::new();
    let filter = Filter::new(&request.includes, &request.excludes)?;
    let lock = match request.locking {
        Locking::Shared => lock_to_read(&request.repository)?,
        Locking::None => None,
    };
    let (snapshot_id, snapshot) = request.repository.find_snapshot(&request.snapshot)?;
    let (index, damaged) = request.repository.load_index_to_restore()?;
    for (id, error) in damaged {
        // Files whose blobs only this one names will fail; all others can be had.
        let path = PathBuf::from(format!("index/{id}"));
        tally.fail(observer, &ItemError::new(path, "read", error.to_string()));
    }
    let index = Arc::new(index);
    let reader = Reader::new(request.repository.clone(), index);
    let root = match &request.target {
        Target::Original => PathBuf::from("/"),
        Target::Folder(folder) => folder.clone(),
    };
    let scope = match request.conflict {
        // Another attempt writes everything again.
        ConflictPolicy::OverwriteExisting => StagingScope::Replacing,
        ConflictPolicy::OverwriteOlder | ConflictPolicy::SkipExisting => StagingScope::Everything,
    };
    let id = request
        .job
        .as_ref()
        .map_or_else(|| snapshot_id.to_hex(), |job| job.id.clone());
    let target = FileTarget::open(&root)
        .map_err(RunError::Target)?
        .staged(&id, scope);
    if request.target != Target::Original {
        target.ensure_writable().map_err(RunError::Target)?;
    }
    let journal = match &request.job {
        None => None,
        Some(job) => Some(
            Journal::open(&job.journal).map_err(|source| RunError::Journal {
                path: job.journal.clone(),
                source,
            })?,
        ),
    };
    let counts = Counts::default();
    let session = Session {
        target: &target,
        is_original: request.target == Target::Original,
        journal,
        reader: &reader,
        filter: &filter,
        conflict: request.conflict,
        verification: request.verification,
        worker_count: request
            .worker_count
            .map_or_else(default_worker_count, NonZeroUsize::get),
        observer,
        stop,
        tally: &tally,
        counts: &counts,
        is_over: AtomicBool::new(false),
    };
    let reporter = Reporter::default();
    let result = std::thread::scope(|scope| {
        let _finished = reporter.finish_on_drop();
        scope.spawn(|| reporter.run(&tally, observer, Vec::new));
        tally.enter(Phase::Running);
        Planner::new(&session, &snapshot.paths)
            .run(&snapshot.tree)
            .and_then(|()| match request.durability {
                Durability::Synced => target.sync().map_err(RunError::Target),
                Durability::LeftToTheSystem => Ok(()),
            })
    });
    drop(lock);
    if let Err(error) = result {
        observer.progress(&tally.snapshot(Vec::new()));
        return Err(error);
    }
    observer.progress(&tally.settled());
    Ok(RestoreReport {
        outcome: Outcome::of(tally.errors.get()),
        snapshot_id,
        snapshot,
        files_restored: counts.files.get(),
        dirs_restored: counts.dirs.get(),
        others_restored: counts.others.get(),
        skipped: counts.skipped.get(),
        bytes_restored: counts.bytes.get(),
        progress: tally.settled(),
        duration: tally.elapsed(),
    })
}

/// A shared lock. A storage that nobody may write to needs none: nothing can be removed from it either.
pub(crate) fn lock_to_read(repository: &Repository) -> Result<Option<LockGuard>, RunError> {
    match repository.lock(LockKind::Shared) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.storage_kind() == Some(ErrorKind::Denied) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

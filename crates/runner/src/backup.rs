//! One backup from start to report.
//!
//! Order: refuse sources that must not be protected; look for a snapshot that the same job has made; take a shared
//! lock; read the index; take over packs that a killed run left; walk, read and store (`engine` and its parts); make
//! packs and index durable; ask the observer; write the snapshot.
//!
//! Parts in reading order: [`parent`], `queue`, `frame`, `engine`, `walk`, `files`, `chunks`, `scan`.

mod chunks;
mod engine;
mod files;
mod frame;
pub mod parent;
mod queue;
mod refuse;
mod scan;
mod walk;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::SpeedLimit;
use source::file::listing::{FileSource, FileSourceOptions};
use source::file::stat::DevIno;
use vault::{
    Id, IndexForBackup, ListedPack, LockGuard, LockKind, Reader, Repository, Snapshot,
    SnapshotSummary, Time, UnlockScope, Writer, WriterOptions,
};

use self::engine::{Changes, EndOnDrop, Engine, EngineParts, Worker};
use self::parent::{Parent, ParentChoice};
use self::scan::Scan;
use crate::error::RunError;
use crate::node::Cutoff;
use crate::observe::{Observer, Outcome, Phase, Progress};
use crate::progress::{Reporter, Tally};
use crate::stop::{Stop, StopToken};
use crate::throttle::ReadThrottle;

/// The tag that says how many items failed, so that a snapshot that is found again still tells.
const ERRORS_TAG: &str = "Errors";

/// The job that a backup belongs to; it becomes tags of the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobTag {
    /// The job.
    pub job_id: String,
    /// The lease under which it runs.
    pub epoch: u64,
    /// The plan, empty without one.
    pub plan_id: String,
    /// The client that runs it, empty without one.
    pub client_id: String,
    /// The instance it protects, empty without one.
    pub instance_id: String,
}

/// Whether the source is counted beside the backup, so that progress has a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TotalsChoice {
    /// Only when the parent snapshot does not tell.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// How long before the start of the parent a file's content must have changed last to be taken over unread.
///
/// Times may lag behind the content. File systems keep them in steps of up to two seconds (FAT). A page that is mapped into
/// memory gives the file a new time with the first write only, until the system has written it back: on Linux after
/// `dirty_expire_centisecs` (30 s) and at most `dirty_writeback_centisecs` (5 s) more, Documentation/admin-guide/sysctl/vm.rst.
/// And the clock of a file server may be behind by some seconds. An inode that changed while its content kept an old time (a
/// rename, a copy with its times) is taken over after five seconds.
pub const SETTLED_AFTER_SECONDS: u32 = 60;

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// Where to.
    pub repository: Repository,
    /// What; relative paths count from the current folder.
    pub paths: Vec<PathBuf>,
    /// Limits the backup to what matches; empty means everything.
    pub include: Vec<String>,
    /// Leaves out what matches.
    pub exclude: Vec<String>,
    /// Keeps reading below these rates.
    pub speed_limit: Option<SpeedLimit>,
    /// Stays on the file system of each path.
    pub one_file_system: bool,
    /// Leaves out what lies beside a CACHEDIR.TAG.
    pub exclude_caches: bool,
    /// Leaves out files with more bytes than this.
    pub exclude_larger_than_bytes: Option<u64>,
    /// Folders that are never protected, beside the vault itself.
    pub skip: Vec<DevIno>,
    /// The host in the snapshot; this host's name when `None`.
    pub hostname: Option<String>,
    /// The user in the snapshot; the current one when `None`.
    pub username: Option<String>,
    /// Tags of the snapshot, beside those of the job.
    pub tags: Vec<String>,
    /// The time of the snapshot; the start of the backup when `None`.
    pub time: Option<Time>,
    /// Where unchanged files are taken over from.
    pub parent: ParentChoice,
    /// How long before the start of the parent a file's content must have changed last to count as unchanged;
    /// [`SETTLED_AFTER_SECONDS`] by default. What changed later is read again.
    pub settled_after_seconds: u32,
    /// The job this belongs to.
    pub job: Option<JobTag>,
    /// How many workers read and store; one for each core, but at least two, when `None`.
    pub worker_count: Option<NonZeroUsize>,
    /// Whether the source is counted for progress.
    pub totals: TotalsChoice,
    /// How packs are made.
    pub writer: WriterOptions,
}

impl BackupRequest {
    /// A backup of these paths with everything else at its default.
    #[must_use]
    pub fn new(repository: Repository, paths: Vec<PathBuf>) -> BackupRequest {
        BackupRequest {
            repository,
            paths,
            include: Vec::new(),
            exclude: Vec::new(),
            speed_limit: None,
            one_file_system: false,
            exclude_caches: false,
            exclude_larger_than_bytes: None,
            skip: Vec::new(),
            hostname: None,
            username: None,
            tags: Vec::new(),
            time: None,
            parent: ParentChoice::default(),
            settled_after_seconds: SETTLED_AFTER_SECONDS,
            job: None,
            worker_count: None,
            totals: TotalsChoice::default(),
            writer: WriterOptions::default(),
        }
    }
}

/// What a backup did.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// Whether everything was read.
    pub outcome: Outcome,
    /// The snapshot.
    pub snapshot_id: Id,
    /// The snapshot as it was written; its summary holds the counts.
    pub snapshot: Snapshot,
    /// What the summary says.
    pub summary: SnapshotSummary,
    /// The last progress.
    pub progress: Progress,
    /// Packs that a killed run had left and that were taken over.
    pub adopted_packs: usize,
    /// Packs that an index names and the vault has lost: what of them this backup needs was stored again, and what else older
    /// snapshots need of them is lost. A check says which files that touches.
    pub missing_packs: usize,
    /// Trees of the parent snapshot that could not be read. What this backup needs of them was stored again, which heals older
    /// snapshots where nothing had changed; what else is lost a check says.
    pub unreadable_trees: u64,
    /// The epoch of the lease under which the snapshot was made, when an earlier run of the same job had made it
    /// already and this run only found it.
    pub found_epoch: Option<u64>,
    /// How long it took.
    pub duration: Duration,
}

/// Backs up. Items that fail are told to the observer and make the outcome partial; everything else that fails is the
/// error.
pub fn backup(
    request: &BackupRequest,
    observer: &dyn Observer,
    stop: &StopToken,
) -> Result<BackupReport, RunError> {
    let tally = Tally::new();
    let setup = Setup::new(request)?;
    // Of an attempt that was killed: it would keep stock restic out.
    request.repository.unlock(UnlockScope::Dead)?;
    if let Some(found) = find_job(request, &tally)? {
        observer.progress(&found.progress);
        return Ok(found);
    }
    let lock = request.repository.lock(LockKind::Shared)?;
    let result = Run {
        request,
        observer,
        stop,
        tally: &tally,
        setup: &setup,
        lock: &lock,
    }
    .run();
    observer.progress(&if result.is_ok() {
        tally.settled()
    } else {
        tally.snapshot(Vec::new())
    });
    result
}

/// What is known before the vault is touched.
struct Setup {
    source: FileSource,
    paths: Vec<String>,
    hostname: String,
    username: String,
    start: Time,
}

impl Setup {
    fn new(request: &BackupRequest) -> Result<Setup, RunError> {
        let paths = refuse::absolute_paths(&request.paths)?;
        let mut skip = request.skip.clone();
        skip.extend(
            request
                .repository
                .storage()
                .local_root()
                .and_then(refuse::identity),
        );
        refuse::refuse_inside(&paths, &skip)?;
        let options = FileSourceOptions {
            paths: paths.clone(),
            include: request.include.clone(),
            exclude: request.exclude.clone(),
            skip,
            one_file_system: request.one_file_system,
            exclude_caches: request.exclude_caches,
            exclude_larger_than_bytes: request.exclude_larger_than_bytes,
        };
        Ok(Setup {
            source: FileSource::new(&options)?,
            paths: paths
                .iter()
                .map(|path| String::from_utf8_lossy(path).into_owned())
                .collect(),
            hostname: request.hostname.clone().unwrap_or_else(vault::hostname),
            username: request.username.clone().unwrap_or_else(current_user),
            start: Time::now(),
        })
    }
}

/// The name of the user that this process runs as; empty for one without a name.
#[must_use]
pub fn current_user() -> String {
    let names = source::file::names::OwnerNames::of_this_host();
    String::from(&*names.user(rustix::process::geteuid().as_raw()))
}

/// A snapshot that an earlier run of the same job has made: the work is done.
fn find_job(request: &BackupRequest, tally: &Tally) -> Result<Option<BackupReport>, RunError> {
    let Some(job) = &request.job else {
        return Ok(None);
    };
    request.repository.sync_what_is_there()?;
    // A snapshot that cannot be read is a finding for a check, and no reason to protect nothing.
    let (snapshots, _) = request.repository.snapshots_and_damage()?;
    let found = snapshots
        .into_iter()
        .find(|(_, snapshot)| snapshot.tag_value("JobId") == Some(&job.job_id));
    Ok(found.map(|(snapshot_id, snapshot)| {
        let number = |key| {
            snapshot
                .tag_value(key)
                .and_then(|text| text.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let summary = snapshot.summary.clone().unwrap_or_default();
        let dirs = summary.dirs_new + summary.dirs_changed + summary.dirs_unmodified;
        tally.files_done.add(summary.total_files_processed);
        tally.items_done.add(summary.total_files_processed + dirs);
        tally.bytes_done.add(summary.total_bytes_processed);
        // The bytes of new blobs are the nearest that the snapshot tells.
        tally
            .bytes_changed
            .add(summary.data_added.min(summary.total_bytes_processed));
        tally.actual_bytes.add(summary.data_added_packed);
        tally
            .actual_files
            .add(summary.files_new + summary.files_changed);
        tally.actual_items.add(
            summary.files_new + summary.files_changed + summary.dirs_new + summary.dirs_changed,
        );
        tally.errors.add(number(ERRORS_TAG));
        BackupReport {
            outcome: Outcome::of(number(ERRORS_TAG)),
            snapshot_id,
            summary,
            progress: tally.settled(),
            adopted_packs: 0,
            missing_packs: 0,
            unreadable_trees: 0,
            found_epoch: Some(number("Epoch")),
            duration: tally.elapsed(),
            snapshot,
        }
    }))
}

/// A backup that holds its lock.
struct Run<'r> {
    request: &'r BackupRequest,
    observer: &'r dyn Observer,
    stop: &'r StopToken,
    tally: &'r Tally,
    setup: &'r Setup,
    lock: &'r LockGuard,
}

impl Run<'_> {
    fn run(self) -> Result<BackupReport, RunError> {
        let Run {
            request,
            setup,
            tally,
            ..
        } = self;
        let repository = &request.repository;
        repository.sync_what_is_there()?;
        let (snapshots, _) = repository.snapshots_and_damage()?;
        let parent = Parent::choose(
            &request.parent,
            repository,
            &snapshots,
            &setup.hostname,
            &setup.paths,
        )?;
        drop(snapshots);
        let IndexForBackup {
            index,
            missing_packs,
            packs,
        } = repository.load_index_for_backup()?;
        let index = Arc::new(index);
        let reader = Reader::new(repository.clone(), Arc::clone(&index));
        let writer = Writer::open(repository.clone(), index, request.writer.clone())?;
        let adopted_packs = self.adopt(&writer, &packs)?;
        drop(packs);
        tally.enter(Phase::Running);
        match self.store(&reader, &writer, parent.as_ref()) {
            Ok((tree, changes)) => {
                let parent = parent.map(|parent| parent.id);
                let report = self.commit(writer, tree, &changes, parent)?;
                Ok(BackupReport {
                    adopted_packs,
                    missing_packs: missing_packs.len(),
                    ..report
                })
            }
            Err(RunError::Stopped(Stop::Suspend)) => {
                tally.enter(Phase::Finishing);
                writer.flush()?;
                Err(RunError::Stopped(Stop::Suspend))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over what a killed run left, which takes as long as reading it: told as progress, and ended by a stop or by
    /// the loss of the lock, both of which the next step reports.
    fn adopt(&self, writer: &Writer, packs: &[ListedPack]) -> Result<usize, RunError> {
        let reporter = Reporter::default();
        let is_over = || self.stop.requested().is_some() || self.lock.ensure_fresh().is_err();
        std::thread::scope(|scope| {
            let _finished = reporter.finish_on_drop();
            scope.spawn(|| reporter.run(self.tally, self.observer, Vec::new));
            Ok(writer.adopt_unindexed_packs(packs, &is_over)?)
        })
    }

    /// Walks, reads and stores everything; the result is the root tree.
    fn store(
        &self,
        reader: &Reader,
        writer: &Writer,
        parent: Option<&Parent>,
    ) -> Result<(Id, Changes), RunError> {
        let worker_count = self
            .request
            .worker_count
            .map_or_else(default_worker_count, NonZeroUsize::get);
        let engine = Engine::new(EngineParts {
            source: &self.setup.source,
            writer,
            reader,
            observer: self.observer,
            stop: self.stop,
            tally: self.tally,
            throttle: ReadThrottle::new(self.request.speed_limit.clone(), self.stop.clone()),
            cutoff: parent
                .map(|parent| Cutoff::new(parent.began(), self.request.settled_after_seconds)),
            worker_count,
        });
        let needs_scan = !self.take_totals(parent) && self.request.totals == TotalsChoice::Auto;
        let reporter = Reporter::default();
        let engine_ref = &engine;
        std::thread::scope(|scope| {
            // However this ends, by a panic too, nobody is left waiting.
            let _finished = (EndOnDrop(engine_ref), reporter.finish_on_drop());
            scope.spawn(|| {
                reporter.run(self.tally, self.observer, || {
                    if let Err(error) = self.lock.ensure_fresh() {
                        engine_ref.abort(error.into());
                    }
                    engine_ref.current_paths()
                });
            });
            if needs_scan {
                let is_over = || engine_ref.is_over();
                scope.spawn(move || {
                    Scan {
                        source: engine_ref.source,
                        tally: engine_ref.tally,
                        is_over: &is_over,
                    }
                    .run();
                });
            }
            let old_root = parent.map(|parent| parent.snapshot.tree);
            match engine_ref.start(old_root, &mut Worker::new(0)) {
                Ok(0) => engine_ref.abort(RunError::SourceMissing),
                Ok(_) => {}
                Err(error) => engine_ref.abort(error),
            }
            let workers: Vec<_> = (0..worker_count)
                .map(|number| scope.spawn(move || engine_ref.work(number)))
                .collect();
            // A worker that panicked has ended the run by itself.
            workers.into_iter().for_each(|worker| drop(worker.join()));
        });
        engine.into_result()
    }

    /// The parent's totals are the best guess of ours. Says whether there are any.
    fn take_totals(&self, parent: Option<&Parent>) -> bool {
        let Some(summary) = parent.and_then(|parent| parent.snapshot.summary.as_ref()) else {
            return false;
        };
        let dirs = summary.dirs_new + summary.dirs_changed + summary.dirs_unmodified;
        self.tally.files_total.add(summary.total_files_processed);
        self.tally
            .items_total
            .add(summary.total_files_processed + dirs);
        self.tally.bytes_total.add(summary.total_bytes_processed);
        true
    }

    fn commit(
        self,
        writer: Writer,
        tree: Id,
        changes: &Changes,
        parent: Option<Id>,
    ) -> Result<BackupReport, RunError> {
        self.tally.enter(Phase::Finishing);
        writer.flush()?;
        if let Some(how) = self.stop.requested() {
            return Err(RunError::Stopped(how));
        }
        self.lock.ensure_held()?;
        self.observer
            .before_commit()
            .map_err(|reason| RunError::Refused { reason })?;
        // The observer may have taken its time. A lock that was lost meanwhile may have let somebody in who removed
        // what the snapshot is about to refer to.
        self.lock.ensure_held()?;
        let summary = self.summary(&writer, changes);
        let errors = self.tally.errors.get();
        let snapshot = Snapshot {
            time: self.request.time.unwrap_or(self.setup.start),
            utc_offset_seconds: 0,
            parent,
            tree,
            paths: self.setup.paths.clone(),
            hostname: self.setup.hostname.clone(),
            username: self.setup.username.clone(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            excludes: self.request.exclude.clone(),
            tags: tags(self.request, errors),
            original: None,
            program_version: concat!("strongroom ", env!("CARGO_PKG_VERSION")).to_owned(),
            summary: Some(summary.clone()),
        };
        let snapshot_id = writer.commit(&snapshot)?;
        Ok(BackupReport {
            outcome: Outcome::of(errors),
            snapshot_id,
            snapshot,
            summary,
            progress: self.tally.settled(),
            adopted_packs: 0,
            missing_packs: 0,
            unreadable_trees: changes.unreadable_trees.get(),
            found_epoch: None,
            duration: self.tally.elapsed(),
        })
    }

    fn summary(&self, writer: &Writer, changes: &Changes) -> SnapshotSummary {
        let stats = writer.stats();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        SnapshotSummary {
            backup_start: self.setup.start,
            backup_end: Time::now(),
            files_new: changes.files_new.get(),
            files_changed: changes.files_changed.get(),
            files_unmodified: changes.files_unmodified.get(),
            dirs_new: changes.dirs_new.get(),
            dirs_changed: changes.dirs_changed.get(),
            dirs_unmodified: changes.dirs_unmodified.get(),
            data_blobs: count(stats.data_blobs),
            tree_blobs: count(stats.tree_blobs),
            data_added: stats.data_bytes + stats.tree_bytes,
            data_added_packed: stats.stored_bytes,
            total_files_processed: self.tally.files_done.get(),
            total_bytes_processed: self.tally.bytes_done.get(),
        }
    }
}

fn tags(request: &BackupRequest, errors: u64) -> Vec<String> {
    let mut tags = request.tags.clone();
    if let Some(job) = &request.job {
        let pairs = [
            ("JobId", job.job_id.clone()),
            ("Epoch", job.epoch.to_string()),
            ("PlanId", job.plan_id.clone()),
            ("ClientId", job.client_id.clone()),
            ("InstanceId", job.instance_id.clone()),
        ];
        tags.extend(
            pairs
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| format!("{key}={value}")),
        );
        if errors > 0 {
            tags.push(format!("{ERRORS_TAG}={errors}"));
        }
    }
    tags
}

/// As many workers as there are by default, and at most `limit`; `None` for 0, which limits nothing.
#[must_use]
pub fn workers_within(limit: u32) -> Option<NonZeroUsize> {
    let limit = NonZeroUsize::new(usize::try_from(limit).unwrap_or(usize::MAX))?;
    NonZeroUsize::new(default_worker_count().min(limit.get()))
}

/// One worker for each core: what they do is bound by the processor. Two at least, so that reading goes on while one
/// waits for the disk.
pub(crate) fn default_worker_count() -> usize {
    std::thread::available_parallelism()
        .map_or(2, NonZeroUsize::get)
        .max(2)
}

/// The identity of a folder, to be left out of sources.
#[must_use]
pub fn folder_identity(path: &Path) -> Option<DevIno> {
    refuse::identity(path)
}

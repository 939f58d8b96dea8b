//! What the tests of this suite share: a vault, a job, and an observer that remembers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use runner::{
    BackupReport, BackupRequest, Durability, ItemError, Observer, Outcome, Progress, RestoreReport,
    RestoreRequest, RunError, StopToken, Target, backup, restore,
};
use storage::{LocalFolder, Memory, Storage};
use testkit::compare::{self, CompareOptions};
use vault::{KdfCost, KeyOptions, Repository, Secret};

pub(crate) const PASSWORD: &str = "open sesame";

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Ear {
    pub(crate) errors: Mutex<Vec<ItemError>>,
    pub(crate) progress: Mutex<Vec<Progress>>,
    pub(crate) refusal: Option<String>,
}

impl Observer for Ear {
    fn progress(&self, progress: &Progress) {
        self.progress.lock().unwrap().push(progress.clone());
    }

    fn item_error(&self, error: &ItemError) {
        self.errors.lock().unwrap().push(error.clone());
    }

    fn before_commit(&self) -> Result<(), String> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

impl Ear {
    pub(crate) fn errors(&self) -> Vec<ItemError> {
        self.errors.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.errors().into_iter().map(|error| error.path).collect()
    }
}

pub(crate) fn create(storage: Arc<dyn Storage>) -> Repository {
    let options = KeyOptions {
        cost: KdfCost::Cheapest,
        username: "test".to_owned(),
        hostname: "here".to_owned(),
    };
    Repository::create(storage, &Secret::new(PASSWORD), &options).unwrap()
}

pub(crate) fn memory_repository() -> Repository {
    create(Arc::new(Memory::new()))
}

pub(crate) fn folder_repository(path: &Path) -> Repository {
    create(Arc::new(LocalFolder::new(path)))
}

/// A folder for a test, on the file system of the build folder: the usual one for temporary files may know no
/// attributes.
pub(crate) fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub(crate) fn request(repository: &Repository, path: &Path) -> BackupRequest {
    let mut request = BackupRequest::new(repository.clone(), vec![path.to_owned()]);
    // As long as a test may wait for (`age`).
    request.settled_after_seconds = 2;
    request
}

pub(crate) fn run(request: &BackupRequest) -> (Result<BackupReport, RunError>, Ear) {
    let ear = Ear::default();
    let result = backup(request, &ear, &StopToken::new());
    (result, ear)
}

/// A backup that has to be complete.
pub(crate) fn back_up(repository: &Repository, path: &Path) -> BackupReport {
    let (result, ear) = run(&request(repository, path));
    let report = result.unwrap();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", ear.errors());
    report
}

pub(crate) fn run_restore(request: &RestoreRequest) -> (Result<RestoreReport, RunError>, Ear) {
    let ear = Ear::default();
    let result = restore(request, &ear, &StopToken::new());
    (result, ear)
}

pub(crate) fn restore_request(repository: &Repository, target: &Path) -> RestoreRequest {
    let target = Target::Folder(target.to_owned());
    RestoreRequest {
        // A sync waits for whatever else this host is writing.
        durability: Durability::LeftToTheSystem,
        ..RestoreRequest::new(repository.clone(), "latest", target)
    }
}

/// A restore of the newest snapshot that has to be complete.
pub(crate) fn bring_back(repository: &Repository, target: &Path) -> RestoreReport {
    let (result, ear) = run_restore(&restore_request(repository, target));
    let report = result.unwrap();
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", ear.errors());
    report
}

/// Where a path lands below a target.
pub(crate) fn below(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

pub(crate) fn assert_same(expected: &Path, found: &Path) {
    let options = CompareOptions {
        holes: false,
        skip_root: false,
    };
    let differences = compare::trees(expected, found, options).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Makes all times of a tree old, so that the next backup may trust them.
pub(crate) fn age() {
    std::thread::sleep(std::time::Duration::from_millis(2100));
}

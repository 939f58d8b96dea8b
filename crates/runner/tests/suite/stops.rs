//! Backups that are asked to stop; restores are in `resumed`.

use std::path::Path;

use runner::{JobTag, Observer, Progress, RunError, Stop, StopToken, backup};
use vault::Repository;

use crate::support::{bring_back, folder_repository, request, temp};

/// Stops the run when it has done something.
struct StopAfter {
    token: StopToken,
    how: Stop,
}

impl Observer for StopAfter {
    fn progress(&self, progress: &Progress) {
        if progress.bytes_done > 0 {
            self.token.stop(self.how);
        }
    }
}

fn fill(root: &Path) {
    std::fs::create_dir_all(root).unwrap();
    for number in 0..100 {
        testkit::content::write_random_file(&root.join(number.to_string()), 300_000, number)
            .unwrap();
    }
}

fn stopped_backup(repository: &Repository, root: &Path, how: Stop) -> Result<(), RunError> {
    let token = StopToken::new();
    let mut request = request(repository, root);
    // Slow enough that it is stopped long before its end.
    request.speed_limit = Some(model::SpeedLimit::parse("0:24:4096").unwrap());
    backup(
        &request,
        &StopAfter {
            token: token.clone(),
            how,
        },
        &token,
    )
    .map(|_| ())
}

#[test]
fn a_suspended_backup_keeps_what_it_did_and_releases_its_lock() {
    let temp = temp();
    let root = temp.path().join("tree");
    fill(&root);
    let repository = folder_repository(&temp.path().join("vault"));
    let result = stopped_backup(&repository, &root, Stop::Suspend);
    assert!(
        matches!(result, Err(RunError::Stopped(Stop::Suspend))),
        "{result:?}"
    );
    assert_eq!(repository.storage().list("locks").unwrap(), []);
    let index = repository.load_index().unwrap();
    assert!(!index.is_empty(), "what was read is findable");
    let mut request = request(&repository, &root);
    request.job = Some(JobTag {
        job_id: "job-1".to_owned(),
        epoch: 2,
        ..JobTag::default()
    });
    let report = crate::support::run(&request).0.unwrap();
    assert!(report.summary.data_blobs < 100, "and is not stored again");
    assert_eq!((report.found_epoch, report.summary.files_new), (None, 100));
    bring_back(&repository, &temp.path().join("target"));
}

#[test]
fn a_canceled_backup_just_ends() {
    let temp = temp();
    let root = temp.path().join("tree");
    fill(&root);
    let repository = folder_repository(&temp.path().join("vault"));
    let result = stopped_backup(&repository, &root, Stop::Cancel);
    match result {
        Err(error @ RunError::Stopped(Stop::Cancel)) => assert_eq!(error.exit_code(), 130),
        other => panic!("{other:?}"),
    }
    assert_eq!(repository.storage().list("locks").unwrap(), []);
    assert_eq!(repository.snapshots().unwrap().len(), 0);
}

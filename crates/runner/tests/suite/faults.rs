//! Storages that fail at call N, and jobs that go on after that.

use std::path::Path;
use std::sync::Arc;

use runner::{JobTag, Outcome, RunError, StopToken, backup};
use storage::{ErrorKind, Fault, Faulty, Memory};
use vault::{CheckOptions, ReadData, Repository, WriterOptions};

use crate::support::{Ear, assert_same, below, bring_back, create, request, run, temp};

fn tree(root: &Path) {
    for folder in 0..3 {
        let folder = root.join(format!("d{folder}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..4 {
            let seed =
                u64::from(folder.to_str().unwrap().as_bytes().last().copied().unwrap()) * 10 + file;
            testkit::content::write_random_file(&folder.join(format!("f{file}")), 60_000, seed)
                .unwrap();
        }
    }
}

fn job(epoch: u64) -> Option<JobTag> {
    Some(JobTag {
        job_id: "job-1".to_owned(),
        epoch,
        ..JobTag::default()
    })
}

/// Packs so small that a few files fill several.
fn small_packs() -> WriterOptions {
    WriterOptions {
        pack_size_bytes: 200_000,
        index_blob_count: 4,
        ..WriterOptions::default()
    }
}

fn assert_sound(repository: &Repository) {
    let options = CheckOptions {
        read_data: ReadData::All,
        ..CheckOptions::default()
    };
    let report = runner::check(
        &runner::CheckRequest {
            repository: repository.clone(),
            options,
        },
        &|_| {},
    )
    .unwrap();
    assert!(report.is_ok(), "{:?}", report.errors);
}

/// restic#3151: whatever call of a backup fails, no snapshot refers to anything that is not there, and the same job
/// goes on afterwards with what was stored.
#[test]
fn t06_a_job_goes_on_after_a_failure_at_any_call() {
    let temp = temp();
    let root = temp.path().join("tree");
    tree(&root);
    let clean = Memory::new();
    create(Arc::new(clean.clone()));
    let faulty_over = |memory: &Memory| {
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        let secret = vault::Secret::new(crate::support::PASSWORD);
        (faulty.clone(), Repository::open(faulty, &secret).unwrap())
    };
    let calls = {
        let (faulty, repository) = faulty_over(&clean.snapshot());
        let mut request = request(&repository, &root);
        (request.job, request.writer) = (job(1), small_packs());
        let before = faulty.call_count();
        run(&request).0.unwrap();
        faulty.call_count() - before
    };
    assert!(calls > 15, "{calls}");
    for call in 0..calls {
        let memory = clean.snapshot();
        let (faulty, repository) = faulty_over(&memory);
        let mut request = request(&repository, &root);
        (request.job, request.writer) = (job(1), small_packs());
        // From this call on the storage is gone, as if the process had been killed.
        faulty.from(faulty.call_count() + call, Fault::Fail(ErrorKind::Other));
        let (result, ear) = run(&request);
        assert_eq!(ear.errors(), [], "call {call}");
        let was_committed = !faulty_over(&memory).1.snapshots().unwrap().is_empty();
        if let Ok(report) = &result {
            assert!(
                was_committed && report.outcome == Outcome::Complete,
                "call {call}"
            );
        }
        let stored_before = memory.snapshot();
        faulty.heal();
        request.job = job(2);
        let (again, ear) = run(&request);
        let again = again.unwrap();
        assert_eq!(
            (again.outcome, ear.errors()),
            (Outcome::Complete, vec![]),
            "call {call}"
        );
        assert_eq!(again.found_epoch, was_committed.then_some(1), "call {call}");
        assert_eq!(repository.snapshots().unwrap().len(), 1, "call {call}");
        assert!(
            storage::Storage::list(&memory, "locks").unwrap().len() <= 1,
            "only the lock that could not be removed"
        );
        let packs = |memory: &Memory| storage::Storage::list(memory, "data").unwrap().len();
        let is_taken_over =
            was_committed || again.adopted_packs > 0 || again.summary.data_blobs < 12;
        assert!(packs(&stored_before) == 0 || is_taken_over, "call {call}");
        assert_sound(&repository);
    }
    let (_, repository) = faulty_over(&clean.snapshot());
    let mut request = request(&repository, &root);
    request.job = job(1);
    run(&request).0.unwrap();
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    assert_same(&root, &below(&target, &root));
}

/// borg 2.0.0b: a full repository booked as unreadable files.
#[test]
fn t26_a_full_vault_is_never_the_error_of_an_item() {
    let temp = temp();
    let root = temp.path().join("tree");
    tree(&root);
    let memory = Memory::new();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    let repository = create(faulty.clone());
    let start = faulty.call_count();
    for call in 0..12 {
        faulty.heal();
        faulty.from(
            start.max(faulty.call_count()) + call,
            Fault::Fail(ErrorKind::Full),
        );
        let mut request = request(&repository, &root);
        request.writer = small_packs();
        let (result, ear) = run(&request);
        assert_eq!(ear.errors(), [], "call {call}");
        match result {
            Err(error) => assert!(
                error.is_vault_full() && error.exit_code() == 1,
                "call {call}: {error:?}"
            ),
            Ok(_) => panic!("call {call} was needed"),
        }
    }
    faulty.heal();
    assert_eq!(repository.snapshots().unwrap().len(), 0);
}

#[test]
fn a_refused_commit_leaves_no_snapshot() {
    let temp = temp();
    let root = temp.path().join("tree");
    tree(&root);
    let repository = crate::support::memory_repository();
    let ear = Ear {
        refusal: Some("the lease is gone".to_owned()),
        ..Ear::default()
    };
    let result = backup(&request(&repository, &root), &ear, &StopToken::new());
    assert!(matches!(result, Err(RunError::Refused { reason }) if reason == "the lease is gone"));
    assert_eq!(repository.snapshots().unwrap().len(), 0);
    assert_sound(&repository);
}

#[test]
fn a_job_that_has_its_snapshot_is_not_run_again() {
    let temp = temp();
    let root = temp.path().join("tree");
    tree(&root);
    let repository = crate::support::memory_repository();
    let mut request = request(&repository, &root);
    request.paths.push(temp.path().join("missing"));
    request.tags = vec!["nightly".to_owned()];
    request.job = Some(JobTag {
        plan_id: "plan-1".to_owned(),
        ..job(3).unwrap()
    });
    let (first, ear) = run(&request);
    let first = first.unwrap();
    assert_eq!(
        (first.outcome, ear.errors().len(), first.found_epoch),
        (Outcome::Partial, 1, None)
    );
    assert_eq!(
        first.snapshot.tags,
        [
            "nightly",
            "JobId=job-1",
            "Epoch=3",
            "PlanId=plan-1",
            "Errors=1"
        ]
    );
    request.job = job(4);
    let (second, ear) = run(&request);
    let second = second.unwrap();
    assert_eq!(
        (second.snapshot_id, second.found_epoch),
        (first.snapshot_id, Some(3))
    );
    assert_eq!((second.outcome, ear.errors()), (Outcome::Partial, vec![]));
    assert_eq!(second.summary, first.summary);
    assert_eq!(second.progress.files_done, first.progress.files_done);
    assert_eq!(second.progress.items_done, first.progress.items_done);
}

#[test]
fn a_storage_that_comes_and_goes_ends_a_restore_and_a_lost_pack_does_not() {
    let temp = temp();
    let root = temp.path().join("tree");
    tree(&root);
    let memory = Memory::new();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    let repository = create(faulty.clone());
    crate::support::back_up(&repository, &root);
    let request = crate::support::restore_request(&repository, &temp.path().join("target"));
    let before = faulty.call_count();
    crate::support::run_restore(&request).0.unwrap();
    let calls = faulty.call_count() - before;
    for call in 0..calls {
        faulty.heal();
        faulty.from(
            faulty.call_count() + call,
            Fault::Fail(ErrorKind::Transient),
        );
        let (result, ear) = crate::support::run_restore(&request);
        // The last call removes the lock, which may fail without harm.
        assert!(
            result.is_err() || call + 1 == calls,
            "call {call} of {calls}: {:?}",
            ear.errors()
        );
    }
}

/// One damaged object costs what only it holds, and never the next backup or the rest of a restore.
#[test]
fn t28_damage_to_one_object_stops_neither_backups_nor_restores() {
    let temp = temp();
    let root = temp.path().join("tree");
    tree(&root);
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    let report = crate::support::back_up(&repository, &root);
    let snapshot = format!("snapshots/{}", report.snapshot_id);
    let whole = storage::Storage::get(&memory, &snapshot).unwrap();
    memory.overwrite(&snapshot, b"nonsense".to_vec());
    crate::support::back_up(&repository, &root);
    memory.overwrite(&snapshot, whole);
    memory.overwrite(
        "index/0000000000000000000000000000000000000000000000000000000000000000",
        b"nonsense".to_vec(),
    );
    let mut request = crate::support::restore_request(&repository, &temp.path().join("target"));
    request.snapshot = report.snapshot_id.to_hex();
    let (result, ear) = crate::support::run_restore(&request);
    let restored = result.unwrap();
    assert_eq!(
        (restored.outcome, restored.files_restored),
        (Outcome::Partial, 12)
    );
    assert_eq!(ear.errors().len(), 1);
    let result = run(&crate::support::request(&repository, &root)).0;
    assert!(
        result.is_err(),
        "a backup does not guess what the vault holds"
    );
}

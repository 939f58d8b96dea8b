//! Jobs of a deleted plan or vault are gone at once for everybody, and their rows go in short steps.

#![allow(clippy::unwrap_used, clippy::panic)]

use model::{JobId, JobQuery, JobStatus, PlanId};

use super::{ImportedJob, check_index, create, import_all, query, remove_hidden, save_index};
use crate::conditions::first;
use crate::db::{Catalog, CatalogOptions, Tx};
use crate::plans::RunningJobs;
use crate::records::{ItemError, Job, PageRequest};
use crate::tests::support::{Fixture, at, report};
use crate::words::WorkKind;
use crate::{item_errors, job_events, jobs, plans, vaults};

fn count(catalog: &Catalog, table: &str) -> i64 {
    let sql = format!("/* whole */ SELECT COUNT(*) FROM {table}");
    let read = |tx: &Tx<'_>| first(tx, "test", &sql, [], |row| row.get::<_, i64>(0));
    catalog.read("test", read).unwrap().unwrap()
}

fn total(catalog: &Catalog, fixture: &Fixture) -> u64 {
    let page = query(catalog, &fixture.account, &JobQuery::default()).unwrap();
    page.total
}

/// `number` as a job of the past that has ended, of `plan`.
fn imported(like: &Job, number: usize, plan: &PlanId) -> ImportedJob {
    let job = Job {
        job_id: JobId::parse(&format!("job-h{number:03}")).unwrap(),
        plan_id: Some(plan.clone()),
        status: JobStatus::Complete,
        created_time: at(number as i64),
        complete_time: Some(at(number as i64 + 1)),
        ..like.clone()
    };
    ImportedJob { job, body: None }
}

fn item_error(number: i64) -> ItemError {
    ItemError {
        path: format!("/{number}"),
        operation: "open".to_owned(),
        errno: None,
        message: String::new(),
        time: at(0),
    }
}

/// All rows that deletions have left, step by step; gives how many steps had something to remove.
fn remove_all(catalog: &Catalog, fixture: &Fixture) -> usize {
    let (seen, mut steps) = (total(catalog, fixture), 0);
    loop {
        let rows = count(catalog, "jobs");
        let errors = count(catalog, "item_errors");
        let done = remove_hidden(catalog).unwrap();
        assert_eq!(count(catalog, "jobs"), rows - done.jobs as i64);
        assert!(done.jobs <= 2 && errors - count(catalog, "item_errors") <= 3);
        assert_eq!(total(catalog, fixture), seen);
        assert_eq!(check_index(catalog).unwrap(), []);
        if !done.has_more {
            return steps;
        }
        steps += 1;
    }
}

/// A plan with jobs of every kind: one with a long list of errors, one that runs, imported ones.
fn plan_with_jobs(fixture: &Fixture) -> (PlanId, Job, Job) {
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let ended = fixture.job(&plan, 1_000);
    let work = fixture.lease(&client, "run", 1_001, 1).remove(0);
    let rows: Vec<ItemError> = (0..10).map(item_error).collect();
    item_errors::append(&fixture.catalog, &work.work_id, work.epoch, 0, &rows).unwrap();
    let end = report(&work, JobStatus::Failed);
    assert!(
        jobs::finish(&fixture.catalog, &end, at(1_002))
            .unwrap()
            .is_accepted()
    );
    let history: Vec<ImportedJob> = (0..30)
        .map(|number| imported(&ended, number, &plan.plan_id))
        .collect();
    import_all(&fixture.catalog, &fixture.account, &history).unwrap();
    let running = fixture.job(&plan, 1_003);
    fixture.lease(&client, "run", 1_004, 1);
    (plan.plan_id, ended, running)
}

#[test]
fn the_jobs_of_a_deleted_plan_are_gone_at_once_and_their_rows_in_steps() {
    let fixture = Fixture::new();
    let with_snapshots = CatalogOptions {
        ledger_dir: Some(fixture.folder.path().join("ledger")),
        ..CatalogOptions::default()
    };
    let (plan, ended, running) = plan_with_jobs(&fixture);
    let other = fixture.plan(ended.vault_id.as_ref().unwrap(), "other");
    let kept = fixture.job(&other, 1_005);
    // An index of the time before, which learns of the deletion by the change log.
    let before = fixture.place.open(with_snapshots.clone());
    assert_eq!(total(&before, &fixture), 33);
    save_index(&before).unwrap();
    drop(before);

    let (catalog, account) = (&fixture.catalog, &fixture.account);
    plans::delete(catalog, account, &plan, RunningJobs::Drop).unwrap();
    assert_eq!(count(catalog, "jobs"), 32, "only the one that ran");
    assert!(
        crate::work::get(catalog, running.job_id.as_str())
            .unwrap()
            .is_none()
    );
    for other in [
        catalog,
        &fixture.open_again(),
        &fixture.place.open(with_snapshots.clone()),
    ] {
        assert_eq!(total(other, &fixture), 1);
        let gone = &ended.job_id;
        assert!(jobs::get(other, account, gone).is_err());
        assert!(jobs::cancel(other, account, gone, at(1_006)).is_err());
        let page = PageRequest::first(10);
        let (kind, id) = (WorkKind::Backup, gone.as_str());
        assert!(job_events::list(other, account, kind, id, page).is_err());
        assert!(item_errors::list(other, account, kind, id, page).is_err());
        assert_eq!(check_index(other).unwrap(), []);
    }

    // What comes back by an import is there again, and what comes anew stays.
    let again = [imported(&ended, 3, &plan), imported(&ended, 77, &plan)];
    let report = import_all(catalog, account, &again).unwrap();
    assert_eq!((report.imported, report.known), (2, 0));
    assert_eq!(import_all(catalog, account, &again).unwrap().known, 2);
    assert_eq!(total(catalog, &fixture), 3);
    assert_eq!(total(&fixture.open_again(), &fixture), 3);

    assert!(remove_all(catalog, &fixture) >= 15);
    assert_eq!(count(catalog, "jobs"), 3);
    let left = ["work", "item_errors"].map(|table| count(catalog, table));
    assert_eq!(left, [1, 0]);
    for id in [&again[0].job.job_id, &again[1].job.job_id, &kept.job_id] {
        jobs::get(catalog, account, id).unwrap();
    }
    let late = fixture.place.open(with_snapshots);
    assert_eq!(
        total(&late, &fixture),
        3,
        "the old index learns of it still"
    );
    assert_eq!(check_index(&late).unwrap(), []);
}

#[test]
fn the_jobs_of_a_deleted_vault_go_likewise() {
    let fixture = Fixture::new();
    let (plan, ended, _) = plan_with_jobs(&fixture);
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let other = fixture.vault(2_000);
    let kept = fixture.job(&fixture.plan(&other, "other"), 2_001);
    let vault = ended.vault_id.as_ref().unwrap();
    vaults::delete(catalog, account, vault, None, at(2_002)).unwrap();
    assert!(create(catalog, account, &plan, at(2_003)).is_err());
    assert_eq!((total(catalog, &fixture), count(catalog, "jobs")), (1, 32));
    assert!(jobs::get(catalog, account, &ended.job_id).is_err());
    assert!(remove_all(catalog, &fixture) >= 15);
    assert_eq!(count(catalog, "jobs"), 1);
    // The other job's work and the task that removes what the vault holds.
    let left = ["work", "item_errors"].map(|table| count(catalog, table));
    assert_eq!(left, [2, 0]);
    jobs::get(catalog, account, &kept.job_id).unwrap();
}

/// Once no index can ask for it any more, a removal that is done is forgotten; one that is not stays.
#[test]
fn removals_are_forgotten_when_they_are_done() {
    let fixture = Fixture::new();
    let (plan, ..) = plan_with_jobs(&fixture);
    let catalog = &fixture.catalog;
    plans::delete(catalog, &fixture.account, &plan, RunningJobs::Drop).unwrap();
    let forget = || {
        let all = |tx: &Tx<'_>| super::parts::forget_changes(tx, 1, i64::MAX);
        catalog.write("test", all).unwrap();
        count(catalog, "job_removals")
    };
    assert_eq!(forget(), 1);
    assert_eq!(total(&fixture.open_again(), &fixture), 0);
    remove_all(catalog, &fixture);
    assert_eq!(forget(), 0);
    assert_eq!(total(&fixture.open_again(), &fixture), 0);
}

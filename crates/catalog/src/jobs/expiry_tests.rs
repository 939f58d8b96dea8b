//! What goes by age, and nothing else: also by two programs at once, and with lists of any length.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;

use model::{JobQuery, JobStatus, RestoreType, Timestamp};

use super::{Expired, ImportedJob, check_index, import_all, query, remove_ended};
use crate::conditions::{all, first};
use crate::db::{Catalog, Tx};
use crate::records::{ItemError, Job, TargetFields};
use crate::restores::{FinishRestore, NewRestore};
use crate::tests::support::{Fixture, at};
use crate::words::WorkKind;
use crate::{Progress, item_errors, jobs, plans, restores, snapshots, work};

fn count(catalog: &Catalog, table: &str) -> i64 {
    let sql = format!("/* whole */ SELECT COUNT(*) FROM {table}");
    let read = |tx: &Tx<'_>| first(tx, "test", &sql, [], |row| row.get::<_, i64>(0));
    catalog.read("test", read).unwrap().unwrap()
}

fn ids(catalog: &Catalog, fixture: &Fixture) -> Vec<String> {
    let asked = JobQuery {
        page_size: 100,
        ..JobQuery::default()
    };
    let found = query(catalog, &fixture.account, &asked).unwrap();
    assert_eq!(found.total, found.rows.len() as u64);
    let mut ids: Vec<String> = found
        .rows
        .iter()
        .map(|job| job.job_id.to_string())
        .collect();
    ids.sort();
    let sql = "/* whole */ SELECT job_id FROM jobs ORDER BY job_id";
    let truth = catalog.read("test", |tx| {
        all(tx, "test", sql, [], |row| row.get::<_, String>(0))
    });
    assert_eq!(ids, truth.unwrap());
    ids
}

/// All that is to go; how many jobs and restore jobs, and in how many steps.
fn remove_all(catalog: &Catalog, fixture: &Fixture, before: Timestamp) -> (usize, usize, usize) {
    let (mut jobs, mut restores) = (0, 0);
    for step in 1.. {
        let done = remove_ended(catalog, &fixture.account, before).unwrap();
        (jobs, restores) = (jobs + done.jobs, restores + done.restores);
        if !done.has_more {
            return (jobs, restores, step);
        }
    }
    unreachable!()
}

fn imported(fixture: &Fixture, job: &Job, number: usize, ended: Option<i64>) -> ImportedJob {
    let job_id = model::JobId::parse(&format!("job-h{number:05}")).unwrap();
    let (created, ended) = (at(number as i64), ended.map(at));
    ImportedJob {
        job: Job {
            account_id: fixture.account.clone(),
            job_id,
            status: JobStatus::Complete,
            created_time: created,
            complete_time: ended,
            ..job.clone()
        },
        body: None,
    }
}

#[test]
fn what_ended_before_goes_with_all_that_hangs_on_it_and_nothing_else() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let old = fixture.run_job(&client, &plan, "old", 10);
    let border = fixture.run_job(&client, &plan, "border", 19);
    let running = fixture.job(&plan, 5);
    let leased = fixture.lease(&client, "run", 21, 1);
    let row = ItemError {
        path: "/x".to_owned(),
        operation: "open".to_owned(),
        errno: None,
        message: "gone".to_owned(),
        time: at(22),
    };
    item_errors::append(catalog, &leased[0].work_id, 1, 0, &[row]).unwrap();
    let before =
        |catalog: &Catalog| ["jobs", "work", "job_events"].map(|table| count(catalog, table));
    let rows = before(catalog);
    assert_eq!(old.complete_time, Some(at(11)));
    assert_eq!(border.complete_time, Some(at(20)));
    // To the second: what ended at that very moment is not before it.
    assert_eq!(remove_all(catalog, &fixture, at(11)), (0, 0, 1));
    assert_eq!(before(catalog), rows);
    assert_eq!(remove_all(catalog, &fixture, at(20)), (1, 0, 1));
    assert_eq!(before(catalog), [rows[0] - 1, rows[1] - 1, rows[2] - 3]);
    assert!(jobs::get(catalog, &fixture.account, &old.job_id).is_err());
    // Whatever the time, what has not ended stays, with its list.
    assert_eq!(remove_all(catalog, &fixture, at(1_000_000)), (1, 0, 1));
    assert_eq!(ids(catalog, &fixture), [running.job_id.to_string()]);
    assert_eq!(count(catalog, "item_errors"), 1);
    // The snapshots of jobs that are gone stand, and say which job made them.
    for (hash, job) in [("old", &old), ("border", &border)] {
        let snapshot = snapshots::get_by_hash(catalog, &fixture.account, &vault, hash).unwrap();
        assert_eq!(snapshot.job_id.as_ref(), Some(&job.job_id));
    }
    let plan = plans::get(catalog, &fixture.account, &plan.plan_id).unwrap();
    assert_eq!(plan.latest_execute_job_id, Some(running.job_id));
    assert_eq!(plan.latest_finish_job_id, None);
    assert_eq!(check_index(catalog).unwrap(), []);
}

#[test]
fn restore_jobs_go_as_backup_jobs_do() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let client = fixture.client("m-1", 0);
    let plan = fixture.plan(&fixture.vault(0), "plan");
    let job = fixture.run_job(&client, &plan, "hash", 500);
    let snapshot = snapshots::left_by(catalog, &fixture.account, &job.job_id).unwrap();
    let new = NewRestore {
        restore_type: RestoreType::EcsFile,
        region_id: "cn-hangzhou".to_owned(),
        snapshot_id: snapshot.snapshot_id,
        target_client_id: Some(client.client_id.clone()),
        target_instance_id: None,
        target_path: None,
        target_bucket: None,
        target_file_system_id: None,
        include: None,
        exclude: None,
        options: None,
        target_fields: TargetFields::default(),
    };
    let restore = |now| restores::create(catalog, &fixture.account, &new, None, at(now)).unwrap();
    let ended = restore(510);
    let leased = fixture.lease(&client, "run", 511, 1);
    let end = FinishRestore {
        work_id: leased[0].work_id.clone(),
        epoch: 1,
        outcome: JobStatus::Complete,
        message: None,
        progress: Progress::default(),
    };
    restores::finish(catalog, &end, at(512)).unwrap();
    let waiting = restore(513);
    assert_eq!(remove_all(catalog, &fixture, at(501)), (0, 0, 1));
    assert_eq!(remove_all(catalog, &fixture, at(513)), (1, 1, 1));
    assert!(restores::get(catalog, &fixture.account, &ended.restore_id).is_err());
    assert!(restores::get(catalog, &fixture.account, &waiting.restore_id).is_ok());
    assert_eq!(count(catalog, "job_events"), 1);
    // A report that was sent again is answered, and changes nothing.
    let again = restores::finish(catalog, &end, at(600)).unwrap();
    assert_eq!(again, work::FinishAnswer::Stale);
}

#[test]
fn a_long_history_and_a_long_list_go_in_short_steps() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let client = fixture.client("m-1", 0);
    let plan = fixture.plan(&fixture.vault(0), "plan");
    let model = fixture.run_job(&client, &plan, "hash", 9_000);
    // Ended, not told when, ended in the future of its creation.
    let history: Vec<ImportedJob> = (0..1_300)
        .map(|number| {
            let ended = [Some(number as i64 + 5), None, Some(9_000)][number % 3];
            imported(&fixture, &model, number, ended)
        })
        .collect();
    import_all(catalog, &fixture.account, &history).unwrap();
    assert_eq!(remove_all(catalog, &fixture, at(8_000)), (867, 0, 2));
    assert_eq!(check_index(catalog).unwrap(), []);
    assert_eq!(count(catalog, "jobs"), 434);

    let job = fixture.job(&plan, 9_100);
    let leased = fixture.lease(&client, "run", 9_101, 1);
    let row = |number: i64| ItemError {
        path: format!("/{number}"),
        operation: "open".to_owned(),
        errno: None,
        message: String::new(),
        time: at(9_102),
    };
    let rows: Vec<ItemError> = (0..45_000).map(row).collect();
    item_errors::append(catalog, &leased[0].work_id, 1, 0, &rows).unwrap();
    jobs::finish(
        catalog,
        &crate::tests::support::report(&leased[0], JobStatus::Failed),
        at(9_103),
    )
    .unwrap();
    remove_all(catalog, &fixture, at(9_100));
    assert_eq!(ids(catalog, &fixture), [job.job_id.to_string()]);
    let step = || remove_ended(catalog, &fixture.account, at(9_200)).unwrap();
    let partly = Expired {
        has_more: true,
        ..Expired::default()
    };
    let left = || {
        let (kind, id) = (WorkKind::Backup, job.job_id.as_str());
        item_errors::count(catalog, &fixture.account, kind, id).unwrap()
    };
    assert_eq!((step(), left()), (partly, 25_000));
    assert_eq!((step(), left()), (partly, 5_000));
    assert_eq!(step().jobs, 1);
    assert_eq!(count(catalog, "item_errors") + count(catalog, "jobs"), 0);
    assert_eq!(count(catalog, "work"), 0);
}

#[test]
fn two_programs_remove_each_job_once() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let plan = fixture.plan(&fixture.vault(0), "plan");
    let model = fixture.run_job(&client, &plan, "hash", 9_000);
    let history: Vec<ImportedJob> = (0..3_000)
        .map(|number| imported(&fixture, &model, number, Some(number as i64)))
        .collect();
    import_all(&fixture.catalog, &fixture.account, &history).unwrap();
    let other = fixture.open_again();
    let removed: usize = thread::scope(|scope| {
        let runs = [&fixture.catalog, &other]
            .map(|catalog| scope.spawn(|| remove_all(catalog, &fixture, at(2_000)).0));
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert_eq!(removed, 2_000);
    for catalog in [&fixture.catalog, &other] {
        assert_eq!(count(catalog, "jobs"), 1_001);
        let found = query(catalog, &fixture.account, &JobQuery::default()).unwrap();
        assert_eq!(found.total, 1_001);
        assert_eq!(check_index(catalog).unwrap(), []);
    }
}

/// What is removed leaves the memory too, once it is the larger part.
#[test]
fn an_index_of_mostly_removed_jobs_is_built_anew() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let client = fixture.client("m-1", 0);
    let plan = fixture.plan(&fixture.vault(0), "plan");
    let model = fixture.run_job(&client, &plan, "hash", 90_000);
    let history: Vec<ImportedJob> = (0..3_600)
        .map(|number| imported(&fixture, &model, number, Some(number as i64)))
        .collect();
    import_all(catalog, &fixture.account, &history).unwrap();
    let ledger = &catalog.ledger;
    let dead = || {
        let read = |_: &Tx<'_>, index: &super::ledger::AccountIndex| {
            let counts = index.parts.iter().map(|part| part.index.dead_count());
            Ok(counts.sum::<usize>())
        };
        ledger
            .read(catalog, "test", &fixture.account, read)
            .unwrap()
    };
    let remove = |count: i64| remove_all(catalog, &fixture, at(count)).0;
    assert_eq!(dead(), 0);
    // Chunks are small in tests. More than one is dead, yet less than half of all.
    assert_eq!((remove(1_700), dead()), (1_700, 1_700));
    assert_eq!((remove(1_810), dead()), (110, 0));
    assert_eq!(count(catalog, "jobs"), 1_791);
    assert_eq!(check_index(catalog).unwrap(), []);
}

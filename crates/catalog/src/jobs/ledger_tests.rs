//! The index beside the database: it follows every change, also those of others, survives restarts by its snapshot, and
//! is never believed when its history is not the database's.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use model::{
    FilterKey, JobId, JobQuery, JobStatus, RawFilter, RawJobQuery, SortDirection, VaultId,
};

use super::{Renderer, cancel, check_index, create, import, query, save_index, try_bodies};
use crate::access_keys;
use crate::db::{Catalog, CatalogOptions, Tx};
use crate::plans::RunningJobs;
use crate::records::Job;
use crate::tests::support::{Fixture, at};

fn options(fixture: &Fixture) -> CatalogOptions {
    CatalogOptions {
        ledger_dir: Some(fixture.folder.path().join("ledger")),
        ..CatalogOptions::default()
    }
}

fn open(fixture: &Fixture) -> Catalog {
    fixture.place.open(options(fixture))
}

fn asked(key: FilterKey, value: &str) -> JobQuery {
    JobQuery::parse(&RawJobQuery {
        filters: vec![RawFilter {
            number: 1,
            key: Some(key.as_str().to_owned()),
            operator: None,
            values: vec![value.to_owned()],
        }],
        ..RawJobQuery::default()
    })
    .unwrap()
}

fn total(catalog: &Catalog, fixture: &Fixture, key: FilterKey, value: &str) -> u64 {
    query(catalog, &fixture.account, &asked(key, value))
        .unwrap()
        .total
}

/// The ids of all jobs, newest first, from the database alone.
fn truth(catalog: &Catalog) -> Vec<String> {
    let sql = "/* whole */ SELECT job_id FROM jobs ORDER BY created_time DESC, job_id DESC";
    let ids =
        |tx: &Tx<'_>| crate::conditions::all(tx, "test", sql, [], |row| row.get::<_, String>(0));
    catalog.read("test", ids).unwrap()
}

fn listed(catalog: &Catalog, fixture: &Fixture) -> Vec<String> {
    let mut ids = Vec::new();
    for page_number in 1.. {
        let asked = JobQuery {
            page_number,
            page_size: 7,
            ..JobQuery::default()
        };
        let page = query(catalog, &fixture.account, &asked).unwrap();
        if page.rows.is_empty() {
            assert_eq!(page.total, ids.len() as u64);
            return ids;
        }
        ids.extend(page.rows.into_iter().map(|job| job.job_id.to_string()));
    }
    unreachable!("some page is empty")
}

fn check(catalog: &Catalog, fixture: &Fixture) {
    assert_eq!(listed(catalog, fixture), truth(catalog));
}

#[test]
fn every_change_shows_at_once() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let (plan, other) = (fixture.plan(&vault, "plan"), fixture.plan(&vault, "other"));
    let count = |value: &str| total(&fixture.catalog, &fixture, FilterKey::Status, value);
    assert_eq!(count("CREATED"), 0);
    let job = fixture.job(&plan, 1);
    assert_eq!(count("CREATED"), 1);
    fixture.lease(&client, "run", 2, 1);
    assert_eq!((count("CREATED"), count("RUNNING")), (0, 1));
    crate::work::release_run(&fixture.catalog, &client.client_id, "other run", at(3)).unwrap();
    assert_eq!((count("QUEUED"), count("RUNNING")), (1, 0));
    cancel(&fixture.catalog, &fixture.account, &job.job_id, at(4)).unwrap();
    assert_eq!(count("CANCELED"), 1);
    fixture.run_job(&client, &other, "hash", 6);
    assert_eq!((count("CANCELED"), count("COMPLETE")), (1, 1));
    assert_eq!(
        total(
            &fixture.catalog,
            &fixture,
            FilterKey::PlanId,
            other.plan_id.as_str()
        ),
        1
    );
    crate::plans::delete(
        &fixture.catalog,
        &fixture.account,
        &other.plan_id,
        RunningJobs::Drop,
    )
    .unwrap();
    assert_eq!((count("CANCELED"), count("COMPLETE")), (1, 0));
    check(&fixture.catalog, &fixture);
    crate::vaults::delete(&fixture.catalog, &fixture.account, &vault, None, at(9)).unwrap();
    assert_eq!(count("CANCELED"), 0);
    check(&fixture.catalog, &fixture);
}

/// Two programs on one database: each answers with what the other wrote before.
#[test]
fn another_program_on_the_same_database_is_never_stale() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let second = fixture.open_again();
    for number in 0..20 {
        let (writer, reader) = if number % 3 == 0 {
            (&second, &fixture.catalog)
        } else {
            (&fixture.catalog, &second)
        };
        create(writer, &fixture.account, &plan.plan_id, at(number)).unwrap();
        assert_eq!(
            query(reader, &fixture.account, &JobQuery::default())
                .unwrap()
                .total,
            number as u64 + 1
        );
        check(reader, &fixture);
        check(writer, &fixture);
    }
    crate::plans::delete(&second, &fixture.account, &plan.plan_id, RunningJobs::Drop).unwrap();
    check(&fixture.catalog, &fixture);
}

#[test]
fn a_restart_goes_on_from_the_snapshot() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let first = open(&fixture);
    for number in 0..10 {
        create(&first, &fixture.account, &plan.plan_id, at(number)).unwrap();
    }
    check(&first, &fixture);
    assert_eq!(save_index(&first).unwrap(), 1);
    assert_eq!(save_index(&first).unwrap(), 0, "nothing has changed");
    drop(first);
    // Changes that the snapshot does not have.
    let job = fixture.job(&plan, 11);
    cancel(&fixture.catalog, &fixture.account, &job.job_id, at(12)).unwrap();
    let second = open(&fixture);
    assert_eq!(total(&second, &fixture, FilterKey::Status, "CANCELED"), 1);
    check(&second, &fixture);
    // A log that does not reach back, and files that are none.
    save_index(&second).unwrap();
    drop(second);
    fixture.job(&plan, 13);
    fixture
        .catalog
        .write("test", |tx| {
            crate::conditions::change(tx, "test", "/* whole */ DELETE FROM job_changes", [])
        })
        .unwrap();
    check(&open(&fixture), &fixture);
    let path = fs::read_dir(fixture.folder.path().join("ledger"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&path).unwrap();
    for damage in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[damage] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        check(&open(&fixture), &fixture);
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    check(&open(&fixture), &fixture);
}

/// A database that was put back to an older copy gets versions that a snapshot has seen, of another history.
#[test]
fn a_snapshot_of_another_history_is_not_believed() {
    let fixture = Fixture::sqlite(CatalogOptions::default());
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    fixture.job(&plan, 1);
    let copy = fixture.folder.path().join("copy.db");
    let sql = format!("VACUUM INTO '{}'", copy.display());
    let path = fixture.folder.path().join("catalog.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(&sql)
        .unwrap();
    let ahead = open(&fixture);
    for number in 2..6 {
        create(&ahead, &fixture.account, &plan.plan_id, at(number)).unwrap();
    }
    check(&ahead, &fixture);
    save_index(&ahead).unwrap();
    drop(ahead);
    for jobs in [1, 4, 5] {
        let path = fixture.folder.path().join(format!("again-{jobs}.db"));
        fs::copy(&copy, &path).unwrap();
        let other = Catalog::open(&path, CatalogOptions::default()).unwrap();
        for number in 0..jobs {
            create(&other, &fixture.account, &plan.plan_id, at(100 + number)).unwrap();
        }
        drop(other);
        check(&Catalog::open(&path, options(&fixture)).unwrap(), &fixture);
    }
}

/// Imports keep their times and ids: they come in any order and are listed in the order of creation.
#[test]
fn imports_out_of_order_are_merged() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let mut job = fixture.job(&plan, 50);
    cancel(&fixture.catalog, &fixture.account, &job.job_id, at(51)).unwrap();
    job.status = JobStatus::Complete;
    for number in 0..60 {
        // Falls and ties, so that more runs are left than may stay.
        let time = (number * 37) % 41;
        job.created_time = at(time);
        job.job_id = JobId::parse(&format!("job-import{number:03}")).unwrap();
        job.vault_id =
            Some(VaultId::parse(if number % 2 == 0 { "v-even" } else { "v-odd" }).unwrap());
        import(&fixture.catalog, &job).unwrap();
        if number % 20 == 7 {
            check(&fixture.catalog, &fixture);
        }
    }
    fixture.job(&plan, 60);
    check(&fixture.catalog, &fixture);
    check(&fixture.open_again(), &fixture);
    let mut odd = asked(FilterKey::VaultId, "v-odd");
    odd.sort = SortDirection::Ascend;
    assert_eq!(
        query(&fixture.catalog, &fixture.account, &odd)
            .unwrap()
            .total,
        30
    );
    let between = JobQuery::parse(&RawJobQuery {
        filters: vec![RawFilter {
            number: 1,
            key: Some("JobId".to_owned()),
            operator: Some("BETWEEN".to_owned()),
            values: vec!["job-import010".to_owned(), "job-import019".to_owned()],
        }],
        ..RawJobQuery::default()
    });
    assert_eq!(
        query(&fixture.catalog, &fixture.account, &between.unwrap())
            .unwrap()
            .total,
        10
    );
}

/// What is remembered is answered without a transaction; a question that needs one notices that the state has passed of
/// which it was told, and is asked again.
#[test]
fn a_state_that_passes_within_a_question_is_noticed() {
    let mut fixture = Fixture::sqlite(CatalogOptions::default());
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let first = fixture.job(&plan, 1);
    let other = fixture.open_again();
    fixture.catalog = fixture.place.open(CatalogOptions {
        renderer: Some(Renderer {
            version: 1,
            render: |job| job.job_id.to_string().into_bytes(),
        }),
        reader_count: 1,
        ..CatalogOptions::default()
    });
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let ask = |asked: &JobQuery, meanwhile: &dyn Fn()| {
        let answer = catalog.try_reading(|reading| {
            let key = access_keys::identify_in(reading, "root-1").unwrap();
            assert!(key.is_some());
            meanwhile();
            let page = try_bodies(catalog, reading, account, asked).unwrap();
            page.map(|page| page.total)
        });
        answer.unwrap().flatten()
    };
    let create_one = || {
        create(&other, account, &plan.plan_id, at(2)).unwrap();
    };
    cancel(catalog, account, &first.job_id, at(2)).unwrap();
    let ended = asked(FilterKey::Status, "CANCELED");
    // An id is looked up in the database.
    let by_id = asked(FilterKey::JobId, first.job_id.as_str());
    let count = || query(catalog, account, &JobQuery::default()).unwrap().total;
    assert_eq!(count(), 1);
    for _ in 0..2 {
        let found = (ask(&ended, &|| ()), ask(&by_id, &|| ()));
        assert_eq!(found, (Some(1), Some(1)));
    }
    assert_eq!(ask(&ended, &create_one), Some(1), "of the moment before");
    assert_eq!(count(), 2);
    assert_eq!(ask(&by_id, &|| ()), Some(1));
    assert_eq!(ask(&by_id, &create_one), None);
    assert_eq!(count(), 3);
    assert_eq!(ask(&by_id, &|| ()), Some(1));
}

/// What the check is for: an index that lost a change.
#[test]
fn the_check_finds_a_wrong_index_and_heals_it() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let jobs: Vec<Job> = (0..5).map(|number| fixture.job(&plan, number)).collect();
    check(&fixture.catalog, &fixture);
    assert_eq!(check_index(&fixture.catalog).unwrap(), []);
    let sql = "/* whole */ UPDATE jobs SET status = 'FAILED', complete_time = 1 WHERE job_id = ?";
    let change =
        |tx: &Tx<'_>| crate::conditions::change(tx, "test", sql, [jobs[2].job_id.as_str()]);
    fixture.catalog.write("test", change).unwrap();
    assert_eq!(
        total(&fixture.catalog, &fixture, FilterKey::Status, "FAILED"),
        0,
        "behind the ledger's back"
    );
    let differences = check_index(&fixture.catalog).unwrap();
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].in_index[JobStatus::Created as usize], (5, 0));
    assert_eq!(
        differences[0].in_database[JobStatus::Failed as usize],
        (1, 1)
    );
    assert_eq!(
        total(&fixture.catalog, &fixture, FilterKey::Status, "FAILED"),
        1
    );
    assert_eq!(check_index(&fixture.catalog).unwrap(), []);
}

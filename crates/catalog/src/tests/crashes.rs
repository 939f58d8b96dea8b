//! What is left after a crash, an error or a full disk: all that was acknowledged, and nothing half.

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};

use model::{AccountId, JobId, JobQuery, PlanId};

use super::leases::world::{Step, World};
use super::places::{Place, VARIABLE};
use super::proxy::{Cut, Proxy};
use super::support::{Fixture, at, complete};
use crate::conditions::{change, first};
use crate::sql::sqlite::pragma;
use crate::{
    CatalogError, CatalogOptions, ItemError, PageRequest, WorkKind, item_errors, jobs, plans,
    snapshots, work,
};

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let total = || {
        jobs::query(&fixture.catalog, &fixture.account, &JobQuery::default())
            .unwrap()
            .total
    };
    let insert = "INSERT INTO tasks (task_id, account_id, kind, status, vault_id, progress, created_time, updated_time) \
                  VALUES ('t-1', ?, 'CREATE_VAULT', 'CREATED', 'v-1', 0, 0, 0)";
    let count = || {
        fixture
            .catalog
            .read("test", |tx| {
                first(
                    tx,
                    "test",
                    "/* whole */ SELECT COUNT(*) FROM tasks",
                    [],
                    |row| row.get::<_, i64>(0),
                )
            })
            .unwrap()
    };
    let failed: Result<(), CatalogError> = fixture.catalog.write("test", |tx| {
        change(tx, "test", insert, [fixture.account.as_str()]).unwrap();
        Err(CatalogError::TokenMismatch)
    });
    assert!(failed.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        fixture
            .catalog
            .write("test", |tx| -> Result<(), CatalogError> {
                change(tx, "test", insert, [fixture.account.as_str()]).unwrap();
                panic!("in the middle of a transaction")
            })
    }));
    assert!(panicked.is_err());
    assert_eq!(count(), Some(0));
    fixture.job(&plan, 1);
    assert_eq!(total(), 1, "the writer goes on");
}

/// Ending a job whose snapshot cannot be written ends nothing.
#[test]
fn a_job_ends_whole_or_not_at_all() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    fixture.run_job(&client, &plan, "same", 1);
    let job = fixture.job(&plan, 3);
    let leased = fixture.lease(&client, "run", 4, 1);
    let result = jobs::finish(&fixture.catalog, &complete(&leased[0], "same"), at(5));
    assert!(
        matches!(result, Err(CatalogError::AlreadyExists { .. })),
        "{result:?}"
    );
    let read = jobs::get(&fixture.catalog, &fixture.account, &job.job_id).unwrap();
    assert_eq!(
        (read.status, read.complete_time),
        (model::JobStatus::Running, None)
    );
    assert_eq!(read.progress.bytes_done, 0);
    assert!(
        jobs::finish(&fixture.catalog, &complete(&leased[0], "other"), at(6))
            .unwrap()
            .is_accepted()
    );
}

const CHILD: &str = "STRONGROOM_TEST_CATALOG_CHILD";

/// The other half of the next test, run as a process of its own: creates jobs and runs them to their end, and names
/// each one as soon as the catalog has acknowledged it. Does nothing when it is not asked to.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let mut arguments = arguments.split('|');
    let mut next = || arguments.next().unwrap().to_owned();
    let (place, ledger) = (Place::read(&next()), next());
    let catalog = place.open(with_ledger(Path::new(&ledger)));
    let (account, plan) = (
        AccountId::parse(&next()).unwrap(),
        PlanId::parse(&next()).unwrap(),
    );
    let client = model::ClientId::parse(&next()).unwrap();
    for number in 0.. {
        let job = jobs::create(&catalog, &account, &plan, at(number)).unwrap();
        say(&format!("created {}", job.job_id));
        let leased = work::lease_next(
            &catalog,
            &account,
            &client,
            "run",
            at(number),
            super::support::TTL,
            1,
        )
        .unwrap();
        let error = ItemError {
            path: "/x".to_owned(),
            operation: "open".to_owned(),
            errno: None,
            message: "gone".to_owned(),
            time: at(number),
        };
        item_errors::append(&catalog, &leased[0].work_id, 1, 0, &[error]).unwrap();
        assert!(
            jobs::finish(
                &catalog,
                &complete(&leased[0], job.job_id.as_str()),
                at(number)
            )
            .unwrap()
            .is_accepted()
        );
        say(&format!("finished {}", job.job_id));
        jobs::save_index(&catalog).unwrap();
    }
}

/// With snapshots of the ledger's index beside the database.
fn with_ledger(dir: &Path) -> CatalogOptions {
    CatalogOptions {
        ledger_dir: Some(dir.to_owned()),
        ..CatalogOptions::default()
    }
}

/// One line on the standard output itself, which the test harness does not hold back.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let ledger = fixture.folder.path().join("ledger");
    drop(fixture.catalog);
    let mut acknowledged: Vec<(String, JobId)> = Vec::new();
    for kill_after in [1, 2, 5, 12] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::crashes::child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(
                CHILD,
                format!(
                    "{}|{}|{}|{}|{}",
                    fixture.place.told(),
                    ledger.display(),
                    fixture.account,
                    plan.plan_id,
                    client.client_id
                ),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = acknowledged.len();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((what, id)) = line.split_once(' ')
                && let ("created" | "finished", Ok(job_id)) = (what, JobId::parse(id))
            {
                acknowledged.push((what.to_owned(), job_id));
                if acknowledged.len() - before == kill_after {
                    // SIGKILL: the child gets no chance to tidy up.
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() - before >= kill_after);

        let catalog = fixture.place.open(with_ledger(&ledger));
        let total = jobs::query(&catalog, &fixture.account, &JobQuery::default())
            .unwrap()
            .total;
        assert!(
            total >= acknowledged.len() as u64 / 2,
            "every job that was named is counted"
        );
        assert_eq!(
            jobs::check_index(&catalog).unwrap(),
            [],
            "snapshot and log give what the database has"
        );
        for (what, job_id) in &acknowledged {
            let job = jobs::get(&catalog, &fixture.account, job_id).unwrap();
            if what == "finished" {
                assert_eq!(job.status, model::JobStatus::Complete);
                let snapshot =
                    snapshots::get_by_hash(&catalog, &fixture.account, &vault, job_id.as_str())
                        .unwrap();
                assert_eq!(snapshot.job_id.as_ref(), Some(job_id));
                let page = PageRequest::first(10);
                let errors = item_errors::list(
                    &catalog,
                    &fixture.account,
                    WorkKind::Backup,
                    job_id.as_str(),
                    page,
                )
                .unwrap();
                assert_eq!(errors.total, 1);
            }
        }
        // Every job is whole: it has its work, and a snapshot exactly when it is complete.
        let all = JobQuery {
            page_size: 100,
            ..JobQuery::default()
        };
        for job in jobs::query(&catalog, &fixture.account, &all).unwrap().rows {
            let is_done = job.status == model::JobStatus::Complete;
            let snapshot =
                snapshots::get_by_hash(&catalog, &fixture.account, &vault, job.job_id.as_str());
            assert_eq!(snapshot.is_ok(), is_done, "{}", job.job_id);
            assert!(work::get(&catalog, job.job_id.as_str()).unwrap().is_some());
            // The next child starts with nothing in its way.
            if !job.status.is_final() {
                work::release_run(&catalog, &client.client_id, "none", at(0)).unwrap();
                jobs::cancel(&catalog, &fixture.account, &job.job_id, at(0)).unwrap();
            }
        }
        if fixture.place.is_server() {
            continue;
        }
        let intact = catalog
            .read("test", |tx| {
                Ok(pragma(tx.sqlite(), "PRAGMA integrity_check").unwrap())
            })
            .unwrap();
        assert_eq!(intact.as_deref(), Some("ok"));
    }
}

/// What happens to jobs, each kind of change once: creation, lease, progress, the end of a lease in each way, results,
/// cancellations.
fn history() -> Vec<Step> {
    let lease = |client, run| Step::Lease {
        client,
        run,
        limit: 2,
    };
    let finish = |job, outcome| Step::Finish {
        job,
        old: false,
        outcome,
    };
    vec![
        Step::Create { plan: 0 },
        Step::Create { plan: 1 },
        lease(0, 0),
        Step::Extend {
            client: 0,
            run: 0,
            job: 0,
            old: false,
        },
        finish(0, model::JobStatus::Complete),
        Step::Release { job: 1, old: false },
        lease(1, 0),
        Step::Cancel { job: 1 },
        finish(1, model::JobStatus::Canceled),
        Step::Create { plan: 2 },
        lease(1, 0),
        Step::Wait { seconds: 31 },
        Step::Expire,
        lease(1, 0),
        Step::StartRun { client: 1, run: 1 },
        lease(1, 1),
        finish(2, model::JobStatus::Failed),
        Step::Create { plan: 0 },
        Step::Cancel { job: 3 },
    ]
}

/// On a server: the connection breaks at each commit of a history in turn, before COMMIT or after it. Whoever was told of a
/// failure asks again, and then all is as if nothing had happened.
#[test]
fn a_history_goes_on_when_any_of_its_commits_is_cut() {
    if std::env::var(VARIABLE).is_err() {
        return;
    }
    for cut in Cut::ALL {
        let mut number = 0;
        loop {
            let mut world = World::new();
            let proxy = Proxy::before(&world.fixture.place);
            world.fixture.catalog = proxy.open(CatalogOptions::default());
            proxy.cut_after(number, cut);
            for step in history() {
                world.step(&step);
                world.check();
            }
            if !proxy.has_cut() {
                break;
            }
            number += 1;
        }
        assert!(number >= 15, "{cut:?}: {number} commits");
    }
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let options = CatalogOptions {
        max_page_count: Some(140),
        ..CatalogOptions::default()
    };
    let fixture = Fixture::sqlite(options);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let mut created = Vec::new();
    let full = loop {
        match jobs::create(&fixture.catalog, &fixture.account, &plan.plan_id, at(1)) {
            Ok(job) => created.push(job),
            Err(error) => break error,
        }
        assert!(created.len() < 10_000, "the limit must be met");
    };
    assert!(matches!(full, CatalogError::Full), "{full:?}");
    let relaxed = fixture.catalog.write_relaxed("test", |tx| {
        crate::conditions::change(
            tx,
            "test",
            "INSERT INTO item_errors VALUES ('w', 1, 1, zeroblob(600000), '', 1, '', 1)",
            [],
        )
    });
    assert!(matches!(relaxed, Err(CatalogError::Full)), "{relaxed:?}");
    // Reads go on, and nothing of the refused job is there.
    let total = || {
        jobs::query(&fixture.catalog, &fixture.account, &JobQuery::default())
            .unwrap()
            .total
    };
    assert_eq!(total(), created.len() as u64);
    for job in &created {
        assert!(
            work::get(&fixture.catalog, job.job_id.as_str())
                .unwrap()
                .is_some()
        );
    }
    // With room again, writes go on.
    plans::delete(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        plans::RunningJobs::Drop,
    )
    .unwrap();
    let plan = fixture.plan(&vault, "plan");
    assert!(fixture.job(&plan, 2).job_id > created.last().unwrap().job_id);
    assert_eq!(total(), 1);
}

#[test]
fn durable_writes_are_synced_again_after_relaxed_ones() {
    let fixture = Fixture::sqlite(CatalogOptions::default());
    let level = || {
        fixture
            .catalog
            .write("test", |tx| {
                Ok(pragma(tx.sqlite(), "PRAGMA synchronous").unwrap())
            })
            .unwrap()
    };
    let relaxed = fixture.catalog.write_relaxed("test", |tx| {
        Ok(pragma(tx.sqlite(), "PRAGMA synchronous").unwrap())
    });
    assert_eq!(relaxed.unwrap().as_deref(), Some("1"));
    assert_eq!(level().as_deref(), Some("2"));
    let failed: Result<(), CatalogError> = fixture
        .catalog
        .write_relaxed("test", |_| Err(CatalogError::TokenMismatch));
    assert!(failed.is_err());
    assert_eq!(level().as_deref(), Some("2"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        fixture
            .catalog
            .write_relaxed("test", |_| -> Result<(), CatalogError> {
                panic!("in the middle of a relaxed transaction")
            })
    }));
    assert!(panicked.is_err());
    assert_eq!(level().as_deref(), Some("2"));
}

#[test]
fn more_readers_than_connections_wait_their_turn() {
    let fixture = Fixture::with(CatalogOptions {
        reader_count: 1,
        ..CatalogOptions::default()
    });
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let page = jobs::query(
                        &fixture.catalog,
                        &fixture.account,
                        &JobQuery {
                            page_size: 100,
                            ..JobQuery::default()
                        },
                    );
                    let page = page.unwrap();
                    assert_eq!(
                        page.rows.len() as u64,
                        page.total,
                        "count and page are of one state"
                    );
                }
            });
        }
        for number in 0..30 {
            fixture.job(&plan, number);
        }
    });
}

//! A program that is killed at any write of any commit: SQLite's log as it is on the disk after each write in turn, opened
//! by the next program. What the ledger tells is the state before the commit or the one after it, and history goes on from
//! there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use model::{ClientId, JobId, JobQuery, JobStatus, PlanId, Timestamp};
use tempfile::TempDir;

use super::support::{Fixture, TTL, at, complete, report};
use crate::jobs::ImportedJob;
use crate::plans::RunningJobs;
use crate::{
    Catalog, CatalogOptions, ItemError, Job, PageRequest, WorkKind, item_errors, job_events, jobs,
    plans, snapshots, work,
};

/// What a log begins with, in bytes.
const LOG_HEADER: usize = 32;
/// What a page of the log begins with; the page comes with the next write.
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4_096;

/// A catalog of one history, with the index's snapshots beside it.
struct World {
    fixture: Fixture,
    client: ClientId,
    plans: Vec<PlanId>,
}

type Step = (&'static str, fn(&World));

/// Each kind of change of the ledger, each one commit.
const HISTORY: &[Step] = &[
    ("create a job", |world| world.create(0, 10)),
    ("create another one", |world| world.create(1, 11)),
    ("lease a job", |world| world.lease(12)),
    ("add to its list of errors", |world| {
        let row = ItemError {
            path: "/x".to_owned(),
            operation: "open".to_owned(),
            errno: None,
            message: "gone".to_owned(),
            time: at(13),
        };
        let work = world.leased();
        item_errors::append(world.catalog(), &work.work_id, work.epoch, 0, &[row]).unwrap();
    }),
    ("finish it with a snapshot", |world| {
        let end = complete(&world.leased(), "hash");
        jobs::finish(world.catalog(), &end, at(14)).unwrap();
    }),
    ("lease the other one", |world| world.lease(15)),
    ("give it back", |world| {
        work::release_run(world.catalog(), &world.client, "next run", at(16)).unwrap();
    }),
    ("cancel it", |world| {
        let job = world.jobs().into_iter().find(|job| !job.status.is_final());
        let job_id = job.unwrap().job_id;
        jobs::cancel(world.catalog(), world.account(), &job_id, at(17)).unwrap();
    }),
    ("import jobs in order", |world| world.import(&[20, 21, 22])),
    ("import jobs of the past", |world| {
        world.import(&[5, 3, 21, 4])
    }),
    ("run a job that fails", |world| world.create(0, 30)),
    ("lease it", |world| world.lease(31)),
    ("finish it without a snapshot", |world| {
        let end = report(&world.leased(), JobStatus::Failed);
        jobs::finish(world.catalog(), &end, at(32)).unwrap();
    }),
    ("remove what is old", |world| {
        jobs::remove_ended(world.catalog(), world.account(), at(5)).unwrap();
    }),
    ("create a job that is deleted with its plan", |world| {
        world.create(0, 33);
    }),
    ("delete a plan with many jobs", |world| world.delete_plan(0)),
    ("remove some of its rows", |world| world.remove_hidden()),
    ("import one of them again", |world| world.import(&[20])),
    ("remove the next ones", |world| world.remove_hidden()),
    ("delete a plan with few jobs", |world| world.delete_plan(1)),
];

impl World {
    fn new() -> Self {
        let mut fixture = Fixture::sqlite(CatalogOptions::default());
        let client = fixture.client("m-1", 0).client_id;
        let vault = fixture.vault(0);
        let plans = ["many", "few", "later"].map(|name| fixture.plan(&vault, name).plan_id);
        fixture.catalog = open(fixture.folder.path());
        Self {
            fixture,
            client,
            plans: plans.into(),
        }
    }

    fn catalog(&self) -> &Catalog {
        &self.fixture.catalog
    }

    fn account(&self) -> &model::AccountId {
        &self.fixture.account
    }

    fn create(&self, plan: usize, now: i64) {
        jobs::create(self.catalog(), self.account(), &self.plans[plan], at(now)).unwrap();
    }

    fn lease(&self, now: i64) {
        let (account, client) = (self.account(), &self.client);
        let leased = work::lease_next(self.catalog(), account, client, "run", at(now), TTL, 1);
        assert_eq!(leased.unwrap().len(), 1);
    }

    /// The work that is leased.
    fn leased(&self) -> crate::Work {
        let job = self
            .jobs()
            .into_iter()
            .find(|job| job.status == JobStatus::Running);
        let job_id = job.unwrap().job_id;
        work::get(self.catalog(), job_id.as_str()).unwrap().unwrap()
    }

    fn jobs(&self) -> Vec<Job> {
        all_jobs(self.catalog(), self.account())
    }

    /// Jobs of the first plan that were created at these times elsewhere.
    fn import(&self, times: &[i64]) {
        let like = self.jobs().remove(0);
        let imported = |time: &i64| ImportedJob {
            job: Job {
                job_id: JobId::parse(&format!("job-h{time:03}")).unwrap(),
                plan_id: Some(self.plans[0].clone()),
                status: JobStatus::Complete,
                created_time: at(*time),
                complete_time: Some(Timestamp(at(*time).0 + 1)),
                ..like.clone()
            },
            body: None,
        };
        let jobs: Vec<ImportedJob> = times.iter().map(imported).collect();
        jobs::import_all(self.catalog(), self.account(), &jobs).unwrap();
    }

    fn delete_plan(&self, plan: usize) {
        let (account, plan) = (self.account(), &self.plans[plan]);
        plans::delete(self.catalog(), account, plan, RunningJobs::Drop).unwrap();
    }

    fn remove_hidden(&self) {
        assert!(jobs::remove_hidden(self.catalog()).unwrap().has_more);
    }
}

fn open(folder: &Path) -> Catalog {
    let options = CatalogOptions {
        ledger_dir: Some(folder.join("ledger")),
        reader_count: 1,
        ..CatalogOptions::default()
    };
    Catalog::open(&folder.join("catalog.db"), options).unwrap()
}

fn all_jobs(catalog: &Catalog, account: &model::AccountId) -> Vec<Job> {
    let asked = JobQuery {
        page_size: 100,
        ..JobQuery::default()
    };
    let page = jobs::query(catalog, account, &asked).unwrap();
    assert_eq!(page.total, page.rows.len() as u64);
    page.rows
}

/// What the ledger tells of each job: its fields, its events, its errors, its work, its snapshot; and the plans.
#[derive(Debug, PartialEq)]
struct Told {
    jobs: Vec<(Job, u64, u64, bool, bool)>,
    plans: Vec<bool>,
}

fn told(world: &World, catalog: &Catalog) -> Told {
    let account = world.account();
    let page = PageRequest::first(1);
    let jobs = all_jobs(catalog, account).into_iter().map(|job| {
        let id = job.job_id.as_str();
        assert_eq!(jobs::get(catalog, account, &job.job_id).unwrap(), job);
        let events = job_events::list(catalog, account, WorkKind::Backup, id, page).unwrap();
        let errors = item_errors::list(catalog, account, WorkKind::Backup, id, page).unwrap();
        let work = work::get(catalog, id).unwrap();
        let has_snapshot = snapshots::left_by(catalog, account, &job.job_id).is_ok();
        (
            job,
            events.total,
            errors.total,
            work.is_some(),
            has_snapshot,
        )
    });
    let has_plan = |plan: &PlanId| plans::get(catalog, account, plan).is_ok();
    Told {
        jobs: jobs.collect(),
        plans: world.plans.iter().map(has_plan).collect(),
    }
}

/// The files of a catalog, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// The database, its log and the index's snapshots.
fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    for name in ["catalog.db", "catalog.db-wal"] {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        files.insert(name.to_owned(), bytes);
    }
    for entry in fs::read_dir(folder.join("ledger")).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("ledger/{}", entry.file_name().display());
        files.insert(name, fs::read(entry.path()).unwrap());
    }
    files
}

/// The same with only so much of the log.
fn put(files: &Files, log: usize, folder: &Path) {
    fs::create_dir_all(folder.join("ledger")).unwrap();
    for (name, bytes) in files {
        let is_log = name.ends_with("-wal");
        let length = if is_log { log } else { bytes.len() };
        fs::write(folder.join(name), &bytes[..length]).unwrap();
    }
}

/// A folder that need not be synced: hundreds of catalogs are opened and closed there.
fn folder_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// How long the log is in the middle of each write of a page and after it, from one length to another.
fn writes(from: usize, to: usize) -> Vec<usize> {
    let mut lengths = vec![from];
    if from < LOG_HEADER {
        lengths.extend([LOG_HEADER / 2, LOG_HEADER]);
    }
    let mut frame = from.max(LOG_HEADER);
    while frame < to {
        let page = frame + FRAME_HEADER;
        lengths.extend([page + PAGE / 2, page + PAGE]);
        frame = page + PAGE;
    }
    assert_eq!(lengths.last(), Some(&to), "the log has whole pages");
    lengths
}

/// What the next program finds: the state before or after.
fn check(world: &World, killed: &Path, expected: &[&Told], when: &str) {
    let catalog = open(killed);
    let found = told(world, &catalog);
    assert!(expected.contains(&&found), "{when}: {found:?}");
    assert_eq!(jobs::check_index(&catalog).unwrap(), [], "{when}");
}

/// The same, and a history that goes on from there.
fn check_on(world: &World, killed: &Path, expected: &Told, when: &str) {
    check(world, killed, &[expected], when);
    // The second program has a change that no snapshot of the index knows.
    for count in 1..3 {
        let (catalog, account) = (open(killed), world.account());
        let job = jobs::create(&catalog, account, &world.plans[2], at(100)).unwrap();
        let seen = all_jobs(&catalog, account);
        assert_eq!(seen.len(), expected.jobs.len() + count, "{when}");
        assert_eq!(seen[0].job_id, job.job_id, "{when}");
        assert_eq!(jobs::check_index(&catalog).unwrap(), [], "{when}");
    }
}

#[test]
fn a_kill_at_every_write_of_every_commit_leaves_the_ledger_of_before_or_after() {
    let world = World::new();
    let folder = world.fixture.folder.path();
    let mut killed_count = 0;
    let mut before = (files(folder), told(&world, world.catalog()));
    for (name, step) in HISTORY {
        step(&world);
        let after = (files(folder), told(&world, world.catalog()));
        let log = |files: &Files| files["catalog.db-wal"].clone();
        let (old, new) = (log(&before.0), log(&after.0));
        assert!(new.starts_with(&old) && new.len() > old.len(), "{name}");
        assert_eq!(before.0["catalog.db"], after.0["catalog.db"], "{name}");
        for length in writes(old.len(), new.len()) {
            let killed = folder_in_memory();
            put(&after.0, length, killed.path());
            let expected = match length {
                length if length == old.len() => vec![&before.1],
                length if length == new.len() => vec![&after.1],
                _ => vec![&before.1, &after.1],
            };
            let when = format!("{name}, the log has {length} bytes");
            check(&world, killed.path(), &expected, &when);
            killed_count += 1;
        }
        // A snapshot of the index may be of a state that a loss of power has undone.
        jobs::save_index(world.catalog()).unwrap();
        let saved = files(folder);
        for (length, state) in [(old.len(), &before.1), (new.len(), &after.1)] {
            let killed = folder_in_memory();
            put(&saved, length, killed.path());
            let when = format!("{name}, the log has {length} bytes, the index is of later");
            check_on(&world, killed.path(), state, &when);
        }
        before = (saved, after.1);
    }
    assert!(killed_count > 20 * 6, "{killed_count}");
}

//! Jobs of clients whose agent was uninstalled: they end, and say why, instead of waiting for ever.

use model::{ClientId, JobStatus, RestoreType, VaultId};

use super::support::{Fixture, TTL, at, complete, registration};
use crate::jobs::Scheduled;
use crate::restores::NewRestore;
use crate::work::FinishAnswer;
use crate::{
    Client, Job, PageRequest, Plan, RestoreJob, TargetFields, WorkKind, clients, job_events, jobs,
    plans, restores, snapshots, work,
};

struct World {
    fixture: Fixture,
    vault: VaultId,
    stays: Client,
    goes: Client,
    restore: NewRestore,
}

impl World {
    /// Two clients; the one that stays has left a snapshot, to be restored to the one that goes.
    fn new() -> Self {
        let fixture = Fixture::new();
        let (stays, goes) = (fixture.client("m-1", 0), fixture.client("m-2", 0));
        let vault = fixture.vault(0);
        let plan = fixture.plan_with(&vault, "first", |spec| {
            spec.client_id = Some(stays.client_id.clone());
        });
        fixture.run_job(&stays, &plan, "a", 1);
        let snapshot =
            snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, "a").unwrap();
        let restore = NewRestore {
            restore_type: RestoreType::EcsFile,
            region_id: "cn-hangzhou".to_owned(),
            snapshot_id: snapshot.snapshot_id,
            target_client_id: Some(goes.client_id.clone()),
            target_instance_id: Some(goes.instance_id.clone()),
            target_path: None,
            target_bucket: None,
            target_file_system_id: None,
            include: None,
            exclude: None,
            options: None,
            target_fields: TargetFields::default(),
        };
        Self {
            fixture,
            vault,
            stays,
            goes,
            restore,
        }
    }

    fn plan_of(&self, client: &Client, name: &str, schedule: Option<String>) -> Plan {
        self.fixture.plan_with(&self.vault, name, |spec| {
            spec.client_id = Some(client.client_id.clone());
            spec.schedule = schedule;
        })
    }

    fn restore(&self, now: i64) -> RestoreJob {
        let (catalog, account) = (&self.fixture.catalog, &self.fixture.account);
        restores::create(catalog, account, &self.restore, None, at(now)).unwrap()
    }

    fn uninstall(&self, client_id: &ClientId, heard_before: i64, now: i64) {
        let (catalog, account) = (&self.fixture.catalog, &self.fixture.account);
        clients::request_uninstall(catalog, account, client_id, at(heard_before), at(now)).unwrap();
    }

    fn job(&self, job: &Job) -> Job {
        jobs::get(&self.fixture.catalog, &self.fixture.account, &job.job_id).unwrap()
    }

    fn restored(&self, job: &RestoreJob) -> RestoreJob {
        let (catalog, account) = (&self.fixture.catalog, &self.fixture.account);
        restores::get(catalog, account, &job.restore_id).unwrap()
    }

    /// The states that a job has gone through, and what was said of the last.
    fn history(&self, kind: WorkKind, id: &str) -> (Vec<JobStatus>, Option<String>) {
        let (catalog, account) = (&self.fixture.catalog, &self.fixture.account);
        let events = job_events::list(catalog, account, kind, id, PageRequest::first(100));
        let rows = events.unwrap().rows;
        let message = rows.last().and_then(|event| event.message.clone());
        (rows.iter().map(|event| event.status).collect(), message)
    }
}

fn assert_failed(status: JobStatus, message: Option<&str>, client: &Client, why: &str) {
    let message = message.unwrap_or_default();
    assert_eq!(status, JobStatus::Failed, "{message}");
    assert!(
        message.contains(client.client_id.as_str()) && message.contains(why),
        "{message}"
    );
}

#[test]
fn what_waits_for_it_fails_when_it_is_asked_to_go() {
    let world = World::new();
    let (fixture, goes) = (&world.fixture, &world.goes);
    let running = fixture.job(&world.plan_of(goes, "running", None), 10);
    let leased = fixture.lease(goes, "run", 11, 1);
    assert_eq!(leased[0].work_id, running.job_id.as_str());
    let waiting = fixture.job(&world.plan_of(goes, "waiting", None), 12);
    let restore = world.restore(13);
    let of_other = fixture.job(&world.plan_of(&world.stays, "other", None), 14);

    world.uninstall(&goes.client_id, 0, 20);
    let (ended, restored) = (world.job(&waiting), world.restored(&restore));
    let why = "is being uninstalled";
    assert_failed(ended.status, ended.error_message.as_deref(), goes, why);
    assert_eq!(ended.complete_time, Some(at(20)));
    assert_failed(
        restored.status,
        restored.error_message.as_deref(),
        goes,
        why,
    );
    for (kind, id) in [
        (WorkKind::Backup, waiting.job_id.as_str()),
        (WorkKind::Restore, restore.restore_id.as_str()),
    ] {
        let (states, message) = world.history(kind, id);
        assert_eq!(states, [JobStatus::Created, JobStatus::Failed]);
        assert!(message.is_some_and(|text| text.contains(why)));
    }
    let plan_id = waiting.plan_id.unwrap();
    let plan = plans::get(&fixture.catalog, &fixture.account, &plan_id).unwrap();
    assert_eq!(plan.latest_finish_job_id, Some(waiting.job_id.clone()));
    assert_eq!(world.job(&of_other).status, JobStatus::Created);

    // What it holds it puts down, and then that is over too.
    assert_eq!(world.job(&running).status, JobStatus::Running);
    work::release(&fixture.catalog, &leased[0].work_id, 1, None, at(21)).unwrap();
    let ended = world.job(&running);
    assert_failed(ended.status, ended.error_message.as_deref(), goes, why);
    let (states, _) = world.history(WorkKind::Backup, running.job_id.as_str());
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    assert_eq!(words, ["CREATED", "RUNNING", "QUEUED", "FAILED"]);
    let late = jobs::finish(&fixture.catalog, &complete(&leased[0], "b"), at(22)).unwrap();
    assert_eq!(late, FinishAnswer::Stale);
    assert_eq!(fixture.lease(goes, "run", 23, 10), []);
}

#[test]
fn what_a_client_held_that_died_while_going_fails() {
    let world = World::new();
    let (fixture, goes) = (&world.fixture, &world.goes);
    let job = fixture.job(&world.plan_of(goes, "plan", None), 10);
    fixture.lease(goes, "run", 11, 1);
    world.uninstall(&goes.client_id, 0, 12);
    let late = at(11).plus(TTL).plus_seconds(1);
    work::expire_leases(&fixture.catalog, late).unwrap();
    let ended = world.job(&job);
    let why = "is being uninstalled";
    assert_failed(ended.status, ended.error_message.as_deref(), goes, why);
}

#[test]
fn a_cancelled_job_of_a_client_that_goes_is_cancelled() {
    let world = World::new();
    let (fixture, goes) = (&world.fixture, &world.goes);
    let job = fixture.job(&world.plan_of(goes, "plan", None), 10);
    let leased = fixture.lease(goes, "run", 11, 1);
    jobs::cancel(&fixture.catalog, &fixture.account, &job.job_id, at(12)).unwrap();
    world.uninstall(&goes.client_id, 0, 13);
    work::release(&fixture.catalog, &leased[0].work_id, 1, None, at(14)).unwrap();
    assert_eq!(world.job(&job).status, JobStatus::Canceled);
}

#[test]
fn what_is_created_for_a_client_that_is_gone_fails_at_once() {
    let world = World::new();
    let (fixture, goes) = (&world.fixture, &world.goes);
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let plan = world.plan_of(goes, "daily", Some(format!("I|{}|P1D", at(100).0)));
    // Silent for long: it is not waited for.
    world.uninstall(&goes.client_id, 5, 10);
    let why = "is uninstalled";
    let job = fixture.job(&plan, 11);
    assert_failed(job.status, job.error_message.as_deref(), goes, why);
    assert_eq!(world.job(&job), job);
    let restore = world.restore(12);
    assert_failed(restore.status, restore.error_message.as_deref(), goes, why);
    assert_eq!(world.restored(&restore), restore);

    // Each scheduled run says so, and none stands in the way of the next.
    let run = |day: i64| {
        let planned = at(100 + day * 86_400);
        jobs::create_scheduled(catalog, account, &plan.plan_id, planned, planned).unwrap()
    };
    for day in 0..2 {
        let Scheduled::Started(job) = run(day) else {
            panic!("day {day}");
        };
        assert_failed(job.status, job.error_message.as_deref(), goes, why);
    }
    clients::register(catalog, account, &registration("m-2", "key-2"), at(20)).unwrap();
    let Scheduled::Started(job) = run(2) else {
        panic!("it is due");
    };
    assert_eq!(job.status, JobStatus::Created);
    let leased = fixture.lease(goes, "run 2", 3 * 86_400, 10);
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].work_id, job.job_id.as_str());
}

#[test]
fn what_waits_for_a_client_that_is_deleted_fails() {
    let world = World::new();
    let restore = world.restore(10);
    let (catalog, account) = (&world.fixture.catalog, &world.fixture.account);
    clients::delete(catalog, account, &world.goes.client_id, at(11)).unwrap();
    let ended = world.restored(&restore);
    let why = "was deleted";
    assert_failed(
        ended.status,
        ended.error_message.as_deref(),
        &world.goes,
        why,
    );
}

//! Events of jobs, and the lists of errors, where no agent told the end; what belongs to one account alone.

use model::{AccountId, JobStatus, RestoreType};

use super::support::{Fixture, TTL, at, complete, new_account, report};
use crate::jobs::ImportedJob;
use crate::plans::RunningJobs;
use crate::restores::{FinishRestore, NewRestore};
use crate::{
    Client, ItemError, Job, JobEvent, PageRequest, Progress, TargetFields, WorkKind, item_errors,
    job_events, jobs, plans, restores, vaults, work,
};

/// State, attempt, epoch, who held it, why.
type Told = (JobStatus, i64, i64, Option<String>, Option<String>);

fn events(fixture: &Fixture, kind: WorkKind, id: &str) -> Vec<JobEvent> {
    let page = PageRequest::first(100);
    let found = job_events::list(&fixture.catalog, &fixture.account, kind, id, page).unwrap();
    assert_eq!(found.total, found.rows.len() as u64);
    found.rows
}

fn told(fixture: &Fixture, kind: WorkKind, id: &str) -> Vec<Told> {
    let rows = events(fixture, kind, id).into_iter();
    rows.map(|event| {
        (
            event.status,
            event.attempt,
            event.epoch,
            event.client_id.map(String::from),
            event.message,
        )
    })
    .collect()
}

fn row(status: JobStatus, epoch: i64, client: Option<&Client>, message: Option<&str>) -> Told {
    (
        status,
        epoch,
        epoch,
        client.map(|client| client.client_id.to_string()),
        message.map(str::to_owned),
    )
}

fn error(path: &str) -> ItemError {
    ItemError {
        path: path.to_owned(),
        operation: "read".to_owned(),
        errno: None,
        message: "Input/output error".to_owned(),
        time: at(3),
    }
}

#[test]
fn each_change_of_a_job_is_an_event() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.client("m-1", 0), fixture.client("m-2", 0));
    let job = fixture.job(&fixture.plan(&fixture.vault(0), "plan"), 1);
    let id = job.job_id.as_str();
    fixture.lease(&one, "run", 2, 1);
    work::expire_leases(&fixture.catalog, at(2).plus(TTL).plus_seconds(1)).unwrap();
    fixture.lease(&two, "run", 50, 1);
    work::release(&fixture.catalog, id, 2, None, at(51)).unwrap();
    fixture.lease(&two, "run", 52, 1);
    work::release_run(&fixture.catalog, &two.client_id, "next", at(53)).unwrap();
    let leased = fixture.lease(&one, "run", 60, 1);
    // A report of a lease that is over changes nothing, and is no event.
    let late = work::release(&fixture.catalog, id, 3, None, at(61)).unwrap();
    assert_eq!(late, work::FinishAnswer::Stale);
    let mut end = report(&leased[0], JobStatus::Failed);
    end.message = Some("no room".to_owned());
    jobs::finish(&fixture.catalog, &end, at(70)).unwrap();
    jobs::finish(&fixture.catalog, &end, at(71)).unwrap();
    let (one, two) = (Some(&one), Some(&two));
    use JobStatus::{Created, Failed, Queued, Running};
    assert_eq!(
        told(&fixture, WorkKind::Backup, id),
        [
            row(Created, 0, None, None),
            row(Running, 1, one, None),
            row(Queued, 1, one, Some("the agent was silent for too long")),
            row(Running, 2, two, None),
            row(Queued, 2, two, Some("the agent gave it back")),
            row(Running, 3, two, None),
            row(Queued, 3, two, Some("the agent was started anew")),
            row(Running, 4, one, None),
            row(Failed, 4, one, Some("no room")),
        ]
    );
    let rows = events(&fixture, WorkKind::Backup, id);
    let times: Vec<i64> = rows.iter().map(|event| event.time.0 - at(0).0).collect();
    assert_eq!(times, [1, 2, 33, 50, 51, 52, 53, 60, 70]);
    let second = PageRequest {
        page_number: 2,
        page_size: 4,
    };
    let kind = WorkKind::Backup;
    let page = job_events::list(&fixture.catalog, &fixture.account, kind, id, second).unwrap();
    assert_eq!((page.rows.as_slice(), page.total), (&rows[4..8], 9));
}

#[test]
fn cancelled_jobs_say_so_and_keep_their_list_of_errors() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let waiting = fixture.job(&fixture.plan(&vault, "waiting"), 1);
    let cancel = |job: &Job, now| {
        jobs::cancel(&fixture.catalog, &fixture.account, &job.job_id, at(now)).unwrap()
    };
    cancel(&waiting, 2);
    let why = Some("it was cancelled");
    use JobStatus::{Canceled, Canceling, Created, Queued, Running};
    assert_eq!(
        told(&fixture, WorkKind::Backup, waiting.job_id.as_str()),
        [row(Created, 0, None, None), row(Canceled, 0, None, why)]
    );
    let list = |job: &Job| {
        let (kind, page) = (WorkKind::Backup, PageRequest::first(10));
        let id = job.job_id.as_str();
        item_errors::list(&fixture.catalog, &fixture.account, kind, id, page).unwrap()
    };
    // Its agent falls silent before it can report the end.
    let running = fixture.job(&fixture.plan(&vault, "running"), 3);
    let leased = fixture.lease(&client, "run", 4, 1);
    item_errors::append(&fixture.catalog, &leased[0].work_id, 1, 0, &[error("/a")]).unwrap();
    assert_eq!(cancel(&running, 5), Canceling);
    assert_eq!(cancel(&running, 6), Canceling, "once is enough");
    work::expire_leases(&fixture.catalog, at(1_000)).unwrap();
    let silent = Some("the agent was silent for too long");
    assert_eq!(
        told(&fixture, WorkKind::Backup, running.job_id.as_str()),
        [
            row(Created, 0, None, None),
            row(Running, 1, Some(&client), None),
            row(Canceling, 1, Some(&client), why),
            row(Canceled, 1, Some(&client), silent),
        ]
    );
    assert_eq!(list(&running).rows, [error("/a")]);
    // It went back to the queue first.
    let queued = fixture.job(&fixture.plan(&vault, "queued"), 1_001);
    let leased = fixture.lease(&client, "run", 1_002, 1);
    item_errors::append(&fixture.catalog, &leased[0].work_id, 1, 0, &[error("/b")]).unwrap();
    work::release(&fixture.catalog, &leased[0].work_id, 1, None, at(1_003)).unwrap();
    cancel(&queued, 1_004);
    let states = told(&fixture, WorkKind::Backup, queued.job_id.as_str());
    assert_eq!(states[2].0, Queued);
    assert_eq!(states[3], row(Canceled, 1, None, why));
    assert_eq!(list(&queued).rows, [error("/b")]);
}

fn restore_of(fixture: &Fixture, job: &Job, client: &Client) -> NewRestore {
    let snapshot =
        crate::snapshots::left_by(&fixture.catalog, &fixture.account, &job.job_id).unwrap();
    NewRestore {
        restore_type: RestoreType::EcsFile,
        region_id: "cn-hangzhou".to_owned(),
        snapshot_id: snapshot.snapshot_id,
        target_client_id: Some(client.client_id.clone()),
        target_instance_id: None,
        target_path: Some("/restored".to_owned()),
        target_bucket: None,
        target_file_system_id: None,
        include: None,
        exclude: None,
        options: None,
        target_fields: TargetFields::default(),
    }
}

#[test]
fn restore_jobs_have_events_and_vaults_take_them_along() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let job = fixture.run_job(&client, &fixture.plan(&vault, "plan"), "hash", 1);
    let new = restore_of(&fixture, &job, &client);
    let restore = restores::create(&fixture.catalog, &fixture.account, &new, None, at(5)).unwrap();
    let id = restore.restore_id.as_str();
    let leased = fixture.lease(&client, "run", 6, 1);
    let end = FinishRestore {
        work_id: leased[0].work_id.clone(),
        epoch: 1,
        outcome: JobStatus::PartialComplete,
        message: Some("1 item".to_owned()),
        progress: Progress::default(),
    };
    restores::finish(&fixture.catalog, &end, at(7)).unwrap();
    assert_eq!(
        told(&fixture, WorkKind::Restore, id),
        [
            row(JobStatus::Created, 0, None, None),
            row(JobStatus::Running, 1, Some(&client), None),
            row(JobStatus::PartialComplete, 1, Some(&client), Some("1 item")),
        ]
    );
    let page = PageRequest::first(10);
    let list = |kind, id| job_events::list(&fixture.catalog, &fixture.account, kind, id, page);
    assert!(list(WorkKind::Backup, id).is_err(), "it is no backup job");
    vaults::delete(&fixture.catalog, &fixture.account, &vault, None, at(9)).unwrap();
    assert!(list(WorkKind::Restore, id).is_err());
    assert_eq!(rows(&fixture, "job_events"), 0);
}

fn rows(fixture: &Fixture, table: &str) -> i64 {
    let sql = format!("/* whole */ SELECT COUNT(*) FROM {table}");
    let count = |tx: &crate::db::Tx<'_>| {
        crate::conditions::first(tx, "test", &sql, [], |row| row.get::<_, i64>(0))
    };
    fixture.catalog.read("test", count).unwrap().unwrap()
}

#[test]
fn a_vault_that_cannot_be_made_is_the_last_event_of_its_jobs() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let new = super::support::new_vault(&fixture.catalog, "vault", 0);
    let (vault, _) = vaults::create(&fixture.catalog, &fixture.account, &new, None, at(0)).unwrap();
    let job = fixture.job(&fixture.plan(&vault.vault_id, "plan"), 1);
    fixture.finish_task(&client, JobStatus::Failed, 2);
    let why = "the vault could not be made: no room";
    assert_eq!(
        told(&fixture, WorkKind::Backup, job.job_id.as_str()),
        [
            row(JobStatus::Created, 0, None, None),
            row(JobStatus::Failed, 0, None, Some(why)),
        ]
    );
}

/// Another account may import a job under an id that it has heard of: it sees nothing of the job that has it, and removes
/// nothing of it.
#[test]
fn a_job_of_the_same_id_in_another_account_is_another_job() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let job = fixture.job(&fixture.plan(&fixture.vault(0), "plan"), 1);
    let id = job.job_id.as_str();
    let leased = fixture.lease(&client, "run", 2, 1);
    item_errors::append(&fixture.catalog, id, 1, 0, &[error("/secret")]).unwrap();

    let stranger = new_account(&fixture.catalog, 2);
    let new = super::support::new_vault(&fixture.catalog, "theirs", 3);
    let theirs = vaults::adopt(&fixture.catalog, &stranger, &new, at(3)).unwrap();
    let copy = Job {
        account_id: stranger.clone(),
        status: JobStatus::PartialComplete,
        vault_id: Some(theirs.vault_id.clone()),
        ..job.clone()
    };
    let imported = ImportedJob {
        job: copy,
        body: None,
    };
    jobs::import_all(&fixture.catalog, &stranger, &[imported]).unwrap();
    let (kind, page) = (WorkKind::Backup, PageRequest::first(10));
    let errors = |account: &AccountId| {
        let found = item_errors::list(&fixture.catalog, account, kind, id, page).unwrap();
        let next = item_errors::next(&fixture.catalog, account, kind, id, -1, 10).unwrap();
        let count = item_errors::count(&fixture.catalog, account, kind, id).unwrap();
        assert_eq!((found.total, next.len() as u64), (count, count));
        count
    };
    let count = |account: &AccountId| {
        let found = job_events::list(&fixture.catalog, account, kind, id, page);
        (found.unwrap().total, errors(account))
    };
    assert_eq!(count(&stranger), (0, 0));
    assert_eq!(count(&fixture.account), (2, 1));
    vaults::delete(&fixture.catalog, &stranger, &theirs.vault_id, None, at(4)).unwrap();
    assert!(jobs::get(&fixture.catalog, &stranger, &job.job_id).is_err());
    assert_eq!(count(&fixture.account), (2, 1));
    let end = jobs::finish(&fixture.catalog, &complete(&leased[0], "hash"), at(5)).unwrap();
    assert!(end.is_accepted(), "its work is there");
}

#[test]
fn a_deleted_plan_takes_the_events_of_its_jobs_along() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let plan = fixture.plan(&fixture.vault(0), "plan");
    fixture.run_job(&client, &plan, "hash", 1);
    assert_eq!(rows(&fixture, "job_events"), 3);
    plans::delete(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        RunningJobs::Refuse,
    )
    .unwrap();
    assert_eq!(rows(&fixture, "job_events"), 0);
}

#[test]
fn a_long_list_of_errors_is_read_piece_by_piece() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let job = fixture.job(&fixture.plan(&fixture.vault(0), "plan"), 1);
    let id = job.job_id.as_str();
    fixture.lease(&client, "run", 2, 1);
    let all: Vec<ItemError> = (0..25).map(|number| error(&format!("/{number}"))).collect();
    item_errors::append(&fixture.catalog, id, 1, 0, &all).unwrap();
    let (mut found, mut after) = (Vec::new(), -1);
    loop {
        let kind = WorkKind::Backup;
        let next =
            item_errors::next(&fixture.catalog, &fixture.account, kind, id, after, 10).unwrap();
        let Some((last, _)) = next.last() else { break };
        after = *last;
        found.extend(next.into_iter().map(|(_, row)| row));
    }
    assert_eq!(found, all);
}

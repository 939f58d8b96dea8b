//! Checks and prunes of vaults: what is due, what they found, and snapshots that others removed.

use model::upkeep::{Due, UpkeepRule};
use model::{JobStatus, TaskId, Timestamp, VaultId};

use super::support::{Fixture, TTL, at, complete};
use crate::snapshots::{self, FoundSnapshot};
use crate::tasks::{self, FinishTask};
use crate::upkeep::{self, Extent, Found, NewUpkeep};
use crate::work::FinishAnswer;
use crate::{CatalogError, PageRequest, Snapshot, TaskKind, jobs, work};

const CHECK: NewUpkeep = NewUpkeep {
    kind: TaskKind::CheckVault,
    extent: Extent { part: 3, parts: 28 },
    is_of_round: true,
};

fn start(fixture: &Fixture, vault: &VaultId, new: &NewUpkeep, now: i64) -> TaskId {
    upkeep::start(
        &fixture.catalog,
        (&fixture.account, vault),
        new,
        None,
        at(now),
    )
    .unwrap()
}

/// A snapshot in the vault; gives its hash.
fn snapshot(fixture: &Fixture, vault: &VaultId, number: i64) -> String {
    let client = fixture.client(&format!("m-backup-{number}"), number);
    let plan = fixture.plan(vault, &format!("plan-{number}"));
    let hash = format!("{number:064x}");
    fixture.run_job(&client, &plan, &hash, number);
    hash
}

/// Leases the only work there is and ends it.
fn run(
    fixture: &Fixture,
    task_id: &TaskId,
    outcome: JobStatus,
    found: Option<Found>,
    now: i64,
) -> FinishAnswer {
    let client = fixture.client(&format!("m-upkeep-{now}"), now);
    let leased = work::lease_next(
        &fixture.catalog,
        &fixture.account,
        &client.client_id,
        "run",
        at(now),
        TTL,
        8,
    )
    .unwrap();
    let mine = leased
        .iter()
        .find(|work| work.work_id == task_id.as_str())
        .unwrap();
    let report = FinishTask {
        work_id: task_id.to_string(),
        epoch: mine.epoch,
        outcome,
        message: (outcome == JobStatus::Failed).then(|| "it failed".to_owned()),
        upkeep: found,
    };
    tasks::finish(&fixture.catalog, &report, at(now)).unwrap()
}

fn damaged(structure: bool, data: bool) -> Found {
    Found {
        result: "{}".to_owned(),
        structure_damage: structure.then(|| "a tree".to_owned()),
        data_damage: data.then(|| "a pack".to_owned()),
        ..Found::default()
    }
}

fn extents(fixture: &Fixture) -> Vec<(u32, u32)> {
    let found = upkeep::health(&fixture.catalog, &fixture.account).unwrap();
    let damage = found[0].damage.iter();
    damage
        .map(|one| (one.extent.part, one.extent.parts))
        .collect()
}

#[test]
fn a_vault_comes_due_and_its_task_is_one_at_a_time() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let rule = UpkeepRule::default();
    let due = |now: Timestamp| {
        let found = upkeep::histories(&fixture.catalog).unwrap();
        rule.due(&found[0].history, now)
    };
    assert_eq!(due(at(10)), None);
    assert_eq!(due(at(86_400)), Some(Due::Check { part: 1, parts: 28 }));
    let task = start(&fixture, &vault, &CHECK, 86_400);
    assert_eq!(due(at(900_000)), None, "it waits or runs");
    assert_eq!(
        start(&fixture, &vault, &CHECK, 86_401),
        task,
        "the same again"
    );
    let prune = start(&fixture, &vault, &NewUpkeep::prune(), 86_402);
    assert_ne!(prune, task);
    let client = fixture.client("m-1", 86_403);
    let leased = work::lease_next(
        &fixture.catalog,
        &fixture.account,
        &client.client_id,
        "run",
        at(86_404),
        TTL,
        8,
    )
    .unwrap();
    assert_eq!(leased.len(), 1, "one at a time: {leased:?}");
    assert_eq!(leased[0].work_id, task.as_str());
}

/// A check of `extent` that finds damage of the structure, of the data.
/// A job that has not ended, whether it waits, runs, or lost its agent, keeps prunes of its vault away, and of no other.
#[test]
fn a_prune_waits_for_the_backup_jobs_of_its_vault() {
    let fixture = Fixture::new();
    let (vault, other) = (fixture.vault(0), fixture.vault(0));
    let waits = || {
        let found = upkeep::histories(&fixture.catalog).unwrap();
        let of = |id: &VaultId| {
            let vault = found.iter().find(|vault| vault.vault_id == *id);
            vault.unwrap().history.has_unfinished_backup
        };
        assert!(!of(&other));
        of(&vault)
    };
    assert!(!waits());
    let plan = fixture.plan(&vault, "plan");
    let client = fixture.client("m-1", 1);
    let job = fixture.job(&plan, 2);
    assert!(waits(), "it is created");
    let leased = fixture.lease(&client, "run", 3, 8);
    assert!(
        leased
            .iter()
            .any(|work| work.work_id == job.job_id.as_str())
    );
    assert!(waits(), "it runs");
    drop(work::expire_leases(&fixture.catalog, at(100_000)).unwrap());
    assert!(waits(), "its agent is gone");
    let leased = fixture.lease(&client, "run", 100_001, 8);
    let finish = complete(&leased[0], &format!("{:064x}", 1));
    let answer = jobs::finish(&fixture.catalog, &finish, at(100_002)).unwrap();
    assert!(answer.is_accepted() && !waits());
}

fn look(fixture: &Fixture, vault: &VaultId, extent: Extent, found: (bool, bool), now: i64) {
    let task = start(fixture, vault, &NewUpkeep { extent, ..CHECK }, now);
    let outcome = match found {
        (false, false) => JobStatus::Complete,
        _ => JobStatus::Failed,
    };
    let found = damaged(found.0, found.1);
    assert_eq!(
        run(fixture, &task, outcome, Some(found), now + 1),
        FinishAnswer::Accepted
    );
}

#[test]
fn damage_of_a_former_division_goes_when_its_place_was_read() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    type Step = (u32, u32, bool, &'static [(u32, u32)]);
    let steps: [Step; 9] = [
        (5, 28, true, &[(5, 28)]),
        (4, 14, false, &[(5, 28)]),
        (5, 14, false, &[]),
        (6, 28, true, &[(6, 28)]),
        (1, 3, false, &[(6, 28)]),
        (2, 3, true, &[(2, 3), (6, 28)]),
        (1, 3, false, &[(2, 3), (6, 28)]),
        (3, 3, false, &[(2, 3)]),
        (2, 3, false, &[]),
    ];
    for (number, (part, parts, data, expected)) in steps.into_iter().enumerate() {
        let now = number as i64 * 100;
        look(&fixture, &vault, Extent { part, parts }, (false, data), now);
        assert_eq!(extents(&fixture), expected, "step {number}");
    }
}

#[test]
fn damage_stays_until_a_look_at_the_same_place_finds_none() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    type Step = (Extent, bool, bool, &'static [(u32, u32)]);
    let steps: [Step; 7] = [
        (CHECK.extent, true, true, &[(0, 0), (3, 28)]),
        (Extent { part: 4, parts: 28 }, false, false, &[(3, 28)]),
        (Extent::STRUCTURE, true, false, &[(0, 0), (3, 28)]),
        (
            Extent { part: 5, parts: 28 },
            false,
            true,
            &[(3, 28), (5, 28)],
        ),
        (CHECK.extent, false, false, &[(5, 28)]),
        (Extent::ALL, false, true, &[(1, 1)]),
        (Extent::ALL, false, false, &[]),
    ];
    for (number, (extent, structure, data, expected)) in steps.into_iter().enumerate() {
        let now = number as i64 * 100;
        look(&fixture, &vault, extent, (structure, data), now);
        assert_eq!(extents(&fixture), expected, "step {number}");
    }
    let health = &upkeep::health(&fixture.catalog, &fixture.account).unwrap()[0];
    assert_eq!(health.check_ended, Some(at(601)));
}

#[test]
fn a_prune_is_wanted_until_one_got_through_and_found_nothing_left() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let wants = || {
        upkeep::histories(&fixture.catalog).unwrap()[0]
            .history
            .wants_prune
    };
    assert!(!wants());
    let hash = snapshot(&fixture, &vault, 1);
    let made = snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, &hash).unwrap();
    let task = snapshots::request_delete(
        &fixture.catalog,
        &fixture.account,
        &made.snapshot_id,
        None,
        at(10),
    )
    .unwrap();
    assert!(!wants(), "it can still be taken back");
    run(&fixture, &task, JobStatus::Complete, None, 11);
    assert!(wants());
    let prune = start(&fixture, &vault, &NewUpkeep::prune(), 12);
    assert!(!wants());
    run(&fixture, &prune, JobStatus::Failed, None, 13);
    assert!(wants(), "a prune that failed freed nothing");
    let health = &upkeep::health(&fixture.catalog, &fixture.account).unwrap()[0];
    assert_eq!(health.prune_trouble.as_deref(), Some("it failed"));
    for (wants_prune, now) in [(true, 20), (false, 30)] {
        let prune = start(&fixture, &vault, &NewUpkeep::prune(), now);
        let found = Found {
            wants_prune,
            ..Found::default()
        };
        run(&fixture, &prune, JobStatus::Complete, Some(found), now + 1);
        assert_eq!(wants(), wants_prune);
    }
    let health = &upkeep::health(&fixture.catalog, &fixture.account).unwrap()[0];
    assert_eq!(
        (health.prune_ended, &health.prune_trouble),
        (Some(at(31)), &None)
    );
}

#[test]
fn snapshots_that_others_removed_are_hidden_and_come_back() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let hash = snapshot(&fixture, &vault, 1);
    let other = snapshot(&fixture, &vault, 2);
    let known = || upkeep::expected(&fixture.catalog, &vault).unwrap();
    let mut both = vec![hash.clone(), other.clone()];
    both.sort();
    assert_eq!(known(), (both.clone(), Vec::new()));
    let tell = |missing: &[&String], present: &[&String], now: i64| {
        let task = start(
            &fixture,
            &vault,
            &NewUpkeep {
                extent: Extent::STRUCTURE,
                ..CHECK
            },
            now,
        );
        let found = Found {
            missing: missing.iter().map(|text| (*text).clone()).collect(),
            present: present.iter().map(|text| (*text).clone()).collect(),
            ..Found::default()
        };
        run(&fixture, &task, JobStatus::Complete, Some(found), now + 1);
    };
    let get = || snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, &hash);
    tell(&[&hash], &[], 100);
    assert!(
        matches!(get(), Err(CatalogError::SnapshotMissing { since, .. }) if since == at(101)),
        "{:?}",
        get()
    );
    assert_eq!(known(), (vec![other.clone()], vec![hash.clone()]));
    let counts = crate::vaults::get(&fixture.catalog, &fixture.account, &vault)
        .unwrap()
        .counts;
    assert_eq!(counts.snapshot_count, 1);
    tell(&[], &[&hash], 200);
    get().unwrap();
    assert_eq!(known(), (both, Vec::new()));
    // One that stays away is forgotten in the end.
    tell(&[&hash], &[], 300);
    assert_eq!(
        upkeep::forget_missing(&fixture.catalog, at(89 * 86_400)).unwrap(),
        0
    );
    assert_eq!(
        upkeep::forget_missing(&fixture.catalog, at(91 * 86_400)).unwrap(),
        1
    );
    assert!(matches!(get(), Err(CatalogError::NotFound { .. })));
}

#[test]
fn a_part_that_was_not_read_is_the_next_checks_again() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let part = || upkeep::histories(&fixture.catalog).unwrap()[0].history.part;
    for (number, (outcome, expected)) in [
        (JobStatus::Failed, 2),
        (JobStatus::Canceled, 2),
        (JobStatus::Complete, 3),
    ]
    .into_iter()
    .enumerate()
    {
        let now = number as i64 * 100;
        let task = start(&fixture, &vault, &CHECK, now);
        assert_eq!(part(), 3);
        let is_done = outcome == JobStatus::Complete;
        let found = is_done.then(|| damaged(false, false));
        run(&fixture, &task, outcome, found, now + 1);
        assert_eq!(part(), expected, "{outcome}");
    }
    // One that somebody asked for, and that is none of the round, moves nothing, whatever becomes of it.
    let asked = NewUpkeep {
        extent: Extent::ALL,
        is_of_round: false,
        ..CHECK
    };
    let task = start(&fixture, &vault, &asked, 400);
    run(&fixture, &task, JobStatus::Failed, None, 401);
    assert_eq!(part(), 3);
}

#[test]
fn an_agent_runs_one_check_or_prune_at_a_time() {
    let fixture = Fixture::new();
    let vaults = [fixture.vault(0), fixture.vault(1)];
    let tasks: Vec<TaskId> = vaults
        .iter()
        .map(|vault| start(&fixture, vault, &CHECK, 10))
        .collect();
    let clients = ["m-1", "m-2"].map(|name| fixture.client(name, 10));
    let lease = |index: usize, now: i64| {
        let (catalog, account) = (&fixture.catalog, &fixture.account);
        let client_id = &clients[index].client_id;
        let leased = work::lease_next(catalog, account, client_id, "run", at(now), TTL, 8).unwrap();
        leased
            .into_iter()
            .map(|work| work.work_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(lease(0, 11), [tasks[0].as_str()]);
    assert!(lease(0, 12).is_empty(), "restores need room");
    assert_eq!(lease(1, 13), [tasks[1].as_str()]);
}

#[test]
fn what_ends_after_its_vault_was_deleted_leaves_nothing() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let task = start(&fixture, &vault, &CHECK, 10);
    let client = fixture.client("m-1", 11);
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let leased =
        work::lease_next(catalog, account, &client.client_id, "run", at(12), TTL, 8).unwrap();
    crate::vaults::delete(catalog, account, &vault, None, at(13)).unwrap();
    let report = FinishTask {
        work_id: task.to_string(),
        epoch: leased[0].epoch,
        outcome: JobStatus::Failed,
        message: Some("it failed".to_owned()),
        upkeep: Some(damaged(true, true)),
    };
    tasks::finish(catalog, &report, at(14)).unwrap();
    let left = catalog.read("count rows", |tx| {
        let sql =
            "SELECT (SELECT COUNT(*) FROM vault_upkeep) + (SELECT COUNT(*) FROM vault_damage) AS n";
        crate::conditions::first(tx, "count rows", sql, [], |row| row.get::<_, i64>("n"))
    });
    assert_eq!(left.unwrap(), Some(0));
}

#[test]
fn tasks_are_listed_cancelled_and_another_accounts_are_not_there() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let task = start(&fixture, &vault, &CHECK, 10);
    let page = PageRequest::first(10);
    let listed = upkeep::tasks(&fixture.catalog, &fixture.account, Some(&vault), page).unwrap();
    assert_eq!((listed.total, &listed.rows[0].task_id), (1, &task));
    let stranger = super::support::new_account(&fixture.catalog, 2);
    assert_eq!(
        upkeep::tasks(&fixture.catalog, &stranger, None, page)
            .unwrap()
            .total,
        0
    );
    for account in [&stranger, &fixture.account] {
        let ended = upkeep::cancel(&fixture.catalog, account, &task, at(11));
        match account == &stranger {
            true => assert!(matches!(ended, Err(CatalogError::NotFound { .. }))),
            false => assert_eq!(ended.unwrap(), JobStatus::Canceled),
        }
    }
    assert!(
        upkeep::start(&fixture.catalog, (&stranger, &vault), &CHECK, None, at(12)).is_err(),
        "another account's vault"
    );
}

#[test]
fn extents_are_read_as_they_are_written() {
    for text in ["0/0", "1/1", "3/28"] {
        assert_eq!(Extent::of(text).unwrap().to_string(), text);
    }
    for bad in ["", "1", "0/3", "4/3", "-1/2", "a/b"] {
        assert_eq!(Extent::of(bad), None, "{bad}");
    }
}

/// Whatever its tags say, a snapshot that a check found belongs to nobody; that of a running job is left to the job.
#[test]
fn snapshots_of_others_are_listed_without_a_job_or_a_plan() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let repaired = snapshot(&fixture, &vault, 50);
    let original =
        snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, &repaired).unwrap();
    let found = |number: usize, job_id: &str, original: Option<&String>| FoundSnapshot {
        snapshot: Snapshot {
            job_id: model::JobId::parse(job_id).ok(),
            plan_id: Some(plan.plan_id.clone()),
            ..super::snapshots::snapshot(&fixture, &vault, number, 1, 2)
        },
        original: original.cloned(),
    };
    let job = fixture.job(&plan, 60);
    let unknown = format!("{:064x}", 99);
    let others = vec![
        found(1, "job-of-another-catalog", Some(&unknown)),
        found(2, job.job_id.as_str(), None),
        found(3, "job-of-a-repair", Some(&repaired)),
    ];
    for now in [100, 200] {
        let task = start(&fixture, &vault, &CHECK, now);
        let report = Found {
            others: others.clone(),
            missing: vec![repaired.clone()],
            ..damaged(false, false)
        };
        run(&fixture, &task, JobStatus::Complete, Some(report), now + 1);
    }
    let get = |row: &FoundSnapshot| {
        let hash = &row.snapshot.snapshot_hash;
        snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, hash)
    };
    let listed = get(&others[0]).unwrap();
    assert_eq!((listed.job_id, listed.plan_id), (None, None));
    assert!(get(&others[1]).is_err(), "its job runs");
    let replacement = get(&others[2]).unwrap();
    assert_eq!(replacement.job_id, None);
    assert!(original.plan_id.is_some() && original.plan_id != Some(plan.plan_id.clone()));
    assert_eq!(
        (
            replacement.plan_id,
            replacement.client_id,
            replacement.instance_id
        ),
        (original.plan_id, original.client_id, original.instance_id)
    );
}

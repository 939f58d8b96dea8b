//! What goes and what stays, as the ticker sees it: rules, holds, restores, immutable vaults, the trash.

use std::time::Duration;

use model::retention::{RetentionRule, Verdict};
use model::{JobStatus, SnapshotId, VaultId, Zone};

use super::support::{Fixture, at, new_account, new_vault};
use crate::conditions::change;
use crate::restores::{self, NewRestore};
use crate::retention::{self, Group};
use crate::snapshots;
use crate::{CatalogError, CatalogOptions, Client, Plan, TargetFields, vaults};

const DAY: i64 = 86_400;

/// A snapshot of the plan on each of the days; their ids.
fn daily(
    fixture: &Fixture,
    client: &Client,
    plan: &Plan,
    days: std::ops::Range<i64>,
) -> Vec<SnapshotId> {
    days.map(|day| {
        let hash = format!("{day:064}");
        fixture.run_job(client, plan, &hash, day * DAY);
        let vault_id = plan.spec.vault_id.as_ref().unwrap();
        snapshots::get_by_hash(&fixture.catalog, &fixture.account, vault_id, &hash)
            .unwrap()
            .snapshot_id
    })
    .collect()
}

/// One round of the ticker; what went, by its number in `all`.
fn round(fixture: &Fixture, all: &[SnapshotId], now: i64) -> Vec<usize> {
    let mut gone = Vec::new();
    let mut after: Option<Group> = None;
    loop {
        let groups =
            retention::groups_with_ended(&fixture.catalog, at(now), after.as_ref(), 1).unwrap();
        let Some(group) = groups.into_iter().next() else {
            return gone;
        };
        let ids = retention::apply(&fixture.catalog, &group, None, at(now)).unwrap();
        gone.extend(
            ids.iter()
                .map(|id| all.iter().position(|known| known == id).unwrap()),
        );
        after = Some(group);
    }
}

fn shown(fixture: &Fixture, all: &[SnapshotId]) -> Vec<usize> {
    (0..all.len())
        .filter(|number| snapshots::get(&fixture.catalog, &fixture.account, &all[*number]).is_ok())
        .collect()
}

fn plan_of(fixture: &Fixture, vault: &VaultId, days: i64, keep_latest: i64) -> Plan {
    fixture.plan_with(vault, "kept", |spec| {
        spec.retention = Some(days);
        spec.keep_latest_snapshots = Some(keep_latest);
    })
}

#[test]
fn snapshots_go_when_their_days_are_over_and_the_last_good_one_stays() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = plan_of(&fixture, &vault, 3, 1);
    let all = daily(&fixture, &client, &plan, 0..5);
    assert_eq!(
        round(&fixture, &all, 3 * DAY),
        [0; 0],
        "received a second later"
    );
    assert_eq!(round(&fixture, &all, 3 * DAY + 1), [0]);
    assert_eq!(round(&fixture, &all, 3 * DAY + 2), [0; 0], "once");
    assert_eq!(round(&fixture, &all, 100 * DAY), [1, 2, 3]);
    assert_eq!(round(&fixture, &all, 900 * DAY), [0; 0]);
    assert_eq!(shown(&fixture, &all), [4]);
    // The plan stops to say so: what its snapshots were promised counts on.
    crate::plans::update(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        |spec| spec.keep_latest_snapshots = Some(0),
        at(900 * DAY),
    )
    .unwrap();
    assert_eq!(round(&fixture, &all, 901 * DAY), [0; 0]);
}

/// In a vault shared with other tools a plan's rule is for the plan's own snapshots.
#[test]
fn what_others_put_into_the_vault_is_listed_and_never_goes() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = plan_of(&fixture, &vault, 3, 0);
    let mut all = daily(&fixture, &client, &plan, 0..3);
    let own = snapshots::get(&fixture.catalog, &fixture.account, &all[0]).unwrap();
    // As `vault adopt` finds them: one of a stranger, one of ours that belongs to no plan, and one of another plan.
    let adopted = |number: u64| crate::Snapshot {
        snapshot_id: snapshots::new_id(&fixture.catalog, at(0)),
        snapshot_hash: format!("{number:064x}"),
        job_id: None,
        plan_id: None,
        retention: None,
        expire_time: None,
        ..own.clone()
    };
    let promised = crate::Snapshot {
        retention: own.retention,
        expire_time: own.expire_time,
        ..adopted(0xb)
    };
    let of_another_plan = crate::Snapshot {
        plan_id: model::PlanId::parse("plan-9").ok(),
        ..adopted(0xc)
    };
    let others = [adopted(0xa), promised, of_another_plan];
    snapshots::adopt(&fixture.catalog, &fixture.account, &others).unwrap();
    all.extend(others.map(|row| row.snapshot_id));
    assert_eq!(shown(&fixture, &all), [0, 1, 2, 3, 4, 5]);
    let mut gone = round(&fixture, &all, 900 * DAY);
    gone.sort_unstable();
    assert_eq!(
        gone,
        [0, 1, 2, 4],
        "own snapshots, and what was promised an end"
    );
    assert_eq!(shown(&fixture, &all), [3, 5]);
}

#[test]
fn a_shorter_retention_holds_for_new_snapshots_alone() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = plan_of(&fixture, &vault, 30, 0);
    let mut all = daily(&fixture, &client, &plan, 0..1);
    let edit = |spec: &mut crate::PlanSpec| spec.retention = Some(1);
    let plan = crate::plans::update(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        edit,
        at(5),
    )
    .unwrap();
    all.extend(daily(&fixture, &client, &plan, 1..2));
    assert_eq!(round(&fixture, &all, 10 * DAY), [1]);
    assert_eq!(round(&fixture, &all, 31 * DAY), [0]);
}

#[test]
fn without_a_rule_or_with_one_that_cannot_be_read_everything_stays() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let for_ever = fixture.plan(&vault, "for ever");
    let mut all = daily(&fixture, &client, &for_ever, 0..2);
    let plan = plan_of(&fixture, &vault, 1, 0);
    all.extend(daily(&fixture, &client, &plan, 2..4));
    let broken =
        "UPDATE snapshots SET retention_rule = '{\"days\":1,\"what\":2}' WHERE snapshot_id = ?";
    fixture
        .catalog
        .write("test", |tx| change(tx, "test", broken, [all[2].as_str()]))
        .unwrap();
    assert_eq!(round(&fixture, &all, 900 * DAY), [3]);
    assert_eq!(shown(&fixture, &all), [0, 1, 2]);
}

#[test]
fn holds_and_restores_keep_a_snapshot() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = plan_of(&fixture, &vault, 1, 0);
    let all = daily(&fixture, &client, &plan, 0..3);
    let hold = |reason| {
        retention::hold(&fixture.catalog, &fixture.account, &all[0], reason, at(0)).unwrap()
    };
    hold(Some("an audit"));
    let restore = NewRestore {
        restore_type: model::RestoreType::EcsFile,
        region_id: "cn-hangzhou".to_owned(),
        snapshot_id: all[1].clone(),
        target_client_id: Some(client.client_id.clone()),
        target_instance_id: None,
        target_path: Some("/tmp".to_owned()),
        target_bucket: None,
        target_file_system_id: None,
        include: None,
        exclude: None,
        options: None,
        target_fields: TargetFields::default(),
    };
    let job = restores::create(&fixture.catalog, &fixture.account, &restore, None, at(5)).unwrap();
    assert_eq!(round(&fixture, &all, 50 * DAY), [2]);
    let refused =
        snapshots::request_delete(&fixture.catalog, &fixture.account, &all[0], None, at(5));
    assert!(
        matches!(refused, Err(CatalogError::SnapshotHeld { reason, .. }) if reason == "an audit")
    );
    restores::cancel(
        &fixture.catalog,
        &fixture.account,
        &job.restore_id,
        at(51 * DAY),
    )
    .unwrap();
    assert_eq!(round(&fixture, &all, 51 * DAY), [1]);
    hold(None);
    assert_eq!(round(&fixture, &all, 52 * DAY), [0]);
}

#[test]
fn an_immutable_vault_keeps_to_the_end_that_was_told() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let mut new = new_vault(&fixture.catalog, "worm", 0);
    new.worm_enabled = true;
    let vault = vaults::adopt(&fixture.catalog, &fixture.account, &new, at(0))
        .unwrap()
        .vault_id;
    let plan = plan_of(&fixture, &vault, 7, 0);
    let all = daily(&fixture, &client, &plan, 0..1);
    let delete =
        |now| snapshots::request_delete(&fixture.catalog, &fixture.account, &all[0], None, at(now));
    assert!(matches!(delete(6 * DAY), Err(CatalogError::Worm { .. })));
    assert_eq!(round(&fixture, &all, 6 * DAY), [0; 0]);
    assert_eq!(round(&fixture, &all, 7 * DAY + 1), [0]);
}

#[test]
fn the_trash_keeps_a_deleted_snapshot_for_its_time() {
    let fixture = Fixture::with(CatalogOptions {
        trash: Duration::from_secs(3600),
        ..CatalogOptions::default()
    });
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = plan_of(&fixture, &vault, 7, 0);
    let all = daily(&fixture, &client, &plan, 0..2);
    let delete = |number: usize, now| {
        snapshots::request_delete(
            &fixture.catalog,
            &fixture.account,
            &all[number],
            None,
            at(now),
        )
        .unwrap()
    };
    delete(0, 10);
    assert_eq!(shown(&fixture, &all), [1]);
    assert_eq!(
        fixture.lease(&client, "run", 3609, 10),
        [],
        "no agent gets it early"
    );
    let trash = retention::trash(&fixture.catalog, &fixture.account).unwrap();
    assert_eq!((trash.len(), trash[0].until), (1, at(3610)));
    let back = |number: usize, now| {
        retention::take_back(&fixture.catalog, &fixture.account, &all[number], at(now))
    };
    back(0, 3609).unwrap();
    assert_eq!(shown(&fixture, &all), [0, 1]);
    assert_eq!(
        fixture.lease(&client, "run", 9999, 10),
        [],
        "its task is off"
    );
    assert!(matches!(back(0, 3609), Err(CatalogError::NotFound { .. })));
    // One whose time is over does not go again at once.
    assert_eq!(round(&fixture, &all, 7 * DAY + 1), [0]);
    back(0, 7 * DAY + 2).unwrap();
    assert_eq!(round(&fixture, &all, 7 * DAY + 60), [0; 0]);
    delete(1, 20 * DAY);
    let leased = fixture.lease(&client, "run", 20 * DAY + 3600, 10);
    assert_eq!(leased.len(), 1);
    assert!(matches!(
        back(1, 20 * DAY + 3601),
        Err(CatalogError::SnapshotGoing { .. })
    ));
    crate::work::release_run(
        &fixture.catalog,
        &client.client_id,
        "other",
        at(20 * DAY + 3602),
    )
    .unwrap();
    fixture.finish_task(&client, JobStatus::Complete, 20 * DAY + 3603);
    assert!(matches!(
        back(1, 20 * DAY + 3604),
        Err(CatalogError::NotFound { .. })
    ));
}

#[test]
fn a_preview_changes_nothing_and_tells_other_rules_apart() {
    let fixture = Fixture::with(CatalogOptions {
        zone: Zone::parse("Europe/Berlin").unwrap(),
        ..CatalogOptions::default()
    });
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = plan_of(&fixture, &vault, 7, 0);
    let all = daily(&fixture, &client, &plan, 0..4);
    let look = |rule: Option<&RetentionRule>, now| {
        let found = retention::preview(
            &fixture.catalog,
            &fixture.account,
            (Some(&vault), None),
            rule,
            at(now),
        )
        .unwrap();
        let judged = found.into_iter().flat_map(|(_, judged)| judged);
        judged
            .map(|one| one.verdict == Verdict::Expire)
            .collect::<Vec<bool>>()
    };
    assert_eq!(look(None, 8 * DAY + 1), [true, true, false, false]);
    assert_eq!(
        look(Some(&RetentionRule::days(Some(1), true)), 8 * DAY),
        [true, true, true, false]
    );
    assert_eq!(shown(&fixture, &all), [0, 1, 2, 3]);
    let stranger = new_account(&fixture.catalog, 2);
    let found = retention::preview(
        &fixture.catalog,
        &stranger,
        (None, None),
        None,
        at(99 * DAY),
    )
    .unwrap();
    assert!(found.is_empty());
    for result in [
        retention::hold(&fixture.catalog, &stranger, &all[0], Some("mine"), at(0)),
        retention::take_back(&fixture.catalog, &stranger, &all[0], at(0)),
    ] {
        assert!(matches!(result, Err(CatalogError::NotFound { .. })));
    }
}

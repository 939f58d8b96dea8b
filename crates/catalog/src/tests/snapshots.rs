//! Snapshots: searched with stable paging, deleted by a task.

use model::snapshot_query::{RawSnapshotQuery, SnapshotOrder, SnapshotSort};
use model::{JobStatus, SnapshotId, SnapshotQuery, SnapshotStatus, VaultId};
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;

use super::support::{Fixture, at, complete};
use crate::work::FinishAnswer;
use crate::{CatalogError, Snapshot, jobs, snapshots, tasks};

/// A snapshot as adopting finds it.
pub(super) fn snapshot(
    fixture: &Fixture,
    vault_id: &VaultId,
    number: usize,
    created: i64,
    complete: i64,
) -> Snapshot {
    Snapshot {
        snapshot_id: SnapshotId::parse(&format!("s-{number}")).unwrap(),
        account_id: fixture.account.clone(),
        vault_id: vault_id.clone(),
        source_type: model::SourceType::EcsFile,
        snapshot_hash: format!("{number:064x}"),
        parent_snapshot_hash: None,
        job_id: None,
        plan_id: (!number.is_multiple_of(3))
            .then(|| model::PlanId::parse(&format!("plan-{}", number % 3)).unwrap()),
        client_id: None,
        instance_id: Some(model::InstanceId::parse(&format!("i-{}", number % 2)).unwrap()),
        bucket: None,
        file_system_id: None,
        instance_name: None,
        table_name: None,
        prefix: None,
        create_time: None,
        backup_type: "COMPLETE".to_owned(),
        status: SnapshotStatus::Complete,
        paths: vec!["/home".to_owned()],
        include: None,
        exclude: None,
        retention: None,
        expire_time: None,
        created_time: at(created),
        start_time: None,
        complete_time: at(complete),
        updated_time: at(created),
        bytes_total: 1,
        bytes_done: 2,
        actual_bytes: 3,
        items_total: 4,
        items_done: 5,
        actual_items: 6,
        error_file: None,
    }
}

fn query(vault_id: &VaultId, more: &str, limit: i64) -> SnapshotQuery {
    let query = Some(format!(
        "[{{\"field\":\"VaultId\",\"value\":\"{vault_id}\"}}{more}]"
    ));
    SnapshotQuery::parse(&RawSnapshotQuery {
        query,
        limit: Some(limit),
        ..RawSnapshotQuery::default()
    })
    .unwrap()
}

fn numbers(rows: &[Snapshot]) -> Vec<usize> {
    rows.iter()
        .map(|row| row.snapshot_id.as_str()[2..].parse().unwrap())
        .collect()
}

#[test]
fn a_copy_of_a_snapshot_is_adopted_without_its_job() {
    let fixture = Fixture::new();
    let (vault, other) = (fixture.vault(0), fixture.vault(1));
    let job_id = model::JobId::parse("job-1").unwrap();
    let of_job = |vault: &VaultId, number| Snapshot {
        job_id: Some(job_id.clone()),
        ..snapshot(&fixture, vault, number, 1, 2)
    };
    let found = [of_job(&vault, 1), of_job(&other, 2), of_job(&vault, 3)];
    assert_eq!(
        snapshots::adopt(&fixture.catalog, &fixture.account, &found).unwrap(),
        3
    );
    let jobs = found.map(|row| {
        snapshots::get(&fixture.catalog, &fixture.account, &row.snapshot_id)
            .unwrap()
            .job_id
    });
    assert_eq!(jobs, [Some(job_id), None, None]);
}

#[test]
fn a_job_whose_snapshot_was_adopted_ends_all_the_same() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let job = fixture.job(&fixture.plan(&vault, "plan"), 1);
    let leased = fixture.lease(&client, "run", 2, 1);
    let adopted = Snapshot {
        job_id: Some(job.job_id.clone()),
        ..snapshot(&fixture, &vault, 7, 3, 3)
    };
    let hash = adopted.snapshot_hash.clone();
    snapshots::adopt(&fixture.catalog, &fixture.account, &[adopted]).unwrap();
    let answer = jobs::finish(&fixture.catalog, &complete(&leased[0], &hash), at(4)).unwrap();
    assert_eq!(answer, FinishAnswer::Accepted);
    let ended = jobs::get(&fixture.catalog, &fixture.account, &job.job_id).unwrap();
    assert_eq!(ended.status, JobStatus::Complete);
    let found = snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, &hash).unwrap();
    assert_eq!(found.job_id, Some(job.job_id));
}

#[test]
fn conditions() {
    let fixture = Fixture::new();
    let (vault, other) = (fixture.vault(0), fixture.vault(1));
    let mut found: Vec<Snapshot> = (0..9)
        .map(|n| snapshot(&fixture, &vault, n, n as i64, 10 * n as i64))
        .collect();
    found.push(snapshot(&fixture, &other, 9, 9, 90));
    assert_eq!(
        snapshots::adopt(&fixture.catalog, &fixture.account, &found).unwrap(),
        10
    );
    assert_eq!(
        snapshots::adopt(&fixture.catalog, &fixture.account, &found).unwrap(),
        0,
        "adopting again adds nothing"
    );
    assert_eq!(
        snapshots::get(&fixture.catalog, &fixture.account, &found[3].snapshot_id).unwrap(),
        found[3]
    );
    let check = |more: &str, expected: &[usize]| {
        let page = snapshots::search(
            &fixture.catalog,
            &fixture.account,
            &query(&vault, more, 100),
            None,
        )
        .unwrap();
        assert_eq!(numbers(&page.rows), expected, "{more}");
        assert_eq!(
            (page.total, page.next_token),
            (expected.len() as u64, None),
            "{more}"
        );
        let count = snapshots::search(
            &fixture.catalog,
            &fixture.account,
            &query(&vault, more, 0),
            None,
        )
        .unwrap();
        assert_eq!(
            (count.rows.len(), count.total),
            (0, expected.len() as u64),
            "{more}"
        );
    };
    let time = |seconds: i64| at(seconds).0;
    check("", &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    check(r#",{"field":"InstanceId","value":"i-1"}"#, &[1, 3, 5, 7]);
    check(
        r#",{"field":"InstanceId","value":"i-1"},{"field":"PlanId","value":"plan-1"}"#,
        &[1, 7],
    );
    check(
        &format!(
            r#",{{"field":"CompleteTime","value":{},"operation":"GREATER_THAN"}}"#,
            time(60)
        ),
        &[7, 8],
    );
    check(
        &format!(
            r#",{{"field":"CompleteTime","value":{},"value2":{},"operation":"BETWEEN"}}"#,
            time(20),
            time(40)
        ),
        &[2, 3, 4],
    );
    check(
        &format!(
            r#",{{"field":"CreatedTime","value":[{},{}],"operation":"IN"}}"#,
            time(1),
            time(5)
        ),
        &[1, 5],
    );
    check(
        r#",{"field":"PlanId","value":["plan-1","plan-2"],"operation":"NOT_IN"}"#,
        &[0, 3, 6],
    );
    check(
        r#",{"field":"PlanId","value":["plan-1"],"operation":"IN"}"#,
        &[1, 4, 7],
    );
    check(r#",{"field":"SnapshotId","value":"s-4"}"#, &[4]);
    check(r#",{"field":"Status","value":"PARTIAL_COMPLETE"}"#, &[]);
    check(
        r#",{"field":"Bucket","value":"b","operation":"LESS_THAN"}"#,
        &[],
    );
    check(r#",{"field":"VaultId","value":"v-none"}"#, &[]);
}

#[test]
fn tokens_are_checked() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let found: Vec<Snapshot> = (0..3)
        .map(|n| snapshot(&fixture, &vault, n, 0, 0))
        .collect();
    snapshots::adopt(&fixture.catalog, &fixture.account, &found).unwrap();
    let asked = query(&vault, "", 2);
    let search = |asked: &SnapshotQuery, token: &str| {
        snapshots::search(&fixture.catalog, &fixture.account, asked, Some(token))
    };
    let token = search(&asked, "").unwrap().next_token.unwrap();
    assert_eq!(numbers(&search(&asked, &token).unwrap().rows), [2]);
    let reversed = SnapshotQuery {
        order: SnapshotOrder::Descending,
        ..asked.clone()
    };
    assert!(
        matches!(search(&reversed, &token), Err(CatalogError::BadNextToken)),
        "made for another order"
    );
    for bad in [
        "x",
        "1ca.1",
        "1ca.x.s-1",
        "1ca.1.v-1",
        "1ca.1.",
        "2ca.1.s-1",
        &format!("{token} "),
    ] {
        assert!(
            matches!(search(&asked, bad), Err(CatalogError::BadNextToken)),
            "{bad}"
        );
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    /// Whatever is added and removed between two pages, rows that were there all along come exactly once, in order.
    #[test]
    fn paging_is_stable_while_data_changes(
        times in proptest::collection::vec((0i64..5, 0i64..5), 1..25),
        changes in proptest::collection::vec((any::<bool>(), 0usize..25, 0i64..5), 0..25),
        limit in 1i64..6, by_completion in any::<bool>(), descending in any::<bool>(),
    ) {
        let fixture = Fixture::new();
        let vault = fixture.vault(0);
        let found: Vec<Snapshot> =
            times.iter().enumerate().map(|(n, (created, done))| snapshot(&fixture, &vault, n, *created, *done)).collect();
        snapshots::adopt(&fixture.catalog, &fixture.account, &found).unwrap();
        let mut asked = query(&vault, "", limit);
        asked.sort = if by_completion { SnapshotSort::CompleteTime } else { SnapshotSort::CreatedTime };
        asked.order = if descending { SnapshotOrder::Descending } else { SnapshotOrder::Ascending };
        let mut removed = Vec::new();
        let (mut seen, mut token, mut changes) = (Vec::new(), None, changes.into_iter().enumerate());
        loop {
            let page = snapshots::search(&fixture.catalog, &fixture.account, &asked, token.as_deref()).unwrap();
            assert!(page.rows.len() <= limit as usize);
            seen.extend(page.rows);
            token = page.next_token;
            if token.is_none() {
                break;
            }
            match changes.next() {
                Some((n, (true, _, time))) => {
                    let new = snapshot(&fixture, &vault, 1000 + n, time, time);
                    snapshots::adopt(&fixture.catalog, &fixture.account, &[new]).unwrap();
                }
                Some((_, (false, which, _))) if which < found.len() => {
                    removed.push(which);
                    let id = &found[which].snapshot_id;
                    snapshots::request_delete(&fixture.catalog, &fixture.account, id, None, at(9)).unwrap();
                }
                _ => {}
            }
        }
        let key = |row: &Snapshot| (if by_completion { row.complete_time } else { row.created_time }, row.snapshot_id.clone());
        let keys: Vec<_> = seen.iter().map(key).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        sorted.dedup();
        if descending {
            sorted.reverse();
        }
        assert_eq!(&keys, &sorted, "in order, none twice");
        for (n, row) in found.iter().enumerate() {
            let times_seen = seen.iter().filter(|found| found.snapshot_id == row.snapshot_id).count();
            assert!(times_seen == 1 || removed.contains(&n), "{n}");
        }
    }
}

#[test]
fn a_snapshot_is_deleted_by_a_task() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    fixture.run_job(&client, &plan, "a", 1);
    let total = || {
        snapshots::search(
            &fixture.catalog,
            &fixture.account,
            &query(&vault, "", 10),
            None,
        )
        .unwrap()
        .total
    };
    let id = snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, "a")
        .unwrap()
        .snapshot_id;
    let delete =
        |now| snapshots::request_delete(&fixture.catalog, &fixture.account, &id, None, at(now));
    let task_id = delete(5).unwrap();
    assert_eq!(total(), 0, "not shown from now on");
    assert!(snapshots::get(&fixture.catalog, &fixture.account, &id).is_err());
    assert_eq!(delete(6).unwrap(), task_id, "asked again");
    let task = tasks::get(&fixture.catalog, &fixture.account, &task_id).unwrap();
    assert_eq!(
        (task.snapshot_hash.as_deref(), task.snapshot_id.as_ref()),
        (Some("a"), Some(&id))
    );
    fixture.finish_task(&client, JobStatus::Failed, 7);
    assert_eq!(total(), 1, "it is still there, so it is shown");
    let second = delete(8).unwrap();
    assert_ne!(second, task_id);
    fixture.finish_task(&client, JobStatus::Complete, 9);
    assert_eq!(total(), 0);
    assert!(matches!(delete(10), Err(CatalogError::NotFound { .. })));
}

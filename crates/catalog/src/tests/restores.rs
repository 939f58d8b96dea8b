//! Restore jobs, and the error lists of jobs.

use model::{InstanceId, JobStatus, RawFilter, RawRestoreQuery, RestoreQuery, RestoreType};

use super::support::{Fixture, at, complete, report};
use crate::restores::{ClientToken, FinishRestore, NewRestore};
use crate::work::FinishAnswer;
use crate::{
    CatalogError, Client, ItemError, PageRequest, Progress, TargetFields, WorkKind, item_errors,
    jobs, restores, snapshots, work,
};

fn fixture() -> (Fixture, Client, NewRestore) {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    fixture.run_job(&client, &plan, "a", 1);
    let snapshot = snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, "a").unwrap();
    let new = NewRestore {
        restore_type: RestoreType::EcsFile,
        region_id: "cn-hangzhou".to_owned(),
        snapshot_id: snapshot.snapshot_id,
        target_client_id: Some(client.client_id.clone()),
        target_instance_id: Some(client.instance_id.clone()),
        target_path: Some("/restored".to_owned()),
        target_bucket: None,
        target_file_system_id: None,
        include: None,
        exclude: None,
        options: Some("{\"conflictPolicy\":\"SKIP_EXISTING\"}".to_owned()),
        target_fields: TargetFields {
            target_prefix: Some("p".to_owned()),
            ..TargetFields::default()
        },
    };
    (fixture, client, new)
}

#[test]
fn a_restore_runs_to_its_end() {
    let (fixture, client, new) = fixture();
    let restore = restores::create(&fixture.catalog, &fixture.account, &new, None, at(5)).unwrap();
    assert_eq!(
        (restore.status, restore.source_instance_id.as_ref()),
        (JobStatus::Created, Some(&i_1()))
    );
    assert_eq!(restore.target_fields.target_prefix.as_deref(), Some("p"));
    let delete = || {
        let id = &new.snapshot_id;
        snapshots::request_delete(&fixture.catalog, &fixture.account, id, None, at(6))
    };
    assert!(matches!(delete(), Err(CatalogError::SnapshotInUse { .. })));
    let leased = fixture.lease(&client, "run", 6, 5);
    assert_eq!(leased[0].kind, WorkKind::Restore);
    let mut end = FinishRestore {
        work_id: leased[0].work_id.clone(),
        epoch: leased[0].epoch,
        outcome: JobStatus::Queued,
        message: Some("2 files".to_owned()),
        progress: Progress {
            progress: 4000,
            error_count: 2,
            ..Progress::default()
        },
    };
    let finish = |end: &FinishRestore| restores::finish(&fixture.catalog, end, at(8));
    assert!(matches!(finish(&end), Err(CatalogError::BadReport { .. })));
    end.outcome = JobStatus::PartialComplete;
    let stale = FinishRestore {
        epoch: end.epoch + 1,
        ..end.clone()
    };
    assert_eq!(finish(&stale).unwrap(), FinishAnswer::Stale);
    assert_eq!(finish(&end).unwrap(), FinishAnswer::Accepted);
    assert_eq!(finish(&end).unwrap(), FinishAnswer::Repeated);
    let ended = restores::get(&fixture.catalog, &fixture.account, &restore.restore_id).unwrap();
    assert_eq!(
        (ended.status, ended.complete_time),
        (JobStatus::PartialComplete, Some(at(8)))
    );
    assert_eq!(
        (ended.progress.progress, ended.error_message.as_deref()),
        (10_000, Some("2 files"))
    );
    assert!(matches!(
        restores::cancel(
            &fixture.catalog,
            &fixture.account,
            &restore.restore_id,
            at(9)
        ),
        Err(CatalogError::Transition {
            from: JobStatus::PartialComplete,
            ..
        })
    ));
    // A job's report never ends a restore.
    assert_eq!(
        jobs::finish(&fixture.catalog, &complete(&leased[0], "x"), at(9)).unwrap(),
        FinishAnswer::Stale
    );
    delete().unwrap();
}

fn i_1() -> InstanceId {
    InstanceId::parse("i-1").unwrap()
}

#[test]
fn the_same_token_gives_the_same_restore() {
    let (fixture, _, new) = fixture();
    let token = |token: &str, content: &str| ClientToken {
        token: token.to_owned(),
        request_content: content.to_owned(),
    };
    let create = |token: &ClientToken, now| {
        restores::create(
            &fixture.catalog,
            &fixture.account,
            &new,
            Some(token),
            at(now),
        )
    };
    let first = create(&token("t-1", "request"), 5).unwrap();
    assert_eq!(create(&token("t-1", "request"), 6).unwrap(), first);
    assert!(matches!(
        create(&token("t-1", "another"), 7),
        Err(CatalogError::TokenMismatch)
    ));
    assert_ne!(
        create(&token("t-2", "request"), 8).unwrap().restore_id,
        first.restore_id
    );
    let all =
        restores::query(&fixture.catalog, &fixture.account, &RestoreQuery::default()).unwrap();
    assert_eq!(all.total, 2);
    let without = restores::create(&fixture.catalog, &fixture.account, &new, None, at(9)).unwrap();
    assert_ne!(without.restore_id, first.restore_id);
}

#[test]
fn restores_are_queried_like_jobs() {
    let (fixture, client, new) = fixture();
    let mut created = Vec::new();
    for number in 0..6 {
        let mut new = new.clone();
        if number % 2 == 1 {
            new.restore_type = RestoreType::Oss;
            new.target_bucket = Some(format!("bucket-{number}"));
        }
        created.push(
            restores::create(
                &fixture.catalog,
                &fixture.account,
                &new,
                None,
                at(number / 2),
            )
            .unwrap(),
        );
    }
    fixture.lease(&client, "run", 9, 2);
    let rows: Vec<_> = created
        .iter()
        .map(|row| restores::get(&fixture.catalog, &fixture.account, &row.restore_id).unwrap())
        .collect();
    let filters: [(&str, &str, &[&str]); 10] = [
        ("restoreId", "IN", &[created[2].restore_id.as_str()]),
        ("Status", "EQUAL", &["RUNNING"]),
        ("Status", "NOT_EQUAL", &["RUNNING"]),
        ("targetBucket", "NOT_EQUAL", &["bucket-1"]),
        ("Bucket", "GREATER_THAN", &["bucket-1"]),
        ("CompleteTime", "NOT_EQUAL", &["1"]),
        ("CompleteTime", "GREATER_THAN", &["1"]),
        ("targetInstanceId", "EQUAL", &[client.instance_id.as_str()]),
        ("JobId", "IN", &["job-none"]),
        ("CreatedTime", "LESS_THAN", &["1700000001"]),
    ];
    for (key, operator, values) in filters {
        for restore_type in [None, Some("ECS_FILE"), Some("OSS"), Some("NAS")] {
            let filter = RawFilter {
                number: 1,
                key: Some(key.to_owned()),
                operator: Some(operator.to_owned()),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            };
            let raw = RawRestoreQuery {
                restore_type: restore_type.map(str::to_owned),
                filters: vec![filter],
                ..RawRestoreQuery::default()
            };
            let asked = RestoreQuery::parse(&raw).unwrap();
            let mut expected: Vec<_> = rows
                .iter()
                .filter(|row| asked.matches(row.restore_type, &row.fields()))
                .cloned()
                .collect();
            expected
                .sort_by_key(|row| std::cmp::Reverse((row.created_time, row.restore_id.clone())));
            let found = restores::query(&fixture.catalog, &fixture.account, &asked).unwrap();
            assert_eq!(found.rows, expected, "{key} {operator} {restore_type:?}");
            assert_eq!(found.total, expected.len() as u64);
        }
    }
}

fn error(path: &str) -> ItemError {
    ItemError {
        path: path.to_owned(),
        operation: "open".to_owned(),
        errno: Some(13),
        message: "Permission denied".to_owned(),
        time: at(3),
    }
}

#[test]
fn the_error_list_is_that_of_the_lease_that_made_the_result() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let job = fixture.job(&fixture.plan(&vault, "plan"), 1);
    let id = job.job_id.as_str();
    let list = |page| {
        item_errors::list(
            &fixture.catalog,
            &fixture.account,
            WorkKind::Backup,
            id,
            page,
        )
        .unwrap()
    };
    let paths = || {
        list(PageRequest::first(100))
            .rows
            .into_iter()
            .map(|row| row.path)
            .collect::<Vec<_>>()
    };
    let append = |epoch, first, rows: &[&str]| {
        let rows: Vec<ItemError> = rows.iter().map(|path| error(path)).collect();
        item_errors::append(&fixture.catalog, id, epoch, first, &rows).unwrap()
    };
    assert!(!append(0, 0, &["/early"]), "nobody holds it");
    assert_eq!(paths(), Vec::<String>::new());
    fixture.lease(&client, "run-1", 2, 1);
    assert!(append(1, 0, &["/a", "/b"]));
    assert!(append(1, 0, &["/a", "/b"]), "a page sent again");
    assert!(append(1, 1, &["/b", "/c"]), "a page that overlaps");
    assert!(!append(2, 3, &["/x"]));
    assert_eq!(paths(), ["/a", "/b", "/c"]);
    assert_eq!(
        list(PageRequest {
            page_number: 2,
            page_size: 2
        })
        .rows,
        [error("/c")]
    );
    // The agent dies; the next one has a list of its own.
    work::expire_leases(&fixture.catalog, at(1000)).unwrap();
    let second = fixture.lease(&client, "run-2", 1001, 1);
    assert!(!append(1, 9, &["/late"]));
    assert_eq!(paths(), Vec::<String>::new());
    assert!(append(2, 0, &["/d"]));
    assert_eq!(paths(), ["/d"]);
    // It finds the snapshot that the first one had committed: that one's list counts.
    let end = jobs::FinishJob {
        error_epoch: Some(1),
        ..complete(&second[0], "hash")
    };
    jobs::finish(&fixture.catalog, &end, at(1002)).unwrap();
    assert_eq!(paths(), ["/a", "/b", "/c"]);
    assert!(!append(2, 5, &["/after the end"]));
    let old = report(&second[0], JobStatus::Failed);
    assert_eq!(
        jobs::finish(&fixture.catalog, &old, at(1003)).unwrap(),
        FinishAnswer::Repeated
    );
    assert_eq!(paths(), ["/a", "/b", "/c"]);
}

#[test]
fn reports_must_fit_their_outcome() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    fixture.job(&fixture.plan(&vault, "plan"), 1);
    let leased = fixture.lease(&client, "run", 2, 1);
    for outcome in JobStatus::ALL {
        let has_result = outcome.has_result();
        let bad = if has_result {
            report(&leased[0], *outcome)
        } else {
            complete(&leased[0], "a")
        };
        let bad = jobs::FinishJob {
            outcome: *outcome,
            ..bad
        };
        let result = jobs::finish(&fixture.catalog, &bad, at(3));
        assert!(
            matches!(result, Err(CatalogError::BadReport { .. })),
            "{outcome}: {result:?}"
        );
    }
    // None of it changed anything: the lease still counts.
    let end = report(&leased[0], JobStatus::Failed);
    assert_eq!(
        jobs::finish(&fixture.catalog, &end, at(3)).unwrap(),
        FinishAnswer::Accepted
    );
}

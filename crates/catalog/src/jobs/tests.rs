//! Job queries against the model's meaning.

#![allow(clippy::unwrap_used, clippy::panic)]

use model::{
    ClientId, FilterKey, InstanceId, JobQuery, Operator, PlanId, RawFilter, RawJobQuery,
    SortDirection, SourceType, VaultId,
};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use proptest::test_runner::Config;

use super::*;
use crate::db::Catalog;
use crate::records::SourceFields;
use crate::tests::support::{Fixture, at, new_account};

/// The values that jobs have and filters ask for, by key: few, so that they often meet; some sort differently as
/// bytes, as text without case and as numbers.
fn values(key: FilterKey) -> &'static [&'static str] {
    match key {
        FilterKey::CreatedTime | FilterKey::CompleteTime => &[
            "1700000000",
            "1700000001",
            "1700000002",
            "1700000003",
            "1699999999",
            "17000000000",
        ],
        FilterKey::Status => &["RUNNING", "COMPLETE", "FAILED", "CREATED", "NO_SUCH"],
        FilterKey::RegionId => &["cn-hangzhou", "CN-hangzhou", "cn-beijing"],
        FilterKey::PlanId => &["plan-1", "plan-10", "plan-2"],
        FilterKey::VaultId => &["v-1", "v-10", "v-2", "v-a", "v-A"],
        FilterKey::InstanceId => &["i-1", "i-2"],
        FilterKey::JobId => &["job-0", "job-1", "job-10", "job-5", "job-99"],
        FilterKey::ParentId => &["job-1", "job-2"],
        FilterKey::Bucket => &["b", "B", "bücket", "b\u{10ffff}", ""],
        FilterKey::FileSystemId => &["005494", "5494"],
        FilterKey::InstanceName => &["ots", "OTS", "ots'; --"],
        FilterKey::BackupType => &["COMPLETE", "ARCHIVE"],
        FilterKey::RestoreId | FilterKey::SourceType => &["x"],
    }
}

const KEYS: [FilterKey; 13] = [
    FilterKey::RegionId,
    FilterKey::PlanId,
    FilterKey::JobId,
    FilterKey::VaultId,
    FilterKey::InstanceId,
    FilterKey::Bucket,
    FilterKey::FileSystemId,
    FilterKey::Status,
    FilterKey::CreatedTime,
    FilterKey::CompleteTime,
    FilterKey::InstanceName,
    FilterKey::BackupType,
    FilterKey::ParentId,
];

/// Two bytes choose each field's value or its absence.
fn job(account_id: &AccountId, number: usize, choice: &[u8; 16]) -> Job {
    let optional = |key: FilterKey, byte: u8| {
        let values = values(key);
        values
            .get(usize::from(byte) % (values.len() + 2))
            .map(|value| (*value).to_owned())
    };
    let sure =
        |key: FilterKey, byte: u8| values(key)[usize::from(byte) % values(key).len()].to_owned();
    let status = [
        JobStatus::Running,
        JobStatus::Complete,
        JobStatus::Failed,
        JobStatus::Created,
    ];
    let created_time = at(i64::from(choice[0] % 4));
    Job {
        account_id: account_id.clone(),
        job_id: JobId::parse(&format!("job-{number}")).unwrap(),
        job_name: "name".to_owned(),
        region_id: sure(FilterKey::RegionId, choice[1]),
        source_type: SourceType::ALL[usize::from(choice[2]) % 3],
        backup_type: sure(FilterKey::BackupType, choice[3]),
        status: status[usize::from(choice[4]) % status.len()],
        vault_id: optional(FilterKey::VaultId, choice[5]).map(|id| VaultId::parse(&id).unwrap()),
        plan_id: optional(FilterKey::PlanId, choice[6]).map(|id| PlanId::parse(&id).unwrap()),
        client_id: choice[7]
            .is_multiple_of(2)
            .then(|| ClientId::parse("c-1").unwrap()),
        instance_id: optional(FilterKey::InstanceId, choice[8])
            .map(|id| InstanceId::parse(&id).unwrap()),
        bucket: optional(FilterKey::Bucket, choice[9]),
        file_system_id: optional(FilterKey::FileSystemId, choice[10]),
        instance_name: optional(FilterKey::InstanceName, choice[11]),
        parent_id: optional(FilterKey::ParentId, choice[12]).map(|id| JobId::parse(&id).unwrap()),
        trigger_mode: choice[7].is_multiple_of(3).then_some(TriggerMode::Schedule),
        paths: vec!["/home".to_owned(), "/\"quoted\"".to_owned()],
        include: Some("[\"/a\"]".to_owned()),
        exclude: None,
        speed_limit: Some("0:24:5120".to_owned()),
        options: None,
        retention: Some(7),
        source_fields: SourceFields {
            prefix: Some("p/".to_owned()),
            ..SourceFields::default()
        },
        created_time,
        start_time: choice[13].is_multiple_of(2).then_some(created_time),
        complete_time: (!choice[14].is_multiple_of(3)).then(|| at(i64::from(choice[14] % 4))),
        updated_time: created_time,
        progress: Progress {
            progress: i64::from(choice[15]),
            bytes_total: i64::MAX,
            ..Progress::default()
        },
        error_message: choice[15].is_multiple_of(2).then(|| "why".to_owned()),
    }
}

fn insert_all(catalog: &Catalog, jobs: &[Job]) {
    catalog
        .write("test", |tx| {
            jobs.iter().try_for_each(|job| store::insert(tx, job))
        })
        .unwrap();
}

/// Asks the catalog and the oracle, and compares row by row.
fn check(catalog: &Catalog, jobs: &[Job], account_id: &AccountId, asked: &JobQuery) {
    let mut matching: Vec<&Job> = jobs
        .iter()
        .filter(|job| job.account_id == *account_id && asked.matches(&job.fields()))
        .collect();
    matching.sort_by_key(|job| (job.created_time, job.job_id.clone()));
    if asked.sort == SortDirection::Descend {
        matching.reverse();
    }
    let size = asked.page_size as usize;
    let expected: Vec<&Job> = matching
        .iter()
        .copied()
        .skip((asked.page_number as usize - 1) * size)
        .take(size)
        .collect();
    let found = query(catalog, account_id, asked).unwrap();
    assert_eq!(found.total, matching.len() as u64, "{asked:?}");
    assert_eq!(found.rows.iter().collect::<Vec<_>>(), expected, "{asked:?}");
}

fn raw_filter(key: FilterKey, operator: Operator, choice: [u8; 3]) -> RawFilter {
    let values = values(key);
    let value = |n: usize| values[usize::from(choice[n]) % values.len()].to_owned();
    let count = match operator {
        Operator::Between => 2,
        Operator::In => 1 + usize::from(choice[0] % 3),
        _ => 1,
    };
    RawFilter {
        number: 1,
        key: Some(key.as_str().to_owned()),
        operator: Some(operator.as_str().to_owned()),
        values: (0..count).map(value).collect(),
    }
}

fn parse(filters: Vec<RawFilter>) -> JobQuery {
    JobQuery::parse(&RawJobQuery {
        filters,
        ..RawJobQuery::default()
    })
    .unwrap()
}

#[test]
fn every_key_and_operator_agrees_with_the_model() {
    let fixture = Fixture::new();
    let other = new_account(&fixture.catalog, 2);
    // A fixed spread of values: each byte of the choice counts at its own pace.
    let jobs: Vec<Job> = (0..120usize)
        .map(|number| {
            let choice: [u8; 16] =
                std::array::from_fn(|byte| (number * (byte + 1) / 2 + byte) as u8);
            job(
                if number % 4 == 0 {
                    &other
                } else {
                    &fixture.account
                },
                number,
                &choice,
            )
        })
        .collect();
    insert_all(&fixture.catalog, &jobs);
    let mut asked_count = 0;
    for key in KEYS {
        for operator in Operator::ALL {
            if key == FilterKey::CompleteTime && *operator == Operator::In {
                continue;
            }
            for choice in 0..=6u8 {
                let mut asked = parse(vec![raw_filter(
                    key,
                    *operator,
                    [choice, choice / 2 + 1, choice + 3],
                )]);
                asked.sort = SortDirection::ALL[usize::from(choice % 2)];
                for (page_number, page_size) in [(1, 7), (2, 7), (3, 100), (u32::MAX, 100)] {
                    (asked.page_number, asked.page_size) = (page_number, page_size);
                    check(&fixture.catalog, &jobs, &fixture.account, &asked);
                    asked_count += 1;
                }
            }
        }
    }
    assert_eq!(asked_count, (13 * 8 - 1) * 7 * 4);
}

fn any_query() -> impl Strategy<Value = JobQuery> {
    let filter = (select(&KEYS[..]), select(Operator::ALL), any::<[u8; 3]>())
        .prop_filter("the API refuses it", |(key, operator, _)| {
            *key != FilterKey::CompleteTime || *operator != Operator::In
        })
        .prop_map(|(key, operator, choice)| raw_filter(key, operator, choice));
    let source_type = prop_oneof![Just(None), select(&SourceType::ALL[..4]).prop_map(Some)];
    let filters = proptest::collection::vec(filter, 0..4);
    let sort = select(SortDirection::ALL);
    (source_type, filters, sort, 1u32..5, 1u32..12).prop_map(
        |(source_type, filters, sort, page_number, page_size)| JobQuery {
            source_type,
            sort,
            page_number,
            page_size,
            ..parse(filters)
        },
    )
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn random_queries_agree_with_the_model(
        choices in proptest::collection::vec((any::<bool>(), any::<[u8; 16]>()), 0..50),
        queries in proptest::collection::vec((any::<bool>(), any_query()), 60),
    ) {
        let fixture = Fixture::new();
        let other = new_account(&fixture.catalog, 2);
        let account = |is_other: bool| if is_other { &other } else { &fixture.account };
        let jobs: Vec<Job> =
            choices.iter().enumerate().map(|(number, (is_other, choice))| job(account(*is_other), number, choice)).collect();
        insert_all(&fixture.catalog, &jobs);
        for (is_other, asked) in &queries {
            check(&fixture.catalog, &jobs, account(*is_other), asked);
        }
    }
}

/// Paging without a filter gives each job once, ties included.
#[test]
fn pages_give_each_job_once() {
    let fixture = Fixture::new();
    let jobs: Vec<Job> = (0..37)
        .map(|number| job(&fixture.account, number, &[0; 16]))
        .collect();
    insert_all(&fixture.catalog, &jobs);
    for sort in SortDirection::ALL {
        let mut seen = Vec::new();
        for page_number in 1.. {
            let asked = JobQuery {
                sort: *sort,
                page_number,
                page_size: 10,
                ..JobQuery::default()
            };
            let page = query(&fixture.catalog, &fixture.account, &asked).unwrap();
            assert_eq!(page.total, 37);
            if page.rows.is_empty() {
                break;
            }
            seen.extend(page.rows.into_iter().map(|job| job.job_id));
        }
        assert_eq!(seen.len(), 37);
        let mut sorted = seen.clone();
        sorted.sort();
        if *sort == SortDirection::Descend {
            sorted.reverse();
        }
        assert_eq!(seen, sorted);
    }
}

/// What an index would answer is the ledger's: an index in the database would only cost.
#[test]
fn jobs_have_no_index_but_that_of_their_ids() {
    let fixture = Fixture::new();
    let (sql, own) = if fixture.place.is_server() {
        let sql = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'jobs' AND schemaname = 'public' ORDER BY 1";
        (
            sql,
            &["jobs_numbered_account_id_job_id_key", "jobs_numbered_pkey"][..],
        )
    } else {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'jobs'";
        (sql, &["sqlite_autoindex_jobs_1"][..])
    };
    let names: Vec<String> = fixture
        .catalog
        .read("test", |tx| {
            crate::conditions::all(tx, "test", sql, [], |row| row.get(0))
        })
        .unwrap();
    assert_eq!(names, own);
}

#[test]
fn a_job_comes_back_as_it_was() {
    let fixture = Fixture::new();
    for number in 0..32u8 {
        let mut written = job(
            &fixture.account,
            usize::from(number),
            &std::array::from_fn(|byte| number.wrapping_mul(byte as u8 + 3)),
        );
        written.status = JobStatus::Complete;
        import(&fixture.catalog, &written).unwrap();
        assert_eq!(
            get(&fixture.catalog, &fixture.account, &written.job_id).unwrap(),
            written
        );
        assert!(matches!(
            import(&fixture.catalog, &written),
            Err(CatalogError::AlreadyExists { .. })
        ));
        written.status = JobStatus::Running;
        assert!(matches!(
            import(&fixture.catalog, &written),
            Err(CatalogError::Transition { .. })
        ));
    }
}

#[test]
fn ids_and_times_never_go_backwards() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    // The clock stands still, jumps ahead, falls back.
    let clock = [10, 10, 10, 500, 499, 20, 0, 501];
    let created: Vec<Job> = clock.iter().map(|now| fixture.job(&plan, *now)).collect();
    for pair in created.windows(2) {
        assert!(pair[0].job_id < pair[1].job_id);
        assert!(pair[0].created_time <= pair[1].created_time);
    }
    let times: Vec<i64> = created
        .iter()
        .map(|job| job.created_time.0 - at(0).0)
        .collect();
    assert_eq!(times, [10, 10, 10, 500, 500, 500, 500, 501]);
    // Also after the catalog was opened anew.
    let again = fixture.open_again();
    let next = create(&again, &fixture.account, &plan.plan_id, at(1)).unwrap();
    assert!(next.job_id > created[7].job_id && next.created_time == at(501));
}

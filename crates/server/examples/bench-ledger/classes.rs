//! The classes of queries that are measured, each with many different values.

use model::{Filter, FilterKey, JobQuery, Predicate, SortDirection, SourceType, Test};

use crate::history::{START, instance_id, mix, plan_id, vault_id};

/// A kind of question.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) make: fn(u64) -> JobQuery,
}

const DAY: i64 = 86_400;

fn text(key: FilterKey, test: Test<String>) -> Filter {
    Filter {
        key,
        predicate: Predicate::Text(test),
    }
}

fn equal(key: FilterKey, value: impl Into<String>) -> Filter {
    text(key, Test::Equal(value.into()))
}

fn time(key: FilterKey, from_day: u64, days: i64) -> Filter {
    let from = START + from_day as i64 * DAY;
    Filter {
        key,
        predicate: Predicate::Time(Test::Between(from, from + days * DAY)),
    }
}

fn files(filters: Vec<Filter>) -> JobQuery {
    JobQuery {
        source_type: Some(SourceType::EcsFile),
        filters,
        ..JobQuery::default()
    }
}

fn words(choice: u64, count: u64) -> Vec<String> {
    (0..count)
        .map(|number| plan_id(mix(choice ^ number) % 9_000))
        .collect()
}

/// The mix that a console and scripts ask: fourteen classes, then rarer ones.
pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "all ECS_FILE, page 1",
        make: |_| files(vec![]),
    },
    Class {
        name: "all ECS_FILE, any page",
        make: |choice| JobQuery {
            page_number: 1 + (mix(choice) % 30_000) as u32,
            ..files(vec![])
        },
    },
    Class {
        name: "Status = FAILED",
        make: |_| files(vec![equal(FilterKey::Status, "FAILED")]),
    },
    Class {
        name: "Status = COMPLETE, any page",
        make: |choice| JobQuery {
            page_number: 1 + (mix(choice) % 9_000) as u32,
            ..files(vec![equal(FilterKey::Status, "COMPLETE")])
        },
    },
    Class {
        name: "PlanId = common",
        make: |choice| files(vec![equal(FilterKey::PlanId, plan_id(mix(choice) % 20))]),
    },
    Class {
        name: "PlanId = rare",
        make: |choice| {
            files(vec![equal(
                FilterKey::PlanId,
                plan_id(4_000 + mix(choice) % 5_000),
            )])
        },
    },
    Class {
        name: "VaultId",
        make: |choice| files(vec![equal(FilterKey::VaultId, vault_id(mix(choice) % 150))]),
    },
    Class {
        name: "InstanceId",
        make: |choice| {
            files(vec![equal(
                FilterKey::InstanceId,
                instance_id(mix(choice) % 7_000),
            )])
        },
    },
    Class {
        name: "CreatedTime within a week",
        make: |choice| files(vec![time(FilterKey::CreatedTime, mix(choice) % 720, 7)]),
    },
    Class {
        name: "CompleteTime within a day",
        make: |choice| files(vec![time(FilterKey::CompleteTime, mix(choice) % 720, 1)]),
    },
    Class {
        name: "VaultId, Status = FAILED, created within a month",
        make: |choice| {
            files(vec![
                equal(FilterKey::VaultId, vault_id(mix(choice) % 150)),
                equal(FilterKey::Status, "FAILED"),
                time(FilterKey::CreatedTime, mix(choice) % 700, 30),
            ])
        },
    },
    Class {
        name: "RegionId and Status = COMPLETE",
        make: |_| {
            files(vec![
                equal(FilterKey::RegionId, "cn-hangzhou"),
                equal(FilterKey::Status, "COMPLETE"),
            ])
        },
    },
    Class {
        name: "no SourceType, page 1",
        make: |_| JobQuery::default(),
    },
    Class {
        name: "no SourceType, Status = FAILED, any page",
        make: |choice| JobQuery {
            page_number: 1 + (mix(choice) % 5_000) as u32,
            filters: vec![equal(FilterKey::Status, "FAILED")],
            ..JobQuery::default()
        },
    },
    Class {
        name: "PlanId IN twenty",
        make: |choice| files(vec![text(FilterKey::PlanId, Test::In(words(choice, 20)))]),
    },
    Class {
        name: "Status NOT_EQUAL COMPLETE, ascending",
        make: |_| JobQuery {
            sort: SortDirection::Ascend,
            ..files(vec![text(
                FilterKey::Status,
                Test::NotEqual("COMPLETE".to_owned()),
            )])
        },
    },
    Class {
        name: "CompleteTime since a day, Status = COMPLETE",
        make: |choice| {
            files(vec![
                Filter {
                    key: FilterKey::CompleteTime,
                    predicate: Predicate::Time(Test::GreaterOrEqual(
                        START + (mix(choice) % 730) as i64 * DAY,
                    )),
                },
                equal(FilterKey::Status, "COMPLETE"),
            ])
        },
    },
    Class {
        name: "PlanId GREATER_THAN",
        make: |choice| {
            files(vec![text(
                FilterKey::PlanId,
                Test::Greater(plan_id(mix(choice) % 9_000)),
            )])
        },
    },
    Class {
        name: "PlanId LESS_THAN, Status = FAILED",
        make: |choice| {
            files(vec![
                text(FilterKey::PlanId, Test::Less(plan_id(mix(choice) % 9_000))),
                equal(FilterKey::Status, "FAILED"),
            ])
        },
    },
    Class {
        name: "VaultId NOT_EQUAL, RegionId, Status IN two",
        make: |choice| {
            files(vec![
                text(
                    FilterKey::VaultId,
                    Test::NotEqual(vault_id(mix(choice) % 150)),
                ),
                equal(FilterKey::RegionId, "cn-hangzhou"),
                text(
                    FilterKey::Status,
                    Test::In(vec!["FAILED".to_owned(), "PARTIAL_COMPLETE".to_owned()]),
                ),
            ])
        },
    },
];

/// The classes that make the uniform mix of the server's figure.
pub(crate) const MIX: usize = 14;

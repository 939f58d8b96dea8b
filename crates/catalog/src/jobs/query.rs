//! Questions over the whole history of jobs: the SQL of a [`JobQuery`].
//!
//! The meaning is that of [`JobQuery::matches`]; a property test compares the two. Texts compare by bytes because the
//! columns have SQLite's binary collation, and a missing field is NULL, which every comparison but `IS DISTINCT FROM`
//! leaves out.

use model::{AccountId, Filter, FilterKey, JobQuery, Predicate, SortDirection, Test};
use rusqlite::types::Value;

use super::store;
use crate::conditions::Conditions;
use crate::db::Catalog;
use crate::error::CatalogError;
use crate::records::{Job, Page, PageRequest};

/// The page and the exact count of the account's jobs that match, of one state of the catalog.
pub fn query(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &JobQuery,
) -> Result<Page<Job>, CatalogError> {
    let conditions = conditions(account_id, query);
    let order = match query.sort {
        SortDirection::Ascend => "created_time, job_id",
        SortDirection::Descend => "created_time DESC, job_id DESC",
    };
    let page = PageRequest {
        page_number: query.page_number,
        page_size: query.page_size,
    };
    catalog.read("query jobs", |tx| {
        conditions.page(tx, "query jobs", ("jobs", order), page, store::read)
    })
}

pub(super) fn conditions(account_id: &AccountId, query: &JobQuery) -> Conditions {
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and_equal(
        "source_type",
        query.source_type.map(|source_type| source_type.as_str()),
    );
    for filter in &query.filters {
        add_filter(&mut conditions, filter, column(filter.key));
    }
    conditions
}

/// Adds a filter on a column; also for restore jobs.
pub(crate) fn add_filter(conditions: &mut Conditions, filter: &Filter, column: Option<&str>) {
    let Some(column) = column else {
        // No row has the field.
        conditions.and(
            if filter.predicate.matches_missing() {
                "1 = 1"
            } else {
                "1 = 0"
            },
            [],
        );
        return;
    };
    match &filter.predicate {
        Predicate::Text(test) => {
            add_test(conditions, column, test, |text| Value::Text(text.clone()))
        }
        Predicate::Time(test) => add_test(conditions, column, test, |time| Value::Integer(*time)),
    }
}

pub(crate) fn add_test<T>(
    conditions: &mut Conditions,
    column: &str,
    test: &Test<T>,
    bind: fn(&T) -> Value,
) {
    let mut compare = |operator: &str, bound: &T| {
        conditions.and(&format!("{column} {operator} ?"), [bind(bound)]);
    };
    match test {
        Test::Equal(bound) => compare("=", bound),
        Test::NotEqual(bound) => compare("IS DISTINCT FROM", bound),
        Test::Greater(bound) => compare(">", bound),
        Test::GreaterOrEqual(bound) => compare(">=", bound),
        Test::Less(bound) => compare("<", bound),
        Test::LessOrEqual(bound) => compare("<=", bound),
        Test::Between(low, high) => {
            conditions.and(
                &format!("{column} BETWEEN ? AND ?"),
                [bind(low), bind(high)],
            );
        }
        Test::In(bounds) => conditions.and_in_values(column, bounds.iter().map(bind).collect()),
    }
}

/// The column of a filter key; `None` for keys that backup jobs do not have.
fn column(key: FilterKey) -> Option<&'static str> {
    Some(match key {
        FilterKey::RegionId => "region_id",
        FilterKey::PlanId => "plan_id",
        FilterKey::JobId => "job_id",
        FilterKey::VaultId => "vault_id",
        FilterKey::InstanceId => "instance_id",
        FilterKey::Bucket => "bucket",
        FilterKey::FileSystemId => "file_system_id",
        FilterKey::Status => "status",
        FilterKey::CreatedTime => "created_time",
        FilterKey::CompleteTime => "complete_time",
        FilterKey::InstanceName => "instance_name",
        FilterKey::BackupType => "backup_type",
        FilterKey::ParentId => "parent_id",
        FilterKey::SourceType => "source_type",
        FilterKey::RestoreId => return None,
    })
}

//! Tests of the filters: how they are written ([`parsing`]) and what they mean ([`meaning`]).

#![allow(clippy::unwrap_used, clippy::panic)]

mod meaning;
mod parsing;

use super::{Filter, JobQuery, Predicate, QueryError, RawFilter, RawJobQuery, Test};

/// `Filters.2` of a query: key, operator, values.
pub(super) fn filter(key: &str, operator: Option<&str>, values: &[&str]) -> RawFilter {
    RawFilter {
        number: 2,
        key: (!key.is_empty()).then(|| key.to_owned()),
        operator: operator.map(str::to_owned),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

pub(super) fn parse_one(
    key: &str,
    operator: Option<&str>,
    values: &[&str],
) -> Result<Filter, QueryError> {
    let raw = RawJobQuery {
        filters: vec![filter(key, operator, values)],
        ..RawJobQuery::default()
    };
    JobQuery::parse(&raw).map(|query| query.filters.into_iter().next().unwrap())
}

pub(super) fn text(test: Test<&str>) -> Predicate {
    let own = |text: &str| text.to_owned();
    Predicate::Text(match test {
        Test::Equal(a) => Test::Equal(own(a)),
        Test::NotEqual(a) => Test::NotEqual(own(a)),
        Test::Greater(a) => Test::Greater(own(a)),
        Test::GreaterOrEqual(a) => Test::GreaterOrEqual(own(a)),
        Test::Less(a) => Test::Less(own(a)),
        Test::LessOrEqual(a) => Test::LessOrEqual(own(a)),
        Test::Between(a, b) => Test::Between(own(a), own(b)),
        Test::In(list) => Test::In(list.into_iter().map(own).collect()),
    })
}

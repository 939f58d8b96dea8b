//! From raw parameters to a query. One place knows how values are written on the wire.
//!
//! Values are texts; times are decimal seconds. `BETWEEN` comes either as two values or as one JSON array text
//! `[min,max]`, `IN` as any number of values or as one JSON array text; numbers inside the array may be quoted. Key
//! names have no case; every other word does.

use super::error::{QueryError, QueryErrorReason};
use super::test::{Predicate, Test};
use super::{
    DEFAULT_PAGE_NUMBER, DEFAULT_PAGE_SIZE, Filter, FilterKey, FilterScope, JobQuery, MAX_FILTERS,
    MAX_PAGE_SIZE, MAX_VALUES, Operator, RawFilter, RawJobQuery, RawRestoreQuery, RestoreQuery,
    SortDirection,
};
use crate::text::UnknownWord;

impl JobQuery {
    /// Checks the parameters of DescribeBackupJobs2.
    pub fn parse(raw: &RawJobQuery) -> Result<Self, QueryError> {
        let sort = parse_word("SortDirection", raw.sort_direction.as_deref())?;
        let (page_number, page_size) = parse_page(raw.page_number, raw.page_size)?;
        Ok(Self {
            source_type: parse_word("SourceType", raw.source_type.as_deref())?,
            filters: parse_filters(&raw.filters, FilterScope::BackupJobs)?,
            sort: sort.unwrap_or(SortDirection::Descend),
            page_number,
            page_size,
        })
    }
}

impl RestoreQuery {
    /// Checks the parameters of DescribeRestoreJobs2.
    pub fn parse(raw: &RawRestoreQuery) -> Result<Self, QueryError> {
        let (page_number, page_size) = parse_page(raw.page_number, raw.page_size)?;
        Ok(Self {
            restore_type: parse_word("RestoreType", raw.restore_type.as_deref())?,
            filters: parse_filters(&raw.filters, FilterScope::RestoreJobs)?,
            page_number,
            page_size,
        })
    }
}

/// A word of an enum; absent and empty are the same.
pub(crate) fn parse_word<T>(parameter: &str, word: Option<&str>) -> Result<Option<T>, QueryError>
where
    T: std::str::FromStr<Err = UnknownWord>,
{
    match word {
        None | Some("") => Ok(None),
        Some(word) => word
            .parse()
            .map(Some)
            .map_err(|error: UnknownWord| QueryError::new(parameter, error.into())),
    }
}

/// Checks a page number and a page size; also for actions without filters.
pub fn parse_page(number: Option<i64>, size: Option<i64>) -> Result<(u32, u32), QueryError> {
    let page_number = match number {
        None => DEFAULT_PAGE_NUMBER,
        Some(found) => match u32::try_from(found) {
            Ok(number) if number >= 1 => number,
            _ => {
                return Err(QueryError::new(
                    "PageNumber",
                    QueryErrorReason::PageNumber { found },
                ));
            }
        },
    };
    let page_size = match size {
        None => DEFAULT_PAGE_SIZE,
        Some(found) => match u32::try_from(found) {
            Ok(size) if (1..=MAX_PAGE_SIZE).contains(&size) => size,
            _ => {
                return Err(QueryError::new(
                    "PageSize",
                    QueryErrorReason::PageSize { found },
                ));
            }
        },
    };
    Ok((page_number, page_size))
}

fn parse_filters(raw: &[RawFilter], scope: FilterScope) -> Result<Vec<Filter>, QueryError> {
    if raw.len() > MAX_FILTERS {
        let reason = QueryErrorReason::TooManyFilters { found: raw.len() };
        return Err(QueryError::new("Filters", reason));
    }
    let mut filters = Vec::with_capacity(raw.len());
    let mut value_count = 0;
    for filter in raw {
        let (parsed, values) = parse_filter(filter, scope)?;
        value_count += values;
        if value_count > MAX_VALUES {
            let parameter = format!("Filters.{}.Values", filter.number);
            return Err(QueryError::new(parameter, QueryErrorReason::TooManyValues));
        }
        filters.push(parsed);
    }
    Ok(filters)
}

/// One filter, and how many values it has.
fn parse_filter(raw: &RawFilter, scope: FilterScope) -> Result<(Filter, usize), QueryError> {
    let parameter = |part: &str| format!("Filters.{}.{part}", raw.number);
    let name = match raw.key.as_deref() {
        None | Some("") => {
            return Err(QueryError::new(parameter("Key"), QueryErrorReason::Missing));
        }
        Some(name) => name,
    };
    let key = scope.key(name).ok_or_else(|| {
        QueryError::new(
            parameter("Key"),
            QueryErrorReason::Key {
                key: name.to_owned(),
                scope,
            },
        )
    })?;
    let operator =
        parse_word(&parameter("Operator"), raw.operator.as_deref())?.unwrap_or(Operator::In);
    if key == FilterKey::CompleteTime && operator == Operator::In {
        return Err(QueryError::new(
            parameter("Operator"),
            QueryErrorReason::InNotAllowed,
        ));
    }
    let parameter = parameter("Values");
    if raw.values.is_empty() {
        return Err(QueryError::new(parameter, QueryErrorReason::Missing));
    }
    let values = unpack(&parameter, operator, key, &raw.values)?;
    let value_count = values.len();
    let predicate = if key.is_time() {
        let times: Result<Vec<i64>, _> = values
            .iter()
            .map(|value| parse_time(&parameter, value))
            .collect();
        Predicate::Time(build(&parameter, operator, times?)?)
    } else {
        Predicate::Text(build(&parameter, operator, values)?)
    };
    Ok((Filter { key, predicate }, value_count))
}

/// The single values: those that came in, or the elements of the one JSON array text that came in instead.
fn unpack(
    parameter: &str,
    operator: Operator,
    key: FilterKey,
    values: &[String],
) -> Result<Vec<String>, QueryError> {
    match values {
        [only]
            if matches!(operator, Operator::Between | Operator::In) && looks_like_array(only) =>
        {
            let example = if key.is_time() {
                "[1554347313,1554347999]"
            } else {
                "[\"v-1\",\"v-2\"]"
            };
            json_array(only).ok_or_else(|| {
                QueryError::new(
                    parameter,
                    QueryErrorReason::Array {
                        value: only.clone(),
                        example,
                    },
                )
            })
        }
        _ => Ok(values.to_vec()),
    }
}

fn looks_like_array(value: &str) -> bool {
    value.trim_start().starts_with('[')
}

/// The elements of a JSON array of texts and numbers; `None` when it is anything else.
pub(crate) fn json_array(text: &str) -> Option<Vec<String>> {
    let elements: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    elements.into_iter().map(scalar_text).collect()
}

/// A JSON text or number as text.
pub(crate) fn scalar_text(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn parse_time(parameter: &str, value: &str) -> Result<i64, QueryError> {
    let digits = value.trim();
    let is_plain = digits
        .strip_prefix('-')
        .unwrap_or(digits)
        .bytes()
        .all(|c| c.is_ascii_digit());
    let seconds = if is_plain { digits.parse().ok() } else { None };
    seconds.ok_or_else(|| {
        QueryError::new(
            parameter,
            QueryErrorReason::Time {
                value: value.to_owned(),
            },
        )
    })
}

/// The test of `operator` with these bounds; refuses the wrong number of them.
pub(crate) fn build<T>(
    parameter: &str,
    operator: Operator,
    values: Vec<T>,
) -> Result<Test<T>, QueryError> {
    let found = values.len();
    let count = |expected| {
        let reason = QueryErrorReason::Count {
            operator: operator.as_str(),
            expected,
            found,
        };
        QueryError::new(parameter, reason)
    };
    match operator {
        Operator::In if found == 0 => Err(count("one or more values")),
        Operator::In => Ok(Test::In(values)),
        Operator::Between => {
            let [low, high] = <[T; 2]>::try_from(values)
                .map_err(|_| count("exactly two values, or one JSON array [min,max]"))?;
            Ok(Test::Between(low, high))
        }
        Operator::Equal
        | Operator::NotEqual
        | Operator::GreaterThan
        | Operator::GreaterThanOrEqual
        | Operator::LessThan
        | Operator::LessThanOrEqual => {
            let [bound] = <[T; 1]>::try_from(values).map_err(|_| count("exactly one value"))?;
            Ok(match operator {
                Operator::Equal => Test::Equal(bound),
                Operator::NotEqual => Test::NotEqual(bound),
                Operator::GreaterThan => Test::Greater(bound),
                Operator::GreaterThanOrEqual => Test::GreaterOrEqual(bound),
                Operator::LessThan => Test::Less(bound),
                _ => Test::LessOrEqual(bound),
            })
        }
    }
}

//! The question that SearchHistoricalSnapshots asks: conditions, order, limit.
//!
//! `Query` is a JSON array of `{"field","value","operation","value2"}`. Values may be texts or numbers. `BETWEEN` comes
//! as `value` = `[min,max]`, as that array's text, or as `value` and `value2`; `IN` and `NOT_IN` as an array, its text,
//! or one value. A snapshot that does not have the field matches `NOT_IN` and nothing else.

use serde::Deserialize;
use serde_json::Value;

use crate::job_query::{MAX_VALUES, Predicate, QueryError, QueryErrorReason, Test};
use crate::source_type::SourceType;
use crate::text::word_enum;

/// Rows of a page when no limit is given.
pub const DEFAULT_LIMIT: u32 = 10;
/// Most rows of a page.
pub const MAX_LIMIT: u32 = 100;
/// Most conditions of one query.
const MAX_CONDITIONS: usize = 50;
const EXAMPLE: &str = "[{\"field\":\"VaultId\",\"value\":\"v-1\",\"operation\":\"MATCH_TERM\"}]";

word_enum! {
    /// What a condition looks at.
    pub enum SnapshotField, "snapshot field" {
        /// The vault; one condition on it is mandatory.
        VaultId = "VaultId",
        /// The instance that was backed up.
        InstanceId = "InstanceId",
        /// The client that made it.
        ClientId = "ClientId",
        /// The bucket that was backed up.
        Bucket = "Bucket",
        /// The file system that was backed up.
        FileSystemId = "FileSystemId",
        /// When that file system was created, in seconds.
        CreateTime = "CreateTime",
        /// When the snapshot was complete, in seconds.
        CompleteTime = "CompleteTime",
        /// When the snapshot was created, in seconds.
        CreatedTime = "CreatedTime",
        /// The plan that made it.
        PlanId = "PlanId",
        /// The job that made it.
        JobId = "JobId",
        /// The snapshot.
        SnapshotId = "SnapshotId",
        /// The snapshot's hash in its vault.
        SnapshotHash = "SnapshotHash",
        /// Its state.
        Status = "Status",
        /// The Tablestore instance's name.
        InstanceName = "InstanceName",
        /// The table.
        TableName = "TableName",
    }
}

impl SnapshotField {
    /// Whether values are times in seconds rather than text.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(
            self,
            Self::CreateTime | Self::CompleteTime | Self::CreatedTime
        )
    }
}

word_enum! {
    /// How a condition compares.
    pub enum SnapshotOperation, "operation" {
        /// Equal to the value.
        MatchTerm = "MATCH_TERM",
        /// Greater than the value.
        GreaterThan = "GREATER_THAN",
        /// Greater than or equal to the value.
        GreaterThanOrEqual = "GREATER_THAN_OR_EQUAL",
        /// Less than the value.
        LessThan = "LESS_THAN",
        /// Less than or equal to the value.
        LessThanOrEqual = "LESS_THAN_OR_EQUAL",
        /// Between the two values, both included.
        Between = "BETWEEN",
        /// One of the values.
        In = "IN",
        /// None of the values.
        NotIn = "NOT_IN",
    }
}

word_enum! {
    /// The order of the snapshots.
    pub enum SnapshotOrder, "order" {
        /// Oldest first; the default.
        Ascending = "ASC",
        /// Newest first.
        Descending = "DESC",
    }
}

word_enum! {
    /// What the snapshots are sorted by; ties by snapshot id.
    pub enum SnapshotSort, "sort field" {
        /// When it was created; the default.
        CreatedTime = "CreatedTime",
        /// When it was complete.
        CompleteTime = "CompleteTime",
    }
}

/// What must hold of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotTest {
    /// A test that a snapshot without the field fails.
    Holds(Predicate),
    /// The value is none of these texts, or the field is missing.
    NoneOfTexts(Vec<String>),
    /// The value is none of these times, or the field is missing.
    NoneOfTimes(Vec<i64>),
}

/// The parameters of SearchHistoricalSnapshots as they came in. Empty texts count as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawSnapshotQuery {
    /// `SourceType`.
    pub source_type: Option<String>,
    /// `Query`, JSON text.
    pub query: Option<String>,
    /// `Limit`; 0 asks for the count alone.
    pub limit: Option<i64>,
    /// `SortBy`.
    pub sort_by: Option<String>,
    /// `Order`.
    pub order: Option<String>,
}

/// A valid question about snapshots. The place to go on from (`NextToken`) is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// Only this source type; `None` means all.
    pub source_type: Option<SourceType>,
    /// All must hold.
    pub conditions: Vec<(SnapshotField, SnapshotTest)>,
    /// What to sort by.
    pub sort: SnapshotSort,
    /// Which way.
    pub order: SnapshotOrder,
    /// Rows of a page, 0 (the count alone) to [`MAX_LIMIT`].
    pub limit: u32,
}

impl Default for SnapshotQuery {
    fn default() -> Self {
        Self {
            source_type: None,
            conditions: Vec::new(),
            sort: SnapshotSort::CreatedTime,
            order: SnapshotOrder::Ascending,
            limit: DEFAULT_LIMIT,
        }
    }
}

impl SnapshotQuery {
    /// Checks the parameters; a condition on VaultId is mandatory.
    pub fn parse(raw: &RawSnapshotQuery) -> Result<Self, QueryError> {
        let source_type = crate::job_query::parse_word("SourceType", raw.source_type.as_deref())?;
        let sort = crate::job_query::parse_word("SortBy", raw.sort_by.as_deref())?;
        let order = crate::job_query::parse_word("Order", raw.order.as_deref())?;
        let limit = match raw.limit {
            None => DEFAULT_LIMIT,
            Some(found) => match u32::try_from(found) {
                Ok(limit) if limit <= MAX_LIMIT => limit,
                _ => {
                    let reason = QueryErrorReason::Limit {
                        found,
                        max: MAX_LIMIT,
                    };
                    return Err(QueryError::new("Limit", reason));
                }
            },
        };
        let conditions = match raw.query.as_deref() {
            None | Some("") => Vec::new(),
            Some(text) => parse_conditions(text)?,
        };
        if !conditions
            .iter()
            .any(|(field, _)| *field == SnapshotField::VaultId)
        {
            return Err(QueryError::new(
                "Query",
                QueryErrorReason::MissingField { field: "VaultId" },
            ));
        }
        Ok(Self {
            source_type,
            conditions,
            sort: sort.unwrap_or(SnapshotSort::CreatedTime),
            order: order.unwrap_or(SnapshotOrder::Ascending),
            limit,
        })
    }
}

#[derive(Deserialize)]
struct WireCondition {
    #[serde(default, alias = "Field")]
    field: Option<String>,
    #[serde(default, alias = "Value")]
    value: Option<Value>,
    #[serde(default, alias = "Operation")]
    operation: Option<String>,
    #[serde(default, alias = "Value2")]
    value2: Option<Value>,
}

fn parse_conditions(text: &str) -> Result<Vec<(SnapshotField, SnapshotTest)>, QueryError> {
    let form = |error: serde_json::Error| {
        let reason = QueryErrorReason::Form {
            example: EXAMPLE,
            detail: error.to_string(),
        };
        QueryError::new("Query", reason)
    };
    // By way of a map: serde would take a list of lists for a list of structs.
    let objects: Vec<serde_json::Map<String, Value>> = serde_json::from_str(text).map_err(form)?;
    let wire = objects
        .into_iter()
        .map(|object| serde_json::from_value::<WireCondition>(object.into()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(form)?;
    if wire.len() > MAX_CONDITIONS {
        let reason = QueryErrorReason::TooManyFilters { found: wire.len() };
        return Err(QueryError::new("Query", reason));
    }
    let mut value_count = 0;
    let mut conditions = Vec::with_capacity(wire.len());
    for (position, condition) in wire.into_iter().enumerate() {
        let number = position + 1;
        let (parsed, values) = parse_condition(number, condition)?;
        value_count += values;
        if value_count > MAX_VALUES {
            return Err(QueryError::new(
                format!("Query.{number}.value"),
                QueryErrorReason::TooManyValues,
            ));
        }
        conditions.push(parsed);
    }
    Ok(conditions)
}

fn parse_condition(
    number: usize,
    wire: WireCondition,
) -> Result<((SnapshotField, SnapshotTest), usize), QueryError> {
    let parameter = |part: &str| format!("Query.{number}.{part}");
    let name = wire.field.unwrap_or_default();
    if name.is_empty() {
        return Err(QueryError::new(
            parameter("field"),
            QueryErrorReason::Missing,
        ));
    }
    let field = SnapshotField::ALL
        .iter()
        .copied()
        .find(|field| field.as_str().eq_ignore_ascii_case(&name));
    let field = match field {
        Some(field) => field,
        None => {
            let unknown = name.parse::<SnapshotField>().err();
            let reason = unknown.map_or(QueryErrorReason::Missing, QueryErrorReason::from);
            return Err(QueryError::new(parameter("field"), reason));
        }
    };
    let operation =
        crate::job_query::parse_word(&parameter("operation"), wire.operation.as_deref())?
            .unwrap_or(SnapshotOperation::MatchTerm);
    let parameter = parameter("value");
    let values = condition_values(&parameter, operation, wire.value, wire.value2)?;
    let value_count = values.len();
    let test = if field.is_time() {
        let times: Result<Vec<i64>, QueryError> = values
            .iter()
            .map(|value| crate::job_query::parse_time(&parameter, value))
            .collect();
        test_of(
            &parameter,
            operation,
            times?,
            SnapshotTest::NoneOfTimes,
            Predicate::Time,
        )?
    } else {
        test_of(
            &parameter,
            operation,
            values,
            SnapshotTest::NoneOfTexts,
            Predicate::Text,
        )?
    };
    Ok(((field, test), value_count))
}

/// The single values of a condition, whichever way they are written.
fn condition_values(
    parameter: &str,
    operation: SnapshotOperation,
    value: Option<Value>,
    value2: Option<Value>,
) -> Result<Vec<String>, QueryError> {
    let takes_array = matches!(
        operation,
        SnapshotOperation::Between | SnapshotOperation::In | SnapshotOperation::NotIn
    );
    let array = |value: String| {
        let example = "[1554347313,1554347999]";
        QueryError::new(parameter, QueryErrorReason::Array { value, example })
    };
    let mut values = match value {
        None | Some(Value::Null) => {
            return Err(QueryError::new(parameter, QueryErrorReason::Missing));
        }
        Some(Value::Array(elements)) if takes_array => {
            let text = Value::Array(elements.clone()).to_string();
            let texts: Option<Vec<String>> = elements
                .into_iter()
                .map(crate::job_query::scalar_text)
                .collect();
            texts.ok_or_else(|| array(text))?
        }
        Some(Value::String(text)) if takes_array && text.trim_start().starts_with('[') => {
            crate::job_query::json_array(&text).ok_or_else(|| array(text))?
        }
        Some(other) => {
            let text = other.to_string();
            vec![crate::job_query::scalar_text(other).ok_or_else(|| array(text))?]
        }
    };
    match value2 {
        None | Some(Value::Null) => {}
        // Clients that fill every member send an empty value2 with other operations.
        Some(_) if operation != SnapshotOperation::Between => {}
        Some(Value::String(text)) if text.is_empty() && values.len() == 2 => {}
        Some(other) => {
            let text = other.to_string();
            values.push(crate::job_query::scalar_text(other).ok_or_else(|| array(text))?);
        }
    }
    Ok(values)
}

fn test_of<T>(
    parameter: &str,
    operation: SnapshotOperation,
    values: Vec<T>,
    none_of: fn(Vec<T>) -> SnapshotTest,
    holds: fn(Test<T>) -> Predicate,
) -> Result<SnapshotTest, QueryError> {
    let found = values.len();
    let count = |expected| {
        let reason = QueryErrorReason::Count {
            operator: operation.as_str(),
            expected,
            found,
        };
        QueryError::new(parameter, reason)
    };
    if matches!(operation, SnapshotOperation::In | SnapshotOperation::NotIn) {
        if found == 0 {
            return Err(count("one or more values"));
        }
        return Ok(match operation {
            SnapshotOperation::NotIn => none_of(values),
            _ => SnapshotTest::Holds(holds(Test::In(values))),
        });
    }
    if operation == SnapshotOperation::Between {
        let [low, high] = <[T; 2]>::try_from(values)
            .map_err(|_| count("exactly two values: [min,max], or value and value2"))?;
        return Ok(SnapshotTest::Holds(holds(Test::Between(low, high))));
    }
    let [bound] = <[T; 1]>::try_from(values).map_err(|_| count("exactly one value"))?;
    Ok(SnapshotTest::Holds(holds(match operation {
        SnapshotOperation::GreaterThan => Test::Greater(bound),
        SnapshotOperation::GreaterThanOrEqual => Test::GreaterOrEqual(bound),
        SnapshotOperation::LessThan => Test::Less(bound),
        SnapshotOperation::LessThanOrEqual => Test::LessOrEqual(bound),
        _ => Test::Equal(bound),
    })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parse(conditions: &str) -> Result<SnapshotQuery, QueryError> {
        let query = Some(format!(
            "[{{\"field\":\"VaultId\",\"value\":\"v-1\",\"operation\":\"MATCH_TERM\"}},{conditions}]"
        ));
        SnapshotQuery::parse(&RawSnapshotQuery {
            query,
            ..RawSnapshotQuery::default()
        })
    }

    fn check(condition: &str, expected: (SnapshotField, SnapshotTest)) {
        let query = parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert_eq!(query.conditions[1], expected, "{condition}");
    }

    fn times(test: Test<i64>) -> SnapshotTest {
        SnapshotTest::Holds(Predicate::Time(test))
    }

    #[test]
    fn accepted() {
        let complete = SnapshotField::CompleteTime;
        check(
            r#"{"field":"InstanceId","value":"i-1","operation":"MATCH_TERM"}"#,
            (
                SnapshotField::InstanceId,
                SnapshotTest::Holds(Predicate::Text(Test::Equal("i-1".to_owned()))),
            ),
        );
        check(
            r#"{"field":"instanceid","value":"i-1"}"#,
            (
                SnapshotField::InstanceId,
                SnapshotTest::Holds(Predicate::Text(Test::Equal("i-1".to_owned()))),
            ),
        );
        check(
            r#"{"field":"CompleteTime","value":"1626769913","operation":"GREATER_THAN_OR_EQUAL"}"#,
            (complete, times(Test::GreaterOrEqual(1_626_769_913))),
        );
        check(
            r#"{"field":"CompleteTime","value":5,"operation":"LESS_THAN"}"#,
            (complete, times(Test::Less(5))),
        );
        for between in [
            r#"{"field":"CompleteTime","value":[1,2],"operation":"BETWEEN"}"#,
            r#"{"field":"CompleteTime","value":["1","2"],"operation":"BETWEEN"}"#,
            r#"{"field":"CompleteTime","value":"[1,2]","operation":"BETWEEN"}"#,
            r#"{"field":"CompleteTime","value":1,"value2":2,"operation":"BETWEEN"}"#,
            r#"{"field":"CompleteTime","value":"1","value2":"2","operation":"BETWEEN"}"#,
            r#"{"field":"CompleteTime","value":[1,2],"value2":"","operation":"BETWEEN"}"#,
        ] {
            check(between, (complete, times(Test::Between(1, 2))));
        }
        check(
            r#"{"field":"CompleteTime","value":[1,2],"operation":"IN"}"#,
            (complete, times(Test::In(vec![1, 2]))),
        );
        check(
            r#"{"field":"CompleteTime","value":[1],"operation":"NOT_IN"}"#,
            (complete, SnapshotTest::NoneOfTimes(vec![1])),
        );
        check(
            r#"{"field":"PlanId","value":"plan-1","value2":"","operation":"NOT_IN"}"#,
            (
                SnapshotField::PlanId,
                SnapshotTest::NoneOfTexts(vec!["plan-1".to_owned()]),
            ),
        );
    }

    #[test]
    fn refused() {
        let refuse = |condition: &str, parameter: &str, part: &str| {
            let error = parse(condition).expect_err(condition);
            assert_eq!(error.parameter, parameter, "{condition}");
            assert!(error.to_string().contains(part), "{condition}: {error}");
        };
        refuse(r#"{"value":"x"}"#, "Query.2.field", "mandatory");
        refuse(
            r#"{"field":"Size","value":"x"}"#,
            "Query.2.field",
            "valid values are VaultId",
        );
        refuse(
            r#"{"field":"PlanId","value":"x","operation":"LIKE"}"#,
            "Query.2.operation",
            "MATCH_TERM",
        );
        refuse(r#"{"field":"PlanId"}"#, "Query.2.value", "mandatory");
        refuse(
            r#"{"field":"PlanId","value":null}"#,
            "Query.2.value",
            "mandatory",
        );
        refuse(
            r#"{"field":"PlanId","value":["a"]}"#,
            "Query.2.value",
            "not a JSON array of values",
        );
        refuse(
            r#"{"field":"PlanId","value":{}}"#,
            "Query.2.value",
            "not a JSON array of values",
        );
        refuse(
            r#"{"field":"PlanId","value":[],"operation":"IN"}"#,
            "Query.2.value",
            "one or more",
        );
        refuse(
            r#"{"field":"CompleteTime","value":"x"}"#,
            "Query.2.value",
            "UNIX seconds",
        );
        refuse(
            r#"{"field":"CompleteTime","value":1,"operation":"BETWEEN"}"#,
            "Query.2.value",
            "exactly two",
        );
        refuse(
            r#"{"field":"CompleteTime","value":[1,2],"value2":3,"operation":"BETWEEN"}"#,
            "Query.2.value",
            "exactly two",
        );
        refuse(r#"{"field":"#, "Query", "JSON array of objects");
        refuse(
            "[\"PlanId\",\"x\",\"MATCH_TERM\",null]",
            "Query",
            "JSON array of objects",
        );
        refuse(
            r#"{"field":5,"value":"x"}"#,
            "Query",
            "JSON array of objects",
        );
        refuse("5", "Query", "JSON array of objects");
    }

    #[test]
    fn the_vault_is_mandatory_and_the_rest_has_defaults() {
        let none = RawSnapshotQuery::default();
        let error = SnapshotQuery::parse(&none).unwrap_err();
        assert!(
            error.is_missing() && error.to_string().contains("VaultId"),
            "{error}"
        );
        let query = Some("[{\"field\":\"VaultId\",\"value\":\"v-1\"}]".to_owned());
        let plain = RawSnapshotQuery {
            query,
            ..RawSnapshotQuery::default()
        };
        let parsed = SnapshotQuery::parse(&plain).unwrap();
        assert_eq!(
            (parsed.limit, parsed.order),
            (DEFAULT_LIMIT, SnapshotOrder::Ascending)
        );
        for (limit, is_good) in [(0, true), (100, true), (101, false), (-1, false)] {
            let raw = RawSnapshotQuery {
                limit: Some(limit),
                ..plain.clone()
            };
            assert_eq!(SnapshotQuery::parse(&raw).is_ok(), is_good, "{limit}");
        }
        let raw = RawSnapshotQuery {
            order: Some("DESCEND".to_owned()),
            ..plain.clone()
        };
        assert_eq!(SnapshotQuery::parse(&raw).unwrap_err().parameter, "Order");
        let raw = RawSnapshotQuery {
            sort_by: Some("Size".to_owned()),
            ..plain
        };
        assert_eq!(SnapshotQuery::parse(&raw).unwrap_err().parameter, "SortBy");
    }
}

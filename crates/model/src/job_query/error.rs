//! Why a query is refused.

use super::{FilterScope, MAX_FILTERS, MAX_PAGE_SIZE, MAX_VALUES, Operator};
use crate::text::UnknownWord;

/// A query that is refused: which parameter, and why. `Display` is fit for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub struct QueryError {
    /// The parameter as on the wire: `Filters.2.Operator`, `PageSize`, `Query.1.field`.
    pub parameter: String,
    /// What is wrong with it.
    pub reason: QueryErrorReason,
}

impl QueryError {
    pub(crate) fn new(parameter: impl Into<String>, reason: QueryErrorReason) -> Self {
        Self {
            parameter: parameter.into(),
            reason,
        }
    }

    /// Whether the parameter is absent rather than wrong.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(
            self.reason,
            QueryErrorReason::Missing | QueryErrorReason::MissingField { .. }
        )
    }
}

/// What is wrong with a parameter of a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryErrorReason {
    /// The parameter is absent or empty.
    #[error("this parameter is mandatory")]
    Missing,
    /// A query must say something about this field.
    #[error("a condition on {field} is mandatory")]
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// A word that is not one of the valid ones.
    #[error(transparent)]
    Word(#[from] UnknownWord),
    /// A filter key that the action does not know.
    #[error("\"{key}\" is not a filter key; valid keys are {}", key_names(*scope))]
    Key {
        /// The key as it came in.
        key: String,
        /// The action's keys.
        scope: FilterScope,
    },
    /// `IN` on the completion time, which the API does not allow.
    #[error(
        "the operator IN (the default) cannot be used with CompleteTime; use one of {}",
        other_operators()
    )]
    InNotAllowed,
    /// The wrong number of values.
    #[error("{operator} takes {expected}, not {found}")]
    Count {
        /// The operator.
        operator: &'static str,
        /// How many it takes, in words.
        expected: &'static str,
        /// How many came in.
        found: usize,
    },
    /// A value that should be a time.
    #[error("\"{value}\" is not a time; write UNIX seconds such as 1554347313")]
    Time {
        /// The value as it came in.
        value: String,
    },
    /// A value that starts like a JSON array and is none, or whose elements are not texts or numbers.
    #[error("\"{value}\" is not a JSON array of values such as {example}")]
    Array {
        /// The value as it came in.
        value: String,
        /// A valid one.
        example: &'static str,
    },
    /// A page number below 1.
    #[error("{found} is not a page number; pages start from 1")]
    PageNumber {
        /// The number as it came in.
        found: i64,
    },
    /// A page size out of range.
    #[error("{found} is not a page size; valid values are 1 to {MAX_PAGE_SIZE}")]
    PageSize {
        /// The size as it came in.
        found: i64,
    },
    /// A limit out of range.
    #[error("{found} is not a limit; valid values are 0 to {max}")]
    Limit {
        /// The limit as it came in.
        found: i64,
        /// The greatest one.
        max: u32,
    },
    /// Too many filters.
    #[error("a query may have at most {MAX_FILTERS} filters, not {found}")]
    TooManyFilters {
        /// How many came in.
        found: usize,
    },
    /// Too many values in all filters together.
    #[error("a query may have at most {MAX_VALUES} values in all its filters")]
    TooManyValues,
    /// The query is not of the right form.
    #[error("the conditions must be a JSON array of objects such as {example}: {detail}")]
    Form {
        /// A valid one.
        example: &'static str,
        /// What is wrong.
        detail: String,
    },
}

fn key_names(scope: FilterScope) -> String {
    let names: Vec<&str> = scope.names().iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn other_operators() -> String {
    let words: Vec<&str> = Operator::WORDS
        .iter()
        .copied()
        .filter(|word| *word != "IN")
        .collect();
    words.join(", ")
}

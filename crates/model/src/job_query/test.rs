//! What a filter demands of a value.

use std::cmp::Ordering;

/// A comparison with its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test<T> {
    /// Equal to the bound.
    Equal(T),
    /// Not equal to the bound.
    NotEqual(T),
    /// Greater than the bound.
    Greater(T),
    /// Greater than or equal to the bound.
    GreaterOrEqual(T),
    /// Less than the bound.
    Less(T),
    /// Less than or equal to the bound.
    LessOrEqual(T),
    /// Within both bounds, which are included; nothing when the first is greater than the second.
    Between(T, T),
    /// Equal to one of the bounds.
    In(Vec<T>),
}

impl<T> Test<T> {
    /// Whether the test holds for a value that `compare` compares with each bound.
    pub fn holds(&self, compare: impl Fn(&T) -> Ordering) -> bool {
        match self {
            Self::Equal(bound) => compare(bound).is_eq(),
            Self::NotEqual(bound) => compare(bound).is_ne(),
            Self::Greater(bound) => compare(bound).is_gt(),
            Self::GreaterOrEqual(bound) => compare(bound).is_ge(),
            Self::Less(bound) => compare(bound).is_lt(),
            Self::LessOrEqual(bound) => compare(bound).is_le(),
            Self::Between(low, high) => compare(low).is_ge() && compare(high).is_le(),
            Self::In(bounds) => bounds.iter().any(|bound| compare(bound).is_eq()),
        }
    }
}

/// A test of a text or of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// Of a text, compared by bytes.
    Text(Test<String>),
    /// Of a time in UNIX seconds.
    Time(Test<i64>),
}

impl Predicate {
    /// The texts that it holds for, where these are few and named.
    #[must_use]
    pub fn texts(&self) -> Option<&[String]> {
        match self {
            Self::Text(Test::Equal(one)) => Some(std::slice::from_ref(one)),
            Self::Text(Test::In(some)) => Some(some),
            _ => None,
        }
    }

    /// Whether the test holds for a job that does not have the field.
    #[must_use]
    pub const fn matches_missing(&self) -> bool {
        matches!(
            self,
            Self::Text(Test::NotEqual(_)) | Self::Time(Test::NotEqual(_))
        )
    }
}

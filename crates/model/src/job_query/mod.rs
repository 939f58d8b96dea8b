//! The question that DescribeBackupJobs2 and DescribeRestoreJobs2 ask: filters, order, page.
//!
//! [`JobQuery::parse`] (in [`parse`](self::JobQuery::parse)) turns raw parameters into a query or a typed error;
//! [`JobQuery::matches`] says what a query means, one job at a time. `catalog` answers the same question over a whole
//! history by other means and is tested against `matches`.
//!
//! Meaning: filters are ANDed. Text is compared by bytes, times as numbers. A job that does not have the field matches
//! `NOT_EQUAL` and nothing else. Order is creation time, then job id, both in the same direction.

mod error;
mod fields;
mod parse;
mod test;
#[cfg(test)]
mod tests;

pub use error::{QueryError, QueryErrorReason};
pub use fields::{FieldValue, JobFields};
pub use parse::parse_page;
pub(crate) use parse::{json_array, parse_time, parse_word, scalar_text};
pub use test::{Predicate, Test};

use crate::source_type::{RestoreType, SourceType};
use crate::text::word_enum;

/// The page when none is asked for.
pub const DEFAULT_PAGE_NUMBER: u32 = 1;
/// Rows of a page when nothing else is asked for.
pub const DEFAULT_PAGE_SIZE: u32 = 10;
/// Most rows of a page. The documents say 99; one real client asks for 100.
pub const MAX_PAGE_SIZE: u32 = 100;
/// Most filters of one query; a real query has a handful.
pub const MAX_FILTERS: usize = 50;
/// Most values of all filters of one query together: bounds the work and the size of one statement.
pub const MAX_VALUES: usize = 2_000;

word_enum! {
    /// What a filter looks at, in the words of the API.
    pub enum FilterKey, "filter key" {
        /// The region of the job.
        RegionId = "RegionId",
        /// The plan that made the job.
        PlanId = "PlanId",
        /// The backup job; for restore jobs, the backup job whose snapshot is restored.
        JobId = "JobId",
        /// The vault.
        VaultId = "VaultId",
        /// The instance that is backed up; for restore jobs, the one that is written to.
        InstanceId = "InstanceId",
        /// The bucket; for restore jobs, the one that is written to.
        Bucket = "Bucket",
        /// The file system; for restore jobs, the one that is written to.
        FileSystemId = "FileSystemId",
        /// The state.
        Status = "Status",
        /// When the job was created, in seconds.
        CreatedTime = "CreatedTime",
        /// When the job ended, in seconds; a job that has not ended does not have it.
        CompleteTime = "CompleteTime",
        /// The Tablestore instance's name.
        InstanceName = "InstanceName",
        /// The kind of backup.
        BackupType = "BackupType",
        /// The parent of a child job.
        ParentId = "ParentId",
        /// The restore job (restore jobs only).
        RestoreId = "RestoreId",
        /// The source type (restore jobs only; backup jobs have a parameter for it).
        SourceType = "SourceType",
    }
}

impl FilterKey {
    /// Whether values are times in seconds rather than text.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(self, Self::CreatedTime | Self::CompleteTime)
    }
}

/// Which action's keys are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterScope {
    /// DescribeBackupJobs2.
    BackupJobs,
    /// DescribeRestoreJobs2.
    RestoreJobs,
}

impl FilterScope {
    /// The names that the scope knows, each with its key. Names are compared without regard to case.
    pub(crate) const fn names(self) -> &'static [(&'static str, FilterKey)] {
        match self {
            Self::BackupJobs => &[
                ("RegionId", FilterKey::RegionId),
                ("PlanId", FilterKey::PlanId),
                ("JobId", FilterKey::JobId),
                ("VaultId", FilterKey::VaultId),
                ("InstanceId", FilterKey::InstanceId),
                ("Bucket", FilterKey::Bucket),
                ("FileSystemId", FilterKey::FileSystemId),
                ("Status", FilterKey::Status),
                ("CreatedTime", FilterKey::CreatedTime),
                ("CompleteTime", FilterKey::CompleteTime),
                ("InstanceName", FilterKey::InstanceName),
                ("BackupType", FilterKey::BackupType),
                ("ParentId", FilterKey::ParentId),
            ],
            Self::RestoreJobs => &[
                ("RegionId", FilterKey::RegionId),
                ("PlanId", FilterKey::PlanId),
                ("JobId", FilterKey::JobId),
                ("RestoreId", FilterKey::RestoreId),
                ("VaultId", FilterKey::VaultId),
                ("SourceType", FilterKey::SourceType),
                ("InstanceId", FilterKey::InstanceId),
                ("TargetInstanceId", FilterKey::InstanceId),
                ("Bucket", FilterKey::Bucket),
                ("TargetBucket", FilterKey::Bucket),
                ("FileSystemId", FilterKey::FileSystemId),
                ("TargetFileSystemId", FilterKey::FileSystemId),
                ("Status", FilterKey::Status),
                ("CreatedTime", FilterKey::CreatedTime),
                ("CompleteTime", FilterKey::CompleteTime),
            ],
        }
    }

    /// The key of `name`, compared without regard to case.
    #[must_use]
    pub fn key(self, name: &str) -> Option<FilterKey> {
        self.names()
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, key)| *key)
    }
}

word_enum! {
    /// How a filter compares.
    pub enum Operator, "filter operator" {
        /// Equal to the one value.
        Equal = "EQUAL",
        /// Not equal to the one value, or the job does not have the field.
        NotEqual = "NOT_EQUAL",
        /// Greater than the one value.
        GreaterThan = "GREATER_THAN",
        /// Greater than or equal to the one value.
        GreaterThanOrEqual = "GREATER_THAN_OR_EQUAL",
        /// Less than the one value.
        LessThan = "LESS_THAN",
        /// Less than or equal to the one value.
        LessThanOrEqual = "LESS_THAN_OR_EQUAL",
        /// Between the two values, both included.
        Between = "BETWEEN",
        /// One of the values.
        In = "IN",
    }
}

word_enum! {
    /// The order of the rows.
    pub enum SortDirection, "sort direction" {
        /// Oldest first.
        Ascend = "ASCEND",
        /// Newest first; the default.
        Descend = "DESCEND",
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What it looks at.
    pub key: FilterKey,
    /// What must hold.
    pub predicate: Predicate,
}

impl Filter {
    /// Whether a job with these fields meets the condition.
    #[must_use]
    pub fn matches(&self, fields: &JobFields<'_>) -> bool {
        match (&self.predicate, fields.get(self.key)) {
            (predicate, None) => predicate.matches_missing(),
            (Predicate::Text(test), Some(FieldValue::Text(value))) => {
                test.holds(|bound| value.as_bytes().cmp(bound.as_bytes()))
            }
            (Predicate::Time(test), Some(FieldValue::Time(value))) => {
                test.holds(|bound| value.cmp(bound))
            }
            // Parsing gives time keys a time test and text keys a text test; a hand-made mismatch matches nothing.
            (Predicate::Text(_), Some(FieldValue::Time(_)))
            | (Predicate::Time(_), Some(FieldValue::Text(_))) => false,
        }
    }
}

/// A filter as it came in: `Filters.{number}.Key`, `.Operator`, `.Values`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawFilter {
    /// The number in the parameters' names, for messages.
    pub number: usize,
    /// `Filters.N.Key`.
    pub key: Option<String>,
    /// `Filters.N.Operator`; absent or empty means `IN`.
    pub operator: Option<String>,
    /// `Filters.N.Values.1` and so on, in order.
    pub values: Vec<String>,
}

/// The parameters of DescribeBackupJobs2 as they came in. Empty texts count as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawJobQuery {
    /// `SourceType`.
    pub source_type: Option<String>,
    /// `Filters`.
    pub filters: Vec<RawFilter>,
    /// `SortDirection`.
    pub sort_direction: Option<String>,
    /// `PageNumber`.
    pub page_number: Option<i64>,
    /// `PageSize`.
    pub page_size: Option<i64>,
}

/// A valid question about backup jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// Only this source type; `None` means all, merged in order.
    pub source_type: Option<SourceType>,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// The order.
    pub sort: SortDirection,
    /// Which page, from 1.
    pub page_number: u32,
    /// Rows of a page, 1 to [`MAX_PAGE_SIZE`].
    pub page_size: u32,
}

impl Default for JobQuery {
    fn default() -> Self {
        Self {
            source_type: None,
            filters: Vec::new(),
            sort: SortDirection::Descend,
            page_number: DEFAULT_PAGE_NUMBER,
            page_size: DEFAULT_PAGE_SIZE,
        }
    }
}

impl JobQuery {
    /// Whether a job with these fields is asked for.
    #[must_use]
    pub fn matches(&self, fields: &JobFields<'_>) -> bool {
        self.source_type
            .is_none_or(|wanted| fields.source_type == Some(wanted.as_str()))
            && self.filters.iter().all(|filter| filter.matches(fields))
    }
}

/// The parameters of DescribeRestoreJobs2 as they came in. Empty texts count as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawRestoreQuery {
    /// `RestoreType`.
    pub restore_type: Option<String>,
    /// `Filters`.
    pub filters: Vec<RawFilter>,
    /// `PageNumber`.
    pub page_number: Option<i64>,
    /// `PageSize`.
    pub page_size: Option<i64>,
}

/// A valid question about restore jobs; newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreQuery {
    /// Only this restore type; `None` means all.
    pub restore_type: Option<RestoreType>,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Which page, from 1.
    pub page_number: u32,
    /// Rows of a page, 1 to [`MAX_PAGE_SIZE`].
    pub page_size: u32,
}

impl Default for RestoreQuery {
    fn default() -> Self {
        Self {
            restore_type: None,
            filters: Vec::new(),
            page_number: DEFAULT_PAGE_NUMBER,
            page_size: DEFAULT_PAGE_SIZE,
        }
    }
}

impl RestoreQuery {
    /// Whether a restore job of this type with these fields is asked for.
    #[must_use]
    pub fn matches(&self, restore_type: RestoreType, fields: &JobFields<'_>) -> bool {
        self.restore_type
            .is_none_or(|wanted| wanted == restore_type)
            && self.filters.iter().all(|filter| filter.matches(fields))
    }
}

//! The rows as values, in the words of the API. Lists and the fields of rare source types are JSON text in the
//! database and typed here. Nothing here reads or writes.

mod job;
mod owner;
mod plan;
mod restore;
mod snapshot;
mod vault;

pub use job::{ItemError, Job, JobEvent, Progress, Work};
pub use owner::{AccessKey, Account, Client, Role, User};
pub use plan::{Plan, PlanSpec, SourceFields};
pub use restore::{RestoreJob, TargetFields};
pub use snapshot::Snapshot;
pub use vault::{Task, Vault, VaultCounts};

/// One page of rows, and how many rows there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows of the page, in order.
    pub rows: Vec<T>,
    /// How many rows match, on all pages.
    pub total: u64,
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// From 1.
    pub page_number: u32,
    /// Rows of a page.
    pub page_size: u32,
}

impl PageRequest {
    /// The first `page_size` rows.
    #[must_use]
    pub const fn first(page_size: u32) -> Self {
        Self {
            page_number: 1,
            page_size,
        }
    }

    pub(crate) fn limit(self) -> i64 {
        i64::from(self.page_size)
    }

    pub(crate) fn offset(self) -> i64 {
        i64::from(self.page_number.max(1) - 1) * i64::from(self.page_size)
    }
}

/// Bytes that the server has sealed with the master key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

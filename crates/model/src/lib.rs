//! Values and decisions of the control side: ids, states and their legal transitions, schedules, throttle windows,
//! validation of what callers send, and the filters of job and snapshot queries.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Callers pass `now` and entropy in. `catalog` and `server`
//! keep and apply these values; the engine crates use only the speed limit and the restore options.
//!
//! Modules in reading order: [`text`] (enums that are words on the wire), [`timestamp`], [`ids`], [`source_type`],
//! [`status`], [`zone`], [`schedule`], [`retention`], [`upkeep`], [`speed_limit`], [`names`], [`nearest`](mod@nearest),
//! [`patterns`], [`options`], [`ram`], [`audit`], [`job_query`], [`snapshot_query`].

pub mod audit;
pub mod ids;
pub mod job_query;
pub mod names;
pub mod nearest;
pub mod options;
pub mod patterns;
pub mod ram;
pub mod retention;
pub mod schedule;
pub mod snapshot_query;
pub mod source_type;
pub mod speed_limit;
pub mod status;
pub mod text;
pub mod timestamp;
pub mod upkeep;
pub mod zone;

pub use ids::{
    AccountId, ClientId, IdError, InstanceId, JobId, PlanId, RestoreId, SnapshotId, TaskId, VaultId,
};
pub use job_query::{
    Filter, FilterKey, FilterScope, JobFields, JobQuery, Operator, Predicate, QueryError,
    RawFilter, RawJobQuery, RawRestoreQuery, RestoreQuery, SortDirection, Test,
};
pub use nearest::nearest;
pub use options::{BackupOptions, ConflictPolicy, RestoreOptions};
pub use schedule::{Schedule, ScheduleError};
pub use snapshot_query::{SnapshotField, SnapshotQuery, SnapshotTest};
pub use source_type::{RestoreType, SourceType};
pub use speed_limit::{SpeedLimit, SpeedLimitError};
pub use status::{ClientStatus, JobStatus, SnapshotStatus, VaultStatus};
pub use text::UnknownWord;
pub use timestamp::Timestamp;
pub use zone::{Zone, ZoneError};

//! One job from start to report: backup, restore, check.
//!
//! This is the only place where an entry of a source becomes a restic node and the other way round. It never knows who
//! asked: a server's job and a command line look the same from here. Everything runs on threads and bounded queues.
//!
//! Failures are of two kinds that never mix. An item that cannot be read or written is a row that the [`Observer`]
//! gets, and makes the outcome [`Outcome::Partial`]. A failure of the vault, a full one above all, ends the run with a
//! [`RunError`].
//!
//! Reading order: [`stop`], [`observe`], `progress`, [`error`], `throttle`, `node`, then `backup`, `stream`, `restore`
//! and `check`.

pub mod backup;
pub mod check;
pub mod error;
mod node;
pub mod observe;
mod progress;
pub mod restore;
pub mod stop;
pub mod stream;
mod throttle;

pub use backup::parent::ParentChoice;
pub use backup::{
    BackupReport, BackupRequest, JobTag, SETTLED_AFTER_SECONDS, TotalsChoice, backup, current_user,
    folder_identity, workers_within,
};
pub use check::{CheckRequest, check};
pub use error::RunError;
pub use observe::{ItemError, Observer, Outcome, Phase, Progress, Silent};
pub use restore::{
    Durability, Locking, RestoreJob, RestoreReport, RestoreRequest, Target, Verification, restore,
};
pub use source::file::expand::expand as expand_pattern;
pub use source::file::filter::{Choice, Filter, PatternError};
pub use source::file::stat::DevIno;
pub use stop::{Stop, StopToken};
pub use stream::{StreamReport, StreamRequest, back_up_stream};

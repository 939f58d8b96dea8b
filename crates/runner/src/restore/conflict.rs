//! What to do with what is there already: a pure decision.

use model::ConflictPolicy;
use source::file::stat::{FileStat, FileTime};
use source::file::target::InTheWay;

/// The decision about one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Write it.
    Write(InTheWay),
    /// Leave what is there.
    Skip,
}

/// Decides by the policy, what is there, and when the snapshot's entry was last changed.
pub(super) fn decide(
    policy: ConflictPolicy,
    existing: Option<&FileStat>,
    modified: FileTime,
) -> Decision {
    match (existing, policy) {
        (None, _) => Decision::Write(InTheWay::Refuse),
        (Some(_), ConflictPolicy::OverwriteExisting) => Decision::Write(InTheWay::Replace),
        (Some(existing), ConflictPolicy::OverwriteOlder) if existing.modified < modified => {
            Decision::Write(InTheWay::Replace)
        }
        (Some(_), ConflictPolicy::OverwriteOlder | ConflictPolicy::SkipExisting) => Decision::Skip,
    }
}

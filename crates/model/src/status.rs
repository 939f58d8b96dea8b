//! States of jobs, vaults, snapshots and clients, and which state may follow which.

use crate::text::word_enum;

word_enum! {
    /// The state of a backup job or restore job (`Status`).
    pub enum JobStatus, "job status" {
        /// The row is there, nobody has taken the work yet.
        Created = "CREATED",
        /// An agent had the work and lost it; the next one goes on under the same id.
        Queued = "QUEUED",
        /// An agent holds the work.
        Running = "RUNNING",
        /// Everything was done.
        Complete = "COMPLETE",
        /// Done, but some items could not be read or written; they are in the error list.
        PartialComplete = "PARTIAL_COMPLETE",
        /// Ended without a result.
        Failed = "FAILED",
        /// A cancel was asked for while an agent holds the work.
        Canceling = "CANCELING",
        /// Ended by a cancel.
        Canceled = "CANCELED",
        /// Ended because it waited too long to be taken.
        Expired = "EXPIRED",
        /// Ended because what it needs is gone for good.
        Unavailable = "UNAVAILABLE",
    }
}

impl JobStatus {
    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(
            self,
            Self::Created | Self::Queued | Self::Running | Self::Canceling
        )
    }

    /// Whether the job leaves a snapshot.
    #[must_use]
    pub const fn has_result(self) -> bool {
        matches!(self, Self::Complete | Self::PartialComplete)
    }

    /// Whether a job in this state may go to `next`. Staying is not a change, so never `true`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Created | Self::Queued => {
                matches!(
                    next,
                    Self::Queued
                        | Self::Running
                        | Self::Failed
                        | Self::Canceled
                        | Self::Expired
                        | Self::Unavailable
                ) && !matches!((self, next), (Self::Queued, Self::Queued))
            }
            // An agent that dies gives the work back (QUEUED); one that was told to stop may end it on its own account.
            Self::Running => matches!(
                next,
                Self::Queued
                    | Self::Complete
                    | Self::PartialComplete
                    | Self::Failed
                    | Self::Canceling
                    | Self::Canceled
                    | Self::Unavailable
            ),
            // The work may have ended before the cancel reached the agent: then its true end counts.
            Self::Canceling => matches!(
                next,
                Self::Canceled
                    | Self::Complete
                    | Self::PartialComplete
                    | Self::Failed
                    | Self::Unavailable
            ),
            Self::Complete
            | Self::PartialComplete
            | Self::Failed
            | Self::Canceled
            | Self::Expired
            | Self::Unavailable => false,
        }
    }
}

word_enum! {
    /// The state of a vault (`Status`). Jobs run only in a vault that is [`VaultStatus::Created`].
    pub enum VaultStatus, "vault status" {
        /// The repository is still to be made.
        Initializing = "INITIALIZING",
        /// Ready.
        Created = "CREATED",
        /// The repository could not be made; the status message says why.
        Error = "ERROR",
        /// Not known; never set by this service.
        Unknown = "UNKNOWN",
    }
}

impl VaultStatus {
    /// Whether a vault in this state may go to `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Initializing => matches!(next, Self::Created | Self::Error),
            Self::Error => matches!(next, Self::Created | Self::Initializing),
            Self::Created | Self::Unknown => matches!(next, Self::Error),
        }
    }
}

word_enum! {
    /// The state of a snapshot (`Status`).
    pub enum SnapshotStatus, "snapshot status" {
        /// Holds everything that was asked for.
        Complete = "COMPLETE",
        /// Some items could not be read.
        PartialComplete = "PARTIAL_COMPLETE",
    }
}

word_enum! {
    /// The state of a client (`Status`).
    pub enum ClientStatus, "client status" {
        /// Registered, not heard of since.
        Registered = "REGISTERED",
        /// In touch.
        Activated = "ACTIVATED",
        /// Not heard of for too long.
        Deactivated = "DEACTIVATED",
        /// Being installed.
        Installing = "INSTALLING",
        /// Could not be installed.
        InstallFailed = "INSTALL_FAILED",
        /// Not installed.
        NotInstalled = "NOT_INSTALLED",
        /// Being upgraded.
        Upgrading = "UPGRADING",
        /// Could not be upgraded.
        UpgradeFailed = "UPGRADE_FAILED",
        /// Being uninstalled.
        Uninstalling = "UNINSTALLING",
        /// Could not be uninstalled.
        UninstallFailed = "UNINSTALL_FAILED",
        /// Stopped by its host.
        Stopped = "STOPPED",
        /// Not known.
        Unknown = "UNKNOWN",
    }
}

impl ClientStatus {
    /// Whether its agent is to go or has gone: it takes no work.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Uninstalling | Self::NotInstalled)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// The whole table: rows are the present state, columns the next one, both in the order of `ALL`.
    #[test]
    fn job_transitions_are_exactly_these() {
        // CREATED QUEUED RUNNING COMPLETE PARTIAL FAILED CANCELING CANCELED EXPIRED UNAVAILABLE
        let table = [
            ("CREATED", "_yy__y_yyy"),
            ("QUEUED", "__y__y_yyy"),
            ("RUNNING", "_y_yyyyy_y"),
            ("COMPLETE", "__________"),
            ("PARTIAL_COMPLETE", "__________"),
            ("FAILED", "__________"),
            ("CANCELING", "___yyy_y_y"),
            ("CANCELED", "__________"),
            ("EXPIRED", "__________"),
            ("UNAVAILABLE", "__________"),
        ];
        assert_eq!(table.len(), JobStatus::ALL.len());
        for (from, row) in table {
            let from: JobStatus = from.parse().unwrap();
            for (to, mark) in JobStatus::ALL.iter().zip(row.chars()) {
                assert_eq!(from.can_become(*to), mark == 'y', "{from} -> {to}");
            }
        }
    }

    #[test]
    fn final_states_are_those_that_nothing_follows() {
        for status in JobStatus::ALL {
            let is_stuck = JobStatus::ALL.iter().all(|next| !status.can_become(*next));
            assert_eq!(status.is_final(), is_stuck, "{status}");
            assert!(!status.can_become(*status), "{status}");
        }
    }

    #[test]
    fn every_job_can_end() {
        for status in JobStatus::ALL.iter().filter(|status| !status.is_final()) {
            for end in [JobStatus::Failed, JobStatus::Canceled] {
                assert!(status.can_become(end), "{status} -> {end}");
            }
        }
    }

    #[test]
    fn vaults_become_ready_or_fail() {
        assert!(VaultStatus::Initializing.can_become(VaultStatus::Created));
        assert!(VaultStatus::Initializing.can_become(VaultStatus::Error));
        assert!(!VaultStatus::Created.can_become(VaultStatus::Initializing));
    }

    #[test]
    fn words_round_trip() {
        for status in JobStatus::ALL {
            assert_eq!(status.as_str().parse::<JobStatus>().unwrap(), *status);
            let json = serde_json::to_string(status).unwrap();
            assert_eq!(serde_json::from_str::<JobStatus>(&json).unwrap(), *status);
        }
        let error = "running".parse::<JobStatus>().unwrap_err();
        assert!(error.to_string().contains("PARTIAL_COMPLETE"), "{error}");
    }
}

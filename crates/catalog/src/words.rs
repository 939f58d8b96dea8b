//! Words of the database that the API does not have, or that only the catalog uses.

use crate::error::{CatalogError, Entity};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// The word in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = model::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(model::UnknownWord {
                        what: stringify!($name),
                        word: word.to_owned(),
                        valid: &[$($word,)+],
                    }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What an access key may do.
    AccessKeyKind {
        /// Everything in its account.
        Root = "ROOT",
        /// The agent protocol of one client.
        Agent = "AGENT",
        /// What its user may do.
        User = "USER",
        /// Registering agents of its account, and nothing else.
        Register = "REGISTER",
    }
}

words! {
    /// Whether an access key may be used.
    AccessKeyStatus {
        /// It may.
        Active = "ACTIVE",
        /// It may not.
        Inactive = "INACTIVE",
    }
}

words! {
    /// Whether an account or a user may be used.
    IdentityStatus {
        /// It may.
        Active = "ACTIVE",
        /// None of its keys is accepted.
        Disabled = "DISABLED",
    }
}

words! {
    /// What kind of client.
    ClientType {
        /// Backs up files of its host.
        Ecs = "ECS_CLIENT",
        /// Runs in a container cluster.
        Container = "CONTAINER_CLIENT",
        /// Backs up NAS and archives.
        Local = "LOCAL_CLIENT",
    }
}

words! {
    /// What made a job start.
    TriggerMode {
        /// A caller.
        Manual = "MANUAL",
        /// The plan's schedule.
        Schedule = "SCHEDULE",
    }
}

words! {
    /// What a task does.
    TaskKind {
        /// Makes the repository of a vault.
        CreateVault = "CREATE_VAULT",
        /// Removes what a vault stored.
        DeleteVault = "DELETE_VAULT",
        /// Removes a snapshot from its vault.
        DeleteSnapshot = "DELETE_SNAPSHOT",
        /// Looks for damage in a vault.
        CheckVault = "CHECK_VAULT",
        /// Removes from a vault what no snapshot needs.
        PruneVault = "PRUNE_VAULT",
        /// Backs up the catalog itself into a vault.
        BackupCatalog = "BACKUP_CATALOG",
    }
}

impl From<TaskKind> for WorkKind {
    fn from(kind: TaskKind) -> Self {
        match kind {
            TaskKind::CreateVault => Self::CreateVault,
            TaskKind::DeleteVault => Self::DeleteVault,
            TaskKind::DeleteSnapshot => Self::DeleteSnapshot,
            TaskKind::CheckVault => Self::CheckVault,
            TaskKind::PruneVault => Self::PruneVault,
            TaskKind::BackupCatalog => Self::BackupCatalog,
        }
    }
}

words! {
    /// What a work is: a job, a restore job, or one of the tasks.
    WorkKind {
        /// A backup job.
        Backup = "BACKUP",
        /// A restore job.
        Restore = "RESTORE",
        /// A task that makes a vault.
        CreateVault = "CREATE_VAULT",
        /// A task that deletes a vault.
        DeleteVault = "DELETE_VAULT",
        /// A task that deletes a snapshot.
        DeleteSnapshot = "DELETE_SNAPSHOT",
        /// A task that checks a vault.
        CheckVault = "CHECK_VAULT",
        /// A task that prunes a vault.
        PruneVault = "PRUNE_VAULT",
        /// A task that backs up the catalog itself into a vault.
        BackupCatalog = "BACKUP_CATALOG",
    }
}

impl WorkKind {
    /// The table of the row that the work belongs to.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Backup => "jobs",
            Self::Restore => "restore_jobs",
            _ => "tasks",
        }
    }

    /// The id column of that table.
    pub(crate) const fn id_column(self) -> &'static str {
        match self {
            Self::Backup => "job_id",
            Self::Restore => "restore_id",
            _ => "task_id",
        }
    }

    /// The end column of that table.
    pub(crate) const fn end_column(self) -> &'static str {
        if self.is_task() {
            "completed_time"
        } else {
            "complete_time"
        }
    }

    /// The message column of that table.
    pub(crate) const fn message_column(self) -> &'static str {
        if self.is_task() {
            "message"
        } else {
            "error_message"
        }
    }

    /// Whether it is one of the tasks.
    #[must_use]
    pub const fn is_task(self) -> bool {
        !matches!(self, Self::Backup | Self::Restore)
    }

    /// Whether it is a check or a prune.
    #[must_use]
    pub const fn is_upkeep(self) -> bool {
        matches!(self, Self::CheckVault | Self::PruneVault)
    }

    pub(crate) const fn entity(self) -> Entity {
        match self {
            Self::Backup => Entity::Job,
            Self::Restore => Entity::RestoreJob,
            _ => Entity::Task,
        }
    }

    pub(crate) fn not_found(self, id: &str) -> CatalogError {
        CatalogError::not_found(self.entity(), id)
    }
}

words! {
    /// Where a work is in its life.
    WorkState {
        /// Waiting for a client.
        Queued = "QUEUED",
        /// Held by a client.
        Leased = "LEASED",
        /// Ended.
        Done = "DONE",
    }
}

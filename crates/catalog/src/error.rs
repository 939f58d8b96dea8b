//! What can go wrong, as callers need to tell it apart.

use model::{JobStatus, Timestamp, VaultStatus};

use crate::sql::{SqlError, SqlErrorKind};

/// What kind of record an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the records")]
pub enum Entity {
    Account,
    AccessKey,
    Vault,
    Client,
    Plan,
    Job,
    Snapshot,
    RestoreJob,
    Task,
    Work,
    Policy,
    PolicyBinding,
    PolicyRule,
    Record,
    User,
    Role,
}

impl std::fmt::Display for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::AccessKey => "access key",
            Self::Vault => "vault",
            Self::Client => "backup client",
            Self::Plan => "backup plan",
            Self::Job => "backup job",
            Self::Snapshot => "snapshot",
            Self::RestoreJob => "restore job",
            Self::Task => "task",
            Self::Work => "work",
            Self::Policy => "policy",
            Self::PolicyBinding => "policy binding",
            Self::PolicyRule => "policy rule",
            Self::Record => "record",
            Self::User => "user",
            Self::Role => "role",
        })
    }
}

/// An error of the catalog. Nothing was changed when a function returns one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The disk or the allowed size is used up. The catalog stays usable: reads go on, writes work again when there
    /// is room.
    #[error("there is no room left for the catalog")]
    Full,
    /// Another process kept the database for too long.
    #[error("the catalog is busy")]
    Busy,
    /// The database cannot be reached, or not for now. The catalog stays usable: it goes on when the database does.
    #[error("the catalog's database {place} cannot be used: {detail}")]
    Away {
        /// Where it is, without the password.
        place: String,
        /// What was said.
        detail: String,
    },
    /// The database was written by a newer program.
    #[error(
        "the catalog has schema version {found}, this program knows versions up to {supported}; \
         use the newer program that wrote it"
    )]
    SchemaTooNew {
        /// The version of the database.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// The file is not a database, or holds what no version of this program writes.
    #[error("the catalog is damaged ({operation}): {detail}")]
    Damaged {
        /// What was being done.
        operation: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The database answered with an error that the caller can do nothing about.
    #[error("catalog: {operation} failed")]
    Sql {
        /// What was being done.
        operation: &'static str,
        /// The database's error.
        #[source]
        source: SqlError,
    },
    /// No such record in this account.
    #[error("{entity} {id} does not exist")]
    NotFound {
        /// What kind of record.
        entity: Entity,
        /// The id that was asked for.
        id: String,
    },
    /// A record with this id is there already.
    #[error("{entity} {id} exists already")]
    AlreadyExists {
        /// What kind of record.
        entity: Entity,
        /// Its id.
        id: String,
    },
    /// Another plan of the same source type in the same vault has this name.
    #[error("a backup plan named \"{name}\" exists already in this vault")]
    PlanNameTaken {
        /// The name.
        name: String,
    },
    /// Another agent registered as this client a moment ago and is alive.
    #[error("client {client_id} ({hostname}) is running")]
    ClientLive {
        /// The client.
        client_id: String,
        /// Its name as the running agent gave it.
        hostname: String,
    },
    /// The account has as many vaults as it may have.
    #[error("an account may have at most {max} vaults")]
    TooManyVaults {
        /// The limit.
        max: u32,
    },
    /// The vault is not in the state that is needed.
    #[error("vault {vault_id} is {status}")]
    VaultState {
        /// The vault.
        vault_id: String,
        /// Its state.
        status: VaultStatus,
    },
    /// The vault or what it holds may not be deleted, or WORM be switched off.
    #[error("vault {vault_id} is immutable (WORM): {reason}")]
    Worm {
        /// The vault.
        vault_id: String,
        /// What was refused.
        reason: &'static str,
    },
    /// The plan has a job that has not ended.
    #[error("backup plan {plan_id} has a job that has not ended: {job_id}")]
    PlanBusy {
        /// The plan.
        plan_id: String,
        /// The job.
        job_id: String,
    },
    /// A restore job that has not ended needs the snapshot.
    #[error("snapshot {snapshot_id} is needed by restore job {restore_id}")]
    SnapshotInUse {
        /// The snapshot.
        snapshot_id: String,
        /// The restore job.
        restore_id: String,
    },
    /// The account has as many records of a kind as it may have.
    #[error("an account may have at most {max} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Somebody holds the snapshot.
    #[error("snapshot {snapshot_id} is held: {reason}")]
    SnapshotHeld {
        /// The snapshot.
        snapshot_id: String,
        /// Why.
        reason: String,
    },
    /// The snapshot is being removed from its vault and cannot be taken back.
    #[error("snapshot {snapshot_id} is being removed from its vault")]
    SnapshotGoing {
        /// The snapshot.
        snapshot_id: String,
    },
    /// Another program removed the snapshot from its vault.
    #[error(
        "snapshot {snapshot_id} is not in its vault any more: another program removed it, which was noticed {since}"
    )]
    SnapshotMissing {
        /// The snapshot.
        snapshot_id: String,
        /// When that was noticed.
        since: Timestamp,
    },
    /// A policy stores its snapshots in the vault.
    #[error("vault {vault_id} is used by policy {policy_id}")]
    VaultBound {
        /// The vault.
        vault_id: String,
        /// The policy.
        policy_id: String,
    },
    /// The data source is bound already.
    #[error("data source {data_source_id} is bound to policy {policy_id} already")]
    AlreadyBound {
        /// The data source.
        data_source_id: String,
        /// The policy.
        policy_id: String,
    },
    /// The client was in touch too lately to be deleted.
    #[error("backup client {client_id} is active")]
    ClientActive {
        /// The client.
        client_id: String,
    },
    /// The plan lacks what a job needs.
    #[error("backup plan {plan_id} has no {missing}")]
    PlanIncomplete {
        /// The plan.
        plan_id: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// The schedule does not parse.
    #[error(transparent)]
    Schedule(#[from] model::ScheduleError),
    /// The state may not follow the present one.
    #[error("{entity} {id} is {from} and cannot become {to}")]
    Transition {
        /// What kind of record.
        entity: Entity,
        /// Its id.
        id: String,
        /// The present state.
        from: JobStatus,
        /// The state that was asked for.
        to: JobStatus,
    },
    /// The same client token came with another request.
    #[error("the client token was used before with other parameters")]
    TokenMismatch,
    /// The token to go on from is none that this catalog gave out.
    #[error("the next token is not valid")]
    BadNextToken,
    /// The snapshot report does not fit the outcome.
    #[error("outcome {outcome} of work {work_id} does not fit {detail}")]
    BadReport {
        /// The work.
        work_id: String,
        /// The reported outcome.
        outcome: JobStatus,
        /// What does not fit.
        detail: &'static str,
    },
}

impl CatalogError {
    pub(crate) fn not_found(entity: Entity, id: impl AsRef<str>) -> Self {
        Self::NotFound {
            entity,
            id: id.as_ref().to_owned(),
        }
    }

    /// Sorts an error of the database into the kinds above.
    pub(crate) fn from_sql(operation: &'static str, source: SqlError) -> Self {
        match source.kind() {
            SqlErrorKind::Full => Self::Full,
            SqlErrorKind::Busy => Self::Busy,
            SqlErrorKind::Damaged(detail) => Self::Damaged { operation, detail },
            SqlErrorKind::Away(detail) => Self::Away {
                place: "the catalog".to_owned(),
                detail,
            },
            SqlErrorKind::Other => Self::Sql { operation, source },
        }
    }
}

/// Puts the name of what was being done on a database error.
pub(crate) trait SqlResult<T> {
    fn op(self, operation: &'static str) -> Result<T, CatalogError>;
}

impl<T> SqlResult<T> for crate::sql::Result<T> {
    fn op(self, operation: &'static str) -> Result<T, CatalogError> {
        self.map_err(|source| CatalogError::from_sql(operation, source))
    }
}

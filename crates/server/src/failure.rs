//! Turns the errors of the crates below into HBR codes and HTTP statuses. The one place where that is decided.
//!
//! A failure that the caller cannot help is logged with its cause here and told without it.

use api::error::{ApiError, Code};
use catalog::{CatalogError, Entity};

use crate::seal::UnsealError;

/// When the disk may be free again.
const FULL_RETRY_MS: u64 = 30_000;
const BUSY_RETRY_MS: u64 = 1_000;
/// When a database that is restarted may be there again.
const AWAY_RETRY_MS: u64 = 5_000;

/// An error of the catalog.
pub(crate) fn of_catalog(error: CatalogError) -> ApiError {
    let text = error.to_string();
    match error {
        CatalogError::Full => ApiError::new(
            Code::ServiceUnavailable,
            "The disk of the catalog is full; nothing was changed.",
        )
        .retry_after(FULL_RETRY_MS),
        CatalogError::Away { .. } => {
            // Who runs the service needs to know; who calls it can only come again.
            tracing::error!("{text}");
            ApiError::of(Code::ServiceUnavailable).retry_after(AWAY_RETRY_MS)
        }
        CatalogError::Busy => ApiError::of(Code::ServiceUnavailable).retry_after(BUSY_RETRY_MS),
        CatalogError::NotFound { entity, id } => not_found(entity, &id),
        CatalogError::PlanNameTaken { .. } => ApiError::new(Code::PlanConflict, sentence(&text)),
        CatalogError::TooManyVaults { .. } => ApiError::new(Code::VaultQuota, sentence(&text)),
        CatalogError::VaultState { .. } => ApiError::new(Code::VaultNotReady, sentence(&text)),
        CatalogError::ClientLive {
            client_id,
            hostname,
        } => ApiError::new(
            Code::ClientConflict,
            format!(
                "{} It is {client_id} ({hostname}).",
                Code::ClientConflict.message()
            ),
        ),
        CatalogError::PlanBusy { .. } => ApiError::new(Code::PlanBusy, sentence(&text)),
        CatalogError::SnapshotInUse { .. } => ApiError::new(Code::SnapshotBusy, sentence(&text)),
        CatalogError::PlanIncomplete { .. } | CatalogError::Worm { .. } => {
            ApiError::new(Code::OperationNotSupported, sentence(&text))
        }
        CatalogError::SnapshotGoing { .. } => ApiError::new(Code::SnapshotBusy, sentence(&text)),
        CatalogError::SnapshotMissing { .. } => {
            ApiError::new(Code::SnapshotNotExist, sentence(&text))
        }
        CatalogError::SnapshotHeld { .. } => ApiError::new(Code::SnapshotHeld, sentence(&text)),
        CatalogError::VaultBound { .. } => ApiError::new(Code::VaultBound, sentence(&text)),
        CatalogError::AlreadyBound { .. } => {
            ApiError::new(Code::PolicyBindingConflict, sentence(&text))
        }
        CatalogError::ClientActive { .. } => ApiError::new(Code::ClientActive, sentence(&text)),
        CatalogError::TooMany { .. } => ApiError::new(Code::QuotaExceeded, sentence(&text)),
        CatalogError::AlreadyExists {
            entity: Entity::Record,
            ..
        } => ApiError::new(Code::ResourceConflict, sentence(&text)),
        CatalogError::AlreadyExists {
            entity: Entity::User | Entity::Role | Entity::Account,
            ..
        } => ApiError::new(Code::EntityExists, sentence(&text)),
        CatalogError::Schedule(why) => ApiError::invalid("Schedule", why),
        CatalogError::Transition { .. } => ApiError::new(Code::JobAlreadyFinished, sentence(&text)),
        CatalogError::TokenMismatch => ApiError::of(Code::IdempotentParameterMismatch),
        CatalogError::BadNextToken => {
            ApiError::invalid("NextToken", "it was not given out by this action")
        }
        CatalogError::AlreadyExists {
            entity: Entity::Vault,
            ..
        } => ApiError::new(Code::VaultConflict, sentence(&text)),
        CatalogError::BadReport { .. } => ApiError::new(Code::InvalidParameter, sentence(&text)),
        other => internal(&other),
    }
}

/// A secret that does not open.
pub(crate) fn of_unseal(error: UnsealError) -> ApiError {
    internal(&error)
}

/// Logs the cause and tells none of it.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    tracing::error!(%error, ?causes, "a request failed");
    ApiError::of(Code::InternalError)
}

/// There is no such thing; the message has its id.
pub(crate) fn not_found(entity: Entity, id: &str) -> ApiError {
    let code = match entity {
        Entity::Vault => Code::VaultNotExist,
        Entity::Plan => Code::PlanNotExist,
        Entity::Job => Code::JobNotExist,
        Entity::RestoreJob => Code::RestoreJobNotExist,
        Entity::Snapshot => Code::SnapshotNotExist,
        Entity::Client => Code::ClientNotExist,
        Entity::Task => Code::TaskNotExist,
        Entity::AccessKey => Code::AccessKeyNotFound,
        Entity::Policy => Code::PolicyNotExist,
        Entity::PolicyBinding => Code::PolicyBindingNotExist,
        Entity::PolicyRule => Code::RuleNotExist,
        Entity::Record => Code::ResourceNotExist,
        Entity::User | Entity::Role | Entity::Account => Code::EntityNotExist,
        Entity::Work => Code::InternalError,
    };
    let shown: String = id.chars().take(64).collect();
    ApiError::new(code, format!("{} ({shown})", code.message()))
}

/// `a vault is full` to `A vault is full.`
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(char::to_uppercase)
        .map(Iterator::collect::<String>)
        .unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

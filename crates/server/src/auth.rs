//! Who asks, for real: finds the key, checks its state, the signature, the time and the nonce.
//!
//! The nonce comes last, so that only requests with a right signature are remembered. What differs between a wrong
//! secret and an unknown key is what HBR tells too. A temporary key is in no table: its secret comes with the request,
//! inside the token that [`crate::sessions`] sealed.

use api::error::{ApiError, Code};
use api::signature::{Claim, Claimed, claim};
use catalog::access_keys::{self, Identified};
use catalog::{AccessKeyKind, AccessKeyStatus};
use model::{AccountId, ClientId};

use crate::failure;
use crate::nonces::{NonceUse, WINDOW_SECONDS};
use crate::principal::Principal;
use crate::seal::Record;
use crate::service::Service;
use crate::sessions;
use crate::wire::Wire;

/// A throttled client may come back after this time.
const THROTTLE_RETRY_MS: u64 = 5_000;

/// The one whose signature was right.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Somebody of an account: may do there what his policies allow.
    Account(Principal),
    /// An agent: the agent protocol of one client.
    Agent(AccountId, ClientId),
    /// A key that may register agents in its account, and nothing else.
    Registrar(AccountId),
}

/// Checks a request completely.
pub(crate) fn authenticate(service: &Service, wire: &Wire) -> Result<(Caller, Claimed), ApiError> {
    let claimed = claim(&wire.as_request())?;
    let claim = &claimed.claim;
    let now = service.now();
    if now.0.abs_diff(claim.signed_at) > WINDOW_SECONDS.unsigned_abs() {
        return Err(ApiError::of(Code::TimestampExpired));
    }
    let caller = match (
        &claim.security_token,
        sessions::is_temporary(&claim.access_key_id),
    ) {
        (Some(token), true) => {
            let session = sessions::open(service, &claim.access_key_id, token)?;
            claim.verify(session.secret.expose())?;
            Caller::Account(session.principal(service, now)?)
        }
        (None, true) => return Err(ApiError::of(Code::MissingSecurityToken)),
        (Some(_), false) => return Err(ApiError::of(Code::SecurityTokenMismatch)),
        (None, false) => of_key(service, claim)?,
    };
    match service
        .nonces
        .use_once(&claim.access_key_id, &claim.nonce, claim.signed_at, now)
    {
        NonceUse::Fresh => {}
        NonceUse::Replay => return Err(ApiError::of(Code::SignatureNonceUsed)),
        NonceUse::BeforeStart => return Err(ApiError::of(Code::TimestampExpired)),
        NonceUse::TooMany => {
            return Err(ApiError::of(Code::Throttling).retry_after(THROTTLE_RETRY_MS));
        }
    }
    Ok((caller, claimed))
}

/// The caller behind a lasting key.
fn of_key(service: &Service, claim: &Claim) -> Result<Caller, ApiError> {
    let Identified {
        key,
        is_active,
        user,
    } = access_keys::identify(&service.catalog, &claim.access_key_id)
        .map_err(failure::of_catalog)?
        .ok_or_else(|| ApiError::of(Code::AccessKeyNotFound))?;
    let secret = service
        .master_key
        .unseal(Record::AccessKey(&key.access_key_id), &key.sealed_secret)
        .map_err(failure::of_unseal)?;
    claim.verify(secret.expose())?;
    if key.status != AccessKeyStatus::Active || !is_active {
        return Err(ApiError::of(Code::AccessKeyInactive));
    }
    match (key.kind, key.client_id, user) {
        (AccessKeyKind::Root, ..) => Ok(Caller::Account(Principal::root(key.account_id))),
        (AccessKeyKind::Register, ..) => Ok(Caller::Registrar(key.account_id)),
        (AccessKeyKind::Agent, Some(client_id), _) => Ok(Caller::Agent(key.account_id, client_id)),
        (AccessKeyKind::User, _, Some(user)) => Ok(Caller::Account(Principal::user(user)?)),
        (AccessKeyKind::Agent | AccessKeyKind::User, ..) => Err(ApiError::of(Code::NoPermission)),
    }
}

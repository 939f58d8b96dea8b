//! Who asks, for real: finds the key, checks its state, the signature, the time and the nonce.
//!
//! The nonce comes last, so that only requests with a right signature are remembered. What differs between a wrong
//! secret and an unknown key is what HBR tells too.

use api::error::{ApiError, Code};
use api::signature::{Claimed, claim};
use catalog::{AccessKeyKind, AccessKeyStatus, access_keys};
use model::{AccountId, ClientId};

use crate::failure;
use crate::nonces::{NonceUse, WINDOW_SECONDS};
use crate::seal::Record;
use crate::service::Service;
use crate::wire::Wire;

/// A throttled client may come back after this time.
const THROTTLE_RETRY_MS: u64 = 5_000;

/// The one whose signature was right.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A key of the account: may do everything in it.
    Account(AccountId),
    /// An agent: the agent protocol of one client.
    Agent(AccountId, ClientId),
}

/// Checks a request completely.
pub(crate) fn authenticate(service: &Service, wire: &Wire) -> Result<(Caller, Claimed), ApiError> {
    let claimed = claim(&wire.as_request())?;
    let claim = &claimed.claim;
    let now = service.now();
    if now.0.abs_diff(claim.signed_at) > WINDOW_SECONDS.unsigned_abs() {
        return Err(ApiError::of(Code::TimestampExpired));
    }
    let key = access_keys::find(&service.catalog, &claim.access_key_id)
        .map_err(failure::of_catalog)?
        .ok_or_else(|| ApiError::of(Code::AccessKeyNotFound))?;
    let secret = service
        .master_key
        .unseal(Record::AccessKey(&key.access_key_id), &key.sealed_secret)
        .map_err(failure::of_unseal)?;
    claim.verify(secret.expose())?;
    if key.status != AccessKeyStatus::Active {
        return Err(ApiError::of(Code::AccessKeyInactive));
    }
    match service
        .nonces
        .use_once(&key.access_key_id, &claim.nonce, claim.signed_at, now)
    {
        NonceUse::Fresh => {}
        NonceUse::Replay => return Err(ApiError::of(Code::SignatureNonceUsed)),
        NonceUse::BeforeStart => return Err(ApiError::of(Code::TimestampExpired)),
        NonceUse::TooMany => {
            return Err(ApiError::of(Code::Throttling).retry_after(THROTTLE_RETRY_MS));
        }
    }
    let caller = match (key.kind, key.client_id) {
        (AccessKeyKind::Root, _) => Caller::Account(key.account_id),
        (AccessKeyKind::Agent, Some(client_id)) => Caller::Agent(key.account_id, client_id),
        (AccessKeyKind::Agent, None) => return Err(ApiError::of(Code::NoPermission)),
    };
    Ok((caller, claimed))
}

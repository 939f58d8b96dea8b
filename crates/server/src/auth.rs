//! Who asks, for real: finds the key, checks its state, the signature, the time and the nonce.
//!
//! The nonce comes last, so that only requests with a right signature are remembered. What differs between a wrong
//! secret and an unknown key is what HBR tells too. A temporary key is in no table: its secret comes with the request,
//! inside the token that [`crate::sessions`] sealed.

use std::collections::HashMap;
use std::sync::Arc;

use api::error::{ApiError, Code};
use api::secret::SecretText;
use api::signature::{Claim, Claimed, claim};
use catalog::access_keys::{self, Identified};
use catalog::{AccessKeyKind, AccessKeyStatus, Reading};
use model::{AccountId, ClientId, Timestamp};
use parking_lot::Mutex;

use crate::failure;
use crate::nonces::{NonceUse, WINDOW_SECONDS};
use crate::principal::Principal;
use crate::seal::{MasterKey, Record};
use crate::service::Service;
use crate::sessions;
use crate::wire::Wire;

/// A throttled client may come back after this time.
const THROTTLE_RETRY_MS: u64 = 5_000;

/// Keys that are kept unsealed; when there are more, all are dropped.
const MAX_KNOWN_KEYS: usize = 1_000;

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
    let caller = caller(service, &claimed.claim)?;
    Ok((caller, claimed))
}

/// Checks what a request claims.
pub(crate) fn caller(service: &Service, claim: &Claim) -> Result<Caller, ApiError> {
    let now = service.now();
    check_time(claim, now)?;
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
        (None, false) => {
            let found = access_keys::identify(&service.catalog, &claim.access_key_id);
            of_key(service, claim, found.map_err(failure::of_catalog)?)?
        }
    };
    use_nonce(service, claim, now)?;
    Ok(caller)
}

/// Whether a request is signed with a lasting key: only those are known without more questions.
pub(crate) fn is_lasting(claim: &Claim) -> bool {
    claim.security_token.is_none() && !sessions::is_temporary(&claim.access_key_id)
}

/// As [`caller`] for a lasting key, in a state of the catalog that is at hand.
pub(crate) fn caller_in(
    service: &Service,
    reading: &Reading<'_, '_>,
    claim: &Claim,
) -> Result<Caller, ApiError> {
    let now = service.now();
    check_time(claim, now)?;
    let found = access_keys::identify_in(reading, &claim.access_key_id);
    let caller = of_key(service, claim, found.map_err(failure::of_catalog)?)?;
    use_nonce(service, claim, now)?;
    Ok(caller)
}

fn check_time(claim: &Claim, now: Timestamp) -> Result<(), ApiError> {
    if now.0.abs_diff(claim.signed_at) > WINDOW_SECONDS.unsigned_abs() {
        return Err(ApiError::of(Code::TimestampExpired));
    }
    Ok(())
}

fn use_nonce(service: &Service, claim: &Claim, now: Timestamp) -> Result<(), ApiError> {
    match service
        .nonces
        .use_once(&claim.access_key_id, &claim.nonce, claim.signed_at, now)
    {
        NonceUse::Fresh => Ok(()),
        NonceUse::Replay => Err(ApiError::of(Code::SignatureNonceUsed)),
        NonceUse::BeforeStart => Err(ApiError::of(Code::TimestampExpired)),
        NonceUse::TooMany => Err(ApiError::of(Code::Throttling).retry_after(THROTTLE_RETRY_MS)),
    }
}

/// The caller behind a lasting key.
fn of_key(
    service: &Service,
    claim: &Claim,
    found: Option<Arc<Identified>>,
) -> Result<Caller, ApiError> {
    let found = found.ok_or_else(|| ApiError::of(Code::AccessKeyNotFound))?;
    let known = service.known_keys.open(&service.master_key, &found)?;
    claim.verify(known.secret.expose())?;
    if found.key.status != AccessKeyStatus::Active || !found.is_active {
        return Err(ApiError::of(Code::AccessKeyInactive));
    }
    known.caller.clone()
}

/// Keys that were used lately, with what takes time to make of their rows: the secret, unsealed, and the policy, read. Good
/// for as long as the row is the same, which each request looks at.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys {
    // A plain mutex: held for a look-up.
    keys: Mutex<HashMap<String, Arc<KnownKey>>>,
}

#[derive(Debug)]
struct KnownKey {
    row: Arc<Identified>,
    secret: SecretText,
    caller: Result<Caller, ApiError>,
}

impl KnownKeys {
    fn open(
        &self,
        master_key: &MasterKey,
        row: &Arc<Identified>,
    ) -> Result<Arc<KnownKey>, ApiError> {
        let key = &row.key;
        let known = self.keys.lock().get(&key.access_key_id).cloned();
        if let Some(known) = known
            && (Arc::ptr_eq(&known.row, row) || known.row == *row)
        {
            return Ok(known);
        }
        let secret = master_key
            .unseal(Record::AccessKey(&key.access_key_id), &key.sealed_secret)
            .map_err(failure::of_unseal)?;
        let opened = Arc::new(KnownKey {
            row: row.clone(),
            secret,
            caller: caller_of(row),
        });
        let mut keys = self.keys.lock();
        if keys.len() >= MAX_KNOWN_KEYS {
            keys.clear();
        }
        keys.insert(key.access_key_id.clone(), opened.clone());
        Ok(opened)
    }
}

/// Whom a key stands for.
fn caller_of(row: &Identified) -> Result<Caller, ApiError> {
    let account = || row.key.account_id.clone();
    match (row.key.kind, &row.key.client_id, &row.user) {
        (AccessKeyKind::Root, ..) => Ok(Caller::Account(Principal::root(account()))),
        (AccessKeyKind::Register, ..) => Ok(Caller::Registrar(account())),
        (AccessKeyKind::Agent, Some(client_id), _) => {
            Ok(Caller::Agent(account(), client_id.clone()))
        }
        (AccessKeyKind::User, _, Some(user)) => Principal::user(user).map(Caller::Account),
        (AccessKeyKind::Agent | AccessKeyKind::User, ..) => Err(ApiError::of(Code::NoPermission)),
    }
}

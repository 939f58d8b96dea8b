//! Temporary keys of roles: a token that holds its own secret, sealed by the master key.
//!
//! Nothing is stored: every server with the same master key can open a token, and a restart ends none. A token names its
//! role and not what the role may do; that is read with each request, so that a change of the role's policy, or its
//! deletion, holds at once for sessions that are under way.

use api::error::{ApiError, Code};
use api::secret::SecretText;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{CatalogError, Sealed, identities};
use model::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure;
use crate::principal::Principal;
use crate::seal::Record;
use crate::service::Service;

/// How the ids of temporary keys begin.
const KEY_PREFIX: &str = "STS.";
/// How tokens begin.
const TOKEN_PREFIX: &str = "SRT1";

/// What a token holds.
#[derive(Serialize, Deserialize)]
struct Held {
    account: String,
    role: String,
    role_id: String,
    session: String,
    secret: String,
    expires: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

/// A session whose token was right.
pub(crate) struct Session {
    pub(crate) secret: SecretText,
    held: Held,
}

/// What the taker of a role gets.
pub(crate) struct Issued {
    pub(crate) access_key_id: String,
    pub(crate) secret: SecretText,
    pub(crate) token: String,
    pub(crate) expires: Timestamp,
}

/// Whether an access key id is one of a session.
pub(crate) fn is_temporary(access_key_id: &str) -> bool {
    access_key_id.starts_with(KEY_PREFIX)
}

/// Makes the key and the token of a new session.
pub(crate) fn issue(
    service: &Service,
    role: &catalog::Role,
    session: &str,
    policy: Option<&str>,
    expires: Timestamp,
) -> Result<Issued, ApiError> {
    let id: [u8; 12] = rand::random();
    let secret: [u8; 32] = rand::random();
    let access_key_id = format!("{KEY_PREFIX}{}", hex::encode_upper(id));
    let secret = SecretText::new(hex::encode(secret));
    let held = Held {
        account: role.account_id.to_string(),
        role: role.role_name.clone(),
        role_id: role.role_id.clone(),
        session: session.to_owned(),
        secret: secret.expose().to_owned(),
        expires: expires.0,
        policy: policy.map(str::to_owned),
    };
    let text = serde_json::to_string(&held).map_err(|error| failure::internal(&error))?;
    let sealed = service
        .master_key
        .seal(Record::Session(&access_key_id), &text);
    Ok(Issued {
        token: format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(&sealed.0)),
        access_key_id,
        secret,
        expires,
    })
}

/// Opens the token that came with a temporary key. `Malformed` when it is not one of this key.
pub(crate) fn open(
    service: &Service,
    access_key_id: &str,
    token: &str,
) -> Result<Session, ApiError> {
    let malformed = || ApiError::of(Code::SecurityTokenMalformed);
    let sealed = token
        .strip_prefix(TOKEN_PREFIX)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or_else(malformed)?;
    let text = service
        .master_key
        .unseal(Record::Session(access_key_id), &Sealed(sealed))
        .map_err(|_| malformed())?;
    let held: Held = serde_json::from_str(text.expose()).map_err(|_| malformed())?;
    Ok(Session {
        secret: SecretText::new(held.secret.clone()),
        held,
    })
}

impl Session {
    /// Who the session is now. Expired ones, and those of a role that is gone, are refused.
    pub(crate) fn principal(
        self,
        service: &Service,
        now: Timestamp,
    ) -> Result<Principal, ApiError> {
        let Held {
            account,
            role,
            role_id,
            session,
            expires,
            policy,
            ..
        } = self.held;
        if now.0 >= expires {
            return Err(ApiError::of(Code::SecurityTokenExpired));
        }
        let account =
            AccountId::parse(&account).map_err(|_| ApiError::of(Code::SecurityTokenMalformed))?;
        let role = match identities::role(&service.catalog, &account, &role) {
            Ok(role) if role.role_id == role_id => role,
            Ok(_) | Err(CatalogError::NotFound { .. }) => {
                return Err(ApiError::of(Code::SecurityTokenExpired));
            }
            Err(error) => return Err(failure::of_catalog(error)),
        };
        Principal::role(role, session, policy.as_deref())
    }
}

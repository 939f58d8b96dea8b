//! The first start: account, root access key, master key, recovery file. And every later start, which finds them.
//!
//! Each step looks for what it would make, so that a first start that was cut off is completed by the next one. Order:
//! master key, then the account with its root key in one transaction (sealed with that master key), then the recovery
//! file, then `credentials.json`. As long as there are no credentials the recovery file is written again if it is gone;
//! afterwards its owner may move it away.

use catalog::access_keys::NewAccessKey;
use catalog::{AccessKeyKind, AccessKeyStatus, Catalog, Sealed, access_keys, accounts};
use model::{AccountId, Timestamp};
use serde::Serialize;
use std::path::{Path, PathBuf};

use api::secret::SecretText;

use crate::data_dir::{DataDir, read_file, write_file};
use crate::error::ServerError;
use crate::seal::{MasterKey, Record};

const ACCESS_KEY_PREFIX: &str = "SR";

/// What a start needs to know of the data directory.
pub(crate) struct Identity {
    pub(crate) account_id: AccountId,
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: SecretText,
    pub(crate) master_key: MasterKey,
    /// Set if this start wrote the recovery file.
    pub(crate) new_recovery_file: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsFile<'a> {
    endpoint: &'a str,
    region_id: &'a str,
    account_id: &'a str,
    access_key_id: &'a str,
    access_key_secret: &'a SecretText,
    /// The CA to trust, of an endpoint with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a Path>,
}

/// Makes or finds everything. The caller holds the lock of the data directory.
pub(crate) fn run(
    dir: &DataDir,
    catalog: &Catalog,
    now: Timestamp,
) -> Result<Identity, ServerError> {
    let account = accounts::list(catalog)?.into_iter().next();
    let master_key = master_key(dir, account.is_some())?;
    let (account_id, key_id, secret) = match account {
        Some(account) => {
            let (key_id, sealed) = root_key(catalog, &account.account_id, &master_key, now)?;
            let secret = master_key
                .unseal(Record::AccessKey(&key_id), &sealed)
                .map_err(|_| ServerError::MasterKeyWrong {
                    path: dir.master_key(),
                    why: "it does not open the catalog's secrets",
                })?;
            (account.account_id, key_id, secret)
        }
        None => create_account(catalog, &master_key, now)?,
    };
    let recovery_file = dir.recovery_file(account_id.as_str());
    let is_first = !dir.credentials().exists();
    let mut new_recovery_file = None;
    if is_first && !recovery_file.exists() {
        let text = master_key.recovery_secret().to_text(account_id.as_str());
        write_file(&recovery_file, text.as_bytes())?;
        new_recovery_file = Some(recovery_file);
    }
    Ok(Identity {
        account_id,
        access_key_id: key_id,
        access_key_secret: secret,
        master_key,
        new_recovery_file,
    })
}

/// Writes `credentials.json` for the address that the server really has.
pub(crate) fn write_credentials(
    dir: &DataDir,
    identity: &Identity,
    endpoint: &str,
    region: &str,
    ca_file: Option<&Path>,
) -> Result<(), ServerError> {
    let file = CredentialsFile {
        endpoint,
        region_id: region,
        account_id: identity.account_id.as_str(),
        access_key_id: &identity.access_key_id,
        access_key_secret: &identity.access_key_secret,
        ca_file,
    };
    let mut bytes = zeroize::Zeroizing::new(
        serde_json::to_vec_pretty(&file).expect("a struct of texts can always be written as JSON"),
    );
    bytes.push(b'\n');
    write_file(&dir.credentials(), &bytes)
}

fn master_key(dir: &DataDir, has_account: bool) -> Result<MasterKey, ServerError> {
    let path = dir.master_key();
    match read_file(&path)? {
        Some(bytes) => {
            let bytes = zeroize::Zeroizing::new(bytes);
            MasterKey::parse(&bytes).ok_or(ServerError::MasterKeyWrong {
                path,
                why: "it does not have 64 hex digits",
            })
        }
        None if has_account => Err(ServerError::MasterKeyMissing { path }),
        None => {
            let key = MasterKey::generate();
            write_file(&path, key.to_text().as_bytes())?;
            Ok(key)
        }
    }
}

/// The master key of a data directory that has one.
pub(crate) fn existing_master_key(dir: &DataDir) -> Result<MasterKey, ServerError> {
    master_key(dir, true)
}

fn create_account(
    catalog: &Catalog,
    master_key: &MasterKey,
    now: Timestamp,
) -> Result<(AccountId, String, SecretText), ServerError> {
    let account_id = AccountId::new(rand::random());
    let (key, secret) = new_key(master_key, AccessKeyKind::Root, None);
    accounts::create_first(catalog, &account_id, "root", &key, now)?;
    Ok((account_id, key.access_key_id, secret))
}

/// The oldest active root key of the account. If all are gone or disabled, a new one is made: whoever has the data
/// directory is the operator.
fn root_key(
    catalog: &Catalog,
    account_id: &AccountId,
    master_key: &MasterKey,
    now: Timestamp,
) -> Result<(String, Sealed), ServerError> {
    let keys = access_keys::list(catalog, account_id)?;
    let root = keys
        .into_iter()
        .find(|key| key.kind == AccessKeyKind::Root && key.status == AccessKeyStatus::Active);
    if let Some(key) = root {
        return Ok((key.access_key_id, key.sealed_secret));
    }
    let (key, _) = new_key(master_key, AccessKeyKind::Root, None);
    access_keys::create(catalog, account_id, &key, now)?;
    Ok((key.access_key_id, key.sealed_secret))
}

/// A new access key of an account, or of one of its users: 24 letters and digits, and a secret of 32 random bytes in hex.
pub(crate) fn new_key(
    master_key: &MasterKey,
    kind: AccessKeyKind,
    user_name: Option<String>,
) -> (NewAccessKey, SecretText) {
    let (access_key_id, secret) = new_key_text();
    let sealed_secret = master_key.seal(Record::AccessKey(&access_key_id), secret.expose());
    (
        NewAccessKey {
            access_key_id,
            kind,
            client_id: None,
            user_name,
            sealed_secret,
        },
        secret,
    )
}

/// A random access key id and secret.
pub(crate) fn new_key_text() -> (String, SecretText) {
    let id: [u8; 11] = rand::random();
    let secret: [u8; 32] = rand::random();
    (
        format!("{ACCESS_KEY_PREFIX}{}", hex::encode_upper(id)),
        SecretText::new(hex::encode(secret)),
    )
}

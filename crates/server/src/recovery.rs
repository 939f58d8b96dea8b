//! Opening a vault with the recovery secret, when nothing else is left, or a repository with its password.
//!
//! The vault's id is in the label of its recovery key; the recovery secret gives that key's password.

use std::collections::BTreeSet;
use std::path::Path;

use api::secret::SecretText;
use model::VaultId;
use storage::Storage;
use vault::{Repository, Secret, VaultError, key_labels};

use crate::data_dir::read_file;
use crate::error::ServerError;
use crate::places::Place;
use crate::seal::RecoverySecret;

/// User name in the label of a vault's recovery key; its host name is the vault's id.
pub(crate) const RECOVERY_KEY_NAME: &str = "strongroom-recovery";

/// Digits of a repository's id that become the id of its vault.
const NEW_ID_DIGITS: usize = 20;

/// The secret of a recovery file.
pub(crate) fn read_recovery_file(path: &Path) -> Result<RecoverySecret, ServerError> {
    let invalid = |why| ServerError::RecoveryFile {
        path: path.to_owned(),
        why,
    };
    let bytes =
        zeroize::Zeroizing::new(read_file(path)?.ok_or_else(|| invalid("it does not exist"))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not a text"))?;
    RecoverySecret::parse(text).map_err(invalid)
}

/// The vault's id from the label of a recovery key, the vault opened with it, and its password.
pub(crate) fn open_vault(
    place: &Place,
    recovery: &RecoverySecret,
) -> Result<(VaultId, Repository, SecretText), ServerError> {
    let refuse = |why: &str| ServerError::Adopt {
        storage: place.url().to_owned(),
        why: why.to_owned(),
    };
    let storage = storage::open(place.url())?;
    let ids = vault_ids(&*storage)?;
    if ids.is_empty() {
        return Err(refuse(
            "no vault of Strongroom is there (no key of it names a vault)",
        ));
    }
    for vault_id in ids {
        let password = recovery.vault_password(vault_id.as_str());
        match Repository::open(storage.clone(), &secret(&password)) {
            Ok(repository) => return Ok((vault_id, repository, password)),
            Err(VaultError::WrongPassword) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(refuse(
        "the recovery file does not open it; it is of another account",
    ))
}

/// The ids of which the storage is the vault, by the labels of its recovery keys.
fn vault_ids(storage: &dyn Storage) -> Result<BTreeSet<VaultId>, ServerError> {
    let labels = key_labels(storage)?;
    let ids = labels
        .iter()
        .filter(|(_, label)| label.username == RECOVERY_KEY_NAME)
        .filter_map(|(_, label)| VaultId::parse(&label.hostname).ok());
    Ok(ids.collect())
}

/// A repository opened by a password. One that was a vault already keeps that id; another one always gets the same.
pub(crate) fn open_repository(
    place: &Place,
    password: &SecretText,
) -> Result<(VaultId, Repository, SecretText), ServerError> {
    let storage = storage::open(place.url())?;
    let repository = Repository::open(storage.clone(), &secret(password))?;
    let known = vault_ids(&*storage)?.into_iter().next();
    let vault_id = match known {
        Some(vault_id) => vault_id,
        None => {
            let digits = repository.config().id.to_hex();
            VaultId::parse(&format!("v-{}", &digits[..NEW_ID_DIGITS])).map_err(|error| {
                ServerError::Adopt {
                    storage: place.url().to_owned(),
                    why: error.to_string(),
                }
            })?
        }
    };
    Ok((vault_id, repository, password.clone()))
}

/// A password as the engine takes it.
pub(crate) fn secret(text: &SecretText) -> Secret {
    Secret::new(text.expose().as_bytes())
}

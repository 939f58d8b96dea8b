//! The config file: what this repository is.

use serde::{Deserialize, Serialize};

use crate::crypto::Cipher;
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::{polynomial, unpacked};
use storage::Storage;

/// The one format version that is written and read: packs with compression.
const VERSION: u32 = 2;

/// What the config file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Names the repository, wherever it is moved.
    pub id: Id,
    /// For programs that cut by Rabin fingerprints, stock restic among them.
    pub chunker_polynomial: u64,
}

#[derive(Serialize, Deserialize)]
struct ConfigJson {
    version: u32,
    id: Id,
    chunker_polynomial: String,
}

impl Config {
    pub(crate) fn generate() -> Self {
        Self {
            id: Id::random(),
            chunker_polynomial: polynomial::random(),
        }
    }

    pub(crate) fn save(&self, storage: &dyn Storage, cipher: &Cipher) -> Result<(), VaultError> {
        let json = serde_json::to_vec(&ConfigJson {
            version: VERSION,
            id: self.id,
            chunker_polynomial: format!("{:x}", self.chunker_polynomial),
        })
        .map_err(|error| VaultError::damaged(FileKind::Config, "(new)", error))?;
        let sealed = unpacked::seal(cipher, FileKind::Config, &json)?;
        storage.put(FileKind::Config.folder(), &sealed)?;
        Ok(())
    }

    pub(crate) fn load(storage: &dyn Storage, cipher: &Cipher) -> Result<Self, VaultError> {
        let name = FileKind::Config.folder();
        let sealed = storage.get(name)?;
        let json = unpacked::open(cipher, FileKind::Config, name, &sealed)?;
        let damaged = |reason: String| VaultError::damaged(FileKind::Config, name, reason);
        let json: ConfigJson =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if json.version != VERSION {
            return Err(VaultError::UnsupportedVersion {
                version: json.version,
            });
        }
        let chunker_polynomial = u64::from_str_radix(&json.chunker_polynomial, 16)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Self {
            id: json.id,
            chunker_polynomial,
        })
    }
}

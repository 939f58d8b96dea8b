//! The config file: what this repository is.
//!
//! Beside restic's fields it may hold one of ours, `strongroom_chunker`. Programs that do not know it pass over it, and
//! none rewrites the config of a repository of version 2 but to change it itself; should one drop the field, the vault
//! is cut by Rabin from then on, which costs room and nothing else.

use serde::{Deserialize, Serialize};

use crate::chunker::ChunkerKind;
use crate::crypto::Cipher;
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::{polynomial, unpacked};
use storage::Storage;

/// The one format version that is written and read: packs with compression.
const VERSION: u32 = 2;
/// What the field of ours says for the keyed chunkers in their first form. Without it, or with a word that is not known,
/// files are cut as restic does.
const GEAR: &str = "gear-1";

/// What the config file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Names the repository, wherever it is moved.
    pub id: Id,
    /// For programs that cut by Rabin fingerprints, stock restic among them.
    pub chunker_polynomial: u64,
    /// How files are cut.
    pub chunker: ChunkerKind,
}

#[derive(Serialize, Deserialize)]
struct ConfigJson {
    version: u32,
    id: Id,
    chunker_polynomial: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strongroom_chunker: Option<String>,
}

impl Config {
    pub(crate) fn generate(chunker: ChunkerKind) -> Self {
        Self {
            id: Id::random(),
            chunker_polynomial: polynomial::random(),
            chunker,
        }
    }

    pub(crate) fn save(&self, storage: &dyn Storage, cipher: &Cipher) -> Result<(), VaultError> {
        let json = serde_json::to_vec(&ConfigJson {
            version: VERSION,
            id: self.id,
            chunker_polynomial: format!("{:x}", self.chunker_polynomial),
            strongroom_chunker: match self.chunker {
                ChunkerKind::Gear => Some(GEAR.to_owned()),
                ChunkerKind::Rabin => None,
            },
        })
        .map_err(|error| VaultError::damaged(FileKind::Config, "(new)", error))?;
        let sealed = unpacked::seal(cipher, FileKind::Config, &json)?;
        storage.put(FileKind::Config.folder(), &sealed)?;
        Ok(())
    }

    pub(crate) fn load(storage: &dyn Storage, cipher: &Cipher) -> Result<Self, VaultError> {
        let name = FileKind::Config.folder();
        let sealed = FileKind::Config.read_named(storage, name)?;
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
        // Anything else would cut at random, or divide by zero.
        if !polynomial::is_irreducible(chunker_polynomial)
            || chunker_polynomial >> polynomial::DEGREE != 1
        {
            return Err(damaged("its polynomial is not irreducible".to_owned()));
        }
        Ok(Self {
            id: json.id,
            chunker_polynomial,
            chunker: match json.strongroom_chunker.as_deref() {
                Some(GEAR) => ChunkerKind::Gear,
                _ => ChunkerKind::Rabin,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use storage::{Memory, Storage};

    use super::{ChunkerKind, Config};
    use crate::crypto::{Cipher, KeyBytes};
    use crate::layout::FileKind;

    fn load(cipher: &Cipher, json: &str) -> Result<Config, crate::error::VaultError> {
        let mut sealed = Vec::new();
        cipher.seal(json.as_bytes(), &mut sealed);
        let storage = Memory::new();
        storage.put(FileKind::Config.folder(), &sealed).unwrap();
        Config::load(&storage, cipher)
    }

    #[test]
    fn the_choice_of_a_chunker_is_found_again() {
        let cipher = Cipher::new(KeyBytes::generate());
        for chunker in [ChunkerKind::Gear, ChunkerKind::Rabin] {
            let (config, storage) = (Config::generate(chunker), Memory::new());
            config.save(&storage, &cipher).unwrap();
            assert_eq!(Config::load(&storage, &cipher).unwrap(), config);
        }
    }

    #[test]
    fn configs_of_other_programs() {
        let cipher = Cipher::new(KeyBytes::generate());
        let json = |polynomial: &str, more: &str| {
            let id = "00".repeat(32);
            format!(r#"{{"version":2,"id":"{id}","chunker_polynomial":"{polynomial}"{more}}}"#)
        };
        let check = |more: &str, chunker: ChunkerKind| {
            let config = load(&cipher, &json("3da3358b4dc173", more)).unwrap();
            assert_eq!(config.chunker, chunker, "{more}");
        };
        check("", ChunkerKind::Rabin);
        check(r#","is_hot":true,"compression":3"#, ChunkerKind::Rabin);
        check(r#","strongroom_chunker":"gear-1""#, ChunkerKind::Gear);
        check(r#","strongroom_chunker":"gear-99""#, ChunkerKind::Rabin);
        // Reducible, of too small a degree, no number: what would cut at random or divide by zero.
        for polynomial in ["38f1098e8ef7ab", "7", "0", "", "x"] {
            assert!(
                load(&cipher, &json(polynomial, "")).is_err(),
                "{polynomial}"
            );
        }
    }
}

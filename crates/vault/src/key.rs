//! Key files: the master key of a repository, sealed by a password through scrypt.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use storage::Storage;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::{Cipher, KeyBytes};
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::secret::Secret;
use crate::time::Time;

/// What restic lets a derivation cost on the host that makes the key.
const CALIBRATED_TIME: Duration = Duration::from_millis(500);
/// `N = 2^15`, `r = 8`: 32 MiB, the largest power of two below restic's bound of 60 MB.
const CALIBRATED: Scrypt = Scrypt {
    log_n: 15,
    r: 8,
    p: 1,
};
/// The cheapest derivation that restic accepts; right for generated passwords, whose bits do not need stretching.
const CHEAPEST: Scrypt = Scrypt {
    log_n: 1,
    r: 1,
    p: 1,
};
/// A key that asks for more than this is a trap, not a key.
const LARGEST_MEMORY_BYTES: u64 = 2 << 30;
const SALT_BYTES: usize = 64;
/// Lanes of one derivation (scrypt's `p`) that are computed at once. Each needs the whole memory of the cost, 32 MiB for
/// the calibrated one, so two: opening a vault must not be what takes the most memory of a run.
const LANES_AT_ONCE: usize = 2;
/// A key whose lanes are larger than this has them computed one after the other.
const LARGEST_PARALLEL_LANE_BYTES: usize = 64 << 20;

/// How dear a guess at the password shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KdfCost {
    /// About half a second and 32 MiB on this host, as restic does: for passwords that people choose.
    Calibrated,
    /// Next to nothing: only for generated passwords of at least 128 bits.
    Cheapest,
}

/// What a new key is made with.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// The cost of the password derivation.
    pub cost: KdfCost,
    /// Written in the key file, for people.
    pub username: String,
    /// Written in the key file, for people.
    pub hostname: String,
}

/// What a key file says about itself without any password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    /// Who made the key.
    pub username: String,
    /// Where.
    pub hostname: String,
    /// When; the epoch when the file does not tell.
    pub created: Time,
}

#[derive(Debug, Clone, Copy)]
struct Scrypt {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Scrypt {
    fn lanes_at_once(self) -> usize {
        let lane_bytes = (128 * self.r as usize) << self.log_n;
        if lane_bytes > LARGEST_PARALLEL_LANE_BYTES {
            return 1;
        }
        let core_count = std::thread::available_parallelism().map_or(1, usize::from);
        LANES_AT_ONCE.min(core_count).min(self.p as usize)
    }
}

/// The JSON of a key file.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    /// rustic leaves it out.
    #[serde(default)]
    created: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// The JSON that a key file seals.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct MasterJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct MacJson {
    k: String,
    r: String,
}

/// Seals the master key by `password` and stores the key file.
pub(crate) fn save(
    storage: &dyn Storage,
    master: &KeyBytes,
    password: &Secret,
    options: &KeyOptions,
) -> Result<Id, VaultError> {
    let bytes = encode(master, password, options)?;
    let id = Id::hash(&bytes);
    storage.put(&FileKind::Key.name(&id), &bytes)?;
    Ok(id)
}

/// The bytes of a new key file.
fn encode(
    master: &KeyBytes,
    password: &Secret,
    options: &KeyOptions,
) -> Result<Vec<u8>, VaultError> {
    let scrypt = match options.cost {
        KdfCost::Calibrated => calibrate()?,
        KdfCost::Cheapest => CHEAPEST,
    };
    let salt: [u8; SALT_BYTES] = rand::random();
    let user = Cipher::new(derive(password, &salt, scrypt)?);
    let master = MasterJson {
        mac: MacJson {
            k: BASE64.encode(master.mac_k),
            r: BASE64.encode(master.mac_r),
        },
        encrypt: BASE64.encode(master.encrypt),
    };
    let unusable = |error: serde_json::Error| unusable("(new)", error);
    let plaintext = Zeroizing::new(serde_json::to_vec(&master).map_err(unusable)?);
    let mut data = Vec::new();
    user.seal(&plaintext, &mut data);
    serde_json::to_vec(&KeyFile {
        created: Time::now().to_string(),
        username: options.username.clone(),
        hostname: options.hostname.clone(),
        kdf: "scrypt".to_owned(),
        n: 1 << scrypt.log_n,
        r: scrypt.r,
        p: scrypt.p,
        salt: BASE64.encode(salt),
        data: BASE64.encode(data),
    })
    .map_err(unusable)
}

/// Finds a key that opens with `password`, and says which one.
///
/// Keys that are damaged or out of bounds are passed over as long as another one opens.
pub(crate) fn unlock(
    storage: &dyn Storage,
    password: &Secret,
) -> Result<(Id, KeyBytes), VaultError> {
    let mut first_error = None;
    for listed in storage.list(FileKind::Key.folder())? {
        let Some(id) = FileKind::Key.id_of(&listed.name) else {
            continue;
        };
        match open_one(storage, &id, password) {
            Ok(Some(master)) => return Ok((id, master)),
            Ok(None) => {}
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    Err(first_error.unwrap_or(VaultError::WrongPassword))
}

/// Whether key `id` opens with `password` and holds this master key. Asked for before another key is removed.
pub(crate) fn opens(
    storage: &dyn Storage,
    id: &Id,
    password: &Secret,
    master: &KeyBytes,
) -> Result<bool, VaultError> {
    let opened = open_one(storage, id, password)?;
    Ok(opened.is_some_and(|opened| opened.is_same(master)))
}

/// Who made each key, without any password. Unreadable keys are left out.
pub(crate) fn labels(storage: &dyn Storage) -> Result<Vec<(Id, KeyLabel)>, VaultError> {
    let mut labels = Vec::new();
    for listed in storage.list(FileKind::Key.folder())? {
        let Some(id) = FileKind::Key.id_of(&listed.name) else {
            continue;
        };
        let Ok(file) = read(storage, &id) else {
            continue;
        };
        labels.push((
            id,
            KeyLabel {
                username: file.username,
                hostname: file.hostname,
                created: file.created.parse().unwrap_or_default(),
            },
        ));
    }
    Ok(labels)
}

fn read(storage: &dyn Storage, id: &Id) -> Result<KeyFile, VaultError> {
    let bytes = FileKind::Key.read(storage, id)?;
    serde_json::from_slice(&bytes).map_err(|error| VaultError::damaged(FileKind::Key, id, error))
}

/// Whether this is the text of a key file, whatever its password.
pub(crate) fn is_key_file(bytes: &[u8]) -> bool {
    serde_json::from_slice::<KeyFile>(bytes).is_ok()
}

/// `None` when the password is not the one of this key.
fn open_one(
    storage: &dyn Storage,
    id: &Id,
    password: &Secret,
) -> Result<Option<KeyBytes>, VaultError> {
    let file = read(storage, id)?;
    let damaged = |reason: &dyn std::fmt::Display| VaultError::damaged(FileKind::Key, id, reason);
    if file.kdf != "scrypt" {
        return Err(unusable(id, "its password derivation is unknown"));
    }
    let scrypt = bounded(id, &file)?;
    let salt = BASE64.decode(&file.salt).map_err(|error| damaged(&error))?;
    let data = BASE64.decode(&file.data).map_err(|error| damaged(&error))?;
    let Ok(plaintext) = Cipher::new(derive(password, &salt, scrypt)?).open(&data) else {
        return Ok(None);
    };
    let plaintext = Zeroizing::new(plaintext);
    let json: MasterJson = serde_json::from_slice(&plaintext).map_err(|error| damaged(&error))?;
    Ok(Some(KeyBytes {
        encrypt: part(&json.encrypt).ok_or_else(|| damaged(&"its parts are wrong"))?,
        mac_k: part(&json.mac.k).ok_or_else(|| damaged(&"its parts are wrong"))?,
        mac_r: part(&json.mac.r).ok_or_else(|| damaged(&"its parts are wrong"))?,
    }))
}

fn part<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
    bytes.as_slice().try_into().ok()
}

/// The parameters of a key file, when they are possible and affordable.
fn bounded(id: &Id, file: &KeyFile) -> Result<Scrypt, VaultError> {
    let memory = 128_u64
        .checked_mul(file.n)
        .and_then(|bytes| bytes.checked_mul(u64::from(file.r)));
    let is_legal = file.n.is_power_of_two() && file.n > 1 && file.r > 0 && file.p > 0;
    if !is_legal || memory.is_none_or(|bytes| bytes > LARGEST_MEMORY_BYTES) || file.p > 1024 {
        return Err(unusable(id, "its scrypt parameters are out of bounds"));
    }
    Ok(Scrypt {
        log_n: file.n.trailing_zeros() as u8,
        r: file.r,
        p: file.p,
    })
}

fn derive(password: &Secret, salt: &[u8], scrypt: Scrypt) -> Result<KeyBytes, VaultError> {
    let params = scrypt::Params::new(scrypt.log_n, scrypt.r, scrypt.p)
        .map_err(|error| unusable("(new)", error))?;
    let mut derived = Zeroizing::new([0; KeyBytes::LENGTH_BYTES]);
    // A pool of its own: the global one would have a thread, and with it the memory of a lane, for each core.
    rayon::ThreadPoolBuilder::new()
        .num_threads(scrypt.lanes_at_once())
        .build()
        .map_err(|error| unusable("(new)", error))?
        .install(|| scrypt::scrypt(password.expose(), salt, &params, derived.as_mut_slice()))
        .map_err(|error| unusable("(new)", error))?;
    Ok(KeyBytes::from_derived(&derived))
}

/// As many rounds as fit in [`CALIBRATED_TIME`] of one core of this host: what a guess costs is processor time, however
/// many lanes the one who knows the password computes at once.
fn calibrate() -> Result<Scrypt, VaultError> {
    let start = Instant::now();
    derive(&Secret::from("calibration"), b"salt", CALIBRATED)?;
    let one = start.elapsed().max(Duration::from_millis(1));
    let rounds = CALIBRATED_TIME.as_millis() / one.as_millis().max(1);
    Ok(Scrypt {
        p: u32::try_from(rounds).unwrap_or(1).clamp(1, 64),
        ..CALIBRATED
    })
}

fn unusable(id: impl ToString, reason: impl ToString) -> VaultError {
    VaultError::UnusableKey {
        name: id.to_string(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{KdfCost, KeyOptions, labels, opens, save, unlock};
    use crate::crypto::KeyBytes;
    use crate::error::VaultError;
    use crate::secret::Secret;
    use storage::{Memory, Storage};

    fn options(username: &str) -> KeyOptions {
        KeyOptions {
            cost: KdfCost::Cheapest,
            username: username.to_owned(),
            hostname: "host".to_owned(),
        }
    }

    #[test]
    fn several_passwords_open_one_master_key() {
        let storage = Memory::new();
        let master = KeyBytes::generate();
        for name in ["one", "two"] {
            save(&storage, &master, &Secret::from(name), &options(name)).unwrap();
        }
        for name in ["one", "two"] {
            let (id, opened) = unlock(&storage, &Secret::from(name)).unwrap();
            assert!(opens(&storage, &id, &Secret::from(name), &master).unwrap());
            assert!(!opens(&storage, &id, &Secret::from("x"), &master).unwrap());
            assert!(!opens(&storage, &id, &Secret::from(name), &KeyBytes::generate()).unwrap());
            assert_eq!(opened.encrypt, master.encrypt);
            assert_eq!(opened.mac_k, master.mac_k);
            assert_eq!(opened.mac_r, master.mac_r);
        }
        assert!(matches!(
            unlock(&storage, &Secret::from("three")),
            Err(VaultError::WrongPassword)
        ));
        let mut names: Vec<String> = labels(&storage)
            .unwrap()
            .into_iter()
            .map(|(_, label)| label.username)
            .collect();
        names.sort();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn a_damaged_key_does_not_hide_a_good_one_and_a_greedy_one_is_refused() {
        let storage = Memory::new();
        let master = KeyBytes::generate();
        let good = save(&storage, &master, &Secret::from("x"), &options("x")).unwrap();
        storage.overwrite(&format!("keys/{}", "00".repeat(32)), b"{".to_vec());
        assert!(unlock(&storage, &Secret::from("x")).is_ok());
        let text = String::from_utf8(storage.get(&format!("keys/{good}")).unwrap()).unwrap();
        let greedy = text.replace("\"N\":2,", "\"N\":1099511627776,");
        assert_ne!(text, greedy);
        storage.overwrite(&format!("keys/{good}"), greedy.into_bytes());
        assert!(unlock(&storage, &Secret::from("x")).is_err());
    }
}

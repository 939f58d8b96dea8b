//! The master key: seals every secret of the catalog, and derives what opens the vaults when the catalog is lost.
//!
//! Secrets are sealed with XChaCha20-Poly1305 under a key derived from the master key, a random nonce in front, and the
//! kind and id of the record as associated data: a sealed secret moved to another record does not open.
//!
//! The recovery secret is derived from the master key, and the recovery password of a vault from the recovery secret and
//! the vault's id. So the recovery file opens vaults that are made after it was written.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use api::secret::SecretText;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const SEAL_INFO: &[u8] = b"strongroom seal v1";
const LINK_INFO: &[u8] = b"strongroom link v1";
const RECOVERY_INFO: &[u8] = b"strongroom recovery v1";
const COPY_INFO: &[u8] = b"strongroom catalog copy v1";
const COPY_NONCE_INFO: &[u8] = b"strongroom catalog copy nonces v1";
const TITLE: &str = "Strongroom recovery file, version 1";

/// The key of a data directory.
pub(crate) struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

/// Opens every vault of an account.
pub(crate) struct RecoverySecret(Zeroizing<[u8; KEY_BYTES]>);

/// A secret that was not sealed by this key for this record, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed secret cannot be opened with this master key")]
pub(crate) struct UnsealError;

/// Which record a secret belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Record<'a> {
    AccessKey(&'a str),
    Vault(&'a str),
    Session(&'a str),
}

impl Record<'_> {
    fn associated_data(self) -> Vec<u8> {
        match self {
            Self::AccessKey(id) => format!("access-key:{id}"),
            Self::Vault(id) => format!("vault:{id}"),
            Self::Session(id) => format!("session:{id}"),
        }
        .into_bytes()
    }
}

impl MasterKey {
    /// A new random key.
    pub(crate) fn generate() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// Reads the text of the key file: 64 hex digits.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), key.as_mut()).ok()?;
        Some(Self(key))
    }

    /// The text of the key file.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()) + "\n")
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = derive(self.0.as_ref(), SEAL_INFO);
        XChaCha20Poly1305::new(&(*key).into())
    }

    /// Seals a secret for one record.
    pub(crate) fn seal(&self, record: Record<'_>, secret: &str) -> catalog::Sealed {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: &record.associated_data(),
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .expect("encryption fails only for messages of many gigabytes");
        catalog::Sealed([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`MasterKey::seal`] made for the same record.
    pub(crate) fn unseal(
        &self,
        record: Record<'_>,
        sealed: &catalog::Sealed,
    ) -> Result<SecretText, UnsealError> {
        let (nonce, text) = sealed.0.split_at_checked(NONCE_BYTES).ok_or(UnsealError)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| UnsealError)?;
        let payload = Payload {
            msg: text,
            aad: &record.associated_data(),
        };
        let plain = self
            .cipher()
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_| UnsealError)?;
        String::from_utf8(plain)
            .map(SecretText::new)
            .map_err(|_| UnsealError)
    }

    /// Signs the text of a link to a file.
    pub(crate) fn sign_link(&self, text: &str) -> [u8; KEY_BYTES] {
        let key = derive(self.0.as_ref(), LINK_INFO);
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The secret of the recovery file.
    pub(crate) fn recovery_secret(&self) -> RecoverySecret {
        RecoverySecret(derive(self.0.as_ref(), RECOVERY_INFO))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("MasterKey(***)")
    }
}

impl RecoverySecret {
    /// Password of the recovery key of a vault.
    pub(crate) fn vault_password(&self, vault_id: &str) -> SecretText {
        SecretText::new(hex::encode(
            derive(self.0.as_ref(), vault_id.as_bytes()).as_ref(),
        ))
    }

    /// The keys that seal copies of the catalog: one encrypts, the other one makes nonces.
    pub(crate) fn copy_keys(&self) -> [Zeroizing<[u8; KEY_BYTES]>; 2] {
        [COPY_INFO, COPY_NONCE_INFO].map(|info| derive(self.0.as_ref(), info))
    }

    /// The text of the recovery file.
    pub(crate) fn to_text(&self, account_id: &str) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(self.0.as_ref()));
        Zeroizing::new(format!(
            "{TITLE}\n\
             \n\
             Keep this file, or a print of it, away from this machine. With it and a vault's storage alone,\n\
             `strongroom catalog restore --recovery-file FILE --storage STORAGE` brings the service back, if its catalog\n\
             was backed up into the vault; `strongroom vault adopt`, with the same flags, a vault with its snapshots.\n\
             Whoever has it can read every vault of this service.\n\
             \n\
             AccountId: {account_id}\n\
             RecoverySecret: {}\n\
             Check: {}\n",
            secret.as_str(),
            check_of(self.0.as_ref()),
        ))
    }

    /// Reads a recovery file; spaces and case do not matter. The error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.contains("Strongroom recovery file") {
            return Err("its title is missing");
        }
        if !text.contains(TITLE) {
            return Err("it was made by a newer version");
        }
        let field = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(name))?;
            Some(
                line.chars()
                    .filter(|letter| !letter.is_whitespace())
                    .collect::<String>()
                    .to_ascii_lowercase(),
            )
        };
        let digits =
            Zeroizing::new(field("RecoverySecret:").ok_or("the line RecoverySecret is missing")?);
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(digits.as_bytes(), secret.as_mut())
            .map_err(|_| "the line RecoverySecret does not have 64 hex digits")?;
        match field("Check:") {
            Some(check) if check == check_of(secret.as_ref()) => Ok(Self(secret)),
            Some(_) => Err("the line RecoverySecret has a wrong digit (Check does not fit)"),
            None => Err("the line Check is missing"),
        }
    }
}

/// The first eight digits of a hash, to catch typing errors. Says nothing useful about the secret.
fn check_of(secret: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"strongroom recovery check v1");
    hash.update(secret);
    hex::encode(&hash.finalize()[..4])
}

fn derive(key: &[u8], info: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut output = Zeroizing::new([0; KEY_BYTES]);
    Hkdf::<Sha256>::new(None, key)
        .expand(info, output.as_mut())
        .expect("32 bytes are within what HKDF-SHA256 can give");
    output
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{MasterKey, Record, RecoverySecret};

    #[test]
    fn sealed_secrets_open_only_with_their_key_and_record() {
        let key = MasterKey::generate();
        let sealed = key.seal(Record::Vault("v-1"), "hunter2");
        assert_eq!(
            key.unseal(Record::Vault("v-1"), &sealed).unwrap().expose(),
            "hunter2"
        );
        assert!(key.unseal(Record::Vault("v-2"), &sealed).is_err());
        assert!(key.unseal(Record::AccessKey("v-1"), &sealed).is_err());
        assert!(
            MasterKey::generate()
                .unseal(Record::Vault("v-1"), &sealed)
                .is_err()
        );
        for position in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[position] ^= 1;
            assert!(
                key.unseal(Record::Vault("v-1"), &changed).is_err(),
                "byte {position}"
            );
            assert!(
                key.unseal(
                    Record::Vault("v-1"),
                    &catalog::Sealed(sealed.0[..position].to_vec())
                )
                .is_err()
            );
        }
        assert_ne!(
            key.seal(Record::Vault("v-1"), "a").0,
            key.seal(Record::Vault("v-1"), "a").0
        );
    }

    #[test]
    fn the_key_file_is_read_back_and_derivations_are_stable() {
        let key = MasterKey::generate();
        let again = MasterKey::parse(key.to_text().as_bytes()).unwrap();
        let password = |key: &MasterKey, vault| {
            key.recovery_secret()
                .vault_password(vault)
                .expose()
                .to_owned()
        };
        assert_eq!(password(&key, "v-1"), password(&again, "v-1"));
        assert_ne!(password(&key, "v-1"), password(&key, "v-2"));
        for text in ["", "00", &"0".repeat(63), &"z".repeat(64)] {
            assert!(MasterKey::parse(text.as_bytes()).is_none());
        }
        // A known answer: recovery files must stay readable by later versions.
        let known = MasterKey::parse("00".repeat(32).as_bytes()).unwrap();
        assert_eq!(
            password(&known, "v-0000"),
            "4f1108525ce701d17498018b6bce4b4cee9c787d78e9364ef536560d9ac51112"
        );
    }

    #[test]
    fn recovery_files() {
        let secret = MasterKey::generate().recovery_secret();
        let text = secret.to_text("1234567890123456");
        let password = secret.vault_password("v-1").expose().to_owned();
        let spaced = text
            .replace("RecoverySecret: ", "  RecoverySecret:   ")
            .to_uppercase();
        let spaced = spaced
            .replace("STRONGROOM RECOVERY FILE, VERSION 1", super::TITLE)
            .replace("RECOVERYSECRET", "RecoverySecret")
            .replace("CHECK:", "Check:");
        for form in [text.as_str(), spaced.as_str()] {
            assert_eq!(
                RecoverySecret::parse(form)
                    .unwrap()
                    .vault_password("v-1")
                    .expose(),
                password
            );
        }
        let digit = text.find("RecoverySecret: ").unwrap() + 16;
        let mut typo = text.to_string();
        let other = if &typo[digit..=digit] == "0" {
            "1"
        } else {
            "0"
        };
        typo.replace_range(digit..=digit, other);
        assert!(
            RecoverySecret::parse(&typo)
                .err()
                .unwrap()
                .contains("wrong digit")
        );
        assert!(RecoverySecret::parse("hello").is_err());
        assert!(
            RecoverySecret::parse(&text.replace("version 1", "version 2"))
                .err()
                .unwrap()
                .contains("newer")
        );
    }
}

//! Sealing and opening bytes: AES-256-CTR with Poly1305-AES, as restic does it.
//!
//! Sealed bytes are `IV (16) || ciphertext || tag (16)`. The IV is random for each message. The one-time key of Poly1305
//! is `r || AES-128(k, IV)`, and the tag is over the ciphertext. Nothing is decrypted before its tag was compared, in
//! constant time. The primitives are RustCrypto's, which pick VAES, AES-NI and AVX2 at run time.

use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::{CtrCore, flavors};
use hkdf::Hkdf;
use poly1305::Poly1305;
use poly1305::universal_hash::UniversalHash;
use rand::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes before the ciphertext.
pub(crate) const IV_BYTES: usize = 16;
/// Bytes after the ciphertext.
pub(crate) const TAG_BYTES: usize = 16;
/// What sealing adds to a plaintext.
pub(crate) const SEAL_OVERHEAD_BYTES: usize = IV_BYTES + TAG_BYTES;

/// Decrypted at once where a plaintext is only compared: stays in the nearest cache.
const COMPARE_BYTES: usize = 8 << 10;

type Keystream = ctr::cipher::StreamCipherCoreWrapper<CtrCore<Aes256, flavors::Ctr128BE>>;

/// The tag did not fit: wrong key, or bytes that are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub(crate) struct OpenError;

/// The bytes of a key, in the order in which scrypt gives them: encrypt, mac.k, mac.r.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct KeyBytes {
    pub(crate) encrypt: [u8; 32],
    pub(crate) mac_k: [u8; 16],
    pub(crate) mac_r: [u8; 16],
}

impl KeyBytes {
    /// The length of the whole.
    pub(crate) const LENGTH_BYTES: usize = 64;

    pub(crate) fn from_derived(derived: &[u8; Self::LENGTH_BYTES]) -> Self {
        let mut key = Self {
            encrypt: [0; 32],
            mac_k: [0; 16],
            mac_r: [0; 16],
        };
        key.encrypt.copy_from_slice(&derived[..32]);
        key.mac_k.copy_from_slice(&derived[32..48]);
        key.mac_r.copy_from_slice(&derived[48..]);
        key
    }

    /// Whether both are the same key, in a time that does not depend on where they differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        let same = self.encrypt.ct_eq(&other.encrypt)
            & self.mac_k.ct_eq(&other.mac_k)
            & self.mac_r.ct_eq(&other.mac_r);
        same.into()
    }

    /// A new random key, its `r` with the bits cleared that Poly1305 leaves out, as restic stores it.
    pub(crate) fn generate() -> Self {
        let mut bytes = [0; Self::LENGTH_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        let mut key = Self::from_derived(&bytes);
        bytes.zeroize();
        for index in [3, 7, 11, 15] {
            key.mac_r[index] &= 0x0f;
        }
        for index in [4, 8, 12] {
            key.mac_r[index] &= 0xfc;
        }
        key
    }
}

/// A key, ready to use. The AES round keys are expanded once.
pub(crate) struct Cipher {
    encrypt: Aes256,
    mac: Aes128,
    key: KeyBytes,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cipher(…)")
    }
}

impl Cipher {
    pub(crate) fn new(key: KeyBytes) -> Self {
        Self {
            encrypt: Aes256::new(&key.encrypt.into()),
            mac: Aes128::new(&key.mac_k.into()),
            key,
        }
    }

    /// The bytes of the key, for sealing them in a key file.
    pub(crate) fn key_bytes(&self) -> &KeyBytes {
        &self.key
    }

    /// A secret of its own for one purpose, which tells nothing about the key.
    pub(crate) fn derive(&self, purpose: &str, out: &mut [u8]) {
        Hkdf::<Sha256>::new(None, &self.key.encrypt)
            .expand(purpose.as_bytes(), out)
            .expect("derived secrets are shorter than 255 hashes");
    }

    /// Appends `plaintext`, sealed, to `out`.
    pub(crate) fn seal(&self, plaintext: &[u8], out: &mut Vec<u8>) {
        let mut iv = [0; IV_BYTES];
        rand::rng().fill_bytes(&mut iv);
        self.seal_with(iv, plaintext, out);
    }

    fn seal_with(&self, iv: [u8; IV_BYTES], plaintext: &[u8], out: &mut Vec<u8>) {
        out.reserve(plaintext.len() + SEAL_OVERHEAD_BYTES);
        out.extend_from_slice(&iv);
        let start = out.len();
        out.extend_from_slice(plaintext);
        self.keystream(iv).apply_keystream(&mut out[start..]);
        let tag = self.tag(&iv, &out[start..]);
        out.extend_from_slice(&tag);
    }

    /// Seals in place: the plaintext lies between room for the IV and room for the tag.
    pub(crate) fn seal_in_place(&self, message: &mut [u8]) {
        let (iv, rest) = message
            .split_first_chunk_mut::<IV_BYTES>()
            .expect("the caller leaves room for the IV");
        let (body, tag) = rest
            .split_last_chunk_mut::<TAG_BYTES>()
            .expect("the caller leaves room for the tag");
        rand::rng().fill_bytes(iv);
        self.keystream(*iv).apply_keystream(body);
        *tag = self.tag(iv, body);
    }

    /// Whether `sealed` opens to just this plaintext. Nothing of it is kept.
    pub(crate) fn opens_to(&self, sealed: &[u8], plaintext: &[u8]) -> Result<bool, OpenError> {
        let (iv, ciphertext) = self.authenticate(sealed)?;
        if ciphertext.len() != plaintext.len() {
            return Ok(false);
        }
        let mut keystream = self.keystream(iv);
        let mut piece = [0; COMPARE_BYTES];
        let pieces = ciphertext
            .chunks(COMPARE_BYTES)
            .zip(plaintext.chunks(COMPARE_BYTES));
        for (ciphertext, plaintext) in pieces {
            let piece = &mut piece[..ciphertext.len()];
            piece.copy_from_slice(ciphertext);
            keystream.apply_keystream(piece);
            if piece != plaintext {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the plaintext of `sealed` in `out`, in place of what was there.
    pub(crate) fn open_to(&self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        let (iv, ciphertext) = self.authenticate(sealed)?;
        out.clear();
        out.extend_from_slice(ciphertext);
        self.keystream(iv).apply_keystream(out);
        Ok(())
    }

    /// Puts the plaintext of `sealed` in `out`, which is as long.
    pub(crate) fn open_into(&self, sealed: &[u8], out: &mut [u8]) -> Result<(), OpenError> {
        let (iv, ciphertext) = self.authenticate(sealed)?;
        if ciphertext.len() != out.len() {
            return Err(OpenError);
        }
        out.copy_from_slice(ciphertext);
        self.keystream(iv).apply_keystream(out);
        Ok(())
    }

    /// The plaintext of `sealed`.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plaintext = Vec::new();
        self.open_to(sealed, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Compares the tag; gives the IV and the ciphertext.
    fn authenticate<'a>(&self, sealed: &'a [u8]) -> Result<([u8; IV_BYTES], &'a [u8]), OpenError> {
        let (iv, rest) = sealed.split_first_chunk::<IV_BYTES>().ok_or(OpenError)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError)?;
        if bool::from(self.tag(iv, ciphertext).ct_eq(tag)) {
            Ok((*iv, ciphertext))
        } else {
            Err(OpenError)
        }
    }

    fn keystream(&self, iv: [u8; IV_BYTES]) -> Keystream {
        let core = CtrCore::inner_iv_init(self.encrypt.clone(), &iv.into());
        Keystream::from_core(core)
    }

    fn tag(&self, iv: &[u8; IV_BYTES], ciphertext: &[u8]) -> [u8; TAG_BYTES] {
        let mut nonce = (*iv).into();
        self.mac.encrypt_block(&mut nonce);
        let mut one_time = [0; 32];
        one_time[..16].copy_from_slice(&self.key.mac_r);
        one_time[16..].copy_from_slice(&nonce);
        let mut mac = Poly1305::new(&one_time.into());
        one_time.zeroize();
        // Whole blocks go through the wide path; only the rest needs the unpadded form.
        let (blocks, rest) = poly1305::Block::slice_as_chunks(ciphertext);
        mac.update(blocks);
        mac.compute_unpadded(rest).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Cipher, KeyBytes, SEAL_OVERHEAD_BYTES};

    fn cipher() -> Cipher {
        let derived: Vec<u8> = (0..64).collect();
        Cipher::new(KeyBytes::from_derived(&derived.try_into().unwrap()))
    }

    /// Poly1305-AES by Bernstein's own test vectors (as in restic's tests): r, k, nonce, message, tag.
    #[test]
    fn poly1305_aes_known_answers() {
        let check = |r: &str, k: &str, nonce: &str, message: &str, expected: &str| {
            let bytes = |text: &str| hex::decode(text).unwrap();
            let key = KeyBytes {
                encrypt: [0; 32],
                mac_k: bytes(k).try_into().unwrap(),
                mac_r: bytes(r).try_into().unwrap(),
            };
            let tag = Cipher::new(key).tag(&bytes(nonce).try_into().unwrap(), &bytes(message));
            assert_eq!(hex::encode(tag), expected);
        };
        check(
            "851fc40c3467ac0be05cc20404f3f700",
            "ec074c835580741701425b623235add6",
            "fb447350c4e868c52ac3275cf9d4327e",
            "f3f6",
            "f4c633c3044fc145f84f335cb81953de",
        );
        check(
            "a0f3080000f46400d0c7e9076c834403",
            "75deaa25c09f208e1dc4ce6b5cad3fbf",
            "61ee09218d29b0aaed7e154a2c5509cc",
            "",
            "dd3fab2251f11ac759f0887129cc2ee7",
        );
        check(
            "48443d0bb0d21109c89a100b5ce2c208",
            "6acb5f61a7176dd320c5c1eb2edcdc74",
            "ae212a55399729595dea458bc621ff0e",
            "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
            "0ee1c16bb73f0f4fd19881753c01cdbe",
        );
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else() {
        let cipher = cipher();
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 1000, 100_000] {
            let plaintext: Vec<u8> = (0..length).map(|index: usize| index as u8).collect();
            let mut sealed = b"before".to_vec();
            cipher.seal(&plaintext, &mut sealed);
            let sealed = sealed.split_off(6);
            assert_eq!(sealed.len(), length + SEAL_OVERHEAD_BYTES);
            assert_eq!(cipher.open(&sealed).unwrap(), plaintext);
            assert_eq!(cipher.opens_to(&sealed, &plaintext), Ok(true));
            let mut in_place = vec![0; length + SEAL_OVERHEAD_BYTES];
            in_place[super::IV_BYTES..][..length].copy_from_slice(&plaintext);
            cipher.seal_in_place(&mut in_place);
            assert_eq!(cipher.open(&in_place).unwrap(), plaintext);
            for other in 0..length.min(100_000) {
                if other % 997 == 0 {
                    let mut other_text = plaintext.clone();
                    other_text[other] ^= 1;
                    assert_eq!(cipher.opens_to(&in_place, &other_text), Ok(false));
                }
            }
            assert_eq!(
                cipher.opens_to(&sealed, &[plaintext.as_slice(), &[0]].concat()),
                Ok(false)
            );
            for position in [0, 15, 16, sealed.len() / 2, sealed.len() - 1] {
                let mut wrong = sealed.clone();
                wrong[position] ^= 1;
                assert!(cipher.open(&wrong).is_err(), "{length} {position}");
                assert!(cipher.opens_to(&wrong, &plaintext).is_err());
            }
            assert!(cipher.open(&sealed[1..]).is_err());
            assert!(cipher.open(&sealed[..sealed.len() - 1]).is_err());
        }
        assert!(cipher.open(&[0; 31]).is_err());
    }

    #[test]
    fn derived_secrets_differ_by_purpose() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        cipher().derive("one", &mut one);
        cipher().derive("two", &mut two);
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }
}

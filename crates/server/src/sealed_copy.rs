//! A copy of the catalog as a sealed file: what a vault keeps of it, and what a restore reads. The format is in
//! `docs/catalog-backup.md`.
//!
//! Each frame is sealed with XChaCha20-Poly1305 under a key that the recovery secret gives, so that no other key of the
//! vault opens it: hosts that back up into the same vault have its password. The nonce is a keyed hash of the frame's
//! plaintext: a frame that is as it was last night is sealed to the same bytes, which the vault has already. What that tells
//! somebody without the key is that two frames are equal, and no more.
//!
//! The last frame counts the others and holds the hash of all of them, so one that is left out, put in or moved is found,
//! and a file that was cut short has no end.

use std::collections::BTreeMap;
use std::io::Read;

use api::secret::SecretText;
use catalog::copy::{Piece, RowCounts};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::seal::RecoverySecret;

/// What the file begins with.
pub(crate) const MAGIC: &[u8] = b"strongroom catalog 1\n";
const NONCE_BYTES: usize = 24;
const LENGTH_BYTES: usize = 4;
/// No frame is longer: rows are cut at a megabyte, and the largest row is some megabytes.
const LONGEST_FRAME_BYTES: usize = 64 << 20;
const PURPOSE: &[u8] = b"strongroom catalog copy";

const HEADER: u8 = 1;
const ROWS: u8 = 2;
const END: u8 = 3;

/// The first frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CopyHeader {
    /// The version of the schema that the rows are of.
    pub(crate) schema: i64,
    /// When the copy was made, UNIX seconds.
    pub(crate) created_time: i64,
    /// The operator's account.
    pub(crate) account_id: String,
    /// The program that made it.
    pub(crate) program_version: String,
    /// Files of the data directory that the service cannot do without, by their names there.
    pub(crate) files: BTreeMap<String, SecretText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CopyEnd {
    frame_count: u64,
    /// SHA-256 of all frames before, in hex.
    frames_hash: String,
    row_counts: RowCounts,
}

/// Why a copy cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The input failed.
    #[error("the copy of the catalog cannot be read")]
    Read(#[source] std::io::Error),
    /// The bytes are something else.
    #[error("this is no copy of a catalog, or one of a newer program")]
    NoCopy,
    /// It is sealed under another secret.
    #[error(
        "the copy of the catalog is of another service: neither the recovery file nor the master key opens it"
    )]
    WrongKey,
    /// It is not whole.
    #[error("the copy of the catalog is damaged: {detail}")]
    Damaged {
        /// What is wrong.
        detail: &'static str,
    },
}

/// The keys, ready for use.
struct Seal {
    cipher: XChaCha20Poly1305,
    nonce_key: Zeroizing<[u8; 32]>,
}

impl Seal {
    fn new(secret: &RecoverySecret) -> Self {
        let [key, nonce_key] = secret.copy_keys();
        Self {
            cipher: XChaCha20Poly1305::new(&(*key).into()),
            nonce_key,
        }
    }

    fn seal(&self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(content.len() + 1));
        plain.push(kind);
        plain.extend_from_slice(content);
        let nonce = self.nonce(&plain);
        let payload = Payload {
            msg: &plain,
            aad: PURPOSE,
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("encryption fails only for messages of many gigabytes");
        let length = u32::try_from(NONCE_BYTES + sealed.len())
            .expect("a frame has a few megabytes, as its parts have");
        [&length.to_le_bytes(), nonce.as_slice(), &sealed].concat()
    }

    fn nonce(&self, plain: &[u8]) -> [u8; NONCE_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.nonce_key.as_ref())
            .expect("HMAC takes keys of any length");
        mac.update(plain);
        let hash = mac.finalize().into_bytes();
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&hash[..NONCE_BYTES]);
        nonce
    }

    fn open(&self, frame: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = frame.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let payload = Payload {
            msg: sealed,
            aad: PURPOSE,
        };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).ok()?;
        Some(Zeroizing::new(plain))
    }
}

/// Makes the bytes of a copy, part by part.
pub(crate) struct CopySealer {
    seal: Seal,
    frame_count: u64,
    frames: Sha256,
}

impl CopySealer {
    pub(crate) fn new(secret: &RecoverySecret) -> Self {
        Self {
            seal: Seal::new(secret),
            frame_count: 0,
            frames: Sha256::new(),
        }
    }

    /// The beginning of the file.
    pub(crate) fn begin(&mut self, header: &CopyHeader) -> Vec<u8> {
        let json = Zeroizing::new(
            serde_json::to_vec(header).expect("texts and numbers can always be written as JSON"),
        );
        let frame = self.frame(HEADER, &json);
        [MAGIC, &frame].concat()
    }

    /// A segment of rows.
    pub(crate) fn rows(&mut self, segment: &[u8]) -> Vec<u8> {
        self.frame(ROWS, segment)
    }

    /// The end of the file.
    pub(crate) fn end(mut self, row_counts: RowCounts) -> Vec<u8> {
        let end = CopyEnd {
            frame_count: self.frame_count,
            frames_hash: hex::encode(self.frames.clone().finalize()),
            row_counts,
        };
        let json =
            serde_json::to_vec(&end).expect("texts and numbers can always be written as JSON");
        self.frame(END, &json)
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let frame = self.seal.seal(kind, content);
        self.frame_count += 1;
        self.frames.update(&frame);
        frame
    }
}

/// Reads a copy.
pub(crate) struct CopyReader<R> {
    input: R,
    seal: Seal,
    frame_count: u64,
    frames: Sha256,
    is_ended: bool,
}

impl<R: Read> CopyReader<R> {
    /// Reads the beginning.
    pub(crate) fn open(input: R, secret: &RecoverySecret) -> Result<(Self, CopyHeader), CopyError> {
        let mut reader = Self {
            input,
            seal: Seal::new(secret),
            frame_count: 0,
            frames: Sha256::new(),
            is_ended: false,
        };
        let mut magic = [0; MAGIC.len()];
        reader.exactly(&mut magic).map_err(|error| match error {
            CopyError::Damaged { .. } => CopyError::NoCopy,
            error => error,
        })?;
        if magic != MAGIC {
            return Err(CopyError::NoCopy);
        }
        let plain = reader.frame()?.ok_or(CopyError::WrongKey)?;
        let header = match plain.split_first() {
            Some((&HEADER, json)) => serde_json::from_slice(json).ok(),
            _ => None,
        };
        let header = header.ok_or(CopyError::NoCopy)?;
        Ok((reader, header))
    }

    /// The next segment, or what all of them have.
    pub(crate) fn next(&mut self) -> Result<Piece, CopyError> {
        let damaged = |detail| CopyError::Damaged { detail };
        if self.is_ended {
            return Err(damaged("it was read to its end already"));
        }
        let (count, hash) = (self.frame_count, self.frames.clone());
        let plain = self
            .frame()?
            .ok_or_else(|| damaged("a frame cannot be opened"))?;
        match plain.split_first() {
            Some((&ROWS, segment)) => Ok(Piece::Segment(segment.to_vec())),
            Some((&END, json)) => {
                let end: CopyEnd =
                    serde_json::from_slice(json).map_err(|_| damaged("its end cannot be read"))?;
                if end.frame_count != count || end.frames_hash != hex::encode(hash.finalize()) {
                    return Err(damaged("frames are missing or in another order"));
                }
                self.is_ended = true;
                Ok(Piece::End(end.row_counts))
            }
            _ => Err(damaged("a frame is of no kind")),
        }
    }

    /// The plaintext of the next frame; `None` when the key does not open it.
    fn frame(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, CopyError> {
        let mut length = [0; LENGTH_BYTES];
        self.exactly(&mut length)?;
        let count = u32::from_le_bytes(length) as usize;
        if !(NONCE_BYTES..=LONGEST_FRAME_BYTES).contains(&count) {
            return Err(CopyError::Damaged {
                detail: "a frame has an impossible length",
            });
        }
        let mut frame = vec![0; count];
        self.exactly(&mut frame)?;
        self.frame_count += 1;
        self.frames.update(length);
        self.frames.update(&frame);
        Ok(self.seal.open(&frame))
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), CopyError> {
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => CopyError::Damaged {
                    detail: "it ends too early",
                },
                _ => CopyError::Read(error),
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::seal::MasterKey;

    fn header() -> CopyHeader {
        CopyHeader {
            schema: 3,
            created_time: 1_700_000_000,
            account_id: "1".to_owned(),
            program_version: "0".to_owned(),
            files: BTreeMap::from([("master.key".to_owned(), "secret".to_owned().into())]),
        }
    }

    fn counts() -> RowCounts {
        RowCounts::from([("t".to_owned(), 2)])
    }

    fn parts(secret: &RecoverySecret) -> Vec<Vec<u8>> {
        let mut sealer = CopySealer::new(secret);
        vec![
            sealer.begin(&header()),
            sealer.rows(b"one"),
            sealer.rows(b"two"),
            sealer.end(counts()),
        ]
    }

    fn read_all(bytes: &[u8], secret: &RecoverySecret) -> Result<Vec<Piece>, CopyError> {
        let (mut reader, found) = CopyReader::open(bytes, secret)?;
        assert_eq!(found.files["master.key"].expose(), "secret");
        let mut pieces = Vec::new();
        loop {
            pieces.push(reader.next()?);
            if matches!(pieces.last(), Some(Piece::End(_))) {
                return Ok(pieces);
            }
        }
    }

    #[test]
    fn a_copy_comes_back_and_is_the_same_each_time() {
        let secret = MasterKey::generate().recovery_secret();
        let bytes = parts(&secret).concat();
        assert_eq!(
            bytes,
            parts(&secret).concat(),
            "or no vault could find it again"
        );
        let expected = [
            Piece::Segment(b"one".to_vec()),
            Piece::Segment(b"two".to_vec()),
            Piece::End(counts()),
        ];
        assert_eq!(read_all(&bytes, &secret).unwrap(), expected);
        for word in [&b"one"[..], b"secret", b"master.key"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word));
        }
    }

    #[test]
    fn no_other_secret_opens_it() {
        let bytes = parts(&MasterKey::generate().recovery_secret()).concat();
        let other = MasterKey::generate().recovery_secret();
        assert!(matches!(read_all(&bytes, &other), Err(CopyError::WrongKey)));
        for wrong in [&b""[..], b"strongroom catalog 2\n", b"{}", &[0; 100]] {
            assert!(matches!(read_all(wrong, &other), Err(CopyError::NoCopy)));
        }
    }

    #[test]
    fn every_change_is_found() {
        let secret = MasterKey::generate().recovery_secret();
        let parts = parts(&secret);
        let bytes = parts.concat();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(read_all(&changed, &secret).is_err(), "byte {place}");
            assert!(
                read_all(&bytes[..place], &secret).is_err(),
                "cut at {place}"
            );
        }
        let [begin, one, two, end] = &parts[..] else {
            panic!()
        };
        for wrong in [
            [begin, two, one, end].as_slice(),
            &[begin, one, end],
            &[begin, one, one, two, end],
            &[begin, end],
        ] {
            let bytes = wrong.iter().copied().cloned().collect::<Vec<_>>().concat();
            assert!(matches!(
                read_all(&bytes, &secret),
                Err(CopyError::Damaged { .. })
            ));
        }
    }

    /// A known answer: copies must stay readable by later versions.
    #[test]
    fn the_format_stays() {
        let secret = MasterKey::parse("00".repeat(32).as_bytes())
            .unwrap()
            .recovery_secret();
        let hash = hex::encode(Sha256::digest(parts(&secret).concat()));
        assert_eq!(
            hash,
            "3205e51537931631ef58302483e4c6d1d7c10d9e6f82dc4f0f9b7f16524e0383"
        );
    }
}

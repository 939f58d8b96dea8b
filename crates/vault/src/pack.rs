//! The pack format: sealed blobs, then a sealed header that lists them, then its length.
//!
//! A header entry of version 2 is: type (1 byte: 0 data, 1 tree, 2 compressed data, 3 compressed tree), stored length
//! (u32 LE), for 2 and 3 the uncompressed length (u32 LE), the id (32 bytes). Offsets are not stored: blobs lie one
//! after the other in the order of the header.

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};
use storage::{Storage, StorageError};

use crate::blob::BlobKind;
use crate::crypto::{Cipher, SEAL_OVERHEAD_BYTES};
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;

/// The length of the header, at the end of the file.
const LENGTH_FIELD_BYTES: usize = 4;
const PLAIN_ENTRY_BYTES: usize = 37;
const COMPRESSED_ENTRY_BYTES: usize = 41;
/// restic refuses longer headers.
const LARGEST_HEADER_BYTES: usize = 16 << 20;
/// How much of the end of a pack is enough to read its header.
pub(crate) const LONGEST_TRAILER_BYTES: u64 = (LARGEST_HEADER_BYTES + LENGTH_FIELD_BYTES) as u64;
/// restic begins no further blob, of at most 8 MiB, when a pack has 128 MiB; a header follows. rustic makes larger packs
/// in repositories of hundreds of terabytes, which the format allows.
pub(crate) const LARGEST_PACK_OF_RESTIC_BYTES: u64 = (128 + 8 + 16) << 20;
/// How much of a pack is in memory at once where nothing but its hash and its header are wanted.
pub(crate) const STEP_BYTES: u64 = 4 << 20;

/// What is wrong with a blob whose plaintext is another one.
pub(crate) const WRONG_HASH: &str = "its content does not have this hash";

/// One blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBlob {
    /// Tree or data.
    pub kind: BlobKind,
    /// SHA-256 of the plaintext.
    pub id: Id,
    /// Where it begins in the pack.
    pub offset: u32,
    /// Its stored length.
    pub length: u32,
    /// Its length before compression; `None` when it is not compressed.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl PackedBlob {
    /// The length of the plaintext.
    #[must_use]
    pub fn plaintext_length(&self) -> u64 {
        match self.uncompressed_length {
            Some(length) => u64::from(length.get()),
            None => u64::from(self.length).saturating_sub(SEAL_OVERHEAD_BYTES as u64),
        }
    }

    /// Compares the hash of the plaintext with the id. `pack` is where it was read, for the error
    /// ([`VaultError::DamagedBlob`]).
    pub fn compare(&self, pack: &Id, plaintext: &[u8]) -> Result<(), VaultError> {
        if Id::hash(plaintext) == self.id {
            Ok(())
        } else {
            Err(self.damaged(pack, WRONG_HASH.to_owned()))
        }
    }

    pub(crate) fn damaged(&self, pack: &Id, reason: String) -> VaultError {
        VaultError::DamagedBlob {
            kind: self.kind,
            id: self.id,
            pack: *pack,
            reason,
        }
    }
}

/// The size of what follows the blobs: sealed header and length field.
pub(crate) fn trailer_bytes(blobs: impl Iterator<Item = bool>) -> usize {
    let entries: usize = blobs.map(entry_bytes).sum();
    entries + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES
}

/// The size of one header entry.
pub(crate) fn entry_bytes(is_compressed: bool) -> usize {
    if is_compressed {
        COMPRESSED_ENTRY_BYTES
    } else {
        PLAIN_ENTRY_BYTES
    }
}

/// The size of the whole pack that holds these blobs, by the rule that they lie one after the other.
pub(crate) fn pack_bytes(blobs: &[PackedBlob]) -> u64 {
    let end = blobs
        .iter()
        .map(|blob| u64::from(blob.offset) + u64::from(blob.length))
        .max();
    let trailer = trailer_bytes(blobs.iter().map(|blob| blob.uncompressed_length.is_some()));
    end.unwrap_or(0) + trailer as u64
}

/// Appends the header of `blobs`, sealed, and its length to a pack.
pub(crate) fn push_trailer(cipher: &Cipher, blobs: &[PackedBlob], pack: &mut Vec<u8>) {
    let mut header = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY_BYTES);
    for blob in blobs {
        let kind = match blob.kind {
            BlobKind::Data => 0,
            BlobKind::Tree => 1,
        };
        match blob.uncompressed_length {
            None => {
                header.push(kind);
                header.extend_from_slice(&blob.length.to_le_bytes());
            }
            Some(length) => {
                header.push(kind + 2);
                header.extend_from_slice(&blob.length.to_le_bytes());
                header.extend_from_slice(&length.get().to_le_bytes());
            }
        }
        header.extend_from_slice(blob.id.as_bytes());
    }
    let start = pack.len();
    cipher.seal(&header, pack);
    let length = (pack.len() - start) as u32;
    pack.extend_from_slice(&length.to_le_bytes());
}

/// The header of a whole pack in memory.
pub(crate) fn header_of(
    cipher: &Cipher,
    pack: &Id,
    bytes: &[u8],
) -> Result<Vec<PackedBlob>, VaultError> {
    header_of_tail(cipher, pack, bytes, bytes.len() as u64)
}

/// The header of a pack of this size, by its last bytes.
pub(crate) fn header_of_tail(
    cipher: &Cipher,
    pack: &Id,
    tail: &[u8],
    size_bytes: u64,
) -> Result<Vec<PackedBlob>, VaultError> {
    let needed = header_length(pack, tail, size_bytes)? + LENGTH_FIELD_BYTES;
    let start = tail.len().checked_sub(needed).ok_or_else(|| {
        VaultError::damaged(FileKind::Pack, pack, "its header reaches into its blobs")
    })?;
    parse_trailer(cipher, pack, &tail[start..], size_bytes)
}

/// Hashes a pack of this size from `start` to its end, and gives its last bytes, from `start` at most: enough for
/// [`header_of_tail`]. Whatever the size is, no more than those and [`STEP_BYTES`] are in memory.
pub(crate) fn hash_to_end(
    storage: &dyn Storage,
    pack: &Id,
    start: u64,
    size_bytes: u64,
    hasher: &mut Sha256,
) -> Result<Vec<u8>, StorageError> {
    let name = FileKind::Pack.name(pack);
    let tail_start = size_bytes.saturating_sub(LONGEST_TRAILER_BYTES).max(start);
    let mut tail = Vec::new();
    let mut at = start;
    while at < size_bytes {
        let end = if at < tail_start {
            tail_start
        } else {
            size_bytes
        };
        let length = (end - at).min(STEP_BYTES) as usize;
        let bytes = storage.get_range(&name, at, length)?;
        hasher.update(&bytes);
        if at >= tail_start {
            tail.extend_from_slice(&bytes);
        }
        at += length as u64;
    }
    Ok(tail)
}

/// Reads a pack of this size to its end: its hash, and the last bytes of it.
pub(crate) fn hash_and_tail(
    storage: &dyn Storage,
    pack: &Id,
    size_bytes: u64,
) -> Result<(Id, Vec<u8>), StorageError> {
    let mut hasher = Sha256::new();
    let tail = hash_to_end(storage, pack, 0, size_bytes, &mut hasher)?;
    Ok((Id::new(hasher.finalize().into()), tail))
}

/// The length of the sealed header by the last bytes of the pack, checked against the size of the pack.
fn header_length(pack: &Id, tail: &[u8], size_bytes: u64) -> Result<usize, VaultError> {
    let damaged = |reason: &str| VaultError::damaged(FileKind::Pack, pack, reason);
    let field = tail
        .last_chunk::<LENGTH_FIELD_BYTES>()
        .ok_or_else(|| damaged("it is too short"))?;
    let length = u32::from_le_bytes(*field) as usize;
    let fits = (SEAL_OVERHEAD_BYTES..=LARGEST_HEADER_BYTES).contains(&length)
        && (length + LENGTH_FIELD_BYTES) as u64 <= size_bytes;
    if fits {
        Ok(length)
    } else {
        Err(damaged("the length of its header is wrong"))
    }
}

/// Opens a sealed header with its length field; the blobs must fill the rest of the pack exactly.
fn parse_trailer(
    cipher: &Cipher,
    pack: &Id,
    trailer: &[u8],
    size_bytes: u64,
) -> Result<Vec<PackedBlob>, VaultError> {
    let damaged = |reason: &str| VaultError::damaged(FileKind::Pack, pack, reason);
    let sealed = &trailer[..trailer.len() - LENGTH_FIELD_BYTES];
    let header = cipher
        .open(sealed)
        .map_err(|_| damaged("its header cannot be authenticated"))?;
    let blobs = parse_header(&header).ok_or_else(|| damaged("its header cannot be read"))?;
    let end = blobs
        .last()
        .map_or(0, |blob| u64::from(blob.offset) + u64::from(blob.length));
    if end + trailer.len() as u64 == size_bytes {
        Ok(blobs)
    } else {
        Err(damaged("its header does not describe all of it"))
    }
}

fn parse_header(mut header: &[u8]) -> Option<Vec<PackedBlob>> {
    let mut blobs = Vec::with_capacity(header.len() / COMPRESSED_ENTRY_BYTES + 1);
    let mut offset = 0_u32;
    while let Some((kind, rest)) = header.split_first() {
        let (length, rest) = split_u32(rest)?;
        let (uncompressed_length, rest) = match kind {
            0 | 1 => (None, rest),
            2 | 3 => {
                let (length, rest) = split_u32(rest)?;
                (Some(NonZeroU32::new(length)?), rest)
            }
            _ => return None,
        };
        let (id, rest) = rest.split_first_chunk::<{ Id::LENGTH_BYTES }>()?;
        if (length as usize) < SEAL_OVERHEAD_BYTES {
            return None;
        }
        blobs.push(PackedBlob {
            kind: if kind % 2 == 0 {
                BlobKind::Data
            } else {
                BlobKind::Tree
            },
            id: Id::new(*id),
            offset,
            length,
            uncompressed_length,
        });
        offset = offset.checked_add(length)?;
        header = rest;
    }
    Some(blobs)
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (field, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*field), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::num::NonZeroU32;

    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::{PackedBlob, header_of, pack_bytes, parse_header, push_trailer};
    use crate::blob::BlobKind;
    use crate::crypto::{Cipher, KeyBytes};
    use crate::id::Id;

    fn any_blobs(count: usize) -> impl Strategy<Value = Vec<PackedBlob>> {
        let blob = (
            any::<bool>(),
            any::<[u8; 32]>(),
            32_u32..200,
            any::<Option<NonZeroU32>>(),
        );
        proptest::collection::vec(blob, 0..count).prop_map(|blobs| {
            let mut offset = 0;
            blobs
                .into_iter()
                .map(|(is_tree, id, length, uncompressed_length)| {
                    offset += length;
                    PackedBlob {
                        kind: if is_tree {
                            BlobKind::Tree
                        } else {
                            BlobKind::Data
                        },
                        id: Id::new(id),
                        offset: offset - length,
                        length,
                        uncompressed_length,
                    }
                })
                .collect()
        })
    }

    fn pack_of(cipher: &Cipher, blobs: &[PackedBlob]) -> Vec<u8> {
        let body: u32 = blobs.iter().map(|blob| blob.length).sum();
        let mut pack = vec![7; body as usize];
        push_trailer(cipher, blobs, &mut pack);
        pack
    }

    proptest! {
        #[test]
        fn headers_round_trip(blobs in any_blobs(40)) {
            let cipher = Cipher::new(KeyBytes::generate());
            let pack = pack_of(&cipher, &blobs);
            let id = Id::hash(&pack);
            prop_assert_eq!(pack_bytes(&blobs), pack.len() as u64);
            prop_assert_eq!(header_of(&cipher, &id, &pack).unwrap(), blobs);
        }

        #[test]
        fn any_header_is_read_or_refused(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse_header(&header));
        }
    }

    #[test]
    fn every_flipped_byte_of_the_trailer_and_every_truncation_is_seen() {
        let cipher = Cipher::new(KeyBytes::generate());
        let blobs = [PackedBlob {
            kind: BlobKind::Tree,
            id: Id::hash(b"x"),
            offset: 0,
            length: 40,
            uncompressed_length: NonZeroU32::new(9),
        }];
        let pack = pack_of(&cipher, &blobs);
        let id = Id::hash(&pack);
        for position in 40..pack.len() {
            let mut wrong = pack.clone();
            wrong[position] ^= 0x04;
            assert!(header_of(&cipher, &id, &wrong).is_err(), "{position}");
        }
        for length in 0..pack.len() {
            assert!(
                header_of(&cipher, &id, &pack[..length]).is_err(),
                "{length}"
            );
        }
    }
}

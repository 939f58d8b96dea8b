//! One blob between plaintext and stored form: compressed when that helps, sealed, and verified by reading it back.

use std::fmt;
use std::num::NonZeroU32;

use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name};

use crate::crypto::{Cipher, IV_BYTES, SEAL_OVERHEAD_BYTES};

/// The level of zstd. It is restic's default too, as far as the two scales can be compared.
pub(crate) const COMPRESSION_LEVEL: i32 = 3;
/// Larger blobs are refused. Data blobs are at most 8 MiB; this bounds the tree of one huge folder.
pub(crate) const LARGEST_BLOB_BYTES: usize = 1 << 30;
/// Scratch buffers that grew beyond this for a long chunk or a huge tree are given back afterwards: each worker has four,
/// and most blobs are shorter.
const KEPT_BUFFER_BYTES: usize = 2 << 20;
/// Blobs from this size on are sampled before they are compressed; for shorter ones compressing is as good as sampling.
const SMALLEST_SAMPLED_BYTES: usize = 64 << 10;
/// Pieces that are sampled.
const SAMPLE_COUNT: usize = 8;
const SAMPLE_BYTES: usize = 4 << 10;

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// A tree.
    Tree,
}

impl BlobKind {
    /// The word in index files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tree => "tree",
        }
    }
}

impl fmt::Display for BlobKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The contexts and buffers of one thread that saves or reads blobs. Made once per thread and used again.
pub struct BlobScratch {
    compressor: CCtx<'static>,
    decompressor: DCtx<'static>,
    /// The stored form: compressed straight to its place and sealed there. What is beyond its end is rubbish, kept so
    /// that it need not be cleared for each blob.
    sealed: Vec<u8>,
    /// What verification or reading decrypted, and decompressed.
    opened: Vec<u8>,
    plaintext: Vec<u8>,
    /// The JSON of a tree on its way to a blob.
    pub(crate) tree_json: Vec<u8>,
}

impl fmt::Debug for BlobScratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BlobScratch")
    }
}

impl Default for BlobScratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A blob that could not be put into or brought back from its stored form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlobError {
    /// Wrong key or wrong bytes.
    #[error("authentication failed")]
    Authentication,
    /// The decompressor gave up.
    #[error("decompression failed: {0}")]
    Decompression(&'static str),
    /// The decompressed length is not what the index says.
    #[error("its length is {found} bytes where the index says {expected}")]
    Length { expected: usize, found: usize },
    /// Reading back what was just made gave other bytes.
    #[error("it did not read back as it was written")]
    Verify,
}

/// The stored form of a blob, in the scratch buffers.
pub(crate) struct SealedBlob<'a> {
    pub(crate) bytes: &'a [u8],
    /// `None` when it is stored as it is.
    pub(crate) uncompressed_length: Option<NonZeroU32>,
}

/// The stored form in `BlobScratch::sealed`: how much of it, and the length before compression.
#[derive(Clone, Copy)]
struct Sealed {
    length_bytes: usize,
    uncompressed_length: Option<NonZeroU32>,
}

impl BlobScratch {
    /// Contexts and empty buffers. They grow to about three times the largest blob that passes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            compressor: CCtx::create(),
            decompressor: DCtx::create(),
            sealed: Vec::new(),
            opened: Vec::new(),
            plaintext: Vec::new(),
            tree_json: Vec::new(),
        }
    }

    /// Compresses and seals `plaintext`, and reads the result back to compare.
    pub(crate) fn seal_verified(
        &mut self,
        cipher: &Cipher,
        plaintext: &[u8],
    ) -> Result<SealedBlob<'_>, BlobError> {
        let sealed = self.seal(cipher, plaintext);
        self.verify(cipher, plaintext, sealed)?;
        Ok(SealedBlob {
            bytes: &self.sealed[..sealed.length_bytes],
            uncompressed_length: sealed.uncompressed_length,
        })
    }

    fn seal(&mut self, cipher: &Cipher, plaintext: &[u8]) -> Sealed {
        self.shrink(plaintext.len());
        let compressed_length = self.compress(plaintext);
        let body_bytes = compressed_length.unwrap_or(plaintext.len());
        let length_bytes = body_bytes + SEAL_OVERHEAD_BYTES;
        if compressed_length.is_none() {
            grow(&mut self.sealed, length_bytes);
            self.sealed[IV_BYTES..IV_BYTES + body_bytes].copy_from_slice(plaintext);
        }
        cipher.seal_in_place(&mut self.sealed[..length_bytes]);
        Sealed {
            length_bytes,
            uncompressed_length: compressed_length
                .and_then(|_| NonZeroU32::new(plaintext.len() as u32)),
        }
    }

    /// Compresses to where the ciphertext will be. `None` when that does not help, or zstd gave up: the blob is stored
    /// as it is.
    fn compress(&mut self, plaintext: &[u8]) -> Option<usize> {
        if plaintext.is_empty() || self.is_incompressible(plaintext) {
            return None;
        }
        let room_bytes = compress_bound(plaintext.len());
        grow(&mut self.sealed, room_bytes + SEAL_OVERHEAD_BYTES);
        let room = &mut self.sealed[IV_BYTES..IV_BYTES + room_bytes];
        self.compressor
            .compress(room, plaintext, COMPRESSION_LEVEL)
            .ok()
            .filter(|&length| length < plaintext.len())
    }

    /// Whether samples of a long blob do not get smaller at all: archives, films, encrypted files. A few short pieces
    /// from all over tell that in a thirtieth of the time.
    fn is_incompressible(&mut self, plaintext: &[u8]) -> bool {
        if plaintext.len() < SMALLEST_SAMPLED_BYTES {
            return false;
        }
        let mut samples = [0; SAMPLE_BYTES * SAMPLE_COUNT];
        let distance = (plaintext.len() - SAMPLE_BYTES) / (SAMPLE_COUNT - 1);
        for (number, sample) in samples.chunks_exact_mut(SAMPLE_BYTES).enumerate() {
            sample.copy_from_slice(&plaintext[number * distance..][..SAMPLE_BYTES]);
        }
        let room_bytes = compress_bound(samples.len());
        grow(&mut self.sealed, room_bytes);
        self.compressor
            .compress(
                &mut self.sealed[..room_bytes],
                &samples[..],
                COMPRESSION_LEVEL,
            )
            .is_ok_and(|length| length >= samples.len())
    }

    fn verify(
        &mut self,
        cipher: &Cipher,
        plaintext: &[u8],
        sealed: Sealed,
    ) -> Result<(), BlobError> {
        let bytes = &self.sealed[..sealed.length_bytes];
        let is_same = match sealed.uncompressed_length {
            None => cipher.opens_to(bytes, plaintext),
            Some(length) => {
                let opened = cipher.open_to(bytes, &mut self.opened);
                opened.map_err(|_| BlobError::Authentication)?;
                let again = &mut self.plaintext;
                decompress(&mut self.decompressor, &self.opened, length, again)?;
                Ok(*again == plaintext)
            }
        };
        match is_same {
            Ok(true) => Ok(()),
            Ok(false) => Err(BlobError::Verify),
            Err(_) => Err(BlobError::Authentication),
        }
    }

    /// The plaintext of a stored blob, in the scratch buffers until the next call.
    pub(crate) fn open(
        &mut self,
        cipher: &Cipher,
        stored: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<&[u8], BlobError> {
        self.shrink(stored.len());
        cipher
            .open_to(stored, &mut self.opened)
            .map_err(|_| BlobError::Authentication)?;
        match uncompressed_length {
            None => Ok(&self.opened),
            Some(length) => {
                decompress(
                    &mut self.decompressor,
                    &self.opened,
                    length,
                    &mut self.plaintext,
                )?;
                Ok(&self.plaintext)
            }
        }
    }

    /// As [`BlobScratch::open`], but the plaintext goes to `out` from `start` on; gives its length. `out` is made longer
    /// where that is needed, never shorter.
    pub(crate) fn open_at(
        &mut self,
        cipher: &Cipher,
        stored: &[u8],
        uncompressed_length: Option<NonZeroU32>,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<usize, BlobError> {
        let Some(length) = uncompressed_length else {
            let length_bytes = stored
                .len()
                .checked_sub(SEAL_OVERHEAD_BYTES)
                .ok_or(BlobError::Authentication)?;
            grow(out, start + length_bytes);
            return cipher
                .open_into(stored, &mut out[start..start + length_bytes])
                .map(|()| length_bytes)
                .map_err(|_| BlobError::Authentication);
        };
        self.shrink(stored.len());
        cipher
            .open_to(stored, &mut self.opened)
            .map_err(|_| BlobError::Authentication)?;
        let expected = length.get() as usize;
        if expected > LARGEST_BLOB_BYTES {
            return Err(BlobError::Length { expected, found: 0 });
        }
        grow(out, start + expected);
        let found = self
            .decompressor
            .decompress(&mut out[start..start + expected], &self.opened);
        match found.map_err(|code| BlobError::Decompression(get_error_name(code)))? {
            found if found == expected => Ok(found),
            found => Err(BlobError::Length { expected, found }),
        }
    }

    /// What the last successful [`BlobScratch::open`] gave.
    pub(crate) fn opened(&self, uncompressed_length: Option<NonZeroU32>) -> &[u8] {
        match uncompressed_length {
            None => &self.opened,
            Some(_) => &self.plaintext,
        }
    }

    /// Gives back what a former huge blob left, unless this one is as large.
    fn shrink(&mut self, needed_bytes: usize) {
        if needed_bytes > KEPT_BUFFER_BYTES {
            return;
        }
        for buffer in [&mut self.sealed, &mut self.opened, &mut self.plaintext] {
            if buffer.capacity() > KEPT_BUFFER_BYTES {
                buffer.clear();
                buffer.shrink_to(KEPT_BUFFER_BYTES);
            }
        }
    }
}

/// Makes a buffer at least so long.
fn grow(buffer: &mut Vec<u8>, length_bytes: usize) {
    if buffer.len() < length_bytes {
        buffer.resize(length_bytes, 0);
    }
}

fn decompress(
    context: &mut DCtx<'static>,
    compressed: &[u8],
    length: NonZeroU32,
    out: &mut Vec<u8>,
) -> Result<(), BlobError> {
    let expected = length.get() as usize;
    if expected > LARGEST_BLOB_BYTES {
        return Err(BlobError::Length { expected, found: 0 });
    }
    out.clear();
    out.reserve(expected);
    let found = context
        .decompress(out, compressed)
        .map_err(|code| BlobError::Decompression(get_error_name(code)))?;
    if found == expected {
        Ok(())
    } else {
        Err(BlobError::Length { expected, found })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::num::NonZeroU32;

    use super::{BlobError, BlobScratch};
    use crate::crypto::{Cipher, KeyBytes, SEAL_OVERHEAD_BYTES};

    #[test]
    fn blobs_round_trip_and_compress_only_when_it_helps() {
        let cipher = Cipher::new(KeyBytes::generate());
        let mut scratch = BlobScratch::new();
        let random: Vec<u8> = (0..100_000).map(|_| rand::random()).collect();
        let check = |scratch: &mut BlobScratch, plaintext: &[u8], is_compressed: bool| {
            let sealed = scratch.seal_verified(&cipher, plaintext).unwrap();
            let (bytes, length) = (sealed.bytes.to_vec(), sealed.uncompressed_length);
            assert_eq!(length.is_some(), is_compressed);
            assert!(bytes.len() <= plaintext.len() + SEAL_OVERHEAD_BYTES);
            assert_eq!(scratch.open(&cipher, &bytes, length).unwrap(), plaintext);
            let mut out = vec![1; 10];
            let found = scratch.open_at(&cipher, &bytes, length, &mut out, 7);
            assert_eq!(found, Ok(plaintext.len()));
            assert_eq!(
                (&out[..7], &out[7..][..plaintext.len()]),
                (&[1; 7][..], plaintext)
            );
        };
        check(&mut scratch, b"", false);
        check(&mut scratch, b"a", false);
        check(&mut scratch, &[0; 100_000], true);
        check(&mut scratch, &random, false);
        check(&mut scratch, &vec![7; 20 << 20], true);
        check(&mut scratch, b"small again", false);
        assert!(scratch.plaintext.capacity() <= super::KEPT_BUFFER_BYTES);
    }

    /// Samples decide only where they cannot be wrong by much: all pieces must be free of any gain.
    #[test]
    fn only_blobs_without_any_gain_are_stored_uncompressed_by_samples() {
        let cipher = Cipher::new(KeyBytes::generate());
        let mut scratch = BlobScratch::new();
        let random: Vec<u8> = (0..1 << 20).map(|_| rand::random()).collect();
        assert!(scratch.is_incompressible(&random));
        let check = |scratch: &mut BlobScratch, text_bytes: usize| {
            let mut half = random.clone();
            half[random.len() - text_bytes..].fill(b'x');
            assert!(!scratch.is_incompressible(&half));
            let sealed = scratch.seal_verified(&cipher, &half).unwrap();
            assert!(sealed.uncompressed_length.is_some());
            assert!(sealed.bytes.len() < half.len() - text_bytes / 2);
        };
        check(&mut scratch, 512 << 10);
        check(&mut scratch, 64 << 10);
        assert!(!scratch.is_incompressible(&vec![0; 1 << 20]));
        assert!(!scratch.is_incompressible(&random[..1000]));
    }

    #[test]
    fn a_wrong_length_in_the_index_is_an_error_and_allocates_no_more_than_it_says() {
        let cipher = Cipher::new(KeyBytes::generate());
        let mut scratch = BlobScratch::new();
        let sealed = scratch
            .seal_verified(&cipher, &[0; 1000])
            .unwrap()
            .bytes
            .to_vec();
        for wrong in [1, 999, 1001, 1 << 31] {
            let length = NonZeroU32::new(wrong);
            assert!(scratch.open(&cipher, &sealed, length).is_err(), "{wrong}");
            let mut out = Vec::new();
            let found = scratch.open_at(&cipher, &sealed, length, &mut out, 0);
            assert!(found.is_err(), "{wrong}");
            assert!(out.len() <= 1001, "{wrong}");
        }
        let length = NonZeroU32::new(1000);
        assert_eq!(
            scratch.open(&cipher, &sealed[1..], length),
            Err(BlobError::Authentication)
        );
        assert!(scratch.open(&cipher, &sealed, length).is_ok());
    }

    /// T4 of the history of failures: what the compressor made is decoded and compared before it is stored.
    #[test]
    fn t04_wrong_output_of_the_compressor_is_seen_before_upload() {
        let cipher = Cipher::new(KeyBytes::generate());
        let mut scratch = BlobScratch::new();
        let plaintext = vec![1; 5000];
        let length = scratch.seal(&cipher, &plaintext);
        assert!(length.uncompressed_length.is_some());
        assert!(scratch.verify(&cipher, &plaintext, length).is_ok());
        // A plaintext that changed in memory after it was hashed, and a stored form that changed before upload.
        let mut other = plaintext.clone();
        other[4999] = 2;
        assert_eq!(
            scratch.verify(&cipher, &other, length),
            Err(BlobError::Verify)
        );
        let middle = length.length_bytes / 2;
        scratch.sealed[middle] ^= 1;
        assert_eq!(
            scratch.verify(&cipher, &plaintext, length),
            Err(BlobError::Authentication)
        );
    }
}

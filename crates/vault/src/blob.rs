//! One blob between plaintext and stored form: compressed when that helps, sealed, and verified by reading it back.

use std::fmt;
use std::num::NonZeroU32;

use zstd::zstd_safe::{CCtx, DCtx, compress_bound};

use crate::crypto::Cipher;

/// The level of zstd. It is restic's default too, as far as the two scales can be compared.
pub(crate) const COMPRESSION_LEVEL: i32 = 3;
/// Larger blobs are refused. Data blobs are at most 8 MiB; this bounds the tree of one huge folder.
pub(crate) const LARGEST_BLOB_BYTES: usize = 1 << 30;
/// Scratch buffers that grew beyond this for a long chunk or a huge tree are given back afterwards: each worker has four,
/// and most blobs are shorter.
const KEPT_BUFFER_BYTES: usize = 2 << 20;

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
    /// Compressed plaintext.
    compressed: Vec<u8>,
    /// The stored form.
    sealed: Vec<u8>,
    /// What verification decrypted, and decompressed.
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

impl BlobScratch {
    /// Contexts and empty buffers. They grow to about three times the largest blob that passes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            compressor: CCtx::create(),
            decompressor: DCtx::create(),
            compressed: Vec::new(),
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
        let uncompressed_length = self.seal(cipher, plaintext);
        self.verify(cipher, plaintext, uncompressed_length)?;
        Ok(SealedBlob {
            bytes: &self.sealed,
            uncompressed_length,
        })
    }

    fn seal(&mut self, cipher: &Cipher, plaintext: &[u8]) -> Option<NonZeroU32> {
        self.shrink(plaintext.len());
        self.sealed.clear();
        self.compressed.clear();
        self.compressed.reserve(compress_bound(plaintext.len()));
        let result = self
            .compressor
            .compress(&mut self.compressed, plaintext, COMPRESSION_LEVEL);
        match (result, NonZeroU32::new(plaintext.len() as u32)) {
            (Ok(length), Some(original)) if length < plaintext.len() => {
                cipher.seal(&self.compressed, &mut self.sealed);
                Some(original)
            }
            // Not smaller, or zstd gave up: the blob is stored as it is.
            _ => {
                cipher.seal(plaintext, &mut self.sealed);
                None
            }
        }
    }

    fn verify(
        &mut self,
        cipher: &Cipher,
        plaintext: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<(), BlobError> {
        let Self {
            sealed,
            opened,
            plaintext: again,
            decompressor,
            ..
        } = self;
        cipher
            .open_to(sealed, opened)
            .map_err(|_| BlobError::Authentication)?;
        let read_back: &[u8] = match uncompressed_length {
            None => opened,
            Some(length) => {
                decompress(decompressor, opened, length, again)?;
                again
            }
        };
        if read_back == plaintext {
            Ok(())
        } else {
            Err(BlobError::Verify)
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
        for buffer in [
            &mut self.compressed,
            &mut self.sealed,
            &mut self.opened,
            &mut self.plaintext,
        ] {
            if buffer.capacity() > KEPT_BUFFER_BYTES {
                buffer.clear();
                buffer.shrink_to(KEPT_BUFFER_BYTES);
            }
        }
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
        .map_err(|code| BlobError::Decompression(zstd::zstd_safe::get_error_name(code)))?;
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
        };
        check(&mut scratch, b"", false);
        check(&mut scratch, b"a", false);
        check(&mut scratch, &[0; 100_000], true);
        check(&mut scratch, &random, false);
        check(&mut scratch, &vec![7; 20 << 20], true);
        check(&mut scratch, b"small again", false);
        assert!(scratch.plaintext.capacity() <= super::KEPT_BUFFER_BYTES);
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
        assert!(scratch.verify(&cipher, &plaintext, length).is_ok());
        // A plaintext that changed in memory after it was hashed, and a stored form that changed before upload.
        let mut other = plaintext.clone();
        other[4999] = 2;
        assert_eq!(
            scratch.verify(&cipher, &other, length),
            Err(BlobError::Verify)
        );
        let middle = scratch.sealed.len() / 2;
        scratch.sealed[middle] ^= 1;
        assert_eq!(
            scratch.verify(&cipher, &plaintext, length),
            Err(BlobError::Authentication)
        );
    }
}

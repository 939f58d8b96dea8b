//! Padding of the last packs of a backup, so that their sizes tell little about what was added.
//!
//! A pack that is not full is grown by one random blob, which nothing refers to, to the next size of Padmé (Nikitin et
//! al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019): sizes then leak
//! O(log log n) bits, for at most 12 % and, from a megabyte on, less than 5 %.

use rand::RngExt;
use storage::Storage;

use super::packer::FullPack;
use crate::blob::BlobKind;
use crate::crypto::{Cipher, SEAL_OVERHEAD_BYTES};
use crate::error::VaultError;
use crate::id::Id;
use crate::pack::{PackedBlob, entry_bytes};

/// A padding blob has at least so many random bytes, so that no two have the same id.
const SMALLEST_PADDING_BYTES: usize = 32;
/// A tree without nodes: what a program finds that looks into every tree blob.
const EMPTY_TREE: &[u8] = b"{\"nodes\":[]}";
/// What may follow a JSON text.
const BLANKS: [u8; 4] = *b" \t\n\r";

/// Adds the padding blob.
pub(super) fn pad(
    pack: &mut FullPack,
    storage: &dyn Storage,
    cipher: &Cipher,
) -> Result<(), VaultError> {
    let Some(kind) = pack.blobs().first().map(|blob| blob.kind) else {
        return Ok(());
    };
    let fixed = pack.size_with_trailer() + entry_bytes(false) + SEAL_OVERHEAD_BYTES;
    let smallest = match kind {
        BlobKind::Data => SMALLEST_PADDING_BYTES,
        // Each blank carries two bits.
        BlobKind::Tree => EMPTY_TREE.len() + SMALLEST_PADDING_BYTES * 4,
    };
    let plaintext = padding(kind, padme(fixed + smallest) - fixed);
    let mut stored = Vec::new();
    cipher.seal(&plaintext, &mut stored);
    pack.push(
        storage,
        PackedBlob {
            kind,
            id: Id::hash(&plaintext),
            offset: 0,
            length: stored.len() as u32,
            uncompressed_length: None,
        },
        &stored,
    )
}

/// Random bytes, or for a pack of trees an empty tree with random blanks after it.
fn padding(kind: BlobKind, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut rng = rand::rng();
    rng.fill(bytes.as_mut_slice());
    if kind == BlobKind::Tree {
        let (tree, blanks) = bytes.split_at_mut(EMPTY_TREE.len());
        tree.copy_from_slice(EMPTY_TREE);
        for byte in blanks {
            *byte = BLANKS[usize::from(*byte & 3)];
        }
    }
    bytes
}

/// The blobs of a pack of this size but for its padding. Nothing but its size tells that a pack is padded: a pack that
/// has such a size by chance loses its last blob here, if that is uncompressed, which costs storing that blob again.
pub(super) fn without_padding(blobs: &[PackedBlob], pack_bytes: usize) -> &[PackedBlob] {
    match blobs.split_last() {
        Some((last, others))
            if !others.is_empty()
                && last.uncompressed_length.is_none()
                && padme(pack_bytes) == pack_bytes =>
        {
            others
        }
        _ => blobs,
    }
}

/// The next size of Padmé: as many low bits are zero as leave log2(log2(size)) + 1 significant ones.
fn padme(size: usize) -> usize {
    let exponent = size.max(2).ilog2();
    let significant = exponent.max(1).ilog2() + 1;
    let mask = (1 << exponent.saturating_sub(significant)) - 1;
    (size + mask) & !mask
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{BlobKind, Cipher, FullPack, Id, PackedBlob, pad, padding, padme};
    use crate::crypto::KeyBytes;
    use crate::tree::Tree;

    #[test]
    fn padme_sizes() {
        let check = |size: usize, expected: usize| assert_eq!(padme(size), expected, "{size}");
        check(1, 1);
        check(9, 10);
        check(1000, 1024);
        check(1025, 1088);
        check(1 << 20, 1 << 20);
        check((1 << 20) + 1, (1 << 20) + (1 << 15));
        for size in 100..100_000 {
            let padded = padme(size);
            assert!(padded >= size && padded - size <= size * 12 / 100, "{size}");
        }
    }

    #[test]
    fn padded_packs_have_padme_sizes_and_their_padding_is_a_blob_of_its_kind() {
        let cipher = Cipher::new(KeyBytes::generate());
        for kind in [BlobKind::Data, BlobKind::Tree] {
            for length in [33, 1000, 5000, 70_000] {
                let mut pack = FullPack::new(Vec::new());
                let blob = PackedBlob {
                    kind,
                    id: Id::hash(b"x"),
                    offset: 0,
                    length,
                    uncompressed_length: None,
                };
                let storage = storage::Memory::new();
                pack.push(&storage, blob, &vec![0; length as usize])
                    .unwrap();
                pad(&mut pack, &storage, &cipher).unwrap();
                assert_eq!(pack.blobs().len(), 2);
                assert!(pack.blobs().iter().all(|blob| blob.kind == kind));
                assert_eq!(padme(pack.size_with_trailer()), pack.size_with_trailer());
            }
        }
        let tree = padding(BlobKind::Tree, 500);
        assert_eq!(Tree::decode(&tree).unwrap(), Tree::default());
        assert_ne!(tree, padding(BlobKind::Tree, 500));
    }
}

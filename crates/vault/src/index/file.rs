//! The JSON of an index file.

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Deserialize;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::pack::PackedBlob;
use crate::tree::{push_decimal, push_id};

/// A pack as an index file lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedPack {
    pub(crate) id: Id,
    pub(crate) blobs: Vec<PackedBlob>,
}

/// What one index file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexFile {
    pub(crate) packs: Vec<IndexedPack>,
    pub(crate) marked_packs: Vec<Id>,
}

#[derive(Deserialize)]
struct FileJson<'a> {
    #[serde(borrow)]
    packs: Option<Vec<PackJson<'a>>>,
    #[serde(default)]
    packs_to_delete: Option<Vec<MarkedJson>>,
}

#[derive(Deserialize)]
struct PackJson<'a> {
    id: Id,
    #[serde(borrow)]
    blobs: Option<Vec<BlobJson<'a>>>,
}

/// A pack that rustic marked; only its id matters here.
#[derive(Deserialize)]
struct MarkedJson {
    id: Id,
}

#[derive(Deserialize)]
struct BlobJson<'a> {
    id: Id,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    offset: u32,
    length: u32,
    #[serde(default)]
    uncompressed_length: u32,
}

/// The JSON of an index of these packs.
pub(crate) fn encode(packs: &[IndexedPack]) -> Vec<u8> {
    let blob_count: usize = packs.iter().map(|pack| pack.blobs.len()).sum();
    let mut out = Vec::with_capacity(64 + packs.len() * 100 + blob_count * 160);
    out.extend_from_slice(b"{\"packs\":[");
    for (index, pack) in packs.iter().enumerate() {
        out.extend_from_slice(if index == 0 {
            b"{\"id\":"
        } else {
            b",{\"id\":"
        });
        push_id(&pack.id, &mut out);
        out.extend_from_slice(b",\"blobs\":[");
        for (index, blob) in pack.blobs.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_blob(blob, &mut out);
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    out
}

fn push_blob(blob: &PackedBlob, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    push_id(&blob.id, out);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(blob.kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"offset\":");
    push_decimal(u64::from(blob.offset), out);
    out.extend_from_slice(b",\"length\":");
    push_decimal(u64::from(blob.length), out);
    if let Some(length) = blob.uncompressed_length {
        out.extend_from_slice(b",\"uncompressed_length\":");
        push_decimal(u64::from(length.get()), out);
    }
    out.push(b'}');
}

/// Reads the JSON of the index file `id`.
pub(crate) fn decode(id: &Id, json: &[u8]) -> Result<IndexFile, VaultError> {
    let damaged = |reason: String| VaultError::damaged(FileKind::Index, id, reason);
    let file: FileJson<'_> =
        serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    let packs = file
        .packs
        .unwrap_or_default()
        .into_iter()
        .map(|pack| {
            let blobs = pack.blobs.unwrap_or_default();
            let blobs: Option<Vec<PackedBlob>> = blobs.into_iter().map(packed_blob).collect();
            let blobs = blobs.ok_or_else(|| damaged("unknown type of blob".to_owned()))?;
            Ok(IndexedPack { id: pack.id, blobs })
        })
        .collect::<Result<_, VaultError>>()?;
    Ok(IndexFile {
        packs,
        marked_packs: file
            .packs_to_delete
            .into_iter()
            .flatten()
            .map(|marked| marked.id)
            .collect(),
    })
}

fn packed_blob(blob: BlobJson<'_>) -> Option<PackedBlob> {
    let kind = match &*blob.kind {
        "data" => BlobKind::Data,
        "tree" => BlobKind::Tree,
        _ => return None,
    };
    Some(PackedBlob {
        kind,
        id: blob.id,
        offset: blob.offset,
        length: blob.length,
        uncompressed_length: NonZeroU32::new(blob.uncompressed_length),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::num::NonZeroU32;

    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::{IndexFile, IndexedPack, decode, encode};
    use crate::blob::BlobKind;
    use crate::id::Id;
    use crate::pack::PackedBlob;

    fn any_pack() -> impl Strategy<Value = IndexedPack> {
        let blob = (
            any::<bool>(),
            any::<[u8; 32]>(),
            any::<(u32, u32)>(),
            any::<Option<NonZeroU32>>(),
        )
            .prop_map(
                |(is_tree, id, (offset, length), uncompressed_length)| PackedBlob {
                    kind: if is_tree {
                        BlobKind::Tree
                    } else {
                        BlobKind::Data
                    },
                    id: Id::new(id),
                    offset,
                    length,
                    uncompressed_length,
                },
            );
        (any::<[u8; 32]>(), proptest::collection::vec(blob, 0..10)).prop_map(|(id, blobs)| {
            IndexedPack {
                id: Id::new(id),
                blobs,
            }
        })
    }

    proptest! {
        #[test]
        fn files_round_trip(packs in proptest::collection::vec(any_pack(), 0..6)) {
            let file = decode(&Id::default(), &encode(&packs)).unwrap();
            prop_assert_eq!(file, IndexFile { packs, marked_packs: Vec::new() });
        }

        #[test]
        fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            drop(decode(&Id::default(), &text));
        }
    }

    #[test]
    fn files_of_other_programs() {
        let id = Id::hash(b"x");
        let marked = format!(
            r#"{{"supersedes":["{id}"],"packs":[],"packs_to_delete":[{{"id":"{id}","time":"2024-01-01T00:00:00Z","blobs":[]}}]}}"#
        );
        let file = decode(&id, marked.as_bytes()).unwrap();
        assert_eq!(file.marked_packs, [id]);
        assert!(file.packs.is_empty());
        assert_eq!(
            decode(&id, b"{\"packs\":null}").unwrap(),
            IndexFile::default()
        );
        for wrong in [
            "",
            "[]",
            "{\"packs\":[{}]}",
            "{\"packs\":[{\"id\":\"1\",\"blobs\":[]}]}",
        ] {
            assert!(decode(&id, wrong.as_bytes()).is_err(), "{wrong}");
        }
        let odd = format!(
            r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"odd","offset":0,"length":1}}]}}]}}"#
        );
        assert!(decode(&id, odd.as_bytes()).is_err());
    }
}

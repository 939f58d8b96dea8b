//! The JSON of an index file.

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Deserialize;

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::pack::{PackedBlob, pack_bytes};
use crate::time::Time;
use crate::tree::{push_decimal, push_id};

use super::canonical;
use super::journal::{JournalJson, PruneJournal};

/// A pack as an index file lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedPack {
    pub(crate) id: Id,
    pub(crate) blobs: Vec<PackedBlob>,
}

/// A pack that a prune marked for deletion, in the fields that rustic has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkedPack {
    pub(crate) id: Id,
    /// When it was marked; `None` when the file does not tell.
    pub(crate) time: Option<Time>,
    /// What it held, so that it can be put back without reading it.
    pub(crate) blobs: Vec<PackedBlob>,
}

/// What one index file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexFile {
    pub(crate) packs: Vec<IndexedPack>,
    pub(crate) marked_packs: Vec<MarkedPack>,
    pub(crate) journal: Option<PruneJournal>,
}

#[derive(Deserialize)]
struct FileJson<'a> {
    #[serde(borrow)]
    packs: Option<Vec<PackJson<'a>>>,
    #[serde(default, borrow)]
    packs_to_delete: Option<Vec<MarkedJson<'a>>>,
    #[serde(default)]
    strongroom_prune: Option<JournalJson>,
}

#[derive(Deserialize)]
struct PackJson<'a> {
    id: Id,
    #[serde(borrow)]
    blobs: Option<Vec<BlobJson<'a>>>,
}

#[derive(Deserialize)]
struct MarkedJson<'a> {
    id: Id,
    #[serde(default, borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    blobs: Option<Vec<BlobJson<'a>>>,
}

#[derive(Deserialize)]
struct BlobJson<'a> {
    id: Id,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    offset: u32,
    length: u32,
    /// rustic writes `null` for a blob that is not compressed.
    #[serde(default)]
    uncompressed_length: Option<u32>,
}

/// The JSON of an index of these packs.
pub(crate) fn encode(packs: &[IndexedPack]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + packs.len() * 100 + blob_count(packs) * 160);
    push_packs(packs, &mut out);
    out.push(b'}');
    out
}

/// The JSON of a whole index file. Lists that are empty are left out, but for the one of packs.
pub(crate) fn encode_file(file: &IndexFile) -> Result<Vec<u8>, VaultError> {
    let mut out = Vec::new();
    push_packs(&file.packs, &mut out);
    for (number, pack) in file.marked_packs.iter().enumerate() {
        out.extend_from_slice(if number == 0 {
            b",\"packs_to_delete\":["
        } else {
            b","
        });
        push_pack_start(&pack.id, &pack.blobs, &mut out);
        if let Some(time) = pack.time {
            out.extend_from_slice(b",\"time\":\"");
            time.push_text(&mut out);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"size\":");
        push_decimal(pack_bytes(&pack.blobs), &mut out);
        out.push(b'}');
    }
    if !file.marked_packs.is_empty() {
        out.push(b']');
    }
    if let Some(journal) = &file.journal {
        out.extend_from_slice(b",\"strongroom_prune\":");
        serde_json::to_writer(&mut out, &JournalJson::of(journal))
            .map_err(|error| VaultError::damaged(FileKind::Index, "(new)", error))?;
    }
    out.push(b'}');
    Ok(out)
}

/// How many blobs the packs have.
pub(crate) fn blob_count(packs: &[IndexedPack]) -> usize {
    packs.iter().map(|pack| pack.blobs.len()).sum()
}

/// The object up to the end of the list of packs; the object is left open.
fn push_packs(packs: &[IndexedPack], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"packs\":[");
    for (number, pack) in packs.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_pack_start(&pack.id, &pack.blobs, out);
        out.push(b'}');
    }
    out.push(b']');
}

/// A pack with its blobs; the object is left open.
fn push_pack_start(id: &Id, blobs: &[PackedBlob], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    push_id(id, out);
    out.extend_from_slice(b",\"blobs\":[");
    for (number, blob) in blobs.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_blob(blob, out);
    }
    out.push(b']');
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
    if let Some(packs) = canonical::decode(json) {
        return Ok(IndexFile {
            packs,
            ..IndexFile::default()
        });
    }
    decode_any(id, json)
}

/// Reads it in any form of JSON, and with fields that only some programs write.
fn decode_any(id: &Id, json: &[u8]) -> Result<IndexFile, VaultError> {
    let damaged = |reason: String| VaultError::damaged(FileKind::Index, id, reason);
    let file: FileJson<'_> =
        serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    let packed = |blobs: Option<Vec<BlobJson<'_>>>| -> Result<Vec<PackedBlob>, VaultError> {
        let blobs: Option<Vec<PackedBlob>> = blobs.into_iter().flatten().map(packed_blob).collect();
        blobs.ok_or_else(|| damaged("unknown type of blob".to_owned()))
    };
    let packs = file.packs.unwrap_or_default().into_iter();
    let packs = packs.map(|pack| {
        let blobs = packed(pack.blobs)?;
        Ok(IndexedPack { id: pack.id, blobs })
    });
    let marked_packs = file.packs_to_delete.unwrap_or_default().into_iter();
    let marked_packs = marked_packs.map(|pack| {
        Ok(MarkedPack {
            id: pack.id,
            time: pack.time.and_then(|time| time.parse().ok()),
            blobs: packed(pack.blobs)?,
        })
    });
    Ok(IndexFile {
        packs: packs.collect::<Result<_, VaultError>>()?,
        marked_packs: marked_packs.collect::<Result<_, VaultError>>()?,
        journal: file.strongroom_prune.map(JournalJson::into_journal),
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
        uncompressed_length: blob.uncompressed_length.and_then(NonZeroU32::new),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::num::NonZeroU32;

    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::{
        IndexFile, IndexedPack, MarkedPack, canonical, decode, decode_any, encode, encode_file,
    };
    use crate::blob::BlobKind;
    use crate::id::Id;
    use crate::index::journal::{LockHolder, LockRecord, PruneJournal};
    use crate::pack::PackedBlob;
    use crate::time::Time;

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

    /// How many bytes go, and what comes in their place: mostly what such a text is made of.
    fn mutation() -> impl Strategy<Value = (usize, Vec<u8>)> {
        let piece = proptest::sample::select(vec![
            "",
            " ",
            "0",
            "7",
            "a",
            "A",
            "-1",
            "4294967296",
            "00",
            "1e2",
            ",",
            ":",
            "[",
            "]",
            "{",
            "}",
            "\"",
            "\\",
            "\n",
            "null",
            "tree",
            "data",
            ",\"uncompressed_length\":0",
            ",\"offset\":1",
            "\"blobs\":[]",
            "{\"id\":",
            "\u{e9}",
        ]);
        (0_usize..5, piece).prop_map(|(length, piece)| (length, piece.as_bytes().to_vec()))
    }

    proptest! {
        #[test]
        fn files_round_trip(packs in proptest::collection::vec(any_pack(), 0..6)) {
            let file = decode(&Id::default(), &encode(&packs)).unwrap();
            let expected = IndexFile { packs, ..IndexFile::default() };
            prop_assert_eq!(&file, &expected);
            prop_assert_eq!(decode(&Id::default(), &encode_file(&expected).unwrap()).unwrap(), expected);
        }

        #[test]
        fn marks_and_journals_round_trip(
            packs in proptest::collection::vec(any_pack(), 0..3),
            marked in proptest::collection::vec((any_pack(), any::<Option<u32>>()), 0..6),
            has_journal in any::<bool>(),
        ) {
            let marked_packs: Vec<MarkedPack> = marked.into_iter().map(|(pack, seconds)| MarkedPack {
                id: pack.id,
                time: seconds.map(|seconds| Time::new(i64::from(seconds), 7)),
                blobs: pack.blobs,
            }).collect();
            let journal = has_journal.then(|| PruneJournal {
                records: vec![LockRecord {
                    time: Time::new(5, 0),
                    holders: vec![LockHolder {
                        hostname: "h\"".to_owned(),
                        username: "u".to_owned(),
                        pid: 1,
                        uid: 2,
                        gid: 3,
                    }],
                }],
                snapshots: marked_packs.iter().map(|pack| pack.id).collect(),
                seen: marked_packs.iter().map(|pack| (pack.id, Time::new(9, 1))).collect(),
            });
            let file = IndexFile { packs, marked_packs, journal };
            prop_assert_eq!(decode(&Id::default(), &encode_file(&file).unwrap()).unwrap(), file);
        }

        #[test]
        fn the_plain_form_is_read_as_by_serde(
            packs in proptest::collection::vec(any_pack(), 0..4),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), mutation()), 0..3),
        ) {
            let mut text = encode(&packs);
            prop_assert_eq!(canonical::decode(&text), Some(packs));
            for (place, (old_length, new)) in changes {
                let start = place.index(text.len());
                let end = (start + old_length).min(text.len());
                text.splice(start..end, new);
            }
            if let Some(packs) = canonical::decode(&text) {
                let expected = IndexFile { packs, ..IndexFile::default() };
                prop_assert_eq!(decode_any(&Id::default(), &text).unwrap(), expected);
            }
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
        let [marked] = file.marked_packs.as_slice() else {
            panic!("{file:?}")
        };
        assert_eq!(
            (marked.id, marked.time),
            (id, Some(Time::new(1_704_067_200, 0)))
        );
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
        let plain = format!(
            r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":0,"length":40,"uncompressed_length":null}}]}}]}}"#
        );
        let file = decode(&id, plain.as_bytes()).unwrap();
        assert_eq!(file.packs[0].blobs[0].uncompressed_length, None);
        let odd = format!(
            r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"odd","offset":0,"length":1}}]}}]}}"#
        );
        assert!(decode(&id, odd.as_bytes()).is_err());
    }
}

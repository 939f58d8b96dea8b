//! What anybody may have written: every parser of stored bytes, fed with random bytes and with valid ones that were
//! changed. None may panic, and none may make more out of an input than the input has room for.
//!
//! `STRONGROOM_FUZZ_CASES` sets the number of cases of each test.

#![allow(clippy::unwrap_used, clippy::panic)]

mod corpus;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, proptest};
use storage::{Memory, Storage};

use crate::blob::BlobKind;
use crate::crypto::{Cipher, KeyBytes};
use crate::id::Id;
use crate::index::file::{self, IndexFile, IndexedPack, MarkedPack};
use crate::key::{KdfCost, KeyOptions};
use crate::layout::FileKind;
use crate::lock::LockKind;
use crate::node::{Node, NodeKind, Xattr};
use crate::pack::{PackedBlob, header_of, push_trailer};
use crate::repository::Repository;
use crate::secret::Secret;
use crate::snapshot::{Snapshot, SnapshotSummary};
use crate::snapshot_json::SnapshotFields;
use crate::testing::create;
use crate::time::Time;
use crate::tree::Tree;
use crate::unpacked;

/// Cases of each test, unless the variable says otherwise.
const CASES: u32 = 300;

fn cases() -> ProptestConfig {
    let wanted = std::env::var("STRONGROOM_FUZZ_CASES").ok();
    ProptestConfig::with_cases(wanted.and_then(|text| text.parse().ok()).unwrap_or(CASES))
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Edit {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Repeat(usize, usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let word = proptest::sample::select(vec![
        "null",
        "[]",
        "{}",
        "\"\"",
        "-1",
        "99999999999999999999",
        "1e309",
        "true",
        "\\u0000",
        "\\ud800",
        "\"",
        "[[[[",
        "0",
    ]);
    let edit = (0..6_u8, any::<usize>(), 0_usize..40, any::<u8>(), word).prop_map(
        |(kind, at, length, byte, word)| match kind {
            0 | 1 => Edit::Set(at, byte),
            2 => Edit::Insert(at, word.as_bytes().to_vec()),
            3 => Edit::Insert(at, vec![byte; length]),
            4 => Edit::Cut(at, length),
            _ => Edit::Repeat(at, length, usize::from(byte)),
        },
    );
    proptest::collection::vec(edit, 1..5)
}

fn apply(edits: &[Edit], valid: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for edit in edits {
        let place = |at: usize| at % (bytes.len() + 1);
        match edit {
            Edit::Set(at, byte) => {
                let at = place(*at);
                if let Some(found) = bytes.get_mut(at) {
                    *found = *byte;
                }
            }
            Edit::Insert(at, more) => {
                let at = place(*at);
                bytes.splice(at..at, more.iter().copied());
            }
            Edit::Cut(at, length) => {
                let at = place(*at);
                let end = (at + length).min(bytes.len());
                bytes.drain(at..end);
            }
            Edit::Repeat(at, length, times) => {
                let at = place(*at);
                let end = (at + length).min(bytes.len());
                let part = bytes[at..end].to_vec();
                for _ in 0..*times {
                    bytes.splice(at..at, part.iter().copied());
                }
            }
        }
    }
    bytes
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..2000)
}

/// Random bytes, or `valid` changed.
fn input(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), noise(), edits()).prop_map(move |(kind, noise, edits)| {
        if kind < 64 {
            noise
        } else {
            apply(&edits, &valid)
        }
    })
}

fn packed(number: u8, is_compressed: bool) -> PackedBlob {
    PackedBlob {
        kind: if number.is_multiple_of(2) {
            BlobKind::Data
        } else {
            BlobKind::Tree
        },
        id: Id::hash(&[number]),
        offset: u32::from(number) * 100,
        length: 100,
        uncompressed_length: if is_compressed {
            std::num::NonZeroU32::new(500)
        } else {
            None
        },
    }
}

fn valid_index() -> Vec<u8> {
    let blobs: Vec<PackedBlob> = (0..5)
        .map(|number| packed(number, number % 3 == 0))
        .collect();
    let journal = crate::index::journal::PruneJournal {
        records: Vec::new(),
        snapshots: vec![Id::hash(b"s")],
        seen: vec![(Id::hash(b"p"), Time::new(5, 5))],
    };
    file::encode_file(&IndexFile {
        packs: vec![IndexedPack {
            id: Id::hash(b"a"),
            blobs: blobs.clone(),
        }],
        marked_packs: vec![MarkedPack {
            id: Id::hash(b"b"),
            time: Some(Time::new(1, 0)),
            blobs,
        }],
        journal: Some(journal),
    })
    .unwrap()
}

fn valid_tree() -> Vec<u8> {
    let file = Node {
        name: b"name \xff".to_vec(),
        kind: NodeKind::File,
        mode: 0o100_644,
        size: 5,
        content: vec![Id::hash(b"c")],
        xattrs: vec![Xattr {
            name: b"user.x".to_vec(),
            value: vec![1, 2, 3],
        }],
        ..Node::default()
    };
    let link = Node {
        name: b"z".to_vec(),
        kind: NodeKind::Symlink,
        link_target: b"\xfe/there".to_vec(),
        ..Node::default()
    };
    Tree::from_nodes(vec![file, link]).encode().unwrap()
}

fn valid_snapshot() -> Vec<u8> {
    Snapshot {
        time: Time::new(1_700_000_000, 5),
        utc_offset_seconds: 3600,
        paths: vec!["/a".to_owned()],
        tags: vec!["t".to_owned()],
        original: Some(Id::hash(b"o")),
        summary: Some(SnapshotSummary::default()),
        ..Snapshot::default()
    }
    .encode()
    .unwrap()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn index_files(bytes in input(valid_index())) {
        if let Ok(file) = file::decode(&Id::default(), &bytes) {
            let marked = file.marked_packs.iter().map(|pack| pack.blobs.len());
            let blobs: usize = marked.sum::<usize>() + file::blob_count(&file.packs);
            // A blob takes more than 100 bytes of text, a pack more than 70.
            prop_assert!(blobs * 100 <= bytes.len());
            prop_assert!((file.packs.len() + file.marked_packs.len()) * 70 <= bytes.len());
            // What was read can be written, and says the same.
            let again = file::decode(&Id::default(), &file::encode_file(&file).unwrap());
            prop_assert!(again.is_ok());
        }
    }

    #[test]
    fn trees(bytes in input(valid_tree())) {
        if let Ok(tree) = Tree::decode(&bytes) {
            prop_assert!(tree.nodes.len() * 2 <= bytes.len());
            drop(tree.encode());
        }
    }

    #[test]
    fn snapshots(bytes in input(valid_snapshot())) {
        if let Ok(snapshot) = Snapshot::decode(&Id::default(), &bytes) {
            prop_assert!(snapshot.paths.len() + snapshot.tags.len() <= bytes.len());
            prop_assert!(Snapshot::decode(&Id::default(), &snapshot.encode().unwrap()).is_ok());
        }
        if let Ok(mut fields) = SnapshotFields::read(&Id::default(), &bytes) {
            fields.add_tag("x");
            fields.set_tree(&Id::default());
            fields.set_original(&Id::default());
            drop(fields.to_json());
        }
    }

    /// Sealed by the right key, as a forger with the key or a bug of another program would leave it.
    #[test]
    fn pack_headers(header in input(Vec::new()), count in 0_u8..6, edits in edits(), is_raw in any::<bool>()) {
        let cipher = Cipher::new(KeyBytes::generate());
        let id = Id::default();
        let mut pack = vec![7; usize::from(count) * 100];
        let blobs: Vec<PackedBlob> = (0..count).map(|number| packed(number, number % 2 == 1)).collect();
        if is_raw {
            push_trailer(&cipher, &blobs, &mut pack);
            prop_assert!(header_of(&cipher, &id, &pack).is_ok());
            pack = apply(&edits, &pack);
        } else {
            let start = pack.len();
            cipher.seal(&header, &mut pack);
            let length = (pack.len() - start) as u32;
            pack.extend_from_slice(&length.to_le_bytes());
        }
        if let Ok(found) = header_of(&cipher, &id, &pack) {
            prop_assert!(found.len() * 37 <= pack.len());
        }
    }

    /// Files that are no packs, before their JSON is looked at.
    #[test]
    fn sealed_files(plaintext in input(b"\x02{}".to_vec()), sealed_edits in edits(), is_edited in any::<bool>()) {
        let cipher = Cipher::new(KeyBytes::generate());
        let mut sealed = Vec::new();
        cipher.seal(&plaintext, &mut sealed);
        if is_edited {
            sealed = apply(&sealed_edits, &sealed);
        }
        drop(unpacked::open(&cipher, FileKind::Snapshot, "x", &sealed));
    }
}

/// A repository whose lock, key and config files are made by the test.
fn repository() -> (Memory, Repository) {
    let memory = Memory::new();
    let repository = create(Arc::new(memory.clone()));
    (memory, repository)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn locks(bytes in input(
        br#"{"time":"2024-01-01T00:00:00Z","exclusive":true,"hostname":"h","username":"u","pid":77,"uid":1,"gid":2,"process_start":"x:1"}"#.to_vec()
    )) {
        let (memory, repository) = repository();
        repository.save_json(FileKind::Lock, &bytes).unwrap();
        drop(repository.lock_holders(Time::now(), Duration::from_secs(60)));
        drop(repository.lock(LockKind::Shared));
        drop(repository.unlock(crate::lock::UnlockScope::Stale));
        // A lock that cannot be read stays in the way until somebody says that nobody is there.
        repository.unlock(crate::lock::UnlockScope::All).unwrap();
        prop_assert!(memory.list("locks").unwrap().is_empty());
    }

    #[test]
    fn configs(bytes in input(
        format!(r#"{{"version":2,"id":"{}","chunker_polynomial":"3da3358b4dc173"}}"#, Id::hash(b"c")).into_bytes()
    )) {
        let (memory, repository) = repository();
        let sealed = unpacked::seal(repository.cipher(), FileKind::Config, &bytes).unwrap();
        memory.overwrite("config", sealed);
        drop(crate::testing::open(Arc::new(memory)));
    }

    #[test]
    fn key_files(edits in edits(), noise in noise(), is_noise in any::<bool>()) {
        let memory = Memory::new();
        let options = KeyOptions {
            cost: KdfCost::Cheapest,
            username: "u".to_owned(),
            hostname: "h".to_owned(),
        };
        let password = Secret::from("x");
        let id = crate::key::save(&memory, &KeyBytes::generate(), &password, &options).unwrap();
        let name = FileKind::Key.name(&id);
        let valid = memory.get(&name).unwrap();
        let bytes = if is_noise { noise } else { apply(&edits, &valid) };
        memory.overwrite(&name, bytes);
        drop(crate::key::labels(&memory));
        drop(crate::key::unlock(&memory, &password));
    }
}

/// Nesting that a parser which calls itself would not survive.
#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{\"nodes\":", "{\"packs\":[{\"id\":"] {
        let text = open.repeat(200_000).into_bytes();
        assert!(Tree::decode(&text).is_err());
        assert!(file::decode(&Id::default(), &text).is_err());
        assert!(Snapshot::decode(&Id::default(), &text).is_err());
        assert!(SnapshotFields::read(&Id::default(), &text).is_err());
    }
}

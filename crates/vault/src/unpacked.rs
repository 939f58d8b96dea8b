//! Files that are not packs: snapshots, index files, locks and the config, sealed as a whole.
//!
//! The plaintext is JSON, or `0x02` followed by zstd of the JSON. The name of such a file is the SHA-256 of its stored
//! bytes, so a wrong byte is seen before anything is decrypted.

use std::io::Read;

use storage::{ErrorKind, Storage};

use crate::blob::COMPRESSION_LEVEL;
use crate::crypto::Cipher;
use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;

/// First byte of a compressed plaintext; JSON begins with `{` or `[`.
const COMPRESSED: u8 = 2;
/// No honest file of this kind expands to more: it bounds what a forged one can make us allocate.
const LARGEST_PLAINTEXT_BYTES: u64 = 1 << 30;

/// Memory that is taken because a file says so, before anything of it was seen.
const LARGEST_HINT_BYTES: u64 = 16 << 20;

/// Seals `json`, stores it under its hash and reads it back: a storage that loses or cuts what it was given is found out
/// before anybody relies on it.
pub(crate) fn save(
    storage: &dyn Storage,
    cipher: &Cipher,
    kind: FileKind,
    json: &[u8],
) -> Result<Id, VaultError> {
    let sealed = seal(cipher, kind, json)?;
    let id = Id::hash(&sealed);
    storage.put(&kind.name(&id), &sealed)?;
    read_sealed(storage, kind, &id)?;
    Ok(id)
}

/// The stored form of `json`. The config stays readable for programs that do not know compression.
pub(crate) fn seal(cipher: &Cipher, kind: FileKind, json: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut sealed = Vec::new();
    match kind {
        FileKind::Config => cipher.seal(json, &mut sealed),
        _ => {
            let mut plaintext = vec![COMPRESSED];
            let compressed = zstd::bulk::compress(json, COMPRESSION_LEVEL)
                .map_err(|error| VaultError::damaged(kind, "(new)", error))?;
            plaintext.extend_from_slice(&compressed);
            cipher.seal(&plaintext, &mut sealed);
        }
    }
    Ok(sealed)
}

/// Reads the file, compares its hash with its name, opens it and gives the JSON.
///
/// Wrong bytes are asked for a second time before they count as damage: stores have given wrong bytes once and the right
/// ones later.
pub(crate) fn load(
    storage: &dyn Storage,
    cipher: &Cipher,
    kind: FileKind,
    id: &Id,
) -> Result<Vec<u8>, VaultError> {
    let sealed = read_sealed(storage, kind, id)?;
    open(cipher, kind, &id.to_hex(), &sealed)
}

/// The stored bytes, which have the hash that their name says.
fn read_sealed(storage: &dyn Storage, kind: FileKind, id: &Id) -> Result<Vec<u8>, VaultError> {
    let read = || match kind.read(storage, id) {
        // Too few bytes, or more than such a file can have.
        Err(error) if error.kind == ErrorKind::Corrupt => {
            let source = error.source.as_ref();
            let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
            Err(VaultError::damaged(kind, id, reason))
        }
        read => Ok(read?),
    };
    let mut sealed = read()?;
    if Id::hash(&sealed) != *id {
        sealed = read()?;
    }
    if Id::hash(&sealed) != *id {
        return Err(VaultError::damaged(
            kind,
            id,
            "the content does not have this hash",
        ));
    }
    Ok(sealed)
}

/// The JSON in stored bytes.
pub(crate) fn open(
    cipher: &Cipher,
    kind: FileKind,
    name: &str,
    sealed: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let plaintext = cipher
        .open(sealed)
        .map_err(|error| VaultError::damaged(kind, name, error))?;
    match plaintext.first() {
        Some(b'{' | b'[') => Ok(plaintext),
        Some(&COMPRESSED) => {
            let failed = |error: std::io::Error| VaultError::damaged(kind, name, error);
            let decoder = zstd::stream::Decoder::new(&plaintext[1..]).map_err(failed)?;
            // What the frame says of its length is a hint: it saves the buffer from growing to twice what is needed.
            let hint_bytes = match zstd::zstd_safe::get_frame_content_size(&plaintext[1..]) {
                Ok(Some(length)) => length.min(LARGEST_HINT_BYTES),
                _ => 0,
            };
            let mut json = Vec::with_capacity(hint_bytes as usize + 1);
            decoder
                .take(LARGEST_PLAINTEXT_BYTES)
                .read_to_end(&mut json)
                .map_err(failed)?;
            Ok(json)
        }
        _ => Err(VaultError::damaged(kind, name, "unknown encoding")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use super::{load, open, save, seal};
    use crate::check::{CheckOptions, ReadData, check};
    use crate::crypto::{Cipher, KeyBytes};
    use crate::error::VaultError;
    use crate::id::Id;
    use crate::layout::FileKind;
    use crate::lock::{LockKind, UnlockScope};
    use crate::prune::Run;
    use crate::repair::repair_packs;
    use crate::testing;
    use crate::writer::{Writer, WriterOptions};
    use storage::{LocalFolder, Memory, Storage};

    #[test]
    fn both_encodings_are_read() {
        let cipher = Cipher::new(KeyBytes::generate());
        for json in ["{}", "[1,2,3]"] {
            let mut plain = Vec::new();
            cipher.seal(json.as_bytes(), &mut plain);
            let packed = seal(&cipher, FileKind::Snapshot, json.as_bytes()).unwrap();
            for sealed in [plain, packed] {
                assert_eq!(
                    open(&cipher, FileKind::Snapshot, "x", &sealed).unwrap(),
                    json.as_bytes()
                );
            }
        }
        for wrong in [&b""[..], b"\x02", b"\x02rubbish", b"\x03{}", b"x"] {
            let mut sealed = Vec::new();
            cipher.seal(wrong, &mut sealed);
            assert!(
                open(&cipher, FileKind::Snapshot, "x", &sealed).is_err(),
                "{wrong:?}"
            );
        }
    }

    /// A file of holes has any size and takes no room on the disk. Whoever may write to the storage can put one there,
    /// without a key: it must not cost the memory of every job.
    #[test]
    fn files_of_any_size_cost_no_memory() {
        const SIZE_BYTES: u64 = 200 << 30;
        let folder = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalFolder::new(folder.path()));
        let repository = testing::create(Arc::clone(&storage));
        let id = Id::hash(b"of any size");
        let grow = |name: &str| {
            let path = folder.path().join(name);
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path);
            file.unwrap().set_len(SIZE_BYTES).unwrap();
        };
        let kinds = [
            FileKind::Key,
            FileKind::Lock,
            FileKind::Snapshot,
            FileKind::Index,
        ];
        for kind in kinds {
            grow(&kind.name(&id));
            let refused = repository.load_json(kind, &id).unwrap_err();
            assert!(matches!(refused, VaultError::Damaged { .. }), "{refused:?}");
            let words = refused.to_string();
            assert!(words.contains(&SIZE_BYTES.to_string()), "{words}");
        }
        grow(&FileKind::Pack.name(&id));
        let repository = testing::open(storage).unwrap();
        let refused = repository.lock(LockKind::Shared).unwrap_err();
        assert!(matches!(refused, VaultError::Damaged { .. }), "{refused:?}");
        assert_eq!(repository.unlock(UnlockScope::All).unwrap(), 1);
        let options = CheckOptions {
            read_data: ReadData::All,
            thread_count: 1,
        };
        let report = check(&repository, &options, &|_| {}).unwrap();
        assert_eq!(report.error_count, 3, "{:?}", report.errors);
        let writer =
            Writer::open(repository.clone(), Arc::default(), WriterOptions::default()).unwrap();
        let packs = repository.list_packs().unwrap();
        assert_eq!(writer.adopt_unindexed_packs(&packs, &|| false).unwrap(), 0);
        repository
            .storage()
            .delete(&FileKind::Index.name(&id))
            .unwrap();
        let report = repair_packs(&repository, &[id], Run::Dry, &|_, _| {}).unwrap();
        assert_eq!((report.damaged.len(), report.unreadable.len()), (0, 1));
        grow(FileKind::Config.folder());
        assert!(testing::open(Arc::clone(repository.storage())).is_err());
    }

    #[test]
    fn a_file_under_a_wrong_name_is_refused() {
        let cipher = Cipher::new(KeyBytes::generate());
        let storage = Memory::new();
        let id = save(&storage, &cipher, FileKind::Lock, b"{}").unwrap();
        assert_eq!(load(&storage, &cipher, FileKind::Lock, &id).unwrap(), b"{}");
        let other = Id::hash(b"other");
        let bytes = storage.get(&FileKind::Lock.name(&id)).unwrap();
        storage.overwrite(&FileKind::Lock.name(&other), bytes);
        assert!(load(&storage, &cipher, FileKind::Lock, &other).is_err());
    }
}

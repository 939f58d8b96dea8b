//! Makes a damaged repository usable again without destroying anything.
//!
//! Whatever a repair replaces is first written anew, then moved below `quarantine/` under its old name: a copy is put there
//! and read back before the original is removed. Nobody but a person removes anything from there. Each repair takes the
//! repository for itself alone, and says in a dry run what it would do.
//!
//! Three repairs, best in this order, each useful by itself:
//! - [`repair_index`]: index files that cannot be read, entries of packs that are not there, packs that no index names or
//!   that are marked for deletion and needed;
//! - [`repair_packs`]: packs that are damaged: what still reads is written anew;
//! - [`repair_snapshots`]: snapshots that name what is lost: written anew without those files and folders.

mod index;
mod marked;
mod packs;
mod snapshots;

use storage::ErrorKind;

use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::IndexedPack;
use crate::index::{Index, IndexBuilder};
use crate::index_files::{NewIndexFiles, each_index_file, list_twice};
use crate::layout::FileKind;
use crate::lock::LockGuard;
use crate::repository::Repository;

pub use index::{IndexRepair, repair_index};
pub use packs::{PackRepair, repair_packs};
pub use snapshots::{SnapshotRepair, SnapshotsRepair, repair_snapshots};

/// Where replaced files go.
const QUARANTINE: &str = "quarantine";

/// The index by two listings: one that was cut would make blobs look lost. What only marked packs have is not.
fn load_index(repository: &Repository) -> Result<Index, VaultError> {
    let ids = list_twice(repository, FileKind::Index)?;
    let mut builder = IndexBuilder::default();
    each_index_file(repository, &ids, |id, file| {
        builder.add_file(&id, file);
        Ok(())
    })?;
    Ok(builder.build())
}

/// Moves a file out of the way. One that is gone already is no error; one that cannot be read stays where it is.
fn quarantine(
    repository: &Repository,
    lock: &LockGuard,
    kind: FileKind,
    id: &Id,
) -> Result<(), VaultError> {
    let storage = repository.storage();
    let name = kind.name(id);
    let Some(bytes) = steady_bytes(repository, kind, id)? else {
        return Ok(());
    };
    let kept = format!("{QUARANTINE}/{name}");
    match storage.put(&kept, &bytes) {
        // Another damage of the same file was moved there before: it must not be lost either.
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            let second = format!("{kept}-{}", Id::hash(&bytes).short());
            storage.put(&second, &bytes)?;
            compare(repository, kind, &second, &bytes)?;
        }
        Err(error) => return Err(error.into()),
        Ok(()) => compare(repository, kind, &kept, &bytes)?,
    }
    lock.ensure_held()?;
    match storage.delete(&name) {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The content of a file that is to be moved. Unless it is what its name says, it is read twice, and both must be the same:
/// a copy of bytes that were read wrong would stand for an original that is gone. `None` when there is no such file.
fn steady_bytes(
    repository: &Repository,
    kind: FileKind,
    id: &Id,
) -> Result<Option<Vec<u8>>, VaultError> {
    let read = || match kind.read(&**repository.storage(), id) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let first = read()?;
    if first.as_ref().is_none_or(|bytes| Id::hash(bytes) == *id) {
        return Ok(first);
    }
    let second = read()?;
    if first == second || second.as_ref().is_some_and(|bytes| Id::hash(bytes) == *id) {
        return Ok(second);
    }
    Err(VaultError::Refused {
        reason: format!("the storage gives other bytes for {kind} {id} each time it is asked"),
    })
}

fn compare(
    repository: &Repository,
    kind: FileKind,
    name: &str,
    bytes: &[u8],
) -> Result<(), VaultError> {
    if kind.read_named(&**repository.storage(), name)? == bytes {
        return Ok(());
    }
    Err(VaultError::Refused {
        reason: format!("the storage did not keep {name} as it was put"),
    })
}

/// What becomes of what index files say about a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Stays,
    Goes,
    /// Its mark for deletion goes: from now on it is one of the packs that stay.
    ComesBack,
}

/// Hands what these index files say to new ones, with the entries of packs changed as `entry_of` says, and gives those that
/// are to be moved away when the new ones are finished. Without new ones it only tells which these are.
fn rewrite(
    repository: &Repository,
    index_ids: &[Id],
    entry_of: &dyn Fn(&Id) -> Entry,
    mut new: Option<&mut NewIndexFiles<'_>>,
) -> Result<Vec<Id>, VaultError> {
    let mut replaced = Vec::new();
    each_index_file(repository, index_ids, |id, mut file| {
        let before = (file.packs.len(), file.marked_packs.len());
        file.packs.retain(|pack| entry_of(&pack.id) != Entry::Goes);
        let (mut back, mut marked) = (Vec::new(), Vec::new());
        for pack in file.marked_packs {
            match entry_of(&pack.id) {
                Entry::Stays => marked.push(pack),
                Entry::ComesBack => back.push(pack),
                Entry::Goes => {}
            }
        }
        if before == (file.packs.len(), marked.len()) {
            return Ok(());
        }
        replaced.push(id);
        let Some(new) = &mut new else {
            return Ok(());
        };
        if let Some(journal) = file.journal {
            new.put_journal(journal)?;
        }
        let back = back.into_iter().map(|pack| IndexedPack {
            id: pack.id,
            blobs: pack.blobs,
        });
        for pack in file.packs.into_iter().chain(back) {
            new.keep(pack)?;
        }
        for pack in marked {
            new.mark(pack)?;
        }
        Ok(())
    })?;
    Ok(replaced)
}

#[cfg(test)]
mod tests;

//! Reading the index files of a repository into an [`Index`].

use std::cell::RefCell;
use std::collections::HashSet;

use storage::{ErrorKind, Listed};

use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::{Index, IndexBuilder, file};
use crate::index_files::each_index_file_read;
use crate::layout::FileKind;

use super::Repository;

/// How often the index is read again when files of it went away meanwhile.
const TRIES: usize = 8;

/// A pack as the storage lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPack {
    /// Its name.
    pub id: Id,
    /// Its stored size.
    pub size_bytes: u64,
}

/// What a backup begins with, of [`Repository::load_index_for_backup`].
#[derive(Debug)]
pub struct IndexForBackup {
    /// Which blobs need not be stored again.
    pub index: Index,
    /// Packs that index files name and the storage lacks, in the order of their ids. Their blobs are not in the index.
    pub missing_packs: Vec<Id>,
    /// The packs that were there before the index was read.
    pub packs: Vec<ListedPack>,
}

impl Repository {
    /// Reads all index files. One that cannot be read is an error of the whole: what it names would look missing.
    pub fn load_index(&self) -> Result<Index, VaultError> {
        whole(self.load_index_and_damage()?)
    }

    /// The packs that are stored under the name that their id gives them, at this moment.
    pub(crate) fn list_packs(&self) -> Result<Vec<ListedPack>, VaultError> {
        let listed = self.storage().list(FileKind::Pack.folder())?;
        let pack = |listed: &Listed| {
            let id = FileKind::Pack.id_of(&listed.name)?;
            let size_bytes = listed.size_bytes;
            (listed.name == FileKind::Pack.name(&id)).then_some(ListedPack { id, size_bytes })
        };
        Ok(listed.iter().filter_map(pack).collect())
    }

    /// As [`Repository::load_index`], but the index knows of data blobs only that they are stored: enough to write a
    /// backup and to read trees, for a quarter of the memory. What is in packs that are missing counts as not stored, so that
    /// a backup stores it again.
    pub fn load_index_for_backup(&self) -> Result<IndexForBackup, VaultError> {
        // A listing may be short, or older than a pack that another backup has just put: what it lacks is asked for.
        let packs = self.list_packs()?;
        let listed: HashSet<&Id> = packs.iter().map(|pack| &pack.id).collect();
        let missing = RefCell::new(Vec::new());
        let is_there = |pack: &Id| {
            if listed.contains(pack) {
                return Ok(true);
            }
            match self.storage().size(&FileKind::Pack.name(pack)) {
                Ok(_) => Ok(true),
                Err(error) if error.kind == ErrorKind::NotFound => {
                    missing.borrow_mut().push(*pack);
                    Ok(false)
                }
                Err(error) => Err(error.into()),
            }
        };
        let index = whole(self.read_index_of(&IndexBuilder::for_backup, &is_there)?)?;
        drop(listed);
        let mut missing_packs = missing.into_inner();
        if !missing_packs.is_empty() {
            self.require_there()?;
            missing_packs.sort_unstable();
            missing_packs.dedup();
        }
        Ok(IndexForBackup {
            index,
            missing_packs,
            packs,
        })
    }

    /// As [`Repository::load_index`], for who reads trees and no data.
    pub fn load_tree_index(&self) -> Result<Index, VaultError> {
        whole(self.read_index(&IndexBuilder::for_trees)?)
    }

    /// As [`Repository::load_index_and_damage`], for who reads some of the blobs: a [`crate::Reader`] with this index
    /// reads an index file again when it needs it.
    pub fn load_index_to_restore(&self) -> Result<(Index, Vec<(Id, VaultError)>), VaultError> {
        self.read_index(&IndexBuilder::for_restore)
    }

    /// The data blobs of one index file.
    pub(crate) fn load_index_file(&self, id: &Id) -> Result<Index, VaultError> {
        let json = self.load_json(FileKind::Index, id)?;
        let mut builder = IndexBuilder::default();
        let mut file = file::decode(id, &json)?;
        let blobs = file.packs.iter_mut().map(|pack| &mut pack.blobs);
        let marked = file.marked_packs.iter_mut().map(|pack| &mut pack.blobs);
        for blobs in blobs.chain(marked) {
            blobs.retain(|blob| blob.kind == BlobKind::Data);
        }
        builder.add_file(id, file);
        Ok(builder.build())
    }

    /// Reads all index files that can be read, and says which cannot.
    ///
    /// A prune that runs beside this puts new index files before it removes old ones: when a listed one is gone, all is
    /// listed and read once more.
    pub fn load_index_and_damage(&self) -> Result<(Index, Vec<(Id, VaultError)>), VaultError> {
        self.read_index(&IndexBuilder::default)
    }

    pub(crate) fn read_index(
        &self,
        new_builder: &dyn Fn() -> IndexBuilder,
    ) -> Result<(Index, Vec<(Id, VaultError)>), VaultError> {
        self.read_index_of(new_builder, &|_| Ok(true))
    }

    fn read_index_of(
        &self,
        new_builder: &dyn Fn() -> IndexBuilder,
        is_wanted: PackFilter<'_>,
    ) -> Result<(Index, Vec<(Id, VaultError)>), VaultError> {
        for _ in 0..TRIES {
            let ids = self.list(FileKind::Index)?;
            let (builder, damaged) = self.read_index_files(&ids, new_builder(), is_wanted)?;
            let is_gone =
                |(_, error): &(Id, VaultError)| error.storage_kind() == Some(ErrorKind::NotFound);
            if !damaged.iter().any(is_gone) {
                return Ok((builder.build(), damaged));
            }
        }
        let ids = self.list(FileKind::Index)?;
        let (builder, damaged) = self.read_index_files(&ids, new_builder(), is_wanted)?;
        Ok((builder.build(), damaged))
    }

    fn read_index_files(
        &self,
        ids: &[Id],
        mut builder: IndexBuilder,
        is_wanted: PackFilter<'_>,
    ) -> Result<(IndexBuilder, Vec<(Id, VaultError)>), VaultError> {
        let mut damaged = Vec::new();
        each_index_file_read(self, ids, |id, read| {
            match read {
                Ok(mut file) => {
                    let mut wanted = Vec::with_capacity(file.packs.len());
                    for pack in file.packs {
                        if is_wanted(&pack.id)? {
                            wanted.push(pack);
                        }
                    }
                    file.packs = wanted;
                    builder.add_file(&id, file);
                }
                Err(error) => damaged.push((id, error)),
            }
            Ok(())
        })?;
        Ok((builder, damaged))
    }
}

/// Whether the blobs of a pack count.
type PackFilter<'a> = &'a dyn Fn(&Id) -> Result<bool, VaultError>;

/// The index, for who cannot do with a part of it.
fn whole((index, mut damaged): (Index, Vec<(Id, VaultError)>)) -> Result<Index, VaultError> {
    match damaged.pop() {
        Some((_, error)) => Err(error),
        None => Ok(index),
    }
}

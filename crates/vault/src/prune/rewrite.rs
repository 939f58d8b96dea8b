//! Writes index files anew: first the new ones, which are read back and must be listed, then the old ones go.
//!
//! At every moment the index files together name every pack that stays, whatever else they name twice. Nothing is looked up
//! by the order of files, so a run that ends between any two steps leaves a repository that every reader understands.

use std::collections::HashMap;

use storage::ErrorKind;

use super::decide::Fate;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::file::{self, IndexFile, IndexedPack, MarkedPack};
use crate::index::journal::PruneJournal;
use crate::index_files::{NewIndexFiles, each_index_file};
use crate::layout::FileKind;
use crate::lock::LockGuard;
use crate::repository::Repository;
use crate::time::Time;

/// An index file that is looked at anyway is joined with others when it has fewer blobs.
const SMALL_BLOB_COUNT: usize = 10_000;

/// What is to be written.
pub(super) struct Rewrite<'a> {
    pub(super) repository: &'a Repository,
    pub(super) lock: &'a LockGuard,
    /// The index files that were read; others are left alone.
    pub(super) index_ids: &'a [Id],
    /// Packs that do not stay as they are.
    pub(super) fates: &'a HashMap<Id, Fate>,
    /// Packs in index files that are marked no longer because they are in use.
    pub(super) is_live: &'a dyn Fn(&Id) -> bool,
    pub(super) now: Time,
    /// The journal as it shall be.
    pub(super) journal: Option<&'a PruneJournal>,
    /// Whether it differs from the one that is there.
    pub(super) is_journal_new: bool,
}

/// The index files of a rewrite that are new, and those that are gone.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) written: Vec<Id>,
    pub(super) removed: Vec<Id>,
    /// The new index file that holds the journal.
    pub(super) journal_id: Option<Id>,
}

impl Rewrite<'_> {
    /// Writes and removes what has to be. Nothing when nothing changes.
    pub(super) fn run(&self) -> Result<Rewritten, VaultError> {
        let mut affected = Vec::new();
        let mut small = Vec::new();
        each_index_file(self.repository, self.index_ids, |id, file| {
            if self.is_affected(&file) {
                affected.push(id);
            } else if entry_count(&file) < SMALL_BLOB_COUNT {
                small.push(id);
            }
            Ok(())
        })?;
        let unindexed = self.unindexed();
        if affected.is_empty() && unindexed.is_empty() && !self.is_journal_new {
            return Ok(Rewritten::default());
        }
        affected.append(&mut small);
        let mut new = NewIndexFiles::new(self.repository, self.lock);
        for id in unindexed {
            new.mark(MarkedPack {
                id,
                time: Some(self.now),
                blobs: Vec::new(),
            })?;
        }
        each_index_file(self.repository, &affected, |_, file| {
            self.add_to(&mut new, file)
        })?;
        let journal = self.journal.cloned();
        let journal_id = journal
            .map(|journal| new.put_journal(journal))
            .transpose()?;
        let written = new.finish()?;
        self.refuse_unlisted(&written)?;
        let mut removed = Vec::new();
        for id in affected {
            // The same content has the same name: such a file stays.
            if written.contains(&id) {
                continue;
            }
            self.lock.ensure_held()?;
            match self.repository.storage().delete(&FileKind::Index.name(&id)) {
                Ok(()) => removed.push(id),
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Rewritten {
            written,
            removed,
            journal_id,
        })
    }

    fn fate(&self, id: &Id) -> Fate {
        self.fates.get(id).copied().unwrap_or(Fate::Keep)
    }

    fn is_affected(&self, file: &IndexFile) -> bool {
        let changes_live = file
            .packs
            .iter()
            .any(|pack| matches!(self.fate(&pack.id), Fate::Mark | Fate::Drop | Fate::Delete));
        let changes_marked = file
            .marked_packs
            .iter()
            .any(|pack| (self.is_live)(&pack.id) || self.fate(&pack.id) != Fate::Wait);
        changes_live || changes_marked || (file.journal.is_some() && self.is_journal_new)
    }

    /// What becomes of the entries of an old index file.
    fn add_to(&self, new: &mut NewIndexFiles<'_>, file: IndexFile) -> Result<(), VaultError> {
        let now = Some(self.now);
        for IndexedPack { id, blobs } in file.packs {
            match self.fate(&id) {
                Fate::Mark => new.mark(MarkedPack {
                    id,
                    time: now,
                    blobs,
                })?,
                Fate::Drop | Fate::Delete => {}
                _ => new.keep(IndexedPack { id, blobs })?,
            }
        }
        for MarkedPack { id, time, blobs } in file.marked_packs {
            if (self.is_live)(&id) {
                continue;
            }
            let time = match self.fate(&id) {
                Fate::PutBack => {
                    new.keep(IndexedPack { id, blobs })?;
                    continue;
                }
                Fate::Drop | Fate::Delete => continue,
                Fate::MarkAgain => now,
                _ => time,
            };
            new.mark(MarkedPack { id, time, blobs })?;
        }
        Ok(())
    }

    fn unindexed(&self) -> Vec<Id> {
        let fates = self.fates.iter();
        let mut ids: Vec<Id> = fates
            .filter(|(_, fate)| **fate == Fate::MarkUnindexed)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// A storage that does not list what it was given is not one to remove anything from.
    fn refuse_unlisted(&self, written: &[Id]) -> Result<(), VaultError> {
        let listed = self.repository.list(FileKind::Index)?;
        match written.iter().find(|id| !listed.contains(id)) {
            None => Ok(()),
            Some(id) => Err(VaultError::Refused {
                reason: format!("the storage does not list index {id}, which was put just now"),
            }),
        }
    }
}

fn entry_count(file: &IndexFile) -> usize {
    let marked: usize = file.marked_packs.iter().map(|pack| pack.blobs.len()).sum();
    file::blob_count(&file.packs) + marked
}

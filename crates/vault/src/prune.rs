//! Removes what no snapshot needs, while others go on working.
//!
//! A prune takes a lock that others see as shared, so backups by any program go on. What it removes goes in two phases that
//! lie at least a grace apart: first a pack is *marked*, which takes it out of the index that other programs read and lists
//! it under `packs_to_delete` with the time, as rustic does; later, when nobody is left who may have read the old index, and
//! the snapshots read again still do not need it, its file is removed. A pack that is needed after all is put back.
//!
//! One run, in this order:
//! 1. look ([`scan`]): the locks of others first, then snapshots, packs, index files; walk every tree ([`used`]) and count
//!    what of each pack is needed ([`usage`]). Refuse when a needed blob is in no sound pack or a listing is short;
//! 2. decide ([`decide`], a pure function);
//! 3. remove the files of packs whose mark is ripe;
//! 4. write anew what is needed of packs with too much that is not ([`repack`]): new packs and index files are durable
//!    before anything else happens. Then look and decide once more;
//! 5. write new index files with the marks and without what is gone, then remove the old ones ([`rewrite`]);
//! 6. look at the locks and snapshots again. If somebody came since step 1, what was marked in this run is put back at once;
//! 7. note who holds locks now, in a journal that is an index file of its own.
//!
//! Why nothing that is needed is ever removed is argued in `docs/vault-format.md`, section "Prune". A kill between any two
//! steps leaves a repository that is whole for every reader, and the next run goes on.
//!
//! Memory: about 17 bytes for each needed blob, 48 for each tree blob, 120 for each pack, a few decoded index files, and
//! 16 for each copy of needed blobs that exist more than once.

mod decide;
mod options;
mod repack;
mod rewrite;
mod scan;
mod usage;
mod used;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use storage::ErrorKind;

use crate::error::VaultError;
use crate::id::Id;
use crate::index::journal::{LockRecord, PruneJournal};
use crate::index_files::each_index_file;
use crate::layout::FileKind;
use crate::lock::{BELIEVED_FOR, LockGuard, LockKind};
use crate::repository::Repository;
use crate::time::Time;

pub use options::{
    Deletion, Limit, OnPruneProgress, PackTotal, PruneOptions, PrunePhase, PruneProgress,
    PruneReport, Run,
};

use decide::{Facts, Fate};
use rewrite::{Rewrite, Rewritten};
use scan::Scan;
use usage::Usage;
use used::UsedBlobs;

/// Prunes. `now` is the time of this host's clock.
///
/// Errors leave everything that snapshots need in place. [`VaultError::Refused`] means that the repository or its storage
/// looks wrong in a way that removing could make worse.
pub fn prune(
    repository: &Repository,
    options: &PruneOptions,
    now: Time,
    on_progress: OnPruneProgress<'_>,
) -> Result<PruneReport, VaultError> {
    if options.run == Run::Real && !options.ignored_snapshots.is_empty() {
        return Err(VaultError::Refused {
            reason: "a prune that takes snapshots for gone which are there can only be tried"
                .to_owned(),
        });
    }
    let lock = repository.lock(match options.deletion {
        Deletion::TwoPhase => LockKind::Maintenance,
        Deletion::Instant => LockKind::Exclusive,
    })?;
    if options.run == Run::Real {
        // What is found is relied on: it must be as durable as what is written.
        repository.sync_what_is_there()?;
    }
    let pruner = Pruner {
        repository,
        options,
        now,
        lock: &lock,
        on_progress,
    };
    pruner.run()
}

struct Pruner<'a> {
    repository: &'a Repository,
    options: &'a PruneOptions,
    now: Time,
    lock: &'a LockGuard,
    on_progress: OnPruneProgress<'a>,
}

/// What was seen, and what follows.
struct View {
    scan: Scan,
    used: UsedBlobs,
    usage: Usage,
    fates: Vec<Fate>,
}

impl Pruner<'_> {
    fn run(&self) -> Result<PruneReport, VaultError> {
        let mut view = self.look(self.options, &HashSet::new())?;
        let mut report = self.report(&view);
        if self.options.run == Run::Dry {
            return Ok(report);
        }
        if self.options.deletion == Deletion::TwoPhase {
            self.refuse_resurrected(&mut view)?;
            self.delete(&mut view, &mut report)?;
        }
        if view.fates.contains(&Fate::Repack) {
            let is_wanted = |number: usize| view.fates[number] == Fate::Repack;
            repack::repack(
                self.repository,
                &view.scan,
                &view.usage,
                &view.used,
                is_wanted,
                self.lock,
                self.on_progress,
            )?;
            let repacked = report.repacked;
            let no_more = PruneOptions {
                max_unused: Limit::Unlimited,
                repack_smaller_than_bytes: 0,
                ..self.options.clone()
            };
            let repacked_ids = view.of_fate(Fate::Repack).map(|pack| pack.id).collect();
            view = self.look(&no_more, &repacked_ids)?;
            if self.options.deletion == Deletion::TwoPhase {
                // What was ripe is gone, or could not be removed.
                for fate in &mut view.fates {
                    if *fate == Fate::Delete {
                        *fate = Fate::Wait;
                    }
                }
            }
            let (deleted, failed) = (report.deleted, std::mem::take(&mut report.failed));
            report = self.report(&view);
            report.repacked = repacked;
            report.failed = failed;
            if self.options.deletion == Deletion::TwoPhase {
                // What was removed above is gone from the storage: the new look has it as entries without a file.
                report.deleted = deleted;
            }
        }
        let rewritten = self.rewrite(&view, &mut report)?;
        match self.options.deletion {
            Deletion::Instant => self.delete(&mut view, &mut report)?,
            Deletion::TwoPhase => self.look_back(&view, rewritten, &mut report)?,
        }
        Ok(report)
    }

    /// A lock of somebody else that was not refreshed for so long counts no more.
    fn believed_for(&self) -> Duration {
        BELIEVED_FOR.max(self.options.keep_delete)
    }

    fn look(&self, options: &PruneOptions, repacked: &HashSet<Id>) -> Result<View, VaultError> {
        let mut scan = scan::scan(self.repository, Time::now(), self.believed_for())?;
        if options.deletion == Deletion::Instant {
            // The exclusive lock is the only one.
            scan.holders.clear();
        }
        if let Some(journal) = &mut scan.journal {
            // One of the future, from a clock that was wrong, would stand for every mark that is made until then.
            journal.records.retain(|record| record.time <= self.now);
        }
        if !options.ignored_snapshots.is_empty() {
            scan.roots.clear();
            for (id, snapshot) in self.repository.snapshots()? {
                if !options.ignored_snapshots.contains(&id) {
                    scan.roots.push(snapshot.tree);
                }
            }
        }
        let trees = std::mem::take(&mut scan.trees);
        let used = used::used_blobs(self.repository, trees, &scan.roots, self.on_progress)?;
        let usage = usage::count(self.repository, &scan, &used, repacked)?;
        let records = scan.journal.iter().flat_map(|journal| &journal.records);
        let records: Vec<LockRecord> = records.cloned().collect();
        let facts = Facts {
            now: self.now,
            holders: &scan.holders,
            records: &records,
        };
        let fates = decide::decide(&scan.packs, &usage.packs, facts, options);
        Ok(View {
            scan,
            used,
            usage,
            fates,
        })
    }

    /// A pack that is to be removed must not have come back into the index since it was looked at.
    fn refuse_resurrected(&self, view: &mut View) -> Result<(), VaultError> {
        if !view.fates.contains(&Fate::Delete) {
            return Ok(());
        }
        let mut new_ids = self.repository.list(FileKind::Index)?;
        new_ids.retain(|id| !view.scan.index_ids.contains(id));
        each_index_file(self.repository, &new_ids, |_, file| {
            for pack in &file.packs {
                if let Some(&number) = view.scan.numbers.get(&pack.id)
                    && view.fates[number as usize] == Fate::Delete
                {
                    view.fates[number as usize] = Fate::Wait;
                }
            }
            Ok(())
        })
    }

    /// Removes the files of all packs that are to go. One that cannot be removed keeps its mark.
    fn delete(&self, view: &mut View, report: &mut PruneReport) -> Result<(), VaultError> {
        let numbers: Vec<usize> = (0..view.fates.len())
            .filter(|&number| view.fates[number] == Fate::Delete)
            .collect();
        let total = numbers.len() as u64;
        report.deleted = PackTotal::default();
        for (done, number) in numbers.into_iter().enumerate() {
            self.lock.ensure_held()?;
            let pack = &view.scan.packs[number];
            match self
                .repository
                .storage()
                .delete(&FileKind::Pack.name(&pack.id))
            {
                Ok(()) => report.deleted.add(pack.stored_bytes),
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => {
                    report.failed.push((pack.id, error.into()));
                    view.fates[number] = Fate::Wait;
                }
            }
            (self.on_progress)(PruneProgress {
                phase: PrunePhase::Delete,
                done: done as u64 + 1,
                total,
            });
        }
        Ok(())
    }

    /// Writes the index files anew as the fates say.
    fn rewrite(&self, view: &View, report: &mut PruneReport) -> Result<Rewritten, VaultError> {
        let journal = self.next_journal(view);
        let is_journal_new = journal != view.scan.journal || view.scan.journal_ids.len() > 1;
        let is_live = |id: &Id| view.pack(id).is_some_and(|pack| pack.is_live);
        let rewritten = Rewrite {
            repository: self.repository,
            lock: self.lock,
            index_ids: &view.scan.index_ids,
            fates: &view.changes(),
            is_live: &is_live,
            now: self.now,
            journal: journal.as_ref(),
            is_journal_new,
        }
        .run()?;
        report.index_files_written += rewritten.written.len();
        report.index_files_removed += rewritten.removed.len();
        Ok(rewritten)
    }

    /// The journal after this run's decisions, without the record of who holds locks now. `None` when there is nothing to
    /// remember.
    fn next_journal(&self, view: &View) -> Option<PruneJournal> {
        if self.options.deletion == Deletion::Instant {
            return None;
        }
        let old = view.scan.journal.clone().unwrap_or_default();
        let mut seen: Vec<(Id, Time)> = view
            .scan
            .packs
            .iter()
            .zip(&view.fates)
            .filter(|(_, fate)| matches!(fate, Fate::Defer | Fate::Note))
            // A time of the future, from a clock that was wrong, would never grow old.
            .map(|(pack, _)| {
                (
                    pack.id,
                    pack.seen.map_or(self.now, |seen| seen.min(self.now)),
                )
            })
            .collect();
        seen.sort_unstable();
        let marks = self.marks(view);
        let oldest = marks.iter().min().copied();
        // Records that no mark needs any more go, and so do holders that are gone.
        let mut records: Vec<LockRecord> = old
            .records
            .iter()
            .filter(|record| oldest.is_some_and(|oldest| record.time >= oldest))
            .cloned()
            .collect();
        for record in &mut records {
            record
                .holders
                .retain(|holder| view.scan.holders.contains(holder));
        }
        if marks.is_empty() && seen.is_empty() {
            return None;
        }
        Some(PruneJournal {
            records,
            snapshots: old.snapshots,
            seen,
        })
    }

    /// The times of all marks after this run's decisions.
    fn marks(&self, view: &View) -> Vec<Time> {
        let packs = view.scan.packs.iter().zip(&view.fates);
        packs
            .filter_map(|(pack, fate)| match fate {
                Fate::Mark | Fate::MarkAgain | Fate::MarkUnindexed => Some(self.now),
                Fate::Wait => Some(pack.mark.flatten().unwrap_or(self.now)),
                _ => None,
            })
            .collect()
    }

    /// After the marks are durable: puts back what was marked if somebody came meanwhile, and notes who holds locks.
    fn look_back(
        &self,
        view: &View,
        rewritten: Rewritten,
        report: &mut PruneReport,
    ) -> Result<(), VaultError> {
        let holders = self
            .repository
            .lock_holders(Time::now(), self.believed_for())?;
        let mut marks = self.marks(view);
        let mut journal = self.next_journal(view);
        let mut index_ids: Vec<Id> = view.scan.index_ids.clone();
        index_ids.retain(|id| !rewritten.removed.contains(id));
        index_ids.extend(&rewritten.written);
        let mut journal_ids = match rewritten.journal_id {
            Some(id) => vec![id],
            None if rewritten.written.is_empty() => view.scan.journal_ids.clone(),
            None => Vec::new(),
        };
        let came = holders
            .iter()
            .any(|holder| !view.scan.holders.contains(holder))
            || self
                .repository
                .list(FileKind::Snapshot)?
                .iter()
                .any(|id| view.scan.snapshots.binary_search(id).is_err());
        let hasty: HashMap<Id, Fate> = view
            .of_fate(Fate::Mark)
            .filter(|_| came && view.scan.holders.is_empty())
            .map(|pack| (pack.id, Fate::PutBack))
            .collect();
        if !hasty.is_empty() {
            // They are unneeded still: that was seen now.
            let seen = hasty.keys().map(|id| (*id, self.now));
            let next = journal.get_or_insert_default();
            next.seen.extend(seen);
            next.seen.sort_unstable();
            let again = Rewrite {
                repository: self.repository,
                lock: self.lock,
                index_ids: &index_ids,
                fates: &hasty,
                is_live: &|_| false,
                now: self.now,
                journal: journal.as_ref(),
                is_journal_new: true,
            }
            .run()?;
            report.index_files_written += again.written.len();
            report.index_files_removed += again.removed.len();
            report.deferred = std::mem::take(&mut report.marked);
            report.foreign_lock_count = holders.len();
            journal_ids = again.journal_id.into_iter().collect();
            let fresh = view.of_fate(Fate::Mark).count();
            // Each of them had the time of this run.
            for _ in 0..fresh {
                if let Some(place) = marks.iter().position(|time| *time == self.now) {
                    marks.swap_remove(place);
                }
            }
        }
        let Some(mut journal) = journal else {
            return Ok(());
        };
        let is_recorded = |mark: &Time| {
            let mut times = journal.records.iter().map(|record| record.time);
            // What this run marked is recorded by this run, even if a clock ahead of this one made records before.
            times.any(|time| time == *mark || (time > *mark && *mark != self.now))
        };
        if marks.iter().all(is_recorded) {
            return Ok(());
        }
        journal.records.push(LockRecord {
            time: self.now,
            holders,
        });
        journal.snapshots = view.scan.snapshots.clone();
        let noted = Rewrite {
            repository: self.repository,
            lock: self.lock,
            index_ids: &journal_ids,
            fates: &HashMap::new(),
            is_live: &|_| false,
            now: self.now,
            journal: Some(&journal),
            is_journal_new: true,
        }
        .run()?;
        report.index_files_written += noted.written.len();
        report.index_files_removed += noted.removed.len();
        Ok(())
    }

    fn report(&self, view: &View) -> PruneReport {
        let mut report = PruneReport {
            snapshot_count: view.scan.roots.len(),
            used_blob_count: view.used.len(),
            foreign_lock_count: view.scan.holders.len(),
            ..PruneReport::default()
        };
        for ((pack, usage), fate) in view
            .scan
            .packs
            .iter()
            .zip(&view.usage.packs)
            .zip(&view.fates)
        {
            report.used_bytes += usage.used_bytes;
            let total = match fate {
                Fate::Keep => {
                    let needed = usage.used_bytes + usage.padding_bytes;
                    report.unused_left_bytes += pack.blobs_end.saturating_sub(needed);
                    &mut report.kept
                }
                Fate::Repack => &mut report.repacked,
                Fate::Mark | Fate::MarkAgain | Fate::MarkUnindexed => &mut report.marked,
                Fate::Defer => &mut report.deferred,
                Fate::Wait => &mut report.waiting,
                Fate::PutBack => &mut report.put_back,
                Fate::Delete => &mut report.deleted,
                Fate::Note => &mut report.unindexed,
                Fate::Drop => continue,
            };
            total.add(pack.stored_bytes);
        }
        report
    }
}

impl View {
    fn pack(&self, id: &Id) -> Option<&scan::PackState> {
        let number = self.scan.numbers.get(id)?;
        self.scan.packs.get(*number as usize)
    }

    fn of_fate(&self, wanted: Fate) -> impl Iterator<Item = &scan::PackState> {
        let packs = self.scan.packs.iter().zip(&self.fates);
        packs
            .filter(move |(_, fate)| **fate == wanted)
            .map(|(pack, _)| pack)
    }

    /// The packs that do not simply stay.
    fn changes(&self) -> HashMap<Id, Fate> {
        let packs = self.scan.packs.iter().zip(&self.fates);
        packs
            .filter(|(_, fate)| **fate != Fate::Keep)
            .map(|(pack, fate)| (pack.id, *fate))
            .collect()
    }
}

#[cfg(test)]
mod tests;

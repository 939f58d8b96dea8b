//! Writes what is needed of some packs anew, in packs and index files that are durable when this returns.

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::scan::Scan;
use super::usage::Usage;
use super::used::UsedBlobs;
use super::{OnPruneProgress, PrunePhase, PruneProgress};
use crate::blob::BlobScratch;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::Index;
use crate::index_files::each_index_file;
use crate::lock::LockGuard;
use crate::pack::PackedBlob;
use crate::reader::{Comparison, Reader};
use crate::repository::Repository;
use crate::writer::{Writer, WriterOptions};

/// Packs that are read at once, each at most one request of the reader in memory.
const THREAD_COUNT: usize = 3;

/// What is needed of one pack.
type Task = (Id, Vec<PackedBlob>);

/// Repacks the packs that `is_wanted` names by number; says how many stored bytes were written.
pub(super) fn repack(
    repository: &Repository,
    scan: &Scan,
    usage: &Usage,
    used: &UsedBlobs,
    is_wanted: impl Fn(usize) -> bool,
    lock: &LockGuard,
    on_progress: OnPruneProgress<'_>,
) -> Result<u64, VaultError> {
    // Nothing counts as stored: what is copied is to be stored once more.
    let nothing = Arc::new(Index::default());
    let writer = Writer::open(
        repository.clone(),
        Arc::clone(&nothing),
        WriterOptions {
            // What is copied loses its old place: the new one must be proven first.
            read_back: true,
            ..WriterOptions::default()
        },
    )?;
    let reader = Reader::new(repository.clone(), nothing);
    let (sender, tasks) = bounded::<Task>(THREAD_COUNT);
    let total: u64 = (0..scan.packs.len())
        .filter(|&number| is_wanted(number))
        .map(|number| usage.packs[number].used_bytes)
        .sum();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREAD_COUNT)
            .map(|_| {
                let (tasks, writer, reader) = (tasks.clone(), &writer, &reader);
                scope.spawn(move || {
                    let copied = copy_all(&tasks, reader, writer, total, on_progress);
                    // After a failure the queue is emptied, so that nobody waits for ever.
                    tasks.iter().for_each(drop);
                    copied
                })
            })
            .collect();
        let fed = each_index_file(repository, &scan.index_ids, |_, file| {
            lock.ensure_held()?;
            for pack in file.packs {
                let Some(&number) = scan.numbers.get(&pack.id) else {
                    continue;
                };
                let number = number as usize;
                if !is_wanted(number) {
                    continue;
                }
                let is_needed = |blob: &PackedBlob| {
                    let found = used.find(blob.kind, &blob.id);
                    found.is_some_and(|blob| usage.counts_in(blob, number))
                };
                let blobs: Vec<PackedBlob> = pack.blobs.into_iter().filter(is_needed).collect();
                // A pack that is listed in parts comes in parts; what comes twice is written once.
                drop(sender.send((pack.id, blobs)));
            }
            Ok(())
        });
        drop(sender);
        let mut result = fed;
        for worker in workers {
            let ended = worker.join().unwrap_or_else(|_| {
                Err(VaultError::Thread {
                    reason: "a thread that repacks ended early".to_owned(),
                })
            });
            result = result.and(ended);
        }
        result
    })?;
    writer.flush()?;
    Ok(writer.stats().stored_bytes)
}

fn copy_all(
    tasks: &Receiver<Task>,
    reader: &Reader,
    writer: &Writer,
    total: u64,
    on_progress: OnPruneProgress<'_>,
) -> Result<(), VaultError> {
    let (mut read_scratch, mut write_scratch) = (BlobScratch::new(), BlobScratch::new());
    for (pack, blobs) in tasks {
        let mut again = Vec::new();
        reader.read_pack(
            &pack,
            &blobs,
            Comparison::ByReader,
            &mut read_scratch,
            |blob, read| {
                match read {
                    Ok(plaintext) => {
                        writer.save_blob(blob.kind, plaintext, &mut write_scratch)?;
                    }
                    // A store may give wrong bytes once and the right ones later.
                    Err(_) => again.push(*blob),
                }
                Ok::<(), VaultError>(())
            },
        )?;
        reader.read_pack(
            &pack,
            &again,
            Comparison::ByReader,
            &mut read_scratch,
            |blob, read| {
                writer.save_blob(blob.kind, read?, &mut write_scratch)?;
                Ok::<(), VaultError>(())
            },
        )?;
        on_progress(PruneProgress {
            phase: PrunePhase::Repack,
            done: writer.stats().stored_bytes,
            total,
        });
    }
    Ok(())
}

//! Reads packs whole: hash, header against index, and every blob.
//!
//! A pack goes through memory in windows of a few MiB, cut between blobs, so a thread needs no more than that and its
//! scratch buffers however large packs are, and each byte is hashed, decrypted and decompressed while the processor's
//! cache still holds it. Blobs are hashed in groups that the cache holds, two at a time ([`crate::lanes`]).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use super::{CheckError, CheckHint, CheckPhase, Checker, ReadData};
use crate::blob::BlobScratch;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::ByPack;
use crate::lanes;
use crate::layout::FileKind;
use crate::pack::{PackedBlob, STEP_BYTES, WRONG_HASH, hash_to_end, header_of_tail};
use crate::reader::open_compared;

/// How much of a pack is in memory at once, unless one blob is larger.
const WINDOW_BYTES: u64 = STEP_BYTES;

/// Blobs are hashed together as soon as they have so many bytes, which the processor's second cache holds.
const GROUP_BYTES: usize = 512 << 10;
/// Longer blobs are hashed alone: a group is at most [`GROUP_BYTES`] and one such blob in memory.
const LONGEST_IN_GROUP_BYTES: u64 = 1 << 20;

/// What one thread keeps between packs.
#[derive(Default)]
struct Worker {
    scratch: BlobScratch,
    group: Group,
}

/// Plaintexts of one pack that are not compared yet.
#[derive(Default)]
struct Group {
    /// One after the other; what is beyond them is rubbish, kept so that it need not be cleared.
    bytes: Vec<u8>,
    used_bytes: usize,
    blobs: Vec<(PackedBlob, Range<usize>)>,
}

impl Group {
    fn clear(&mut self) {
        self.used_bytes = 0;
        self.blobs.clear();
    }

    /// Compares the hashes with the ids, and begins a new group.
    fn compare(&mut self, findings: &mut Vec<(PackedBlob, String)>) {
        let plaintexts: Vec<&[u8]> = self
            .blobs
            .iter()
            .map(|(_, range)| &self.bytes[range.clone()])
            .collect();
        for (id, (blob, _)) in lanes::hash_all(&plaintexts).iter().zip(&self.blobs) {
            if *id != blob.id {
                findings.push((*blob, WRONG_HASH.to_owned()));
            }
        }
        self.clear();
    }
}

/// One reading of a pack.
struct Scan {
    /// Of all its bytes.
    hash: Id,
    /// What is wrong with single blobs, and which they are.
    blobs: Vec<(PackedBlob, String)>,
    /// What is wrong with the header.
    header: Option<String>,
}

/// A part of a pack that is read with one request.
struct Window<'a> {
    start: u64,
    end: u64,
    /// The blobs in it, one after the other.
    blobs: &'a [PackedBlob],
}

impl Checker<'_> {
    /// Reads those of these packs that the options ask for, each named by its number. Missing ones were found before.
    pub(super) fn check_data(
        &self,
        mut packs: Vec<(&ByPack<'_>, usize)>,
        sizes: &HashMap<Id, u64>,
    ) {
        let size_of = |(by_pack, number): &(&ByPack<'_>, usize)| sizes.get(&by_pack.id(*number));
        packs.retain(|pack| size_of(pack).is_some());
        let size_of = |pack: &(&ByPack<'_>, usize)| size_of(pack).copied().unwrap_or(0);
        self.select(&mut packs, size_of);
        let total = packs.iter().map(size_of).sum();
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..self.options.thread_count.clamp(1, packs.len().max(1)) {
                scope.spawn(|| {
                    let mut worker = Worker::default();
                    while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.require_storage().is_err() {
                            return;
                        }
                        let size = size_of(pack);
                        let (pack, blobs) = pack.0.get(pack.1);
                        self.read_pack(&mut worker, pack, &blobs, size);
                        let done = done.fetch_add(size, Ordering::Relaxed) + size;
                        self.progress(CheckPhase::Data, done, total);
                    }
                });
            }
        });
    }

    /// Leaves the packs to read in `packs`.
    fn select<'b, 'i>(
        &self,
        packs: &mut Vec<(&'b ByPack<'i>, usize)>,
        size_of: impl Fn(&(&'b ByPack<'i>, usize)) -> u64,
    ) {
        match self.options.read_data {
            ReadData::None => packs.clear(),
            ReadData::All => {}
            ReadData::Part { part, parts } => {
                // As restic divides them: by the first byte of the id.
                packs.retain(|(by_pack, number)| {
                    let first = u32::from(by_pack.id(*number).as_bytes()[0]);
                    first % parts.max(1) + 1 == part
                });
            }
            ReadData::Percent(percent) => {
                packs.shuffle(&mut rand::rng());
                let wanted = (packs.len() as f64 * percent / 100.0).ceil();
                packs.truncate((wanted.max(0.0) as usize).max(usize::from(percent > 0.0)));
            }
            ReadData::Bytes(wanted) => {
                packs.shuffle(&mut rand::rng());
                let mut sum = 0;
                packs.retain(|pack| {
                    let is_wanted = sum < wanted;
                    sum += if is_wanted { size_of(pack) } else { 0 };
                    is_wanted
                });
            }
        }
    }

    /// Reads one pack. When anything is wrong with its bytes they are asked for a second time before they are called
    /// damaged: stores have given wrong bytes once and the right ones later.
    fn read_pack(&self, worker: &mut Worker, pack: Id, blobs: &[PackedBlob], size_bytes: u64) {
        let first = self.scan(worker, &pack, blobs, size_bytes);
        let is_whole = first.as_ref().is_ok_and(|scan| scan.hash == pack);
        let scan = match is_whole {
            true => first,
            false => self.scan(worker, &pack, blobs, size_bytes),
        };
        let scan = match scan {
            Ok(scan) => scan,
            Err(error) if self.is_away(&error) => return,
            Err(error) => {
                self.lost.add_pack(pack);
                let reason = error.to_string();
                return self.error(CheckError::Pack { pack, reason });
            }
        };
        {
            let mut report = self.report.lock();
            report.packs_read += 1;
            report.bytes_read += size_bytes;
        }
        if scan.hash != pack {
            self.error(CheckError::Pack {
                pack,
                reason: "its content does not have this hash".to_owned(),
            });
        } else if !is_whole {
            self.hint(CheckHint::UnsteadyRead { pack });
        }
        if let Some(reason) = scan.header {
            self.error(CheckError::Pack { pack, reason });
        }
        for (blob, reason) in scan.blobs {
            self.lost.add_copy(pack, blob.id);
            self.error(CheckError::Blob {
                kind: blob.kind,
                id: blob.id,
                pack,
                reason,
            });
        }
    }

    /// Reads a pack from its first byte to its last.
    fn scan(
        &self,
        worker: &mut Worker,
        pack: &Id,
        blobs: &[PackedBlob],
        size_bytes: u64,
    ) -> Result<Scan, VaultError> {
        let mut hasher = Sha256::new();
        let mut findings = Vec::new();
        worker.group.clear();
        let (tiled, stray) = tiled(blobs, size_bytes);
        for window in windows(tiled) {
            let bytes = self.fetch(pack, window.start, window.end)?;
            hasher.update(&bytes);
            for blob in window.blobs {
                let from = (u64::from(blob.offset) - window.start) as usize;
                let stored = &bytes[from..from + blob.length as usize];
                self.open_blob(worker, pack, blob, stored, &mut findings);
            }
        }
        let storage = &**self.repository.storage();
        let tail = hash_to_end(storage, pack, blobs_end(tiled), size_bytes, &mut hasher)?;
        let header = self.header_finding(pack, blobs, &tail, size_bytes);
        for blob in stray {
            let end = end_of(blob);
            if end > size_bytes {
                findings.push((*blob, "it lies beyond the end of the pack".to_owned()));
            } else {
                let stored = self.fetch(pack, u64::from(blob.offset), end)?;
                self.open_blob(worker, pack, blob, &stored, &mut findings);
            }
        }
        worker.group.compare(&mut findings);
        Ok(Scan {
            hash: Id::new(hasher.finalize().into()),
            blobs: findings,
            header,
        })
    }

    fn fetch(&self, pack: &Id, start: u64, end: u64) -> Result<Vec<u8>, VaultError> {
        let name = FileKind::Pack.name(pack);
        let storage = self.repository.storage();
        Ok(storage.get_range(&name, start, (end - start) as usize)?)
    }

    fn open_blob(
        &self,
        worker: &mut Worker,
        pack: &Id,
        blob: &PackedBlob,
        stored: &[u8],
        findings: &mut Vec<(PackedBlob, String)>,
    ) {
        let Worker { scratch, group } = worker;
        if blob.plaintext_length() > LONGEST_IN_GROUP_BYTES {
            match open_compared(self.repository, scratch, pack, blob, stored) {
                Ok(_) => {}
                Err(VaultError::DamagedBlob { reason, .. }) => findings.push((*blob, reason)),
                Err(error) => findings.push((*blob, error.to_string())),
            }
            return;
        }
        let start = group.used_bytes;
        let opened = scratch.open_at(
            self.repository.cipher(),
            stored,
            blob.uncompressed_length,
            &mut group.bytes,
            start,
        );
        match opened {
            Ok(length_bytes) => {
                group.used_bytes += length_bytes;
                group.blobs.push((*blob, start..group.used_bytes));
                if group.used_bytes >= GROUP_BYTES {
                    group.compare(findings);
                }
            }
            Err(error) => findings.push((*blob, error.to_string())),
        }
    }

    /// `tail` begins at the end of the last blob, as far as the index knows.
    fn header_finding(
        &self,
        pack: &Id,
        blobs: &[PackedBlob],
        tail: &[u8],
        size_bytes: u64,
    ) -> Option<String> {
        match header_of_tail(self.repository.cipher(), pack, tail, size_bytes) {
            Ok(header) if header == blobs => None,
            Ok(_) => Some("its header and the index do not agree".to_owned()),
            Err(VaultError::Damaged { reason, .. }) => Some(reason),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// The blobs, sorted by offset, that lie one after the other from the beginning of the pack within its size; and those
/// after the first that does not, which only an index that is wrong has.
fn tiled(blobs: &[PackedBlob], size_bytes: u64) -> (&[PackedBlob], &[PackedBlob]) {
    let mut end = 0;
    let count = blobs
        .iter()
        .take_while(|blob| {
            let fits = u64::from(blob.offset) == end && end + u64::from(blob.length) <= size_bytes;
            end += u64::from(blob.length);
            fits
        })
        .count();
    blobs.split_at(count)
}

fn end_of(blob: &PackedBlob) -> u64 {
    u64::from(blob.offset) + u64::from(blob.length)
}

/// Where the last of these blobs, sorted by offset, ends.
fn blobs_end(blobs: &[PackedBlob]) -> u64 {
    blobs.last().map_or(0, end_of)
}

/// Cuts blobs that lie one after the other into windows.
fn windows(blobs: &[PackedBlob]) -> Vec<Window<'_>> {
    let mut windows = Vec::new();
    let (mut rest, mut start) = (blobs, 0);
    while !rest.is_empty() {
        let fitting = rest
            .iter()
            .take_while(|blob| end_of(blob) - start <= WINDOW_BYTES)
            .count();
        let (blobs, after) = rest.split_at(fitting.max(1));
        let end = blobs_end(blobs);
        windows.push(Window { start, end, blobs });
        (rest, start) = (after, end);
    }
    windows
}

#[cfg(test)]
mod tests;

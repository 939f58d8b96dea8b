//! Reads packs whole: hash, header against index, and every blob.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rand::seq::SliceRandom;

use super::{CheckError, CheckHint, CheckPhase, Checker, ReadData};
use crate::blob::BlobScratch;
use crate::error::VaultError;
use crate::id::Id;
use crate::index::ByPack;
use crate::layout::FileKind;
use crate::pack::{PackedBlob, header_of};
use crate::reader::open_compared;

impl Checker<'_> {
    /// Reads the packs that the options ask for. Missing ones were found before.
    pub(super) fn check_data(&self, by_pack: &ByPack<'_>, sizes: &HashMap<Id, u64>) {
        let size_of = |number: usize| sizes.get(&self.index.packs()[number]).copied();
        let mut numbers: Vec<usize> = (0..by_pack.len())
            .filter(|&number| size_of(number).is_some())
            .collect();
        self.select(&mut numbers, |number| size_of(number).unwrap_or(0));
        let total = numbers.iter().filter_map(|&number| size_of(number)).sum();
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..self.options.thread_count.clamp(1, numbers.len().max(1)) {
                scope.spawn(|| {
                    let mut scratch = BlobScratch::new();
                    while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (pack, blobs) = by_pack.get(number);
                        let bytes = self.read_pack(&mut scratch, pack, &blobs);
                        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                        self.progress(CheckPhase::Data, done, total);
                    }
                });
            }
        });
    }

    /// Leaves the packs to read in `numbers`.
    fn select(&self, numbers: &mut Vec<usize>, size_of: impl Fn(usize) -> u64) {
        match self.options.read_data {
            ReadData::None => numbers.clear(),
            ReadData::All => {}
            ReadData::Part { part, parts } => {
                // As restic divides them: by the first byte of the id.
                let in_part = |number: &usize| {
                    let first = u32::from(self.index.packs()[*number].as_bytes()[0]);
                    first % parts.max(1) + 1 == part
                };
                numbers.retain(in_part);
            }
            ReadData::Percent(percent) => {
                numbers.shuffle(&mut rand::rng());
                let wanted = (numbers.len() as f64 * percent / 100.0).ceil();
                numbers.truncate((wanted.max(0.0) as usize).max(usize::from(percent > 0.0)));
            }
            ReadData::Bytes(wanted) => {
                numbers.shuffle(&mut rand::rng());
                let mut sum = 0;
                numbers.retain(|&number| {
                    let is_wanted = sum < wanted;
                    sum += if is_wanted { size_of(number) } else { 0 };
                    is_wanted
                });
            }
        }
    }

    /// Reads one pack and says how many bytes it has.
    fn read_pack(&self, scratch: &mut BlobScratch, pack: Id, blobs: &[PackedBlob]) -> u64 {
        let bytes = match self.fetch(&pack) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.error(CheckError::Pack {
                    pack,
                    reason: error.to_string(),
                });
                return 0;
            }
        };
        {
            let mut report = self.report.lock();
            report.packs_read += 1;
            report.bytes_read += bytes.len() as u64;
        }
        self.check_header(pack, blobs, &bytes);
        for blob in blobs {
            let start = blob.offset as usize;
            let read = match bytes.get(start..start + blob.length as usize) {
                Some(stored) => {
                    open_compared(self.repository, scratch, &pack, blob, stored).map(|_| ())
                }
                None => Err(VaultError::DamagedBlob {
                    kind: blob.kind,
                    id: blob.id,
                    pack,
                    reason: "it lies beyond the end of the pack".to_owned(),
                }),
            };
            if let Err(VaultError::DamagedBlob {
                kind,
                id,
                pack,
                reason,
            }) = read
            {
                self.error(CheckError::Blob {
                    kind,
                    id,
                    pack,
                    reason,
                });
            }
        }
        bytes.len() as u64
    }

    /// The bytes of a pack. When their hash is wrong they are asked for a second time, before anything is called
    /// damaged: stores have given wrong bytes once and the right ones later.
    fn fetch(&self, pack: &Id) -> Result<Vec<u8>, VaultError> {
        let name = FileKind::Pack.name(pack);
        let bytes = self.repository.storage().get(&name)?;
        if Id::hash(&bytes) == *pack {
            return Ok(bytes);
        }
        let again = self.repository.storage().get(&name)?;
        if Id::hash(&again) == *pack {
            self.hint(CheckHint::UnsteadyRead { pack: *pack });
        } else {
            self.error(CheckError::Pack {
                pack: *pack,
                reason: "its content does not have this hash".to_owned(),
            });
        }
        Ok(again)
    }

    fn check_header(&self, pack: Id, blobs: &[PackedBlob], bytes: &[u8]) {
        let reason = match header_of(self.repository.cipher(), &pack, bytes) {
            Ok(header) if header == blobs => return,
            Ok(_) => "its header and the index do not agree".to_owned(),
            Err(VaultError::Damaged { reason, .. }) => reason,
            Err(error) => error.to_string(),
        };
        self.error(CheckError::Pack { pack, reason });
    }
}

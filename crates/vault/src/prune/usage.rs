//! How much of each pack the snapshots need.
//!
//! A needed blob that several packs hold counts in one of them only: best in a pack that holds nothing unneeded, which will
//! stay anyway, so that the others can go.

use std::collections::{HashMap, HashSet};

use super::scan::{PackState, Scan};
use super::used::UsedBlobs;
use crate::blob::BlobKind;
use crate::error::VaultError;
use crate::id::Id;
use crate::index_files::each_index_file;
use crate::pack::PackedBlob;
use crate::repository::Repository;

/// Padding of packs that are smaller than eight times this may be so long.
const LARGEST_SMALL_PADDING_BYTES: u64 = 512;

/// What is needed of one pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PackUsage {
    /// Stored bytes of its needed blobs, those left out that count in another pack.
    pub(super) used_bytes: u64,
    /// What is most likely padding: an unneeded last blob that a repack would only replace by another one.
    pub(super) padding_bytes: u64,
    /// A marked pack that holds a needed blob which no other pack holds.
    pub(super) is_needed_again: bool,
}

/// What is needed of all packs.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// By the numbers of the scan.
    pub(super) packs: Vec<PackUsage>,
    /// The packs in which blobs count that several packs hold, by the number of the blob.
    homes: HashMap<u32, u32>,
}

/// A copy of a needed blob that has more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    blob: u32,
    pack: u32,
    length: u32,
}

impl Usage {
    /// Whether the blob with this number counts in this pack.
    pub(super) fn counts_in(&self, blob: usize, pack: usize) -> bool {
        self.homes
            .get(&(blob as u32))
            .is_none_or(|home| *home == pack as u32)
    }
}

/// Whether the blobs of a pack can be counted on, as far as that is seen without reading it.
fn is_sound(pack: &PackState) -> bool {
    pack.stored_bytes.is_some() && pack.is_whole
}

/// Counts. What was `repacked` in this run is the last place where a blob with other copies counts. Refused when a needed blob is in no sound pack: then something is wrong that a prune would make worse.
pub(super) fn count(
    repository: &Repository,
    scan: &Scan,
    used: &UsedBlobs,
    repacked: &HashSet<Id>,
) -> Result<Usage, VaultError> {
    let mut copies = vec![0_u8; used.len()];
    let number_of = |id: &Id| scan.numbers.get(id).map(|&number| number as usize);
    each_index_file(repository, &scan.index_ids, |_, file| {
        for pack in &file.packs {
            let is_counted = number_of(&pack.id).is_some_and(|pack| is_sound(&scan.packs[pack]));
            for blob in pack.blobs.iter().filter(|_| is_counted) {
                if let Some(blob) = used.find(blob.kind, &blob.id) {
                    copies[blob] = copies[blob].saturating_add(1);
                }
            }
        }
        Ok(())
    })?;
    let mut usage = Usage {
        packs: vec![PackUsage::default(); scan.packs.len()],
        homes: HashMap::new(),
    };
    let mut doubles = Vec::new();
    each_index_file(repository, &scan.index_ids, |_, file| {
        for pack in &file.packs {
            if let Some(number) = number_of(&pack.id).filter(|&pack| is_sound(&scan.packs[pack])) {
                add_live(&mut usage, number, &pack.blobs, used, &copies, &mut doubles);
                note_padding(&mut usage, number, &scan.packs[number], &pack.blobs, used);
            }
        }
        Ok(())
    })?;
    put_back(repository, scan, used, &mut copies, &mut usage)?;
    if let Some(missing) = copies.iter().position(|count| *count == 0) {
        return Err(missing_blobs(repository, scan, used, &copies, missing));
    }
    settle(scan, &mut usage, doubles, repacked);
    Ok(usage)
}

fn add_live(
    usage: &mut Usage,
    pack: usize,
    blobs: &[PackedBlob],
    used: &UsedBlobs,
    copies: &[u8],
    doubles: &mut Vec<Copy>,
) {
    for blob in blobs {
        let Some(number) = used.find(blob.kind, &blob.id) else {
            continue;
        };
        if copies[number] == 1 {
            usage.packs[pack].used_bytes += u64::from(blob.length);
        } else {
            doubles.push(Copy {
                blob: number as u32,
                pack: pack as u32,
                length: blob.length,
            });
        }
    }
}

/// The writer pads packs by one random blob at their end, of at most an eighth of the pack but for the smallest ones.
fn note_padding(
    usage: &mut Usage,
    number: usize,
    pack: &PackState,
    blobs: &[PackedBlob],
    used: &UsedBlobs,
) {
    let is_last =
        |blob: &&PackedBlob| u64::from(blob.offset) + u64::from(blob.length) == pack.blobs_end;
    let Some(last) = blobs.iter().find(is_last) else {
        return;
    };
    let length = u64::from(last.length);
    let is_padding = last.uncompressed_length.is_none()
        && length <= (pack.blobs_end / 8).max(LARGEST_SMALL_PADDING_BYTES)
        && used.find(last.kind, &last.id).is_none();
    if is_padding {
        usage.packs[number].padding_bytes = length;
    }
}

/// Finds needed blobs that no live pack holds in marked ones.
fn put_back(
    repository: &Repository,
    scan: &Scan,
    used: &UsedBlobs,
    copies: &mut [u8],
    usage: &mut Usage,
) -> Result<(), VaultError> {
    if !copies.contains(&0) {
        return Ok(());
    }
    each_index_file(repository, &scan.index_ids, |_, file| {
        for pack in &file.marked_packs {
            let Some(&number) = scan.numbers.get(&pack.id) else {
                continue;
            };
            let state = &scan.packs[number as usize];
            if state.is_live || !is_sound(state) {
                continue;
            }
            for blob in &pack.blobs {
                let Some(blob_number) = used.find(blob.kind, &blob.id) else {
                    continue;
                };
                if copies[blob_number] == 0 {
                    copies[blob_number] = 1;
                    let pack = &mut usage.packs[number as usize];
                    pack.is_needed_again = true;
                    pack.used_bytes += u64::from(blob.length);
                }
            }
        }
        Ok(())
    })
}

/// Gives each blob with several copies one home.
fn settle(scan: &Scan, usage: &mut Usage, mut doubles: Vec<Copy>, repacked: &HashSet<Id>) {
    doubles.sort_unstable();
    // An index file that was copied and not removed lists the same place twice.
    doubles.dedup();
    let mut doubled_bytes: HashMap<u32, u64> = HashMap::new();
    for copy in &doubles {
        *doubled_bytes.entry(copy.pack).or_default() += u64::from(copy.length);
    }
    let rank = |pack: u32| {
        let state = &scan.packs[pack as usize];
        let only_here = usage.packs[pack as usize].used_bytes;
        let here_too = doubled_bytes.get(&pack).copied().unwrap_or(0);
        let padding = usage.packs[pack as usize].padding_bytes;
        let has_unneeded = state.blobs_end > only_here + here_too + padding;
        // Smaller ranks first.
        (
            repacked.contains(&state.id),
            has_unneeded,
            only_here == 0,
            std::cmp::Reverse(state.blobs_end),
            pack,
        )
    };
    let mut homes = Vec::new();
    for copies in doubles.chunk_by(|a, b| a.blob == b.blob) {
        if let Some(best) = copies.iter().min_by_key(|copy| rank(copy.pack)) {
            homes.push(*best);
        }
    }
    for home in homes {
        usage.packs[home.pack as usize].used_bytes += u64::from(home.length);
        usage.homes.insert(home.blob, home.pack);
    }
}

/// Names one of the missing blobs, as far as some index knows it.
fn missing_blobs(
    repository: &Repository,
    scan: &Scan,
    used: &UsedBlobs,
    copies: &[u8],
    first: usize,
) -> VaultError {
    let count = copies.iter().filter(|count| **count == 0).count();
    let mut name = String::new();
    let looked = each_index_file(repository, &scan.index_ids, |_, file| {
        for pack in &file.packs {
            for blob in &pack.blobs {
                let is_it = used.find(blob.kind, &blob.id) == Some(first);
                if is_it && name.is_empty() {
                    let kind = match blob.kind {
                        BlobKind::Data => "data",
                        BlobKind::Tree => "tree",
                    };
                    name = format!(", {kind} blob {} in pack {} for example", blob.id, pack.id);
                }
            }
        }
        Ok(())
    });
    match looked {
        Err(error) => error,
        Ok(()) => VaultError::Refused {
            reason: format!(
                "{count} blobs that snapshots need are in no sound pack{name}; repair the repository first"
            ),
        },
    }
}

//! Cuts data into chunks by its content, so that an insertion moves no cut but those beside it.
//!
//! | method | cuts | for | shortest | wanted | longest |
//! |---|---|---|---|---|---|
//! | gear ([`gear`]) | anywhere | files of vaults that are ours alone | 512 KiB | 1 MiB | 4 MiB |
//! | blocks ([`blocks`]) | between blocks of 4 KiB | disk images and databases there | 48 KiB | 64 KiB | 1 MiB |
//! | | | the same from 64 GiB on | 512 KiB | 768 KiB | 4 MiB |
//! | Rabin ([`rabin`]) | anywhere, where restic cuts | vaults that are shared with stock restic or rustic | 512 KiB | 1 MiB | 8 MiB |
//!
//! Gear and blocks are keyed by the master key: public tables would let the lengths of chunks tell which known files a
//! vault holds. Which methods a vault uses is said in its config ([`ChunkerKind`]).
//!
//! The cut after a byte depends on the bytes since the last cut only, never on how they were handed in.

mod blocks;
mod gear;
mod rabin;

use std::sync::Arc;

use crate::crypto::Cipher;

/// Files from this size on may be images: below it, large chunks cost little even if all of them change.
const SMALLEST_IMAGE_BYTES: u64 = 16 << 20;
/// Images from this size on get larger chunks: a node lists each chunk in 67 bytes, and a tree is encoded in memory.
const HUGE_IMAGE_BYTES: u64 = 64 << 30;
/// Where a tar archive says what it is. Its length is often a multiple of a block, but what is in it moves.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// How a vault cuts files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChunkerKind {
    /// As restic and rustic do, so that chunks are the same whichever program stores them.
    Rabin,
    /// Keyed and several times as fast; images and databases in small aligned chunks.
    #[default]
    Gear,
}

/// The bounds of a chunk's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    /// No chunk but the last is shorter. At least 64.
    pub shortest_bytes: usize,
    /// The length that chunks have on average, about.
    pub wanted_bytes: usize,
    /// No chunk is longer.
    pub longest_bytes: usize,
}

/// Finds cuts. Cheap to clone; holds no state of any one stream.
#[derive(Clone)]
pub struct Chunker {
    method: Method,
    sizes: ChunkSizes,
}

#[derive(Clone)]
enum Method {
    Gear(Arc<gear::Gear>),
    Blocks(Arc<blocks::Blocks>),
    Rabin(Arc<rabin::Rabin>),
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.method {
            Method::Gear(_) => "gear",
            Method::Blocks(_) => "blocks",
            Method::Rabin(_) => "rabin",
        };
        write!(formatter, "Chunker({name}, {:?})", self.sizes)
    }
}

/// How far a chunk was looked at, so that more data does not mean looking again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scan {
    position: usize,
    hash: u64,
}

impl Chunker {
    fn gear(cipher: &Cipher, sizes: ChunkSizes) -> Self {
        Self {
            method: Method::Gear(Arc::new(gear::Gear::keyed(cipher, sizes))),
            sizes,
        }
    }

    fn blocks(cipher: &Cipher, sizes: ChunkSizes) -> Self {
        Self {
            method: Method::Blocks(Arc::new(blocks::Blocks::keyed(cipher, sizes))),
            sizes,
        }
    }

    fn rabin(polynomial: u64) -> Self {
        Self {
            method: Method::Rabin(Arc::new(rabin::Rabin::new(polynomial))),
            sizes: rabin::SIZES,
        }
    }

    /// The bounds of this chunker.
    #[must_use]
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// The length of the first chunk of `data`, or `None` when more data is needed to tell. With `at_eof` there is no
    /// more, and only empty data has no chunk.
    #[must_use]
    pub fn next_cut(&self, data: &[u8], at_eof: bool) -> Option<usize> {
        self.resume(data, &mut Scan::default(), at_eof)
    }

    /// As [`Chunker::next_cut`], going on where `scan` ended: `data` is the same with more at its end. After a cut a
    /// new `Scan` begins.
    #[must_use]
    pub fn resume(&self, data: &[u8], scan: &mut Scan, at_eof: bool) -> Option<usize> {
        let limit = data.len().min(self.sizes.longest_bytes);
        if limit > self.sizes.shortest_bytes {
            let data = &data[..limit];
            let found = match &self.method {
                Method::Gear(gear) => gear.find(data, scan, &self.sizes),
                Method::Blocks(blocks) => blocks.find(data, scan, &self.sizes),
                Method::Rabin(rabin) => rabin.find(data, scan, &self.sizes),
            };
            if found.is_some() {
                return found;
            }
        }
        if limit == self.sizes.longest_bytes {
            return Some(limit);
        }
        (at_eof && limit > 0).then_some(limit)
    }
}

/// The chunkers of one vault.
#[derive(Debug, Clone)]
pub(crate) struct Chunkers {
    files: Chunker,
    /// For usual images and for huge ones.
    images: Option<[Chunker; 2]>,
}

impl Chunkers {
    pub(crate) fn new(kind: ChunkerKind, cipher: &Cipher, polynomial: u64) -> Self {
        match kind {
            ChunkerKind::Rabin => Self {
                files: Chunker::rabin(polynomial),
                images: None,
            },
            ChunkerKind::Gear => Self {
                files: Chunker::gear(cipher, gear::SIZES),
                images: Some(blocks::SIZES.map(|sizes| Chunker::blocks(cipher, sizes))),
            },
        }
    }

    pub(crate) fn files(&self) -> &Chunker {
        &self.files
    }

    /// The chunker for a file of this size that begins with `head`, of which 512 bytes are enough.
    ///
    /// Disk images, databases and swap are whole blocks of 4 KiB, whatever wrote them; other large files are so by
    /// chance only, one of 4096, and lose nothing by it but room in the index. Tar archives are whole blocks too, and
    /// are told by their magic.
    pub(crate) fn of_file(&self, size_bytes: u64, head: &[u8]) -> &Chunker {
        let (offset, magic) = TAR_MAGIC;
        let is_tar = head.get(offset..offset + magic.len()) == Some(magic);
        match &self.images {
            Some([usual, huge])
                if size_bytes >= SMALLEST_IMAGE_BYTES
                    && size_bytes.is_multiple_of(blocks::BLOCK_BYTES as u64)
                    && !is_tar =>
            {
                if size_bytes < HUGE_IMAGE_BYTES {
                    usual
                } else {
                    huge
                }
            }
            _ => &self.files,
        }
    }
}

#[cfg(test)]
mod tests;

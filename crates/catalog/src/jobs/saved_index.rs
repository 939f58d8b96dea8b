//! Snapshots of the index: one file a part, so that a start does not read all jobs.
//!
//! A file is the part's version (number and stamp, 8 bytes each, little-endian) and one zstd frame of what
//! [`PartIndex::to_bytes`] gives, with the frame's own checksum. It appears whole or not at all. One that is missing,
//! damaged, of another form or of another history costs time, never a wrong answer: the change log must lead on from its
//! version and stamp, else the part is read anew.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use model::SourceType;

use super::ledger::{Difference, IndexedPart, Ledger};
use super::parts::{self, Version};
use crate::accounts;
use crate::db::Catalog;
use crate::error::CatalogError;
use crate::ledger::PartIndex;

/// Quick, and the lists compress little anyway.
const LEVEL: i32 = 1;
/// Versions that the log keeps below a snapshot: another server that shares the database may be that far behind.
const KEPT_VERSIONS: i64 = 10_000;

impl Ledger {
    fn path(dir: &Path, part_id: i64) -> PathBuf {
        dir.join(format!("part-{part_id}.index"))
    }

    /// Removes a part's snapshot.
    pub(super) fn forget(&self, part_id: i64) {
        if let Some(dir) = &self.dir {
            // One that cannot be removed is at worst found wrong again.
            let _ = fs::remove_file(Self::path(dir, part_id));
        }
    }

    /// The part's snapshot, or an index that has seen nothing.
    pub(super) fn load(&self, part_id: i64, source_type: SourceType) -> IndexedPart {
        let found = self
            .dir
            .as_deref()
            .and_then(|dir| read(&Self::path(dir, part_id)));
        let found = found.filter(|(_, index)| index.source_type() == source_type);
        let (version, index) =
            found.unwrap_or_else(|| (Version::NONE, PartIndex::new(source_type)));
        IndexedPart {
            part_id,
            version,
            index,
            saved_version: version,
        }
    }
}

fn read(path: &Path) -> Option<(Version, PartIndex)> {
    let mut file = fs::File::open(path).ok()?;
    let mut number = || -> Option<i64> {
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes).ok()?;
        Some(i64::from_le_bytes(bytes))
    };
    let version = Version {
        number: number()?,
        stamp: number()?,
    };
    let bytes = zstd::decode_all(file).ok()?;
    Some((version, PartIndex::from_bytes(&bytes)?))
}

fn write(path: &Path, version: Version, index: &PartIndex) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(&version.number.to_le_bytes())?;
    file.write_all(&version.stamp.to_le_bytes())?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(&index.to_bytes())?;
    encoder.finish()?.sync_all()?;
    fs::rename(&new, path)
}

/// Writes the parts that changed since they were last written, and cuts off what the change log need not keep any more.
/// Gives how many parts it wrote. Does nothing in a catalog without a folder for snapshots.
///
/// # Errors
/// Those of the database. A snapshot that cannot be written is left out: it only saves time.
pub fn save_index(catalog: &Catalog) -> Result<usize, CatalogError> {
    let Some(dir) = &catalog.ledger.dir else {
        return Ok(0);
    };
    let mut saved = 0;
    for (_, shared) in catalog.ledger.all() {
        let mut written = Vec::new();
        {
            let index = shared.read();
            for part in index
                .parts
                .iter()
                .filter(|part| part.version != part.saved_version)
            {
                let is_written = fs::create_dir_all(dir).and_then(|()| {
                    write(&Ledger::path(dir, part.part_id), part.version, &part.index)
                });
                if is_written.is_ok() {
                    written.push((part.part_id, part.version));
                }
            }
        }
        if written.is_empty() {
            continue;
        }
        for part in &mut shared.write().parts {
            if let Some((_, version)) = written.iter().find(|(part_id, _)| *part_id == part.part_id)
            {
                part.saved_version = *version;
            }
        }
        catalog.write_relaxed("forget changes", |tx| {
            let mut parts = written.iter();
            parts.try_for_each(|(part_id, version)| {
                parts::forget_changes(tx, *part_id, version.number - KEPT_VERSIONS)
            })
        })?;
        saved += written.len();
    }
    Ok(saved)
}

/// Compares the index of each account that was asked about with what the database counts, and gives what differs: nothing,
/// unless the program has a defect. What differs is dropped and built anew when it is next asked.
///
/// # Errors
/// Those of the database.
pub fn check_index(catalog: &Catalog) -> Result<Vec<Difference>, CatalogError> {
    let mut differences = Vec::new();
    for (account_id, _) in catalog.ledger.all() {
        differences.extend(catalog.ledger.compare(catalog, &account_id)?);
    }
    Ok(differences)
}

/// Loads the index of every account, by its snapshot or from all jobs: what the first question would else have to do.
///
/// # Errors
/// Those of the database.
pub fn load_index(catalog: &Catalog) -> Result<(), CatalogError> {
    for account in accounts::list(catalog)? {
        catalog
            .ledger
            .read(catalog, "load the ledger", &account.account_id, |_, _| {
                Ok(())
            })?;
    }
    Ok(())
}

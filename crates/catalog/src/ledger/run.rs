//! Rows in the order of (CreatedTime, JobId), with a column for each field that can be asked for.
//!
//! A run only grows at its end. What comes out of order starts another run of its part; questions merge them, and a part
//! with too many of them is built anew.

use std::ops::Range;

use model::{FilterKey, JobStatus};

use super::extents::Extents;
use super::set::{Bits, CHUNK_ROWS};
use super::state_column::StateColumn;
use super::text_column::TextColumn;
use super::times::{CompletedTimes, CreatedTimes};

/// The texts that never change, each a column.
pub(super) const TEXT_KEYS: [FilterKey; 9] = [
    FilterKey::RegionId,
    FilterKey::PlanId,
    FilterKey::VaultId,
    FilterKey::InstanceId,
    FilterKey::Bucket,
    FilterKey::FileSystemId,
    FilterKey::InstanceName,
    FilterKey::BackupType,
    FilterKey::ParentId,
];

/// What the index needs to know of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRow<'a> {
    /// Its number in its part.
    pub seq: u32,
    /// When it was created.
    pub created_time: i64,
    /// Its id.
    pub job_id: &'a str,
    /// Its state.
    pub status: JobStatus,
    /// When it ended.
    pub complete_time: Option<i64>,
    /// RegionId, PlanId, VaultId, InstanceId, Bucket, FileSystemId, InstanceName, BackupType, ParentId.
    pub texts: [Option<&'a str>; 9],
}

/// The rows that were deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dead {
    /// By chunk; absent while none is.
    pub(super) chunks: Vec<Option<Bits>>,
    pub(super) total: usize,
}

/// Rows in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) texts: [TextColumn; TEXT_KEYS.len()],
    pub(super) states: StateColumn,
    pub(super) created: CreatedTimes,
    pub(super) completed: CompletedTimes,
    pub(super) dead: Dead,
    pub(super) seqs: Extents,
    /// The id of the last row; no row may come before it.
    pub(super) last_job_id: String,
    /// Whether the ids rise with the rows, whatever their times.
    pub(super) ids_rise: bool,
}

impl Run {
    pub(super) fn new() -> Self {
        Self {
            ids_rise: true,
            ..Self::default()
        }
    }

    /// Rows, the deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.created.len()
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.len().div_ceil(CHUNK_ROWS)
    }

    /// The rows of a chunk.
    pub(super) fn chunk_rows(&self, chunk: usize) -> Range<usize> {
        chunk * CHUNK_ROWS..((chunk + 1) * CHUNK_ROWS).min(self.len())
    }

    /// Whether a row with this time and id can come next.
    pub(super) fn takes(&self, created_time: i64, job_id: &str) -> bool {
        self.created
            .last()
            .is_none_or(|last| (last, self.last_job_id.as_str()) < (created_time, job_id))
    }

    /// Adds a row that [`Run::takes`].
    pub(super) fn push(&mut self, row: &IndexRow<'_>) {
        let place = self.len();
        self.ids_rise &= place == 0 || self.last_job_id.as_str() < row.job_id;
        self.last_job_id.clear();
        self.last_job_id.push_str(row.job_id);
        for (column, text) in self.texts.iter_mut().zip(row.texts) {
            column.push(text);
        }
        self.states.push(place, row.status);
        self.created.push(row.created_time);
        self.completed
            .push(place, row.created_time, row.complete_time);
        if place.is_multiple_of(CHUNK_ROWS) {
            self.dead.chunks.push(None);
        }
        self.seqs.push(row.seq);
    }

    /// Takes over what can change of a job.
    pub(super) fn change(&mut self, place: usize, status: JobStatus, complete_time: Option<i64>) {
        self.states.set(place, status);
        let created = self.created.get(place);
        self.completed.set(place, created, complete_time);
    }

    /// Marks a row as deleted.
    pub(super) fn delete(&mut self, place: usize) {
        let row = (place % CHUNK_ROWS) as u16;
        let bits = self.dead.chunks[place / CHUNK_ROWS].get_or_insert_with(Bits::empty);
        if !bits.contains(row) {
            bits.insert(row);
            self.dead.total += 1;
        }
    }

    pub(super) fn is_dead(&self, place: usize) -> bool {
        self.dead.chunks[place / CHUNK_ROWS]
            .as_ref()
            .is_some_and(|bits| bits.contains((place % CHUNK_ROWS) as u16))
    }

    /// Bytes on the heap, about.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(TextColumn::bytes).sum();
        let dead = self.dead.chunks.iter().flatten().count() * CHUNK_ROWS / 8;
        texts
            + self.states.bytes()
            + self.created.bytes()
            + self.completed.bytes()
            + dead
            + self.seqs.bytes()
    }
}

//! A part as bytes, and back.
//!
//! Little-endian throughout; a list is its length as u64 and then its members. The order is that of `write`. The bytes
//! carry no checksum: whoever keeps them adds one. Reading checks all that an index relies on to not go out of bounds, so
//! that bytes of another version or another program are refused and the part is built anew.

use model::SourceType;

use super::PartIndex;
use super::extents::{Extent, Extents};
use super::open_chunk::NONE;
use super::postings::{Postings, Slot};
use super::run::{Dead, Run, TEXT_KEYS};
use super::set::{Bits, CHUNK_ROWS, Set, WORDS};
use super::state_column::{STATES, StateColumn};
use super::text_column::TextColumn;
use super::times::{CompletedTimes, CreatedTimes, Offsets};

/// Raised when the form changes or a column gets another meaning.
const FORMAT: u64 = 1;

impl PartIndex {
    /// The part as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, FORMAT);
        put_text(&mut out, self.source_type.as_str());
        put(&mut out, self.runs.len() as u64);
        for run in &self.runs {
            write(&mut out, run);
        }
        out
    }

    /// A part of the bytes that [`PartIndex::to_bytes`] gave; `None` when they are not that.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = Input { rest: bytes };
        if input.number()? != FORMAT {
            return None;
        }
        let source_type: SourceType = input.text()?.parse().ok()?;
        let count = input.number()?;
        let runs = (0..count)
            .map(|_| read(&mut input))
            .collect::<Option<Vec<_>>>()?;
        input.rest.is_empty().then_some(Self { source_type, runs })
    }
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_u16s(out: &mut Vec<u8>, list: &[u16]) {
    put(out, list.len() as u64);
    out.extend(list.iter().flat_map(|number| number.to_le_bytes()));
}

fn put_u32s(out: &mut Vec<u8>, list: &[u32]) {
    put(out, list.len() as u64);
    out.extend(list.iter().flat_map(|number| number.to_le_bytes()));
}

fn put_i64s(out: &mut Vec<u8>, list: &[i64]) {
    put(out, list.len() as u64);
    out.extend(list.iter().flat_map(|number| number.to_le_bytes()));
}

fn put_bits(out: &mut Vec<u8>, bits: &Bits) {
    out.extend(bits.0.iter().flat_map(|word| word.to_le_bytes()));
}

fn write(out: &mut Vec<u8>, run: &Run) {
    put_text(out, &run.last_job_id);
    put(out, u64::from(run.ids_rise));
    put(out, run.seqs.by_row.len() as u64);
    for extent in &run.seqs.by_row {
        put_u32s(out, &[extent.row, extent.seq]);
    }
    put(out, u64::from(run.seqs.len));
    put(out, run.created.chunks.len() as u64);
    for chunk in &run.created.chunks {
        match chunk {
            Offsets::Near { bases, offsets } => {
                put(out, 0);
                put_i64s(out, bases);
                put_u16s(out, offsets);
            }
            Offsets::Far { base, offsets } => {
                put(out, 1);
                put_i64s(out, &[*base]);
                put_u32s(out, offsets);
            }
            Offsets::Plain(times) => {
                put(out, 2);
                put_i64s(out, times);
            }
        }
    }
    for after in &run.completed.after {
        put_u16s(out, after);
    }
    let far: Vec<i64> = run
        .completed
        .far
        .iter()
        .flat_map(|(row, time)| [i64::from(*row), *time])
        .collect();
    put_i64s(out, &far);
    for set in run.states.chunks.iter().flatten() {
        match set {
            Set::List(rows) => put_u16s(out, rows),
            Set::Bits(bits) => {
                put(out, u64::MAX);
                put_bits(out, bits);
            }
        }
    }
    for dead in &run.dead.chunks {
        put(out, u64::from(dead.is_some()));
        if let Some(bits) = dead {
            put_bits(out, bits);
        }
    }
    for column in &run.texts {
        let (texts, chunks, open) = column.parts();
        let texts: Vec<&str> = texts.collect();
        put(out, texts.len() as u64);
        for text in texts {
            put_text(out, text);
        }
        for postings in chunks {
            let slots: Vec<u32> = postings
                .slots
                .iter()
                .flat_map(|slot| [slot.code, slot.before])
                .collect();
            put_u32s(out, &slots);
            put_u16s(out, &postings.rows);
            put(out, postings.dense.len() as u64);
            for (slot, bits) in &postings.dense {
                put(out, u64::from(*slot));
                put_bits(out, bits);
            }
        }
        put_u32s(out, &open);
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// The members of a list of `N` bytes each.
    fn list<const N: usize>(&mut self) -> Option<impl Iterator<Item = [u8; N]> + 'a> {
        let count = usize::try_from(self.number()?).ok()?;
        let bytes = self.take(count.checked_mul(N)?)?;
        Some(
            bytes
                .chunks_exact(N)
                .filter_map(|member| member.try_into().ok()),
        )
    }

    fn text(&mut self) -> Option<String> {
        let count = usize::try_from(self.number()?).ok()?;
        String::from_utf8(self.take(count)?.to_vec()).ok()
    }

    fn u16s(&mut self) -> Option<Vec<u16>> {
        Some(self.list()?.map(u16::from_le_bytes).collect())
    }

    fn u32s(&mut self) -> Option<Vec<u32>> {
        Some(self.list()?.map(u32::from_le_bytes).collect())
    }

    fn i64s(&mut self) -> Option<Vec<i64>> {
        Some(self.list()?.map(i64::from_le_bytes).collect())
    }

    fn bits(&mut self) -> Option<Bits> {
        let words = self.take(WORDS * 8)?.chunks_exact(8);
        let words = words.filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
        Some(Bits(words.collect()))
    }
}

fn read(input: &mut Input<'_>) -> Option<Run> {
    let last_job_id = input.text()?;
    let ids_rise = input.number()? == 1;
    let seqs = read_extents(input)?;
    let rows = seqs.len as usize;
    let created = read_created(input)?;
    let chunk_count = rows.div_ceil(CHUNK_ROWS);
    if created.chunks.len() != chunk_count || created.len() != rows {
        return None;
    }
    let chunk_rows = |chunk: usize| (rows - chunk * CHUNK_ROWS).min(CHUNK_ROWS);
    let after = (0..chunk_count)
        .map(|_| input.u16s())
        .collect::<Option<Vec<_>>>()?;
    if after
        .iter()
        .enumerate()
        .any(|(chunk, after)| after.len() != chunk_rows(chunk))
    {
        return None;
    }
    let far = input.i64s()?;
    let far = far
        .chunks_exact(2)
        .map(|pair| Some((u32::try_from(pair[0]).ok()?, pair[1])));
    let completed = CompletedTimes::from_parts(after, far.collect::<Option<_>>()?, &created);
    let states = (0..chunk_count)
        .map(|_| read_states(input))
        .collect::<Option<Vec<_>>>()?;
    let states = StateColumn::from_chunks(states);
    if (0..chunk_count).any(|chunk| states.count(chunk, (1 << STATES) - 1) != chunk_rows(chunk)) {
        return None;
    }
    let mut dead = Dead::default();
    for _ in 0..chunk_count {
        let bits = if input.number()? == 1 {
            Some(input.bits()?)
        } else {
            None
        };
        dead.total += bits.as_ref().map_or(0, Bits::count);
        dead.chunks.push(bits);
    }
    let mut texts: [TextColumn; TEXT_KEYS.len()] = Default::default();
    for column in &mut texts {
        *column = read_texts(input, rows)?;
    }
    Some(Run {
        texts,
        states,
        created,
        completed,
        dead,
        seqs,
        last_job_id,
        ids_rise,
    })
}

fn read_extents(input: &mut Input<'_>) -> Option<Extents> {
    let count = input.number()?;
    let mut by_row: Vec<Extent> = Vec::new();
    for _ in 0..count {
        let [row, seq] = input.u32s()?.try_into().ok()?;
        if row == 0 && !by_row.is_empty() || by_row.last().is_some_and(|last| last.row >= row) {
            return None;
        }
        by_row.push(Extent { row, seq });
    }
    let len = u32::try_from(input.number()?).ok()?;
    let fits = match (by_row.first(), by_row.last()) {
        (Some(first), Some(last)) => first.row == 0 && last.row < len,
        _ => len == 0,
    };
    fits.then(|| Extents::from_parts(by_row, len))
}

fn read_created(input: &mut Input<'_>) -> Option<CreatedTimes> {
    let mut chunks = Vec::new();
    for _ in 0..input.number()? {
        chunks.push(match input.number()? {
            0 => {
                let (bases, offsets) = (input.i64s()?, input.u16s()?);
                if bases.len() != offsets.len().div_ceil(64) {
                    return None;
                }
                Offsets::Near { bases, offsets }
            }
            1 => {
                let [base] = input.i64s()?.try_into().ok()?;
                let offsets = input.u32s()?;
                Offsets::Far { base, offsets }
            }
            2 => Offsets::Plain(input.i64s()?),
            _ => return None,
        });
    }
    let times = CreatedTimes { chunks };
    let full = times.chunks.len().saturating_sub(1);
    let is_whole = times
        .chunks
        .iter()
        .take(full)
        .all(|chunk| chunk.len() == CHUNK_ROWS)
        && times
            .chunks
            .iter()
            .all(|chunk| (1..=CHUNK_ROWS).contains(&chunk.len()));
    is_whole.then_some(times)
}

fn read_states(input: &mut Input<'_>) -> Option<[Set; STATES]> {
    let mut sets: [Set; STATES] = Default::default();
    for set in &mut sets {
        let mut ahead = Input { rest: input.rest };
        *set = if ahead.number()? == u64::MAX {
            input.number()?;
            Set::Bits(input.bits()?)
        } else {
            let rows = input.u16s()?;
            if !rows.is_sorted_by(|a, b| a < b) {
                return None;
            }
            Set::List(rows)
        };
    }
    Some(sets)
}

fn read_texts(input: &mut Input<'_>, rows: usize) -> Option<TextColumn> {
    let count = input.number()?;
    let texts = (0..count)
        .map(|_| input.text())
        .collect::<Option<Vec<_>>>()?;
    let mut chunks = Vec::new();
    for _ in 0..rows / CHUNK_ROWS {
        let slots = input.u32s()?;
        let slots: Box<[Slot]> = slots
            .chunks_exact(2)
            .map(|pair| Slot {
                code: pair[0],
                before: pair[1],
            })
            .collect();
        let rows = input.u16s()?.into_boxed_slice();
        let mut dense = Vec::new();
        for _ in 0..input.number()? {
            let slot = u32::try_from(input.number()?).ok()?;
            dense.push((slot, input.bits()?));
        }
        let listed = Postings::new(slots, rows, dense);
        if !listed.is_consistent() {
            return None;
        }
        chunks.push(listed);
    }
    let open = input.u32s()?;
    let is_known = |code: &u32| *code == NONE || (*code as usize) < texts.len();
    if open.len() != rows % CHUNK_ROWS || !open.iter().all(is_known) {
        return None;
    }
    TextColumn::from_parts(texts, chunks, open)
}

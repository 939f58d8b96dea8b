//! A segment: rows of one table as bytes, compressed.
//!
//! | field | as |
//! |---|---|
//! | name of the table | length, text |
//! | number of columns, and for each its name | number; length, text |
//! | for each row a value of each column | 0: nothing; 1: a number, zigzag; 2: length, text; 3: length, bytes |
//!
//! Lengths and numbers are LEB128. All of it is one frame of zstd.
//!
//! A segment ends behind a row whose own bytes say so, by a hash: what is put in, changed or removed elsewhere moves no
//! other cut. A row of `n` bytes ends one with a probability of `n` in [`WANTED_BYTES`], so that long and short rows give
//! segments of the same size.

use crate::sql::{Param, Result, Row, ValueRef, damage};

/// No segment that another one follows is shorter, but for the last of a table.
const SHORTEST_BYTES: usize = 64 << 10;
/// How many bytes more segments have on average.
const WANTED_BYTES: u64 = 192 << 10;
/// A segment ends at the first row beyond this.
const LONGEST_BYTES: usize = 1 << 20;
/// A segment that says it is larger is none: the largest row, with what the API lets in, is far below.
const UNPACKED_LIMIT: usize = 256 << 20;
const LEVEL: i32 = 3;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const TEXT: u8 = 2;
const BLOB: u8 = 3;

/// Writes the segments of one table.
pub(super) struct SegmentWriter<'a> {
    table: &'a str,
    bytes: Vec<u8>,
    count: u64,
}

impl<'a> SegmentWriter<'a> {
    pub(super) fn new(table: &'a str) -> Self {
        Self {
            table,
            bytes: Vec::new(),
            count: 0,
        }
    }

    /// Adds a row; gives the segment that it ends, if it does.
    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<Option<Vec<u8>>> {
        let width = row.width();
        if self.bytes.is_empty() {
            put_bytes(&mut self.bytes, self.table.as_bytes());
            put_number(&mut self.bytes, width as u64);
            for name in row.names() {
                put_bytes(&mut self.bytes, name.as_bytes());
            }
        }
        let start = self.bytes.len();
        for place in 0..width {
            put_value(&mut self.bytes, &row.value(place)?);
        }
        self.count += 1;
        let row_bytes = &self.bytes[start..];
        let is_cut = hash(row_bytes) % WANTED_BYTES < row_bytes.len() as u64;
        let length = self.bytes.len();
        if length >= LONGEST_BYTES || (length >= SHORTEST_BYTES && is_cut) {
            return self.pack();
        }
        Ok(None)
    }

    /// The last segment, if rows are left, and the number of all rows.
    pub(super) fn finish(mut self) -> Result<(Option<Vec<u8>>, u64)> {
        Ok((self.pack()?, self.count))
    }

    fn pack(&mut self) -> Result<Option<Vec<u8>>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let packed = zstd::bulk::compress(&self.bytes, LEVEL)
            .map_err(|error| damage(format!("rows cannot be compressed: {error}")))?;
        self.bytes.clear();
        Ok(Some(packed))
    }
}

/// The bytes of a segment.
pub(super) fn unpack(packed: &[u8]) -> std::result::Result<Vec<u8>, &'static str> {
    let length = match zstd::zstd_safe::get_frame_content_size(packed) {
        Ok(Some(length)) if length <= UNPACKED_LIMIT as u64 => length,
        _ => return Err("a segment does not say its size"),
    };
    let length = usize::try_from(length).map_err(|_| "a segment is too large")?;
    zstd::bulk::decompress(packed, length).map_err(|_| "a segment cannot be decompressed")
}

/// Reads a segment.
pub(super) struct SegmentReader<'a> {
    pub(super) table: &'a str,
    pub(super) columns: Vec<&'a str>,
    rest: &'a [u8],
}

const SHORT: &str = "a segment ends too early";

impl<'a> SegmentReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> std::result::Result<Self, &'static str> {
        let mut reader = Self {
            table: "",
            columns: Vec::new(),
            rest: bytes,
        };
        reader.table = reader.text()?;
        let width = reader.number()?;
        if width == 0 || width > bytes.len() as u64 {
            return Err("a segment has no columns");
        }
        for _ in 0..width {
            let name = reader.text()?;
            reader.columns.push(name);
        }
        Ok(reader)
    }

    /// Adds the values of the next row; false if there is none.
    pub(super) fn row_into(
        &mut self,
        values: &mut Vec<Param<'a>>,
    ) -> std::result::Result<bool, &'static str> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        for _ in 0..self.columns.len() {
            let value = match self.take(1)?[0] {
                NULL => Param::Null,
                INTEGER => Param::Integer(unzigzag(self.number()?)),
                TEXT => Param::Text(self.text()?),
                BLOB => Param::Blob(self.bytes()?),
                _ => return Err("a segment has a value of no kind"),
            };
            values.push(value);
        }
        Ok(true)
    }

    fn take(&mut self, length: usize) -> std::result::Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> std::result::Result<u64, &'static str> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a segment has a number that is too long")
    }

    fn bytes(&mut self) -> std::result::Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.number()?).map_err(|_| SHORT)?;
        self.take(length)
    }

    fn text(&mut self) -> std::result::Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a segment has a text that is none")
    }
}

fn put_value(out: &mut Vec<u8>, value: &ValueRef<'_>) {
    match value {
        ValueRef::Null => out.push(NULL),
        ValueRef::Integer(number) => {
            out.push(INTEGER);
            put_number(out, zigzag(*number));
        }
        ValueRef::Text(text) => {
            out.push(TEXT);
            put_bytes(out, text.as_bytes());
        }
        ValueRef::Blob(bytes) => {
            out.push(BLOB);
            put_bytes(out, bytes);
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Small numbers of either sign as small numbers.
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// FNV-1a, with a last mix that spreads it over the low bits: the same for ever, or all cuts move.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn written(table: &str, columns: &[&str], rows: &[Vec<ValueRef<'_>>]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, table.as_bytes());
        put_number(&mut out, columns.len() as u64);
        columns
            .iter()
            .for_each(|name| put_bytes(&mut out, name.as_bytes()));
        rows.iter()
            .flatten()
            .for_each(|value| put_value(&mut out, value));
        out
    }

    proptest! {
        #[test]
        fn values_come_back(number in any::<i64>(), text in ".{0,300}", bytes in any::<Vec<u8>>()) {
            let row = vec![ValueRef::Null, ValueRef::Integer(number), ValueRef::Text(text.as_str().into()), ValueRef::Blob(&bytes)];
            let out = written("t", &["a", "b", "c", "d"], &[row.clone(), row]);
            let mut reader = SegmentReader::new(&out).unwrap();
            let expected = vec![Param::Null, Param::Integer(number), Param::Text(&text), Param::Blob(&bytes)];
            for _ in 0..2 {
                let mut values = Vec::new();
                prop_assert_eq!(reader.row_into(&mut values), Ok(true));
                prop_assert_eq!(&values, &expected);
            }
            prop_assert_eq!(reader.row_into(&mut Vec::new()), Ok(false));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            if let Ok(mut reader) = SegmentReader::new(&bytes) {
                while reader.row_into(&mut Vec::new()) == Ok(true) {}
            }
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn a_segment_that_is_cut_short_is_refused() {
        let whole = written(
            "t",
            &["a"],
            &[
                vec![ValueRef::Integer(i64::MIN)],
                vec![ValueRef::Text("abc".into())],
            ],
        );
        for length in 0..whole.len() {
            let Ok(mut reader) = SegmentReader::new(&whole[..length]) else {
                continue;
            };
            let mut values = Vec::new();
            let rows = std::iter::from_fn(|| match reader.row_into(&mut values) {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(why) => Some(Err(why)),
            });
            assert!(
                rows.take(3).filter(|row| row.is_ok()).count() < 2,
                "{length}"
            );
        }
    }

    /// One row in the middle is another one: all segments but its own stay.
    #[test]
    fn a_change_moves_no_other_cut() {
        let row = |number: u64| -> Vec<u8> {
            (0..20u64)
                .flat_map(|word| hash(&(number * 100 + word).to_le_bytes()).to_le_bytes())
                .collect()
        };
        let cut = |rows: &[Vec<u8>]| {
            let mut segments: Vec<Vec<u8>> = vec![Vec::new()];
            for row in rows {
                let open = segments.last_mut().unwrap();
                open.extend(row);
                let is_cut = hash(row) % WANTED_BYTES < row.len() as u64;
                if open.len() >= LONGEST_BYTES || (open.len() >= SHORTEST_BYTES && is_cut) {
                    segments.push(Vec::new());
                }
            }
            segments
        };
        let mut rows: Vec<Vec<u8>> = (0..40_000).map(row).collect();
        let before = cut(&rows);
        let lengths = before.iter().map(Vec::len);
        assert!((12..60).contains(&before.len()), "{}", before.len());
        assert!(lengths.max().unwrap() <= LONGEST_BYTES + 160);
        rows[20_000] = row(1_000_000);
        rows.insert(100, row(1_000_001));
        let after = cut(&rows);
        let new = after
            .iter()
            .filter(|segment| !before.contains(segment))
            .count();
        assert!(new <= 6, "{new} of {}", after.len());
    }
}

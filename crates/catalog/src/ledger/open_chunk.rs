//! The last chunk of a text field, while rows are still added to it: the code of each row.

use super::set::Bits;

/// The code of a row that does not have the field.
pub(super) const NONE: u32 = u32::MAX;

/// The codes of the open chunk, in the narrowest form that holds them: small parts have no other rows.
#[derive(Debug, Clone)]
pub(super) enum OpenChunk {
    /// So many rows, none of which has the field.
    Absent(usize),
    /// [`NONE`] is the greatest number here, too.
    Narrow(Vec<u16>),
    /// Codes of many values.
    Wide(Vec<u32>),
}

impl Default for OpenChunk {
    fn default() -> Self {
        Self::Absent(0)
    }
}

impl OpenChunk {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Absent(rows) => *rows,
            Self::Narrow(codes) => codes.len(),
            Self::Wide(codes) => codes.len(),
        }
    }

    pub(super) fn push(&mut self, code: u32) {
        let narrow = if code == NONE {
            Some(u16::MAX)
        } else {
            u16::try_from(code).ok().filter(|code| *code < u16::MAX)
        };
        match (&mut *self, narrow) {
            (Self::Absent(rows), Some(u16::MAX)) => *rows += 1,
            (Self::Narrow(codes), Some(code)) => codes.push(code),
            (Self::Wide(codes), _) => codes.push(code),
            (Self::Absent(rows), Some(code)) => {
                let mut codes = vec![u16::MAX; *rows];
                codes.push(code);
                *self = Self::Narrow(codes);
            }
            (Self::Absent(_) | Self::Narrow(_), _) => {
                let mut codes = self.to_vec();
                codes.push(code);
                *self = Self::Wide(codes);
            }
        }
    }

    pub(super) fn to_vec(&self) -> Vec<u32> {
        match self {
            Self::Absent(rows) => vec![NONE; *rows],
            Self::Narrow(codes) => codes.iter().map(|code| widen(*code)).collect(),
            Self::Wide(codes) => codes.clone(),
        }
    }

    /// The rows with one code. Most codes are rare, and many rows without one are passed over at once.
    pub(super) fn rows_of(&self, code: u32) -> Bits {
        fn mark<T: Copy + PartialEq>(bits: &mut Bits, codes: &[T], wanted: T) {
            for (word, codes) in bits.0.iter_mut().zip(codes.chunks(64)) {
                // No branch within the loop, so that the compiler compares several at a time.
                let is_there = |found: bool, code: &T| found | (*code == wanted);
                if codes.iter().fold(false, is_there) {
                    for (bit, code) in codes.iter().enumerate() {
                        *word |= u64::from(*code == wanted) << bit;
                    }
                }
            }
        }
        let mut bits = Bits::empty();
        match self {
            Self::Absent(_) => {}
            Self::Narrow(codes) => match u16::try_from(code) {
                Ok(code) if code != u16::MAX => mark(&mut bits, codes, code),
                _ => {}
            },
            Self::Wide(codes) if code != NONE => mark(&mut bits, codes, code),
            Self::Wide(_) => {}
        }
        bits
    }

    /// The rows whose codes are wanted.
    pub(super) fn rows(&self, is_wanted: impl Fn(u32) -> bool) -> Bits {
        fn mark<T: Copy>(bits: &mut Bits, codes: &[T], is_wanted: impl Fn(T) -> bool) {
            for (word, codes) in bits.0.iter_mut().zip(codes.chunks(64)) {
                for (bit, code) in codes.iter().enumerate() {
                    *word |= u64::from(is_wanted(*code)) << bit;
                }
            }
        }
        let mut bits = Bits::empty();
        match self {
            Self::Absent(_) => {}
            Self::Narrow(codes) => mark(&mut bits, codes, |code: u16| {
                code != u16::MAX && is_wanted(u32::from(code))
            }),
            Self::Wide(codes) => mark(&mut bits, codes, |code: u32| {
                code != NONE && is_wanted(code)
            }),
        }
        bits
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Absent(_) => 0,
            Self::Narrow(codes) => codes.capacity() * 2,
            Self::Wide(codes) => codes.capacity() * 4,
        }
    }
}

fn widen(code: u16) -> u32 {
    if code == u16::MAX {
        NONE
    } else {
        u32::from(code)
    }
}

#[cfg(test)]
mod tests {
    use super::{NONE, OpenChunk};

    #[test]
    fn the_rows_of_one_code_are_those_of_the_general_question() {
        for greatest in [0, 3, 70_000] {
            let mut chunk = OpenChunk::default();
            for row in 0..200_u32 {
                chunk.push(match row % 7 {
                    0 => NONE,
                    6 => greatest,
                    _ => row % 5,
                });
                for code in [0, 1, 4, 9, greatest, u32::from(u16::MAX), NONE] {
                    let general = chunk.rows(|found| found == code);
                    assert_eq!(chunk.rows_of(code), general, "{code} after {row}");
                }
            }
        }
    }
}

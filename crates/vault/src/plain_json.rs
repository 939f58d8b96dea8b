//! Reads JSON in the one form that restic and this crate write, without a general parser.
//!
//! Index files and trees are the bulk of what a command reads before it begins, and most of that work is their text. What
//! is read here is the exact form: fields in order, no blanks, numbers without a sign or leading zeros, texts of plain
//! ASCII. Anything else is `None`, and the caller asks serde. What is accepted here, serde reads the same way.

use crate::id::Id;

/// What is left to read.
pub(crate) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the word, if it comes next. Its length is known when this is compiled: there are ten words in a node.
    pub(crate) fn has<const N: usize>(&mut self, word: &[u8; N]) -> bool {
        match self.0.split_first_chunk() {
            Some((first, rest)) if first == word => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes the word that has to come next.
    pub(crate) fn word<const N: usize>(&mut self, word: &[u8; N]) -> Option<()> {
        self.has(word).then_some(())
    }

    /// A text of printable ASCII without escapes, up to its closing quote.
    pub(crate) fn plain(&mut self) -> Option<&'a [u8]> {
        let is_plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'\\' && byte != b'"';
        let end = self.0.iter().position(|byte| !is_plain(*byte))?;
        let (found, rest) = self.0.split_at(end);
        self.0 = rest;
        self.word(b"\"")?;
        Some(found)
    }

    /// A number without a sign or leading zeros.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let length = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.0.split_at(length);
        if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
            return None;
        }
        self.0 = rest;
        digits.iter().try_fold(0_u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
    }

    /// A number of at most 32 bits.
    pub(crate) fn number_u32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    /// A number that is left out when it is 0.
    pub(crate) fn number_if<const N: usize>(&mut self, key: &[u8; N]) -> Option<u64> {
        match self.has(key) {
            true => self.number(),
            false => Some(0),
        }
    }

    /// A text that is left out when it is empty.
    pub(crate) fn text_if<const N: usize>(&mut self, key: &[u8; N]) -> Option<String> {
        match self.has(key) {
            true => String::from_utf8(self.plain()?.to_vec()).ok(),
            false => Some(String::new()),
        }
    }

    /// A list of what `element` reads.
    pub(crate) fn list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.word(b"[")?;
        let mut list = Vec::new();
        if !self.has(b"]") {
            loop {
                list.push(element(self)?);
                if !self.has(b",") {
                    break;
                }
            }
            self.word(b"]")?;
        }
        Some(list)
    }

    /// A quoted id.
    pub(crate) fn id(&mut self) -> Option<Id> {
        let (quoted, rest) = self.0.split_first_chunk::<{ 2 * Id::LENGTH_BYTES + 2 }>()?;
        let [b'"', digits @ .., b'"'] = quoted else {
            return None;
        };
        self.0 = rest;
        Id::from_digits(digits).ok()
    }
}

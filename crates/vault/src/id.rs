//! The 32-byte content hash that names everything in a repository.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A SHA-256: of the plaintext for a blob, of the stored bytes for a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; Id::LENGTH_BYTES]);

/// The value of each hexadecimal digit, 0xff for all else.
const DIGITS: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 64 hexadecimal digits")]
pub struct IdError;

impl Id {
    /// The length of an id in bytes.
    pub const LENGTH_BYTES: usize = 32;

    /// An id of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LENGTH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn hash(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// An id that names nothing yet, from the operating system's random source.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH_BYTES] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 8 digits, as people write ids.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }

    /// The first 8 bytes as a number: ids are hashes, so this is evenly spread.
    #[must_use]
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The id that 64 hexadecimal digits of either case say.
    pub(crate) fn from_digits(digits: &[u8; 2 * Self::LENGTH_BYTES]) -> Result<Self, IdError> {
        // Read a hundred thousand times when a vault is opened or a parent is compared, so by a table: what is no digit
        // has bits above the lower four.
        let mut bytes = [0; Self::LENGTH_BYTES];
        let mut wrong = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
            wrong |= high | low;
            *byte = high << 4 | low & 15;
        }
        if wrong > 15 {
            Err(IdError)
        } else {
            Ok(Self(bytes))
        }
    }

    /// Appends the hexadecimal digits to `out`.
    pub(crate) fn push_hex(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Id({})", self.short())
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::from_digits(text.as_bytes().try_into().map_err(|_| IdError)?)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor;
        impl Visitor<'_> for HexVisitor {
            type Value = Id;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(HexVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Id;

    #[test]
    fn text_both_ways() {
        let id = Id::hash(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse::<Id>().unwrap(), id);
        assert_eq!(id.prefix(), 0xba78_16bf_8f01_cfea);
        for wrong in [
            "",
            "ba78",
            &text[1..],
            &text.replace('b', "g"),
            &format!("{text}00"),
        ] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }
}

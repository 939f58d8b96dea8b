//! Query strings and form bodies as lists of names and values, and the percent-encoding of both signatures.
//!
//! Signatures are computed over decoded and newly encoded text, never over what was on the wire, because clients put
//! `+` or a raw `*` there and sign `%20` and `%2A`.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// One decoded parameter: name and value.
pub type Pair = (String, String);

/// RFC 3986: everything but `A-Za-z0-9-_.~` is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// More parameters than this in one request are refused; the longest real lists have a few hundred.
pub const MAX_PAIRS: usize = 20_000;

/// Why a query or body is not a list of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairsError {
    /// A name or value is not UTF-8 after decoding.
    #[error("a parameter is not valid UTF-8")]
    NotUtf8,
    /// More than [`MAX_PAIRS`].
    #[error("more than {MAX_PAIRS} parameters")]
    TooMany,
}

/// Encodes as RFC 3986 wants it, upper-case hex.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// Decodes `a=1&b=%20+` : `+` and `%20` are both a space; a name without `=` has an empty value.
///
/// # Errors
/// See [`PairsError`].
pub fn decode(text: &[u8]) -> Result<Vec<Pair>, PairsError> {
    let mut pairs = Vec::new();
    for part in text
        .split(|byte| *byte == b'&')
        .filter(|part| !part.is_empty())
    {
        if pairs.len() >= MAX_PAIRS {
            return Err(PairsError::TooMany);
        }
        let equals = part.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &[][..]),
        };
        pairs.push((decode_text(name)?, decode_text(value)?));
    }
    Ok(pairs)
}

fn decode_text(raw: &[u8]) -> Result<String, PairsError> {
    if !raw.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return String::from_utf8(raw.to_vec()).map_err(|_| PairsError::NotUtf8);
    }
    let spaced: Vec<u8> = raw
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| PairsError::NotUtf8)
}

/// `enc(k)=enc(v)` of all pairs, sorted by name (then value, to be deterministic), joined with `&`.
#[must_use]
pub fn canonical(pairs: &[Pair]) -> String {
    let mut sorted: Vec<&Pair> = pairs.iter().collect();
    sorted.sort();
    let mut text = String::new();
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&encode(name));
        text.push('=');
        text.push_str(&encode(value));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{PairsError, canonical, decode, encode};

    #[test]
    fn encodes_as_rfc_3986() {
        for (input, expected) in [
            ("abcXYZ019-_.~", "abcXYZ019-_.~"),
            (" +*/", "%20%2B%2A%2F"),
            ("ä", "%C3%A4"),
            ("[1,2]", "%5B1%2C2%5D"),
            ("", ""),
        ] {
            assert_eq!(encode(input), expected);
        }
    }

    #[test]
    fn decodes_what_clients_send() {
        let pairs = decode(b"a=v+2%2B%2A~%2F&b=*&c&d=&&e=1=2&%41=%zz").unwrap();
        let expected = [
            ("a", "v 2+*~/"),
            ("b", "*"),
            ("c", ""),
            ("d", ""),
            ("e", "1=2"),
            ("A", "%zz"),
        ];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(decode(b"a=%ff"), Err(PairsError::NotUtf8));
        assert_eq!(decode(&b"a&".repeat(20_001)), Err(PairsError::TooMany));
    }

    #[test]
    fn canonical_text_is_sorted_by_bytes() {
        let pairs = decode(b"b=2&a=1&B=3&a=0").unwrap();
        assert_eq!(canonical(&pairs), "B=3&a=0&a=1&b=2");
    }
}

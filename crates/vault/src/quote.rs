//! Text as Go writes it: `strconv.Quote` for node names, and JSON strings.
//!
//! restic keeps names that are not UTF-8 by quoting them (`\xff`) before they become JSON; link targets and owners are
//! plain JSON strings in which wrong bytes become U+FFFD. Both are written so that the same tree has the same id.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A quoted name that breaks the rules of quoting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrong quoting")]
pub(crate) struct QuoteError;

/// Appends `bytes` as a JSON string, with quotes, to `out`.
pub(crate) fn push_json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if bytes.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(bytes);
    } else {
        push_json_escaped(bytes, out);
    }
    out.push(b'"');
}

/// Appends a node name: quoted as Go does, then as a JSON string.
pub(crate) fn push_json_name(name: &[u8], out: &mut Vec<u8>) {
    if name.iter().all(|&byte| is_plain(byte)) {
        push_json_string(name, out);
    } else {
        let mut quoted = Vec::with_capacity(name.len() + 16);
        push_quoted(name, &mut quoted);
        push_json_string(&quoted, out);
    }
}

/// Printable ASCII that neither form escapes.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn push_json_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.extend_from_slice(b"\\u");
                    push_hex(u32::from(character), 4, out);
                }
                _ => push_char(character, out),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Appends `name` as `strconv.Quote` writes it, without the outer quotes.
fn push_quoted(name: &[u8], out: &mut Vec<u8>) {
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_quoted_char(character, out);
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(b"\\x");
            push_hex(u32::from(*byte), 2, out);
        }
    }
}

fn push_quoted_char(character: char, out: &mut Vec<u8>) {
    let escape = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\x07' => b'a',
        '\x08' => b'b',
        '\x0c' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\x0b' => b'v',
        '\0'..='\x1f' | '\x7f' => {
            out.extend_from_slice(b"\\x");
            return push_hex(u32::from(character), 2, out);
        }
        _ if is_printable(character) => return push_char(character, out),
        '\u{80}'..='\u{ffff}' => {
            out.extend_from_slice(b"\\u");
            return push_hex(u32::from(character), 4, out);
        }
        _ => {
            out.extend_from_slice(b"\\U");
            return push_hex(u32::from(character), 8, out);
        }
    };
    out.extend_from_slice(&[b'\\', escape]);
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space. The standard library's
/// `escape_debug` draws the same line; after the first character it leaves combining marks alone too.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let mut text = [b'a'; 5];
    let length = 1 + character.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(character)
}

fn push_char(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_hex(value: u32, width: u32, out: &mut Vec<u8>) {
    for shift in (0..width).rev() {
        out.push(HEX[(value >> (4 * shift) & 15) as usize]);
    }
}

/// The bytes of a quoted name, the inverse of quoting.
pub(crate) fn unquote(text: &str) -> Result<Cow<'_, [u8]>, QuoteError> {
    if !text.contains(['\\', '"', '\n']) {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => rest = unescape(rest, &mut bytes)?,
            b'"' | b'\n' => return Err(QuoteError),
            _ => bytes.push(byte),
        }
    }
    Ok(Cow::Owned(bytes))
}

/// Reads what follows a backslash; gives the rest.
fn unescape<'a>(text: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], QuoteError> {
    let (&escape, rest) = text.split_first().ok_or(QuoteError)?;
    let simple = match escape {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => escape,
        b'x' => {
            let (value, rest) = number(rest, 2, 16)?;
            bytes.push(value as u8);
            return Ok(rest);
        }
        b'0'..=b'7' => {
            let (value, rest) = number(text, 3, 8)?;
            bytes.push(u8::try_from(value).map_err(|_| QuoteError)?);
            return Ok(rest);
        }
        b'u' | b'U' => {
            let (value, rest) = number(rest, if escape == b'u' { 4 } else { 8 }, 16)?;
            push_char(char::from_u32(value).ok_or(QuoteError)?, bytes);
            return Ok(rest);
        }
        _ => return Err(QuoteError),
    };
    bytes.push(simple);
    Ok(rest)
}

fn number(text: &[u8], width: usize, radix: u32) -> Result<(u32, &[u8]), QuoteError> {
    let (digits, rest) = text.split_at_checked(width).ok_or(QuoteError)?;
    let value = digits.iter().try_fold(0_u32, |value, &digit| {
        let digit = char::from(digit).to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    });
    Ok((value.ok_or(QuoteError)?, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{push_json_name, push_json_string, unquote};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn json_name(name: &[u8]) -> String {
        let mut out = Vec::new();
        push_json_name(name, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_as_restic_writes_them() {
        let check = |name: &[u8], expected: &str| assert_eq!(json_name(name), expected);
        check(b"plain name.txt", r#""plain name.txt""#);
        // The text of a tree that restic 0.14 wrote for this name.
        check(
            b"bad\xff\x01\n\"q\\tab\t\xe2\x80\x8b\xe2\x80\xa8\xc3\xa9\x7f\xc2\xa0<>&",
            r#""bad\\xff\\x01\\n\\\"q\\\\tab\\t\\u200b\\u2028é\\x7f\\u00a0\u003c\u003e\u0026""#,
        );
        check("e\u{301}\u{1f600}".as_bytes(), "\"e\u{301}\u{1f600}\"");
        check("\u{e000}\u{10ffff}".as_bytes(), r#""\\ue000\\U0010ffff""#);
        check(b"\x07\x08\x0c\x0b\r", r#""\\a\\b\\f\\v\\r""#);
        check(b"\xe2\x80", r#""\\xe2\\x80""#);
    }

    #[test]
    fn strings_as_go_writes_them() {
        let check = |text: &[u8], expected: &str| {
            let mut out = Vec::new();
            push_json_string(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(b"a b\"c", r#""a b\"c""#);
        check(b"to\xfe", r#""to\ufffd""#);
        check(b"to\xe2\x80", r#""to\ufffd\ufffd""#);
        check(
            "<\u{2028}\x01\u{7f}\n".as_bytes(),
            "\"\\u003c\\u2028\\u0001\u{7f}\\n\"",
        );
    }

    #[test]
    fn wrong_quoting_is_refused() {
        for wrong in [
            r"\",
            r"\q",
            r"\x1",
            r"\xgg",
            r"\u12",
            r"\ud800",
            r"\U00110000",
            "\"",
            r"\400",
        ] {
            assert!(unquote(wrong).is_err(), "{wrong}");
        }
        assert_eq!(&*unquote(r"\101\x42\u0043").unwrap(), b"ABC");
    }

    proptest! {
        #[test]
        fn any_name_round_trips(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text: String = serde_json::from_str(&json_name(&name)).unwrap();
            prop_assert_eq!(&*unquote(&text).unwrap(), &name[..]);
        }

        #[test]
        fn any_text_name_round_trips(name in "\\PC*|.*") {
            let text: String = serde_json::from_str(&json_name(name.as_bytes())).unwrap();
            prop_assert_eq!(&*unquote(&text).unwrap(), name.as_bytes());
        }
    }
}

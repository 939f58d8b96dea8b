//! Text from outside that goes to a terminal as it comes.

use std::io::{self, Write};

use super::printable;

/// Longest line that is kept until its end comes; a longer one is written in parts.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Writes lines with their control characters as escapes.
#[derive(Debug)]
pub(crate) struct Harmless<W: Write> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Harmless<W> {
    /// Nothing is written yet.
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
        }
    }

    fn put(&mut self, end: &str) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        write!(self.out, "{}{end}", printable(text))
    }
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(rest) => {
                    self.line.extend_from_slice(rest);
                    self.put("\n")?;
                }
                None => self.line.extend_from_slice(part),
            }
            if self.line.len() >= MAX_LINE_BYTES {
                self.put("")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.put("")?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Harmless;
    use std::io::Write;

    #[test]
    fn nothing_reaches_the_terminal_but_text_and_line_ends() {
        let mut shown = Vec::new();
        let mut out = Harmless::new(&mut shown);
        out.write_all(b"a\x1b]0;title\x07b\r\nnext").unwrap();
        out.write_all("\u{202e}line\n\u{e4}".as_bytes()).unwrap();
        out.flush().unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(shown, "a\\x1b]0;title\\x07b\nnext\\u{202e}line\n\u{e4}");
    }
}

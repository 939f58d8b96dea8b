//! The tar format: POSIX ustar, with extended headers (pax) where an entry has what ustar has no room for.
//!
//! Long names, names that are not ASCII, large files, parts of seconds and extended attributes come back with GNU tar,
//! bsdtar and others. A name that is not UTF-8 is written as it is, and marked as binary.

use std::io::{self, Write};

use vault::{Node, NodeKind, Time};

const BLOCK_BYTES: usize = 512;
/// Bytes that ustar has for a name, and for the name of an owner.
const NAME_BYTES: usize = 100;
const OWNER_BYTES: usize = 32;
/// The largest numbers of seven and of eleven octal digits.
const LARGEST_ID: u64 = 0o7_777_777;
const LARGEST_SIZE: u64 = 0o77_777_777_777;

/// Writes entries, one after the other.
#[derive(Debug)]
pub(crate) struct Tar<W: Write> {
    out: W,
}

impl<W: Write> Tar<W> {
    /// An archive with nothing in it.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// Where the content of a file goes, right after its header.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Begins an entry at this path (without a leading slash). Says whether the format can hold it: no sockets. The
    /// content of a file must follow, as long as the node says, and then [`Tar::pad`].
    pub(crate) fn begin(&mut self, node: &Node, path: &[u8]) -> io::Result<bool> {
        let Some(flag) = type_flag(node.kind) else {
            return Ok(false);
        };
        let mut path = path.to_vec();
        if node.kind == NodeKind::Dir {
            path.push(b'/');
        }
        let records = records(node, &path);
        if !records.is_empty() {
            let mut header = Header::new(b'x', b"PaxHeaders/entry");
            header.number(100, 8, 0o644);
            header.number(124, 12, records.len() as u64);
            self.out.write_all(&header.finish())?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        let mut header = Header::new(flag, &path);
        header.number(100, 8, u64::from(node.mode & 0o7777));
        header.number(108, 8, u64::from(node.uid));
        header.number(116, 8, u64::from(node.gid));
        header.number(124, 12, content_bytes(node));
        header.number(136, 12, u64::try_from(node.mtime.seconds).unwrap_or(0));
        header.text(157, NAME_BYTES, &node.link_target);
        header.text(265, OWNER_BYTES, node.user.as_bytes());
        header.text(297, OWNER_BYTES, node.group.as_bytes());
        if matches!(node.kind, NodeKind::Device | NodeKind::CharDevice) {
            let (major, minor) = device_numbers(node.device);
            header.number(329, 8, major);
            header.number(337, 8, minor);
        }
        self.out.write_all(&header.finish())?;
        Ok(true)
    }

    /// Fills up the last block of a content of so many bytes.
    pub(crate) fn pad(&mut self, content_bytes: u64) -> io::Result<()> {
        let rest = (content_bytes % BLOCK_BYTES as u64) as usize;
        match rest {
            0 => Ok(()),
            rest => self.out.write_all(&[0; BLOCK_BYTES][rest..]),
        }
    }

    /// Ends the archive.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()
    }
}

/// Bytes that follow the header of an entry.
fn content_bytes(node: &Node) -> u64 {
    match node.kind {
        NodeKind::File => node.size,
        _ => 0,
    }
}

fn type_flag(kind: NodeKind) -> Option<u8> {
    match kind {
        NodeKind::File => Some(b'0'),
        NodeKind::Symlink => Some(b'2'),
        NodeKind::CharDevice => Some(b'3'),
        NodeKind::Device => Some(b'4'),
        NodeKind::Dir => Some(b'5'),
        NodeKind::Fifo => Some(b'6'),
        NodeKind::Socket | NodeKind::Irregular => None,
    }
}

/// Major and minor number of an `st_rdev` of Linux.
fn device_numbers(device: u64) -> (u64, u64) {
    let major = (device >> 32 & 0xffff_f000) | (device >> 8 & 0xfff);
    let minor = (device >> 12 & 0xffff_ff00) | (device & 0xff);
    (major, minor)
}

/// One block.
struct Header([u8; BLOCK_BYTES]);

impl Header {
    fn new(flag: u8, path: &[u8]) -> Self {
        let mut header = Self([0; BLOCK_BYTES]);
        header.0[156] = flag;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header.text(0, NAME_BYTES, path);
        for (at, length) in [(108, 8), (116, 8), (136, 12), (329, 8), (337, 8)] {
            header.number(at, length, 0);
        }
        header
    }

    /// What does not fit is in the extended header.
    fn text(&mut self, at: usize, length: usize, text: &[u8]) {
        let kept = text.len().min(length);
        self.0[at..at + kept].copy_from_slice(&text[..kept]);
    }

    /// In octal digits, ended by a NUL; one that does not fit is in the extended header.
    fn number(&mut self, at: usize, length: usize, number: u64) {
        let width = length - 1;
        let mut digits = format!("{number:0width$o}");
        if digits.len() > width {
            digits = "0".repeat(width);
        }
        self.text(at, length, digits.as_bytes());
    }

    fn finish(mut self) -> [u8; BLOCK_BYTES] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.text(148, 8, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// What ustar has no room for.
fn records(node: &Node, path: &[u8]) -> Vec<u8> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: Vec<u8>| found.push((key.as_bytes().to_vec(), value));
    for (key, text, room) in [
        ("path", path, NAME_BYTES),
        ("linkpath", &node.link_target[..], NAME_BYTES),
        ("uname", node.user.as_bytes(), OWNER_BYTES),
        ("gname", node.group.as_bytes(), OWNER_BYTES),
    ] {
        if text.len() > room || !text.is_ascii() {
            add(key, text.to_vec());
        }
    }
    for (key, number, largest) in [
        ("size", content_bytes(node), LARGEST_SIZE),
        ("uid", u64::from(node.uid), LARGEST_ID),
        ("gid", u64::from(node.gid), LARGEST_ID),
    ] {
        if number > largest {
            add(key, number.to_string().into_bytes());
        }
    }
    let fits = u64::try_from(node.mtime.seconds).is_ok_and(|seconds| seconds <= LARGEST_SIZE);
    if node.mtime.nanoseconds > 0 || !fits {
        add("mtime", decimal(node.mtime).into_bytes());
    }
    for xattr in &node.xattrs {
        // Such a name cannot be told from its value.
        if !xattr.name.contains(&b'=') {
            let key = [&b"SCHILY.xattr."[..], &xattr.name].concat();
            found.push((key, xattr.value.clone()));
        }
    }
    let is_text = |(key, value): &(Vec<u8>, Vec<u8>)| {
        key.starts_with(b"SCHILY.") || std::str::from_utf8(value).is_ok()
    };
    if !found.iter().all(is_text) {
        found.insert(0, (b"hdrcharset".to_vec(), b"BINARY".to_vec()));
    }
    found
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect()
}

/// `LENGTH KEY=VALUE`, with a length that counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while bare + length.to_string().len() > length {
        length += 1;
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

/// Seconds with their parts, also before 1970: there the parts count forward from the second before.
fn decimal(time: Time) -> String {
    match (time.seconds, time.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, parts) if seconds < 0 => {
            format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - parts)
        }
        (seconds, parts) => format!("{seconds}.{parts:09}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Tar, decimal, device_numbers, record, records};
    use vault::{Node, NodeKind, Time, Xattr};

    #[test]
    fn records_count_themselves() {
        assert_eq!(record(b"a", b"b"), b"6 a=b\n");
        // Two digits more because of one digit more.
        let value = [b'x'; 92];
        let long = record(b"key", &value);
        assert_eq!(long.len(), 101);
        assert!(long.starts_with(b"101 key=x"));
    }

    #[test]
    fn times_before_1970_count_forward() {
        for (seconds, parts, expected) in [
            (5, 0, "5"),
            (5, 25_000_000, "5.025000000"),
            (-2, 500_000_000, "-1.500000000"),
            (-1, 500_000_000, "-0.500000000"),
            (-7, 0, "-7"),
        ] {
            assert_eq!(decimal(Time::new(seconds, parts)), expected);
        }
    }

    #[test]
    fn what_fits_needs_no_extended_header() {
        let mut node = Node {
            kind: NodeKind::File,
            size: 3,
            ..Node::default()
        };
        assert!(records(&node, b"a").is_empty());
        node.uid = 0o10_000_000;
        node.size = 1 << 33;
        node.xattrs = vec![Xattr {
            name: b"user.x".to_vec(),
            value: b"\xff".to_vec(),
        }];
        let text = records(&node, "\u{e4}".as_bytes());
        let text = String::from_utf8_lossy(&text);
        for line in [
            "path=\u{e4}\n",
            "size=8589934592\n",
            "uid=2097152\n",
            "SCHILY.xattr.user.x=",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("hdrcharset"));
        assert!(records(&node, b"\xff").starts_with(b"21 hdrcharset=BINARY\n"));
    }

    #[test]
    fn an_entry_is_whole_blocks_with_a_sum() {
        let mut tar = Tar::new(Vec::new());
        let file = Node {
            kind: NodeKind::File,
            mode: 0o100_640,
            size: 3,
            ..Node::default()
        };
        assert!(tar.begin(&file, b"dir/name").unwrap());
        tar.out().extend_from_slice(b"abc");
        tar.pad(3).unwrap();
        let socket = Node {
            kind: NodeKind::Socket,
            ..Node::default()
        };
        assert!(!tar.begin(&socket, b"s").unwrap());
        tar.finish().unwrap();
        let bytes = tar.out;
        assert_eq!(bytes.len(), 4 * 512);
        assert!(bytes.starts_with(b"dir/name\0") && bytes[100..108] == *b"0000640\0");
        assert_eq!(bytes[512..516], *b"abc\0");
        let sum: u32 = bytes[..148]
            .iter()
            .chain(&bytes[156..512])
            .map(|byte| u32::from(*byte))
            .sum();
        let stated = std::str::from_utf8(&bytes[148..154]).unwrap();
        assert_eq!(
            u32::from_str_radix(stated, 8).unwrap(),
            sum + 8 * u32::from(b' ')
        );
    }

    #[test]
    fn device_numbers_are_those_of_linux() {
        assert_eq!(device_numbers(0x0801), (8, 1));
        assert_eq!(device_numbers(0x10_0103), (1, 0x103));
    }
}

//! Reads the JSON of a tree in the one form that restic and this crate write, without a general parser.
//!
//! A run without changes, a check and a prune read every tree, and most of the work is this text. What is read here is
//! the exact form: fields in order, no blanks, numbers without a sign or leading zeros, texts of plain ASCII. Anything
//! else (escapes, extended attributes, other programs' fields) is `None`, and [`super::Tree::decode`] asks serde. What is
//! accepted here, serde reads the same way; a test compares the two on mutated texts.

use crate::id::Id;
use crate::node::{Node, NodeKind, unix_mode};
use crate::time::Time;

/// The shortest text that a node has, for guessing how many there are.
const SHORT_NODE_BYTES: usize = 320;

/// The nodes, if the text has the plain form.
pub(super) fn decode(json: &[u8]) -> Option<Vec<Node>> {
    let mut text = Text(json);
    text.word(b"{\"nodes\":[")?;
    let mut nodes = Vec::with_capacity(json.len() / SHORT_NODE_BYTES);
    if !text.has(b"]") {
        loop {
            nodes.push(text.node()?);
            if !text.has(b",") {
                break;
            }
        }
        text.word(b"]")?;
    }
    text.word(b"}\n")?;
    text.0.is_empty().then_some(nodes)
}

/// What is left to read.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn has(&mut self, word: &[u8]) -> bool {
        match self.0.strip_prefix(word) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.has(word).then_some(())
    }

    /// A text of printable ASCII without escapes, up to its closing quote.
    fn plain(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == b'"')?;
        let (found, rest) = self.0.split_at(end);
        let is_plain = found
            .iter()
            .all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\\');
        self.0 = &rest[1..];
        std::str::from_utf8(found).ok().filter(|_| is_plain)
    }

    fn number(&mut self) -> Option<u64> {
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

    /// A number that is left out when it is 0.
    fn number_if(&mut self, key: &[u8]) -> Option<u64> {
        match self.has(key) {
            true => self.number(),
            false => Some(0),
        }
    }

    fn text_if(&mut self, key: &[u8]) -> Option<String> {
        match self.has(key) {
            true => self.plain().map(str::to_owned),
            false => Some(String::new()),
        }
    }

    fn time(&mut self, key: &[u8]) -> Option<Time> {
        self.word(key)?;
        match self.plain()? {
            "" => None,
            text => Time::parse(text.as_bytes()).ok(),
        }
    }

    fn id(&mut self) -> Option<Id> {
        self.word(b"\"")?;
        self.plain()?.parse().ok()
    }

    fn content(&mut self) -> Option<Vec<Id>> {
        if self.has(b"null") {
            return Some(Vec::new());
        }
        self.word(b"[")?;
        let mut content = Vec::new();
        if self.has(b"]") {
            return Some(content);
        }
        loop {
            content.push(self.id()?);
            if !self.has(b",") {
                break;
            }
        }
        self.word(b"]")?;
        Some(content)
    }

    fn node(&mut self) -> Option<Node> {
        self.word(b"{\"name\":\"")?;
        let name = self.plain()?.as_bytes().to_vec();
        self.word(b",\"type\":\"")?;
        let kind = NodeKind::parse(self.plain()?);
        let mode = u32::try_from(self.number_if(b",\"mode\":")?).ok()?;
        let mtime = self.time(b",\"mtime\":\"")?;
        let atime = self.time(b",\"atime\":\"")?;
        let ctime = self.time(b",\"ctime\":\"")?;
        self.word(b",\"uid\":")?;
        let uid = u32::try_from(self.number()?).ok()?;
        self.word(b",\"gid\":")?;
        let gid = u32::try_from(self.number()?).ok()?;
        let node = Node {
            name,
            kind,
            mode: unix_mode(kind, mode),
            mtime,
            atime,
            ctime,
            uid,
            gid,
            user: self.text_if(b",\"user\":\"")?,
            group: self.text_if(b",\"group\":\"")?,
            inode: self.number_if(b",\"inode\":")?,
            device_id: self.number_if(b",\"device_id\":")?,
            size: self.number_if(b",\"size\":")?,
            links: self.number_if(b",\"links\":")?,
            link_target: self.text_if(b",\"linktarget\":\"")?.into_bytes(),
            device: self.number_if(b",\"device\":")?,
            content: match self.has(b",\"content\":") {
                true => self.content()?,
                false => Vec::new(),
            },
            subtree: match self.has(b",\"subtree\":") {
                true => Some(self.id()?),
                false => None,
            },
            xattrs: Vec::new(),
            generic_attributes: None,
            error: String::new(),
        };
        self.word(b"}")?;
        Some(node)
    }
}

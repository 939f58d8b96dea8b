//! Reads the JSON of a tree in the one form that restic and this crate write, without a general parser.
//!
//! A run without changes, a check and a prune read every tree, and most of the work is this text. What is read here is
//! the exact form: fields in order, no blanks, numbers without a sign or leading zeros, texts of plain ASCII. Anything
//! else (escapes, extended attributes, other programs' fields) is `None`, and [`super::Tree::decode`] asks serde. What is
//! accepted here, serde reads the same way; a test compares the two on mutated texts.

use crate::id::Id;
use crate::node::{Node, NodeKind, unix_mode};
use crate::plain_json::Text;
use crate::time::Time;

/// The nodes, if the text has the plain form.
pub(super) fn decode(json: &[u8]) -> Option<Vec<Node>> {
    let mut text = Text::new(json);
    text.word(b"{\"nodes\":")?;
    let nodes = text.list(Text::node)?;
    text.word(b"}\n")?;
    text.is_at_end().then_some(nodes)
}

impl Text<'_> {
    fn time<const N: usize>(&mut self, key: &[u8; N]) -> Option<Time> {
        self.word(key)?;
        match self.plain()? {
            b"" => None,
            text => Time::parse(text).ok(),
        }
    }

    fn content(&mut self) -> Option<Vec<Id>> {
        if self.has(b"null") {
            return Some(Vec::new());
        }
        self.list(Text::id)
    }

    fn node(&mut self) -> Option<Node> {
        self.word(b"{\"name\":\"")?;
        let name = self.plain()?.to_vec();
        self.word(b",\"type\":\"")?;
        let kind = NodeKind::parse(self.plain()?);
        let mode = u32::try_from(self.number_if(b",\"mode\":")?).ok()?;
        let mtime = self.time(b",\"mtime\":\"")?;
        let atime = self.time(b",\"atime\":\"")?;
        let ctime = self.time(b",\"ctime\":\"")?;
        self.word(b",\"uid\":")?;
        let uid = self.number_u32()?;
        self.word(b",\"gid\":")?;
        let gid = self.number_u32()?;
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

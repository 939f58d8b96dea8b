//! Trees: the entries of one folder, and their JSON, byte for byte as restic writes it.
//!
//! The text decides the id of a tree, so the order of fields, what is left out when empty, and every escape follow
//! restic. It is written by hand for that reason and for speed; what is read in that very form is read by hand too
//! (`canonical`), and all else goes through serde.

mod canonical;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::VaultError;
use crate::id::Id;
use crate::node::{Node, NodeKind, Xattr, go_mode, unix_mode};
use crate::quote::{push_json_name, push_json_string, unquote};
use crate::time::Time;

/// The entries of one folder, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// The entries. Writing wants them sorted by the bytes of their names, each name once.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// A tree of these entries, sorted. An entry whose name was there already is a mistake of the caller that
    /// [`Tree::encode`] refuses.
    #[must_use]
    pub fn from_nodes(mut nodes: Vec<Node>) -> Self {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Self { nodes }
    }

    /// The entry of this name. Trees of other programs may be unsorted, so all are looked at.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The JSON text, with the newline at its end that restic writes.
    ///
    /// Refused are trees that restic could not read back as one folder: unsorted, or with a name twice.
    pub fn encode(&self) -> Result<Vec<u8>, VaultError> {
        let mut out = Vec::with_capacity(64 + self.nodes.len() * 480);
        self.encode_to(&mut out)?;
        Ok(out)
    }

    /// As [`Tree::encode`], into a buffer that is used again and again.
    pub fn encode_to(&self, out: &mut Vec<u8>) -> Result<(), VaultError> {
        if !self.nodes.is_sorted_by(|a, b| a.name < b.name) {
            return Err(VaultError::DamagedTree {
                reason: "its names are not in order, or one is there twice".to_owned(),
            });
        }
        out.clear();
        out.extend_from_slice(b"{\"nodes\":[");
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_node(node, out);
        }
        out.extend_from_slice(b"]}\n");
        Ok(())
    }

    /// Reads the JSON of a tree that any program wrote.
    pub fn decode(json: &[u8]) -> Result<Self, VaultError> {
        match canonical::decode(json) {
            Some(nodes) => Ok(Self { nodes }),
            None => Self::decode_any(json),
        }
    }

    /// Reads any JSON that is a tree.
    fn decode_any(json: &[u8]) -> Result<Self, VaultError> {
        let damaged = |reason: String| VaultError::DamagedTree { reason };
        let tree: TreeJson<'_> =
            serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
        let nodes = tree
            .nodes
            .ok_or_else(|| damaged("it has no list of nodes".to_owned()))?
            .into_iter()
            .map(NodeJson::into_node)
            .collect::<Result<_, _>>()?;
        Ok(Self { nodes })
    }
}

fn push_node(node: &Node, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"name\":");
    push_json_name(&node.name, out);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(node.kind.as_str().as_bytes());
    out.push(b'"');
    push_number("mode", u64::from(go_mode(node.kind, node.mode)), out);
    push_time("mtime", node.mtime, out);
    push_time("atime", node.atime, out);
    push_time("ctime", node.ctime, out);
    push_key("uid", out);
    push_decimal(u64::from(node.uid), out);
    push_key("gid", out);
    push_decimal(u64::from(node.gid), out);
    push_text("user", node.user.as_bytes(), out);
    push_text("group", node.group.as_bytes(), out);
    push_number("inode", node.inode, out);
    push_number("device_id", node.device_id, out);
    push_number("size", node.size, out);
    push_number("links", node.links, out);
    push_text("linktarget", &node.link_target, out);
    if std::str::from_utf8(&node.link_target).is_err() {
        push_key("linktarget_raw", out);
        push_base64(&node.link_target, out);
    }
    push_xattrs(&node.xattrs, out);
    if let Some(attributes) = &node.generic_attributes {
        push_key("generic_attributes", out);
        out.extend_from_slice(attributes.as_bytes());
    }
    push_number("device", node.device, out);
    push_content(node, out);
    if let Some(subtree) = &node.subtree {
        push_key("subtree", out);
        push_id(subtree, out);
    }
    push_text("error", node.error.as_bytes(), out);
    out.push(b'}');
}

fn push_key(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A number that is left out when it is 0.
fn push_number(key: &str, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        push_key(key, out);
        push_decimal(value, out);
    }
}

pub(crate) fn push_decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A text that is left out when it is empty.
fn push_text(key: &str, text: &[u8], out: &mut Vec<u8>) {
    if !text.is_empty() {
        push_key(key, out);
        push_json_string(text, out);
    }
}

fn push_time(key: &str, time: Time, out: &mut Vec<u8>) {
    push_key(key, out);
    out.push(b'"');
    time.push_text(out);
    out.push(b'"');
}

fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BASE64.encode(bytes).as_bytes());
    out.push(b'"');
}

pub(crate) fn push_id(id: &Id, out: &mut Vec<u8>) {
    out.push(b'"');
    id.push_hex(out);
    out.push(b'"');
}

fn push_xattrs(xattrs: &[Xattr], out: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    push_key("extended_attributes", out);
    for (index, xattr) in xattrs.iter().enumerate() {
        out.extend_from_slice(if index == 0 {
            b"[{\"name\":"
        } else {
            b",{\"name\":"
        });
        push_json_string(&xattr.name, out);
        push_key("value", out);
        push_base64(&xattr.value, out);
        out.push(b'}');
    }
    out.push(b']');
}

/// Files always have a list, if an empty one; all else has `null`.
fn push_content(node: &Node, out: &mut Vec<u8>) {
    push_key("content", out);
    if node.kind != NodeKind::File {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'[');
    for (index, id) in node.content.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_id(id, out);
    }
    out.push(b']');
}

#[derive(Deserialize)]
struct TreeJson<'a> {
    #[serde(borrow)]
    nodes: Option<Vec<NodeJson<'a>>>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct NodeJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    mode: u32,
    #[serde(borrow)]
    mtime: Cow<'a, str>,
    #[serde(borrow)]
    atime: Cow<'a, str>,
    #[serde(borrow)]
    ctime: Cow<'a, str>,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    inode: u64,
    device_id: u64,
    size: u64,
    links: u64,
    #[serde(borrow)]
    linktarget: Cow<'a, str>,
    #[serde(borrow)]
    linktarget_raw: Cow<'a, str>,
    #[serde(borrow)]
    extended_attributes: Option<Vec<XattrJson<'a>>>,
    #[serde(borrow)]
    generic_attributes: Option<&'a RawValue>,
    device: u64,
    content: Option<Vec<Id>>,
    subtree: Option<Id>,
    error: String,
}

#[derive(Deserialize)]
struct XattrJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<Cow<'a, str>>,
}

impl NodeJson<'_> {
    fn into_node(self) -> Result<Node, VaultError> {
        let wrong = |what: &str| VaultError::DamagedTree {
            reason: format!("the {what} of node {:?} is wrong", self.name),
        };
        let time = |text: &str, what: &str| match text {
            "" => Ok(Time::default()),
            _ => Time::parse(text.as_bytes()).map_err(|_| wrong(what)),
        };
        let base64 = |text: &str, what: &str| BASE64.decode(text).map_err(|_| wrong(what));
        let kind = NodeKind::parse(self.kind.as_bytes());
        let mut xattrs = Vec::new();
        for xattr in self.extended_attributes.iter().flatten() {
            xattrs.push(Xattr {
                name: xattr.name.as_bytes().to_vec(),
                value: base64(xattr.value.as_deref().unwrap_or(""), "extended attributes")?,
            });
        }
        let link_target = match &*self.linktarget_raw {
            "" => self.linktarget.as_bytes().to_vec(),
            raw => base64(raw, "link target")?,
        };
        Ok(Node {
            name: unquote(&self.name).map_err(|_| wrong("name"))?.into_owned(),
            kind,
            mode: unix_mode(kind, self.mode),
            mtime: time(&self.mtime, "mtime")?,
            atime: time(&self.atime, "atime")?,
            ctime: time(&self.ctime, "ctime")?,
            uid: self.uid,
            gid: self.gid,
            inode: self.inode,
            device_id: self.device_id,
            size: self.size,
            links: self.links,
            link_target,
            xattrs,
            generic_attributes: self.generic_attributes.map(|raw| raw.get().into()),
            device: self.device,
            subtree: self.subtree,
            user: self.user,
            group: self.group,
            content: self.content.unwrap_or_default(),
            error: self.error,
        })
    }
}

#[cfg(test)]
mod tests;

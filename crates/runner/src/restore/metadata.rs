//! The metadata of a node in the words of a target.

use source::file::stat::FileTime;
use source::file::target::TargetMetadata;
use source::file::xattrs::Xattr;
use vault::Node;

use crate::node::file_time;

/// The metadata of one entry, kept until its content is written.
#[derive(Debug)]
pub(super) struct NodeMetadata {
    mode: u32,
    uid: u32,
    gid: u32,
    accessed: FileTime,
    modified: FileTime,
    xattrs: Vec<Xattr>,
}

impl NodeMetadata {
    pub(super) fn of(node: &mut Node) -> NodeMetadata {
        let xattrs = std::mem::take(&mut node.xattrs);
        NodeMetadata {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            accessed: file_time(node.atime),
            modified: file_time(node.mtime),
            xattrs: xattrs
                .into_iter()
                .map(|xattr| Xattr {
                    name: xattr.name,
                    value: xattr.value,
                })
                .collect(),
        }
    }

    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    /// About how much memory the attributes take beside this record.
    pub(super) fn held_bytes(&self) -> usize {
        let bytes_of = |xattr: &Xattr| size_of::<Xattr>() + xattr.name.len() + xattr.value.len();
        self.xattrs.iter().map(bytes_of).sum()
    }

    pub(super) fn as_target(&self) -> TargetMetadata<'_> {
        TargetMetadata {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            accessed: self.accessed,
            modified: self.modified,
            xattrs: &self.xattrs,
        }
    }
}

//! A small backup and restore of a folder, enough to drive the vault as the runner does.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::Storage;
use vault::{
    BlobKind, BlobScratch, Id, KdfCost, KeyOptions, Node, NodeKind, Reader, Repository, Secret,
    Snapshot, Time, Tree, VaultError, Writer, Xattr,
};

pub(crate) const PASSWORD: &str = "a password of the tests";

pub(crate) fn key_options() -> KeyOptions {
    KeyOptions {
        cost: KdfCost::Cheapest,
        username: "tester".to_owned(),
        hostname: "testhost".to_owned(),
    }
}

pub(crate) fn create(storage: Arc<dyn Storage>) -> Result<Repository, VaultError> {
    Repository::create(storage, &Secret::from(PASSWORD), &key_options())
}

pub(crate) fn open(storage: Arc<dyn Storage>) -> Result<Repository, VaultError> {
    Repository::open(storage, &Secret::from(PASSWORD))
}

/// An entry of `path` without content.
pub(crate) fn node_of(path: &Path) -> Node {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let kind = NodeKind::of_mode(metadata.mode());
    let is_device = matches!(kind, NodeKind::Device | NodeKind::CharDevice);
    Node {
        name: path.file_name().unwrap().as_bytes().to_vec(),
        kind,
        mode: metadata.mode(),
        mtime: Time::new(metadata.mtime(), metadata.mtime_nsec() as u32),
        atime: Time::new(metadata.atime(), metadata.atime_nsec() as u32),
        ctime: Time::new(metadata.ctime(), metadata.ctime_nsec() as u32),
        uid: metadata.uid(),
        gid: metadata.gid(),
        inode: metadata.ino(),
        device_id: metadata.dev(),
        size: if kind == NodeKind::File {
            metadata.len()
        } else {
            0
        },
        links: if kind == NodeKind::Dir {
            0
        } else {
            metadata.nlink()
        },
        link_target: match kind {
            NodeKind::Symlink => std::fs::read_link(path)
                .unwrap()
                .into_os_string()
                .into_vec(),
            _ => Vec::new(),
        },
        device: if is_device { metadata.rdev() } else { 0 },
        xattrs: xattrs_of(path),
        ..Node::default()
    }
}

fn xattrs_of(path: &Path) -> Vec<Xattr> {
    let mut names = vec![0; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return Vec::new();
    };
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            Xattr {
                name: name.to_vec(),
                value,
            }
        })
        .collect()
}

/// Saves everything below `folder` and gives the tree.
pub(crate) fn save_folder(
    writer: &Writer,
    chunker: &vault::Chunker,
    folder: &Path,
) -> Result<Id, VaultError> {
    let mut scratch = BlobScratch::new();
    save_tree_of(writer, chunker, folder, &mut scratch)
}

fn save_tree_of(
    writer: &Writer,
    chunker: &vault::Chunker,
    folder: &Path,
    scratch: &mut BlobScratch,
) -> Result<Id, VaultError> {
    let mut nodes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut node = node_of(&path);
        match node.kind {
            NodeKind::File => {
                let bytes = std::fs::read(&path).unwrap();
                node.content = save_bytes(writer, chunker, &bytes, scratch)?;
            }
            NodeKind::Dir => node.subtree = Some(save_tree_of(writer, chunker, &path, scratch)?),
            _ => {}
        }
        nodes.push(node);
    }
    Ok(writer.save_tree(&Tree::from_nodes(nodes), scratch)?.id)
}

pub(crate) fn save_bytes(
    writer: &Writer,
    chunker: &vault::Chunker,
    mut bytes: &[u8],
    scratch: &mut BlobScratch,
) -> Result<Vec<Id>, VaultError> {
    let mut content = Vec::new();
    while let Some(length) = chunker.next_cut(bytes, true) {
        content.push(
            writer
                .save_blob(BlobKind::Data, &bytes[..length], scratch)?
                .id,
        );
        bytes = &bytes[length..];
    }
    Ok(content)
}

pub(crate) fn snapshot_of(tree: Id, path: &str) -> Snapshot {
    Snapshot {
        time: Time::now(),
        tree,
        paths: vec![path.to_owned()],
        hostname: "testhost".to_owned(),
        username: "tester".to_owned(),
        ..Snapshot::default()
    }
}

/// Every entry of a tree with the path to it and, for files, their bytes.
pub(crate) fn read_all(
    reader: &Reader,
    tree: &Id,
) -> Result<Vec<(PathBuf, Node, Vec<u8>)>, VaultError> {
    let mut found = Vec::new();
    read_below(reader, tree, Path::new(""), &mut found)?;
    Ok(found)
}

fn read_below(
    reader: &Reader,
    tree: &Id,
    path: &Path,
    found: &mut Vec<(PathBuf, Node, Vec<u8>)>,
) -> Result<(), VaultError> {
    for node in reader.read_tree(tree)?.nodes {
        let path = path.join(std::ffi::OsStr::from_bytes(&node.name));
        let mut bytes = Vec::new();
        for id in &node.content {
            bytes.extend(reader.read_blob(BlobKind::Data, id)?);
        }
        if node.kind == NodeKind::File {
            assert_eq!(bytes.len() as u64, node.size);
        }
        let subtree = node.subtree;
        found.push((path.clone(), node, bytes));
        if let Some(subtree) = subtree {
            read_below(reader, &subtree, &path, found)?;
        }
    }
    Ok(())
}

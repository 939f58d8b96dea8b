//! Synthetic vaults: the same content for the same numbers, written by the vault's own writer.
//!
//! A vault has one tree of `/scale/MMMM/DD/NN`: a hundred files in each folder, a hundred folders in each folder above. Each
//! file is one blob of 40 bytes. With several snapshots the first one has half of the blobs, and each other one replaces
//! the files of some folders, so that all together have as many blobs as was asked for.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use storage::LocalFolder;
use vault::{
    BlobKind, BlobScratch, Id, Index, KdfCost, KeyOptions, Node, NodeKind, Repository, Secret,
    Snapshot, Time, Tree, Writer, WriterOptions,
};

/// What opens the vaults.
pub(crate) const PASSWORD: &str = "scale";
const FILES_PER_FOLDER: u64 = 100;
const FOLDERS_PER_FOLDER: u64 = 100;
/// When the first snapshot was made; each other one an hour later.
const FIRST_SECONDS: i64 = 1_600_000_000;

/// How large a vault is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) snapshots: u64,
    /// Folders of files in each snapshot.
    folders: u64,
    /// Folders that each snapshot after the first replaces.
    replaced: u64,
}

impl Shape {
    /// The nearest shape with about so many data blobs.
    pub(crate) fn new(blobs: u64, snapshots: u64) -> Result<Self, String> {
        if blobs < 10_000 || snapshots == 0 {
            return Err("at least 10000 blobs and one snapshot are needed".to_owned());
        }
        let all = blobs / FILES_PER_FOLDER;
        let folders = if snapshots == 1 { all } else { all / 2 };
        let later = snapshots.saturating_sub(1).max(1);
        Ok(Self {
            snapshots,
            folders,
            replaced: ((all - folders) / later).max(1),
        })
    }

    /// A file of the first folder that no snapshot but the first has, and its content; with one snapshot it has that.
    pub(crate) fn oldest_file(self) -> (&'static str, Vec<u8>) {
        ("/scale/0000/00/05", content(5))
    }
}

/// The file of this number in the order of writing.
fn content(number: u64) -> Vec<u8> {
    let mut bytes = Id::hash(&number.to_le_bytes()).as_bytes().to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

/// Makes a vault in a folder that does not exist.
pub(crate) fn make(folder: &Path, shape: Shape) -> Result<(), Box<dyn Error>> {
    let options = KeyOptions {
        cost: KdfCost::Cheapest,
        username: String::new(),
        hostname: String::new(),
    };
    let storage = Arc::new(LocalFolder::new(folder));
    let repository = Repository::create(storage, &Secret::from(PASSWORD), &options)?;
    let mut trees = Trees {
        folders: Vec::new(),
        uppers: Vec::new(),
        next_file: 0,
        scratch: BlobScratch::new(),
    };
    let mut first_replaced = 0;
    for number in 0..shape.snapshots {
        // Every blob of a snapshot is new, so that nothing has to be known of the others.
        let index = Arc::new(Index::default());
        let writer = Writer::open(repository.clone(), index, WriterOptions::default())?;
        if number == 0 {
            for folder in 0..shape.folders {
                trees.write_folder(&writer, folder)?;
            }
            trees.write_uppers(&writer, 0..shape.folders.div_ceil(FOLDERS_PER_FOLDER))?;
        } else {
            let replaced: Vec<u64> = (first_replaced..first_replaced + shape.replaced)
                .map(|folder| folder % shape.folders)
                .collect();
            first_replaced += shape.replaced;
            for &folder in &replaced {
                trees.write_folder(&writer, folder)?;
            }
            let mut uppers: Vec<u64> = replaced
                .iter()
                .map(|folder| folder / FOLDERS_PER_FOLDER)
                .collect();
            uppers.dedup();
            trees.write_uppers(&writer, uppers)?;
        }
        let tree = trees.write_root(&writer)?;
        writer.commit(&Snapshot {
            time: Time::new(FIRST_SECONDS + number as i64 * 3600, 0),
            tree,
            paths: vec!["/scale".to_owned()],
            hostname: "bench".to_owned(),
            ..Snapshot::default()
        })?;
    }
    Ok(())
}

/// The trees of the snapshot that is being made.
struct Trees {
    folders: Vec<Id>,
    uppers: Vec<Id>,
    next_file: u64,
    scratch: BlobScratch,
}

impl Trees {
    fn write_folder(&mut self, writer: &Writer, folder: u64) -> Result<(), Box<dyn Error>> {
        let mut nodes = Vec::new();
        for name in 0..FILES_PER_FOLDER {
            let bytes = content(self.next_file);
            self.next_file += 1;
            let saved = writer.save_blob(BlobKind::Data, &bytes, &mut self.scratch)?;
            nodes.push(Node {
                name: format!("{name:02}").into_bytes(),
                kind: NodeKind::File,
                mode: 0o100_644,
                size: bytes.len() as u64,
                content: vec![saved.id],
                ..Node::default()
            });
        }
        let id = self.write(writer, nodes)?;
        match self.folders.get_mut(folder as usize) {
            Some(known) => *known = id,
            None => self.folders.push(id),
        }
        Ok(())
    }

    fn write_uppers(
        &mut self,
        writer: &Writer,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Result<(), Box<dyn Error>> {
        for number in numbers {
            let first = (number * FOLDERS_PER_FOLDER) as usize;
            let end = (first + FOLDERS_PER_FOLDER as usize).min(self.folders.len());
            let nodes = (0..).zip(&self.folders[first..end]);
            let nodes = nodes.map(|(name, id)| dir(&format!("{name:02}"), id));
            let id = self.write(writer, nodes.collect())?;
            match self.uppers.get_mut(number as usize) {
                Some(known) => *known = id,
                None => self.uppers.push(id),
            }
        }
        Ok(())
    }

    fn write_root(&mut self, writer: &Writer) -> Result<Id, Box<dyn Error>> {
        let nodes = self.uppers.iter().enumerate();
        let nodes = nodes.map(|(name, id)| dir(&format!("{name:04}"), id));
        let top = self.write(writer, nodes.collect())?;
        self.write(writer, vec![dir("scale", &top)])
    }

    fn write(&mut self, writer: &Writer, nodes: Vec<Node>) -> Result<Id, Box<dyn Error>> {
        let tree = Tree::from_nodes(nodes);
        Ok(writer.save_tree(&tree, &mut self.scratch)?.id)
    }
}

fn dir(name: &str, tree: &Id) -> Node {
    Node {
        name: name.as_bytes().to_vec(),
        kind: NodeKind::Dir,
        mode: 0o40_755,
        subtree: Some(*tree),
        ..Node::default()
    }
}

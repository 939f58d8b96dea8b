//! `repo dump`: a file of a snapshot as it is, or a folder as a tar archive.
//!
//! One blob is in memory at a time. What is written before something fails is not whole, and the exit status says so.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use vault::{BlobKind, Id, Node, NodeKind, Reader};

use super::listing::path_parts;
use super::tar::Tar;
use super::walk::{Next, Visitor, path_text, walk};
use super::{Repo, vault_failure};
use crate::args::RepoDumpArgs;
use crate::exit::{Exit, Failure, chain};
use crate::output::counted;

/// Written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Dumps.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoDumpArgs) -> Result<Exit, Failure> {
    let fail = |error| vault_failure(&error);
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let _lock = repo.lock_to_read(&opened)?;
    let filter = args.latest.filter(repo.settings.host.as_deref());
    let (id, snapshot) = repo.find_snapshot(&opened, &args.snapshot, &filter)?;
    let (index, damaged) = opened.load_index_to_restore().map_err(fail)?;
    for (id, error) in damaged {
        repo.warn(&format!("index file {id} is left out: {}", chain(&error)));
    }
    let reader = Reader::new(opened, Arc::new(index));
    let parts = path_parts(&args.path);
    let node = find(&reader, snapshot.tree, &parts)?.ok_or_else(|| {
        Failure::new(
            format!("{} is not in snapshot {}", args.path, id.short()),
            format!("list what is: strongroom repo ls {}", id.short()),
        )
    })?;
    let is_archive = node.kind == NodeKind::Dir;
    if !is_archive && node.kind != NodeKind::File {
        return Err(Failure::new(
            format!(
                "{} is neither a file nor a folder: {}",
                args.path, node.kind
            ),
            "name a file, or the folder that it is in",
        ));
    }
    let output = Output::open(args.target.as_deref(), is_archive)?;
    let mut dump = Dump {
        repo,
        reader: &reader,
        tar: Tar::new(BufWriter::with_capacity(BUFFER_BYTES, output)),
        left_out_count: 0,
    };
    match node.subtree.filter(|_| is_archive) {
        Some(tree) => {
            walk(repo, &reader, &tree, parts, &mut dump)?;
            dump.tar.finish().map_err(|error| dump.failed(&error))?;
        }
        None => {
            dump.content(&node, &args.path)?;
            dump.tar
                .out()
                .flush()
                .map_err(|error| dump.failed(&error))?;
        }
    }
    dump.end()
}

/// The entry at a path; the root is a folder without a name.
fn find(reader: &Reader, tree: Id, parts: &[Vec<u8>]) -> Result<Option<Node>, Failure> {
    let mut found = Node {
        kind: NodeKind::Dir,
        subtree: Some(tree),
        ..Node::default()
    };
    for part in parts {
        let Some(subtree) = found.subtree else {
            return Ok(None);
        };
        let tree = reader
            .read_tree(&subtree)
            .map_err(|error| vault_failure(&error))?;
        match tree.find(part) {
            Some(node) => found = node.clone(),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

struct Dump<'a> {
    repo: &'a Repo<'a>,
    reader: &'a Reader,
    tar: Tar<BufWriter<Output>>,
    /// Entries that an archive cannot hold.
    left_out_count: u64,
}

impl Dump<'_> {
    /// The content of a file.
    fn content(&mut self, node: &Node, path: &str) -> Result<(), Failure> {
        let mut written_bytes = 0_u64;
        for id in &node.content {
            if self.is_nobody_reading() {
                return Ok(());
            }
            let out = self.tar.out();
            let written = self
                .reader
                .with_blob(BlobKind::Data, id, |bytes| {
                    written_bytes += bytes.len() as u64;
                    out.write_all(bytes)
                })
                .map_err(|error| {
                    let failure = vault_failure(&error);
                    Failure::with(
                        failure.exit,
                        format!("{path} cannot be read whole: {}", failure.what),
                        failure.next,
                    )
                })?;
            written.map_err(|error| self.failed(&error))?;
        }
        if written_bytes != node.size {
            return Err(Failure::new(
                format!(
                    "{path} has {written_bytes} bytes in the repository, and should have {}",
                    node.size
                ),
                "look at the whole repository: strongroom repo check --read-data",
            ));
        }
        Ok(())
    }

    fn is_nobody_reading(&mut self) -> bool {
        self.tar.out().get_ref().is_closed
    }

    fn failed(&mut self, error: &io::Error) -> Failure {
        Failure::new(
            format!("cannot write to {}: {error}", self.tar.out().get_ref().name),
            "make room there, or name another --target; what is there is not whole",
        )
    }

    fn end(&mut self) -> Result<Exit, Failure> {
        if self.is_nobody_reading() {
            return Ok(Exit::ReaderGone);
        }
        if self.left_out_count == 0 {
            return Ok(Exit::Done);
        }
        self.repo.warn(&format!(
            "{} left out: an archive holds no sockets, and no names with a slash",
            counted(self.left_out_count, "item")
        ));
        Ok(Exit::Partial)
    }
}

impl Visitor for Dump<'_> {
    fn visit(&mut self, node: &Node, path: &[Vec<u8>]) -> Result<Next, Failure> {
        if self.is_nobody_reading() {
            return Ok(Next::End);
        }
        // Who unpacks it must not be led astray.
        let begun = node.has_safe_name()
            && self
                .tar
                .begin(node, &path.join(&b'/'))
                .map_err(|error| self.failed(&error))?;
        if !begun {
            self.left_out_count += 1;
            return Ok(Next::Beside);
        }
        if node.kind == NodeKind::File {
            self.content(node, &path_text(path))?;
            self.tar
                .pad(node.size)
                .map_err(|error| self.failed(&error))?;
        }
        Ok(Next::Below)
    }
}

/// A file, or standard output. When nobody reads that any more, what is written is dropped, and said to be.
struct Output {
    out: Box<dyn Write>,
    name: String,
    is_closed: bool,
}

impl Output {
    fn open(target: Option<&Path>, is_archive: bool) -> Result<Self, Failure> {
        let (out, name): (Box<dyn Write>, _) = match target {
            Some(path) => {
                let file = OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(|error| {
                        Failure::new(
                            format!("cannot write to {}: {error}", path.display()),
                            "name a file that you can write to",
                        )
                    })?;
                (Box::new(file), path.display().to_string())
            }
            None if is_archive && io::stdout().is_terminal() => {
                return Err(Failure::usage(
                    "an archive would be written to the terminal",
                    "write it to a file (--target FILE), or pipe it to tar",
                ));
            }
            None => (Box::new(io::stdout().lock()), "standard output".to_owned()),
        };
        Ok(Self {
            out,
            name,
            is_closed: false,
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        match self.out.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.out.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            flushed => flushed,
        }
    }
}

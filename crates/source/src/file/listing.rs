//! A folder's entries, after everything that leaves entries out: patterns, the skip set, borders of file systems,
//! pseudo file systems, tagged caches.
//!
//! Listing is a read of names and one `lstat` per name; it opens nothing but the folder. What is taken is sorted by
//! name, which is the order of a restic tree.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::sync::Arc;

use rustix::fs::{AtFlags, RawDir, SeekFrom};

use super::cachedir;
use super::dir::{Dir, DirBudget};
use super::filter::{Choice, Filter, PatternError};
use super::path::push_component;
use super::pseudo;
use super::roots::RootTree;
use super::stat::{DevIno, FileKind, FileStat};
use crate::error::{Operation, SourceError};

/// Room for the names of one system call.
const NAME_BUFFER_BYTES: usize = 32 * 1024;

/// What a job reads and what it leaves out.
#[derive(Clone, Debug, Default)]
pub struct FileSourceOptions {
    /// Absolute paths.
    pub paths: Vec<Vec<u8>>,
    /// Patterns to which the job is limited; see [`Filter`].
    pub include: Vec<String>,
    /// Patterns that are left out; see [`Filter`].
    pub exclude: Vec<String>,
    /// Folders that are left out wherever they show up: vaults, caches, the data directory.
    pub skip: Vec<DevIno>,
    /// Stay on the file system of each path.
    pub one_file_system: bool,
    /// Leave out what lies beside a CACHEDIR.TAG.
    pub exclude_caches: bool,
    /// Leave out files with more bytes than this, but for those that `paths` names.
    pub exclude_larger_than_bytes: Option<u64>,
}

/// The files of this host, seen through the options of one job.
#[derive(Debug)]
pub struct FileSource {
    filter: Filter,
    skip: HashSet<DevIno>,
    one_file_system: bool,
    exclude_caches: bool,
    largest_file_bytes: u64,
    roots: RootTree,
    budget: Arc<DirBudget>,
}

/// How the entries of one folder are to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// An include pattern matched the folder or one above it.
    pub is_taken: bool,
    /// The device of the path the job named.
    pub device: u64,
}

/// What lies below an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// The entry is no folder.
    Nothing,
    /// A folder whose content is left out; the folder itself is kept.
    Closed,
    /// A folder to be read.
    Open {
        /// How to see its entries.
        scope: Scope,
        /// It lies on another file system than the folder that holds it.
        is_border: bool,
    },
}

/// One entry of a folder.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in the folder.
    pub name: Box<[u8]>,
    /// Its metadata when the folder was listed.
    pub stat: FileStat,
    /// What lies below.
    pub below: Below,
}

/// The entries of a folder that are taken, sorted by name, and what could not be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// Sorted by name.
    pub entries: Vec<Entry>,
    /// Entries, or the rest of the folder, that could not be read.
    pub errors: Vec<SourceError>,
}

impl FileSource {
    /// Makes a source; fails on a pattern that cannot be read.
    pub fn new(options: &FileSourceOptions) -> Result<FileSource, PatternError> {
        Ok(FileSource {
            filter: Filter::new(&options.include, &options.exclude)?,
            skip: options.skip.iter().copied().collect(),
            one_file_system: options.one_file_system,
            exclude_caches: options.exclude_caches,
            largest_file_bytes: options.exclude_larger_than_bytes.unwrap_or(u64::MAX),
            roots: RootTree::new(options.paths.iter().map(Vec::as_slice)),
            budget: Arc::new(DirBudget::default()),
        })
    }

    /// The paths of the job as one tree.
    pub fn roots(&self) -> &RootTree {
        &self.roots
    }

    /// Opens a folder that leads to a path of the job, links followed. It cannot be listed.
    pub fn open_way(&self, path: &[u8]) -> Result<Dir, SourceError> {
        Dir::open_to_pass(path, &self.budget)
    }

    /// How to see a folder that only leads to a path of the job.
    pub fn scope_of_path(&self, path: &[u8], dir: &Dir) -> Option<Scope> {
        match self.filter.choose_way(path) {
            Choice::Leave => None,
            choice => Some(Scope {
                is_taken: choice == Choice::Take,
                device: dir.id().device,
            }),
        }
    }

    /// The entry for a path that the job named, `None` when it is left out.
    pub fn target_entry(&self, parent: &Dir, name: &[u8]) -> Result<Option<Entry>, SourceError> {
        let stat = parent.stat_child(name)?;
        let choice = self
            .filter
            .choose_path(&parent.path_of(name), stat.kind == FileKind::Dir);
        if choice == Choice::Leave || stat.kind == FileKind::Socket {
            return Ok(None);
        }
        let scope = Scope {
            is_taken: choice == Choice::Take,
            device: stat.id.device,
        };
        let below = match stat.kind {
            FileKind::Dir if self.skip.contains(&stat.id) => return Ok(None),
            FileKind::Dir => Below::Open {
                scope,
                is_border: true,
            },
            _ => Below::Nothing,
        };
        Ok(Some(Entry {
            name: name.into(),
            stat,
            below,
        }))
    }

    /// Opens the folder of an entry. `None` when nothing below is to be read, which shows only now for the pseudo file
    /// systems.
    pub fn enter(
        &self,
        parent: &Dir,
        name: &[u8],
        below: Below,
    ) -> Result<Option<(Dir, Scope)>, SourceError> {
        let Below::Open { scope, is_border } = below else {
            return Ok(None);
        };
        if is_border && pseudo::is_pseudo(parent, name)? {
            return Ok(None);
        }
        Ok(Some((parent.open_child(name)?, scope)))
    }

    /// Opens the root of the file system as a path of the job.
    pub fn enter_root(&self) -> Result<Option<(Dir, Scope)>, SourceError> {
        let dir = Dir::open_path(b"/", &self.budget)?;
        if pseudo::is_pseudo_dir(&dir)? || self.skip.contains(&dir.id()) {
            return Ok(None);
        }
        let scope = self.scope_of_path(b"/", &dir);
        Ok(scope.map(|scope| (dir, scope)))
    }

    /// Lists a folder.
    pub fn list(&self, dir: &Dir, scope: Scope) -> Listing {
        let mut listing = Listing::default();
        let names = match read_names(dir) {
            Ok(names) => names,
            Err((names, error)) => {
                listing.errors.push(error);
                names
            }
        };
        let is_cache = self.exclude_caches
            && names.iter().any(|name| **name == *cachedir::TAG_NAME)
            && cachedir::is_tagged(dir);
        let fd = match dir.fd() {
            Ok(fd) => fd,
            Err(error) => {
                listing.errors.push(error);
                return listing;
            }
        };
        let mut path = if self.filter.is_trivial() {
            Vec::new()
        } else {
            dir.path()
        };
        let path_bytes = path.len();
        listing.entries.reserve_exact(names.len());
        for name in names {
            if is_cache && *name != *cachedir::TAG_NAME {
                continue;
            }
            let stat = match rustix::fs::statat(&fd, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileStat::from(stat),
                Err(errno) => {
                    listing.errors.push(SourceError::new(
                        Operation::Stat,
                        &dir.path_of(&name),
                        errno,
                    ));
                    continue;
                }
            };
            let mut choice = Choice::Take;
            if !self.filter.is_trivial() {
                path.truncate(path_bytes);
                push_component(&mut path, &name);
                choice = self
                    .filter
                    .choose(&path, stat.kind == FileKind::Dir, scope.is_taken);
            }
            if let Some(below) = self.below(dir, scope, &stat, choice) {
                listing.entries.push(Entry { name, stat, below });
            }
        }
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        listing
    }

    fn is_too_large(&self, stat: &FileStat) -> bool {
        stat.kind == FileKind::File && stat.size_bytes > self.largest_file_bytes
    }

    /// `None` when the entry is left out.
    fn below(&self, dir: &Dir, scope: Scope, stat: &FileStat, choice: Choice) -> Option<Below> {
        let is_elsewhere = self.one_file_system && stat.id.device != scope.device;
        match (choice, stat.kind) {
            (Choice::Leave, _) | (_, FileKind::Socket) => None,
            (_, FileKind::File) if self.is_too_large(stat) => None,
            (_, FileKind::Dir) if !self.skip.is_empty() && self.skip.contains(&stat.id) => None,
            (_, FileKind::Dir) if is_elsewhere => Some(Below::Closed),
            (_, FileKind::Dir) => Some(Below::Open {
                scope: Scope {
                    is_taken: choice == Choice::Take,
                    device: scope.device,
                },
                is_border: stat.id.device != dir.id().device,
            }),
            _ if is_elsewhere => None,
            _ => Some(Below::Nothing),
        }
    }
}

type Names = Vec<Box<[u8]>>;

/// The names in a folder, unsorted; on an error those read so far come with it.
fn read_names(dir: &Dir) -> Result<Names, (Names, SourceError)> {
    let mut names = Names::new();
    let fail = |errno| SourceError::new(Operation::List, &dir.path(), errno);
    let fd = match dir.fd() {
        Ok(fd) => fd,
        Err(error) => return Err((names, error)),
    };
    if let Err(errno) = rustix::fs::seek(&fd, SeekFrom::Start(0)) {
        return Err((names, fail(errno)));
    }
    let mut buffer = [MaybeUninit::<u8>::uninit(); NAME_BUFFER_BYTES];
    let mut entries = RawDir::new(&fd, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(name.into());
                }
            }
            Err(errno) => return Err((names, fail(errno))),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    fn bytes(path: &Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    /// All taken paths below `root`, relative, in walking order.
    fn walk(source: &FileSource, root: &Path) -> Vec<String> {
        let parent = source.open_way(bytes(root.parent().unwrap())).unwrap();
        let name = root.file_name().unwrap().as_bytes();
        let mut found = Vec::new();
        if let Some(entry) = source.target_entry(&parent, name).unwrap() {
            let (dir, scope) = source.enter(&parent, name, entry.below).unwrap().unwrap();
            walk_dir(source, &dir, scope, "", &mut found);
        }
        found
    }

    fn walk_dir(
        source: &FileSource,
        dir: &Dir,
        scope: Scope,
        prefix: &str,
        found: &mut Vec<String>,
    ) {
        let listing = source.list(dir, scope);
        assert!(listing.errors.is_empty(), "{:?}", listing.errors);
        for entry in listing.entries {
            let path = format!(
                "{prefix}{}",
                OsStr::from_bytes(&entry.name).to_string_lossy()
            );
            found.push(path.clone());
            if let Some((child, scope)) = source.enter(dir, &entry.name, entry.below).unwrap() {
                walk_dir(source, &child, scope, &format!("{path}/"), found);
            }
        }
    }

    fn fixture() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for folder in ["a/b/c", "cache/deep", "z"] {
            std::fs::create_dir_all(temp.path().join(folder)).unwrap();
        }
        for file in [
            "a/1.txt",
            "a/b/2.pdf",
            "a/b/c/3.pdf",
            "cache/deep/x",
            "z/4.txt",
        ] {
            std::fs::write(temp.path().join(file), file).unwrap();
        }
        temp
    }

    fn source(change: impl FnOnce(&mut FileSourceOptions)) -> FileSource {
        let mut options = FileSourceOptions::default();
        change(&mut options);
        FileSource::new(&options).unwrap()
    }

    #[test]
    fn everything_is_listed_in_name_order() {
        let temp = fixture();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("z/socket")).unwrap();
        let found = walk(&source(|_| {}), temp.path());
        let expected =
            "a a/1.txt a/b a/b/2.pdf a/b/c a/b/c/3.pdf cache cache/deep cache/deep/x z z/4.txt";
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn patterns_limit_the_walk() {
        let temp = fixture();
        let found = walk(
            &source(|options| options.include = vec!["*.pdf".to_owned()]),
            temp.path(),
        );
        assert_eq!(
            found.join(" "),
            "a a/b a/b/2.pdf a/b/c a/b/c/3.pdf cache cache/deep z"
        );
        let found = walk(
            &source(|options| options.exclude = vec!["b".to_owned(), "/tmp/**/deep".to_owned()]),
            temp.path(),
        );
        assert!(found.iter().all(|path| !path.contains("a/b")));
    }

    #[test]
    fn skipped_folders_are_left_out_by_identity() {
        let temp = fixture();
        let meta = std::fs::metadata(temp.path().join("a/b")).unwrap();
        let skip = DevIno {
            device: meta.dev(),
            inode: meta.ino(),
        };
        let found = walk(&source(|options| options.skip = vec![skip]), temp.path());
        assert_eq!(
            found.join(" "),
            "a a/1.txt cache cache/deep cache/deep/x z z/4.txt"
        );
        let meta = std::fs::metadata(temp.path()).unwrap();
        let skip = DevIno {
            device: meta.dev(),
            inode: meta.ino(),
        };
        assert!(walk(&source(|options| options.skip = vec![skip]), temp.path()).is_empty());
    }

    #[test]
    fn tagged_caches_keep_only_their_tag() {
        let temp = fixture();
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n";
        std::fs::write(temp.path().join("cache/CACHEDIR.TAG"), tag).unwrap();
        std::fs::write(temp.path().join("z/CACHEDIR.TAG"), "no").unwrap();
        let found = walk(
            &source(|options| options.exclude_caches = true),
            temp.path(),
        );
        let rest: Vec<_> = found
            .into_iter()
            .filter(|path| !path.starts_with('a'))
            .collect();
        assert_eq!(
            rest.join(" "),
            "cache cache/CACHEDIR.TAG z z/4.txt z/CACHEDIR.TAG"
        );
    }

    #[test]
    fn pseudo_file_systems_and_other_file_systems_are_closed() {
        let source = source(|options| options.one_file_system = true);
        let root = source.open_way(b"/").unwrap();
        let entry = source.target_entry(&root, b"proc").unwrap().unwrap();
        assert!(source.enter(&root, b"proc", entry.below).unwrap().is_none());
        let (root, scope) = source.enter_root().unwrap().unwrap();
        let listing = source.list(&root, scope);
        let proc = listing
            .entries
            .iter()
            .find(|entry| &*entry.name == b"proc")
            .unwrap();
        assert_eq!(proc.below, Below::Closed);
    }

    #[test]
    fn a_missing_target_is_an_error() {
        let temp = fixture();
        let source = source(|_| {});
        let parent = source.open_way(bytes(temp.path())).unwrap();
        assert!(
            source
                .target_entry(&parent, b"nothing")
                .unwrap_err()
                .is_missing()
        );
    }
}

//! Fixture trees: every kind of file that a backup meets on Linux.
//!
//! Owns what is in such a tree. Paths longer than `PATH_MAX` are apart, in [`crate::deep`], because stock restic cannot
//! restore them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use crate::content::{random_bytes, write_random_file};

const MIB: u64 = 1 << 20;

/// What a tree is to hold beyond plain files, which any user can make.
#[derive(Debug, Clone, Copy)]
pub struct TreeOptions {
    /// Device files and foreign owners, which only root can make.
    pub as_root: bool,
    /// The size of the one big file, in bytes.
    pub big_file_bytes: u64,
}

impl Default for TreeOptions {
    /// Everything that this user can make, with a big file of several chunks.
    fn default() -> Self {
        Self {
            as_root: rustix::process::geteuid().is_root(),
            big_file_bytes: 20 * MIB + 12_345,
        }
    }
}

/// Fills `root`, which is created, with every kind of file.
///
/// # Errors
/// The first failure of the file system, with the path in its message.
pub fn build(root: &Path, options: TreeOptions) -> io::Result<()> {
    make_folder(root, 0o755)?;
    plain_files(&root.join("plain"), options)?;
    sparse_files(&root.join("sparse"))?;
    links(&root.join("links"))?;
    special_files(&root.join("special"), options)?;
    modes(&root.join("modes"), options)?;
    extended_attributes(&root.join("attributes"))?;
    names(&root.join("names"))?;
    many(&root.join("many"), 200)?;
    set_times(root)
}

fn plain_files(folder: &Path, options: TreeOptions) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    for (seed, length) in [0, 1, 511, 4096, 65_537, 512 * 1024, MIB, MIB + 1, 3 * MIB]
        .into_iter()
        .enumerate()
    {
        write_random_file(&folder.join(format!("bytes-{length}")), length, seed as u64)?;
    }
    write_random_file(&folder.join("big"), options.big_file_bytes, 100)?;
    // Content that repeats, within a file and between files.
    let block = random_bytes(3 << 20, 101);
    write_file(&folder.join("twice"), &[block.as_slice(), &block].concat())?;
    write_file(&folder.join("again"), &block)?;
    write_file(&folder.join("zeroes"), &vec![0; 9 << 20])?;
    write_file(
        &folder.join("text.txt"),
        "The quick brown fox jumps over the lazy dog.\n"
            .repeat(5000)
            .as_bytes(),
    )?;
    make_folder(&folder.join("empty-folder"), 0o755)
}

fn sparse_files(folder: &Path) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    let data = random_bytes(100_000, 200);
    let layouts: [(&str, u64, &[u64]); 4] = [
        ("hole-only", 32 * MIB, &[]),
        ("hole-first", 16 * MIB, &[16 * MIB - 100_000]),
        ("hole-last", 16 * MIB, &[0]),
        ("holes-between", 40 * MIB, &[0, 8 * MIB, 30 * MIB + 4096]),
    ];
    for (name, length, offsets) in layouts {
        let path = folder.join(name);
        let mut file = File::create(&path)?;
        file.set_len(length)?;
        for offset in offsets {
            file.seek(SeekFrom::Start(*offset))?;
            file.write_all(&data)?;
        }
    }
    Ok(())
}

fn links(folder: &Path) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    make_folder(&folder.join("other"), 0o755)?;
    write_file(&folder.join("first"), &random_bytes(70_000, 300))?;
    fs::hard_link(folder.join("first"), folder.join("second"))?;
    fs::hard_link(folder.join("first"), folder.join("other/third"))?;
    write_file(&folder.join("other/empty"), b"")?;
    fs::hard_link(folder.join("other/empty"), folder.join("empty"))?;
    let long = "x/".repeat(1000);
    for (name, target) in [
        ("relative", OsStr::new("first")),
        ("absolute", OsStr::new("/etc/hostname")),
        ("dangling", OsStr::new("nothing/here")),
        ("to-folder", OsStr::new("other")),
        ("loop", OsStr::new("loop")),
        ("above", OsStr::new("../../..")),
        ("not-utf8", OsStr::from_bytes(b"caf\xe9/\xff")),
        ("long", OsStr::new(&long)),
    ] {
        symlink(target, folder.join(name))?;
    }
    Ok(())
}

fn special_files(folder: &Path, options: TreeOptions) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    let make = |name: &str, kind: FileType, device| {
        mknodat(
            CWD,
            folder.join(name),
            kind,
            Mode::from_raw_mode(0o640),
            device,
        )
        .map_err(io::Error::from)
    };
    make("pipe", FileType::Fifo, 0)?;
    if options.as_root {
        make("null", FileType::CharacterDevice, makedev(1, 3))?;
        make("far", FileType::CharacterDevice, makedev(259, 70_000))?;
        make("disk", FileType::BlockDevice, makedev(7, 200))?;
    }
    Ok(())
}

fn modes(folder: &Path, options: TreeOptions) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    for mode in [
        0o000, 0o400, 0o600, 0o644, 0o755, 0o1644, 0o2755, 0o4755, 0o7777,
    ] {
        // A user who is not root could not read such a file back.
        if mode == 0 && !options.as_root {
            continue;
        }
        let path = folder.join(format!("file-{mode:04o}"));
        write_file(&path, format!("{mode:o}\n").as_bytes())?;
        if options.as_root && mode & 0o1 == 0 {
            std::os::unix::fs::chown(&path, Some(12_345), Some(54_321))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    for mode in [0o500, 0o700, 0o1777, 0o2775] {
        let path = folder.join(format!("folder-{mode:04o}"));
        make_folder(&path, 0o755)?;
        write_file(&path.join("inside"), b"inside\n")?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn extended_attributes(folder: &Path) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    let path = folder.join("user");
    write_file(&path, b"with attributes\n")?;
    xattr::set(&path, "user.text", b"some text")?;
    xattr::set(&path, "user.empty", b"")?;
    xattr::set(&path, "user.binary", &random_bytes(1000, 400))?;
    xattr::set(folder, "user.on-a-folder", b"yes")?;
    let path = folder.join("access-list");
    write_file(&path, b"with an access list\n")?;
    xattr::set(
        &path,
        "system.posix_acl_access",
        &access_list(&[
            (1, 6, NOBODY),
            (2, 4, 12_345),
            (4, 4, NOBODY),
            (16, 6, NOBODY),
            (32, 0, NOBODY),
        ]),
    )?;
    let path = folder.join("default-list");
    make_folder(&path, 0o755)?;
    xattr::set(
        &path,
        "system.posix_acl_default",
        &access_list(&[
            (1, 7, NOBODY),
            (4, 5, NOBODY),
            (8, 7, 54_321),
            (16, 7, NOBODY),
            (32, 5, NOBODY),
        ]),
    )
}

/// The id field of an entry that names nobody (`ACL_UNDEFINED_ID`).
const NOBODY: u32 = u32::MAX;

/// The kernel's wire form of a POSIX access list (`linux/posix_acl_xattr.h`): version 2, then tag, rights, id of each
/// entry, little-endian. Tags: 1 owner, 2 user, 4 owning group, 8 group, 16 mask, 32 others.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Names that have broken programs.
#[must_use]
pub fn odd_names() -> Vec<OsString> {
    let mut names: Vec<OsString> = [
        " ",
        "  two  spaces  ",
        "-dash",
        "--",
        "~",
        "...",
        ".hidden",
        "tab\there",
        "line\nbreak",
        "return\rhere",
        "quote\"s",
        "it's",
        "back\\slash",
        "\\n",
        "\\x41",
        "star*",
        "what?",
        "[a-z]",
        "{a,b}",
        "dollar$HOME",
        "percent%20",
        "hash#",
        "semi;colon",
        "pipe|",
        "amp&",
        "<angle>",
        "bell\u{7}",
        "delete\u{7f}",
        "escape\u{1b}[31m",
        "e\u{301}",
        "\u{e9}",
        "日本語",
        "🦀",
        "\u{202e}rtl",
        "\u{200b}",
        "zero\u{feff}",
        "con",
        "nul.txt",
        "trailing.",
        "config",
        "data",
        "index",
    ]
    .into_iter()
    .map(OsString::from)
    .collect();
    names.push(OsString::from_vec(b"latin-\xe9".to_vec()));
    names.push(OsString::from_vec(b"\xff\xfe".to_vec()));
    names.push(OsString::from_vec(b"cut-\xe6\x97".to_vec()));
    names.push(OsString::from("n".repeat(255)));
    names
}

fn names(folder: &Path) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    for (index, name) in odd_names().iter().enumerate() {
        write_file(&folder.join(name), name.as_bytes())?;
        if index % 7 == 0 {
            let mut inside = name.clone();
            inside.push(OsStr::from_bytes(if inside.len() > 250 {
                b""
            } else {
                b".d"
            }));
            let inside = if inside == *name {
                OsString::from("d".repeat(255))
            } else {
                inside
            };
            make_folder(&folder.join(&inside), 0o755)?;
            write_file(&folder.join(&inside).join(name), b"inside\n")?;
        }
    }
    Ok(())
}

/// Makes a folder with `count` small files, a hundred to a subfolder.
///
/// # Errors
/// The first failure of the file system, with the path in its message.
pub fn many(folder: &Path, count: u32) -> io::Result<()> {
    make_folder(folder, 0o755)?;
    for index in 0..count {
        let subfolder = folder.join(format!("{:05}", index / 100));
        if index % 100 == 0 {
            make_folder(&subfolder, 0o755)?;
        }
        let content = random_bytes(1 + (index as usize * 37) % 3000, 500 + u64::from(index));
        write_file(&subfolder.join(format!("{index:07}")), &content)?;
    }
    Ok(())
}

/// Gives every entry a modification time of its own, with nanoseconds, folders last.
fn set_times(root: &Path) -> io::Result<()> {
    let mut paths = Vec::new();
    collect(root, &mut paths)?;
    for (index, path) in paths.iter().rev().enumerate() {
        // One entry before 1970 and one far ahead, the others in 2001.
        let seconds = match index {
            5 => -86_400 * 365,
            6 => 4_102_444_800,
            _ => 1_000_000_000 + index as i64,
        };
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: (index as i64 * 7_654_321) % 1_000_000_000,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| named(path, error.into()))?;
    }
    Ok(())
}

/// All paths below and including `path`, a folder before what it holds.
fn collect(path: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    paths.push(path.to_path_buf());
    if fs::symlink_metadata(path)?.is_dir() {
        let mut inside: Vec<PathBuf> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        inside.sort();
        for entry in inside {
            collect(&entry, paths)?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path).map_err(|error| named(path, error))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| named(path, error))
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes).map_err(|error| named(path, error))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

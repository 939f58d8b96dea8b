//! `repo backup --files-from`, `--files-from-verbatim`, `--files-from-raw`: what to back up, from files or standard input.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use runner::expand_pattern;

use crate::args::RepoBackupArgs;
use crate::exit::{Exit, Failure, chain};

/// All paths of all files.
pub(crate) fn paths(args: &RepoBackupArgs) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for file in &args.files_from {
        paths.extend(expanded(&read(file)?)?);
    }
    for file in &args.files_from_verbatim {
        paths.extend(lines(&read(file)?).map(path_of));
    }
    for file in &args.files_from_raw {
        paths.extend(ended_by_nul(&read(file)?)?);
    }
    Ok(paths)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|content| bytes = content)
    };
    read.map_err(|error| {
        Failure::new(
            format!("cannot read the list of files {}: {error}", file.display()),
            "name a file that you can read",
        )
    })?;
    Ok(bytes)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The lines that are not empty.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

/// Lines that are patterns; blanks around them and comments are left out.
fn expanded(text: &[u8]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    let patterns = lines(text).map(<[u8]>::trim_ascii);
    for line in patterns.filter(|line| !line.is_empty() && line[0] != b'#') {
        let pattern = std::str::from_utf8(line).map_err(|_| {
            Failure::usage(
                format!("{:?} is not UTF-8", String::from_utf8_lossy(line)),
                "use --files-from-verbatim for such names",
            )
        })?;
        let found = expand_pattern(pattern)
            .map_err(|error| Failure::usage(chain(&error), "correct the pattern"))?;
        // A pattern that stands for nothing is told as a path that is missing.
        if found.is_empty() {
            paths.push(path_of(line));
        }
        paths.extend(found);
    }
    Ok(paths)
}

fn ended_by_nul(text: &[u8]) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |what: &str| {
        Failure::with(
            Exit::Failed,
            format!("--files-from-raw: {what}"),
            "end each name with one NUL byte, as find -print0 does",
        )
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(text) = text.strip_suffix(b"\0") else {
        return Err(wrong("the last name has no NUL byte at its end"));
    };
    let names: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    if names.iter().any(|name| name.is_empty()) {
        return Err(wrong("there is a name without a letter"));
    }
    Ok(names.into_iter().map(path_of).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{ended_by_nul, expanded, lines};
    use std::path::PathBuf;

    #[test]
    fn names_are_taken_as_they_stand() {
        let found: Vec<&[u8]> = lines(b" a \r\n\n#b\n*\xff").collect();
        assert_eq!(found, [&b" a "[..], b"#b", b"*\xff"]);
    }

    #[test]
    fn comments_are_no_patterns_and_what_is_missing_is_told() {
        let found = expanded(b"# none\n\n  /no such/file \n/no such/*\n").unwrap();
        assert_eq!(
            found,
            [PathBuf::from("/no such/file"), PathBuf::from("/no such/*")]
        );
        assert!(expanded(b"/\xff").is_err());
        assert!(expanded(b"/[").is_err());
    }

    #[test]
    fn raw_names_end_with_a_nul_byte() {
        let found = ended_by_nul(b"a\nb\0c\0").unwrap();
        assert_eq!(found, [PathBuf::from("a\nb"), PathBuf::from("c")]);
        assert!(ended_by_nul(b"").unwrap().is_empty());
        assert!(ended_by_nul(b"a").is_err());
        assert!(ended_by_nul(b"a\0\0b\0").is_err());
    }
}

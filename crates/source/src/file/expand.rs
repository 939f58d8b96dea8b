//! The paths that a pattern stands for, as a shell finds them: for lists of what is to be protected.
//!
//! `*`, `?` and `[...]` stay inside one name, a backslash takes the meaning off what follows, braces have none. A pattern
//! without any of these is the path itself. What is not there, or lies in a folder that cannot be read, is not found.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::filter::PatternError;

/// The paths that there are, in the order of their names. Relative patterns give relative paths.
pub fn expand(pattern: &str) -> Result<Vec<PathBuf>, PatternError> {
    let start = if pattern.starts_with('/') { "/" } else { "" };
    let mut found = vec![PathBuf::from(start)];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if part.contains(['*', '?', '[', '\\']) {
            let matcher = matcher(part, pattern)?;
            found = found
                .iter()
                .flat_map(|folder| matching(folder, &matcher))
                .collect();
        } else {
            found.iter_mut().for_each(|path| path.push(part));
        }
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    Ok(found)
}

fn matcher(part: &str, pattern: &str) -> Result<GlobMatcher, PatternError> {
    let mut text = String::with_capacity(part.len());
    let mut is_escaped = false;
    for letter in part.chars() {
        if matches!(letter, '{' | '}') && !is_escaped {
            text.push('\\');
        }
        is_escaped = letter == '\\' && !is_escaped;
        text.push(letter);
    }
    let glob = GlobBuilder::new(&text).literal_separator(true).build();
    match glob {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(source) => Err(PatternError {
            pattern: pattern.to_owned(),
            source,
        }),
    }
}

fn matching(folder: &Path, matcher: &GlobMatcher) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(listed) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut found: Vec<PathBuf> = names
        .filter(|name| matcher.is_match(name))
        .map(|name| folder.join(name))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn patterns_give_the_paths_that_there_are() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["a/1.txt", "a/2.txt", "b/1.txt", "{x}.txt", "*", ".hidden"] {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let top = temp.path().to_str().unwrap();
        let check = |pattern: &str, expected: &[&str]| {
            let found = expand(&format!("{top}/{pattern}")).unwrap();
            let expected: Vec<PathBuf> =
                expected.iter().map(|name| temp.path().join(name)).collect();
            assert_eq!(found, expected, "{pattern}");
        };
        check("a/1.txt", &["a/1.txt"]);
        check("a/3.txt", &[]);
        check("*/1.txt", &["a/1.txt", "b/1.txt"]);
        check("a/?.txt/", &["a/1.txt", "a/2.txt"]);
        check("[ab]", &["a", "b"]);
        check("[^a]", &["*", "b"]);
        check("\\*", &["*"]);
        check("{?}.txt", &["{x}.txt"]);
        check("{x}.txt", &["{x}.txt"]);
        check("*hid*", &[".hidden"]);
        check("none/*", &[]);
        assert!(expand("/[").is_err());
    }
}

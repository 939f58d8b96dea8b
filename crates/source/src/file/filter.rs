//! Which paths a job takes: include and exclude patterns, as a pure function of the path.
//!
//! A pattern without a leading slash matches at any depth, one with a leading slash only from the top; `*`, `?` and
//! `[...]` stay inside one name, `**` stands for any number of folders, `{a,b}` for a choice. Whatever lies below a
//! match matches too. Excludes win over includes. With includes, only what matches is taken, and the folders that lead
//! there.

use globset::{Candidate, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::path::components;

/// A pattern that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the pattern {pattern:?} is not valid")]
pub struct PatternError {
    /// The pattern as given.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: globset::Error,
}

/// What a filter says about one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Left out, with all that lies below.
    Leave,
    /// Taken, with all that lies below and is not excluded.
    Take,
    /// A folder that does not match itself but may lead to something that does.
    Pass,
}

/// Include and exclude patterns, ready to be asked.
#[derive(Debug)]
pub struct Filter {
    include: Vec<Pattern>,
    include_set: GlobSet,
    exclude_set: GlobSet,
    takes_all: bool,
    has_excludes: bool,
}

/// One include pattern by components, to tell which folders may lead to a match.
#[derive(Debug)]
struct Pattern {
    anchored: bool,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    AnyDepth,
    Name(GlobMatcher),
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            include: Vec::new(),
            include_set: GlobSet::empty(),
            exclude_set: GlobSet::empty(),
            takes_all: true,
            has_excludes: false,
        }
    }
}

impl Filter {
    /// Reads the patterns. No include pattern means that everything is included. Empty patterns are ignored.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Filter, PatternError> {
        let include: Vec<&String> = include
            .iter()
            .filter(|pattern| !pattern.is_empty())
            .collect();
        let exclude: Vec<&String> = exclude
            .iter()
            .filter(|pattern| !pattern.is_empty())
            .collect();
        let takes_all =
            include.is_empty() || include.iter().any(|pattern| parts_of(pattern).is_empty());
        Ok(Filter {
            include: include
                .iter()
                .map(|pattern| Pattern::new(pattern))
                .collect::<Result<_, _>>()?,
            include_set: set_of(&include)?,
            exclude_set: set_of(&exclude)?,
            takes_all,
            has_excludes: !exclude.is_empty(),
        })
    }

    /// Whether the filter takes everything, so that paths need not be built to ask it.
    pub fn is_trivial(&self) -> bool {
        self.takes_all && !self.has_excludes
    }

    /// What to do with the entry at `path` (absolute), given whether the folder that holds it was taken.
    pub fn choose(&self, path: &[u8], is_dir: bool, parent_is_taken: bool) -> Choice {
        let candidate = Candidate::new(OsStr::from_bytes(path));
        if self.has_excludes && self.exclude_set.is_match_candidate(&candidate) {
            return Choice::Leave;
        }
        if parent_is_taken || self.takes_all || self.include_set.is_match_candidate(&candidate) {
            return Choice::Take;
        }
        if is_dir && self.may_lead_to_match(path) {
            Choice::Pass
        } else {
            Choice::Leave
        }
    }

    /// What to do with an entry of which only the path is known: asks for each folder above it too.
    pub fn choose_path(&self, path: &[u8], is_dir: bool) -> Choice {
        let parts = components(path);
        let mut so_far = vec![b'/'];
        let mut choice = if self.takes_all {
            Choice::Take
        } else {
            Choice::Pass
        };
        for (depth, part) in parts.iter().enumerate() {
            super::path::push_component(&mut so_far, part);
            let is_dir = is_dir || depth + 1 < parts.len();
            choice = self.choose(&so_far, is_dir, choice == Choice::Take);
            if choice == Choice::Leave {
                break;
            }
        }
        choice
    }

    fn may_lead_to_match(&self, path: &[u8]) -> bool {
        let parts = components(path);
        self.include
            .iter()
            .any(|pattern| pattern.may_match_below(&parts))
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, PatternError> {
        let parts = parts_of(text)
            .into_iter()
            .map(|part| {
                if part == "**" {
                    Ok(Part::AnyDepth)
                } else {
                    glob(part, text).map(|glob| Part::Name(glob.compile_matcher()))
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Pattern {
            anchored: text.starts_with('/'),
            parts,
        })
    }

    fn may_match_below(&self, path: &[&[u8]]) -> bool {
        if !self.anchored {
            return true;
        }
        for (depth, name) in path.iter().enumerate() {
            match self.parts.get(depth) {
                Some(Part::AnyDepth) => return true,
                Some(Part::Name(matcher)) if matcher.is_match(OsStr::from_bytes(name)) => {}
                _ => return false,
            }
        }
        true
    }
}

/// The components of a pattern, cleaned as a path would be.
fn parts_of(pattern: &str) -> Vec<&str> {
    pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

fn glob(text: &str, pattern: &str) -> Result<globset::Glob, PatternError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .build()
        .map_err(|source| PatternError {
            pattern: pattern.to_owned(),
            source,
        })
}

fn set_of(patterns: &[&String]) -> Result<GlobSet, PatternError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let body = parts_of(pattern).join("/");
        let text = if body.is_empty() {
            "/**".to_owned()
        } else if pattern.starts_with('/') {
            format!("/{body}")
        } else {
            format!("**/{body}")
        };
        set.add(glob(&text, pattern)?);
    }
    set.build().map_err(|source| PatternError {
        pattern: String::new(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let own = |list: &[&str]| {
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        Filter::new(&own(include), &own(exclude)).unwrap()
    }

    #[test]
    fn excludes() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let choice = filter(&[], &[pattern]).choose_path(path.as_bytes(), false);
            assert_eq!(choice == Choice::Leave, expected, "{pattern} on {path}");
        };
        check("*.o", "/a/b.o", true);
        check("*.o", "/a/b.c", false);
        check("*.o", "/x.o/inner", true);
        check("cache", "/home/u/cache", true);
        check("cache", "/home/u/cache/deep/file", true);
        check("cache", "/home/u/cached", false);
        check("u/cache", "/home/u/cache/x", true);
        check("u/cache", "/home/v/cache/x", false);
        check("/home/u", "/home/u/x", true);
        check("/home/u", "/backup/home/u/x", false);
        check("/home/*", "/home/u", true);
        check("/home/*/tmp", "/home/u/v/tmp", false);
        check("/home/**/tmp", "/home/u/v/tmp", true);
        check("/home/**/tmp", "/home/tmp", true);
        check("cache/", "/home/cache/x", true);
        check("/", "/home", true);
        check("[ab]?", "/x/a1", true);
        check("[ab]?", "/x/c1", false);
        check("{x,y}.txt", "/q/y.txt", true);
    }

    #[test]
    fn includes() {
        let check = |patterns: &[&str], path: &str, is_dir: bool, expected: Choice| {
            assert_eq!(
                filter(patterns, &[]).choose_path(path.as_bytes(), is_dir),
                expected,
                "{patterns:?} on {path}"
            );
        };
        check(&["*.pdf"], "/home/a.pdf", false, Choice::Take);
        check(&["*.pdf"], "/home/a.txt", false, Choice::Leave);
        check(&["*.pdf"], "/home/sub", true, Choice::Pass);
        check(&["/home/a"], "/home", true, Choice::Pass);
        check(&["/home/a"], "/home/a", true, Choice::Take);
        check(&["/home/a"], "/home/a/b/c", false, Choice::Take);
        check(&["/home/a"], "/var", true, Choice::Leave);
        check(&["/home/a"], "/home/b", true, Choice::Leave);
        check(&["/home/*/x"], "/home/b", true, Choice::Pass);
        check(&["/home/**/x"], "/home/b/c/d", true, Choice::Pass);
        check(&["/"], "/etc", true, Choice::Take);
        check(&[], "/etc", true, Choice::Take);
        check(&["", "/a"], "/b", true, Choice::Leave);
    }

    #[test]
    fn excludes_win_and_bytes_are_bytes() {
        let filter = filter(&["/home"], &["*.tmp"]);
        assert_eq!(filter.choose_path(b"/home/a.tmp", false), Choice::Leave);
        assert_eq!(filter.choose_path(b"/home/\xff.tmp", false), Choice::Leave);
        assert_eq!(filter.choose_path(b"/home/\xff", false), Choice::Take);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Filter::new(&[], &["[".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("\"[\""));
    }
}

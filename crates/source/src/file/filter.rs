//! Which paths a job takes: include and exclude patterns, as a pure function of the path.
//!
//! A pattern without a leading slash matches at any depth, one with a leading slash only from the top; `*`, `?` and
//! `[...]` stay inside one name, `**` stands for any number of folders, `{a,b}` for a choice. Whatever lies below a
//! match matches too. A pattern that begins with `!` takes back what patterns before it matched, so the last one that
//! matches decides; what lies in a folder that is left out is not looked at, and cannot be taken back. Excludes win over
//! includes. With includes, only what matches is taken, and the folders that lead there. All this is as restic has it,
//! but for `{a,b}`, which restic takes as it stands.

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
#[derive(Debug, Default)]
pub struct Filter {
    include: Rules,
    /// The patterns of `include` by components, in the same order.
    include_parts: Vec<Pattern>,
    exclude: Rules,
    has_includes: bool,
}

/// A list of patterns of which the last one that matches decides.
#[derive(Debug, Default)]
struct Rules {
    set: GlobSet,
    /// Of each pattern, whether it takes back what those before it matched.
    is_negated: Vec<bool>,
    has_negated: bool,
}

/// One include pattern by components, to tell which folders may lead to a match.
#[derive(Debug)]
struct Pattern {
    is_negated: bool,
    anchored: bool,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    AnyDepth,
    Name(GlobMatcher),
}

impl Rules {
    fn new(patterns: &[&str]) -> Result<Rules, PatternError> {
        let is_negated: Vec<bool> = patterns
            .iter()
            .map(|pattern| pattern.starts_with('!'))
            .collect();
        Ok(Rules {
            set: set_of(patterns)?,
            has_negated: is_negated.contains(&true),
            is_negated,
        })
    }

    /// Whether `path` is matched, when no folder above it is, or when it is asked for each entry on the way.
    fn matches(&self, path: &[u8]) -> bool {
        if self.has_negated {
            return self.covers(path);
        }
        !self.is_negated.is_empty() && self.set.is_match(OsStr::from_bytes(path))
    }

    /// Whether `path` is matched, by itself or with a folder above it.
    fn covers(&self, path: &[u8]) -> bool {
        self.last_match(path)
            .is_some_and(|number| !self.is_negated[number])
    }

    /// The last pattern that matches `path` or a folder above it.
    fn last_match(&self, path: &[u8]) -> Option<usize> {
        if self.is_negated.is_empty() || path == b"/" {
            return None;
        }
        let slashes = path.iter().enumerate().skip(1);
        let folders = slashes.filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut found = Vec::new();
        folders
            .chain([path.len()])
            .filter_map(|end| {
                let candidate = Candidate::new(OsStr::from_bytes(&path[..end]));
                self.set.matches_candidate_into(&candidate, &mut found);
                found.iter().copied().max()
            })
            .max()
    }
}

impl Filter {
    /// Reads the patterns. No include pattern means that everything is included. Empty patterns are ignored.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Filter, PatternError> {
        let (include, exclude) = (without_empty(include), without_empty(exclude));
        let include_parts = include
            .iter()
            .map(|pattern| Pattern::new(pattern))
            .collect::<Result<Vec<_>, _>>()?;
        let rules = Rules::new(&include)?;
        let is_everything =
            !rules.has_negated && include_parts.iter().any(|pattern| pattern.parts.is_empty());
        Ok(Filter {
            has_includes: !include.is_empty() && !is_everything,
            include: rules,
            include_parts,
            exclude: Rules::new(&exclude)?,
        })
    }

    /// Whether the filter takes everything, so that paths need not be built to ask it.
    pub fn is_trivial(&self) -> bool {
        !self.has_includes && self.exclude.is_negated.is_empty()
    }

    /// What to do with the entry at `path` (absolute), given whether the folder that holds it was taken.
    pub fn choose(&self, path: &[u8], is_dir: bool, parent_is_taken: bool) -> Choice {
        if self.exclude.matches(path) {
            return Choice::Leave;
        }
        self.choose_included(path, is_dir, parent_is_taken)
    }

    /// What to do with an entry of which only the path is known: the folders above it count too.
    pub fn choose_path(&self, path: &[u8], is_dir: bool) -> Choice {
        if self.exclude.covers(path) {
            return Choice::Leave;
        }
        self.choose_path_included(path, is_dir)
    }

    /// What to do with a folder that leads to a path of the job. A pattern that takes back may be about what lies below.
    pub fn choose_way(&self, path: &[u8]) -> Choice {
        if self.exclude.has_negated {
            return self.choose_path_included(path, true);
        }
        self.choose_path(path, true)
    }

    fn choose_path_included(&self, path: &[u8], is_dir: bool) -> Choice {
        let parts = components(path);
        let mut so_far = vec![b'/'];
        let mut choice = if self.has_includes {
            Choice::Pass
        } else {
            Choice::Take
        };
        for (depth, part) in parts.iter().enumerate() {
            super::path::push_component(&mut so_far, part);
            let is_dir = is_dir || depth + 1 < parts.len();
            choice = self.choose_included(&so_far, is_dir, choice == Choice::Take);
            if choice == Choice::Leave {
                break;
            }
        }
        choice
    }

    fn choose_included(&self, path: &[u8], is_dir: bool, parent_is_taken: bool) -> Choice {
        if !self.has_includes {
            return Choice::Take;
        }
        let mut next_pattern = 0;
        if self.include.has_negated {
            let last = self.include.last_match(path);
            if last.is_some_and(|number| !self.include.is_negated[number]) {
                return Choice::Take;
            }
            next_pattern = last.map_or(0, |number| number + 1);
        } else if parent_is_taken || self.include.matches(path) {
            return Choice::Take;
        }
        if is_dir && self.may_lead_to_match(path, next_pattern) {
            Choice::Pass
        } else {
            Choice::Leave
        }
    }

    /// Whether a pattern from this one on may match something below.
    fn may_lead_to_match(&self, path: &[u8], from: usize) -> bool {
        let parts = components(path);
        self.include_parts[from..]
            .iter()
            .any(|pattern| !pattern.is_negated && pattern.may_match_below(&parts))
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, PatternError> {
        let body = text.strip_prefix('!').unwrap_or(text);
        let parts = parts_of(body)
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
            is_negated: text.starts_with('!'),
            anchored: body.starts_with('/'),
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
    GlobBuilder::new(&in_one_name(text))
        .literal_separator(true)
        .build()
        .map_err(|source| PatternError {
            pattern: pattern.to_owned(),
            source,
        })
}

/// The pattern with a slash among what each `[^...]` leaves out: globset lets that match one, whatever it is told of
/// separators, and then `[^a]?` would be `/x`.
fn in_one_name(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        match c {
            '\\' => out.extend(rest.next()),
            '[' => {
                if let Some(negation) = rest.next_if(|next| matches!(next, '^' | '!')) {
                    out.push(negation);
                    // In the first place these stand for themselves.
                    out.extend(rest.next_if(|next| matches!(next, ']' | '-')));
                    out.push('/');
                } else {
                    out.extend(rest.next_if_eq(&']'));
                }
                for inner in rest.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    out
}

/// Nothing, with or without a `!`, matches nothing.
fn without_empty(patterns: &[String]) -> Vec<&str> {
    patterns
        .iter()
        .map(String::as_str)
        .filter(|pattern| !matches!(*pattern, "" | "!"))
        .collect()
}

fn set_of(patterns: &[&str]) -> Result<GlobSet, PatternError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let path = pattern.strip_prefix('!').unwrap_or(pattern);
        let body = parts_of(path).join("/");
        let text = if body.is_empty() {
            "/**".to_owned()
        } else if path.starts_with('/') {
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
        check("[^ab]?", "/x/c1", true);
        check("[^ab]?", "/x/a1", false);
        check("q[!a]x", "/d/q/x", false);
        check("q[!a]x", "/d/qbx", true);
        check("[^]a]b", "/d/]b", false);
        check("[^]a]b", "/d/cb", true);
        check("[^-a]b", "/d/-b", false);
        check(r"\[^a]b", "/d/[^a]b", true);
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
    fn what_begins_with_an_exclamation_mark_is_taken_back() {
        let check = |patterns: &[&str], path: &str, expected: Choice| {
            let found = filter(&[], patterns).choose_path(path.as_bytes(), false);
            assert_eq!(found, expected, "{patterns:?} on {path}");
        };
        check(&["*.log", "!keep.log"], "/a/keep.log", Choice::Take);
        check(&["*.log", "!keep.log"], "/a/other.log", Choice::Leave);
        check(&["!keep.log", "*.log"], "/a/keep.log", Choice::Leave);
        check(
            &["*.log", "!keep.*", "keep.log"],
            "/keep.log",
            Choice::Leave,
        );
        check(&["/a/*", "!/a/b"], "/a/b/c/d", Choice::Take);
        check(&["/a/*", "!/a/b"], "/a/c", Choice::Leave);
        check(&["*.log", "!/logs"], "/logs/x.log", Choice::Take);
        check(&["/a", "!/a/b"], "/a/b/c", Choice::Take);
        check(&["/a", "!/a/b"], "/a/c", Choice::Leave);
        check(&["\\!x"], "/!x", Choice::Leave);
        check(&["!"], "/a", Choice::Take);
        check(&["/a", "!/"], "/a", Choice::Take);
    }

    #[test]
    fn a_folder_that_is_left_out_is_left_out_with_all_below() {
        let filter = filter(&[], &["/a", "!/a/b"]);
        assert_eq!(filter.choose(b"/a", true, true), Choice::Leave);
        assert_eq!(filter.choose_way(b"/a"), Choice::Take);
        assert_eq!(filter.choose_path(b"/a/b", true), Choice::Take);
    }

    #[test]
    fn includes_are_taken_back_too() {
        let check = |patterns: &[&str], path: &str, is_dir: bool, expected: Choice| {
            let found = filter(patterns, &[]).choose_path(path.as_bytes(), is_dir);
            assert_eq!(found, expected, "{patterns:?} on {path}");
        };
        check(&["/home", "!*.iso"], "/home/a/b.txt", false, Choice::Take);
        check(&["/home", "!*.iso"], "/home/a/b.iso", false, Choice::Leave);
        check(&["/home", "!/home/a"], "/home/a", true, Choice::Leave);
        let again = ["/home", "!/home/a", "/home/a/b"];
        check(&again, "/home/a", true, Choice::Pass);
        check(&again, "/home/a/b/c", false, Choice::Take);
        check(&again, "/home/a/c", false, Choice::Leave);
        check(&["!/home/a"], "/home/b", false, Choice::Leave);
        check(&["/", "!*.iso"], "/x.iso", false, Choice::Leave);
        check(&["/", "!*.iso"], "/x", false, Choice::Take);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Filter::new(&[], &["[".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("\"[\""));
    }
}

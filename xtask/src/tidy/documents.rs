//! Rules on the documents of the project.
//!
//! Owns which documents must be there. Never judges their prose.

use std::collections::BTreeSet;

use super::{Breach, SourceFile};

const REQUIRED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs/glossary.md",
    "docs/testing.md",
    ".ci/run",
];

/// A reader gets through this many lines in one sitting.
const MAX_ARCHITECTURE_LINES: usize = 250;

/// Documents that are missing or empty.
pub(super) fn present(files: &[SourceFile]) -> Vec<Breach> {
    let is_there = |name: &&&str| {
        files
            .iter()
            .any(|file| file.name == **name && !file.text.trim().is_empty())
    };
    REQUIRED
        .iter()
        .filter(|name| !is_there(name))
        .map(|name| Breach::file(name, "is missing or empty"))
        .collect()
}

/// Crates that ARCHITECTURE.md does not name.
pub(super) fn architecture_names_crates(files: &[SourceFile]) -> Vec<Breach> {
    let crates: BTreeSet<&str> = files.iter().filter_map(SourceFile::crate_name).collect();
    let page = architecture(files).map_or("", |file| &file.text);
    let unnamed = crates
        .into_iter()
        .filter(|name| !page.contains(&format!("`{name}`")));
    unnamed
        .map(|name| {
            Breach::file(
                "ARCHITECTURE.md",
                format!("does not name the crate `{name}`"),
            )
        })
        .collect()
}

/// An architecture page that has grown too long.
pub(super) fn architecture_length(files: &[SourceFile]) -> Vec<Breach> {
    let lines = architecture(files).map_or(0, |file| file.text.lines().count());
    if lines <= MAX_ARCHITECTURE_LINES {
        return Vec::new();
    }
    vec![Breach::file(
        "ARCHITECTURE.md",
        format!("has {lines} lines, more than {MAX_ARCHITECTURE_LINES}"),
    )]
}

fn architecture(files: &[SourceFile]) -> Option<&SourceFile> {
    files.iter().find(|file| file.name == "ARCHITECTURE.md")
}

#[cfg(test)]
mod tests {
    use super::super::samples::file;
    use super::*;

    #[test]
    fn missing_and_empty_documents() {
        let mut files: Vec<SourceFile> = REQUIRED.iter().map(|name| file(name, "text")).collect();
        assert_eq!(present(&files), []);
        files.remove(0);
        files[0].text = " \n".to_owned();
        let found: Vec<String> = present(&files)
            .into_iter()
            .map(|breach| breach.place)
            .collect();
        assert_eq!(found, ["README.md", "ARCHITECTURE.md"]);
    }

    #[test]
    fn crates_are_named() {
        let files = [
            file("ARCHITECTURE.md", "`vault` and `xtask`"),
            file("crates/vault/src/lib.rs", ""),
            file("crates/source/Cargo.toml", ""),
            file("xtask/src/main.rs", ""),
        ];
        let found = architecture_names_crates(&files);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`source`"));
    }

    #[test]
    fn length_of_the_architecture_page() {
        assert_eq!(
            architecture_length(&[file("ARCHITECTURE.md", &"x\n".repeat(250))]),
            []
        );
        assert_eq!(
            architecture_length(&[file("ARCHITECTURE.md", &"x\n".repeat(251))]).len(),
            1
        );
    }
}

//! The rules of the tree that the compiler and clippy do not know.
//!
//! Owns the list of rules. Each rule is a pure function from the files (or from cargo's metadata) to what breaks it.

pub(crate) mod coverage;
mod crate_table;
mod dependencies;
mod documents;
mod paths;
mod rust_sources;

use std::fmt;

use anyhow::{Context, Result};

use crate::steps::{Outcome, Tally};
use crate::workspace::Workspace;

/// One text file of the tree.
pub(crate) struct SourceFile {
    /// The path from the root of the checkout, with `/` between its parts.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    /// The crate folder the file belongs to: `xtask`, or the part after `crates/`.
    fn crate_name(&self) -> Option<&str> {
        let mut parts = self.name.split('/');
        match parts.next() {
            Some("crates") => parts.next(),
            Some("xtask") => Some("xtask"),
            _ => None,
        }
    }
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) place: String,
    pub(crate) message: String,
}

impl Breach {
    fn file(name: &str, message: impl Into<String>) -> Self {
        Self {
            place: name.to_owned(),
            message: message.into(),
        }
    }

    fn line(file: &SourceFile, index: usize, message: impl Into<String>) -> Self {
        Self {
            place: format!("{}:{}", file.name, index + 1),
            message: message.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

type Rule = (&'static str, fn(&[SourceFile]) -> Vec<Breach>);

const RULES: &[Rule] = &[
    (
        "every module opens with what it owns",
        rust_sources::headers,
    ),
    ("no glob imports", rust_sources::glob_imports),
    ("no file over 600 lines", rust_sources::lengths),
    ("no drawer modules", rust_sources::module_names),
    ("nothing left unfinished", rust_sources::unfinished),
    (
        "threads, not async, in the engine",
        rust_sources::async_code,
    ),
    ("SQL in the catalog only", rust_sources::sql),
    ("the documents are there", documents::present),
    (
        "ARCHITECTURE.md names every crate",
        documents::architecture_names_crates,
    ),
    (
        "ARCHITECTURE.md is one sitting",
        documents::architecture_length,
    ),
    ("no host of a package registry", paths::registry_hosts),
    ("the page of the API's coverage is fresh", coverage::fresh),
];

/// Checks all rules; a breach is printed with its place.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome> {
    let files = load(workspace)?;
    let metadata = workspace.metadata()?;
    let mut tally = Tally::default();
    report(
        &mut tally,
        "the crates use each other as the table says",
        &crate_table::edges(&metadata),
    );
    report(
        &mut tally,
        "heavy dependencies stay in their crate",
        &crate_table::confined(&metadata),
    );
    report(
        &mut tally,
        "no path of one machine",
        &paths::machine_paths(&files, &own_folders(workspace)),
    );
    let dependencies = workspace.metadata_of_dependencies()?;
    report(
        &mut tally,
        "crates of others may be shipped",
        &dependencies::licences(&dependencies),
    );
    report(
        &mut tally,
        "crates of others are published",
        &dependencies::origins(&dependencies),
    );
    for (title, rule) in RULES {
        report(&mut tally, title, &rule(&files));
    }
    Ok(Outcome::passed(tally))
}

/// The folders of whoever runs this: the checkout and the home.
fn own_folders(workspace: &Workspace) -> Vec<String> {
    let home = std::env::home_dir();
    let folders = home
        .iter()
        .chain([&workspace.root])
        .map(|folder| format!("{}/", folder.display()));
    folders
        .filter(|folder| folder.starts_with('/') && folder.len() > 2)
        .collect()
}

fn report(tally: &mut Tally, title: &str, breaches: &[Breach]) {
    if breaches.is_empty() {
        tally.passed += 1;
        println!("ok      {title}");
        return;
    }
    tally.failed += 1;
    println!("FAILED  {title}");
    for breach in breaches {
        println!("        {breach}");
    }
}

/// Writes the page of the API's coverage.
pub(crate) fn write_coverage(workspace: &Workspace) -> Result<Outcome> {
    let files = load(workspace)?;
    let page = coverage::page(&files).context("the register of actions is not there")?;
    std::fs::write(workspace.root.join(coverage::PAGE), page)?;
    Ok(Outcome::passed(Tally::ONE))
}

fn load(workspace: &Workspace) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for name in workspace.files()? {
        let text = workspace.read(&name)?;
        files.push(SourceFile {
            name: name.to_string_lossy().into_owned(),
            text,
        });
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) mod samples {
    //! Files for the rules' own tests.
    use super::{Breach, SourceFile};

    pub(crate) fn file(name: &str, text: &str) -> SourceFile {
        SourceFile {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Checks that the rule finds exactly these places in one file.
    pub(crate) fn check(
        rule: fn(&[SourceFile]) -> Vec<Breach>,
        name: &str,
        text: &str,
        places: &[&str],
    ) {
        let found: Vec<String> = rule(&[file(name, text)])
            .into_iter()
            .map(|breach| breach.place)
            .collect();
        assert_eq!(found, places, "{name}:\n{text}");
    }
}

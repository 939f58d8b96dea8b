//! `testkit`: the fixtures for tests that are not written in Rust.
//!
//! Owns the command line of the fixture trees: `build`, `deep`, `random`, `compare`. Part of the black-box tests only.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for test scripts"
)]

use std::path::Path;
use std::process::ExitCode;

use testkit::compare::{self, CompareOptions};
use testkit::{content, deep, tree};

const USAGE: &str = "\
usage: testkit build FOLDER                            make a tree with every kind of file
       testkit deep FOLDER LENGTH                      make a path longer than LENGTH bytes
       testkit random FILE LENGTH SEED                 make a file of incompressible bytes
       testkit compare [--holes] [--skip-root] EXPECTED FOUND   list how two trees differ (exit status 1 when they do)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["build", folder] => {
            tree::build(Path::new(folder), tree::TreeOptions::default()).map(|()| Vec::new())
        }
        ["deep", folder, length] => match length.parse() {
            Ok(length) => deep::build(Path::new(folder), length).map(|()| Vec::new()),
            Err(_) => return usage(),
        },
        ["random", file, length, seed] => match (length.parse(), seed.parse()) {
            (Ok(length), Ok(seed)) => {
                content::write_random_file(Path::new(file), length, seed).map(|()| Vec::new())
            }
            _ => return usage(),
        },
        ["compare", flags @ .., expected, found] => match options(flags) {
            Some(options) => compare::trees(Path::new(expected), Path::new(found), options),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        Ok(differences) => {
            differences
                .iter()
                .for_each(|difference| println!("{difference}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("testkit: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(flags: &[&str]) -> Option<CompareOptions> {
    let mut options = CompareOptions::default();
    for flag in flags {
        match *flag {
            "--holes" => options.holes = true,
            "--skip-root" => options.skip_root = true,
            _ => return None,
        }
    }
    Some(options)
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

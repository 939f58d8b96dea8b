//! `cargo xtask`: everything that CI runs, as one command and in parts.
//!
//! Owns the order of the checks, the peers that the black-box tests need, and the tidy rules of the tree.
//! Never holds a test of the product itself: those live beside the code and in `tests/`.
//! Reading order: `workspace` (where things are), `process` (running programs), `steps` (timing and the final
//! table), `peers` (installing real clients), `tidy` (rules), `bench` (benchmarks), `suite` (what runs, in which order).
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command whose output is its product"
)]

mod bench;
mod peers;
mod process;
mod steps;
mod suite;
mod tidy;
mod workspace;

use std::process::ExitCode;

use suite::{Part, Plan};

const USAGE: &str = "\
usage: cargo xtask [test|lint|tidy|coverage|unit|peers] [options] [-- arguments for pytest]

  test    everything that CI runs (the default)
  lint    cargo fmt --check, clippy and rustdoc with warnings denied
  tidy    the rules of the tree: crate table, headers, names, documents
  coverage  write docs/api-coverage.md anew
  unit    cargo test --workspace
  peers   black-box tests of the binary with the real clients and stock restic
  bench NAME ...  a benchmark with its own arguments; not part of the tests (ledger, vault)

  --without-peers   leave out what needs Python, Node or restic (refused when CI=true)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [part, rest @ ..] = arguments.as_slice()
        && part == "bench"
    {
        return match bench::run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("xtask: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let plan = match parse(arguments.into_iter(), ci) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("xtask: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match suite::run(&plan) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line; `None` means that help was asked for.
fn parse(mut arguments: impl Iterator<Item = String>, ci: bool) -> Result<Option<Plan>, String> {
    let mut part = None;
    let mut with_peers = true;
    let mut pytest_arguments = Vec::new();
    while let Some(argument) = arguments.next() {
        let named = match argument.as_str() {
            "-h" | "--help" | "help" => return Ok(None),
            "--without-peers" => {
                with_peers = false;
                continue;
            }
            "--" => {
                pytest_arguments = arguments.collect();
                break;
            }
            "test" => Part::Test,
            "lint" => Part::Lint,
            "tidy" => Part::Tidy,
            "coverage" => Part::Coverage,
            "unit" => Part::Unit,
            "peers" => Part::Peers,
            other => return Err(format!("unknown argument '{other}'")),
        };
        if part.replace(named).is_some() {
            return Err("name one part only".to_owned());
        }
    }
    let part = part.unwrap_or(Part::Test);
    if ci && !with_peers {
        return Err(
            "--without-peers is refused when CI=true: a missing peer is a failure, never a skip"
                .to_owned(),
        );
    }
    if part == Part::Peers && !with_peers {
        return Err("'peers' cannot run --without-peers".to_owned());
    }
    Ok(Some(Plan {
        part,
        with_peers,
        pytest_arguments,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], ci: bool, expected: Result<Option<Plan>, &str>) {
        let parsed = parse(arguments.iter().map(|&argument| argument.to_owned()), ci);
        match expected {
            Ok(plan) => assert_eq!(parsed, Ok(plan)),
            Err(part) => assert!(
                parsed.is_err_and(|message| message.contains(part)),
                "{arguments:?}"
            ),
        }
    }

    fn plan(part: Part, with_peers: bool, pytest_arguments: &[&str]) -> Plan {
        let pytest_arguments = pytest_arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        Plan {
            part,
            with_peers,
            pytest_arguments,
        }
    }

    #[test]
    fn command_lines() {
        check(&[], false, Ok(Some(plan(Part::Test, true, &[]))));
        check(&["tidy"], true, Ok(Some(plan(Part::Tidy, true, &[]))));
        check(
            &["test", "--without-peers"],
            false,
            Ok(Some(plan(Part::Test, false, &[]))),
        );
        check(
            &["peers", "--", "-k", "restic"],
            false,
            Ok(Some(plan(Part::Peers, true, &["-k", "restic"]))),
        );
        check(&["--help"], true, Ok(None));
        check(
            &["test", "--without-peers"],
            true,
            Err("refused when CI=true"),
        );
        check(&["peers", "--without-peers"], false, Err("cannot run"));
        check(&["test", "unit"], false, Err("one part"));
        check(&["tests"], false, Err("unknown argument 'tests'"));
    }
}

//! `cargo xtask bench NAME`: the benchmarks, each a program of the crate that it measures, built with the release profile.
//!
//! Owns the list of names. The programs are examples of their crates, so that clippy and the test build see them and this
//! command stays small.

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// Name, package and example.
const BENCHES: [(&str, &str, &str); 1] = [("ledger", "server", "bench-ledger")];

/// Runs the benchmark that the first argument names with the others.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("name a benchmark: {}", names());
    };
    let Some((_, package, example)) = BENCHES.iter().find(|(known, _, _)| known == name) else {
        bail!("there is no benchmark '{name}'; there are: {}", names());
    };
    let mut command = Workspace::find()?.cargo();
    command.args([
        "run",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        package,
        "--example",
        example,
        "--",
    ]);
    process::run(command.args(rest))
}

fn names() -> String {
    BENCHES.map(|(name, _, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_name_is_needed_and_must_be_known() {
        for (arguments, part) in [
            (&[][..], "name a benchmark: ledger"),
            (&["no".to_owned()][..], "no benchmark 'no'"),
        ] {
            let error = run(arguments).expect_err("neither is a benchmark");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

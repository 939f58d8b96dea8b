//! `cargo xtask bench NAME`: the benchmarks, each a program of the crate that it measures, built with the release profile.
//!
//! Owns the list of names. The programs are examples of their crates, so that clippy and the test build see them and this
//! command stays small.

use anyhow::{Result, bail};

use crate::peers::postgres::{self, Syncing};
use crate::process;
use crate::workspace::Workspace;

struct Bench {
    name: &'static str,
    package: &'static str,
    example: &'static str,
    /// A program that the benchmark runs.
    binary: Option<&'static str>,
    /// Whether it takes the URL of a database.
    takes_postgres: bool,
}

const BENCHES: [Bench; 2] = [
    Bench {
        name: "ledger",
        package: "server",
        example: "bench-ledger",
        binary: None,
        takes_postgres: true,
    },
    Bench {
        name: "vault",
        package: "cli",
        example: "bench-vault",
        binary: Some("strongroom"),
        takes_postgres: false,
    },
];

/// Has [`run`] start a database for the benchmark.
const POSTGRES: &str = "--postgres";

/// Runs the benchmark that the first argument names with the others.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("name a benchmark: {}", names());
    };
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        bail!("there is no benchmark '{name}'; there are: {}", names());
    };
    let workspace = Workspace::find()?;
    let release = ["--release", "--quiet", "--locked", "-p", bench.package];
    if let Some(binary) = bench.binary {
        let mut build = workspace.cargo();
        process::run(build.arg("build").args(release).args(["--bin", binary]))?;
    }
    let mut command = workspace.cargo();
    command.arg("run").args(release);
    command.args(["--example", bench.example, "--"]);
    let mut postgres = None;
    for argument in rest {
        if bench.takes_postgres && argument == POSTGRES {
            // Figures of what is durable need a database that is.
            let server = postgres::start(Syncing::On)?;
            command.args(["--catalog", &server.url]);
            postgres = Some(server);
        } else {
            command.arg(argument);
        }
    }
    let result = process::run(&mut command);
    drop(postgres);
    result
}

fn names() -> String {
    BENCHES.each_ref().map(|bench| bench.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_name_is_needed_and_must_be_known() {
        for (arguments, part) in [
            (&[][..], "name a benchmark: ledger, vault"),
            (&["no".to_owned()][..], "no benchmark 'no'"),
        ] {
            let error = run(arguments).expect_err("neither is a benchmark");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

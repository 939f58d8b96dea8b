//! What runs, in which order.
//!
//! Owns the list of steps of each part and what each step needs from the ones before it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::peers::{self, Peers};
use crate::process;
use crate::steps::{Outcome, Steps, Tally};
use crate::tidy;
use crate::workspace::Workspace;

/// The part of the suite asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Test,
    Lint,
    Tidy,
    Coverage,
    Unit,
    Peers,
}

/// One call of the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) part: Part,
    pub(crate) with_peers: bool,
    pub(crate) pytest_arguments: Vec<String>,
}

/// Runs the plan; the answer tells whether everything passed.
pub(crate) fn run(plan: &Plan) -> Result<bool> {
    let workspace = Workspace::find()?;
    let mut steps = Steps::default();
    let all = plan.part == Part::Test;
    let mut peers = None;
    let wants_peers = matches!(plan.part, Part::Test | Part::Unit | Part::Peers);
    if wants_peers && plan.with_peers {
        steps.run("environment", || {
            peers = Some(peers::prepare(&workspace)?);
            Ok(Outcome::passed(Tally::ONE))
        });
    } else if wants_peers {
        println!(
            "--without-peers: the black-box tests and every test that needs stock restic are left out"
        );
    }
    if all || plan.part == Part::Lint {
        steps.run("format", || {
            one(workspace.cargo().args(["fmt", "--all", "--check"]))
        });
        steps.run("clippy", || clippy(&workspace));
    }
    if plan.part == Part::Coverage {
        steps.run("coverage", || tidy::write_coverage(&workspace));
    }
    if all || plan.part == Part::Tidy {
        steps.run("tidy", || tidy::check(&workspace));
    }
    if all || plan.part == Part::Unit {
        unit(&mut steps, &workspace, plan, peers.as_ref());
    }
    if (all && plan.with_peers) || plan.part == Part::Peers {
        black_box(&mut steps, &workspace, plan, peers.as_ref());
    }
    if all || plan.part == Part::Lint {
        steps.run("documentation", || documentation(&workspace));
    }
    Ok(steps.finish())
}

/// A step that is one command.
fn one(command: &mut Command) -> Result<Outcome> {
    process::run(command)?;
    Ok(Outcome::passed(Tally::ONE))
}

fn clippy(workspace: &Workspace) -> Result<Outcome> {
    one(workspace.cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn documentation(workspace: &Workspace) -> Result<Outcome> {
    let mut command = workspace.cargo();
    command.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ]);
    one(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn unit(steps: &mut Steps, workspace: &Workspace, plan: &Plan, peers: Option<&Peers>) {
    if plan.with_peers && peers.is_none() {
        steps.blocked("unit", "the environment is not complete");
        return;
    }
    steps.run("unit", || {
        let mut command = workspace.cargo();
        command.args(["test", "--workspace", "--no-fail-fast", "--locked"]);
        match peers {
            Some(peers) => peers.export(&mut command),
            None => {
                command.env("STRONGROOM_TEST_WITHOUT_PEERS", "1");
            }
        }
        tests(&mut command)
    });
    let Some(peers) = peers else {
        return;
    };
    steps.run("unit on PostgreSQL", || {
        let mut command = workspace.cargo();
        command.args(["test", "--package", "catalog", "--no-fail-fast", "--locked"]);
        peers.export_postgres(&mut command);
        tests(&mut command)
    });
}

fn black_box(steps: &mut Steps, workspace: &Workspace, plan: &Plan, peers: Option<&Peers>) {
    let Some(peers) = peers else {
        steps.blocked("black box", "the environment is not complete");
        return;
    };
    let mut programs = None;
    steps.run("build", || {
        programs = Some(build(workspace)?);
        Ok(Outcome::passed(Tally::ONE))
    });
    match programs {
        Some(programs) => {
            steps.run("black box", || {
                pytest(workspace, peers, &programs, &plan.pytest_arguments)
            });
        }
        None => steps.blocked("black box", "the binary was not built"),
    }
}

/// What the black-box tests run of ours.
struct Programs {
    strongroom: PathBuf,
    testkit: PathBuf,
}

/// Builds the programs, with the profile that the unit tests have built already.
fn build(workspace: &Workspace) -> Result<Programs> {
    process::run(workspace.cargo().args([
        "build",
        "--package",
        "cli",
        "--package",
        "testkit",
        "--bins",
        "--locked",
    ]))?;
    let folder = workspace.target_dir()?.join("debug");
    let program = |name: &str| {
        let path = folder.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            bail!("cargo built no {}", path.display())
        }
    };
    Ok(Programs {
        strongroom: program("strongroom")?,
        testkit: program("testkit")?,
    })
}

fn pytest(
    workspace: &Workspace,
    peers: &Peers,
    programs: &Programs,
    arguments: &[String],
) -> Result<Outcome> {
    let mut command = Command::new(&peers.sdk_python);
    command
        .current_dir(workspace.root.join("tests/peers"))
        .args(["-m", "pytest"])
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("STRONGROOM_TEST_BINARY", &programs.strongroom)
        .env("STRONGROOM_TEST_TESTKIT", &programs.testkit);
    peers.export(&mut command);
    peers.export_postgres(&mut command);
    tests(&mut command)
}

/// A step that is a test runner. A test that was left out fails the step unless the caller chose the tests.
fn tests(command: &mut Command) -> Result<Outcome> {
    let (tally, ended_well) = process::run_tests(command).context("the test runner did not run")?;
    let failure = if !ended_well {
        Some(format!(
            "the test runner failed ({} passed, {} failed)",
            tally.passed, tally.failed
        ))
    } else if tally.passed == 0 {
        Some("no test ran".to_owned())
    } else if tally.skipped > 0 {
        println!("note: {} tests were left out", tally.skipped);
        std::env::var("CI")
            .is_ok_and(|value| value == "true")
            .then(|| "tests were left out with CI=true".to_owned())
    } else {
        None
    };
    Ok(Outcome { tally, failure })
}

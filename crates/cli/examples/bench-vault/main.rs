//! `cargo xtask bench vault`: what commands cost on vaults with long histories and many blobs.
//!
//! Owns synthetic vaults of any size (`make`), the commands that are run on them (`steps`), and the clocks (`measure`). The
//! binary that is measured is the release build of `strongroom`, as a user calls it. The figures and what they mean are in
//! `docs/performance.md`. Exits with 1 when a command gave something else than what is in the vault.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a developer's command whose output is its product"
)]

mod make;
mod measure;
mod steps;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use make::Shape;
use measure::Cost;

const USAGE: &str = "\
usage: cargo xtask bench vault [--blobs N[,N...]] [--snapshots N[,N...]] [--dir DIR] [--binary FILE] [--json]

  --blobs N[,N...]      data blobs of a vault (1000000); ten million take 2 GB of disk
  --snapshots N[,N...]  snapshots that share them (1,100,1000); every pair of both is measured
  --dir DIR             an existing folder for the vaults; each is removed after it was measured
  --binary FILE         another strongroom than the one that was built with this
  --json                a JSON object for each command instead of a table
";

struct Arguments {
    blobs: Vec<u64>,
    snapshots: Vec<u64>,
    dir: PathBuf,
    binary: PathBuf,
    is_json: bool,
}

fn numbers(text: &str) -> Result<Vec<u64>, String> {
    text.split(',')
        .map(|number| {
            let number = number.replace('_', "").parse();
            number.map_err(|_| format!("'{text}' is no list of numbers"))
        })
        .collect()
}

/// The program beside which cargo puts examples.
fn built_binary() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.parent()?.join("strongroom"))
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        blobs: vec![1_000_000],
        snapshots: vec![1, 100, 1_000],
        dir: std::env::temp_dir(),
        binary: built_binary().unwrap_or_default(),
        is_json: false,
    };
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--blobs" => arguments.blobs = numbers(&value()?)?,
            "--snapshots" => arguments.snapshots = numbers(&value()?)?,
            "--dir" => arguments.dir = value()?.into(),
            "--binary" => arguments.binary = value()?.into(),
            "--json" => arguments.is_json = true,
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    if !arguments.binary.is_file() {
        return Err(format!(
            "there is no {}; build it, or name one by --binary",
            arguments.binary.display()
        ));
    }
    for &blobs in &arguments.blobs {
        for &snapshots in &arguments.snapshots {
            Shape::new(blobs, snapshots)?;
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    // A process of its own makes the vault, so that its memory is not this one's.
    if let [word, dir, blobs, snapshots] = given.as_slice()
        && word == "make"
    {
        return ended(make_one(Path::new(dir), blobs, snapshots).map(|()| 0));
    }
    match parse(given.into_iter()) {
        Ok(arguments) => ended(run(&arguments)),
        Err(message) => {
            eprint!("{message}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn ended(result: Result<u64, Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} answers were wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the benchmark broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make_one(dir: &Path, blobs: &str, snapshots: &str) -> Result<(), Box<dyn Error>> {
    let shape = Shape::new(blobs.parse()?, snapshots.parse()?)?;
    make::make(dir, shape)
}

/// Gives the number of wrong answers.
fn run(arguments: &Arguments) -> Result<u64, Box<dyn Error>> {
    let mut wrong = 0;
    for &blobs in &arguments.blobs {
        for &snapshots in &arguments.snapshots {
            let dir = arguments
                .dir
                .join(format!("strongroom-bench-vault-{}", std::process::id()));
            std::fs::create_dir(&dir)?;
            let measured = run_one(arguments, &dir, blobs, snapshots);
            std::fs::remove_dir_all(&dir)?;
            wrong += measured?;
        }
    }
    Ok(wrong)
}

fn run_one(
    arguments: &Arguments,
    dir: &Path,
    blobs: u64,
    snapshots: u64,
) -> Result<u64, Box<dyn Error>> {
    let shape = Shape::new(blobs, snapshots)?;
    let vault = dir.join("vault");
    let status = Command::new(std::env::current_exe()?)
        .arg("make")
        .arg(&vault)
        .args([blobs.to_string(), snapshots.to_string()])
        .status()?;
    if !status.success() {
        return Err("the vault could not be made".into());
    }
    if !arguments.is_json {
        println!("\n{blobs} blobs, {snapshots} snapshots");
        println!(
            "{:<34} {:>9} {:>9} {:>9}",
            "command", "wall s", "CPU s", "peak MB"
        );
    }
    let mut tell = |step: &str, cost: &Cost| {
        if arguments.is_json {
            println!("{}", cost.json(blobs, snapshots, step));
        } else {
            println!("{step:<34} {cost}");
        }
    };
    steps::run(&arguments.binary, dir, shape, &mut tell)
}

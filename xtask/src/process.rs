//! Running programs: passing their output on line by line, and reading test counts off it.
//!
//! Owns how a child is started and how its failure is worded. Never decides what runs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::Tally;

/// Runs a command with its output passed through; a failure names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    println!("$ {words}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start '{words}'"))?;
    if !status.success() {
        bail!("'{words}' ended with {status}");
    }
    Ok(())
}

/// Runs a command quietly and returns its output; a failure shows what it printed.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start '{words}'"))?;
    if !output.status.success() {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "'{words}' ended with {}\n{}{}",
            output.status,
            stdout,
            stderr
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a test runner, passing its output on, and adds up the closing lines it prints.
///
/// The boolean tells whether the runner ended well; the counts stand even when it did not.
pub(crate) fn run_tests(command: &mut Command) -> Result<(Tally, bool)> {
    run_tests_into(command, &mut std::io::stdout())
}

/// As [`run_tests`], with the output going elsewhere: the tests of this file are themselves read by a run like this.
fn run_tests_into(command: &mut Command, output: &mut impl Write) -> Result<(Tally, bool)> {
    let words = words(command);
    println!("$ {words}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start '{words}'"))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .context("cannot read the test runner's output")?
            > 0
        {
            output
                .write_all(&line)
                .context("cannot pass the test runner's output on")?;
            tally.add(counts(&String::from_utf8_lossy(&line)));
            line.clear();
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for '{words}'"))?;
    Ok((tally, status.success()))
}

/// The counts of one line, all zero unless it is the closing line of cargo test or of pytest.
fn counts(line: &str) -> Tally {
    let line = line.trim();
    let closing =
        line.starts_with("test result: ") || (line.starts_with("==") && line.ends_with("=="));
    let mut tally = Tally::default();
    if !closing {
        return tally;
    }
    let mut previous = "";
    for word in line.split([' ', ';', ',']).filter(|word| !word.is_empty()) {
        if let Ok(count) = previous.parse::<usize>() {
            match word {
                "passed" => tally.passed += count,
                "failed" | "error" | "errors" => tally.failed += count,
                "ignored" | "skipped" | "deselected" => tally.skipped += count,
                _ => {}
            }
        }
        previous = word;
    }
    tally
}

fn words(command: &Command) -> String {
    let mut words = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        words.push(' ');
        words.push_str(&argument.to_string_lossy());
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn check(line: &str, expected: (usize, usize, usize)) {
        let tally = counts(line);
        assert_eq!(
            (tally.passed, tally.failed, tally.skipped),
            expected,
            "{line}"
        );
    }

    #[test]
    fn closing_lines() {
        check(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            (12, 0, 0),
        );
        check(
            "test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out; finished in 9s\n",
            (1, 2, 4),
        );
        check(
            "===== 2 failed, 10 passed, 1 skipped, 3 deselected, 1 error in 3.21s =====",
            (10, 3, 4),
        );
        check(
            "============================== 7 passed in 1.00s ==============================",
            (7, 0, 0),
        );
        check("10 passed, but not a closing line", (0, 0, 0));
        check("=== FAILURES ===", (0, 0, 0));
    }

    #[test]
    fn a_failure_names_the_command_and_shows_its_output() {
        let error = capture(Command::new("sh").args(["-c", "echo said; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c") && error.contains("said") && error.contains('3'),
            "{error}"
        );
        let error = run(&mut Command::new("/nonexistent/program"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot start '/nonexistent/program'"),
            "{error}"
        );
    }

    #[test]
    fn counts_stand_when_the_runner_fails() {
        let script = "echo '=== 1 failed, 2 passed in 1s ==='; exit 1";
        let mut output = Vec::new();
        let (tally, ended_well) =
            run_tests_into(Command::new("sh").args(["-c", script]), &mut output).unwrap();
        assert_eq!((tally.passed, tally.failed, ended_well), (2, 1, false));
        assert_eq!(output, b"=== 1 failed, 2 passed in 1s ===\n");
    }
}

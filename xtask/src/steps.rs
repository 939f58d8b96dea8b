//! Steps: a heading, a time, an outcome each, and the table at the end.
//!
//! Owns what the reader of a run sees. A failed step never hides the ones after it: all that can still run does.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How many checks passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// A step that is one check.
    pub(crate) const ONE: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What a step that ran to its end says: its counts, and whether it failed as a whole.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) failure: Option<String>,
}

impl Outcome {
    pub(crate) fn passed(tally: Tally) -> Self {
        Self {
            tally,
            failure: None,
        }
    }
}

struct Row {
    name: String,
    wall_time: Duration,
    tally: Tally,
    failure: Option<String>,
}

/// The steps of a run so far.
#[derive(Default)]
pub(crate) struct Steps {
    rows: Vec<Row>,
}

impl Steps {
    /// Runs one step under a heading. Returns whether it passed.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) -> bool {
        println!(
            "\n=== {name} {}",
            "=".repeat(100usize.saturating_sub(name.len() + 5))
        );
        let start = Instant::now();
        let outcome = step().unwrap_or_else(|error| Outcome {
            tally: Tally {
                failed: 1,
                ..Tally::default()
            },
            failure: Some(format!("{error:#}")),
        });
        self.record(name, start.elapsed(), outcome)
    }

    /// Books a step that could not run because one that it needs has failed.
    pub(crate) fn blocked(&mut self, name: &str, reason: &str) {
        println!("\n=== {name}: not run, {reason}");
        let tally = Tally {
            failed: 1,
            ..Tally::default()
        };
        self.record(
            name,
            Duration::ZERO,
            Outcome {
                tally,
                failure: Some(format!("not run: {reason}")),
            },
        );
    }

    fn record(&mut self, name: &str, wall_time: Duration, outcome: Outcome) -> bool {
        let Outcome {
            mut tally,
            mut failure,
        } = outcome;
        if failure.is_some() && tally.failed == 0 {
            tally.failed = 1;
        }
        if tally.failed > 0 && failure.is_none() {
            failure = Some(format!("{} failed", tally.failed));
        }
        match &failure {
            Some(reason) => println!(
                "--- {name} FAILED after {:.1} s: {reason}",
                wall_time.as_secs_f64()
            ),
            None => println!("--- {name} passed in {:.1} s", wall_time.as_secs_f64()),
        }
        let passed = failure.is_none();
        self.rows.push(Row {
            name: name.to_owned(),
            wall_time,
            tally,
            failure,
        });
        passed
    }

    /// Prints the table and the closing line. Returns whether everything passed.
    pub(crate) fn finish(self) -> bool {
        println!("\n{}", self.table());
        self.rows.iter().all(|row| row.failure.is_none())
    }

    fn table(&self) -> String {
        let mut text = format!(
            "{:<24} {:>9} {:>8} {:>8}\n",
            "step", "wall", "passed", "failed"
        );
        let mut total = Tally::default();
        let mut wall_time = Duration::ZERO;
        for row in &self.rows {
            let mark = if row.failure.is_some() {
                "  FAILED"
            } else {
                ""
            };
            text.push_str(&table_line(&row.name, row.wall_time, row.tally, mark));
            total.add(row.tally);
            wall_time += row.wall_time;
        }
        text.push_str(&table_line("total", wall_time, total, ""));
        for row in &self.rows {
            if let Some(reason) = &row.failure {
                let first = reason.lines().next().unwrap_or_default();
                text.push_str(&format!("\nFAILED {}: {first}", row.name));
            }
        }
        text.push_str(&format!(
            "\n{} passed, {} failed",
            total.passed, total.failed
        ));
        text
    }
}

fn table_line(name: &str, wall_time: Duration, tally: Tally, mark: &str) -> String {
    format!(
        "{name:<24} {:>7.1} s {:>8} {:>8}{mark}\n",
        wall_time.as_secs_f64(),
        tally.passed,
        tally.failed
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_closing_line_stands_alone_and_counts_every_step() {
        let mut steps = Steps::default();
        assert!(steps.run("one", || Ok(Outcome::passed(Tally {
            passed: 4,
            ..Tally::default()
        }))));
        assert!(!steps.run("two", || anyhow::bail!("broken\nsecond line")));
        steps.blocked("three", "two failed");
        let table = steps.table();
        assert_eq!(table.lines().last(), Some("4 passed, 2 failed"));
        assert!(
            table.contains("FAILED two: broken\n") && table.contains("FAILED three: not run"),
            "{table}"
        );
        assert!(!steps.finish());
    }

    #[test]
    fn a_failure_is_never_counted_as_zero_failed() {
        let mut steps = Steps::default();
        let outcome = Outcome {
            tally: Tally::ONE,
            failure: Some("exit status 101".to_owned()),
        };
        assert!(!steps.run("one", || Ok(outcome)));
        assert!(steps.table().ends_with("1 passed, 1 failed"));
    }

    #[test]
    fn a_failed_test_fails_its_step() {
        let mut steps = Steps::default();
        let tally = Tally {
            passed: 1,
            failed: 2,
            skipped: 0,
        };
        assert!(!steps.run("one", || Ok(Outcome::passed(tally))));
    }
}

//! What a run of the engine tells: progress on the screen or as restic's JSON lines, and each item that failed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use runner::{ItemError, Observer, Progress, RunError, Stop, StopToken};
use serde_json::{Value, json};

use super::{Repo, vault_failure};
use crate::exit::{Exit, Failure, chain};
use crate::output::{Meter, Sample, count, printable};

/// Between two status lines of `--json` when `RESTIC_PROGRESS_FPS` does not say.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// What is going on, in restic's word for the JSON of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// A backup.
    Archival,
    /// A restore.
    Restore,
}

struct State {
    meter: Meter,
    last_status: Instant,
}

/// Listens to a run.
pub(crate) struct Teller<'a> {
    repo: &'a Repo<'a>,
    during: During,
    // A std mutex: the run's reporting thread takes it a few times a second.
    state: Mutex<State>,
}

impl<'a> Teller<'a> {
    /// Shows nothing yet.
    pub(crate) fn new(repo: &'a Repo<'a>, during: During) -> Self {
        let label = if during == During::Archival {
            "backup"
        } else {
            "restore"
        };
        let now = Instant::now();
        let meter = Meter::new(repo.screen, repo.meter_style(), label, now);
        Self {
            repo,
            during,
            state: Mutex::new(State {
                meter,
                last_status: now,
            }),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.meter.finish();
    }

    fn status(&self, state: &mut State, progress: &Progress, now: Instant) {
        let every = self.repo.settings.progress_interval.unwrap_or(STATUS_EVERY);
        let is_due = !self.repo.options.quiet && now.duration_since(state.last_status) >= every;
        if !is_due && !self.repo.interrupts.take_report_wish() {
            return;
        }
        state.last_status = now;
        self.repo.screen.json(&status_json(progress, self.during));
    }
}

impl Observer for Teller<'_> {
    fn progress(&self, progress: &Progress) {
        let now = Instant::now();
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.repo.options.json {
            self.status(&mut state, progress, now);
        } else if self.repo.interrupts.take_report_wish() {
            state.meter.print(&sample(progress), now);
        } else {
            state.meter.show(&sample(progress), now);
        }
    }

    fn item_error(&self, error: &ItemError) {
        let path = error.path.to_string_lossy();
        if self.repo.options.json {
            self.repo
                .screen
                .note(&error_json(&error.message, &path, self.during).to_string());
        } else {
            let line = format!(
                "error: {}: {}: {}",
                printable(&path),
                error.operation,
                printable(&error.message)
            );
            self.repo.screen.note(&line);
        }
    }
}

fn sample(progress: &Progress) -> Sample {
    Sample {
        phase: progress.phase.as_str().to_owned(),
        files_done: progress.files_done,
        files_total: progress.files_total,
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        errors: progress.errors,
        elapsed: progress.elapsed,
    }
}

/// A line for an item that failed.
pub(crate) fn error_json(message: &str, item: &str, during: During) -> Value {
    let during = if during == During::Archival {
        "archival"
    } else {
        "restore"
    };
    json!({"message_type": "error", "error": {"message": message}, "during": during, "item": item})
}

fn status_json(progress: &Progress, during: During) -> Value {
    let done = match progress.bytes_total {
        0 => 0.0,
        total => (progress.bytes_done as f64 / total as f64).min(1.0),
    };
    let seconds = progress.elapsed.as_secs();
    let mut line =
        json!({"message_type": "status", "seconds_elapsed": seconds, "percent_done": done});
    if during == During::Restore {
        line["total_files"] = json!(progress.items_total);
        line["files_restored"] = json!(progress.items_done);
        line["total_bytes"] = json!(progress.bytes_total);
        line["bytes_restored"] = json!(progress.bytes_done);
        return line;
    }
    if done > 0.0 {
        let left = progress.elapsed.as_secs_f64() * (1.0 - done) / done;
        line["seconds_remaining"] = json!(left.round());
    }
    line["total_files"] = json!(progress.files_total);
    line["files_done"] = json!(progress.files_done);
    line["total_bytes"] = json!(progress.bytes_total);
    line["bytes_done"] = json!(progress.bytes_done);
    line["error_count"] = json!(progress.errors);
    line["current_files"] = progress
        .current
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    line
}

/// Lines of a long list on a terminal: more than a person reads.
const LINES_ON_A_TERMINAL: usize = 100;

/// Prints the lines of a list that has `total`: the first ones on a terminal, all that there are elsewhere; and then how
/// many are not printed.
pub(crate) fn list(
    is_terminal: bool,
    lines: impl ExactSizeIterator<Item = String>,
    total: u64,
    print: impl Fn(&str),
) {
    let known = lines.len();
    let printed = if is_terminal {
        known.min(LINES_ON_A_TERMINAL)
    } else {
        known
    };
    lines.take(printed).for_each(|line| print(&line));
    if let Some(more) = more(printed, known, total) {
        print(&more);
    }
}

/// What to say of what is not printed; nothing when all is.
fn more(printed: usize, known: usize, total: u64) -> Option<String> {
    let left = total.saturating_sub(printed as u64);
    let hint = match known as u64 {
        _ if printed == known => String::new(),
        known if known == total => " (--json lists all)".to_owned(),
        known => format!(" (--json lists the first {})", count(known)),
    };
    (left > 0).then(|| format!("and {} more{hint}", count(left)))
}

/// A token that SIGINT and SIGTERM use: what is done is made durable and the lock goes.
pub(crate) fn stop_on_signal(repo: &Repo<'_>) -> StopToken {
    let stop = StopToken::new();
    let stopped = stop.clone();
    repo.interrupts
        .on_interrupt(move || stopped.stop(Stop::Suspend));
    stop
}

/// A run that ended without a result, for a person.
pub(crate) fn run_failure(error: &RunError, what: &str) -> Failure {
    match error {
        RunError::Vault(error) => vault_failure(error),
        RunError::Stopped(_) => Failure::with(
            Exit::Interrupted,
            format!("{what} was interrupted"),
            "start it again: what is done already is used again",
        ),
        RunError::Pattern(_) => Failure::usage(chain(error), "correct the pattern"),
        RunError::SourceMissing | RunError::NoPath => {
            Failure::new(chain(error), "name files or folders that exist")
        }
        RunError::SourceInsideVault { .. } => Failure::new(chain(error), "name other folders"),
        RunError::Input(_) => Failure::new(
            chain(error),
            "there is no snapshot of it; mend what gives the data, then start again",
        ),
        RunError::Target(_) => Failure::new(
            chain(error),
            "check the rights of --target and the free space there",
        ),
        _ => Failure::new(
            chain(error),
            "start it again; if it fails again, check the repository: strongroom repo check",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{During, error_json, list, run_failure, status_json};
    use crate::exit::Exit;
    use runner::{Progress, RunError, Stop};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn status_lines_have_the_fields_of_restic() {
        let progress = Progress {
            bytes_done: 25,
            bytes_total: 100,
            files_done: 1,
            files_total: 4,
            elapsed: Duration::from_secs(10),
            ..Progress::default()
        };
        let line = status_json(&progress, During::Archival);
        assert_eq!(
            line,
            json!({
                "message_type": "status", "seconds_elapsed": 10, "percent_done": 0.25, "seconds_remaining": 30.0,
                "total_files": 4, "files_done": 1, "total_bytes": 100, "bytes_done": 25, "error_count": 0,
                "current_files": []
            })
        );
        let line = status_json(&Progress::default(), During::Restore);
        assert_eq!(
            (line["percent_done"].as_f64(), line.get("bytes_done")),
            (Some(0.0), None)
        );
    }

    #[test]
    fn long_lists_are_cut_on_a_terminal() {
        let print = |is_terminal, known: usize, total| {
            let printed = std::cell::RefCell::new(Vec::new());
            let lines = (0..known).map(|number| number.to_string());
            list(is_terminal, lines, total, |line| {
                printed.borrow_mut().push(line.to_owned());
            });
            let printed = printed.into_inner();
            (printed.len(), printed.last().cloned().unwrap_or_default())
        };
        let check = |found: (usize, String), length: usize, last: &str| {
            assert_eq!(found, (length, last.to_owned()));
        };
        check(print(true, 0, 0), 0, "");
        check(print(true, 100, 100), 100, "99");
        check(
            print(true, 1234, 1234),
            101,
            "and 1,134 more (--json lists all)",
        );
        check(
            print(true, 300, 400),
            101,
            "and 300 more (--json lists the first 300)",
        );
        check(print(false, 1234, 1234), 1234, "1233");
        check(print(false, 300, 400), 301, "and 100 more");
    }

    #[test]
    fn error_lines_name_the_item() {
        let line = error_json("denied", "/a", During::Archival);
        assert_eq!(line["error"]["message"], "denied");
        assert_eq!(
            (line["during"].as_str(), line["item"].as_str()),
            (Some("archival"), Some("/a"))
        );
    }

    #[test]
    fn interruptions_are_130() {
        assert_eq!(
            run_failure(&RunError::Stopped(Stop::Suspend), "the backup").exit,
            Exit::Interrupted
        );
        assert_eq!(
            run_failure(&RunError::SourceMissing, "the backup").exit,
            Exit::Failed
        );
    }
}

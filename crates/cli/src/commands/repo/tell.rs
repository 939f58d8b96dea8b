//! What a run of the engine tells: progress on the screen or as restic's JSON lines, and each item that failed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use runner::{ItemError, Observer, Progress, RunError, Stop, StopToken};
use serde_json::{Value, json};
use vault::VaultError;

use super::{Repo, vault_failure};
use crate::exit::{Exit, Failure, chain};
use crate::output::{Meter, Sample, printable};

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
    last: Progress,
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
                last: Progress::default(),
            }),
        }
    }

    /// Takes the bar away; the last progress that was told.
    pub(crate) fn finish(&self) -> Progress {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.meter.finish();
        state.last.clone()
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
        state.last = progress.clone();
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

fn error_json(message: &str, item: &str, during: During) -> Value {
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

/// True if the failure is of the vault's side before anything was done: no summary then.
pub(crate) fn is_before_start(error: &RunError) -> bool {
    matches!(
        error,
        RunError::Vault(
            VaultError::NotARepository { .. }
                | VaultError::WrongPassword
                | VaultError::Locked { .. }
        ) | RunError::Pattern(_)
            | RunError::NoPath
            | RunError::SourceInsideVault { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::{During, error_json, run_failure, status_json};
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

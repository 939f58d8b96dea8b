//! Following jobs to their end, as any client of the API can: asks for their rows, shows progress, prints a summary.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Context, jobs};
use crate::exit::{Exit, Failure};
use crate::output::{
    Meter, MeterStyle, Sample, Screen, bytes, count, duration, printable, rate, status_paint,
};
use crate::session::{Parameters, Session, number, rows, size, text};
use crate::signals::Interrupts;

/// Between two questions.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);
/// A service that does not answer this long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the same again and again, and bears with a service that does not answer for a while.
pub(crate) struct Asker<'s> {
    session: &'s Session,
    last_answer: Instant,
}

impl<'s> Asker<'s> {
    /// The service answered a moment ago.
    pub(crate) fn new(session: &'s Session) -> Self {
        Self {
            session,
            last_answer: Instant::now(),
        }
    }

    /// The answer; `None` when there is none now and it is worth asking again.
    pub(crate) fn ask(
        &mut self,
        action: &str,
        parameters: &Parameters,
    ) -> Result<Option<Value>, Failure> {
        match self.session.try_call(action, parameters) {
            Ok(reply) => {
                self.last_answer = Instant::now();
                Ok(Some(reply))
            }
            Err(error) if error.is_transient() && self.last_answer.elapsed() < PATIENCE => Ok(None),
            Err(error) => Err(self.session.failure(action, parameters, &error)),
        }
    }
}

/// Backup or restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// `job-…`
    Backup,
    /// `r-…`
    Restore,
}

impl JobKind {
    fn id(self) -> &'static str {
        if self == Self::Backup {
            "JobId"
        } else {
            "RestoreId"
        }
    }

    /// One question for all of them.
    fn ask(self, ids: &[String]) -> (&'static str, Parameters) {
        match self {
            Self::Backup => {
                let parameters =
                    Parameters::new()
                        .with("PageSize", 100)
                        .filter("JobId", Some("IN"), ids);
                ("DescribeBackupJobs2", parameters)
            }
            Self::Restore => {
                let parameters = Parameters::new()
                    .with("RestoreType", "ECS_FILE")
                    .with("PageSize", 100);
                (
                    "DescribeRestoreJobs2",
                    parameters.filter("RestoreId", Some("IN"), ids),
                )
            }
        }
    }

    fn rows(self, reply: &Value) -> Vec<Value> {
        match self {
            Self::Backup => rows(reply, &["BackupJobs", "BackupJob"]),
            Self::Restore => rows(reply, &["RestoreJobs", "RestoreJob"]),
        }
    }
}

/// A job that is followed.
pub(crate) struct Followed {
    /// Its id.
    pub(crate) id: String,
    /// Its row when it was last seen.
    pub(crate) row: Value,
    /// How long it was seen running here.
    pub(crate) seen_running: Duration,
    label: String,
    meter: Option<Meter>,
    running_since: Option<Instant>,
}

impl Followed {
    /// Not seen yet.
    pub(crate) fn new(id: &str, label: &str) -> Self {
        Self {
            id: id.to_owned(),
            row: Value::Null,
            seen_running: Duration::ZERO,
            label: printable(label),
            meter: None,
            running_since: None,
        }
    }

    /// The status as the API writes it.
    pub(crate) fn status(&self) -> &str {
        text(&self.row, "Status")
    }

    /// True once it will not change any more.
    pub(crate) fn has_ended(&self) -> bool {
        is_final(self.status())
    }

    fn update(&mut self, row: Value, screen: &Screen, wants_line: bool) {
        self.row = row;
        let now = Instant::now();
        if self.has_ended() {
            self.seen_running = self
                .running_since
                .map_or(Duration::ZERO, |since| now.duration_since(since));
            self.meter = None;
            return;
        }
        if self.status() == "RUNNING" {
            self.running_since.get_or_insert(now);
        }
        let label = format!("{} {}", self.id, self.label);
        let meter = self
            .meter
            .get_or_insert_with(|| Meter::new(screen, MeterStyle::for_screen(screen), &label, now));
        let elapsed = self
            .running_since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        let sample = sample(&self.row, elapsed);
        if wants_line {
            meter.print(&sample, now)
        } else {
            meter.show(&sample, now)
        }
    }
}

/// True if a job in this state will not change any more.
pub(crate) fn is_final(status: &str) -> bool {
    matches!(
        status,
        "COMPLETE" | "PARTIAL_COMPLETE" | "FAILED" | "CANCELED" | "EXPIRED" | "UNAVAILABLE"
    )
}

fn sample(row: &Value, elapsed: Duration) -> Sample {
    let total = size(row, "BytesTotal");
    let progress = u64::try_from(number(row, "Progress"))
        .unwrap_or(0)
        .min(10_000);
    let done = u128::from(total) * u128::from(progress) / 10_000;
    let pick = |files: &str, items: &str| {
        if row.get(files).is_some() {
            size(row, files)
        } else {
            size(row, items)
        }
    };
    Sample {
        // A bar that moves says that it runs.
        phase: match text(row, "Status") {
            "RUNNING" => String::new(),
            status => status.to_ascii_lowercase(),
        },
        files_done: pick("FilesDone", "ItemsDone"),
        files_total: pick("FilesTotal", "ItemsTotal"),
        bytes_done: u64::try_from(done).unwrap_or(total),
        bytes_total: total,
        errors: 0,
        elapsed,
    }
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All jobs have ended.
    AllEnded,
    /// SIGINT or SIGTERM; the jobs go on.
    Interrupted,
}

/// Follows jobs until all have ended; calls `ended` for each as it ends.
pub(crate) fn follow(
    screen: &Screen,
    session: &Session,
    interrupts: &Interrupts,
    kind: JobKind,
    followed: &mut [Followed],
    ended: &dyn Fn(&Followed),
) -> Result<End, Failure> {
    let mut asker = Asker::new(session);
    while followed.iter().any(|job| !job.has_ended()) {
        if interrupts.interrupted() {
            return Ok(End::Interrupted);
        }
        let open: Vec<String> = followed
            .iter()
            .filter(|job| !job.has_ended())
            .map(|job| job.id.clone())
            .collect();
        let (action, parameters) = kind.ask(&open);
        if let Some(reply) = asker.ask(action, &parameters)? {
            apply(
                screen,
                kind,
                followed,
                &open,
                &kind.rows(&reply),
                interrupts.take_report_wish(),
                ended,
            )?;
        }
        if followed.iter().any(|job| !job.has_ended()) {
            interrupts.wait(INTERVAL);
        }
    }
    Ok(End::AllEnded)
}

fn apply(
    screen: &Screen,
    kind: JobKind,
    followed: &mut [Followed],
    asked: &[String],
    found: &[Value],
    wants_line: bool,
    ended: &dyn Fn(&Followed),
) -> Result<(), Failure> {
    for job in followed.iter_mut().filter(|job| asked.contains(&job.id)) {
        let Some(row) = found.iter().find(|row| text(row, kind.id()) == job.id) else {
            let next = "it was deleted meanwhile, with its plan or vault";
            return Err(Failure::with(
                Exit::NotFound,
                format!("the service does not know {} any more", job.id),
                next,
            ));
        };
        job.update(row.clone(), screen, wants_line);
        if job.has_ended() {
            ended(job);
        }
    }
    Ok(())
}

/// The summary of a job that has ended.
pub(crate) fn summary(screen: &Screen, kind: JobKind, job: &Followed) -> String {
    let row = &job.row;
    let whole = jobs::job_duration(row).unwrap_or(job.seen_running);
    // Times of the API are whole seconds; a short job that was seen from its start is known better here.
    let time = if whole.abs_diff(job.seen_running) <= Duration::from_secs(2) {
        job.seen_running
    } else {
        whole
    };
    let status = screen.paint(status_paint(job.status()), job.status());
    let mut text_lines = vec![format!("{}  {status}  {}", job.id, job.label)];
    let mut line = |name: &str, value: String| text_lines.push(format!("  {name:<10} {value}"));
    match kind {
        JobKind::Backup => {
            let read = size(row, "BytesDone");
            let (files, done) = (size(row, "FilesTotal"), size(row, "FilesDone"));
            let changed = count(size(row, "ActualFiles"));
            let files = if done < files {
                format!("{} of {}", count(done), count(files))
            } else {
                count(files)
            };
            line("files", format!("{files} ({changed} new or changed)"));
            line(
                "read",
                format!("{} of {}", bytes(read), bytes(size(row, "BytesTotal"))),
            );
            line(
                "added",
                format!("{} to the vault", bytes(size(row, "ActualBytes"))),
            );
            line("duration", duration(time));
            // What was looked at and found unchanged counts, as far as the job came.
            let progress = u128::try_from(number(row, "Progress"))
                .unwrap_or(0)
                .min(10_000);
            let seen = u128::from(size(row, "BytesTotal")) * progress / 10_000;
            line("rate", rate(u64::try_from(seen).unwrap_or(0), time));
        }
        JobKind::Restore => {
            line(
                "items",
                format!(
                    "{} of {}",
                    count(size(row, "ItemsDone")),
                    count(size(row, "ItemsTotal"))
                ),
            );
            line(
                "restored",
                bytes(size(row, "BytesDone").max(size(row, "ActualBytes"))),
            );
            line("duration", duration(time));
            line("rate", rate(size(row, "BytesDone"), time));
        }
    }
    let message = text(row, "ErrorMessage");
    if !message.is_empty() {
        line("message", printable(message));
    }
    text_lines.join("\n")
}

/// Exit status for how jobs ended, the worst first. `failed` is the status for a job that did not get through.
pub(crate) fn exit_of(followed: &[Followed], failed: Exit) -> Exit {
    if followed
        .iter()
        .any(|job| !matches!(job.status(), "COMPLETE" | "PARTIAL_COMPLETE"))
    {
        failed
    } else if followed
        .iter()
        .any(|job| job.status() == "PARTIAL_COMPLETE")
    {
        Exit::Partial
    } else {
        Exit::Done
    }
}

/// Prints a job that has ended, for people or for programs.
pub(crate) fn tell(screen: &Screen, kind: JobKind, job: &Followed, json: bool) {
    if json {
        screen.line(&job.row.to_string());
    } else {
        screen.line(&summary(screen, kind, job));
    }
}

/// Follows one job, prints its summary or its JSON, and says how it ended.
pub(crate) fn to_the_end(
    context: &Context,
    session: &Session,
    kind: JobKind,
    (id, label): (&str, &str),
    json: bool,
) -> Result<Exit, Failure> {
    let screen = &context.screen;
    let interrupts = Interrupts::listen()?;
    let mut jobs = [Followed::new(id, label)];
    let end = follow(screen, session, &interrupts, kind, &mut jobs, &|job| {
        tell(screen, kind, job, json);
    })?;
    if end == End::Interrupted {
        return Err(Failure::with(
            Exit::Interrupted,
            format!("interrupted; {id} goes on in the service"),
            format!("to stop it: strongroom job cancel {id}"),
        ));
    }
    Ok(exit_of(&jobs, Exit::JobFailed))
}

#[cfg(test)]
mod tests {
    use super::{Followed, exit_of, is_final, sample};
    use crate::exit::Exit;
    use serde_json::json;
    use std::time::Duration;

    fn ended(status: &str) -> Followed {
        let mut job = Followed::new("job-1", "/a");
        job.row = json!({ "Status": status });
        job
    }

    #[test]
    fn the_worst_job_gives_the_status() {
        for (statuses, expected) in [
            (vec!["COMPLETE"], Exit::Done),
            (vec!["COMPLETE", "PARTIAL_COMPLETE"], Exit::Partial),
            (vec!["PARTIAL_COMPLETE", "FAILED"], Exit::Failed),
            (vec!["CANCELED"], Exit::Failed),
        ] {
            let jobs: Vec<Followed> = statuses.iter().map(|status| ended(status)).collect();
            assert_eq!(exit_of(&jobs, Exit::Failed), expected, "{statuses:?}");
        }
    }

    #[test]
    fn running_states_are_not_final() {
        for status in ["CREATED", "QUEUED", "RUNNING", "CANCELING", ""] {
            assert!(!is_final(status), "{status}");
        }
    }

    #[test]
    fn progress_of_the_api_becomes_bytes() {
        let row = json!({"Status": "RUNNING", "Progress": 2500, "BytesTotal": 1000, "FilesDone": 1, "FilesTotal": 4});
        let sample = sample(&row, Duration::from_secs(1));
        assert_eq!(
            (sample.bytes_done, sample.files_done, sample.files_total),
            (250, 1, 4)
        );
    }
}

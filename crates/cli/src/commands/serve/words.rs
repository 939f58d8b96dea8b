//! What `serve` says: where it listens, what to do next, where the recovery file is.

use std::path::Path;

use server::ServerHandle;

use super::first_jobs::FirstJob;
use super::protect::Protected;
use crate::commands::Context;
use crate::commands::follow::Followed;
use crate::output::{Paint, printable};

/// The address as a client writes it.
fn endpoint(server: &ServerHandle) -> String {
    format!("{}/", server.endpoint())
}

/// The server listens.
pub(crate) fn started(context: &Context, server: &ServerHandle) {
    context
        .screen
        .note(&format!("the API is at {}", endpoint(server)));
}

/// A job begins, or goes on.
pub(crate) fn job_started(context: &Context, job: &FirstJob) {
    let verb = if job.goes_on {
        "goes on with"
    } else {
        "starts"
    };
    context
        .screen
        .note(&format!("{} {verb} {}", job.job_id, printable(&job.path)));
}

/// How the service goes on after the first jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GoesOn<'a> {
    /// It serves and keeps these paths on schedule.
    Serving(&'a [Protected]),
    /// It ends (`--once`).
    Ending,
}

/// All first jobs have ended, or there are none: what to do next.
pub(crate) fn next_steps(
    context: &Context,
    server: &ServerHandle,
    data_dir: &Path,
    goes_on: GoesOn<'_>,
) {
    let screen = &context.screen;
    let flag = data_dir_flag(context, data_dir);
    let row = |name: &str, text: &str| {
        screen.line(&format!(
            "{} {text}",
            screen.paint(Paint::Bold, &format!("{name:<9}"))
        ))
    };
    screen.line("");
    if matches!(goes_on, GoesOn::Serving(_)) {
        row("endpoint", &endpoint(server));
        if let Some(file) = server.ca_file() {
            row("ca", &file.display().to_string());
        }
        row("keys", &server.credentials_path().display().to_string());
    }
    row("jobs", &format!("strongroom jobs{flag}"));
    row(
        "restore",
        &format!("strongroom restore latest --target DIR{flag}"),
    );
    for file in recovery_files(data_dir) {
        row("recovery", &file);
        row(
            "",
            "Keep a copy of this file elsewhere: it opens the vaults if this data directory is lost.",
        );
    }
    match goes_on {
        GoesOn::Serving([]) => screen.line("serving; Ctrl-C stops"),
        GoesOn::Serving(paths) => {
            let names: Vec<String> = paths
                .iter()
                .map(|protected| printable(&protected.path))
                .collect();
            screen.line(&format!(
                "serving; {} backed up every day; Ctrl-C stops",
                is_or_are(&names)
            ));
        }
        GoesOn::Ending => screen.line("these commands need the service: strongroom serve"),
    }
}

/// `/a is`, `/a, /b are`
fn is_or_are(names: &[String]) -> String {
    format!(
        "{} {}",
        names.join(", "),
        if names.len() == 1 { "is" } else { "are" }
    )
}

/// ` --data-dir X` for the examples, if it is needed to find this data directory.
fn data_dir_flag(context: &Context, data_dir: &Path) -> String {
    match &context.data_dir {
        Some(_) => format!(" --data-dir {}", data_dir.display()),
        None => String::new(),
    }
}

/// The recovery files in the data directory; none once their owner has moved them away.
fn recovery_files(data_dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(data_dir) else {
        return Vec::new();
    };
    let mut files: Vec<String> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("recovery-") && name.ends_with(".txt")
        })
        .map(|entry| entry.path().display().to_string())
        .collect();
    files.sort();
    files
}

/// A signal came while jobs ran.
pub(crate) fn interrupted(context: &Context, followed: &[Followed]) {
    for job in followed.iter().filter(|job| !job.has_ended()) {
        context.screen.note(&format!(
            "{} is not finished; it goes on under the same id with the next start",
            job.id
        ));
    }
}

/// Asked for progress while nothing is followed.
pub(crate) fn idle(context: &Context, server: &ServerHandle) {
    context.screen.note(&format!(
        "serving at {}; running jobs: strongroom jobs --status RUNNING,QUEUED",
        endpoint(server)
    ));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::recovery_files;

    #[test]
    fn recovery_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["recovery-1.txt", "recovery-1.txt.tmp", "credentials.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let files = recovery_files(folder.path());
        assert_eq!(files.len(), 1);
        assert!(files[0].ends_with("/recovery-1.txt"));
    }
}

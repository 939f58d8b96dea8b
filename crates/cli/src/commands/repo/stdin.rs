//! `repo backup --stdin` and `--stdin-from-command`: what a pipe or a program gives, as the only file of a snapshot.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use runner::{StreamReport, StreamRequest, back_up_stream};

use super::Repo;
use super::backup::{End, opened, writer_options};
use super::tell::{During, Teller, run_failure, stop_on_signal};
use crate::args::RepoBackupArgs;
use crate::exit::{Exit, Failure};
use crate::output::{bytes, duration, rate};

/// Backs up.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoBackupArgs) -> Result<Exit, Failure> {
    let name = file_name(&args.stdin_filename)?;
    let host = args.host.clone().or_else(|| repo.settings.host.clone());
    let request = StreamRequest {
        repository: opened(repo, args.dry_run)?,
        name,
        tags: args.tag.clone(),
        hostname: host.unwrap_or_else(vault::hostname),
        writer: writer_options(repo),
    };
    let begun = Instant::now();
    let teller = Teller::new(repo, During::Archival);
    let stop = stop_on_signal(repo);
    let done = if args.stdin_from_command {
        back_up_stream(&request, &mut Output::of(args)?, &teller, &stop)
    } else {
        back_up_stream(&request, &mut io::stdin().lock(), &teller, &stop)
    };
    teller.finish();
    let report = done.map_err(|error| run_failure(&error, "the backup"))?;
    let end = End {
        snapshot_id: (!args.dry_run).then_some(report.snapshot_id),
        errors: 0,
        duration: begun.elapsed(),
    };
    if repo.options.json {
        repo.screen.json(&end.json(&report.summary));
    } else {
        print(repo, &report, &end);
    }
    Ok(Exit::Done)
}

fn print(repo: &Repo<'_>, report: &StreamReport, end: &End) {
    repo.say(&format!(
        "added    {} ({} stored)",
        bytes(report.summary.data_added),
        bytes(report.added_bytes)
    ));
    repo.say(&format!(
        "read     {} in {} ({})",
        bytes(report.bytes),
        duration(end.duration),
        rate(report.bytes, end.duration)
    ));
    end.say(repo);
}

/// The name of the file; it lies at the root.
fn file_name(typed: &str) -> Result<String, Failure> {
    let name = typed.strip_prefix('/').unwrap_or(typed);
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
        return Err(Failure::usage(
            format!("--stdin-filename {typed:?} is no name of one file"),
            "write a name without folders, as database.sql",
        ));
    }
    Ok(name.to_owned())
}

/// What a program prints. Its end counts only when it ends well: half an output is no backup.
struct Output {
    program: String,
    child: Child,
    stdout: ChildStdout,
}

impl Output {
    fn of(args: &RepoBackupArgs) -> Result<Self, Failure> {
        let Some((program, arguments)) = args.paths.split_first() else {
            return Err(Failure::usage(
                "no command is named",
                "write it after two dashes: --stdin-from-command -- pg_dump database",
            ));
        };
        let program_name = program.display().to_string();
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(
                format!("cannot run {program_name}: {error}"),
                "check its name, and that it can be run by you",
            )
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| failed(&"it has no standard output"))?;
        Ok(Self {
            program: program_name.clone(),
            child,
            stdout,
        })
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stdout.read(buffer)?;
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(0);
        }
        let program = &self.program;
        Err(io::Error::other(format!(
            "{program} ended with {status}, so what it printed is not stored"
        )))
    }
}

impl Drop for Output {
    /// A program whose output nobody takes any more is ended.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::file_name;

    #[test]
    fn a_stream_is_one_file_at_the_root() {
        assert_eq!(file_name("stdin").unwrap(), "stdin");
        assert_eq!(file_name("/db.sql").unwrap(), "db.sql");
        for wrong in ["", "/", "..", "a/b", "//a"] {
            assert!(file_name(wrong).is_err(), "{wrong}");
        }
    }
}

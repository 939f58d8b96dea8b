//! Programs that tests run: stock restic, and the `strongroom` binary under test.
//!
//! Owns where they are found. A missing program fails the test that needs it, unless the run was started without peers
//! (`cargo xtask test --without-peers`).

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A stock restic.
#[derive(Debug, Clone)]
pub struct Restic {
    program: PathBuf,
}

impl Restic {
    /// The restic versions of this run, oldest first: the variables `STRONGROOM_TEST_RESTIC` and
    /// `STRONGROOM_TEST_NEWER_RESTIC`, else the one in `PATH`. Empty only when the run is without peers.
    ///
    /// # Errors
    /// When there is none and the run is not without peers.
    pub fn all() -> io::Result<Vec<Self>> {
        let variables = ["STRONGROOM_TEST_RESTIC", "STRONGROOM_TEST_NEWER_RESTIC"];
        let mut programs: Vec<PathBuf> = variables
            .into_iter()
            .filter_map(std::env::var_os)
            .map(PathBuf::from)
            .collect();
        if programs.is_empty() {
            programs.extend(in_path("restic"));
        }
        if programs.is_empty() && std::env::var_os("STRONGROOM_TEST_WITHOUT_PEERS").is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no stock restic: `cargo xtask test` installs it, or set STRONGROOM_TEST_RESTIC",
            ));
        }
        Ok(programs
            .into_iter()
            .map(|program| Self { program })
            .collect())
    }

    /// The oldest restic of this run; `None` only when the run is without peers.
    ///
    /// # Errors
    /// As [`Restic::all`].
    pub fn oldest() -> io::Result<Option<Self>> {
        Ok(Self::all()?.into_iter().next())
    }

    /// A restic command on a repository, with a cheap password and no cache.
    #[must_use]
    pub fn command(&self, repository: &Path, password: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--no-cache")
            .arg("--repo")
            .arg(repository)
            .env("RESTIC_PASSWORD", password);
        command
    }

    /// Runs restic on a repository and returns its standard output.
    ///
    /// # Errors
    /// When it cannot be started or ends with another status than 0; the message has what it printed.
    pub fn run<Argument: AsRef<OsStr>>(
        &self,
        repository: &Path,
        password: &str,
        arguments: &[Argument],
    ) -> io::Result<String> {
        successful(self.command(repository, password).args(arguments))
    }
}

/// The `strongroom` binary under test: `STRONGROOM_TEST_BINARY`, else the one beside the running test.
///
/// # Errors
/// When there is none.
pub fn strongroom() -> io::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("STRONGROOM_TEST_BINARY") {
        return Ok(PathBuf::from(binary));
    }
    // A test runs from <target>/<profile>/deps.
    let test = std::env::current_exe()?;
    let binary = test
        .parent()
        .and_then(Path::parent)
        .map(|profile| profile.join("strongroom"));
    binary.filter(|binary| binary.is_file()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "there is no strongroom binary: run `cargo build` first",
        )
    })
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// When it cannot be started or ends with another status than 0; the message has what it printed.
pub fn successful(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(describe(command, &output)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(command: &Command, output: &Output) -> String {
    format!(
        "{:?} ended with {}\n{}{}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn stock_restic_runs_and_its_failures_are_shown() {
        for restic in Restic::all().unwrap() {
            let folder = tempfile::tempdir().unwrap();
            let (tree, repository) = (folder.path().join("tree"), folder.path().join("repository"));
            std::fs::create_dir(&tree).unwrap();
            std::fs::write(tree.join("file"), "text").unwrap();
            restic.run(&repository, "secret", &["init"]).unwrap();
            restic
                .run(
                    &repository,
                    "secret",
                    &[OsStr::new("backup"), tree.as_os_str()],
                )
                .unwrap();
            let error = restic
                .run(&repository, "wrong", &["snapshots"])
                .unwrap_err();
            assert!(error.to_string().contains("wrong password"), "{error}");
        }
    }
}

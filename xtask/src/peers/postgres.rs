//! A throw-away PostgreSQL: the newest one that Debian's packages have brought, in a folder of its own, for one run.
//!
//! It listens on a free port of 127.0.0.1, asks for no password and, in tests, syncs nothing: what is tested is what our
//! program does.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::apt;
use crate::process;

/// Who runs it when we are root: PostgreSQL refuses root.
const NOBODY: u32 = 65_534;

/// A running server; stopped and removed when dropped.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    pub(crate) url: String,
}

/// Whether what is committed survives a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncing {
    On,
    Off,
}

/// Starts one, after installing the package if it is missing.
pub(crate) fn start(syncing: Syncing) -> Result<Postgres> {
    let programs = match programs() {
        Some(programs) => programs,
        None => {
            apt::install_packages(&["postgresql"])?;
            programs().context("the package 'postgresql' was installed but brought no initdb")?
        }
    };
    let folder = env::temp_dir().join(format!("strongroom-postgres-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    if is_root(&folder)? {
        chown(&folder, Some(NOBODY), Some(NOBODY))?;
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = Postgres {
        programs,
        folder,
        url: format!("postgres://strongroom@127.0.0.1:{port}/postgres"),
    };
    let data = server.folder.join("data");
    process::run(server.program("initdb")?.arg("-D").arg(&data).args([
        "--username=strongroom",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]))?;
    let fsync = match syncing {
        Syncing::On => "on",
        Syncing::Off => "off",
    };
    let settings = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync={fsync} -c max_connections=300"
    );
    process::run(
        server
            .program("pg_ctl")?
            .args(["start", "-w", "-D"])
            .arg(&data)
            .arg("-l")
            .arg(server.folder.join("log"))
            .args(["-o", &settings]),
    )?;
    println!("PostgreSQL: {}", server.programs.display());
    Ok(server)
}

/// The folder of the newest installed version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").is_file())
        .max_by_key(|path| version(path.file_name()))
        .map(|path| path.join("bin"))
}

fn version(name: Option<&OsStr>) -> u32 {
    name.and_then(OsStr::to_str)
        .and_then(|name| name.parse().ok())
        .unwrap_or_default()
}

fn is_root(made: &Path) -> Result<bool> {
    Ok(fs::metadata(made)?.uid() == 0)
}

impl Postgres {
    /// One of its programs, as a user that it accepts.
    fn program(&self, name: &str) -> Result<Command> {
        let program = self.programs.join(name);
        let owner = fs::metadata(&self.folder)?.uid();
        let mut command = if owner == NOBODY {
            let Some(setpriv) = apt::find("setpriv") else {
                bail!(
                    "there is no setpriv (package util-linux) to run PostgreSQL as another user than root"
                );
            };
            let mut command = Command::new(setpriv);
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.folder);
        Ok(command)
    }

    /// Tells a test runner where it is.
    pub(crate) fn export(&self, command: &mut Command) {
        command.env("STRONGROOM_TEST_POSTGRES", &self.url);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self.program("pg_ctl").and_then(|mut command| {
            command
                .args(["stop", "-m", "immediate", "-D"])
                .arg(self.folder.join("data"));
            process::run(&mut command)
        });
        if let Err(error) = stopped {
            println!("note: PostgreSQL was not stopped: {error:#}");
        }
        // What is left of it is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

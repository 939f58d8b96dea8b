//! Python clients, each set in a virtual environment of its own.
//!
//! Owns how an environment is made from a file of pinned requirements.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::apt;
use super::cache::Cache;
use crate::process;

/// The interpreter of the environment that has exactly the packages pinned in `requirements`.
pub(crate) fn environment(cache: &Cache, name: &str, requirements: &Path) -> Result<PathBuf> {
    let mut pins = std::fs::read(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    // An environment belongs to the interpreter it was made with.
    pins.extend_from_slice(interpreter_version()?.as_bytes());
    let folder = cache.folder(&format!("python-{name}"), &pins, |folder| {
        create(folder)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        process::run(pip.arg(requirements))
    })?;
    Ok(folder.join("bin/python"))
}

fn interpreter_version() -> Result<String> {
    process::capture(
        Command::new("python3").args(["-c", "import sys; print(sys.executable, sys.version)"]),
    )
    .context("python3 does not run")
}

/// Makes an empty environment, and installs what Debian's python3 lacks for it.
fn create(folder: &Path) -> Result<()> {
    let venv = || {
        process::run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(folder),
        )
    };
    if let Err(error) = venv() {
        println!("note: {error:#}; installing what it lacks");
        apt::install_packages(&["python3-venv", "python3-pip"])?;
        venv()?;
    }
    Ok(())
}

//! Node clients, installed from a lock file.
//!
//! Owns how the folder of modules is made. A machine without Node gets Debian's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::apt;
use super::cache::Cache;
use crate::process;

/// `node`, and the folder of the modules that `pins/package-lock.json` names.
pub(crate) fn modules(cache: &Cache, pins: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut missing = Vec::new();
    for program in ["node", "npm"] {
        if apt::find(program).is_none() {
            missing.push(if program == "node" { "nodejs" } else { "npm" });
        }
    }
    if !missing.is_empty() {
        apt::install_packages(&missing)?;
    }
    let node = apt::find("node").context("there is no node after its installation")?;
    let mut pinned = Vec::new();
    for name in ["package.json", "package-lock.json"] {
        let path = pins.join(name);
        pinned.extend(
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    let folder = cache.folder("node", &pinned, |folder| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(pins.join(name), folder.join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        let mut npm = Command::new("npm");
        npm.current_dir(folder)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        process::run(&mut npm)
    })?;
    Ok((node, folder.join("node_modules")))
}

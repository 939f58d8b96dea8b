//! rustic, the other program that writes the format of our vaults.
//!
//! Owns how it is built: no Debian suite has it, so `cargo install` builds it from the registry, once for each cache. What
//! the tests ask of it is not speed, so it is built as fast as can be: ten minutes of one core instead of half an hour.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::Cache;
use crate::process;
use crate::workspace::Workspace;

const VERSION: &str = "0.11.3";
/// Its own release profile links everything as one unit at the highest level.
const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// The program, built into the cache when it is not there. `STRONGROOM_TEST_RUSTIC` overrides.
pub(crate) fn program(cache: &Cache, workspace: &Workspace) -> Result<PathBuf> {
    let program = match std::env::var_os("STRONGROOM_TEST_RUSTIC") {
        Some(program) => PathBuf::from(program),
        None => {
            let build = |folder: &Path| build(folder, workspace);
            let folder = cache.folder("rustic", VERSION.as_bytes(), build)?;
            folder.join("bin/rustic")
        }
    };
    let version = process::capture(Command::new(&program).arg("--version"))?;
    println!("rustic: {} ({})", program.display(), version.trim());
    Ok(program)
}

fn build(folder: &Path, workspace: &Workspace) -> Result<()> {
    let target = folder.join("target");
    let mut command = workspace.cargo();
    command
        // Away from the checkout, whose configuration of cargo is not meant for it.
        .current_dir(folder)
        .args(["install", "rustic-rs", "--version", VERSION, "--locked"])
        .args(["--no-default-features", "--quiet", "--root"])
        .arg(folder)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .envs(PROFILE);
    process::run(&mut command)?;
    fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))
}

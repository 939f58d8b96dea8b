//! Where things are: the root of the checkout, what cargo knows of it, and its files.
//!
//! Owns the questions put to cargo and git. Never changes anything.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// The checkout this program was built from.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
}

impl Workspace {
    /// Finds the checkout: the parent of this crate's folder, wherever the command was called from.
    pub(crate) fn find() -> Result<Self> {
        // cargo sets the variable for `cargo run`, so a moved checkout is found again without a rebuild.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("the xtask folder has no parent")?
            .to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            bail!("{} is not a checkout: it has no Cargo.toml", root.display());
        }
        Ok(Self { root })
    }

    /// `cargo`, run at the root of the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }

    /// What `cargo metadata` says of the workspace's own packages.
    pub(crate) fn metadata(&self) -> Result<Value> {
        self.ask_metadata(&["--no-deps", "--offline"])
    }

    /// What `cargo metadata` says of all packages that are built on this platform.
    pub(crate) fn metadata_of_dependencies(&self) -> Result<Value> {
        let rustc = process::capture(Command::new("rustc").current_dir(&self.root).arg("-vV"))?;
        let host = rustc
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc names no host")?;
        self.ask_metadata(&["--filter-platform", host])
    }

    fn ask_metadata(&self, options: &[&str]) -> Result<Value> {
        let text = process::capture(
            self.cargo()
                .args(["metadata", "--format-version=1"])
                .args(options),
        )?;
        serde_json::from_str(&text).context("cannot read the answer of cargo metadata")
    }

    /// The folder cargo builds into, `CARGO_TARGET_DIR` and configuration files taken into account.
    pub(crate) fn target_dir(&self) -> Result<PathBuf> {
        let metadata = self.metadata()?;
        let dir = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?;
        Ok(PathBuf::from(dir))
    }

    /// The files of the tree that git tracks or would track, relative to the root and sorted.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let listed = process::capture(Command::new("git").current_dir(&self.root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<PathBuf> = listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|name| self.root.join(name).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// A file of the tree as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn read(&self, name: &Path) -> Result<String> {
        let bytes = std::fs::read(self.root.join(name))
            .with_context(|| format!("cannot read {}", name.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

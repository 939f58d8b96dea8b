//! Debian packages.
//!
//! Owns which system tools the tests need and installs those that are missing. Never upgrades one that is there.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// A tool the tests call, and the Debian package that has it.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

pub(crate) const TOOLS: &[Tool] = &[
    tool("restic", "restic"),
    tool("mount", "mount"),
    tool("unshare", "util-linux"),
    tool("hostname", "hostname"),
    tool("ldd", "libc-bin"),
    tool("python3", "python3"),
    tool("strace", "strace"),
];

/// Installs the packages of the tools that are not found.
pub(crate) fn install(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|tool| find(tool.program).is_none())
        .collect();
    if missing.is_empty() {
        println!("system tools: all there");
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    install_packages(&packages)?;
    for tool in missing {
        if find(tool.program).is_none() {
            bail!(
                "the package '{}' was installed but brought no '{}'",
                tool.package,
                tool.program
            );
        }
    }
    Ok(())
}

/// Installs Debian packages by name.
pub(crate) fn install_packages(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if find("apt-get").is_none() {
        bail!(
            "please install these packages, or run with --without-peers: {names} (there is no apt-get here)"
        );
    }
    // A source that is out of order must not stop the install: what counts is that the packages are found.
    if let Err(error) = process::run(apt_get().arg("update")) {
        println!("note: {error:#}");
    }
    process::run(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
    .with_context(|| {
        format!(
            "cannot install {names}; as root: apt-get install {names}; or run with --without-peers"
        )
    })
}

/// `apt-get`, which asks nothing.
pub(crate) fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .arg("--quiet");
    command
}

/// Looks a program up in `PATH` and in the folders of system programs.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(
            ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_path_buf()),
        )
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_only_when_there() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program-anywhere"), None);
    }
}

//! Stock restic, twice: the stable suite's (0.14 on Debian 12, the oldest we promise) and a newer suite's.
//!
//! Owns how the newer one is fetched: through apt, with lists and folders of its own, so that the machine's own
//! packages stay as they are. The mirror is the machine's own, taken from its apt configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use super::cache::Cache;
use crate::process;

/// The suite that the newer restic comes from.
const NEWER_SUITE: &str = "sid";
/// Debian's own signing keys, which the newer suite is signed with too.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The restic of this machine's suite, as apt installed it.
pub(crate) fn stock() -> Result<PathBuf> {
    let program = apt::find("restic").context("there is no restic after its installation")?;
    println!("restic: {} ({})", program.display(), version(&program)?);
    Ok(program)
}

/// The newer suite's restic, fetched into the cache when it is not there. `STRONGROOM_TEST_NEWER_RESTIC` overrides.
pub(crate) fn newer(cache: &Cache) -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("STRONGROOM_TEST_NEWER_RESTIC").map(PathBuf::from) {
        println!(
            "newer restic: {} ({})",
            program.display(),
            version(&program)?
        );
        return Ok(program);
    }
    let folder = cache.folder("restic", NEWER_SUITE.as_bytes(), fetch)?;
    let program = folder.join("package/usr/bin/restic");
    println!(
        "newer restic: {} ({})",
        program.display(),
        version(&program)?
    );
    Ok(program)
}

fn fetch(folder: &Path) -> Result<()> {
    let mirror = mirror()?;
    for private in ["lists/partial", "archives/partial", "package"] {
        fs::create_dir_all(folder.join(private))
            .with_context(|| format!("cannot create {private}"))?;
    }
    let sources = folder.join("sources.list");
    fs::write(
        &sources,
        format!("deb [signed-by={KEYRING}] {mirror} {NEWER_SUITE} main\n"),
    )
    .with_context(|| format!("cannot write {}", sources.display()))?;
    let private_apt = || {
        let mut command = apt::apt_get();
        command.current_dir(folder).args([
            &format!("-oDir::Etc::sourcelist={}", sources.display()),
            "-oDir::Etc::sourceparts=-",
            &format!("-oDir::State::lists={}", folder.join("lists").display()),
            &format!("-oDir::Cache={}", folder.display()),
            "-oAcquire::Languages=none",
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            // The folder belongs to the user who runs the tests; apt's own user may not enter it.
            "-oAPT::Sandbox::User=",
        ]);
        command
    };
    process::run(private_apt().arg("update"))?;
    process::run(private_apt().args(["download", "restic"]))?;
    let package = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded no package of restic")?;
    process::run(
        Command::new("dpkg")
            .arg("-x")
            .arg(&package)
            .arg(folder.join("package")),
    )?;
    // The lists are large and good for one look only.
    fs::remove_dir_all(folder.join("lists")).context("cannot remove the lists")
}

/// The Debian mirror this machine uses.
fn mirror() -> Result<String> {
    if let Some(mirror) = debian_mirror(&sources()?) {
        return Ok(mirror);
    }
    // A fresh machine has no lists yet, and then apt knows no labels. A source out of order is no reason to stop.
    if let Err(error) = process::run(apt::apt_get().arg("update")) {
        println!("note: {error:#}");
    }
    match debian_mirror(&sources()?) {
        Some(mirror) => Ok(mirror),
        None => bail!(
            "this machine's apt knows no Debian mirror; set STRONGROOM_TEST_NEWER_RESTIC to a restic of version 0.17 \
             or later, or run with --without-peers"
        ),
    }
}

/// The label and address of each package index that apt is configured for.
fn sources() -> Result<String> {
    process::capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Created-By: Packages",
    ]))
}

/// The first address labelled as Debian's main archive.
fn debian_mirror(targets: &str) -> Option<String> {
    targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian "))
        .map(|address| address.trim().to_owned())
}

fn version(program: &Path) -> Result<String> {
    let text = process::capture(Command::new(program).arg("version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_main_archive() {
        let targets = "nodistro mirror:one\nDebian-Security mirror:two\nDebian mirror:three/debian/\nDebian mirror:four\n";
        assert_eq!(
            debian_mirror(targets).as_deref(),
            Some("mirror:three/debian/")
        );
        assert_eq!(debian_mirror("$(LABEL) mirror:one\n"), None);
    }
}

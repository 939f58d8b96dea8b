//! Rules on what a file may say of the world outside the checkout.
//!
//! Owns the lists of paths and hosts that bind a file to one machine or one network.

use super::{Breach, SourceFile};

/// Folders of one machine, in two halves so that this file does not find itself.
const MACHINE_FOLDERS: &[(&str, &str)] = &[("/ro", "ot/"), ("/wo", "rk/"), ("/Us", "ers/")];

/// Hosts of package registries, in two halves as well.
const REGISTRIES: &[(&str, &str)] = &[
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("static.crates", ".io"),
    ("index.crates", ".io"),
    ("registry.npm", "js.org"),
    ("deb.deb", "ian.org"),
    ("security.deb", "ian.org"),
    ("snapshot.deb", "ian.org"),
    ("proxy.gol", "ang.org"),
    ("repo1.mav", "en.org"),
    ("repo.mav", "en.apache.org"),
];

/// Files written by a tool in its own terms.
const GENERATED: &[&str] = &["Cargo.lock"];

/// Absolute paths that exist on one machine only: those of every machine like ours, and `own`, the folders of this run.
pub(super) fn machine_paths(files: &[SourceFile], own: &[String]) -> Vec<Breach> {
    let known = MACHINE_FOLDERS
        .iter()
        .map(|(start, end)| format!("{start}{end}"));
    let folders: Vec<String> = known.chain(own.iter().cloned()).collect();
    lines(files, |line| {
        let folder = folders.iter().find(|folder| starts_a_path(line, folder))?;
        Some(format!("names '{folder}', a path of one machine"))
    })
}

/// Addresses of package registries: clients know them by their own configuration.
pub(super) fn registry_hosts(files: &[SourceFile]) -> Vec<Breach> {
    lines(files, |line| {
        let hosts = REGISTRIES
            .iter()
            .map(|(start, end)| format!("{start}{end}"));
        hosts
            .into_iter()
            .find(|host| line.contains(host.as_str()))
            .map(|host| format!("names the registry host '{host}'"))
    })
}

fn lines(files: &[SourceFile], breach: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files
        .iter()
        .filter(|file| !GENERATED.contains(&file.name.as_str()))
    {
        for (index, line) in file.text.lines().enumerate() {
            breaches.extend(breach(line).map(|message| Breach::line(file, index, message)));
        }
    }
    breaches
}

/// Whether `folder` begins an absolute path somewhere in the line.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before
            .is_some_and(|character| character.is_alphanumeric() || "/._-~}*)$".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, file};
    use super::*;

    const NAME: &str = "docs/page.md";

    #[test]
    fn paths_of_one_machine() {
        let own = ["/home/somebody/".to_owned()];
        let check = |text: &str, found: usize| {
            assert_eq!(
                machine_paths(&[file(NAME, text)], &own).len(),
                found,
                "{text}"
            );
        };
        check(concat!("see /ro", "ot/.cache\n"), 1);
        check(concat!("cd '/wo", "rk/main'\n"), 1);
        check("kept in /home/somebody/file\n", 1);
        check("[\"/home/alice/*.pdf\"] and /home and ${HOME}/work/x\n", 0);
        check("target/root/file\n", 0);
        assert_eq!(
            machine_paths(&[file("Cargo.lock", concat!("/ro", "ot/x\n"))], &own),
            []
        );
    }

    #[test]
    fn hosts_of_registries() {
        check(
            registry_hosts,
            NAME,
            concat!("index = https://pypi", ".org/simple\n"),
            &["docs/page.md:1"],
        );
        check(
            registry_hosts,
            NAME,
            "the package is on PyPI, npm and crates.io\n",
            &[],
        );
    }
}

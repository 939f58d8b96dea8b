//! docs/repo.md names every flag of restic that commands of `repo` have not, or have otherwise.

use std::path::Path;

use testkit::programs::Restic;

use super::bench::Bench;

/// The long flags that a help text defines, by another name too.
fn flags(help: &str) -> Vec<String> {
    let definitions = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .flat_map(|line| line.split("  ").next());
    let aliases = help.split("[alias: ").skip(1);
    let aliases = aliases.flat_map(|rest| rest.split(']').next());
    definitions
        .chain(aliases)
        .flat_map(|part| part.split([' ', ',', '=', '.']))
        .filter(|word| word.starts_with("--") && *word != "--help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_names_each_flag_of_restic_that_is_missing() {
    let Some(restic) = Restic::oldest().unwrap() else {
        return;
    };
    let bench = Bench::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/repo.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = |name: &str| -> [String; 3] {
        let start = format!("| {name} |");
        let line = page.lines().find(|line| line.starts_with(&start)).unwrap();
        let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
        [1, 2, 3].map(|at| cells.get(at).copied().unwrap_or_default().to_owned())
    };
    let named = |cell: &str, flag: &str| cell.contains(&format!("`{flag}`"));
    let [same_everywhere, other_everywhere, absent_everywhere] = row("all commands");
    for verb in [
        "backup",
        "restore",
        "snapshots",
        "ls",
        "find",
        "diff",
        "dump",
        "forget",
        "prune",
        "check",
        "tag",
    ] {
        let help = restic
            .run(&bench.path("none"), "", &["help", verb])
            .unwrap();
        let (of_verb, of_all) = help.split_once("Global Flags:").unwrap();
        let ours = flags(&bench.run(&["repo", verb, "--help"]).expect(0).out);
        let [same, other, absent] = row(&format!("`{verb}`"));
        for (theirs, same, other, absent) in [
            (flags(of_verb), &same, &other, &absent),
            (
                flags(of_all),
                &same_everywhere,
                &other_everywhere,
                &absent_everywhere,
            ),
        ] {
            for flag in theirs {
                let is_ours = ours.contains(&flag);
                let told = [same, other, absent].map(|cell| named(cell, &flag));
                assert!(
                    matches!(
                        (is_ours, told),
                        (true, [true, _, false])
                            | (true, [_, true, false])
                            | (false, [false, true, false] | [false, false, true])
                    ),
                    "{verb} {flag}: ours: {is_ours}, in the columns of the page: {told:?}"
                );
            }
        }
    }
}

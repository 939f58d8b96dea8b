//! docs/api-coverage.md: every action of the API, whether it is served, and which tests call it by name.
//!
//! Owns how the page is made from the register of the server and from the tests. Never judges an answer: that is the
//! contract's tests' affair.

use std::fmt::Write;

use super::{Breach, SourceFile};

/// The page.
pub(crate) const PAGE: &str = "docs/api-coverage.md";
const REGISTER: &str = "crates/server/src/actions/registry.rs";
/// Tests that call every action of the contract, whatever its name.
const CALLS_ALL: &[&str] = &["test_every_action", "test_fuzz", "test_clients"];

/// Actions that Terraform sends and the API does not list.
const TERRAFORM: &[&str] = &["TagResources", "UntagResources"];

/// The page as it should be; `None` when the register is not among the files.
pub(crate) fn page(files: &[SourceFile]) -> Option<String> {
    let register = &files.iter().find(|file| file.name == REGISTER)?.text;
    let served = entries(register, "SERVED");
    let refused = entries(register, "REFUSED");
    let extensions = entries(register, "EXTENSIONS");
    let reasons = constants(register);
    let mut rows: Vec<(&str, String)> = served
        .iter()
        .map(|(name, _)| (*name, "served".to_owned()))
        .chain(refused.iter().map(|(name, reason)| {
            let text = reasons
                .iter()
                .find(|(constant, _)| constant == reason)
                .map_or("", |(_, text)| text);
            (*name, format!("refused: {text}"))
        }))
        .collect();
    rows.sort();
    let of_terraform = served
        .iter()
        .filter(|(name, _)| TERRAFORM.contains(name))
        .count();
    let mut out = format!(
        "# Coverage of the API\n\n\
         Made by `cargo xtask coverage`; `cargo xtask tidy` checks that it is fresh.\n\n\
         The API (HBR 2017-09-08) has 97 actions, and Terraform sends two more, TagResources and UntagResources. \
         Served: {} of the 97, and {} of the two. {} are refused with `OperationDenied.NotSupported` and the reason below. \
         Source types that this server does not protect yet are refused in the same way, when something is created. \
         Every action is called by all official SDKs with both signatures, without its mandatory parameters, with ids \
         that do not exist, and with random parameters ({}).\n\n\
         | action | state | further tests that name it |\n|---|---|---|\n",
        served.len() - of_terraform,
        of_terraform,
        refused.len(),
        CALLS_ALL
            .iter()
            .map(|name| format!("`{name}.py`"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    for (name, state) in rows {
        let _ = writeln!(out, "| {name} | {state} | {} |", tests(files, name));
    }
    out.push_str(
        "\n## Extensions\n\nActions of this server that the cloud does not have, signed and called in the same way.\n\n\
         | action | further tests that name it |\n|---|---|\n",
    );
    for (name, _) in extensions {
        let _ = writeln!(out, "| {name} | {} |", tests(files, name));
    }
    Some(out)
}

/// The page when it is not as it should be.
pub(super) fn fresh(files: &[SourceFile]) -> Vec<Breach> {
    let Some(wanted) = page(files) else {
        return Vec::new();
    };
    let is_fresh = files
        .iter()
        .any(|file| file.name == PAGE && file.text == wanted);
    if is_fresh {
        return Vec::new();
    }
    vec![Breach::file(
        PAGE,
        "is not fresh: run `cargo xtask coverage`",
    )]
}

/// The pairs of a list of the register: the name, and what stands behind it.
fn entries<'a>(register: &'a str, list: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("pub(crate) const {list}: ");
    let Some((_, rest)) = register.split_once(&start) else {
        return Vec::new();
    };
    let Some((_, body)) = rest.split_once("= &[") else {
        return Vec::new();
    };
    let body = body.split_once("];").map_or(body, |(body, _)| body);
    // The formatter breaks long pairs: parts are told by their parentheses alone.
    body.split('(')
        .skip(1)
        .filter_map(|pair| {
            let (name, rest) = pair.trim().strip_prefix('"')?.split_once('"')?;
            let value = rest.trim_start_matches(',').split(')').next()?;
            Some((name, value.trim().trim_end_matches(',').trim()))
        })
        .collect()
}

/// `const NAME: &str = "text";` of the register.
fn constants(register: &str) -> Vec<(&str, &str)> {
    register
        .split("\nconst ")
        .skip(1)
        .filter_map(|text| {
            let (name, rest) = text.split_once(':')?;
            let (_, value) = rest.split_once('"')?;
            Some((name, value.split_once('"')?.0))
        })
        .collect()
}

/// Files of tests that name the action.
fn tests(files: &[SourceFile], action: &str) -> String {
    let quoted = format!("\"{action}\"");
    let mut names: Vec<String> = files
        .iter()
        .filter(|file| file.name.starts_with("tests/peers/test_") && file.text.contains(&quoted))
        .filter_map(|file| file.name.rsplit('/').next())
        .filter(|name| {
            !CALLS_ALL
                .iter()
                .any(|all| name.trim_end_matches(".py") == *all)
        })
        .map(|name| {
            name.trim_end_matches(".py")
                .trim_start_matches("test_")
                .to_owned()
        })
        .collect();
    names.sort();
    names.join(", ")
}

#[cfg(test)]
mod tests_of_the_page {
    use super::super::samples::file;
    use super::{PAGE, REGISTER, fresh, page};

    const TEXT: &str = "\
pub(crate) const SERVED: &[(&str, Handler)] = &[
    (\"Make\", a::make),
    (
        \"MakeWithAVeryLongName\",
        a::make_with_a_very_long_name,
    ),
];
pub(crate) const EXTENSIONS: &[(&str, Handler)] = &[(\"More\", a::more)];
const WHY: &str =
    \"Not yet.\";
pub(crate) const REFUSED: &[(&str, &str)] = &[(\"Break\", WHY)];
";

    #[test]
    fn the_page_has_every_action_with_its_state_and_tests() {
        let files = [
            file(REGISTER, TEXT),
            file("tests/peers/test_it.py", "call(\"Make\")"),
        ];
        let made = page(&files).unwrap_or_default();
        for line in [
            "| Break | refused: Not yet. |  |",
            "| Make | served | it |",
            "| MakeWithAVeryLongName | served |  |",
            "| More |  |",
            "Served: 2 of the 97, and 0 of the two. 1 are refused",
        ] {
            assert!(made.contains(line), "{line} is not in\n{made}");
        }
        assert_eq!(fresh(&files).len(), 1);
        let [register, tests] = files;
        assert!(fresh(&[register, tests, file(PAGE, &made)]).is_empty());
    }
}

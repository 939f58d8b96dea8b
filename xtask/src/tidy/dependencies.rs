//! Rules on the crates of others that we ship.
//!
//! Owns the licences that may be linked into an Apache-2.0 program, and where crates may come from.

use serde_json::Value;

use super::Breach;

/// Licences without a duty beyond naming the authors (and, for MPL-2.0, publishing changes of its own files).
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Data: the list of root certificates that comes with TLS. Its text goes along, nothing else is asked.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates whose licence does not allow shipping them, or that do not say one.
pub(super) fn licences(metadata: &Value) -> Vec<Breach> {
    let refused = packages(metadata).filter(|package| !is_allowed(text(package, "license")));
    refused
        .map(|package| {
            Breach::file(
                &label(package),
                format!("has the licence '{}'", text(package, "license")),
            )
        })
        .collect()
}

/// Crates that come from elsewhere than the registry: a branch of somebody's repository is not kept for us.
pub(super) fn origins(metadata: &Value) -> Vec<Breach> {
    let foreign =
        packages(metadata).filter(|package| !text(package, "source").starts_with("registry+"));
    foreign
        .map(|package| {
            Breach::file(
                &label(package),
                format!("comes from '{}'", text(package, "source")),
            )
        })
        .collect()
}

/// Packages of others: those with a source.
fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    let all = metadata["packages"].as_array().into_iter().flatten();
    all.filter(|package| !package["source"].is_null())
}

/// Reads the part of SPDX that crates use: `A OR B`, `A AND B`, `A/B` of old, and one level of brackets.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    if let Some((before, rest)) = expression.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else {
            return false;
        };
        // A bracket stands for one word: allowed if its inside is.
        let word = if is_allowed(inside) { "MIT" } else { "refused" };
        return is_allowed(&format!("{before}{word}{after}"));
    }
    expression.split(" OR ").any(|choice| {
        choice
            .split(" AND ")
            .all(|licence| ALLOWED.contains(&licence.trim()))
    })
}

fn label(package: &Value) -> String {
    format!("{} {}", text(package, "name"), text(package, "version"))
}

fn text<'value>(value: &'value Value, key: &str) -> &'value str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(expression: &str, expected: bool) {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }

    #[test]
    fn licence_expressions() {
        check("MIT", true);
        check("MIT OR Apache-2.0", true);
        check("MIT/Apache-2.0", true);
        check("GPL-3.0-only OR MIT", true);
        check("Apache-2.0 AND ISC", true);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("(MIT OR Apache-2.0) AND GPL-2.0-only", false);
        check("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true);
        check("GPL-3.0-or-later", false);
        check("MIT AND GPL-2.0-only", false);
        check("(MIT", false);
        check("", false);
    }

    #[test]
    fn only_crates_of_others_are_looked_at() {
        let metadata = json!({"packages": [
            {"name": "ours", "version": "1.0.0", "license": null, "source": null},
            {"name": "theirs", "version": "2.0.0", "license": "GPL-3.0-only", "source": "registry+index"},
            {"name": "fork", "version": "3.0.0", "license": "MIT", "source": "git+somewhere"},
        ]});
        assert_eq!(
            licences(&metadata)
                .iter()
                .map(|breach| breach.place.as_str())
                .collect::<Vec<_>>(),
            ["theirs 2.0.0"]
        );
        assert_eq!(
            origins(&metadata)
                .iter()
                .map(|breach| breach.place.as_str())
                .collect::<Vec<_>>(),
            ["fork 3.0.0"]
        );
    }
}

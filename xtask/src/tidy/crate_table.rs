//! Which crate may use which: the table of ARCHITECTURE.md as data, compared with what cargo says.
//!
//! Owns the table. A new edge between crates is a change here first, with a reason in ARCHITECTURE.md.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Breach;

/// Each crate and the crates of ours that its product code may use.
const TABLE: &[(&str, &[&str])] = &[
    ("storage", &[]),
    ("model", &[]),
    ("api", &["model"]),
    ("vault", &["storage"]),
    ("source", &["storage"]),
    ("catalog", &["model"]),
    ("runner", &["model", "source", "storage", "vault"]),
    ("server", &["api", "catalog", "model", "storage", "vault"]),
    (
        "agent",
        &["api", "model", "runner", "source", "storage", "vault"],
    ),
    (
        "cli",
        &[
            "agent", "api", "catalog", "model", "runner", "server", "source", "storage", "vault",
        ],
    ),
    ("testkit", &[]),
    ("xtask", &[]),
];

/// Crates that only tests may use.
const TEST_ONLY: &[&str] = &["testkit"];

/// Foreign crates that shape the code around them, and the only crates of ours that may use them.
const CONFINED: &[(&str, &[&str])] = &[
    // The driver of PostgreSQL takes encrypted connections as asynchronous streams.
    ("tokio", &["server", "catalog"]),
    ("axum", &["server"]),
    ("hyper", &["server"]),
    ("hyper-util", &["server"]),
    ("rusqlite", &["catalog"]),
    ("postgres", &["catalog"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli", "xtask"]),
];

/// Edges between our crates that the table does not allow, and crates that it does not know.
pub(super) fn edges(metadata: &Value) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for package in packages(metadata) {
        let name = text(package, "name");
        seen.insert(name);
        let Some((_, allowed)) = TABLE.iter().find(|(crate_name, _)| *crate_name == name) else {
            breaches.push(Breach::file(
                name,
                "is not in the table of xtask's tidy rules",
            ));
            continue;
        };
        for (used, is_test_only_use) in uses(package) {
            let ours = TABLE.iter().any(|(crate_name, _)| *crate_name == used);
            let may = allowed.contains(&used) || (is_test_only_use && TEST_ONLY.contains(&used));
            if ours && !may {
                breaches.push(Breach::file(
                    name,
                    format!("uses '{used}', which the table does not allow"),
                ));
            }
        }
    }
    for (name, _) in TABLE {
        if !seen.contains(name) {
            breaches.push(Breach::file(
                name,
                "is in the table but not in the workspace",
            ));
        }
    }
    breaches
}

/// Uses of a confined foreign crate outside its place.
pub(super) fn confined(metadata: &Value) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for package in packages(metadata) {
        let name = text(package, "name");
        for (used, is_test_only_use) in uses(package) {
            let place = CONFINED.iter().find(|(foreign, _)| *foreign == used);
            if let Some((_, allowed)) =
                place.filter(|(_, allowed)| !allowed.contains(&name) && !is_test_only_use)
            {
                breaches.push(Breach::file(
                    name,
                    format!("uses '{used}', which belongs in {}", allowed.join(", ")),
                ));
            }
        }
    }
    breaches
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

/// The names a package depends on, and whether for its tests only.
fn uses(package: &Value) -> impl Iterator<Item = (&str, bool)> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies.map(|dependency| {
        (
            text(dependency, "name"),
            dependency["kind"].as_str() == Some("dev"),
        )
    })
}

fn text<'value>(value: &'value Value, key: &str) -> &'value str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(extra: &[(&str, &str, Option<&str>)]) -> Value {
        let packages: Vec<Value> = TABLE
            .iter()
            .map(|(name, allowed)| {
                let mut dependencies: Vec<Value> = allowed
                    .iter()
                    .map(|used| json!({"name": used, "kind": null}))
                    .collect();
                for (_, used, kind) in extra.iter().filter(|(user, _, _)| user == name) {
                    dependencies.push(json!({"name": used, "kind": kind}));
                }
                json!({"name": name, "dependencies": dependencies})
            })
            .collect();
        json!({"packages": packages})
    }

    fn check(extra: &[(&str, &str, Option<&str>)], expected: &[&str]) {
        let metadata = metadata(extra);
        let found: Vec<String> = edges(&metadata)
            .iter()
            .chain(&confined(&metadata))
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected, "{extra:?}");
    }

    #[test]
    fn the_table_itself_is_allowed() {
        check(&[], &[]);
        check(
            &[("vault", "testkit", Some("dev")), ("vault", "sha2", None)],
            &[],
        );
        check(
            &[("server", "tokio", None), ("catalog", "rusqlite", None)],
            &[],
        );
        check(&[("agent", "tokio", Some("dev"))], &[]);
    }

    #[test]
    fn other_edges_are_refused() {
        check(
            &[("vault", "model", None)],
            &["vault: uses 'model', which the table does not allow"],
        );
        check(
            &[("runner", "agent", Some("dev"))],
            &["runner: uses 'agent', which the table does not allow"],
        );
        check(
            &[("cli", "testkit", None)],
            &["cli: uses 'testkit', which the table does not allow"],
        );
        check(
            &[("agent", "tokio", None)],
            &["agent: uses 'tokio', which belongs in server, catalog"],
        );
    }

    #[test]
    fn unknown_and_lost_crates_are_named() {
        let unknown = json!({"packages": [{"name": "extra", "dependencies": []}]});
        let found = edges(&unknown);
        assert!(found.iter().any(|breach| breach.place == "extra"));
        assert!(found.iter().any(
            |breach| breach.place == "vault" && breach.message.contains("not in the workspace")
        ));
    }
}

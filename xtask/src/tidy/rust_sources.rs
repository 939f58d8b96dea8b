//! Rules on the text of source files.
//!
//! Owns what house style says of a file by itself. Works on lines, not on a parse: each rule is worded so that a line
//! is enough.

use super::{Breach, SourceFile};

/// A file longer than this has more than one purpose.
const MAX_LINES: usize = 600;

/// Names that say nothing of what is inside.
const DRAWERS: &[&str] = &[
    "utils", "util", "misc", "common", "helpers", "helper", "tools",
];

/// Crates whose work is done by threads and bounded channels.
const THREADED: &[&str] = &["model", "vault", "source", "runner"];

/// The first line says what the module owns.
pub(super) fn headers(files: &[SourceFile]) -> Vec<Breach> {
    let rust = files.iter().filter(|file| file.is_rust());
    rust.filter(|file| !file.text.starts_with("//! "))
        .map(|file| Breach::line(file, 0, "does not open with '//!' and what the module owns"))
        .collect()
}

/// `use …::*` hides where a name comes from; `use super::*` in a module of tests is the one exception.
pub(super) fn glob_imports(files: &[SourceFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let mut in_use = false;
        let mut in_tests = file.name.contains("/tests/") || file.name.ends_with("/tests.rs");
        for (index, line) in file.text.lines().enumerate() {
            let line = line.trim();
            in_tests |= line == "#[cfg(test)]";
            in_use |= starts_use(line);
            let marks = ["::*", "{*", " *,", " *}"];
            let glob = line == "*" || line == "*," || marks.iter().any(|mark| line.contains(mark));
            if in_use && glob && !(line == "use super::*;" && in_tests) {
                breaches.push(Breach::line(file, index, "imports everything of a module"));
            }
            in_use &= !line.contains(';');
        }
    }
    breaches
}

fn starts_use(line: &str) -> bool {
    let line = line
        .strip_prefix("pub")
        .map_or(line, |rest| match rest.strip_prefix('(') {
            Some(scope) => scope.split_once(')').map_or(rest, |(_, rest)| rest),
            None => rest,
        });
    line.trim_start().starts_with("use ")
}

/// Long files.
pub(super) fn lengths(files: &[SourceFile]) -> Vec<Breach> {
    let code = files
        .iter()
        .filter(|file| file.is_rust() || is_script(file));
    code.map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| {
            Breach::file(
                &file.name,
                format!("has {lines} lines, more than {MAX_LINES}"),
            )
        })
        .collect()
}

/// Modules whose name is a drawer, as files, as folders and inline.
pub(super) fn module_names(files: &[SourceFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let stems = file
            .name
            .split('/')
            .map(|part| part.strip_suffix(".rs").unwrap_or(part));
        if let Some(drawer) = stems.clone().find(|stem| DRAWERS.contains(stem)) {
            breaches.push(Breach::file(
                &file.name,
                format!("'{drawer}' does not say what is inside"),
            ));
        }
        for (index, line) in file.text.lines().enumerate() {
            let inline = line
                .trim()
                .trim_end_matches([';', '{', ' '])
                .rsplit_once("mod ");
            if let Some((_, name)) =
                inline.filter(|(before, name)| is_visibility(before) && DRAWERS.contains(name))
            {
                breaches.push(Breach::line(
                    file,
                    index,
                    format!("'{name}' does not say what is inside"),
                ));
            }
        }
    }
    breaches
}

fn is_visibility(text: &str) -> bool {
    text.is_empty() || text.starts_with("pub")
}

/// Marks of work that was not done, and tests that do not run.
pub(super) fn unfinished(files: &[SourceFile]) -> Vec<Breach> {
    // Put together here, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let rust = [
        concat!("unimple", "mented!"),
        concat!("to", "do!("),
        concat!("#[ig", "nore"),
        concat!("should_", "panic"),
    ];
    let mut breaches = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.is_rust() || is_script(file) || file.name.ends_with(".md"))
    {
        for (index, line) in file.text.lines().enumerate() {
            let found = words.iter().find(|word| has_word(line, word));
            let found = found.or_else(|| {
                rust.iter()
                    .find(|mark| file.is_rust() && line.contains(**mark))
            });
            if let Some(mark) = found {
                breaches.push(Breach::line(
                    file,
                    index,
                    format!("'{mark}': a wish is an issue, a test runs"),
                ));
            }
        }
    }
    breaches
}

fn is_script(file: &SourceFile) -> bool {
    [".py", ".js", ".sh"]
        .iter()
        .any(|ending| file.name.ends_with(ending))
        || file.name == ".ci/run"
}

fn has_word(line: &str, word: &str) -> bool {
    let is_letter =
        |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric());
    line.match_indices(word).any(|(start, _)| {
        !is_letter(line[..start].chars().next_back())
            && !is_letter(line[start + word.len()..].chars().next())
    })
}

/// Asynchronous code in crates that work with threads.
pub(super) fn async_code(files: &[SourceFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        if !file
            .crate_name()
            .is_some_and(|name| THREADED.contains(&name))
        {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if ["async fn", "async move", "async {", ".await"]
                .iter()
                .any(|word| code.contains(word))
            {
                breaches.push(Breach::line(
                    file,
                    index,
                    "is asynchronous: this crate uses threads and bounded channels",
                ));
            }
        }
    }
    breaches
}

/// SQL outside the catalog.
pub(super) fn sql(files: &[SourceFile]) -> Vec<Breach> {
    let statements = [
        concat!("SELECT", " "),
        concat!("INSERT", " INTO"),
        concat!("DELETE", " FROM"),
        concat!("CREATE", " TABLE"),
        concat!("PRAGMA", " "),
    ];
    let mut breaches = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.is_rust() && file.crate_name() != Some("catalog"))
    {
        for (index, line) in file.text.lines().enumerate() {
            let code = if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            };
            if statements.iter().any(|statement| code.contains(statement)) {
                breaches.push(Breach::line(
                    file,
                    index,
                    "is SQL, which belongs in the catalog",
                ));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::super::samples::check;
    use super::*;

    const NAME: &str = "crates/vault/src/pack.rs";

    #[test]
    fn module_headers() {
        check(headers, NAME, "//! Packs.\n", &[]);
        check(
            headers,
            NAME,
            "use std::fs;\n",
            &["crates/vault/src/pack.rs:1"],
        );
        check(headers, NAME, "//!\n", &["crates/vault/src/pack.rs:1"]);
        check(headers, "docs/page.md", "text", &[]);
    }

    #[test]
    fn globs() {
        let tests = "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        check(glob_imports, NAME, tests, &[]);
        check(
            glob_imports,
            "crates/vault/src/pack/tests.rs",
            "use super::*;\n",
            &[],
        );
        check(
            glob_imports,
            "crates/vault/tests/suite/pack.rs",
            "use super::*;\n",
            &[],
        );
        check(
            glob_imports,
            NAME,
            "use super::*;\n",
            &["crates/vault/src/pack.rs:1"],
        );
        check(
            glob_imports,
            NAME,
            "pub(crate) use std::io::*;\n",
            &["crates/vault/src/pack.rs:1"],
        );
        check(
            glob_imports,
            NAME,
            "use std::{\n    fs,\n    io::{self, *},\n};\n",
            &["crates/vault/src/pack.rs:3"],
        );
        check(
            glob_imports,
            NAME,
            "let area = width *\n    height;\nlet used = *pointer;\n",
            &[],
        );
        check(glob_imports, NAME, "use std::fs;\nlet x = a::b(*c);\n", &[]);
    }

    #[test]
    fn file_lengths() {
        check(lengths, NAME, &"x\n".repeat(600), &[]);
        check(lengths, NAME, &"x\n".repeat(601), &[NAME]);
        check(lengths, "Cargo.lock", &"x\n".repeat(601), &[]);
    }

    #[test]
    fn drawers() {
        check(
            module_names,
            "crates/vault/src/utils.rs",
            "",
            &["crates/vault/src/utils.rs"],
        );
        check(
            module_names,
            "crates/vault/src/common/pack.rs",
            "",
            &["crates/vault/src/common/pack.rs"],
        );
        check(
            module_names,
            NAME,
            "mod misc;\npub(crate) mod helpers {\n",
            &[&format!("{NAME}:1"), &format!("{NAME}:2")],
        );
        check(module_names, NAME, "mod commons;\n// the mod tools\n", &[]);
    }

    #[test]
    fn unfinished_marks() {
        check(
            unfinished,
            NAME,
            concat!("// TO", "DO: later\n"),
            &[&format!("{NAME}:1")],
        );
        check(
            unfinished,
            "docs/page.md",
            concat!("a FIX", "ME here\n"),
            &["docs/page.md:1"],
        );
        check(
            unfinished,
            NAME,
            concat!("#[ig", "nore]\nto", "do!()\n"),
            &[&format!("{NAME}:1"), &format!("{NAME}:2")],
        );
        check(unfinished, "tests/run.sh", "mktemp -d name.XXXXXX\n", &[]);
        check(unfinished, NAME, "let METODOS = 1;\n", &[]);
    }

    #[test]
    fn asynchronous_code() {
        check(
            async_code,
            NAME,
            "async fn read() {}\n",
            &[&format!("{NAME}:1")],
        );
        check(async_code, NAME, "// never an async fn here\n", &[]);
        check(
            async_code,
            "crates/server/src/lib.rs",
            "async fn read() {}\n",
            &[],
        );
    }

    #[test]
    fn sql_statements() {
        let text = concat!("let query = \"SELECT", " 1\";\n");
        check(sql, NAME, text, &[&format!("{NAME}:1")]);
        check(sql, "crates/catalog/src/jobs.rs", text, &[]);
        check(sql, NAME, "// restic has no SQL\n", &[]);
    }
}

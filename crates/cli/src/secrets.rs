//! Where passwords and secrets come from: a file, a command, a variable, or a terminal that does not show them.
//!
//! Never from arguments, because every user of a host can read those. Never printed; wiped when dropped.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::environment::variable;
use crate::exit::Failure;
use crate::signals::while_asking;

/// A secret text.
pub(crate) type Secret = Zeroizing<String>;

/// What a secret's name ends with in the environment: the secret itself, a file that holds it, a command that prints it.
pub(crate) const FORMS: [&str; 3] = ["", "_FILE", "_COMMAND"];

/// What the environment has of a secret, in the order of [`FORMS`].
fn variables(name: &str) -> [Option<OsString>; 3] {
    FORMS.map(|form| variable(&format!("{name}{form}")))
}

/// Whether the environment has a secret of this name, in any form.
pub(crate) fn is_in_environment(name: &str) -> bool {
    variables(name).iter().any(Option::is_some)
}

/// `NAME`, or what `NAME_FILE` holds, or what `NAME_COMMAND` prints. Two of them at once are an error.
pub(crate) fn from_environment(name: &str) -> Result<Option<Secret>, Failure> {
    let found = variables(name);
    let is_doubtful = found.iter().flatten().count() > 1;
    let [plain, file, command] = found;
    if is_doubtful {
        return Err(Failure::usage(
            format!("more than one of {name}, {name}_FILE and {name}_COMMAND is set"),
            "keep one",
        ));
    }
    if let Some(plain) = plain {
        let text = plain
            .into_string()
            .map_err(|_| Failure::usage(format!("{name} is not UTF-8"), ""))?;
        return Ok(Some(Zeroizing::new(text)));
    }
    if let Some(file) = file {
        return from_file(Path::new(&file)).map(Some);
    }
    match command {
        Some(command) => from_command(&command.to_string_lossy()).map(Some),
        None => Ok(None),
    }
}

/// The text of a file without the line end at its end.
pub(crate) fn from_file(path: &Path) -> Result<Secret, Failure> {
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        Failure::new(
            format!("cannot read the password file {}: {error}", path.display()),
            "name a file that you can read",
        )
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Failure::new(
            format!("the password file {} is not UTF-8", path.display()),
            "",
        )
    })?;
    not_empty(
        text.trim_start_matches('\u{feff}'),
        &format!("the password file {}", path.display()),
    )
}

/// What a command prints, without the line end at its end. The command is split into words as a shell does, but is not
/// run by a shell.
pub(crate) fn from_command(line: &str) -> Result<Secret, Failure> {
    let words = split_words(line).ok_or_else(|| {
        Failure::usage(
            "the password command has a quote that does not end",
            "close the quote",
        )
    })?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage(
            "the password command is empty",
            "name a command that prints the password",
        ));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::new(
                format!("cannot run the password command {program}: {error}"),
                "check its name",
            )
        })?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(Failure::new(
            format!("the password command {program} failed: {}", output.status),
            "run it by hand",
        ));
    }
    let text = std::str::from_utf8(&printed)
        .map_err(|_| Failure::new("the password command does not print UTF-8", ""))?;
    not_empty(text, "the output of the password command")
}

fn not_empty(text: &str, what: &str) -> Result<Secret, Failure> {
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Failure::new(
            format!("{what} is empty"),
            "an empty password is not allowed",
        ));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Asks on the terminal without showing what is typed; none if standard input is not a terminal.
pub(crate) fn ask(prompt: &str) -> Result<Option<Secret>, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    let failed = |error: std::io::Error| {
        Failure::new(
            format!("cannot ask for the password: {error}"),
            "use a password file",
        )
    };
    let before = tcgetattr(&stdin).map_err(|errno| failed(errno.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|errno| failed(errno.into()))?;
    let _ = write!(std::io::stderr(), "{prompt}: ");
    let mut line = Zeroizing::new(String::new());
    let saved = before.clone();
    let restore = move || {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &saved);
        let _ = writeln!(std::io::stderr());
    };
    let read = while_asking(restore, || stdin.lock().read_line(&mut line));
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    let _ = writeln!(std::io::stderr());
    read.map_err(failed)?;
    restored.map_err(|errno| failed(errno.into()))?;
    not_empty(&line, "the password").map(Some)
}

/// Words of a command line: spaces part them, `'` and `"` keep them together, `\` takes the next letter as it is.
/// None if a quote does not end.
fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{from_command, from_file, split_words};

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (line, expected) in [
            ("a b", Some(vec!["a", "b"])),
            ("  cat  '/my file' ", Some(vec!["cat", "/my file"])),
            ("x \"a 'b' \\\"c\" ''", Some(vec!["x", "a 'b' \"c", ""])),
            ("a\\ b", Some(vec!["a b"])),
            ("", Some(vec![])),
            ("a 'b", None),
        ] {
            let words = split_words(line);
            assert_eq!(
                words.as_deref(),
                expected
                    .as_deref()
                    .map(|e| e.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
                    .as_deref(),
                "{line}"
            );
        }
    }

    #[test]
    fn files_lose_their_line_end_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pw");
        std::fs::write(&path, " pass word \r\n").unwrap();
        assert_eq!(from_file(&path).unwrap().as_str(), " pass word ");
        std::fs::write(&path, "\n").unwrap();
        assert!(from_file(&path).unwrap_err().what.contains("is empty"));
        assert!(from_file(&folder.path().join("none")).is_err());
    }

    #[test]
    fn commands_print_the_password() {
        assert_eq!(from_command("echo 'a b'").unwrap().as_str(), "a b");
        assert!(from_command("false").unwrap_err().what.contains("failed"));
        assert!(from_command("/nonexistent/program").is_err());
    }
}

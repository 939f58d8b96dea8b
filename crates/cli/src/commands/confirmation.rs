//! Questions before what cannot be undone.

use std::io::{BufRead, IsTerminal, Write};

use crate::args::Confirmed;
use crate::exit::{Exit, Failure};
use crate::output::printable;

impl Confirmed {
    /// Goes on only if it was confirmed: by `--yes`, or by who sits at the terminal.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        let stdin = std::io::stdin();
        let terminal = stdin.is_terminal().then(|| stdin.lock());
        self.ask_by(question, terminal)
    }

    fn ask_by(self, question: &str, terminal: Option<impl BufRead>) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let Some(mut terminal) = terminal else {
            return Err(Failure::usage(
                format!("nothing was done: there is no terminal to ask on: {question}"),
                "confirm with --yes",
            ));
        };
        let _ = write!(std::io::stderr(), "{} [yes/no] ", printable(question));
        let mut line = String::new();
        match terminal.read_line(&mut line) {
            Ok(_) if matches!(line.trim(), "yes" | "y") => Ok(()),
            _ => Err(Failure::with(Exit::Failed, "nothing was done", "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::args::Confirmed;
    use crate::exit::Exit;

    #[test]
    fn only_yes_goes_on() {
        let ask = |yes, terminal: Option<&str>| {
            let done = Confirmed { yes }.ask_by("delete all?", terminal.map(str::as_bytes));
            done.err().map(|failure| failure.exit)
        };
        assert_eq!(ask(true, None), None);
        assert_eq!(ask(true, Some("no\n")), None);
        for (typed, expected) in [
            ("yes\n", None),
            (" y \n", None),
            ("no\n", Some(Exit::Failed)),
            ("\n", Some(Exit::Failed)),
            ("", Some(Exit::Failed)),
            ("yesterday\n", Some(Exit::Failed)),
        ] {
            assert_eq!(ask(false, Some(typed)), expected, "{typed:?}");
        }
        assert_eq!(ask(false, None), Some(Exit::Usage));
    }
}

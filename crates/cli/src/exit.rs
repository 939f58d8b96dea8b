//! How a command ends: exit statuses and failures for a person.
//!
//! A failure is one line that says what failed and one that says what to do next. Engine commands use restic's numbers,
//! commands that are clients of the API use 20 and up for what the service refused.

use std::fmt;

/// Exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All done.
    Done,
    /// Failed.
    Failed,
    /// The command line or the environment is wrong.
    Usage,
    /// Done, but some items could not be read or written.
    Partial,
    /// There is no repository.
    NoRepository,
    /// The repository is locked.
    Locked,
    /// Wrong password.
    WrongPassword,
    /// The service refused the access key.
    Refused,
    /// No such thing.
    NotFound,
    /// The state of the thing does not allow it.
    Conflict,
    /// Too many requests.
    Throttled,
    /// The job that was waited for failed.
    JobFailed,
    /// SIGINT or SIGTERM.
    Interrupted,
    /// The reader of standard output went away, as a shell reports SIGPIPE.
    ReaderGone,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::NoRepository => 10,
            Self::Locked => 11,
            Self::WrongPassword => 12,
            Self::Refused => 20,
            Self::NotFound => 21,
            Self::Conflict => 22,
            Self::Throttled => 23,
            Self::JobFailed => 24,
            Self::Interrupted => 130,
            Self::ReaderGone => 141,
        }
    }
}

/// Why a command failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// One line: what failed and why.
    pub(crate) what: String,
    /// One line: the next step. Empty if there is none.
    pub(crate) next: String,
}

impl Failure {
    /// A failure with status 1.
    pub(crate) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::with(Exit::Failed, what, next)
    }

    /// Wrong usage.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::with(Exit::Usage, what, next)
    }

    /// A failure with a status of its own.
    pub(crate) fn with(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit,
            what: one_line(&what.into()),
            next: one_line(&next.into()),
        }
    }

    /// The command was interrupted.
    pub(crate) fn interrupted(what: impl Into<String>) -> Self {
        Self::with(Exit::Interrupted, what, "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.what)
    }
}

impl std::error::Error for Failure {}

/// An error with all its sources, on one line: `what: why: why`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failure, chain};

    #[test]
    fn failures_are_one_line_each() {
        let failure = Failure::new("a\nb\r\n", " c ");
        assert_eq!(
            (failure.what.as_str(), failure.next.as_str()),
            ("a; b", "c")
        );
        assert_eq!(failure.exit.code(), 1);
    }

    #[test]
    fn statuses_are_those_that_scripts_know() {
        let codes: Vec<u8> = [
            Exit::Done,
            Exit::Failed,
            Exit::Partial,
            Exit::NoRepository,
            Exit::Locked,
        ]
        .into_iter()
        .chain([Exit::WrongPassword, Exit::Interrupted])
        .map(Exit::code)
        .collect();
        assert_eq!(codes, [0, 1, 3, 10, 11, 12, 130]);
    }

    #[test]
    fn chains_do_not_repeat() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "cannot read x: {}", self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(
            chain(&Outer(std::io::Error::other("broken"))),
            "cannot read x: broken"
        );
    }
}

//! Environment variables; those of restic are checked here. A wrong value is an error, never a silent default, and an empty
//! one is none.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::RepoOptions;
use crate::exit::{Exit, Failure};
use crate::secrets::{self, Secret};

/// How new data is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// A good default.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// The fastest level.
    Fastest,
    /// A slow, better level.
    Better,
    /// The slowest level.
    Max,
}

/// Settings from the environment, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) compression: Compression,
    /// Target size of a pack.
    pub(crate) pack_size_bytes: Option<u64>,
    /// Files read at the same time.
    pub(crate) read_concurrency: Option<usize>,
    /// Time between two progress reports.
    pub(crate) progress_interval: Option<Duration>,
    pub(crate) host: Option<String>,
    /// Accepted; nothing is cached on disk.
    pub(crate) cache_dir: Option<PathBuf>,
}

/// A variable by name.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads and checks them.
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        Self::read(&text_variable)
    }

    fn read(get: Lookup<'_>) -> Result<Self, Failure> {
        Ok(Self {
            compression: parsed(
                get,
                "RESTIC_COMPRESSION",
                "auto, off, fastest, better or max",
                compression,
            )?
            .unwrap_or_default(),
            pack_size_bytes: parsed(
                get,
                "RESTIC_PACK_SIZE",
                "a size in MiB from 4 to 128",
                pack_size,
            )?,
            read_concurrency: parsed(
                get,
                "RESTIC_READ_CONCURRENCY",
                "a number from 1 to 256",
                read_concurrency,
            )?,
            progress_interval: parsed(
                get,
                "RESTIC_PROGRESS_FPS",
                "a number above 0, up to 60",
                progress_interval,
            )?,
            host: get("RESTIC_HOST"),
            cache_dir: get("RESTIC_CACHE_DIR").map(PathBuf::from),
        })
    }
}

/// The value of a variable; an empty one counts as none.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Option<String> {
    variable(name).map(|value| value.to_string_lossy().into_owned())
}

fn parsed<T>(
    get: Lookup<'_>,
    name: &str,
    wanted: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Some(text) = get(name) else {
        return Ok(None);
    };
    match parse(text.trim()) {
        Some(value) => Ok(Some(value)),
        None => Err(Failure::usage(
            format!("{name}={text} is not valid"),
            format!("set it to {wanted}, or unset it"),
        )),
    }
}

fn compression(text: &str) -> Option<Compression> {
    match text {
        "auto" => Some(Compression::Auto),
        "off" => Some(Compression::Off),
        "fastest" => Some(Compression::Fastest),
        "better" => Some(Compression::Better),
        "max" => Some(Compression::Max),
        _ => None,
    }
}

fn pack_size(text: &str) -> Option<u64> {
    let mebibytes: u64 = text.parse().ok()?;
    // restic reads 0 as "the default"; its bounds are 4 and 128 MiB.
    (4..=128).contains(&mebibytes).then_some(mebibytes << 20)
}

fn read_concurrency(text: &str) -> Option<usize> {
    text.parse()
        .ok()
        .filter(|number| (1..=256).contains(number))
}

fn progress_interval(text: &str) -> Option<Duration> {
    let per_second: f64 = text.parse().ok()?;
    (per_second > 0.0 && per_second <= 60.0)
        .then(|| Duration::try_from_secs_f64(1.0 / per_second).ok())
        .flatten()
}

/// Where the repository is: flag, file flag, `RESTIC_REPOSITORY`, `RESTIC_REPOSITORY_FILE`.
pub(crate) fn repository(options: &RepoOptions) -> Result<String, Failure> {
    let missing = || {
        Failure::usage(
            "no repository is named",
            "use --repository, or set RESTIC_REPOSITORY or RESTIC_REPOSITORY_FILE",
        )
    };
    if let Some(repository) = &options.repository {
        return if repository.is_empty() {
            Err(missing())
        } else {
            Ok(repository.clone())
        };
    }
    if let Some(file) = &options.repository_file {
        return repository_from_file(file);
    }
    match (
        text_variable("RESTIC_REPOSITORY"),
        text_variable("RESTIC_REPOSITORY_FILE"),
    ) {
        (Some(_), Some(_)) => Err(Failure::usage(
            "RESTIC_REPOSITORY and RESTIC_REPOSITORY_FILE are both set",
            "keep one",
        )),
        (Some(repository), None) => Ok(repository),
        (None, Some(file)) => repository_from_file(&PathBuf::from(file)),
        (None, None) => Err(missing()),
    }
}

fn repository_from_file(file: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(
            format!(
                "cannot read the repository file {}: {error}",
                file.display()
            ),
            "name a file that you can read",
        )
    })?;
    let location = text.trim();
    if location.is_empty() {
        return Err(Failure::usage(
            format!("the repository file {} is empty", file.display()),
            "",
        ));
    }
    Ok(location.to_owned())
}

/// The password: flag, environment, terminal. `confirm` asks twice, for a new repository.
pub(crate) fn password(options: &RepoOptions, ask: Ask) -> Result<Secret, Failure> {
    if let Some(file) = &options.password_file {
        return secrets::from_file(file);
    }
    if let Some(command) = &options.password_command {
        return secrets::from_command(command);
    }
    if let Some(secret) = secrets::from_environment("RESTIC_PASSWORD")? {
        return Ok(secret);
    }
    let missing = || {
        Failure::with(
            Exit::WrongPassword,
            "no password is given",
            "use --password-file, --password-command, RESTIC_PASSWORD, RESTIC_PASSWORD_FILE or RESTIC_PASSWORD_COMMAND",
        )
    };
    let first = secrets::ask("enter the password of the repository")?.ok_or_else(missing)?;
    if ask == Ask::Twice && *first != *secrets::ask("enter it again")?.ok_or_else(missing)? {
        return Err(Failure::new(
            "the passwords differ",
            "type the same password twice",
        ));
    }
    Ok(first)
}

/// How often a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The repository knows what is right.
    Once,
    /// Nobody else knows what is right.
    Twice,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Compression, Settings};
    use std::time::Duration;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, crate::exit::Failure> {
        Settings::read(&|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_is_the_defaults() {
        assert_eq!(read(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn right_values_are_taken() {
        let settings = read(&[
            ("RESTIC_COMPRESSION", "max"),
            ("RESTIC_PACK_SIZE", "64"),
            ("RESTIC_READ_CONCURRENCY", "4"),
            ("RESTIC_PROGRESS_FPS", "0.1"),
            ("RESTIC_HOST", "h"),
        ])
        .unwrap();
        assert_eq!(settings.compression, Compression::Max);
        assert_eq!(settings.pack_size_bytes, Some(64 << 20));
        assert_eq!(settings.read_concurrency, Some(4));
        assert_eq!(settings.progress_interval, Some(Duration::from_secs(10)));
        assert_eq!(settings.host.as_deref(), Some("h"));
    }

    #[test]
    fn wrong_values_are_errors_that_name_the_variable() {
        for (name, value) in [
            ("RESTIC_COMPRESSION", "high"),
            ("RESTIC_PACK_SIZE", "1"),
            ("RESTIC_PACK_SIZE", "16MiB"),
            ("RESTIC_PACK_SIZE", "-4"),
            ("RESTIC_READ_CONCURRENCY", "0"),
            ("RESTIC_READ_CONCURRENCY", "two"),
            ("RESTIC_PROGRESS_FPS", "0"),
            ("RESTIC_PROGRESS_FPS", "NaN"),
            ("RESTIC_PROGRESS_FPS", "1e-300"),
        ] {
            let failure = read(&[(name, value)]).unwrap_err();
            assert!(failure.what.contains(name), "{name}={value}");
            assert_eq!(failure.exit.code(), 2);
        }
    }
}

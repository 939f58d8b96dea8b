//! Where a PostgreSQL database is, and the password that opens it.
//!
//! A password never stands in an argument, where every user of the machine can read it. It comes from a file that holds
//! the whole URL, or as with every client of PostgreSQL from `PGPASSWORD` or the password file (`PGPASSFILE`, else
//! `~/.pgpass`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode};

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The port when none is given.
const DEFAULT_PORT: u16 = 5432;

/// A PostgreSQL database with all that is needed to open it. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct PostgresPlace {
    config: Config,
    shown: String,
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The text is no URL of a PostgreSQL database.
    #[error("the catalog's URL is not of the form postgres://USER@HOST:PORT/DATABASE: {detail}")]
    NotAUrl {
        /// What is wrong.
        detail: String,
    },
    /// A password where everybody can read it.
    #[error(
        "a password in an argument can be read by every user of this machine; put the URL into a file and name it with \
         --catalog-file, or the password into ~/.pgpass or PGPASSWORD"
    )]
    PasswordInArgument,
    /// The connection is to be encrypted, and cannot be.
    #[error(
        "sslmode=require: this program does not encrypt connections to PostgreSQL itself; use a Unix socket, a private \
         network or a tunnel, and leave sslmode out"
    )]
    NoTls,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read a file that holds a password.
    #[error(
        "{path} can be read by others: it holds a password, so set its rights with `chmod 600`"
    )]
    Rights {
        /// Its path.
        path: PathBuf,
    },
}

impl PostgresPlace {
    /// Reads a URL that came as an argument: without a password. That is looked for in the environment.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn parse(url: &str) -> Result<Self, PlaceError> {
        let config = config(url)?;
        if config.get_password().is_some() {
            return Err(PlaceError::PasswordInArgument);
        }
        Self::new(config)
    }

    /// Reads a URL, which may hold a password, from a file that nobody else may read.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        let url = secret_file(path)?;
        Self::new(config(url.trim())?)
    }

    fn new(mut config: Config) -> Result<Self, PlaceError> {
        if config.get_ssl_mode() == SslMode::Require {
            return Err(PlaceError::NoTls);
        }
        if config.get_user().is_none() {
            config.user(&std::env::var("USER").unwrap_or_else(|_| "postgres".to_owned()));
        }
        if config.get_dbname().is_none() {
            let user = config.get_user().unwrap_or_default().to_owned();
            config.dbname(&user);
        }
        if config.get_password().is_none()
            && let Some(password) = password(&config)?
        {
            config.password(password);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(Duration::from_secs(60));
        config.application_name("strongroom");
        let shown = shown(&config);
        Ok(Self { config, shown })
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// The same server, another database. For tests.
    #[cfg(test)]
    pub(crate) fn with_database(&self, name: &str) -> Self {
        let mut config = self.config.clone();
        config.dbname(name);
        let shown = shown(&config);
        Self { config, shown }
    }
}

impl std::fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresPlace({})", self.shown)
    }
}

fn config(url: &str) -> Result<Config, PlaceError> {
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(PlaceError::NotAUrl {
            detail: "it begins otherwise".to_owned(),
        });
    }
    // The parser's own words do not repeat the URL, which may hold a password.
    let config: Config = url.parse().map_err(|error: postgres::Error| {
        let source = std::error::Error::source(&error);
        PlaceError::NotAUrl {
            detail: source.map_or_else(|| error.to_string(), ToString::to_string),
        }
    })?;
    if config.get_hosts().is_empty() {
        return Err(PlaceError::NotAUrl {
            detail: "it has no host (a socket's folder is written %2Fvar%2Frun%2Fpostgresql)"
                .to_owned(),
        });
    }
    Ok(config)
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

fn port(config: &Config, place: usize) -> u16 {
    let ports = config.get_ports();
    let port = if ports.len() == 1 {
        ports.first()
    } else {
        ports.get(place)
    };
    port.copied().unwrap_or(DEFAULT_PORT)
}

fn shown(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(place, name)| format!("{}:{}", host(name), port(config, place)))
        .collect();
    format!(
        "postgres://{}@{}/{}",
        config.get_user().unwrap_or_default(),
        hosts.join(","),
        config.get_dbname().unwrap_or_default()
    )
}

/// The password that the environment has for a place.
fn password(config: &Config) -> Result<Option<String>, PlaceError> {
    if let Ok(password) = std::env::var("PGPASSWORD") {
        return Ok(Some(password));
    }
    let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
    let is_named = named.is_some();
    let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".pgpass"));
    let Some(path) = named.or_else(usual) else {
        return Ok(None);
    };
    if !is_named && !path.exists() {
        return Ok(None);
    }
    let text = secret_file(&path)?;
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or_default();
    Ok(config
        .get_hosts()
        .iter()
        .enumerate()
        .find_map(|(place, name)| {
            // A socket's folder goes by the name localhost in password files.
            let name = match name {
                Host::Tcp(name) => name.clone(),
                Host::Unix(_) => "localhost".to_owned(),
            };
            look_up(
                &text,
                [&name, &port(config, place).to_string(), database, user],
            )
        }))
}

/// The password of the first line `host:port:database:user:password` that fits; `*` fits all, `\` quotes.
fn look_up(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(fields)
        .find(|fields| {
            fields.len() == 5
                && fields
                    .iter()
                    .zip(wanted)
                    .all(|(field, wanted)| field == "*" || field == wanted)
        })
        .and_then(|mut fields| fields.pop())
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let Some(last) = fields.last_mut() else {
            break;
        };
        match letter {
            '\\' => last.extend(letters.next()),
            ':' => fields.push(String::new()),
            letter => last.push(letter),
        }
    }
    fields
}

fn secret_file(path: &Path) -> Result<String, PlaceError> {
    let refuse = |source| PlaceError::File {
        path: path.to_owned(),
        source,
    };
    let mode = fs::metadata(path).map_err(refuse)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(PlaceError::Rights {
            path: path.to_owned(),
        });
    }
    fs::read_to_string(path).map_err(refuse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn passwords_are_refused_in_arguments_and_never_shown() {
        for url in [
            "postgres://me:secret@db/catalog",
            "postgres://me@db/catalog?password=secret",
        ] {
            let error = PostgresPlace::parse(url).unwrap_err();
            assert!(matches!(error, PlaceError::PasswordInArgument), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("url");
            fs::write(&path, format!("{url}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(
                PostgresPlace::read(&path),
                Err(PlaceError::Rights { .. })
            ));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let place = PostgresPlace::read(&path).unwrap();
            assert_eq!(place.config().get_password(), Some(&b"secret"[..]));
            assert_eq!(place.to_string(), "postgres://me@db:5432/catalog");
            assert!(!format!("{place} {place:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_place_is_refused_without_repeating_it() {
        for (url, said) in [
            ("mysql://me:secret@db/x", "begins otherwise"),
            ("postgres://me:secret@db:port/x", "not of the form"),
            ("postgres:///x", "no host"),
            ("postgres://me@db/x?sslmode=require", "does not encrypt"),
            ("postgres://me@db/x?wish=secret", "not of the form"),
        ] {
            let error = PostgresPlace::parse(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn password_files_are_read_as_by_other_clients() {
        let text = "# comment\ndb:5432:other:me:no\ndb:*:catalog:me:se\\:cret\\\\\n*:*:*:*:any\n";
        for (wanted, expected) in [
            (["db", "5432", "catalog", "me"], "se:cret\\"),
            (["db", "1", "catalog", "me"], "se:cret\\"),
            (["db", "5432", "other", "me"], "no"),
            (["x", "5432", "other", "me"], "any"),
        ] {
            assert_eq!(look_up(text, wanted).as_deref(), Some(expected));
        }
        assert_eq!(look_up("a:b:c", ["a", "b", "c", "d"]), None);
    }
}

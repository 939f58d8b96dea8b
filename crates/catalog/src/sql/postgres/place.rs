//! Where a PostgreSQL database is, and the password that opens it.
//!
//! A password never stands in an argument, where every user of the machine can read it. It comes from a file that holds
//! the whole URL, or as with every client of PostgreSQL from `PGPASSWORD` or the password file (`PGPASSFILE`, else
//! `~/.pgpass`).
//!
//! How the connection is protected is said in the URL, in the words of every client of PostgreSQL (`sslmode`, `sslrootcert`).
//! Where other hosts can listen in, plain text has to be asked for.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};

use super::tls::{Proof, Tls};

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The port when none is given.
const DEFAULT_PORT: u16 = 5432;

/// A PostgreSQL database with all that is needed to open it. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct PostgresPlace {
    config: Config,
    /// `None`: plain text.
    tls: Option<Tls>,
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
    /// How the connection is to be protected is not said in a way that keeps a promise.
    #[error(
        "sslmode={mode}: write require, verify-ca or verify-full, or disable for plain text; what encrypts only if it can, \
         protects from nobody who can change that"
    )]
    SslMode {
        /// What was written.
        mode: String,
    },
    /// Plain text on the way to another host.
    #[error(
        "{host} is another host, and whoever is on the way to it could read and change everything: add \
         sslmode=verify-full&sslrootcert=FILE to the URL, or sslmode=disable if something else protects the way"
    )]
    PlainOutside {
        /// The host.
        host: String,
    },
    /// A mode that asks for a CA, and none is named.
    #[error(
        "sslmode={mode} needs the CA that signed the server's certificate: add sslrootcert=FILE (PEM) to the URL"
    )]
    NoCa {
        /// The mode.
        mode: &'static str,
    },
    /// The certificates to trust cannot be used.
    #[error("sslrootcert {path} cannot be used: {why}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
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
        let (url, protection) = Protection::split(url)?;
        let config = config(&url)?;
        if config.get_password().is_some() {
            return Err(PlaceError::PasswordInArgument);
        }
        Self::new(config, protection)
    }

    /// Reads a URL, which may hold a password, from a file that nobody else may read.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        let url = secret_file(path)?;
        let (url, protection) = Protection::split(url.trim())?;
        Self::new(config(&url)?, protection)
    }

    fn new(mut config: Config, protection: Protection) -> Result<Self, PlaceError> {
        let tls = protection.tls(&config)?;
        config.ssl_mode(match tls {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
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
        Ok(Self { config, tls, shown })
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }
    }

    /// The same server, another database. For tests.
    #[cfg(test)]
    pub(crate) fn with_database(&self, name: &str) -> Self {
        let mut config = self.config.clone();
        config.dbname(name);
        let shown = shown(&config);
        Self {
            config,
            tls: self.tls.clone(),
            shown,
        }
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

/// What a URL says of `sslmode` and `sslrootcert`, which the driver's parser does not know all of.
#[derive(Debug, Default)]
struct Protection {
    mode: Option<String>,
    ca: Option<PathBuf>,
}

impl Protection {
    /// Takes its parameters out of a URL.
    fn split(url: &str) -> Result<(String, Self), PlaceError> {
        let mut protection = Self::default();
        let Some((place, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), protection));
        };
        let mut others = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => protection.mode = Some(mode.to_owned()),
                Some(("sslrootcert", path)) => protection.ca = Some(PathBuf::from(decoded(path)?)),
                _ => others.push(pair),
            }
        }
        let url = match others.is_empty() {
            true => place.to_owned(),
            false => format!("{place}?{}", others.join("&")),
        };
        Ok((url, protection))
    }

    /// How to connect; `None` in plain text, which has to be asked for unless nobody else can listen in.
    fn tls(&self, config: &Config) -> Result<Option<Tls>, PlaceError> {
        let ca = |mode| self.ca.clone().ok_or(PlaceError::NoCa { mode });
        let proof = match self.mode.as_deref() {
            None => {
                return match outside(config) {
                    Some(host) => Err(PlaceError::PlainOutside { host }),
                    None => Ok(None),
                };
            }
            Some("disable") => return Ok(None),
            Some("require") => self.ca.clone().map_or(Proof::None, Proof::Ca),
            Some("verify-ca") => Proof::Ca(ca("verify-ca")?),
            Some("verify-full") => Proof::CaAndName(ca("verify-full")?),
            Some(mode) => {
                return Err(PlaceError::SslMode {
                    mode: mode.to_owned(),
                });
            }
        };
        let tls = Tls::new(&proof).map_err(|error| PlaceError::Ca {
            path: self.ca.clone().unwrap_or_default(),
            why: error.to_string(),
        });
        tls.map(Some)
    }
}

/// The first host of a place that is reached over a network.
fn outside(config: &Config) -> Option<String> {
    if let Some(address) = config.get_hostaddrs().iter().find(|ip| !ip.is_loopback()) {
        return Some(address.to_string());
    }
    if !config.get_hostaddrs().is_empty() {
        return None;
    }
    config.get_hosts().iter().find_map(|host| match host {
        Host::Unix(_) => None,
        Host::Tcp(name) if name == "localhost" => None,
        Host::Tcp(name) => match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => None,
            _ => Some(name.clone()),
        },
    })
}

/// A value of a URL's query, with its `%2F`.
fn decoded(text: &str) -> Result<String, PlaceError> {
    let wrong = || PlaceError::NotAUrl {
        detail: "a % in it is not followed by two hex digits, or what they give is no text"
            .to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
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
            "postgres://me:secret@localhost/catalog",
            "postgres://me@localhost/catalog?password=secret",
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
            assert_eq!(place.config.get_password(), Some(&b"secret"[..]));
            assert_eq!(place.to_string(), "postgres://me@localhost:5432/catalog");
            assert!(!format!("{place} {place:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_place_is_refused_without_repeating_it() {
        for (url, said) in [
            ("mysql://me:secret@db/x", "begins otherwise"),
            ("postgres://me:secret@db:port/x", "not of the form"),
            ("postgres:///x", "no host"),
            ("postgres://me@db/x", "another host"),
            ("postgres://me@127.0.0.1,db/x", "db is another host"),
            (
                "postgres://me@127.0.0.1/x?hostaddr=192.0.2.1",
                "another host",
            ),
            ("postgres://me@db/x?sslmode=prefer", "only if it can"),
            ("postgres://me@db/x?sslmode=", "only if it can"),
            ("postgres://me@db/x?sslmode=verify-full", "add sslrootcert"),
            ("postgres://me@db/x?sslmode=verify-ca", "add sslrootcert"),
            (
                "postgres://me@db/x?sslmode=verify-full&sslrootcert=%2Fnone",
                "/none cannot be used",
            ),
            (
                "postgres://me@db/x?sslmode=require&sslrootcert=%2",
                "two hex digits",
            ),
            ("postgres://me@localhost/x?wish=secret", "not of the form"),
        ] {
            let error = PostgresPlace::parse(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn plain_text_is_for_this_host_or_asked_for() {
        for url in [
            "postgres://me@127.0.0.1/x",
            "postgres://me@127.1.2.3:99/x",
            "postgres://me@[::1]/x",
            "postgres://me@localhost/x",
            "postgres://me@%2Frun%2Fpostgresql/x",
            "postgres://me@db/x?hostaddr=127.0.0.1",
            "postgres://me@db/x?sslmode=disable",
            "postgres://me@db/x?connect_timeout=3&sslmode=disable",
        ] {
            let place = PostgresPlace::parse(url).unwrap();
            assert!(place.tls.is_none(), "{url}");
            assert_eq!(place.config.get_ssl_mode(), SslMode::Disable);
        }
        let place = PostgresPlace::parse("postgres://me@db/x?sslmode=require").unwrap();
        assert!(place.tls.is_some());
        assert_eq!(place.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(place.to_string(), "postgres://me@db:5432/x");
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

//! The way to a service: where it is, the access key, and calls that end in a value or a failure for a person.
//!
//! `STRONGROOM_ENDPOINT` names a service elsewhere, `credentials.json` of the data directory the one of this host.
//! `ALIBABA_CLOUD_ACCESS_KEY_ID` and `ALIBABA_CLOUD_ACCESS_KEY_SECRET` (or its `_FILE` or `_COMMAND` form), and
//! `ALIBABA_CLOUD_SECURITY_TOKEN` for a temporary key, are the access key for either; `credentials.json` has one for the
//! service of this host. `STRONGROOM_CACERT` says which CA an https service is trusted by; `credentials.json` names it for
//! the service of the data directory; without either those that the host trusts.
//!
//! A call that comes too soon is made again when the service says, a few times; that is said on standard error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::client::{Client, ClientError, Credentials, Trust};
use api::secret::SecretText;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::{Failure, chain};
use crate::output::Screen;
use crate::refusal::{Call, api_failure, call_failure};
use crate::{environment, paths, secrets};

/// Name of the file in the data directory.
pub(crate) const CREDENTIALS_FILE: &str = "credentials.json";
const DEFAULT_REGION: &str = "cn-hangzhou";
/// How often a call that came too soon is made again.
const MOST_RETRIES: u32 = 5;
/// A service that wants a longer wait than this is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Where the service is.
pub(crate) const ENDPOINT: &str = "STRONGROOM_ENDPOINT";
/// The region of the service.
pub(crate) const REGION: &str = "ALIBABA_CLOUD_REGION_ID";
/// Public part of the access key.
pub(crate) const KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
/// Secret part of the access key.
pub(crate) const KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
/// The token of a temporary key.
pub(crate) const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";
/// Whom to trust.
pub(crate) const CACERT: &str = "STRONGROOM_CACERT";

/// `credentials.json`, as the first start of the service writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsFile {
    endpoint: String,
    region_id: String,
    access_key_id: String,
    access_key_secret: SecretText,
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

/// Where a service is and what opens it.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) endpoint: String,
    pub(crate) trust: Trust,
    /// The file that `trust` was read from, absolute.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
}

impl Access {
    /// Looks into the environment and the data directory.
    pub(crate) fn find(data_dir: &Path, cacert: Option<&Path>) -> Result<Self, Failure> {
        let mut access = Self::without_flag(data_dir)?;
        if let Some(file) = cacert {
            access.trust = trust(file)?;
            access.ca_file = Some(paths::absolute(file)?);
        }
        Ok(access)
    }

    fn without_flag(data_dir: &Path) -> Result<Self, Failure> {
        let has_key = variable(KEY_ID).is_some();
        let Some(endpoint) = variable(ENDPOINT) else {
            if !has_key && !has_part_of_key() {
                return Self::from_file(data_dir);
            }
            if !data_dir.join(CREDENTIALS_FILE).exists() {
                return Err(Failure::new(
                    "an access key is in the environment, but no endpoint",
                    "set STRONGROOM_ENDPOINT to the address of the service, as http://127.0.0.1:8710",
                ));
            }
            return Ok(Self {
                credentials: credentials_of_environment(
                    "one of the access key's id and secret is in the environment, but not both",
                )?,
                ..Self::from_file(data_dir)?
            });
        };
        Ok(Self {
            endpoint,
            trust: Trust::default(),
            ca_file: None,
            region: variable(REGION).unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            credentials: credentials_of_environment(
                "STRONGROOM_ENDPOINT is set, but the access key is not",
            )?,
        })
    }

    /// True if the environment names a service, wherever that is.
    pub(crate) fn is_elsewhere() -> bool {
        variable(ENDPOINT).is_some()
    }

    /// Reads `credentials.json`.
    pub(crate) fn from_file(data_dir: &Path) -> Result<Self, Failure> {
        let path: PathBuf = data_dir.join(CREDENTIALS_FILE);
        let text = std::fs::read(&path).map_err(|error| {
            Failure::new(
                format!("cannot read {}: {error}", path.display()),
                "start the service first (strongroom serve), or name its data directory with --data-dir",
            )
        })?;
        let file: CredentialsFile = serde_json::from_slice(&text).map_err(|error| {
            Failure::new(
                format!("{} is damaged: {error}", path.display()),
                "restore it from a copy",
            )
        })?;
        Ok(Self {
            endpoint: file.endpoint,
            trust: match &file.ca_file {
                Some(file) => trust(file)?,
                None => Trust::default(),
            },
            ca_file: file.ca_file,
            region: file.region_id,
            credentials: Credentials {
                access_key_id: file.access_key_id,
                access_key_secret: file.access_key_secret,
                security_token: None,
            },
        })
    }
}

/// Whether the environment has a secret or a token: whoever set that meant another key than the data directory's.
fn has_part_of_key() -> bool {
    [KEY_SECRET, TOKEN]
        .into_iter()
        .any(secrets::is_in_environment)
}

/// The access key of the environment; `trouble` says what it means that it is not whole.
fn credentials_of_environment(trouble: &str) -> Result<Credentials, Failure> {
    let (Some(access_key_id), Some(secret)) =
        (variable(KEY_ID), secrets::from_environment(KEY_SECRET)?)
    else {
        return Err(Failure::new(
            trouble,
            "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET (or its _FILE or _COMMAND form)",
        ));
    };
    Ok(Credentials {
        access_key_id,
        access_key_secret: SecretText::new(secret.to_string()),
        security_token: secrets::from_environment(TOKEN)?
            .map(|token| SecretText::new(token.to_string())),
    })
}

/// The certificates of a file.
fn trust(file: &Path) -> Result<Trust, Failure> {
    let next = "name the CA of the service with --cacert or STRONGROOM_CACERT: tls/ca.pem of its data directory, or the CA \
                that signed --tls-cert";
    let pem = std::fs::read(file)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display()), next))?;
    Trust::in_certificates(&pem)
        .map_err(|error| Failure::new(format!("{}: {}", file.display(), chain(&error)), next))
}

fn variable(name: &str) -> Option<String> {
    environment::variable(name)?.into_string().ok()
}

/// A signed client of the API, as any other.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    client: Client,
    region: String,
    screen: Screen,
}

impl Session {
    /// Connects lazily: nothing is sent yet.
    pub(crate) fn new(access: Access, screen: &Screen) -> Result<Self, Failure> {
        let Access {
            endpoint,
            trust,
            region,
            credentials,
            ..
        } = access;
        let client = Client::trusting(&endpoint, &trust, credentials, &region)
            .map_err(|error| api_failure("", &error))?;
        Ok(Self {
            client,
            region,
            screen: screen.clone(),
        })
    }

    /// Region of the service.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// One call.
    pub(crate) fn call(&self, action: &str, parameters: Parameters) -> Result<Value, Failure> {
        self.try_call(action, &parameters)
            .map_err(|error| self.failure(action, &parameters, &error))
    }

    /// What the service said to a call, for a person.
    pub(crate) fn failure(
        &self,
        action: &str,
        parameters: &Parameters,
        error: &ClientError,
    ) -> Failure {
        let call = Call {
            action,
            parameters: &parameters.pairs,
        };
        call_failure(call, error)
    }

    /// What a link that the service gave out leads to.
    pub(crate) fn download(&self, url: &str, out: &mut dyn Write) -> Result<(), Failure> {
        self.client
            .download(url, out)
            .map_err(|error| api_failure("the download", &error))
    }

    /// One call, with the error as it came.
    pub(crate) fn try_call(
        &self,
        action: &str,
        parameters: &Parameters,
    ) -> Result<Value, ClientError> {
        self.patiently(|| self.client.call(action, &parameters.pairs))
    }

    /// Makes a call that came too soon again when the service says. It has changed nothing.
    fn patiently<T>(&self, call: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
        for number in 1..=MOST_RETRIES {
            let error = match call() {
                Err(error) => error,
                done => return done,
            };
            let Some(wait) = error.throttled_for().filter(|wait| *wait <= LONGEST_WAIT) else {
                return Err(error);
            };
            self.screen.note(&format!(
                "the service answers too many calls: waiting {:.1} s as it says, then trying again ({number} of {MOST_RETRIES})",
                wait.as_secs_f64()
            ));
            std::thread::sleep(wait);
        }
        call()
    }
}

/// Parameters of a call, in the flat form of the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// None.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes pairs as they are.
    pub(crate) fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        Self { pairs }
    }

    /// Adds a value.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.pairs.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a value if there is one.
    pub(crate) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `Filters.N` with key, operator and values.
    pub(crate) fn filter<S: AsRef<str>>(
        mut self,
        key: &str,
        operator: Option<&str>,
        values: &[S],
    ) -> Self {
        let number = 1 + self
            .pairs
            .iter()
            .filter(|(name, _)| name.starts_with("Filters.") && name.ends_with(".Key"))
            .count();
        self = self.with(&format!("Filters.{number}.Key"), key);
        self = self.with_some(&format!("Filters.{number}.Operator"), operator);
        for (at, value) in values.iter().enumerate() {
            self = self.with(
                &format!("Filters.{number}.Values.{}", at + 1),
                value.as_ref(),
            );
        }
        self
    }

    #[cfg(test)]
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

/// A text field of an object, empty if it is not there.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number field of an object, 0 if it is not there.
pub(crate) fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// A count field of an object, 0 if it is not there.
pub(crate) fn size(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// The rows of a wrapped list such as `BackupJobs.BackupJob[]`, or of a bare one.
pub(crate) fn rows(value: &Value, path: &[&str]) -> Vec<Value> {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_array).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Access, MOST_RETRIES, Parameters, Session, rows, size, text};
    use crate::output::Screen;
    use api::client::ClientError;
    use serde_json::json;
    use std::cell::Cell;

    fn session() -> Session {
        let access = Access {
            endpoint: "http://127.0.0.1:9".to_owned(),
            trust: api::client::Trust::default(),
            ca_file: None,
            region: "r".to_owned(),
            credentials: api::client::Credentials {
                access_key_id: "k".to_owned(),
                access_key_secret: "s".into(),
                security_token: None,
            },
        };
        Session::new(access, &Screen::detect()).unwrap()
    }

    fn refused(code: &str, retry_after_ms: u64) -> ClientError {
        ClientError::Api {
            code: code.to_owned(),
            message: String::new(),
            http_status: 429,
            request_id: String::new(),
            retry_after_ms: Some(retry_after_ms),
            denied: None,
        }
    }

    /// The result after so many calls that fail, and how many there were.
    fn tried(failures: u32, retry_after_ms: u64) -> (bool, u32) {
        let calls = Cell::new(0);
        let done = session().patiently(|| {
            calls.set(calls.get() + 1);
            if calls.get() > failures {
                return Ok(());
            }
            Err(refused("Throttling.User", retry_after_ms))
        });
        (done.is_ok(), calls.get())
    }

    #[test]
    fn a_call_that_comes_too_soon_is_made_again_a_few_times() {
        assert_eq!(tried(0, 1), (true, 1));
        assert_eq!(tried(2, 1), (true, 3));
        assert_eq!(tried(MOST_RETRIES, 1), (true, MOST_RETRIES + 1));
        assert_eq!(tried(100, 1), (false, MOST_RETRIES + 1));
        assert_eq!(tried(1, 3_600_000), (false, 1), "nobody waits for an hour");
    }

    #[test]
    fn filters_are_numbered() {
        let parameters = Parameters::new()
            .filter("Status", Some("IN"), &["A", "B"])
            .filter("JobId", None, &["j"]);
        let names: Vec<&str> = parameters
            .pairs()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "Filters.1.Key",
                "Filters.1.Operator",
                "Filters.1.Values.1",
                "Filters.1.Values.2",
                "Filters.2.Key",
                "Filters.2.Values.1"
            ]
        );
    }

    #[test]
    fn fields_are_read_leniently() {
        let value = json!({"A": {"B": [1, 2]}, "T": "t", "N": 5});
        assert_eq!(rows(&value, &["A", "B"]).len(), 2);
        assert!(rows(&value, &["A", "C"]).is_empty());
        assert_eq!(
            (text(&value, "T"), text(&value, "N"), size(&value, "N")),
            ("t", "", 5)
        );
    }

    #[test]
    fn credentials_come_from_the_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Access::from_file(folder.path()).unwrap_err();
        assert!(missing.what.contains("credentials.json") && missing.next.contains("serve"));
        let file = json!({"Endpoint": "http://127.0.0.1:1", "RegionId": "r", "AccountId": "1", "AccessKeyId": "k", "AccessKeySecret": "s"});
        std::fs::write(folder.path().join("credentials.json"), file.to_string()).unwrap();
        let access = Access::from_file(folder.path()).unwrap();
        assert_eq!(
            (access.endpoint.as_str(), access.region.as_str()),
            ("http://127.0.0.1:1", "r")
        );
        assert!(!format!("{access:?}").contains("\"s\""));
    }
}

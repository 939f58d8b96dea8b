//! The way to a service: where it is, the access key, and calls that end in a value or a failure for a person.
//!
//! `STRONGROOM_ENDPOINT` with `ALIBABA_CLOUD_ACCESS_KEY_ID` and `ALIBABA_CLOUD_ACCESS_KEY_SECRET` (or its `_FILE` or
//! `_COMMAND` form), and `ALIBABA_CLOUD_SECURITY_TOKEN` for a temporary key, names a service elsewhere; without an endpoint in the environment, `credentials.json` of the data
//! directory does. `STRONGROOM_CACERT` says which CA an https service is trusted by; `credentials.json` names it for the
//! service of the data directory; without either those that the host trusts.

use std::io::Write;
use std::path::{Path, PathBuf};

use api::client::{Client, ClientError, Credentials, Trust};
use api::secret::SecretText;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::{Exit, Failure, chain};
use crate::secrets;

/// Name of the file in the data directory.
pub(crate) const CREDENTIALS_FILE: &str = "credentials.json";
const DEFAULT_REGION: &str = "cn-hangzhou";
const ENDPOINT: &str = "STRONGROOM_ENDPOINT";
const KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

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
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
}

impl Access {
    /// Looks into the environment and the data directory.
    pub(crate) fn find(data_dir: &Path, cacert: Option<&Path>) -> Result<Self, Failure> {
        let mut access = Self::without_flag(data_dir)?;
        if let Some(file) = cacert {
            access.trust = trust(file)?;
        }
        Ok(access)
    }

    fn without_flag(data_dir: &Path) -> Result<Self, Failure> {
        let Some(endpoint) = variable(ENDPOINT) else {
            if !data_dir.join(CREDENTIALS_FILE).exists() && variable(KEY_ID).is_some() {
                return Err(Failure::new(
                    "an access key is in the environment, but no endpoint",
                    "set STRONGROOM_ENDPOINT to the address of the service, as http://127.0.0.1:8710",
                ));
            }
            return Self::from_file(data_dir);
        };
        let key_id = variable(KEY_ID);
        let secret = secrets::from_environment(KEY_SECRET)?;
        let (Some(access_key_id), Some(secret)) = (key_id, secret) else {
            return Err(Failure::new(
                "STRONGROOM_ENDPOINT is set, but the access key is not",
                "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET (or its _FILE or _COMMAND form)",
            ));
        };
        let region =
            variable("ALIBABA_CLOUD_REGION_ID").unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let credentials = Credentials {
            access_key_id,
            access_key_secret: SecretText::new(secret.to_string()),
            security_token: secrets::from_environment(TOKEN)?
                .map(|token| SecretText::new(token.to_string())),
        };
        Ok(Self {
            endpoint,
            trust: Trust::default(),
            region,
            credentials,
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
            region: file.region_id,
            credentials: Credentials {
                access_key_id: file.access_key_id,
                access_key_secret: file.access_key_secret,
                security_token: None,
            },
        })
    }
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
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A signed client of the API, as any other.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    client: Client,
    region: String,
}

impl Session {
    /// Connects lazily: nothing is sent yet.
    pub(crate) fn new(access: Access) -> Result<Self, Failure> {
        let Access {
            endpoint,
            trust,
            region,
            credentials,
        } = access;
        let client = Client::trusting(&endpoint, &trust, credentials, &region)
            .map_err(|error| api_failure("", &error))?;
        Ok(Self { client, region })
    }

    /// Region of the service.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// One call.
    pub(crate) fn call(&self, action: &str, parameters: Parameters) -> Result<Value, Failure> {
        self.client
            .call(action, &parameters.pairs)
            .map_err(|error| api_failure(action, &error))
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
        self.client.call(action, &parameters.pairs)
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

/// What the service said, for a person.
pub(crate) fn api_failure(action: &str, error: &ClientError) -> Failure {
    match error {
        ClientError::Api {
            code,
            message,
            http_status,
            request_id,
            ..
        } => {
            let what = format!("{action} was refused: {code}: {message} (RequestId {request_id})");
            let (exit, next) = advice(code, *http_status);
            Failure::with(exit, what, next)
        }
        ClientError::Transport { endpoint, .. } => {
            let cause = last_cause(error);
            let next = if cause.contains("certificate") {
                "name the CA of the service with --cacert or STRONGROOM_CACERT, and the service by a name that is in its \
                 certificate"
            } else {
                "start it with `strongroom serve`, or check --data-dir or STRONGROOM_ENDPOINT"
            };
            Failure::new(
                format!("cannot reach the service at {endpoint}: {cause}"),
                next,
            )
        }
        _ => Failure::new(
            chain(error),
            "check the endpoint: it must be the address of a Strongroom service",
        ),
    }
}

fn advice(code: &str, http_status: u16) -> (Exit, &'static str) {
    let key_trouble = [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoPermission",
        "Forbidden",
    ];
    if key_trouble.iter().any(|start| code.starts_with(start)) {
        return (
            Exit::Refused,
            "check the access key: credentials.json in the data directory, or ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET",
        );
    }
    if code.starts_with("InvalidTimeStamp") {
        return (
            Exit::Refused,
            "set the clocks of both hosts: they may differ by 15 minutes at most",
        );
    }
    if code.starts_with("Throttling") || http_status == 429 {
        return (Exit::Throttled, "try again in a moment");
    }
    if code.starts_with("InvalidAction") {
        return (
            Exit::NotFound,
            "write the action as the Cloud Backup API does, as DescribeVaults or DescribeBackupJobs2",
        );
    }
    if code.starts_with("InvalidParameter") || code.starts_with("MissingParameter") {
        return (
            Exit::Usage,
            "correct the value that the message names; --help shows what is valid",
        );
    }
    if code.ends_with("NotExist") || http_status == 404 {
        return (
            Exit::NotFound,
            "look for the right id: strongroom jobs, vault list, plan list, snapshots",
        );
    }
    if http_status == 409
        || [
            "Conflict",
            "Duplicate",
            "AlreadyExist",
            "Running",
            "IncorrectStatus",
            "Cannot",
        ]
        .iter()
        .any(|word| code.contains(word))
    {
        return (
            Exit::Conflict,
            "look at its state first: strongroom jobs, vault list, plan list",
        );
    }
    if http_status >= 500 {
        return (
            Exit::Failed,
            "look at the log of the service under this RequestId",
        );
    }
    (Exit::Failed, "correct what the message names")
}

fn last_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
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
    use super::{Access, Parameters, api_failure, rows, size, text};
    use crate::exit::Exit;
    use api::client::ClientError;
    use serde_json::json;

    fn refused(code: &str, http_status: u16) -> ClientError {
        ClientError::Api {
            code: code.into(),
            message: "m".into(),
            http_status,
            request_id: "REQ".into(),
            retry_after_ms: None,
        }
    }

    #[test]
    fn refusals_have_statuses_and_show_code_and_request() {
        for (code, http_status, exit) in [
            ("InvalidAccessKeyId.NotFound", 404, Exit::Refused),
            ("SignatureDoesNotMatch", 400, Exit::Refused),
            ("VaultNotExist", 400, Exit::NotFound),
            ("InvalidAction.NotFound", 404, Exit::NotFound),
            ("Throttling.User", 400, Exit::Throttled),
            ("CannotDeleteReplicationSourceVault", 400, Exit::Conflict),
            ("InvalidParameter.PageSize", 400, Exit::Usage),
            ("InternalError", 500, Exit::Failed),
        ] {
            let failure = api_failure("Do", &refused(code, http_status));
            assert_eq!(failure.exit, exit, "{code}");
            assert!(
                failure.what.contains(code)
                    && failure.what.contains("REQ")
                    && !failure.next.is_empty()
            );
        }
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

//! A small blocking client: signs calls with ACS3-HMAC-SHA256 and reads the replies. Used by agents and the CLI.
//!
//! Parameters travel in a form body, so their number is not limited by the length of a URL. Every call has a time-out.
//! Never retries: what may be repeated is the caller's to know.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::agent_protocol::{AgentRequest, PREFIX};
use crate::secret::SecretText;
use crate::signature::v3::{TOKEN_HEADER, authorize, sha256_hex};
use crate::signature::{WireRequest, format_time};
use crate::{VERSION, pairs, version_of};

/// Time for one call, connecting included. Long polls add the time that the server may wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait before a throttled call is made again, when the server names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Largest reply that is read.
const MAX_REPLY_BYTES: u64 = 64 * 1024 * 1024;

/// An access key.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Public part.
    pub access_key_id: String,
    /// Secret part.
    pub access_key_secret: SecretText,
    /// The token of a temporary key, as AssumeRole gives it.
    pub security_token: Option<SecretText>,
}

/// Who was not allowed what: the members of `AccessDeniedDetail` that a caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Denied {
    /// `hbr:DeleteVault`.
    pub auth_action: String,
    /// `SubUser` or `AssumedRoleUser`.
    pub auth_principal_type: String,
    /// The account.
    pub auth_principal_owner_id: String,
    /// The user's name, or `role:session`.
    pub auth_principal_display_name: String,
    /// `ImplicitDeny` (nothing allows it) or `ExplicitDeny`.
    pub no_permission_type: String,
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The endpoint cannot be used.
    #[error("the endpoint {endpoint:?} cannot be used: {why}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// Reason.
        why: &'static str,
    },
    /// What should be certificates to trust.
    #[error("the certificates to trust cannot be used: {why}")]
    Certificates {
        /// Reason.
        why: String,
    },
    /// The server answered with an error.
    #[error("{code}: {message} (HTTP {http_status}, request {request_id})")]
    Api {
        /// HBR code.
        code: String,
        /// For a person.
        message: String,
        /// 4xx or 5xx.
        http_status: u16,
        /// To find the call in the server's log.
        request_id: String,
        /// Time after which the call may be repeated.
        retry_after_ms: Option<u64>,
        /// Of a refusal by policies: who was not allowed what.
        denied: Option<Box<Denied>>,
    },
    /// No answer: connection, time-out.
    #[error("no answer from {endpoint}")]
    Transport {
        /// Address of the server.
        endpoint: String,
        /// Cause.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The answer is not what the protocol says.
    #[error("the answer of {endpoint} cannot be read: {why}")]
    Reply {
        /// Address of the server.
        endpoint: String,
        /// Reason.
        why: String,
    },
    /// The message cannot be written as JSON or the clock has no valid time.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

impl ClientError {
    /// The HBR code, if the server answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Api { code, .. } => Some(code),
            _ => None,
        }
    }

    /// How long to wait before a call that was made too soon is made again; `None` for any other error. Such a call has
    /// changed nothing.
    #[must_use]
    pub fn throttled_for(&self) -> Option<Duration> {
        match self {
            Self::Api {
                code,
                http_status,
                retry_after_ms,
                ..
            } if code.starts_with("Throttling") || *http_status == 429 => {
                Some(retry_after_ms.map_or(DEFAULT_RETRY_AFTER, Duration::from_millis))
            }
            _ => None,
        }
    }

    /// True if the same call may succeed later: no answer, 5xx, or throttled.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Reply { .. } => true,
            Self::Api { http_status, .. } => *http_status >= 500 || *http_status == 429,
            _ => false,
        }
    }
}

/// Whose certificates an `https` endpoint may show. By default those that the host trusts: the store of the system, or what
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead; the public CAs that this program was built with if the host has none.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    certificates: Option<Vec<Certificate<'static>>>,
}

impl Trust {
    /// Only those that one of these certificates (PEM) has signed, or is.
    ///
    /// # Errors
    /// The text holds no certificate.
    pub fn in_certificates(pem: &[u8]) -> Result<Self, ClientError> {
        let refuse = |why: String| ClientError::Certificates { why };
        let mut certificates = Vec::new();
        for item in parse_pem(pem) {
            match item {
                Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                Ok(_) => {}
                Err(error) => return Err(refuse(error.to_string())),
            }
        }
        if certificates.is_empty() {
            return Err(refuse("there is no certificate (PEM) in it".to_owned()));
        }
        Ok(Self {
            certificates: Some(certificates),
        })
    }

    fn roots(&self) -> Result<RootCerts, ClientError> {
        match &self.certificates {
            Some(certificates) => Ok(RootCerts::new_with_certs(certificates)),
            None => of_host(),
        }
    }
}

/// The CAs of the host. One that cannot be read is passed over, unless there is no other: then what was named is wrong.
fn of_host() -> Result<RootCerts, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        let owned: Vec<Certificate<'static>> = found
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        return Ok(RootCerts::new_with_certs(&owned));
    }
    let is_named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if !is_named {
        return Ok(RootCerts::WebPki);
    }
    let why = found.errors.first().map_or_else(
        || "SSL_CERT_FILE or SSL_CERT_DIR name no certificate (PEM)".to_owned(),
        |error| format!("SSL_CERT_FILE or SSL_CERT_DIR: {error}"),
    );
    Err(ClientError::Certificates { why })
}

/// Connection to one server with one access key. Cheap to clone; may be used by many threads.
#[derive(Debug, Clone)]
pub struct Client {
    scheme: &'static str,
    /// `127.0.0.1:8710`, as signed in the header `host`.
    authority: String,
    credentials: Credentials,
    region: String,
    http: ureq::Agent,
}

impl Client {
    /// `endpoint` is `http://host:port` or `https://host:port` (with or without `/`), or just `host:port` for plain HTTP.
    /// A server with TLS must have a certificate of a CA that this host trusts.
    ///
    /// # Errors
    /// The endpoint is none, or the host's certificates cannot be used.
    pub fn new(
        endpoint: &str,
        credentials: Credentials,
        region: &str,
    ) -> Result<Self, ClientError> {
        Self::trusting(endpoint, &Trust::default(), credentials, region)
    }

    /// The same, with a choice of the certificates to trust.
    ///
    /// # Errors
    /// The endpoint is none, or the host's certificates cannot be used.
    pub fn trusting(
        endpoint: &str,
        trust: &Trust,
        credentials: Credentials,
        region: &str,
    ) -> Result<Self, ClientError> {
        let (scheme, authority) = address(endpoint)?;
        // A store of a hundred and more certificates is not read for nothing.
        let roots = match scheme {
            "https" => trust.roots()?,
            _ => RootCerts::WebPki,
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .max_redirects(0)
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            scheme,
            authority,
            credentials,
            region: region.to_owned(),
            http: config.new_agent(),
        })
    }

    /// The server's address, `http://host:port` or `https://host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Calls an action of the Cloud Backup API or of STS. `RegionId` is added if the parameters do not name one; STS has none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call(
        &self,
        action: &str,
        parameters: &[(String, String)],
    ) -> Result<Value, ClientError> {
        let mut all = parameters.to_vec();
        if version_of(action) == VERSION && !all.iter().any(|(name, _)| name == "RegionId") {
            all.push(("RegionId".to_owned(), self.region.clone()));
        }
        let body = pairs::canonical(&all);
        self.post(
            "/",
            action,
            "application/x-www-form-urlencoded",
            body.as_bytes(),
            CALL_TIMEOUT,
        )
    }

    /// Copies what a link of the server leads to. Unsigned: the link is all that is needed. May take any time, as long as
    /// bytes come.
    ///
    /// # Errors
    /// [`ClientError::Reply`] if the link is not one of this server, or the transfer broke off.
    pub fn download(&self, url: &str, out: &mut dyn Write) -> Result<(), ClientError> {
        let path = url.strip_prefix(&self.endpoint());
        if !path.is_some_and(|path| path.starts_with('/')) {
            return Err(self.unreadable(format!("{url:?} is no link of it")));
        }
        let response = self
            .http
            .get(url)
            .config()
            .timeout_global(None)
            .timeout_recv_response(Some(CALL_TIMEOUT))
            .build()
            .call();
        let mut response = response.map_err(|source| self.no_answer(source))?;
        if !response.status().is_success() {
            return self.read(response).map(drop);
        }
        std::io::copy(&mut response.body_mut().as_reader(), out)
            .map(drop)
            .map_err(|error| self.unreadable(format!("the transfer broke off: {error}")))
    }

    /// Sends a message of the agent protocol.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn agent_call<R: AgentRequest>(&self, message: &R) -> Result<R::Reply, ClientError> {
        self.agent_call_waiting(message, Duration::ZERO)
    }

    /// Sends a message that the server may hold for up to `wait` before it answers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn agent_call_waiting<R: AgentRequest>(
        &self,
        message: &R,
        wait: Duration,
    ) -> Result<R::Reply, ClientError> {
        let body =
            serde_json::to_vec(message).map_err(|error| ClientError::Request(error.to_string()))?;
        let path = format!("{PREFIX}{}", R::METHOD);
        let reply = self.post(
            &path,
            R::METHOD,
            "application/json",
            &body,
            CALL_TIMEOUT.saturating_add(wait),
        )?;
        serde_json::from_value(reply).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Sends a message whose reply is a stream of bytes, as long as it may be and however long it takes. An error that comes
    /// while it is read, is read; the server breaks off what it cannot give to its end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn agent_stream<R: AgentRequest>(
        &self,
        message: &R,
    ) -> Result<impl Read + Send + use<R>, ClientError> {
        let body =
            serde_json::to_vec(message).map_err(|error| ClientError::Request(error.to_string()))?;
        let path = format!("{PREFIX}{}", R::METHOD);
        let response = self.send(&path, R::METHOD, "application/json", &body, None)?;
        if response.status().is_success() {
            return Ok(response.into_body().into_reader());
        }
        Err(match self.read(response) {
            Err(error) => error,
            Ok(_) => self.unreadable("a success that is none".to_owned()),
        })
    }

    fn post(
        &self,
        path: &str,
        action: &str,
        content_type: &str,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Value, ClientError> {
        self.read(self.send(path, action, content_type, body, Some(timeout))?)
    }

    /// `timeout` is for all of it; without one, there is one for the beginning of the reply.
    fn send(
        &self,
        path: &str,
        action: &str,
        content_type: &str,
        body: &[u8],
        timeout: Option<Duration>,
    ) -> Result<ureq::http::Response<ureq::Body>, ClientError> {
        let hash = sha256_hex(body);
        let headers = self.headers(action, content_type, &hash)?;
        let wire = WireRequest {
            method: "POST",
            path,
            query: "",
            headers: &headers,
            body,
        };
        let authorization = authorize(
            &self.credentials.access_key_id,
            self.credentials.access_key_secret.expose(),
            &wire,
            &[],
            &hash,
        );
        let mut request = self.http.post(format!("{}{path}", self.endpoint()));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let response = request
            .header("authorization", authorization)
            .header("accept", "application/json")
            .config()
            .timeout_global(timeout)
            .timeout_recv_response(timeout.is_none().then_some(CALL_TIMEOUT))
            .build()
            .send(body);
        response.map_err(|source| self.no_answer(source))
    }

    fn headers(
        &self,
        action: &str,
        content_type: &str,
        hash: &str,
    ) -> Result<Vec<(String, String)>, ClientError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| ClientError::Request("the clock is before 1970".to_owned()))?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let date = format_time(seconds).map_err(|error| ClientError::Request(error.message))?;
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let lines = [
            ("content-type", content_type),
            ("host", &self.authority),
            ("x-acs-action", action),
            ("x-acs-content-sha256", hash),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &nonce),
            ("x-acs-version", version_of(action)),
        ];
        let mut headers = lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        if let Some(token) = &self.credentials.security_token {
            headers.push((TOKEN_HEADER.to_owned(), token.expose().to_owned()));
        }
        Ok(headers)
    }

    fn read(&self, mut response: ureq::http::Response<ureq::Body>) -> Result<Value, ClientError> {
        let http_status = response.status().as_u16();
        let retry_after_ms = response
            .headers()
            .get("x-acs-retry-after")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_REPLY_BYTES)
            .read_to_vec();
        let bytes = body.map_err(|source| self.no_answer(source))?;
        let json: Value = serde_json::from_slice(&bytes)
            .map_err(|error| self.unreadable(format!("HTTP {http_status}, not JSON: {error}")))?;
        if (200..300).contains(&http_status) {
            return Ok(json);
        }
        let text = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Err(ClientError::Api {
            code: text("Code"),
            message: text("Message"),
            http_status,
            request_id: text("RequestId"),
            retry_after_ms,
            denied: json
                .get("AccessDeniedDetail")
                .and_then(|detail| Denied::deserialize(detail).ok())
                .map(Box::new),
        })
    }

    fn no_answer(&self, source: ureq::Error) -> ClientError {
        ClientError::Transport {
            endpoint: self.endpoint(),
            source: Box::new(source),
        }
    }

    fn unreadable(&self, why: String) -> ClientError {
        ClientError::Reply {
            endpoint: self.endpoint(),
            why,
        }
    }
}

fn address(endpoint: &str) -> Result<(&'static str, String), ClientError> {
    let refuse = |why| {
        Err(ClientError::Endpoint {
            endpoint: endpoint.to_owned(),
            why,
        })
    };
    let trimmed = endpoint.trim();
    let (scheme, authority) = match trimmed.split_once("://") {
        Some(("http", rest)) => ("http", rest),
        Some(("https", rest)) => ("https", rest),
        Some(_) => return refuse("only http:// and https:// are supported"),
        None => ("http", trimmed),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty()
        || authority.contains(|letter: char| letter.is_whitespace() || "/?#@".contains(letter))
    {
        return refuse("it must be http://HOST:PORT or https://HOST:PORT");
    }
    Ok((scheme, authority.to_owned()))
}

#[cfg(test)]
mod tests;

//! Who asks: the two request signatures of Alibaba Cloud RPC APIs, signing and verifying, as pure functions.
//!
//! [`v1`] is the parameter signature (HMAC-SHA1), [`v3`] the header signature (ACS3-HMAC-SHA256). [`claim`] finds which
//! of them a request uses and what it claims; [`Claim::verify`] checks it with the secret. Looking the key up, the time
//! window and replays are the server's.

pub mod v1;
pub mod v3;

use subtle::ConstantTimeEq;

use crate::error::{ApiError, Code};
use crate::pairs::{self, Pair};

/// A request as it arrived, before anything is believed.
#[derive(Debug, Clone, Copy)]
pub struct WireRequest<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Path of the URL as sent.
    pub path: &'a str,
    /// Query of the URL as sent, without `?`.
    pub query: &'a str,
    /// Names in lower case; several values of one name are several entries.
    pub headers: &'a [(String, String)],
    /// Body after de-chunking.
    pub body: &'a [u8],
}

impl<'a> WireRequest<'a> {
    /// First value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Which signature a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HMAC-SHA1 over the parameters.
    V1,
    /// ACS3-HMAC-SHA256 over method, path, query, headers and the hash of the body.
    V3,
}

/// What a request says about itself. Nothing of it is true until [`Claim::verify`] succeeded.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Kind of signature.
    pub scheme: Scheme,
    /// Key id that it says it is signed with.
    pub access_key_id: String,
    /// UNIX seconds at which it says it was signed.
    pub signed_at: i64,
    /// Its nonce.
    pub nonce: String,
    /// The action, if it names one.
    pub action: Option<String>,
    /// The version, if it names one.
    pub version: Option<String>,
    /// The security token of a temporary key.
    pub security_token: Option<String>,
    string_to_sign: String,
    signature: String,
    payload_mismatch: bool,
}

impl Claim {
    /// Checks the signature with the secret of the key, in constant time.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, with the string to sign in its message.
    pub fn verify(&self, secret: &str) -> Result<(), ApiError> {
        let expected = match self.scheme {
            Scheme::V1 => v1::sign(secret, &self.string_to_sign),
            Scheme::V3 => v3::sign(secret, &self.string_to_sign),
        };
        let equal: bool = expected.as_bytes().ct_eq(self.signature.as_bytes()).into();
        if equal && !self.payload_mismatch {
            Ok(())
        } else {
            Err(ApiError::signature_mismatch(&self.string_to_sign))
        }
    }

    /// What the server computed the signature over.
    #[must_use]
    pub fn string_to_sign(&self) -> &str {
        &self.string_to_sign
    }
}

/// A claim and all parameters of the request.
#[derive(Debug)]
pub struct Claimed {
    /// Who and when.
    pub claim: Claim,
    /// Query and body merged, each name once.
    pub pairs: Vec<Pair>,
}

/// Reads the claim and the parameters of a request.
///
/// # Errors
/// What is missing or malformed, and the kinds of credentials that are not served: bearer, identity tokens, other algorithms.
pub fn claim(request: &WireRequest<'_>) -> Result<Claimed, ApiError> {
    let query = pairs::decode(request.query.as_bytes()).map_err(bad_pairs)?;
    let body = if has_form_body(request) {
        pairs::decode(request.body).map_err(bad_pairs)?
    } else {
        Vec::new()
    };
    let merged = merge(&query, body)?;
    refuse_tokens(request, &merged)?;
    let claim = if request.header("authorization").is_some() {
        v3::claim(request, &query)?
    } else {
        v1::claim(request.method, &merged)?
    };
    Ok(Claimed {
        claim,
        pairs: merged,
    })
}

fn bad_pairs(error: pairs::PairsError) -> ApiError {
    ApiError::new(
        Code::InvalidParameter,
        format!("The parameters cannot be read: {error}."),
    )
}

/// Bodies are forms unless they say that they are JSON (the agent protocol); some clients name no type at all.
fn has_form_body(request: &WireRequest<'_>) -> bool {
    !request.body.is_empty()
        && request.header("content-type").is_none_or(|kind| {
            kind.trim()
                .to_ascii_lowercase()
                .starts_with("application/x-www-form-urlencoded")
        })
}

/// The same name twice with one value is one parameter; with two values it is refused, because signature and handler
/// could each believe another one.
fn merge(query: &[Pair], body: Vec<Pair>) -> Result<Vec<Pair>, ApiError> {
    let mut all: Vec<Pair> = query.to_vec();
    all.extend(body);
    all.sort();
    all.dedup();
    if let Some(twice) = all.windows(2).find(|two| two[0].0 == two[1].0) {
        let name: String = twice[0].0.chars().take(64).collect();
        return Err(ApiError::invalid(
            &name,
            "it is given more than once with different values",
        ));
    }
    Ok(all)
}

fn refuse_tokens(request: &WireRequest<'_>, merged: &[Pair]) -> Result<(), ApiError> {
    let filled = |name: &str| {
        merged
            .iter()
            .any(|(key, value)| key == name && !value.is_empty())
    };
    let bearer = request.header("x-acs-bearer-token").is_some()
        || request.header("x-acs-zero-trust-idtoken").is_some()
        || filled("BearerToken")
        || merged
            .iter()
            .any(|(key, value)| key == "SignatureType" && value == "BEARERTOKEN");
    if bearer {
        return Err(ApiError::new(
            Code::InvalidSignatureMethod,
            "Bearer and identity tokens are not supported by this server; sign with an access key.",
        ));
    }
    Ok(())
}

/// `2016-02-23T12:46:24Z` to UNIX seconds.
fn parse_time(text: &str) -> Result<i64, ApiError> {
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_second)
        .map_err(|_| ApiError::of(Code::TimestampFormat))
}

/// UNIX seconds to the form that both signatures use.
///
/// # Errors
/// If the time is outside of the years that a calendar has.
pub fn format_time(seconds: i64) -> Result<String, ApiError> {
    let time =
        jiff::Timestamp::from_second(seconds).map_err(|_| ApiError::of(Code::TimestampFormat))?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

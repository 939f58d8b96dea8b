//! The header signature: ACS3-HMAC-SHA256 over method, path, query, the headers that the client chose, and the hash of
//! the body.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Claim, Scheme, WireRequest, parse_time};
use crate::error::{ApiError, Code};
use crate::pairs::{Pair, canonical};

/// Name of the algorithm in `Authorization` and in the string to sign.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Carries the token of a temporary key; signed.
pub(crate) const TOKEN_HEADER: &str = "x-acs-security-token";

/// Headers that must be signed; `content-type` too if there is a body, and the security token if there is one.
pub const REQUIRED_HEADERS: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
];

/// The parts of an `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// Access key id.
    pub credential: &'a str,
    /// Lower case, sorted.
    pub signed_headers: Vec<Cow<'a, str>>,
    /// Lower-case hex.
    pub signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads `ACS3-HMAC-SHA256 Credential=…,SignedHeaders=a;b,Signature=…`, in any order and with spaces around commas.
    ///
    /// # Errors
    /// Another algorithm, or a part that is missing.
    pub fn parse(text: &'a str) -> Result<Self, ApiError> {
        let text = text.trim();
        let (algorithm, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            let shown: String = algorithm.chars().take(32).collect();
            return Err(ApiError::new(
                Code::InvalidSignatureMethod,
                format!("The signature algorithm {shown} is not supported; use {ALGORITHM}."),
            ));
        }
        let part = |name: &str| {
            rest.split(',')
                .filter_map(|field| field.trim().split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty())
        };
        let credential =
            part("Credential").ok_or_else(|| ApiError::of(Code::MissingAccessKeyId))?;
        let signature = part("Signature").ok_or_else(|| ApiError::of(Code::MissingSignature))?;
        let listed = part("SignedHeaders").ok_or_else(|| {
            ApiError::new(
                Code::IncompleteSignature,
                "The Authorization header has no SignedHeaders.",
            )
        })?;
        let mut signed_headers: Vec<Cow<'a, str>> = listed
            .split(';')
            .map(|name| lower_case(name.trim()))
            .collect();
        signed_headers.sort();
        Ok(Self {
            credential,
            signed_headers,
            signature,
        })
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// Lower-case hex of SHA-256.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The canonical request. `query` is decoded, `headers` have lower-case names, `signed_headers` are sorted.
#[must_use]
pub fn canonical_request(
    method: &str,
    path: &str,
    query: &[Pair],
    headers: &[(String, String)],
    signed_headers: &[impl AsRef<str>],
    payload_hash: &str,
) -> String {
    // That of an SDK has some 600 bytes.
    let mut text = String::with_capacity(1_024);
    for part in [method, "\n", path, "\n", &canonical(query), "\n"] {
        text.push_str(part);
    }
    let names = || signed_headers.iter().map(AsRef::as_ref);
    for name in names() {
        text.push_str(name);
        text.push(':');
        push_values(headers, name, &mut text);
        text.push('\n');
    }
    text.push('\n');
    for (place, name) in names().enumerate() {
        if place > 0 {
            text.push(';');
        }
        text.push_str(name);
    }
    text.push('\n');
    text.push_str(payload_hash);
    text
}

/// Adds the values of a header, sorted if there are several.
fn push_values(headers: &[(String, String)], name: &str, text: &mut String) {
    let mut values = headers
        .iter()
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.trim());
    let Some(first) = values.next() else {
        return;
    };
    let mut rest: Vec<&str> = values.collect();
    if rest.is_empty() {
        text.push_str(first);
        return;
    }
    rest.push(first);
    rest.sort_unstable();
    text.push_str(&rest.join(","));
}

/// The string to sign of a canonical request.
#[must_use]
pub fn string_to_sign(canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}", sha256_hex(canonical_request.as_bytes()))
}

/// Lower-case hex of HMAC-SHA256 with the plain secret.
#[must_use]
pub fn sign(secret: &str, string_to_sign: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(string_to_sign.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The `Authorization` header for a request: all `headers` (lower-case names) are signed.
#[must_use]
pub fn authorize(
    access_key_id: &str,
    secret: &str,
    request: &WireRequest<'_>,
    query: &[Pair],
    payload_hash: &str,
) -> String {
    let mut names: Vec<String> = request
        .headers
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    names.sort();
    names.dedup();
    let canonical = canonical_request(
        request.method,
        request.path,
        query,
        request.headers,
        &names,
        payload_hash,
    );
    let signature = sign(secret, &string_to_sign(&canonical));
    format!(
        "{ALGORITHM} Credential={access_key_id},SignedHeaders={},Signature={signature}",
        names.join(";")
    )
}

pub(super) fn claim(request: &WireRequest<'_>, query: &[Pair]) -> Result<Claim, ApiError> {
    let authorization = Authorization::parse(request.header("authorization").unwrap_or_default())?;
    require_signed(request, &authorization.signed_headers)?;
    let filled = |name: &str| {
        request
            .header(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    let nonce =
        filled("x-acs-signature-nonce").ok_or_else(|| ApiError::of(Code::MissingSignatureNonce))?;
    let date = filled("x-acs-date").ok_or_else(|| ApiError::of(Code::MissingTimestamp))?;
    let stated_hash = filled("x-acs-content-sha256").unwrap_or_default();
    let payload_hash = sha256_hex(request.body);
    let canonical = canonical_request(
        request.method,
        request.path,
        query,
        request.headers,
        &authorization.signed_headers,
        &payload_hash,
    );
    Ok(Claim {
        scheme: Scheme::V3,
        access_key_id: authorization.credential.to_owned(),
        signed_at: parse_time(date)?,
        nonce: nonce.to_owned(),
        action: filled("x-acs-action").map(str::to_owned),
        version: filled("x-acs-version").map(str::to_owned),
        security_token: filled(TOKEN_HEADER).map(str::to_owned),
        string_to_sign: string_to_sign(&canonical),
        signature: authorization.signature.to_ascii_lowercase(),
        payload_mismatch: !stated_hash.eq_ignore_ascii_case(&payload_hash),
    })
}

/// What the server believes must be under the signature: each required header is listed and there exactly once.
fn require_signed(request: &WireRequest<'_>, signed: &[Cow<'_, str>]) -> Result<(), ApiError> {
    let content_type = (!request.body.is_empty() && request.header("content-type").is_some())
        .then_some("content-type");
    let token = request
        .header(TOKEN_HEADER)
        .is_some()
        .then_some(TOKEN_HEADER);
    for name in REQUIRED_HEADERS
        .into_iter()
        .chain(content_type)
        .chain(token)
    {
        let count = request
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .count();
        match (name, count) {
            ("x-acs-action", 0) => return Err(ApiError::of(Code::MissingAction)),
            ("x-acs-version", 0) => return Err(ApiError::of(Code::MissingVersion)),
            ("x-acs-date", 0) => return Err(ApiError::of(Code::MissingTimestamp)),
            ("x-acs-signature-nonce", 0) => return Err(ApiError::of(Code::MissingSignatureNonce)),
            (_, 1) => {}
            (_, 0) => return Err(incomplete(&format!("The request has no header {name}."))),
            _ => {
                return Err(incomplete(&format!(
                    "The header {name} is there more than once."
                )));
            }
        }
        if !signed.iter().any(|listed| listed == name) {
            return Err(incomplete(&format!(
                "The header {name} must be among the SignedHeaders."
            )));
        }
    }
    Ok(())
}

fn incomplete(message: &str) -> ApiError {
    ApiError::new(Code::IncompleteSignature, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Authorization, canonical_request, sha256_hex, sign, string_to_sign};
    use crate::pairs::decode;
    use crate::signature::{Scheme, WireRequest, claim};

    fn headers(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// The example of the public documentation.
    #[test]
    fn known_answer_of_the_documentation() {
        let empty = sha256_hex(b"");
        let headers = headers(&[
            ("host", "ecs.cn-shanghai.aliyuncs.com"),
            ("x-acs-action", "RunInstances"),
            ("x-acs-content-sha256", &empty),
            ("x-acs-date", "2023-10-26T10:22:32Z"),
            ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
            ("x-acs-version", "2014-05-26"),
        ]);
        let names: Vec<String> = headers.iter().map(|(name, _)| name.clone()).collect();
        let query = decode(
            b"ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
        )
        .unwrap();
        let canonical = canonical_request("POST", "/", &query, &headers, &names, &empty);
        assert_eq!(
            sha256_hex(canonical.as_bytes()),
            "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
        );
        assert_eq!(
            sign("YourAccessKeySecret", &string_to_sign(&canonical)),
            "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    const QUERY: &str = "Filters.1.Key=VaultId&Filters.1.Operator=IN&Filters.1.Values.1=v-0001&Filters.1.Values.2=v+2%2B%2A~%2F&Filters.2.Key=CompleteTime&Filters.2.Operator=BETWEEN&Filters.2.Values.1=%5B1554347313%2C1554347999%5D&PageNumber=1&PageSize=10&SortDirection=DESCEND&SourceType=ECS_FILE";
    const AUTHORIZATION: &str = "ACS3-HMAC-SHA256 Credential=AKIDEXAMPLE,SignedHeaders=accept;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=855ec8b2f625083ca4afa0635500797afcfd9050f692458f3a2c7c069e3a2552";

    fn python_request() -> Vec<(String, String)> {
        headers(&[
            ("accept-encoding", "identity"),
            ("host", "127.0.0.1:18099"),
            ("x-acs-version", "2017-09-08"),
            ("x-acs-action", "DescribeBackupJobs2"),
            (
                "user-agent",
                "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2",
            ),
            ("x-acs-date", "2026-11-23T21:58:38Z"),
            ("x-acs-signature-nonce", "b9ae80f2544f1f8aac8374f1bbf1bf72"),
            ("accept", "application/json"),
            (
                "x-acs-content-sha256",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            ("x-acs-credentials-provider", "static_ak"),
            ("authorization", AUTHORIZATION),
            ("content-length", "0"),
        ])
    }

    /// A request of the new Python SDK, as it was on the wire.
    #[test]
    fn known_answer_of_the_python_sdk() {
        let headers = python_request();
        let request = WireRequest {
            method: "POST",
            path: "/",
            query: QUERY,
            headers: &headers,
            body: b"",
        };
        let claimed = claim(&request).unwrap();
        assert_eq!(claimed.claim.scheme, Scheme::V3);
        assert_eq!(
            claimed.claim.string_to_sign(),
            "ACS3-HMAC-SHA256\nb88d87743ce5323490b56e94d0f5c51c92727d8654b19c4beb7e91686702b82e"
        );
        claimed.claim.verify("SECRETEXAMPLE").unwrap();
        assert!(
            claimed
                .claim
                .verify("SECRETEXAMPL")
                .unwrap_err()
                .message
                .contains("server string to sign is:ACS3")
        );
        assert!(
            claimed
                .pairs
                .contains(&("Filters.1.Values.2".to_owned(), "v 2+*~/".to_owned()))
        );
    }

    #[test]
    fn each_changed_part_breaks_it() {
        let untouched = python_request();
        let check = |method: &str,
                     path: &str,
                     query: &str,
                     headers: &[(String, String)],
                     body: &[u8],
                     what: &str| {
            let request = WireRequest {
                method,
                path,
                query,
                headers,
                body,
            };
            let accepted =
                claim(&request).is_ok_and(|claimed| claimed.claim.verify("SECRETEXAMPLE").is_ok());
            assert!(!accepted, "{what} was not noticed");
        };
        check("GET", "/", QUERY, &untouched, b"", "method");
        check("POST", "/x", QUERY, &untouched, b"", "path");
        check(
            "POST",
            "/",
            &QUERY.replace("v-0001", "v-0002"),
            &untouched,
            b"",
            "query",
        );
        check(
            "POST",
            "/",
            &format!("{QUERY}&Edition=BASIC"),
            &untouched,
            b"",
            "one more parameter",
        );
        check("POST", "/", QUERY, &untouched, b"PageSize=20", "body");
        let listed = AUTHORIZATION
            .split("SignedHeaders=")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        for name in listed.split(';') {
            let mut changed = untouched.clone();
            let value = &mut changed.iter_mut().find(|(key, _)| key == name).unwrap().1;
            if name == "x-acs-date" {
                *value = value.replace("38Z", "39Z");
            } else {
                value.push('x');
            }
            check("POST", "/", QUERY, &changed, b"", name);
            let gone: Vec<_> = untouched
                .iter()
                .filter(|(key, _)| key != name)
                .cloned()
                .collect();
            check("POST", "/", QUERY, &gone, b"", name);
            let unsigned: Vec<_> = untouched
                .iter()
                .map(|(key, value)| (key.clone(), value.replace(&format!("{name};"), "")))
                .collect();
            if name != "x-acs-version" {
                check("POST", "/", QUERY, &unsigned, b"", name);
            }
        }
    }

    #[test]
    fn a_stated_hash_that_is_not_the_hash_of_the_body_is_refused() {
        let mut lines = python_request();
        lines.retain(|(name, _)| name != "authorization");
        for (name, value) in &mut lines {
            if name == "x-acs-content-sha256" {
                *value = sha256_hex(b"another body");
            }
        }
        let unsigned = WireRequest {
            method: "POST",
            path: "/",
            query: "",
            headers: &lines,
            body: b"",
        };
        let text = super::authorize("AK", "secret", &unsigned, &[], &sha256_hex(b""));
        let mut signed = lines.clone();
        signed.push(("authorization".to_owned(), text));
        let request = WireRequest {
            headers: &signed,
            ..unsigned
        };
        assert_eq!(
            claim(&request)
                .unwrap()
                .claim
                .verify("secret")
                .unwrap_err()
                .code,
            "SignatureDoesNotMatch"
        );
    }

    #[test]
    fn authorization_is_read_tolerantly() {
        let expected = Authorization {
            credential: "AK",
            signed_headers: vec!["host".into(), "x-acs-date".into()],
            signature: "00ff",
        };
        for text in [
            "ACS3-HMAC-SHA256 Credential=AK,SignedHeaders=host;x-acs-date,Signature=00ff",
            "  ACS3-HMAC-SHA256   Signature=00ff , SignedHeaders= X-Acs-Date; Host , Credential= AK ",
        ] {
            assert_eq!(Authorization::parse(text).unwrap(), expected);
        }
        for (text, code) in [
            (
                "ACS3-HMAC-SM3 Credential=a,SignedHeaders=b,Signature=c",
                "InvalidSignatureMethod",
            ),
            (
                "ACS3-RSA-SHA256 Credential=a,SignedHeaders=b,Signature=c",
                "InvalidSignatureMethod",
            ),
            ("Basic dXNlcg==", "InvalidSignatureMethod"),
            ("", "InvalidSignatureMethod"),
            ("ACS3-HMAC-SHA256", "MissingAccessKeyId"),
            ("ACS3-HMAC-SHA256 Credential=a", "MissingSignature"),
            (
                "ACS3-HMAC-SHA256 Credential=a,Signature=c",
                "IncompleteSignature",
            ),
        ] {
            assert_eq!(Authorization::parse(text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn a_host_with_a_scheme_is_verified_as_sent_and_tokens_are_refused() {
        let base = headers(&[
            ("host", "http://127.0.0.1:18099"),
            ("x-acs-action", "DescribeRegions"),
            ("x-acs-content-sha256", &sha256_hex(b"")),
            ("x-acs-date", "2026-11-23T21:58:38Z"),
            ("x-acs-signature-nonce", "n"),
            ("x-acs-version", "2017-09-08"),
        ]);
        let unsigned = WireRequest {
            method: "POST",
            path: "/",
            query: "",
            headers: &base,
            body: b"",
        };
        let text = super::authorize("AK", "secret", &unsigned, &[], &sha256_hex(b""));
        let mut signed = base.clone();
        signed.push(("authorization".to_owned(), text));
        claim(&WireRequest {
            headers: &signed,
            ..unsigned
        })
        .unwrap()
        .claim
        .verify("secret")
        .unwrap();
        for (name, code) in [
            // Not under the signature.
            ("x-acs-security-token", "IncompleteSignature"),
            ("x-acs-bearer-token", "InvalidSignatureMethod"),
            ("x-acs-zero-trust-idtoken", "InvalidSignatureMethod"),
        ] {
            let mut with_token = signed.clone();
            with_token.push((name.to_owned(), "token".to_owned()));
            assert_eq!(
                claim(&WireRequest {
                    headers: &with_token,
                    ..unsigned
                })
                .unwrap_err()
                .code,
                code
            );
        }
    }
}

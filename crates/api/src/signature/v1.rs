//! The parameter signature: HMAC-SHA1 over all merged parameters. No header takes part.

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::{Claim, Scheme, parse_time};
use crate::error::{ApiError, Code};
use crate::pairs::{Pair, canonical, encode};

/// `METHOD&%2F&enc(canonical parameters)`, where `pairs` may still hold `Signature`.
#[must_use]
pub fn string_to_sign(method: &str, pairs: &[Pair]) -> String {
    let signed: Vec<Pair> = pairs
        .iter()
        .filter(|(name, _)| name != "Signature")
        .cloned()
        .collect();
    format!("{method}&%2F&{}", encode(&canonical(&signed)))
}

/// Base64 of HMAC-SHA1 with the secret and `&` as key.
#[must_use]
pub fn sign(secret: &str, string_to_sign: &str) -> String {
    let key = format!("{secret}&");
    let mut mac =
        Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(string_to_sign.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

pub(super) fn claim(method: &str, pairs: &[Pair]) -> Result<Claim, ApiError> {
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    let access_key_id = get("AccessKeyId").ok_or_else(|| ApiError::of(Code::MissingAccessKeyId))?;
    let signature = get("Signature").ok_or_else(|| ApiError::of(Code::MissingSignature))?;
    for (name, only) in [
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
    ] {
        if let Some(value) = get(name).filter(|value| value != only) {
            let shown: String = value.chars().take(64).collect();
            return Err(ApiError::new(
                Code::InvalidSignatureMethod,
                format!(
                    "{name} {shown} is not supported; send {only}, or sign with ACS3-HMAC-SHA256."
                ),
            ));
        }
    }
    let nonce = get("SignatureNonce").ok_or_else(|| ApiError::of(Code::MissingSignatureNonce))?;
    let signed_at =
        parse_time(&get("Timestamp").ok_or_else(|| ApiError::of(Code::MissingTimestamp))?)?;
    Ok(Claim {
        scheme: Scheme::V1,
        access_key_id,
        signed_at,
        nonce,
        action: get("Action"),
        version: get("Version"),
        security_token: get("SecurityToken"),
        string_to_sign: string_to_sign(method, pairs),
        signature,
        payload_mismatch: false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{sign, string_to_sign};
    use crate::pairs::decode;
    use crate::signature::{Scheme, WireRequest, claim};

    /// The example of the public documentation.
    #[test]
    fn known_answer_of_the_documentation() {
        let pairs = decode(
            b"Action=DescribeRegions&Format=XML&Version=2014-05-26&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0\
              &SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&Timestamp=2016-02-23T12%3A46%3A24Z&AccessKeyId=testid",
        )
        .unwrap();
        assert_eq!(
            sign("testsecret", &string_to_sign("GET", &pairs)),
            "OLeaidS1JvxuMvnyHOwuJ+uX5qY="
        );
    }

    const LEGACY_QUERY: &str = "SourceType=ECS_FILE&PageNumber=1&PageSize=10&Filters.1.Values.1=v-0001&Filters.1.Values.2=v%202%2B%2A~%2F&Filters.1.Key=VaultId&Filters.1.Operator=IN&Filters.2.Values.1=%5B1554347313%2C1554347999%5D&Filters.2.Key=CompleteTime&Filters.2.Operator=BETWEEN&Version=2017-09-08&Action=DescribeBackupJobs2&Format=JSON&RegionId=cn-hangzhou&Timestamp=2026-11-23T21%3A58%3A58Z&SignatureMethod=HMAC-SHA1&SignatureType=&SignatureVersion=1.0&SignatureNonce=337e0550e2886c43c117e5e448415b82&AccessKeyId=AKIDEXAMPLE&Signature=EIft7Q3ER2I86lOYztwBzmzWuek%3D";

    const LEGACY_STRING: &str = "POST&%2F&AccessKeyId%3DAKIDEXAMPLE%26Action%3DDescribeBackupJobs2%26Filters.1.Key%3DVaultId%26Filters.1.Operator%3DIN%26Filters.1.Values.1%3Dv-0001%26Filters.1.Values.2%3Dv%25202%252B%252A~%252F%26Filters.2.Key%3DCompleteTime%26Filters.2.Operator%3DBETWEEN%26Filters.2.Values.1%3D%255B1554347313%252C1554347999%255D%26Format%3DJSON%26PageNumber%3D1%26PageSize%3D10%26RegionId%3Dcn-hangzhou%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D337e0550e2886c43c117e5e448415b82%26SignatureType%3D%26SignatureVersion%3D1.0%26SourceType%3DECS_FILE%26Timestamp%3D2026-11-23T21%253A58%253A58Z%26Version%3D2017-09-08";

    /// A request of the legacy Python SDK, as it was on the wire.
    #[test]
    fn known_answer_of_the_legacy_sdk_in_the_query_and_in_the_body() {
        let in_query = WireRequest {
            method: "POST",
            path: "/",
            query: LEGACY_QUERY,
            headers: &[],
            body: b"",
        };
        let in_body = WireRequest {
            query: "",
            body: LEGACY_QUERY.as_bytes(),
            ..in_query
        };
        let (head, tail) = LEGACY_QUERY.split_at(LEGACY_QUERY.find("&Version").unwrap());
        let split = WireRequest {
            query: &tail[1..],
            body: head.as_bytes(),
            ..in_query
        };
        for request in [in_query, in_body, split] {
            let claimed = claim(&request).unwrap();
            assert_eq!(claimed.claim.scheme, Scheme::V1);
            assert_eq!(claimed.claim.string_to_sign(), LEGACY_STRING);
            assert_eq!(claimed.claim.action.as_deref(), Some("DescribeBackupJobs2"));
            claimed.claim.verify("SECRETEXAMPLE").unwrap();
            let error = claimed.claim.verify("other").unwrap_err();
            assert!(
                error
                    .message
                    .ends_with(&format!("server string to sign is:{LEGACY_STRING}"))
            );
        }
    }

    #[test]
    fn each_changed_part_breaks_it() {
        for (from, to) in [
            ("PageSize=10", "PageSize=11"),
            ("v-0001", "v-0002"),
            ("BETWEEN", "IN"),
            ("DescribeBackupJobs2", "DeleteVault"),
            ("337e", "337f"),
            ("Format=JSON", "Format=JSON&Extra=1"),
            ("SignatureType=&", ""),
        ] {
            let query = LEGACY_QUERY.replace(from, to);
            let request = WireRequest {
                method: "POST",
                path: "/",
                query: &query,
                headers: &[],
                body: b"",
            };
            assert!(
                claim(&request)
                    .unwrap()
                    .claim
                    .verify("SECRETEXAMPLE")
                    .is_err(),
                "{from} -> {to}"
            );
        }
        let request = WireRequest {
            method: "GET",
            path: "/",
            query: LEGACY_QUERY,
            headers: &[],
            body: b"",
        };
        assert!(
            claim(&request)
                .unwrap()
                .claim
                .verify("SECRETEXAMPLE")
                .is_err()
        );
    }

    #[test]
    fn what_is_missing_or_foreign_has_its_own_code() {
        for (from, to, code) in [
            ("AccessKeyId=AKIDEXAMPLE", "x=1", "MissingAccessKeyId"),
            ("Signature=EIft", "x=", "MissingSignature"),
            (
                "SignatureNonce=337e0550e2886c43c117e5e448415b82",
                "x=",
                "MissingSignatureNonce",
            ),
            (
                "Timestamp=2026-11-23T21%3A58%3A58Z",
                "x=",
                "MissingTimestamp",
            ),
            (
                "2026-11-23T21%3A58%3A58Z",
                "yesterday",
                "InvalidTimeStamp.Format",
            ),
            ("HMAC-SHA1", "HMAC-SHA256", "InvalidSignatureMethod"),
            (
                "SignatureVersion=1.0",
                "SignatureVersion=2.0",
                "InvalidSignatureMethod",
            ),
            (
                "SignatureType=",
                "SignatureType=BEARERTOKEN",
                "InvalidSignatureMethod",
            ),
            ("Format=JSON", "PageSize=11", "InvalidParameter.PageSize"),
            ("Format=JSON", "a=%ff", "InvalidParameter"),
        ] {
            let query = LEGACY_QUERY.replace(from, to);
            let request = WireRequest {
                method: "POST",
                path: "/",
                query: &query,
                headers: &[],
                body: b"",
            };
            assert_eq!(claim(&request).unwrap_err().code, code, "{from} -> {to}");
        }
    }
}

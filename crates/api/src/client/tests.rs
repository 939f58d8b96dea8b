//! Endpoints, errors and their waits.

#![allow(clippy::unwrap_used, clippy::panic)]
use super::{Client, ClientError, Credentials, Trust, address};

#[test]
fn endpoints() {
    for text in [
        "http://127.0.0.1:8710",
        "http://127.0.0.1:8710/",
        "127.0.0.1:8710",
        " 127.0.0.1:8710 ",
    ] {
        let plain = ("http", "127.0.0.1:8710".to_owned());
        assert_eq!(address(text).unwrap(), plain);
    }
    assert_eq!(address("https://a/").unwrap(), ("https", "a".to_owned()));
    for text in ["ftp://a", "", "http://", "http://a/b", "http://u@a"] {
        assert!(address(text).is_err(), "{text}");
    }
}

#[test]
fn a_throttled_call_says_how_long_to_wait() {
    let error = |code: &str, http_status, retry_after_ms| ClientError::Api {
        code: code.to_owned(),
        message: String::new(),
        http_status,
        request_id: String::new(),
        retry_after_ms,
        denied: None,
    };
    for (error, expected) in [
        (error("Throttling.User", 429, Some(250)), Some(250)),
        (error("Throttling.User", 400, None), Some(1_000)),
        (error("TooMany", 429, None), Some(1_000)),
        (error("ServiceUnavailable", 503, Some(250)), None),
        (error("NoPermission", 403, None), None),
    ] {
        let wait = error.throttled_for();
        assert_eq!(
            wait,
            expected.map(std::time::Duration::from_millis),
            "{error}"
        );
    }
}

#[test]
fn what_is_trusted_must_be_certificates() {
    for text in ["", "text", "-----BEGIN CERTIFICATE-----\n!\n"] {
        let error = Trust::in_certificates(text.as_bytes()).unwrap_err();
        assert!(matches!(error, ClientError::Certificates { .. }), "{text}");
    }
}

#[test]
fn a_server_that_is_not_there_is_a_transport_error_without_the_secret() {
    let credentials = Credentials {
        access_key_id: "AK".to_owned(),
        access_key_secret: "hunter2".into(),
        security_token: Some("correct horse".into()),
    };
    let client = Client::new("http://127.0.0.1:9", credentials, "cn-hangzhou").unwrap();
    let error = client.call("DescribeRegions", &[]).unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }));
    assert!(error.is_transient());
    let shown = format!("{error:?} {client:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("horse"));
}

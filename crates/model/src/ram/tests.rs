//! Documents as RAM's documentation shows them, and evaluation against a naive reading.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::{Decision, Document, DocumentError, Principal, Request, evaluate, pattern};
use crate::Timestamp;

const NOON: i64 = 1_767_268_800; // 2026-01-01T12:00:00Z

fn ask<'a>(action: &'a str, resource: &'a str, ip: &str, now: i64) -> Request<'a> {
    Request {
        action,
        resource,
        source_ip: ip.parse().unwrap(),
        now: Timestamp(now),
    }
}

fn decide(text: &str, request: &Request<'_>) -> Decision {
    evaluate([&Document::parse(text).unwrap()], request)
}

const VAULT: &str = "acs:hbr:cn-hangzhou:1234567890123456:vault/v-0001";

#[test]
fn allow_deny_and_nothing() {
    let text = r#"{"Version":"1","Statement":[
        {"Effect":"Allow","Action":["hbr:Describe*","hbr:List*"],"Resource":"*"},
        {"Effect":"Allow","Action":"hbr:CreateBackupPlan","Resource":"acs:hbr:*:*:vault/v-000?"},
        {"Effect":"Deny","Action":"*","Resource":"acs:hbr:*:*:vault/v-0009"}]}"#;
    for (action, resource, expected) in [
        (
            "hbr:DescribeBackupJobs2",
            "acs:hbr:*:1:*",
            Decision::Allowed,
        ),
        (
            "hbr:describebackupjobs2",
            "acs:hbr:*:1:*",
            Decision::Allowed,
        ),
        ("hbr:CreateBackupPlan", VAULT, Decision::Allowed),
        (
            "hbr:CreateBackupPlan",
            "acs:hbr:r:1:vault/v-0009",
            Decision::Denied,
        ),
        (
            "hbr:DescribeVaults",
            "acs:hbr:r:1:vault/v-0009",
            Decision::Denied,
        ),
        (
            "hbr:CreateBackupPlan",
            "acs:hbr:r:1:vault/v-00010",
            Decision::NotAllowed,
        ),
        ("hbr:DeleteVault", VAULT, Decision::NotAllowed),
        ("ecs:DescribeInstances", VAULT, Decision::NotAllowed),
    ] {
        let request = ask(action, resource, "192.0.2.1", NOON);
        assert_eq!(decide(text, &request), expected, "{action} {resource}");
    }
}

#[test]
fn the_not_forms_mean_the_others() {
    let text = r#"{"Version":"1","Statement":{"Effect":"Allow","NotAction":"hbr:Delete*",
        "NotResource":"acs:hbr:*:*:vault/v-secret"}}"#;
    let allowed = |action, resource| decide(text, &ask(action, resource, "::1", NOON)).is_allowed();
    assert!(allowed("hbr:DescribeVaults", VAULT));
    assert!(!allowed("hbr:DeleteVault", VAULT));
    assert!(!allowed("hbr:DescribeVaults", "acs:hbr:r:1:vault/v-secret"));
}

#[test]
fn conditions_all_hold_and_one_value_of_each_suffices() {
    let text = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{
        "IpAddress":{"acs:SourceIp":["10.0.0.0/8","2001:db8::/32"]},
        "NotIpAddress":{"acs:SourceIp":"10.6.6.6"},
        "DateGreaterThanEquals":{"acs:CurrentTime":"2026-01-01T12:00:00Z"},
        "DateLessThan":{"acs:CurrentTime":"2026-01-01T14:00:00+01:00"}}}]}"#;
    for (ip, now, expected) in [
        ("10.1.2.3", NOON, true),
        ("::ffff:10.1.2.3", NOON, true),
        ("2001:db8::7", NOON + 3_599, true),
        ("10.6.6.6", NOON, false),
        ("11.0.0.1", NOON, false),
        ("2001:db9::7", NOON, false),
        ("10.1.2.3", NOON - 1, false),
        ("10.1.2.3", NOON + 3_600, false),
    ] {
        let request = ask("hbr:DescribeVaults", VAULT, ip, now);
        assert_eq!(decide(text, &request).is_allowed(), expected, "{ip} {now}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for (text, part) in [
        ("", "JSON"),
        ("[]", "object"),
        (r#"{"Statement":[]}"#, "Version"),
        (r#"{"Version":"2","Statement":[]}"#, "Version"),
        (r#"{"Version":"1","Statement":[]}"#, "empty"),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}"#,
            "Effect",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*"}]}"#,
            "Resource",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}"#,
            "Action",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}]}"#,
            "Action",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Resorce":"*"}]}"#,
            "Resorce",
        ),
        (
            r#"{"Version":"1","Id":"x","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
            "Id",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"acs:MFAPresent":"true"}}}]}"#,
            "acs:MFAPresent",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/33"}}}]}"#,
            "10.0.0.0/33",
        ),
        (
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"tomorrow"}}}]}"#,
            "tomorrow",
        ),
    ] {
        let error = Document::parse(text).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let long = format!(
        r#"{{"Version":"1","Statement":[], "x":"{}"}}"#,
        "x".repeat(7_000)
    );
    assert_eq!(Document::parse(&long), Err(DocumentError::TooLong));
}

#[test]
fn trust_names_whom_it_trusts() {
    let trust = |who: &str| {
        Document::parse_trust(&format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["{who}"]}}}}]}}"#
        ))
    };
    let named = |who: &str| trust(who).unwrap().statements[0].principals[0].clone();
    assert_eq!(
        named("acs:ram::12:root"),
        Principal::Account("12".to_owned())
    );
    assert_eq!(
        named("acs:ram::12:user/ops"),
        Principal::User {
            account_id: "12".to_owned(),
            name: "ops".to_owned()
        }
    );
    for bad in [
        "*",
        "acs:ram::*:root",
        "acs:ram::12:user/*",
        "acs:ram::12:user/",
        "acs:ram::12:group/a",
        "12",
    ] {
        assert!(trust(bad).is_err(), "{bad}");
    }
    let other = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Principal":{"RAM":"acs:ram::1:root"}}]}"#;
    assert!(Document::parse_trust(other).is_err());
    let everybody =
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    assert!(Document::parse_trust(everybody).is_err());
}

/// A pattern as a reader would try it: every way to read a star.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
        (Some((b'?', rest)), Some((_, after))) => naive(rest, after),
        (Some((letter, rest)), Some((first, after))) => letter == first && naive(rest, after),
        (Some(_), None) => false,
    }
}

/// Statements of two actions and two resources, so that every combination comes up.
fn document() -> impl Strategy<Value = (bool, &'static str, &'static str)> {
    let action = prop_oneof![Just("hbr:Read*"), Just("hbr:Write"), Just("*")];
    let resource = prop_oneof![Just("acs:a"), Just("acs:?"), Just("*")];
    (any::<bool>(), action, resource)
}

proptest! {
    #[test]
    fn patterns_agree_with_a_naive_reading(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        prop_assert_eq!(
            pattern::matches(&pattern, &text),
            naive(pattern.as_bytes(), text.as_bytes())
        );
    }

    #[test]
    fn deny_wins_and_silence_is_no(
        rules in proptest::collection::vec(document(), 1..5),
        action in prop_oneof![Just("hbr:ReadIt"), Just("hbr:Write"), Just("hbr:Other")],
        resource in prop_oneof![Just("acs:a"), Just("acs:b"), Just("other")],
    ) {
        let documents: Vec<Document> = rules
            .iter()
            .map(|(allow, action, resource)| {
                let effect = if *allow { "Allow" } else { "Deny" };
                Document::parse(&format!(
                    r#"{{"Version":"1","Statement":{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}}}"#
                ))
                .unwrap()
            })
            .collect();
        let request = Request {
            action,
            resource,
            source_ip: IpAddr::from([127, 0, 0, 1]),
            now: Timestamp(0),
        };
        let applies = |rule: &&(bool, &str, &str)| {
            naive(rule.1.as_bytes(), action.as_bytes()) && naive(rule.2.as_bytes(), resource.as_bytes())
        };
        let expected = match rules.iter().filter(applies).map(|rule| rule.0).reduce(|a, b| a && b) {
            None => Decision::NotAllowed,
            Some(true) => Decision::Allowed,
            Some(false) => Decision::Denied,
        };
        prop_assert_eq!(evaluate(&documents, &request), expected);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        drop(Document::parse(&text));
        drop(Document::parse_trust(&text));
    }
}

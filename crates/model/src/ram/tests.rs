//! Documents as RAM's documentation shows them, and evaluation against a naive reading.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    Decision, Document, DocumentError, Principal, Request, ResourceKind, evaluate, pattern,
};
use crate::Timestamp;

const NOON: i64 = 1_767_268_800; // 2026-01-01T12:00:00Z

/// What a document says of a request from an address, at a time, about what has these names.
fn decide(text: &str, action: &str, names: &[&str], ip: &str, now: i64) -> Decision {
    let resources: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let request = Request {
        action,
        resources: &resources,
        source_ip: ip.parse().unwrap(),
        now: Timestamp(now),
    };
    evaluate([&Document::parse(text).unwrap()], &request)
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
        let decision = decide(text, action, &[resource], "192.0.2.1", NOON);
        assert_eq!(decision, expected, "{action} {resource}");
    }
}

#[test]
fn the_not_forms_mean_the_others() {
    let text = r#"{"Version":"1","Statement":{"Effect":"Allow","NotAction":"hbr:Delete*",
        "NotResource":"acs:hbr:*:*:vault/v-secret"}}"#;
    let allowed = |action, resource| decide(text, action, &[resource], "::1", NOON).is_allowed();
    assert!(allowed("hbr:DescribeVaults", VAULT));
    assert!(!allowed("hbr:DeleteVault", VAULT));
    assert!(!allowed("hbr:DescribeVaults", "acs:hbr:r:1:vault/v-secret"));
}

/// A plan is judged by its own name and by that of its vault.
#[test]
fn one_thing_may_have_several_names() {
    const PLAN: &str = "acs:hbr:r:1:plan/plan-1";
    const OTHER: &str = "acs:hbr:r:1:vault/v-2";
    let statement = |effect: &str, key: &str, resource: &str| {
        format!(r#"{{"Effect":"{effect}","Action":"*","{key}":"{resource}"}}"#)
    };
    let document = |statements: &[String]| {
        format!(
            r#"{{"Version":"1","Statement":[{}]}}"#,
            statements.join(",")
        )
    };
    let everything = statement("Allow", "Resource", "*");
    for (statements, names, expected) in [
        (
            vec![statement("Allow", "Resource", VAULT)],
            [PLAN, VAULT],
            Decision::Allowed,
        ),
        (
            vec![statement("Allow", "Resource", PLAN)],
            [PLAN, VAULT],
            Decision::Allowed,
        ),
        (
            vec![statement("Allow", "Resource", VAULT)],
            [PLAN, OTHER],
            Decision::NotAllowed,
        ),
        (
            vec![statement("Allow", "NotResource", VAULT)],
            [PLAN, VAULT],
            Decision::NotAllowed,
        ),
        (
            vec![statement("Allow", "NotResource", VAULT)],
            [PLAN, OTHER],
            Decision::Allowed,
        ),
        (
            vec![everything.clone(), statement("Deny", "Resource", VAULT)],
            [PLAN, VAULT],
            Decision::Denied,
        ),
        (
            vec![everything.clone(), statement("Deny", "NotResource", VAULT)],
            [PLAN, VAULT],
            Decision::Allowed,
        ),
        (
            vec![everything, statement("Deny", "NotResource", VAULT)],
            [PLAN, OTHER],
            Decision::Denied,
        ),
    ] {
        let text = document(&statements);
        let decision = decide(&text, "hbr:ExecuteBackupPlan", &names, "::1", NOON);
        assert_eq!(decision, expected, "{text} {names:?}");
    }
}

#[test]
fn actions_that_there_are_not_are_named() {
    let known = [
        "hbr:DescribeBackupJobs2",
        "hbr:DescribeVaults",
        "hbr:DeleteVault",
        "sts:AssumeRole",
    ]
    .map(str::to_owned);
    let also = ["ram:CreateKey", "ram:DeleteUser"].map(str::to_owned);
    let check = |key: &str, action: &str| {
        let text = format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Deny","Action":"*","Resource":"*"}},
            {{"Effect":"Deny","{key}":["hbr:DeleteVault","{action}"],"Resource":"*"}}]}}"#
        );
        Document::parse(&text).unwrap().check_actions(&known, &also)
    };
    for action in [
        "hbr:DescribeBackupJobs2",
        "HBR:deletevault",
        "hbr:Describe*",
        "hbr:*",
        "sts:*",
        "hbr:?eleteVault",
        "*",
        "*Vault",
        "h*:Nothing",
        "*:Nothing",
        "ecs:DescribeInstances",
        "ram:Anything",
        "ram:DeleteUser",
        "ram:createkey",
        "ram:CreateAccessKey",
        "ram:Delete*",
        "ram:*",
    ] {
        assert_eq!(check("Action", action), Ok(()), "{action}");
    }
    for (action, proposed) in [
        ("hbr:DescribeBackupJob2", Some("hbr:DescribeBackupJobs2")),
        ("hbr:DeleteVualt", Some("hbr:DeleteVault")),
        ("sts:AssumeRoles", Some("sts:AssumeRole")),
        ("hbr:*Foo", None),
        ("HBR:Foo*", None),
        ("hbr:", None),
        ("DeleteVault", Some("hbr:DeleteVault")),
        ("ram:CreateKeys", Some("ram:CreateKey")),
        ("ram:DeleteUsr", Some("ram:DeleteUser")),
    ] {
        for key in ["Action", "NotAction"] {
            let error = check(key, action).unwrap_err();
            let expected = DocumentError::Action {
                action: action.to_owned(),
                nearest: proposed.map(str::to_owned),
            };
            assert_eq!(error, expected);
            assert!(error.to_string().contains(action), "{error}");
            assert!(proposed.is_none_or(|name| error.to_string().contains(name)));
        }
    }
}

const KINDS: [ResourceKind; 2] = [
    ResourceKind {
        name: "vault",
        id_prefix: "v-",
    },
    ResourceKind {
        name: "plan",
        id_prefix: "plan-",
    },
];

fn check_resource(key: &str, resource: &str) -> Result<(), DocumentError> {
    let text = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"}},
        {{"Effect":"Deny","Action":"*","{key}":["{VAULT}","{resource}"]}}]}}"#
    );
    Document::parse(&text).unwrap().check_resources(&KINDS)
}

#[test]
fn resources_that_can_fit_something_and_those_of_others_are_taken() {
    for resource in [
        "*",
        "acs:*",
        "acs:hbr:*",
        "acs:hbr:*:*",
        "acs:hbr:*:*:*",
        "acs:hbr:cn-beijing:2:*",
        VAULT,
        "acs:hbr:*:*:vault/*",
        "acs:hbr:*:*:vault/v-000?",
        "acs:hbr:*:*:vault/v-0001/*",
        "acs:hbr:*:*:vault/v-0001/client/*",
        "acs:hbr:*:*:plan/plan-1",
        "acs:hbr:*:plan/plan-1",
        "acs:hbr:*:*:*/v-1",
        "acs:hbr:*:*:?ault/v-1",
        "acs:hb?:*:*:vault/v-1",
        "acs:*:vault/v-1",
        "*vault/v-1",
        "*:Nothing",
        "acs:oss:*:*:bucket/a:b",
        "acs:oss:*:*:bucket",
        "acs:oss:*",
        "acs:ram::1:role/r",
        "acs:ram:*:*:role/r",
        "acs:hdr:*:*:vault/1",
        "acs:ecs:*:*:instance/*",
    ] {
        for key in ["Resource", "NotResource"] {
            assert_eq!(check_resource(key, resource), Ok(()), "{resource}");
        }
    }
}

#[test]
fn resources_that_can_fit_nothing_are_named() {
    let vault = Some("acs:hbr:*:*:vault/v-1");
    for (resource, meant) in [
        ("acs:hbr:*:*:vualt/v-1", vault),
        ("acs:hrb:*:*:vault/v-1", vault),
        ("acs:HBR:*:*:vault/v-1", vault),
        ("ACS:hbr:*:*:vault/v-1", vault),
        ("acs:hbr:*:*:Vault/v-1", vault),
        ("acs:hbr:*:*:plan/v-1", vault),
        ("acs:hbr:*:*:v-1", vault),
        ("acs:hbr:vault/v-1", vault),
        ("acs:hbr::1:vault/v-1", vault),
        ("acs:hbr:a:b:c:vault/v-1", vault),
        ("hbr:*:*:vault/v-1", vault),
        ("vault/v-1", vault),
        ("v-1", vault),
        ("acs:hbr:r:2:plans/plan-1", Some("acs:hbr:r:2:plan/plan-1")),
        ("acs:hbr:r:2:vualt/*", Some("acs:hbr:r:2:vault/*")),
        ("acs:hbr:r:2:vault", Some("acs:hbr:r:2:vault/*")),
        ("acs:hrb:*:*:*", Some("acs:hbr:*:*:*")),
        ("acs:hb:r:2:*", Some("acs:hbr:r:2:*")),
        // A vault is named by its id.
        ("acs:hbr:vault/x", None),
        ("acs:hbr:*:*:vault/nightly", None),
        ("acs:hbr:*:*:vault/", None),
        ("acs:hbr:*:*:vault/v-", None),
        ("acs:hbr:*:*:instance/i-1", None),
        ("acs:hbr:*:*:", None),
        ("acs:hbr", None),
        ("acs:oss:bucket", None),
        ("acs::*:*:x", None),
        ("nightly", None),
    ] {
        for key in ["Resource", "NotResource"] {
            let error = check_resource(key, resource).unwrap_err();
            let expected = DocumentError::Resource {
                resource: resource.to_owned(),
                nearest: meant.map(str::to_owned),
                known: "vault/v-…, plan/plan-…, *".to_owned(),
            };
            assert_eq!(error, expected);
            let proposed =
                meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            assert_eq!(
                error.to_string(),
                format!(
                    "{resource:?} fits no resource (after acs:hbr:REGION:ACCOUNT: there may be vault/v-…, plan/plan-…, \
                     *){proposed}"
                )
            );
        }
    }
    let long = "x".repeat(3_000);
    let error = check_resource("Resource", &format!("vualt/{long}")).unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn which_statement_denies() {
    let text = r#"{"Version":"1","Statement":[
        {"Effect":"Allow","Action":"*","Resource":"*"},
        {"Effect":"Deny","Action":"hbr:DeletePlan","Resource":"*"},
        {"Effect":"Deny","Action":"hbr:Delete*","Resource":"acs:hbr:*:*:vault/v-0001"}]}"#;
    let document = Document::parse(text).unwrap();
    let resources = [VAULT.to_owned()];
    for (action, expected) in [
        ("hbr:DeletePlan", Some(2)),
        ("hbr:DeleteVault", Some(3)),
        ("hbr:DescribeVaults", None),
    ] {
        let request = Request {
            action,
            resources: &resources,
            source_ip: "::1".parse().unwrap(),
            now: Timestamp(NOON),
        };
        assert_eq!(document.denial(&request), expected, "{action}");
    }
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
        let decision = decide(text, "hbr:DescribeVaults", &[VAULT], ip, now);
        assert_eq!(decision.is_allowed(), expected, "{ip} {now}");
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

    /// Whatever names a thing of the service is never refused, nor is a pattern that fits such a name.
    #[test]
    fn what_fits_a_name_is_never_refused(
        kind in 0..3_usize,
        id in "[a-z0-9]{1,4}",
        stars in proptest::collection::vec((0..40_usize, 0..40_usize), 0..3),
    ) {
        let what = KINDS.get(kind).map_or("*".to_owned(), |kind| kind.of(&format!("{}{id}", kind.id_prefix)));
        let name = format!("acs:hbr:r:1:{what}");
        prop_assert_eq!(check_resource("Resource", &name), Ok(()));
        let mut made = name.clone();
        for (from, length) in stars {
            let from = from.min(made.len());
            let to = (from + length).min(made.len());
            made.replace_range(from..to, "*");
        }
        prop_assert!(pattern::matches(&made, &name));
        prop_assert_eq!(check_resource("Resource", &made), Ok(()));
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
        let resources = [resource.to_owned()];
        let request = Request {
            action,
            resources: &resources,
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

//! Which jobs a filter and a query ask for.

use super::{filter, parse_one};
use crate::job_query::{JobFields, JobQuery, RawJobQuery};

#[test]
fn matching() {
    let job = JobFields {
        vault_id: Some("v-2"),
        status: Some("RUNNING"),
        created_time: Some(100),
        source_type: Some("ECS_FILE"),
        ..JobFields::default()
    };
    let check = |key: &str, operator: &str, values: &[&str], expected: bool| {
        let filter = parse_one(key, Some(operator), values).unwrap();
        assert_eq!(
            filter.matches(&job),
            expected,
            "{key} {operator} {values:?}"
        );
    };
    check("VaultId", "EQUAL", &["v-2"], true);
    check("VaultId", "EQUAL", &["V-2"], false);
    check("VaultId", "NOT_EQUAL", &["v-2"], false);
    check("VaultId", "IN", &["v-1", "v-2"], true);
    check("VaultId", "GREATER_THAN", &["v-10"], true);
    check("VaultId", "LESS_THAN", &["v-20"], true);
    check("VaultId", "BETWEEN", &["v-2", "v-2"], true);
    check("VaultId", "BETWEEN", &["v-3", "v-1"], false);
    check("CreatedTime", "GREATER_THAN", &["99"], true);
    check("CreatedTime", "LESS_THAN", &["1000"], true);
    check("CreatedTime", "BETWEEN", &["100", "100"], true);
    check("Status", "EQUAL", &["NO_SUCH"], false);
    check("Status", "NOT_EQUAL", &["NO_SUCH"], true);
    // A running job has no CompleteTime, a job of files no bucket.
    for operator in [
        "EQUAL",
        "GREATER_THAN",
        "GREATER_THAN_OR_EQUAL",
        "LESS_THAN",
        "LESS_THAN_OR_EQUAL",
    ] {
        check("CompleteTime", operator, &["0"], false);
        check("Bucket", operator, &[""], false);
    }
    check("CompleteTime", "BETWEEN", &["0", "999"], false);
    check("Bucket", "IN", &["", "b"], false);
    check("CompleteTime", "NOT_EQUAL", &["0"], true);
    check("Bucket", "NOT_EQUAL", &["b"], true);
}

#[test]
fn filters_are_anded_with_the_source_type() {
    let query = |source_type: &str, values: [&str; 2]| {
        let raw = RawJobQuery {
            source_type: Some(source_type.to_owned()),
            filters: vec![
                filter("VaultId", None, &values[..1]),
                filter("Status", None, &values[1..]),
            ],
            ..RawJobQuery::default()
        };
        JobQuery::parse(&raw).unwrap()
    };
    let job = JobFields {
        vault_id: Some("v-1"),
        status: Some("FAILED"),
        source_type: Some("OSS"),
        ..JobFields::default()
    };
    assert!(query("OSS", ["v-1", "FAILED"]).matches(&job));
    assert!(query("", ["v-1", "FAILED"]).matches(&job));
    assert!(!query("NAS", ["v-1", "FAILED"]).matches(&job));
    assert!(!query("OSS", ["v-2", "FAILED"]).matches(&job));
    assert!(!query("OSS", ["v-1", "COMPLETE"]).matches(&job));
}

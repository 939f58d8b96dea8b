//! Every rule of how filters, order and page are written, case by case.

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{filter, parse_one, text};
use crate::job_query::{
    FilterKey, JobQuery, MAX_FILTERS, MAX_VALUES, Predicate, QueryErrorReason, RawFilter,
    RawJobQuery, RawRestoreQuery, RestoreQuery, SortDirection, Test, parse_page,
};
use crate::source_type::SourceType;

#[test]
fn accepted_filters() {
    let check =
        |key: &str, operator: Option<&str>, values: &[&str], expected: (FilterKey, Predicate)| {
            let found = parse_one(key, operator, values)
                .unwrap_or_else(|error| panic!("{key} {operator:?} {values:?}: {error}"));
            assert_eq!(
                (found.key, found.predicate),
                expected,
                "{key} {operator:?} {values:?}"
            );
        };
    let time = Predicate::Time;
    // IN is the default, by absence and by an empty text.
    check(
        "VaultId",
        None,
        &["v-1"],
        (FilterKey::VaultId, text(Test::In(vec!["v-1"]))),
    );
    check(
        "VaultId",
        Some(""),
        &["v-1"],
        (FilterKey::VaultId, text(Test::In(vec!["v-1"]))),
    );
    check(
        "VaultId",
        Some("IN"),
        &["v-1", "v-2", "v-1"],
        (
            FilterKey::VaultId,
            text(Test::In(vec!["v-1", "v-2", "v-1"])),
        ),
    );
    // Key names have no case.
    check(
        "vaultid",
        Some("EQUAL"),
        &["v-1"],
        (FilterKey::VaultId, text(Test::Equal("v-1"))),
    );
    check(
        "PLANID",
        Some("EQUAL"),
        &["plan-1"],
        (FilterKey::PlanId, text(Test::Equal("plan-1"))),
    );
    check(
        "planId",
        Some("NOT_EQUAL"),
        &["plan-1"],
        (FilterKey::PlanId, text(Test::NotEqual("plan-1"))),
    );
    // The comparisons.
    check(
        "JobId",
        Some("GREATER_THAN"),
        &["job-1"],
        (FilterKey::JobId, text(Test::Greater("job-1"))),
    );
    check(
        "JobId",
        Some("GREATER_THAN_OR_EQUAL"),
        &["job-1"],
        (FilterKey::JobId, text(Test::GreaterOrEqual("job-1"))),
    );
    check(
        "JobId",
        Some("LESS_THAN"),
        &["job-1"],
        (FilterKey::JobId, text(Test::Less("job-1"))),
    );
    check(
        "JobId",
        Some("LESS_THAN_OR_EQUAL"),
        &["job-1"],
        (FilterKey::JobId, text(Test::LessOrEqual("job-1"))),
    );
    check(
        "CreatedTime",
        Some("GREATER_THAN"),
        &["155"],
        (FilterKey::CreatedTime, time(Test::Greater(155))),
    );
    check(
        "CompleteTime",
        Some("LESS_THAN_OR_EQUAL"),
        &["155"],
        (FilterKey::CompleteTime, time(Test::LessOrEqual(155))),
    );
    check(
        "CompleteTime",
        Some("EQUAL"),
        &["0155"],
        (FilterKey::CompleteTime, time(Test::Equal(155))),
    );
    check(
        "CompleteTime",
        Some("NOT_EQUAL"),
        &["-5"],
        (FilterKey::CompleteTime, time(Test::NotEqual(-5))),
    );
    check(
        "CreatedTime",
        Some("EQUAL"),
        &[" 155 "],
        (FilterKey::CreatedTime, time(Test::Equal(155))),
    );
    // BETWEEN both ways, quoted or not, in any order of bounds.
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &["1", "2"],
        (FilterKey::CompleteTime, time(Test::Between(1, 2))),
    );
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &["[1,2]"],
        (FilterKey::CompleteTime, time(Test::Between(1, 2))),
    );
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &["[\"1\", \"2\"]"],
        (FilterKey::CompleteTime, time(Test::Between(1, 2))),
    );
    check(
        "CreatedTime",
        Some("BETWEEN"),
        &[" [ 1 , \"2\" ] "],
        (FilterKey::CreatedTime, time(Test::Between(1, 2))),
    );
    check(
        "CreatedTime",
        Some("BETWEEN"),
        &["2", "1"],
        (FilterKey::CreatedTime, time(Test::Between(2, 1))),
    );
    check(
        "Bucket",
        Some("BETWEEN"),
        &["a", "b"],
        (FilterKey::Bucket, text(Test::Between("a", "b"))),
    );
    check(
        "Bucket",
        Some("BETWEEN"),
        &["[\"a\",\"b\"]"],
        (FilterKey::Bucket, text(Test::Between("a", "b"))),
    );
    // IN as one JSON array; a number in it is its text.
    check(
        "VaultId",
        None,
        &["[\"v-1\",\"v-2\"]"],
        (FilterKey::VaultId, text(Test::In(vec!["v-1", "v-2"]))),
    );
    check(
        "FileSystemId",
        None,
        &["[5494, \"005494\"]"],
        (
            FilterKey::FileSystemId,
            text(Test::In(vec!["5494", "005494"])),
        ),
    );
    check(
        "CreatedTime",
        Some("IN"),
        &["[1,\"2\",3]"],
        (FilterKey::CreatedTime, time(Test::In(vec![1, 2, 3]))),
    );
    check(
        "CreatedTime",
        None,
        &["1", "2"],
        (FilterKey::CreatedTime, time(Test::In(vec![1, 2]))),
    );
    // Among several values a text that looks like an array is a text, and with EQUAL always.
    check(
        "VaultId",
        None,
        &["[\"v-1\"]", "v-2"],
        (FilterKey::VaultId, text(Test::In(vec!["[\"v-1\"]", "v-2"]))),
    );
    check(
        "VaultId",
        Some("EQUAL"),
        &["[\"v-1\"]"],
        (FilterKey::VaultId, text(Test::Equal("[\"v-1\"]"))),
    );
    // States and other texts are free: unknown ones match nothing.
    check(
        "Status",
        None,
        &["NO_SUCH"],
        (FilterKey::Status, text(Test::In(vec!["NO_SUCH"]))),
    );
    check(
        "InstanceName",
        Some("EQUAL"),
        &[""],
        (FilterKey::InstanceName, text(Test::Equal(""))),
    );
}

#[test]
fn refused_filters() {
    let check =
        |key: &str, operator: Option<&str>, values: &[&str], parameter: &str, part: &str| {
            let error = parse_one(key, operator, values)
                .expect_err(&format!("{key} {operator:?} {values:?}"));
            assert_eq!(error.parameter, parameter, "{error}");
            assert!(
                error.to_string().contains(part),
                "{key} {operator:?} {values:?}: {error}"
            );
        };
    check("", None, &["v-1"], "Filters.2.Key", "mandatory");
    check(
        "Vault",
        None,
        &["v-1"],
        "Filters.2.Key",
        "valid keys are RegionId, PlanId, JobId, VaultId",
    );
    check("RestoreId", None, &["r-1"], "Filters.2.Key", "ParentId");
    check(
        "Key ",
        None,
        &["v-1"],
        "Filters.2.Key",
        "is not a filter key",
    );
    for operator in ["LIKE", "equal", "NOT_IN", "=", " EQUAL"] {
        check(
            "VaultId",
            Some(operator),
            &["v-1"],
            "Filters.2.Operator",
            "valid values are EQUAL, NOT_EQUAL",
        );
    }
    for operator in [None, Some(""), Some("IN")] {
        check(
            "CompleteTime",
            operator,
            &["1"],
            "Filters.2.Operator",
            "IN (the default) cannot be used",
        );
        check(
            "completetime",
            operator,
            &["[1,2]"],
            "Filters.2.Operator",
            "use one of EQUAL, NOT_EQUAL",
        );
    }
    let singles = [
        "EQUAL",
        "NOT_EQUAL",
        "GREATER_THAN",
        "GREATER_THAN_OR_EQUAL",
        "LESS_THAN",
        "LESS_THAN_OR_EQUAL",
    ];
    for operator in singles {
        for key in ["VaultId", "CreatedTime", "CompleteTime"] {
            check(
                key,
                Some(operator),
                &["1", "2"],
                "Filters.2.Values",
                "exactly one value, not 2",
            );
            check(key, Some(operator), &[], "Filters.2.Values", "mandatory");
        }
        for value in [
            "",
            " ",
            "x",
            "1.5",
            "1e9",
            "0x10",
            "+",
            "-",
            "1 2",
            "99999999999999999999",
            "[1]",
            "２",
        ] {
            check(
                "CreatedTime",
                Some(operator),
                &[value],
                "Filters.2.Values",
                "UNIX seconds",
            );
        }
    }
    for values in [
        &["1"][..],
        &["1", "2", "3"],
        &["[1]"],
        &["[1,2,3]"],
        &["[]"],
    ] {
        check(
            "CompleteTime",
            Some("BETWEEN"),
            values,
            "Filters.2.Values",
            "exactly two values, or one JSON array",
        );
        check(
            "Bucket",
            Some("BETWEEN"),
            values,
            "Filters.2.Values",
            "exactly two values, or one JSON array",
        );
    }
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &[],
        "Filters.2.Values",
        "mandatory",
    );
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &["[1,\"x\"]"],
        "Filters.2.Values",
        "\"x\" is not a time",
    );
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &["[1,2.5]"],
        "Filters.2.Values",
        "\"2.5\" is not a time",
    );
    check(
        "CompleteTime",
        Some("BETWEEN"),
        &["1", ""],
        "Filters.2.Values",
        "\"\" is not a time",
    );
    for value in [
        "[1,2", "[a,b]", "[1,null]", "[1,[2]]", "[true]", "[{}]", "[1,]",
    ] {
        check(
            "CompleteTime",
            Some("BETWEEN"),
            &[value],
            "Filters.2.Values",
            "such as [1554347313,1554347999]",
        );
        check(
            "VaultId",
            Some("IN"),
            &[value],
            "Filters.2.Values",
            "such as [\"v-1\",\"v-2\"]",
        );
    }
    check("VaultId", None, &[], "Filters.2.Values", "mandatory");
    check(
        "VaultId",
        None,
        &["[]"],
        "Filters.2.Values",
        "IN takes one or more values, not 0",
    );
    check(
        "CreatedTime",
        None,
        &["1", "x"],
        "Filters.2.Values",
        "\"x\" is not a time",
    );
}

#[test]
fn missing_is_told_from_wrong() {
    assert!(parse_one("", None, &["v-1"]).unwrap_err().is_missing());
    assert!(parse_one("VaultId", None, &[]).unwrap_err().is_missing());
    assert!(
        !parse_one("VaultId", None, &["[]"])
            .unwrap_err()
            .is_missing()
    );
}

#[test]
fn source_type_sort_and_page() {
    let parse = |raw: RawJobQuery| JobQuery::parse(&raw);
    let word = |word: &str| Some(word.to_owned());
    assert_eq!(parse(RawJobQuery::default()).unwrap(), JobQuery::default());
    let empty = RawJobQuery {
        source_type: word(""),
        sort_direction: word(""),
        ..RawJobQuery::default()
    };
    assert_eq!(parse(empty).unwrap(), JobQuery::default());
    for source_type in SourceType::ALL {
        let raw = RawJobQuery {
            source_type: word(source_type.as_str()),
            ..RawJobQuery::default()
        };
        assert_eq!(parse(raw).unwrap().source_type, Some(*source_type));
    }
    for (raw, parameter, part) in [
        (
            RawJobQuery {
                source_type: word("ecs_file"),
                ..RawJobQuery::default()
            },
            "SourceType",
            "ECS_FILE, OSS, NAS",
        ),
        (
            RawJobQuery {
                sort_direction: word("ASC"),
                ..RawJobQuery::default()
            },
            "SortDirection",
            "ASCEND, DESCEND",
        ),
    ] {
        let error = parse(raw).unwrap_err();
        assert_eq!(error.parameter, parameter);
        assert!(error.to_string().contains(part), "{error}");
    }
    let ascend = RawJobQuery {
        sort_direction: word("ASCEND"),
        ..RawJobQuery::default()
    };
    assert_eq!(parse(ascend).unwrap().sort, SortDirection::Ascend);
    for (number, size, expected) in [
        (None, None, Ok((1, 10))),
        (Some(1), Some(1), Ok((1, 1))),
        (Some(7), Some(99), Ok((7, 99))),
        (Some(i64::from(u32::MAX)), Some(100), Ok((u32::MAX, 100))),
        (Some(0), None, Err("PageNumber")),
        (Some(-1), None, Err("PageNumber")),
        (Some(1 << 32), None, Err("PageNumber")),
        (None, Some(0), Err("PageSize")),
        (None, Some(101), Err("PageSize")),
        (None, Some(-10), Err("PageSize")),
        (None, Some(i64::MAX), Err("PageSize")),
    ] {
        let found = parse_page(number, size);
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected),
            (Err(error), Err(parameter)) => assert_eq!(error.parameter, parameter),
            _ => panic!("{number:?} {size:?}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn queries_are_bounded() {
    let one = filter("VaultId", None, &["v-1"]);
    let many = RawJobQuery {
        filters: vec![one; MAX_FILTERS + 1],
        ..RawJobQuery::default()
    };
    assert_eq!(JobQuery::parse(&many).unwrap_err().parameter, "Filters");
    let values: Vec<String> = (0..=MAX_VALUES).map(|n| n.to_string()).collect();
    let mut long = filter("VaultId", None, &[]);
    long.values = values.clone();
    let raw = RawJobQuery {
        filters: vec![long.clone()],
        ..RawJobQuery::default()
    };
    assert!(matches!(
        JobQuery::parse(&raw).unwrap_err().reason,
        QueryErrorReason::TooManyValues
    ));
    long.values = vec![serde_json::to_string(&values).unwrap()];
    let raw = RawJobQuery {
        filters: vec![long],
        ..RawJobQuery::default()
    };
    assert!(matches!(
        JobQuery::parse(&raw).unwrap_err().reason,
        QueryErrorReason::TooManyValues
    ));
}

#[test]
fn restore_queries_have_their_own_keys() {
    let parse = |key: &str, operator: Option<&str>, value: &str| {
        let raw = RawRestoreQuery {
            filters: vec![filter(key, operator, &[value])],
            ..RawRestoreQuery::default()
        };
        RestoreQuery::parse(&raw).map(|query| query.filters[0].key)
    };
    for (name, key) in [
        ("restoreId", FilterKey::RestoreId),
        ("vaultId", FilterKey::VaultId),
        ("sourceType", FilterKey::SourceType),
        ("targetInstanceId", FilterKey::InstanceId),
        ("InstanceId", FilterKey::InstanceId),
        ("targetBucket", FilterKey::Bucket),
        ("targetFileSystemId", FilterKey::FileSystemId),
        ("JobId", FilterKey::JobId),
    ] {
        assert_eq!(parse(name, None, "x").unwrap(), key, "{name}");
    }
    assert!(
        parse("BackupType", None, "x")
            .unwrap_err()
            .to_string()
            .contains("TargetInstanceId")
    );
    assert!(parse("CompleteTime", None, "1").is_err());
    let raw = RawRestoreQuery {
        restore_type: Some("OTS".to_owned()),
        ..RawRestoreQuery::default()
    };
    assert!(
        RestoreQuery::parse(&raw)
            .unwrap_err()
            .to_string()
            .contains("OTS_TABLE")
    );
}

proptest! {
    #[test]
    fn any_input_is_safe(key in any::<String>(), operator in any::<Option<String>>(), values in any::<Vec<String>>()) {
        let raw = RawFilter { number: 1, key: Some(key), operator, values };
        let _ = JobQuery::parse(&RawJobQuery { filters: vec![raw], ..RawJobQuery::default() });
    }

    /// The two encodings of BETWEEN and of IN mean the same.
    #[test]
    fn encodings_agree(low in any::<i64>(), high in any::<i64>(), texts in proptest::collection::vec("[a-z\"\\\\é]{0,4}", 2..5)) {
        let plain = parse_one("CreatedTime", Some("BETWEEN"), &[&low.to_string(), &high.to_string()]).unwrap();
        for array in [format!("[{low},{high}]"), format!("[\"{low}\",\"{high}\"]")] {
            prop_assert_eq!(&parse_one("CreatedTime", Some("BETWEEN"), &[&array]).unwrap(), &plain);
        }
        let values: Vec<&str> = texts.iter().map(String::as_str).collect();
        let plain = parse_one("Bucket", None, &values).unwrap();
        let array = serde_json::to_string(&texts).unwrap();
        prop_assert_eq!(parse_one("Bucket", None, &[&array]).unwrap(), plain);
    }
}

//! Policies as owned plans, rules of plans, and records of one account that another never sees.

use model::{InstanceId, SourceType};

use super::support::{Fixture, at, new_account};
use crate::kept_records::{self, Kind};
use crate::plans::{PlanFilter, PlanSwitch};
use crate::policies::{AdvancedRetention, NewPolicy, Policy, PolicyChange, PolicyRule};
use crate::policy_bindings::{BindingFilter, BindingSpec, NewBinding};
use crate::tags::{self, Tag};
use crate::{
    CatalogError, Client, PageRequest, Plan, jobs, plan_rules, plans, policies, policy_bindings,
    snapshots, vaults,
};

const DAY: i64 = 86_400;

fn rule(vault: &model::VaultId, start: i64, days: i64) -> PolicyRule {
    PolicyRule {
        rule_type: "BACKUP".to_owned(),
        schedule: Some(format!("I|{}|P1D", at(start).0)),
        vault_id: Some(vault.to_string()),
        retention: Some(days),
        ..PolicyRule::default()
    }
}

fn policy(fixture: &Fixture, rules: Vec<PolicyRule>) -> Policy {
    let new = NewPolicy {
        policy_name: None,
        policy_description: String::new(),
        policy_type: "STANDARD".to_owned(),
        rules,
    };
    policies::create(&fixture.catalog, &fixture.account, new, at(0)).unwrap()
}

/// Without a name a policy is called as its id; two may share one.
#[test]
fn a_policy_without_a_name_is_called_as_its_id() {
    let fixture = Fixture::new();
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let vault = fixture.vault(0);
    let nameless = policy(&fixture, vec![rule(&vault, 0, 1)]);
    assert_eq!(nameless.policy_name, nameless.policy_id);
    let rename = |policy: &Policy, name: &str| {
        let changes = PolicyChange {
            policy_name: Some(name.to_owned()),
            policy_description: None,
            rules: None,
        };
        policies::update(catalog, account, &policy.policy_id, changes, at(2)).unwrap()
    };
    let other = policy(&fixture, vec![rule(&vault, 0, 1)]);
    assert_eq!(rename(&nameless, "a").policy_name, "a");
    assert_eq!(rename(&other, "a").policy_name, "a");
    let found = policies::list(catalog, account, None, (10, None)).unwrap();
    assert_eq!(found.total, 2);
}

fn binding(client: &Client, disabled: bool) -> NewBinding {
    NewBinding {
        source_type: SourceType::EcsFile,
        data_source_id: client.instance_id.to_string(),
        spec: BindingSpec {
            region_id: "cn-hangzhou".to_owned(),
            source: Some("[\"/home\",\"/etc\"]".to_owned()),
            ..BindingSpec::default()
        },
        disabled,
    }
}

fn bind(fixture: &Fixture, policy: &Policy, client: &Client) -> Result<(), CatalogError> {
    let one = [binding(client, false)];
    policy_bindings::create(
        &fixture.catalog,
        &fixture.account,
        &policy.policy_id,
        &one,
        at(0),
    )
}

/// The plans that a policy's only binding owns.
fn owned(fixture: &Fixture, policy: &Policy) -> Vec<Plan> {
    let filter = BindingFilter {
        policy_ids: Some(vec![policy.policy_id.clone()]),
        ..BindingFilter::default()
    };
    let bound =
        policy_bindings::list(&fixture.catalog, &fixture.account, &filter, (10, None)).unwrap();
    let Some(binding) = bound.rows.first() else {
        return Vec::new();
    };
    let ids =
        plan_rules::plans_of(&fixture.catalog, &fixture.account, &binding.binding_id).unwrap();
    let read = |id: &String| {
        fixture
            .catalog
            .read("test", |tx| {
                plans::require(tx, &fixture.account, &id.parse().unwrap())
            })
            .unwrap()
    };
    ids.iter().map(read).collect()
}

#[test]
fn each_rule_of_each_binding_is_a_plan_that_nobody_sees() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let policy = policy(&fixture, vec![rule(&vault, 100, 7), rule(&vault, 200, 30)]);
    assert_eq!(fixture.next_due(), None, "nothing is bound");
    bind(&fixture, &policy, &client).unwrap();
    let plans_found = owned(&fixture, &policy);
    assert_eq!(plans_found.len(), 2);
    for plan in &plans_found {
        assert_eq!(plan.spec.paths, ["/home", "/etc"]);
        assert_eq!(plan.spec.client_id, Some(client.client_id.clone()));
        assert!(matches!(
            plans::get(&fixture.catalog, &fixture.account, &plan.plan_id),
            Err(CatalogError::NotFound { .. })
        ));
    }
    let page = PageRequest::first(10);
    let seen = plans::list(
        &fixture.catalog,
        &fixture.account,
        &PlanFilter::default(),
        page,
    )
    .unwrap();
    assert_eq!(seen.total, 0);
    let due = plans::due(&fixture.catalog, at(150), 10).unwrap();
    assert_eq!((due.len(), due[0].planned), (1, at(100)));
    let vault_row = vaults::get(&fixture.catalog, &fixture.account, &vault).unwrap();
    assert!(vault_row.counts.plans.is_empty(), "{:?}", vault_row.counts);
    let used = vaults::delete(&fixture.catalog, &fixture.account, &vault, None, at(1));
    assert!(matches!(used, Err(CatalogError::VaultBound { .. })));
}

#[test]
fn a_change_of_one_rule_leaves_the_count_of_the_other() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let policy = policy(&fixture, vec![rule(&vault, 100, 7), rule(&vault, 200, 30)]);
    bind(&fixture, &policy, &client).unwrap();
    let before = owned(&fixture, &policy);
    let update = |rules: Vec<PolicyRule>, now| {
        let changes = PolicyChange {
            rules: Some(rules),
            ..PolicyChange::default()
        };
        policies::update(
            &fixture.catalog,
            &fixture.account,
            &policy.policy_id,
            changes,
            at(now),
        )
        .unwrap()
    };
    // Without ids, as Terraform sends them: each goes on as the one at its place.
    let changed = update(vec![rule(&vault, 5000, 8), rule(&vault, 200, 30)], 300);
    assert_eq!(
        changed
            .rules
            .iter()
            .map(|rule| &rule.rule_id)
            .collect::<Vec<_>>(),
        policy
            .rules
            .iter()
            .map(|rule| &rule.rule_id)
            .collect::<Vec<_>>()
    );
    let after = owned(&fixture, &policy);
    assert_eq!(after[0].plan_id, before[0].plan_id);
    assert_eq!(
        (after[0].next_run_time, after[0].spec.retention),
        (Some(at(5000)), Some(8))
    );
    assert_eq!(
        after[1].next_run_time, before[1].next_run_time,
        "its run is still due"
    );
    // A foreign id names nothing here, and a rule that goes takes its plan along, not its jobs.
    let mut foreign = rule(&vault, 200, 30);
    foreign.rule_id = "rule-of-another".to_owned();
    let job = fixture.job(&after[1], 301);
    let changed = update(vec![foreign], 400);
    assert_ne!(changed.rules[0].rule_id, "rule-of-another");
    assert_eq!(owned(&fixture, &policy).len(), 1);
    assert!(jobs::get(&fixture.catalog, &fixture.account, &job.job_id).is_ok());
}

#[test]
fn what_a_policy_promises_is_kept_with_its_snapshots() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let transition = PolicyRule {
        rule_type: "TRANSITION".to_owned(),
        retention: Some(30),
        retention_rules: Some(vec![AdvancedRetention {
            advanced_retention_type: "MONTHLY".to_owned(),
            retention: 365,
            which_snapshot: 1,
        }]),
        ..PolicyRule::default()
    };
    let policy = policy(&fixture, vec![rule(&vault, 100, 7), transition]);
    bind(&fixture, &policy, &client).unwrap();
    let [plan] = &owned(&fixture, &policy)[..] else {
        panic!("a TRANSITION rule runs nothing")
    };
    let end_of = |hash: &str, now: i64| {
        fixture.run_job(&client, plan, hash, now);
        let found =
            snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, hash).unwrap();
        (
            found.retention,
            found.expire_time.unwrap().seconds_since(found.created_time) / DAY,
        )
    };
    // The days of TRANSITION win; the first of a month is told its later end at once.
    assert_eq!(end_of(&"a".repeat(64), 0), (Some(30), 365));
    assert_eq!(end_of(&"b".repeat(64), DAY), (Some(30), 30));
}

#[test]
fn a_binding_that_rests_runs_nothing_and_a_host_has_one_policy() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let first = policy(&fixture, vec![rule(&vault, 100, 7)]);
    let second = policy(&fixture, vec![rule(&vault, 100, 7)]);
    bind(&fixture, &first, &client).unwrap();
    assert!(matches!(
        bind(&fixture, &second, &client),
        Err(CatalogError::AlreadyBound { .. })
    ));
    let source = ("ECS_FILE", client.instance_id.as_str());
    let update = |disabled: bool| {
        let edit = |_: &mut BindingSpec, rests: &mut bool| *rests = disabled;
        policy_bindings::update(
            &fixture.catalog,
            &fixture.account,
            &first.policy_id,
            source,
            edit,
            at(50),
        )
        .unwrap();
        fixture.next_due()
    };
    assert_eq!(update(true), None);
    assert_eq!(update(false), Some(at(100)));
    policies::delete(&fixture.catalog, &fixture.account, &first.policy_id).unwrap();
    assert_eq!(fixture.next_due(), None);
    bind(&fixture, &second, &client).unwrap();
    let ids = [client.instance_id.to_string()];
    let unbind = || {
        policy_bindings::delete(
            &fixture.catalog,
            &fixture.account,
            &second.policy_id,
            ("ECS_FILE", &ids),
        )
    };
    unbind().unwrap();
    assert!(matches!(unbind(), Err(CatalogError::NotFound { .. })));
}

#[test]
fn jobs_of_a_rule_are_booked_on_their_plan_and_never_overlap() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan_with(&vault, "ruled", |spec| {
        spec.instance_id = Some(InstanceId::parse("i-1").unwrap());
        spec.rules = Some(serde_json::json!([
            {"RuleId": "rule-1", "Schedule": format!("I|{}|P1D", at(100).0), "Retention": 7},
            {"RuleId": "rule-2", "Schedule": format!("I|{}|P1D", at(101).0), "Retention": 30},
        ]));
    });
    let due = plans::due(&fixture.catalog, at(101), 10).unwrap();
    assert_eq!(due.len(), 2);
    let start = |number: usize| {
        let due = &due[number];
        jobs::create_scheduled(
            &fixture.catalog,
            &due.account_id,
            &due.plan_id,
            due.planned,
            at(101),
        )
        .unwrap()
    };
    let jobs::Scheduled::Started(job) = start(0) else {
        panic!("it was due")
    };
    assert_eq!(
        (job.plan_id.as_ref(), job.retention),
        (Some(&plan.plan_id), Some(7))
    );
    assert!(matches!(
        start(1),
        jobs::Scheduled::Skipped(model::schedule::SkipReason::StillRunning)
    ));
    let switch = plans::switch(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        PlanSwitch::Disabled,
        at(102),
    );
    assert!(switch.is_ok());
    assert_eq!(fixture.next_due(), None);
    let rule_plan = plan_rules::plan_of_rule(
        &fixture.catalog,
        &fixture.account,
        plan.plan_id.as_str(),
        "rule-2",
    );
    assert!(
        jobs::create(
            &fixture.catalog,
            &fixture.account,
            &rule_plan.unwrap(),
            at(103)
        )
        .is_ok()
    );
    plans::delete(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        plans::RunningJobs::Drop,
    )
    .unwrap();
    assert!(
        plans::of_client(&fixture.catalog, &fixture.account, &client.client_id)
            .unwrap()
            .is_empty()
    );
    let gone = plan_rules::plan_of_rule(
        &fixture.catalog,
        &fixture.account,
        plan.plan_id.as_str(),
        "rule-2",
    );
    assert!(matches!(gone, Err(CatalogError::NotFound { .. })));
}

#[test]
fn another_account_sees_and_changes_nothing() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let policy = policy(&fixture, vec![rule(&vault, 100, 7)]);
    bind(&fixture, &policy, &client).unwrap();
    let (catalog, stranger) = (&fixture.catalog, new_account(&fixture.catalog, 2));
    let tag = Tag {
        key: "a".to_owned(),
        value: "b".to_owned(),
    };
    let ids = [client.client_id.to_string()];
    tags::put(
        catalog,
        &fixture.account,
        "client",
        &ids,
        std::slice::from_ref(&tag),
    )
    .unwrap();
    kept_records::insert(
        catalog,
        &fixture.account,
        Kind::DataSource,
        ("ds-1", "ds-1"),
        &1u32,
        at(0),
    )
    .unwrap();

    let source = ("ECS_FILE", client.instance_id.as_str());
    let own_ids = [client.instance_id.to_string()];
    let foreign_rule = NewPolicy {
        policy_name: None,
        policy_description: String::new(),
        policy_type: String::new(),
        rules: vec![rule(&vault, 0, 1)],
    };
    let refused: Vec<Result<(), CatalogError>> = vec![
        policies::get(catalog, &stranger, &policy.policy_id).map(drop),
        policies::update(
            catalog,
            &stranger,
            &policy.policy_id,
            PolicyChange::default(),
            at(1),
        )
        .map(drop),
        policies::delete(catalog, &stranger, &policy.policy_id),
        policies::create(catalog, &stranger, foreign_rule, at(1)).map(drop),
        policy_bindings::create(
            catalog,
            &stranger,
            &policy.policy_id,
            &[binding(&client, false)],
            at(1),
        ),
        policy_bindings::update(
            catalog,
            &stranger,
            &policy.policy_id,
            source,
            |_, _| {},
            at(1),
        ),
        policy_bindings::delete(
            catalog,
            &stranger,
            &policy.policy_id,
            ("ECS_FILE", &own_ids),
        ),
        kept_records::get::<u32>(catalog, &stranger, Kind::DataSource, "ds-1").map(drop),
        kept_records::update::<u32>(catalog, &stranger, Kind::DataSource, "ds-1", |_| {}, at(1)),
        kept_records::delete(catalog, &stranger, Kind::DataSource, "ds-1"),
        plan_rules::plan_of_rule(catalog, &stranger, "pd-1", &policy.rules[0].rule_id).map(drop),
        crate::clients::delete(catalog, &stranger, &client.client_id, at(1)),
    ];
    for (number, result) in refused.iter().enumerate() {
        assert!(
            matches!(result, Err(CatalogError::NotFound { .. })),
            "case {number}: {result:?}"
        );
    }
    assert_eq!(
        policies::list(catalog, &stranger, None, (10, None))
            .unwrap()
            .total,
        0
    );
    assert_eq!(
        policy_bindings::list(catalog, &stranger, &BindingFilter::default(), (10, None))
            .unwrap()
            .total,
        0
    );
    let page = PageRequest::first(10);
    assert_eq!(
        kept_records::list::<u32>(catalog, &stranger, Kind::DataSource, None, page)
            .unwrap()
            .total,
        0
    );
    assert!(
        tags::of(catalog, &stranger, "client", &ids[0])
            .unwrap()
            .is_empty()
    );
    assert!(
        tags::find(catalog, &stranger, "client", &[tag])
            .unwrap()
            .is_empty()
    );
    tags::remove(catalog, &stranger, "client", &ids, &[]).unwrap();
    policy_bindings::unbind_source(
        catalog,
        &stranger,
        SourceType::EcsFile,
        client.instance_id.as_str(),
    )
    .unwrap();
    assert_eq!(
        tags::of(catalog, &fixture.account, "client", &ids[0])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(owned(&fixture, &policy).len(), 1);
}

#[test]
fn hosts_are_bound_by_what_decides_and_unbound_again() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.client("m-1", 0), fixture.client("m-2", 1));
    let vault = fixture.vault(0);
    let tag_rule = PolicyRule {
        rule_type: "TAG".to_owned(),
        ..PolicyRule::default()
    };
    let tagged = policy(&fixture, vec![rule(&vault, 100, 7), tag_rule]);
    let other = policy(&fixture, vec![rule(&vault, 100, 7)]);
    bind(&fixture, &other, &two).unwrap();
    let matched = |wanted: &[&Client]| {
        let fits = |policy: &Policy, client_id: &str, _: &str| {
            policy.policy_id == tagged.policy_id
                && wanted
                    .iter()
                    .any(|client| client.client_id.as_str() == client_id)
        };
        policy_bindings::match_tags(
            &fixture.catalog,
            &fixture.account,
            "cn-hangzhou",
            fits,
            at(5),
        )
        .unwrap()
    };
    assert_eq!(matched(&[&one, &two]), 1, "one is bound by hand already");
    assert_eq!(matched(&[&one, &two]), 0);
    assert_eq!(owned(&fixture, &tagged).len(), 1);
    assert_eq!(matched(&[]), 1);
    assert_eq!(owned(&fixture, &tagged).len(), 0);
    assert_eq!(
        owned(&fixture, &other).len(),
        1,
        "bound by hand stays bound"
    );
}

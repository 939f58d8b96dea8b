//! CreatePolicyV2, UpdatePolicyV2, DeletePolicyV2, DescribePoliciesV2, ExecutePolicyV2, and what TAG rules bind.

use api::error::{ApiError, Code};
use api::shapes::backup_jobs::JobReply;
use api::shapes::policies::{PoliciesReply, Policy as PolicyShape, PolicyReply, Rule};
use catalog::policies::{NewPolicy, Policy, PolicyChange, PolicyRule};
use catalog::policy_bindings::{self, BindingFilter};
use catalog::tags::{self, Tag};
use catalog::{CatalogError, jobs, plan_rules, policies};
use model::{AccountId, PlanId, SourceType, Timestamp, names};

use super::{Answer, Call, client_tasks, lists, policy_rules};
use crate::failure;
use crate::service::Service;

/// Longest description of a policy, in characters.
const MAX_DESCRIPTION_CHARS: usize = 255;
/// Bindings that one ExecutePolicyV2 starts at most.
const MAX_STARTED: u32 = 1_000;

/// Stores a policy; without a name it is called as its id.
pub(crate) fn create_policy_v2(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let rules = policy_rules::read_rules(params)?.ok_or_else(|| ApiError::missing("Rules"))?;
    let policy_type = policy_type(call, &rules)?;
    let new = NewPolicy {
        policy_name: policy_name(call)?,
        policy_description: description(call)?.unwrap_or_default(),
        policy_type,
        rules,
    };
    let policy = policies::create(&call.service.catalog, &call.account, new, call.now)
        .map_err(failure::of_catalog)?;
    bind_by_tags(call.service, &call.account, call.now).map_err(failure::of_catalog)?;
    call.reply(PolicyReply {
        policy_id: Some(policy.policy_id),
    })
}

/// `STANDARD` if any rule has a vault, else `UDM_ECS_ONLY`; what the caller says must fit.
fn policy_type(call: &Call<'_>, rules: &[PolicyRule]) -> Result<String, ApiError> {
    let has_vault = rules.iter().any(|rule| rule.vault_id.is_some());
    match call.params.text("PolicyType") {
        None if has_vault => Ok("STANDARD".to_owned()),
        None => Ok("UDM_ECS_ONLY".to_owned()),
        Some(word @ ("STANDARD" | "UDM_ECS_ONLY")) => Ok(word.to_owned()),
        Some(_) => Err(ApiError::invalid(
            "PolicyType",
            "valid values are STANDARD, UDM_ECS_ONLY",
        )),
    }
}

/// The name that the caller gives; an empty one is none. A policy that was made without one is called as its id, which may
/// be sent back.
fn policy_name(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(name) = call.params.text("PolicyName") else {
        return Ok(None);
    };
    if call.params.text("PolicyId") == Some(name) {
        return Ok(Some(name.to_owned()));
    }
    names::check_policy_name(name).map_err(|why| ApiError::invalid("PolicyName", why))?;
    Ok(Some(name.to_owned()))
}

fn description(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(text) = call.params.given("PolicyDescription") else {
        return Ok(None);
    };
    if text.chars().count() > MAX_DESCRIPTION_CHARS {
        let why = format!("it may have at most {MAX_DESCRIPTION_CHARS} characters");
        return Err(ApiError::invalid("PolicyDescription", why));
    }
    Ok(Some(text.to_owned()))
}

/// Changes what is named; `Rules` replaces all rules.
pub(crate) fn update_policy_v2(call: &Call<'_>) -> Answer {
    let policy_id = call.params.required("PolicyId")?;
    let changes = PolicyChange {
        policy_name: policy_name(call)?,
        policy_description: description(call)?,
        rules: policy_rules::read_rules(&call.params)?,
    };
    refuse_bound_without_vault(call, policy_id, &changes)?;
    policies::update(
        &call.service.catalog,
        &call.account,
        policy_id,
        changes,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    bind_by_tags(call.service, &call.account, call.now).map_err(failure::of_catalog)?;
    call.done()
}

/// What is bound needs a vault in every BACKUP rule.
fn refuse_bound_without_vault(
    call: &Call<'_>,
    policy_id: &str,
    changes: &PolicyChange,
) -> Result<(), ApiError> {
    let has_vaults = |rules: &Vec<PolicyRule>| {
        rules
            .iter()
            .all(|rule| rule.rule_type != "BACKUP" || rule.vault_id.is_some())
    };
    if changes.rules.as_ref().is_none_or(has_vaults) {
        return Ok(());
    }
    let found = policies::list(
        &call.service.catalog,
        &call.account,
        Some(policy_id),
        (1, None),
    )
    .map_err(failure::of_catalog)?;
    if found.rows.iter().any(|policy| policy.binding_count > 0) {
        let why = "a BACKUP rule has no VaultId, which what is bound to the policy needs";
        return Err(ApiError::invalid("Rules", why));
    }
    Ok(())
}

/// Deletes a policy and its bindings; snapshots stay.
pub(crate) fn delete_policy_v2(call: &Call<'_>) -> Answer {
    let policy_id = call.params.required("PolicyId")?;
    policies::delete(&call.service.catalog, &call.account, policy_id)
        .map_err(failure::of_catalog)?;
    call.done()
}

/// Lists policies, the oldest first, from a token on.
pub(crate) fn describe_policies_v2(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let max_results = lists::max_results(params)?;
    let page = policies::list(
        &call.service.catalog,
        &call.account,
        params.text("PolicyId"),
        (max_results, params.text("NextToken")),
    )
    .map_err(failure::of_catalog)?;
    call.reply(PoliciesReply {
        max_results: lists::number_i32(max_results),
        next_token: Some(page.next_token.unwrap_or_default()),
        total_count: lists::total_i64(page.total),
        policies: Some(page.rows.into_iter().map(shape).collect()),
    })
}

/// Rules exactly as they were stored: Terraform compares them with what it sent.
fn shape(policy: Policy) -> PolicyShape {
    let rules = policy.rules.iter().map(rule_shape).collect();
    PolicyShape {
        policy_id: Some(policy.policy_id),
        policy_name: Some(policy.policy_name),
        policy_description: Some(policy.policy_description),
        policy_type: Some(policy.policy_type),
        policy_binding_count: lists::total_i64(policy.binding_count),
        business_status: Some("ACTIVE".to_owned()),
        created_time: Some(policy.created_time.0),
        updated_time: Some(policy.updated_time.0),
        rules: Some(rules),
    }
}

fn rule_shape(rule: &PolicyRule) -> Rule {
    // The stored form has the names and types of the API.
    serde_json::to_value(rule)
        .and_then(serde_json::from_value)
        .unwrap_or_default()
}

/// Starts a rule for one data source, or for all that are bound; answers with the first job that can run. Those of hosts
/// whose agent was uninstalled fail at once; when there are no others, nothing is started.
pub(crate) fn execute_policy_v2(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let catalog = &call.service.catalog;
    let policy_id = params.required("PolicyId")?;
    let rule_id = params.required("RuleId")?;
    let policy = policies::get(catalog, &call.account, policy_id).map_err(failure::of_catalog)?;
    match policy.rules.iter().find(|rule| rule.rule_id == rule_id) {
        None => return Err(ApiError::of(Code::RuleNotExist)),
        Some(rule) if rule.rule_type == "BACKUP" => {}
        Some(_) => return Err(ApiError::invalid("RuleId", "it is not a BACKUP rule")),
    }
    let filter = BindingFilter {
        policy_ids: Some(vec![policy_id.to_owned()]),
        source_types: params
            .parsed::<SourceType>("SourceType")?
            .map(|kind| vec![kind.as_str().to_owned()]),
        data_source_ids: params.text("DataSourceId").map(|id| vec![id.to_owned()]),
    };
    let bound = policy_bindings::list(catalog, &call.account, &filter, (MAX_STARTED, None))
        .map_err(failure::of_catalog)?;
    let mut runs: Vec<(PlanId, Result<(), ApiError>)> = Vec::new();
    for binding in bound.rows.iter().filter(|binding| !binding.disabled) {
        match plan_rules::plan_of_rule(catalog, &call.account, &binding.binding_id, rule_id) {
            Ok(plan_id) => {
                let host = client_tasks::host(call, &binding.data_source_id)?;
                runs.push((plan_id, client_tasks::check_installed(&host)));
            }
            Err(CatalogError::NotFound { .. }) => {}
            Err(error) => return Err(failure::of_catalog(error)),
        }
    }
    let Some(chosen) = runs.iter().position(|(_, can_run)| can_run.is_ok()) else {
        let none = || {
            ApiError::new(
                Code::PolicyBindingNotExist,
                "No enabled data source with a host and a vault is bound to the policy.",
            )
        };
        return Err(runs
            .pop()
            .and_then(|(_, can_run)| can_run.err())
            .unwrap_or_else(none));
    };
    let mut job_ids = Vec::new();
    for (plan_id, _) in &runs {
        let job =
            jobs::create(catalog, &call.account, plan_id, call.now).map_err(failure::of_catalog)?;
        job_ids.push(job.job_id.to_string());
    }
    call.service.ring();
    call.reply(JobReply {
        job_id: job_ids.into_iter().nth(chosen),
    })
}

/// Binds and unbinds hosts by the TAG rules of the account.
pub(crate) fn bind_by_tags(
    service: &Service,
    account: &AccountId,
    now: Timestamp,
) -> Result<usize, CatalogError> {
    if !policy_bindings::has_tag_rules(&service.catalog, account)? {
        return Ok(0);
    }
    let tagged = |client_id: &str| tags::of(&service.catalog, account, "client", client_id);
    // Tags are read before the transaction that binds: hosts are few.
    let mut known: Vec<(String, Vec<Tag>)> = Vec::new();
    let all = catalog::clients::list(
        &service.catalog,
        account,
        &catalog::clients::ClientFilter::default(),
        catalog::PageRequest::first(u32::MAX),
    )?;
    for client in all.rows {
        known.push((
            client.client_id.to_string(),
            tagged(client.client_id.as_str())?,
        ));
    }
    let fits = |policy: &Policy, client_id: &str, instance_id: &str| {
        let tags = known
            .iter()
            .find(|(id, _)| id == client_id)
            .map(|(_, tags)| tags.as_slice());
        policy
            .rules
            .iter()
            .any(|rule| rule_fits(rule, tags.unwrap_or_default(), instance_id))
    };
    policy_bindings::match_tags(&service.catalog, account, &service.region, fits, now)
}

/// Whether a TAG rule takes a host: all its tag filters hold, and one of its data source filters, if there are any.
fn rule_fits(rule: &PolicyRule, tags: &[Tag], instance_id: &str) -> bool {
    let Some(filters) = rule
        .tag_filters
        .as_ref()
        .filter(|_| rule.rule_type == "TAG")
    else {
        return false;
    };
    let by_tags = filters.iter().all(|filter| {
        let found = tags.iter().any(|tag| {
            tag.key == filter.key && (filter.value.is_empty() || tag.value == filter.value)
        });
        found == (filter.operator != "NOT")
    });
    let by_source = rule.data_source_filters.as_ref().is_none_or(|filters| {
        filters.iter().any(|filter| {
            let ids = filter.data_source_ids.as_ref();
            filter.source_type == SourceType::EcsFile.as_str()
                && ids.is_none_or(|ids| ids.iter().any(|id| id == instance_id))
        })
    });
    by_tags && by_source
}

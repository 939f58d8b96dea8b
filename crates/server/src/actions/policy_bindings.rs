//! CreatePolicyBindings, UpdatePolicyBinding, DeletePolicyBinding, DescribePolicyBindings.

use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::policies::{HitTag, PolicyBinding, PolicyBindingsReply};
use catalog::policy_bindings::{Binding, BindingFilter, BindingSpec, NewBinding};
use catalog::{Client, policies, policy_bindings};
use model::{SourceType, SpeedLimit, patterns};

use super::{Answer, Call, client_tasks, lists, plan_fields};
use crate::failure;

/// Data sources that one call binds or unbinds at most.
const MAX_SOURCES: usize = 1_000;
const FILTER_KEYS: &str = "PolicyId, DataSourceId, DataSourceType";

/// Binds data sources, all or none.
pub(crate) fn create_policy_bindings(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let policy_id = params.required("PolicyId")?;
    let policy = policies::get(&call.service.catalog, &call.account, policy_id)
        .map_err(failure::of_catalog)?;
    let members = params.objects("PolicyBindingList")?;
    if members.is_empty() {
        return Err(ApiError::missing("PolicyBindingList"));
    }
    if members.len() > MAX_SOURCES {
        let why = format!("it may have at most {MAX_SOURCES} members");
        return Err(ApiError::invalid("PolicyBindingList", why));
    }
    let bindings = members
        .iter()
        .map(|member| read_new(call, member))
        .collect::<Result<Vec<_>, _>>()?;
    if policy.backups().any(|rule| rule.vault_id.is_none()) {
        let why = "a BACKUP rule of the policy has no VaultId, which ECS_FILE needs";
        return Err(ApiError::invalid("PolicyId", why));
    }
    policy_bindings::create(
        &call.service.catalog,
        &call.account,
        policy_id,
        &bindings,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

fn read_new(call: &Call<'_>, member: &Params) -> Result<NewBinding, ApiError> {
    let source_type = plan_fields::check_protectable(member, "SourceType")?;
    plan_fields::check_cross_account(member)?;
    let data_source_id = member.required("DataSourceId")?;
    let client = client_tasks::host(call, data_source_id)?;
    client_tasks::check_installed(&client)?;
    let mut spec = BindingSpec {
        region_id: call.service.region.clone(),
        cross_account_type: member.text("CrossAccountType").map(str::to_owned),
        cross_account_user_id: member.int("CrossAccountUserId")?,
        cross_account_role_name: member.text("CrossAccountRoleName").map(str::to_owned),
        ..BindingSpec::default()
    };
    read_spec(member, &client, &mut spec)?;
    Ok(NewBinding {
        source_type,
        data_source_id: data_source_id.to_owned(),
        spec,
        disabled: member.boolean("Disabled")? == Some(true),
    })
}

/// Takes over what is named; an empty text takes a field away.
fn read_spec(member: &Params, client: &Client, spec: &mut BindingSpec) -> Result<(), ApiError> {
    let invalid = |name: &str, why: String| ApiError::invalid(&member.full_name(name), why);
    if let Some(text) = member.given("Source") {
        check_source(text).map_err(|why| invalid("Source", why))?;
    }
    for name in ["Include", "Exclude"] {
        patterns::parse(member.given(name).unwrap_or_default())
            .map_err(|why| invalid(name, why.to_string()))?;
    }
    if let Some(text) = member.text("SpeedLimit") {
        SpeedLimit::parse(text).map_err(|why| invalid("SpeedLimit", why.to_string()))?;
    }
    for (name, field) in [
        ("Source", &mut spec.source),
        ("Include", &mut spec.include),
        ("Exclude", &mut spec.exclude),
        ("SpeedLimit", &mut spec.speed_limit),
        ("PolicyBindingDescription", &mut spec.description),
    ] {
        match member.given(name) {
            None => {}
            Some(text) if text.trim().is_empty() => *field = None,
            Some(text) => *field = Some(text.to_owned()),
        }
    }
    let options = member.object("AdvancedOptions")?;
    let file = options.object("FileDetail")?;
    let (use_vss, adv_policy) = (file.boolean("UseVSS")?, file.boolean("AdvPolicy")?);
    if use_vss == Some(true) && !client.os_type.eq_ignore_ascii_case("windows") {
        let why = format!(
            "UseVSS is for Windows; the host {} runs {}",
            client.hostname, client.os_type
        );
        return Err(invalid("AdvancedOptions", why));
    }
    if use_vss.is_some() || adv_policy.is_some() {
        spec.options = use_vss.map(|flag| format!("{{\"UseVSS\":{flag}}}"));
        let mut detail = serde_json::Map::new();
        for (name, flag) in [("UseVSS", use_vss), ("AdvPolicy", adv_policy)] {
            if let Some(flag) = flag {
                detail.insert(name.to_owned(), flag.into());
            }
        }
        spec.advanced_options = Some(serde_json::json!({ "FileDetail": detail }));
    }
    Ok(())
}

/// `["/a","/b"]`; an empty text means everything.
fn check_source(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let paths: Vec<String> = serde_json::from_str(text)
        .map_err(|_| "it must be a JSON array of absolute paths, such as [\"/home\"]".to_owned())?;
    if paths.len() > plan_fields::MAX_PATHS {
        return Err(format!(
            "it may have at most {} paths",
            plan_fields::MAX_PATHS
        ));
    }
    for path in &paths {
        plan_fields::check_path(path).map_err(|why| format!("{path:?}: {why}"))?;
    }
    Ok(())
}

/// Changes the settings of a binding.
pub(crate) fn update_policy_binding(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let policy_id = params.required("PolicyId")?;
    let source_type = params.required("SourceType")?;
    let data_source_id = params.required("DataSourceId")?;
    let disabled = params.boolean("Disabled")?;
    policies::get(&call.service.catalog, &call.account, policy_id).map_err(failure::of_catalog)?;
    let mut changed = BindingSpec::default();
    // Read twice: now for what is wrong, and below over what is stored.
    let client = client_tasks::host(call, data_source_id)
        .map_err(|_| ApiError::of(Code::PolicyBindingNotExist))?;
    read_spec(params, &client, &mut changed)?;
    policy_bindings::update(
        &call.service.catalog,
        &call.account,
        policy_id,
        (source_type, data_source_id),
        |spec, is_disabled| {
            if read_spec(params, &client, spec).is_ok() {
                *is_disabled = disabled.unwrap_or(*is_disabled);
            }
        },
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Unbinds data sources, all or none.
pub(crate) fn delete_policy_binding(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let catalog = &call.service.catalog;
    let policy_id = params.required("PolicyId")?;
    let source_type = params
        .parsed::<SourceType>("SourceType")?
        .unwrap_or(SourceType::EcsFile);
    let ids = params.list("DataSourceIds")?;
    if ids.is_empty() {
        policies::get(catalog, &call.account, policy_id).map_err(failure::of_catalog)?;
        return Err(ApiError::missing("DataSourceIds"));
    }
    if ids.len() > MAX_SOURCES {
        let why = format!("it may name at most {MAX_SOURCES}");
        return Err(ApiError::invalid("DataSourceIds", why));
    }
    policy_bindings::delete(
        catalog,
        &call.account,
        policy_id,
        (source_type.as_str(), &ids),
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Lists bindings, the oldest first, from a token on.
pub(crate) fn describe_policy_bindings(call: &Call<'_>) -> Answer {
    let params = &call.params;
    // Terraform looks for its binding on the first page, and names no size.
    let max_results = match params.has("MaxResults") {
        true => lists::max_results(params)?,
        false => 100,
    };
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let one = |name: &str| params.text(name).map(|text| vec![text.to_owned()]);
    let mut filter = BindingFilter {
        policy_ids: one("PolicyId"),
        source_types: one("SourceType"),
        data_source_ids: some(params.list("DataSourceIds")?),
    };
    lists::simple_filters(params, FILTER_KEYS, |key, values| {
        let slot = match key {
            "policyid" => &mut filter.policy_ids,
            "datasourceid" => &mut filter.data_source_ids,
            "datasourcetype" | "sourcetype" => &mut filter.source_types,
            _ => return false,
        };
        lists::narrow(slot, values);
        true
    })?;
    let page = policy_bindings::list(
        &call.service.catalog,
        &call.account,
        &filter,
        (max_results, params.text("NextToken")),
    )
    .map_err(failure::of_catalog)?;
    call.reply(PolicyBindingsReply {
        max_results: lists::number_i32(max_results),
        next_token: Some(page.next_token.unwrap_or_default()),
        total_count: lists::total_i64(page.total),
        policy_bindings: Some(
            page.rows
                .into_iter()
                .map(|binding| shape(call, binding))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn shape(call: &Call<'_>, binding: Binding) -> Result<PolicyBinding, ApiError> {
    let hit_tags = if binding.created_by_tag {
        hit_tags(call, &binding)?
    } else {
        Vec::new()
    };
    let spec = binding.spec;
    Ok(PolicyBinding {
        policy_binding_id: Some(binding.binding_id),
        policy_id: Some(binding.policy_id),
        source_type: Some(binding.source_type.as_str().to_owned()),
        data_source_id: Some(binding.data_source_id),
        disabled: Some(binding.disabled),
        source: spec.source,
        include: spec.include,
        exclude: spec.exclude,
        speed_limit: spec.speed_limit,
        policy_binding_description: Some(spec.description.unwrap_or_default()),
        created_by_tag: Some(binding.created_by_tag),
        hit_tags: Some(hit_tags),
        created_time: Some(binding.created_time.0),
        updated_time: Some(binding.updated_time.0),
        cross_account_type: Some(
            spec.cross_account_type
                .unwrap_or_else(|| "SELF_ACCOUNT".to_owned()),
        ),
        cross_account_user_id: spec.cross_account_user_id,
        cross_account_role_name: spec.cross_account_role_name,
        advanced_options: spec
            .advanced_options
            .and_then(|value| serde_json::from_value(value).ok()),
    })
}

/// The tag filters of the policy that bound it.
fn hit_tags(call: &Call<'_>, binding: &Binding) -> Result<Vec<HitTag>, ApiError> {
    let policy = policies::get(&call.service.catalog, &call.account, &binding.policy_id)
        .map_err(failure::of_catalog)?;
    Ok(policy
        .rules
        .iter()
        .flat_map(|rule| rule.tag_filters.iter().flatten())
        .map(|filter| HitTag {
            key: Some(filter.key.clone()),
            operator: Some(filter.operator.clone()),
            value: Some(filter.value.clone()),
        })
        .collect())
}

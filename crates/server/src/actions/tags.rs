//! TagResources, UntagResources, ChangeResourceGroup.

use api::error::{ApiError, Code};
use api::params::Params;
use catalog::kept_records::{self, Kind};
use catalog::tags::{self, Tag};
use catalog::vaults::VaultChange;
use catalog::{CatalogError, clients, plans, policies, vaults};

use super::{Answer, Call, client_settings, policies as policy_actions};
use crate::client_settings::Settings;
use crate::failure;

/// Tags and resources of one call, and tags of one resource.
const MAX_TAGS: usize = 20;
const MAX_RESOURCES: usize = 50;
const MAX_KEY_CHARS: usize = 128;
const TYPES: &str = "vault, client, policy, plan";

/// Puts tags on resources.
pub(crate) fn tag_resources(call: &Call<'_>) -> Answer {
    let (resource_type, ids) = resources(call)?;
    let wanted = read_tags(&call.params, "Tag")?;
    if wanted.is_empty() {
        return Err(ApiError::missing("Tag"));
    }
    for id in &ids {
        let mut keys: Vec<String> =
            tags::of(&call.service.catalog, &call.account, resource_type, id)
                .map_err(failure::of_catalog)?
                .into_iter()
                .map(|tag| tag.key)
                .collect();
        keys.extend(wanted.iter().map(|tag| tag.key.clone()));
        keys.sort();
        keys.dedup();
        if keys.len() > MAX_TAGS {
            let why = format!("a resource has at most {MAX_TAGS} tags");
            return Err(ApiError::invalid("Tag", why));
        }
    }
    tags::put(
        &call.service.catalog,
        &call.account,
        resource_type,
        &ids,
        &wanted,
    )
    .map_err(failure::of_catalog)?;
    rebind(call, resource_type)?;
    call.done()
}

/// Takes tags off resources: those named, or all with `All`.
pub(crate) fn untag_resources(call: &Call<'_>) -> Answer {
    let (resource_type, ids) = resources(call)?;
    let keys = call.params.list("TagKey")?;
    if keys.is_empty() && call.params.boolean("All")? != Some(true) {
        return Err(ApiError::missing("TagKey"));
    }
    tags::remove(
        &call.service.catalog,
        &call.account,
        resource_type,
        &ids,
        &keys,
    )
    .map_err(failure::of_catalog)?;
    rebind(call, resource_type)?;
    call.done()
}

/// TAG rules look at the tags of clients.
fn rebind(call: &Call<'_>, resource_type: &str) -> Result<(), ApiError> {
    if resource_type == "client" {
        policy_actions::bind_by_tags(call.service, &call.account, call.now)
            .map_err(failure::of_catalog)?;
    }
    Ok(())
}

/// `Tag.N.Key` and `Tag.N.Value`, checked.
pub(crate) fn read_tags(params: &Params, name: &str) -> Result<Vec<Tag>, ApiError> {
    let members = params.objects(name)?;
    if members.len() > MAX_TAGS {
        return Err(ApiError::invalid(
            name,
            format!("at most {MAX_TAGS} tags can be named"),
        ));
    }
    members
        .iter()
        .map(|member| {
            let key = member.required("Key")?;
            let value = member.given("Value").unwrap_or_default();
            let invalid = |part: &str, why: &str| ApiError::invalid(&member.full_name(part), why);
            if key.chars().count() > MAX_KEY_CHARS || value.chars().count() > MAX_KEY_CHARS {
                return Err(invalid("Key", "key and value have at most 128 characters"));
            }
            let lower = key.to_ascii_lowercase();
            if lower.starts_with("aliyun") || lower.starts_with("acs:") {
                return Err(invalid("Key", "it must not start with aliyun or acs:"));
            }
            if [&lower, &value.to_ascii_lowercase()]
                .iter()
                .any(|text| text.contains("http://") || text.contains("https://"))
            {
                return Err(invalid(
                    "Key",
                    "key and value must not contain http:// or https://",
                ));
            }
            Ok(Tag {
                key: key.to_owned(),
                value: value.to_owned(),
            })
        })
        .collect()
}

/// The type and the ids of existing resources of the account.
fn resources(call: &Call<'_>) -> Result<(&'static str, Vec<String>), ApiError> {
    let params = &call.params;
    let ids = params.list("ResourceId")?;
    if ids.is_empty() {
        return Err(ApiError::missing("ResourceId"));
    }
    if ids.len() > MAX_RESOURCES {
        let why = format!("at most {MAX_RESOURCES} resources can be named");
        return Err(ApiError::invalid("ResourceId", why));
    }
    let resource_type = match params
        .required("ResourceType")?
        .to_ascii_lowercase()
        .as_str()
    {
        "vault" => "vault",
        "client" => "client",
        "policy" => "policy",
        "plan" => "plan",
        _ => {
            return Err(ApiError::invalid(
                "ResourceType",
                format!("valid values are {TYPES}"),
            ));
        }
    };
    for id in &ids {
        check_there(call, resource_type, id)?;
    }
    Ok((resource_type, ids))
}

fn check_there(call: &Call<'_>, resource_type: &str, id: &str) -> Result<(), ApiError> {
    let (catalog, account) = (&call.service.catalog, &call.account);
    let gone = || ApiError::of(Code::ResourceNotExist);
    let found = match resource_type {
        "vault" => vaults::get(catalog, account, &id.parse().map_err(|_| gone())?).map(drop),
        "client" => clients::get(catalog, account, &id.parse().map_err(|_| gone())?).map(drop),
        "plan" => plans::get(catalog, account, &id.parse().map_err(|_| gone())?).map(drop),
        _ => policies::get(catalog, account, id).map(drop),
    };
    match found {
        Err(CatalogError::NotFound { .. }) => Err(gone()),
        other => other.map_err(failure::of_catalog),
    }
}

/// Moves a vault or a client to another resource group.
pub(crate) fn change_resource_group(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let id = params.required("ResourceId")?;
    let group = params.required("NewResourceGroupId")?;
    if group.chars().count() > MAX_KEY_CHARS {
        return Err(ApiError::invalid(
            "NewResourceGroupId",
            "it has at most 128 characters",
        ));
    }
    let (catalog, account) = (&call.service.catalog, &call.account);
    match params
        .required("ResourceType")?
        .to_ascii_lowercase()
        .as_str()
    {
        "vault" => {
            check_there(call, "vault", id)?;
            let vault_id = id
                .parse()
                .map_err(|_| ApiError::of(Code::ResourceNotExist))?;
            let changes = VaultChange {
                resource_group_id: Some(group.to_owned()),
                ..VaultChange::default()
            };
            vaults::update(catalog, account, &vault_id, &changes, call.now)
                .map_err(failure::of_catalog)?;
        }
        "client" => {
            check_there(call, "client", id)?;
            client_settings::ensure(call, id)?;
            kept_records::update(
                catalog,
                account,
                Kind::ClientSettings,
                id,
                |settings: &mut Settings| settings.resource_group_id = Some(group.to_owned()),
                call.now,
            )
            .map_err(failure::of_catalog)?;
        }
        "hanainstance" => {
            return Err(ApiError::new(
                Code::OperationNotSupported,
                "SAP HANA is not supported by this server.",
            ));
        }
        _ => {
            let why = "valid values are vault, client, hanainstance";
            return Err(ApiError::invalid("ResourceType", why));
        }
    }
    call.done()
}

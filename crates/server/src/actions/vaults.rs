//! CreateVault, DescribeVaults, UpdateVault, DeleteVault.
//!
//! Making and deleting what a vault stores is a task for an agent. A vault lies in the data directory unless the caller
//! names a place with `StorageUrl`, an extension of this server; what lies elsewhere is never deleted by the service.

use api::error::{ApiError, Code};
use api::params::Params;
use api::secret::SecretText;
use api::shapes::Tag;
use api::shapes::vaults::{
    PlanStatistics, SourceTypes, Vault as VaultShape, VaultReply, VaultTags, Vaults, VaultsReply,
};
use catalog::vaults::{NewVault, VaultChange, VaultFilter};
use catalog::{PageRequest, Vault, vaults};
use model::{SourceType, VaultId, names};

use super::{Answer, Call, lists, tags};
use crate::places::{self, Place};
use crate::seal::Record;
use crate::{agents, failure};

/// Makes the row and the task; the vault is INITIALIZING until an agent has made the repository.
pub(crate) fn create_vault(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let vault_name = params.required("VaultName")?;
    names::check_vault_name(vault_name).map_err(|error| ApiError::invalid("VaultName", error))?;
    let description = description(params)?;
    let vault_region_id = params.required("VaultRegionId")?;
    if vault_region_id != call.service.region {
        let why = format!("this server is the region {}", call.service.region);
        return Err(ApiError::invalid("VaultRegionId", why));
    }
    check_kind(params)?;
    let service = call.service;
    let vault_id = vaults::new_id(&service.catalog, call.now);
    let _places = service.vault_places.lock();
    let place = match params.text("StorageUrl") {
        None => Place::inside(&service.vaults_dir, &vault_id),
        Some(url) => free_place(call, url)?,
    };
    let client = agents::client_for_tasks(service, &call.account);
    // The agent of this server has rights here that a further account has not: it keeps what lies in the server's own
    // storage, and nothing that such an account puts elsewhere.
    let kept_by = match (&client, params.has("StorageUrl")) {
        (None, false) => service.local_client.lock().clone(),
        _ => None,
    };
    let password = new_password();
    let new = NewVault {
        vault_id: vault_id.clone(),
        vault_name: vault_name.to_owned(),
        description,
        vault_region_id: vault_region_id.to_owned(),
        vault_type: "STANDARD".to_owned(),
        vault_storage_class: "STANDARD".to_owned(),
        encrypt_type: "HBR_PRIVATE".to_owned(),
        kms_key_id: None,
        worm_enabled: params.boolean("WormEnabled")?.unwrap_or(false),
        storage_url: place.url().to_owned(),
        sealed_password: service
            .master_key
            .seal(Record::Vault(vault_id.as_str()), password.expose()),
        kept_by,
    };
    let (vault, task_id) = vaults::create(
        &service.catalog,
        &call.account,
        &new,
        client.as_ref(),
        call.now,
    )
    .map_err(failure::of_catalog)?;
    service.ring();
    call.reply(VaultReply {
        vault_id: Some(vault.vault_id.to_string()),
        task_id: Some(task_id.to_string()),
    })
}

/// 32 random bytes in hex: as strong as the keys it guards.
pub(crate) fn new_password() -> SecretText {
    let bytes: zeroize::Zeroizing<[u8; 32]> = zeroize::Zeroizing::new(rand::random());
    SecretText::new(hex::encode(bytes.as_slice()))
}

fn description(params: &Params) -> Result<String, ApiError> {
    let text = params.given("Description").unwrap_or_default();
    names::check_description(text).map_err(|error| ApiError::invalid("Description", error))?;
    Ok(text.to_owned())
}

/// What kinds of vault can be made: one.
fn check_kind(params: &Params) -> Result<(), ApiError> {
    for (name, served, foreign) in [
        ("VaultType", &["STANDARD"][..], &["OTS_BACKUP"][..]),
        ("VaultStorageClass", &["STANDARD"], &[]),
        ("EncryptType", &["HBR_PRIVATE"], &["KMS"]),
    ] {
        match params.text(name) {
            None => {}
            Some(word) if served.contains(&word) => {}
            Some(word) if foreign.contains(&word) => {
                return Err(ApiError::new(
                    Code::OperationNotSupported,
                    format!("{name} {word} is not supported by this server."),
                ));
            }
            Some(_) => {
                let valid = [served, foreign].concat().join(", ");
                return Err(ApiError::invalid(name, format!("valid values are {valid}")));
            }
        }
    }
    if params.boolean("Replication")? == Some(true) {
        return Err(ApiError::new(
            Code::OperationNotSupported,
            "Replication of vaults is not supported by this server.",
        ));
    }
    Ok(())
}

/// A place that the operator names, if no vault and no data directory is in its way.
fn free_place(call: &Call<'_>, url: &str) -> Result<Place, ApiError> {
    let invalid = |why: String| ApiError::invalid("StorageUrl", why);
    let place = Place::parse(url).map_err(invalid)?;
    if place.touches_folder(&call.service.data_dir) {
        return Err(invalid(
            "it must not lie in the data directory, nor around it".to_owned(),
        ));
    }
    for vault in places::all_vaults(call.service, &call.account)? {
        if place.touches(&vault.storage_url) {
            return Err(ApiError::new(
                Code::VaultConflict,
                format!(
                    "The storage is used by the vault {} already.",
                    vault.vault_id
                ),
            ));
        }
    }
    Ok(place)
}

/// Lists vaults; ids that do not exist give an empty list.
pub(crate) fn describe_vaults(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let page = lists::page(params)?;
    let text = |name: &str| params.text(name).map(str::to_owned);
    let filter = VaultFilter {
        vault_id: text("VaultId"),
        vault_name: text("VaultName"),
        vault_region_id: text("VaultRegionId"),
        vault_type: text("VaultType"),
        status: text("Status"),
        resource_group_id: text("ResourceGroupId"),
        vault_ids: tagged_vaults(call)?,
    };
    // No vault is a replica or belongs to another account.
    let matches_none = params.boolean("Replication")? == Some(true)
        || params
            .int("VaultOwnerId")?
            .is_some_and(|owner| owner != call.account.as_number());
    let found = if matches_none {
        catalog::Page {
            rows: Vec::new(),
            total: 0,
        }
    } else {
        vaults::list(&call.service.catalog, &call.account, &filter, page)
            .map_err(failure::of_catalog)?
    };
    call.reply(shape_page(call, found, page)?)
}

/// The vaults that have the tags the caller names; `None` without any.
fn tagged_vaults(call: &Call<'_>) -> Result<Option<Vec<String>>, ApiError> {
    let wanted = tags::read_tags(&call.params, "Tag")?;
    if wanted.is_empty() {
        return Ok(None);
    }
    let found = catalog::tags::find(&call.service.catalog, &call.account, "vault", &wanted);
    found.map(Some).map_err(failure::of_catalog)
}

fn shape_page(
    call: &Call<'_>,
    found: catalog::Page<Vault>,
    page: PageRequest,
) -> Result<VaultsReply, ApiError> {
    let shapes = found.rows.into_iter().map(|vault| {
        let tags = lists::tags_of(call, "vault", vault.vault_id.as_str())?;
        Ok(shape(vault, tags))
    });
    Ok(VaultsReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: lists::total_i32(found.total),
        vaults: Some(Vaults {
            vault: Some(shapes.collect::<Result<_, ApiError>>()?),
        }),
    })
}

fn shape(vault: Vault, tags: Vec<Tag>) -> VaultShape {
    let source_types = vault
        .counts
        .source_types
        .iter()
        .map(|kind| kind.as_str().to_owned())
        .collect();
    VaultShape {
        vault_id: Some(vault.vault_id.to_string()),
        vault_name: Some(vault.vault_name),
        description: Some(vault.description),
        vault_region_id: Some(vault.vault_region_id),
        vault_type: Some(vault.vault_type),
        vault_storage_class: Some(vault.vault_storage_class),
        vault_owner_id: Some(vault.account_id.as_number()),
        vault_status_message: vault.status_message,
        status: Some(vault.status.as_str().to_owned()),
        created_time: Some(vault.created_time.0),
        updated_time: Some(vault.updated_time.0),
        bytes_done: Some(vault.bytes_done),
        storage_size: Some(vault.storage_size),
        charged_storage_size: Some(0),
        archive_bytes_done: Some(0),
        archive_storage_size: Some(0),
        snapshot_count: Some(vault.counts.snapshot_count),
        dedup: Some(true),
        compression_algorithm: Some("ZSTD".to_owned()),
        encrypt_type: Some(vault.encrypt_type),
        kms_key_id: vault.kms_key_id,
        worm_enabled: Some(vault.worm_enabled),
        index_available: Some(false),
        index_level: Some("OFF".to_owned()),
        search_enabled: Some(false),
        resource_group_id: vault.resource_group_id,
        source_types: Some(SourceTypes {
            source_type: Some(source_types),
        }),
        tags: Some(VaultTags { tag: Some(tags) }),
        backup_plan_statistics: Some(statistics(&vault.counts.plans)),
        replication: Some(false),
        replication_source_vault: Some(false),
        ..VaultShape::default()
    }
}

fn statistics(plans: &[(SourceType, i64)]) -> PlanStatistics {
    let of = |kind: SourceType| {
        let count = plans
            .iter()
            .find(|(plan_kind, _)| *plan_kind == kind)
            .map_or(0, |(_, count)| *count);
        Some(i32::try_from(count).unwrap_or(i32::MAX))
    };
    PlanStatistics {
        ecs_file: of(SourceType::EcsFile),
        oss: of(SourceType::Oss),
        nas: of(SourceType::Nas),
        ots: of(SourceType::Ots),
        common_nas: of(SourceType::CommonNas),
        local_file: of(SourceType::File),
        archive: Some(0),
        common_file_system: Some(0),
        cpfs: Some(0),
        csg: Some(0),
        ecs_hana: Some(0),
        isilon: Some(0),
        local_vm: Some(0),
        my_sql: Some(0),
        oracle: Some(0),
        sql_server: Some(0),
    }
}

/// Changes name, description, resource group, or makes the vault immutable.
pub(crate) fn update_vault(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let vault_id: VaultId = lists::id(params, "VaultId", Code::VaultNotExist)?;
    if let Some(name) = params.text("VaultName") {
        names::check_vault_name(name).map_err(|error| ApiError::invalid("VaultName", error))?;
    }
    let description = match params.given("Description") {
        Some(_) => Some(description(params)?),
        None => None,
    };
    let change = VaultChange {
        vault_name: params.text("VaultName").map(str::to_owned),
        description,
        worm_enabled: params.boolean("WormEnabled")?,
        resource_group_id: params.text("ResourceGroupId").map(str::to_owned),
    };
    vaults::update(
        &call.service.catalog,
        &call.account,
        &vault_id,
        &change,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Deletes a vault with all that is in it.
pub(crate) fn delete_vault(call: &Call<'_>) -> Answer {
    let service = call.service;
    let vault_id: VaultId = lists::id(&call.params, "VaultId", Code::VaultNotExist)?;
    let vault =
        vaults::get(&service.catalog, &call.account, &vault_id).map_err(failure::of_catalog)?;
    if vault.created_time.plus(service.vault_delete_grace) > call.now {
        return Err(ApiError::new(
            Code::VaultNotReady,
            format!(
                "The vault is younger than {} seconds.",
                service.vault_delete_grace.as_secs()
            ),
        ));
    }
    let client = agents::client_for_tasks(service, &call.account);
    vaults::delete(
        &service.catalog,
        &call.account,
        &vault_id,
        client.as_ref(),
        call.now,
    )
    .map_err(failure::of_catalog)?;
    service.repositories.forget(&vault_id);
    service.ring();
    call.done()
}

//! UpdateClientSettings: what callers set about a client.

use std::ops::RangeInclusive;

use api::error::{ApiError, Code};
use catalog::kept_records::{self, Kind};
use catalog::{CatalogError, clients};
use model::ClientId;

use super::{Answer, Call, lists};
use crate::client_settings::Settings;
use crate::failure;

/// Makes the record if there is none.
pub(crate) fn ensure(call: &Call<'_>, client_id: &str) -> Result<(), ApiError> {
    let made = kept_records::insert(
        &call.service.catalog,
        &call.account,
        Kind::ClientSettings,
        (client_id, client_id),
        &Settings::default(),
        call.now,
    );
    match made {
        Ok(()) | Err(CatalogError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(failure::of_catalog(error)),
    }
}

/// Notes what is named.
pub(crate) fn update_client_settings(call: &Call<'_>) -> Answer {
    const CORES: RangeInclusive<i64> = 0..=4_096;
    let params = &call.params;
    let catalog = &call.service.catalog;
    let client_id: ClientId = lists::id(params, "ClientId", Code::ClientNotExist)?;
    clients::get(catalog, &call.account, &client_id).map_err(failure::of_catalog)?;
    let network = params.text("DataNetworkType").map(str::to_owned);
    if network
        .as_deref()
        .is_some_and(|word| !matches!(word, "PUBLIC" | "VPC" | "CLASSIC"))
    {
        return Err(ApiError::invalid(
            "DataNetworkType",
            "valid values are PUBLIC, VPC, CLASSIC",
        ));
    }
    match params.text("DataProxySetting") {
        None | Some("DISABLE") => {}
        Some("USE_CONTROL_PROXY" | "CUSTOM") => {
            return Err(ApiError::new(
                Code::OperationNotSupported,
                "Proxies for data are not supported by this server: agents reach vaults themselves.",
            ));
        }
        Some(_) => {
            let why = "valid values are DISABLE, USE_CONTROL_PROXY, CUSTOM";
            return Err(ApiError::invalid("DataProxySetting", why));
        }
    }
    if params
        .int_in("MaxMemory", 0..=i64::MAX)?
        .is_some_and(|bytes| bytes > 0)
    {
        return Err(ApiError::new(
            Code::OperationNotSupported,
            "MaxMemory is not supported by this server: a job takes memory by its workers, which MaxWorker limits; send 0 or \
             leave it out.",
        ));
    }
    let changed = Settings {
        data_network_type: network,
        max_cpu_core: params.int_in("MaxCpuCore", CORES)?,
        max_worker: params.int_in("MaxWorker", CORES)?,
        max_memory: params.int_in("MaxMemory", 0..=i64::MAX)?,
        use_https: params.boolean("UseHttps")?,
        alert_on_partial_complete: params.boolean("AlertOnPartialComplete")?,
        resource_group_id: params.text("ResourceGroupId").map(str::to_owned),
    };
    ensure(call, client_id.as_str())?;
    kept_records::update(
        catalog,
        &call.account,
        Kind::ClientSettings,
        client_id.as_str(),
        |settings: &mut Settings| {
            let before = std::mem::take(settings);
            *settings = Settings {
                data_network_type: changed.data_network_type.or(before.data_network_type),
                max_cpu_core: changed.max_cpu_core.or(before.max_cpu_core),
                max_worker: changed.max_worker.or(before.max_worker),
                max_memory: changed.max_memory.or(before.max_memory),
                use_https: changed.use_https.or(before.use_https),
                alert_on_partial_complete: changed
                    .alert_on_partial_complete
                    .or(before.alert_on_partial_complete),
                resource_group_id: changed.resource_group_id.or(before.resource_group_id),
            };
        },
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

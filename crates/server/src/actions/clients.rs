//! DescribeBackupClients.

use api::error::ApiError;
use api::shapes::clients::{BackupClient, ClientSettings, ClientsReply};
use catalog::clients::ClientFilter;
use catalog::{Client, ClientType, clients};

use super::{Answer, Call, lists, tags};
use crate::client_settings::Settings;
use crate::failure;

const FILTER_KEYS: &str = "clientId, instanceId, instanceName, hostname, status";

/// Lists clients of one type.
pub(crate) fn describe_backup_clients(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let page = lists::page(params)?;
    let client_type: ClientType = params
        .required("ClientType")?
        .parse()
        .map_err(|error: model::UnknownWord| ApiError::invalid("ClientType", error))?;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let mut filter = ClientFilter {
        client_type: Some(client_type.as_str().to_owned()),
        client_ids: some(params.list("ClientIds")?),
        instance_ids: some(params.list("InstanceIds")?),
        ..ClientFilter::default()
    };
    lists::simple_filters(params, FILTER_KEYS, |key, values| {
        let slot = match key {
            "clientid" => &mut filter.client_ids,
            "instanceid" => &mut filter.instance_ids,
            "instancename" | "hostname" => &mut filter.hostnames,
            "status" => &mut filter.statuses,
            _ => return false,
        };
        lists::narrow(slot, values);
        true
    })?;
    let wanted = tags::read_tags(params, "Tag")?;
    if !wanted.is_empty() {
        let found = catalog::tags::find(&call.service.catalog, &call.account, "client", &wanted)
            .map_err(failure::of_catalog)?;
        lists::narrow(&mut filter.client_ids, found);
    }
    // No client has a cluster or another account.
    let matches_none =
        params.has("ClusterId") || params.text("CrossAccountType") == Some("CROSS_ACCOUNT");
    let found = if matches_none {
        catalog::Page {
            rows: Vec::new(),
            total: 0,
        }
    } else {
        clients::list(&call.service.catalog, &call.account, &filter, page)
            .map_err(failure::of_catalog)?
    };
    call.reply(ClientsReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: lists::total_i64(found.total),
        clients: Some(
            found
                .rows
                .into_iter()
                .map(|client| shape(call, client))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn shape(call: &Call<'_>, client: Client) -> Result<BackupClient, ApiError> {
    let kept = Settings::of(
        &call.service.catalog,
        &call.account,
        client.client_id.as_str(),
    )
    .map_err(failure::of_catalog)?;
    let tags = lists::tags_of(call, "client", client.client_id.as_str())?;
    let backup_status = if client.is_protected {
        "PROTECTED"
    } else {
        "UNPROTECTED"
    };
    Ok(BackupClient {
        client_id: Some(client.client_id.to_string()),
        client_type: Some(client.client_type.as_str().to_owned()),
        client_version: Some(client.client_version),
        max_client_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        instance_id: Some(client.instance_id.to_string()),
        instance_name: Some(client.hostname.clone()),
        hostname: Some(client.hostname),
        os_type: Some(client.os_type),
        arch_type: Some(client.arch_type),
        private_ip_v4: client.private_ipv4,
        status: Some(client.status.as_str().to_owned()),
        backup_status: Some(backup_status.to_owned()),
        appliance: Some(false),
        created_time: Some(client.created_time.0),
        updated_time: Some(client.updated_time.0),
        last_heart_beat_time: Some(client.last_heart_beat_time.0),
        settings: Some(ClientSettings {
            data_network_type: Some(
                kept.data_network_type
                    .unwrap_or_else(|| "PUBLIC".to_owned()),
            ),
            data_proxy_setting: Some("DISABLE".to_owned()),
            // Numbers and a flag as texts: so the API has them.
            max_cpu_core: kept.max_cpu_core.map(|count| count.to_string()),
            max_worker: kept.max_worker.map(|count| count.to_string()),
            max_memory: kept.max_memory,
            use_https: Some(kept.use_https.unwrap_or(false).to_string()),
            alert_on_partial_complete: Some(kept.alert_on_partial_complete.unwrap_or(false)),
            ..ClientSettings::default()
        }),
        tags: Some(tags),
        zone_id: None,
    })
}

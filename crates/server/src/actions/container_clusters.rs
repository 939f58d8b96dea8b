//! AddContainerCluster, UpdateContainerCluster, DeleteContainerCluster, DescribeContainerCluster,
//! DescribeContainerResource: records that the service keeps. No agent runs in a cluster yet, so its state is MISS.

use api::error::ApiError;
use api::shapes::records::{
    Cluster, ContainerClusterReply, ContainerClustersReply, ContainerResourcesReply,
    ContainerTokenReply,
};
use catalog::kept_records::{self, Kind, Record};
use serde::{Deserialize, Serialize};

use super::{Answer, Call, lists};
use crate::failure;

const MAX_NAME_CHARS: usize = 128;
const MAX_DESCRIPTION_CHARS: usize = 255;

/// The token is no secret of this service: nothing takes it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    identifier: String,
    kind: String,
    network: String,
    name: String,
    description: String,
    token: String,
}

fn new_token() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

fn network(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    match call.params.text("NetworkType") {
        None => Ok(None),
        Some(word @ ("CLASSIC" | "VPC")) => Ok(Some(word.to_owned())),
        Some(_) => Err(ApiError::invalid(
            "NetworkType",
            "valid values are CLASSIC, VPC",
        )),
    }
}

fn short(call: &Call<'_>, name: &str, most: usize) -> Result<Option<String>, ApiError> {
    match call.params.given(name) {
        Some(text) if text.chars().count() > most => Err(ApiError::invalid(
            name,
            format!("it may have at most {most} characters"),
        )),
        text => Ok(text.map(str::to_owned)),
    }
}

/// Keeps a new record.
pub(crate) fn add_container_cluster(call: &Call<'_>) -> Answer {
    let params = &call.params;
    if params.required("ClusterType")? != "ACK" {
        return Err(ApiError::invalid("ClusterType", "the valid value is ACK"));
    }
    let identifier = params.required("Identifier")?;
    if identifier.chars().count() > MAX_NAME_CHARS {
        let why = format!("it may have at most {MAX_NAME_CHARS} characters");
        return Err(ApiError::invalid("Identifier", why));
    }
    let body = Body {
        identifier: identifier.to_owned(),
        kind: "ACK".to_owned(),
        network: network(call)?.ok_or_else(|| ApiError::missing("NetworkType"))?,
        name: short(call, "Name", MAX_NAME_CHARS)?.unwrap_or_else(|| identifier.to_owned()),
        description: short(call, "Description", MAX_DESCRIPTION_CHARS)?.unwrap_or_default(),
        token: new_token(),
    };
    let id = kept_records::new_id(&call.service.catalog, Kind::ContainerCluster, call.now);
    kept_records::insert(
        &call.service.catalog,
        &call.account,
        Kind::ContainerCluster,
        (&id, identifier),
        &body,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.reply(ContainerClusterReply {
        cluster_id: Some(id),
        token: Some(body.token),
    })
}

/// Changes what is named.
pub(crate) fn update_container_cluster(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let id = params.required("ClusterId")?;
    let renew = params.boolean("RenewToken")? == Some(true);
    let (name, description) = (
        short(call, "Name", MAX_NAME_CHARS)?,
        short(call, "Description", MAX_DESCRIPTION_CHARS)?,
    );
    let network = network(call)?;
    let mut token = String::new();
    kept_records::update(
        &call.service.catalog,
        &call.account,
        Kind::ContainerCluster,
        id,
        |body: &mut Body| {
            for (new, field) in [
                (name, &mut body.name),
                (description, &mut body.description),
                (network, &mut body.network),
            ] {
                if let Some(new) = new {
                    *field = new;
                }
            }
            if renew {
                body.token = new_token();
            }
            token.clone_from(&body.token);
        },
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.reply(ContainerTokenReply {
        token: Some(token),
        token_updated: Some(renew),
    })
}

/// Drops a record.
pub(crate) fn delete_container_cluster(call: &Call<'_>) -> Answer {
    call.params.boolean("Force")?;
    let id = call.params.required("ClusterId")?;
    kept_records::delete(
        &call.service.catalog,
        &call.account,
        Kind::ContainerCluster,
        id,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Lists records, the oldest first.
pub(crate) fn describe_container_cluster(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let page = lists::page(params)?;
    let is_it = |record: &Record<Body>| {
        params
            .text("Identifier")
            .is_none_or(|text| text == record.body.identifier)
    };
    let found = lists::kept_page(
        call,
        Kind::ContainerCluster,
        params.text("ClusterId"),
        page,
        is_it,
    )?;
    let shapes = found.rows.into_iter().map(|record| Cluster {
        cluster_id: Some(record.id),
        identifier: Some(record.body.identifier),
        cluster_type: Some(record.body.kind),
        network_type: Some(record.body.network),
        name: Some(record.body.name),
        description: Some(record.body.description),
        token: Some(record.body.token),
        agent_status: Some("MISS".to_owned()),
    });
    call.reply(ContainerClustersReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: lists::total_i64(found.total),
        clusters: Some(shapes.collect()),
    })
}

/// No agent reports resources of a cluster yet: there are none.
pub(crate) fn describe_container_resource(call: &Call<'_>) -> Answer {
    let page = lists::page(&call.params)?;
    call.reply(ContainerResourcesReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: Some(0),
        resources: Some(Vec::new()),
    })
}

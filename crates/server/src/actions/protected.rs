//! ListProtectedResources, ListSnapshots, GetBasicStatistics.

use api::error::ApiError;
use api::shapes::resources::{
    BasicStatisticsReply, GlobalStatistics, ListSnapshotsReply, ProtectedResource,
    ProtectedResourcesReply, RegionStatistics, Snapshot as SnapshotShape,
};
use catalog::Snapshot;
use catalog::protected::{self, Protected, ProtectedFilter, SnapshotsOf};
use model::{InstanceId, SourceType, Timestamp};

use super::{Answer, Call, lists};
use crate::failure;

/// A protected resource is a host: its id is the instance's with another prefix.
fn resource_id(instance_id: &InstanceId) -> String {
    format!(
        "pr-{}",
        instance_id.as_str().trim_start_matches(InstanceId::PREFIX)
    )
}

/// Hosts that have a plan or a snapshot.
pub(crate) fn list_protected_resources(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let max_results = lists::max_results(params)?;
    let skip = params.int_in("Skip", 0..=i64::from(i32::MAX))?.unwrap_or(0);
    let has_snapshot = params.boolean("HasSnapshot")?;
    let created_by = params.text("CreatedByProduct");
    if created_by.is_some_and(|word| !matches!(word, "HBR" | "BASIC")) {
        return Err(ApiError::invalid(
            "CreatedByProduct",
            "valid values are HBR, BASIC",
        ));
    }
    let kind = params.parsed::<SourceType>("SourceType")?;
    let hosts =
        if created_by == Some("BASIC") || kind.is_some_and(|kind| kind != SourceType::EcsFile) {
            Vec::new()
        } else {
            let filter = ProtectedFilter {
                instance_id: params.text("ResourceId").map(str::to_owned),
                has_snapshot,
            };
            protected::list(&call.service.catalog, &call.account, &filter)
                .map_err(failure::of_catalog)?
        };
    let total = hosts.len() as u64;
    // The token names the last host that was given out.
    let start = match params.text("NextToken") {
        Some(token) => hosts
            .iter()
            .position(|host| (host.created_time, host.instance_id.as_str()) > parse_token(token))
            .unwrap_or(hosts.len()),
        None => usize::try_from(skip).unwrap_or(0),
    };
    let page: Vec<Protected> = hosts
        .into_iter()
        .skip(start)
        .take(max_results as usize)
        .collect();
    let has_more = start as u64 + (page.len() as u64) < total;
    let next_token = page
        .last()
        .filter(|_| has_more)
        .map(|host| format!("{}.{}", host.created_time, host.instance_id));
    let owner = call.account.as_number();
    let shapes = page.into_iter().map(|host| ProtectedResource {
        protected_resource_id: Some(resource_id(&host.instance_id)),
        resource_id: Some(host.instance_id.to_string()),
        resource_owner_id: Some(owner),
        resource_region_id: Some(call.service.region.clone()),
        source_type: Some(SourceType::EcsFile.as_str().to_owned()),
        created_by_product: Some("HBR".to_owned()),
        backup_plan_count: Some(host.plan_count),
        snapshot_count: Some(host.snapshot_count),
        protected_data_size: Some(host.data_bytes),
    });
    call.reply(ProtectedResourcesReply {
        max_results: lists::number_i32(max_results),
        next_token: Some(next_token.unwrap_or_default()),
        total_count: lists::total_i32(total),
        protected_resources: Some(shapes.collect()),
    })
}

fn parse_token(token: &str) -> (Timestamp, &str) {
    let (time, id) = token.split_once('.').unwrap_or((token, ""));
    (Timestamp(time.parse().unwrap_or(i64::MAX)), id)
}

/// Snapshots of one protected resource.
pub(crate) fn list_snapshots(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let max_results = lists::max_results(params)?;
    let resource = params.required("ProtectedResourceId")?;
    let kind: SourceType = params
        .required("SourceType")?
        .parse()
        .map_err(|error: model::UnknownWord| ApiError::invalid("SourceType", error))?;
    let skip = params.int_in("Skip", 0..=i64::from(i32::MAX))?;
    if let Some(skip) = skip {
        if params.has("NextToken") {
            return Err(ApiError::invalid("Skip", "it goes without NextToken"));
        }
        if skip % i64::from(max_results) != 0 {
            return Err(ApiError::invalid(
                "Skip",
                "it must be a multiple of MaxResults",
            ));
        }
    }
    let wanted = SnapshotsOf {
        instance_id: match resource.strip_prefix("pr-") {
            Some(body) => format!("{}{body}", InstanceId::PREFIX),
            None => resource.to_owned(),
        },
        vault_id: params.text("VaultId").map(str::to_owned),
        plan_id: params.text("PlanId").map(str::to_owned),
        complete_from: params.int("CompleteTimeStart")?.map(Timestamp),
        complete_before: params.int("CompleteTimeEnd")?.map(Timestamp),
    };
    let page = if kind == SourceType::EcsFile {
        let request = (
            max_results,
            params.text("NextToken"),
            skip.and_then(|skip| u32::try_from(skip).ok()).unwrap_or(0),
        );
        protected::snapshots_of(&call.service.catalog, &call.account, &wanted, request)
            .map_err(failure::of_catalog)?
    } else {
        catalog::policies::TokenPage {
            rows: Vec::new(),
            total: 0,
            next_token: None,
        }
    };
    call.reply(ListSnapshotsReply {
        max_results: Some(i64::from(max_results)),
        next_token: Some(page.next_token.unwrap_or_default()),
        total_count: lists::total_i64(page.total),
        snapshots: Some(page.rows.into_iter().map(shape).collect()),
    })
}

fn shape(snapshot: Snapshot) -> SnapshotShape {
    SnapshotShape {
        snapshot_id: Some(snapshot.snapshot_id.to_string()),
        snapshot_hash: Some(snapshot.snapshot_hash),
        source_type: Some(snapshot.source_type.as_str().to_owned()),
        backup_type: Some(snapshot.backup_type),
        status: Some(snapshot.status.as_str().to_owned()),
        vault_id: Some(snapshot.vault_id.to_string()),
        job_id: snapshot.job_id.map(String::from),
        plan_id: snapshot.plan_id.map(String::from),
        client_id: snapshot.client_id.map(String::from),
        instance_id: snapshot.instance_id.map(String::from),
        created_time: Some(snapshot.created_time.0),
        complete_time: Some(snapshot.complete_time.0),
        expire_time: snapshot.expire_time.map(|time| time.0),
        retention: snapshot.retention,
        storage_class: Some("STANDARD".to_owned()),
        error_file: snapshot.error_file,
        path: (snapshot.paths.len() == 1).then(|| snapshot.paths[0].clone()),
        paths: Some(snapshot.paths),
        include: snapshot.include,
        exclude: snapshot.exclude,
        bytes_total: Some(snapshot.bytes_total),
        bytes_done: Some(snapshot.bytes_done),
        actual_bytes: Some(snapshot.actual_bytes),
        items_total: Some(snapshot.items_total),
        items_done: Some(snapshot.items_done),
        actual_items: Some(snapshot.actual_items),
        protected_data_size: Some(snapshot.bytes_total),
        ..SnapshotShape::default()
    }
}

/// How many hosts are protected, and how much they hold.
pub(crate) fn get_basic_statistics(call: &Call<'_>) -> Answer {
    let kind: SourceType = call
        .params
        .required("SourceType")?
        .parse()
        .map_err(|error: model::UnknownWord| ApiError::invalid("SourceType", error))?;
    let hosts = if kind == SourceType::EcsFile {
        protected::list(
            &call.service.catalog,
            &call.account,
            &ProtectedFilter::default(),
        )
        .map_err(failure::of_catalog)?
    } else {
        Vec::new()
    };
    let bytes = hosts
        .iter()
        .map(|host| host.data_bytes)
        .fold(0i64, i64::saturating_add);
    let count = lists::total_i32(hosts.len() as u64);
    call.reply(BasicStatisticsReply {
        source_type: Some(kind.as_str().to_owned()),
        global_statistics: Some(GlobalStatistics {
            protected_data_size: Some(bytes),
            protected_resource_count: count,
        }),
        region_statistics: Some(vec![RegionStatistics {
            region_id: Some(call.service.region.clone()),
            protected_data_size: Some(bytes),
            protected_resource_count: count,
        }]),
    })
}

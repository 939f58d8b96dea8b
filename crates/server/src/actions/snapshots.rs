//! SearchHistoricalSnapshots and DeleteSnapshot.

use api::error::{ApiError, Code};
use api::shapes::Paths;
use api::shapes::snapshots::{Snapshot as SnapshotShape, Snapshots, SnapshotsReply};
use catalog::{Snapshot, snapshots};
use model::snapshot_query::{RawSnapshotQuery, SnapshotQuery};
use model::{SnapshotId, SourceType};

use super::{Answer, Call, lists, plan_fields};
use crate::{agents, failure};

/// Searches snapshots of one or more vaults; goes on from `NextToken`.
pub(crate) fn search_historical_snapshots(call: &Call<'_>) -> Answer {
    let params = &call.params;
    plan_fields::check_edition(params)?;
    let text = |name: &str| params.text(name).map(str::to_owned);
    let raw = RawSnapshotQuery {
        source_type: text("SourceType"),
        query: text("Query"),
        limit: params.int("Limit")?,
        sort_by: text("SortBy"),
        order: text("Order"),
    };
    let query = SnapshotQuery::parse(&raw).map_err(lists::of_query)?;
    let found = snapshots::search(
        &call.service.catalog,
        &call.account,
        &query,
        params.text("NextToken"),
    )
    .map_err(failure::of_catalog)?;
    call.reply(SnapshotsReply {
        limit: lists::number_i32(query.limit),
        next_token: Some(found.next_token.unwrap_or_default()),
        total_count: lists::total_i32(found.total),
        snapshots: Some(Snapshots {
            snapshot: Some(found.rows.into_iter().map(shape).collect()),
        }),
    })
}

fn shape(snapshot: Snapshot) -> SnapshotShape {
    SnapshotShape {
        snapshot_id: Some(snapshot.snapshot_id.to_string()),
        snapshot_hash: Some(snapshot.snapshot_hash),
        parent_snapshot_hash: snapshot.parent_snapshot_hash,
        source_type: Some(snapshot.source_type.as_str().to_owned()),
        backup_type: Some(snapshot.backup_type),
        status: Some(snapshot.status.as_str().to_owned()),
        vault_id: Some(snapshot.vault_id.to_string()),
        job_id: snapshot.job_id.map(String::from),
        client_id: snapshot.client_id.map(String::from),
        instance_id: snapshot.instance_id.map(String::from),
        created_time: Some(snapshot.created_time.0),
        start_time: snapshot.start_time.map(|time| time.0),
        complete_time: Some(snapshot.complete_time.0),
        updated_time: Some(snapshot.updated_time.0),
        retention: snapshot.retention,
        expire_time: snapshot.expire_time.map(|time| time.0),
        storage_class: Some("STANDARD".to_owned()),
        error_file: snapshot.error_file,
        path: (snapshot.paths.len() == 1).then(|| snapshot.paths[0].clone()),
        paths: Some(Paths {
            path: Some(snapshot.paths),
        }),
        include: snapshot.include,
        exclude: snapshot.exclude,
        bytes_total: Some(snapshot.bytes_total),
        bytes_done: Some(snapshot.bytes_done),
        actual_bytes: Some(snapshot.actual_bytes),
        items_total: Some(snapshot.items_total),
        items_done: Some(snapshot.items_done),
        actual_items: Some(snapshot.actual_items),
        protected_data_size: Some(snapshot.bytes_total),
        bucket: snapshot.bucket,
        prefix: snapshot.prefix,
        file_system_id: snapshot.file_system_id,
        create_time: snapshot.create_time.map(|time| time.0),
        instance_name: snapshot.instance_name,
        table_name: snapshot.table_name,
        ..SnapshotShape::default()
    }
}

/// Hides the snapshot at once; an agent removes it from the vault.
pub(crate) fn delete_snapshot(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let service = call.service;
    let snapshot_id: SnapshotId = lists::id(params, "SnapshotId", Code::SnapshotNotExist)?;
    if params.has("VaultId") || params.has("SourceType") {
        let snapshot = snapshots::get(&service.catalog, &call.account, &snapshot_id)
            .map_err(failure::of_catalog)?;
        if params
            .text("VaultId")
            .is_some_and(|vault| vault != snapshot.vault_id.as_str())
        {
            return Err(ApiError::invalid(
                "VaultId",
                "the snapshot belongs to another vault",
            ));
        }
        if params
            .parsed::<SourceType>("SourceType")?
            .is_some_and(|kind| kind != snapshot.source_type)
        {
            return Err(ApiError::invalid(
                "SourceType",
                format!("the snapshot's is {}", snapshot.source_type),
            ));
        }
    }
    let client = agents::client_for_tasks(service, &call.account);
    snapshots::request_delete(
        &service.catalog,
        &call.account,
        &snapshot_id,
        client.as_ref(),
        call.now,
    )
    .map_err(failure::of_catalog)?;
    service.ring();
    call.done()
}

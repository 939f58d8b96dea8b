//! A snapshot that was found in a vault, as a row of the catalog.

use catalog::{Catalog, Snapshot as SnapshotRow, snapshots};
use model::{
    AccountId, ClientId, InstanceId, JobId, PlanId, SnapshotStatus, SourceType, Timestamp, VaultId,
};
use vault::{Id, Snapshot};
/// What a snapshot says of itself, in its tags and its summary.
pub(crate) fn row_of(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    (id, snapshot): (&Id, &Snapshot),
    now: Timestamp,
) -> SnapshotRow {
    let summary = snapshot.summary.as_ref();
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let items = summary.map_or(0, |summary| {
        let dirs = summary.dirs_new + summary.dirs_changed + summary.dirs_unmodified;
        signed(summary.total_files_processed.saturating_add(dirs))
    });
    let taken = Timestamp(snapshot.time.seconds);
    let ended = summary.map_or(taken, |summary| Timestamp(summary.backup_end.seconds));
    let excludes =
        (!snapshot.excludes.is_empty()).then(|| serde_json::json!(snapshot.excludes).to_string());
    SnapshotRow {
        snapshot_id: snapshots::new_id(catalog, now),
        account_id: account_id.clone(),
        vault_id: vault_id.clone(),
        source_type: SourceType::EcsFile,
        snapshot_hash: id.to_hex(),
        parent_snapshot_hash: snapshot.parent.map(|parent| parent.to_hex()),
        job_id: snapshot
            .tag_value("JobId")
            .and_then(|text| JobId::parse(text).ok()),
        plan_id: snapshot
            .tag_value("PlanId")
            .and_then(|text| PlanId::parse(text).ok()),
        client_id: snapshot
            .tag_value("ClientId")
            .and_then(|text| ClientId::parse(text).ok()),
        instance_id: snapshot
            .tag_value("InstanceId")
            .and_then(|text| InstanceId::parse(text).ok()),
        bucket: None,
        file_system_id: None,
        instance_name: None,
        table_name: None,
        prefix: None,
        create_time: None,
        backup_type: "COMPLETE".to_owned(),
        status: match snapshot.tag_value("Errors").map(str::parse::<u64>) {
            Some(Ok(0)) | None => SnapshotStatus::Complete,
            Some(_) => SnapshotStatus::PartialComplete,
        },
        paths: snapshot.paths.clone(),
        include: None,
        exclude: excludes,
        retention: None,
        expire_time: None,
        created_time: taken,
        start_time: Some(summary.map_or(taken, |summary| Timestamp(summary.backup_start.seconds))),
        complete_time: ended,
        updated_time: now,
        bytes_total: summary.map_or(0, |summary| signed(summary.total_bytes_processed)),
        bytes_done: summary.map_or(0, |summary| signed(summary.data_added)),
        actual_bytes: summary.map_or(0, |summary| signed(summary.data_added_packed)),
        items_total: items,
        items_done: items,
        actual_items: summary.map_or(0, |summary| {
            signed(
                summary.files_new + summary.files_changed + summary.dirs_new + summary.dirs_changed,
            )
        }),
        error_file: None,
    }
}

//! SearchHistoricalSnapshots, BrowseFiles.

use super::{Paths, shape};

shape! {
    /// SearchHistoricalSnapshots.
    SnapshotsReply { limit: i32, next_token: String, total_count: i32, snapshots: Snapshots, }
    Snapshots { snapshot: Vec<Snapshot>, }
    Snapshot {
        snapshot_id: String, snapshot_hash: String, parent_snapshot_hash: String, source_type: String,
        backup_type: String, status: String, vault_id: String, job_id: String, client_id: String,
        instance_id: String, created_time: i64, start_time: i64, complete_time: i64, updated_time: i64,
        retention: i64, expire_time: i64, archive_time: i64, storage_class: String, error_file: String,
        path: String, paths: Paths, include: String, exclude: String,
        bytes_total: i64, bytes_done: i64, actual_bytes: i64, items_total: i64, items_done: i64, actual_items: i64,
        protected_data_size: i64, source_snapshot_hash: String, source_parent_snapshot_hash: String,
        bucket: String, prefix: String, file_system_id: String, create_time: i64, use_common_nas: bool,
        instance_name: String, table_name: String, range_start: i64, range_end: i64,
    }
    /// BrowseFiles.
    NodesReply {
        max_results: i32, next_token: String, page_number: i32, page_size: i32, total_count: i32, nodes: Nodes,
    }
    Nodes { node: Vec<Node>, }
    Node {
        name: String,
        #[serde(rename = "Type")]
        kind: String,
        size: i64,
        subtree: String,
    }
}

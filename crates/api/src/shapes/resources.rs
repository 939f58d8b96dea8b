//! ListProtectedResources, ListSnapshots, GetBasicStatistics, trials.

use super::shape;

shape! {
    /// ListProtectedResources.
    ProtectedResourcesReply {
        max_results: i32, next_token: String, protected_resources: Vec<ProtectedResource>, total_count: i32,
    }
    ProtectedResource {
        backup_plan_count: i64, created_by_product: String, protected_data_size: i64,
        protected_resource_id: String, resource_id: String, resource_owner_id: i64, resource_region_id: String,
        snapshot_count: i64, source_type: String,
    }
    /// ListSnapshots.
    ListSnapshotsReply {
        max_results: i64, next_token: String, snapshots: Vec<Snapshot>, total_count: i64,
    }
    Snapshot {
        actual_bytes: i64, actual_items: i64, archive_time: i64, backup_type: String, bytes_done: i64,
        bytes_total: i64, client_id: String, complete_time: i64, create_time: i64, created_time: i64,
        error_file: String, exclude: String, expire_time: i64, include: String, instance_id: String,
        instance_name: String, items_done: i64, items_total: i64, job_id: String, path: String,
        paths: Vec<String>, plan_id: String, protected_data_size: i64, range_end: i64, range_start: i64,
        retention: i64, snapshot_hash: String, snapshot_id: String, source_type: String, status: String,
        storage_class: String, table_name: String, vault_id: String,
    }
    /// GetBasicStatistics.
    BasicStatisticsReply {
        global_statistics: GlobalStatistics, region_statistics: Vec<RegionStatistics>, source_type: String,
    }
    RegionStatistics {
        protected_data_size: i64, protected_resource_count: i32, region_id: String,
    }
    GlobalStatistics {
        protected_data_size: i64, protected_resource_count: i32,
    }
    /// GetTrialInfo.
    TrialInfoReply {
        trial_info: TrialInfo,
    }
    TrialInfo {
        keep_after_trial_expiration: bool, trial_backup_plan_quota: i64, trial_expire_time: i64,
        trial_start_time: i64, trial_vault_quota: i64, trial_vault_release_time: i64,
    }
    /// DescribeFeatureTrialInfo.
    FeatureTrialReply {
        feature_enabled: bool, in_trial_period: bool, trial_expire_time: i64,
    }
    /// DescribeRecoverableOtsInstances.
    OtsInstancesReply {
        ots_instances: Vec<OtsInstance>,
    }
    OtsInstance {
        instance_name: String, table_names: Vec<String>,
    }
    /// DescribeOtsTableSnapshots.
    OtsSnapshotsReply {
        limit: i32, next_token: String, snapshots: Vec<OtsSnapshot>,
    }
    OtsSnapshot {
        actual_bytes: String, backup_type: String, bytes_total: i64, complete_time: i64, create_time: i64,
        created_time: i64, instance_name: String, job_id: String, parent_snapshot_hash: String, range_end: i64,
        range_start: i64, retention: i64, snapshot_hash: String, snapshot_id: String, source_type: String,
        start_time: i64, status: String, table_name: String, updated_time: i64, vault_id: String,
    }
    /// DescribeUdmSnapshots.
    UdmSnapshotsReply {
        snapshots: Vec<UdmSnapshot>, total_count: i64,
    }
    UdmSnapshot {
        actual_bytes: String, advanced_retention_type: String, archive_error_message: String,
        archive_status: String, archive_trigger_time: i64, backup_type: String, bytes_total: i64,
        can_be_deleted: bool, complete_time: i64, create_time: i64, created_time: i64, detail: Detail,
        disk_id: String, expire_time: i64, instance_id: String, job_id: String, native_snapshot_id: String,
        native_snapshot_info: String, parent_snapshot_hash: String, prefix: String, real_snapshot_time: i64,
        retention: i64, snapshot_hash: String, snapshot_id: String, source_type: String, start_time: i64,
        status: String, updated_time: i64,
    }
    Detail {
        consistent_level: String, contain_os_disk: bool, disk_category: String, disk_dev_name: String,
        disk_hbr_snapshot_id_with_device_map: serde_json::Value, disk_id_list: Vec<String>,
        downgrade_reason: String, host_name: String, instance_id_with_disk_id_list_map: serde_json::Value,
        instance_name: String, instance_type: String, instant_access: bool,
        native_snapshot_id_list: Vec<String>, os_disk_id: String, os_name: String, os_name_en: String,
        os_type: String, performance_level: String, platform: String, snapshot_group_id: String,
        system_disk: bool, vm_name: String,
    }
    /// DescribeVaultReplicationRegions.
    ReplicationRegionsReply {
        regions: Regions,
    }
    Regions {
        region_id: Vec<String>,
    }
}

//! CreateVault, DescribeVaults.

use super::{Tag, TrialInfo, shape};

shape! {
    /// CreateVault.
    VaultReply { vault_id: String, task_id: String, }
    /// DescribeVaults.
    VaultsReply { page_number: i32, page_size: i32, total_count: i32, vaults: Vaults, }
    Vaults { vault: Vec<Vault>, }
    Vault {
        vault_id: String, vault_name: String, description: String, vault_region_id: String, vault_type: String,
        vault_storage_class: String, vault_owner_id: i64, vault_status_message: String, status: String,
        created_time: i64, updated_time: i64, bytes_done: i64, storage_size: i64, charged_storage_size: i64,
        archive_bytes_done: i64, archive_storage_size: i64, snapshot_count: i64, retention: i64, dedup: bool,
        compression_algorithm: String, encrypt_type: String, kms_key_id: String, worm_enabled: bool,
        index_available: bool, index_level: String, index_update_time: i64, search_enabled: bool,
        redundancy_type: String, bucket_name: String, charge_type: String, resource_group_id: String,
        source_types: SourceTypes, tags: VaultTags, backup_plan_statistics: PlanStatistics, trial_info: TrialInfo,
        replication: bool, replication_source_vault: bool, replication_source_vault_id: String,
        replication_source_region_id: String, replication_source_owner_id: i64, replication_target_vault_id: String,
        replication_target_region_id: String, replication_target_owner_id: i64, replication_status: String,
        replication_progress: ReplicationProgress, latest_replication_time: i64,
        rs_target_account_ids: TargetAccounts,
    }
    SourceTypes { source_type: Vec<String>, }
    VaultTags { tag: Vec<Tag>, }
    PlanStatistics {
        archive: i32, common_file_system: i32, common_nas: i32, cpfs: i64, csg: i32, ecs_file: i32, ecs_hana: i32,
        isilon: i32, local_file: i32, local_vm: i32, my_sql: i32, nas: i32, oracle: i32, oss: i32, ots: i32,
        sql_server: i32,
    }
    ReplicationProgress { historical_replication_progress: i32, new_replication_progress: i64, }
    TargetAccounts { rs_target_account_id: Vec<i64>, }
}

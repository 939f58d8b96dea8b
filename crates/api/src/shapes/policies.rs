//! CreatePolicyV2, DescribePoliciesV2, DescribePolicyBindings, ExecutePolicyV2 (as a job).

use super::shape;

shape! {
    /// CreatePolicyV2.
    PolicyReply {
        policy_id: String,
    }
    /// DescribePoliciesV2.
    PoliciesReply {
        max_results: i32, next_token: String, policies: Vec<Policy>, total_count: i64,
    }
    Policy {
        business_status: String, created_time: i64, policy_binding_count: i64, policy_description: String,
        policy_id: String, policy_name: String, policy_type: String, rules: Vec<Rule>, updated_time: i64,
    }
    Rule {
        archive_days: i64, backup_type: String, data_source_filters: Vec<DataSourceFilter>, immutable: bool,
        keep_latest_snapshots: i64, replication_region_id: String, retention: i64,
        retention_rules: Vec<RetentionRule>, rule_id: String, rule_type: String, schedule: String,
        tag_filters: Vec<TagFilter>, vault_id: String,
    }
    TagFilter {
        key: String, operator: String, value: String,
    }
    RetentionRule {
        advanced_retention_type: String, retention: i64, which_snapshot: i64,
    }
    DataSourceFilter {
        account_scope: String, accounts: Vec<Account>, data_source_ids: Vec<String>, source_type: String,
    }
    Account {
        cross_account_role_name: String, cross_account_type: String, cross_account_user_id: i64,
    }
    /// DescribePolicyBindings.
    PolicyBindingsReply {
        max_results: i32, next_token: String, policy_bindings: Vec<PolicyBinding>, total_count: i64,
    }
    PolicyBinding {
        advanced_options: AdvancedOptions, created_by_tag: bool, created_time: i64,
        cross_account_role_name: String, cross_account_type: String, cross_account_user_id: i64,
        data_source_id: String, disabled: bool, exclude: String, hit_tags: Vec<HitTag>, include: String,
        policy_binding_description: String, policy_binding_id: String, policy_id: String, source: String,
        source_type: String, speed_limit: String, updated_time: i64,
    }
    HitTag {
        key: String, operator: String, value: String,
    }
    AdvancedOptions {
        common_file_system_detail: CommonFileSystemDetail, common_nas_detail: CommonNasDetail,
        file_detail: FileDetail, oss_detail: OssDetail, udm_detail: UdmDetail,
    }
    UdmDetail {
        app_consistent: bool, destination_kms_key_id: String, disk_id_list: Vec<String>, enable_fs_freeze: bool,
        enable_writers: bool, exclude_disk_id_list: Vec<String>, post_script_path: String,
        pre_script_path: String, ram_role_name: String, snapshot_group: bool, timeout_in_seconds: i64,
    }
    OssDetail {
        ignore_archive_object: bool, inventory_cleanup_policy: String, inventory_id: String,
    }
    FileDetail {
        adv_policy: bool,
        #[serde(rename = "UseVSS")]
        use_vss: bool,
    }
    CommonNasDetail {
        client_id: String, cluster_id: String, fetch_slice_size: i64, full_on_increment_fail: bool,
    }
    CommonFileSystemDetail {
        fetch_slice_size: i64, full_on_increment_fail: bool,
    }
}

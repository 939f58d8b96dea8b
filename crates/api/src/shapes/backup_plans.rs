//! CreateBackupPlan, DescribeBackupPlans.

use super::{OtsDetail, Paths, TrialInfo, shape};

shape! {
    /// CreateBackupPlan.
    PlanReply { plan_id: String, }
    /// DescribeBackupPlans.
    BackupPlansReply { page_number: i32, page_size: i32, total_count: i64, backup_plans: BackupPlans, }
    BackupPlans { backup_plan: Vec<BackupPlan>, }
    BackupPlan {
        plan_id: String, plan_name: String, source_type: String, vault_id: String, backup_type: String,
        schedule: String, retention: i64, keep_latest_snapshots: i64, disabled: bool, created_time: i64,
        updated_time: i64, business_status: String, created_by_tag: bool,
        latest_execute_job_id: String, latest_finish_job_id: String,
        client_id: String, instance_id: String, paths: Paths, include: String, exclude: String, options: String,
        speed_limit: String, rules: Rules, hit_tags: HitTags, resources: Resources, trial_info: TrialInfo,
        backup_source_group_id: String, instance_group_id: String, cluster_id: String, data_source_id: String,
        bucket: String, prefix: String, file_system_id: String, create_time: i64, instance_name: String,
        ots_detail: OtsDetail, detail: String, change_list_path: String, dest_source_type: String,
        dest_data_source_id: String, dest_data_source_detail: String,
        cross_account_type: String, cross_account_user_id: i64, cross_account_role_name: String,
    }
    Rules { rule: Vec<Rule>, }
    Rule {
        rule_id: String, rule_name: String, backup_type: String, schedule: String, retention: i64, disabled: bool,
        do_copy: bool, destination_region_id: String, destination_retention: i64,
    }
    HitTags { hit_tag: Vec<HitTag>, }
    HitTag { key: String, operator: String, value: String, }
    Resources { resource: Vec<Resource>, }
    Resource { resource_id: String, source_type: String, extra: String, }
}

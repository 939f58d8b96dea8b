//! CreateRestoreJob, DescribeRestoreJobs2.

use super::{Report, shape};

shape! {
    /// CreateRestoreJob.
    RestoreReply { restore_id: String, }
    /// DescribeRestoreJobs2.
    RestoreJobsReply { page_number: i32, page_size: i32, total_count: i32, restore_jobs: RestoreJobs, }
    RestoreJobs { restore_job: Vec<RestoreJob>, }
    RestoreJob {
        restore_id: String, restore_type: String, source_type: String, status: String, error_message: String,
        error_file: String, vault_id: String, snapshot_id: String, snapshot_hash: String, parent_id: String,
        progress: i32, created_time: i64, start_time: i64, complete_time: i64, updated_time: i64, expire_time: i64,
        bytes_total: i64, bytes_done: i64, actual_bytes: i64, metering_bytes_total: i64, metering_bytes_done: i64,
        items_total: i64, items_done: i64, actual_items: i64, speed: i64, storage_class: String,
        source_instance_id: String, source_resource_id: String,
        target_client_id: String, target_instance_id: String, target_path: String, target_data_source_id: String,
        include: String, exclude: String, options: String, report: Report,
        target_bucket: String, target_prefix: String, target_file_system_id: String, target_create_time: i64,
        target_instance_name: String, target_table_name: String, target_time: i64, ots_detail: RestoreOtsDetail,
        udm_detail: String, failback_detail: String, cluster_id: String,
        cross_account_type: String, cross_account_user_id: i64, cross_account_role_name: String,
    }
    RestoreOtsDetail { batch_channel_count: i32, overwrite_existing: bool, }
}

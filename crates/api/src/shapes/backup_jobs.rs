//! DescribeBackupJobs2, ExecuteBackupPlan.

use serde_json::{Map, Value};

use super::{OtsDetail, Paths, Report, shape};

shape! {
    /// DescribeBackupJobs2.
    BackupJobsReply { page_number: i32, page_size: i32, total_count: i64, backup_jobs: BackupJobs, }
    BackupJobs { backup_job: Vec<BackupJob>, }
    /// ExecuteBackupPlan, CreateBackupJob.
    JobReply { job_id: String, }
    BackupJob {
        job_id: String, job_name: String, status: String, error_message: String, source_type: String,
        backup_type: String, vault_id: String, plan_id: String, progress: i32, created_time: i64, start_time: i64,
        complete_time: i64, updated_time: i64, actual_bytes: i64, bytes_done: i64, bytes_total: i64, speed: i64,
        trigger_mode: String, report: Report,
        client_id: String, instance_id: String, options: String, paths: Paths, include: String, exclude: String,
        speed_limit: String, items_total: i64, items_done: i64, actual_items: i64, files_total: i64, files_done: i64,
        actual_files: i64,
        file_system_id: String, create_time: i64,
        bucket: String, prefix: String,
        instance_name: String, table_name: String, ots_detail: OtsDetail,
        detail: JobDetail,
        dest_source_type: String, dest_data_source_id: String, dest_data_source_detail: String,
        change_list_path: String,
        identifier: String,
        cross_account_type: String, cross_account_user_id: i64, cross_account_role_name: String,
    }
    JobDetail {
        do_copy: bool, native_snapshot_id: String, disk_native_snapshot_id_list: DiskSnapshots,
        destination_snapshot_id: String, destination_native_snapshot_id: String,
        destination_native_snapshot_status: String, destination_native_snapshot_progress: i32,
        destination_native_snapshot_error_message: String, destination_retention: i64,
        instance_infos: Map<String, Value>,
    }
    DiskSnapshots { disk_native_snapshot_id: Vec<String>, }
}

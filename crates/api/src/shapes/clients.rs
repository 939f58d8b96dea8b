//! DescribeBackupClients.

use super::{Tag, shape};

shape! {
    /// DescribeBackupClients; the list is bare.
    ClientsReply { page_number: i32, page_size: i32, total_count: i64, clients: Vec<BackupClient>, }
    BackupClient {
        client_id: String, client_type: String, client_version: String, max_client_version: String,
        instance_id: String, instance_name: String, hostname: String, os_type: String, arch_type: String,
        private_ip_v4: String, zone_id: String, status: String, backup_status: String, appliance: bool,
        created_time: i64, updated_time: i64, last_heart_beat_time: i64, settings: ClientSettings, tags: Vec<Tag>,
    }
    ClientSettings {
        alert_on_partial_complete: bool, data_network_type: String, data_proxy_setting: String, max_cpu_core: String,
        max_memory: i64, max_worker: String, proxy_host: String, proxy_password: String, proxy_port: i32,
        proxy_user: String, use_https: String,
    }
}

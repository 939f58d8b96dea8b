//! Tasks about clients, and the clients of the older API.

use super::shape;

shape! {
    /// InstallBackupClients.
    InstanceTaskReply {
        instance_statuses: Vec<InstanceStatus>, task_id: String,
    }
    InstanceStatus {
        error_code: String, instance_id: String, valid_instance: bool,
    }
    /// DescribeClients.
    OldClientsReply {
        clients: Clients, page_number: i32, page_size: i32, total_count: i32,
    }
    Clients {
        client: Vec<Client>,
    }
    Client {
        alert_setting: String, client_id: String, client_name: String, client_type: String,
        client_version: String, cluster_id: String, created_time: i64, heart_beat_time: i64,
        instance_id: String, instance_name: String, max_version: String, network_type: String, status: String,
        status_message: String, updated_time: i64, use_https: bool, vault_id: String,
    }
}

//! Data sources, cross accounts, container clusters, temporary files, policies of RAM.

use super::shape;

shape! {
    /// AddDataSource.
    DataSourceReply {
        data_source_id: String,
    }
    /// DescribeDataSources.
    DataSourcesReply {
        data_sources: Vec<DataSource>, page_number: i32, page_size: i32, total_count: i64,
    }
    DataSource {
        cluster_id: String, connection_info: String, created_time: i64, data_source_id: String,
        data_source_name: String, data_source_type: String, exclude: String, include: String,
        index_available: bool, index_level: String, index_update_time: bool, indexing: bool, options: String,
        paths: Vec<String>, plan_id: String, schedule: String, speed_limit: String, updated_time: i64,
    }
    /// DescribeCrossAccounts.
    CrossAccountsReply {
        cross_accounts: CrossAccounts, page_number: i32, page_size: i32, total_count: i64,
    }
    CrossAccounts {
        cross_account: Vec<CrossAccount>,
    }
    CrossAccount {
        alias: String, created_time: i64, cross_account_role_name: String, cross_account_type: String,
        cross_account_user_id: i64, id: i64, owner_id: i64, updated_time: i64,
    }
    /// AddContainerCluster.
    ContainerClusterReply {
        cluster_id: String, token: String,
    }
    /// UpdateContainerCluster.
    ContainerTokenReply {
        token: String, token_updated: bool,
    }
    /// DescribeContainerCluster.
    ContainerClustersReply {
        clusters: Vec<Cluster>, page_number: i32, page_size: i32, total_count: i64,
    }
    Cluster {
        agent_status: String, cluster_id: String, cluster_type: String, description: String, identifier: String,
        name: String, network_type: String, token: String,
    }
    /// DescribeContainerResource.
    ContainerResourcesReply {
        page_number: i32, page_size: i32, resources: Vec<Resource>, total_count: i64,
    }
    Resource {
        cluster_id: String, cluster_identifier: String, resource_id: String, resource_info: String,
        resource_type: String,
    }
    /// CreateTempFileUploadUrl.
    TempFileReply {
        bucket_name: String, endpoint: String, expire_time: i64, oss_access_key_id: String, policy: String,
        signature: String, temp_file_key: String,
    }
    /// GetTempFileDownloadLink.
    LinkReply {
        url: String,
    }
    /// GenerateRamPolicy.
    RamPolicyReply {
        policy_document: String,
    }
}

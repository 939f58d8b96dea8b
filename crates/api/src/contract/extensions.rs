//! What this server takes beyond the golden file: parameters of actions that the API has, and actions that it has not.
//!
//! The golden file stays a copy of facts. What is listed here is known, not described: these parameters are texts to it.

/// Parameters that an action of the API takes here, or that clients send with it though no SDK lists them.
const MORE: [(&str, &[&str]); 4] = [
    ("CreateBackupJob", &["KeepLatestSnapshots", "Path"]),
    ("CreateRestoreJob", &["ClientToken", "TargetClientId"]),
    ("CreateVault", &["StorageUrl"]),
    ("UntagResources", &["All"]),
];

/// Actions of this server alone, and what they take. The last ones are RAM's in the cloud, which has an API of its own.
const ACTIONS: [(&str, &[&str]); 33] = [
    ("BackupCatalog", &["VaultId"]),
    ("CancelVaultTask", &["TaskId"]),
    ("CheckVault", &["ReadData", "VaultId"]),
    ("DescribeVaultHealth", &[]),
    ("ExportBackupJobs", &["PageNumber", "PageSize"]),
    ("ExportVaultKey", &["VaultId"]),
    ("HoldSnapshot", &["Reason", "SnapshotId"]),
    ("ImportBackupJobs", &["Jobs"]),
    ("ListAuditEntries", &["AccountId", "AfterSeq", "MaxResults"]),
    ("ListJobErrors", &["JobId", "PageNumber", "PageSize"]),
    ("ListJobEvents", &["JobId", "PageNumber", "PageSize"]),
    ("ListTrash", &[]),
    (
        "ListVaultTasks",
        &["PageNumber", "PageSize", "TaskId", "VaultId"],
    ),
    ("PruneVault", &["VaultId"]),
    ("RecoverSnapshot", &["SnapshotId"]),
    ("ReleaseSnapshot", &["SnapshotId"]),
    (
        "SimulateRetention",
        &[
            "At",
            "KeepLatestSnapshots",
            "PlanId",
            "PolicyId",
            "Retention",
            "RetentionRules",
            "VaultId",
        ],
    ),
    ("CreateAccount", &["AccountName"]),
    ("CreateKey", &["Kind", "UserName"]),
    (
        "CreateRole",
        &[
            "AssumeRolePolicyDocument",
            "MaxSessionDuration",
            "PolicyDocument",
            "RoleName",
        ],
    ),
    ("CreateUser", &["PolicyDocument", "UserName"]),
    ("DeleteKey", &["UserAccessKeyId"]),
    ("DeleteRole", &["RoleName"]),
    ("DeleteUser", &["UserName"]),
    ("ListAccounts", &[]),
    ("ListKeys", &["UserName"]),
    ("ListRoles", &[]),
    ("ListUsers", &[]),
    ("RotateKey", &["UserAccessKeyId"]),
    ("SetAccountStatus", &["AccountId", "Status"]),
    ("SetKeyStatus", &["Status", "UserAccessKeyId"]),
    ("SetUserPolicy", &["PolicyDocument", "UserName"]),
    ("SetUserStatus", &["Status", "UserName"]),
];

/// What an action takes beyond the golden file.
pub(super) fn of(action: &str) -> &'static [&'static str] {
    let found = MORE
        .iter()
        .chain(&ACTIONS)
        .find(|(name, _)| *name == action);
    found.map_or(&[], |(_, taken)| taken)
}

/// Whether it is an action of this server alone.
pub(super) fn has(action: &str) -> bool {
    ACTIONS.iter().any(|(name, _)| *name == action)
}

#[cfg(test)]
mod tests {
    use super::{ACTIONS, MORE};
    use crate::contract::contract;

    #[test]
    fn the_golden_file_has_none_of_them() {
        for (name, _) in ACTIONS {
            assert!(contract().action(name).is_none(), "{name}");
        }
        for (name, more) in MORE {
            let action = contract().action(name);
            let listed = |name: &str| {
                action.is_some_and(|action| action.request.iter().any(|field| field.name == name))
            };
            assert!(action.is_some(), "{name}");
            assert!(!more.iter().any(|name| listed(name)), "{name}");
        }
    }
}

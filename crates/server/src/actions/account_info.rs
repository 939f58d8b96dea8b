//! CheckRole, GenerateRamPolicy, trials, and lists of what this server has none of.

use api::error::{ApiError, Code};
use api::shapes::records::RamPolicyReply;
use api::shapes::resources::{
    FeatureTrialReply, OtsInstancesReply, OtsSnapshotsReply, Regions, ReplicationRegionsReply,
    TrialInfo, TrialInfoReply, UdmSnapshotsReply,
};
use catalog::vaults;
use model::{SourceType, VaultId};

use super::{Answer, Call, lists};
use crate::failure;

/// Roles that the cloud's service needs to reach other services; this one needs none of them.
const ROLES: &[&str] = &[
    "EcsRole",
    "CsgRole",
    "NasRole",
    "OssRole",
    "UdmRole",
    "VMwareLocalRole",
    "VMwareCloudRole",
    "EcsBackupRole",
    "OtsRole",
];
/// Days and rows that OTS and UDM lists take.
const MAX_LIMIT: i64 = 1_000;

/// The roles of one account are always there; roles of other accounts cannot be used yet.
pub(crate) fn check_role(call: &Call<'_>) -> Answer {
    match call.params.text("CheckRoleType") {
        None => Err(ApiError::missing("CheckRoleType")),
        Some(role) if ROLES.contains(&role) => call.done(),
        Some("CrossAccountRole") => Err(ApiError::new(
            Code::OperationNotSupported,
            "Roles of other accounts are not supported by this server yet.",
        )),
        Some(_) => {
            let why = format!("valid values are {}, CrossAccountRole", ROLES.join(", "));
            Err(ApiError::invalid("CheckRoleType", why))
        }
    }
}

/// A policy document that allows backup to, or restore from, one vault.
pub(crate) fn generate_ram_policy(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let action = params.required("ActionType")?;
    let vault_id: VaultId = lists::id(params, "VaultId", Code::VaultNotExist)?;
    let vault = vaults::get(&call.service.catalog, &call.account, &vault_id)
        .map_err(failure::of_catalog)?;
    let mut actions = match action {
        "BACKUP" => vec![
            "hbr:CreateBackupPlan",
            "hbr:UpdateBackupPlan",
            "hbr:ExecuteBackupPlan",
            "hbr:CreateBackupJob",
            "hbr:CancelBackupJob",
        ],
        "RESTORE" => vec![
            "hbr:CreateRestoreJob",
            "hbr:CancelRestoreJob",
            "hbr:SearchHistoricalSnapshots",
            "hbr:BrowseFiles",
        ],
        _ => {
            return Err(ApiError::invalid(
                "ActionType",
                "valid values are BACKUP, RESTORE",
            ));
        }
    };
    if params.boolean("RequireBasePolicy")? == Some(true) {
        actions.push("hbr:Describe*");
    }
    let resource = format!(
        "acs:hbr:{}:{}:vault/{}",
        vault.vault_region_id,
        call.account.as_str(),
        vault.vault_id
    );
    let document = serde_json::json!({
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": [resource, format!("{resource}/*")]}],
    });
    call.reply(RamPolicyReply {
        policy_document: Some(document.to_string()),
    })
}

/// Nothing is on trial here, and nothing ends.
pub(crate) fn get_trial_info(call: &Call<'_>) -> Answer {
    call.params.required("SourceType")?;
    call.params.parsed::<SourceType>("SourceType")?;
    call.reply(TrialInfoReply {
        trial_info: Some(TrialInfo {
            keep_after_trial_expiration: Some(true),
            ..TrialInfo::default()
        }),
    })
}

/// As [`get_trial_info`], of one feature.
pub(crate) fn describe_feature_trial_info(call: &Call<'_>) -> Answer {
    call.params.required("FeatureType")?;
    call.reply(FeatureTrialReply {
        feature_enabled: Some(false),
        in_trial_period: Some(false),
        trial_expire_time: None,
    })
}

/// A server is one region: there is none to replicate to.
pub(crate) fn describe_vault_replication_regions(call: &Call<'_>) -> Answer {
    call.reply(ReplicationRegionsReply {
        regions: Some(Regions {
            region_id: Some(Vec::new()),
        }),
    })
}

/// There are no instances of Tablestore.
pub(crate) fn describe_recoverable_ots_instances(call: &Call<'_>) -> Answer {
    super::plan_fields::check_cross_account(&call.params)?;
    call.reply(OtsInstancesReply {
        ots_instances: Some(Vec::new()),
    })
}

/// There are no snapshots of tables.
pub(crate) fn describe_ots_table_snapshots(call: &Call<'_>) -> Answer {
    let params = &call.params;
    super::plan_fields::check_cross_account(params)?;
    params.objects("OtsInstances")?;
    params.list("SnapshotIds")?;
    let limit = params.int_in("Limit", 0..=MAX_LIMIT)?.unwrap_or(10);
    call.reply(OtsSnapshotsReply {
        limit: i32::try_from(limit).ok(),
        next_token: Some(String::new()),
        snapshots: Some(Vec::new()),
    })
}

/// There are no snapshots of instances and disks.
pub(crate) fn describe_udm_snapshots(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let word = params.required("SourceType")?;
    if !matches!(word, "UDM_ECS" | "UDM_ECS_DISK" | "UDM_DISK") {
        let why = "valid values are UDM_ECS, UDM_ECS_DISK, UDM_DISK";
        return Err(ApiError::invalid("SourceType", why));
    }
    for name in ["StartTime", "EndTime"] {
        params.int(name)?.ok_or_else(|| ApiError::missing(name))?;
    }
    params.required("UdmRegionId")?;
    call.reply(UdmSnapshotsReply {
        snapshots: Some(Vec::new()),
        total_count: Some(0),
    })
}

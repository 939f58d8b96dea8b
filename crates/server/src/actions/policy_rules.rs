//! Rules of policies, read and checked: what this server cannot do is refused here, before anything is stored.

use api::error::{ApiError, Code};
use api::params::Params;
use catalog::policies::{AdvancedRetention, DataSourceFilter, PolicyRule, TagFilter};
use model::Schedule;
use model::retention::{MAX_RETENTION_DAYS, Period};

use super::plan_fields::check_protectable;

/// More rules than a policy sensibly has.
const MAX_RULES: usize = 20;
/// More filters than a rule sensibly has.
const MAX_FILTERS: usize = 100;
const RULE_TYPES: &str = "BACKUP, TRANSITION, REPLICATION, TAG, SECURITY";

/// The rules of CreatePolicyV2 and UpdatePolicyV2; `None` when there are none.
pub(crate) fn read_rules(params: &Params) -> Result<Option<Vec<PolicyRule>>, ApiError> {
    let members = params.objects("Rules")?;
    if members.is_empty() {
        return Ok(None);
    }
    if members.len() > MAX_RULES {
        let why = format!("a policy has at most {MAX_RULES} rules");
        return Err(ApiError::invalid("Rules", why));
    }
    let rules = members
        .iter()
        .map(read_rule)
        .collect::<Result<Vec<_>, _>>()?;
    let count = |kind: &str| rules.iter().filter(|rule| rule.rule_type == kind).count();
    if count("BACKUP") == 0 {
        return Err(ApiError::invalid(
            "Rules",
            "a policy has at least one BACKUP rule",
        ));
    }
    if count("TRANSITION") > 1 {
        return Err(ApiError::invalid(
            "Rules",
            "a policy has at most one TRANSITION rule",
        ));
    }
    Ok(Some(rules))
}

fn read_rule(params: &Params) -> Result<PolicyRule, ApiError> {
    let rule_type = params.required("RuleType")?;
    match rule_type {
        "BACKUP" | "TRANSITION" | "TAG" | "SECURITY" => {}
        "REPLICATION" => {
            return Err(not_supported(
                "REPLICATION rules are not supported by this server yet; nothing was stored.",
            ));
        }
        _ => {
            let why = format!("valid values are {RULE_TYPES}");
            return Err(ApiError::invalid(&params.full_name("RuleType"), why));
        }
    }
    let text = |name: &str| params.text(name).map(str::to_owned);
    let rule = PolicyRule {
        rule_id: text("RuleId").unwrap_or_default(),
        rule_type: rule_type.to_owned(),
        schedule: text("Schedule"),
        backup_type: text("BackupType"),
        vault_id: text("VaultId"),
        // Terraform sends 0 for what nobody set; it is kept so, and means what -1 means: for ever.
        retention: params.int_in("Retention", -1..=MAX_RETENTION_DAYS)?,
        keep_latest_snapshots: params.int_in("KeepLatestSnapshots", 0..=1)?,
        archive_days: params.int_in("ArchiveDays", 0..=MAX_RETENTION_DAYS)?,
        retention_rules: some(retention_rules(params)?),
        immutable: params.boolean("Immutable")?,
        tag_filters: some(tag_filters(params)?),
        data_source_filters: some(data_source_filters(params)?),
    };
    check_common(params, &rule)?;
    match rule_type {
        "BACKUP" => check_backup(params, &rule)?,
        "TAG" if rule.tag_filters.is_none() => {
            return Err(ApiError::missing(&params.full_name("TagFilters")));
        }
        _ => {}
    }
    Ok(rule)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn not_supported(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::OperationNotSupported, message)
}

fn check_common(params: &Params, rule: &PolicyRule) -> Result<(), ApiError> {
    if rule.archive_days.is_some_and(|days| days > 0) {
        return Err(not_supported(
            "ArchiveDays is not supported by this server: vaults have one storage class; send 0 or leave it out.",
        ));
    }
    if params.has("ReplicationRegionId") {
        return Err(not_supported(
            "ReplicationRegionId is not supported by this server yet.",
        ));
    }
    if params.int("ColdArchiveDays")?.is_some_and(|days| days != 0) {
        return Err(not_supported(
            "ColdArchiveDays is not supported by this server.",
        ));
    }
    Ok(())
}

fn check_backup(params: &Params, rule: &PolicyRule) -> Result<(), ApiError> {
    let schedule = params.required("Schedule")?;
    Schedule::parse(schedule)
        .map_err(|why| ApiError::invalid(&params.full_name("Schedule"), why))?;
    match rule.backup_type.as_deref() {
        // Every backup stores what is new only, whatever it is called.
        None | Some("COMPLETE" | "INCREMENTAL") => Ok(()),
        Some(_) => Err(ApiError::invalid(
            &params.full_name("BackupType"),
            "valid values are COMPLETE, INCREMENTAL",
        )),
    }
}

fn bounded(params: &Params, name: &str) -> Result<Vec<Params>, ApiError> {
    let members = params.objects(name)?;
    if members.len() > MAX_FILTERS {
        let why = format!("it may have at most {MAX_FILTERS} members");
        return Err(ApiError::invalid(&params.full_name(name), why));
    }
    Ok(members)
}

/// `RetentionRules` of a rule.
pub(crate) fn retention_rules(params: &Params) -> Result<Vec<AdvancedRetention>, ApiError> {
    bounded(params, "RetentionRules")?
        .iter()
        .map(|member| {
            let period: Period = member.required("AdvancedRetentionType")?.parse().map_err(
                |why: model::UnknownWord| {
                    ApiError::invalid(&member.full_name("AdvancedRetentionType"), why)
                },
            )?;
            Ok(AdvancedRetention {
                advanced_retention_type: period.as_str().to_owned(),
                retention: member
                    .int_in("Retention", 1..=MAX_RETENTION_DAYS)?
                    .ok_or_else(|| ApiError::missing(&member.full_name("Retention")))?,
                which_snapshot: member.int_in("WhichSnapshot", 1..=366)?.unwrap_or(1),
            })
        })
        .collect()
}

fn tag_filters(params: &Params) -> Result<Vec<TagFilter>, ApiError> {
    bounded(params, "TagFilters")?
        .iter()
        .map(|member| {
            let operator = member.text("Operator").unwrap_or("EQUAL");
            if !matches!(operator, "EQUAL" | "NOT") {
                let why = "valid values are EQUAL, NOT";
                return Err(ApiError::invalid(&member.full_name("Operator"), why));
            }
            Ok(TagFilter {
                key: member.required("Key")?.to_owned(),
                operator: operator.to_owned(),
                value: member.given("Value").unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

fn data_source_filters(params: &Params) -> Result<Vec<DataSourceFilter>, ApiError> {
    bounded(params, "DataSourceFilters")?
        .iter()
        .map(|member| {
            let source_type = check_protectable(member, "SourceType")?;
            if member.has("Accounts")
                || member
                    .text("AccountScope")
                    .is_some_and(|scope| scope != "SELF_ACCOUNT")
            {
                return Err(not_supported(
                    "Data sources of other accounts are not supported by this server yet.",
                ));
            }
            Ok(DataSourceFilter {
                source_type: source_type.as_str().to_owned(),
                data_source_ids: some(member.list("DataSourceIds")?),
            })
        })
        .collect()
}

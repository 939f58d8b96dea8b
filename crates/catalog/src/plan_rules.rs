//! Owned plans: one for each rule of a policy binding, or of a plan that has several.
//!
//! The scheduler knows plans only. What has several schedules owns a plan for each; those are not shown, and are brought
//! in line in the transaction that changes their owner. An owned plan that goes leaves its jobs and snapshots as they are.

use std::collections::BTreeMap;

use model::{AccountId, PlanId, Schedule, SourceType, Timestamp};
use serde::{Deserialize, Serialize};

use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::{Plan, PlanSpec};
use crate::row::{RowReader, seconds};
use crate::sql::params;
use crate::{plans, vaults};

/// One of the `Rule[]` of CreateBackupPlan, as it came in with its id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PlanRule {
    pub rule_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// An owned plan as it should be.
pub(crate) struct Wanted {
    pub(crate) rule_id: String,
    pub(crate) spec: PlanSpec,
    pub(crate) is_disabled: bool,
    pub(crate) retention_rule: Option<String>,
}

/// The rules of a plan.
#[must_use]
pub fn of_plan(plan: &Plan) -> Vec<PlanRule> {
    plan.spec
        .rules
        .clone()
        .and_then(|rules| serde_json::from_value(rules).ok())
        .unwrap_or_default()
}

/// Brings the owned plans of a plan in line with its rules.
pub(crate) fn sync_plan(
    catalog: &Catalog,
    tx: &Tx<'_>,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let wanted = of_plan(plan)
        .into_iter()
        .map(|rule| Wanted {
            spec: PlanSpec {
                plan_name: owned_name("rule", plan.plan_id.as_str(), &rule.rule_id),
                schedule: rule.schedule,
                retention: rule.retention.or(plan.spec.retention),
                rules: None,
                ..plan.spec.clone()
            },
            is_disabled: plan.disabled || rule.disabled == Some(true),
            retention_rule: None,
            rule_id: rule.rule_id,
        })
        .collect();
    sync(
        catalog,
        tx,
        (&plan.account_id, plan.plan_id.as_str()),
        wanted,
        now,
    )
}

/// No plan of a caller has such a name: the ids are not known before.
pub(crate) fn owned_name(kind: &str, owner_id: &str, rule_id: &str) -> String {
    format!("{kind}/{owner_id}/{rule_id}")
}

/// Creates, changes and removes owned plans until they are as wanted. A schedule that did not change goes on to count.
pub(crate) fn sync(
    catalog: &Catalog,
    tx: &Tx<'_>,
    (account_id, owner_id): (&AccountId, &str),
    wanted: Vec<Wanted>,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "bring owned plans in line";
    let sql = "SELECT * FROM plans WHERE owner_id = ?";
    let mut present: BTreeMap<String, Plan> = all(tx, operation, sql, [owner_id], plans::read)?
        .into_iter()
        .filter_map(|plan| Some((plan.rule_id.clone()?, plan)))
        .collect();
    for rule in wanted {
        let known = present.remove(&rule.rule_id);
        let next_run = match &known {
            _ if rule.is_disabled => None,
            Some(plan) if !plan.disabled && plan.spec.schedule == rule.spec.schedule => {
                plan.next_run_time
            }
            _ => {
                let schedule = rule
                    .spec
                    .schedule
                    .as_deref()
                    .map(Schedule::parse)
                    .transpose()?;
                plans::first_run(&rule.spec, schedule.as_ref(), now, catalog.zone())
            }
        };
        let plan_id = match known {
            Some(plan) => plan.plan_id,
            None => insert(catalog, tx, (account_id, owner_id), &rule.rule_id, now)?,
        };
        plans::write_spec(tx, operation, &plan_id, &rule.spec)?;
        let sql = "UPDATE plans SET disabled = ?, next_run_time = ?, retention_rule = ?, updated_time = ? \
                   WHERE plan_id = ?";
        let values = params![
            i64::from(rule.is_disabled),
            seconds(next_run),
            rule.retention_rule,
            now.0,
            plan_id.as_str()
        ];
        change(tx, operation, sql, values)?;
    }
    for plan in present.values() {
        change(
            tx,
            operation,
            "DELETE FROM plans WHERE plan_id = ?",
            [plan.plan_id.as_str()],
        )?;
    }
    Ok(())
}

fn insert(
    catalog: &Catalog,
    tx: &Tx<'_>,
    (account_id, owner_id): (&AccountId, &str),
    rule_id: &str,
    now: Timestamp,
) -> Result<PlanId, CatalogError> {
    let (micros, entropy) = catalog.new_id(now);
    let plan_id = PlanId::new(micros, entropy);
    let sql = "INSERT INTO plans (plan_id, account_id, owner_id, rule_id, plan_name, source_type, disabled, \
               created_time, updated_time, region_id, backup_type, edition, paths, source_fields) \
               VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, '', '', '', '[]', '{}')";
    let values = params![
        plan_id.as_str(),
        account_id.as_str(),
        owner_id,
        rule_id,
        // The name is written with the rest; until then it must be no other's.
        plan_id.as_str(),
        SourceType::EcsFile.as_str(),
        now.0,
        now.0
    ];
    change(tx, "create an owned plan", sql, values)?;
    Ok(plan_id)
}

/// The owned plan of jobs that were asked for without a plan, one for each specification: made when it is not there.
pub fn adhoc(
    catalog: &Catalog,
    account_id: &AccountId,
    spec: PlanSpec,
    now: Timestamp,
) -> Result<PlanId, CatalogError> {
    let operation = "create an owned plan";
    let key = format!(
        "{}/{}/{:016x}",
        account_id,
        spec.plan_name,
        fingerprint(&spec)
    );
    catalog.write(operation, |tx| {
        if let Some(vault_id) = &spec.vault_id {
            vaults::require(tx, account_id, vault_id)?;
        }
        let sql = "SELECT * FROM plans WHERE owner_id = ?";
        let known = all(tx, operation, sql, [&key], plans::read)?
            .into_iter()
            .next();
        let plan_id = match known {
            Some(plan) => plan.plan_id,
            None => insert(catalog, tx, (account_id, &key), "", now)?,
        };
        // The name is that of its jobs; what makes the row unique is the vault, the kind and the name.
        let unique = PlanSpec {
            plan_name: plan_id.to_string(),
            ..spec.clone()
        };
        plans::write_spec(tx, operation, &plan_id, &unique)?;
        Ok(plan_id)
    })
}

/// Equal for equal specifications.
fn fingerprint(spec: &PlanSpec) -> u64 {
    let text = format!("{spec:?}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The owned plan that runs a rule: what [`crate::jobs::create`] takes. `NotFound` (a rule) when the owner is another
/// account's or has no such rule.
pub fn plan_of_rule(
    catalog: &Catalog,
    account_id: &AccountId,
    owner_id: &str,
    rule_id: &str,
) -> Result<PlanId, CatalogError> {
    let operation = "find a rule";
    let sql = "SELECT plan_id FROM plans WHERE owner_id = ? AND rule_id = ? AND account_id = ?";
    let ids = [owner_id, rule_id, account_id.as_str()];
    catalog
        .read(operation, |tx| {
            first(tx, operation, sql, ids, |row| row.parsed("plan_id"))
        })?
        .ok_or_else(|| CatalogError::not_found(Entity::PolicyRule, rule_id))
}

/// Ids of the owned plans of one owner.
pub fn plans_of(
    catalog: &Catalog,
    account_id: &AccountId,
    owner_id: &str,
) -> Result<Vec<String>, CatalogError> {
    let operation = "list owned plans";
    let sql = "SELECT plan_id FROM plans WHERE owner_id = ? AND account_id = ? ORDER BY plan_id";
    let ids = [owner_id, account_id.as_str()];
    catalog.read(operation, |tx| {
        all(tx, operation, sql, ids, |row| row.get("plan_id"))
    })
}

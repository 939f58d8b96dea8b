//! Policies: rules that say when what is bound to them is backed up, into which vault, and how long that is kept.
//!
//! A policy does nothing by itself. Each pair of a binding and a BACKUP rule is an owned plan ([`crate::plan_rules`]), made
//! and changed in the transaction that changes the policy or the binding.

use model::ids::POLICY_PREFIX;
use model::retention::{AdvancedRule, RetentionRule};
use model::{AccountId, Timestamp, VaultId};
use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::policy_bindings;
use crate::row::{RowReader, json};
use crate::sql::{Row, Value, params};
use crate::{tags, vaults};

/// Most policies of an account.
pub const MAX_POLICIES: u64 = 1_000;

/// One rule, as it came in with its id. Which members count depends on the type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PolicyRule {
    pub rule_id: String,
    /// `BACKUP`, `TRANSITION`, `TAG` or `SECURITY`.
    pub rule_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_latest_snapshots: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_days: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_rules: Option<Vec<AdvancedRetention>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_filters: Option<Vec<TagFilter>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source_filters: Option<Vec<DataSourceFilter>>,
}

/// One of `RetentionRules`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct AdvancedRetention {
    pub advanced_retention_type: String,
    pub retention: i64,
    pub which_snapshot: i64,
}

/// One of `TagFilters`; all must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct TagFilter {
    pub key: String,
    /// `EQUAL` or `NOT`.
    pub operator: String,
    /// Empty stands for any value.
    pub value: String,
}

/// One of `DataSourceFilters`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct DataSourceFilter {
    pub source_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source_ids: Option<Vec<String>>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its id, `po-…`.
    pub policy_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// Its name.
    pub policy_name: String,
    /// Its description, maybe empty.
    pub policy_description: String,
    /// `STANDARD` or `UDM_ECS_ONLY`.
    pub policy_type: String,
    /// Its rules, as they came in.
    pub rules: Vec<PolicyRule>,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// How many data sources are bound to it.
    pub binding_count: u64,
}

/// What CreatePolicyV2 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct NewPolicy {
    /// Without one it is called as its id.
    pub policy_name: Option<String>,
    pub policy_description: String,
    pub policy_type: String,
    /// Rules without an id get one.
    pub rules: Vec<PolicyRule>,
}

/// What UpdatePolicyV2 may change; an absent member stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PolicyChange {
    pub policy_name: Option<String>,
    pub policy_description: Option<String>,
    /// Replaces all rules; a rule that names the id of a present one goes on as that one.
    pub rules: Option<Vec<PolicyRule>>,
}

/// A page of a list that goes on from a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPage<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: u64,
    /// Where to go on; absent on the last page.
    pub next_token: Option<String>,
}

impl Policy {
    /// What the snapshots of a BACKUP rule are promised: the days of the TRANSITION rule, if there is one, win.
    #[must_use]
    pub fn promise(&self, backup: &PolicyRule) -> RetentionRule {
        let transition = self
            .rules
            .iter()
            .find(|rule| rule.rule_type == "TRANSITION");
        let days = transition
            .and_then(|rule| rule.retention)
            .filter(|days| *days != 0)
            .or(backup.retention)
            .filter(|days| *days > 0);
        let advanced = transition
            .into_iter()
            .chain([backup])
            .flat_map(|rule| rule.retention_rules.iter().flatten())
            .map(|rule| AdvancedRule {
                period: rule.advanced_retention_type.clone(),
                which: rule.which_snapshot,
                days: rule.retention,
            })
            .collect();
        let keeps = |rule: &PolicyRule| rule.keep_latest_snapshots == Some(1);
        RetentionRule {
            days,
            keep_latest: keeps(backup) || transition.is_some_and(keeps),
            advanced,
        }
    }

    /// Its BACKUP rules.
    pub fn backups(&self) -> impl Iterator<Item = &PolicyRule> {
        self.rules.iter().filter(|rule| rule.rule_type == "BACKUP")
    }
}

fn read(row: &Row<'_>) -> crate::sql::Result<Policy> {
    Ok(Policy {
        policy_id: row.get("policy_id")?,
        account_id: row.parsed("account_id")?,
        policy_name: row.get("policy_name")?,
        policy_description: row.get("policy_description")?,
        policy_type: row.get("policy_type")?,
        rules: row.json("rules")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
        binding_count: 0,
    })
}

pub(crate) fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    policy_id: &str,
) -> Result<Policy, CatalogError> {
    let sql = "SELECT * FROM policies WHERE account_id = ? AND policy_id = ?";
    first(
        tx,
        "read a policy",
        sql,
        [account_id.as_str(), policy_id],
        read,
    )?
    .ok_or_else(|| CatalogError::not_found(Entity::Policy, policy_id))
}

/// Every vault that a rule names must be there; rules without an id get one.
fn check_rules(
    catalog: &Catalog,
    tx: &Tx<'_>,
    account_id: &AccountId,
    rules: &mut [PolicyRule],
    now: Timestamp,
) -> Result<(), CatalogError> {
    for rule in rules {
        if let Some(vault) = &rule.vault_id {
            let vault_id =
                VaultId::parse(vault).map_err(|_| CatalogError::not_found(Entity::Vault, vault))?;
            vaults::require(tx, account_id, &vault_id)?;
        }
        if rule.rule_id.is_empty() {
            let (micros, entropy) = catalog.new_id(now);
            rule.rule_id = model::ids::new_id("rule-", micros, entropy);
        }
    }
    Ok(())
}

/// A rule that names no id of this policy goes on as the one of its type at its place, if that is not named: Terraform
/// sends no ids.
fn keep_ids(present: &[PolicyRule], rules: &mut [PolicyRule]) {
    for rule in rules.iter_mut() {
        if !present.iter().any(|known| known.rule_id == rule.rule_id) {
            rule.rule_id.clear();
        }
    }
    let named: Vec<String> = rules.iter().map(|rule| rule.rule_id.clone()).collect();
    for (rule, known) in rules.iter_mut().zip(present) {
        let is_free = !named.contains(&known.rule_id);
        if rule.rule_id.is_empty() && rule.rule_type == known.rule_type && is_free {
            rule.rule_id.clone_from(&known.rule_id);
        }
    }
}

/// Creates a policy. Policies may share a name.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    mut new: NewPolicy,
    now: Timestamp,
) -> Result<Policy, CatalogError> {
    let operation = "create a policy";
    catalog.write(operation, |tx| {
        let mine = Conditions::equal("account_id", account_id.as_str());
        if mine.count(tx, operation, "policies")? >= MAX_POLICIES {
            return Err(CatalogError::TooMany { what: "policies", max: MAX_POLICIES });
        }
        check_rules(catalog, tx, account_id, &mut new.rules, now)?;
        let (micros, entropy) = catalog.new_id(now);
        let policy_id = model::ids::new_id(POLICY_PREFIX, micros, entropy);
        let sql = "INSERT INTO policies (policy_id, account_id, policy_name, policy_description, policy_type, rules, \
                   created_time, updated_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            policy_id,
            account_id.as_str(),
            new.policy_name.as_ref().unwrap_or(&policy_id),
            new.policy_description,
            new.policy_type,
            json(&new.rules),
            now.0,
            now.0
        ];
        change(tx, operation, sql, values)?;
        require(tx, account_id, &policy_id)
    })
}

/// The policy. `NotFound` when it is another account's.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: &str,
) -> Result<Policy, CatalogError> {
    catalog.read("read a policy", |tx| require(tx, account_id, policy_id))
}

/// Changes a policy, and what runs for its bindings.
pub fn update(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: &str,
    changes: PolicyChange,
    now: Timestamp,
) -> Result<Policy, CatalogError> {
    let operation = "change a policy";
    catalog.write(operation, |tx| {
        let mut policy = require(tx, account_id, policy_id)?;
        if let Some(mut rules) = changes.rules {
            keep_ids(&policy.rules, &mut rules);
            check_rules(catalog, tx, account_id, &mut rules, now)?;
            policy.rules = rules;
        }
        let sql = "UPDATE policies SET policy_name = COALESCE(?, policy_name), \
                   policy_description = COALESCE(?, policy_description), rules = ?, updated_time = ? \
                   WHERE policy_id = ?";
        let values = params![
            changes.policy_name,
            changes.policy_description,
            json(&policy.rules),
            now.0,
            policy_id
        ];
        change(tx, operation, sql, values)?;
        let policy = require(tx, account_id, policy_id)?;
        policy_bindings::sync_all(catalog, tx, &policy, now)?;
        Ok(policy)
    })
}

/// Deletes a policy with its bindings; jobs and snapshots stay.
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: &str,
) -> Result<(), CatalogError> {
    let operation = "delete a policy";
    catalog.write(operation, |tx| {
        require(tx, account_id, policy_id)?;
        let owned = "DELETE FROM plans WHERE owner_id IN \
                     (SELECT binding_id FROM policy_bindings WHERE policy_id = ?)";
        for sql in [
            owned,
            "DELETE FROM policy_bindings WHERE policy_id = ?",
            "DELETE FROM policies WHERE policy_id = ?",
        ] {
            change(tx, operation, sql, [policy_id])?;
        }
        tags::forget(tx, account_id, "policy", policy_id)
    })
}

/// The policies of an account, the oldest first, from a token on.
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: Option<&str>,
    (max_results, next_token): (u32, Option<&str>),
) -> Result<TokenPage<Policy>, CatalogError> {
    let operation = "list policies";
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and_equal("policy_id", policy_id);
    catalog.read(operation, |tx| {
        let request = (max_results, next_token, read as fn(&Row<'_>) -> _);
        let mut page = token_page(
            tx,
            operation,
            ("policies", "policy_id"),
            &conditions,
            request,
            |policy: &Policy| (policy.created_time, policy.policy_id.clone()),
        )?;
        for policy in &mut page.rows {
            let bound = Conditions::equal("policy_id", &policy.policy_id);
            policy.binding_count = bound.count(tx, operation, "policy_bindings")?;
        }
        Ok(page)
    })
}

/// A policy that stores into the vault, if there is one.
pub(crate) fn bound_to_vault(
    tx: &Tx<'_>,
    account_id: &AccountId,
    vault_id: &VaultId,
) -> Result<Option<String>, CatalogError> {
    let sql = "SELECT * FROM policies WHERE account_id = ? ORDER BY created_time, policy_id";
    let policies = all(tx, "read policies", sql, [account_id.as_str()], read)?;
    Ok(policies
        .into_iter()
        .find(|policy| {
            policy
                .rules
                .iter()
                .any(|rule| rule.vault_id.as_deref() == Some(vault_id.as_str()))
        })
        .map(|policy| policy.policy_id))
}

/// The account's policies that have a TAG rule.
pub(crate) fn with_tag_rules(
    tx: &Tx<'_>,
    account_id: &AccountId,
) -> Result<Vec<Policy>, CatalogError> {
    let sql = "SELECT * FROM policies WHERE account_id = ? ORDER BY created_time, policy_id";
    let policies = all(tx, "read policies", sql, [account_id.as_str()], read)?;
    Ok(policies
        .into_iter()
        .filter(|policy| policy.rules.iter().any(|rule| rule.rule_type == "TAG"))
        .collect())
}

/// Rows of a page, the token to go on from, and how a row is read.
pub(crate) type TokenRequest<'a, T> = (u32, Option<&'a str>, fn(&Row<'_>) -> crate::sql::Result<T>);

/// Rows in the order of creation behind those that the token names (`time.id` of the last one that was given out), so
/// that rows that come and go between two pages neither repeat nor hide others.
pub(crate) fn token_page<T>(
    tx: &Tx<'_>,
    operation: &'static str,
    (table, id_column): (&str, &str),
    conditions: &Conditions,
    (max_results, next_token, read): TokenRequest<'_, T>,
    key: impl Fn(&T) -> (Timestamp, String),
) -> Result<TokenPage<T>, CatalogError> {
    let total = conditions.count(tx, operation, table)?;
    let mut rest = conditions.clone();
    if let Some(token) = next_token.filter(|token| !token.is_empty()) {
        let (time, id) = token.split_once('.').ok_or(CatalogError::BadNextToken)?;
        let time = time.parse().map_err(|_| CatalogError::BadNextToken)?;
        rest.and(
            &format!("(created_time, {id_column}) > (?, ?)"),
            [Value::Integer(time), Value::Text(id.to_owned())],
        );
    }
    let order = format!("created_time, {id_column}");
    let mut rows = rest.rows(
        tx,
        operation,
        (table, &order),
        (i64::from(max_results) + 1, 0),
        read,
    )?;
    let has_more = rows.len() > max_results as usize;
    rows.truncate(max_results as usize);
    let next_token = rows.last().filter(|_| has_more).map(|last| {
        let (time, id) = key(last);
        format!("{time}.{id}")
    });
    Ok(TokenPage {
        rows,
        total,
        next_token,
    })
}

//! Policy bindings: which data sources a policy protects, and with which of their own settings.

use model::{AccountId, ClientId, InstanceId, SourceType, Timestamp, VaultId};
use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::plan_rules::{self, Wanted, owned_name};
use crate::policies::{self, Policy, PolicyRule, TokenPage, token_page};
use crate::records::PlanSpec;
use crate::row::{RowReader, json};
use crate::sql::{Row, params};

/// What CreatePolicyBindings asks for, as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct BindingSpec {
    pub region_id: String,
    /// JSON array of paths; absent means everything.
    pub source: Option<String>,
    pub include: Option<String>,
    pub exclude: Option<String>,
    pub speed_limit: Option<String>,
    pub description: Option<String>,
    /// `Options` of the plans that run it.
    pub options: Option<String>,
    pub advanced_options: Option<serde_json::Value>,
    pub cross_account_type: Option<String>,
    pub cross_account_user_id: Option<i64>,
    pub cross_account_role_name: Option<String>,
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its id, `pd-…`.
    pub binding_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// The policy.
    pub policy_id: String,
    /// What kind of source.
    pub source_type: SourceType,
    /// For ECS_FILE an instance id.
    pub data_source_id: String,
    /// Its settings.
    pub spec: BindingSpec,
    /// It rests.
    pub disabled: bool,
    /// A TAG rule made it.
    pub created_by_tag: bool,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
}

/// A data source to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct NewBinding {
    pub source_type: SourceType,
    pub data_source_id: String,
    pub spec: BindingSpec,
    pub disabled: bool,
}

/// What DescribePolicyBindings may ask for; an absent member does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct BindingFilter {
    pub policy_ids: Option<Vec<String>>,
    pub source_types: Option<Vec<String>>,
    pub data_source_ids: Option<Vec<String>>,
}

fn read(row: &Row<'_>) -> crate::sql::Result<Binding> {
    Ok(Binding {
        binding_id: row.get("binding_id")?,
        account_id: row.parsed("account_id")?,
        policy_id: row.get("policy_id")?,
        source_type: row.parsed("source_type")?,
        data_source_id: row.get("data_source_id")?,
        spec: row.json("spec")?,
        disabled: row.flag("disabled")?,
        created_by_tag: row.flag("created_by_tag")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
    })
}

/// Binds data sources to a policy, all or none. `AlreadyBound` when one is bound to a policy of the account.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: &str,
    bindings: &[NewBinding],
    now: Timestamp,
) -> Result<(), CatalogError> {
    catalog.write("bind to a policy", |tx| {
        let policy = policies::require(tx, account_id, policy_id)?;
        for new in bindings {
            let sql = "SELECT policy_id FROM policy_bindings WHERE account_id = ? AND source_type = ? AND data_source_id = ?";
            let ids = [account_id.as_str(), new.source_type.as_str(), &new.data_source_id];
            if let Some(other) = first(tx, "find a binding", sql, ids, |row| row.get("policy_id"))? {
                return Err(CatalogError::AlreadyBound {
                    data_source_id: new.data_source_id.clone(),
                    policy_id: other,
                });
            }
            insert(catalog, tx, &policy, new, false, now)?;
        }
        Ok(())
    })
}

fn insert(
    catalog: &Catalog,
    tx: &Tx<'_>,
    policy: &Policy,
    new: &NewBinding,
    is_by_tag: bool,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "bind to a policy";
    let (micros, entropy) = catalog.new_id(now);
    let binding = Binding {
        binding_id: model::ids::new_id("pd-", micros, entropy),
        account_id: policy.account_id.clone(),
        policy_id: policy.policy_id.clone(),
        source_type: new.source_type,
        data_source_id: new.data_source_id.clone(),
        spec: new.spec.clone(),
        disabled: new.disabled,
        created_by_tag: is_by_tag,
        created_time: now,
        updated_time: now,
    };
    let sql = "INSERT INTO policy_bindings (binding_id, account_id, policy_id, source_type, data_source_id, spec, \
               disabled, created_by_tag, created_time, updated_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        binding.binding_id,
        binding.account_id.as_str(),
        binding.policy_id,
        binding.source_type.as_str(),
        binding.data_source_id,
        json(&binding.spec),
        i64::from(binding.disabled),
        i64::from(is_by_tag),
        now.0,
        now.0
    ];
    change(tx, operation, sql, values)?;
    sync(catalog, tx, policy, &binding, now)
}

/// Brings what runs for all bindings of a policy in line with it.
pub(crate) fn sync_all(
    catalog: &Catalog,
    tx: &Tx<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "SELECT * FROM policy_bindings WHERE policy_id = ? ORDER BY created_time, binding_id";
    for binding in all(tx, "read bindings", sql, [&policy.policy_id], read)? {
        sync(catalog, tx, policy, &binding, now)?;
    }
    Ok(())
}

fn sync(
    catalog: &Catalog,
    tx: &Tx<'_>,
    policy: &Policy,
    binding: &Binding,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let client_id = client_of(tx, binding)?;
    let wanted = policy
        .backups()
        .filter_map(|rule| wanted(policy, binding, client_id.as_ref(), rule))
        .collect();
    plan_rules::sync(
        catalog,
        tx,
        (&binding.account_id, &binding.binding_id),
        wanted,
        now,
    )
}

fn client_of(tx: &Tx<'_>, binding: &Binding) -> Result<Option<ClientId>, CatalogError> {
    let sql = "SELECT client_id FROM clients WHERE account_id = ? AND instance_id = ?";
    let ids = [binding.account_id.as_str(), &binding.data_source_id];
    first(tx, "find a client", sql, ids, |row| row.parsed("client_id"))
}

/// The plan that runs a rule for a binding; none without a vault or a host.
fn wanted(
    policy: &Policy,
    binding: &Binding,
    client_id: Option<&ClientId>,
    rule: &PolicyRule,
) -> Option<Wanted> {
    let vault_id = VaultId::parse(rule.vault_id.as_deref()?).ok()?;
    let instance_id = InstanceId::parse(&binding.data_source_id).ok()?;
    let paths = binding
        .spec
        .source
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    let name = owned_name("policy", &binding.binding_id, &rule.rule_id);
    let promise = policy.promise(rule);
    let mut spec = PlanSpec::files(
        &binding.spec.region_id,
        &name,
        vault_id,
        paths.unwrap_or_default(),
    );
    spec.client_id = Some(client_id?.clone());
    spec.instance_id = Some(instance_id);
    spec.include = binding.spec.include.clone();
    spec.exclude = binding.spec.exclude.clone();
    spec.speed_limit = binding.spec.speed_limit.clone();
    spec.options = binding.spec.options.clone();
    spec.schedule = rule.schedule.clone();
    spec.retention = promise.days;
    spec.keep_latest_snapshots = Some(i64::from(promise.keep_latest));
    Some(Wanted {
        rule_id: rule.rule_id.clone(),
        spec,
        is_disabled: binding.disabled,
        retention_rule: Some(json(&promise)),
    })
}

fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    policy_id: &str,
    (source_type, data_source_id): (&str, &str),
) -> Result<Binding, CatalogError> {
    policies::require(tx, account_id, policy_id)?;
    let sql = "SELECT * FROM policy_bindings WHERE policy_id = ? AND source_type = ? AND data_source_id = ?";
    first(
        tx,
        "read a binding",
        sql,
        [policy_id, source_type, data_source_id],
        read,
    )?
    .ok_or_else(|| CatalogError::not_found(Entity::PolicyBinding, data_source_id))
}

/// Changes a binding: `edit` gets its settings and whether it rests.
pub fn update(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: &str,
    (source_type, data_source_id): (&str, &str),
    edit: impl FnOnce(&mut BindingSpec, &mut bool),
    now: Timestamp,
) -> Result<(), CatalogError> {
    let operation = "change a binding";
    catalog.write(operation, |tx| {
        let mut binding = require(tx, account_id, policy_id, (source_type, data_source_id))?;
        edit(&mut binding.spec, &mut binding.disabled);
        let sql = "UPDATE policy_bindings SET spec = ?, disabled = ?, updated_time = ? WHERE binding_id = ?";
        let values = params![json(&binding.spec), i64::from(binding.disabled), now.0, binding.binding_id];
        change(tx, operation, sql, values)?;
        let policy = policies::require(tx, account_id, policy_id)?;
        sync(catalog, tx, &policy, &binding, now)
    })
}

/// Unbinds data sources; jobs and snapshots stay. `NotFound` when one is not bound, and then nothing changes.
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    policy_id: &str,
    (source_type, data_source_ids): (&str, &[String]),
) -> Result<(), CatalogError> {
    catalog.write("unbind from a policy", |tx| {
        for data_source_id in data_source_ids {
            let binding = require(tx, account_id, policy_id, (source_type, data_source_id))?;
            remove(tx, &binding)?;
        }
        Ok(())
    })
}

fn remove(tx: &Tx<'_>, binding: &Binding) -> Result<(), CatalogError> {
    for sql in [
        "DELETE FROM plans WHERE owner_id = ?",
        "DELETE FROM policy_bindings WHERE binding_id = ?",
    ] {
        change(tx, "unbind from a policy", sql, [&binding.binding_id])?;
    }
    Ok(())
}

/// Unbinds a data source from whatever policy it is bound to.
pub fn unbind_source(
    catalog: &Catalog,
    account_id: &AccountId,
    source_type: SourceType,
    data_source_id: &str,
) -> Result<(), CatalogError> {
    let operation = "unbind a data source";
    let sql = "SELECT * FROM policy_bindings WHERE account_id = ? AND source_type = ? AND data_source_id = ?";
    let ids = [account_id.as_str(), source_type.as_str(), data_source_id];
    catalog.write(operation, |tx| {
        all(tx, operation, sql, ids, read)?
            .iter()
            .try_for_each(|binding| remove(tx, binding))
    })
}

/// The bindings of an account, the oldest first, from a token on.
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    filter: &BindingFilter,
    (max_results, next_token): (u32, Option<&str>),
) -> Result<TokenPage<Binding>, CatalogError> {
    let operation = "list bindings";
    let mut conditions = Conditions::equal("account_id", account_id.as_str());
    conditions.and_in("policy_id", filter.policy_ids.as_deref());
    conditions.and_in("source_type", filter.source_types.as_deref());
    conditions.and_in("data_source_id", filter.data_source_ids.as_deref());
    catalog.read(operation, |tx| {
        let request = (max_results, next_token, read as fn(&Row<'_>) -> _);
        token_page(
            tx,
            operation,
            ("policy_bindings", "binding_id"),
            &conditions,
            request,
            |binding: &Binding| (binding.created_time, binding.binding_id.clone()),
        )
    })
}

/// Binds and unbinds by the TAG rules of an account's policies: hosts whose tags fit, that no policy has yet; and those
/// that a tag had bound and that fit no more. `decide` says whether a host (client id, instance id) fits a policy. Says
/// how many bindings changed.
pub fn match_tags(
    catalog: &Catalog,
    account_id: &AccountId,
    region_id: &str,
    decide: impl Fn(&Policy, &str, &str) -> bool,
    now: Timestamp,
) -> Result<usize, CatalogError> {
    let operation = "bind by tags";
    catalog.write(operation, |tx| {
        let mut changed = 0;
        let hosts = "SELECT client_id, instance_id FROM clients WHERE account_id = ? ORDER BY created_time, client_id";
        let hosts: Vec<(String, String)> = all(tx, operation, hosts, [account_id.as_str()], |row| {
            Ok((row.get("client_id")?, row.get("instance_id")?))
        })?;
        let by_tag = "SELECT * FROM policy_bindings WHERE account_id = ? AND created_by_tag = 1";
        let bound = all(tx, operation, by_tag, [account_id.as_str()], read)?;
        let policies = policies::with_tag_rules(tx, account_id)?;
        for binding in &bound {
            let fits = policies.iter().filter(|policy| policy.policy_id == binding.policy_id).any(|policy| {
                hosts.iter().any(|(client, instance)| {
                    *instance == binding.data_source_id && decide(policy, client, instance)
                })
            });
            if !fits {
                remove(tx, binding)?;
                changed += 1;
            }
        }
        for policy in &policies {
            for (client, instance) in &hosts {
                let sql = "SELECT 1 AS n FROM policy_bindings WHERE account_id = ? AND source_type = ? AND data_source_id = ?";
                let ids = [account_id.as_str(), SourceType::EcsFile.as_str(), instance];
                if first(tx, operation, sql, ids, |_| Ok(()))?.is_none() && decide(policy, client, instance) {
                    let new = NewBinding {
                        source_type: SourceType::EcsFile,
                        data_source_id: instance.clone(),
                        spec: BindingSpec { region_id: region_id.to_owned(), ..BindingSpec::default() },
                        disabled: false,
                    };
                    insert(catalog, tx, policy, &new, true, now)?;
                    changed += 1;
                }
            }
        }
        Ok(changed)
    })
}

/// Whether [`match_tags`] may have anything to do for an account: most have no TAG rules.
pub fn has_tag_rules(catalog: &Catalog, account_id: &AccountId) -> Result<bool, CatalogError> {
    let operation = "look for tag rules";
    let sql =
        "SELECT 1 AS n FROM policy_bindings WHERE account_id = ? AND created_by_tag = 1 LIMIT 1";
    catalog.read(operation, |tx| {
        let is_bound = first(tx, operation, sql, [account_id.as_str()], |_| Ok(()))?.is_some();
        Ok(is_bound || !policies::with_tag_rules(tx, account_id)?.is_empty())
    })
}

/// Accounts that have a policy.
pub fn accounts_with_policies(catalog: &Catalog) -> Result<Vec<AccountId>, CatalogError> {
    let operation = "list accounts with policies";
    catalog.read(operation, |tx| {
        all(
            tx,
            operation,
            "SELECT DISTINCT account_id FROM policies",
            [],
            |row| row.parsed("account_id"),
        )
    })
}

//! What a call is about, as policies name it.
//!
//! A call is about each thing that its parameters name, as far as its action takes them. A thing has one or more names: a
//! vault has its own; what lies in a vault (a plan, job, restore job, snapshot, task or the file of a report) has that of its
//! vault, and a plan or policy its own besides. So a statement about a vault binds each call that reaches into it, whichever id
//! it names, and a call that reaches into two vaults needs both. A list of jobs, plans or snapshots that a condition confines to
//! vaults is about these. Calls that name none of all this are about `*`: they tell of, or change, the whole account.

use api::contract::takes;
use api::error::ApiError;
use api::params::Params;
use catalog::{CatalogError, policies, snapshots, vaults};
use model::snapshot_query::RawSnapshotQuery;
use model::{
    AccountId, ClientId, Filter, FilterKey, JobQuery, PlanId, RawJobQuery, RawRestoreQuery,
    RestoreQuery, SnapshotField, SnapshotQuery, SnapshotTest, VaultId,
};

use super::lists;
use crate::failure;
use crate::report_files::ReportFile;
use crate::service::Service;

/// The parameters that name one thing or a list of things by their ids.
const IDS: [&str; 9] = [
    "VaultId",
    "PlanId",
    "PolicyId",
    "JobId",
    "RestoreId",
    "SnapshotId",
    "TaskId",
    "ResourceId",
    "ClientIds",
];
/// The actions that read `ClientId`; others take it for an older kind of client, and act on what else they name.
const OF_A_CLIENT: [&str; 2] = ["DeleteBackupClient", "UpdateClientSettings"];
/// The actions that delete what a client has in vaults.
const DELETES_SNAPSHOTS: [&str; 2] = ["DeleteBackupClient", "DeleteBackupClientResource"];
/// Most ids of one parameter, each of which is looked up; no action takes as many.
const MAX_IDS: usize = 1_000;
/// What ids of policies start with.
const POLICY_PREFIX: &str = "po-";

/// The things that a call is about, each with all its names; never empty.
pub(super) fn of(
    service: &Service,
    account: &AccountId,
    action: &str,
    params: &Params,
) -> Result<Vec<Vec<String>>, ApiError> {
    let mut reach = Reach {
        service,
        account,
        action,
        things: Vec::new(),
    };
    for name in IDS.iter().filter(|name| takes(action, name)) {
        let ids = ids(params, name);
        if ids.len() > MAX_IDS {
            let why = format!("it may name at most {MAX_IDS}");
            return Err(ApiError::invalid(name, why));
        }
        for id in ids {
            reach.add(&id)?;
        }
    }
    if OF_A_CLIENT.contains(&action) {
        reach.add(params.text("ClientId").unwrap_or_default())?;
    }
    if takes(action, "TempFileKey")
        && let Some(file) = params
            .text("TempFileKey")
            .and_then(|key| ReportFile::of_key(account, key))
    {
        reach.add(file.work_id())?;
    }
    if takes(action, "Rules") {
        // What cannot be read is refused before anything is done.
        for rule in params.objects("Rules").unwrap_or_default() {
            reach.add(rule.text("VaultId").unwrap_or_default())?;
        }
    }
    // Without a look into the catalog: DescribeBackupJobs2 is judged where that may have to be waited for.
    for id in confined_to(action, params) {
        reach.push(Some(&id), None);
    }
    if reach.things.is_empty() {
        reach.things.push(vec![reach.arn("*")]);
    }
    Ok(reach.things)
}

/// The ids in a parameter: a text, or a list in either form.
fn ids(params: &Params, name: &str) -> Vec<String> {
    match params.text(name) {
        Some(text) if !text.trim_start().starts_with('[') => vec![text.to_owned()],
        _ => params.list(name).unwrap_or_default(),
    }
}

/// The vaults outside of which a list tells nothing, as the action itself reads its conditions.
fn confined_to(action: &str, params: &Params) -> Vec<String> {
    let filters = || lists::raw_filters(params).unwrap_or_default();
    let of = |filters: Vec<Filter>| {
        let mut predicates = filters
            .into_iter()
            .filter(|filter| filter.key == FilterKey::VaultId)
            .map(|filter| filter.predicate);
        predicates.find_map(|predicate| predicate.texts().map(<[String]>::to_vec))
    };
    let found = match action {
        "DescribeBackupJobs2" => JobQuery::parse(&RawJobQuery {
            filters: filters(),
            ..RawJobQuery::default()
        })
        .map(|query| of(query.filters)),
        "DescribeRestoreJobs2" => RestoreQuery::parse(&RawRestoreQuery {
            filters: filters(),
            ..RawRestoreQuery::default()
        })
        .map(|query| of(query.filters)),
        "SearchHistoricalSnapshots" => SnapshotQuery::parse(&RawSnapshotQuery {
            query: params.text("Query").map(str::to_owned),
            ..RawSnapshotQuery::default()
        })
        .map(|query| {
            let mut tests = query
                .conditions
                .into_iter()
                .filter(|(field, _)| *field == SnapshotField::VaultId);
            tests.find_map(|(_, test)| match test {
                SnapshotTest::Holds(predicate) => predicate.texts().map(<[String]>::to_vec),
                _ => None,
            })
        }),
        "DescribeBackupPlans" => {
            let mut vaults = None;
            let read = lists::simple_filters(params, "", |key, values| {
                if key == "vaultid" {
                    lists::narrow(&mut vaults, values);
                }
                true
            });
            return read.ok().and(vaults).unwrap_or_default();
        }
        _ => return Vec::new(),
    };
    found.ok().flatten().unwrap_or_default()
}

struct Reach<'a> {
    service: &'a Service,
    account: &'a AccountId,
    action: &'a str,
    things: Vec<Vec<String>>,
}

impl Reach<'_> {
    fn arn(&self, what: &str) -> String {
        format!("acs:hbr:{}:{}:{what}", self.service.region, self.account)
    }

    /// Adds what an id names. One of nobody is about nothing but itself.
    fn add(&mut self, id: &str) -> Result<(), ApiError> {
        if id.starts_with(VaultId::PREFIX) {
            self.push(Some(id), None);
        } else if id.starts_with(ClientId::PREFIX) {
            self.add_client(id)?;
        } else if id.starts_with(POLICY_PREFIX) {
            self.add_policy(id)?;
        } else {
            let vault = vaults::of_record(&self.service.catalog, self.account, id)
                .map_err(failure::of_catalog)?;
            let own = id.starts_with(PlanId::PREFIX).then(|| format!("plan/{id}"));
            self.push(vault.as_ref().map(VaultId::as_str), own.as_deref());
        }
        Ok(())
    }

    /// A policy is about all vaults that its rules store into.
    fn add_policy(&mut self, id: &str) -> Result<(), ApiError> {
        let own = format!("policy/{id}");
        let rules = match policies::get(&self.service.catalog, self.account, id) {
            Ok(policy) => policy.rules,
            Err(CatalogError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(failure::of_catalog(error)),
        };
        let mut vaults = rules
            .iter()
            .filter_map(|rule| rule.vault_id.as_deref())
            .peekable();
        if vaults.peek().is_none() {
            self.push(None, Some(&own));
        }
        for vault in vaults {
            self.push(Some(vault), Some(&own));
        }
        Ok(())
    }

    /// A client is a thing of its own; who deletes what it has reaches into the vaults of its snapshots.
    fn add_client(&mut self, id: &str) -> Result<(), ApiError> {
        let own = format!("client/{id}");
        self.push(None, Some(&own));
        let Ok(client_id) = ClientId::parse(id) else {
            return Ok(());
        };
        if DELETES_SNAPSHOTS.contains(&self.action) {
            let found = snapshots::of_client(&self.service.catalog, self.account, &client_id)
                .map_err(failure::of_catalog)?;
            for (vault, _) in found {
                self.push(Some(vault.as_str()), Some(&own));
            }
        }
        Ok(())
    }

    /// Adds a thing by its vault and its own name. A vault alone that is there already is not added again: what lies in it
    /// has more names.
    fn push(&mut self, vault: Option<&str>, own: Option<&str>) {
        let vault = vault.map(|id| self.arn(&format!("vault/{id}")));
        let own = own.map(|own| self.arn(own));
        let names: Vec<String> = vault.into_iter().chain(own).collect();
        let has = |thing: &Vec<String>, names: &[String]| names.iter().all(|n| thing.contains(n));
        if names.is_empty() || self.things.iter().any(|thing| has(thing, &names)) {
            return;
        }
        self.things.retain(|thing| !has(&names, thing));
        self.things.push(names);
    }
}

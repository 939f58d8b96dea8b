//! What a call is about, as policies name it.
//!
//! A call is about each thing that its parameters name, as far as its action takes them. A thing has one or more names: a
//! vault has its own; what lies in a vault (a plan, job, restore job, snapshot, task or the file of a report) has that of its
//! vault, and a plan or policy its own besides. So a statement about a vault binds each call that reaches into it, whichever id
//! it names, and a call that reaches into two vaults needs both. A list of jobs, plans or snapshots that a condition confines to
//! vaults is about these, and one that is confined to plans, jobs or restore jobs by their ids is about these. Calls that name
//! none of all this are about `*`: they tell of, or change, the whole account.

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
    match confined_to(action, params) {
        Confines::Nothing => {}
        Confines::Vaults(vaults) => {
            for id in vaults {
                reach.push(Some(&id), None);
            }
        }
        Confines::Records(records) => {
            for id in records {
                reach.add_record(&id)?;
            }
        }
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

/// Outside of what a list tells nothing.
#[derive(Debug)]
enum Confines {
    /// It tells of all that the account has.
    Nothing,
    /// These vaults.
    Vaults(Vec<String>),
    /// The plans, jobs or restore jobs of these ids.
    Records(Vec<String>),
}

/// Whether judging the call needs the catalog, although no parameter names anything: DescribeBackupJobs2 is judged first
/// where it may not be waited for.
pub(super) fn needs_a_look(action: &str, params: &Params) -> bool {
    matches!(confined_to(action, params), Confines::Records(_))
}

/// Outside of what a list tells nothing, as the action itself reads its conditions. Vaults come first: they are judged
/// without a look at what lies in them.
fn confined_to(action: &str, params: &Params) -> Confines {
    let filters = || lists::raw_filters(params).unwrap_or_default();
    let of = |filters: Vec<Filter>, record: FilterKey| {
        let named = |key: FilterKey| {
            let mut predicates = filters
                .iter()
                .filter(|filter| filter.key == key)
                .map(|filter| &filter.predicate);
            predicates.find_map(|predicate| predicate.texts().map(<[String]>::to_vec))
        };
        Confines::to(named(FilterKey::VaultId), named(record))
    };
    let found = match action {
        "DescribeBackupJobs2" => JobQuery::parse(&RawJobQuery {
            filters: filters(),
            ..RawJobQuery::default()
        })
        .ok()
        .map(|query| of(query.filters, FilterKey::JobId)),
        "DescribeRestoreJobs2" => RestoreQuery::parse(&RawRestoreQuery {
            filters: filters(),
            ..RawRestoreQuery::default()
        })
        .ok()
        .map(|query| of(query.filters, FilterKey::RestoreId)),
        "SearchHistoricalSnapshots" => SnapshotQuery::parse(&RawSnapshotQuery {
            query: params.text("Query").map(str::to_owned),
            ..RawSnapshotQuery::default()
        })
        .ok()
        .map(|query| {
            let mut tests = query
                .conditions
                .into_iter()
                .filter(|(field, _)| *field == SnapshotField::VaultId);
            let vaults = tests.find_map(|(_, test)| match test {
                SnapshotTest::Holds(predicate) => predicate.texts().map(<[String]>::to_vec),
                _ => None,
            });
            Confines::to(vaults, None)
        }),
        "DescribeBackupPlans" => {
            let (mut vaults, mut plans) = (None, None);
            let read = lists::simple_filters(params, "", |key, values| {
                match key {
                    "vaultid" => lists::narrow(&mut vaults, values),
                    "planid" => lists::narrow(&mut plans, values),
                    _ => {}
                }
                true
            });
            read.ok().map(|()| Confines::to(vaults, plans))
        }
        _ => None,
    };
    found.unwrap_or(Confines::Nothing)
}

impl Confines {
    /// The narrowest that is judged without a look; an empty list confines to nothing that could be judged.
    fn to(vaults: Option<Vec<String>>, records: Option<Vec<String>>) -> Self {
        let some = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        match (some(vaults), some(records)) {
            (Some(vaults), _) => Self::Vaults(vaults),
            (None, Some(records)) => Self::Records(records),
            (None, None) => Self::Nothing,
        }
    }
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

    /// Adds what a list is confined to by an id. A row of no vault, and one of nobody, is the whole account's.
    fn add_record(&mut self, id: &str) -> Result<(), ApiError> {
        let vault = vaults::of_record(&self.service.catalog, self.account, id)
            .map_err(failure::of_catalog)?;
        let own = id.starts_with(PlanId::PREFIX).then(|| format!("plan/{id}"));
        match (&vault, &own) {
            (None, None) => {
                let all = vec![self.arn("*")];
                if !self.things.contains(&all) {
                    self.things.push(all);
                }
            }
            _ => self.push(vault.as_ref().map(VaultId::as_str), own.as_deref()),
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

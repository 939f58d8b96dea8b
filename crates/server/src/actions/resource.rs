//! What a call is about, as policies name it.
//!
//! A call is about each thing that its parameters name, as far as its action takes them. A thing has one or more names: a
//! vault has its own; what lies in a vault (a plan, job, restore job, snapshot, task or the file of a report) has that of its
//! vault, and a plan or policy its own besides. So a statement about a vault binds each call that reaches into it, whichever id
//! it names, and a call that reaches into two vaults needs both. A list of jobs, plans or snapshots that a condition confines to
//! vaults is about these, and one that is confined to plans, jobs or restore jobs by their ids is about these. Calls that name
//! none of all this are about `*`: they tell of, or change, the whole account.
//!
//! A refusal calls a thing by what the caller named: which vault a job is in may not be his to know, nor whether there is one.

use api::contract::takes;
use api::error::ApiError;
use api::params::Params;
use catalog::{CatalogError, policies, restores, snapshots, vaults};
use model::ids::POLICY_PREFIX;
use model::ram::ResourceKind;
use model::snapshot_query::RawSnapshotQuery;
use model::{
    AccountId, ClientId, Filter, FilterKey, JobId, JobQuery, PlanId, RawJobQuery, RawRestoreQuery,
    RestoreId, RestoreQuery, SnapshotField, SnapshotQuery, SnapshotTest, VaultId,
};

use super::{lists, restore_jobs};
use crate::failure;
use crate::principal::Thing;
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
/// Most ids of a condition that are looked for, one by one. People and scripts ask for a page of them.
const MAX_RECORDS: usize = 100;
/// Most characters of an id that a refusal repeats.
const MAX_SHOWN_CHARS: usize = 64;

const VAULT: ResourceKind = ResourceKind {
    name: "vault",
    id_prefix: VaultId::PREFIX,
};
const PLAN: ResourceKind = ResourceKind {
    name: "plan",
    id_prefix: PlanId::PREFIX,
};
const POLICY: ResourceKind = ResourceKind {
    name: "policy",
    id_prefix: POLICY_PREFIX,
};
const CLIENT: ResourceKind = ResourceKind {
    name: "client",
    id_prefix: ClientId::PREFIX,
};
/// Every kind of thing that has a name here; besides there is `*`.
pub(crate) const KINDS: [ResourceKind; 4] = [VAULT, PLAN, POLICY, CLIENT];

/// The things that a call is about; never empty.
pub(super) fn of(
    service: &Service,
    account: &AccountId,
    action: &str,
    params: &Params,
) -> Result<Vec<Thing>, ApiError> {
    let mut reach = Reach {
        service,
        account,
        action,
        things: Vec::new(),
        nothing: None,
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
                reach.push(Some(&id), None, reach.shown(VAULT, &id));
            }
        }
        Confines::Records { prefix, ids } => reach.add_records(prefix, ids)?,
    }
    if action == "CreateRestoreJob" && reach.things.is_empty() {
        reach.add_restored_before(params)?;
    }
    Ok(reach.into_things())
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
    /// The plans, jobs or restore jobs of these ids, which begin so.
    Records {
        prefix: &'static str,
        ids: Vec<String>,
    },
}

/// Whether judging the call needs the catalog, although no parameter names anything: DescribeBackupJobs2 is judged first
/// where it may not be waited for.
pub(super) fn needs_a_look(action: &str, params: &Params) -> bool {
    matches!(confined_to(action, params), Confines::Records { .. })
}

/// Outside of what a list tells nothing, as the action itself reads its conditions. Vaults come first: they are judged
/// without a look at what lies in them.
fn confined_to(action: &str, params: &Params) -> Confines {
    let filters = || lists::raw_filters(params).unwrap_or_default();
    let of = |filters: Vec<Filter>, record: FilterKey, prefix| {
        let named = |key: FilterKey| {
            let mut predicates = filters
                .iter()
                .filter(|filter| filter.key == key)
                .map(|filter| &filter.predicate);
            predicates.find_map(|predicate| predicate.texts().map(<[String]>::to_vec))
        };
        Confines::to(named(FilterKey::VaultId), prefix, named(record))
    };
    let found = match action {
        "DescribeBackupJobs2" => JobQuery::parse(&RawJobQuery {
            filters: filters(),
            ..RawJobQuery::default()
        })
        .ok()
        .map(|query| of(query.filters, FilterKey::JobId, JobId::PREFIX)),
        "DescribeRestoreJobs2" => RestoreQuery::parse(&RawRestoreQuery {
            filters: filters(),
            ..RawRestoreQuery::default()
        })
        .ok()
        .map(|query| of(query.filters, FilterKey::RestoreId, RestoreId::PREFIX)),
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
            Confines::to(vaults, "", None)
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
            read.ok()
                .map(|()| Confines::to(vaults, PLAN.id_prefix, plans))
        }
        _ => None,
    };
    found.unwrap_or(Confines::Nothing)
}

impl Confines {
    /// The narrowest that is judged without a look; an empty list confines to nothing that could be judged.
    fn to(vaults: Option<Vec<String>>, prefix: &'static str, records: Option<Vec<String>>) -> Self {
        let some = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        match (some(vaults), some(records)) {
            (Some(vaults), _) => Self::Vaults(vaults),
            (None, Some(ids)) => Self::Records { prefix, ids },
            (None, None) => Self::Nothing,
        }
    }
}

struct Reach<'a> {
    service: &'a Service,
    account: &'a AccountId,
    action: &'a str,
    things: Vec<Thing>,
    /// How a refusal calls the first id that named nothing: as it would call one that names something.
    nothing: Option<String>,
}

impl Reach<'_> {
    fn arn(&self, what: &str) -> String {
        format!("acs:hbr:{}:{}:{what}", self.service.region, self.account)
    }

    /// How a refusal calls what an id names by itself.
    fn shown(&self, kind: ResourceKind, id: &str) -> String {
        let id: String = id.chars().take(MAX_SHOWN_CHARS).collect();
        self.arn(&kind.of(&id))
    }

    /// Adds what an id names. One of nobody is about nothing but itself.
    fn add(&mut self, id: &str) -> Result<(), ApiError> {
        if id.is_empty() {
            return Ok(());
        }
        if id.starts_with(VAULT.id_prefix) {
            self.push(Some(id), None, self.shown(VAULT, id));
        } else if id.starts_with(CLIENT.id_prefix) {
            self.add_client(id)?;
        } else if id.starts_with(POLICY.id_prefix) {
            self.add_policy(id)?;
        } else {
            self.add_what_lies_in_a_vault(id)?;
        }
        Ok(())
    }

    /// Adds a plan, job, restore job, snapshot or task by its vault; gives whether it has a name.
    fn add_what_lies_in_a_vault(&mut self, id: &str) -> Result<bool, ApiError> {
        let vault = vaults::of_record(&self.service.catalog, self.account, id)
            .map_err(failure::of_catalog)?;
        let vault = vault.as_ref().map(VaultId::as_str);
        let own = id.starts_with(PLAN.id_prefix).then(|| PLAN.of(id));
        let shown = match own {
            Some(_) => self.shown(PLAN, id),
            None => {
                let id: String = id.chars().take(MAX_SHOWN_CHARS).collect();
                format!("the vault of {id}")
            }
        };
        let has_name = vault.is_some() || own.is_some();
        self.push(vault, own.as_deref(), shown);
        Ok(has_name)
    }

    /// Adds what a list is confined to by ids that begin with `prefix`. A row of no vault, and an id of nobody or of something
    /// else, is the whole account's; so are more ids than are looked for.
    fn add_records(&mut self, prefix: &str, mut ids: Vec<String>) -> Result<(), ApiError> {
        ids.sort_unstable();
        ids.dedup();
        let are_all = ids.len() > MAX_RECORDS || ids.iter().any(|id| !id.starts_with(prefix));
        if are_all {
            self.nothing = None;
            ids.clear();
        }
        let mut has_nameless = are_all;
        for id in ids {
            has_nameless |= !self.add_what_lies_in_a_vault(&id)?;
        }
        if has_nameless {
            let all = self.arn("*");
            let shown = self.nothing.clone().unwrap_or_else(|| all.clone());
            let names = vec![all];
            self.things.push(Thing { names, shown });
        }
        Ok(())
    }

    /// A policy is about all vaults that its rules store into.
    fn add_policy(&mut self, id: &str) -> Result<(), ApiError> {
        let (own, shown) = (POLICY.of(id), self.shown(POLICY, id));
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
            self.push(None, Some(&own), shown.clone());
        }
        for vault in vaults {
            self.push(Some(vault), Some(&own), shown.clone());
        }
        Ok(())
    }

    /// A client is a thing of its own; who deletes what it has reaches into the vaults of its snapshots.
    fn add_client(&mut self, id: &str) -> Result<(), ApiError> {
        let (own, shown) = (CLIENT.of(id), self.shown(CLIENT, id));
        self.push(None, Some(&own), shown.clone());
        let Ok(client_id) = ClientId::parse(id) else {
            return Ok(());
        };
        if DELETES_SNAPSHOTS.contains(&self.action) {
            let found = snapshots::of_client(&self.service.catalog, self.account, &client_id)
                .map_err(failure::of_catalog)?;
            for (vault, _) in found {
                let shown = format!("the snapshots of {shown}");
                self.push(Some(vault.as_str()), Some(&own), shown);
            }
        }
        Ok(())
    }

    /// A request that is sent again is about the vault from which its restore job restores, though the snapshot that it names
    /// may be gone by now.
    fn add_restored_before(&mut self, params: &Params) -> Result<(), ApiError> {
        let Some(token) = restore_jobs::client_token(params)? else {
            return Ok(());
        };
        match restores::created_by(&self.service.catalog, self.account, &token) {
            Ok(Some(job)) => {
                let shown = self.nothing.clone().unwrap_or_default();
                self.push(Some(job.vault_id.as_str()), None, shown);
                Ok(())
            }
            Ok(None) | Err(CatalogError::TokenMismatch) => Ok(()),
            Err(error) => Err(failure::of_catalog(error)),
        }
    }

    /// Adds a thing by its vault and its own name. A vault alone that is there already is not added again: what lies in it
    /// has more names.
    fn push(&mut self, vault: Option<&str>, own: Option<&str>, shown: String) {
        let vault = vault.map(|id| self.arn(&VAULT.of(id)));
        let own = own.map(|own| self.arn(own));
        let names: Vec<String> = vault.into_iter().chain(own).collect();
        if names.is_empty() {
            self.nothing.get_or_insert(shown);
            return;
        }
        let has = |thing: &[String], names: &[String]| names.iter().all(|n| thing.contains(n));
        if self.things.iter().any(|thing| has(&thing.names, &names)) {
            return;
        }
        self.things.retain(|thing| !has(&names, &thing.names));
        self.things.push(Thing { names, shown });
    }

    fn into_things(mut self) -> Vec<Thing> {
        if self.things.is_empty() {
            let all = self.arn("*");
            self.things.push(match self.nothing.take() {
                Some(shown) => Thing {
                    names: vec![all],
                    shown,
                },
                None => Thing::named(all),
            });
        }
        self.things
    }
}

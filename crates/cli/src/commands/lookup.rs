//! Looking things up at the service: all vaults, plans and snapshots, and one of them by its id or name.

use api::client::ClientError;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::refusal::is_denied;
use crate::session::{Parameters, Session, number, rows, text};

/// Rows of a page; the largest that every listing serves.
const PAGE: u64 = 99;
/// Rows of one reply of a listing that goes on from a token.
const TOKEN_PAGE: u64 = 100;
/// Rows of a page of snapshots.
const SNAPSHOT_PAGE: u64 = 100;

/// How a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paging {
    /// By the number of the page.
    Number,
    /// From the token of the reply before.
    Token,
}

/// A list of the API, all pages of it.
#[derive(Debug)]
struct Listing {
    action: &'static str,
    parameters: Parameters,
    path: &'static [&'static str],
    paging: Paging,
}

impl Listing {
    /// All rows, or what the service said.
    fn rows(&self, session: &Session) -> Result<Vec<Value>, ClientError> {
        let mut found = Vec::new();
        let mut token = String::new();
        for page in 1.. {
            let parameters = self.parameters.clone();
            let asked = match self.paging {
                Paging::Number => parameters.with("PageNumber", page).with("PageSize", PAGE),
                Paging::Token => parameters
                    .with("MaxResults", TOKEN_PAGE)
                    .with_some("NextToken", (!token.is_empty()).then_some(&token)),
            };
            let reply = session.try_call(self.action, &asked)?;
            let rows = rows(&reply, self.path);
            token = text(&reply, "NextToken").to_owned();
            let is_last = match self.paging {
                Paging::Number => (rows.len() as u64) < PAGE,
                Paging::Token => token.is_empty(),
            };
            found.extend(rows);
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    fn failure(&self, session: &Session, error: &ClientError) -> Failure {
        session.failure(self.action, &self.parameters, error)
    }

    /// All rows; a failure is told.
    fn all(&self, session: &Session) -> Result<Vec<Value>, Failure> {
        self.rows(session)
            .map_err(|error| self.failure(session, &error))
    }

    /// All rows, for what could do without the list; `instead` says how.
    fn all_or(&self, session: &Session, instead: &str) -> Result<Vec<Value>, Failure> {
        self.rows(session).map_err(|error| {
            let failure = self.failure(session, &error);
            match is_denied(&error) {
                true => Failure {
                    next: format!("{instead}. Otherwise: {}", failure.next),
                    ..failure
                },
                false => failure,
            }
        })
    }
}

/// Things that have an id and a name, and how the service tells of them.
pub(crate) struct Kind {
    noun: &'static str,
    /// Its id among the fields.
    id: &'static str,
    name: &'static str,
    /// What ids begin with.
    prefix: &'static str,
    /// The command that lists them.
    list: &'static str,
    /// The list of all, or of the one with this id.
    listing: fn(Option<&str>) -> Listing,
}

/// Vaults.
pub(crate) const VAULT: Kind = Kind {
    noun: "vault",
    id: "VaultId",
    name: "VaultName",
    prefix: "v-",
    list: "strongroom vault list",
    listing: |id| Listing {
        action: "DescribeVaults",
        parameters: Parameters::new().with_some("VaultId", id),
        path: &["Vaults", "Vault"],
        paging: Paging::Number,
    },
};

/// Plans for files.
pub(crate) const PLAN: Kind = Kind {
    noun: "plan",
    id: "PlanId",
    name: "PlanName",
    prefix: "plan-",
    list: "strongroom plan list",
    listing: |id| plan_listing("planId", id),
};

/// Policies.
pub(crate) const POLICY: Kind = Kind {
    noun: "policy",
    id: "PolicyId",
    name: "PolicyName",
    prefix: "po-",
    list: "strongroom policy list",
    listing: |id| Listing {
        action: "DescribePoliciesV2",
        parameters: Parameters::new().with_some("PolicyId", id),
        path: &["Policies"],
        paging: Paging::Token,
    },
};

fn plan_listing(key: &str, value: Option<&str>) -> Listing {
    let parameters = Parameters::new().with("SourceType", "ECS_FILE");
    Listing {
        action: "DescribeBackupPlans",
        parameters: match value {
            Some(value) => parameters.filter(key, None, &[value]),
            None => parameters,
        },
        path: &["BackupPlans", "BackupPlan"],
        paging: Paging::Number,
    }
}

impl Kind {
    /// The id of the one with this id or name. What `is_id` is one also where the list does not have it.
    fn id_of(&self, session: &Session, wanted: &str, is_id: bool) -> Result<String, Failure> {
        match self.find(session, wanted) {
            Ok(found) => Ok(text(&found, self.id).to_owned()),
            Err(failure) if failure.exit == Exit::NotFound && is_id => Ok(wanted.to_owned()),
            Err(failure) => Err(failure),
        }
    }

    /// The one with this id or name. An id is asked for alone: a policy may allow one thing and not the list of all. Where
    /// it does not allow that either, the id is all that is known of the thing, and the call that it is for will say.
    fn find(&self, session: &Session, wanted: &str) -> Result<Value, Failure> {
        let mut is_gone = false;
        if wanted.starts_with(self.prefix) {
            let one = (self.listing)(Some(wanted));
            match one.rows(session) {
                Ok(rows) => {
                    let found = rows.into_iter().find(|row| text(row, self.id) == wanted);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                    is_gone = true;
                }
                Err(error) if is_denied(&error) => return Ok(json!({ self.id: wanted })),
                Err(error) if error.code().is_some_and(is_of_an_id) => {}
                Err(error) => return Err(one.failure(session, &error)),
            }
        }
        let instead = format!(
            "only who may list all {} can find one by its name: write the id ({}…)",
            plural(self.noun),
            self.prefix
        );
        match (self.listing)(None).all_or(session, &instead) {
            // What has the form of an id may still be a name.
            Err(failure) if is_gone && failure.exit == Exit::Refused => self.one_of(vec![], wanted),
            all => self.one_of(all?, wanted),
        }
    }

    /// The id, and the name if it is known.
    pub(crate) fn shown(&self, thing: &Value) -> String {
        match text(thing, self.name) {
            "" => text(thing, self.id).to_owned(),
            name => format!("{} ({name})", text(thing, self.id)),
        }
    }

    /// An id is exact; a name must be the name of one thing only.
    pub(crate) fn one_of(&self, all: Vec<Value>, wanted: &str) -> Result<Value, Failure> {
        if let Some(found) = all.iter().find(|row| text(row, self.id) == wanted) {
            return Ok(found.clone());
        }
        let (noun, list) = (self.noun, self.list);
        let mut named: Vec<Value> = all
            .into_iter()
            .filter(|row| text(row, self.name) == wanted)
            .collect();
        match (named.pop(), named.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(_), false) => Err(Failure::with(
                Exit::Conflict,
                format!("more than one {noun} is called {wanted:?}"),
                format!("use an id: {list}"),
            )),
            (None, _) => Err(Failure::with(
                Exit::NotFound,
                format!("there is no {noun} {wanted:?}"),
                format!("look for it: {list}"),
            )),
        }
    }
}

fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    }
}

/// Whether the code says that there is no such thing, or that its id cannot be one.
fn is_of_an_id(code: &str) -> bool {
    code.ends_with("NotExist") || code.starts_with("InvalidParameter")
}

/// All vaults.
pub(crate) fn vaults(session: &Session) -> Result<Vec<Value>, Failure> {
    (VAULT.listing)(None).all(session)
}

/// The vaults in which something is looked for: the one that is named, or all.
pub(crate) fn vaults_to_search(
    session: &Session,
    wanted: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    match wanted {
        Some(wanted) => vault(session, wanted).map(|vault| vec![vault]),
        None => (VAULT.listing)(None).all_or(session, "name one vault: --vault v-…"),
    }
}

/// The vault with this id or name.
pub(crate) fn vault(session: &Session, wanted: &str) -> Result<Value, Failure> {
    VAULT.find(session, wanted)
}

/// The id of the vault with this id or name. An id that the service does not know is none the less one: jobs of an
/// imported history may name it.
pub(crate) fn vault_id(session: &Session, wanted: &str) -> Result<String, Failure> {
    VAULT.id_of(session, wanted, model::VaultId::parse(wanted).is_ok())
}

/// All plans for files, or those of a vault.
pub(crate) fn plans(session: &Session, vault_id: Option<&str>) -> Result<Vec<Value>, Failure> {
    let listing = plan_listing("vaultId", vault_id);
    match vault_id {
        Some(_) => listing.all(session),
        None => listing.all_or(session, "name one vault: --vault v-…"),
    }
}

/// The plan with this id or name.
pub(crate) fn plan(session: &Session, wanted: &str) -> Result<Value, Failure> {
    PLAN.find(session, wanted)
}

/// All policies.
pub(crate) fn policies(session: &Session) -> Result<Vec<Value>, Failure> {
    (POLICY.listing)(None).all(session)
}

/// All policies, or none for who may not list them.
pub(crate) fn policies_to_see(session: &Session) -> Result<Vec<Value>, Failure> {
    let listing = (POLICY.listing)(None);
    match listing.rows(session) {
        Err(error) if is_denied(&error) => Ok(Vec::new()),
        found => found.map_err(|error| listing.failure(session, &error)),
    }
}

/// The plan's id, or one that only the service knows as that of a policy.
pub(crate) fn plan_id(session: &Session, wanted: &str) -> Result<String, Failure> {
    PLAN.id_of(session, wanted, model::PlanId::parse(wanted).is_ok())
}

/// The policy with this id or name.
pub(crate) fn policy(session: &Session, wanted: &str) -> Result<Value, Failure> {
    POLICY.find(session, wanted)
}

/// All that is bound to a policy, or to any.
pub(crate) fn bindings(session: &Session, policy_id: Option<&str>) -> Result<Vec<Value>, Failure> {
    let listing = Listing {
        action: "DescribePolicyBindings",
        parameters: Parameters::new().with_some("PolicyId", policy_id),
        path: &["PolicyBindings"],
        paging: Paging::Token,
    };
    listing.all(session)
}

/// A job by its id, if the service has it.
pub(crate) fn job(session: &Session, job_id: &str) -> Result<Option<Value>, Failure> {
    let parameters = Parameters::new().filter("JobId", Some("EQUAL"), &[job_id]);
    let reply = session.call("DescribeBackupJobs2", parameters)?;
    Ok(rows(&reply, &["BackupJobs", "BackupJob"])
        .into_iter()
        .next())
}

/// A restore job by its id, if the service has it.
pub(crate) fn restore_job(session: &Session, restore_id: &str) -> Result<Option<Value>, Failure> {
    let parameters = Parameters::new().with("RestoreType", "ECS_FILE").filter(
        "RestoreId",
        Some("EQUAL"),
        &[restore_id],
    );
    let reply = session.call("DescribeRestoreJobs2", parameters)?;
    Ok(rows(&reply, &["RestoreJobs", "RestoreJob"])
        .into_iter()
        .next())
}

/// All snapshots of a vault, oldest first.
pub(crate) fn snapshots(session: &Session, vault_id: &str) -> Result<Vec<Value>, Failure> {
    search(
        session,
        json!([{"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"}]),
        "ASC",
        None,
    )
}

fn search(
    session: &Session,
    query: Value,
    order: &str,
    most: Option<usize>,
) -> Result<Vec<Value>, Failure> {
    let base = Parameters::new()
        .with("SourceType", "ECS_FILE")
        .with("Query", query)
        .with("SortBy", "CreatedTime")
        .with("Order", order);
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = most.map_or(SNAPSHOT_PAGE, |most| SNAPSHOT_PAGE.min(most as u64));
        let mut asked = base.clone().with("Limit", page);
        if !token.is_empty() {
            asked = asked.with("NextToken", &token);
        }
        let reply = session.call("SearchHistoricalSnapshots", asked)?;
        found.extend(rows(&reply, &["Snapshots", "Snapshot"]));
        token = text(&reply, "NextToken").to_owned();
        if token.is_empty() || most.is_some_and(|most| found.len() >= most) {
            return Ok(found);
        }
    }
}

/// The snapshot that a person means: `s-…`, the start of a hash, or `latest`; in a vault, or in any. `instance` narrows
/// `latest` to a host.
pub(crate) fn snapshot(
    session: &Session,
    wanted: &str,
    instance: Option<&str>,
    vault: Option<&str>,
) -> Result<Value, Failure> {
    let missing = |next: &str| {
        Failure::with(
            Exit::NotFound,
            format!("there is no snapshot {wanted:?}"),
            next,
        )
    };
    let mut candidates = Vec::new();
    for vault in vaults_to_search(session, vault)? {
        let mut query = vec![
            json!({"field": "VaultId", "value": text(&vault, "VaultId"), "operation": "MATCH_TERM"}),
        ];
        if wanted == "latest" {
            if let Some(instance) = instance {
                query.push(
                    json!({"field": "InstanceId", "value": instance, "operation": "MATCH_TERM"}),
                );
            }
            candidates.extend(search(session, Value::Array(query), "DESC", Some(1))?);
        } else if wanted.starts_with("s-") {
            query.push(json!({"field": "SnapshotId", "value": wanted, "operation": "MATCH_TERM"}));
            candidates.extend(search(session, Value::Array(query), "DESC", Some(1))?);
        } else {
            let all = snapshots(session, text(&vault, "VaultId"))?;
            candidates.extend(
                all.into_iter()
                    .filter(|row| text(row, "SnapshotHash").starts_with(wanted)),
            );
        }
    }
    if wanted == "latest" {
        let newest = candidates.into_iter().max_by_key(|row| {
            (
                number(row, "CreatedTime"),
                text(row, "SnapshotId").to_owned(),
            )
        });
        return newest.ok_or_else(|| missing("make one first: strongroom plan run PLAN"));
    }
    if wanted.is_empty() || candidates.is_empty() {
        return Err(missing("look for it: strongroom snapshots"));
    }
    if candidates.len() > 1 {
        return Err(Failure::with(
            Exit::Conflict,
            format!("{} snapshots begin with {wanted:?}", candidates.len()),
            "write more of the hash, or the snapshot id: strongroom snapshots",
        ));
    }
    candidates
        .pop()
        .ok_or_else(|| missing("look for it: strongroom snapshots"))
}

fn client_listing() -> Listing {
    Listing {
        action: "DescribeBackupClients",
        parameters: Parameters::new().with("ClientType", "ECS_CLIENT"),
        path: &["Clients"],
        paging: Paging::Number,
    }
}

/// All clients (hosts with an agent).
pub(crate) fn clients(session: &Session) -> Result<Vec<Value>, Failure> {
    client_listing().all(session)
}

/// The clients on hosts of this name.
pub(crate) fn clients_on(session: &Session, hostname: &str) -> Result<Vec<Value>, Failure> {
    let mut listing = client_listing();
    listing.parameters = listing.parameters.filter("hostname", None, &[hostname]);
    let instead = "only who may list all hosts can find this one by its name: write its instance id, --instance i-…";
    listing.all_or(session, instead)
}

/// The client with this id; none if the service has none, and none either if it may not be asked for.
pub(crate) fn client(session: &Session, client_id: &str) -> Result<Found, Failure> {
    let mut listing = client_listing();
    listing.parameters = listing.parameters.with("ClientIds", json!([client_id]));
    match listing.rows(session) {
        Ok(rows) => {
            let found = rows
                .into_iter()
                .find(|row| text(row, "ClientId") == client_id);
            Ok(found.map_or(Found::No, Found::Yes))
        }
        Err(error) if is_denied(&error) => Ok(Found::Hidden),
        Err(error) => Err(listing.failure(session, &error)),
    }
}

/// What came of a question about one thing.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is this.
    Yes(Value),
    /// There is none.
    No,
    /// The caller may not know.
    Hidden,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{VAULT, plural};
    use crate::exit::Exit;
    use serde_json::json;

    #[test]
    fn things_are_found_by_id_then_by_name() {
        let all = || {
            vec![
                json!({"VaultId": "v-1", "VaultName": "a"}),
                json!({"VaultId": "v-2", "VaultName": "v-1"}),
                json!({"VaultId": "v-3", "VaultName": "b"}),
                json!({"VaultId": "v-4", "VaultName": "b"}),
            ]
        };
        let find = |wanted| VAULT.one_of(all(), wanted);
        assert_eq!(find("v-1").unwrap()["VaultName"], "a");
        assert_eq!(find("a").unwrap()["VaultId"], "v-1");
        assert_eq!(find("b").unwrap_err().exit, Exit::Conflict);
        assert_eq!(find("c").unwrap_err().exit, Exit::NotFound);
        assert_eq!(
            (plural("policy"), plural("vault")),
            ("policies".to_owned(), "vaults".to_owned())
        );
    }
}

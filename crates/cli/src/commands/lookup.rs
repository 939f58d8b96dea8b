//! Looking things up at the service: all vaults, plans and snapshots, and one of them by its id or name.

use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::session::{Parameters, Session, number, rows, text};

/// Rows of a page; the largest that every listing serves.
const PAGE: u64 = 99;
/// Rows of one reply of a listing that goes on from a token.
const TOKEN_PAGE: u64 = 100;
/// Rows of a page of snapshots.
const SNAPSHOT_PAGE: u64 = 100;

/// All rows of a paged listing.
fn all(
    session: &Session,
    action: &str,
    parameters: &Parameters,
    path: &[&str],
) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    for page in 1.. {
        let asked = parameters
            .clone()
            .with("PageNumber", page)
            .with("PageSize", PAGE);
        let reply = session.call(action, asked)?;
        let rows = rows(&reply, path);
        let is_last = (rows.len() as u64) < PAGE;
        found.extend(rows);
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// All vaults.
pub(crate) fn vaults(session: &Session) -> Result<Vec<Value>, Failure> {
    all(
        session,
        "DescribeVaults",
        &Parameters::new(),
        &["Vaults", "Vault"],
    )
}

/// The vault with this id or name.
pub(crate) fn vault(session: &Session, wanted: &str) -> Result<Value, Failure> {
    one_of(
        vaults(session)?,
        wanted,
        "VaultId",
        "VaultName",
        "vault",
        "strongroom vault list",
    )
}

/// All plans for files.
pub(crate) fn plans(session: &Session) -> Result<Vec<Value>, Failure> {
    let parameters = Parameters::new().with("SourceType", "ECS_FILE");
    all(
        session,
        "DescribeBackupPlans",
        &parameters,
        &["BackupPlans", "BackupPlan"],
    )
}

/// The plan with this id or name.
pub(crate) fn plan(session: &Session, wanted: &str) -> Result<Value, Failure> {
    one_of(
        plans(session)?,
        wanted,
        "PlanId",
        "PlanName",
        "plan",
        "strongroom plan list",
    )
}

/// All policies.
pub(crate) fn policies(session: &Session) -> Result<Vec<Value>, Failure> {
    by_token(
        session,
        "DescribePoliciesV2",
        &Parameters::new(),
        &["Policies"],
    )
}

/// The policy with this id or name.
pub(crate) fn policy(session: &Session, wanted: &str) -> Result<Value, Failure> {
    one_of(
        policies(session)?,
        wanted,
        "PolicyId",
        "PolicyName",
        "policy",
        "strongroom policy list",
    )
}

/// All that is bound to a policy, or to any.
pub(crate) fn bindings(session: &Session, policy_id: Option<&str>) -> Result<Vec<Value>, Failure> {
    by_token(
        session,
        "DescribePolicyBindings",
        &Parameters::new().with_some("PolicyId", policy_id),
        &["PolicyBindings"],
    )
}

/// All rows of a listing that goes on from a token.
fn by_token(
    session: &Session,
    action: &str,
    parameters: &Parameters,
    path: &[&str],
) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let asked = parameters
            .clone()
            .with("MaxResults", TOKEN_PAGE)
            .with_some("NextToken", (!token.is_empty()).then_some(&token));
        let reply = session.call(action, asked)?;
        found.extend(rows(&reply, path));
        token = text(&reply, "NextToken").to_owned();
        if token.is_empty() {
            return Ok(found);
        }
    }
}

/// An id is exact; a name must be the name of one thing only.
pub(crate) fn one_of(
    all: Vec<Value>,
    wanted: &str,
    id: &str,
    name: &str,
    noun: &str,
    list: &str,
) -> Result<Value, Failure> {
    if let Some(found) = all.iter().find(|row| text(row, id) == wanted) {
        return Ok(found.clone());
    }
    let mut named: Vec<Value> = all
        .into_iter()
        .filter(|row| text(row, name) == wanted)
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

/// The snapshot that a person means: `s-…`, the start of a hash, or `latest`. `instance` narrows `latest` to a host.
pub(crate) fn snapshot(
    session: &Session,
    wanted: &str,
    instance: Option<&str>,
) -> Result<Value, Failure> {
    let missing = |next: &str| {
        Failure::with(
            Exit::NotFound,
            format!("there is no snapshot {wanted:?}"),
            next,
        )
    };
    let mut candidates = Vec::new();
    for vault in vaults(session)? {
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

/// All clients (hosts with an agent).
pub(crate) fn clients(session: &Session) -> Result<Vec<Value>, Failure> {
    let parameters = Parameters::new().with("ClientType", "ECS_CLIENT");
    all(session, "DescribeBackupClients", &parameters, &["Clients"])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::one_of;
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
        let find = |wanted| {
            one_of(
                all(),
                wanted,
                "VaultId",
                "VaultName",
                "vault",
                "strongroom vault list",
            )
        };
        assert_eq!(find("v-1").unwrap()["VaultName"], "a");
        assert_eq!(find("a").unwrap()["VaultId"], "v-1");
        assert_eq!(find("b").unwrap_err().exit, Exit::Conflict);
        assert_eq!(find("c").unwrap_err().exit, Exit::NotFound);
    }
}

//! What `serve` does as an ordinary client of its own API: the vault, a plan for each path, a job of each plan.

use serde_json::Value;

use super::protect::Protected;
use crate::commands::plan::{name_for, new_plan, now, schedule_from_now, start};
use crate::commands::{follow, lookup, vault_create};
use crate::exit::Failure;
use crate::output::Screen;
use crate::session::{Parameters, Session, rows, text};
use crate::signals::Interrupts;

/// Name of the vault of the first start.
const VAULT_NAME: &str = "default";
/// Interval of the plans.
const DAILY: &str = "P1D";

/// A job to follow.
#[derive(Debug)]
pub(crate) struct FirstJob {
    pub(crate) job_id: String,
    pub(crate) path: String,
    /// It was there already, from before a stop or a crash.
    pub(crate) goes_on: bool,
}

/// The id of the vault `default`, made if there is none. None if interrupted while waiting for it.
pub(crate) fn default_vault(
    screen: &Screen,
    session: &Session,
    interrupts: &Interrupts,
) -> Result<Option<String>, Failure> {
    let is_default = |vault: &Value| text(vault, "VaultName") == VAULT_NAME;
    let id = match lookup::vaults(session)?
        .iter()
        .find(|vault| is_default(vault))
    {
        Some(vault) => text(vault, "VaultId").to_owned(),
        None => vault_create::create(session, Parameters::new().with("VaultName", VAULT_NAME))?,
    };
    vault_create::wait_until_created(screen, session, interrupts, &id)
        .map(|ready| ready.then_some(id))
}

/// A job for each path: the unfinished one of its plan, or a new one.
pub(crate) fn start_all(
    session: &Session,
    vault_id: &str,
    instance_id: &str,
    paths: &[Protected],
) -> Result<Vec<FirstJob>, Failure> {
    let plans = lookup::plans(session, None)?;
    let mut jobs = Vec::new();
    for protected in paths {
        let known = plans
            .iter()
            .find(|plan| is_plan_of(plan, instance_id, &protected.path))
            .cloned();
        let plan = match known {
            Some(plan) => plan,
            None => make_plan(session, &plans, vault_id, instance_id, &protected.path)?,
        };
        let unfinished = unfinished_job(session, text(&plan, "PlanId"))?;
        let goes_on = unfinished.is_some();
        let job_id = match unfinished {
            Some(job_id) => job_id,
            None => start(session, &plan)?,
        };
        jobs.push(FirstJob {
            job_id,
            path: protected.path.clone(),
            goes_on,
        });
    }
    Ok(jobs)
}

/// A plan is found again by its host and its only path.
fn is_plan_of(plan: &Value, instance_id: &str, path: &str) -> bool {
    let paths = rows(plan, &["Paths", "Path"]);
    text(plan, "InstanceId") == instance_id && paths.len() == 1 && paths[0].as_str() == Some(path)
}

fn make_plan(
    session: &Session,
    plans: &[Value],
    vault_id: &str,
    instance_id: &str,
    path: &str,
) -> Result<Value, Failure> {
    let paths = [path.to_owned()];
    let name = free_name(plans, vault_id, &name_for(&paths));
    let schedule = schedule_from_now(DAILY, now())?;
    let plan_id = new_plan(
        session,
        vault_id,
        instance_id,
        &name,
        &schedule,
        &paths,
        |parameters| parameters,
    )?;
    Ok(serde_json::json!({"PlanId": plan_id, "VaultId": vault_id, "InstanceId": instance_id}))
}

/// Names of plans are unique in a vault: another host may protect the same path.
fn free_name(plans: &[Value], vault_id: &str, wanted: &str) -> String {
    let taken = |name: &str| {
        plans
            .iter()
            .any(|plan| text(plan, "VaultId") == vault_id && text(plan, "PlanName") == name)
    };
    if !taken(wanted) {
        return wanted.to_owned();
    }
    let stem: String = wanted.chars().take(56).collect();
    (2u32..)
        .map(|number| format!("{stem} ({number})"))
        .find(|name| !taken(name))
        .unwrap_or(stem)
}

fn unfinished_job(session: &Session, plan_id: &str) -> Result<Option<String>, Failure> {
    let parameters =
        Parameters::new()
            .with("PageSize", 10)
            .filter("PlanId", Some("EQUAL"), &[plan_id]);
    let reply = session.call("DescribeBackupJobs2", parameters)?;
    let jobs = rows(&reply, &["BackupJobs", "BackupJob"]);
    let open = jobs
        .iter()
        .find(|job| !follow::is_final(text(job, "Status")));
    Ok(open.map(|job| text(job, "JobId").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{free_name, is_plan_of};
    use serde_json::json;

    #[test]
    fn plans_are_found_by_host_and_path() {
        let plan = json!({"InstanceId": "i-1", "Paths": {"Path": ["/a"]}});
        assert!(is_plan_of(&plan, "i-1", "/a"));
        assert!(!is_plan_of(&plan, "i-2", "/a"));
        assert!(!is_plan_of(&plan, "i-1", "/a/b"));
        let wider = json!({"InstanceId": "i-1", "Paths": {"Path": ["/a", "/b"]}});
        assert!(!is_plan_of(&wider, "i-1", "/a"));
    }

    #[test]
    fn names_are_made_unique() {
        let plans = [
            json!({"VaultId": "v", "PlanName": "/a"}),
            json!({"VaultId": "v", "PlanName": "/a (2)"}),
        ];
        assert_eq!(free_name(&plans, "v", "/a"), "/a (3)");
        assert_eq!(free_name(&plans, "w", "/a"), "/a");
    }
}

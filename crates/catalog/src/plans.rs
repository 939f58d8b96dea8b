//! Backup plans: what is backed up, into which vault, and when.
//!
//! `next_run_time` is the one thing that the scheduler looks at. It is set when a plan is created, enabled or given
//! another schedule, and moved in the transaction that creates (or skips) a scheduled job: so each run happens at most
//! once, whatever crashes and however many schedulers look.

use model::{AccountId, ClientId, JobId, PlanId, Schedule, Timestamp, Zone};

use crate::conditions::{Conditions, all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::{CatalogError, Entity};
use crate::records::{Page, PageRequest, Plan, PlanSpec};
use crate::row::{RowReader, json, seconds, text};
use crate::sql::{Row, params};
use crate::{jobs, plan_rules, tags, vaults};

/// What DescribeBackupPlans may ask for; an absent member does not matter, an empty list matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PlanFilter {
    pub source_types: Option<Vec<String>>,
    pub region_ids: Option<Vec<String>>,
    pub plan_ids: Option<Vec<String>>,
    pub vault_ids: Option<Vec<String>>,
    pub instance_ids: Option<Vec<String>>,
    pub instance_names: Option<Vec<String>>,
    pub plan_names: Option<Vec<String>>,
}

/// A plan whose next run may be due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePlan {
    /// Whose it is.
    pub account_id: AccountId,
    /// The plan.
    pub plan_id: PlanId,
    /// The run; hand it to [`jobs::create_scheduled`].
    pub planned: Timestamp,
}

/// Whether a plan's schedule rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanSwitch {
    /// It runs.
    Enabled,
    /// It rests.
    Disabled,
}

/// What to do with jobs that have not ended when their plan is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningJobs {
    /// Refuse to delete the plan (`RequireNoRunningJobs`).
    Refuse,
    /// Drop them: their agents find their work lost and stop.
    Drop,
}

pub(crate) fn read(row: &Row<'_>) -> crate::sql::Result<Plan> {
    let spec = PlanSpec {
        region_id: row.get("region_id")?,
        plan_name: row.get("plan_name")?,
        source_type: row.parsed("source_type")?,
        backup_type: row.get("backup_type")?,
        edition: row.get("edition")?,
        vault_id: row.parsed_opt("vault_id")?,
        client_id: row.parsed_opt("client_id")?,
        instance_id: row.parsed_opt("instance_id")?,
        bucket: row.get("bucket")?,
        file_system_id: row.get("file_system_id")?,
        instance_name: row.get("instance_name")?,
        paths: row.json("paths")?,
        include: row.get("include")?,
        exclude: row.get("exclude")?,
        speed_limit: row.get("speed_limit")?,
        options: row.get("options")?,
        schedule: row.get("schedule")?,
        retention: row.get("retention")?,
        keep_latest_snapshots: row.get("keep_latest_snapshots")?,
        source_fields: row.json("source_fields")?,
        rules: row.parsed_opt("rules")?,
    };
    Ok(Plan {
        plan_id: row.parsed("plan_id")?,
        account_id: row.parsed("account_id")?,
        spec,
        disabled: row.flag("disabled")?,
        next_run_time: row.time_opt("next_run_time")?,
        latest_execute_job_id: row.parsed_opt("latest_execute_job_id")?,
        latest_finish_job_id: row.parsed_opt("latest_finish_job_id")?,
        created_time: row.time("created_time")?,
        updated_time: row.time("updated_time")?,
        owner_id: row.get("owner_id")?,
        rule_id: row.get("rule_id")?,
        retention_rule: row.get("retention_rule")?,
    })
}

/// The plan. `NotFound` when it is another account's.
pub(crate) fn require(
    tx: &Tx<'_>,
    account_id: &AccountId,
    plan_id: &PlanId,
) -> Result<Plan, CatalogError> {
    let sql = "SELECT * FROM plans WHERE account_id = ? AND plan_id = ?";
    first(
        tx,
        "read a plan",
        sql,
        [account_id.as_str(), plan_id.as_str()],
        read,
    )?
    .ok_or_else(|| CatalogError::not_found(Entity::Plan, plan_id))
}

fn check_spec(
    tx: &Tx<'_>,
    account_id: &AccountId,
    spec: &PlanSpec,
    except: Option<&PlanId>,
) -> Result<Option<Schedule>, CatalogError> {
    if let Some(vault_id) = &spec.vault_id {
        vaults::require(tx, account_id, vault_id)?;
    }
    let sql = "SELECT plan_id FROM plans WHERE account_id = ? AND COALESCE(vault_id, '') = ? AND source_type = ? \
               AND plan_name = ? AND plan_id <> ?";
    let values = params![
        account_id.as_str(),
        text(&spec.vault_id).unwrap_or_default(),
        spec.source_type.as_str(),
        spec.plan_name,
        except.map_or("", PlanId::as_str)
    ];
    if first(tx, "check a plan's name", sql, values, |_| Ok(()))?.is_some() {
        return Err(CatalogError::PlanNameTaken {
            name: spec.plan_name.clone(),
        });
    }
    Ok(spec.schedule.as_deref().map(Schedule::parse).transpose()?)
}

/// The first run at `now` or later. A plan without a vault has none: its jobs could not be created.
pub(crate) fn first_run(
    spec: &PlanSpec,
    schedule: Option<&Schedule>,
    now: Timestamp,
    zone: &Zone,
) -> Option<Timestamp> {
    spec.vault_id.as_ref()?;
    schedule?.next_run(now.plus_seconds(-1), zone)
}

/// Creates a plan. Its vault must be there, in whatever state: jobs wait until it is CREATED.
pub fn create(
    catalog: &Catalog,
    account_id: &AccountId,
    spec: &PlanSpec,
    switch: PlanSwitch,
    now: Timestamp,
) -> Result<Plan, CatalogError> {
    let operation = "create a plan";
    catalog.write(operation, |tx| {
        let schedule = check_spec(tx, account_id, spec, None)?;
        let next_run = match switch {
            PlanSwitch::Enabled => first_run(spec, schedule.as_ref(), now, catalog.zone()),
            PlanSwitch::Disabled => None,
        };
        let (micros, entropy) = catalog.new_id(now);
        let plan_id = PlanId::new(micros, entropy);
        let sql = "INSERT INTO plans (plan_id, account_id, disabled, next_run_time, created_time, updated_time, \
                   region_id, plan_name, source_type, backup_type, edition, paths, source_fields) \
                   VALUES (?, ?, ?, ?, ?, ?, '', '', '', '', '', '[]', '{}')";
        let values = params![
            plan_id.as_str(),
            account_id.as_str(),
            i64::from(switch == PlanSwitch::Disabled),
            seconds(next_run),
            now.0,
            now.0
        ];
        change(tx, operation, sql, values)?;
        write_spec(tx, operation, &plan_id, spec)?;
        synced(catalog, tx, account_id, &plan_id, now)
    })
}

/// The plan as it is now, its owned plans in line with it.
fn synced(
    catalog: &Catalog,
    tx: &Tx<'_>,
    account_id: &AccountId,
    plan_id: &PlanId,
    now: Timestamp,
) -> Result<Plan, CatalogError> {
    let plan = require(tx, account_id, plan_id)?;
    plan_rules::sync_plan(catalog, tx, &plan, now)?;
    Ok(plan)
}

pub(crate) fn write_spec(
    tx: &Tx<'_>,
    operation: &'static str,
    plan_id: &PlanId,
    spec: &PlanSpec,
) -> Result<(), CatalogError> {
    let sql = "UPDATE plans SET region_id = ?, plan_name = ?, source_type = ?, backup_type = ?, edition = ?, \
               vault_id = ?, client_id = ?, instance_id = ?, bucket = ?, file_system_id = ?, instance_name = ?, \
               paths = ?, include = ?, exclude = ?, speed_limit = ?, options = ?, schedule = ?, retention = ?, \
               keep_latest_snapshots = ?, source_fields = ?, rules = ? WHERE plan_id = ?";
    let values = params![
        spec.region_id,
        spec.plan_name,
        spec.source_type.as_str(),
        spec.backup_type,
        spec.edition,
        text(&spec.vault_id),
        text(&spec.client_id),
        text(&spec.instance_id),
        spec.bucket,
        spec.file_system_id,
        spec.instance_name,
        json(&spec.paths),
        spec.include,
        spec.exclude,
        spec.speed_limit,
        spec.options,
        spec.schedule,
        spec.retention,
        spec.keep_latest_snapshots,
        json(&spec.source_fields),
        spec.rules.as_ref().map(json),
        plan_id.as_str()
    ];
    change(tx, operation, sql, values)?;
    Ok(())
}

/// The plan. `NotFound` when it is another account's, or owned by a policy or another plan.
pub fn get(
    catalog: &Catalog,
    account_id: &AccountId,
    plan_id: &PlanId,
) -> Result<Plan, CatalogError> {
    catalog.read("read a plan", |tx| {
        let plan = require(tx, account_id, plan_id)?;
        if plan.owner_id.is_some() {
            return Err(CatalogError::not_found(Entity::Plan, plan_id));
        }
        Ok(plan)
    })
}

/// A page of the account's plans, newest first (DescribeBackupPlans).
pub fn list(
    catalog: &Catalog,
    account_id: &AccountId,
    filter: &PlanFilter,
    page: PageRequest,
) -> Result<Page<Plan>, CatalogError> {
    catalog.read("list plans", |tx| {
        let mut conditions = Conditions::equal("account_id", account_id.as_str());
        conditions.and("owner_id IS NULL", []);
        conditions.and_in("source_type", filter.source_types.as_deref());
        conditions.and_in("region_id", filter.region_ids.as_deref());
        conditions.and_in("plan_id", filter.plan_ids.as_deref());
        conditions.and_in("vault_id", filter.vault_ids.as_deref());
        conditions.and_in("instance_id", filter.instance_ids.as_deref());
        conditions.and_in("instance_name", filter.instance_names.as_deref());
        conditions.and_in("plan_name", filter.plan_names.as_deref());
        conditions.page(
            tx,
            "list plans",
            ("plans", "created_time DESC, plan_id DESC"),
            page,
            read,
        )
    })
}

/// Changes a plan (UpdateBackupPlan): `edit` gets the present specification and changes what it wants. A new schedule
/// starts to count now.
pub fn update(
    catalog: &Catalog,
    account_id: &AccountId,
    plan_id: &PlanId,
    edit: impl FnOnce(&mut PlanSpec),
    now: Timestamp,
) -> Result<Plan, CatalogError> {
    let operation = "change a plan";
    catalog.write(operation, |tx| {
        let plan = require(tx, account_id, plan_id)?;
        let mut spec = plan.spec.clone();
        edit(&mut spec);
        let schedule = check_spec(tx, account_id, &spec, Some(plan_id))?;
        write_spec(tx, operation, plan_id, &spec)?;
        let next_run = if plan.disabled {
            None
        } else if spec.schedule == plan.spec.schedule {
            plan.next_run_time
        } else {
            first_run(&spec, schedule.as_ref(), now, catalog.zone())
        };
        let sql = "UPDATE plans SET next_run_time = ?, updated_time = ? WHERE plan_id = ?";
        change(
            tx,
            operation,
            sql,
            params![seconds(next_run), now.0, plan_id.as_str()],
        )?;
        synced(catalog, tx, account_id, plan_id, now)
    })
}

/// Lets a plan's schedule run or rest (EnableBackupPlan, DisableBackupPlan). Runs that were missed meanwhile are not
/// made up. No effect on jobs.
pub fn switch(
    catalog: &Catalog,
    account_id: &AccountId,
    plan_id: &PlanId,
    switch: PlanSwitch,
    now: Timestamp,
) -> Result<Plan, CatalogError> {
    let operation = "switch a plan";
    catalog.write(operation, |tx| {
        let plan = require(tx, account_id, plan_id)?;
        let is_off = switch == PlanSwitch::Disabled;
        if plan.disabled == is_off {
            return Ok(plan);
        }
        let schedule = plan
            .spec
            .schedule
            .as_deref()
            .map(Schedule::parse)
            .transpose()?;
        let next_run = if is_off {
            None
        } else {
            first_run(&plan.spec, schedule.as_ref(), now, catalog.zone())
        };
        let sql =
            "UPDATE plans SET disabled = ?, next_run_time = ?, updated_time = ? WHERE plan_id = ?";
        change(
            tx,
            operation,
            sql,
            params![
                i64::from(is_off),
                seconds(next_run),
                now.0,
                plan_id.as_str()
            ],
        )?;
        synced(catalog, tx, account_id, plan_id, now)
    })
}

/// Deletes a plan with its jobs; its snapshots stay (DeleteBackupPlan).
pub fn delete(
    catalog: &Catalog,
    account_id: &AccountId,
    plan_id: &PlanId,
    running: RunningJobs,
) -> Result<(), CatalogError> {
    let operation = "delete a plan";
    catalog.write(operation, |tx| {
        require(tx, account_id, plan_id)?;
        if running == RunningJobs::Refuse
            && let Some(job) = jobs::active(tx, account_id, plan_id)?
        {
            return Err(CatalogError::PlanBusy {
                plan_id: plan_id.to_string(),
                job_id: job.to_string(),
            });
        }
        let ids = [account_id.as_str(), plan_id.as_str()];
        jobs::delete_of(catalog, tx, account_id, jobs::Owner::Plan(plan_id))?;
        change(
            tx,
            operation,
            "DELETE FROM plans WHERE account_id = ? AND plan_id = ?",
            ids,
        )?;
        change(
            tx,
            operation,
            "DELETE FROM plans WHERE owner_id = ?",
            [plan_id.as_str()],
        )?;
        tags::forget(tx, account_id, "plan", plan_id.as_str())
    })
}

/// Ids of the plans that a client runs, owned ones left out.
pub fn of_client(
    catalog: &Catalog,
    account_id: &AccountId,
    client_id: &ClientId,
) -> Result<Vec<PlanId>, CatalogError> {
    let operation = "list a client's plans";
    let sql = "SELECT plan_id FROM plans WHERE account_id = ? AND client_id = ? AND owner_id IS NULL ORDER BY plan_id";
    let ids = [account_id.as_str(), client_id.as_str()];
    catalog.read(operation, |tx| {
        all(tx, operation, sql, ids, |row| row.parsed("plan_id"))
    })
}

/// The plans of all accounts whose next run has come, the longest waiting first, at most `limit`. For each of them call
/// [`jobs::create_scheduled`], which decides and moves the plan on to its next run.
pub fn due(catalog: &Catalog, now: Timestamp, limit: u32) -> Result<Vec<DuePlan>, CatalogError> {
    let operation = "list due plans";
    let sql = "SELECT account_id, plan_id, next_run_time FROM plans \
               WHERE next_run_time IS NOT NULL AND next_run_time <= ? ORDER BY next_run_time, plan_id LIMIT ?";
    catalog.read(operation, |tx| {
        all(tx, operation, sql, params![now.0, limit], |row| {
            Ok(DuePlan {
                account_id: row.parsed("account_id")?,
                plan_id: row.parsed("plan_id")?,
                planned: row.time("next_run_time")?,
            })
        })
    })
}

/// Moves a plan on to its next run.
pub(crate) fn set_next_run(
    tx: &Tx<'_>,
    plan_id: &PlanId,
    next_run: Option<Timestamp>,
) -> Result<(), CatalogError> {
    let sql = "UPDATE plans SET next_run_time = ? WHERE plan_id = ?";
    change(
        tx,
        "schedule a plan",
        sql,
        params![seconds(next_run), plan_id.as_str()],
    )?;
    Ok(())
}

/// Notes the job that was created last.
pub(crate) fn set_latest_execute(
    tx: &Tx<'_>,
    plan_id: &PlanId,
    job_id: &JobId,
) -> Result<(), CatalogError> {
    let sql = "UPDATE plans SET latest_execute_job_id = ? WHERE plan_id = ?";
    change(
        tx,
        "note a plan's job",
        sql,
        [job_id.as_str(), plan_id.as_str()],
    )?;
    Ok(())
}

/// Notes that a job of the plan is no more.
pub(crate) fn forget_job(
    tx: &Tx<'_>,
    account_id: &AccountId,
    plan_id: &PlanId,
    job_id: &JobId,
) -> Result<(), CatalogError> {
    for column in ["latest_execute_job_id", "latest_finish_job_id"] {
        let sql = format!(
            "UPDATE plans SET {column} = NULL WHERE plan_id = ? AND account_id = ? AND {column} = ?"
        );
        let ids = [plan_id.as_str(), account_id.as_str(), job_id.as_str()];
        change(tx, "forget a plan's job", &sql, ids)?;
    }
    Ok(())
}

/// Notes the job that ended last.
pub(crate) fn set_latest_finish(
    tx: &Tx<'_>,
    plan_id: &PlanId,
    job_id: &JobId,
) -> Result<(), CatalogError> {
    let sql = "UPDATE plans SET latest_finish_job_id = ? WHERE plan_id = ?";
    change(
        tx,
        "note a plan's job",
        sql,
        [job_id.as_str(), plan_id.as_str()],
    )?;
    Ok(())
}

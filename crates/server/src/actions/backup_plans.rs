//! CreateBackupPlan, UpdateBackupPlan, DescribeBackupPlans, EnableBackupPlan, DisableBackupPlan, ExecuteBackupPlan,
//! DeleteBackupPlan.

use api::error::{ApiError, Code};
use api::shapes::backup_jobs::JobReply;
use api::shapes::backup_plans::{
    BackupPlan, BackupPlans, BackupPlansReply, HitTags, PlanReply, Resources, Rule, Rules,
};
use api::shapes::{OtsDetail, Paths, TableNames};
use catalog::plans::{PlanFilter, PlanSwitch, RunningJobs};
use catalog::{Plan, PlanSpec, clients, jobs, plan_rules, plans};
use model::{InstanceId, PlanId, SourceType, VaultId, names};

use super::{Answer, Call, client_tasks, lists};
use crate::actions::plan_fields::{self, FileFields};
use crate::failure;

const FILTER_KEYS: &str =
    "regionId, planId, sourceType, vaultId, instanceId, instanceName, planName";

/// Makes a plan of files on a host.
pub(crate) fn create_backup_plan(call: &Call<'_>) -> Answer {
    let params = &call.params;
    plan_fields::check_source(params)?;
    let plan_name = params.required("PlanName")?;
    names::check_plan_name(plan_name).map_err(|error| ApiError::invalid("PlanName", error))?;
    let vault_id: VaultId = lists::id(params, "VaultId", Code::VaultNotExist)?;
    let instance_id: InstanceId = lists::id(params, "InstanceId", Code::InstanceNotExist)?;
    let service = call.service;
    let client = clients::find_by_instance(&service.catalog, &call.account, &instance_id)
        .map_err(failure::of_catalog)?
        .ok_or_else(|| ApiError::of(Code::InstanceNotExist))?;
    client_tasks::check_installed(&client)?;
    let fields = FileFields::read(params)?;
    fields.check_for(&client)?;
    let mut spec = PlanSpec::files(&service.region, plan_name, vault_id, Vec::new());
    fields.apply(&mut spec);
    if let Some(rules) = plan_fields::rules(params, || new_rule_id(call))? {
        spec.rules = serde_json::to_value(rules).ok();
    }
    spec.client_id = Some(client.client_id);
    spec.instance_id = Some(instance_id);
    spec.source_fields.cross_account_type = params.text("CrossAccountType").map(str::to_owned);
    let switch = match params.boolean("Disabled")? {
        Some(true) => PlanSwitch::Disabled,
        _ => PlanSwitch::Enabled,
    };
    let plan = plans::create(&service.catalog, &call.account, &spec, switch, call.now)
        .map_err(failure::of_catalog)?;
    call.reply(PlanReply {
        plan_id: Some(plan.plan_id.to_string()),
    })
}

fn new_rule_id(call: &Call<'_>) -> String {
    let micros = u64::try_from(call.now.0)
        .unwrap_or_default()
        .saturating_mul(1_000_000);
    model::ids::new_id("rule-", micros, rand::random())
}

/// Changes what is named and leaves the rest.
pub(crate) fn update_backup_plan(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let plan = named_plan(call)?;
    if let Some(name) = params.text("PlanName") {
        names::check_plan_name(name).map_err(|error| ApiError::invalid("PlanName", error))?;
    }
    let rules = plan_fields::rules(params, || new_rule_id(call))?;
    let fields = FileFields::read(params)?;
    let service = call.service;
    if let Some(client_id) = &plan.spec.client_id {
        let client = clients::get(&service.catalog, &call.account, client_id)
            .map_err(failure::of_catalog)?;
        fields.check_for(&client)?;
    }
    let update_paths = params.boolean("UpdatePaths")? == Some(true);
    let name = params.text("PlanName").map(str::to_owned);
    let edit = |spec: &mut PlanSpec| {
        if update_paths {
            spec.paths.clear();
        }
        if let Some(name) = name {
            spec.plan_name = name;
        }
        fields.apply(spec);
        if let Some(rules) = rules {
            spec.rules = serde_json::to_value(rules).ok();
        }
    };
    plans::update(
        &service.catalog,
        &call.account,
        &plan.plan_id,
        edit,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// The plan of `PlanId`; `VaultId` and `SourceType` are checked against it if they are there.
fn named_plan(call: &Call<'_>) -> Result<Plan, ApiError> {
    let params = &call.params;
    let plan_id: PlanId = lists::id(params, "PlanId", Code::PlanNotExist)?;
    let plan =
        plans::get(&call.service.catalog, &call.account, &plan_id).map_err(failure::of_catalog)?;
    if let Some(vault) = params.text("VaultId")
        && plan
            .spec
            .vault_id
            .as_ref()
            .is_some_and(|own| own.as_str() != vault)
    {
        return Err(ApiError::invalid(
            "VaultId",
            "the plan belongs to another vault",
        ));
    }
    if let Some(kind) = params.parsed::<SourceType>("SourceType")?
        && kind != plan.spec.source_type
    {
        return Err(ApiError::invalid(
            "SourceType",
            format!("the plan's is {}", plan.spec.source_type),
        ));
    }
    Ok(plan)
}

/// Lets the schedule run.
pub(crate) fn enable_backup_plan(call: &Call<'_>) -> Answer {
    switch(call, PlanSwitch::Enabled)
}

/// Lets the schedule rest.
pub(crate) fn disable_backup_plan(call: &Call<'_>) -> Answer {
    switch(call, PlanSwitch::Disabled)
}

fn switch(call: &Call<'_>, to: PlanSwitch) -> Answer {
    let plan = named_plan(call)?;
    plans::switch(
        &call.service.catalog,
        &call.account,
        &plan.plan_id,
        to,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Makes a job of the plan now. It waits if the plan's former job still runs.
pub(crate) fn execute_backup_plan(call: &Call<'_>) -> Answer {
    let plan = named_plan(call)?;
    let catalog = &call.service.catalog;
    if let Some(client_id) = &plan.spec.client_id {
        let client =
            clients::get(catalog, &call.account, client_id).map_err(failure::of_catalog)?;
        client_tasks::check_installed(&client)?;
    }
    let plan_id = match call.params.text("RuleId") {
        Some(rule_id) => {
            plan_rules::plan_of_rule(catalog, &call.account, plan.plan_id.as_str(), rule_id)
                .map_err(failure::of_catalog)?
        }
        None => plan.plan_id,
    };
    let job =
        jobs::create(catalog, &call.account, &plan_id, call.now).map_err(failure::of_catalog)?;
    call.service.ring();
    call.reply(JobReply {
        job_id: Some(job.job_id.to_string()),
    })
}

/// Deletes the plan and its jobs; its snapshots stay.
pub(crate) fn delete_backup_plan(call: &Call<'_>) -> Answer {
    let plan = named_plan(call)?;
    let running = match call.params.boolean("RequireNoRunningJobs")? {
        Some(true) => RunningJobs::Refuse,
        _ => RunningJobs::Drop,
    };
    plans::delete(&call.service.catalog, &call.account, &plan.plan_id, running)
        .map_err(failure::of_catalog)?;
    call.service.ring();
    call.done()
}

/// Lists plans.
pub(crate) fn describe_backup_plans(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let page = lists::page(params)?;
    plan_fields::check_edition(params)?;
    let mut filter = PlanFilter::default();
    if let Some(kind) = params.parsed::<SourceType>("SourceType")? {
        filter.source_types = Some(vec![kind.as_str().to_owned()]);
    }
    lists::simple_filters(params, FILTER_KEYS, |key, values| {
        let slot = match key {
            "regionid" => &mut filter.region_ids,
            "planid" => &mut filter.plan_ids,
            "sourcetype" => &mut filter.source_types,
            "vaultid" => &mut filter.vault_ids,
            "instanceid" => &mut filter.instance_ids,
            "instancename" => &mut filter.instance_names,
            "planname" => &mut filter.plan_names,
            _ => return false,
        };
        lists::narrow(slot, values);
        true
    })?;
    let found = plans::list(&call.service.catalog, &call.account, &filter, page)
        .map_err(failure::of_catalog)?;
    call.reply(BackupPlansReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: lists::total_i64(found.total),
        backup_plans: Some(BackupPlans {
            backup_plan: Some(found.rows.into_iter().map(shape).collect()),
        }),
    })
}

fn rule_shape(rule: plan_rules::PlanRule) -> Rule {
    Rule {
        rule_id: Some(rule.rule_id),
        rule_name: rule.rule_name,
        backup_type: Some(rule.backup_type.unwrap_or_else(|| "COMPLETE".to_owned())),
        schedule: rule.schedule,
        retention: rule.retention,
        disabled: Some(rule.disabled.unwrap_or(false)),
        do_copy: Some(false),
        ..Rule::default()
    }
}

/// What was stored, exactly: Terraform compares it with what it sent.
fn shape(plan: Plan) -> BackupPlan {
    let rules = plan_rules::of_plan(&plan)
        .into_iter()
        .map(rule_shape)
        .collect();
    let spec = plan.spec;
    let fields = spec.source_fields;
    BackupPlan {
        plan_id: Some(plan.plan_id.to_string()),
        plan_name: Some(spec.plan_name),
        source_type: Some(spec.source_type.as_str().to_owned()),
        vault_id: spec.vault_id.map(String::from),
        backup_type: Some(spec.backup_type),
        schedule: spec.schedule,
        retention: spec.retention,
        keep_latest_snapshots: spec.keep_latest_snapshots,
        disabled: Some(plan.disabled),
        created_time: Some(plan.created_time.0),
        updated_time: Some(plan.updated_time.0),
        business_status: Some("ACTIVE".to_owned()),
        created_by_tag: Some(false),
        latest_execute_job_id: plan.latest_execute_job_id.map(String::from),
        latest_finish_job_id: plan.latest_finish_job_id.map(String::from),
        client_id: spec.client_id.map(String::from),
        instance_id: spec.instance_id.map(String::from),
        paths: Some(Paths {
            path: Some(spec.paths),
        }),
        include: spec.include,
        exclude: spec.exclude,
        options: spec.options,
        speed_limit: spec.speed_limit,
        rules: Some(Rules { rule: Some(rules) }),
        hit_tags: Some(HitTags {
            hit_tag: Some(Vec::new()),
        }),
        resources: Some(Resources {
            resource: Some(Vec::new()),
        }),
        data_source_id: fields.data_source_id,
        cluster_id: fields.cluster_id,
        bucket: spec.bucket,
        prefix: fields.prefix,
        file_system_id: spec.file_system_id,
        create_time: fields.create_time,
        instance_name: spec.instance_name,
        ots_detail: (!fields.table_names.is_empty()).then_some(OtsDetail {
            table_names: Some(TableNames {
                table_name: Some(fields.table_names),
            }),
        }),
        detail: fields.detail.map(|detail| detail.to_string()),
        change_list_path: fields.change_list_path,
        dest_source_type: fields.dest_source_type,
        dest_data_source_id: fields.dest_data_source_id,
        dest_data_source_detail: fields.dest_data_source_detail,
        cross_account_type: Some(
            fields
                .cross_account_type
                .unwrap_or_else(|| "SELF_ACCOUNT".to_owned()),
        ),
        cross_account_user_id: fields.cross_account_user_id,
        cross_account_role_name: fields.cross_account_role_name,
        ..BackupPlan::default()
    }
}

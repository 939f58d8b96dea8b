//! The fields of a plan of files that CreateBackupPlan and UpdateBackupPlan have in common, checked.

use api::error::{ApiError, Code};
use api::params::Params;
use catalog::plan_rules::PlanRule;
use catalog::{Client, PlanSpec, clients};
use model::names::LONGEST_PATH_BYTES;
use model::retention::MAX_RETENTION_DAYS;
use model::{BackupOptions, Schedule, SourceType, SpeedLimit, patterns};

use super::{Call, client_tasks, lists};
use crate::failure;

/// More source paths than a plan sensibly has.
pub(crate) const MAX_PATHS: usize = 1_000;
/// More rules than a plan sensibly has.
const MAX_RULES: usize = 20;
/// What this server protects.
pub(crate) const PROTECTED: &[SourceType] = &[SourceType::EcsFile];

/// What came in; `None` is what was not named. An empty text takes a field away.
#[derive(Debug, Default)]
pub(crate) struct FileFields {
    paths: Option<Vec<String>>,
    include: Option<String>,
    exclude: Option<String>,
    options: Option<String>,
    use_vss: bool,
    speed_limit: Option<String>,
    schedule: Option<String>,
    retention: Option<i64>,
    keep_latest_snapshots: Option<i64>,
}

/// Only files of a host can be protected yet; says so at creation time, never later.
pub(crate) fn check_source(params: &Params) -> Result<(), ApiError> {
    check_protectable(params, "SourceType")?;
    check_edition(params)?;
    if params.text("Edition") == Some("BASIC") {
        return Err(not_supported(
            "Plans of the edition BASIC are not supported by this server.".to_owned(),
        ));
    }
    check_cross_account(params)?;
    match params.text("BackupType") {
        None | Some("COMPLETE") => {}
        Some(_) => {
            return Err(ApiError::invalid(
                "BackupType",
                "the valid value is COMPLETE",
            ));
        }
    }
    Ok(())
}

/// A source type that this server protects: what every action that would create protection asks first.
pub(crate) fn check_protectable(params: &Params, name: &str) -> Result<SourceType, ApiError> {
    let word = params.required(name)?;
    let kind: SourceType = word
        .parse()
        .map_err(|error: model::UnknownWord| ApiError::invalid(&params.full_name(name), error))?;
    if PROTECTED.contains(&kind) {
        return Ok(kind);
    }
    let known: Vec<&str> = PROTECTED.iter().map(|kind| kind.as_str()).collect();
    Err(not_supported(format!(
        "The source type {kind} is not supported by this server yet; it protects {}.",
        known.join(", ")
    )))
}

/// The caller's own account.
pub(crate) fn check_cross_account(params: &Params) -> Result<(), ApiError> {
    match params.text("CrossAccountType") {
        None | Some("SELF_ACCOUNT") => Ok(()),
        Some("CROSS_ACCOUNT" | "CROSS_ACCOUNT_BY_RD") => Err(not_supported(
            "Backup across accounts is not supported by this server yet.".to_owned(),
        )),
        Some(_) => Err(ApiError::invalid(
            &params.full_name("CrossAccountType"),
            "valid values are SELF_ACCOUNT, CROSS_ACCOUNT, CROSS_ACCOUNT_BY_RD",
        )),
    }
}

/// `BASIC` or `STANDARD`.
pub(crate) fn check_edition(params: &Params) -> Result<(), ApiError> {
    match params.text("Edition") {
        None | Some("BASIC" | "STANDARD") => Ok(()),
        Some(_) => Err(ApiError::invalid(
            "Edition",
            "valid values are BASIC, STANDARD",
        )),
    }
}

/// `Rule[]`: a plan may have several schedules, each with a retention of its own. `None` when there are none.
pub(crate) fn rules(
    params: &Params,
    new_id: impl Fn() -> String,
) -> Result<Option<Vec<PlanRule>>, ApiError> {
    let members = params.objects("Rule")?;
    if members.is_empty() {
        return Ok(None);
    }
    if members.len() > MAX_RULES {
        return Err(ApiError::invalid(
            "Rule",
            format!("a plan has at most {MAX_RULES} rules"),
        ));
    }
    let read = |member: &Params| {
        let schedule = member.required("Schedule")?;
        Schedule::parse(schedule)
            .map_err(|why| ApiError::invalid(&member.full_name("Schedule"), why))?;
        match member.text("BackupType") {
            None | Some("COMPLETE") => {}
            Some(_) => {
                return Err(ApiError::invalid(
                    &member.full_name("BackupType"),
                    "the valid value is COMPLETE",
                ));
            }
        }
        if member.boolean("DoCopy")? == Some(true) || member.has("DestinationRegionId") {
            return Err(not_supported(
                "Copies to another region are not supported by this server yet.".to_owned(),
            ));
        }
        if member
            .text("RuleId")
            .is_some_and(|id| id.len() > model::ids::MAX_ID_CHARS)
        {
            return Err(ApiError::invalid(
                &member.full_name("RuleId"),
                "it is too long",
            ));
        }
        Ok(PlanRule {
            rule_id: member.text("RuleId").map_or_else(&new_id, str::to_owned),
            rule_name: member.text("RuleName").map(str::to_owned),
            backup_type: member.text("BackupType").map(str::to_owned),
            schedule: Some(schedule.to_owned()),
            retention: member.int_in("Retention", 1..=MAX_RETENTION_DAYS)?,
            disabled: member.boolean("Disabled")?,
        })
    };
    let rules = members
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, ApiError>>()?;
    let distinct: std::collections::BTreeSet<&str> =
        rules.iter().map(|rule| rule.rule_id.as_str()).collect();
    if distinct.len() != rules.len() {
        return Err(ApiError::invalid("Rule", "two rules have one RuleId"));
    }
    Ok(Some(rules))
}

fn not_supported(message: String) -> ApiError {
    ApiError::new(Code::OperationNotSupported, message)
}

impl FileFields {
    /// Reads and checks.
    pub(crate) fn read(params: &Params) -> Result<Self, ApiError> {
        let given = |name: &str| params.given(name).map(str::to_owned);
        let fields = Self {
            paths: paths(params)?,
            include: given("Include"),
            exclude: given("Exclude"),
            options: given("Options"),
            use_vss: options(params)?.use_vss,
            speed_limit: given("SpeedLimit"),
            schedule: given("Schedule"),
            retention: params.int_in("Retention", 1..=MAX_RETENTION_DAYS)?,
            keep_latest_snapshots: params.int_in("KeepLatestSnapshots", 0..=1)?,
        };
        for name in ["Include", "Exclude"] {
            patterns::parse(params.given(name).unwrap_or_default())
                .map_err(|why| ApiError::invalid(name, why))?;
        }
        if let Some(text) = params.text("SpeedLimit") {
            SpeedLimit::parse(text).map_err(|why| ApiError::invalid("SpeedLimit", why))?;
        }
        if let Some(text) = params.text("Schedule") {
            Schedule::parse(text).map_err(|why| ApiError::invalid("Schedule", why))?;
        }
        Ok(fields)
    }

    /// Checks what depends on the host.
    pub(crate) fn check_for(&self, client: &Client) -> Result<(), ApiError> {
        if self.use_vss && !client.os_type.eq_ignore_ascii_case("windows") {
            return Err(ApiError::invalid(
                "Options",
                format!(
                    "UseVSS is for Windows; the host {} of this plan runs {}",
                    client.hostname, client.os_type
                ),
            ));
        }
        Ok(())
    }

    /// Writes what was named.
    pub(crate) fn apply(self, spec: &mut PlanSpec) {
        if let Some(paths) = self.paths {
            spec.paths = paths;
        }
        for (new, field) in [
            (self.include, &mut spec.include),
            (self.exclude, &mut spec.exclude),
            (self.options, &mut spec.options),
            (self.speed_limit, &mut spec.speed_limit),
            (self.schedule, &mut spec.schedule),
        ] {
            match new {
                None => {}
                Some(text) if text.trim().is_empty() => *field = None,
                Some(text) => *field = Some(text),
            }
        }
        spec.retention = self.retention.or(spec.retention);
        spec.keep_latest_snapshots = self.keep_latest_snapshots.or(spec.keep_latest_snapshots);
    }
}

/// What CreateBackupJob asks for, as the plan that runs it.
pub(crate) fn adhoc_spec(call: &Call<'_>) -> Result<PlanSpec, ApiError> {
    let params = &call.params;
    match params.text("BackupType") {
        None | Some("COMPLETE") => {}
        Some(_) => {
            return Err(ApiError::invalid(
                "BackupType",
                "the valid value is COMPLETE",
            ));
        }
    }
    let vault_id = lists::id(params, "VaultId", Code::VaultNotExist)?;
    let instance_id = lists::id(params, "InstanceId", Code::InstanceNotExist)?;
    let service = call.service;
    let client = clients::find_by_instance(&service.catalog, &call.account, &instance_id)
        .map_err(failure::of_catalog)?
        .ok_or_else(|| ApiError::of(Code::InstanceNotExist))?;
    client_tasks::check_installed(&client)?;
    let fields = FileFields::read(params)?;
    fields.check_for(&client)?;
    let name = params.text("JobName").unwrap_or("CreateBackupJob");
    model::names::check_job_name(name).map_err(|why| ApiError::invalid("JobName", why))?;
    let mut spec = PlanSpec::files(&service.region, name, vault_id, Vec::new());
    fields.apply(&mut spec);
    spec.schedule = None;
    spec.client_id = Some(client.client_id);
    spec.instance_id = Some(instance_id);
    Ok(spec)
}

fn options(params: &Params) -> Result<BackupOptions, ApiError> {
    let text = params.given("Options").unwrap_or_default();
    BackupOptions::parse(text).map_err(|why| ApiError::invalid("Options", failure_text(&why)))
}

/// A reason with the reason behind it.
pub(crate) fn failure_text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Absolute paths without `.` and `..`, each once; `None` if no list was given.
fn paths(params: &Params) -> Result<Option<Vec<String>>, ApiError> {
    let list = params.list("Path")?;
    if list.is_empty() {
        return Ok(None);
    }
    if list.len() > MAX_PATHS {
        return Err(ApiError::invalid(
            "Path",
            format!("a plan has at most {MAX_PATHS} paths"),
        ));
    }
    let mut paths: Vec<String> = Vec::with_capacity(list.len());
    for (number, path) in (1..).zip(list) {
        check_path(&path).map_err(|why| ApiError::invalid(&format!("Path.{number}"), why))?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(Some(paths))
}

/// Checks an absolute path of a Linux host.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("it must be an absolute path");
    }
    if path.len() > LONGEST_PATH_BYTES {
        return Err("it must not have more than 4096 bytes");
    }
    if path.contains('\0') {
        return Err("it must not hold a NUL character");
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("it must not hold `.` or `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_path;

    #[test]
    fn paths() {
        let check = |path: &str, expected: bool| {
            assert_eq!(check_path(path).is_ok(), expected, "{path:.40}");
        };
        check("/", true);
        check("/a/b c", true);
        check("/a/...", true);
        check("", false);
        check("a", false);
        check("/a\0", false);
        check("/a/../b", false);
        check("/./a", false);
        check(&"/a".repeat(2048), true);
        check(&"/a".repeat(2049), false);
    }
}

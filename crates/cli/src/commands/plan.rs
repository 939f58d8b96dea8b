//! `plan create|list|run|delete`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::follow::{JobKind, to_the_end};
use super::{Context, jobs, lookup, restore};
use crate::args::{Confirmed, PlanCommand, PlanCreateArgs, WhenArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table};
use crate::paths;
use crate::session::{Parameters, Session, number, rows, text};

/// Longest plan name.
const MAX_NAME: usize = 64;

/// Runs a verb.
pub(crate) fn run(context: &Context, command: PlanCommand) -> Result<Exit, Failure> {
    match command {
        PlanCommand::Create(args) => create(context, *args),
        PlanCommand::List { vault, json } => list(context, vault.as_deref(), json),
        PlanCommand::Run { plan, wait, json } => execute(context, &plan, wait, json),
        PlanCommand::Delete { plan, confirmed } => delete(context, &plan, confirmed),
    }
}

/// UNIX seconds now.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The schedule that was asked for, as the API has it.
pub(crate) fn schedule(args: &WhenArgs) -> Result<String, Failure> {
    match &args.schedule {
        Some(schedule) => Ok(schedule.clone()),
        None => schedule_from_now(&args.every, now()),
    }
}

/// A schedule whose first run is one interval from now: the caller runs the first backup by itself, or does not want one
/// at once.
pub(crate) fn schedule_from_now(every: &str, now: i64) -> Result<String, Failure> {
    let wrong = |error: &dyn std::error::Error| {
        Failure::usage(
            format!(
                "--every {every} is not valid: {}",
                crate::exit::chain(error)
            ),
            "write it as PT6H, P1D or P1M",
        )
    };
    let from_now =
        model::Schedule::parse(&format!("I|{now}|{every}")).map_err(|error| wrong(&error))?;
    let first = from_now
        .next_run(model::Timestamp(now), &model::Zone::utc())
        .ok_or_else(|| {
            Failure::usage(
                format!("--every {every} is longer than the calendar"),
                "write it as PT6H, P1D or P1M",
            )
        })?;
    Ok(format!("I|{}|{every}", first.0))
}

/// A name for a plan, made from its paths.
pub(crate) fn name_for(paths: &[String]) -> String {
    let all = paths.join(" ");
    let letters = all.chars().count();
    if letters <= MAX_NAME {
        return all;
    }
    let tail: String = all.chars().skip(letters - (MAX_NAME - 1)).collect();
    format!("…{tail}")
}

/// A path for the API, absolute and in UTF-8.
pub(crate) fn api_path(path: &Path) -> Result<String, Failure> {
    let absolute = paths::absolute(path)?;
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::new(
            format!(
                "the API cannot carry the path {}: it is not UTF-8",
                path.to_string_lossy()
            ),
            "protect the folder that it is in; names below are kept as they are",
        )
    })
}

/// The paths for the API. Those of another host are not this host's to interpret.
pub(crate) fn paths_on_host(typed: &[String], is_another: bool) -> Result<Vec<String>, Failure> {
    if is_another {
        return Ok(typed.to_vec());
    }
    typed.iter().map(|path| api_path(Path::new(path))).collect()
}

fn create(context: &Context, args: PlanCreateArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let vault = lookup::vault(&session, &args.vault)?;
    let instance = restore::instance(context, &session, args.instance.as_deref())?;
    let paths = paths_on_host(&args.path, args.instance.is_some())?;
    let schedule = schedule(&args.when)?;
    let name = args.name.unwrap_or_else(|| name_for(&paths));
    let plan = new_plan(
        &session,
        text(&vault, "VaultId"),
        &instance,
        &name,
        &schedule,
        &paths,
        |parameters| {
            let list = |patterns: &[String]| (!patterns.is_empty()).then(|| json!(patterns));
            parameters
                .with_some("Include", list(&args.what.include))
                .with_some("Exclude", list(&args.what.exclude))
                .with_some("SpeedLimit", args.what.speed_limit.as_ref())
                .with_some("Retention", args.keep.keep_days)
                .with_some("KeepLatestSnapshots", args.keep.keep_latest.then_some(1))
        },
    )?;
    context.screen.line(&plan);
    Ok(Exit::Done)
}

/// Makes a plan and returns its id.
pub(crate) fn new_plan(
    session: &Session,
    vault_id: &str,
    instance_id: &str,
    name: &str,
    schedule: &str,
    paths: &[String],
    more: impl FnOnce(Parameters) -> Parameters,
) -> Result<String, Failure> {
    let mut parameters = Parameters::new()
        .with("SourceType", "ECS_FILE")
        .with("BackupType", "COMPLETE")
        .with("VaultId", vault_id)
        .with("InstanceId", instance_id)
        .with("PlanName", name)
        .with("Schedule", schedule);
    for (at, path) in paths.iter().enumerate() {
        parameters = parameters.with(&format!("Path.{}", at + 1), path);
    }
    let reply = session.call("CreateBackupPlan", more(parameters))?;
    Ok(text(&reply, "PlanId").to_owned())
}

fn list(context: &Context, vault: Option<&str>, as_json: bool) -> Result<Exit, Failure> {
    let session = context.session()?;
    let vault = vault
        .map(|wanted| lookup::vault(&session, wanted))
        .transpose()?;
    let vault_id = vault.as_ref().map(|vault| text(vault, "VaultId"));
    let plans = lookup::plans(&session, vault_id)?;
    if as_json {
        for plan in &plans {
            context.screen.json(plan);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("PLAN"),
        Column::Flexible("NAME"),
        Column::Text("STATE"),
        Column::Text("SCHEDULE"),
        Column::Text("KEEP"),
        Column::Text("VAULT"),
        Column::Text("INSTANCE"),
        Column::Path("PATHS"),
    ])
    .sparing(&["INSTANCE", "VAULT", "KEEP", "NAME", "STATE"]);
    for plan in &plans {
        let disabled = plan
            .get("Disabled")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let (state, paint) = if disabled {
            ("disabled", Paint::Dim)
        } else {
            ("enabled", Paint::Green)
        };
        let plain = |name: &str| (text(plan, name).to_owned(), Paint::Plain);
        table.painted_row(vec![
            plain("PlanId"),
            plain("PlanName"),
            (state.to_owned(), paint),
            plain("Schedule"),
            (kept(plan), Paint::Plain),
            plain("VaultId"),
            plain("InstanceId"),
            (jobs::paths(plan), Paint::Plain),
        ]);
    }
    context.screen.text(&table.render(&context.screen));
    Ok(Exit::Done)
}

/// How long snapshots of a plan or of a rule are kept: all, the newest, and the chosen ones of each period.
pub(crate) fn kept(rule: &Value) -> String {
    let mut told = match number(rule, "Retention") {
        days if days > 0 => vec![format!("{days} d")],
        _ => return "for ever".to_owned(),
    };
    if number(rule, "KeepLatestSnapshots") == 1 {
        told.push("newest always".to_owned());
    }
    for advanced in rows(rule, &["RetentionRules"]) {
        let period = text(&advanced, "AdvancedRetentionType").to_ascii_lowercase();
        told.push(format!("{period} {} d", number(&advanced, "Retention")));
    }
    told.join(", ")
}

/// Starts a backup of a plan and returns the job id.
pub(crate) fn start(session: &Session, plan: &Value) -> Result<String, Failure> {
    let reply = session.call("ExecuteBackupPlan", naming(plan))?;
    Ok(text(&reply, "JobId").to_owned())
}

/// The parameters that name a plan, as far as it is known.
fn naming(plan: &Value) -> Parameters {
    let vault_id = Some(text(plan, "VaultId")).filter(|id| !id.is_empty());
    Parameters::new()
        .with("PlanId", text(plan, "PlanId"))
        .with_some("VaultId", vault_id)
        .with("SourceType", "ECS_FILE")
}

fn execute(context: &Context, plan: &str, wait: bool, json: bool) -> Result<Exit, Failure> {
    let session = context.session()?;
    let plan = lookup::plan(&session, plan)?;
    let job = start(&session, &plan)?;
    if !wait {
        let line = if json {
            json!({ "JobId": job }).to_string()
        } else {
            job
        };
        context.screen.line(&line);
        return Ok(Exit::Done);
    }
    let label = match text(&plan, "VaultId") {
        // Its id is all that is known of it.
        "" => text(&plan, "PlanId").to_owned(),
        _ => jobs::paths(&plan),
    };
    let job = (job.as_str(), &*label);
    to_the_end(context, &session, JobKind::Backup, job, json)
}

fn delete(context: &Context, plan: &str, confirmed: Confirmed) -> Result<Exit, Failure> {
    let session = context.session()?;
    let plan = lookup::plan(&session, plan)?;
    confirmed.ask(&format!(
        "delete the plan {} and its jobs? Its snapshots stay.",
        lookup::PLAN.shown(&plan)
    ))?;
    let id = text(&plan, "PlanId");
    session.call("DeleteBackupPlan", naming(&plan))?;
    context.screen.line(&format!("{id} is deleted"));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{kept, name_for, schedule_from_now};
    use serde_json::json;

    #[test]
    fn how_long_is_said_in_days() {
        for (rule, expected) in [
            (json!({}), "for ever"),
            (
                json!({"Retention": -1, "KeepLatestSnapshots": 1}),
                "for ever",
            ),
            (json!({"Retention": 30, "KeepLatestSnapshots": 0}), "30 d"),
            (
                json!({"Retention": 30, "KeepLatestSnapshots": 1}),
                "30 d, newest always",
            ),
            (
                json!({"Retention": 30, "KeepLatestSnapshots": 1, "RetentionRules": [
                    {"AdvancedRetentionType": "MONTHLY", "Retention": 365, "WhichSnapshot": 1},
                    {"AdvancedRetentionType": "YEARLY", "Retention": 3650, "WhichSnapshot": 1},
                ]}),
                "30 d, newest always, monthly 365 d, yearly 3650 d",
            ),
        ] {
            assert_eq!(kept(&rule), expected, "{rule}");
        }
    }

    #[test]
    fn names_fit() {
        assert_eq!(name_for(&["/a".into(), "/b".into()]), "/a /b");
        let long = name_for(&[format!("/{}/end", "x".repeat(100))]);
        assert_eq!(long.chars().count(), 64);
        assert!(long.starts_with('…') && long.ends_with("/end"));
    }

    #[test]
    fn the_first_run_is_one_interval_away() {
        assert_eq!(schedule_from_now("P1D", 1000).unwrap(), "I|87400|P1D");
        assert!(schedule_from_now("daily", 1000).is_err());
    }
}

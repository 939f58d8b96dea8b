//! `policy list|run|simulate|delete`; `create`, `bind`, `unbind` and `bindings` are in `policy_rules`.

use serde_json::{Value, json};

use super::{Context, lookup, plan, policy_rules};
use crate::args::{Confirmed, PolicyCommand, SimulateArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, bytes, clock, counted};
use crate::session::{Parameters, Session, number, rows, size, text};

/// Runs a verb.
pub(crate) fn run(context: &Context, command: PolicyCommand) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Create(args) => policy_rules::create(context, &args),
        PolicyCommand::Bind(args) => policy_rules::bind(context, &args),
        PolicyCommand::Unbind { policy, instance } => {
            policy_rules::unbind(context, &policy, &instance)
        }
        PolicyCommand::Bindings { policy, json } => {
            policy_rules::bindings(context, policy.as_deref(), json)
        }
        PolicyCommand::List { json } => list(context, json),
        PolicyCommand::Run { policy, rule } => execute(context, &policy, rule.as_deref()),
        PolicyCommand::Simulate(args) => simulate(context, &args),
        PolicyCommand::Delete { policy, confirmed } => delete(context, &policy, confirmed),
    }
}

fn list(context: &Context, as_json: bool) -> Result<Exit, Failure> {
    let policies = lookup::policies(&context.session()?)?;
    if as_json {
        for policy in &policies {
            context.screen.json(policy);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("POLICY"),
        Column::Flexible("NAME"),
        Column::Text("RULE"),
        Column::Text("TYPE"),
        Column::Flexible("SCHEDULE"),
        Column::Flexible("KEEP"),
        Column::Text("VAULT"),
        Column::Text("BOUND"),
    ]);
    for policy in &policies {
        for rule in rows(policy, &["Rules"]) {
            table.row(vec![
                text(policy, "PolicyId").to_owned(),
                text(policy, "PolicyName").to_owned(),
                text(&rule, "RuleId").to_owned(),
                text(&rule, "RuleType").to_owned(),
                text(&rule, "Schedule").to_owned(),
                match text(&rule, "RuleType") {
                    "BACKUP" | "TRANSITION" => plan::kept(&rule),
                    _ => String::new(),
                },
                text(&rule, "VaultId").to_owned(),
                number(policy, "PolicyBindingCount").to_string(),
            ]);
        }
    }
    context.screen.text(&table.render(&context.screen));
    Ok(Exit::Done)
}

fn execute(context: &Context, wanted: &str, rule: Option<&str>) -> Result<Exit, Failure> {
    let session = context.session()?;
    let policy = lookup::policy(&session, wanted)?;
    let policy_id = text(&policy, "PolicyId");
    let rules: Vec<Value> = rows(&policy, &["Rules"])
        .into_iter()
        .filter(|known| text(known, "RuleType") == "BACKUP")
        .filter(|known| rule.is_none_or(|wanted| wanted == text(known, "RuleId")))
        .collect();
    if rules.is_empty() {
        return Err(Failure::with(
            Exit::NotFound,
            format!(
                "the policy {policy_id} has no BACKUP rule {}",
                rule.unwrap_or_default()
            ),
            "look for it: strongroom policy list",
        ));
    }
    for rule in &rules {
        let parameters = Parameters::new()
            .with("PolicyId", policy_id)
            .with("RuleId", text(rule, "RuleId"));
        let reply = session.call("ExecutePolicyV2", parameters)?;
        context.screen.line(text(&reply, "JobId"));
    }
    Ok(Exit::Done)
}

/// `RetentionRules` that keep the first snapshot of each day, week, month and year for so many days; `None` without any.
pub(crate) fn advanced_retention(days: [Option<i64>; 4]) -> Option<Value> {
    let rules: Vec<Value> = ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
        .into_iter()
        .zip(days)
        .filter_map(|(period, days)| {
            Some(json!({"AdvancedRetentionType": period, "Retention": days?, "WhichSnapshot": 1}))
        })
        .collect();
    (!rules.is_empty()).then(|| json!(rules))
}

/// Finds a thing by its id or name.
type Find = fn(&Session, &str) -> Result<Value, Failure>;

fn simulate(context: &Context, args: &SimulateArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    if args.plan.is_some() && args.days.is_some_and(|days| days <= 0) {
        return Err(Failure::usage(
            format!(
                "a plan takes no {} as its days",
                args.days.unwrap_or_default()
            ),
            "a plan without days keeps for ever; to see what a policy's rule without days would do, leave --plan out",
        ));
    }
    let found = |wanted: &Option<String>, find: Find| {
        let wanted = wanted.as_deref();
        wanted.map(|wanted| find(&session, wanted)).transpose()
    };
    let policy = found(&args.policy, lookup::policy)?;
    let plan = args.plan.as_deref();
    let plan = plan
        .map(|wanted| lookup::plan_id(&session, wanted))
        .transpose()?;
    let vault = found(&args.vault, lookup::vault)?;
    let id = |thing: &Option<Value>, name| thing.as_ref().map(|row| text(row, name).to_owned());
    let advanced = advanced_retention([args.daily, args.weekly, args.monthly, args.yearly]);
    let parameters = Parameters::new()
        .with_some("PolicyId", id(&policy, "PolicyId"))
        .with_some("PlanId", plan)
        .with_some("VaultId", id(&vault, "VaultId"))
        .with_some("At", args.at)
        .with_some("Retention", args.days)
        .with_some("KeepLatestSnapshots", args.keep_latest.then_some(1))
        .with_some("RetentionRules", advanced);
    let reply = session.call("SimulateRetention", parameters)?;
    let snapshots = rows(&reply, &["Snapshots"]);
    if args.json {
        for snapshot in &snapshots {
            context.screen.json(snapshot);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("SNAPSHOT"),
        Column::Text("RECEIVED"),
        Column::Text("ADDED"),
        Column::Text("VERDICT"),
        Column::Text("WHY"),
        Column::Text("UNTIL"),
    ]);
    for snapshot in &snapshots {
        let kept = snapshot
            .get("Keep")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let (verdict, paint) = if kept {
            ("keep", Paint::Green)
        } else {
            ("goes", Paint::Amber)
        };
        let end = snapshot.get("End").and_then(Value::as_i64);
        let plain = |cell: String| (cell, Paint::Plain);
        table.painted_row(vec![
            plain(text(snapshot, "SnapshotId").to_owned()),
            plain(clock(number(snapshot, "CreatedTime"))),
            plain(bytes(size(snapshot, "ActualBytes"))),
            (verdict.to_owned(), paint),
            plain(
                text(snapshot, "Reason")
                    .to_ascii_lowercase()
                    .replace('_', " "),
            ),
            plain(end.filter(|_| kept).map(clock).unwrap_or_default()),
        ]);
    }
    context.screen.text(&table.render(&context.screen));
    context.screen.line(&format!(
        "{} kept, {} would go, at most {} freed",
        number(&reply, "KeptCount"),
        number(&reply, "ExpiredCount"),
        bytes(size(&reply, "FreedBytesAtMost")),
    ));
    Ok(Exit::Done)
}

fn delete(context: &Context, wanted: &str, confirmed: Confirmed) -> Result<Exit, Failure> {
    let session = context.session()?;
    let policy = lookup::policy(&session, wanted)?;
    let policy_id = text(&policy, "PolicyId");
    let hosts = match size(&policy, "PolicyBindingCount") {
        0 => String::new(),
        bound => format!(
            " {} will not be backed up by it any more.",
            counted(bound, "bound host")
        ),
    };
    confirmed.ask(&format!(
        "delete the policy {}?{hosts} Its snapshots stay.",
        lookup::POLICY.shown(&policy)
    ))?;
    session.call(
        "DeletePolicyV2",
        Parameters::new().with("PolicyId", policy_id),
    )?;
    context.screen.line(&format!("{policy_id} is deleted"));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::advanced_retention;
    use serde_json::json;

    #[test]
    fn each_period_has_its_days() {
        assert_eq!(advanced_retention([None; 4]), None);
        let rules = advanced_retention([None, Some(9), None, Some(400)]);
        let expected = json!([
            {"AdvancedRetentionType": "WEEKLY", "Retention": 9, "WhichSnapshot": 1},
            {"AdvancedRetentionType": "YEARLY", "Retention": 400, "WhichSnapshot": 1},
        ]);
        assert_eq!(rules, Some(expected));
    }
}
